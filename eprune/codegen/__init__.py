"""Graph, platform and mapping to a small program structure, and that to text or a bundle."""
