"""Tools of the tests: tiny actors, programs and models."""
