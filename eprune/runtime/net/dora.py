"""A program as a node of a dora dataflow (https://dora-rs.ai): its FIFOs to other platforms are edges of that.

A FIFO is two edges. One carries its tokens, a message each, as flat Arrow arrays; the other, from consumer to producer,
how many tokens have come and how many were given back. The producer writes no more than the FIFO has room for, so the
queues of dora, which drop the oldest message where they are full, never are.

dora may lose messages all the same, before an edge works and where it finds a shorter way for it later, and lets them
overtake each other then. So tokens are numbered. A consumer says what it has with each token that it gives back, and
now and then; the producer, which keeps tokens until they were given back, sends again what is missing. Whatever is said
is a state, true however late or often it comes.

What is sent is sent by whoever fires; one thread receives.
"""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Callable, Optional, Union

import numpy as np

from eprune.runtime.kernel.ages import UNBORN
from eprune.runtime.kernel.bell import Lookout
from eprune.runtime.kernel.errors import (
    Interrupted,
    LinkError,
    PeerError,
    ProtocolError,
    RunError,
    UsageError,
    unexpected,
)
from eprune.runtime.kernel.fifo import Fifo, FifoCounts
from eprune.runtime.kernel.policy import STOP
from eprune.runtime.kernel.variable import Shape
from eprune.runtime.tell.record import Activity

#: What the edge is called that carries back what was given back.
CREDIT = ".credit"
#: Seconds between two looks whether this node is to end, and that the last messages have.
LOOK, LAST = 0.1, 1.0
#: Seconds after which a consumer repeats what it has, and the producer what is missing; and that the last message of a
#: node may come later than its end.
REPEAT, AGAIN, GRACE = 0.5, 0.3, 2.0


class Stopped(Interrupted):
    """The dataflow was stopped, which is how one ends that would go on for ever."""

    exit_code = 0


class Node:
    """dora's node, which one thread reads and all others write to. Raises UsageError where this is none."""

    def __init__(self) -> None:
        try:
            self._node = importlib.import_module("dora").Node()
            self._arrow = importlib.import_module("pyarrow")
        except ImportError as error:
            raise UsageError(f"--dora: {error}; install it (pip install dora-rs pyarrow)") from None
        except Exception as error:
            reason = str(error).partition("\n")[0]
            raise UsageError(f"--dora: no dataflow of dora has started this program: {reason}") from None
        self._lock = threading.Lock()

    def send(self, edge: str, data: np.ndarray, **metadata: Union[int, str]) -> None:
        """Send a flat array."""
        array = self._arrow.array(data)
        with self._lock:
            self._node.send_output(edge, array, metadata)

    def receive(self) -> Optional[Mapping[str, Any]]:
        """The next event; None if there is none for now."""
        event: Optional[Mapping[str, Any]] = self._node.next(timeout=LOOK)
        if event is not None and event["type"] == "ERROR" and str(event.get("error", "")).startswith("Timeout"):
            return None
        return event


class DoraTx(Fifo):
    """The sending end: the producer's ring, of which a slot is free once the consumer has given its token back."""

    def __init__(self, node: Node, name: str, dtype: str, shape: Shape, capacity: int) -> None:
        super().__init__(name, dtype, shape, capacity)
        self._node = node
        self.activity = Activity()
        self.released = -capacity  # no room, until the consumer says so
        self.resent = 0
        self._sent_at = 0.0  # time.monotonic

    def commit(self, count: int, firing: int, birth: int = UNBORN) -> None:
        """Send what the producer has written."""
        begin, first = time.perf_counter_ns(), self.written
        super().commit(count, firing, birth)
        self._send(first, first + count)
        self.activity.add(begin, time.perf_counter_ns(), count)

    def _send(self, first: int, end: int) -> None:
        self._sent_at = time.monotonic()
        for number in range(first, end):
            firing = self.firings[number % self.capacity]
            self._node.send(self.name, flat(self.token(number)), number=number, firing=firing)

    def summary(self) -> FifoCounts:
        """Counters for the run record: tokens were ``resent`` that dora had lost."""
        given = max(self.released, 0)
        return replace(super().summary(), consumed=given, policy=STOP, confirmed=given, dropped=0, resent=self.resent)

    def told(self, given: int, have: int) -> None:
        """The consumer has so many tokens, of which it has given back some."""
        self.released = max(self.released, given)
        if self.writer.asleep:
            self.writer.ring()
        written, ended = self.written, self.ended
        first = max(have, self.released)
        if (first < written or ended) and time.monotonic() - self._sent_at > AGAIN:
            self.resent += written - first
            self._send(first, written)
            if ended:
                self.end()

    def answer(self) -> None:
        """Say hello."""
        self._node.send(self.name, np.zeros(0, np.uint8), hello=1)

    def end(self) -> None:
        """Say that the producer writes no more."""
        super().end()
        self._sent_at = time.monotonic()
        self._node.send(self.name, np.zeros(0, np.uint8), number=self.written, end=1)


class DoraRx(Fifo):
    """The receiving end: the consumer's ring."""

    def __init__(
        self,
        node: Node,
        name: str,
        dtype: str,
        shape: Shape,
        capacity: int,
        delay: int = 0,
        initial: Optional[np.ndarray] = None,
    ) -> None:
        super().__init__(name, dtype, shape, capacity, delay, initial)
        self._node = node
        self.activity = Activity()
        #: what has come before its turn, by its number
        self._early: dict[int, tuple[Mapping[str, Any], np.ndarray]] = {}
        #: whether the producer has been heard
        self.heard = False
        self._reported_at = 0.0  # time.monotonic

    def take(self, metadata: Mapping[str, Any], value: Any) -> None:
        """A token, or the end, has come. Raises ProtocolError where that cannot be."""
        number = metadata["number"]
        early = number - (self.written - self.delay)
        if early < 0 or self.ended or number in self._early:
            return  # it has come before
        if early > self.capacity:
            raise ProtocolError(f"FIFO {self.name!r}: the producer sends more than there is room for")
        if early:
            self._early[number] = metadata, value.to_numpy(zero_copy_only=True).copy()
            return
        self._take(metadata, value.to_numpy(zero_copy_only=True))
        while not self.ended and (known := self._early.pop(self.written - self.delay, None)) is not None:
            self._take(*known)

    def _take(self, metadata: Mapping[str, Any], data: np.ndarray) -> None:
        if "end" in metadata:
            super().end()
            self.report()
            return
        begin, slot = time.perf_counter_ns(), self.written % self.capacity
        data = data.view(np.uint8)
        most = self.token_bytes
        if data.nbytes != most and not (self.variable and data.nbytes < most):
            raise ProtocolError(f"FIFO {self.name!r}: a token has {data.nbytes} bytes, where {most} are expected")
        if self.written - self.released >= self.capacity:
            raise ProtocolError(f"FIFO {self.name!r}: the producer sends more than there is room for")
        if not self.left:
            self.raw[slot][: data.nbytes] = data
        if self.variable:
            room: Any = self.writable[slot]
            room.used = data.nbytes // room.itemsize
        super().commit(1, metadata["firing"])
        if self.left:
            self.release()
        self.activity.add(begin, time.perf_counter_ns())

    def release(self, count: int = 1) -> None:
        """Give slots back, also to the producer."""
        super().release(count)
        self.report()

    def leave(self) -> None:
        """The consumer takes no more."""
        super().leave()
        self.report()

    def report(self, digest: str = "") -> None:
        """Say what has come and what was given back; before the producer was heard, also of which build this is."""
        self._reported_at = time.monotonic()
        flags = {"heard": self.heard, "end": self.ended, "left": self.left}
        state = {name: 1 for name, true in flags.items() if true}
        given, have = self.released - self.delay, self.written - self.delay
        more = {"digest": digest} if digest else {}
        self._node.send(self.name + CREDIT, np.zeros(0, np.uint8), given=given, have=have, **state, **more)

    def repeat(self, digest: str) -> None:
        """Report again what may have been lost."""
        if time.monotonic() - self._reported_at > (REPEAT if self.heard else LOOK):
            self.report("" if self.heard else digest)


def flat(token: np.ndarray) -> np.ndarray:
    """A token as dora takes it: a flat array of a type that Arrow keeps as numpy does."""
    return token.reshape(-1).view(np.uint8) if token.dtype.kind in "bc" else token.reshape(-1)


class Dataflow:
    """All FIFOs of a program that are edges of a dataflow; in the place of ``net.network``.

    ``digest`` is that of the deployment, ``report`` gets 'opened' and 'ended' for each FIFO, and failures.
    """

    lookout: Optional[Lookout] = None
    idle = False

    def __init__(
        self, node: Node, ends: Mapping[str, Union[DoraTx, DoraRx]], digest: str, report: Callable[[Any], None]
    ) -> None:
        self._node, self._ends, self._digest, self._notify = node, ends, digest, report
        self._waiting = set(ends)
        self._over: set[str] = set()
        self._closed: dict[str, float] = {}  # time.monotonic
        self._deadline = 0.0
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="dora", daemon=True)

    def listen(self) -> None:
        """Nothing: dora has made the edges."""

    def open(self, deadline: float) -> None:
        """Wait until all other ends are there, until ``deadline`` (time.monotonic)."""
        self._deadline = deadline
        self._thread.start()

    def look(self) -> None:
        """Say again what may have been lost, and see who is missing. Raises LinkError."""
        now = time.monotonic()
        for name, end in self._ends.items():
            if isinstance(end, DoraRx) and name not in self._over:
                end.repeat(self._digest)
        if self._waiting and now > self._deadline:
            name = min(self._waiting)
            raise LinkError(f"FIFO {name!r}: the node at its other end did not begin in time")
        self._miss(now - GRACE)

    def _miss(self, since: float) -> None:
        """Raises LinkError if an edge that was closed before then had more to say."""
        for name, at in self._closed.items():
            if name not in self._over and at < since:
                raise LinkError(f"FIFO {name!r}: the node at its other end has ended, or was killed")

    def abort(self, message: str) -> None:
        """Inform the peers that this run failed."""
        for end in self._ends.values():
            edge = end.name + CREDIT * isinstance(end, DoraRx)
            self._node.send(edge, np.zeros(0, np.uint8), error=message)

    def cut(self) -> None:
        """Nothing: a node that ends closes its edges."""

    def close(self) -> None:
        """Receive no more."""
        self._closing = True
        if self._thread.ident is not None:
            self._thread.join(LAST)

    def _open(self, name: str) -> None:
        if name in self._waiting:
            self._waiting.discard(name)
            self._notify("opened")

    def _end(self, name: str) -> None:
        if name not in self._over:
            self._over.add(name)
            self._notify("ended")

    def _run(self) -> None:
        try:
            while not self._closing:
                self.look()
                event = self._node.receive()
                if event is not None:
                    self._take(event)
        except RunError as error:
            self._notify(error)
        except Exception as error:
            self._notify(unexpected(error, "the thread of the dataflow"))

    def _take(self, event: Mapping[str, Any]) -> None:
        """Raises RunError."""
        kind, edge = event["type"], str(event.get("id", ""))
        end = self._ends.get(edge.removesuffix(CREDIT) if edge.endswith(CREDIT) else edge)
        if kind == "STOP" and len(self._over) < len(self._ends):
            self._miss(time.monotonic())  # why dora stops all others
            raise Stopped("the dataflow was stopped")
        if kind == "ERROR":
            raise LinkError(f"dora: {str(event.get('error', event)).splitlines()[0]}")
        if end is None:
            return
        if kind == "INPUT_CLOSED":  # its last messages may come later
            self._closed[end.name] = time.monotonic()
        if kind != "INPUT":
            return
        metadata = event["metadata"]
        if "error" in metadata:
            raise PeerError(f"FIFO {end.name!r}: the node at its other end has failed: {metadata['error']}")
        if isinstance(end, DoraTx):
            self._credit(end, metadata)
        elif "hello" in metadata:
            end.heard = True
            self._open(end.name)
            end.report()
        else:
            end.take(metadata, event["value"])
            if end.ended:
                self._end(end.name)

    def _credit(self, end: DoraTx, metadata: Mapping[str, Any]) -> None:
        if "digest" in metadata:
            if metadata["digest"] != self._digest:
                raise LinkError(f"FIFO {end.name!r}: the node at its other end is of another build: generate both anew")
            if end.name in self._waiting:
                end.answer()
            return
        if "left" in metadata and not end.left:
            end.leave()
        if "end" in metadata:
            self._end(end.name)
        else:
            end.told(metadata["given"], metadata["have"])
        self._open(end.name)
