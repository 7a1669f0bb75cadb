"""A kind of behaviour is one class: written in XML, checked, drawn, compiled and run without a word anywhere else."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import pytest

from eprune.analysis.check import check
from eprune.codegen.digest import digest
from eprune.deploy.build import hashes_of, programs_of, write_program
from eprune.formats.dot import write_dot
from eprune.formats.library import find
from eprune.formats.system import read_system, write_system
from eprune.formats.xml.schema import schema_text
from eprune.measure.executor import Executor
from eprune.model.behaviour import Behaviour, Declaration, File, Json, Reader
from eprune.model.finding import EpruneError
from eprune.model.graph import Actor
from eprune.model.interface import Interface
from eprune.model.token import TokenType
from eprune.passes import relocate
from eprune.views.application import as_data
from tests.kit.programs import finish, start

APPLICATION = """<application name="toy">
  <actor name="In" class="count.py:Count"><out name="out" token="float32[1,2]"/></actor>
  <actor name="Scale" factor="3" table="table.txt">
    <in name="in" token="float32[1,2]"/><out name="out" token="float32[1,2]"/>
  </actor>
  <actor name="Out" class="tensor_sink.py:TensorSink"><in name="in" token="float32[1,2]"/></actor>
  <fifo name="f1" from="In.out" to="Scale.in"/>
  <fifo name="f2" from="Scale.out" to="Out.in"/>
</application>
"""
PLATFORM = '<platform name="host"><unit name="cpu"/></platform>\n'
MAPPING = (
    '<mapping application="toy" platform="host">'
    + "".join(f'<map actor="{name}" unit="cpu"/>' for name in ("In", "Scale", "Out"))
    + "</mapping>\n"
)
COUNT = """
from eprune.runtime import Actor, EndOfStream

class Count(Actor):
    frame = 0

    def fire(self, inputs, outputs):
        if self.frame == 2:
            raise EndOfStream
        self.frame += 1
        outputs["out"][...] = self.frame

class Scale(Actor):
    def __init__(self, factor):
        self.factor = float(factor)

    def fire(self, inputs, outputs):
        outputs["out"][...] = self.factor * inputs["in"]
"""


@pytest.fixture(autouse=True)
def toy():
    """The toy kind: an actor that multiplies by a factor, run by a Python class of count.py."""

    @dataclass(frozen=True)
    class Factor(Behaviour):
        attribute: ClassVar[str] = "factor"
        schema: ClassVar[str] = (
            '<attribute name="factor"><ref name="count"/></attribute>'
            '<attribute name="table"><ref name="file"/></attribute>'
        )

        file: str
        factor: int
        path: str = field(default="", compare=False)

        @classmethod
        def read(cls, attributes: Mapping[str, str], locate: Callable[[str, bool], str]) -> Factor:
            return cls(attributes["table"], int(attributes["factor"]), locate(attributes["table"], False))

        def attributes(self) -> dict[str, str]:
            return {"factor": str(self.factor), "table": self.file}

        @property
        def label(self) -> str:
            return f"times {self.factor}"

        @property
        def owner(self) -> str:
            return f"factor {self.factor}"

        def identity(self, hashes: Mapping[str, str]) -> Json:
            return ["factor", self.factor, hashes.get(self.path, self.file)]

        def renamed(self, name: Callable[[str], str]) -> Factor:
            return replace(self, file=name(self.file))

        def interface(self, actor: Actor, reader: Reader) -> Interface:
            reader(lambda path: Path(path).read_text(), self.path)
            token = TokenType("float32", (1, 2))
            return Interface(inputs={"in": token}, outputs={"out": token})

        def declare(self, actor: Actor, interface: Interface) -> Declaration:
            source = File(str(Path(self.path).with_name("count.py")), ":Scale")
            return Declaration("actor", source, (("parameters", {"factor": str(self.factor)}),))

    yield Factor
    del Behaviour.kinds["factor"]


@pytest.fixture
def system(tmp_path):
    texts = {"app.xml": APPLICATION, "platform.xml": PLATFORM, "mapping.xml": MAPPING, "count.py": COUNT}
    for name, text in {**texts, "table.txt": "a"}.items():
        (tmp_path / name).write_text(text)
    paths = [str(tmp_path / name) for name in ("app.xml", "platform.xml", "mapping.xml")]
    return read_system(paths[0], paths[1:2], paths[2:])


def test_it_is_read_checked_shown_and_drawn(system):
    assert check(system) == []
    assert as_data(system)["actors"][1]["behaviour"] == "times 3"
    assert "times 3" in write_dot(system.graph)
    assert 'name="factor"' in schema_text("application")


def test_an_actor_has_one_behaviour(system, tmp_path):
    (tmp_path / "app.xml").write_text(APPLICATION.replace('factor="3"', 'factor="3" class="count.py:Count"'))
    with pytest.raises(EpruneError, match="'Scale': has two behaviours: class and factor"):
        read_system(str(tmp_path / "app.xml"))


def test_its_ports_are_compared_with_what_it_says(system, tmp_path):
    (tmp_path / "app.xml").write_text(APPLICATION.replace('<out name="out" token="float32[1,2]"/>', ""))
    wrong = read_system(str(tmp_path / "app.xml"))
    assert any("of its factor 3" in finding.message for finding in check(wrong))


def test_it_is_written_and_moves_with_its_files(system, tmp_path):
    (tmp_path / ".eprune-root").touch()
    moved = relocate.apply(system, relocate.Options(str(tmp_path / "deep"))).system
    again = read_system(write_system(moved, str(tmp_path / "deep")).application)
    assert again.graph.actors[1].behaviour.attributes() == {"factor": "3", "table": "../table.txt"}
    assert check(again) == []


def test_the_digest_knows_it_and_its_files(system, tmp_path):
    before = digest(system, hashes_of(system))
    (tmp_path / "table.txt").write_text("b")
    assert digest(system, hashes_of(system)) != before


def test_it_runs_as_a_program_and_in_the_executor(system, tmp_path):
    (program,) = programs_of(system)
    write_program(program, str(tmp_path / "host.py"))
    code, out, err = finish(start(tmp_path / "host.py"))
    assert (code, err) == (0, "")
    assert [json.loads(line)["in"]["max"] for line in out.splitlines()] == [3.0, 6.0]
    with Executor(program) as executor:
        frames = [firings[1].outputs["out"].tolist() for firings in executor.run(9)]
    assert frames == [[[3.0, 3.0]], [[6.0, 6.0]]]


def test_without_it_the_file_is_refused(toy, tmp_path):
    del Behaviour.kinds["factor"]
    try:
        (tmp_path / "app.xml").write_text(APPLICATION)
        with pytest.raises(EpruneError, match="unknown attribute 'factor'"):
            read_system(str(tmp_path / "app.xml"))
    finally:
        Behaviour.kinds["factor"] = toy
    assert find("", "tensor_sink.py", True).endswith("tensor_sink.py")
