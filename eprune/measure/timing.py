"""Times the actors of an application, one thread on one core, for the predictions of ``eprune report``.

Operators timed one by one cost 1.4 to 1.5 times the whole model. So segments are timed as they would run: with the
first k actors on the platform, for each k; what the k-th adds is its time. It runs in a process of its own, pinned.
Time in which others had the core does not count, where the system tells it.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform as host
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional

import eprune

if TYPE_CHECKING:
    from eprune.cli.inputs import Inputs
    from eprune.codegen.program import Program, Segment
    from eprune.model.graph import Graph, PortRef

#: Seconds for the repetitions of one segment, and how many there are at least.
SECONDS = 0.08
LEAST = 5
#: Frames and seconds for the actors that are Python classes.
FRAMES = 30
#: Frames where rates vary, to see how often each row of a control table is chosen.
DYNAMIC_FRAMES = 200
FRAMES_SECONDS = 3.0


def time_actors(
    application: str, core: Optional[int], interpreter: Optional[str], on_progress: Callable[[int, int], None]
) -> dict[str, Any]:
    """Actor -> seconds, with the interpreter, as JSON has it. Raises RuntimeError with the reason of a failure.

    ``on_progress`` is told how many of how many steps are done.
    """
    command = [sys.executable, "-m", "eprune.measure.timing", application, f"--interpreter={interpreter or 'auto'}"]
    command += [f"--core={core}"] if core is not None else []
    places = [str(Path(eprune.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))}
    with (
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said, text=True, env=environment
        ) as process,
    ):
        assert process.stdout is not None
        result = None
        for line in process.stdout:
            told = json.loads(line)
            if "step" in told:
                on_progress(told["step"], told["steps"])
            else:
                result = told
        if process.wait() or result is None:
            said.seek(0)
            raise RuntimeError((said.read().strip().splitlines() or [f"exit code {process.returncode}"])[-1])
    return result


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("application")
    parser.add_argument("--core", type=int)
    parser.add_argument("--interpreter", default="auto")
    options = parser.parse_args()
    # What actors print must not come between the lines of the answer.
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if options.core is not None and hasattr(os, "sched_setaffinity") and options.core in os.sched_getaffinity(0):
        os.sched_setaffinity(0, {options.core})

    def tell(line: dict[str, Any]) -> None:
        print(json.dumps(line), file=answer, flush=True)

    from eprune.runtime.fire.tflite import choose, describe

    interpreter = choose(options.interpreter)
    times, rates = _times(options.application, interpreter, lambda step, steps: tell({"step": step, "steps": steps}))
    tell(
        {
            "actors": times,
            "rates": rates,
            "interpreter": describe(interpreter),
            "python": host.python_version(),
            "machine": host.machine(),
        }
    )


def _times(
    application: str, interpreter: str, on_progress: Callable[[int, int], None]
) -> tuple[dict[str, float], dict[str, float]]:
    """Actor -> seconds a frame; and dynamic FIFO -> the part of its upper rate limit that a frame has, on average."""
    from eprune.cli.inputs import read_inputs, sound
    from eprune.explore.flow import flow

    inputs = sound(read_inputs(application))
    order = flow(inputs.graph).actors
    times, chosen = _python_actors(_program(inputs, order), interpreter)
    active, rates = averages(inputs.graph, chosen)
    known: dict[Any, float] = {}
    grown = []
    for count in range(1, len(order) + 1):
        on_progress(count, len(order))
        grown.append(sum(_segment(segment, interpreter, known) for segment in _program(inputs, order[:count]).segments))
    for actor, seconds in zip(order, steps(grown)):
        times.setdefault(actor, seconds * active.get(actor, 1))
    return {actor: times[actor] for actor in order}, rates


def averages(graph: Graph, chosen: Mapping[str, Mapping[int, int]]) -> tuple[dict[str, float], dict[str, float]]:
    """How often actors of dynamic processing graphs are active, and the part of their FIFOs' upper rate limits.

    Both from 0 to 1, by how often each row was ``chosen``: graph -> control value -> firings.
    """
    active: dict[str, float] = {}
    parts: dict[PortRef, float] = {}
    limits = {ref: port.url for ref, port in graph.ports()}
    for dpg in graph.dpgs:
        counts = chosen.get(dpg.name, {})
        total = sum(counts.values())
        if not total:
            continue
        rows = [(counts.get(row.value, 0) / total, dpg.rates(row)) for row in dpg.rows]
        for ref in dpg.ports:
            parts[ref] = sum(share * rates[ref] for share, rates in rows) / limits[ref]
        for member in dpg.members:
            own = [ref for ref in dpg.ports if ref.actor == member]
            if own:
                active[member] = sum(share for share, rates in rows if any(rates[ref] for ref in own))
    return active, {fifo.name: parts[fifo.source] for fifo in graph.fifos if fifo.source in parts}


def timed(call: Callable[[], object]) -> float:
    """Seconds that a call takes, less those in which this thread was ready to run but another one had its core."""
    delayed = _delayed()
    begin = time.perf_counter()
    call()
    taken = time.perf_counter() - begin
    return max(taken - (_delayed() - delayed), 0.0)


def _delayed() -> float:
    """Seconds that this thread has waited for a core since it began; 0 where only the system knows."""
    try:
        return 1e-9 * int(Path("/proc/thread-self/schedstat").read_bytes().split()[1])
    except (OSError, ValueError, IndexError):
        return 0.0


def steps(grown: Sequence[float]) -> list[float]:
    """What each prefix adds to the one before it.

    More actors never take less time, and other load on the machine only ever adds to it. So no prefix has taken longer
    than any that is longer than it.
    """
    least = list(accumulate(reversed(grown), min))[::-1]
    return [now - before for now, before in zip(least, [0.0, *least])]


def _program(inputs: Inputs, here: tuple[str, ...]) -> Program:
    """The program of a platform that runs these actors; the others run elsewhere."""
    from eprune.codegen.lower import lower
    from eprune.model.mapping import Mapping, Placement
    from eprune.model.platform import Link, Platform, Unit

    places = tuple(
        Placement(actor.name, unit="cpu") if actor.name in here else Placement(actor.name, platform="there")
        for actor in inputs.graph.actors
    )
    platform = Platform("here", (Unit("cpu"),), (Link("there"),))
    return lower(inputs.graph, platform, Mapping(inputs.graph.name, "here", places), inputs.interfaces)


def _segment(segment: Segment, interpreter: str, known: dict[Any, float]) -> float:
    """Seconds of one run of a segment, on random values."""
    import numpy as np

    from eprune.deploy.build import cut
    from eprune.runtime.fire.tflite import load

    key = (segment.path, segment.operators, segment.input_tensors, segment.output_tensors)
    if key not in known:
        model = load(interpreter, cut(segment))
        random = np.random.default_rng(0)
        for detail in model.get_input_details():
            values = random.random(detail["shape"])
            scale = 1 if np.issubdtype(detail["dtype"], np.floating) else 100
            model.set_tensor(detail["index"], (values * scale).astype(detail["dtype"]))
        model.invoke()
        taken: list[float] = []
        end = time.perf_counter() + SECONDS
        while len(taken) < LEAST or time.perf_counter() < end:
            taken.append(timed(model.invoke))
        known[key] = statistics.median(taken)
    return known[key]


def _python_actors(program: Program, interpreter: str) -> tuple[dict[str, float], dict[str, Counter[int]]]:
    """Actor -> median seconds a firing, for those that are Python classes: all fire in turn, on real tokens.

    The medians of a dynamic actor's modes count as often as these occur. The second result is how often each control
    value was chosen, for each dynamic processing graph.
    """
    from eprune.codegen.program import Segment as SegmentNode
    from eprune.deploy.build import cut
    from eprune.runtime.fire.tflite import Model, SegmentActor
    from eprune.runtime.kernel.actor import Actor, EndOfStream, PortType
    from eprune.runtime.main.files import Files

    files = Files(os.path.abspath("program.py"))  # noqa: PTH100
    behaviours: dict[str, Actor] = {}
    for node in program.nodes:
        if isinstance(node, SegmentNode):
            data = cut(node)
            feeds, fetches = dict(node.inputs), dict(node.outputs)
            behaviour: Actor = SegmentActor(lambda data=data: data, interpreter, feeds, fetches)  # type: ignore[misc]
        else:
            factory = files.load_class(f"{os.path.abspath(node.path)}:{node.class_name}")  # noqa: PTH100
            behaviour = factory(**dict(node.parameters))
            if node.model is not None:
                behaviour.model = Model(functools.partial(cut, node.model), interpreter)
        behaviours[node.name] = behaviour
    tokens = {fifo.name: deque(_initial(fifo)) for fifo in program.fifos}
    for name, behaviour in behaviours.items():
        behaviour.name = name
        behaviour.inputs, behaviour.outputs = (
            {
                end.partition(".")[2]: PortType(fifo.token.dtype, fifo.token.shape, fifo.rate)
                for fifo, end in ends
                if end.partition(".")[0] == name and not fifo.control
            }
            for ends in (
                [(fifo, fifo.target) for fifo in program.fifos],
                [(fifo, fifo.source) for fifo in program.fifos],
            )
        )
        behaviour.initialize()
    taken: dict[str, list[tuple[int, float]]] = {name: [] for name in behaviours}
    chosen: dict[str, Counter[int]] = {}
    end = time.perf_counter() + FRAMES_SECONDS
    try:
        for frame in range(DYNAMIC_FRAMES if program.rows else FRAMES):
            if frame > 1 and time.perf_counter() > end:
                break
            for node in program.nodes:
                behaviour = behaviours[node.name]
                seconds = _fire(behaviour, node.name, program, tokens, chosen)
                taken[node.name].append((behaviour.mode, seconds))
    except EndOfStream:
        pass
    finally:
        for behaviour in behaviours.values():
            behaviour.finalize()
    python = {node.name for node in program.nodes if not isinstance(node, SegmentNode)}
    # Frames differ, and other load on the machine adds to some firings; the first one also warms up.
    return {name: _typical(times[1:] or times) for name, times in taken.items() if name in python}, chosen


def _typical(taken: Sequence[tuple[int, float]]) -> float:
    """The median of the seconds of each mode, as often as it occurs."""
    modes: dict[int, list[float]] = {}
    for mode, seconds in taken:
        modes.setdefault(mode, []).append(seconds)
    return sum(statistics.median(each) * len(each) for each in modes.values()) / max(len(taken), 1)


def _fire(
    behaviour: Any, name: str, program: Program, tokens: dict[str, deque[Any]], counts: dict[str, Counter[int]]
) -> float:
    """Seconds of one firing, at the rates of its control token where it is dynamic; its choice goes to ``counts``."""
    import numpy as np

    from eprune.runtime.kernel.actor import EndOfStream

    sources = [fifo for fifo in program.fifos if fifo.target.partition(".")[0] == name]
    targets = [fifo for fifo in program.fifos if fifo.source.partition(".")[0] == name]
    rates = {fifo.name: fifo.rate for fifo in (*sources, *targets)}

    def follow(value: int, dpg: Optional[str]) -> None:
        rows = {row.value: row.rates for row in program.rows if row.dpg == dpg}
        if value not in rows:
            raise ValueError(f"control value {value} is not in the control table of {dpg!r}")
        rates.update((fifo, rate) for fifo, rate in rows[value] if fifo in rates)
        behaviour.mode = value

    def views(fifos: Sequence[Any], end: str, take: Callable[[Any], Any]) -> dict[str, Any]:
        listed = {fifo: [take(fifo) for _ in range(rates[fifo.name])] for fifo in fifos if not fifo.control}
        return {
            getattr(fifo, end).partition(".")[2]: found if fifo.rate > 1 else found[0]
            for fifo, found in listed.items()
            if found
        }

    for fifo in sources:
        if fifo.control:
            follow(tokens[fifo.name].popleft(), fifo.control)
    inputs = views(sources, "target", lambda fifo: tokens[fifo.name].popleft())
    taken, told = 0.0, [fifo for fifo in targets if fifo.control]
    chosen: list[int] = []
    try:
        if told:
            taken = timed(lambda: chosen.append(behaviour.control(inputs)))
            follow(chosen[0], told[0].control)
            counts.setdefault(told[0].control or "", Counter())[chosen[0]] += 1
            for fifo in told:
                tokens[fifo.name].append(chosen[0])
        outputs = views(targets, "source", lambda fifo: np.empty(fifo.token.shape, fifo.token.dtype))
        if outputs or (inputs and not told):
            taken += timed(lambda: behaviour.fire(inputs, outputs))
    except EndOfStream:
        raise
    except Exception as error:
        raise RuntimeError(f"actor {name!r} failed: {type(error).__name__}: {error}") from error
    for fifo in targets:
        port = fifo.source.partition(".")[2]
        if port in outputs:
            tokens[fifo.name].extend(outputs[port] if fifo.rate > 1 else [outputs[port]])
    return taken


def _initial(fifo: Any) -> list[Any]:
    import numpy as np

    if fifo.initial is not None:
        return list(np.load(fifo.initial, allow_pickle=False))
    return [np.zeros(fifo.token.shape, fifo.token.dtype) for _ in range(fifo.delay)]


if __name__ == "__main__":
    try:
        _main()
    except Exception as error:  # the parent tells the user
        sys.exit(str(error) or type(error).__name__)
