"""The guide to writing an actor is executed, and the list of actors is complete."""

import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from eprune.runtime import Actor

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "how-to" / "write_an_actor.md").read_text(encoding="utf-8")
LIST = (ROOT / "docs" / "reference" / "actors.md").read_text(encoding="utf-8")
FILES = {
    name: body
    for body, name in re.findall(
        r"^```\w+\n((?:# |<!-- )(\w+\.\w+)(?: -->)?\n.*?)^```$", TEXT, re.DOTALL | re.MULTILINE
    )
}
BEHAVIOURS = [
    file
    for file in sorted((ROOT / "actors").glob("*.py"))
    if re.search(r"^class \w+\((Actor|Switch)\):", file.read_text(encoding="utf-8"), re.MULTILINE)
]


def test_the_example_runs_as_shown(tmp_path):
    for name, body in FILES.items():
        (tmp_path / name).write_text(body, encoding="utf-8")
    [session] = re.findall(r"^```console\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    commands = re.findall(r"^\$ (.*)\n((?:[^$].*\n)*)", session, re.MULTILINE)
    assert len(commands) == 3
    for command, shown in commands:
        words = command.replace("eprune", "-m eprune").replace("python3 ", "").split()
        result = subprocess.run(
            [sys.executable, *words],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        assert result.stdout == shown, command
        assert (result.returncode == 0) == ("error" not in shown)


@pytest.mark.parametrize("file", BEHAVIOURS, ids=lambda file: file.stem)
def test_every_class_is_listed_with_its_parameters(file):
    module = importlib.import_module(file.stem)
    [name] = [
        name
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, Actor) and value.__module__ == file.stem
    ]
    [row] = re.findall(rf"^\| `{file.name}:{name}` .*$", LIST, re.MULTILINE)
    for parameter in inspect.signature(getattr(module, name)).parameters.values():
        if parameter.default is inspect.Parameter.empty:
            assert f"**`{parameter.name}`**" in row
        else:
            assert f"`{parameter.name}` ({parameter.default or 'empty'})" in row
