"""What a model file says of its inputs and outputs."""

from __future__ import annotations

import random

import pytest

from eprune.formats.model_files import parse_model
from eprune.formats.models.metadata import About, labels_of
from eprune.formats.tflite.metadata import read_metadata
from eprune.formats.tflite.quantization import quantization
from tests.kit import ends, tiny_models


def test_normalisation_and_labels_are_read():
    model = parse_model(ends.with_metadata(ends.brightest(), "red\ngreen\nblue\n", [127.5], [128]))
    found = read_metadata(model)
    assert found.of("inputs", 0) == About(image=True, mean=(127.5,), std=(128,))
    assert found.of("outputs", 0) == About(labels=("red", "green", "blue"))
    assert found.problem == ""


def test_the_rate_of_sound():
    model = parse_model(ends.with_metadata(ends.listener(), rate=16000))
    assert read_metadata(model).inputs == (About(audio=True, rate=16000),)


def test_a_model_without_says_nothing():
    model = parse_model(tiny_models.conv_pool_dense())
    assert read_metadata(model).of("inputs", 0) == About()


def test_a_std_of_0_is_no_normalisation():
    model = parse_model(ends.with_metadata(ends.brightest(), mean=[0, 0, 0], std=[1, 0, 1]))
    assert read_metadata(model).inputs == (About(image=True),)


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("cat\ndog\n", ("cat", "dog")),
        ("\ufeffcat\r\n\r\ndog\r\n\n\n", ("cat", "", "dog")),
        ("0 cat\n2  hot dog\n", ("cat", "", "hot dog")),
        ("1: cat\n2: dog", ("", "cat", "dog")),
        ("3 blind mice\ncat\n", ("3 blind mice", "cat")),
        ("2 cats\n1 dog", ("2 cats", "1 dog")),
        ("", ()),
    ],
)
def test_lists_of_labels(text, labels):
    assert labels_of(text) == labels


def test_metadata_that_are_broken_are_said_to_be_and_never_crash():
    data = ends.with_metadata(ends.brightest(), "red\ngreen\nblue\n", [127.5], [128])
    start = data.rindex(b"M001") - 4
    chooser = random.Random(3)
    problems = 0
    for _ in range(300):
        broken = bytearray(data)
        for _ in range(3):
            broken[start + chooser.randrange(150)] ^= 1 << chooser.randrange(8)
        problems += bool(read_metadata(parse_model(bytes(broken))).problem)
    assert problems > 10


def test_the_quantisation_of_a_tensor():
    model = parse_model(ends.brightest_quantized("int8", 0.25, -7))
    assert quantization(model, model.inputs[0]) == (0.25, -7)
    model = parse_model(ends.brightest())
    assert quantization(model, model.inputs[0]) is None
