"""The papers' figures on this machine, endpoints and links emulated: charts and tables in build/figures.

python -m scripts.figures                          all cases: some ten minutes
python -m scripts.figures vehicle-n2-wifi ...      some of them
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    from scripts.figures import draw
    from scripts.figures.papers import CASES
    from scripts.figures.study import Study, application, calibrate, study, times

    names = [case.name for case in CASES]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *names], help="which; all by default")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "build" / "figures", metavar="DIR")
    options = parser.parse_args()
    folder = options.output.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    graphs: dict[str, Path] = {}
    timed: dict[str, dict] = {}
    slowdowns: dict[tuple[str, str], float] = {}
    studies: list[Study] = []
    begin = time.monotonic()
    for case in CASES:
        if options.names and case.name not in options.names:
            continue
        print(f"{time.monotonic() - begin:.0f} s: {case.name}", file=sys.stderr, flush=True)
        name = case.application
        if name not in graphs:
            graphs[name] = application(name, folder)
            timed[name] = times(graphs[name], folder)
        device = (name, case.device)
        if device not in slowdowns:
            slowdowns[device] = calibrate(case, graphs[name], timed[name], folder)
        studies.append(study(case, graphs[name], timed[name], slowdowns[device], folder))
        draw.chart(studies[-1], folder / case.name)
        (folder / "tables.md").write_text(draw.tables(studies))
    print((folder / "tables.md").read_text(), end="")


if __name__ == "__main__":
    main()
