"""Waiting for what other threads do."""

import time


def until(there, seconds=30.0):
    """Wait until ``there()``; it is an error if that is not so within so many seconds."""
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline, "never"
        time.sleep(0.001)
