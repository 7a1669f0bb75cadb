"""``verify.Slices.compare`` in a process of its own: a slice that crashes an interpreter does not take eprune along."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional

import numpy as np

from eprune.formats.atomic import write_file
from eprune.formats.xml.application import write_application
from eprune.measure import apart
from eprune.measure.engines import plain_engine
from eprune.measure.progress import SILENT, Progress
from eprune.measure.verify import Difference, Slices, whole_model
from eprune.model.finding import EpruneError, Finding, Location
from eprune.model.graph import Graph
from eprune.model.system import System
from eprune.passes.relocate import relocated

#: Seconds that a slice may take to load or to run.
PATIENCE = 600.0


def compare(
    slices: Slices, interpreter: str, frames: Sequence[Mapping[int, Any]], progress: Progress = SILENT
) -> Optional[Difference]:
    """As ``Slices.compare``, which reads the application's and the model's file once more.

    Raises EpruneError (FILE) also where the interpreter crashes or hangs, with the actor whose slice it was running.
    """
    running = None
    with tempfile.TemporaryDirectory(prefix="eprune-") as folder:
        question = {**question_of(slices, frames, folder), "interpreter": interpreter}
        answers = apart.answers("eprune.measure.comparison", [], question, PATIENCE)
        try:
            with contextlib.closing(answers):
                for answer in answers:
                    if "frame" in answer:
                        progress.update(answer["frame"])
                    elif "running" in answer:
                        running = answer["running"]
                    elif "refused" in answer:
                        raise EpruneError(*map(_finding, answer["refused"]))
                    else:
                        return _difference(slices, answer["difference"])
            raise apart.Died("it ends without an answer")
        except apart.Died as error:
            raise EpruneError(
                _death(slices, plain_engine(slices.model, interpreter).describe(), running, str(error))
            ) from None


def question_of(slices: Slices, frames: Sequence[Mapping[int, Any]], folder: str) -> dict[str, Any]:
    """What a process of its own is told: where application, model and frames are; these are written into ``folder``."""
    path = Path(folder, "frames.npz")
    np.savez(path, **{str(tensor): np.stack([frame[tensor] for frame in frames]) for tensor in frames[0]})
    application = _file_of(slices.graph, folder)
    return {"application": application, "model": slices.model.path, "frames": str(path), "count": len(frames)}


def asked_about(question: Mapping[str, Any]) -> tuple[System, list[dict[int, Any]]]:
    """The application and the frames, there. Raises EpruneError."""
    from eprune.analysis.check import check
    from eprune.formats.system import read_system

    system = read_system(question["application"], (), (), check, allow_outside=True)  # who asks has judged that
    with np.load(question["frames"]) as stacks:
        values = {int(tensor): stacks[tensor] for tensor in stacks.files}
    return system, [{tensor: stack[n] for tensor, stack in values.items()} for n in range(question["count"])]


def _file_of(graph: Graph, folder: str) -> str:
    """The file of an application; one that came from stdin is written into ``folder``."""
    if Path(graph.where.file).exists():
        return graph.where.file
    path = Path(folder, "application.xml")
    write_file(str(path), write_application(relocated(graph, folder)))
    return str(path)


def _death(slices: Slices, interpreter: str, running: Optional[str], how: str) -> Finding:
    actor = next((actor for actor in slices.actors if actor.name == running), None)
    if actor is None:
        message = f"refused by {interpreter}: {how}, once its inner tensors are outputs as well"
        return Finding("FILE", Location(slices.model.path), message, "compare with another --interpreter")
    message = f"refused by {interpreter}: {how} in the slice of {actor.name!r}, though the whole model runs"
    return Finding("FILE", actor.where, message, "compare with another --interpreter, or cut elsewhere")


def _difference(slices: Slices, found: Optional[dict[str, Any]]) -> Optional[Difference]:
    if found is None:
        return None
    difference = Difference(**found)
    return replace(difference, actor=next((a for a in slices.actors if a.name == found["actor"]), None))


def _finding(parts: Mapping[str, Any]) -> Finding:
    return Finding(parts["rule"], Location(parts["file"], parts["line"]), parts["message"], parts["hint"])


class _Told(Progress):
    """Tells the other process how far it is."""

    def __init__(self, tell: Callable[[dict[str, Any]], None]) -> None:
        self.tell = tell

    def update(self, done: int) -> None:
        self.tell({"frame": done})


def _answer(question: Mapping[str, Any], tell: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """In the process of its own: the difference, or why there is no comparing."""
    try:
        system, frames = asked_about(question)
        slices = Slices(system, whole_model(system, question["model"]))
        found = slices.compare(question["interpreter"], frames, _Told(tell), lambda node: tell({"running": node}))
    except EpruneError as error:
        places = [(each, each.where.file, each.where.line) for each in error.findings]
        return {
            "refused": [
                {"rule": each.rule, "file": file, "line": line, "message": each.message, "hint": each.hint}
                for each, file, line in places
            ]
        }
    if found is None:
        return {"difference": None}
    return {"difference": {**vars(found), "actor": found.actor.name if found.actor else None}}


def _main() -> None:
    apart.bound_memory()

    def tell(answer: Mapping[str, Any]) -> None:
        print(json.dumps(answer), flush=True)

    tell(_answer(json.load(sys.stdin), tell))


if __name__ == "__main__":
    _main()
