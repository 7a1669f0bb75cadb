"""What an actor knows of its ports where tokens may come late or never: the tokens that are there, and who is trusted.

Nothing here waits, or looks at a clock: times are arguments, in seconds of any clock that does not go back. A port
that was late is used as its tokens come, but waited for again only after two successive firings that had its tokens in
time, or would have had them. That is the verdict of a ``Standing``, which the ports of one peer may share.
"""

from __future__ import annotations

from collections import deque
from typing import Optional

from eprune.runtime.kernel.adaptive import Waits

#: The share of a FIFO's time-out for tokens that is its time-out for room, unless the FIFO states one.
ROOM_SHARE = 0.2
#: Successive firings in time that make a port trusted again.
PROOF = 2
#: In so many time-outs' time an actor waits in vain at most once for a port that has been late before.
PROBATION = 20
#: Tokens that tell the pace of a producer: more than may have been held up and come all at once.
_PACE = 16
#: Indices further apart than this are of different incarnations.
_FAR = 1 << 20
#: the policies that these ports know of; '' and 'stop' lose nothing
WAIT, DROP, ZERO, NEWEST = "wait", "drop", "zero", "newest"


class Standing:
    """Whether some ports, usually one, are waited for. ``late_at``: when one of them was late for the last time."""

    __slots__ = ("late_at", "ports", "trusted")

    def __init__(self) -> None:
        self.trusted = True
        self.late_at: Optional[float] = None
        self.ports: list[Port] = []

    def distrust(self) -> None:
        """One of the ports was late: from now on, none is waited for."""
        self.trusted = False
        for port in self.ports:
            port.streak = 0

    @property
    def proven(self) -> bool:
        """Whether all ports have been in time in two successive firings."""
        return all(port.streak >= PROOF or port.over for port in self.ports)


class Port:
    """What inputs and outputs have in common. ``timeout`` in seconds; None: it is waited for, however late it is."""

    __slots__ = ("_last_good", "name", "over", "policy", "rate", "standing", "streak", "timeout")

    def __init__(
        self, name: str, policy: str, rate: int, timeout: Optional[float], standing: Optional[Standing]
    ) -> None:
        self.name = name
        self.policy = policy
        self.rate = rate
        self.timeout = timeout
        self.standing = standing or Standing()
        self.standing.ports.append(self)
        #: whether the other end has ended
        self.over = False
        #: successive firings in time, while the port is not trusted
        self.streak = 0
        self._last_good = -2

    def in_time(self, firing: int) -> None:
        """The actor's firing number ``firing`` had this port's tokens, or would have had them."""
        self.streak = self.streak + 1 if firing == self._last_good + 1 else 1
        self._last_good = firing


class Line:
    """The inputs of an actor that have a source in common, and so are matched by index.

    ``floor``: the least index that a firing may still have; tokens below it are too late. ``index``: that of the next
    firing, as far as the tokens that are there tell.
    """

    __slots__ = ("floor", "index", "inlets", "last", "live", "loses", "required", "stride")

    def __init__(self, floor: int) -> None:
        self.floor = floor
        self.index: Optional[int] = None
        self.inlets: list[Inlet] = []
        #: those without which there is no firing
        self.required: list[Inlet] = []
        #: its only input, if that is to give its newest tokens
        self.live: Optional[Inlet] = None
        #: whether all of its inputs may lose tokens
        self.loses = False
        #: the index that was fired last, and the least distance between two indices
        self.last = -1
        self.stride = 0

    def fired(self, index: int) -> None:
        """The tokens of that index are used; none of it or before will be."""
        if self.last >= 0:
            distance = index - self.last
            if distance < self.stride or not self.stride:
                self.stride = distance
        self.last = index
        self.floor = index + 1

    @property
    def lost_some(self) -> bool:
        """Whether tokens are missing before those that are next."""
        return self.index is not None and self.stride > 0 and self.index > self.last + self.stride

    def newest(self) -> Optional[int]:
        """The newest index of which most inputs have tokens; None if there are none."""
        if len(self.inlets) == 1:
            inlet = self.inlets[0]
            whole = (tokens.index for tokens in reversed(inlet.queue) if len(tokens.slots) >= inlet.rate)
            return next(whole, None)
        counts: dict[int, int] = {}
        for inlet in self.inlets:
            for tokens in inlet.queue:
                if len(tokens.slots) >= inlet.rate:
                    counts[tokens.index] = counts.get(tokens.index, 0) + 1
        return max(counts, key=lambda index: (counts[index], index), default=None)

    def skip_to_newest(self) -> None:
        """Throw away what is older than the newest tokens."""
        newest = self.newest()
        if newest is not None:
            self.floor = max(self.floor, newest)
            for inlet in self.inlets:
                inlet.throw_away_below(self.floor)


class Tokens:
    """The tokens of one firing of the producer: their ``slots``. ``born``: when that firing was, on this clock."""

    __slots__ = ("born", "counted", "index", "slots")

    def __init__(self, index: int, slot: int, born: float) -> None:
        self.index = index
        self.slots = [slot]
        self.born = born
        #: whether they have proven the port to be in time for an earlier firing
        self.counted = False


class Inlet(Port):
    """An input: the tokens that have come and are not used yet, oldest first.

    ``policy`` of its FIFO ('' within a platform). ``rate``: tokens per firing. ``required``: the actor does
    not fire without it. ``timeout``: seconds after which it is late; a required input is waited for however late it is.
    ``line``: inputs of one number are matched by index, inputs of different numbers by arrival. ``ordered``: its FIFO
    has a delay; tokens are taken in order, whatever their index. ``hold``: where there is no new token, the last one is
    given again. ``max_age``: seconds after which a token counts as missing. ``sparse``: its producer sends elsewhere,
    too, so that it is never waited for.
    """

    __slots__ = (
        "_missed",
        "_pace",
        "_partial",
        "alive",
        "discarded",
        "ended",
        "fresh",
        "gone_since",
        "here",
        "hold",
        "line",
        "matched",
        "max_age",
        "ordered",
        "queue",
        "reached",
        "required",
        "sparse",
        "unused",
        "waits",
    )

    def __init__(
        self,
        name: str,
        policy: str = "",
        rate: int = 1,
        required: bool = True,
        timeout: Optional[float] = None,
        *,
        line: int = 0,
        ordered: bool = False,
        hold: bool = False,
        max_age: Optional[float] = None,
        sparse: bool = False,
        standing: Optional[Standing] = None,
    ) -> None:
        if policy == ZERO and timeout is None:
            raise ValueError(f"input {name!r} gets zeros after a time-out, which is missing")
        super().__init__(name, policy, rate, timeout, standing)
        self.required = required and policy != ZERO
        self.line = line
        self.ordered = ordered
        self.hold = hold
        self.max_age = max_age
        self.sparse = sparse
        #: the line that it belongs to; None for what is held or taken in order. The matcher sets it.
        self.matched: Optional[Line] = None
        #: whether it has tokens for the firing that is being decided on
        self.here = False
        self.queue: deque[Tokens] = deque()
        #: whether tokens can be expected; after an outage, from the first token on
        self.alive = True
        #: since when the producer has been unreachable; None if it is not
        self.gone_since: Optional[float] = None
        self.ended = False
        #: all tokens up to this index have come, or never will
        self.reached = -1
        #: whether what is held has not been given yet
        self.fresh = False
        #: tokens that were thrown away unused
        self.discarded = 0
        #: where slots of such tokens are put; the matcher's list, from which they are released
        self.unused: list[tuple[Inlet, int]] = []
        #: firings without this port's tokens, which may still prove to be in time: number, index, when it could begin
        self._missed: deque[tuple[int, Optional[int], float]] = deque()
        #: what learns how late tokens are, where the time-out follows that
        self.waits: Optional[Waits] = None
        self._partial: Optional[Tokens] = None
        #: the indices of the last tokens, and when they came, if zeros may take their place
        self._pace: deque[tuple[int, float]] = deque(maxlen=_PACE)

    # What happens to it

    def arrived(self, index: int, slot: int, now: float, age: float = 0.0) -> None:
        """A token has come: that of the producer's firing ``index``, which was ``age`` seconds ago."""
        self.alive = True
        self.gone_since = None
        if self.policy == ZERO:
            self._pace.append((index, now))
        if self.hold:
            self._arrived_to_be_held(index, slot, now - age)
            return
        queue = self.queue
        last_tokens = queue[-1] if queue else None
        if self.ordered:
            if last_tokens is not None and len(last_tokens.slots) < self.rate:
                last_tokens.slots.append(slot)
            else:
                queue.append(Tokens(index, slot, now - age))
            return
        if last_tokens is not None:
            if last_tokens.index == index and len(last_tokens.slots) < self.rate:
                last_tokens.slots.append(slot)
                return
            if index > last_tokens.index and len(last_tokens.slots) < self.rate:
                self.throw_away(queue.pop())  # the rest of that firing's tokens is lost
        if index <= self.reached:
            self._throw_away_one(slot)  # it came twice, or is the rest of tokens that were too late
            return
        self.reached = index
        tokens = Tokens(index, slot, now - age)
        if self._missed:
            self._count(tokens, now)
        if self.matched is not None and index < self.matched.floor:
            self.throw_away(tokens)
        else:
            queue.append(tokens)

    def watermark(self, index: int) -> None:
        """The producer has given up: no tokens of an index up to ``index`` will come any more."""
        if index > self.reached and not self.ordered:
            if self.queue and len(self.queue[-1].slots) < self.rate:
                self.throw_away(self.queue.pop())
            self.reached = index

    def lost(self, now: float, gone: bool = True) -> None:
        """No tokens are to be expected for now, because the producer is ``gone``, or is starved."""
        if gone and self.gone_since is None:
            self.gone_since = now
        elif not gone:
            self.gone_since = None
        if self.alive:
            self.alive = False
            if self.queue and len(self.queue[-1].slots) < self.rate:
                self.throw_away(self.queue.pop())
            if self.timeout is not None:
                self.standing.distrust()

    def end(self) -> None:
        """The producer has ended; what has come is still used."""
        self.ended = self.over = True
        if self.queue and len(self.queue[-1].slots) < self.rate:
            self.throw_away(self.queue.pop())

    def evict(self) -> list[int]:
        """The slots of the oldest tokens that wait, which give way to newer ones; empty if none wait."""
        if not self.queue or self.hold:
            return []
        tokens = self.queue.popleft()
        self.discarded += len(tokens.slots)
        return tokens.slots

    # What the matcher asks

    def ready(self) -> bool:
        """Whether the tokens of a whole firing are there."""
        return bool(self.queue) and len(self.queue[0].slots) >= self.rate

    def may_come(self, index: Optional[int]) -> bool:
        """Whether tokens for ``index``, or for any, which are not there, can still be expected."""
        if not self.alive or self.ended:
            return False
        if self.matched is None or index is None or self.reached < index:
            return True
        return self.reached == index and len(self.queue) == 1  # the first of several tokens is there

    def hopeless(self, now: float, patience: float) -> bool:
        """Whether no tokens are to be hoped for: the producer has ended, or has been unreachable for too long."""
        return self.ended or (self.gone_since is not None and now >= self.gone_since + patience)

    def too_old(self, now: float) -> bool:
        """Whether the oldest tokens count as missing because of their age."""
        return self.max_age is not None and now - self.queue[0].born > self.max_age

    def due(self, index: int) -> Optional[float]:
        """When tokens of that index are late, by the mean pace of the last ones; None if that is unknown.

        It goes back to the last change of incarnation. The time-out is also what zeros may run ahead of that pace
        before they take the place of tokens that are yet to come.
        """
        last, came = self._pace[-1] if self._pace else (0, 0.0)
        first, before = last, came
        for earlier, then in reversed(self._pace):
            if not 0 <= first - earlier < _FAR:
                break
            first, before = earlier, then
        if last - first < 2:
            return None
        return came + (index - last) * (came - before) / (last - first) + (self.timeout or 0.0)

    def throw_away(self, tokens: Tokens) -> None:
        """They are not used."""
        for slot in tokens.slots:
            self._throw_away_one(slot)

    def throw_away_below(self, index: int) -> None:
        """Throw away what is older than ``index``."""
        queue = self.queue
        while queue and queue[0].index < index:
            self.throw_away(queue.popleft())

    def throw_away_all(self) -> None:
        """Throw away what waits."""
        while self.queue:
            self.throw_away(self.queue.popleft())

    def missed(self, firing: int, index: Optional[int], begin: float) -> None:
        """Firing number ``firing`` went without this port; its tokens have ``index``, or any.

        They are in time if they come within the time-out after ``begin``.
        """
        limit = begin - (self.waits.ceiling if self.waits is not None else self.timeout or 0.0)
        while self._missed and self._missed[0][2] < limit:
            self._missed.popleft()
        self._missed.append((firing, index, begin))

    def _count(self, tokens: Tokens, now: float) -> None:
        """See whether the tokens come in time for a firing that went without them."""
        missed = self._missed
        while missed:
            firing, index, begin = missed[0]
            late = now > begin + (self.timeout or 0.0)
            if late and self.waits is not None and index == tokens.index:
                self.waits.took(now - begin)
            if late or (index is not None and index < tokens.index):
                missed.popleft()
            elif index is None or index == tokens.index:
                missed.popleft()
                tokens.counted = True
                self.in_time(firing)
                return
            else:
                return

    def _arrived_to_be_held(self, index: int, slot: int, born: float) -> None:
        """Keep the newest tokens of a whole firing, and what has come of the next ones."""
        partial = self._partial
        if partial is not None and partial.index == index:
            partial.slots.append(slot)
        else:
            if partial is not None:
                self.throw_away(partial)
            self._partial = partial = Tokens(index, slot, born)
        if len(partial.slots) == self.rate:
            self.throw_away_all()
            self.queue.append(partial)
            self._partial = None
            self.fresh = True

    def _throw_away_one(self, slot: int) -> None:
        self.discarded += 1
        self.unused.append((self, slot))


class Outlet(Port):
    """An output. Its owner keeps ``free`` up to date, the number of tokens that there is room for.

    ``timeout``: seconds after which a firing goes on without room; None: it waits. ``reachable``: whether the consumer
    can be reached, as far as is known; what is made for one that cannot is dropped at once, if the policy allows it.
    ``since``: no time-out has begun before then.
    """

    __slots__ = ("_counted", "_missed", "free", "reachable", "since")

    def __init__(
        self,
        name: str,
        policy: str = "",
        rate: int = 1,
        timeout: Optional[float] = None,
        *,
        standing: Optional[Standing] = None,
    ) -> None:
        super().__init__(name, policy, rate, timeout, standing)
        self.free = 0
        self.since = 0.0
        self.reachable = True
        self._missed: Optional[tuple[int, float]] = None
        self._counted = False

    @property
    def lossy(self) -> bool:
        """Whether tokens may be dropped here."""
        return self.policy in (DROP, ZERO, NEWEST)

    @property
    def usable(self) -> bool:
        """Whether a firing writes to it, if there is room."""
        return not self.over and (self.reachable or not self.lossy)

    @property
    def timed(self) -> bool:
        """Whether it is waited for no longer than its time-out."""
        return self.timeout is not None and self.lossy

    @property
    def blocks(self) -> bool:
        """Whether a firing has to wait for room."""
        return self.usable and not self.has_room and (self.standing.trusted or not self.timed)

    @property
    def has_room(self) -> bool:
        """Whether there is room for a firing's tokens; where the newest are kept, there always is."""
        return self.free >= self.rate or self.policy == NEWEST

    def end(self) -> None:
        """The consumer has ended."""
        self.over = True

    def look(self, now: float) -> None:
        """See whether the room that the last firing lacked has come in time for it."""
        if self._missed is not None and self.has_room:
            firing, begin = self._missed
            self._missed = None
            if now <= begin + (self.timeout or 0.0):
                self.in_time(firing)
                self._counted = True

    def judged(self, firing: int, begin: float, used: bool) -> None:
        """Firing number ``firing`` found room for it, or did not."""
        if used and not self._counted:
            self.in_time(firing)
        else:
            self._missed = (firing, begin)
        self._counted = False
