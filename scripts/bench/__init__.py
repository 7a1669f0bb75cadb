"""What docs/results/performance.md states, measured: `make bench`, or `python -m scripts.bench NAME...`."""
