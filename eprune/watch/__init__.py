"""A deployed system as it is now: one state, folded from what its programs report. Whatever watches it reads that."""
