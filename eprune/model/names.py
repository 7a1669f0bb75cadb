"""Names of things: what may be one."""

#: What applications, actors, ports, FIFOs, platforms, units and segments may be called, as a regular expression.
NAME = r"[A-Za-z0-9_][A-Za-z0-9_\-]*"
