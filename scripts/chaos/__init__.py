"""What `eprune analyze --faults` predicts, held against real processes that really fail: `python -m scripts.chaos`."""
