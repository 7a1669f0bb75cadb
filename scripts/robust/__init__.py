"""The tables of docs/results/robust.md."""
