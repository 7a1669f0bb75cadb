"""What an application may touch: its own folder and what ships with eprune, and nothing else."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from eprune.deploy.build import programs_of, write_bundle, write_program
from eprune.formats.library import library_classes
from eprune.formats.outline import outline
from eprune.formats.python_source import PythonSource, literal
from eprune.formats.system import read_system
from eprune.measure.executor import Executor
from eprune.model.finding import EpruneError, errors
from eprune.passes import relocate
from eprune.views.touched import as_data
from tests.kit import tiny_models

CLASS = "from eprune.runtime import Actor\n\nclass Mine(Actor):\n    def fire(self, inputs, outputs):\n        pass\n"
SOURCE = 'class="tensor_source.py:TensorSource"'
SINK = 'class="json_lines.py:JsonLines"'


def application(source=SOURCE, sink=SINK, given=(), taken=(), fifo=""):
    """A source and a sink, with these parameters (name, value), as text."""
    sets = ["".join(f'<param name="{name}" value="{value}"/>' for name, value in each) for each in (given, taken)]
    return f"""<application name="tiny">
  <actor name="In" {source}>{sets[0]}<out name="out" token="float32[2]"/></actor>
  <actor name="Out" {sink}>{sets[1]}<in name="in" token="float32[2]"/></actor>
  <fifo name="f1" from="In.out" to="Out.in" {fifo}/>
</application>
"""


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Read an application of this text, in the folder ``app``; what it must not touch lies beside that folder."""
    (tmp_path / "app").mkdir()
    (tmp_path / "secret.py").write_text(CLASS)
    (tmp_path / "model.tflite").write_bytes(tiny_models.conv_pool_dense())
    np.save(tmp_path / "tokens.npy", np.zeros((1, 2), np.float32))
    monkeypatch.chdir(tmp_path)

    def call(text, **options):
        Path("app/app.xml").write_text(text)
        return read_system("app/app.xml", **options)

    return call


def rules(system):
    return [finding.rule for finding in system.problems]


OUTSIDE = {
    "a class": application(sink='class="../secret.py:Mine"'),
    "a model": application(source='model="../model.tflite" operators="0-1"'),
    "a class's model": application(sink='class="classifier.py:Classifier" model="../model.tflite" operators="3"'),
    "initial tokens": application(fifo='delay="1" initial="../tokens.npy"'),
    "initial tokens anywhere": application(fifo='delay="1" initial="/etc/passwd"'),
    "what is read": application(given=[("path", "../tokens.npy")]),
    "what is not there": application(given=[("path", "../none.npy")]),
    "what is written": application(taken=[("path", "../../.profile")]),
    "an absolute path": application(taken=[("path", "/tmp/lines.json")]),
    "a file of labels": application(taken=[("labels", "/etc/passwd")]),
    "a pattern": application(source='class="image_source.py:ImageSource"', given=[("path", "../*.png")]),
}


@pytest.mark.parametrize("text", OUTSIDE.values(), ids=OUTSIDE)
def test_what_lies_elsewhere_is_an_error_and_is_neither_read_nor_packed(read, text):
    system = read(text)
    (finding,) = [finding for finding in system.problems if finding.rule == "S1"]
    assert finding in errors(system.problems)
    assert finding.where.file == "app/app.xml"
    assert finding.where.line > 1
    assert "outside of the application's folder" in finding.message
    assert "--allow-outside" in finding.hint
    assert "S1" not in rules(read(text, allow_outside=True))


FINE = {
    "eprune's own": application(),
    "names with commas": application(taken=[("labels", "a,../b")]),
    "standard input and output": application(given=[("path", "-")], taken=[("path", "-")]),
    "nothing": application(given=[("path", "")]),
    "its own folder": application(given=[("path", "in/x.npy")], taken=[("path", "new/../lines.json")]),
    "its own folder, in a roundabout way": application(taken=[("path", "../app/lines.json")]),
    "what no class calls a path": application(given=[("seed", "../7")]),
}


@pytest.mark.parametrize("text", FINE.values(), ids=FINE)
def test_what_lies_in_its_folder_is_fine(read, text):
    assert rules(read(text)) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("mine.py", application(sink='class="mine.py:Mine"')),
        ("t.npy", application(fifo='delay="1" initial="t.npy"')),
        ("t.npy", application(given=[("path", "t.npy")])),
        ("m.tflite", application(source='model="m.tflite" operators="0-1"')),
    ],
)
def test_a_link_leads_nowhere_else(read, name, text):
    Path("app", name).symlink_to(Path("secret.py").absolute())
    assert rules(read(text)) == ["S1"]


def test_a_link_in_a_folder_that_is_read_or_written_leads_nowhere_else(read):
    Path("app/results").mkdir()
    Path("app/results/in.npy").symlink_to(Path("tokens.npy").absolute())
    text = application(sink='class="tensor_sink.py:TensorSink"', taken=[("path", "results")])
    assert rules(read(text)) == ["S1"]
    Path("app/results/in.npy").unlink()
    assert rules(read(text)) == []


def test_what_a_class_imports_from_beside_it_is_looked_at_too(read):
    Path("app/mine.py").write_text(f"import helper\n{CLASS}")
    Path("app/helper.py").symlink_to(Path("secret.py").absolute())
    system = read(application(sink='class="mine.py:Mine"'))
    assert rules(system) == ["S1"]
    assert "helper.py" in system.problems[0].message
    assert "secret.py" in system.problems[0].message


def test_an_application_cannot_write_into_eprune(read):
    library = os.path.relpath(Path(tiny_models.__file__).parents[2] / "actors/checks.py", "app")
    written = read(application(taken=[("path", library)]))
    assert rules(written) == ["S1"]
    assert [row["place"] for row in as_data(written.touched)] == ["eprune", "eprune", "outside"]
    assert rules(read(application(given=[("path", library)]))) == []


def test_a_mark_makes_a_folder_one_whole(read):
    text = application(sink='class="../secret.py:Mine"')
    Path("app/.eprune-root").touch()  # one that came with the application gives it nothing
    assert rules(read(text)) == ["S1"]
    Path("app/.eprune-root").unlink()
    Path(".eprune-root").touch()
    assert rules(read(text)) == []


def test_special_files_are_refused_unread(read):
    os.mkfifo("app/pipe")  # whoever opened it would wait for ever
    for text in (
        application(sink='class="pipe:Mine"'.replace("pipe", "pipe.py")),
        application(source='model="pipe.tflite" operators="0-1"'),
        application(fifo='delay="1" initial="pipe"'),
        application(given=[("path", "pipe")]),
    ):
        for name in ("pipe.py", "pipe.tflite"):
            if not Path("app", name).exists():
                os.mkfifo(f"app/{name}")
        system = read(text)
        assert rules(system) == ["FILE"]
        assert "is a pipe" in system.problems[0].message
    devices = (
        application(source='model="/dev/zero" operators="0-1"'),
        application(fifo='delay="1" initial="/dev/zero"'),
    )
    for text in devices:
        assert rules(read(text)) == ["S1"]
        assert rules(read(text, allow_outside=True)) == ["FILE"]
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("app/socket")
        assert rules(read(application(taken=[("path", "socket")]))) == ["FILE"]


def test_sizes_are_bounded(read):
    for name, text in (
        ("mine.py", application(sink='class="mine.py:Mine"')),
        ("t.npy", application(fifo='delay="1" initial="t.npy"')),
        ("m.tflite", application(source='model="m.tflite" operators="0-1"')),
    ):
        with Path("app", name).open("wb") as stream:
            stream.truncate(2**33)  # a file with a hole: nothing is on the disk
        system = read(text)
        assert rules(system) == ["FILE"]
        assert str(2**33) in system.problems[0].message


def test_every_file_that_is_touched_is_listed(read):
    Path("app/mine.py").write_text(f"import helper\n{CLASS}")
    Path("app/helper.py").write_text("")
    np.save("app/t.npy", np.zeros((1, 2), np.float32))
    system = read(
        application(sink='class="mine.py:Mine"', given=[("path", "../in.npy")], fifo='delay="1" initial="t.npy"')
    )
    listed = {(Path(each.path).name, each.access.value, each.by, each.own, each.inside) for each in system.touched}
    assert listed == {
        ("tensor_source.py", "run", "In", True, True),
        ("mine.py", "run", "Out", False, True),
        ("helper.py", "run", "Out", False, True),
        ("t.npy", "read", "f1", False, True),
        ("in.npy", "read", "In.path", False, False),
    }


PLACED = """<platform name="p"><unit name="cpu"/></platform>"""
MAPPED = '<mapping application="tiny" platform="p"><map actor="In" unit="cpu"/><map actor="Out" unit="cpu"/></mapping>'


@pytest.fixture
def program(read):
    """The program of the application that reads ``in.npy`` and writes ``lines.json``, both in its folder."""
    Path("app/p.xml").write_text(PLACED)
    Path("app/m.xml").write_text(MAPPED)
    np.save("app/in.npy", np.arange(4, dtype=np.float32).reshape(2, 2))
    system = read(
        application(given=[("path", "in.npy")], taken=[("path", "lines.json")]),
        platforms=["app/p.xml"],
        mappings=["app/m.xml"],
    )
    assert rules(system) == []
    (made,) = programs_of(system)
    return made


def test_paths_in_the_file_are_relative_to_it_wherever_a_program_lies_and_is_started(program, tmp_path, monkeypatch):
    write_program(program, "build/p.py")
    text = Path("build/p.py").read_text()
    assert 'paths={"path": "../app/in.npy"}' in text
    assert 'paths={"path": "../app/lines.json"}' in text
    assert str(tmp_path) not in text
    with Executor(program) as executor:
        assert len(list(executor.run(9))) == 2
    assert len(Path("app/lines.json").read_text().splitlines()) == 2


def test_a_bundle_leaves_what_a_source_reads_and_a_sink_writes_where_it_is(program):
    write_bundle(program, "p.pyz")
    with zipfile.ZipFile("p.pyz") as archive:
        assert not [name for name in archive.namelist() if name.split("/")[0] in ("initial", "parts")]
        assert 'paths={"path": "in.npy"}' in archive.read("__main__.py").decode()  # its name, as the file has it


PART = """from eprune.runtime import Actor

class Mine(Actor):
    PATHS = {"table": "part", "labels": "list"}

    def __init__(self, table="", labels=""):
        print([open(name).read() if name else name for name in (table, labels)], flush=True)

    def fire(self, inputs, outputs):
        pass
"""


def with_parts(read, *parameters):
    """The program of an application whose sink is ``Mine``."""
    Path("app/p.xml").write_text(PLACED)
    Path("app/m.xml").write_text(MAPPED)
    Path("app/mine.py").write_text(PART)
    np.save("app/in.npy", np.zeros((2, 2), np.float32))
    text = application(sink='class="mine.py:Mine"', given=[("path", "in.npy")], taken=parameters)
    return read(text, platforms=["app/p.xml"], mappings=["app/m.xml"])


def test_a_bundle_takes_along_what_is_a_part_of_an_actor(read, tmp_path):
    Path("app/deep").mkdir()
    Path("app/deep/t.txt").write_text("one")
    Path("app/labels.txt").write_text("two")
    (program,) = programs_of(with_parts(read, ("table", "deep/t.txt"), ("labels", "labels.txt")))
    write_program(program, "build/p.py")
    write_bundle(program, "elsewhere/p.pyz")
    Path("elsewhere/in.npy").write_bytes(Path("app/in.npy").read_bytes())
    beside = subprocess.run([sys.executable, "build/p.py"], capture_output=True, text=True, check=True)
    Path("app").rename("gone")
    alone = subprocess.run([sys.executable, "p.pyz"], cwd="elsewhere", capture_output=True, text=True, check=True)
    assert alone.stdout == beside.stdout == "['one', 'two']\n"
    assert sorted(each.name for each in Path("elsewhere").iterdir()) == ["in.npy", "p.pyz"]


def test_platforms_with_other_parts_are_other_deployments(read):
    digests = set()
    for contents in ("one", "two"):
        Path("app/t.txt").write_text(contents)
        digests.add(programs_of(with_parts(read, ("table", "t.txt")))[0].digest)
    assert len(digests) == 2


def test_a_part_that_is_missing_is_told_before_anything_is_written(read):
    with pytest.raises(EpruneError, match=r"'app/t.txt' cannot be read: No such file"):
        programs_of(with_parts(read, ("table", "t.txt")))


def test_a_part_of_any_size_is_refused(read):
    with Path("app/t.txt").open("wb") as stream:
        stream.truncate(2**33)  # a file with a hole: nothing is on the disk
    system = with_parts(read, ("table", "t.txt"))
    assert rules(system) == ["FILE"]
    assert str(2**33) in system.problems[0].message


def test_paths_move_with_the_application(read):
    text = application(given=[("path", "in.npy")], taken=[("path", "lines.json"), ("labels", "a,b")])
    moved = relocate.apply(read(text), relocate.Options("build/k")).system.graph
    assert dict(moved.actors[0].parameters) == {"path": "../../app/in.npy"}
    assert dict(moved.actors[1].parameters) == {"path": "../../app/lines.json", "labels": "a,b"}


def test_what_a_class_says_of_its_paths_is_checked(read):
    Path("app/mine.py").write_text(CLASS.replace("    def fire", '    PATHS = {"path": "delete"}\n\n    def fire'))
    system = read(application(sink='class="mine.py:Mine"'))
    assert rules(system) == ["G2"]
    assert "'read', 'write', 'list'" in system.problems[0].message


def test_every_class_of_the_library_says_which_of_its_parameters_are_paths():
    for each in library_classes():
        paths = {parameter.name for parameter in filter(_is_path, each.parameters or ())}
        said = literal(list(PythonSource(each.file).lineage(each.name)), "PATHS")
        assert paths == set(said.value if said else ()), each.name


def _is_path(parameter):
    words = re.findall(r"\w+", parameter.doc)
    return ("file" in words or "folder" in words) and parameter.name not in ("repeat", "on_error")


def test_shell_completion_reads_nothing_elsewhere(read):
    from eprune.cli.completers import _takes

    Path("secret.py").write_text(
        CLASS.replace("    def fire", "    def __init__(self, hidden='7'):\n        pass\n\n    def fire")
    )
    read(application(sink='class="../secret.py:Mine"', taken=[("own", "1")]))
    (sink,) = [actor for actor in outline("app/app.xml").actors if actor.name == "Out"]
    assert list(_takes("app/app.xml", sink)) == ["own"]
