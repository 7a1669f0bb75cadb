"""Programs onto machines, and watched there: built, over SSH, with certificates."""
