"""How actors fire: threads, firing rules, behaviours. Knows nothing of sockets. Imports the kernel and tell."""
