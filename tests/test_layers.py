"""Who may import whom. CONTRIBUTING.md draws the arrows; nothing may be imported against them."""

from __future__ import annotations

import ast
import configparser
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.version_info < (3, 10), reason="Python 3.9 has no list of its own modules")

ROOT = Path(__file__).resolve().parent.parent

#: room -> the rooms of ours that it may import, besides itself; whoever may import a room may import those inside
ARROWS = {
    "model": set(),
    "formats": {"model"},
    "analysis": {"model"},
    "passes": {"model", "formats", "analysis"},
    "explore": {"model", "analysis"},
    "codegen": {"model", "analysis"},
    "watch": set(),
    "deploy": {"model", "formats", "analysis", "passes", "explore", "codegen", "watch", "runtime.tell"},
    "runtime": {"runtime.kernel", "runtime.main"},
    "runtime.kernel": set(),
    "runtime.tell": {"runtime.kernel"},
    "runtime.fire": {"runtime.kernel", "runtime.tell"},
    "runtime.net": {"runtime.kernel", "runtime.tell"},
    "runtime.main": {"runtime.kernel", "runtime.tell", "runtime.fire", "runtime.net"},
    "measure": {"model", "formats", "analysis", "passes", "explore", "codegen", "watch", "deploy", "runtime"},
    "views": {"model", "analysis", "explore", "watch", "measure", "runtime.tell"},
    "cli": {"model", "formats", "analysis", "passes", "explore", "codegen", "watch", "deploy", "measure", "views"},
    "actors": {"runtime"},
}
#: What the runtime and the actors may use besides the standard library. A device has the first two, or one of them.
ON_DEVICE = {"numpy", "ai_edge_litert", "tflite_runtime", "psutil"}
#: Only some actors, which say so when it is missing.
FOR_ACTORS = {"PIL", "scipy", "av", "paho", "prometheus_client", "sounddevice", "zstandard"}

#: What must not be loaded by `import eprune.runtime`, or by `eprune --help`.
HEAVY = (
    "lxml",
    "jinja2",
    "numpy",
    "rich",
    "PIL",
    "flatbuffers",
    "ai_edge_litert",
    "tflite_runtime",
    "psutil",
    "pyopencl",
)


def folder(room: str) -> Path:
    return ROOT / room if room == "actors" else ROOT.joinpath("eprune", *room.split("."))


def room_of(name: str) -> str:
    """The innermost room of what is called ``name``, without ``eprune.``; '' where that is none of them."""
    return max((room for room in ARROWS if f"{name}.".startswith(f"{room}.")), key=len, default="")


def modules() -> Iterator[tuple[str, Path]]:
    for room in ARROWS:
        for file in sorted(folder(room).rglob("*.py")):
            if room_of(".".join(file.relative_to(folder(room.partition(".")[0]).parent).parts)) == room:
                yield room, file


def imported(source: str) -> Iterator[str]:
    """The full names of what a module imports, also inside functions and under TYPE_CHECKING."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "write imports in full"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def against_the_arrows(room: str, source: str, neighbours: set[str] = frozenset()) -> list[str]:
    """What a module of a room imports although it may not."""
    allowed = ARROWS[room]
    on_device = room.partition(".")[0] in ("runtime", "actors")
    wrong = []
    for name in imported(source):
        top, _, rest = name.partition(".")
        if top == "eprune":
            other = room_of(rest)
            if other not in ("", room) and not any(f"{other}.".startswith(f"{each}.") for each in allowed):
                wrong.append(name)
        elif on_device:
            fine = set(sys.stdlib_module_names) | ON_DEVICE | neighbours | (FOR_ACTORS if room == "actors" else set())
            if top not in fine:
                wrong.append(name)
    return wrong


@pytest.mark.parametrize(
    ("room", "file"), [pytest.param(*pair, id=str(pair[1].relative_to(ROOT))) for pair in modules()]
)
def test_imports_follow_the_arrows(room, file):
    neighbours = {path.stem for path in folder(room).glob("*.py")} if room == "actors" else set()
    assert against_the_arrows(room, file.read_text(encoding="utf-8"), neighbours) == []


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("model", "from eprune.formats.xml.safe import parse"),
        ("runtime.net", "def f():\n    from eprune.model.graph import Graph"),
        ("runtime.main", "import lxml.etree"),
        ("runtime.kernel", "from eprune.runtime.tell.journal import Journal"),
        ("runtime.kernel", "from eprune.runtime import Actor"),
        ("runtime.fire", "from eprune.runtime.net import wire"),
        ("runtime.net", "import eprune.runtime.fire.engine"),
        ("runtime.tell", "from eprune.runtime.main.program import Program"),
        ("analysis", "from eprune import formats"),
        ("codegen", "import eprune.formats.tflite.model"),
        ("actors", "from eprune.model import graph"),
    ],
)
def test_an_import_against_the_arrows_is_seen(room, source):
    assert against_the_arrows(room, source)


def test_every_room_is_drawn():
    rooms = {path.parent.name for path in (ROOT / "eprune").glob("*/__init__.py")}
    assert rooms == {room for room in ARROWS if "." not in room} - {"actors"}
    inside = {f"runtime.{path.parent.name}" for path in (ROOT / "eprune" / "runtime").glob("*/__init__.py")}
    assert inside == {room for room in ARROWS if "." in room}


def test_every_room_is_installed():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    packages = set(setup["options"]["packages"].split())
    files = [*(ROOT / "eprune").rglob("__init__.py"), ROOT / "actors" / "__init__.py"]
    found = {".".join(file.parent.relative_to(ROOT).parts) for file in files}
    assert {name if name.startswith("eprune") else f"eprune.{name}" for name in found} <= packages


def test_no_file_is_longer_than_people_read():
    assert [str(file) for _, file in modules() if len(file.read_text(encoding="utf-8").splitlines()) > 600] == []


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_runtime_imports_on_a_device_that_has_only_numpy():
    python(
        "import sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        top = name.partition('.')[0]\n"
        "        if top not in sys.stdlib_module_names and top not in ('eprune', 'numpy', 'mkl'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "from eprune.runtime import Program\n"
        "ours = {name for name in sys.modules if name.startswith('eprune.')}\n"
        "assert all(name.startswith('eprune.runtime') for name in ours), ours\n"
    )


def test_help_loads_nothing_heavy():
    loaded = python(
        "import sys\n"
        "from eprune.cli.main import cli\n"
        "try:\n"
        "    cli.main(['--help'])\n"
        "except SystemExit as end:\n"
        "    assert end.code == 0\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    assert loaded.splitlines()[-1] == "[]"
