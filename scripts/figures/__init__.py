"""The papers' figures, run again: `python -m scripts.figures`."""
