"""Application graphs, platform graphs and their models."""
