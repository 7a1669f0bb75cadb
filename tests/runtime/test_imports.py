"""Files of actors may have any name and import their neighbours, and those of different folders never meet."""

import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import eprune
from eprune.runtime.main.files import Files
from tests.kit.programs import environment, run, write_program

SPEAKER = r"""
from {neighbour} import WORD
import sys
from eprune.runtime import Actor, EndOfStream
class Speaker(Actor):
    word = WORD
    def fire(self, inputs, outputs):
        sys.stdout.write(WORD + "\n")
        raise EndOfStream
"""

#: names of the standard library (loaded early, late, built in, a package), of an interpreter, of numpy, of eprune's
NAMES = [
    "operator",
    "queue",
    "json",
    "random",
    "numpy",
    "ai_edge_litert",
    "typing",
    "select",
    "email",
    "psutil",
    "runtime",
]


def speaker(folder, word, neighbour="checks", file="speaker.py"):
    folder.mkdir(exist_ok=True, parents=True)
    (folder / f"{neighbour}.py").write_text(f"WORD = {word!r}\n")
    (folder / file).write_text(SPEAKER.format(neighbour=neighbour))


@pytest.mark.parametrize("name", NAMES)
def test_a_program_may_have_any_name(tmp_path, name):
    speaker(tmp_path, "fine")
    program = write_program(tmp_path, name, "actor('A', 'speaker.py:Speaker', 'cpu')")
    assert run(program)[1:] == ("fine\n", "")


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_actors_may_have_any_name(tmp_path, name):
    """Its neighbours still get the module that everybody else means."""
    speaker(tmp_path, "fine", file=f"{name}.py")
    (tmp_path / "other.py").write_text(
        "import json, queue, random, operator, select, numpy\nfrom eprune.runtime import Actor, EndOfStream\n"
        "class Other(Actor):\n    def fire(self, inputs, outputs):\n"
        "        import email, typing\n"
        "        json.dumps(operator.add(random.randrange(1), 1)); queue.Queue(); numpy.zeros(1)\n"
        "        email.message_from_string('')\n"
        "        raise EndOfStream\n"
    )
    program = write_program(
        tmp_path, "host", f"actor('A', '{name}.py:Speaker', 'cpu')", "actor('B', 'other.py:Other', 'cpu')"
    )
    assert run(program)[1:] == ("fine\n", "")


def test_neighbours_of_the_same_name_in_two_folders_never_meet(tmp_path):
    speaker(tmp_path / "one", "first")
    speaker(tmp_path / "two", "second")
    program = write_program(
        tmp_path, "host", "actor('A', 'one/speaker.py:Speaker', 'cpu')", "actor('B', 'two/speaker.py:Speaker', 'cpu')"
    )
    code, out, err = run(program)
    assert (code, sorted(out.splitlines()), err) == (0, ["first", "second"], "")


def test_neighbours_of_the_same_name_never_meet_in_a_bundle(tmp_path):
    package = Path(eprune.__file__).parent
    speaker(tmp_path / "actors", "first")
    speaker(tmp_path / "actors_2", "second")
    program = write_program(
        tmp_path,
        "host",
        "actor('A', 'actors/speaker.py:Speaker', 'cpu')",
        "actor('B', 'actors_2/speaker.py:Speaker', 'cpu')",
    )
    with zipfile.ZipFile(tmp_path / "host.pyz", "w") as archive:
        archive.write(program, "__main__.py")
        for file in (package / "__init__.py", *(package / "runtime").rglob("*.py")):
            archive.write(file, f"eprune/{file.relative_to(package).as_posix()}")
        for file in tmp_path.glob("actors*/*.py"):
            archive.write(file, file.relative_to(tmp_path).as_posix())
            file.unlink()
    done = subprocess.run(
        [sys.executable, str(tmp_path / "host.pyz")],
        capture_output=True,
        text=True,
        env=environment(PYTHONPATH=""),
        timeout=60,
        check=False,
    )
    assert (done.returncode, sorted(done.stdout.splitlines()), done.stderr) == (0, ["first", "second"], "")


def test_a_neighbour_comes_before_an_installed_module_and_nobody_else_sees_it(tmp_path):
    speaker(tmp_path / "one", "mine", neighbour="click")
    files = Files(str(tmp_path / "program.py"))
    assert files.load_class("one/speaker.py:Speaker").word == "mine"
    (tmp_path / "one" / "speaker2.py").write_text(SPEAKER.format(neighbour="click"))
    import click

    assert Path(click.__file__).name != "click.py"
    assert str(tmp_path / "one") not in sys.path


def test_files_of_actors_that_import_one_another_are_the_same_modules(tmp_path):
    (tmp_path / "base.py").write_text("from eprune.runtime import Actor\nclass Base(Actor): pass\n")
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").write_text("")
    (tmp_path / "pack" / "deep.py").write_text("import base\nfrom . import __name__ as name\n")
    (tmp_path / "child.py").write_text(
        "import pack.deep\nimport pack.deep as deep\nfrom pack import deep as again\nfrom base import Base\n"
        "assert pack.deep is deep is again\nassert deep.base.Base is Base\nclass Child(Base): pass\n"
    )
    files = Files(str(tmp_path / "program.py"))
    assert issubclass(files.load_class("child.py:Child"), files.load_class("base.py:Base"))


def test_a_file_whose_name_has_dots_or_dashes_is_loaded(tmp_path):
    speaker(tmp_path, "odd", file="my-speaker.v2.py")
    assert Files(str(tmp_path / "program.py")).load_class("my-speaker.v2.py:Speaker").word == "odd"


def test_a_neighbour_that_is_missing_is_named(tmp_path):
    (tmp_path / "speaker.py").write_text(SPEAKER.format(neighbour="not_there_at_all"))
    code, _, err = run(write_program(tmp_path, "host", "actor('A', 'speaker.py:Speaker', 'cpu')"))
    assert code == 2
    assert "speaker.py: cannot be loaded: ModuleNotFoundError: No module named 'not_there_at_all'" in err


def test_folders_that_are_loaded_from_many_threads_stay_apart(tmp_path):
    for number in range(8):
        speaker(tmp_path / f"folder{number}", number)
    files = Files(str(tmp_path / "program.py"))
    with ThreadPoolExecutor(8) as pool:
        loaded = list(pool.map(files.load_class, [f"folder{n % 8}/speaker.py:Speaker" for n in range(64)]))
    assert [each.word for each in loaded] == [n % 8 for n in range(64)]
    assert len(set(loaded)) == 8


def test_nothing_is_written_beside_the_files_of_actors(tmp_path):
    speaker(tmp_path / "one", "first")
    Files(str(tmp_path / "program.py")).load_class("one/speaker.py:Speaker")
    assert {path.name for path in (tmp_path / "one").iterdir()} == {"checks.py", "speaker.py"}
