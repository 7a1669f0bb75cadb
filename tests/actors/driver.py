"""Fires a behaviour as the runtime does, without one."""

from __future__ import annotations

import numpy as np

from eprune.model.token import parse_token
from eprune.runtime import PortType
from eprune.runtime.kernel.actor import VariablePortType
from eprune.runtime.kernel.outputs import Outputs
from eprune.runtime.kernel.variable import VariableRoom


def prepared(actor, inputs, outputs):
    """The behaviour with ports of these token types (name -> text), initialized."""
    actor.name = "actor"
    actor.inputs, actor.outputs = ({name: _port(token) for name, token in ports.items()} for ports in (inputs, outputs))
    actor.initialize()
    return actor


def fired(actor, **inputs):
    """One firing's outputs. Inputs are read-only, outputs full of rubbish before, as in a FIFO's slots."""
    given = {}
    for name, port in actor.inputs.items():
        given[name] = np.array(inputs[name], port.dtype).reshape((-1,) if port.variable else port.shape)
        given[name].flags.writeable = False
    outputs = Outputs({name: _room(port) for name, port in actor.outputs.items()})
    actor.fire(given, outputs)
    return outputs


def _room(port):
    room = np.full(port.shape, 77, port.dtype)
    return room.view(VariableRoom) if port.variable else room


def padded(values, count):
    """The rows, and rows of zeros behind them."""
    values = np.asarray(values, float)
    return np.concatenate([values, np.zeros((count - len(values), *values.shape[1:]))])


def _port(token):
    parsed = parse_token(token)
    return (VariablePortType if parsed.variable else PortType)(parsed.dtype, parsed.shape, 1)
