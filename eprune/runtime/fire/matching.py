"""What an actor's next firing is made of, where tokens may be late, lost or old: nobody waits for the late.

A ``Matcher`` decides for one actor. It is pure: it neither waits nor looks at a clock or at a socket, and times are
arguments, in seconds of any clock that does not go back. Its owner tells its inlets and outlets what happened, calls
``decide`` and does what the decision says.

- Inputs of one line match by index, inputs of different lines by arrival: each gives its next tokens, and its newest
  ones if it has been late, if some line has lost tokens, or if it is alone in its line and its FIFO keeps the newest.
  An actor with exactly one line fires with the line's index; any other one numbers its own firings.
- A firing could begin when enough of the inputs are there and every output that is waited for has room. What is not
  there a time-out later is late, and the firing goes on without it.
- A late port is used as its tokens come, but not waited for until it has been in time for two successive firings.
- An actor that waited in vain for the same port twice in twenty time-outs' time waits for no late port for as long.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from eprune.runtime.fire.decision import Decision, Ended, Fire, Starved, Wait
from eprune.runtime.fire.matched_ports import DROP, NEWEST, PROBATION, WAIT, ZERO, Inlet, Line, Outlet, Port, Tokens
from eprune.runtime.fire.numbering import Numbering
from eprune.runtime.kernel.adaptive import Waits

#: An owner that calls later than it was asked to, by this share of what it waited for, was held up itself.
_HELD_UP = 0.5


class Matcher:
    """Decides on the firings of one actor.

    ``quorum``: the least number of inputs that have tokens or zeros in a firing.
    ``patience``: seconds to wait for producers that are gone while nothing else is left. ``numbering``: for an actor
    that has several lines or none, but for a source.

    After each call of ``decide`` the owner releases the slots in ``unused`` and clears the list. What the actor sends
    says that nothing up to ``given_up`` will come any more.
    """

    def __init__(
        self,
        inlets: Sequence[Inlet],
        outlets: Sequence[Outlet],
        quorum: int = 1,
        *,
        patience: float = 60.0,
        numbering: Optional[Numbering] = None,
        first_index: int = 0,
        relays: bool = False,
    ) -> None:
        """``relays``: the inputs bring the same indices in the same order, whatever it is, which the firings have."""
        self.inlets = list(inlets)
        self.outlets = list(outlets)
        self.quorum = min(quorum, len(self.inlets))
        self.patience = patience
        #: slots of tokens that are thrown away, to be released
        self.unused: list[tuple[Inlet, int]] = []
        #: number of the next firing, from 0
        self.firing = 0
        #: time-outs that this actor has sat through
        self.timeouts = 0
        #: the ports that were late at the last time-out
        self.late: list[Port] = []
        lines: dict[int, Line] = {}
        for inlet in self.inlets:
            inlet.unused = self.unused
            if not inlet.ordered and not inlet.hold:
                line = lines.setdefault(inlet.line, Line(first_index))
                inlet.matched = line
                line.inlets.append(inlet)
                if inlet.required:
                    line.required.append(inlet)
        self.lines = list(lines.values())
        for line in self.lines:
            line.loses = all(inlet.policy in (DROP, ZERO, NEWEST) for inlet in line.inlets)
            if len(line.inlets) == 1 and line.inlets[0].policy == NEWEST:
                line.live = line.inlets[0]
        #: the line whose index is the firing's
        self.leading = self.lines[0] if len(self.lines) == 1 else None
        self.relays = relays
        if self.inlets and self.leading is None and numbering is None and not relays:
            raise ValueError("an actor whose inputs do not form exactly one line needs a numbering")
        self.numbering = numbering if self.inlets and self.leading is None and not relays else None
        #: what learns how long tokens are waited for, where time-outs follow that
        self.waits: Optional[Waits] = next((i.waits for i in self.inlets if i.waits is not None), None)
        #: the inputs that decide when there is a firing, and when the actor ends
        self._decisive = [inlet for line in self.lines for inlet in line.inlets] or [
            inlet for inlet in self.inlets if not inlet.hold
        ]
        self._fire = Fire(len(self.inlets), len(self.outlets))
        self._plain = not any(i.hold or i.max_age is not None for i in self.inlets)
        self._single = all(len(line.inlets) == 1 for line in self.lines)
        self._relapse: Optional[float] = None  # when a port was late again
        self._lead: Optional[Line] = None  # by arrival, what begins a firing where no input is trusted
        self._reset()

    @property
    def given_up(self) -> int:
        """No firing will have an index up to this; -1 at first, and for a source, which numbers what it has made."""
        if self.leading is not None:
            return self.leading.floor - 1
        return self.numbering.given_up if self.numbering else -1

    def apart(self, clock: float) -> Optional[tuple[Inlet, Inlet]]:
        """Two inputs of one line whose indices are a time-out or more apart, by a clock of that many counts per second.

        Their sources state a clock, and those clocks disagree.
        """
        for line in self.lines:
            known = [inlet for inlet in line.inlets if inlet.reached >= 0 and inlet.timeout is not None]
            if len(known) > 1:
                first, last = min(known, key=lambda i: i.reached), max(known, key=lambda i: i.reached)
                if last.reached - first.reached > clock * max(first.timeout or 0, last.timeout or 0):
                    return first, last
        return None

    def decide(self, now: float, looked: bool = False) -> Decision:
        """What to do now. Only if the owner has just ``looked`` at all sockets and found nothing, something is late."""
        if self._plain and self._all_there():
            return self._fire_plainly(now)
        return self._decide(now, looked)

    # The common case: everything is there

    def _all_there(self) -> bool:
        index = -1
        for inlet in self.inlets:
            queue = inlet.queue
            if not queue or not inlet.standing.trusted:
                return False
            tokens = queue[0]
            if len(tokens.slots) != inlet.rate:
                return False
            line = inlet.matched
            if line is None:
                continue
            if line.live is not None and len(queue) > 1:
                return False
            if self.leading is None:
                if not self._single or (line.stride and tokens.index > line.last + line.stride):
                    return False
            elif index < 0:
                index = tokens.index
            elif tokens.index != index:
                return False
        for outlet in self.outlets:
            if outlet.free < outlet.rate or outlet.over or not outlet.standing.trusted or not outlet.reachable:
                return False
        return True

    def _fire_plainly(self, now: float) -> Fire:
        fire = self._fire
        for position, inlet in enumerate(self.inlets):
            tokens = inlet.queue.popleft()
            fire.tokens[position] = tokens.slots
            fire.indices[position] = index = tokens.index
            fire.zeros[position] = False
            if inlet.matched is not None:
                inlet.matched.fired(index)
        for position in range(len(self.outlets)):
            fire.use[position] = True
        fire.index = self._number(now)
        self.firing += 1
        if self.waits is not None:
            self.waits.took(0.0 if self._begin is None else now - self._begin)
        if self._begin is not None or self._until is not None or self._no_room is not None:
            self._reset()
        return fire

    def _number(self, now: float) -> Optional[int]:
        """The firing's index, once its tokens are taken."""
        if self.leading is not None:
            return self.leading.floor - 1
        if self.relays:
            return self._fire.indices[0]
        return self.numbering.next(now + self.numbering.offset) if self.numbering is not None else None

    # All other cases

    def _reset(self) -> None:
        """Forget how long a firing has been waited for."""
        self._no_room: Optional[float] = None  # since when it has only lacked room
        self._begin: Optional[float] = None  # since when it could begin
        self._until: Optional[float] = None  # when the owner was to come back
        self._excused = self._in_vain = False

    def _decide(self, now: float, looked: bool) -> Decision:
        gone = [port for port in self.outlets if port.over]
        if gone and (len(gone) == len(self.outlets) or not all(port.lossy for port in gone)):
            return Ended(gone)
        self._notice_own_delay(now)
        for outlet in self.outlets:
            outlet.look(now)
        decision: Optional[Decision] = self._lack_of_quorum(now)
        if decision is not None:
            self._reset()
            return decision
        waiting = self._lack_of_room(now, looked) or self._lack_of_tokens(now, looked)
        if waiting is not None:
            self._until = waiting.until if waiting.until is not None and waiting.until > now else None
            return waiting
        return self._go(now)

    def _notice_own_delay(self, now: float) -> None:
        """Do not blame others for what this process slept or computed while it should have looked: wait anew, once."""
        since = self._no_room if self._begin is None else self._begin
        if self._until is None or self._excused or since is None:
            return
        if now > self._until + _HELD_UP * (self._until - since):
            self._excused = True
            if self._begin is None:
                self._no_room = now
            else:
                self._begin = now

    # Which tokens belong together

    def _settle(self, now: float) -> None:
        """Throw away what can no longer be used, and find out which tokens the next firing would have."""
        for inlet in self.inlets:
            if inlet.max_age is not None and not inlet.hold:
                while inlet.queue and inlet.too_old(now):
                    inlet.throw_away(inlet.queue.popleft())
        for line in self.lines:
            if line.live is not None:
                line.skip_to_newest()
            self._settle_line(line)
        if self.leading is None and any(line.lost_some and line.live is None for line in self.lines):
            # What the others have would wait for good, and their producers for room: all go on with their newest.
            for line in self.lines:
                if line.loses:
                    line.skip_to_newest()
                    self._settle_line(line)
        for inlet in self.inlets:
            if inlet.hold:
                inlet.here = bool(inlet.queue) and not inlet.too_old(now)
            elif inlet.matched is None:
                inlet.here = inlet.ready()
            else:
                inlet.here = inlet.ready() and inlet.queue[0].index == inlet.matched.index

    def _settle_line(self, line: Line) -> None:
        if len(line.inlets) == 1:
            _settle_alone(line, line.inlets[0], newest=self.leading is None)
            return
        for inlet in line.inlets:
            inlet.throw_away_below(line.floor)
        if line.required:
            _settle_by_required(line)
        else:
            _settle_by_any(line, newest=self.leading is None)

    # Whether there is enough for a firing

    def _lack_of_quorum(self, now: float) -> Optional[Decision]:
        """What to do if there is not enough for a firing; None if there is."""
        while self.inlets:
            self._settle(now)
            lacking = [inlet for inlet in self.inlets if _lacks(inlet)]
            if lacking:
                over = [inlet for inlet in lacking if inlet.hopeless(now, self.patience)]
                if over:
                    return Ended(over)
                lost = [inlet for inlet in lacking if not inlet.alive]
                return self._starve(lost, now) if lost else Wait(None, lacking)
            some = any(inlet.here for inlet in self._decisive)
            count = sum(inlet.here or inlet.policy == ZERO for inlet in self.inlets)
            if some and count >= self.quorum:
                return None
            if self._is_over(now):
                return Ended([inlet for inlet in self._decisive if not inlet.ready()])
            if not some and count >= self.quorum and any(inlet.policy == ZERO for inlet in self._decisive):
                return None  # zeros alone
            live = [inlet for inlet in self._decisive if inlet.ready() or inlet.alive or inlet.policy == ZERO]
            live = [inlet for inlet in live if inlet.ready() or not inlet.ended]
            held = sum(inlet.here for inlet in self.inlets if inlet.hold)
            if not live or len(live) + held < self.quorum:
                return self._starve([inlet for inlet in self._decisive if inlet not in live], now)
            hoped = [inlet for inlet in self.inlets if not inlet.here and inlet.may_come(_index(inlet))]
            if not some or count + sum(inlet.policy != ZERO for inlet in hoped) >= self.quorum:
                return Wait(None, hoped)
            self._give_up()
        return None

    def _is_over(self, now: float) -> bool:
        """Whether the actor can never fire again, unless on zeros alone, which would never end."""
        left = [inlet for inlet in self._decisive if inlet.ready() or not inlet.hopeless(now, self.patience)]
        held = sum(inlet.here for inlet in self.inlets if inlet.hold)
        if not left or len(left) + held < self.quorum:
            return True
        return not any(inlet.alive or inlet.ready() for inlet in left) and any(i.ended for i in self._decisive)

    def _give_up(self) -> None:
        """There will never be enough tokens of this index: go on with the next one."""
        for line in self.lines:
            index = line.index
            if index is not None and any(not inlet.here and not inlet.may_come(index) for inlet in line.inlets):
                line.floor = index + 1

    def _starve(self, lost: Sequence[Inlet], now: float) -> Starved:
        """Throw away what there is, so that nobody waits for this actor's room, until what is lost is back."""
        for inlet in self.inlets:
            if inlet not in lost and not (inlet.ordered or inlet.hold or inlet.policy == WAIT):
                inlet.throw_away_all()
        ends = [inlet.gone_since + self.patience for inlet in self.inlets if inlet.gone_since is not None]
        return Starved(min((end for end in ends if end > now), default=None), lost)

    # Whether it is time

    def _lack_of_room(self, now: float, looked: bool) -> Optional[Wait]:
        """What to do if an output that is waited for has no room; None if all have."""
        blocked = [outlet for outlet in self.outlets if outlet.blocks]
        if not blocked:
            return None
        if self._no_room is None:
            self._no_room = now
        since = self._no_room
        if looked:
            late = [outlet for outlet in blocked if outlet.timed and now >= _room_due(outlet, since)]
            self._time_out(late, now)
            blocked = [outlet for outlet in blocked if outlet.blocks]
            if not blocked:
                return None
        return Wait(min((_room_due(port, since) for port in blocked if port.timed), default=None), blocked)

    def _lack_of_tokens(self, now: float, looked: bool) -> Optional[Wait]:
        """What to do if an input that is waited for lacks its tokens; None if none does."""
        if self._begin is None:
            self._begin = now
        begin = self._begin
        if self._lead is not None and any(
            i.here and (i.standing.trusted or i.matched is self._lead) for i in self.inlets
        ):
            self._lead = None
        awaited = [inlet for inlet in self.inlets if self._is_awaited(inlet)]
        if looked and self._lead is not None and all(now >= begin + (i.timeout or 0) for i in self._lead.inlets):
            self._lead = None
            awaited = [inlet for inlet in awaited if self._is_awaited(inlet)]
        if looked:
            self._time_out([i for i in awaited if i.timeout is not None and now >= begin + i.timeout], now)
            awaited = [inlet for inlet in awaited if self._is_awaited(inlet)]
        if self._decisive and not any(inlet.here for inlet in self._decisive):
            zeros = [inlet for inlet in self._decisive if inlet.policy == ZERO]
            pace = max(self._due(inlet, begin) for inlet in zeros)
            if now < pace or not looked:
                return Wait(pace, [*zeros, *awaited])
        if not awaited:
            return None
        return Wait(min((begin + i.timeout for i in awaited if i.timeout is not None), default=None), awaited)

    def _due(self, inlet: Inlet, begin: float) -> float:
        """When zeros alone are fired on: at the pace at which tokens came before, else at that of the time-out."""
        due = None if inlet.matched is None else inlet.due(inlet.matched.floor)
        return begin + (inlet.timeout or 0.0) if due is None else max(due, begin)

    def _is_awaited(self, inlet: Inlet) -> bool:
        if inlet.here or inlet.sparse or (inlet.hold and inlet.queue):
            return False
        trusted = inlet.timeout is None or inlet.standing.trusted
        return (trusted or (self._lead is not None and inlet.matched is self._lead)) and inlet.may_come(_index(inlet))

    def _time_out(self, late: Sequence[Port], now: float) -> None:
        """The firing goes on without these ports."""
        if not late:
            return
        self.late = list(late)
        self.timeouts += 1
        self._in_vain = True
        for port in late:
            standing = port.standing
            if standing.late_at is not None and standing.late_at < now < standing.late_at + _probation(port):
                self._relapse = now
            standing.late_at = now
            standing.distrust()

    # The firing

    def _go(self, now: float) -> Fire:
        begin = now if self._begin is None else self._begin
        fire = self._fire
        if self._decisive and not any(inlet.here for inlet in self._decisive):
            for line in self.lines:
                line.index = line.floor  # of zeros alone
        for position, inlet in enumerate(self.inlets):
            self._take(fire, position, inlet, begin)
        for position, outlet in enumerate(self.outlets):
            used = outlet.usable and outlet.has_room
            fire.use[position] = used
            if not outlet.standing.trusted:
                outlet.judged(self.firing, begin, used)
        if self.leading is None:
            self._lead = next((line for line in self.lines if any(inlet.here for inlet in line.inlets)), None)
        for line in self.lines:
            if line.index is not None:
                line.fired(line.index)
        fire.index = self._number(now)
        for port in (*self.inlets, *self.outlets):
            self._trust_again(port, now)
        self.firing += 1
        if self.waits is not None and not self._in_vain:
            self.waits.took(now - begin)
        self._reset()
        return fire

    def _take(self, fire: Fire, position: int, inlet: Inlet, begin: float) -> None:
        fire.tokens[position] = None
        fire.held[position] = False
        fire.zeros[position] = not inlet.here and inlet.policy == ZERO
        in_time = False
        if inlet.here:
            tokens: Tokens = inlet.queue[0]
            if inlet.hold:
                fire.held[position] = not inlet.fresh
                inlet.fresh = False
            else:
                inlet.queue.popleft()
            fire.tokens[position] = tokens.slots
            fire.indices[position] = tokens.index
            in_time = not tokens.counted
        if not inlet.standing.trusted and not inlet.hold:
            if in_time:
                inlet.in_time(self.firing)
            else:
                inlet.missed(self.firing, None if inlet.here else _index(inlet), begin)

    def _trust_again(self, port: Port, now: float) -> None:
        """Wait for a port again that has proven to be in time, unless one relapsed not long ago."""
        if port.standing.trusted or not port.standing.proven:
            return
        if self._relapse is None or now >= self._relapse + _probation(port):
            port.standing.trusted = True


def _lacks(inlet: Inlet) -> bool:
    """Whether there can be no firing for want of this input's tokens."""
    if inlet.here or not inlet.required:
        return False
    if inlet.matched is None or inlet.matched.index is not None:
        return True
    return not inlet.ready()  # the line's index is not known for want of some required input's tokens


def _room_due(outlet: Outlet, since: float) -> float:
    """When a firing that has waited for room since then goes on without."""
    return max(since, outlet.since) + (outlet.timeout or 0.0)


def _probation(port: Port) -> float:
    return PROBATION * (port.timeout or 0.0)


def _index(inlet: Inlet) -> Optional[int]:
    """The index that the input's tokens need for the firing that is being decided on; None: any."""
    return inlet.matched.index if inlet.matched is not None else None


def _settle_alone(line: Line, inlet: Inlet, newest: bool) -> None:
    """Go on to the oldest tokens of the line's only input; to the ``newest`` if it has been late."""
    queue = inlet.queue
    inlet.throw_away_below(line.floor)
    if newest and not inlet.standing.trusted:
        line.skip_to_newest()
    if queue:
        line.floor = queue[0].index
        line.index = line.floor if len(queue[0].slots) >= inlet.rate else None
    else:
        line.floor = max(line.floor, inlet.reached + 1)
        line.index = None


def _settle_by_required(line: Line) -> None:
    """Go on to the first index for which all required inputs have tokens, or may get some."""
    while True:
        for inlet in line.required:
            line.floor = max(line.floor, inlet.queue[0].index if inlet.queue else inlet.reached + 1)
        for inlet in line.inlets:
            inlet.throw_away_below(line.floor)
        if all(not inlet.queue or inlet.queue[0].index == line.floor for inlet in line.required):
            break
    line.index = line.floor if all(inlet.ready() for inlet in line.required) else None


def _settle_by_any(line: Line, newest: bool) -> None:
    """Go on to the least index of which there are tokens; to the ``newest`` if all that have some have been late."""
    ready = [inlet for inlet in line.inlets if inlet.ready()]
    if newest and ready and not any(inlet.standing.trusted for inlet in ready):
        line.skip_to_newest()
        ready = [inlet for inlet in line.inlets if inlet.ready()]
    line.index = min((inlet.queue[0].index for inlet in ready), default=None)
    # What nobody who is waited for will have any more is given up.
    known = [
        inlet.queue[0].index if inlet.queue else inlet.reached + 1
        for inlet in line.inlets
        if inlet.alive and not inlet.ended and inlet.standing.trusted
    ]
    if known:
        line.floor = max(line.floor, min(known) if line.index is None else min(line.index, *known))
    for inlet in line.inlets:
        inlet.throw_away_below(line.floor)
