"""The committed network with a learned bottleneck, and the parts of its training that need no TensorFlow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import train_bottleneck as ours
from train_vehicle import infer, to_bfloat16

from eprune.analysis.check import check
from eprune.face import load as load_system
from eprune.formats.model_files import read_model
from eprune.formats.models.boundary import boundary
from eprune.formats.models.slices import slice_model
from eprune.runtime.fire.tflite import choose, load

ROOT = Path(__file__).resolve().parents[2]
FILE, WHOLE = ROOT / "graphs" / "vehicle_bottleneck.tflite", ROOT / "graphs" / "vehicle.tflite"


def test_the_operators_are_where_the_script_and_the_graph_say():
    model = read_model(str(FILE))
    conv, dense = "CONV_2D", "FULLY_CONNECTED"
    assert [model.operators[i].name for i in ours.HEAD] == [conv, "MAX_POOL_2D"] * 2
    assert [model.operators[i].name for i in ours.ENCODER] == [conv, conv, "LOGISTIC", "QUANTIZE"]
    assert [model.operators[i].name for i in ours.DECODER] == ["DEQUANTIZE", dense, dense]
    [(_,), (codes,)] = boundary(model, ours.ENCODER)
    assert str(model.tensors[codes].token) == "uint8[1,6,6,1]"
    platforms = [str(ROOT / f"graphs/{name}.xml") for name in ("endpoint", "server")]
    system = load_system(
        str(ROOT / "graphs/vehicle_bottleneck.xml"), platforms, str(ROOT / "mappings/vehicle_bottleneck_split")
    )
    assert check(system) == []
    parts = [tuple(actor.behaviour.operators) for actor in system.graph.actors if actor.behaviour.operators]
    assert [index for part in parts for index in part] == list(range(len(model.operators)))


def test_its_first_layers_are_the_classifiers_and_it_is_right_about_as_often():
    model, whole = read_model(str(FILE)), read_model(str(WHOLE))
    ends = [load(choose(), slice_model(each, ours.HEAD)) for each in (model, whole)]
    answers = [load(choose(), path.read_bytes()) for path in (FILE, WHOLE)]
    right = np.zeros(2)
    for frame in range(60):
        picture = ours.render_vehicle(ours.HELD_OUT_SEED, frame)[None]
        if frame < 3:
            assert np.array_equal(*(infer(each, picture) for each in ends))
        wanted = ours.vehicle_class(ours.HELD_OUT_SEED, frame)
        right += [infer(each, picture).argmax() == wanted for each in answers]
    assert right[0] >= right[1] - 8
    assert right[0] > 48


def test_a_file_is_written_anew_from_its_own_weights():
    weights = ours.weights_of(FILE, choose())
    assert ours.bottleneck_model(weights) == FILE.read_bytes()
    for kernel, bias in weights:
        assert np.array_equal(to_bfloat16(kernel), kernel)
        assert np.array_equal(to_bfloat16(bias), bias)


def test_codes_may_be_of_a_fully_connected_layer_too():
    random = np.random.default_rng(1)
    head, rest = ours.weights_of(FILE, choose())[:2], ours.weights_of(FILE, choose())[-2:]
    shapes = (ours.FIELD**2 * ours.CHANNELS, 8), (8, ours.DECODED), (ours.DECODED, ours.L3)
    made = [(random.normal(size=shape).astype(np.float32), np.zeros(shape[1], np.float32)) for shape in shapes]
    model = load(choose(), ours.bottleneck_model([*head, *made, *rest]))
    assert infer(model, np.zeros((1, 96, 96, 3), np.float32)).sum() > 0.999
