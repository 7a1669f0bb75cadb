"""Reusable actor behaviours, one class a file."""
