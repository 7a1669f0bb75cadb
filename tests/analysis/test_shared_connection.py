"""Why FIFOs that share a connection have a credit each: without, a sound graph can stop for ever."""

from __future__ import annotations

import random
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_graphs import build

from eprune.analysis.check import check
from eprune.analysis.lookup import fifo_rates
from eprune.model.finding import has_errors
from eprune.model.system import System


class SharedConnections:
    """A run in which all FIFOs from one platform to another share a connection, which keeps tokens in order.

    A FIFO has a ring of its capacity at each end. A token leaves the first for the connection when its producer has
    written it, with ``credited`` only if there is then a slot for it in the second; from the connection's front it goes
    into the second, once that has a free slot: until then it is in the way of all behind it.
    """

    def __init__(self, graph, homes, credited):
        self.graph, self.credited = graph, credited
        self.rates = fifo_rates(graph)
        self.pair = {f.name: (homes[f.source.actor], homes[f.target.actor]) for f in graph.fifos}
        self.local = {name for name, (source, target) in self.pair.items() if source == target}
        self.written = dict.fromkeys(self.rates, 0)  # in the producer's ring
        self.arrived = {fifo.name: fifo.delay for fifo in graph.fifos}  # in the consumer's
        self.underway = {pair: deque() for pair in self.pair.values()}
        self.firings = {actor.name: 0 for actor in graph.actors}
        self.capacity = {fifo.name: fifo.capacity for fifo in graph.fifos}

    def run(self, iterations, choose):
        """Until everybody has fired so often, or nothing more can happen; whether everybody has."""
        while True:
            events = list(self.events(iterations))
            if not events:
                return min(self.firings.values()) == iterations
            happen, what = choose(events)
            happen(what)

    def events(self, iterations):
        for name in self.rates:
            if self.written[name] and name not in self.local and self.may_leave(name):
                yield self.leave, name
        for pair, tokens in self.underway.items():
            if tokens and self.arrived[tokens[0]] < self.capacity[tokens[0]]:
                yield self.arrive, pair
        for actor, count in self.firings.items():
            inputs = [fifo.name for fifo in self.graph.fifos if fifo.target.actor == actor]
            outputs = [fifo.name for fifo in self.graph.fifos if fifo.source.actor == actor]
            if (
                count < iterations
                and all(self.arrived[name] >= self.rates[name] for name in inputs)
                and all(self.room(name) >= self.rates[name] for name in outputs)
            ):
                yield self.fire, actor

    def room(self, name):
        return self.capacity[name] - (self.arrived if name in self.local else self.written)[name]

    def may_leave(self, name):
        tokens = self.underway[self.pair[name]]
        return not self.credited or self.arrived[name] + tokens.count(name) < self.capacity[name]

    def leave(self, name):
        self.written[name] -= 1
        self.underway[self.pair[name]].append(name)

    def arrive(self, pair):
        self.arrived[self.underway[pair].popleft()] += 1

    def fire(self, actor):
        self.firings[actor] += 1
        for fifo in self.graph.fifos:
            if fifo.target.actor == actor:
                self.arrived[fifo.name] -= self.rates[fifo.name]
            if fifo.source.actor == actor:
                (self.arrived if fifo.name in self.local else self.written)[fifo.name] += self.rates[fifo.name]


#: "eager" runs ahead over f0 to "join", which also needs what "slow" sends over f1 and "step" over f2.
NEIGHBOURS = build([("eager", "join", 1, 0, 2), ("slow", "step", 1, 0, 2), ("step", "join", 1, 0, 2)])
HOMES = {"eager": "device", "slow": "device", "join": "server", "step": "server"}


@pytest.mark.parametrize("credited", [False, True])
def test_a_full_fifo_holds_up_its_neighbour_unless_each_has_a_credit(credited):
    """The graph is sound; the unlucky order is that all that can happen to f0 happens before anything to f1."""
    assert not has_errors(check(System(NEIGHBOURS)))

    def eager_first(events):
        return next((event for event in events if event[1] in ("eager", "f0")), events[0])

    assert SharedConnections(NEIGHBOURS, HOMES, credited).run(10, eager_first) is credited


@given(st.integers(0, 2**32))
def test_with_credits_every_live_graph_stays_live(seed):
    rng = random.Random(seed)
    count = rng.randint(2, 6)
    fifos = []
    for target in range(1, count):
        for source in rng.sample(range(target), min(target, rng.randint(1, 2))):
            rate, delay = rng.randint(1, 2), rng.randint(0, 2)
            fifos.append((f"a{source}", f"a{target}", rate, delay, delay + rate + rng.randint(0, 1)))
    back = rng.randrange(1, count)
    fifos.append((f"a{back}", f"a{rng.randrange(back)}", 1, 2, 3))
    graph = build(fifos)
    homes = {actor.name: rng.choice("pq") for actor in graph.actors}
    assert not has_errors(check(System(graph)))
    assert SharedConnections(graph, homes, credited=True).run(5, rng.choice)
