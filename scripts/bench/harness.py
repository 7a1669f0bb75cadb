"""What all sections share: programs of a few actors, runs of them, ratios of what is run in turn, and table rows."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Callable

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT.parent / "shared" / "models"
BARE = ROOT / "scripts" / "bench" / "bare.py"
ACTORS = ROOT / "scripts" / "bench" / "actors.py"
VEHICLE = ROOT / "graphs" / "vehicle.tflite"


def say(*cells: str) -> None:
    """A row of a table."""
    print("| " + " | ".join(cells) + " |", flush=True)


def bare(*arguments: object) -> dict[str, float]:
    """What a bare program measures."""
    command = [sys.executable, str(BARE), *map(str, arguments)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout)


def program(folder: Path, platform: str, *declarations: str) -> Path:
    """A program as the code generator writes it, of the actors of this folder."""
    text = ["from eprune.runtime import Program", f"program = Program('bench', {platform!r}, 'd', __file__)"]
    text += ["program.unit('cpu0', 0)", "program.unit('cpu1', 1)"]
    text += [f"program.{declaration}" for declaration in declarations]
    text += ["raise SystemExit(program.main())"]
    path = folder / f"{platform}.py"
    path.write_text("\n".join(text).replace("ACTORS:", f"{os.path.relpath(ACTORS, folder)}:"))
    return path


def run(folder: Path, *programs: Path, arguments: tuple[str, ...] = ()) -> list[dict]:
    """Run programs side by side; their records, with the JSON that they have ``printed``."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    records = [folder / f"{path.stem}.json" for path in programs]
    started = [
        subprocess.Popen(
            [sys.executable, str(path), "--record", str(record), *arguments], env=environment, stdout=subprocess.PIPE
        )
        for path, record in zip(programs, records)
    ]
    results = []
    for process, record in zip(started, records):
        printed = process.communicate()[0]
        if process.returncode != 0:
            raise SystemExit(f"{process.args} failed")
        results.append({**json.loads(record.read_text()), "printed": json.loads(printed or "{}")})
    return results


def told(process: subprocess.Popen) -> dict[str, float]:
    """What a bare program that was started measures."""
    return json.loads(process.communicate()[0])


def period(record: dict, actor: str) -> float:
    """Seconds between two firings of an actor, on average."""
    told = record["actors"][actor]
    return (told["last_s"] - told["first_s"]) / (told["firings"] - 1)


def ratios(pairs: int, one: Callable[[], float], other: Callable[[], float]) -> tuple[float, float, float]:
    """Median of other/one, and the medians of both, run in turn."""
    measured = [(one(), other()) for _ in range(pairs)]
    return (
        statistics.median(second / first for first, second in measured),
        statistics.median(first for first, _ in measured),
        statistics.median(second for _, second in measured),
    )


def generate(graph: Path, arguments: list[str], output: Path, *more: str) -> Path:
    """Have ``eprune codegen`` write a program."""
    command = [sys.executable, "-m", "eprune", "codegen", str(graph), *arguments]
    command += ["--allow-outside", "-o", str(output), *more]
    subprocess.run(command, check=True, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return output


def own_path() -> str:
    """A PATH on which what is installed beside this Python comes first, and this Python itself."""
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
