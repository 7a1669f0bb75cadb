"""SSD-MobileNet as an application: the papers' graph, what it finds, and parts of its training and evaluation."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import make_ssd_graph
import numpy as np
import pytest
import ssd_network
import train_ssd
from ssd_anchors import decode
from ssd_evaluation import Found, average_precision, tracking

from eprune.analysis.check import check
from eprune.formats.behaviours import inspect
from eprune.formats.behaviours.model_slice import ModelSlice
from eprune.formats.model_files import parse_model, read_model
from eprune.formats.models.slices import slice_model
from eprune.formats.xml.application import read_application
from eprune.formats.xml.mapping import read_mapping
from eprune.formats.xml.platform import read_platform
from eprune.model.system import System
from eprune.runtime.fire.tflite import INTERPRETERS, load

ROOT = Path(__file__).resolve().parents[2]
MODEL, GRAPH = ROOT / "graphs" / "ssd_mobilenet.tflite", ROOT / "graphs" / "ssd_mobilenet.xml"
DISTRIBUTIONS = sorted(path.name for path in (ROOT / "mappings").glob("ssd_mobilenet_*"))
INSTALLED = [name for name, module in INTERPRETERS.items() if importlib.util.find_spec(module.partition(".")[0])]
TEXT = (ROOT / "docs" / "reference" / "ssd_mobilenet.md").read_text(encoding="utf-8")


# The application


def test_it_has_the_papers_actors_and_fifos():
    graph = read_application(str(GRAPH))
    network = [actor for actor in graph.actors if isinstance(actor.behaviour, ModelSlice)]
    assert (len(graph.actors), len(graph.fifos), len(network)) == (53, 69, 47)
    assert graph.actor("Resize").port("out").token.shape == (1, 300, 300, 3)
    # One operator each, and each operator once.
    assert [(actor.behaviour.first, actor.behaviour.last) for actor in network] == [(k, k) for k in range(47)]


def test_the_model_has_35_layers_with_relu_and_12_heads_and_nothing_else():
    model = read_model(str(MODEL))
    names = [operator.name for operator in model.operators]
    assert names == [
        *("CONV_2D", *["DEPTHWISE_CONV_2D", "CONV_2D"] * 13, *["CONV_2D"] * 8),
        *["CONV_2D"] * 12,
    ]
    assert [operator.outputs[0] for operator in model.operators[35:]] == list(model.outputs)
    assert MODEL.stat().st_size < 8 * 2**20


def test_graph_and_mappings_are_what_the_script_writes():
    written = make_ssd_graph.files(read_model(str(MODEL)))
    for path, text in written.items():
        message = f"{path} is out of date: python3 scripts/make_ssd_graph.py"
        assert (ROOT / path).read_text(encoding="utf-8") == text, message
    there = {str(path.relative_to(ROOT)) for path in (ROOT / "mappings").glob("ssd_mobilenet_*/*.xml")}
    assert there == {path for path in written if path.startswith("mappings/")}


def distribution(folder):
    """Platforms and mappings of a distribution."""
    paths = sorted((ROOT / "mappings" / folder).glob("*.xml"))
    return [read_platform(str(ROOT / "graphs" / path.name)) for path in paths], [read_mapping(str(p)) for p in paths]


@pytest.mark.parametrize("folder", DISTRIBUTIONS)
def test_every_distribution_analyses_clean(folder):
    graph = read_application(str(GRAPH))
    interfaces, findings = inspect(graph)
    assert findings == []
    assert [str(finding) for finding in check(System(graph, *map(tuple, distribution(folder)), interfaces))] == []


@pytest.mark.parametrize("folder", DISTRIBUTIONS)
def test_frames_at_their_full_size_never_leave_the_endpoint(folder):
    graph = read_application(str(GRAPH))
    homes = distribution(folder)[1][0].homes()
    frames = [
        fifo for fifo in graph.fifos if "uint8" in str(graph.actor(fifo.source.actor).port(fifo.source.port).token)
    ]
    assert len(frames) == 2
    assert {homes[end.actor] for fifo in frames for end in (fifo.source, fifo.target)} == {"endpoint"}


def run(folder, *options):
    command = [sys.executable, "-m", "eprune", "run", str(GRAPH), "-m", str(ROOT / "mappings" / folder), "--quiet"]
    for path in sorted((ROOT / "mappings" / folder).glob("*.xml")):
        command += ["-p", str(ROOT / "graphs" / path.name)]
    result = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.long
def test_it_tracks_and_draws_and_where_it_is_cut_changes_nothing(tmp_path):
    lines = run("ssd_mobilenet_local", "--frames", "6", "--set", f"Writer.images={tmp_path}")
    assert [line["frame"] for line in lines] == list(range(6))
    assert lines[-1]["tracks"], "nothing is tracked"
    assert len(list(tmp_path.glob("*.jpg"))) == 6
    assert run("ssd_mobilenet_dw9", "--frames", "6") == lines


# What it finds


@pytest.mark.long
@pytest.mark.parametrize("interpreter", INSTALLED)
def test_detections_on_fresh_scenes_are_about_as_good_as_documented(interpreter):
    network = load(interpreter, MODEL.read_bytes())
    frames = [pair for seed in range(500, 520) for pair in train_ssd.detections(network, seed)]
    average = np.mean([average_precision(frames, kind) for kind in range(4)])
    stated = float(re.search(r"^mAP@0.5 ([0-9.]+) %", TEXT, re.MULTILINE).group(1)) / 100
    assert abs(average - stated) < 0.1


@pytest.mark.long
def test_tracks_on_a_fresh_scene_are_about_as_good_as_documented():
    network = load(INSTALLED[0], MODEL.read_bytes())
    counts = tracking(train_ssd.tracks(network, seed) for seed in (530, 531, 532))
    stated = float(re.search(r"^MOTA ([0-9.]+) %", TEXT, re.MULTILINE).group(1)) / 100
    assert counts.accuracy > stated - 0.2
    assert counts.vehicles > 500


# Training


def test_every_vehicle_that_counts_is_some_anchors_to_find():
    boxes = train_ssd.anchors()
    for seed in range(8):
        truths = train_ssd.TrafficScene(seed).frame(30)[1]
        classes, codes = train_ssd.targets(truths, boxes)
        decoded = decode(codes, boxes)
        for truth in truths:
            mine = np.abs(decoded - truth.box).max(1) < 1e-3
            clear = truth.visible >= train_ssd.LEAST_VISIBLE
            assert (classes[mine] == 1 + truth.kind).any() == clear
        assert (classes == 0).mean() > 0.8


def test_an_empty_road_is_nothing_everywhere():
    classes, _ = train_ssd.targets([], train_ssd.anchors())
    assert not classes.any()


class Weights:
    """As much of a Keras layer as folding looks at."""

    epsilon = 0.25

    def __init__(self, *weights):
        self.weights = [np.float32(values) for values in weights]

    def get_weights(self):
        return self.weights


def test_batch_normalisation_is_folded_into_each_layer():
    class Model:
        def get_layer(self, name):
            if name.endswith("_norm"):  # two channels: gamma, beta, mean, variance
                return Weights([4, 4], [1, 2], [0.5, 1], [0.75, 3.75])
            if name.startswith("dw"):
                return Weights(np.reshape([1, 2], (1, 1, 2, 1)))
            return Weights(np.reshape([1, 2], (1, 1, 1, 2)), *([[7, 8]] if "_" in name else []))

    found = train_ssd.folded(Model())
    assert len(found) == 47
    for kernel, bias in found[:35]:  # convolutions and depthwise ones alike
        assert (1.5 * kernel.reshape(2) + bias == [4 * (1.5 * 1 - 0.5) + 1, 2 * (1.5 * 2 - 1) + 2]).all()
    for kernel, bias in found[35:]:
        assert (kernel.reshape(2).tolist(), bias.tolist()) == ([1, 2], [7, 8])


@pytest.mark.parametrize("interpreter", INSTALLED)
def test_a_written_model_computes_what_its_layers_say(interpreter):
    rng = np.random.default_rng(1)
    weights, before = [], 3
    channels = {}
    for layer in ssd_network.layers():
        shape = (layer.size, layer.size, before, 1 if layer.kind == "depthwise" else layer.channels)
        weights.append((rng.standard_normal(shape) / 5, rng.standard_normal(layer.channels)))
        before = channels[layer.name] = layer.channels
    for head in ssd_network.heads():
        shape = (1, 1, channels[head.tap], head.channels)
        weights.append((rng.standard_normal(shape) / 9, rng.standard_normal(head.channels)))
    data = ssd_network.ssd_model(weights)
    assert data == ssd_network.ssd_model(weights), "the same weights give the same bytes"
    model = parse_model(data)

    def tensors(last, x):
        """The output of operator ``last`` for an input picture."""
        network = load(interpreter, slice_model(model, range(last + 1), outputs=model.operators[last].outputs))
        network.set_tensor(network.get_input_details()[0]["index"], x)
        network.invoke()
        return network.get_tensor(network.get_output_details()[0]["index"])[0]

    x = rng.standard_normal((1, 300, 300, 3)).astype(np.float32)
    first, second, third = (tensors(last, x) for last in range(3))
    (k1, b1), (k2, b2), (k3, b3) = [map(ssd_network.to_bfloat16, pair) for pair in weights[:3]]
    # 300 rows with stride 2 are padded below and to the right only, 150 with stride 1 all around.
    expected = np.einsum("hwi,hwio->o", x[0, 20:23, 40:43], k1) + b1
    assert np.allclose(first[10, 20], np.maximum(expected, 0), atol=1e-4)
    expected = np.einsum("hwc,hwc->c", first[9:12, 19:22], k2[..., 0]) + b2
    assert np.allclose(second[10, 20], np.maximum(expected, 0), atol=1e-4)
    assert np.allclose(third[10, 20], np.maximum(second[10, 20] @ k3[0, 0] + b3, 0), atol=1e-3)


# Evaluation


def truth(x, identity=1, kind=0, visible=1.0):
    return train_ssd.Truth(identity, kind, (0.4, x, 0.6, x + 0.2), visible)


def found(*things):
    """Boxes at x, with class and score or identity."""
    boxes = np.array([(0.4, x, 0.6, x + 0.2) for x, _, _ in things]).reshape(-1, 4)
    return Found(boxes, np.array([k for _, k, _ in things], int), np.array([v for _, _, v in things]))


def test_precision_of_what_is_found_right_is_1():
    assert average_precision([(found((0.1, 0, 0.9), (0.7, 0, 0.2)), [truth(0.1), truth(0.7)])], 0) == 1


@pytest.mark.parametrize(
    ("things", "expected"),
    [
        ([], 0),
        ([(0.1, 0, 0.9)], 0.5),  # one of two
        ([(0.1, 0, 0.9), (0.4, 0, 0.8), (0.7, 0, 0.7)], 0.5 + 0.5 * 2 / 3),  # a false one in between
        ([(0.1, 0, 0.9), (0.1, 0, 0.8), (0.7, 0, 0.7)], 0.5 + 0.5 * 2 / 3),  # one found twice
        ([(0.4, 0, 0.9), (0.1, 0, 0.8), (0.7, 0, 0.7)], 2 / 3),  # the best one is false: monotone precision
        ([(0.1, 1, 0.9), (0.7, 0, 0.7)], 0.5),  # another class does not count
        ([(0.25, 0, 0.9), (0.7, 0, 0.7)], 0.25),  # too far off to be the first one
    ],
)
def test_average_precision_by_hand(things, expected):
    assert average_precision([(found(*things), [truth(0.1), truth(0.7)])], 0) == pytest.approx(expected)


def test_hidden_vehicles_may_be_found_but_need_not():
    hidden = truth(0.7, visible=0.1)
    for things in ([(0.1, 0, 0.5)], [(0.1, 0, 0.5), (0.7, 0, 0.9)]):
        assert average_precision([(found(*things), [truth(0.1), hidden])], 0) == 1
    assert np.isnan(average_precision([(found(), [hidden])], 0))


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ([[(0.1, 0, 5), (0.7, 0, 6)]] * 3, (6, 0, 0, 0, 6)),
        ([[(0.1, 0, 5)]] * 3, (6, 3, 0, 0, 3)),
        ([[(0.1, 0, 5), (0.7, 0, 6), (0.4, 0, 7)]] * 3, (6, 0, 3, 0, 6)),
        ([[(0.1, 0, 5), (0.7, 0, 6)], [(0.1, 0, 6), (0.7, 0, 5)]], (4, 0, 0, 2, 4)),  # they change numbers
        ([[(0.1, 0, 5)], [], [(0.1, 0, 9)]], (6, 4, 0, 1, 2)),  # another number after a gap
        ([[(0.1, 0, 5)], [], [(0.1, 0, 5)]], (6, 4, 0, 0, 2)),
        ([[(0.1, 1, 5), (0.7, 0, 6)]] * 2, (4, 0, 0, 0, 2)),  # a wrong class is found all the same
    ],
)
def test_tracking_counts_by_hand(frames, expected):
    truths = [truth(0.1, identity=1), truth(0.7, identity=2)]
    counts = tracking([[(found(*things), truths) for things in frames]])
    assert tuple(counts) == expected
    assert counts.accuracy == 1 - sum(expected[1:4]) / expected[0]


def test_a_track_keeps_its_vehicle_though_another_one_is_nearer_now():
    truths = [truth(0.10, identity=1)]
    frames = [found((0.12, 0, 5)), found((0.13, 0, 5), (0.10, 0, 6))]
    counts = tracking([[(things, truths) for things in frames]])
    assert (counts.switched, counts.false) == (0, 1)


def test_scenes_are_apart():
    truths = [truth(0.1)]
    assert tracking([[(found((0.1, 0, 1)), truths)], [(found((0.1, 0, 2)), truths)]]).switched == 0
