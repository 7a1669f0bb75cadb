"""What commands and programs exit with, besides 0 for fine."""

FINDINGS = 1
USAGE = 2
#: the device cannot be had at all; a port of its tunnel is taken
UNREACHED = 69
PORT_TAKEN = 75
#: a mistake of ours
INTERNAL = 70
INTERRUPTED = 130
