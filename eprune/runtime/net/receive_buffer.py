"""What a connection receives: small frames are read ahead, many with one system call; large tokens go to their slot."""

from __future__ import annotations

import time

from eprune.runtime.net.faults import Suspicion
from eprune.runtime.net.tls import Stream

#: Bytes that are read ahead at most; that much or more of a token is received straight into its slot.
AHEAD = 16 * 1024


class Inbox:
    """The bytes of one connection, in order; ``life`` is told when something came."""

    def __init__(self, connection: Stream, life: Suspicion) -> None:
        self._connection = connection
        self._life = life
        self._ahead = memoryview(bytearray(AHEAD))
        self._begin = self._end = 0

    def fill(self, target: memoryview) -> None:
        """Receive as many bytes as ``target`` has. Raises OSError if the connection breaks or ends."""
        done, wanted = 0, len(target)
        while True:
            here = min(wanted - done, self._end - self._begin)
            if here:
                target[done : done + here] = self._ahead[self._begin : self._begin + here]
                self._begin += here
                done += here
            if done == wanted:
                return
            # What comes behind a large token, with the same call, is read ahead.
            straight = wanted - done if wanted - done >= AHEAD else 0
            buffers = [target[done:], self._ahead] if straight else [self._ahead]
            count = self._connection.recvmsg_into(buffers)[0]
            if count == 0:
                raise ConnectionResetError("the peer closed it")
            self._life.heard = time.monotonic()
            here = min(count, straight)
            done += here
            self._begin, self._end = 0, count - here
