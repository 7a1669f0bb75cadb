"""What a program with ``--emulate`` substitutes for sockets and firings: shaped links and slow units.

For emulation on one machine, or where the true link is much faster than the emulated one, whose time it adds to.
Latency counts from a piece's arrival over the true link: the clocks of two machines are never compared.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import select
import socket
import statistics
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Callable, Optional, Union

from eprune.runtime.kernel.errors import ProtocolError, UsageError
from eprune.runtime.net import tls
from eprune.runtime.net.conditions import Change
from eprune.runtime.net.greeting import Greeting
from eprune.runtime.net.shaping import AHEAD, Arrivals, Departures, Figures, Flight, Pacer, SlowUnit
from eprune.runtime.net.tls import Stream

_PIECE_BYTES = 64 * 1024
#: Seconds that sent bytes have to leave when their connection is closed.
_LEAVE = 5.0
#: Messages by which the emulation measures its own delay, and seconds between them.
_TRIALS, _REST = 21, 5e-3
_PR_SET_TIMERSLACK = 29


class EmulatedLink:
    """The emulated link to one peer, which all FIFOs to it share."""

    def __init__(self, figures: Figures, excess: float = 0.0) -> None:
        self.figures = figures
        self.excess = excess
        self.pacer = Pacer(figures.bandwidth or math.inf)
        #: what arrives over it, connection by connection; and the latency that a trace says, if it does
        self.arrivals: list[Arrivals] = []
        self.latency: Optional[float] = None

    def arrive(self, figures: Figures) -> Arrivals:
        """What is done to bytes that arrive over one more connection; the peer's end of the link has these figures."""
        arrivals = Arrivals(figures, self.excess)
        if self.latency is not None:
            arrivals.latency = self.latency
        self.arrivals.append(arrivals)
        return arrivals

    def change(self, bandwidth: Optional[float], latency: Optional[float]) -> None:
        """From now on it is so; None: as before."""
        if bandwidth is not None:
            self.pacer.bandwidth = bandwidth
        if latency is not None:
            self.latency = latency
            for each in self.arrivals:
                each.latency = latency


class _Lane(threading.Thread):
    """Moves bytes from one socket to another, when ``rule`` says. Ends when either has ended, and ends the other."""

    def __init__(self, source: socket.socket, target: socket.socket, rule: Union[Departures, Arrivals]) -> None:
        super().__init__(name="emulated link", daemon=True)
        self._source = source
        self._target = target
        self._rule = rule

    def run(self) -> None:
        """The body of the thread."""
        try:
            self._move()
        except (OSError, ValueError):  # the target has gone, or this end was closed
            _shut(self._source, socket.SHUT_RD)
        _shut(self._target, socket.SHUT_WR)

    def _move(self) -> None:
        source, target, rule, flight = self._source, self._target, self._rule, Flight()
        ended = False
        while not (ended and flight.due() is None):
            due, now = flight.due(), time.monotonic()
            reads = [source] if not ended and flight.nbytes < rule.room else []
            if due is None or due > now:
                readable, _, _ = select.select(reads, [], [], None if due is None else due - now)
            else:
                readable, writable, _ = select.select(reads, [target], [])
                if writable:
                    with contextlib.suppress(BlockingIOError):
                        flight.remove(target.send(flight.first(), socket.MSG_DONTWAIT))
                    rule.handed(time.monotonic())
            if readable:
                data = source.recv(_PIECE_BYTES, socket.MSG_DONTWAIT)
                ended = not data
                if data:
                    rule.schedule(flight, memoryview(data), time.monotonic())


class EmulatedSocket(socket.socket):
    """A connection over the emulated link: one end of a pair of sockets, with two lanes between the other and the true.

    Whatever can be done with a socket can be done with this one.
    """

    def __init__(self, true: socket.socket, link: EmulatedLink, arriving: Figures) -> None:
        outer, inner = socket.socketpair()
        # What is in this buffer has not left yet, but the sender believes so.
        outer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, AHEAD)
        super().__init__(outer.family, outer.type, outer.proto, outer.detach())
        true.settimeout(None)
        self._true, self._inner = true, inner
        self._out = _Lane(inner, true, Departures(link.pacer))
        self._in = _Lane(true, inner, link.arrive(arriving))
        self._out.start()
        self._in.start()

    def close(self) -> None:
        """Close it, once what was sent has left."""
        if self.fileno() >= 0:
            super().close()
            self._out.join(_LEAVE)
            _shut(self._true, socket.SHUT_RDWR)
            self._in.join(_LEAVE)
            self._true.close()
            self._inner.close()


def _shut(connection: socket.socket, how: int) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(how)


def shaped(connection: Stream, link: Optional[EmulatedLink], greeting: Greeting) -> Stream:
    """The connection, over the emulated link if there is one. TLS stays end to end, above the emulation.

    ``greeting`` is that of the peer, which emulates its direction. Raises ProtocolError if it does not.
    """
    if link is None:
        return connection
    if greeting.emulated is None:
        raise ProtocolError("a greeting without the emulated link of its side")
    if isinstance(connection, tls.TlsSocket):
        connection.transport = EmulatedSocket(connection.transport, link, greeting.emulated)
        return connection
    return EmulatedSocket(connection, link, greeting.emulated)


class Emulation:
    """What one program emulates: ``links`` (peer -> figures) and ``slowdowns`` (unit -> factor), and their changes."""

    def __init__(
        self, links: Mapping[str, Figures], slowdowns: Mapping[str, float], changes: Sequence[Change] = ()
    ) -> None:
        """``changes``: those of this platform, with the other platform of a link as ``peer``."""
        _precise_waits()
        late = any(figures.latency for figures in links.values()) or any(change.latency for change in changes)
        excess = _excess() if late else 0.0
        self.links = {peer: EmulatedLink(figures, excess) for peer, figures in links.items()}
        self._changes = changes
        varies = any(change.slowdown is not None for change in changes)
        self._slowdowns = {unit: factor for unit, factor in slowdowns.items() if factor != 1 or varies}
        self._units = {unit: SlowUnit(factor) for unit, factor in self._slowdowns.items()}
        self._asking = threading.Lock()
        for unit, factor in self._slowdowns.items():
            if not factor >= 1:
                raise UsageError(f"unit {unit!r}: a slowdown of {factor:g}; only slower units can be emulated")

    def fire(self, unit: str, fire: Callable[..., Any]) -> Callable[..., Any]:
        """A behaviour's ``fire`` or ``control`` as slow as on that unit: the thread waits for the difference."""
        slow = self._units.get(unit)
        if slow is None:
            return fire

        def fire_slowly(*ports: Any) -> Any:
            begin, cpu = time.monotonic(), time.thread_time()
            result = fire(*ports)
            with self._asking:
                done = slow.done(begin, time.thread_time() - cpu)
            time.sleep(max(0.0, done - time.monotonic()))
            return result

        return fire_slowly

    def begin(self) -> None:
        """The first firing is about to begin: the trace does, too."""
        if self._changes:
            threading.Thread(target=self._follow, args=(time.monotonic(),), name="emulated trace", daemon=True).start()

    def _follow(self, begin: float) -> None:
        for change in self._changes:
            time.sleep(max(0.0, begin + change.seconds - time.monotonic()))
            if change.peer in self.links:
                self.links[change.peer].change(change.bandwidth, change.latency)
            elif change.slowdown is not None:
                for unit in self._units.values():
                    unit.slowdown = unit.stated * change.slowdown

    def record(self) -> dict[str, Any]:
        """What the run record has about it."""
        links = {peer: link.figures._asdict() for peer, link in self.links.items()}
        return {"units": dict(self._slowdowns), "links": links}

    def __str__(self) -> str:
        units = [f"{unit} {factor:g} times slower" for unit, factor in self._slowdowns.items()]
        return (
            "; ".join([*units, *(f"link to {peer}: {link.figures}" for peer, link in self.links.items())]) or "nothing"
        )


def _excess() -> float:
    """Seconds that the emulation's own threads add to a latency now: the median of some messages."""
    latency, times = 1e-3, []
    near, far = socket.socketpair()
    figures = Figures(None, latency)
    ends = [EmulatedSocket(end, EmulatedLink(figures), figures) for end in (near, far)]
    with ends[0] as one, ends[1] as other:
        for _ in range(_TRIALS):
            time.sleep(_REST)
            begin = time.monotonic()
            one.sendall(b"x")
            other.recv(1)
            times.append(time.monotonic() - begin - latency)
    return max(0.0, statistics.median(times))


def _precise_waits() -> None:
    """Ask Linux to end waits on time, not up to 50 us later: in this thread and in those that it starts."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
