"""Figure 3 of the paper: latency against the time-out while a device fails, accuracy and what was missed beside it.

python -m scripts.robust.timeouts build/robust/conv_1.tflite --data build/robust/cluttered.npz -o build/robust/timeouts

Real processes on this machine; the last one is frozen (SIGSTOP) and thawed again and again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from scripts.robust.devices import Devices, Measured, Running
from scripts.robust.study import test_tokens

#: Milliseconds.
TIMEOUTS = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
#: Trials for each; frames of a trial in health, frozen, and until all is as before; seconds from frame to frame.
TRIALS, HEALTHY, FROZEN, BACK, PACE = 20, 8, 10, 14, 0.05
_START = 10
#: What is done to the last device and undone again, and in how many frames all is as before.
FAULTS: dict[str, tuple[Callable[[Running], None], Callable[[Running], None], int]] = {
    "kill": (Running.kill, Running.restart, 50),
    "stop": (Running.stop, Running.go_on, BACK),
    "link down": (Running.pull, Running.plug, BACK),
}


@dataclass(frozen=True)
class Point:
    """One time-out: medians of seconds, and shares of frames, from 0 to 1.

    ``missed``: frames in health in which a part of a living device was missing. ``right``: in health; ``failing``:
    right answers in the frame of the failure and those after it.
    """

    timeout_ms: float
    healthy_s: float
    failure_s: float
    worst_s: float
    after_s: float
    missed: float
    right: float
    failing: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, metavar="MODEL.tflite")
    parser.add_argument("--data", type=Path, required=True, help="pictures; the calibration part makes the plan")
    parser.add_argument("--devices", type=int, default=3)
    parser.add_argument("--trials", type=int, default=TRIALS, help=f"for each time-out (default {TRIALS})")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="without its ending: .md, .json, .svg and .png"
    )
    options = parser.parse_args()
    tokens, classes = test_tokens(options.model, options.data, 100)
    points = []
    with tempfile.TemporaryDirectory(prefix="eprune-timeouts-") as folder:
        plan = Path(folder, "plan.json")
        for number, timeout in enumerate(TIMEOUTS):
            made = ("--plan", str(plan)) if number else ("--calibration", str(options.data))
            given = ("--method", "robust", *made, "--timeout", f"{timeout}ms")
            devices = Devices(Path(folder, str(number)), options.model, tokens, options.devices, *given)
            plan.write_text(json.dumps(devices.report["plan"]))
            points.append(measure(devices, classes, timeout, options.trials))
            print(points[-1], flush=True)
    options.output.with_suffix(".json").write_text(json.dumps([asdict(point) for point in points], indent=1))
    options.output.with_suffix(".md").write_text(table(points))
    chart(points, options.output, f"{options.model.stem}, {options.devices} processes, one frozen")
    print(table(points), end="")


def measure(
    devices: Devices, classes: Sequence[int], timeout: float, trials: int = TRIALS, fault: str = "stop"
) -> Point:
    """Do that to the last device so many times."""
    begin, end, back = FAULTS[fault]
    length = HEALTHY + FROZEN + back

    def during(running: Running) -> None:
        for trial in range(trials):
            running.before(_START + trial * length + HEALTHY)
            begin(running)
            running.before(_START + trial * length + HEALTHY + FROZEN)
            end(running)

    found = devices.run(_START + trials * length, PACE, during, proxies=fault == "link down")
    starts = [_START + trial * length for trial in range(trials)]
    healthy = [start + place for start in starts for place in range(HEALTHY)]
    failure = [_first_without(found, start + HEALTHY) for start in starts]
    after = [frame for start, first in zip(starts, failure) for frame in range(first + 1, start + HEALTHY + FROZEN)]
    missed = [found.missing[frame].any() for frame in healthy]
    return Point(
        timeout,
        float(np.median(found.latency[healthy])),
        float(np.median(found.latency[failure])),
        float(found.latency[failure].max()),
        float(np.median(found.latency[after])),
        float(np.mean(missed)),
        right(found, classes, healthy),
        right(found, classes, [*failure, *after]),
    )


def _first_without(found: Measured, frame: int) -> int:
    """The first frame that lacks the last device's part: this one, or the next if that part was on its way."""
    return frame if found.missing[frame, :, -1].any() else frame + 1


def right(found: Measured, classes: Sequence[int], frames: Iterable[int]) -> float:
    """The share of right answers among these frames."""
    answers = found.answers.reshape(len(found.answers), -1).argmax(axis=1)
    return float(np.mean([answers[frame] == classes[frame % len(classes)] for frame in frames]))


def table(points: Sequence[Point]) -> str:
    """The points in Markdown."""
    lines = [
        "| time-out, ms | healthy, ms | frame of the failure, ms (longest) | frames after it, ms "
        "| healthy frames with a miss | right in health | right while it fails |",
        "|---" * 7 + "|",
    ]
    for each in points:
        lines.append(
            f"| {each.timeout_ms:g} | {1e3 * each.healthy_s:.2f} | {1e3 * each.failure_s:.2f} "
            f"({1e3 * each.worst_s:.2f}) | {1e3 * each.after_s:.2f} | {each.missed:.1%} "
            f"| {each.right:.1%} | {each.failing:.1%} |"
        )
    return "\n".join([*lines, ""])


def chart(points: Sequence[Point], path: Path, title: str) -> None:
    """Latency above, accuracy and misses below, as ``path``.svg and ``path``.png."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    places = [each.timeout_ms for each in points]
    upper.plot(places, [1e3 * each.failure_s for each in points], "o-", color="#b00020", label="frame of the failure")
    upper.plot(places, [1e3 * each.after_s for each in points], "s-", color="#4878a8", label="frames after it")
    upper.plot(places, [1e3 * each.healthy_s for each in points], ".--", color="#6aa84f", label="all devices healthy")
    upper.plot(places, places, ":", color="#888888", label="the time-out itself")
    upper.set(xscale="log", yscale="log", ylabel="ms (medians)", title=title)
    lower.plot(
        places, [100 * each.missed for each in points], "x-", color="#e8a33d", label="healthy frames with a miss"
    )
    lower.plot(places, [100 * each.right for each in points], ".--", color="#6aa84f", label="right in health")
    lower.plot(places, [100 * each.failing for each in points], "s-", color="#4878a8", label="right while one fails")
    lower.set(ylabel="%", xlabel="time-out, ms", ylim=(0, 103))
    lower.set_xticks(places, [f"{each:g}" for each in places])
    for axes in (upper, lower):
        axes.legend(fontsize=8)
        axes.grid(alpha=0.3)
    for suffix in (".svg", ".png"):
        figure.savefig(path.with_suffix(suffix), dpi=120)


if __name__ == "__main__":
    main()
