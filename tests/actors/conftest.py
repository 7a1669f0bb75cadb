"""Behaviours are driven here as the runtime drives them, without one."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from eprune.runtime import EndOfStream
from tests.kit.ports import port_type

ROOT = Path(__file__).resolve().parents[2]
# A behaviour imports its neighbours: the runtime puts its folder on the path.
sys.path.append(str(ROOT / "actors"))


@pytest.fixture
def tokens():
    """Runs a source to its end, or for ``limit`` firings, and gives the tokens that it wrote."""

    def run(source, token="float32[1,96,96,3]", limit=1000):
        port = port_type(token)
        source.name, source.outputs = "Input", {"out": port}
        source.initialize()
        written = []
        try:
            while len(written) < limit:
                out = np.full(port.shape, 77, port.dtype)
                source.fire({}, {"out": out})
                written.append(out)
        except EndOfStream:
            pass
        source.finalize()
        return written

    return run


@pytest.fixture
def feed():
    """Runs a sink over score vectors."""

    def run(sink, vectors, token="float32[1,4]"):
        port = port_type(token)
        sink.name, sink.inputs = "Sink", {"in": port}
        sink.initialize()
        try:
            for vector in vectors:
                sink.fire({"in": np.asarray(vector, port.dtype).reshape(port.shape)}, {})
        finally:
            sink.finalize()

    return run
