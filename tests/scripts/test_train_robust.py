"""The networks and pictures of `make robust`: what the scripts write can be evaluated, partitioned and tabulated."""

from __future__ import annotations

import numpy as np
import pytest
import train_robust

from eprune.formats.model_files import parse_model
from eprune.formats.tflite.channels import layers
from eprune.measure.data import CALIBRATION, TEST, read_data
from eprune.measure.masks import Stages
from eprune.runtime.fire.tflite import choose


def weights(*shapes):
    random = np.random.default_rng(1)
    return [
        (random.normal(0, 0.1, shape).astype(np.float32), np.zeros(outputs, np.float32)) for shape, outputs in shapes
    ]


def written():
    """Files of both networks, untrained."""
    size, conv, dense = train_robust.SIZE // 8, train_robust.CONV, train_robust.DENSE
    plain = [((3, 3, inner, outer), outer) for inner, outer in zip((1, *conv), conv)]
    plain += [((size * size * conv[-1], dense), dense), ((dense, 10), 10)]
    blocks, before = [], 1
    for stage, channels in enumerate(train_robust.STAGES):
        kernel = 1 if stage else 3
        blocks += [((kernel, kernel, before, channels), channels), ((3, 3, channels, 1), channels)]
        blocks.append(((1, 1, channels, channels), channels))
        before = channels
    return {
        "conv": train_robust.conv_model(weights(*plain)),
        "residual": train_robust.residual_model(weights(*blocks, ((before, 10), 10))),
    }


@pytest.mark.parametrize(("name", "count"), [("conv", 5), ("residual", 7)])
def test_the_networks_run_and_have_layers_to_deal(name, count):
    model = parse_model(written()[name])
    assert len(layers(model)) == count
    stages = Stages(model, layers(model)[:-1], choose())
    (answer,) = stages(np.random.default_rng(2).random(stages.token.shape, np.float32))
    assert answer.shape == (1, 10)
    assert answer.sum() == pytest.approx(1, abs=1e-5)


def test_the_pictures_have_parts_and_labels(tmp_path):
    random = np.random.default_rng(1)
    digits = {f"{part}_images": random.integers(0, 256, (12, 28, 28), np.uint8) for part in ("train", "test")}
    digits.update({f"{part}_labels": np.arange(12, dtype=np.uint8) % 10 for part in ("train", "test")})
    np.savez(tmp_path / "mnist.npz", **digits)
    made = train_robust.cluttered(tmp_path / "mnist.npz")
    assert made["x_train"].shape == (12, train_robust.SIZE, train_robust.SIZE)
    again = train_robust.cluttered(tmp_path / "mnist.npz")
    assert all(np.array_equal(made[name], again[name]) for name in made)
    np.savez(tmp_path / "cluttered.npz", **made)
    data = read_data(str(tmp_path / "cluttered.npz"))
    assert (len(data.part(CALIBRATION)), len(data.part(TEST))) == (12, 12)
    assert data.part(TEST).classes()[:3] == [0, 1, 2]


def test_tables_have_means_and_spreads():
    from scripts.robust import pages
    from scripts.robust.study import Row

    rows = [
        Row("methods", "conv", seed, 2, "lop", 0.5, (0.9, share), (0.9, 0.1)) for seed, share in ((1, 0.3), (2, 0.5))
    ]
    text = pages.tables(rows)
    assert "### Methods: conv, 2 devices" in text
    assert "| lop | 0.50 | 90.0 | 40.0 (30.0 to 50.0) |" in text
