"""The shorter step of actors whose rates are 1: the same tokens, in the same slots, as the step for all others."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eprune.runtime import Actor, EndOfStream
from eprune.runtime.fire.firing import PHASES, RunningActor
from eprune.runtime.kernel.bell import Bell
from eprune.runtime.kernel.fifo import Fifo, Input, Output


class Sum(Actor):
    """The sum of its inputs and its firing's number, to all outputs. It ends after ``last`` firings."""

    def __init__(self, last=10**9):
        self.last, self.number = last, 0

    def fire(self, inputs, outputs):
        if self.number == self.last:
            raise EndOfStream
        total = sum(int(value) for value in inputs.values()) + self.number
        inputs.clear()  # the dictionary is the behaviour's own
        for out in outputs.values():
            out[...] = total
        self.number += 1


def network(capacities, delay, last):
    """A -> B -> C, A -> C beside it, and C -> A back, with initial tokens."""
    ab, bc, ac, ca = (
        Fifo(name, "int64", (), capacity, *extra)
        for name, capacity, extra in zip(
            ("ab", "bc", "ac", "ca"), capacities, ((), (), (), (delay, np.arange(delay, dtype=np.int64)))
        )
    )
    actors = [
        RunningActor("A", Sum(last), [Input("back", ca, 1)], [Output("x", ab, 1), Output("y", ac, 1)]),
        RunningActor("B", Sum(), [Input("in", ab, 1)], [Output("out", bc, 1)]),
        RunningActor("C", Sum(), [Input("x", bc, 1), Input("y", ac, 1)], [Output("out", ca, 1)]),
    ]
    bell = Bell()
    for actor in actors:
        actor.use(bell)
    return actors, (ab, bc, ac, ca)


@settings(max_examples=60, deadline=None)
@given(
    capacities=st.tuples(*[st.integers(1, 5)] * 3, st.integers(1, 7)),
    delay=st.integers(1, 7),
    last=st.integers(0, 30),
)
def test_prepared_steps_give_the_tokens_and_counts_of_those_for_all_actors(capacities, delay, last):
    capacities = (*capacities[:3], max(capacities[3], delay + 1))
    seen = []
    for prepared in (True, False):
        actors, fifos = network(capacities, delay, last)
        tokens = []
        for _ in range(40):
            for actor in actors:
                step = actor.step if prepared else actor._step
                if not step():
                    break
                tokens.append([fifo.memory[:, :8].copy().tobytes() for fifo in fifos])
            else:
                continue
            break
        counts = [(fifo.written, fifo.released, fifo.peak, list(fifo.firings)) for fifo in fifos]
        seen.append((tokens, counts, [actor.activity.count for actor in actors]))
        assert actors[0].activity.count == last
    assert seen[0] == seen[1]


def test_too_many_ways_in_which_slots_meet_are_not_prepared():
    fifos = [Fifo(f"f{prime}", "uint8", (), prime) for prime in (7, 11, 13)]
    actor = RunningActor("A", Sum(), [], [Output(fifo.name, fifo, 1) for fifo in fifos])
    actor.use(Bell())
    assert PHASES < 7 * 11 * 13
    assert actor.step == actor._step
    assert actor.step()


class Copier(Actor):
    """Says that it has copied its inputs, and looks what room there is then."""

    copies_inputs = True

    def fire(self, inputs, outputs):
        if self.taken is not None:
            self.taken()
        self.released = self.fifo.released


@pytest.mark.parametrize("kept", [False, True])
def test_room_is_given_back_once_inputs_are_copied_but_not_where_the_firing_must_be_over(kept):
    fifo, copier = Fifo("f", "uint8", (4,), 2), Copier()
    fifo.kept, copier.fifo = kept, fifo
    source = RunningActor("A", Sum(), [], [Output("out", fifo, 1)])
    sink = RunningActor("B", copier, [Input("in", fifo, 1)], [])
    for actor in (source, sink):
        actor.use(Bell())
    for number in range(5):
        assert source.step() and sink.step()
        assert copier.released == number + (not kept)
        assert fifo.released == number + 1
