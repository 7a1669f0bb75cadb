"""The committed small classifier, and the parts of its training that need no TensorFlow."""

from __future__ import annotations

import numpy as np
import pytest
import train_small
from train_vehicle import HELD_OUT_SEED, render_vehicle, vehicle_class

from eprune.formats.model_files import parse_model, read_model
from eprune.runtime.fire.tflite import INTERPRETERS, load

PATH = train_small.ROOT / "graphs/vehicle_small.tflite"


def random_weights():
    rng = np.random.default_rng(1)
    sizes = (3, *train_small.CHANNELS)
    layers = [(5, 5, before, after) for before, after in zip(sizes, sizes[1:])]
    flat = (train_small.SIDE >> len(train_small.CHANNELS)) ** 2 * sizes[-1]
    shapes = [*layers, (flat, train_small.DENSE), (train_small.DENSE, 4)]
    return [
        (rng.standard_normal(shape, np.float32) / 9, rng.standard_normal(shape[-1], np.float32)) for shape in shapes
    ]


def test_the_committed_file_is_what_the_script_writes():
    made, there = parse_model(train_small.small_model(random_weights())), read_model(str(PATH))
    assert [operator.name for operator in made.operators] == [operator.name for operator in there.operators]
    assert [str(t.token) for t in made.tensors] == [str(t.token) for t in there.tensors]


def test_pictures_are_halved_by_their_mean():
    picture = np.arange(96 * 96 * 3, dtype=np.float32).reshape(1, 96, 96, 3)
    half = train_small.halved(picture)
    assert half.shape == (1, 48, 48, 3)
    assert half[0, 5, 7, 1] == picture[0, 10:12, 14:16, 1].mean()


@pytest.mark.parametrize("interpreter", INTERPRETERS)
def test_it_is_mostly_right(interpreter):
    model = load(interpreter, PATH.read_bytes())
    (given,), (made,) = model.get_input_details(), model.get_output_details()
    right = 0
    for index in range(100):
        model.set_tensor(given["index"], train_small.halved(render_vehicle(HELD_OUT_SEED, index)[None]))
        model.invoke()
        right += int(model.get_tensor(made["index"]).argmax()) == vehicle_class(HELD_OUT_SEED, index)
    assert right >= 88
