"""The program of a platform: what it declares, its options, and how the parts of a run are put together."""
