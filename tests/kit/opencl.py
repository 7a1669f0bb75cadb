"""OpenCL for tests: whether there is some, and actors as the runtime makes them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from eprune.runtime.fire import opencl
from eprune.runtime.fire.opencl_actor import Argument, OpenClActor
from tests.kit.ports import port_type

#: The three ways in which tokens get to a device; a processor can do all of them.
MEMORIES = ("shared", "mapped", "copied")

_DRIVERS = importlib.util.find_spec("pocl_binary_distribution") or list(Path("/etc/OpenCL/vendors").glob("*.icd"))
_THERE = importlib.util.find_spec("pyopencl") and _DRIVERS
_MISSING = "" if _THERE else "there is no OpenCL here: pip install pyopencl pocl-binary-distribution"
_REASON = _MISSING or opencl.Device().refusal
NEEDS_OPENCL = pytest.mark.skipif(bool(_REASON), reason=f"OpenCL: {_REASON}")


def device(memory: str = "shared", **options: str) -> opencl.Device:
    """The first device of this machine, with tokens that get there in this way."""
    return opencl.Device(options={"memory": memory, **options})


def actor(text: str, arguments, inputs, outputs, on=None, size=(4,), local=(), **parameters) -> OpenClActor:
    """The behaviour of the kernel ``f`` with ports of these token types (name -> text), initialized."""

    def build(device: opencl.Device) -> object:
        return device.build("f.cl", {"f.cl": text.encode()})

    bound = [Argument(*each) for each in arguments]
    made = OpenClActor(on or device(), "f", build, parameters, bound, size, local)
    made.name = "actor"
    made.inputs, made.outputs = ({port: port_type(token) for port, token in side.items()} for side in (inputs, outputs))
    made.initialize()
    return made
