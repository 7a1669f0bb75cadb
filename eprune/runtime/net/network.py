"""All connections of a program, and the one thread that serves them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Callable, Optional

from eprune.runtime.kernel.bell import Lookout
from eprune.runtime.kernel.errors import RunError, unexpected
from eprune.runtime.net.connection import Connection
from eprune.runtime.net.handshake import Listeners, Lobby
from eprune.runtime.net.loop import Loop

#: Seconds for what is still to be sent when a run has failed, and between two looks at it.
LAST_WORDS, _LOOK = 1.0, 0.005


class Network:
    """The connections of a program, in a service those of one stream. ``fail`` gets errors of ours.

    A service waits for its producers as long as it takes. When the first one has come, it connects to its consumers,
    and the others have the time that all have elsewhere.
    """

    def __init__(
        self,
        connections: Sequence[Connection],
        fail: Callable[[RunError], None],
        listeners: Optional[Listeners] = None,
    ) -> None:
        """``listeners``: those of a service."""
        self._connections = connections
        self._fail = fail
        self._listeners = listeners
        #: whether no producer of this stream has come yet
        self.idle = listeners is not None
        self._allowed = 0.0  # seconds for connecting
        self._loop = self._make_loop() if connections else None
        self._lobby = Lobby()

    def _make_loop(self) -> Loop:
        try:
            return Loop(lambda error: self._fail(unexpected(error, "the thread of the links")))
        except OSError as error:
            raise unexpected(error, "the thread of the links") from None

    @property
    def lookout(self) -> Optional[Lookout]:
        """What waits for the sockets, if there are any."""
        return self._loop

    def listen(self) -> None:
        """Open the listening sockets. Raises LinkError if an address is not available."""
        if self._loop is not None:
            for connection in self._connections:
                connection.listen(self._loop, self._lobby, self._listeners)

    def open(self, deadline: float) -> None:
        """Begin to connect, until ``deadline`` (time.monotonic). Each connection reports when it is open."""
        if self._loop is not None:
            self._loop.start()
            self._loop.ask(lambda: self._open(deadline))

    def _open(self, deadline: float) -> None:
        self._allowed = deadline - time.monotonic()
        for connection in self._connections:
            connection.met = self._met
            if not self.idle:
                connection.open(deadline)
            elif connection.rx:
                connection.open(None)
            self._tick(connection)

    def _met(self, late: bool) -> None:
        """A peer has come; ``late``: its application has been running."""
        if self.idle:
            self.idle = False
            deadline = time.monotonic() + self._allowed
            self._each(lambda connection: connection.open(deadline))
        if late:
            self._each(Connection.hurry)

    def _each(self, act: Callable[[Connection], None]) -> None:
        for connection in self._connections:
            act(connection)

    def _tick(self, connection: Connection) -> None:
        assert self._loop is not None
        connection.tick()
        self._loop.later(connection.period, lambda: self._tick(connection))

    def abort(self, message: str) -> None:
        """Inform the peers that this run failed, and break the connections."""
        if self._loop is None:
            return
        self._loop.ask(lambda: self._each(lambda connection: connection.stop(message)))
        deadline = time.monotonic() + LAST_WORDS
        while not all(connection.told for connection in self._connections) and time.monotonic() < deadline:
            time.sleep(_LOOK)
        self.cut()

    def cut(self) -> None:
        """Break the connections without a word."""
        if self._loop is not None:
            self._loop.ask(lambda: self._each(Connection.cut))

    def close(self) -> None:
        """Release all resources."""
        if self._loop is None:
            return
        if self._loop.close(LAST_WORDS):
            for connection in self._connections:
                connection.close()
        if self._listeners is not None:
            self._listeners.former.extend(map(_ended, self._connections))


def _ended(connection: Connection) -> str:
    """The incarnation of a peer that has said that nothing more comes; '' if it has not."""
    ends = connection.rx.values()
    return connection.incarnation if ends and all(end.end_received for end in ends) else ""
