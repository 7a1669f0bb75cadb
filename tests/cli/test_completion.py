"""Completion in real shells, at a real terminal; and what the shells are told."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import click
import pytest
from application import ACTORS, APPLICATION, ENDPOINT, HELPER, ROOT, SERVER, mapping

from eprune.cli import completers
from eprune.cli.main import cli
from tests.kit import shells, tiny_models
from tests.kit.commands import commands

PLAN = """{"application": "tiny", "order": ["In", "L1"], "platforms": ["endpoint", "server"],
 "alternatives": [{"name": "1", "after": "after In"}, {"name": "2", "after": "after L1"}]}"""

#: Line -> the line after Tab, where there is one way to go on.
COMPLETED = {
    "eprune anal": "eprune analyze ",
    "eprune analyze ap": "eprune analyze app.xml ",
    "eprune analyze app.xml --fau": "eprune analyze app.xml --faults ",
    "eprune analyze app.xml --format sa": "eprune analyze app.xml --format sarif ",
    "eprune analyze app.xml --format=sa": "eprune analyze app.xml --format=sarif ",
    "eprune run app.xml -p platforms/en": "eprune run app.xml -p platforms/endpoint.xml ",
    "eprune run app.xml -p platforms/endpoint.xml platforms/se": (
        "eprune run app.xml -p platforms/endpoint.xml platforms/server.xml "
    ),
    "eprune run app.xml -m spl": "eprune run app.xml -m split/",
    "eprune run app.xml -p platforms -m split/endpoint.xml split/se": (
        "eprune run app.xml -p platforms -m split/endpoint.xml split/server.xml "
    ),
    "eprune run app.xml --set I": "eprune run app.xml --set In.",
    "eprune run app.xml --set In.c": "eprune run app.xml --set In.count=",
    "eprune run app.xml --set In.count=pla": "eprune run app.xml --set In.count=platforms/",
    "eprune analyze app.xml --faults 1 --essential O": "eprune analyze app.xml --faults 1 --essential Out ",
    "eprune explore app.xml -p platforms --keep-on endp": "eprune explore app.xml -p platforms --keep-on endpoint ",
    "eprune explore app.xml -p platforms --keep-on endpoint L2": (
        "eprune explore app.xml -p platforms --keep-on endpoint L2 "
    ),
    "eprune report cuts --private-until L": "eprune report cuts --private-until L1 ",
    "eprune report cuts --objective lat": "eprune report cuts --objective latency ",
    "eprune report cuts --objective latency=1,by": "eprune report cuts --objective latency=1,bytes=",
    "eprune profile cu": "eprune profile cuts/",
    "eprune import ti": "eprune import tiny.tflite ",
    "eprune import tiny.tflite --per la": "eprune import tiny.tflite --per layer ",
    "eprune import speech.tflite --signature de": "eprune import speech.tflite --signature decode ",
    "eprune rules C2": "eprune rules C2 ",
    "eprune inspect JsonL": "eprune inspect JsonLines ",
    "eprune deploy roll": "eprune deploy rollback ",
    "eprune top system --on los": "eprune top system --on lost ",
    "eprune record system --fi": "eprune record system --fifo ",
    "eprune play app.xml --tokens f1": "eprune play app.xml --tokens f1=",
    "eprune deploy system --boot": "eprune deploy system --bootstrap ",
    "eprune deploy status system --form": "eprune deploy status system --format ",
    "eprune apply repl": "eprune apply replicate ",
    "eprune apply resize app.xml --aim li": "eprune apply resize app.xml --aim live ",
    "eprune apply resize app.xml --capacities f1": "eprune apply resize app.xml --capacities f1=",
    "eprune apply replicate app.xml --cut-after L2": "eprune apply replicate app.xml --cut-after L2 ",
    "eprune schema plat": "eprune schema platform ",
    "ls | eprune dem": "ls | eprune demo ",
    # Nothing fits: nothing changes.
    "eprune nothing ": "eprune nothing ",
    "eprune report nowhere --private-until ": "eprune report nowhere --private-until ",
}
#: Line -> the words that are listed, where there are several ways to go on.
LISTED = {
    "eprune explore app.xml -p platforms --keep-on endpoint ": {"In", "L1", "L2", "Out"},
    "eprune explore app.xml -p platforms --must-use ": {"endpoint", "server"},
    "eprune profile cuts --point ": {"1", "2"},
    "eprune codegen app.xml -p platforms/": {"endpoint.xml", "server.xml"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An application, an exploration, and a program ``eprune``."""
    folder = tmp_path_factory.mktemp("typed")
    homes = dict.fromkeys(("In", "L1", "L2", "Out"), "endpoint")
    files = {
        "app.xml": APPLICATION,
        "behaviours.py": ACTORS,
        "helper.py": HELPER,
        "platforms/endpoint.xml": ENDPOINT,
        "platforms/server.xml": SERVER,
        "split/endpoint.xml": mapping("endpoint", homes),
        "split/server.xml": mapping("server", homes),
        "cuts/explore.json": PLAN,
        "tiny.tflite": "",
        "my notes.xml": "<application name='notes'/>",
        "bin/eprune": f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m eprune "$@"\n',
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    (folder / "bin/eprune").chmod(0o755)
    (folder / "speech.tflite").write_bytes(tiny_models.two_signatures())
    return folder


def environment(folder):
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "TERM": "dumb", "LC_ALL": "C.UTF-8", "HOME": str(folder)}


def the_shell(name):
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed here")


@pytest.fixture(scope="module", params=["bash", "zsh"])
def terminal(request, folder):
    the_shell(request.param)
    started = shells.Terminal(*shells.INTERACTIVE[request.param], folder, environment(folder))
    yield started
    started.close()


def test_a_line_is_completed_at_the_terminal(terminal):
    assert {line: terminal.complete(line).line for line in COMPLETED} == COMPLETED


def test_what_fits_is_listed_at_the_terminal(terminal):
    listed = {line: set(terminal.complete(line).listed) & words for line, words in LISTED.items()}
    assert listed == LISTED


def test_a_file_with_a_blank_in_its_name_is_quoted(terminal):
    assert terminal.complete("eprune analyze my").line == "eprune analyze my\\ notes.xml "


def test_quotes_that_were_opened_are_understood(terminal):
    assert terminal.complete('eprune analyze "my n').line == 'eprune analyze "my notes.xml" '


def fish(folder, lines):
    """Line -> the whole words that fish would put in place of its last one."""
    script = ["eprune completion fish | source"]
    for line in lines:
        script += [f"echo '##{line}'", f"complete -C '{line}'"]
    done = subprocess.run(
        ["fish", "--no-config", "-c", "\n".join(script)],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment(folder),
        timeout=shells.PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    answers = (part.partition("\n") for part in done.stdout.split("##")[1:])
    return {line: [row.partition("\t")[0] for row in text.splitlines()] for line, _, text in answers}


@pytest.mark.long
def test_lines_are_completed_in_fish(folder):
    the_shell("fish")
    answers = fish(folder, COMPLETED)
    wrong = {}
    for line, wanted in COMPLETED.items():
        word = wanted.rstrip(" ").rpartition(" ")[2] if wanted != line else None
        if answers[line] != [word] * (word is not None):
            wrong[line] = answers[line]
    assert wrong == {}


def test_what_fits_is_listed_in_fish(folder):
    the_shell("fish")
    answers = fish(folder, LISTED)
    assert {line: {word.rpartition("/")[2] for word in words} for line, words in answers.items()} == LISTED


def test_it_is_known_for_every_option_what_completes_it():
    unknown = [
        (name, param.name, param.metavar)
        for name, command in commands().items()
        for param in command.params
        if not getattr(param, "is_flag", False)
        and not isinstance(param.type, (click.Choice, click.types.IntParamType, click.types.FloatParamType))
        and param.type.name != "objective"
        and param.metavar not in completers.COMPLETERS
        and not any(word.islower() for word in (param.metavar or "").split("|"))
    ]
    assert unknown == [], "add their metavar to COMPLETERS"


def test_the_table_of_completers_has_no_leftovers():
    used = {param.metavar for command in commands().values() for param in command.params}
    assert set(completers.COMPLETERS) - used == set()


@pytest.mark.parametrize(
    "content", [b"", b"<application", b"\xff\xfe", b"<!DOCTYPE a [<!ENTITY b 'c'>]><application/>"]
)
@pytest.mark.parametrize(
    "line", ["eprune run app.xml --set ", "eprune run app.xml -p app.xml --set In.", "eprune report ."]
)
def test_broken_files_complete_nothing_and_print_nothing(tmp_path, content, line):
    (tmp_path / "app.xml").write_bytes(content)
    (tmp_path / "explore.json").write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-m", "eprune"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "COMP_LINE": line, "_EPRUNE_COMPLETE": "zsh_complete"},
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0
    assert done.stderr == ""
    assert done.stdout.strip() in ("", "folders")


def test_an_option_that_was_given_is_not_offered_again(folder, monkeypatch):
    monkeypatch.chdir(folder)
    offered = [item.value for item in completers.complete(cli, ["analyze", "app.xml", "--strict"], "--s")]
    assert offered == ["--service"]
    offered = [item.value for item in completers.complete(cli, ["analyze", "app.xml", "--service", "some"], "--se")]
    assert offered == []


def test_after_two_dashes_there_are_no_options():
    assert completers.complete(cli, ["analyze", "--"], "-p") == [completers.Item(completers.FILES, "*.xml")]
