"""The timeline of a system: each firing and each transfer from its beginning to its end, event after event.

An actor fires as soon as its tokens and its room are there, its thread has its turn, and its unit is free; a source
with a rate or a clock not before its time. The actors of a cluster take turns. Where a unit has several clusters, it
does one firing at a time, in the order in which they could begin. A link sends what was written first, one FIFO's
tokens after the other, and each arrives after the link's latency; room comes back after that of the way back.

Control values are given. A firing with a control value that gives no data port a rate takes no time. Under ``newest``
the oldest tokens that wait are dropped; over a link, the sender keeps the newest, and sends it when the reader has
begun to read the one before. A control source that states a row for late frames takes it instead of the given value
when its firing could begin, or at the moment at which its frame is late and there is no room yet. An input on hold
takes the newest tokens, and gives them again; over a link, older ones give way as newer ones arrive. Nothing is late or
lost otherwise: ``drop`` and ``zero`` are as ``stop``.
A firing's tokens are as old as the oldest of those that it was made from, apart from those on hold, unless there are no
others, and from those over a FIFO with a delay.

Nothing here knows of cycles and paths: the max-plus analysis (``latency``, ``throughput``) is tested against this.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from typing import NamedTuple, Optional, Union

from eprune.analysis.lookup import exact, untold
from eprune.analysis.nests import Nests
from eprune.analysis.sdf.execution import schedule
from eprune.analysis.simulate import Rates, Wiring
from eprune.analysis.throughput import ALONE, Resources, Transfer, held_over_link, window_of
from eprune.analysis.ways import budgets
from eprune.model.graph import Fifo, Graph

#: Seconds of a firing: of an actor always the same, or by its number, counted from 0.
Times = Union[Mapping[str, Fraction], Callable[[str, int], Fraction]]
#: Source -> when the firing began that a token comes from.
Origins = Mapping[str, Fraction]


class Span(NamedTuple):
    """A firing of an actor, or a transfer of a FIFO's tokens over a link, in seconds from the beginning.

    ``place``: the unit ``platform/unit`` ("" where no mapping says), or the link ``platform -> platform``. ``firing``
    counts the actor's firings, or the FIFO's transfers, from 0. ``value`` is the control value, where there is one.
    """

    name: str
    place: str
    firing: int
    begin: Fraction
    end: Fraction
    value: Optional[int] = None


class Age(NamedTuple):
    """How old the tokens of ``source`` were, in seconds, when that ``firing`` of a sink began."""

    source: str
    sink: str
    firing: int
    age: Fraction


@dataclass(frozen=True)
class Timeline:
    """``firings`` and ``transfers`` in the order in which they end, ``ages`` in that in which sinks begin.

    ``late``: dynamic processing graph with a row for late frames -> how often it was taken for one. ``short``: the
    actors that have not fired as often as asked, for they are blocked or their tokens were dropped. ``dropped``: FIFO
    -> tokens that newer ones took the place of.
    """

    firings: tuple[Span, ...]
    transfers: tuple[Span, ...]
    ages: tuple[Age, ...]
    short: tuple[str, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
    late: Mapping[str, int] = field(default_factory=dict)

    @property
    def length(self) -> Fraction:
        """Seconds until everything has ended."""
        return max((span.end for span in (*self.firings, *self.transfers)), default=Fraction(0))


def paces(graph: Graph) -> dict[str, Fraction]:
    """Source -> the seconds between two of its firings at least, where it states a rate or a clock."""
    return {actor.name: 1 / exact(actor.pace) for actor in graph.actors if actor.pace and not actor.inputs}


def timeline(
    graph: Graph,
    times: Times,
    resources: Resources = ALONE,
    iterations: int = 1,
    control: Optional[Mapping[str, Sequence[int]]] = None,
    aged: Optional[Collection[str]] = None,
) -> Timeline:
    """Run a sound graph for so many iterations, each a firing of every actor (of a multi-rate graph as often as its
    repetition vector says), or until nothing more happens.

    ``control``: as for ``simulate``. ``aged``: the sources for whose tokens ages are told; None: all. Raises KeyError
    for an actor without a time, and ValueError for FIFOs with a route: which branch a token takes is not known.
    """
    if any(fifo.route is not None for fifo in graph.fifos):
        raise ValueError("which branch of a route a token takes is known in a run only")
    sources = {actor.name for actor in graph.actors if not actor.inputs}
    run = _Run(graph, times, resources, iterations, control or {}, sources if aged is None else set(aged))
    run.go()
    short = tuple(name for name, count in run.fired.items() if count < run.wiring.due[name] and name not in run.open)
    dropped = {name: channel.dropped for name, channel in run.channels.items() if channel.dropped}
    return Timeline(tuple(run.firings), tuple(run.transfers), tuple(run.ages), short, dropped, run.late)


class _Token(NamedTuple):
    """Where it comes from, and its value, if it is a control token."""

    origins: Origins
    value: Optional[int] = None


class _Channel:
    """A FIFO in a run. Capacity and window bound what is ``taken``: reserved, written, and not known to be released."""

    def __init__(self, fifo: Fifo, most: int, transfer: Optional[Transfer], newest: bool, held: bool) -> None:
        """``most``: the tokens that a firing writes at most."""
        self.fifo, self.most, self.transfer = fifo, most, transfer
        #: of an input on hold, on another platform: older tokens give way as soon as newer ones arrive
        self.yields = held and held_over_link(fifo, transfer)
        #: of all others that divide the graph: newer tokens take the place of those that wait
        self.newest = newest and not self.yields
        self.there = deque(_Token({}) for _ in range(fifo.delay))
        self.room = fifo.capacity + (0 if transfer is None else window_of(fifo, transfer))
        self.taken = fifo.delay
        self.reading = self.dropped = self.sent = 0
        self.unsent: deque[list[_Token]] = deque()
        self.under_way: deque[list[_Token]] = deque()
        #: of one whose sender keeps the newest: whether the reader is ready for it
        self.wanted = True
        #: of an input on hold: its last tokens
        self.held: Optional[Origins] = None
        self.on_hold = held

    @property
    def keeps(self) -> bool:
        """Whether its sender keeps the newest tokens, and so never waits."""
        return self.newest and self.transfer is not None

    def has_room(self, count: int) -> bool:
        """For so many tokens, if need be in the place of those that wait."""
        waiting = len(self.there) - self.reading if self.newest else 0
        return self.keeps or self.taken + count - waiting <= self.room

    def has_tokens(self, count: int) -> bool:
        return len(self.there) >= count or (self.on_hold and self.held is not None)

    def drop(self, count: int) -> None:
        """The oldest of those that nobody reads."""
        for _ in range(count):
            del self.there[self.reading]
        self.taken -= count
        self.dropped += count


class _Late(NamedTuple):
    """The row for late frames: source -> seconds after which its tokens are late; of "", those of any source."""

    dpg: str
    row: int
    after: Mapping[str, Fraction]

    def left(self, origins: Origins, now: Fraction) -> Optional[Fraction]:
        """The seconds until a frame is late; None for one that never is."""
        ends = [
            begin + self.after.get(source, self.after.get("", Fraction(0))) - now
            for source, begin in origins.items()
            if source in self.after or "" in self.after
        ]
        return min(ends, default=None)


class _Firing(NamedTuple):
    begin: Fraction
    given: Mapping[str, int]
    value: Optional[int]
    origins: Origins


class _Run:
    """All that changes."""

    def __init__(
        self,
        graph: Graph,
        times: Times,
        resources: Resources,
        iterations: int,
        control: Mapping[str, Sequence[int]],
        aged: set[str],
    ) -> None:
        self.wiring = wiring = Wiring(graph, iterations, control)
        self.fired = dict.fromkeys(wiring.due, 0)
        rates = {ref: port.rates for ref, port in graph.ports()}
        self.channels = {
            fifo.name: _Channel(
                fifo,
                max(rates[fifo.source]),
                resources.transfers.get(fifo.name),
                fifo.name in wiring.yielding,
                fifo.name in wiring.holding,
            )
            for fifo in graph.fifos
        }
        self.inputs = {name: [self.channels[each.name] for each in own] for name, own in wiring.inputs.items()}
        self.outputs = {name: [self.channels[each.name] for each in own] for name, own in wiring.outputs.items()}
        self._control = {name: self.channels[fifo.name] for name, fifo in wiring.controlled.items()}
        self._control_fifos = {fifo.name for fifo in wiring.controlled.values()}
        self._dynamic = {name for name in wiring.due if name in wiring.leads or name in wiring.controlled}
        self._varying = self._dynamic if not graph.is_sdf else set(wiring.due)
        self._fixed = {name: wiring.rates_at(name, None) for name in wiring.due if name not in self._varying}
        self._seconds = times if callable(times) else (lambda name, index: times[name])
        self._paces, self._aged = paces(graph), aged
        self._late = {
            dpg.control: _Late(
                dpg.name, dpg.late, {out.partition(".")[0]: exact(after) for out, after in budgets(graph, dpg).items()}
            )
            for dpg in graph.dpgs
            if dpg.late is not None
        }
        #: dynamic processing graph -> how often its row for late frames was taken
        self.late = {each.dpg: 0 for each in self._late.values()}
        #: those whose number of firings depends on what is late; each at most one per iteration
        self.open = _open(graph, set(self.late))
        wiring.due.update(dict.fromkeys(self.open, iterations))
        #: firings that have an event for the moment at which their frames are late
        self._waiting: set[tuple[str, int]] = set()
        self._position = {name: position for position, name in enumerate(wiring.due)}

        #: what each thread fires, in turn; in a multi-rate graph by its schedule, in which actors come several times
        self._threads = [list(part) for parts in resources.units.values() for part in parts]
        if graph.is_sdf:
            whole = schedule(graph)
            self._threads = [[name for name in whole if name in part] for part in self._threads]
        self._thread = {name: number for number, part in enumerate(self._threads) for name in part}
        self._turn = [0] * len(self._threads)
        self._unit = {name: unit for unit, parts in resources.units.items() for part in parts for name in part}
        #: units with several threads -> actors that could begin there, the first one at work, if there is one
        self._ready: dict[str, dict[str, None]] = {unit: {} for unit, parts in resources.units.items() if parts[1:]}
        self._links: dict[str, deque[_Channel]] = {each.link: deque() for each in resources.transfers.values()}
        self._busy: set[str] = set()

        self.now = Fraction(0)
        self._running: dict[str, _Firing] = {}
        self._events: list[tuple[Fraction, int, Callable[[str], Iterable[str]], str]] = []
        self._count = 0
        self.firings: list[Span] = []
        self.transfers: list[Span] = []
        self.ages: list[Age] = []

    def go(self) -> None:
        """All of it: of each moment first what ends, then what begins, in file order."""
        asked = set(self.fired)
        while True:
            for name in sorted(asked, key=self._position.__getitem__):
                self._try(name)
            if not self._events:
                return
            self.now, asked = self._events[0][0], set()
            while self._events and self._events[0][0] == self.now:
                _, _, happen, name = heapq.heappop(self._events)
                asked.update(happen(name))

    def _at(self, seconds: Fraction, happen: Callable[[str], Iterable[str]], name: str) -> None:
        self._count += 1
        heapq.heappush(self._events, (self.now + seconds, self._count, happen, name))

    # Firings

    def _try(self, name: str) -> None:
        """Begin a firing, if there can be one."""
        value = self._value(name)
        if not self._can(name, value):
            return
        ready = self._ready.get(self._unit.get(name, ""))
        if ready is not None:
            ready[name] = None
            if next(iter(ready)) != name:
                return
        self._begin(name, value)

    def _value(self, name: str) -> Optional[int]:
        if name in self._control and name not in self.wiring.leads:
            there = self._control[name].there
            return there[0].value if there else None
        value = self.wiring.chosen(name, self.fired[name])
        return self._late[name].row if self._is_late(name, value) else value

    def _is_late(self, name: str, value: Optional[int]) -> bool:
        """Whether a control source that could fire has a late frame, or one that is late now and no room for it."""
        late = self._late.get(name)
        if late is None or name in self._running or self.fired[name] >= self.wiring.due[name]:
            return False
        taken, given = self._rates(name, value)
        if not all(each.has_tokens(taken[each.fifo.name]) for each in self.inputs[name]):
            return False
        left = late.left(self._origins(name, taken), self.now)
        if left is None or left < 0 or value == late.row:
            return left is not None and left < 0
        if all(each.has_room(given[each.fifo.name]) for each in self.outputs[name]):
            return False
        if (name, self.fired[name]) not in self._waiting:
            self._waiting.add((name, self.fired[name]))
            self._at(left, lambda name: [name], name)
        return left == 0

    def _rates(self, name: str, value: Optional[int]) -> Rates:
        """What the next firing takes, and what it gives."""
        return self.wiring.rates_at(name, value, self.fired[name]) if name in self._varying else self._fixed[name]

    def _can(self, name: str, value: Optional[int]) -> bool:
        if name in self._running or self.fired[name] >= self.wiring.due[name]:
            return False
        if self._paces.get(name, 0) * self.fired[name] > self.now:
            return False
        thread = self._thread.get(name)
        if thread is not None and self._threads[thread][self._turn[thread]] != name:
            return False
        if name in self._control and value is None:
            return False
        taken, given = self._rates(name, value)
        return all(each.has_tokens(taken[each.fifo.name]) for each in self.inputs[name]) and all(
            each.has_room(given[each.fifo.name]) for each in self.outputs[name]
        )

    def _begin(self, name: str, value: Optional[int]) -> None:
        if name in self._late:
            self.late[self._late[name].dpg] += self._is_late(name, self.wiring.chosen(name, self.fired[name]))
        taken, given = self._rates(name, value)
        for channel in self.inputs[name]:
            count = taken[channel.fifo.name]
            if channel.on_hold:
                count = min(count, len(channel.there))
                if not channel.yields:
                    channel.drop(len(channel.there) - count)
            channel.reading = count
        for channel in self.outputs[name]:
            count = given[channel.fifo.name]
            if channel.newest and not channel.keeps:
                channel.drop(max(channel.taken + count - channel.room, 0))
            channel.taken += count
        origins = self._origins(name, {channel.fifo.name: channel.reading for channel in self.inputs[name]})
        for channel in self.inputs[name]:
            if channel.yields:
                channel.reading = 0  # it has a copy
        self._running[name] = _Firing(self.now, given, value, origins)
        data = [c.reading for c in self.inputs[name] if c.fifo.name not in self._control_fifos]
        data += [given[c.fifo.name] for c in self.outputs[name] if c.fifo.name not in self._control_fifos]
        idle = name in self._dynamic and data and not any(data)
        if not self.outputs[name]:
            self.ages += [
                Age(source, name, self.fired[name], self.now - begin)
                for source, begin in origins.items()
                if source in self._aged
            ]
        self._at(Fraction(0) if idle else self._seconds(name, self.fired[name]), self._end, name)
        for channel in self.inputs[name]:
            if channel.keeps and channel.reading and channel.transfer is not None:
                channel.wanted = True
                self._send(channel.transfer.link)

    def _origins(self, name: str, taken: Mapping[str, int]) -> Origins:
        """Of what a firing reads, so many tokens of each FIFO. A source is an origin itself."""
        if not self.inputs[name]:
            return {name: self.now} if self._late or name in self._aged else {}
        found: dict[str, Fraction] = {}
        held: dict[str, Fraction] = {}
        for channel in self.inputs[name]:
            if channel.on_hold:
                if channel.reading:
                    channel.held = _oldest(islice(channel.there, channel.reading))
                _merge(held, channel.held or {})
            elif channel.fifo.name not in self._control_fifos:
                _merge(found, _oldest(islice(channel.there, taken[channel.fifo.name])))
        return {**held, **found}

    def _end(self, name: str) -> Iterable[str]:
        firing = self._running.pop(name)
        unit = self._unit.get(name, "")
        self.firings.append(Span(name, unit, self.fired[name], firing.begin, self.now, firing.value))
        self.fired[name] += 1
        asked = {name}
        if name in self._paces:
            due = self._paces[name] * self.fired[name]
            self._at(max(due - self.now, Fraction(0)), lambda name: [name], name)
        for channel in self.inputs[name]:
            for _ in range(channel.reading):
                channel.there.popleft()
            asked |= self._release(channel)
        for channel in self.outputs[name]:
            count = firing.given[channel.fifo.name]
            if count:
                origins = {} if channel.fifo.delay else firing.origins
                control = firing.value if channel.fifo.name in self._control_fifos else None
                self._write(channel, [_Token(origins, control)] * count)
                asked.add(channel.fifo.target.actor)
        if name in self._thread:
            number = self._thread[name]
            self._turn[number] = (self._turn[number] + 1) % len(self._threads[number])
            asked.add(self._threads[number][self._turn[number]])
        if unit in self._ready:
            del self._ready[unit][name]
            asked.update(islice(self._ready[unit], 1))
        return asked

    def _release(self, channel: _Channel) -> set[str]:
        count, channel.reading = channel.reading, 0
        return self._known(channel, count)

    def _known(self, channel: _Channel, count: int) -> set[str]:
        """So many tokens are gone: who may fire, if the sender knows at once."""
        transfer = channel.transfer
        if count and transfer is not None and transfer.back and not channel.keeps:

            def known(name: str) -> Iterable[str]:
                channel.taken -= count
                return [name]

            self._at(transfer.back, known, channel.fifo.source.actor)
            return set()
        channel.taken -= count
        return {channel.fifo.source.actor} if count else set()

    # Links

    def _write(self, channel: _Channel, tokens: list[_Token]) -> None:
        if channel.transfer is None:
            channel.there += tokens
            return
        if channel.keeps and channel.unsent:
            channel.dropped += len(channel.unsent[0])
            channel.taken -= len(channel.unsent[0])
            channel.unsent[0] = tokens
        else:
            channel.unsent.append(tokens)
            self._links[channel.transfer.link].append(channel)
        self._send(channel.transfer.link)

    def _send(self, link: str) -> None:
        """Begin the next transfer over a link, if it is free."""
        waiting = self._links[link]
        channel = next((each for each in waiting if each.wanted), None)
        if link in self._busy or channel is None or channel.transfer is None:
            return
        waiting.remove(channel)
        channel.wanted = not channel.keeps
        self._busy.add(link)
        channel.under_way.append(channel.unsent.popleft())
        begin, latency = self.now, channel.transfer.latency
        busy = channel.transfer.busy * len(channel.under_way[-1]) / channel.most

        def sent(name: str) -> Iterable[str]:
            self.transfers.append(Span(name, link, channel.sent, begin, self.now))
            channel.sent += 1
            self._busy.remove(link)
            self._at(latency, arrived, name)
            self._send(link)
            return ()

        def arrived(name: str) -> Iterable[str]:
            tokens, older = channel.under_way.popleft(), len(channel.there)
            channel.there += tokens
            if not channel.yields or not older:
                return [channel.fifo.target.actor]
            for _ in range(older):
                channel.there.popleft()
            channel.dropped += older
            return [channel.fifo.target.actor, *self._known(channel, older)]

        self._at(busy, sent, channel.fifo.name)


def _open(graph: Graph, late: Collection[str]) -> set[str]:
    """Actors that fire where rows of these graphs give them a rate, without a control token that says so."""
    nests = Nests(graph)
    inner = {dpg.name for dpg in graph.dpgs if any(outer.name in late for outer in nests.chain(dpg)[1:])}
    found = {name for name, dpg in nests.home.items() if dpg.name in inner}
    return found | {name for name in untold(graph) if nests.home[name].name in late}


def _oldest(tokens: Iterable[_Token]) -> dict[str, Fraction]:
    found: dict[str, Fraction] = {}
    for token in tokens:
        _merge(found, token.origins)
    return found


def _merge(found: dict[str, Fraction], more: Origins) -> None:
    """The older one of each source's."""
    for source, begin in more.items():
        found[source] = min(begin, found.get(source, begin))
