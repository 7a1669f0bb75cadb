"""Partition points, mapping pairs, profiling, predictions."""
