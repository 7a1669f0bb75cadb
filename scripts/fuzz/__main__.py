"""Fuzz what strangers can say, guided by coverage; needs atheris: pip install 'eprune[fuzz]'.

python -m scripts.fuzz                              each target for a minute
python -m scripts.fuzz connection --seconds 3600    one of them for an hour

Inputs that reached something new are kept in build/fuzz/TARGET, and are where the next run begins. An input that broke
something is named; ``--again FILE`` runs a target on it once more. Last comes how much of each module was reached.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Optional

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("wire", "faults", "handshake", "connection", "send_queue", "ends", "plain")


def main() -> int:
    """The exit code: 0 nothing was found, 1 something was."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ("wire", "machines", "greeting", "connection")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"{', '.join(names)}; all by default")
    parser.add_argument("--seconds", type=int, default=60, help="how long each (default: 60)")
    parser.add_argument("--again", metavar="FILE", help="run the target on this input, once")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    targets = options.targets or list(names)
    for name in targets:
        if name not in names:
            parser.error(f"there is no target {name!r}; known: {', '.join(names)}")
    if options.again:
        from scripts.fuzz.targets import TARGETS

        TARGETS[targets[0]].run(Path(options.again).read_bytes())
        return 0
    if options.inside:
        _fuzz(targets[0], options.seconds)
        return 0
    found = [name for name in targets if not _run(name, options.seconds)]
    _show_lines(targets)
    return 1 if found else 0


def _folder(name: str) -> Path:
    return ROOT / "build" / "fuzz" / name


def _run(name: str, seconds: int) -> bool:
    """Fuzz a target in a process of its own, which libFuzzer ends; whether nothing was found."""
    begin = time.monotonic()
    command = [sys.executable, "-m", "scripts.fuzz", name, "--inside", f"--seconds={seconds}"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    lines = done.stdout.splitlines()
    last = next((line for line in reversed(lines) if "cov:" in line), "").partition("cov:")[2].split()
    runs = next((line.split()[1] for line in lines if line.startswith("Done ")), "?")
    edges = last[0] if last else "?"
    inputs = len(list(_folder(name).glob("*")))
    verdict = "nothing found" if done.returncode == 0 else "FOUND SOMETHING"
    took = time.monotonic() - begin
    print(f"{name:11s} {took:6.0f} s {runs:>10s} runs {edges:>6s} edges {inputs:>5d} inputs  {verdict}", flush=True)
    if done.returncode:
        print("\n".join(lines[-60:]))
    return done.returncode == 0


def _fuzz(name: str, seconds: int) -> None:
    import atheris

    with atheris.instrument_imports(include=["eprune.runtime"]):
        from scripts.fuzz.targets import TARGETS

    target, folder = TARGETS[name], _folder(name)
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (folder / f"seed-{number:02d}").write_bytes(seed)
    limits = [f"-max_total_time={seconds}", "-rss_limit_mb=1024", "-timeout=10", "-max_len=20000"]
    atheris.Setup([sys.argv[0], str(folder), f"-artifact_prefix={folder.parent}/{name}-", *limits], target.run)
    atheris.Fuzz()


def _show_lines(names: list[str]) -> None:
    """Run all inputs once more, and say how many of each module's lines they reach."""
    reached: set[tuple[str, int]] = set()

    def trace(frame: FrameType, event: str, _: Any) -> Optional[Any]:
        if not frame.f_code.co_filename.startswith(str(ROOT / "eprune" / "runtime")):
            return None
        reached.add((frame.f_code.co_filename, frame.f_lineno))
        return trace

    from scripts.fuzz.targets import TARGETS

    sys.settrace(trace)
    for name in names:
        for path in sorted(_folder(name).glob("*")):
            TARGETS[name].run(path.read_bytes())
    sys.settrace(None)
    for module in MODULES:
        path = ROOT / "eprune" / "runtime" / "net" / f"{module}.py"
        lines = set(_lines(compile(path.read_bytes(), str(path), "exec"))) if path.exists() else set()
        count = sum((str(path), line) in reached for line in lines)
        print(f"{module:11s} {count:4d} of {len(lines)} lines of its functions")


def _lines(code: CodeType) -> list[int]:
    """The lines of all functions in a module's code."""
    found: list[int] = []
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            if constant.co_flags & 0x2:  # a function, not the body of a class
                found += [line for _, _, line in constant.co_lines() if line and line != constant.co_firstlineno]
            found += _lines(constant)
    return found


if __name__ == "__main__":
    raise SystemExit(main())
