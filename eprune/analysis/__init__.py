"""Checks: model in, findings out. Pure functions, one module a family of rules."""
