"""`eprune upgrade`: old names become new ones, and nothing else changes."""

from __future__ import annotations

import pytest

from eprune.formats.renames import RENAMES, Renames, upgraded
from eprune.runtime import moved

TRIED = Renames(
    commands={"old": "new thing"},
    options={("run", "--record"): "--records"},
    attributes={("fifo", "size"): "capacity"},
    modules={"eprune.runtime.actor": "eprune.runtime"},
)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        (
            "app.xml",
            '<fifo name="size"\n  size="2"/><actor size="1"/>',
            '<fifo name="size"\n  capacity="2"/><actor size="1"/>',
        ),
        ("a.py", "from eprune.runtime.actor import Actor\n", "from eprune.runtime import Actor\n"),
        ("a.py", "from eprune.runtime.actors import A\n", "from eprune.runtime.actors import A\n"),
        ("Makefile", "x:\n\teprune old a.xml \\\n\t  -o b\n", "x:\n\teprune new thing a.xml \\\n\t  -o b\n"),
        (
            "run.sh",
            "eprune run a --record=x --record-all; echo --record",
            "eprune run a --records=x --record-all; echo --record",
        ),
        ("ci.yml", "- run: eprune older\n", "- run: eprune older\n"),
    ],
)
def test_only_the_names_change(name, old, new):
    assert upgraded(name, old, TRIED) == new
    assert upgraded(name, new, TRIED) == new


def test_files_are_rewritten_and_check_only_says_so(tmp_path, monkeypatch, eprune):
    monkeypatch.chdir(tmp_path)
    text = "k:\n\teprune replicate chain.xml --cut-after L3 --endpoints 2 --servers 1 -o k  # twice\n"
    (tmp_path / "Makefile").write_text(text)
    done = eprune("upgrade", "--check", "Makefile")
    assert (done.code, done.err) == (1, "Makefile:2: uses an old name\n")
    assert (tmp_path / "Makefile").read_text() == text
    assert eprune("upgrade", "Makefile").code == 0
    assert (tmp_path / "Makefile").read_text() == text.replace("eprune replicate", "eprune apply replicate")
    assert eprune("upgrade", "--check", "Makefile").code == 0
    assert eprune("upgrade", "-", stdin=text).out == text.replace("eprune replicate", "eprune apply replicate")


def test_what_is_no_text_is_refused(tmp_path, eprune):
    (tmp_path / "m.tflite").write_bytes(b"\xff\xfe\x00")
    done = eprune("upgrade", str(tmp_path / "m.tflite"))
    assert done.code == 2 and "error[FILE]: is not a text file" in done.err


def test_modules_that_are_rewritten_are_those_that_the_runtime_still_finds():
    assert set(RENAMES.modules) <= set(moved.MOVED)
