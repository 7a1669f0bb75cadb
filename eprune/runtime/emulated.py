"""What a program with ``--emulate`` puts in the place of sockets and firings: shaped links and slow units.

For emulation on one machine, or where the true link is much faster than the emulated one: the true link's time is
added. Latency counts from a piece's arrival over the true link, so no two machines' clocks are compared.
"""

from __future__ import annotations

import contextlib
import ctypes
import select
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Callable, Optional

from eprune.runtime.errors import UsageError
from eprune.runtime.shaping import Figures, Flight, Pacer, SlowUnit, heard

_PIECE_BYTES = 64 * 1024
_PR_SET_TIMERSLACK = 29


class Link:
    """The emulated link to one peer, which all FIFOs to it share."""

    def __init__(self, figures: Figures) -> None:
        self.figures = figures
        self.pacer = None if figures.bandwidth is None else Pacer(figures.bandwidth)
        self.asking = threading.Lock()


class Socket(socket.socket):
    """A connection that lets bytes out as ``link`` would, and bytes in as the peer's ``arriving`` would.

    Of the calls that send and receive it has those that links use. What has arrived is told by receiving only, not by
    selecting on it. A send that must not block always would.
    """

    def __init__(self, connection: socket.socket, link: Link, arriving: Figures) -> None:
        super().__init__(connection.family, connection.type, connection.proto, connection.detach())
        self._link = link
        self._down = threading.Event()
        self._flight = Flight(arriving) if arriving.latency > 0 else None
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, name="emulated link", daemon=True)
        if self._flight is not None:
            self._reader.start()

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send all, as fast as the link allows."""
        pacer = self._link.pacer
        if pacer is None:
            super().sendall(data, flags)
            return
        view, sent = memoryview(data).cast("B"), 0
        with self._link.asking:
            pieces = pacer.leave(len(view), time.monotonic())
        for end, when in pieces:
            self._down.wait(max(0.0, when - time.monotonic()))
            super().sendall(view[sent:end], flags)
            sent = end
        with self._link.asking:
            pacer.returned(time.monotonic())

    def sendmsg(self, buffers: Any, ancdata: Any = (), flags: int = 0, address: Any = None) -> int:
        """Send all; how much that is."""
        if self._link.pacer is None:
            return super().sendmsg(buffers, ancdata, flags)
        if flags & socket.MSG_DONTWAIT:
            raise BlockingIOError("an emulated link has no room of its own")
        parts = list(buffers)
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        self.sendall(data)
        return len(data)

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """Receive what has arrived."""
        if self._flight is None:
            return super().recv(bufsize, flags)
        buffer = bytearray(bufsize)
        return bytes(buffer[: self._take([memoryview(buffer)])])

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Receive what has arrived."""
        if self._flight is None:
            return super().recv_into(buffer, nbytes, flags)
        view = memoryview(buffer).cast("B")
        return self._take([view[: nbytes or len(view)]])

    def recvmsg_into(self, buffers: Any, ancbufsize: int = 0, flags: int = 0) -> tuple[int, list[Any], int, Any]:
        """Receive what has arrived."""
        if self._flight is None:
            return super().recvmsg_into(buffers, ancbufsize, flags)
        return self._take([memoryview(buffer).cast("B") for buffer in buffers]), [], 0, None

    def shutdown(self, how: int) -> None:
        """Break the connection; whoever waits for a moment to send waits no longer."""
        self._down.set()
        super().shutdown(how)

    def close(self) -> None:
        """Release it; what is still under way is lost."""
        if self._flight is not None and self.fileno() >= 0:
            with contextlib.suppress(OSError):
                self.shutdown(socket.SHUT_RDWR)
            with self._changed:
                self._flight = Flight(Figures(latency=1.0))  # takes all that still comes
                self._changed.notify_all()
            self._reader.join()
        super().close()

    def _take(self, buffers: Sequence[memoryview]) -> int:
        """Wait until something has arrived. Raises TimeoutError after the socket's timeout."""
        timeout = self.gettimeout()
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while True:
                assert self._flight is not None  # else this is not called
                due, now = self._flight.due(), time.monotonic()
                if due is not None and due <= now:
                    count = self._flight.take(buffers, now)
                    self._changed.notify_all()
                    return count
                if deadline is not None and now >= deadline:
                    raise TimeoutError("timed out")
                ends = [when - now for when in (due, deadline) if when is not None]
                self._changed.wait(min(ends) if ends else None)

    def _read(self) -> None:
        """Receive from the true connection, noting when. The body of its own thread."""
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        data = b"first"
        while data:
            try:
                poll.poll()
                data = super().recv(_PIECE_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            with self._changed:
                while self._flight is not None and self._flight.full:
                    self._changed.wait()
                assert self._flight is not None  # else this thread is not started
                self._flight.send(data, time.monotonic())
                self._changed.notify_all()


def shaped(connection: socket.socket, link: Optional[Link], greeting: Mapping[str, str]) -> socket.socket:
    """The connection, over the emulated link if there is one.

    ``greeting`` is what the peer, which emulates too, said of itself. Raises ProtocolError where that is nonsense.
    """
    return connection if link is None else Socket(connection, link, heard(greeting))


class Emulation:
    """What one program emulates: ``links`` (peer -> figures) and ``slowdowns`` (unit -> factor)."""

    def __init__(self, links: Mapping[str, Figures], slowdowns: Mapping[str, float]) -> None:
        self.links = {peer: Link(figures) for peer, figures in links.items()}
        self._slowdowns = {unit: factor for unit, factor in slowdowns.items() if factor != 1}
        self._units = {unit: SlowUnit(factor) for unit, factor in self._slowdowns.items()}
        self._asking = threading.Lock()
        for unit, factor in self._slowdowns.items():
            if not factor >= 1:
                raise UsageError(f"unit {unit!r}: a slowdown of {factor:g}; only slower units can be emulated")
        _precise_waits()

    def fire(self, unit: str, fire: Callable[..., None]) -> Callable[..., None]:
        """A behaviour's ``fire`` as it would be on that unit: the thread waits for what the slower unit lacks."""
        slow = self._units.get(unit)
        if slow is None:
            return fire

        def fire_slowly(*ports: Any) -> None:
            begin, cpu = time.monotonic(), time.thread_time()
            fire(*ports)
            with self._asking:
                done = slow.done(begin, time.thread_time() - cpu)
            time.sleep(max(0.0, done - time.monotonic()))

        return fire_slowly

    def record(self) -> dict[str, Any]:
        """What the run record says of it."""
        links = {peer: link.figures._asdict() for peer, link in self.links.items()}
        return {"units": dict(self._slowdowns), "links": links}

    def __str__(self) -> str:
        units = [f"{unit} {factor:g} times slower" for unit, factor in self._slowdowns.items()]
        return (
            "; ".join([*units, *(f"link to {peer}: {link.figures}" for peer, link in self.links.items())]) or "nothing"
        )


def _precise_waits() -> None:
    """Ask Linux to end waits on time, not up to 50 us later: in this thread and in those that it starts."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
