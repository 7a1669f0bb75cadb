"""Early exits that nobody has fitted."""

from __future__ import annotations

import numpy as np

from eprune.formats.model_files import parse_model
from eprune.formats.tflite.head import head_model, pool_of
from eprune.model.system import System
from eprune.passes._places import places
from eprune.passes.exits import Exit


def exit_behind(system: System, name: str, threshold: float) -> Exit:
    """An exit whose head has random weights."""
    ports = dict(system.graph.ports())
    place = next(each for each in places(system.graph) if each.fifo.source.actor == name)
    token, answer = ports[place.fifo.source].token, ports[place.late.source].token
    pool = pool_of(token.shape, 1) if len(token.shape) == 4 else None
    values = token.shape[3] if pool else token.shape[1]
    weights = np.random.default_rng(5).normal(size=(answer.shape[1], values)).astype(np.float32)
    data = head_model(token, pool, weights, np.zeros(answer.shape[1], np.float32), answer, None, None)
    return Exit(place.fifo.name, data, len(parse_model(data).operators), threshold)
