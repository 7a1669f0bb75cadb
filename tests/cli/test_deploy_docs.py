"""docs/how-to/deploy.md is true: its sessions, with a real sshd in the place of the Raspberry Pi."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
from pathlib import Path

import pytest
from application import ROOT

from eprune.deploy.ports import free_base_port
from tests.kit import pages, sshd

PAGE = ROOT / "docs" / "how-to" / "deploy.md"
#: what is another one on each machine: versions, dates
NAMED = re.compile(r"\b[0-9a-f]{12}\b|\b20\d\d-\d\d-\d\d\b")


@pytest.mark.long
def test_the_sessions_of_deploy_md_are_real(tmp_path, monkeypatch, request):
    for folder in ("graphs", "mappings", "actors"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    text = PAGE.read_text(encoding="utf-8")
    with sshd.server(tmp_path / "sshd") as device:
        monkeypatch.setenv("PATH", f"{device.folder / 'bin'}", prepend=":")
        here = {
            "pi@192.168.1.20": device.url,
            "192.168.1.10": "127.0.0.1",
            "192.168.1.20": "127.0.0.1",
            'host="local"': f'host="local" folder="{tmp_path}/devices/server"',
            f'host="{device.url}"': f'host="{device.url}" python="{sys.executable}" folder="{tmp_path}/devices/pi"',
            "<link ": f'<link port="{free_base_port(1)}" ',
        }
        files = pages.files(text)
        assert set(files) == {"system/platforms/pi.xml", "system/platforms/server.xml"}
        for name, body in files.items():
            for there, instead in here.items():
                body = body.replace(there, instead)
            files[name] = body
        commands = pages.sessions(text)
        assert len(commands) == 14
        request.addfinalizer(lambda: kill_all_in(tmp_path))
        for number, (command, shown) in enumerate(commands):
            done = pages.run(command, tmp_path)
            assert done.returncode == 0, f"$ {command}\n{done.stdout}"
            printed = done.stdout.replace(device.url, "ssh://pi@192.168.1.20")
            wanted = [line for line in shown.splitlines() if line.strip() != "..."]
            lines = iter(printed.splitlines())
            for line in wanted:
                assert any(matches(line, each) for each in lines), f"$ {command}\n{printed}\nmissing: {line}"
            if number == 0:
                for name, body in files.items():
                    (tmp_path / name).write_text(body)
    assert not (tmp_path / "devices").exists() or not list((tmp_path / "devices").iterdir())


def kill_all_in(folder):
    """Nothing that runs outlives a session that did not go as shown."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if f"{folder}/devices".encode() in path.read_bytes():
                os.kill(int(path.parent.name), signal.SIGKILL)


def matches(shown, printed):
    """Whether a line is as it is shown; "..." at its end stands for the rest."""
    shown, printed = (NAMED.sub("#", " ".join(line.split())) for line in (shown, printed))
    return printed.startswith(shown[:-3]) if shown.endswith("...") else shown == printed
