"""On a terminal tables are cut to its width and findings coloured; in pipes, and with NO_COLOR, text is only text."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

from application import APPLICATION, ROOT

LOCAL = ("analyze", "app.xml", "-p", "platforms/endpoint.xml", "-m", "local")


def on_terminal(*arguments, width=50, **environment):
    """What a terminal of that width gets."""
    terminal, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR", "TERM")}
    process = subprocess.Popen(
        [sys.executable, "-m", "eprune", *arguments],
        stdin=other,
        stdout=other,
        stderr=other,
        env={**inherited, "PYTHONPATH": str(ROOT), "TERM": "xterm", **environment},
    )
    os.close(other)
    seen = b""
    with contextlib.suppress(OSError):  # nobody has the terminal open any more
        while data := os.read(terminal, 4096):
            seen += data
    os.close(terminal)
    process.wait(30)
    return seen.decode().replace("\r\n", "\n")


def test_tables_are_cut_to_the_width_and_not_wrapped(app, eprune):
    whole = eprune(*LOCAL).out
    shown = on_terminal(*LOCAL, NO_COLOR="1")
    tables = [line for line in whole.splitlines() if line.startswith("  ")]
    assert max(map(len, tables)) > 50, "nothing would have to be cut"
    cut = [line for line in shown.splitlines() if line.startswith("  ")]
    assert len(cut) == len(tables)
    assert all(len(line) <= 50 for line in cut)
    assert any(line.endswith("…") for line in cut)
    assert on_terminal(*LOCAL, width=200, NO_COLOR="1") == whole


def test_findings_have_colours_where_they_are_wanted(app):
    (app / "app.xml").write_text(APPLICATION.replace("L1.in", "L9.in", 1))
    assert "\x1b[" in on_terminal("analyze", "app.xml")
    assert "\x1b[" not in on_terminal("analyze", "app.xml", NO_COLOR="1")


def test_a_pipe_gets_neither_colours_nor_cuts(app, eprune_process):
    done = eprune_process(*LOCAL, COLUMNS="40")
    assert "\x1b" not in done.out and "…" not in done.out


def test_json_on_a_terminal_is_whole(app):
    import json

    shown = on_terminal(*LOCAL, "--format", "json", width=30, NO_COLOR="1")
    assert json.loads(shown.replace("\n", ""))["findings"] == []


def test_long_work_says_how_far_it_is_and_leaves_nothing_behind(app):
    folder = app / "imported"
    shown = on_terminal("import", "tiny.tflite", "-o", str(folder), "--per", "layer", width=200)
    assert "1 of 2: reading tiny.tflite" in shown
    assert shown.rstrip().splitlines()[-1].startswith("next: eprune run ")
    application = str(folder / "application.xml")
    shown = on_terminal("verify", application, "--model", "tiny.tflite", "--frames", "2", width=200)
    assert "frame 1 of 2" in shown
    assert "equal, bit for bit" in shown.rstrip().splitlines()[-1]
