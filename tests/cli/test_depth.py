"""`eprune apply depth`: blocks of a network that a frame does not need are left out."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from eprune.analysis.check import check
from eprune.face import load
from eprune.formats.model_files import parse_model, read_model
from eprune.formats.models.flow import flow
from eprune.formats.models.quantization import Quantization
from eprune.formats.models.slices import slice_model
from eprune.formats.tflite.blocks import residual_blocks
from eprune.formats.tflite.head import gate_model, pooled
from eprune.measure.answers import SystemAnswers, alone, on_disk
from eprune.measure.data import read_data
from eprune.measure.evaluate import evaluate
from eprune.measure.stated import stated
from eprune.model.finding import errors
from eprune.model.graph import Graph
from eprune.model.system import System
from eprune.model.token import parse_token
from eprune.passes import depth, import_
from eprune.runtime.fire.tflite import choose
from eprune.runtime.fire.tflite import load as interpreter
from tests.kit import pages, tiny_models
from tests.kit.programs import ROOT
from tests.kit.vehicles import write

SKIPPING = ROOT / "graphs/vehicle_skipping.tflite"
MOBILENET = ROOT.parent / "shared/models/mobilenet_v2_1.0_224_quant.tflite"


@pytest.fixture(scope="module")
def vehicles(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "vehicles.npz"
    write(path, 120)
    return str(path)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "residual.tflite").write_bytes(tiny_models.residual_blocks())
    (tmp_path / "plain.tflite").write_bytes(tiny_models.two_convolutions())
    random = np.random.default_rng(1)
    np.savez("pictures.npz", x=random.normal(size=(40, 8, 8, 3)).astype(np.float32))
    return tmp_path


def run(data, *values):
    """What a model gives for its inputs, in their order."""
    model = interpreter(choose(), data)
    for detail, value in zip(model.get_input_details(), values):
        model.set_tensor(detail["index"], value)
    model.invoke()
    return [model.get_tensor(detail["index"]) for detail in model.get_output_details()]


def imported(path):
    found = stated(str(path))
    given = import_.Options(found.model, found.types, "operator", file=found.file)
    return import_.apply(System(Graph("residual")), given).system


def test_blocks_are_found_where_only_the_sum_leads_out():
    model = parse_model(tiny_models.residual_blocks())
    found = residual_blocks(model, flow(model))
    assert [block.operators for block in found] == [(1, 2, 3), (4, 5, 6), (7, 8, 9)]
    # A result of the first convolution is an output of the model, but x is no part of the block.
    model = parse_model(tiny_models.residual_split())
    assert [block.operators for block in residual_blocks(model, flow(model))] == [(1, 2)]


def test_what_is_read_elsewhere_or_made_of_something_else_is_no_block():
    m = tiny_models.ModelBuilder()
    a, b = m.tensor((1, 4, 4, 4)), m.tensor((1, 4, 4, 4))
    inner = m.conv(a, (1, 4, 4, 4), 4)
    total, both, twice, doubled = (m.tensor((1, 4, 4, 4)) for _ in range(4))
    m.operator("ADD", [a, inner], [total], "AddOptions")
    m.operator("ADD", [total, b], [both], "AddOptions")
    m.operator("MUL", [inner, both], [twice], "MulOptions")
    m.operator("ADD", [twice, twice], [doubled], "AddOptions")
    model = parse_model(m.build([a, b], [doubled]))
    assert residual_blocks(model, flow(model)) == []


@pytest.mark.parametrize("mask", range(8))
def test_a_network_without_some_blocks_computes_what_its_slices_do(folder, mask):
    path = folder / "residual.tflite"
    system, model = imported(path), read_model(str(path))
    never, always = 2.0, 0.0
    token = parse_token("float32[1,8,8,4]")
    blank = gate_model(token, (4, 4), np.zeros((1, 16), np.float32), np.zeros(1, np.float32))
    gates = tuple(
        depth.Gate(block.name, blank, 3, always if mask >> k & 1 else never)
        for k, block in enumerate(depth.blocks(system))
    )
    made = depth.apply(system, depth.Options("", made=gates)).system
    assert len(made.graph.dpgs) == 3
    picture = np.random.default_rng(mask).normal(size=(1, 8, 8, 3)).astype(np.float32)
    with on_disk(made) as stored:
        assert errors(check(stored)) == []
        with SystemAnswers(stored) as answers:
            got = answers.frame(picture).answer
    (x,) = run(slice_model(model, [0]), picture)
    for k in range(3):
        if mask >> k & 1:
            (x,) = run(slice_model(model, range(3 * k + 1, 3 * k + 4)), x)
    (wanted,) = run(slice_model(model, [10, 11]), x)
    assert got.tobytes() == wanted.tobytes()
    if mask == 7:
        assert got.tobytes() == run(path.read_bytes(), picture)[0].tobytes()


@pytest.mark.parametrize("quantized", [None, Quantization(0.05, 128)])
def test_a_gate_is_a_logistic_regression_of_pooled_features(quantized):
    random = np.random.default_rng(1)
    token = parse_token("uint8[1,6,6,4]" if quantized else "float32[1,6,6,4]")
    weights = random.normal(size=16).astype(np.float32)
    x = random.integers(0, 256, token.shape) if quantized else random.normal(size=token.shape)
    x = x.astype(token.dtype)
    (score,) = run(gate_model(token, (3, 3), weights[None], np.float32([0.3]), quantized), x)
    values = pooled(x, (3, 3), quantized)
    tolerance = 0.05 if quantized else 1e-6  # the pool of integers rounds
    assert score.shape == (1, 1)
    assert float(score[0, 0]) == pytest.approx(1 / (1 + np.exp(-(values @ weights + 0.3))), abs=tolerance)


def told(eprune, *more):
    done = eprune("apply", "depth", *more, "-o", "made", "--format", "json")
    assert done.code == 0, done.err
    return json.loads(done.out)


@pytest.mark.long
def test_what_is_evaluated_is_what_was_foretold(folder, eprune, vehicles):
    figures = told(eprune, str(SKIPPING), "--data", vehicles, "--wish", "accuracy=0.95", "--blocks", "2")
    assert 0 < figures["saved"] <= figures["removed"]["saved"] + 1e-9 < 1
    assert len(figures["blocks"]) <= 2
    system = load("made/application.xml", "made/platform.xml", "made/mapping.xml")
    assert errors(check(system)) == []
    found = evaluate(system, read_data(vehicles))
    assert found.share.of == figures["pictures"]
    assert found.share.value == pytest.approx(figures["accuracy"]["value"])


def test_blocks_can_be_named_and_programs_run_them(folder, eprune):
    figures = told(eprune, "residual.tflite", "--data", "pictures.npz", "--wish", "agreement=0.2", "--at", "add_6")
    assert [each["block"] for each in figures["blocks"]] == ["add_6"]
    np.save("tokens.npy", np.load("pictures.npz")["x"][:10, None])
    given = ("-p", "made/platform.xml", "-m", "made/mapping.xml", "--allow-outside", "--set", "t0.path=tokens.npy")
    done = eprune("run", "made/application.xml", *given, "--set", "Output.path=got")
    assert done.code == 0, done.err
    system = load("made/application.xml", "made/platform.xml", "made/mapping.xml")
    (got,) = folder.joinpath("got").glob("*.npy")
    with SystemAnswers(alone(system)) as answers:
        wanted = [answers.frame(picture[0][None]).answer for picture in np.load("tokens.npy")]
    assert np.load(got).tobytes() == np.stack(wanted).tobytes()


@pytest.mark.long
def test_a_quantised_block_is_bypassed_in_the_scale_of_its_sum():
    if not MOBILENET.exists():
        pytest.skip(f"{MOBILENET} is not there")
    system = imported(MOBILENET)
    found = depth.blocks(system)
    assert len(found) == 10
    block = found[0]
    assert block.quantized[0] != block.quantized[1]
    token = dict(system.graph.ports())[next(f.source for f in system.graph.fifos if f.name == block.into[0])].token
    blank = gate_model(
        token, None, np.zeros((1, int(np.prod(token.shape))), np.float32), np.zeros(1, np.float32), block.quantized[0]
    )
    made = depth.apply(system, depth.Options("", made=(depth.Gate(block.name, blank, 3, 2.0),))).system
    seen = {}
    with on_disk(alone(made)) as stored:
        observe = lambda firing: seen.update({firing.node: dict(firing.outputs)})  # noqa: E731
        with SystemAnswers(stored, fused=False, observe=observe) as answers:
            answers.frame(np.random.default_rng(1).integers(0, 256, answers.token.shape).astype(np.uint8))
    x, y = next(iter(seen["Gate1"].values())), next(iter(seen["Join1"].values()))
    real = [(each.astype(float) - q.zero_point) * q.scale for each, q in zip((x, y), block.quantized)]
    inside = np.abs(real[0]) < 100 * block.quantized[1].scale
    assert np.abs(real[0] - real[1])[inside].max() <= block.quantized[1].scale / 2 + 1e-6


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (("residual.tflite", "--wish", "accuracy=0.9"), 2, "has no labels"),
        (("residual.tflite", "--wish", "bytes=3KiB"), 2, "expected accuracy=0.97 or agreement=0.98"),
        (("residual.tflite", "--at", "softmax_11"), 2, "there are add_3, add_6, add_9"),
        (("residual.tflite", "--blocks", "7"), 2, "are 1 to 6"),
        (("residual.tflite", "--frames", "0"), 2, "1 or more"),
        (("plain.tflite",), 2, "no residual block"),
        (("residual.tflite", "--data", "none.npz"), 2, "is no file"),
    ],
)
def test_what_cannot_be_is_said_in_one_message(folder, eprune, more, code, words):
    done = eprune("apply", "depth", more[0], "--data", "pictures.npz", *more[1:], "-o", "made")
    assert (done.code, "Traceback" in done.err) == (code, False), done.err
    assert words in done.err
    assert not (folder / "made").exists()


def test_blocks_over_two_platforms_send_nothing_where_they_are_bypassed(folder):
    system = imported(folder / "residual.tflite")
    homes = {actor.name: "a" for actor in system.graph.actors}
    block = depth.blocks(system)[1]
    homes.update(dict.fromkeys(block.actors, "b"))
    from eprune.explore.space import mapping
    from eprune.model.platform import Link, Platform, Unit

    platforms = tuple(Platform(a, (Unit("cpu"),), (Link(b, port=5100),)) for a, b in (("a", "b"), ("b", "a")))
    mappings = tuple(mapping(system.graph, each, homes) for each in platforms)
    system = replace(system, platforms=platforms, mappings=mappings)
    blank = gate_model(parse_token("float32[1,8,8,4]"), (4, 4), np.zeros((1, 16), np.float32), np.zeros(1, np.float32))
    sent = []
    for threshold in (0.0, 2.0):
        made = depth.apply(system, depth.Options("", made=(depth.Gate(block.name, blank, 3, threshold),))).system
        with on_disk(made) as stored:
            assert errors(check(stored)) == []
            with SystemAnswers(stored) as answers:
                sent.append(answers.frame(np.ones((1, 8, 8, 3), np.float32)).nbytes)
    assert sent[0] == {("a", "b"): 1024 + 4, ("b", "a"): 1024}
    assert sent[1] == {("a", "b"): 4}


@pytest.mark.long
def test_the_session_of_the_page_is_real(tmp_path, vehicles):
    for name in ("graphs", "mappings", "actors"):
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copy(vehicles, tmp_path / "vehicles.npz")
    assert pages.differing(ROOT / "docs/how-to/depth.md", tmp_path) == (2, [])
