"""One platform's part of an application as a bare loop: no threads, no FIFOs, no links. The bound of its pipeline.

python -m scripts.bench.stage PROGRAM.py FRAMES FOLDER

runs a program that ``eprune codegen`` wrote, actor by actor in one thread on its unit's core, and prints seconds and
CPU seconds per frame as JSON. FOLDER has the tokens that come from other platforms, NAME.npy for FIFO NAME (zeros where
it is missing), in turn; the tokens that would be sent are written there, those of the first frames.
"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import eprune.runtime
from eprune.runtime.fire.engines import ModelEngine
from eprune.runtime.fire.segment import SegmentActor
from eprune.runtime.kernel.actor import PortType
from eprune.runtime.main.files import Files

#: Tokens kept of each FIFO to another platform.
KEPT = 10


class Stage:
    """Takes the declarations of a generated program in the place of ``eprune.runtime.Program``."""

    def __init__(self, application: str, platform: str, digest: str, file: str) -> None:
        self.files = Files(file)
        self.tokens: dict[str, np.ndarray] = {}
        self.given: dict[str, np.ndarray] = {}
        self.sent: dict[str, list[np.ndarray]] = {}
        self.inputs: dict[str, dict[str, str]] = {}  # actor -> port -> FIFO
        self.outputs: dict[str, dict[str, str]] = {}
        self.actors: list[tuple[str, Any]] = []
        self.core: int | None = None

    def unit(self, name: str, core: int | None = None) -> None:
        """The core to run on."""
        self.core = core

    def link(self, to: str, **_: Any) -> None:
        """Figures for emulation, which is not wanted here."""

    def cluster(self, *_: str) -> None:
        """All actors are fired by one loop here."""

    def actor(self, name: str, behaviour: str, unit: str, parameters: dict[str, str] | None = None, **_: Any) -> None:
        """A Python actor."""
        self.actors.append((name, self.files.load_class(behaviour)(**(parameters or {}))))

    def segment(self, name: str, model: str, unit: str, actors: Any, inputs: Any, outputs: Any, **_: Any) -> None:
        """Slices of a model."""
        segment = SegmentActor(lambda: self.files.read(model), ModelEngine(), inputs, outputs)
        self.actors.append((name, segment))

    def fifo(self, name: str, source: str, target: str, dtype: str, shape: tuple[int, ...], **_: Any) -> None:
        """One token, which stays where it is."""
        self.tokens[name] = np.zeros(shape, dtype)
        for ends, end in ((self.outputs, source), (self.inputs, target)):
            actor, _, port = end.partition(".")
            ends.setdefault(actor, {})[port] = name

    def tx(self, name: str, source: str, dtype: str, shape: tuple[int, ...], **_: Any) -> None:
        """A token that nobody takes."""
        self.fifo(name, source, "", dtype, shape)
        self.sent[name] = []

    def rx(self, name: str, target: str, dtype: str, shape: tuple[int, ...], **_: Any) -> None:
        """A token that is there already."""
        self.fifo(name, "", target, dtype, shape)
        path = FOLDER / f"{name}.npy"
        self.given[name] = np.load(path) if path.exists() else self.tokens[name][None]

    def main(self) -> int:
        """Run: each actor's ``fire`` in turn, on arrays that stay where they are."""
        if self.core is not None:
            os.sched_setaffinity(0, {self.core})
        firings = []
        for name, actor in self.actors:
            inputs, outputs = (
                {port: self.tokens[fifo] for port, fifo in ends.get(name, {}).items()}
                for ends in (self.inputs, self.outputs)
            )
            actor.name = name
            for side, ports in (("inputs", inputs), ("outputs", outputs)):
                types = {port: PortType(str(token.dtype), token.shape, 1) for port, token in ports.items()}
                setattr(actor, side, types)
            actor.initialize()
            firings.append((actor.fire, inputs, outputs))
        warm = max(KEPT, FRAMES // 10)
        for frame in range(warm + FRAMES):
            if frame == warm:
                begin, spent = time.perf_counter(), time.process_time()
            for name, stack in self.given.items():
                self.tokens[name][...] = stack[frame % len(stack)]
            for fire, inputs, outputs in firings:
                fire(inputs, outputs)
            if frame < KEPT:
                for name, kept in self.sent.items():
                    kept.append(self.tokens[name].copy())
        wall, cpu = time.perf_counter() - begin, time.process_time() - spent
        for name, kept in self.sent.items():
            np.save(FOLDER / f"{name}.npy", np.stack(kept))
        print(json.dumps({"frame_s": wall / FRAMES, "cpu_s": cpu / FRAMES}), file=sys.stderr)
        return 0


if __name__ == "__main__":
    FRAMES, FOLDER = int(sys.argv[2]), Path(sys.argv[3])
    eprune.runtime.Program = Stage  # type: ignore[misc, assignment]
    with contextlib.suppress(SystemExit):
        runpy.run_path(sys.argv[1], run_name="__main__")
