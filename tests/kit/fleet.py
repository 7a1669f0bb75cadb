"""An application for two devices that are this machine, each behind an sshd of its own or without one."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from eprune.deploy.ports import free_base_port
from tests.kit import sshd

ACTORS = '''\
"""Behaviours."""
import time

from eprune.runtime import Actor


class Count(Actor):
    STATE = ("number",)

    def __init__(self, period="0.01", broken="no"):
        self.period, self.broken, self.number = float(period), broken, 0

    def initialize(self):
        if self.broken == "yes":
            raise ValueError("the camera is broken")

    def fire(self, inputs, outputs):
        time.sleep(self.period)
        self.number += 1
        outputs["out"][...] = self.number


class Print(Actor):
    def fire(self, inputs, outputs):
        print(int(inputs["in"][0]), flush=True)
'''
APPLICATION = """\
<application name="count">
  <actor name="Count" class="behaviours.py:Count"><out name="out" token="int32[1]"/></actor>
  <actor name="Print" class="behaviours.py:Print"><in name="in" token="int32[1]"/></actor>
  <fifo name="f" from="Count.out" to="Print.in"/>
</application>
"""
HOMES = {"Count": "camera", "Print": "server"}
PLATFORMS = ("camera", "server")


def mapping(platform: str, homes: Mapping[str, str] = HOMES) -> str:
    places = {actor: 'unit="cpu0"' if home == platform else f'platform="{home}"' for actor, home in homes.items()}
    body = "".join(f'  <map actor="{actor}" {place}/>\n' for actor, place in places.items())
    return f'<mapping application="count" platform="{platform}">\n{body}</mapping>\n'


@dataclass
class Fleet:
    """The folder of the application, and what the platform files state of each device."""

    folder: Path
    hosts: Mapping[str, str]
    port: int
    servers: Mapping[str, sshd.Server]

    @property
    def system(self) -> str:
        return str(self.folder / "system")

    def write(self, security: str = "none", hosts: Mapping[str, str] | None = None, **params: str) -> None:
        """Write the application; ``params`` are those of Count, which make another version."""
        given = "".join(f'<param name="{name}" value="{value}"/>' for name, value in params.items())
        application = APPLICATION.replace(':Count">', f':Count">{given}')
        files = {"application.xml": application, "behaviours.py": ACTORS}
        for name, other in (PLATFORMS, PLATFORMS[::-1]):
            host = (hosts or self.hosts)[name]
            files[f"platforms/{name}.xml"] = (
                f'<platform name="{name}" host="{host}" python="{sys.executable}" folder="{self.device(name)}">\n'
                f'  <unit name="cpu0"/>\n  <link to="{other}" port="{self.port}" security="{security}"/>\n</platform>\n'
            )
            files[f"mappings/{name}.xml"] = mapping(name)
        for name, text in files.items():
            path = self.folder / "system" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def device(self, platform: str) -> Path:
        """Where programs are put on a device."""
        return self.folder / "devices" / platform

    def root(self, platform: str) -> Path:
        return self.device(platform) / "count" / platform

    def current(self, platform: str) -> str | None:
        link = self.root(platform) / "current"
        return link.readlink().name if link.is_symlink() else None

    def state(self, platform: str) -> dict[str, object]:
        """All that a deployment can change on a device, but for what programs and supervisors write."""
        root = self.root(platform)
        links = {
            name: str((root / name).readlink())
            for name in ("current", "previous", "back")
            if (root / name).is_symlink()
        }
        files = sorted(
            str(path.relative_to(root))
            for path in root.rglob("*")
            if path.relative_to(root).parts[0] not in ("log", "run", "data", "current", "previous", "back")
        )
        return {"links": links, "files": files}

    def programs(self, platform: str) -> list[int]:
        """The processes of a platform's programs."""
        return self.processes(str(self.root(platform) / "current" / "program.pyz"))

    def supervisors(self, platform: str) -> list[int]:
        return self.processes(str(self.root(platform) / "current" / "supervisor.py"))

    @staticmethod
    def processes(argument: str) -> list[int]:
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if argument.encode() in path.read_bytes().split(b"\0"):
                    found.append(int(path.parent.name))
        return found

    def status(self, platform: str) -> dict[str, object]:
        """What the program reports."""
        return json.loads((self.root(platform) / "run" / "status.json").read_text())

    def counts(self, platform: str = "server") -> bool:
        """Whether frames come."""
        before = self._frames(platform)
        until = time.monotonic() + 20
        while time.monotonic() < until:
            if self._frames(platform) != before:
                return True
            time.sleep(0.05)
        return False

    def _frames(self, platform: str) -> object:
        try:
            status = self.status(platform)
        except (OSError, ValueError):
            return None
        return status["firings"] if status["pid"] in self.programs(platform) else None

    def kill(self) -> None:
        """Nothing of it outlives a test."""
        for platform in PLATFORMS:
            for pid in (*self.supervisors(platform), *self.programs(platform)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def local(folder: Path) -> Iterator[Fleet]:
    """Two devices that are reached without ssh."""
    yield from _fleet(folder, dict.fromkeys(PLATFORMS, "local"), {})


@contextlib.contextmanager
def over_ssh(folder: Path, *configuration: str) -> Iterator[Fleet]:
    """Two devices, each behind an sshd; PATH has an ``ssh`` that knows both."""
    with contextlib.ExitStack() as stack:
        servers = {name: stack.enter_context(sshd.server(folder / name, *configuration)) for name in PLATFORMS}
        binary = both(folder / "bin", list(servers.values()))
        path, os.environ["PATH"] = os.environ["PATH"], f"{binary}:{os.environ['PATH']}"
        try:
            yield from _fleet(folder, {name: server.url for name, server in servers.items()}, servers)
        finally:
            os.environ["PATH"] = path


def both(binary: Path, servers: Sequence[sshd.Server]) -> Path:
    """A folder with an ``ssh`` that knows these servers by their ports."""
    binary.mkdir()
    lines = [f'case "$*" in *"-p {server.port} "*) exec {server.folder}/bin/ssh "$@" ;; esac' for server in servers]
    (binary / "ssh").write_text("\n".join(["#!/bin/sh", *lines, "exit 99\n"]))
    (binary / "ssh").chmod(0o755)
    return binary


def _fleet(folder: Path, hosts: Mapping[str, str], servers: Mapping[str, sshd.Server]) -> Iterator[Fleet]:
    fleet = Fleet(folder, hosts, free_base_port(2), servers)
    fleet.write()
    try:
        yield fleet
    finally:
        fleet.kill()
