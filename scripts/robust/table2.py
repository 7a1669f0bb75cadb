"""Table 2 of the paper: what a device holds and computes, and how many frames per second there are, in real processes.

python -m scripts.robust.table2 build/robust/conv_1.tflite --data build/robust/cluttered.npz
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np

from eprune.formats.model_files import parse_model, read_model
from eprune.formats.models.boundary import weight_bytes
from eprune.formats.tflite.cost import macs
from eprune.model.system import System
from scripts.robust.devices import Board, Devices
from scripts.robust.study import test_tokens

#: Plans: devices, and options of eprune apply partition.
_PLANS: Sequence[tuple[str, int, tuple[str, ...]]] = (
    ("full", 1, ()),
    ("cdc", 3, ("--method", "cdc")),
    ("cdc", 4, ("--method", "cdc")),
    ("robust", 2, ("--method", "robust")),
    ("robust", 3, ("--method", "robust")),
    ("robust", 4, ("--method", "robust")),
)
#: Runs of each; medians count. Frames as fast as they go, and single ones, seconds apart.
RUNS, FRAMES, SINGLE, APART = 3, 400, 60, 0.05
#: What emulation makes of each process: a slow board on a gigabit switch. Then this machine's cores do not matter.
BOARD = Board(40, "125MB/s", "100us")
#: What the paper says of AlexNet, robust on 4 devices against full.
_PAPER = "the paper, AlexNet: memory -51.8 %, energy -20.7 %"


@dataclass(frozen=True)
class Row:
    """A plan in numbers: those of a device are of the fullest, or, of memory and CPU time, means over all."""

    plan: str
    devices: int
    weight_bytes: int
    macs: int
    resident: float
    own: float
    cpu: float
    rate: float
    latency: float
    board_rate: float = 0.0
    board_latency: float = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, metavar="MODEL.tflite")
    parser.add_argument("--data", type=Path, help="pictures; the calibration part makes the plans (default: random)")
    parser.add_argument("-o", "--output", type=Path, help="write the table to this file, too")
    options = parser.parse_args()
    tokens = test_tokens(options.model, options.data, 100)[0] if options.data else noise(options.model)
    rows = [row(options.model, options.data, tokens, *plan) for plan in _PLANS]
    text = table(options.model.stem, rows)
    if options.output:
        options.output.write_text(text)
    print(text, end="")


def row(model: Path, data: Optional[Path], tokens: np.ndarray, plan: str, count: int, given: tuple[str, ...]) -> Row:
    """Measure one plan."""
    more = (*given, "--calibration", str(data)) if plan == "robust" and data else given
    with tempfile.TemporaryDirectory(prefix="eprune-robust-") as folder:
        devices = Devices(Path(folder, "here"), model, tokens, count, *more)
        fast = [devices.run(FRAMES) for _ in range(RUNS)]
        single = devices.run(SINGLE, APART)
        boards = Devices(Path(folder, "boards"), model, tokens, count, *more, board=BOARD)
        slow, alone = boards.run(60), boards.run(20, 0.5)
        held = [each["weight_bytes"] for each in devices.report.get("devices", ())]
        records = [record for run in fast for record in run.records.values()]
        cpu = [run.cpu_per_frame(name) for run in fast for name in run.cpu]
        return Row(
            plan,
            count,
            max(held, default=_whole(model)),
            max(device_macs(devices.system, name) for name in devices.names),
            statistics.mean(record["resident_bytes"] for record in records),
            statistics.mean(record["unique_bytes"] or 0 for record in records),
            statistics.mean(cpu),
            1 / statistics.median(run.period() for run in fast),
            float(np.median(single.latency[10:])),
            1 / slow.period(),
            float(np.median(alone.latency[2:])),
        )


def noise(file: Path, count: int = 8) -> np.ndarray:
    """Tokens of a model's first input, stacked."""
    model = read_model(str(file))
    tensor, random = model.tensors[model.inputs[0]], np.random.default_rng(1)
    shape = (count, *tensor.shape)
    return random.integers(0, 256, shape, np.uint8) if tensor.dtype == "uint8" else random.random(shape, np.float32)


def _whole(file: Path) -> int:
    model = read_model(str(file))
    return weight_bytes(model, range(len(model.operators)))


def device_macs(system: System, device: str) -> int:
    """Multiplications and additions of a device, per frame."""
    total = 0.0
    for actor in system.graph.actors:
        behaviour = actor.behaviour
        if behaviour is None or not behaviour.operators or system.homes[actor.name] != device:
            continue
        data = system.files.get(behaviour.file)
        model = parse_model(data) if data is not None else read_model(behaviour.path or behaviour.file)
        kept, first = getattr(behaviour, "channels", ()), model.operators[behaviour.operators[0]]
        share = len(kept) / model.tensors[first.outputs[0]].shape[-1] if kept else 1.0
        total += share * sum(macs(model, model.operators[number]) for number in behaviour.operators)
    return round(total)


def table(name: str, rows: Sequence[Row]) -> str:
    """The rows in Markdown."""
    lines = [
        f"### {name}",
        "",
        "| plan | devices | bytes of weights | MACs per frame | CPU ms per frame | all devices | resident MB "
        "| of it own | frames/s | ms | frames/s, boards | ms, boards |",
        "|---" * 12 + "|",
    ]
    for each in rows:
        lines.append(
            f"| {each.plan} | {each.devices} | {each.weight_bytes:,} | {each.macs / 1e6:.2f} M | {1e3 * each.cpu:.2f} "
            f"| {1e3 * each.cpu * each.devices:.2f} | {each.resident / 1e6:.1f} | {each.own / 1e6:.1f} "
            f"| {each.rate:.0f} | {1e3 * each.latency:.2f} | {each.board_rate:.1f} | {1e3 * each.board_latency:.1f} |"
        )
    return "\n".join([*lines, "", _against(rows), ""])


def _against(rows: Sequence[Row]) -> str:
    """Robust on 4 against full, beside the paper."""
    whole = rows[0]
    last: Optional[Row] = next((each for each in rows if (each.plan, each.devices) == ("robust", 4)), None)
    if last is None:
        return _PAPER

    def change(now: float, before: float) -> str:
        return f"{100 * (now / before - 1):+.1f} %"

    return (
        f"Robust on 4 devices against full, on each device: weights {change(last.weight_bytes, whole.weight_bytes)}, "
        f"resident memory {change(last.resident, whole.resident)}, MACs {change(last.macs, whole.macs)}, CPU time "
        f"{change(last.cpu, whole.cpu)}; {_PAPER}."
    )


if __name__ == "__main__":
    main()
