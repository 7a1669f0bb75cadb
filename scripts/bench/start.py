"""What starting costs."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

from scripts.bench.harness import ROOT, say


def start(folder: Path) -> None:
    """What starting costs."""
    say("command", "seconds")
    say("---", "---")
    for name, arguments in {
        "python3 -c pass": ["-c", "pass"],
        "from eprune.runtime import Program": ["-c", "from eprune.runtime import Program"],
        "eprune --help": ["-m", "eprune", "--help"],
    }.items():
        times = []
        for _ in range(11):
            begin = time.perf_counter()
            subprocess.run([sys.executable, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
            times.append(time.perf_counter() - begin)
        say(name, f"{statistics.median(times):.3f}")
