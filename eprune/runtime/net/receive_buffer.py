"""The receive buffer of a connection: small frames are read ahead, many per call; large tokens go to their slots."""

from __future__ import annotations

import time

from eprune.runtime.net.faults import FailureDetector
from eprune.runtime.net.tls import Stream

#: Bytes that are read ahead at most; that much or more of a token is received straight into its slot.
AHEAD = 16 * 1024


class ReceiveBuffer:
    """The bytes that one connection receives, in order; ``detector`` learns when some arrive."""

    def __init__(self, connection: Stream, detector: FailureDetector) -> None:
        self._connection = connection
        self._detector = detector
        self._ahead = memoryview(bytearray(AHEAD))
        self._begin = self._end = 0

    def fill(self, target: memoryview) -> None:
        """Receive as many bytes as ``target`` has. Raises OSError if the connection breaks or ends."""
        done, wanted = 0, len(target)
        while True:
            buffered = min(wanted - done, self._end - self._begin)
            if buffered:
                target[done : done + buffered] = self._ahead[self._begin : self._begin + buffered]
                self._begin += buffered
                done += buffered
            if done == wanted:
                return
            # What follows a large token is read ahead by the same call.
            straight = wanted - done if wanted - done >= AHEAD else 0
            buffers = [target[done:], self._ahead] if straight else [self._ahead]
            count = self._connection.recvmsg_into(buffers)[0]
            if count == 0:
                raise ConnectionResetError("connection closed by peer")
            self._detector.last_received = time.monotonic()
            direct = min(count, straight)
            done += direct
            self._begin, self._end = 0, count - direct
