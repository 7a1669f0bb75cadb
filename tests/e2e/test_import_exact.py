"""Imported models, run by the programs that eprune generates, give what the whole model gives: bit for bit."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from eprune.cli.main import cli
from eprune.formats.atomic import write_file
from eprune.formats.model_files import read_model
from eprune.formats.xml.application import read_application
from eprune.formats.xml.mapping import write_mapping
from eprune.formats.xml.platform import write_platform
from eprune.model.mapping import Mapping, Placement
from eprune.model.platform import Link, Platform, Unit
from eprune.passes.import_ import end_names
from eprune.runtime.fire.tflite import INTERPRETERS, load
from tests.kit import tiny_models

SHARED = Path(__file__).parents[3] / "shared" / "models"
FRAMES = 3
REAL = (
    "deeplabv3_257_mv_gpu",
    "feedback_tensor_test_model",
    "keyword",
    "lstm",
    "mobilenet_v1_0.25_128_quant",
    "mobilenet_v2_1.0_224_quant",
    "sample_4x4x4x4x4_two_input_one_output",
    "split_concat",
    "traffic_model",
)
TINY = (
    *("conv_pool_dense", "counter", "float16_weights", "loop", "reshape_like", "residual_split", "sparse_weights"),
    "open_batch",
)
#: How a model is cut, whether slices are fused, and whether they are on two platforms.
WAYS = list(itertools.product(("operator", "layer", "2"), (True, False), (False, True)))


def eprune(*arguments: object) -> str:
    """What a command prints; it must succeed."""
    done = CliRunner().invoke(cli, [str(argument) for argument in arguments], prog_name="eprune")
    assert done.exit_code == 0, done.stderr
    return done.stdout


def random_frames(model):
    """Input -> a stack of values."""
    generator = np.random.default_rng(1)
    stacks = {}
    for index in model.inputs:
        token = model.tensors[index].token
        shape, dtype = (FRAMES, *token.shape), np.dtype(token.dtype)
        if dtype.kind == "f":
            stacks[index] = generator.standard_normal(shape).astype(dtype)
        else:
            limits = np.iinfo(dtype)
            stacks[index] = generator.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    return stacks


def whole(interpreter, model, stacks, feedback=(), first=None):
    """What an interpreter on the whole model makes of the frames: output position -> stack. ``first``: if not zeros."""
    runner = load(interpreter, model.data)
    inputs = {index: detail["index"] for index, detail in zip(model.inputs, runner.get_input_details())}
    results = []
    for frame in range(len(next(iter(stacks.values())))):
        for index, stack in stacks.items():
            runner.set_tensor(inputs[index], stack[frame])
        for output, given in feedback:
            begin = np.zeros_like(runner.get_tensor(inputs[model.inputs[given]])) if first is None else first
            state = results[-1][output] if results else begin
            runner.set_tensor(inputs[model.inputs[given]], state)
        runner.invoke()
        results.append([runner.get_tensor(detail["index"]) for detail in runner.get_output_details()])
    return [np.stack(frames) for frames in zip(*results)]


def run(folder, interpreter, fuse=True, split=False):
    """Run an imported application on the files in ``folder/inputs``; its outputs go to ``folder/outputs``."""
    application = folder / "application.xml"
    platforms = mappings = folder
    if split:
        platforms = mappings = folder / "split"
        write_split(application, platforms)
    inputs = [
        f"--set={path.stem}.path={path}"
        for path in (folder / "inputs").glob("*.npy")
        if is_source(application, path.stem)
    ]
    options = [*inputs, f"--set=Output.path={folder / 'outputs'}", f"--interpreter={interpreter}"]
    eprune("run", application, "-p", platforms, "-m", mappings, *options, "--fuse" if fuse else "--no-fuse")


def is_source(application, name):
    return read_application(str(application)).actor(name) is not None


def write_split(application, folder):
    """Two platforms: sources and the first half of the slices on one, the rest on the other."""
    graph = read_application(str(application))
    half = len(graph.actors) // 2
    homes = {actor.name: "one" if place < half else "two" for place, actor in enumerate(graph.actors)}
    for here, other in (("one", "two"), ("two", "one")):
        placements = [
            Placement(name, **({"unit": "cpu"} if home == here else {"platform": home})) for name, home in homes.items()
        ]
        mapping = Mapping(graph.name, here, tuple(placements))
        write_file(str(folder / f"{here}.xml"), write_platform(Platform(here, (Unit("cpu"),), (Link(other),))))
        write_file(str(folder / f"{here}_mapping.xml"), write_mapping(mapping))


def assert_exact(path, folder, interpreter, per, fuse, split):
    model = read_model(str(path))
    stacks = random_frames(model)
    eprune("import", path, "-o", folder, "--per", per)
    (folder / "inputs").mkdir()
    for name, stack in zip(end_names(model, model.inputs), stacks.values()):
        np.save(folder / "inputs" / f"{name}.npy", stack)
    run(folder, interpreter, fuse, split)

    variable = [index for index in model.outputs if not model.tensors[index].constant]
    expected = [
        stack
        for index, stack in zip(model.outputs, whole(interpreter, model, stacks))
        if not model.tensors[index].constant
    ]
    for name, stack in zip(end_names(model, variable), expected):
        actual = np.load(folder / "outputs" / f"{name}.npy")
        assert (actual.dtype, actual.shape) == (stack.dtype, stack.shape), name
        assert actual.tobytes() == stack.tobytes(), f"output {name} differs"


def real(name):
    path = SHARED / f"{name}.tflite"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    return path


def some_ways():
    """Each model, with one interpreter and then the other, each time cut and run in another way.

    All ways come up, in the long tests with both interpreters.
    """
    cases = [(name, interpreter) for name in REAL for interpreter in INTERPRETERS]
    quick = {(name, list(INTERPRETERS)[place % len(INTERPRETERS)]) for place, name in enumerate(REAL)}
    return [
        pytest.param(*case, *WAYS[5 * place % len(WAYS)], marks=[] if case in quick else [pytest.mark.long])
        for place, case in enumerate(cases)
    ]


@pytest.mark.parametrize(("name", "interpreter", "per", "fuse", "split"), some_ways())
def test_an_imported_model_is_exact(tmp_path, name, interpreter, per, fuse, split):
    assert_exact(real(name), tmp_path / "app", interpreter, per, fuse, split)


@pytest.mark.long
@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("interpreter", INTERPRETERS)
@pytest.mark.parametrize(("per", "fuse", "split"), WAYS)
def test_an_imported_model_is_exact_in_every_way(tmp_path, name, interpreter, per, fuse, split):
    assert_exact(real(name), tmp_path / "app", interpreter, per, fuse, split)


@pytest.mark.parametrize(("place", "name"), list(enumerate(TINY)))
def test_what_is_hard_to_cut_is_exact_too(tmp_path, place, name):
    (tmp_path / "m.tflite").write_bytes(getattr(tiny_models, name)())
    per, fuse, split = ("operator", place % 2 == 0, place % 3 == 0)
    assert_exact(tmp_path / "m.tflite", tmp_path / "app", "ai-edge-litert", per, fuse, split)


@pytest.mark.parametrize(("fuse", "split"), [(True, False), (False, False), (True, True)])
def test_a_state_that_goes_round_several_slices_is_exact_fused_and_not(tmp_path, fuse, split):
    (tmp_path / "m.tflite").write_bytes(tiny_models.recurrent())
    folder = tmp_path / "app"
    eprune("import", tmp_path / "m.tflite", "-o", folder, "--per", "operator", "--feedback", "1:1")
    first = np.random.default_rng(5).standard_normal((1, 1, 4)).astype(np.float32)
    np.save(folder / "first.npy", first)
    application = folder / "application.xml"
    application.write_text(application.read_text().replace('delay="1"', 'delay="1" initial="first.npy"'))
    model = read_model(str(tmp_path / "m.tflite"))
    frames = {model.inputs[0]: random_frames(model)[model.inputs[0]]}
    (folder / "inputs").mkdir()
    np.save(folder / "inputs" / "t0.npy", frames[model.inputs[0]])
    run(folder, "ai-edge-litert", fuse, split)

    outputs = np.load(folder / "outputs" / f"{end_names(model, model.outputs)[0]}.npy")
    (expected, _), (forgetful, _) = (
        whole("ai-edge-litert", model, frames, [(1, 1)], start) for start in (first[0], np.zeros((1, 4), np.float32))
    )
    assert outputs.tobytes() == expected.tobytes()
    assert (expected != forgetful).any(axis=(1, 2)).all(), "the first state makes a difference in every frame"


def test_a_loop_over_all_slices_of_a_unit_is_one_segment(tmp_path):
    (tmp_path / "m.tflite").write_bytes(tiny_models.recurrent())
    eprune("import", tmp_path / "m.tflite", "-o", tmp_path, "--per", "operator", "--feedback", "1:1")
    files = ["-p", tmp_path / "platform.xml", "-m", tmp_path / "mapping.xml", "-o", tmp_path / "program.py"]
    eprune("codegen", tmp_path / "application.xml", *files)
    assert (tmp_path / "program.py").read_text().count("program.segment(") == 1


@pytest.mark.parametrize("split", [pytest.param(False, marks=pytest.mark.long), True])
@pytest.mark.parametrize("interpreter", INTERPRETERS)
def test_a_detector_with_its_state_fed_back_on_real_frames(tmp_path, interpreter, split):
    from PIL import Image

    path = real("traffic_model")
    images = sorted((SHARED / "traffic").glob("*.*"))
    frames = np.stack([np.asarray(Image.open(image).convert("RGB").resize((256, 256)))[None] for image in images])
    assert len(frames) == 3
    model = read_model(str(path))
    folder = tmp_path / "app"
    names = end_names(model, model.inputs)
    feedback = ["raw_outputs/lstm_c:raw_inputs/init_lstm_c", "5:2"]
    eprune("import", path, "-o", folder, "--per", "5", "--feedback", *feedback)
    (folder / "inputs").mkdir()
    np.save(folder / "inputs" / f"{names[0]}.npy", frames)
    run(folder, interpreter, split=split)

    expected = whole(interpreter, model, {model.inputs[0]: frames}, feedback=[(4, 1), (5, 2)])
    for position, name in enumerate(end_names(model, model.outputs[:4])):
        assert np.load(folder / "outputs" / f"{name}.npy").tobytes() == expected[position].tobytes(), name
    scores = np.load(folder / "outputs" / f"{end_names(model, model.outputs)[2]}.npy")
    assert scores.max() > 0.4, "nothing was seen on the street"
