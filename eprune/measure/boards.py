"""An exploration measured on several boards: each is the endpoint in its turn, with results of its own.

Boards are taken from a queue, several at once where the machine that plays the other platforms has cores for that. Each
is measured by a process of its own (this module, as a program), which says how far it has come in lines of JSON. So a
board that fails, hangs or dies stops no other one. Its results are in ``boards/NAME`` of the exploration's folder, with
a copy of the plan: an exploration by itself, for ``eprune report`` and ``eprune cut``.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Optional

from eprune.deploy.ssh import Device, Interrupted, parse_device
from eprune.explore.plan import PLAN, Plan, write_plan
from eprune.formats.atomic import write_file
from eprune.measure import apart, points
from eprune.measure.exploration import read_plan_of
from eprune.measure.progress import SILENT, Progress
from eprune.measure.single_frame import single_frames
from eprune.model.exit_codes import FINDINGS, INTERRUPTED
from eprune.model.finding import EpruneError, Failure

#: The folder of boards in that of an exploration.
BOARDS = "boards"
#: Seconds that a board's process has to end after an interrupt.
GRACE = 20.0


@dataclass(frozen=True)
class Ask:
    """What is to be measured on each board: single frames or a stream, and how (``points.Setting``)."""

    latency: bool = False
    arguments: tuple[str, ...] = ()
    limit: float = 600.0
    trusted: bool = False


@dataclass(frozen=True)
class BoardOutcome:
    """How measuring on a board ended. ``points`` are the lines of now; ``failed`` and ``total`` of all so far.

    ``problem`` says what went wrong, "" if nothing did.
    """

    device: str
    results: str
    points: tuple[Mapping[str, Any], ...] = ()
    failed: tuple[str, ...] = ()
    total: int = 0
    problem: str = ""
    exit_code: int = 0


def place_of(folder: Path, board: str) -> Path:
    """The folder of a board."""
    return folder / BOARDS / board


def kind_of(plan: Plan, folder: Path, board: str, ask: Ask) -> points.Kind:
    """What is measured on a board: as without one, but for where results go."""
    kind = single_frames(plan, folder, ask.trusted) if ask.latency else points.steady(plan, folder)
    return replace(kind, results=place_of(folder, board) / kind.results.name)


def measure_boards(
    plan: Plan,
    folder: Path,
    boards: Mapping[str, Device],
    names: Mapping[str, Sequence[str]],
    ask: Ask,
    at_once: int,
    progress: Progress = SILENT,
) -> dict[str, BoardOutcome]:
    """Measure the alternatives ``names[board]`` on each board, on up to ``at_once`` of them at the same time."""
    for board in boards:
        _copy_plan(plan, folder, place_of(folder, board))
    said = threading.Lock()
    running: list[subprocess.Popen[str]] = []
    with ThreadPoolExecutor(at_once) as pool:
        futures = {
            board: pool.submit(_board, plan, folder, board, device, names[board], ask, progress, said, running)
            for board, device in boards.items()
        }
        try:
            return {board: future.result() for board, future in futures.items()}
        except BaseException:
            for future in futures.values():
                future.cancel()
            _end(running)
            raise


def _copy_plan(plan: Plan, folder: Path, place: Path) -> None:
    """An exploration by itself, of the same files."""
    files = tuple(
        each if each == "-" else os.path.relpath(path, place) for each, path in zip(plan.files, plan.files_at(folder))
    )
    directory = os.path.relpath(folder / plan.directory, place)
    write_file(str(place / PLAN), write_plan(replace(plan, files=files, directory=directory)))


def _board(
    plan: Plan,
    folder: Path,
    board: str,
    device: Device,
    names: Sequence[str],
    ask: Ask,
    progress: Progress,
    said: threading.Lock,
    running: list[subprocess.Popen[str]],
) -> BoardOutcome:
    """Measure on one board, in a process of its own."""
    question = {"url": device.url, "python": device.python, "points": list(names), **asdict(ask)}
    command = [sys.executable, "-m", "eprune.measure.boards", str(folder), board]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=apart.environment(),
    ) as process:
        running.append(process)
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(question))
        process.stdin.close()
        last: Optional[dict[str, Any]] = None
        why = ""
        for text in process.stdout:
            try:
                line = json.loads(text)
            except ValueError:
                why = text.strip() or why  # what Python says of a mistake of ours
                continue
            with said:
                if "begin" in line:
                    progress.begin(f"{board}: {line['begin']}")
                elif "say" in line:
                    progress.clear()
                    progress.say(f"{board}: {line['say']}")
                else:
                    last = line
        code = process.wait()
    results = str(kind_of(plan, folder, board, ask).results)
    if last is None:
        why = why or f"exit code {code}"
        return BoardOutcome(device.url, results, problem=f"its measuring ended: {why}", exit_code=FINDINGS)
    problem = str(last["problem"]).removeprefix("error: ")
    done = tuple(last["lines"]), tuple(last["failed"]), last["total"]
    return BoardOutcome(device.url, results, *done, problem, last["exit_code"])


def _end(running: Sequence[subprocess.Popen[str]]) -> None:
    """End the processes of boards as Ctrl-C does: they leave nothing there."""
    for process in running:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
    for process in running:
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()


class _Lines(Progress):
    """Says on stdout how far a board has come."""

    def begin(self, title: str) -> None:
        """The next part begins."""
        _line({"begin": title})

    def say(self, text: str) -> None:
        """A message for the user."""
        _line({"say": text})


def _line(data: Mapping[str, Any]) -> None:
    print(json.dumps(data), flush=True)


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("board")
    options = parser.parse_args()
    question = json.loads(sys.stdin.read())
    folder = Path(options.folder)
    plan = read_plan_of(options.folder)
    device = parse_device(question["url"], question["python"])
    ask = Ask(question["latency"], tuple(question["arguments"]), question["limit"], question["trusted"])
    kind = kind_of(plan, folder, options.board, ask)
    home = None if plan.from_stdin else str(Path(folder, plan.files[0]).parent)
    setting = points.Setting(ask.arguments, ask.limit, {plan.roles.endpoints[0]: device}, False, home)
    names = question["points"]
    try:
        measured = points.measure_points(plan, folder, kind, names, setting, _Lines())
    except (Failure, EpruneError) as failure:
        failed, total = points.so_far(plan, kind, setting)
        measured = points.Measured(failed, total, FINDINGS, f"error: {failure}")
    except (KeyboardInterrupt, Interrupted):
        measured = points.Measured((), 0, INTERRUPTED, "interrupted")
    _line(
        {
            "lines": list(measured.lines),
            "failed": list(measured.failed),
            "total": measured.total,
            "problem": measured.stopped,
            "exit_code": measured.exit_code,
        }
    )


if __name__ == "__main__":
    _main()
