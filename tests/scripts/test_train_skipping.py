"""The committed network of skipped blocks, and the parts of its training that need no TensorFlow."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import train_skipping as ours
from train_vehicle import infer, to_bfloat16

from eprune.formats.model_files import read_model
from eprune.formats.models.boundary import boundary
from eprune.runtime.fire.tflite import choose, load

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "graphs" / "vehicle_skipping.tflite"
PAGE = (ROOT / "docs" / "how-to" / "layer_skipping.md").read_text(encoding="utf-8")
FIELD = "float32[1,12,12,28]"


def test_the_operators_are_where_the_script_says():
    model = read_model(str(FILE))
    names = [operator.name for operator in model.operators]
    conv, dense = "CONV_2D", "FULLY_CONNECTED"
    assert [names[i] for i in ours.STEM] == [conv, "MAX_POOL_2D", conv]
    assert [names[i] for i in ours.HEAD] == [conv, dense, "SOFTMAX"]
    for gate, inside in zip(ours.GATES, ours.INSIDE):
        assert [names[i] for i in gate] == ["AVERAGE_POOL_2D", dense, dense, "LOGISTIC"]
        assert [names[i] for i in inside] == [conv, conv]
        for operators, out in ((gate, "float32[1,1]"), (inside, FIELD)):
            [(came,), (went,)] = boundary(model, operators)
            assert (str(model.tensors[came].token), str(model.tensors[went].token)) == (FIELD, out)
    assert FILE.stat().st_size < 300_000


def test_the_weights_are_bfloat16_so_that_they_compress():
    for kernel, bias in ours.weights_of(FILE, choose()):
        assert np.array_equal(to_bfloat16(kernel), kernel)
        assert np.array_equal(to_bfloat16(bias), bias)


def test_a_file_is_written_anew_from_its_own_weights():
    interpreter = choose()
    loaded, model = load(interpreter, FILE.read_bytes()), read_model(str(FILE))
    gates = []
    for gate in ours.GATES:
        layers = [[loaded.get_tensor(index).T for index in model.operators[place].inputs[1:]] for place in gate[1:3]]
        gates.append([(kernel, bias) for kernel, bias in layers])
    assert ours.skipping_model(ours.weights_of(FILE, interpreter), gates) == FILE.read_bytes()


def test_what_is_watched_is_what_the_whole_network_says_where_all_blocks_run():
    seen = ours.watch(FILE.read_bytes(), 5, 3, choose())
    whole = load(choose(), FILE.read_bytes())
    model = read_model(str(FILE))
    for frame in range(3):
        infer(whole, ours.render_vehicle(5, frame)[None])
        scores, *gates = (whole.get_tensor(index) for index in model.outputs)
        assert np.allclose(seen.scores[True, True, True][frame], scores, atol=1e-6)
        every = [seen.gates[(True,) * block][frame] for block in range(3)]
        assert np.allclose(every, np.ravel(gates), atol=1e-6)


@pytest.mark.long
def test_a_gate_finds_out_which_frames_need_its_block():
    """Frames whose first average is high lose much without block 2, others nothing; noise in all the others."""
    rng = np.random.default_rng(3)
    frames = 400
    averages = rng.standard_normal((frames, ours.AVERAGES)) * 3 + 5
    needs = averages[:, 0] > 6
    scores = {
        choice: np.where(needs & (not choice[1]), 0.1, 0.9)[:, None] * np.float32([1, 0, 0, 0])
        for choice in ours.choices(3)
    }
    before = {choice: averages for block in range(3) for choice in ours.choices(block)}
    seen = ours.Seen(np.zeros(frames, int), scores, before, {})
    found = score(ours.fit_gate(seen, 1), averages)
    assert found[needs].mean() > 4 * found[~needs].mean()
    # On average a gate expects what is lost.
    assert found.mean() == pytest.approx(0.8 * needs.mean(), rel=0.2)
    # Whether the first block runs makes no difference here, so its gate finds nothing.
    assert score(ours.fit_gate(seen, 0), averages).max() < 0.05


def score(gate, averages):
    (first, bias), (second, offset) = gate
    return 1 / (1 + np.exp(-(np.maximum(averages @ first + bias, 0) @ second + offset)[:, 0]))


FRAMES = 400


@pytest.fixture(scope="module")
def fresh():
    """What the network makes of pictures that the page does not speak of."""
    return ours.watch(FILE.read_bytes(), 77, FRAMES, choose())


def right(seen, chosen):
    """The share of frames that are classified rightly, where each has a choice of blocks."""
    return np.mean([seen.scores[choice][frame].argmax() == seen.classes[frame] for frame, choice in enumerate(chosen)])


def near(percent):
    """Within three standard deviations of so many draws."""
    share = float(percent) / 100
    return pytest.approx(share, abs=3 * (share * (1 - share) / FRAMES) ** 0.5)


@pytest.mark.long
@pytest.mark.parametrize(("blocks", "percent"), re.findall(r"^([-123]{3}) +([0-9.]+) %$", PAGE, re.MULTILINE))
def test_accuracy_with_the_same_blocks_for_each_frame_is_what_the_page_states(fresh, blocks, percent):
    choice = tuple(mark != "-" for mark in blocks)
    assert right(fresh, [choice] * FRAMES) == near(percent)


ROWS = re.findall(r"^ +([0-9.]+) +([0-9.]+) +([0-9.]+) % +([0-9.]+) %$", PAGE, re.MULTILINE)


@pytest.mark.parametrize(("threshold", "run", "percent", "dealt"), ROWS)
def test_what_the_gates_choose_is_as_good_as_the_page_states(fresh, threshold, run, percent, dealt):
    chosen = ours.decide(fresh, float(threshold))
    counts = np.sum(chosen, axis=1)
    assert counts.mean() == pytest.approx(float(run), abs=3 * counts.std() / FRAMES**0.5 + 0.01)
    assert right(fresh, chosen) == near(percent)
    assert float(percent) >= float(dealt)


def test_the_page_has_both_tables():
    choices = re.findall(r"^([-123]{3}) +[0-9.]+ %$", PAGE, re.MULTILINE)
    assert (len(set(choices)), len(ROWS)) == (8, len(ours.THRESHOLDS))
