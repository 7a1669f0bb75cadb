"""Mapping files, written by hand."""
