"""The tables of robust partition (RobustDiCE) on networks of our own: build/robust/tables.md.

python -m scripts.robust                      all networks that scripts/train_robust.py has written: some 20 minutes
python -m scripts.robust --only conv          those whose name begins so
python -m scripts.robust --model MODEL.tflite --data DATA    another one, on pictures as eprune evaluate takes them

Networks are NAME_SEED.tflite in the folder, beside cluttered.npz; figures of several seeds are means, with the
smallest and largest. Without labels, it is the agreement with the whole network. Everything is computed in this process
by masks, which tests prove equal to real slices.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    from scripts.robust import pages, study

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "robust", help="of the networks and the data")
    parser.add_argument("--only", default="", help="networks whose names begin so")
    parser.add_argument("--model", type=Path, metavar="MODEL.tflite", help="a network of one's own, with --data")
    parser.add_argument("--data", type=Path, help="its pictures")
    parser.add_argument("--frames", type=int, default=1000, help="test pictures (default 1000)")
    parser.add_argument("--calibrate", type=int, default=100, help="calibration pictures (default 100)")
    options = parser.parse_args()
    data = options.data or options.folder / "cluttered.npz"
    networks = (
        [options.model]
        if options.model
        else sorted(path for path in options.folder.glob("*_[0-9].tflite") if path.name.startswith(options.only))
    )
    if not networks or not data.exists():
        sys.exit(f"{options.folder}: holds no networks and data; write them with scripts/train_robust.py")
    name = options.model.stem if options.model else options.only
    begin = time.monotonic()
    results = []
    for path in networks:
        print(f"{time.monotonic() - begin:.0f} s: {path.name}", file=sys.stderr, flush=True)
        results += study.network(path, data, options.frames, options.calibrate)
        text = json.dumps([asdict(each) for each in results], indent=1)
        (options.folder / f"results{name}.json").write_text(text)
    text = pages.tables(results)
    (options.folder / f"tables{name}.md").write_text(text)
    print(text, end="")


if __name__ == "__main__":
    main()
