#!/usr/bin/env python3
"""Make a small detector of graphs/ssd_mobilenet.tflite, and write graphs/ssd_small.tflite: for cascades.

    python3 scripts/shrink_ssd.py                 shrink (a minute, one core), write; no training framework
    python3 scripts/train_ssd.py --evaluate --model graphs/ssd_small.tflite

Of each layer those channels are kept that contribute most to the layer behind it. What is left is fitted, layer
after layer, to give what the whole network gives there: by ridge regression on rendered scenes, towards the weights
that there were (as in He, Zhang and Sun, Channel Pruning, ICCV 2017, who choose the channels otherwise).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path += [str(ROOT), str(ROOT / "actors"), str(ROOT / "scripts")]

from ssd_network import TAPS, Layer, layers, ssd_model  # noqa: E402
from traffic_renderer import TrafficScene  # noqa: E402
from train_ssd import network_input  # noqa: E402

from eprune.formats.atomic import write_file  # noqa: E402
from eprune.runtime.fire.tflite import choose, load  # noqa: E402

SEED = 1_300_000  # and upwards: no scene of these is evaluated
FRAMES = (12, 60)  # of a scene
ROWS = 40_000  # of a regression, at most
RIDGE = 1e-3  # of the mean square of what is weighted
FEW = 32  # frames by which channels are chosen
HEADS = ("boxes", "scores")


class Part(NamedTuple):
    """A convolution: kernel (out, h, w, in), depthwise (1, h, w, channels), and bias."""

    kernel: np.ndarray
    bias: np.ndarray

    @property
    def written(self) -> tuple[np.ndarray, np.ndarray]:
        """As ``ssd_model`` wants it."""
        return self.kernel.transpose(1, 2, 3, 0), self.bias

    def kept(self, out: np.ndarray, given: np.ndarray) -> Part:
        """With these outputs, of these inputs, only."""
        return Part(self.kernel[out][..., given], self.bias[out])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=float, default=0.3, help="of the layers, against the papers' (default 0.3)")
    parser.add_argument("--scenes", type=int, default=60, help="to fit on, two frames of each (default 60)")
    parser.add_argument("--model", type=Path, default=ROOT / "graphs" / "ssd_small.tflite", help="the file to write")
    options = parser.parse_args()
    scenes = [TrafficScene(seed) for seed in range(SEED, SEED + options.scenes)]
    pictures = np.stack([network_input(scene.frame(frame)[0]) for scene in scenes for frame in FRAMES])
    write_file(str(options.model), ssd_model(shrunk(options.width, pictures.astype(np.float32)), options.width))
    return 0


def shrunk(width: float, pictures: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weights and biases of the network at another width: of layers, then of heads."""
    whole = parts()
    plan = layers()
    here = there = pictures  # what the small network gives so far, and the whole one
    kept = np.arange(3)
    made, heads = [], {}
    for number, (layer, small) in enumerate(zip(plan, layers(width))):
        wanted = convolved(there, whole[layer.name], layer)
        there = np.maximum(wanted, 0)
        if layer.kind == "depthwise":
            part = Part(whole[layer.name].kernel[..., kept], whole[layer.name].bias[kept])
        else:
            worth = contributions(there[:FEW], plan[number + 1 : number + 3], whole, layer)
            chosen = np.sort(np.argsort(-worth, kind="stable")[: small.channels])
            part = fitted(here, wanted[..., chosen], whole[layer.name].kept(chosen, kept), layer)
            kept = chosen
        here = np.maximum(convolved(here, part, layer), 0)
        made.append(part.written)
        for head in heads_of(layer):
            of = layer._replace(kind="conv", size=1, stride=1)
            wanted, old = convolved(there, whole[head], of), whole[head]
            heads[head] = fitted(here, wanted, old.kept(np.arange(len(old.bias)), kept), of).written
        print(f"{layer.name}: {len(part.bias)} of {layer.channels} channels", file=sys.stderr)
    return made + [heads[f"{what}{number + 1}"] for number in range(len(TAPS)) for what in HEADS]


def parts() -> dict[str, Part]:
    """The convolutions of the whole network, by name."""
    model = load(choose(), (ROOT / "graphs" / "ssd_mobilenet.tflite").read_bytes())
    index = {detail["name"]: detail["index"] for detail in model.get_tensor_details()}
    names = {name.rpartition("/")[0] for name in index if name.endswith("/kernel")}
    return {name: Part(*(model.get_tensor(index[f"{name}/{what}"]) for what in ("kernel", "bias"))) for name in names}


def heads_of(layer: Layer) -> list[str]:
    """The heads that read a layer."""
    return [f"{what}{TAPS.index(layer.name) + 1}" for what in HEADS] if layer.name in TAPS else []


def contributions(values: np.ndarray, behind: list[Layer], whole: dict[str, Part], layer: Layer) -> np.ndarray:
    """How much each channel of a layer gives to those that read it, each reader's largest being 1."""
    found = np.zeros(values.shape[-1])
    if behind:
        reader = behind[0]
        if reader.kind == "depthwise":
            passed, reader = np.maximum(convolved(values, whole[reader.name], reader), 0), behind[1]
        else:
            passed = values
        found += _energy(passed, [whole[reader.name]])
    if heads_of(layer):
        found += _energy(values, [whole[head] for head in heads_of(layer)])
    return found


def _energy(values: np.ndarray, readers: list[Part]) -> np.ndarray:
    weights = sum((reader.kernel**2).sum((0, 1, 2)) for reader in readers)
    energy: np.ndarray = (values**2).mean((0, 1, 2)) * weights
    return energy / max(float(energy.max()), 1e-12)


def fitted(given: np.ndarray, wanted: np.ndarray, old: Part, layer: Layer) -> Part:
    """The convolution of what is ``given`` that comes nearest to what is ``wanted``, and near to the ``old`` one."""
    rows, targets = patches(given, layer), wanted.reshape(-1, wanted.shape[-1])
    if len(rows) > ROWS:
        some = np.random.default_rng(0).choice(len(rows), ROWS, replace=False)
        rows, targets = rows[some], targets[some]
    rows = np.concatenate([rows, np.ones((len(rows), 1))], 1)  # float64 from here on
    before = np.concatenate([old.kernel.transpose(1, 2, 3, 0).reshape(-1, len(old.bias)), old.bias[None]])
    squares = rows.T @ rows
    ridge = RIDGE * np.trace(squares) / len(squares) * np.eye(len(squares))
    found = before + np.linalg.solve(squares + ridge, rows.T @ (targets - rows @ before))
    kernel = found[:-1].reshape(*old.kernel.shape[1:], -1).transpose(3, 0, 1, 2)
    return Part(kernel.astype(np.float32), found[-1].astype(np.float32))


def convolved(values: np.ndarray, part: Part, layer: Layer) -> np.ndarray:
    """The layer's sums, before ReLU: (frames, rows, columns, out)."""
    windows = _windows(values, layer)
    if layer.kind == "depthwise":
        sums = sum(window * part.kernel[0, y, x] for (y, x), window in windows)
    else:
        sums = sum(window @ part.kernel[:, y, x].T for (y, x), window in windows)
    return sums + part.bias


def patches(values: np.ndarray, layer: Layer) -> np.ndarray:
    """What each sum of a layer is made of: (frames * rows * columns, h * w * in)."""
    found = np.concatenate([window for _, window in _windows(values, layer)], -1)
    return found.reshape(-1, found.shape[-1])


def _windows(values: np.ndarray, layer: Layer) -> list[tuple[tuple[int, int], np.ndarray]]:
    """For each place in the kernel the values that it meets, with TensorFlow's padding ``SAME``."""
    side = values.shape[1]
    count = -(-side // layer.stride)
    missing = max((count - 1) * layer.stride + layer.size - side, 0)
    pad = (missing // 2, missing - missing // 2)
    padded = np.pad(values, ((0, 0), pad, pad, (0, 0)))
    last = (count - 1) * layer.stride + 1
    places = [(y, x) for y in range(layer.size) for x in range(layer.size)]
    return [((y, x), padded[:, y : y + last : layer.stride, x : x + last : layer.stride]) for y, x in places]


if __name__ == "__main__":
    raise SystemExit(main())
