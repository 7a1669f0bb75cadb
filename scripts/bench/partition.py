"""A model over several devices: time to plan it, time of a frame, what a failure costs, and bytes on the links."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import numpy as np

from scripts.bench.harness import MODELS, VEHICLE, say
from scripts.robust.devices import Devices, Running
from scripts.robust.table2 import BOARD, noise
from scripts.robust.timeouts import FAULTS, measure

#: Models -> calibration pictures on which s2 and s3 are measured here.
_PICTURES = {
    VEHICLE: 4,
    MODELS / "mobilenet_v1_0.25_128_quant.tflite": 4,
    MODELS / "mobilenet_v2_1.0_224_quant.tflite": 0,
}
_DEVICES = 4
#: Seconds that a device waits for a part, and trials of each failure.
_TIMEOUT, _TRIALS = 0.03, 20
_RUNS, _FRAMES = 3, 200
#: The frames between which bytes are counted.
_COUNTED = 40, 160


def partition(folder: Path) -> None:
    """A model over several devices: time to plan it, time of a frame, what a failure costs, and bytes on the links."""
    _planning()
    _frames(folder)
    _failures(folder)
    _bytes(folder)
    print("\nAccuracy at equal memory, each method, 1 to 3 of 4 devices dead: make robust (docs/results/robust.md).")


def _planning() -> None:
    from eprune.formats.model_files import read_model
    from eprune.formats.models.flow import flow
    from eprune.formats.tflite.channels import layers as layers_of
    from eprune.formats.tflite.dealing import dealable, worth
    from eprune.measure.scores import channel_scores, meanings, robust_plan

    say("model", "layers dealt", "channels", "s1, s", "s1, s2 and s3, s a picture", "deal by layer, s", "s2 is")
    say(*["---"] * 7)
    for path, count in _PICTURES.items():
        if not path.exists():
            say(path.stem, "is not there", *[""] * 5)
            continue
        model = read_model(str(path))
        found = flow(model)
        layers = worth(model, found, dealable(model, found, layers_of(model), _DEVICES), _DEVICES)
        tokens = list(noise(path, count))
        begin = time.perf_counter()
        scores = channel_scores(model, layers, names=["s1"])
        first = time.perf_counter()
        if tokens:
            scores = channel_scores(model, layers, tokens)
        second = time.perf_counter()
        robust_plan(
            model, layers, _DEVICES, by_layer=True, scores=["s1", "s2", "s3"] if tokens else ["s1"], measured=scores
        )
        third = time.perf_counter()
        told = meanings(model, ["s2"])["s2"].partition(" of ")[0]
        channels = sum(layer.channels for layer in layers)
        say(
            path.stem,
            str(len(layers)),
            str(channels),
            f"{first - begin:.3f}",
            f"{(second - first) / count:.2f}" if count else "",
            f"{third - second:.2f}",
            told,
        )


def _frames(folder: Path) -> None:
    """Of the vehicle classifier, ``lop``."""
    boards = f"boards are {BOARD.slowdown:g} times slower, on links of {BOARD.bandwidth}, emulated"
    print(f"\nThe vehicle classifier, on two cores, which 3 and 4 processes share; {boards}.\n")
    say(
        "processes",
        "frame alone, ms",
        "frames/s",
        "CPU ms a frame, all",
        "boards: alone, ms",
        "boards: frames/s",
        "exact",
    )
    say(*["---"] * 7)
    tokens, whole = noise(VEHICLE, 8), np.empty(0)
    for count in (1, 2, 3, 4):
        devices = Devices(folder / f"here{count}", VEHICLE, tokens, count)
        fast = [devices.run(_FRAMES) for _ in range(_RUNS)]
        single = devices.run(60, 0.05)
        slower = Devices(folder / f"boards{count}", VEHICLE, tokens, count, board=BOARD)
        slow, alone = slower.run(60), slower.run(12, 1.0)
        whole = single.answers if count == 1 else whole
        same = sum(got.tobytes() == wanted.tobytes() for got, wanted in zip(single.answers, whole))
        cpu = statistics.mean(sum(run.cpu_per_frame(name) for name in run.cpu) for run in fast)
        say(
            str(count),
            f"{1e3 * np.median(single.latency[10:]):.2f} (least {1e3 * single.latency[10:].min():.2f})",
            f"{1 / statistics.median(run.period() for run in fast):.0f}",
            f"{1e3 * cpu:.2f}",
            f"{1e3 * np.median(alone.latency[2:]):.0f}",
            f"{1 / slow.period():.1f}",
            f"{same} of {len(single.answers)}",
        )


def _failures(folder: Path) -> None:
    """Three processes; the frame in which the last one fails, and those after it."""
    print(f"\nThree processes, time-out {1e3 * _TIMEOUT:g} ms, {_TRIALS} trials of each; medians (aims).\n")
    say("failure", "healthy, ms", "frame of the failure, ms", "longest, ms", "frames after it, ms", "misses in health")
    say(*["---"] * 6)
    devices = Devices(folder / "failing", VEHICLE, noise(VEHICLE, 8), 3, "--timeout", f"{1e3 * _TIMEOUT:g}ms")
    for fault in FAULTS:
        found = measure(devices, [0] * 8, 1e3 * _TIMEOUT, _TRIALS, fault)
        most = found.healthy_s + _TIMEOUT + 0.002
        say(
            fault,
            f"{1e3 * found.healthy_s:.2f}",
            f"{1e3 * found.failure_s:.2f} (at most {1e3 * most:.2f})",
            f"{1e3 * found.worst_s:.2f}",
            f"{1e3 * found.after_s:.2f} (at most {1e3 * found.healthy_s:.2f})",
            f"{found.missed:.1%}",
        )


def _bytes(folder: Path) -> None:
    """What passes on all links for each frame, headers and credits included."""
    print("\nBytes on all links: each device has to get what others compute, and the first one's frame, once.\n")
    say(
        "processes",
        "least, bytes a frame",
        "tokens, bytes a frame",
        "on the links, bytes a frame",
        "ratio to the least",
    )
    say(*["---"] * 5)
    for count in (2, 3, 4):
        devices = Devices(folder / f"counted{count}", VEHICLE, noise(VEHICLE, 8), count)
        each, least = _passed(devices), _least(devices)
        tokens = sum(device["sent_bytes"] for device in devices.report["devices"])
        say(str(count), f"{least:,}", f"{tokens:,}", f"{each:,.0f}", f"{each / least:.4f}")


def _passed(devices: Devices) -> float:
    """Bytes per frame."""
    counts: list[int] = []

    def during(running: Running) -> None:
        for frame in _COUNTED:
            running.before(frame)
            counts.append(running.passed)

    devices.run(_COUNTED[1] + 20, 0.02, during, proxies=True)
    return (counts[1] - counts[0]) / (_COUNTED[1] - _COUNTED[0])


def _least(devices: Devices) -> int:
    """Bytes per frame that no way of exchanging can do without."""
    actors = devices.system.graph.actors
    whole = sum(
        port.token.nbytes - next(own.token.nbytes for own in actor.inputs if own.name == "own")
        for actor in actors
        if getattr(actor.behaviour, "class_name", "") == "Exchange"
        for port in [next(each for each in actor.outputs if not each.name.startswith("table"))]
    )
    frame = next(actor for actor in actors if not actor.inputs).outputs[0].token.nbytes
    return whole + frame * (devices.count - 1)
