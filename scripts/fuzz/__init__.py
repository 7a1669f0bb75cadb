"""Coverage-guided fuzzing of what strangers can say to a running program."""
