"""The fault policies of a FIFO: what happens to its tokens while its peer is dead (design section 6)."""

STOP, WAIT, DROP, ZERO, NEWEST = "stop", "wait", "drop", "zero", "newest"


def lossy(policy: str) -> bool:
    """Whether tokens may be lost under that policy while the peer is dead."""
    return policy in (DROP, ZERO, NEWEST)
