"""Masks for dead devices are what real devices would compute: each its slices, and zeros for what nobody has."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from eprune.formats.model_files import parse_model
from eprune.formats.models.boundary import boundary
from eprune.formats.models.flow import flow
from eprune.formats.models.slices import slice_channels, slice_model
from eprune.formats.tflite.channels import layers, narrow
from eprune.measure.masks import Case, Stages, alive
from eprune.model.finding import EpruneError
from eprune.model.partition import LayerParts, Plan
from eprune.runtime.fire.tflite import choose, load
from tests.kit import channel_models, tiny_models
from tests.kit.programs import ROOT

SHARED = ROOT.parent / "shared" / "models"


def run(data, values):
    """The outputs of a model's bytes, and the zero points of its outputs."""
    interpreter = load(choose(), data)
    for detail, value in zip(interpreter.get_input_details(), values):
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()
    return [
        (interpreter.get_tensor(each["index"]), each["quantization"][1]) for each in interpreter.get_output_details()
    ]


def on_real_devices(model, plan, dead, token):
    """The model's first output, if each living device runs its slices, and what they have is put together."""
    values = {model.inputs[0]: token}
    parts = {each.first: each.parts for each in plan.layers}
    chosen = {layer.first: layer for layer in layers(model) if layer.first in parts}
    waiting = [tuple(layer.operators) for layer in chosen.values()]
    inside = set(itertools.chain(*waiting))
    waiting += [(index,) for index in flow(model).work if index not in inside]
    while waiting:
        ready = next(piece for piece in waiting if values.keys() >= set(boundary(model, piece)[0]))
        waiting.remove(ready)
        inputs, outputs = boundary(model, ready)
        if ready[0] not in parts:
            values.update(
                zip(outputs, (value for value, _ in run(slice_model(model, ready), [values[i] for i in inputs])))
            )
            continue
        for device, channels in enumerate(parts[ready[0]]):
            if not channels:
                continue
            found = run(slice_channels(model, ready, channels), [values[i] for i in inputs])
            kept = {t: c for one in narrow(model, ready, channels).values() for t, c in one.tensors.items()}
            for tensor, (part, zero) in zip(outputs, found):
                shape = model.tensors[tensor].shape
                values.setdefault(tensor, np.full(shape, zero, part.dtype))
                if device not in dead:
                    values[tensor][..., list(kept[tensor])] = part
    return values[model.outputs[0]]


def random_plan(model, devices, random, most=None):
    """Channels here and there, each somewhere; of all layers but some."""
    found = []
    for layer in layers(model)[:most]:
        parts = [set() for _ in range(devices)]
        for channel in range(layer.channels):
            for device in random.choice(devices, random.integers(1, 3), replace=False):
                parts[device].add(channel)
        if random.random() < 0.8:
            found.append(LayerParts(layer.first, tuple(tuple(sorted(part)) for part in parts)))
    return Plan(devices, "random", tuple(found))


def token_for(model, random):
    tensor = model.tensors[model.inputs[0]]
    if tensor.dtype == "float32":
        return random.random(tensor.shape, np.float32)
    limits = np.iinfo(tensor.dtype)
    return random.integers(limits.min, limits.max, tensor.shape, tensor.dtype, endpoint=True)


def compare(model, devices, seed, most=None):
    random = np.random.default_rng(seed)
    plan = random_plan(model, devices, random, most)
    stages = Stages(
        model, [each for each in layers(model) if each.first in {part.first for part in plan.layers}], choose()
    )
    token = token_for(model, random)
    sets = [dead for count in range(devices) for dead in itertools.combinations(range(devices), count)]
    masked = stages(token, [Case(alive(plan, dead)) for dead in sets])
    for dead, answer in zip(sets, masked):
        assert np.array_equal(answer, on_real_devices(model, plan, dead, token)), (dead, plan)
    assert np.array_equal(masked[0], run(model.data, [token])[0][0]), "nobody is dead"


MODELS = {
    "chain": tiny_models.conv_pool_dense,
    "quantized": channel_models.per_channel,
    "multiplied": channel_models.multiplied,
    "transposed": channel_models.transposed,
    "branches": channel_models.branches,
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("devices", [2, 3])
def test_masks_are_what_real_slices_compute(name, devices):
    for seed in range(4):
        compare(parse_model(MODELS[name]()), devices, seed)


@pytest.mark.parametrize("name", ["vehicle.tflite", "vehicle_skipping.tflite"])
def test_masks_are_what_real_slices_compute_in_the_examples(name):
    compare(parse_model((ROOT / "graphs" / name).read_bytes()), 2, 1)


def test_masks_are_what_real_slices_compute_in_a_quantized_mobilenet():
    path = SHARED / "mobilenet_v1_0.25_128_quant.tflite"
    if not path.is_file():
        pytest.skip("the shared models are not here")
    compare(parse_model(path.read_bytes()), 2, 1, most=6)


def test_devices_that_together_have_everything_lose_nothing():
    model = parse_model(tiny_models.conv_pool_dense())
    (first, last) = layers(model)
    plan = Plan(3, "x", (LayerParts(first.first, ((0, 1, 3), (1, 2, 3), (0, 2))),))
    assert alive(plan, {0}) == {}
    assert [float(v) for v in alive(plan, {0, 1})[first.first]] == [1, 0, 1, 0]
    assert last.channels == 5


def test_a_model_of_several_inputs_is_refused():
    with pytest.raises(EpruneError, match="has 2 inputs, and one picture is given at a time"):
        Stages(parse_model(tiny_models.residual_split()), [], choose())
