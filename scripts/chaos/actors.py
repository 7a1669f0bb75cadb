"""Behaviours that tell on every lost, doubled, mixed-up or damaged token.

A token is an array of int64: its source, the source's incarnation, its number from 0 on, a checksum, and more numbers
that follow from those. Each actor writes a line for each firing into its own file, ``FOLDER/NAME.log``: the time, and
for each input that had a token, or each output of a source, ``port:source:incarnation:number``. A line is one write, so
that it is there even if the process is killed right after it.
"""

import os
import time
import zlib
from pathlib import Path

import numpy as np

from eprune.runtime import Actor, EndOfStream

HEAD = 4
#: After so many pictures they come again.
PERIOD = 16


class Logged(Actor):
    """Writes the lines."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def initialize(self):
        path = self.folder / f"{self.name}.log"
        self.log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, *tokens):
        line = f"{time.monotonic():.6f} {' '.join(tokens)}\n"
        os.write(self.log, line.encode())
        if "CHAOS_PRINT" in os.environ:
            print(line * 20, flush=True)

    def finalize(self):
        os.close(self.log)


class Source(Logged):
    """Makes a token every ``pace`` seconds, the same for all outputs, until the file FOLDER/stop is there."""

    def __init__(self, folder, pace="0.002"):
        super().__init__(folder)
        self.pace = float(pace)

    def initialize(self):
        super().initialize()
        self.number = 0
        self.incarnation = time.time_ns()

    def fire(self, inputs, outputs):
        if (self.folder / "stop").exists():
            raise EndOfStream
        time.sleep(self.pace)
        for token in outputs.values():
            token[HEAD:] = np.arange(self.number, self.number + token.size - HEAD)
            token[:HEAD] = zlib.crc32(self.name.encode()), self.incarnation, self.number, zlib.crc32(token[HEAD:])
        self.write(*(told(port, token) for port, token in outputs.items()))
        self.number += 1


class Relay(Logged):
    """Passes on what came at its first input that has a token, and checks that all inputs have the same one."""

    def fire(self, inputs, outputs):
        self.write(*(told(port, token) for port, token in inputs.items()))
        whole = {tuple(token[:HEAD]) for token in inputs.values() if token.any()}
        if len(whole) > 1:
            raise ValueError(f"tokens of different firings met: {whole}")
        for out in outputs.values():
            out[...] = next((token for token in inputs.values() if token.any()), 0)


class Sink(Logged):
    """Checks its tokens, which may be of different sources."""

    def fire(self, inputs, outputs):
        self.write(*(told(port, token) for port, token in inputs.items()))


class Frames(Source):
    """Makes pictures of noise, PERIOD different ones in turn."""

    def fire(self, inputs, outputs):
        if (self.folder / "stop").exists():
            raise EndOfStream
        time.sleep(self.pace)
        for token in outputs.values():
            token[...] = np.random.default_rng(self.number % PERIOD).random(token.shape, np.float32)
        self.number += 1
        self.write()


class Scores(Logged):
    """A sink for scores, which have no number: each line has a checksum in its place, the same for the same picture."""

    def fire(self, inputs, outputs):
        self.write(*(f"{port}:0:0:{zlib.crc32(np.ascontiguousarray(token))}" for port, token in inputs.items()))


def told(port, token):
    """What a token is, for the log. Raises ValueError if it is damaged."""
    source, incarnation, number, checksum = map(int, token[:HEAD])
    if token.any() and checksum != zlib.crc32(np.ascontiguousarray(token[HEAD:])):
        raise ValueError(f"port {port}: token {number} is damaged")
    return f"{port}:{source}:{incarnation}:{number}"
