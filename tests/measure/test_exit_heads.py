"""Fitting exits: heads as files and as numbers, thresholds against trying them all, places, and what cannot be."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eprune.formats.models.quantization import Quantization
from eprune.formats.system import read_system
from eprune.formats.tflite.head import head_model, pool_of, pooled
from eprune.measure import exits
from eprune.measure.exits import NEVER, Candidate, Frames, Head, Wish, outcome, parse_wish, thresholds
from eprune.model.token import TokenType
from eprune.passes._places import places
from eprune.runtime.fire.tflite import choose, load
from tests.kit.programs import ROOT


def run(data, features):
    interpreter = load(choose("auto"), data)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], features)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


@pytest.mark.parametrize("dtype", ["float32", "uint8", "int8"])
@pytest.mark.parametrize("shape", [(1, 7, 10, 3), (1, 1, 1, 5), (1, 12)])
def test_the_file_of_a_head_says_what_was_fitted(dtype, shape):
    random = np.random.default_rng(3)
    quantized = None if dtype == "float32" else Quantization(0.05, 3)
    answer = None if dtype == "float32" else Quantization(1 / 256, 0 if dtype == "uint8" else -128)
    low, high = (0, 255) if dtype == "uint8" else (-128, 127)
    features = random.normal(size=shape) if quantized is None else random.integers(low, high, shape)
    features = features.astype(dtype)
    pool = pool_of(shape, 3) if len(shape) == 4 else None
    values = pooled(features, pool, quantized)
    weights = random.normal(size=(4, len(values))).astype(np.float32) / 10
    biases = random.normal(size=4).astype(np.float32)
    head = Head(pool, weights, biases, quantized, answer)
    data = head_model(TokenType(dtype, shape), pool, weights, biases, TokenType(dtype, (1, 4)), quantized, answer)
    found = run(data, features)
    assert (found.dtype, found.shape) == (np.dtype(dtype), (1, 4))
    scores = found.astype(float)
    if answer is not None:
        scores = (scores - answer.zero_point) * answer.scale
    # Quantised features are pooled before they are numbers: half a step is lost.
    assert scores[0] == pytest.approx(head.scores(values[None])[0], abs=1e-5 if answer is None else 0.03)


def test_a_fitted_head_tells_apart_what_can_be_and_never_says_what_it_has_not_seen():
    random = np.random.default_rng(1)
    wanted = random.integers(0, 3, 200) * 2  # classes 0, 2 and 4 of 6
    values = (random.normal(size=(200, 8)) + np.eye(8)[wanted] * 4).astype(np.float32)
    head = Head(None, *exits.fitted(values, wanted, 6))
    scores = head.scores(values)
    assert (scores.argmax(axis=1) == wanted).mean() > 0.9
    assert scores[:, [1, 3, 5]].max() < 1e-9


def test_two_classes_are_two_scores():
    values = np.float32([[-2], [-1], [1], [2]] * 4)
    head = Head(None, *exits.fitted(values, np.array([0, 0, 1, 1] * 4), 2))
    assert head.scores(values).argmax(axis=1).tolist() == [0, 0, 1, 1] * 4


@pytest.mark.parametrize("wanted", [np.zeros(5, int), np.empty(0, int)])
def test_pictures_of_one_class_are_no_use(wanted):
    with pytest.raises(ValueError, match="nothing that an exit could tell apart"):
        exits.fitted(np.zeros((len(wanted), 3), np.float32), wanted, 4)


def test_without_scikit_learn_one_is_told(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn.linear_model", None)
    with pytest.raises(ValueError, match=r"pip install 'eprune\[exits\]'"):
        exits.fitted(np.zeros((2, 3), np.float32), np.array([0, 1]), 4)


@pytest.mark.parametrize(
    ("text", "what", "value"), [("accuracy=0.97", "accuracy", 0.97), ("bytes=20KiB", "bytes", 20480)]
)
def test_wishes(text, what, value):
    assert parse_wish(text) == Wish(what, value)


@pytest.mark.parametrize("text", ["accuracy", "accuracy=2", "agreement=0", "speed=1", "bytes=much", "accuracy=nan"])
def test_what_is_no_wish(text):
    with pytest.raises(ValueError, match="expected accuracy="):
        parse_wish(text)


def drawn(seed, count, exits_):
    random = np.random.default_rng(seed)
    frames = Frames(random.integers(0, 3, count), random.integers(0, 3, count), 100.0, 50.0)
    candidates = [
        Candidate(random.random(count), random.integers(0, 3, count), 80.0 - 30 * number, 1.0, 40.0)
        for number in range(exits_)
    ]
    return frames, candidates


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(1, 40),
    wish=st.sampled_from([Wish("accuracy", 0.4), Wish("agreement", 0.3), Wish("bytes", 30.0), Wish("accuracy", 1.0)]),
)
def test_the_threshold_is_the_best_of_all(seed, count, wish):
    frames, candidates = drawn(seed, count, 1)
    _, found = thresholds(frames, candidates, wish)
    ranks = [exits.rank(wish, outcome(frames, candidates, [edge])) for edge in exits.edges(candidates[0].confidence)]
    assert exits.rank(wish, found) == min(ranks)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), wish=st.sampled_from([Wish("accuracy", 0.3), Wish("bytes", 30.0)]))
def test_two_exits_are_at_least_as_good_as_either(seed, wish):
    frames, candidates = drawn(seed, 30, 2)
    _, both = thresholds(frames, candidates, wish)
    none = outcome(frames, candidates, [NEVER, NEVER])
    assert exits.rank(wish, both) <= exits.rank(wish, none)
    every = itertools.product(*(exits.edges(each.confidence) for each in candidates))
    assert exits.rank(wish, both) >= min(exits.rank(wish, outcome(frames, candidates, each)) for each in every)


def test_a_frame_leaves_at_the_first_exit_that_is_sure():
    frames = Frames(np.array([0, 0, 0]), np.array([1, 1, 0]), 100.0, 10.0)
    first = Candidate(np.array([0.9, 0.1, 0.1]), np.array([1, 1, 1]), 90.0, 1.0, 10.0)
    second = Candidate(np.array([0.9, 0.9, 0.1]), np.array([2, 1, 1]), 50.0, 2.0, 10.0)
    found = outcome(frames, [first, second], [0.5, 0.5])
    assert found.leaves.tolist() == [0, 1, -1]
    assert found.right.tolist() == [True, True, True]
    assert found.cost == pytest.approx(((101 - 90) + (103 - 50) + 103) / 3)
    assert found.nbytes == pytest.approx(10 / 3)


def test_places_are_where_one_tensor_leads_on():
    graph = read_system(str(ROOT / "graphs/vehicle.xml")).graph
    assert [each.fifo.source.actor for each in places(graph)] == ["L1", "L2", "L3"]
    assert places(graph)[1].behind == ("L3", "L4-L5")
    assert not places(read_system(str(ROOT / "graphs/vehicle_chain.xml")).graph)  # its sink is a slice
    # It has an exit, which tells its sink: nothing is around that, and L4-L5 is in its branch.
    (inner,) = places(read_system(str(ROOT / "graphs/vehicle_exit.xml")).graph)
    assert (inner.fifo.source.actor, inner.behind, inner.inside) == ("L3", ("L4-L5",), "Deep")


def test_what_exits_lose_is_looked_at_with_care():
    frames = Frames(np.zeros(100, int), np.zeros(100, int), 100.0, 0.0)
    answers = np.arange(100) < 4  # of those that are surest, 4 are wrong
    exit_ = Candidate(np.linspace(1, 0, 100), answers.astype(int), 90.0, 1.0, 0.0)
    all_out, none = (outcome(frames, [exit_], [threshold]) for threshold in (0.0, NEVER))
    assert (none.careful, all_out.accuracy) == (1, 0.96)
    assert all_out.careful == pytest.approx(0.96 - (0.04 * 0.96 / 100) ** 0.5)
    assert exits.lacks(Wish("accuracy", 0.95), all_out) > 0 == exits.lacks(Wish("accuracy", 0.94), all_out)
