"""Models of any format: what is in one, what passes between its operators, and where it can be cut."""
