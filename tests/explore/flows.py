"""Small flows, and random ones."""

from __future__ import annotations

import random
from dataclasses import replace

from eprune.explore.flow import Flow, Stream


def make(*edges, application="app"):
    """A flow of ``"A B 100"``: a FIFO from A to B with 100 bytes per frame; no loops."""
    split = [edge.split() for edge in edges]
    actors = dict.fromkeys(name for source, target, _ in split for name in (source, target))
    streams = (Stream(f"f{n}", source, target, int(size)) for n, (source, target, size) in enumerate(split, 1))
    order: list[str] = []
    while len(order) < len(actors):
        order.append(next(a for a in actors if a not in order and all(s in order for s, t, _ in split if t == a)))
    return Flow(application, tuple(order), tuple(streams))


CHAIN = make("Input L1 1000", "L1 L2 3000", "L2 L3 700", "L3 Sink 4")


def random_flow(rng: random.Random, actors: int) -> Flow:
    """A connected acyclic flow, whose actors are in precedence order; some FIFOs of one actor carry the same tokens."""
    names = [f"a{n}" for n in range(actors)]
    edges = [(names[rng.randrange(n)], names[n]) for n in range(1, actors)]
    for _ in range(rng.randrange(actors)):
        low, high = sorted(rng.sample(range(actors), 2))
        edges.append((names[low], names[high]))
    streams = [Stream(f"f{n}", *edge, rng.randrange(1, 100)) for n, edge in enumerate(edges)]
    for source in names:
        own = [n for n, stream in enumerate(streams) if stream.source == source and rng.random() < 0.6]
        first = streams[own[0]] if len(own) > 1 else None
        for n in own if first else ():
            streams[n] = replace(streams[n], nbytes=first.nbytes, same=first.name)
    return Flow("random", tuple(names), tuple(streams))
