"""Reusable actor behaviours, one class per file."""
