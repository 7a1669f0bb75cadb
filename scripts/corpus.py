"""Import every model of a folder, cut it, and compare the slices with the whole: is the import exact on *your* models?

python -m scripts.corpus DIR                 all .tflite files in it and below
python -m scripts.corpus DIR --cuts 4        besides one actor per operator, 4 cuts into two parts (default: 8)
python -m scripts.corpus DIR --format json   the same for programs

Prints a table: model, operators, ways of cutting that were tried and how many of them were exact, and the first
difference, or why the model or a cut of it was refused; below it, the totals. A way is one actor per operator (so all
places for cuts at once), or two parts, at places spread evenly over the model. Each model has a process and a folder of
its own, with a time limit. Exit code: 0 nothing differs or crashes, 1 something does, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Optional, Union

ROOT = Path(__file__).resolve().parents[1]
#: What can come of a model, the worst first.
VERDICTS = ("crashed", "differs", "too slow", "refused", "exact")


def main() -> int:
    """Run what the command line asks for; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="DIR", type=Path, help="a folder of .tflite models, or one model")
    parser.add_argument("--cuts", type=int, default=8, metavar="N", help="cuts into two parts (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=2, metavar="N", help="random frames (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=300, metavar="N", help="limit for one model (default: %(default)s)"
    )
    parser.add_argument("--format", choices=("text", "json"), default="text", help="text (default) or json")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)  # the process of a model
    options = parser.parse_args()
    if options.one:
        for entry in examine(str(options.folder), options.cuts, options.frames):
            print(json.dumps(entry), flush=True)
        return 0
    models = sorted(options.folder.rglob("*.tflite")) if options.folder.is_dir() else [options.folder]
    models = [path for path in models if path.is_file()]
    if not models:
        parser.error(f"{options.folder} holds no .tflite models")
    results = []
    for number, path in enumerate(models):
        print(f"{number + 1}/{len(models)} {path}", file=sys.stderr)
        results.append(in_process(path, options.cuts, options.frames, options.seconds))
    totals = total(results)
    if options.format == "json":
        print(json.dumps({"models": results, "totals": totals}, indent=2))
    else:
        print(as_table(results, options.folder))
        print(", ".join(f"{value} {name}" for name, value in totals.items()))
    return int(any(result["verdict"] in ("crashed", "differs") for result in results))


def in_process(path: Path, cuts: int, frames: int, seconds: float) -> dict[str, Any]:
    """What comes of one model, in a process of its own."""
    command = [sys.executable, "-m", "scripts.corpus", str(path.resolve()), "--one"]
    command += ["--cuts", str(cuts), "--frames", str(frames)]
    places = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
    environment = {**os.environ, "PYTHONPATH": places}
    ended = ""
    with tempfile.TemporaryFile("w+") as out:
        with tempfile.TemporaryDirectory() as folder:
            process = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL, cwd=folder, env=environment)
            try:
                code = process.wait(timeout=seconds)
                ended = f"crashed: {signal.Signals(-code).name}" if code < 0 else "crashed" if code else ""
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                ended = f"too slow: {seconds:g} s"
        out.seek(0)
        entries = [json.loads(line) for line in out if line.endswith("\n")]
    return judge(path, entries, ended)


def judge(path: Union[str, Path], entries: Sequence[dict[str, Any]], ended: str) -> dict[str, Any]:
    """One row of the table, of what a model's process has said, and how it ended if not by itself."""
    tries = [entry for entry in entries if "way" in entry]
    trouble = [entry for entry in tries if entry["verdict"] != "exact"]
    verdict, _, text = ended.partition(": ")
    if not verdict:
        verdict = min(
            (entry["verdict"] for entry in entries if "verdict" in entry), key=VERDICTS.index, default="refused"
        )
        worst = [entry for entry in entries if entry.get("verdict") == verdict]
        text = "" if verdict == "exact" else f"{worst[0].get('way', '')}: {worst[0]['text']}".removeprefix(": ")
    return {
        "model": str(path),
        "operators": sum(entry.get("operators", 0) for entry in entries) or None,
        "tried": len(tries),
        "exact": len(tries) - len(trouble),
        "verdict": verdict,
        "text": text,
    }


def examine(path: str, cuts: int, frames: int) -> Iterator[dict[str, Any]]:
    """What comes of one model, in the current folder: its operators, then a line for each way of cutting it."""
    from eprune.formats.model_files import read_model
    from eprune.formats.models.signatures import several
    from eprune.model.finding import EpruneError

    try:
        signatures = read_model(path).signatures
    except EpruneError as error:
        yield {"verdict": "refused", "text": message(str(error))}
        return
    keys = {each.graph: each.key for each in signatures}.values() if several(signatures) else ()
    for options in [("--signature", key) for key in keys] or [()]:
        yield from _examine(path, options, cuts, frames)


def _examine(path: str, options: Sequence[str], cuts: int, frames: int) -> Iterator[dict[str, Any]]:
    code, out, err = eprune("import", path, "--list", "--format", "json", *options)
    if code:
        yield {"verdict": "crashed" if "it crashes" in err else "refused", "text": message(err)}
        return
    rows = json.loads(out)["operators"]
    yield {"operators": len(rows)}
    places = [row["index"] for row in rows if row["cut_bytes"] is not None]
    chosen = sorted({places[index * len(places) // cuts] for index in range(cuts)}) if places and cuts > 0 else []
    for way in (("--per", "operator"), *(("--cut", str(place)) for place in chosen)):
        yield {"way": " ".join((*options, *way)), **attempt(path, (*options, *way), frames)}


def attempt(path: str, way: Sequence[str], frames: int) -> dict[str, Any]:
    """Import a model cut in this way, and compare."""
    folder = re.sub("[^A-Za-z0-9]+", "_", " ".join(way))
    code, _, err = eprune("import", path, "-o", folder, *way)
    if code:
        return {"verdict": "refused", "text": message(err)}
    application = f"{folder}/application.xml"
    code, out, err = eprune("verify", application, "--model", path, "--frames", str(frames))
    if code == 0:
        return {"verdict": "exact", "text": ""}
    if code == 1:
        return {"verdict": "differs", "text": message(out)}
    return {"verdict": "crashed" if "it crashes" in err else "refused", "text": message(err)}


def eprune(*arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command, in this process."""
    from eprune.cli.main import cli

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code: Optional[int] = cli.main(list(arguments))
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
    return code or 0, out.getvalue(), err.getvalue()


def message(text: str) -> str:
    """The first line of an error, without the file that it names."""
    line = next((line for line in text.splitlines() if "error" in line or "different" in line), text.strip())
    for sign in ("]: ", "different: "):
        line = line.partition(sign)[2] or line
    return line


def total(results: Sequence[dict[str, Any]]) -> dict[str, int]:
    """How many models came to what, and how many ways of cutting were exact."""
    counts = Counter(result["verdict"] for result in results)
    return {
        "models": len(results),
        **{verdict: counts[verdict] for verdict in reversed(VERDICTS)},
        "ways tried": sum(result["tried"] for result in results),
        "ways exact": sum(result["exact"] for result in results),
    }


def as_table(results: Sequence[dict[str, Any]], folder: Path) -> str:
    """The rows for people."""
    from eprune.views.tables import table

    rows = []
    for result in results:
        path = Path(result["model"])
        name = str(path.relative_to(folder)) if folder in path.parents else path.name
        count = "?" if result["operators"] is None else result["operators"]
        rows.append(
            (name, count, result["tried"], result["exact"], f"{result['verdict']} {result['text']}"[:160].strip())
        )
    return table(("model", "operators", "tried", "exact", "result"), rows)


if __name__ == "__main__":
    sys.exit(main())
