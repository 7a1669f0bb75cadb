"""Questions that are answered by running: throughput, single frames, sweeps, timing, comparison with a model."""
