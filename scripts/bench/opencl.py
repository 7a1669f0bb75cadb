"""What a call of an actor in OpenCL costs beside pyopencl's own, and what tokens that stay on the device save.

Here the device is this machine's processor. Times are of the clock, for the device works in threads of its own: what is
compared is run in turn, and of each the fastest round and the median count.
"""

from __future__ import annotations

import statistics
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from eprune.runtime.fire.opencl import Device, library
from eprune.runtime.fire.opencl_actor import Argument, OpenClActor, leave_on_devices
from eprune.runtime.kernel.fifo import Fifo
from scripts.bench.harness import say

ROUNDS, CALLS = 21, 1000
MEMORIES = ("shared", "mapped", "copied")
#: The token between L1 and L2 of the vehicle classifier.
SHAPE = (1, 48, 48, 32)
RELU = """
__kernel void relu(__global const float *in, __global float *out) {
    out[get_global_id(0)] = fmax(in[get_global_id(0)], 0.0f);
}
"""


def opencl(folder: Path) -> None:
    """OpenCL: a call, beside pyopencl as it is; and tokens that stay on the device."""
    print(f"{Device().describe()}\n")
    calls()
    print()
    chain()


def calls() -> None:
    """A call on a token of one element, and what pyopencl takes for the same commands."""
    say("call", "microseconds", "median of the rounds")
    say(*["---"] * 3)
    given, room = Fifo("in", "float32", (1,), 1), Fifo("out", "float32", (1,), 1)
    taken = {name: call for memory in MEMORIES for name, call in _both(memory, given, room).items()}
    for name, times in _rounds(taken, CALLS).items():
        say(name, f"{1e6 * min(times):.1f}", f"{1e6 * statistics.median(times):.1f}")


def _both(memory: str, given: Fifo, room: Fifo) -> dict[str, Callable[[], Any]]:
    actor = _relu(Device(options={"memory": memory}), 1)
    inputs, outputs = {"in": given.readable[0]}, {"out": room.writable[0]}
    return {
        f"pyopencl, bare: {COMMANDS[memory]}": _bare(memory, inputs["in"], outputs["out"]),
        f"an actor in OpenCL, memory {memory}": lambda: actor.fire(inputs, outputs),
    }


#: What is to be done in a firing.
COMMANDS = {
    "shared": "the kernel, and waiting for it",
    "mapped": "two unmappings, the kernel, two mappings",
    "copied": "a copy, the kernel, a copy",
}


def _bare(memory: str, given: Any, room: Any) -> Callable[[], None]:
    """The same commands by pyopencl alone, its arguments set once."""
    cl, opened = library(), Device().opened
    queue, flags = opened.queue, cl.mem_flags
    kernel = cl.Kernel(cl.Program(opened.context, RELU).build(cache_dir=False), "relu")
    given = np.array(given)
    where = [flags.USE_HOST_PTR if memory != "copied" else flags.COPY_HOST_PTR] * 2
    buffers = [
        cl.Buffer(opened.context, flags.READ_WRITE | how, hostbuf=array) for how, array in zip(where, (given, room))
    ]
    for index, buffer in enumerate(buffers):
        kernel.set_arg(index, buffer)
    ways = (cl.map_flags.WRITE_INVALIDATE_REGION, cl.map_flags.READ)
    maps: list[Any] = []

    def shared() -> None:
        cl.enqueue_nd_range_kernel(queue, kernel, (1,), None).wait()

    def mapped() -> None:
        while maps:
            maps.pop().base.release(queue)
        cl.enqueue_nd_range_kernel(queue, kernel, (1,), None)
        for buffer, way in zip(buffers, ways):
            array, last = cl.enqueue_map_buffer(queue, buffer, way, 0, (4,), np.uint8, is_blocking=False)
            maps.append(array)
        last.wait()

    def copied() -> None:
        cl.enqueue_copy(queue, buffers[0], given, is_blocking=False)
        cl.enqueue_nd_range_kernel(queue, kernel, (1,), None)
        cl.enqueue_copy(queue, room, buffers[1], is_blocking=False).wait()

    call: Any = {"shared": shared, "mapped": mapped, "copied": copied}[memory]
    call.kept = buffers  # a kernel does not keep what its arguments are
    return call


def chain() -> None:
    """Three actors in a row on a device with memory of its own, whose tokens stay there, or come back in between."""
    say("three actors in a row, float32[1,48,48,32]", "copies per frame", "avoided", "milliseconds per frame", "median")
    say(*["---"] * 5)
    made = {
        "tokens come back to the host": _chain("copied", False),
        "tokens stay on the device": _chain("copied", True),
        "the processor, which shares its memory": _chain("shared", True),
    }
    times = _rounds({name: call for name, (call, _) in made.items()}, 20)
    for name, (_, actors) in made.items():
        counts = [sum(each.figures[which] for each in actors) for which in ("transfers", "transfers_avoided")]
        frames = sum(counts) / (2 * len(actors))
        shown = [f"{1e3 * min(times[name]):.2f}", f"{1e3 * statistics.median(times[name]):.2f}"]
        say(name, *(f"{count / frames:g}" for count in counts), *shown)


def _chain(memory: str, stay: bool) -> tuple[Callable[[], None], list[OpenClActor]]:
    on = Device(options={"memory": memory})
    actors = [_relu(on, int(np.prod(SHAPE))) for _ in range(3)]
    if stay:
        joined = [((str(k), "out"), (str(k + 1), "in")) for k in range(2)]
        leave_on_devices(joined, {str(k): actor for k, actor in enumerate(actors)})
    fifos = [Fifo(str(k), "float32", SHAPE, 1) for k in range(4)]

    def frame() -> None:
        for actor, source, target in zip(actors, fifos, fifos[1:]):
            actor.fire({"in": source.readable[0]}, {"out": target.writable[0]})

    return frame, actors


def _relu(on: Device, size: int) -> OpenClActor:
    arguments = [Argument("in", "in"), Argument("out", "out")]
    actor = OpenClActor(on, "relu", lambda on: on.build("relu.cl", {"relu.cl": RELU.encode()}), {}, arguments, (size,))
    actor.name = "actor"
    actor.initialize()
    return actor


def _rounds(calls: dict[str, Callable[[], Any]], count: int) -> dict[str, list[float]]:
    """Seconds of a call of each, in every round."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(ROUNDS):
        for name, call in calls.items():
            taken[name].append(timeit.timeit(call, number=count) / count)
    return taken
