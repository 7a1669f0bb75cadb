"""The actors of the predistorter: any cut of a signal into blocks, any number of groups, the same samples."""

from __future__ import annotations

import json

import numpy as np
import pytest
from adder import Adder
from amplifier import Amplifier, amplify
from burst_source import BurstSource
from error_meter import ErrorMeter
from level_gate import LevelGate
from odd_powers import OddPowers
from tap_groups import TapGroups

from tests.kit.ports import port_type


def made(actor, inputs, outputs):
    """``inputs`` and ``outputs``: port -> (token, upper rate limit)."""
    actor.name = "actor"
    actor.inputs, actor.outputs = (
        {name: port_type(token)._replace(rate=rate) for name, (token, rate) in ports.items()}
        for ports in (inputs, outputs)
    )
    actor.initialize()
    return actor


def blocks(count, size, seed=1):
    return np.random.default_rng(seed).standard_normal((count, size)).astype(np.float32)


@pytest.mark.parametrize(
    ("thresholds", "values"), [("0.5", [0, 0, 1, 1]), ("0,0.4,0.6,2", [1, 2, 3, 4]), ("-1", [1, 1, 1, 1])]
)
def test_a_level_gate_counts_the_thresholds_that_a_magnitude_reaches(thresholds, values):
    gate = made(LevelGate(thresholds), {"in": ("float32[2]", 1)}, {})
    assert [gate.control({"in": np.float32(token)}) for token in ([0, 0], [0.4, -0.1], [0, -0.6], [2, 1])] == values


@pytest.mark.parametrize(("size", "history"), [(4, 0), (4, 3), (4, 9)])
def test_powers_have_the_samples_before_the_block_whatever_was_active_then(size, history):
    powers = made(OddPowers(), {"in": (f"float32[{size}]", 1)}, {"out": (f"float32[{size + history}]", 3)})
    signal = blocks(6, size)
    line = np.concatenate([np.zeros(history, np.float32), signal.reshape(-1)])
    for number, (block, rate) in enumerate(zip(signal, (1, 3, 0, 2, 0, 3))):
        out = [np.full(size + history, 77, np.float32) for _ in range(rate)]
        powers.fire({"in": block}, {"out": out} if rate else {})
        seen = line[number * size : number * size + size + history]
        for place, token in enumerate(out):
            assert np.allclose(token, seen.astype(np.float64) ** (2 * place + 1), rtol=1e-5)


def test_each_group_of_taps_filters_its_own_token():
    bank = made(TapGroups("1,-2,3;0.5,0,4"), {"in": ("float32[7]", 2)}, {"out": ("float32[5]", 2)})
    given = blocks(2, 7)
    for rate in (1, 2):
        out = [np.full(5, 77, np.float32) for _ in range(rate)]
        bank.fire({"in": list(given[:rate])}, {"out": out})
        for taps, token, result in zip(([1, -2, 3], [0.5, 0, 4]), given, out):
            assert np.allclose(result, np.convolve(token, taps, "valid"), atol=1e-5)


def test_an_adder_adds_what_is_active():
    adder = made(Adder(), {"one": ("float32[2]", 1), "many": ("float32[2]", 3)}, {"out": ("float32[2]", 1)})
    tokens = np.float32([[1, 2], [10, 20], [100, 200]])
    for inputs, total in (
        ({}, [0, 0]),
        ({"one": tokens[0]}, [1, 2]),
        ({"one": tokens[0], "many": [tokens[1], tokens[2]]}, [111, 222]),
    ):
        out = np.full(2, 77, np.float32)
        adder.fire(inputs, {"out": out})
        assert list(out) == total


def test_the_amplifier_does_not_see_where_blocks_end():
    signal = blocks(5, 8)
    actor = made(Amplifier(), {"in": ("float32[8]", 1)}, {"out": ("float32[8]", 1)})
    got = np.empty_like(signal)
    for block, out in zip(signal, got):
        actor.fire({"in": block}, {"out": out})
    whole = amplify(np.concatenate([np.zeros(2), signal.reshape(-1).astype(np.float64)]))
    assert got.reshape(-1).tobytes() == whole.astype(np.float32).tobytes()
    weak = amplify(np.full(100, 1e-4))
    assert np.allclose(weak, 1.1e-4)
    assert amplify(np.full(100, 0.9))[0] < 0.9


def test_bursts_repeat_with_their_seed_and_have_silence_and_strength(tokens):
    first, again, other = (tokens(BurstSource(seed=seed), "float32[64]") for seed in ("1", "1", "2"))
    assert len(first) == 200
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    peaks = np.abs(first).max(axis=1)
    assert peaks.min() == 0
    assert 0.8 < peaks.max() <= 1
    assert np.abs(np.diff(np.reshape(first, -1))).max() < 0.7


def test_the_meter_gives_the_error_in_decibels(capsys):
    meter = made(ErrorMeter("2"), {"in": ("float32[4]", 1), "wanted": ("float32[4]", 1)}, {})
    for _ in range(3):
        meter.fire({"in": np.float32([2.2] * 4), "wanted": np.float32([1] * 4)}, {})
    meter.finalize()
    assert json.loads(capsys.readouterr().out) == {"blocks": 3, "error_db": -20.0}
    made(ErrorMeter(), {"in": ("float32[4]", 1), "wanted": ("float32[4]", 1)}, {}).finalize()
    assert json.loads(capsys.readouterr().out) == {"blocks": 0, "error_db": None}


BLOCK = ("float32[8]", 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LevelGate("0.5,0.2"), "expected ascending numbers"),
        (lambda: LevelGate("high"), "expected a number"),
        (lambda: made(LevelGate("1"), {"a": BLOCK, "b": BLOCK}, {}), "exactly one input"),
        (lambda: made(OddPowers(), {"in": BLOCK}, {"out": ("float32[7]", 4)}), "needs the 8 samples of a block"),
        (lambda: made(OddPowers(), {"in": BLOCK}, {"out": ("float64[9]", 4)}), "needs the 8 samples of a block"),
        (lambda: made(OddPowers(), {"in": BLOCK}, {}), "needs one output"),
        (lambda: TapGroups("1,2;3"), "groups of equal length"),
        (lambda: made(TapGroups("1,2"), {"in": ("float32[9]", 2)}, {"out": ("float32[8]", 2)}), "1 groups of taps"),
        (lambda: made(TapGroups("1,2"), {"in": BLOCK}, {"out": BLOCK}), "2 taps need 1 samples more"),
        (lambda: made(Adder(), {"in": ("float64[8]", 1)}, {"out": BLOCK}), "inputs of the type of its output"),
        (lambda: made(Amplifier(), {"in": BLOCK}, {"out": ("float32[4]", 1)}), "needs blocks of samples"),
        (lambda: made(BurstSource(), {}, {"out": ("int8[8]", 1)}), "blocks of float32 samples"),
        (lambda: made(ErrorMeter(), {"in": BLOCK}, {}), "needs the inputs 'in' and 'wanted'"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
