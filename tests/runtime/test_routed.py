"""A route's sender and reader, with branches that lose tokens, answer late or twice, die and return."""

from __future__ import annotations

from collections import deque

from hypothesis import given, settings
from hypothesis import strategies as st

from eprune.runtime.fire.decision import Ended, Fire
from eprune.runtime.fire.matched_ports import Inlet, Outlet
from eprune.runtime.fire.matching import Matcher
from eprune.runtime.fire.routed import AnswerInput, Answers, RoutedOutput, Sender
from eprune.runtime.fire.routing import Router
from eprune.runtime.kernel.fifo import Fifo

TIMEOUT = 10.0


class Way(Fifo):
    """A FIFO to a branch, as the sending end of a connection shows it."""

    def __init__(self, name: str, capacity: int) -> None:
        super().__init__(name, "int64", (1,), capacity)
        self.answered = self.breaks = self.resent = 0
        self.unanswered = None
        self.up = True

    @property
    def connected(self) -> bool:
        return self.up


class World:
    """One sender, some branches, and a reader, where the branches' answers come back."""

    def __init__(self, branches: int, capacity: int, keeps: bool, back: bool) -> None:
        self.now, self.back, self.made = 0.0, back, 0
        self.ways = [Way(f"w{n}", capacity) for n in range(branches)]
        self.backs = [Fifo(f"b{n}", "int64", (1,), capacity) for n in range(branches)]
        self.at: list[deque[tuple[int, int]]] = [deque() for _ in range(branches)]  # (index, value) at a branch
        self.read: list[tuple[int, int]] = []
        self.outputs = [RoutedOutput(way.name, way, 1, Outlet(way.name, "drop"), way) for way in self.ways]
        answers = Answers() if back else None
        self.router = Router([capacity] * branches, TIMEOUT, keeps=keeps)
        self.sender = Sender("A", self.outputs, self.router, answers, 1e9)
        self.inputs = []
        if answers is not None:
            for number, fifo in enumerate(self.backs):
                inlet = Inlet(fifo.name, "drop", required=False, timeout=TIMEOUT)
                self.inputs.append(AnswerInput(fifo.name, fifo, 1, inlet, number, answers))
            self.matcher = Matcher([port.inlet for port in self.inputs], [], patience=1e9)

    def look(self) -> None:
        for output in self.outputs:
            output.poll()
        self.sender.poll(self.now)

    def send(self) -> None:
        """One firing of the sender, if it need not wait; the same choice as the matcher's."""
        self.look()
        outlets = [output.outlet for output in self.outputs]
        if any(outlet.blocks for outlet in outlets):
            return
        for output in self.outputs:
            output.use(output.outlet.usable and output.outlet.has_room)
            room = output.acquire()
            room[...] = 7 * self.made
        for output in self.outputs:
            output.commit(self.made)
        self.made += 1

    def carry(self, number: int) -> None:
        """What was sent to a branch is there."""
        way = self.ways[number]
        while way.released < way.written:
            slot = way.released % way.capacity
            if way.up:
                self.at[number].append((way.firings[slot], int(way.readable[slot][0])))
            way.released += 1

    def answer(self, number: int, lose: bool = False) -> None:
        """A branch fires."""
        self.carry(number)
        back = self.backs[number]
        if not self.at[number] or not self.ways[number].up or back.capacity - back.written + back.released < 1:
            return
        index, value = self.at[number].popleft()
        if not self.back:
            self.read.append((index, value))
            self.ways[number].answered = self.ways[number].written - len(self.at[number])
        elif not lose:
            back.writable[back.written % back.capacity][...] = value
            back.commit(1, index)

    def cut(self, number: int) -> None:
        """A branch dies, with all that it has."""
        if self.ways[number].up:
            self.carry(number)
            self.ways[number].up = False
            self.ways[number].breaks += 1
            self.at[number].clear()
            self.backs[number].lost = self.backs[number].gone = True

    def mend(self, number: int) -> None:
        self.carry(number)
        self.ways[number].up = True
        self.backs[number].lost = False

    def take(self) -> None:
        """The reader fires as often as it can."""
        while self.back:
            for port in self.inputs:
                port.poll(self.now)
            decision = self.matcher.decide(self.now, looked=True)
            assert not isinstance(decision, Ended)
            for inlet, slot in self.matcher.unused:
                next(port for port in self.inputs if port.inlet is inlet).give_back(slot, False)
            self.matcher.unused.clear()
            if not isinstance(decision, Fire):
                return
            (position,) = (n for n, numbers in enumerate(decision.tokens) if numbers is not None)
            numbers = decision.tokens[position]
            assert numbers is not None and decision.index is not None
            self.read.append((decision.index, int(self.inputs[position].views(numbers)[0])))
            for slot in numbers:
                self.inputs[position].give_back(slot, True)

    def settle(self) -> None:
        """All branches work until nothing is left to be done."""
        for _ in range(200):
            for number in range(len(self.ways)):
                self.mend(number)
                self.answer(number)
            self.take()
            self.look()
            self.now += TIMEOUT / 4


STEPS = st.lists(st.tuples(st.sampled_from(("send", "send", "answer", "answer", "lose", "cut", "mend", "take", "wait")),
                           st.integers(0, 2)), max_size=60)  # fmt: skip


def play(world: World, steps: list[tuple[str, int]]) -> None:
    for what, number in steps:
        number %= len(world.ways)
        if what == "send":
            world.send()
        elif what in ("answer", "lose"):
            world.answer(number, what == "lose" and world.back)
        elif what == "cut":
            world.cut(number)
        elif what == "mend":
            world.mend(number)
        elif what == "take":
            world.take()
        else:
            world.now += TIMEOUT / 2
            world.look()
    world.settle()


@settings(max_examples=150)
@given(st.integers(2, 3), st.integers(1, 3), STEPS)
def test_what_is_kept_is_answered_once_and_in_order_whatever_happens(branches, capacity, steps):
    world = World(branches, capacity, keeps=True, back=True)
    play(world, steps)
    assert world.read == [(index, 7 * index) for index in range(world.made)]
    assert not world.sender.awaits


@settings(max_examples=100)
@given(st.integers(2, 3), st.integers(1, 3), STEPS)
def test_what_is_not_kept_is_answered_in_order_or_counted(branches, capacity, steps):
    world = World(branches, capacity, keeps=False, back=True)
    play(world, steps)
    assert world.read == sorted(set(world.read)) and set(world.read) <= {(i, 7 * i) for i in range(world.made)}
    assert len(world.read) + (world.ways[0].unanswered or 0) == world.made
    assert not world.sender.awaits


@settings(max_examples=100)
@given(st.integers(2, 3), st.integers(1, 3), STEPS)
def test_where_branches_do_not_come_back_each_token_is_fired_on(branches, capacity, steps):
    world = World(branches, capacity, keeps=True, back=False)
    play(world, steps)
    assert {index for index, _ in world.read} == set(range(world.made))
    assert all(value == 7 * index for index, value in world.read)
    assert not world.sender.awaits
