"""Who waits for all sockets of a process: one thread at a time, however many links there are.

There is a thread for it. But an actor's thread that has nothing to do takes its place: what it waits for comes through
a socket, and need not be handed over. The thread that is there for it rests then, and is back when no actor's thread
has waited for the sockets for a moment, because all of them compute.

Callbacks run in whichever thread it is, one after the other, and must not block. Sequences such as a handshake are
generators that yield what they wait for.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import select
import threading
import time
from collections import deque
from collections.abc import Generator
from queue import Empty, SimpleQueue
from typing import Any, Callable, Optional, Protocol

from eprune.runtime.kernel.bell import Bell

#: Seconds without anybody who waits for the sockets, after which the thread that is there for it does.
REST = 0.01
#: Seconds that a look at all sockets may take, if others keep whoever waits for them busy.
LOOK = 0.1

READ, WRITE = select.POLLIN, select.POLLOUT

#: What a sequence waits for: a socket's event until a moment (time.monotonic), or only a moment.
Wanted = tuple[Optional["HasFileno"], int, float]
Sequence = Generator[Wanted, bool, None]


class HasFileno(Protocol):
    """A socket, or something that stands for one."""

    def fileno(self) -> int:
        """Its descriptor."""


class Timer:
    """Something that is to happen at a moment, unless it is cancelled."""

    __slots__ = ("action", "when")

    def __init__(self, when: float, action: Callable[[], None]) -> None:
        self.when = when
        self.action: Optional[Callable[[], None]] = action

    def cancel(self) -> None:
        """It does not happen."""
        self.action = None


class Loop:
    """Runs callbacks when sockets are ready and moments have come. ``fail`` gets what a callback raises."""

    def __init__(self, fail: Callable[[Exception], None]) -> None:
        self._fail = fail
        self._poller: Any = select.epoll() if hasattr(select, "epoll") else select.poll()
        self._unit = 1 if hasattr(select, "epoll") else 1000
        self._watched: dict[int, Callable[[int], None]] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._count = itertools.count()
        self._asked: deque[Callable[[], None]] = deque()
        #: threads that want to know when all sockets have been looked at
        self._looks: deque[threading.Event] = deque()
        #: sequences that wait for something
        self._suspended: set[Sequence] = set()
        self._near, self._far = os.pipe()
        for end in (self._near, self._far):
            os.set_blocking(end, False)
        self._poller.register(self._near, READ)
        self._closed = False
        self._woken = False
        self._pipe = threading.Lock()  # held while it is written to, or closed
        #: held by whoever waits for the sockets
        self._turn = threading.Lock()
        #: whether more may come while actors' threads compute than the kernel holds for them
        self.eager = False
        self._led = 0.0  # when somebody did so last
        self._leader = 0  # which thread does so
        self._waiting: dict[Bell, None] = {}  # those of threads that would do it
        self._standing_in = False  # whether the loop's own thread does it
        #: what that thread rests on, whether it does so for long, and whether it must not rest
        self._rest: SimpleQueue[None] = SimpleQueue()
        self._resting_long = self._urgent = False
        self._thread = threading.Thread(target=self._run, name="links", daemon=True)

    # From any thread.

    def start(self) -> None:
        """Begin to run."""
        self._thread.start()

    def ask(self, action: Callable[[], None]) -> None:
        """Have the loop's thread do something soon."""
        self._asked.append(action)
        self.wake()

    def wake(self) -> None:
        """Make the loop look again. The thread that waits for the sockets does so anyway, after its callbacks."""
        if not self._woken and threading.get_ident() != self._leader:
            self._woken = True
            with self._pipe, contextlib.suppress(OSError):
                if self._far >= 0:
                    os.write(self._far, b"x")

    def look(self, bell: Bell) -> None:
        """Look at all sockets: what lay in them is delivered afterwards. Others may be too busy to be waited for."""
        if bell.leading:
            self._look()
        elif self._turn.acquire(blocking=False):
            self._leader = threading.get_ident()
            try:
                self._look()
            finally:
                self._hand_over()
        elif not self._closed:
            looked = threading.Event()
            self._looks.append(looked)
            self.wake()
            looked.wait(LOOK)

    def _look(self) -> None:
        deadline = time.monotonic() + LOOK
        while not self._closed and self._step_guarded(0.0) and time.monotonic() < deadline:
            pass

    def close(self, patience: float) -> bool:
        """End the thread; whether it ended within ``patience`` seconds. Sequences that wait end, sockets stay open."""
        self._closed = True
        self._rest.put(None)
        self.wake()
        if self._thread.ident is not None:
            self._thread.join(patience)
        # An actor's thread may be about to stop waiting for the sockets.
        ended = not self._thread.is_alive() and self._turn.acquire(timeout=patience)
        if ended:
            for sequence in list(self._suspended):
                sequence.close()
            self._suspended.clear()
            with self._pipe:
                for end in {self._near, self._far} - {-1}:
                    os.close(end)
                self._near = self._far = -1
            if hasattr(self._poller, "close"):
                self._poller.close()
            self._turn.release()
        return ended

    # From the loop's thread.

    def watch(self, one: HasFileno, events: int, callback: Callable[[int], None]) -> None:
        """Call ``callback`` with the events whenever the socket is ready for one of them."""
        number = one.fileno()
        self._watched[number] = callback
        try:
            self._poller.register(number, events)
        except FileExistsError:
            self._poller.modify(number, events)

    def unwatch(self, one: HasFileno) -> None:
        """Forget a socket, before it is closed."""
        number = one.fileno()
        if self._watched.pop(number, None) is not None:
            with contextlib.suppress(OSError, KeyError, ValueError):
                self._poller.unregister(number)

    def expect(self, one: HasFileno, events: int) -> None:
        """Change what a socket is watched for. Any thread may call it."""
        with contextlib.suppress(OSError, KeyError, ValueError):
            self._poller.modify(one.fileno(), events)
        if events & WRITE and not self._turn.locked():
            self._urgent = True
            self._rest.put(None)

    def later(self, seconds: float, action: Callable[[], None]) -> Timer:
        """Have something happen in some seconds."""
        timer = Timer(time.monotonic() + seconds, action)
        heapq.heappush(self._timers, (timer.when, next(self._count), timer))
        return timer

    def run(self, sequence: Sequence) -> None:
        """Run a sequence to its end. It yields what it waits for and gets whether that came before its moment."""
        self._resume(sequence, None)

    def _resume(self, sequence: Sequence, came: Optional[bool]) -> None:
        if self._closed:
            sequence.close()
            return
        try:
            one, events, until = next(sequence) if came is None else sequence.send(came)
        except StopIteration:
            return
        self._suspended.add(sequence)

        def go_on(came: bool) -> None:
            if timer.action is not None:
                timer.cancel()
                self._suspended.discard(sequence)
                if one is not None:
                    self.unwatch(one)
                self._resume(sequence, came)

        timer = self.later(max(until - time.monotonic(), 0.0), lambda: go_on(False))
        if one is not None:
            self.watch(one, events, lambda _: go_on(True))

    def lead(self, bell: Bell, there: Callable[[], bool], until: Optional[float]) -> bool:
        """Wait for the sockets in this thread, that of ``bell``; False if another thread does.

        It ends when ``there()``, or at the time ``until`` (time.monotonic).
        """
        if self._closed:
            return False
        if not self._turn.acquire(blocking=False):
            self._waiting[bell] = None
            if not self._turn.acquire(blocking=False):
                if self._standing_in:
                    self.wake()
                return False
            self._waiting.pop(bell, None)
        self._leader = threading.get_ident()
        try:
            bell.leading = True
            while not self._closed:
                bell.asleep = True
                if there() or (until is not None and time.monotonic() >= until):
                    break
                self._step_guarded(until)
            return not self._closed
        finally:
            bell.leading = bell.asleep = False
            self._urgent = self._urgent or self.eager
            self._hand_over()

    def _hand_over(self) -> None:
        """Wait for the sockets no longer: another thread that would do so gets its turn, or this loop's own."""
        self._leader = 0
        self._led = time.monotonic()
        self._turn.release()
        if self._asked:
            self.wake()
        with contextlib.suppress(KeyError):
            self._waiting.popitem()[0].ring()
        if self._resting_long or self._urgent:
            self._rest.put(None)

    def _run(self) -> None:
        while not self._closed:
            self._stay_away()
            if not self._turn.acquire(blocking=False):
                continue
            self._leader = threading.get_ident()
            self._standing_in = True
            self._urgent = False
            try:
                while not self._closed and not self._waiting:
                    self._step_guarded(None)
            finally:
                self._standing_in = False
                self._hand_over()

    def _stay_away(self) -> None:
        """Rest while actors' threads wait for the sockets: until none has done so for a moment."""
        led = -1.0
        while not self._closed:
            if not self._turn.locked():
                if self._urgent or time.monotonic() >= self._led + REST:
                    return
                led = -1.0
            elif led == self._led:  # whoever does it has nothing to do, and says so when that is over
                self._resting_long = True
                if self._turn.locked():
                    self._rest.get()
                self._resting_long = False
                continue
            else:
                led = self._led
            with contextlib.suppress(Empty):
                self._rest.get(timeout=REST)

    def _step_guarded(self, until: Optional[float]) -> bool:
        """Wait once, not beyond ``until``, and do what is to be done; whether more is to be done at once."""
        try:
            return self._step(until)
        except Exception as error:
            self._fail(error)
            if self._asked:  # what was asked for besides is not forgotten
                self.wake()
            return False

    def _step(self, until: Optional[float]) -> bool:
        looks = len(self._looks)
        if looks:
            until = 0.0
        timers = self._timers
        while timers and timers[0][2].action is None:
            heapq.heappop(timers)
        first = timers[0][0] if timers else until
        if first is None:
            remaining = -1.0
        else:
            first = first if until is None else min(first, until)
            remaining = max(first - time.monotonic(), 0.0) * self._unit
            if self._unit == 1000:
                remaining = int(remaining) + 1
        ready = self._poller.poll(0.0 if self._asked else remaining)
        watched = self._watched
        for number, events in ready:
            if number == self._near:
                with contextlib.suppress(OSError):
                    os.read(number, 4096)
                self._woken = False  # not before: who wakes in between would write a byte that is read with the others
            else:
                callback = watched.get(number)
                if callback is not None:
                    callback(events)
        for _ in range(len(self._asked)):  # what these ask for comes after the other sockets
            self._asked.popleft()()
        if timers:
            now = time.monotonic()
            while timers and timers[0][0] <= now:
                action = heapq.heappop(timers)[2].action
                if action is not None:
                    action()
        more = bool(self._asked)  # whoever has not read all that a socket has asks to read on
        if looks and not more:
            for _ in range(looks):
                self._looks.popleft().set()
        return more
