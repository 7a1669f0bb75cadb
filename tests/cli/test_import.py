"""`eprune import`: what it writes and lists, and what it refuses."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

from tests.kit import tiny_models

SHARED = Path(__file__).parents[3] / "shared" / "models"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with small models."""
    monkeypatch.chdir(tmp_path)
    for name in ("conv_pool_dense", "residual_split", "open_batch", "counter"):
        (tmp_path / f"{name}.tflite").write_bytes(getattr(tiny_models, name)())
    return tmp_path


def test_an_import_analyzes_clean_and_runs(folder, eprune, eprune_process):
    done = eprune("import", "conv_pool_dense.tflite", "-o", "app")
    assert (done.code, done.out) == (0, "")
    assert done.err == (
        "app/application.xml: 5 actors (3 of the model), 4 FIFOs\nnext: eprune run app/application.xml -p app -m app\n"
    )
    assert sorted(path.name for path in (folder / "app").iterdir()) == [
        "application.xml",
        "conv_pool_dense.tflite",
        "import.json",
        "mapping.xml",
        "platform.xml",
    ]
    assert eprune("analyze", "app/application.xml", "-p", "app", "-m", "app", "--strict").code == 0
    ran = eprune_process("run", "app/application.xml", "-p", "app", "-m", "app", "--frames", "2")
    lines = [json.loads(line) for line in ran.out.splitlines()]
    assert [line["frame"] for line in lines] == [0, 1]
    assert all(0 <= line["t8"]["min"] <= line["t8"]["max"] <= 1 for line in lines), "probabilities"


def test_inputs_come_from_files_and_outputs_go_to_files(folder, eprune, eprune_process):
    eprune("import", "conv_pool_dense.tflite", "-o", "app", "--per", "1")
    np.save("images.npy", np.zeros((3, 8, 8, 3), np.float32))
    settings = ("--set", "t0.path=images.npy", "--set", "Output.path=results")
    ran = eprune_process("run", "app/application.xml", "-p", "app", "-m", "app", *settings)
    assert (ran.code, ran.out) == (0, "")
    scores = np.load("results/t8.npy")
    assert scores.shape == (3, 1, 5)
    assert (scores[0] == scores[2]).all()


def test_a_model_that_lies_where_it_belongs_is_left_alone(folder, eprune):
    before = (folder / "counter.tflite").stat().st_mtime_ns
    assert eprune("import", "counter.tflite", "-o", ".").code == 0
    assert (folder / "counter.tflite").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("options", "slices"),
    [
        (["--per", "operator"], ["0", "1", "2", "3"]),
        (["--per", "layer"], ["0", "1", "2-3"]),
        (["--per", "2"], ["0", "1-3"]),
        (["--cut", "1"], ["0-1", "2-3"]),
        (["--cut", "conv2d_0", "fully_connected_2"], ["0", "1-2", "3"]),
    ],
)
def test_granularities(folder, eprune, options, slices):
    assert eprune("import", "conv_pool_dense.tflite", "-o", "app", *options).code == 0
    text = (folder / "app/application.xml").read_text()
    assert [line.split('"')[5] for line in text.splitlines() if "operators=" in line] == slices


def test_the_list_shows_where_a_cut_is_possible_and_what_it_sends(folder, eprune):
    done = eprune("import", "residual_split.tflite", "--list")
    assert done.code == 0
    lines = [line.split() for line in done.out.splitlines()]
    assert lines[0] == ["index", "name", "output", "bytes", "MACs", "weights", "cut", "sends", "no", "cut,", "because"]
    # Sent behind operator 0: its result, which is an output as well, and the second input, which is passed through.
    assert lines[1] == ["0", "conv2d_0", "float32[1,4,4,4]", "256", "2304", "592", "264"]
    assert lines[4] == ["3", "split_3", "float32[1,4,4,2]", "x2", "256", "0", "4", "520"]
    assert done.out.splitlines()[5].endswith("  -          it is the last that computes anything")


def test_the_list_as_json(folder, eprune):
    told = json.loads(eprune("import", "counter.tflite", "--list", "--format", "json").out)
    assert [end["token"] for end in told["inputs"] + told["outputs"]] == ["float32[4]", "float32[4]"]
    assert [row["cut_bytes"] for row in told["operators"]] == [None, 16, None, None, None, 16, None]
    assert told["operators"][1]["name"] == "mul_1"
    reasons = [row["why_not"] for row in told["operators"]]
    prepares = "it only prepares weights or shapes or state, and goes with whoever needs them"
    shares = "operators 3, 5 share variable 'sum'"
    assert reasons == [prepares, None, prepares, shares, shares, None, "it is the last that computes anything"]


def test_an_import_told_as_json(folder, eprune):
    told = json.loads(eprune("import", "counter.tflite", "-o", "app", "--format", "json").out)
    assert told == {
        "model": "app/counter.tflite",
        "platform": "app/platform.xml",
        "mapping": "app/mapping.xml",
        "application": "app/application.xml",
        "actors": 5,
        "slices": 3,
        "fifos": 4,
    }


def test_shapes_that_the_file_leaves_open_are_asked_of_an_interpreter(folder, eprune):
    assert eprune("import", "open_batch.tflite", "-o", "app", "--per", "operator").code == 0
    text = (folder / "app/application.xml").read_text()
    assert 'name="reshape_4"' in text and 'token="float32[1,2048]"' in text
    assert eprune("analyze", "app/application.xml").code == 0


def test_results_without_a_shape_are_asked_of_an_interpreter_whoever_writes_them(folder, eprune):
    """Files of the older converter: an empty shape is a scalar, or nothing at all."""
    m = tiny_models.ModelBuilder()
    source, between, total, out = m.tensor((1, 4)), m.tensor(()), m.tensor(()), m.tensor(())
    m.operator("NEG", [source], [between], "NegOptions")
    m.operator("SUM", [between, m.constant(np.array([0, 1], np.int32))], [total], "ReducerOptions")
    m.operator("ADD", [between, total], [out], "AddOptions")
    (folder / "old.tflite").write_bytes(m.build([source], [out]))
    assert eprune("import", "old.tflite", "-o", "app", "--per", "operator").code == 0
    text = (folder / "app/application.xml").read_text()
    assert '<in name="t3" token="float32[1,4]"/>' in text
    assert "equal, bit for bit" in eprune("verify", "app/application.xml", "--model", "old.tflite").out


def test_an_output_that_is_a_constant_is_left_out_with_a_note(folder, eprune):
    done = eprune("import", "residual_split.tflite", "-o", "app")
    assert done.code == 0
    assert "is a constant of the model, and left out" in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "app", "--cut", "conv2d_1"], "has no operator 'conv2d_1' to cut after"),
        (["-o", "app", "--cut", "conv2d_1"], "hint: did you mean 'conv2d_0'?"),
        (["-o", "app", "--per", "9"], "cannot be cut into 9 actors: it has 4 operators in 4 pieces"),
        (["-o", "app", "--per", "layers"], "'layers' is neither 'operator' nor 'layer' nor a number of actors"),
        (["-o", "app", "--per", "0"], "'0' is neither"),
        (["-o", "app", "--per", "2", "--cut", "1"], "give one of them"),
        ([], 'give the folder to write with "-o DIR", or --list'),
        (["-o", "app", "--feedback", "t8:t1"], "the model has no input 't1'"),
    ],
)
def test_what_cannot_be_is_one_clear_message(folder, eprune, arguments, message):
    done = eprune("import", "conv_pool_dense.tflite", *arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert not (folder / "app").exists()


@pytest.mark.parametrize(("name", "message"), [("missing.tflite", "cannot be read"), (".", "cannot be read")])
def test_files_that_are_not_there(folder, eprune, name, message):
    done = eprune("import", name, "-o", "app")
    assert done.code == 2
    assert message in done.err


def test_a_model_that_interpreters_refuse_is_refused_with_their_reason(folder, eprune):
    model = SHARED / "invalid_invoke.tflite"
    if not model.is_file():
        pytest.skip(f"{model} is not there")
    done = eprune("import", str(model), "-o", "app")
    assert done.code == 2
    assert "invalid_invoke.tflite: error[FILE]: refused by " in done.err
    assert "unresolved custom op: fake-op-double" in done.err
    assert not (folder / "app").exists()


def test_broken_models_are_refused_or_imported_but_never_crash(folder, eprune):
    data = (folder / "conv_pool_dense.tflite").read_bytes()
    chooser = random.Random(5)
    codes = set()
    for cut in (0, 7, 100, len(data) // 2, len(data) - 4):
        Path("broken.tflite").write_bytes(data[:cut])
        codes.add(eprune("import", "broken.tflite", "-o", "app").code)
    assert codes == {2}
    for _ in range(8):
        broken = bytearray(data)
        for _ in range(3):
            broken[chooser.randrange(len(data))] ^= 1 << chooser.randrange(8)
        Path("broken.tflite").write_bytes(broken)
        codes.add(eprune("import", "broken.tflite", "-o", "app").code)
    assert codes == {0, 2}
