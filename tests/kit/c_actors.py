"""Actors in C for tests: built as the runtime builds them, with every warning an error."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from eprune.formats.c_source import included
from eprune.runtime.fire import c_actor, c_build
from tests.kit.accelerator import WARNINGS
from tests.kit.ports import port_type


def library(path: Path, flags: Iterable[str] = ()) -> str:
    """The library of a C file, in the cache of the tests."""
    files = {Path(each).name: Path(each).read_bytes() for each in (str(path), *included(str(path)))}
    before = os.environ.get("CFLAGS")
    os.environ["CFLAGS"] = " ".join([*WARNINGS, *flags])
    try:
        return c_build.build(path.name, files)
    finally:
        if before is None:
            del os.environ["CFLAGS"]
        else:
            os.environ["CFLAGS"] = before


def actor(path: Path, name: str, inputs, outputs, rates=None, flags=(), **parameters) -> c_actor.CActor:
    """The behaviour with ports of these token types (name -> text), initialized."""
    ports = (tuple(inputs), tuple(outputs))
    made = c_actor.CActor(library(path, flags), name, parameters, ports, rates or {})
    made.name = "actor"
    made.inputs, made.outputs = ({port: port_type(token) for port, token in side.items()} for side in (inputs, outputs))
    if rates:
        for side in (made.inputs, made.outputs):
            side.update({port: side[port]._replace(rate=limits[1]) for port, limits in rates.items() if port in side})
    made.initialize()
    return made
