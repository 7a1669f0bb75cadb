"""Actors in OpenCL: what each argument is, how tokens get to the device and stay there, and what is refused."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eprune.runtime.fire import opencl
from eprune.runtime.fire.checking import Checked
from eprune.runtime.fire.opencl_actor import leave_on_devices
from eprune.runtime.kernel.errors import UsageError
from eprune.runtime.kernel.fifo import Fifo
from tests.kit.opencl import MEMORIES, NEEDS_OPENCL, actor, device

ADD = """
__kernel void f(__global const float *in, __global float *out, const float number) {
    out[get_global_id(0)] = in[get_global_id(0)] + number;
}
"""
ADDED = (("in", "in", 0), ("out", "out", 0), ("value", "number", "float32"))
PORTS = ({"in": "float32[4]"}, {"out": "float32[4]"})


def token(*values: float) -> np.ndarray:
    return np.array(values if len(values) > 1 else values * 4, np.float32)


def adder(number: float, on: opencl.Device | None = None):
    return actor(ADD, ADDED, *PORTS, on=on, number=str(number))


@pytest.mark.parametrize("knows", [True, False])
def test_a_driver_that_is_older_than_the_processor_is_not_taken_for_a_mistake_of_the_kernel(monkeypatch, knows):
    class Library:
        class Error(Exception):
            pass

        class Program:
            def __init__(self, context, text):
                self.text = text

            def build(self, flags, cache_dir):
                if not (knows and "nothing" in self.text):
                    raise Library.Error("clBuildProgram failed\nerror: unknown target CPU 'generic'\n")

    monkeypatch.setattr(opencl, "library", lambda: Library)
    opened = opencl._Opened(type("Device", (), {"name": "Some  CPU\0"}), None, None)
    with pytest.raises(UsageError) as raised:
        opencl._build(opened, "f.cl", "__kernel void f(void) {}", "")
    assert isinstance(raised.value, opencl.BuildError) == knows
    if not knows:
        assert str(raised.value) == (
            "OpenCL device Some CPU builds no kernel at all: unknown target CPU 'generic'; "
            "a newer driver may know this processor"
        )


@NEEDS_OPENCL
@pytest.mark.parametrize("memory", MEMORIES)
def test_tokens_go_through_changing_slots(memory):
    made = adder(1, device(memory))
    for value in range(8):
        given_, room = token(value), token(-1)
        for _ in range(2):
            made.fire({"in": given_}, {"out": room})
            assert room.tolist() == [value + 1] * 4
            given_[...] = value = value + 10
    copied = 16 if memory == "copied" else 0
    assert made.figures == {"transfers": 2 * copied, "transfers_avoided": 32 - 2 * copied}


@NEEDS_OPENCL
def test_a_processor_shares_its_memory_by_itself():
    assert opencl.Device().memory == "shared"


@NEEDS_OPENCL
@pytest.mark.parametrize("memory", MEMORIES)
def test_it_keeps_no_token(memory):
    """Neither under --check, which says so of whoever does, nor for an array that has the address of another one."""
    made = adder(1, device(memory))
    checked = Checked("actor", made.fire, made.control)
    for value in range(50):
        room = token(-1)
        checked.fire({"in": token(value)}, {"out": room})
        assert room[0] == value + 1
    made.fire({"in": token(1)}, {"out": token(2)})
    assert not made._calls and not made.device._slots


@NEEDS_OPENCL
@pytest.mark.parametrize("memory", MEMORIES)
def test_idle_ports_are_null_and_several_tokens_have_a_pointer_each(memory):
    text = """
    __kernel void f(__global const float *i_0, __global const float *i_1, __global float *o, __global float *p) {
        float sum = (i_0 ? i_0[0] : 0) + (i_1 ? 10 * i_1[0] : 0);
        if (o) o[0] = sum;
        if (p) p[0] = -sum;
    }
    """
    arguments = (("in", "i", 0), ("in", "i", 1), ("out", "o", 0), ("out", "p", 0))
    one = {"o": "float32[1]", "p": "float32[1]"}
    made = actor(text, arguments, {"i": "float32[1]"}, one, device(memory), (1,))
    o, p = token(-1, -1), token(-1, -1)
    made.fire({"i": [token(1), token(2)]}, {"o": o, "p": p})
    assert (o[0], p[0]) == (21, -21)
    made.fire({"i": [token(3)]}, {"o": o})
    assert (o[0], p[0]) == (3, -21)
    made.fire({}, {"p": p})
    assert (o[0], p[0]) == (3, 0)


@NEEDS_OPENCL
def test_the_mode_local_memory_and_work_groups():
    text = """
    __kernel void f(__global const int *in, __global int *out, const int mode, __local int *shared) {
        shared[get_local_id(0)] = in[get_global_id(0)];
        barrier(CLK_LOCAL_MEM_FENCE);
        out[get_global_id(0)] = mode * shared[get_local_size(0) - 1 - get_local_id(0)];
    }
    """
    arguments = (("in", "in", 0), ("out", "out", 0), ("mode", "control", "int32"), ("local", "shared", 4))
    ports = {"in": "int32[6]"}, {"out": "int32[6]"}
    made = actor(text, arguments, *ports, size=(6,), local=("group",), group="3", shared="3")
    source, room = np.arange(6, dtype=np.int32), np.zeros(6, np.int32)
    for mode in (1, -2):
        made.mode = mode
        made.fire({"in": source}, {"out": room})
        assert room.tolist() == [mode * each for each in (2, 1, 0, 5, 4, 3)]


@NEEDS_OPENCL
def test_constants_are_a_file(tmp_path):
    text = """
    __kernel void f(__constant short *table, __global const float2 *in, __global float2 *out) {
        out[get_global_id(0)] = in[get_global_id(0)].yx * table[get_global_id(0)];
    }
    """
    arguments = (("file", "table", "int16"), ("in", "in", 0), ("out", "out", 0))
    ports = {"in": "complex64[2]"}, {"out": "complex64[2]"}
    path = tmp_path / "table.npy"
    np.save(path, np.array([[2], [3]], np.int16))
    made = actor(text, arguments, *ports, size=(2,), table=str(path))
    room = np.zeros(2, np.complex64)
    made.fire({"in": np.array([1 + 2j, 3 - 4j], np.complex64)}, {"out": room})
    assert room.tolist() == [4 + 2j, -12 + 9j]
    np.save(path, np.array([2, 3], np.int32))
    with pytest.raises(UsageError, match=r"table=.*table\.npy: has int32\[2\], where int16 is wanted"):
        actor(text, arguments, *ports, size=(2,), table=str(path))
    huge = path.read_bytes().replace(b"(2,), }", b"(9999999999,), }"[:18])
    for data in (b"", b"\x93NUMPY nothing", b"PK", huge):
        path.write_bytes(data)
        with pytest.raises(UsageError, match=r"table=.*table\.npy: is not a \.npy file of numbers"):
            actor(text, arguments, *ports, size=(2,), table=str(path))


@NEEDS_OPENCL
@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"number": "much"}, "actor 'actor': number='much': is not float32"),
        ({}, "actor 'actor': number: the kernel f needs this parameter"),
    ],
)
def test_a_parameter_that_is_no_such_number_is_refused(parameters, message):
    with pytest.raises(UsageError, match=f"^{message}$"):
        actor(ADD, ADDED, *PORTS, **parameters)


@NEEDS_OPENCL
def test_what_the_device_refuses_in_a_firing_is_a_failure_of_the_actor():
    made = actor(ADD, ADDED, *PORTS, size=(4,), local=(3,), number="1")
    with pytest.raises(RuntimeError, match=r"^OpenCL: clEnqueueNDRangeKernel failed: INVALID_WORK_GROUP_SIZE"):
        made.fire({"in": token(1)}, {"out": token(1)})


# What stays on the device.


class Chain:
    """Adders in a row, joined by FIFOs; those with one number are on one device."""

    def __init__(self, places: list[int], memories: list[str], capacity: int) -> None:
        self.devices = [device(memory) for memory in memories]
        self.actors = {str(k): adder(2**k, self.devices[place]) for k, place in enumerate(places)}
        count = len(places)
        self.fifos = [Fifo(f"f{k}", "float32", (4,), capacity) for k in range(count + 1)]
        joined = [((str(k), "out"), (str(k + 1), "in")) for k in range(count - 1)]
        leave_on_devices(joined, self.actors)

    def run(self, tokens: int) -> Iterator[float]:
        for number in range(tokens):
            slot = number % self.fifos[0].capacity
            self.fifos[0].writable[slot][...] = number
            for k, each in enumerate(self.actors.values()):
                each.fire({"in": self.fifos[k].readable[slot]}, {"out": self.fifos[k + 1].writable[slot]})
            yield float(self.fifos[-1].readable[slot][3])

    @property
    def figures(self) -> tuple[int, int]:
        found = [each.figures for each in self.actors.values()]
        return sum(each["transfers"] for each in found), sum(each["transfers_avoided"] for each in found)


@NEEDS_OPENCL
@settings(max_examples=25)
@given(
    st.lists(st.integers(0, 1), min_size=1, max_size=5),
    st.lists(st.sampled_from(MEMORIES), min_size=2, max_size=2),
    st.integers(1, 3),
    st.integers(1, 7),
)
def test_tokens_between_actors_of_one_device_stay_there(places, memories, capacity, tokens):
    """The results are right, and copies are made at the borders of devices with memory of their own, only there."""
    chain = Chain(places, memories, capacity)
    assert list(chain.run(tokens)) == [number + 2 ** len(places) - 1 for number in range(tokens)]
    borders = 0
    for k, place in enumerate(places):
        if memories[place] == "copied":
            borders += (k == 0 or places[k - 1] != place) + (k == len(places) - 1 or places[k + 1] != place)
    assert chain.figures == (borders * tokens, (2 * len(places) - borders) * tokens)


@NEEDS_OPENCL
def test_initial_tokens_of_a_fifo_within_a_device_get_there():
    on = device("copied")
    actors = {"a": adder(1, on), "b": adder(2, on)}
    leave_on_devices([(("a", "out"), ("b", "in"))], actors)
    fifo = Fifo("f", "float32", (4,), 2, delay=1, initial=token(5).reshape(1, 4))
    results = []
    for number in range(4):
        room = token(0)
        actors["a"].fire({"in": token(number)}, {"out": fifo.writable[(number + 1) % 2]})
        actors["b"].fire({"in": fifo.readable[number % 2]}, {"out": room})
        results.append(room[0])
    assert results == [7, 3, 4, 5]
    assert actors["b"].figures["transfers"] == 4 + 1


# Devices, and what their compiler says.


@NEEDS_OPENCL
def test_a_device_has_numbers_or_names_and_an_identity():
    ((place, said), *_) = opencl.devices()
    platform, _, _ = said.partition(", driver")
    assert place == "0:0" and opencl.Device().describe() == said
    name = opencl.Device().record()["platform"]
    assert name in platform
    assert opencl.Device(f"{name[2:9].upper()}:0").describe() == said
    for wanted, message in (
        ("7:0", r"^OpenCL 7:0: there is no platform '7'; those are: 0 \("),
        ("nobody:0", r"there is no platform 'nobody'"),
        ("0:9", r"^OpenCL 0:9: there is no device '9'; those of .* are: 0 \("),
    ):
        with pytest.raises(UsageError, match=message):
            opencl.Device(wanted).describe()


def test_without_a_platform_or_pyopencl_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(opencl, "_platforms", list)
    with pytest.raises(UsageError, match=r"^OpenCL 0:0: this machine has no OpenCL platform: install the driver"):
        opencl.Device().describe()
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "pyopencl", None)
    with pytest.raises(UsageError, match=r"^OpenCL: .*pyopencl.*; install it \(pip install 'eprune\[opencl\]'\)$"):
        opencl.Device().describe()


@NEEDS_OPENCL
@pytest.mark.parametrize(
    ("main", "header", "place"),
    [
        ('#include "a.h"\n\n__kernel void f(__global int *x) {\n    *x = nowhere;\n}\n', "#define A\n", "f.cl:4"),
        (
            '// first\n#include "a.h"\n__kernel void f(__global int *x) { *x = g(); }\n',
            "int g(void) {\n;;}}\n",
            "a.h:2",
        ),
        ('/*\n#include "none.h"\n*/ __kernel void f(__global int *x) { *x = }', "", "f.cl:3"),
        ('__kernel void f(__global int *x) { *x = 1; }\n#include "a.h"\n#include "a.h"\n#error no', "\n\n", "f.cl:4"),
    ],
)
def test_what_the_compiler_says_is_one_message_with_its_line(main, header, place):
    with pytest.raises(opencl.BuildError, match=rf"^{place}: \S+") as caught:
        device().build("f.cl", {"f.cl": main.encode(), "a.h": header.encode()})
    file, _, line = place.partition(":")
    assert (caught.value.file, caught.value.line) == (file, int(line))


@NEEDS_OPENCL
def test_flags_are_told_to_the_compiler_and_a_file_that_includes_itself_is_refused():
    text = b"__kernel void f(__global int *x) { *x = NUMBER + OTHER; }"
    with pytest.raises(opencl.BuildError, match=r"^f\.cl:1: "):
        device().build("f.cl", {"f.cl": text})
    assert device(build="-DNUMBER=3,-DOTHER=4").build("f.cl", {"f.cl": text})
    with pytest.raises(opencl.BuildError, match=r"^f\.cl: f\.cl includes itself$"):
        device().build("f.cl", {"f.cl": b'#include "f.cl"\n'})


@NEEDS_OPENCL
def test_a_kernel_that_the_program_lacks_is_refused():
    with pytest.raises(UsageError, match="kernel f: OpenCL: clCreateKernel failed: INVALID_KERNEL_NAME"):
        actor(ADD.replace("void f", "void g"), ADDED, *PORTS, number="1")


@NEEDS_OPENCL
def test_a_kernel_with_other_arguments_than_its_source_shows_is_refused():
    with pytest.raises(UsageError, match=r"the kernel f has 3 arguments, where its source shows 2$"):
        actor(ADD, ADDED[:2], *PORTS)
