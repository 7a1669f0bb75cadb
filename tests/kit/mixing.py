"""Behaviours whose every output depends on everything that they see, so that nothing can be lost or exchanged unseen.

``mix`` is what they compute, in plain Python, for the reference too.
"""

import json
import zlib
from pathlib import Path

from eprune.runtime import Actor, EndOfStream


def number(text):
    """A number for a name."""
    return zlib.crc32(text.encode()) % 1000003


def mix(name, mode, inputs, outputs):
    """Output tokens of a firing: port -> values, of the active inputs (port -> values) and outputs (port -> rate)."""
    state = number(name) + 7 * mode
    for port in sorted(inputs):
        for value in (number(port), *inputs[port]):
            state = (state * 31 + value) % 1000003
    for port in sorted(outputs):
        state = (state * 31 + number(port) + outputs[port]) % 1000003
    return {port: [(state + number(port) + place) % 1000003 for place in range(rate)] for port, rate in outputs.items()}


def chosen(values, inputs):
    """The control value of a firing."""
    return values[number(str(sorted(inputs.items()))) % len(values)]


class Mix(Actor):
    """Anything between."""

    def fire(self, inputs, outputs):
        given = {port: [int(token[0]) for token in self.listed(port, inputs)] for port in inputs}
        rooms = {port: self.listed(port, outputs) for port in outputs}
        made = mix(self.name, self.mode, given, {port: len(tokens) for port, tokens in rooms.items()})
        for port, tokens in rooms.items():
            for token, value in zip(tokens, made[port]):
                token[...] = value

    def listed(self, port, tokens):
        """A port's tokens as a list; above an upper limit of 1 they are one."""
        limit = (self.inputs.get(port) or self.outputs[port]).rate
        assert isinstance(tokens[port], list) == (limit > 1)
        return tokens[port] if limit > 1 else [tokens[port]]


class Numbers(Mix):
    """A source of ``n`` firings."""

    def __init__(self, n):
        self.n = int(n)
        self.firing = 0

    def fire(self, inputs, outputs):
        if self.firing == self.n:
            raise EndOfStream
        self.mode = self.firing
        super().fire(inputs, outputs)
        self.firing += 1


class Lead(Mix):
    """A control source: its inputs choose among ``values``, or without inputs it sends them in turn, ``n`` in all."""

    def __init__(self, values, n="0"):
        self.values = [int(value) for value in values.split(",")]
        self.n = int(n)
        self.firing = 0

    def control(self, inputs):
        if not self.inputs:
            if self.firing == self.n:
                raise EndOfStream
            self.firing += 1
            return self.values[(self.firing - 1) % len(self.values)]
        return chosen(self.values, {port: [int(token[0]) for token in self.listed(port, inputs)] for port in inputs})


class Collect(Mix):
    """Writes all it got to ``path``: a JSON list of firings, each a list of the ports' values, in the order of
    their names."""

    def __init__(self, path):
        self.path = path
        self.firings = []

    def fire(self, inputs, outputs):
        self.firings.append([int(token[0]) for port in sorted(inputs) for token in self.listed(port, inputs)])

    def finalize(self):
        Path(self.path).write_text(json.dumps(self.firings))


class Fails(Mix):
    """Fails in its firing number ``at``."""

    def __init__(self, at):
        self.left = int(at)

    def fire(self, inputs, outputs):
        if self.left == 0:
            raise ValueError("this branch is rotten")
        self.left -= 1
        super().fire(inputs, outputs)
