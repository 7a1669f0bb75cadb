"""`eprune import --into`: a model between actors of one's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eprune.formats.xml.application import read_application
from eprune.runtime.fire.tflite import load
from tests.kit import tiny_models
from tests.kit.tiny_models import ModelBuilder

BEHAVIOURS = """
import os
from eprune.runtime import Actor, EndOfStream

class Ones(Actor):
    def initialize(self):
        self.frames = 0

    def fire(self, inputs, outputs):
        self.frames += 1
        if self.frames > 2:
            raise EndOfStream
        for out in outputs.values():
            out[...] = 1

class Tell(Actor):
    def fire(self, inputs, outputs):
        for token in inputs.values():
            os.write(1, f"{self.name} {float(token.sum())}\\n".encode())  # whole lines, whoever else writes
"""


#: Ends of tiny_models.residual_split: inputs t0 and t1, outputs t12, t10, t2, t1, and t13, which is a constant.
ONES = '<actor name="Ones" class="mine.py:Ones"><out name="out" token="float32[1,4,4,4]"/></actor>'
TELL = '<actor name="Tell{}" class="mine.py:Tell"><in name="in" token="float32[1,4,4,2]"/></actor>'


def fifo(name, source, target, more=""):
    return f'<fifo name="{name}" from="{source}" to="{target}" {more}/>'


#: the same one for programs as for what is compared with them
INTERPRETER = "ai-edge-litert"
TO, FROM = fifo("to", "Ones.out", "Model.t0"), fifo("from", "Model.0", "Tell.in")


@pytest.fixture
def into(tmp_path, monkeypatch, eprune):
    """Import residual_split into an application of these elements, which lies in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    Path("model.tflite").write_bytes(tiny_models.residual_split())
    Path("mine").mkdir()
    Path(".eprune-root").touch()
    Path("mine/mine.py").write_text(BEHAVIOURS)

    def call(*elements, options=()):
        text = "\n".join(['<application name="mine">', *elements, "</application>"])
        Path("mine/app.xml").write_text(text)
        return eprune("import", "model.tflite", "-o", "app", "--into", "mine/app.xml", *options)

    return call


def run(eprune_process):
    done = eprune_process("run", "app/application.xml", "-p", "app", "-m", "app", "-q", "--interpreter", INTERPRETER)
    assert done.code == 0, done.err
    return sorted(done.out.splitlines())


def sums(model):
    """The sum of each output that a model makes of ones."""
    runner = load(INTERPRETER, model)
    for detail in runner.get_input_details():
        runner.set_tensor(detail["index"], np.ones(detail["shape"], np.float32))
    runner.invoke()
    return [float(runner.get_tensor(detail["index"]).sum()) for detail in runner.get_output_details()]


def test_the_model_computes_between_ones_own_actors(into, eprune_process):
    assert into(ONES, TELL.format(""), TO, FROM).code == 0
    graph = read_application("app/application.xml")
    assert graph.name == "mine"
    # Ones feeds the model, so it comes first. What is not named keeps its source and the sink.
    names = [actor.name for actor in graph.actors]
    assert (names[0], names[1], names[-2:]) == ("Ones", "t1", ["Output", "Tell"])
    assert [port.name for port in graph.actor("Output").ports] == ["t10", "t2", "t1"]
    assert graph.actor("Ones").behaviour.file == "../mine/mine.py"
    first = sums(tiny_models.residual_split())[0]
    assert [line for line in run(eprune_process) if line.startswith("Tell")] == [f"Tell {first}"] * 2


def test_where_all_ends_are_named_nothing_of_imports_own_is_left(into, eprune_process):
    Path("model.tflite").write_bytes(tiny_models.conv_pool_dense())
    ones, tell = ONES.replace("4,4,4", "8,8,3"), TELL.format("").replace("4,4,2", "5")
    assert into(ones, tell, fifo("a", "Ones.out", "Model.t0"), fifo("b", "Model.t8", "Tell.in")).code == 0
    classes = [getattr(actor.behaviour, "class_name", "") for actor in read_application("app/application.xml").actors]
    assert [name for name in classes if name] == ["Ones", "Tell"]
    assert run(eprune_process) == ["Tell 1.0", "Tell 1.0"], "probabilities"


def test_an_output_may_go_to_several_actors(into, eprune_process):
    tells = [TELL.format(number) for number in (1, 2, 3)]
    ends = [
        fifo("one", "Model.t12", "Tell1.in"),
        fifo("two", "Model.t12", "Tell2.in"),
        fifo("three", "Model.t10", "Tell3.in"),
    ]
    assert into(ONES, *tells, TO, *ends).code == 0
    first, second = sums(tiny_models.residual_split())[:2]
    told = [line for line in run(eprune_process) if line.startswith("Tell")]
    assert told == [f"Tell1 {first}"] * 2 + [f"Tell2 {first}"] * 2 + [f"Tell3 {second}"] * 2


def test_an_input_that_several_slices_read_leaves_its_actor_through_a_port_for_each(into, eprune, eprune_process):
    m = ModelBuilder()
    image, total = m.tensor((1, 4, 4, 4)), m.tensor((1, 4, 4, 2))
    branches = [m.conv(image, (1, 4, 4, 2), 4) for _ in range(2)]
    m.operator("ADD", branches, [total], "AddOptions")
    Path("model.tflite").write_bytes(m.build([image], [total]))
    assert into(ONES, TELL.format(""), TO.replace("t0", "0"), FROM, options=("--per", "operator")).code == 0
    ones = read_application("app/application.xml").actor("Ones")
    assert [(port.name, str(port.token)) for port in ones.ports] == [
        ("out", "float32[1,4,4,4]"),
        ("out_2", "float32[1,4,4,4]"),
    ]
    assert run(eprune_process) == [f"Tell {sums(m.build([image], [total]))[0]}"] * 2
    # The ports carry the same, and say so: that is what lets the branches be fused.
    eprune("codegen", "app/application.xml", "-p", "app", "-m", "app", "-o", "program.py")
    assert Path("program.py").read_text().count("program.segment(") == 1


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ([ONES], "mine/app.xml:1: error[FILE]: application 'mine' has no FIFO to the model and none from it"),
        (
            [ONES, fifo("f", "Ones.out", "Model.t00")],
            "mine/app.xml:3: error[FILE]: FIFO 'f': the model has no input 't00'",
        ),
        ([ONES, fifo("f", "Ones.out", "Model.t00")], "hint: did you mean Model.t0?"),
        ([ONES, fifo("f", "Ones.out", "Model.7")], "hint: its inputs are 0: t0, 1: t1"),
        (
            [TELL.format(""), fifo("f", "Model.t13", "Tell.in")],
            "output 't13' of the model is fed back, or nothing that",
        ),
        ([fifo("f", "Model.0", "Model.0")], "leads from the model to the model"),
        ([ONES, fifo("f", "Ones.out", "Model.t1")], "mine/app.xml:3: error[G2]"),
        ([ONES, fifo("f", "Ones.outt", "Model.t0")], "mine/app.xml:3: error[G"),
        ([ONES, TO, TO.replace('"to"', '"again"')], "error[G"),
    ],
)
def test_what_does_not_fit_is_told_by_where_it_stands(into, elements, message):
    done = into(*elements)
    assert done.code in (1, 2)
    assert message in done.err
    assert not Path("app").exists()


def test_a_missing_application_is_told(into, eprune):
    done = eprune("import", "model.tflite", "-o", "app", "--into", "nowhere.xml")
    assert done.code == 2
    assert "nowhere.xml: error[FILE]" in done.err


def test_the_application_is_not_overwritten(into, eprune):
    into(ONES, TELL.format(""), TO, FROM)
    text = Path("mine/app.xml").read_text()
    Path("mine/application.xml").write_text(text)
    done = eprune("import", "model.tflite", "-o", "mine", "--into", "mine/application.xml")
    assert done.code == 2
    assert "mine/application.xml would be overwritten" in done.err
    assert Path("mine/application.xml").read_text() == text
