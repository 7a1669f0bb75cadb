"""Missing channels are predicted: better than zeros, by the exchange actor as by the masks, to the bit."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from eprune.formats.model_files import parse_model
from eprune.formats.tflite.channels import layers
from eprune.formats.tflite.dealing import chained, lop, widths
from eprune.measure.masks import Case, Stages, alive
from eprune.measure.recovery import fit, missing
from eprune.model.partition import failure_sets, prediction_bytes
from eprune.runtime.fire.tflite import choose
from tests.kit import channel_models, tiny_models
from tests.kit.programs import ROOT

sys.path.append(str(ROOT / "tests" / "actors"))


@pytest.fixture(scope="module")
def tokens():
    return list(np.random.default_rng(1).random((60, 1, 8, 8, 3), np.float32))


@pytest.fixture(scope="module")
def stages():
    model = parse_model(tiny_models.two_convolutions())
    return Stages(model, layers(model)[:2], choose())


def test_it_is_closer_to_the_whole_model_than_zeros(stages, tokens):
    plan = lop(stages.layers, 4)
    for dead in ({0}, {2}, {1, 3}):
        recovery = fit(stages, plan, dead, tokens[:40])
        errors = {"zeros": 0.0, "recovered": 0.0}
        for token in tokens[40:]:
            whole, zeros, recovered = stages(token, [Case(), Case(alive(plan, dead)), recovery.case(plan)])
            errors["zeros"] += np.abs(zeros - whole).sum()
            errors["recovered"] += np.abs(recovered - whole).sum()
        assert errors["recovered"] < 0.7 * errors["zeros"]


@pytest.mark.parametrize("make", [tiny_models.two_convolutions, channel_models.flattened])
@pytest.mark.parametrize("copies", [1, 2])
def test_what_predictions_take_is_known_before_they_are_made(make, copies):
    model = parse_model(make())
    found = [layer for layer in layers(model) if layer.outputs != model.outputs]
    stages = Stages(model, found, choose())
    token = np.random.default_rng(1).random(stages.token.shape, np.float32)
    plan = chained(found, 3, copies)
    taken = [0] * plan.devices
    for dead in failure_sets(plan.devices, 2)[1:]:
        nbytes = fit(stages, plan, dead, [token]).nbytes
        taken = [total + nbytes * (device not in dead) for device, total in enumerate(taken)]
    known = [prediction_bytes(each.parts, 2, widths(model, layer)) for each, layer in zip(plan.layers, found)]
    assert taken == [sum(own) for own in zip(*known)]


def test_what_is_a_sum_of_living_channels_is_recovered():
    random = np.random.default_rng(1)
    base = random.random((30, 1, 4, 4, 3))
    mixed = np.concatenate([base, base @ random.random((3, 2)) + 0.5], axis=-1).astype(np.float32)
    there = np.array([True, True, True, False, False])
    from eprune.measure.recovery import _regression

    found = _regression([(each, each) for each in mixed], there, 1e-9)
    assert np.allclose(found(mixed[..., there], np.float32), mixed[..., ~there], atol=1e-2)
    assert found.weights.shape == (4, 2)


def test_of_a_layer_of_which_nothing_is_left_the_mean_is_known():
    from eprune.measure.recovery import _regression

    values = np.random.default_rng(2).random((20, 1, 4, 4, 2)).astype(np.float32)
    found = _regression([(each, each) for each in values], np.zeros(2, bool), 1e-3)
    assert found.weights[0] == pytest.approx(values.mean(axis=(0, 1, 2, 3)), abs=1e-3)


def test_quantized_tensors_are_rounded_and_kept_in_range():
    model = parse_model(channel_models.per_channel())
    stages = Stages(model, layers(model), choose())
    random = np.random.default_rng(1)
    tokens = [random.integers(-128, 128, (1, 8, 8, 3)).astype(np.int8) for _ in range(20)]
    plan = lop(stages.layers, 2)
    recovery = fit(stages, plan, {1}, tokens)
    # the only exchange is behind the model's last operator: there is no stage after it
    assert recovery.predictions == {}
    found = missing().Prediction(np.array([[300.0], [0.4]], np.float16), -np.inf)
    assert found(np.array([[1], [-1]], np.int8), np.int8).tolist() == [[127], [-128]]


def test_the_exchange_actor_predicts_what_the_masks_predict(stages, tokens, tmp_path):
    from driver import fired, prepared

    sys.path.append(str(ROOT / "actors"))
    from exchange import Exchange

    plan = lop(stages.layers, 3)
    recovery = fit(stages, plan, {2}, tokens[:20])
    layer = stages.layers[0]
    tensor = layer.outputs[0]
    prediction = recovery.predictions[tensor]
    np.savez(tmp_path / "r.npz", **{"device3": prediction.weights, "device3:low": prediction.low})
    parts = plan.layers[0].parts
    text = " ".join(f"{port}={part[0]}-{part[-1]}" for port, part in zip(("own", "device2", "device3"), parts))
    shape = stages.model.tensors[tensor].shape
    ports = {
        port: f"float32[{','.join(map(str, (*shape[:-1], len(part))))}]"
        for port, part in zip(("own", "device2", "device3"), parts)
    }
    actor = Exchange("L1", "device1,device2,device3", text, recovery=str(tmp_path / "r.npz"))
    prepared(actor, ports, {"out": f"float32[{','.join(map(str, shape))}]"})
    actor.note = lambda text: None
    value = np.random.default_rng(3).random(shape, np.float32)
    whole = fired(actor, **{port: value[..., list(part)] for port, part in zip(ports, parts)})["out"]
    assert np.array_equal(whole, value)
    del actor.inputs["device3"]
    found = fired(actor, **{port: value[..., list(part)] for port, part in list(zip(ports, parts))[:2]})["out"]
    wanted = stages.masked(tensor, value, recovery.case(plan))
    assert np.array_equal(found, wanted)
    assert not np.array_equal(found, value)


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"", "holds no predictions"), (b"PK", "holds no predictions")],
)
def test_files_that_hold_no_predictions_are_refused(tmp_path, data, said):
    (tmp_path / "r.npz").write_bytes(data)
    with pytest.raises(ValueError, match=said):
        missing().read_predictions(str(tmp_path / "r.npz"))
    np.savez(tmp_path / "r.npz", device3=np.zeros((2, 2)))
    with pytest.raises(ValueError, match=said):
        missing().read_predictions(str(tmp_path / "r.npz"))
