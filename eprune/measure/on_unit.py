"""An application's slices on a unit against the reference interpreter: which differ, how much, from which operator on?

The reference is TFLite's interpreter as it is on a plain unit, over the very same cut and the same values. Each slice
is looked at by itself: what it gets is what the whole model has there. It runs in a process of its own, which a
delegate may crash.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Optional

import numpy as np

from eprune.deploy.build import cut
from eprune.formats.model_files import read_model
from eprune.formats.models.errors import model_error
from eprune.formats.models.slices import slice_model
from eprune.measure import apart
from eprune.measure.comparison import PATIENCE, asked_about, question_of
from eprune.measure.engines import as_text, from_text, model_engine, plain_engine
from eprune.measure.progress import SILENT, Progress
from eprune.measure.verify import Slices, kept
from eprune.model.behaviour import Cut
from eprune.model.finding import EpruneError
from eprune.model.graph import Actor
from eprune.model.platform import Unit
from eprune.runtime.fire.engines import ModelEngine
from eprune.runtime.kernel.errors import UsageError


@dataclass(frozen=True)
class Deviation:
    """How a slice on a unit differs from the reference, over all frames.

    ``largest`` is the largest difference of an element, in parts of the largest magnitude that the reference has in
    that tensor; ``tensor`` and ``frame`` say where. Of a slice that differs too much, ``operator`` is the first one
    that does, and ``step`` by how much. ``problem`` says why it does not run there.
    """

    actor: str
    largest: float = 0.0
    tensor: int = -1
    frame: int = -1
    operator: Optional[int] = None
    step: float = 0.0
    problem: str = ""

    def within(self, tolerance: float) -> bool:
        """Whether it is equal as far as that."""
        return not self.problem and self.largest <= tolerance


def on_unit(
    slices: Slices,
    unit: Unit,
    interpreter: str,
    frames: Sequence[Mapping[int, Any]],
    tolerance: float,
    progress: Progress = SILENT,
) -> list[Deviation]:
    """For each slice that the unit takes, in precedence order, how it differs; ``tolerance`` as ``Deviation.largest``.

    Raises EpruneError (FILE) where not even the whole model runs on a plain interpreter.
    """
    found: list[Deviation] = []
    running = ""
    with tempfile.TemporaryDirectory(prefix="eprune-") as folder:
        question = {
            **question_of(slices, frames, folder),
            "unit": as_text(unit),
            "interpreter": interpreter,
            "tolerance": tolerance,
        }
        answers = apart.answers("eprune.measure.on_unit", [], question, PATIENCE)
        try:
            with contextlib.closing(answers):
                for answer in answers:
                    if "running" in answer:
                        running = answer["running"]
                    else:
                        found.append(Deviation(**answer))
                        progress.update(len(found))
        except apart.Died as error:
            if not running:
                raise model_error(slices.model.path, f"does not run on a plain interpreter: {error}") from None
            found.append(Deviation(running, problem=str(error)))
    return found


def deviations(
    slices: Slices,
    unit: Unit,
    interpreter: str,
    frames: Sequence[Mapping[int, Any]],
    tolerance: float,
    begun: Callable[[str], None] = lambda actor: None,
) -> Iterator[Deviation]:
    """The same in this process. ``begun`` is told which slice comes next."""
    engine, plain = model_engine(unit, interpreter), plain_engine(slices.model, interpreter)
    values = list(slices.values(interpreter, frames))
    for actor in slices.actors:
        if not actor.misplaced(unit):
            begun(actor.name)
            try:
                yield _deviation(slices, actor, (plain, engine), values, tolerance)
            except (UsageError, ValueError, RuntimeError) as error:
                yield Deviation(actor.name, problem=" ".join(str(error).split()))


def _deviation(
    slices: Slices,
    actor: Actor,
    engines: tuple[ModelEngine, ModelEngine],
    frames: Sequence[Mapping[int, Any]],
    tolerance: float,
) -> Deviation:
    interface = slices.system.interfaces[actor.name]
    assert actor.behaviour is not None
    (part,) = actor.behaviour.declare(actor, interface).cuts
    ports = {tensor: port for port, tensor in interface.tensors.items()}
    given = [[kept(interface, ports[tensor], frame[tensor]) for tensor in part.input_tensors] for frame in frames]
    sides = [_run(engine, cut(part), given) for engine in engines]
    worst = max(
        (Deviation(actor.name, largest(*pair), tensor, number) for number, tensor, pair in _pairs(part, sides)),
        key=lambda each: each.largest,
        default=Deviation(actor.name),
    )
    if worst.largest <= tolerance or part.kept:
        return worst
    operator, step = _first_operator(part, engines, given, tolerance)
    return Deviation(actor.name, worst.largest, worst.tensor, worst.frame, operator, step)


def _pairs(part: Cut, sides: Sequence[list[list[Any]]]) -> Iterator[tuple[int, int, tuple[Any, Any]]]:
    for number, outputs in enumerate(zip(*sides)):
        for tensor, *pair in zip(part.output_tensors, *outputs):
            yield number, tensor, (pair[0], pair[1])


def _first_operator(
    part: Cut, engines: Sequence[ModelEngine], given: Sequence[Sequence[Any]], tolerance: float
) -> tuple[Optional[int], float]:
    """The first operator of a slice that differs when all that its operators give are outputs, and by how much."""
    model = read_model(part.path)
    made = [(index, tensor) for index in part.operators for tensor in model.operators[index].outputs if tensor >= 0]
    shown = [(index, tensor) for index, tensor in made if model.tensors[tensor].token is not None]
    try:
        data = slice_model(model, part.operators, part.input_tensors, [tensor for _, tensor in shown], part.kept)
        sides = [_run(engine, data, given) for engine in engines]
    except (EpruneError, UsageError, ValueError, RuntimeError):
        return None, 0.0
    for place, (index, _) in enumerate(shown):
        found = max(largest(right[place], got[place]) for right, got in zip(*sides))
        if found > tolerance:
            return index, found
    return None, 0.0


def _run(engine: ModelEngine, data: bytes, frames: Sequence[Sequence[Any]]) -> list[list[Any]]:
    interpreter = engine.load(data)
    invoke = engine.invoker(interpreter)
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    results = []
    for values in frames:
        for detail, value in zip(inputs, values):
            interpreter.set_tensor(detail["index"], value)
        invoke()
        results.append([np.array(interpreter.get_tensor(detail["index"])) for detail in outputs])
    return results


def largest(right: Any, other: Any) -> float:
    """The largest difference of an element, in parts of the largest magnitude on the right side; 0 for equal bits."""
    if right.shape != other.shape or right.dtype != other.dtype:
        return float("inf")
    if right.tobytes() == other.tobytes() or not right.size:
        return 0.0
    kind = np.complex128 if np.iscomplexobj(right) else np.float64
    with np.errstate(invalid="ignore", over="ignore"):
        apart_ = np.abs(right.astype(kind) - other.astype(kind))
    apart_[(right == other) | (np.isnan(right.astype(kind)) & np.isnan(other.astype(kind)))] = 0
    scale = float(np.abs(right[np.isfinite(right)].astype(kind)).max(initial=0)) or 1.0
    found = float(apart_.max()) / scale
    return float("inf") if np.isnan(found) else found


def _main() -> None:
    apart.bound_memory()
    question = json.load(sys.stdin)

    def tell(answer: Mapping[str, Any]) -> None:
        print(json.dumps(answer), flush=True)

    system, frames = asked_about(question)
    slices = Slices(system, read_model(question["model"]))
    unit = from_text(question["unit"])
    given = (slices, unit, question["interpreter"], frames, question["tolerance"])
    for deviation in deviations(*given, lambda actor: tell({"running": actor})):
        tell(asdict(deviation))


if __name__ == "__main__":
    _main()
