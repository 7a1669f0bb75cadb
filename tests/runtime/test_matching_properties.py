"""Whatever happens to an actor's ports, in whatever order: no token is used twice or forgotten; indices increase."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

from hypothesis import given, settings
from hypothesis import strategies as st

from eprune.runtime.fire.decision import Ended, Fire
from eprune.runtime.fire.matched_ports import Inlet, Outlet
from eprune.runtime.fire.matching import Matcher
from eprune.runtime.fire.numbering import Numbering


@dataclass(frozen=True)
class Kind:
    """An input of a random actor."""

    policy: str
    rate: int
    required: bool
    line: int
    ordered: bool = False
    hold: bool = False
    max_age: Optional[float] = None


KINDS = st.builds(
    Kind,
    st.sampled_from(["", "wait", "drop", "zero", "newest"]),
    st.integers(1, 2),
    st.booleans(),
    st.integers(0, 2),
    st.sampled_from([False, False, False, True]),
    st.sampled_from([False, False, False, True]),
    st.sampled_from([None, None, 0.7]),
)
#: what happens: which port, what, how far the index goes on, and how much time passes
EVENTS = st.lists(
    st.tuples(
        st.integers(0, 9),
        st.sampled_from(["tokens"] * 8 + ["part", "watermark", "lost", "starved", "room", "no room", "evict", "end"]),
        st.integers(1, 3),
        st.sampled_from([0.0, 0.01, 0.1, 0.5, 3.0]),
    ),
    max_size=120,
)


@dataclass
class World:
    """Owns a matcher, and keeps the books on slots."""

    kinds: list[Kind]
    quorum: int
    inlets: list[Inlet] = field(default_factory=list)
    slots: dict[int, str] = field(default_factory=dict)  # what has become of each
    where: dict[int, tuple[int, int]] = field(default_factory=dict)  # slot -> input, index
    last_index: int = -1
    given_up: int = -1
    ended: bool = False

    def __post_init__(self) -> None:
        for number, kind in enumerate(self.kinds):
            timed = kind.policy in ("drop", "zero", "newest")
            hold = kind.hold and number > 0
            self.inlets.append(
                Inlet(
                    str(number),
                    kind.policy,
                    kind.rate,
                    kind.required,
                    1.0 if timed else None,
                    line=kind.line,
                    ordered=kind.ordered and number > 0 and not hold,
                    hold=hold,
                    max_age=kind.max_age,
                )
            )
        self.outlets = [Outlet("x", "drop", 1, 0.2), Outlet("y", "")]
        self.matcher = Matcher(self.inlets, self.outlets, self.quorum, numbering=Numbering(0.0))

    def tokens(self, number: int, index: int, count: int, now: float) -> None:
        for _ in range(count):
            slot = len(self.slots)
            self.slots[slot] = "waits"
            self.where[slot] = (number, index)
            self.inlets[number].arrived(index, slot, now)

    def leave(self, number: int, slots: list[int], how: str) -> None:
        for slot in slots:
            assert self.where[slot][0] == number
            assert self.slots[slot] in ("waits", "held"), f"{self.slots[slot]}, now {how}"
            self.slots[slot] = how

    def step(self, now: float) -> bool:
        """Decide, and act on it; whether there was a firing."""
        decision = self.matcher.decide(now, looked=True)
        self.clear()
        assert self.matcher.given_up >= self.given_up
        before, self.given_up = self.given_up, self.matcher.given_up
        self.ended |= isinstance(decision, Ended)
        if not isinstance(decision, Fire):
            return False
        self.check(decision, before)
        return True

    def clear(self) -> None:
        for inlet, slot in self.matcher.unused:
            self.leave(int(inlet.name), [slot], "unused")
        self.matcher.unused.clear()

    def check(self, fire: Fire, given_up: int) -> None:
        assert fire.index is not None
        assert fire.index > max(self.last_index, given_up)
        self.last_index = fire.index
        lines: dict[int, set[int]] = {}
        present = 0
        for number, (inlet, slots) in enumerate(zip(self.inlets, fire.tokens)):
            assert not (slots is not None and fire.zeros[number])
            assert slots is not None or not inlet.required
            present += slots is not None or fire.zeros[number]
            if slots is None:
                continue
            assert len(slots) == inlet.rate
            of = {self.where[slot][1] for slot in slots}
            assert inlet.ordered or of == {fire.indices[number]}
            if not inlet.ordered and not inlet.hold:
                lines.setdefault(inlet.line, set()).update(of)
            self.leave(number, slots, "held" if inlet.hold else "used")
        assert all(len(indices) == 1 for indices in lines.values())
        assert present >= self.matcher.quorum
        if self.matcher.leading is not None and lines:
            assert lines[self.matcher.leading.inlets[0].line] == {fire.index}
        assert all(used or not outlet.has_room for used, outlet in zip(fire.use, self.outlets))


@settings(max_examples=300, deadline=None)
@given(st.lists(KINDS, min_size=1, max_size=4), st.integers(1, 3), EVENTS)
def test_every_token_is_used_once_or_thrown_away_once_or_waits(kinds, quorum, events):
    world = World(kinds, quorum)
    indices = [-1] * len(kinds)
    over: set[int] = set()
    now = 0.0
    for port, what, further, passed in events:
        now += passed
        number = port % len(kinds)
        inlet = world.inlets[number]
        if what in ("room", "no room"):
            world.outlets[port % 2].free = 5 if what == "room" else 0
        elif number in over:
            pass
        elif what in ("tokens", "part"):
            indices[number] += further
            world.tokens(number, indices[number], inlet.rate if what == "tokens" else 1, now)
        elif what == "watermark":
            indices[number] += further
            inlet.watermark(indices[number])
        elif what in ("lost", "starved"):
            inlet.lost(now, gone=what == "lost")
        elif what == "evict":
            world.leave(number, inlet.evict(), "unused")
        else:
            inlet.end()
            over.add(number)
        for _ in range(20):
            if world.ended or not world.step(now):
                break
    world.clear()
    queued = {slot for inlet in world.inlets for tokens in inlet.queue for slot in tokens.slots}
    queued |= {slot for inlet in world.inlets if inlet._partial for slot in inlet._partial.slots}
    assert queued == {slot for slot, state in world.slots.items() if state in ("waits", "held")}


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 4), max_size=40), st.lists(st.integers(1, 4), max_size=40), st.randoms())
def test_without_time_outs_the_firings_do_not_depend_on_who_comes_first(a_steps, b_steps, rng):
    """An input that lacks some indices, matched with another one: what is fired on is what the indices say."""

    def firings(shuffled: bool) -> list[tuple[int, bool, bool]]:
        a, b = Inlet("a", "drop", 1, False, 1.0), Inlet("b", "drop", 1, False, 1.0)
        matcher = Matcher([a, b], [])
        waiting = [(a, index) for index in _sums(a_steps)], [(b, index) for index in _sums(b_steps)]
        found = []
        queues = [list(queue) for queue in waiting]
        while any(queues):
            queue = rng.choice([q for q in queues if q]) if shuffled else next(q for q in queues if q)
            inlet, index = queue.pop(0)
            inlet.arrived(index, index, 0.0)
            if not queue:
                inlet.end()
            while isinstance(fire := matcher.decide(0.0), Fire):
                assert fire.index is not None
                found.append((fire.index, fire.tokens[0] is not None, fire.tokens[1] is not None))
        return found

    if a_steps and b_steps:
        assert firings(False) == firings(True)
        assert {index for index, _, _ in firings(True)} == {*_sums(a_steps), *_sums(b_steps)}


def _sums(steps: list[int]) -> list[int]:
    return [sum(steps[: place + 1]) for place in range(len(steps))]
