#!/usr/bin/env python3
"""The figures of docs/results/reuse.md: keys, links and cameras.

    python -m scripts.reuse_study keys        how deep a key is, on slow and fast scenes: hits and false hits
    python -m scripts.reuse_study digits ...  the same on MNIST, in which nothing follows anything: the .npz file
    python -m scripts.reuse_study traffic ... a network and a folder of consecutive pictures: how near are their keys?
    python -m scripts.reuse_study links       latency and bytes over emulated links, with caches and without
    python -m scripts.reuse_study cameras     two cameras, with a cache for each, and with one for both

Bounds are calibrated on scenes that the test does not have. Beside, for comparison, they are tuned on the test itself.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional

import numpy as np

from eprune.face import load
from eprune.formats.model_files import read_model
from eprune.formats.models.slices import slice_model
from eprune.measure import lone, reuse
from eprune.measure.answers import class_of, on_disk
from eprune.measure.data import TEST, read_data
from eprune.measure.evaluate import evaluate
from eprune.measure.plans import cache as plans
from eprune.measure.reuse import Stream, Tried
from eprune.model.samples import Share
from eprune.model.system import System
from eprune.passes import cache
from eprune.passes.cache import Options, Side
from eprune.runtime.fire import tflite
from scripts.train_vehicle import infer
from scripts.vehicle_stream import save, stream

ROOT = Path(__file__).resolve().parents[1]
#: scenes, speed and frames per scene of a queue and of flowing traffic
SLOW, FAST = (480, 0.3, 10), (480, 3.0, 8)
#: links: bytes per second and latency in seconds
LINKS = {"16 Mbit/s": (2e6, 2.15e-3), "100 Mbit/s": (12.5e6, 1.49e-3)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=("keys", "digits", "traffic", "links", "cameras"))
    parser.add_argument("data", nargs="*", help="of digits: the .npz file; of traffic: a .tflite file and a folder")
    parser.add_argument("--scenes", type=int, default=0, help="fewer scenes, to try it")
    given = parser.parse_args()
    if given.data:
        {"digits": digits, "traffic": traffic}[given.study](*given.data)
    else:
        {"keys": keys, "links": links, "cameras": cameras}[given.study](given.scenes)
    return 0


# Keys


@dataclass(frozen=True)
class Seen:
    """Frames in order: what keys are made of, by its name, what is answered, the right classes, and scenes."""

    features: dict[str, list[np.ndarray]]
    answers: list[np.ndarray]
    classes: np.ndarray
    scenes: np.ndarray
    marks: list[bytes]


def seen(frames: np.ndarray, classes: np.ndarray, scenes: np.ndarray) -> Seen:
    """Run the vehicle classifier, and beside it the encoder of the learned bottleneck, on frames uint8."""
    model, learned = (read_model(str(ROOT / "graphs" / f"vehicle{name}.tflite")) for name in ("", "_bottleneck"))
    parts = {
        "L1": tflite.load(tflite.choose(), slice_model(model, range(2))),
        "L2": tflite.load(tflite.choose(), slice_model(model, range(2, 4))),
        "L3": tflite.load(tflite.choose(), slice_model(model, range(4, 5))),
        "answer": tflite.load(tflite.choose(), slice_model(model, range(5, 9))),
    }
    encoder = tflite.load(tflite.choose(), slice_model(learned, range(4, 8)))
    found: dict[str, list[np.ndarray]] = {name: [] for name in ("pixels", "L1", "L2", "codes", "L3")}
    answers, marks = [], []
    for frame in frames:
        token = frame[None].astype(np.float32) / 255
        found["pixels"].append(token.astype(np.float16))
        marks.append(hashlib.sha256(frame.tobytes()).digest())
        for name in ("L1", "L2", "L3"):
            token = infer(parts[name], token)
            found[name].append(token.astype(np.float16))
            if name == "L2":
                found["codes"].append(infer(encoder, token))
        answers.append(infer(parts["answer"], token))
    return Seen(found, answers, classes, scenes, marks)


def halves(found: Seen) -> tuple[np.ndarray, np.ndarray]:
    """Frames of some scenes for the calibration, and of the others for the test; both in order."""
    known = np.unique(found.scenes)
    drawn = np.random.default_rng(1).permutation(known)[: len(known) // 2]
    first = np.isin(found.scenes, drawn)
    return np.flatnonzero(first), np.flatnonzero(~first)


def table(found: Seen, options: Options, kinds: Sequence[tuple[str, int]]) -> None:
    """One line for each kind of key: what the calibration promises, the test shows, and what tuning on it would."""
    calibration, test = halves(found)
    own = Share(sum(class_of(found.answers[f]) == found.classes[f] for f in test), len(test))
    print(f"{len(found.answers)} frames, {len(np.unique(found.scenes))} scenes, {len(test)} frames to test;", end=" ")
    print(f"{options.frames_under_way} under way; accuracy without a cache {share(own)}")
    exact = reuse.exact([found.marks[f] for f in test], [found.answers[f] for f in test], options)
    print(f"| input, equal byte by byte | | {share(exact)} | | | | |")
    for name, values in kinds:
        key_of = reuse.library().key_of
        made = [key_of(np.float32(each), values) for each in found.features[name]]
        parts = [Stream([made[f] for f in part], [found.answers[f] for f in part]) for part in (calibration, test)]
        bound = reuse.calibrated(parts[0], options)
        tried = reuse.tried(parts[1], options, bound)
        tuned = tuned_on(parts[1], options)
        right = Share(int((tried.classes == found.classes[test]).sum()), len(test))
        size = next((len(each) for each in made if each is not None), 0)
        print(
            f"| {name} | {size} | {share(tried.hits)} | {share(tried.false_hits)} | {bound.bound:.3g} | {share(right)} "
            f"| {share(tuned.hits)}, {share(tuned.false_hits)} false |"
        )


def tuned_on(stream: Stream, options: Options) -> Tried:
    """With the largest distance at which no more of the hits than wished for are false on these very frames."""

    def fit(tried: Tried, edge: float) -> bool:
        return tried.false_hits is None or tried.false_hits.value <= options.false_hits

    return reuse.largest(stream, options, fit)[0]


def share(found: Optional[Share]) -> str:
    """75.1 % (72.5 to 77.5)."""
    if found is None:
        return "none"
    return f"{100 * found.value:.1f} % ({100 * found.low:.1f} to {100 * found.high:.1f})"


KINDS = (("pixels", 256), ("L1", 256), ("L2", 64), ("L2", 256), ("L2", 2048), ("codes", 256), ("L3", 256))


def keys(scenes: int) -> None:
    """Slow scenes, and fast ones."""
    for name, (count, speed, length), under_way in (("slow", SLOW, 2), ("fast", FAST, 1)):
        found = seen(*stream(scenes or count, speed, length, 21))
        print(f"{name}: ", end="")
        for wish in (0.02, 0.05):
            print(f"wish {wish:g}: ", end="")
            table(found, Options("", false_hits=wish, frames_under_way=under_way), KINDS)
            sys.stdout.flush()


def digits(path: str) -> None:
    """MNIST: keys of pixels; answers are those of the five nearest pictures of the training part."""
    from sklearn.neighbors import KNeighborsClassifier

    with np.load(path) as file:
        pictures, labels = file["test_images"][:4000], file["test_labels"][:4000]
        train = file["train_images"][:20000].reshape(-1, 784), file["train_labels"][:20000]
    scores = KNeighborsClassifier(5).fit(*train).predict_proba(pictures.reshape(-1, 784)).astype(np.float32)
    marks = [hashlib.sha256(each.tobytes()).digest() for each in pictures]
    features = {"pixels": [each[None, :, :, None].astype(np.float16) for each in pictures]}
    found = Seen(features, list(scores[:, None]), labels.astype(int), np.arange(len(labels)), marks)
    for wish in (0.02, 0.05):
        print(f"wish {wish:g}: ", end="")
        table(found, Options("", false_hits=wish, frames_under_way=1), (("pixels", 256),))


def traffic(path: str, folder: str) -> None:
    """Real pictures that follow one another: parts of them, and how far their keys are from the next picture's.

    Of each part it is told whether that is nearer than every part of another place, which does not overlap with it.
    """
    from PIL import Image

    model = read_model(path)
    tensor = model.tensors[model.inputs[0]]
    assert tensor.token is not None
    side = tensor.token.shape[1]
    pictures = [np.asarray(Image.open(each).convert("RGB")) for each in sorted(Path(folder).iterdir())]
    steps = range(0, pictures[0].shape[0] - side + 1, side // 4)
    places = [(row, column) for row in steps for column in steps]
    apart = np.array([[max(abs(a - c), abs(b - d)) >= side for c, d in places] for a, b in places])
    depths = [0, *(each.index + 1 for each in model.operators[:-4:6])]
    whole = tflite.load(tflite.choose(), model.data)
    keys: dict[int, list[list[np.ndarray]]] = {depth: [] for depth in depths}
    classes: list[list[int]] = []
    for picture in pictures:
        crops = [picture[None, row : row + side, column : column + side] for row, column in places]
        classes.append([int(infer(whole, crop).argmax()) for crop in crops])
        for depth in depths:
            part = tflite.load(tflite.choose(), slice_model(model, range(depth))) if depth else None
            made = [crop if part is None else infer(part, np.ascontiguousarray(crop)) for crop in crops]
            keys[depth].append([np.float64(reuse.library().key_of(each, 256)) for each in made])
    same = sum(a == b for one, other in itertools.pairwise(classes) for a, b in zip(one, other))
    pairs = len(places) * (len(pictures) - 1)
    print(
        f"{len(pictures)} pictures, {len(places)} parts of {side}x{side}; of the same class in the next picture: "
        f"{share(Share(same, pairs))}"
    )
    for depth, seen_ in keys.items():
        near, far, won = [], [], 0
        for one, other in itertools.pairwise(seen_):
            distances = 1 - np.stack(one) @ np.stack(other).T
            near += np.diag(distances).tolist()
            far += distances[apart].tolist()
            won += int((np.diag(distances) < np.where(apart, distances, np.inf).min(axis=1)).sum())
        name = model.operators[depth - 1].name.lower() if depth else "picture"
        quantiles = [*np.quantile(near, (0.5, 0.95)), *np.quantile(far, (0.05, 0.5))]
        print(f"| {depth} {name} | {' | '.join(f'{each:.3f}' for each in quantiles)} | {share(Share(won, pairs))} |")


# Links


def split(bandwidth: float = 11.2e6, latency: float = 1.49e-3) -> System:
    """The vehicle classifier cut after L2, over such a link."""
    files = [str(ROOT / f"graphs/{name}.xml") for name in ("endpoint", "server")]
    return over(load(str(ROOT / "graphs/vehicle.xml"), files, str(ROOT / "mappings/vehicle_split")), bandwidth, latency)


def over(system: System, bandwidth: float, latency: float) -> System:
    """The same over such links."""
    platforms = tuple(
        replace(each, links=tuple(replace(link, bandwidth=bandwidth, latency=latency) for link in each.links))
        for each in system.platforms
    )
    return replace(system, platforms=platforms)


def lone_times(system: System, data: str) -> np.ndarray:
    """Milliseconds of lone frames over emulated links: of the first pictures of the test part."""
    frames = read_data(data).part(TEST).examples[: lone.FRAMES]
    tokens = [each.content[None].astype(np.float32) / 255 for each in frames]
    with on_disk(system) as stored:
        return 1e3 * np.array(lone.lone_frames(stored, tokens, emulate=True))


def quantiles(times: np.ndarray) -> tuple[float, float]:
    """Half of the frames, and 99 of 100, take no more."""
    middle, late = np.quantile(times, (0.5, 0.99), method="higher")
    return float(middle), float(late)


def cached(system: System, data: str, at: str, **more: object) -> System:
    """With a cache behind an actor, calibrated on the data."""
    options = Options(data, at, frames_under_way=1, **more)  # type: ignore[arg-type]
    return cache.apply(system, plans.planned(system, options)).system


def links(scenes: int) -> None:
    """Without a cache, with one on the endpoint, on the server, and on both: bytes, accuracy, latency."""
    with tempfile.TemporaryDirectory() as folder:
        data = f"{folder}/queue.npz"
        save(data, scenes or SLOW[0], SLOW[1], SLOW[2], 21)
        for name, (bandwidth, latency) in LINKS.items():
            plain = split(bandwidth, latency)
            server = cached(plain, data, "L2", on=Side.SERVER)
            ways = {
                "no cache": plain,
                "endpoint, behind L1": cached(plain, data, "L1"),
                "endpoint, behind L2": cached(plain, data, "L2"),
                "server, behind L2": server,
                "endpoint behind L1, server behind L2": cached(server, data, "L1"),
            }
            for way, system in ways.items():
                found = evaluate(system, read_data(data))
                times = lone_times(system, data)
                middle, late = quantiles(times)
                sent = sum(found.bytes_per_frame.values())
                print(
                    f"| {name} | {way} | {sent:.0f} | {share(found.share)} | {middle:.1f} | {late:.1f} | "
                    f"{times.mean():.1f} |"
                )
                sys.stdout.flush()


# Cameras


def cameras(scenes: int) -> None:
    """What one camera sees, the other one sees 20 frames later, with other noise and light.

    The first half of the frames calibrates one bound, for both together; the second half is the test.
    """
    first, second = (seen(*each) for each in both(scenes or 240))
    shared = [frame for pair in zip(range(len(first.answers)), range(len(second.answers))) for frame in pair]
    options = Options("", frames_under_way=2)
    for name in ("L1", "L2", "L3"):
        key_of = reuse.library().key_of
        streams = [
            Stream([key_of(np.float32(each), 256) for each in camera.features[name]], camera.answers)
            for camera in (first, second)
        ]
        halfway = len(first.answers) // 2
        mixed = Stream(
            [streams[place % 2].keys[frame] for place, frame in enumerate(shared)],
            [streams[place % 2].answers[frame] for place, frame in enumerate(shared)],
        )
        common = replace(options, frames_under_way=2 * options.frames_under_way)
        bound = reuse.calibrated(_part(mixed, 0, 2 * halfway), common)
        both_tried = reuse.tried(_part(mixed, 2 * halfway), common, bound)
        alone = [reuse.tried(_part(each, halfway), options, bound) for each in streams]
        for number, each in enumerate(alone):
            print(
                f"| {name} | camera {number + 1}, a cache of its own | {share(each.hits)} | {share(each.false_hits)} |"
            )
        for number in (0, 1):
            print(f"| {name} | camera {number + 1}, one cache for both | {_of(both_tried, number)} |")


def both(scenes: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Two streams of one length: the second camera sees what the first one saw two scenes before."""
    frames, classes, numbers = stream(scenes, SLOW[1], SLOW[2], 21)
    again, _, _ = stream(scenes, SLOW[1], SLOW[2], 21, noise=4.0)
    delay = 2 * SLOW[2]
    random = np.random.default_rng(5)
    light = np.clip(again.astype(np.float32) * 0.9 + random.normal(0, 2, again.shape), 0, 255)
    yield frames[delay:], classes[delay:], numbers[delay:]
    yield np.rint(light).astype(np.uint8)[:-delay], classes[:-delay], numbers[:-delay]


def _part(found: Stream, begin: int, end: Optional[int] = None) -> Stream:
    return Stream(found.keys[begin:end], found.answers[begin:end])


def _of(found: Tried, number: int) -> str:
    """Hits and false ones of every other frame."""
    rows, false = found.rows[number::2], found.false[number::2]
    hits = int((rows != reuse.library().MISS).sum())
    return f"{share(Share(hits, len(rows)))} | {share(Share(int(false.sum()), hits) if hits else None)}"


if __name__ == "__main__":
    raise SystemExit(main())
