"""Model training, benchmarks."""
