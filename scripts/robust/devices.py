"""A partitioned model as real processes on loopback, its frames timed, while something happens to one of them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

import numpy as np
from click.testing import CliRunner

from eprune.cli.main import cli
from eprune.deploy.ports import free_base_port
from eprune.face import load
from eprune.model.system import System
from scripts.chaos.proxy import Proxy

ROOT = Path(__file__).resolve().parents[2]
#: Seconds after which a run is given up.
_PATIENCE = 300.0
#: How long before a frame something is done.
_LEAD = 0.002


@dataclass(frozen=True)
class Board:
    """What each device is, emulated: how many times slower than this machine; bytes and seconds of its links."""

    slowdown: float = 1.0
    bandwidth: str = ""
    latency: str = ""

    def platform(self, text: str) -> str:
        """The text of a platform file with these figures."""
        text = text.replace("<unit name=", f'<unit slowdown="{self.slowdown:g}" name=')
        return text.replace("<link to=", f'<link bandwidth="{self.bandwidth}" latency="{self.latency}" to=')


@dataclass(frozen=True)
class Measured:
    """A run: when frames began and ended on the first device, what it answered, and what was ``missing`` there.

    ``missing`` [frames, layers, devices] is the table of parts (``actors/exchange.py``). ``cpu`` is the CPU time at the
    end of each frame, of each device that ended in order, ``records`` their run records.
    """

    begun: np.ndarray
    ended: np.ndarray
    answers: np.ndarray
    missing: np.ndarray
    cpu: dict[str, np.ndarray] = field(default_factory=dict)
    records: dict[str, Any] = field(default_factory=dict)

    @property
    def latency(self) -> np.ndarray:
        """Seconds of each frame."""
        return self.ended - self.begun[: len(self.ended)]

    def period(self, skip: int = 20) -> float:
        """Seconds per frame, without those at the start."""
        return float(self.ended[-1] - self.ended[skip]) / (len(self.ended) - 1 - skip)

    def cpu_per_frame(self, device: str, skip: int = 20) -> float:
        """CPU seconds."""
        own = self.cpu[device]
        return float(own[-1] - own[skip]) / (len(own) - 1 - skip)


class Devices:
    """The programs of a model over ``count`` devices; 1 is the whole model in one process."""

    def __init__(
        self, folder: Path, model: Path, tokens: np.ndarray, count: int, *options: str, board: Optional[Board] = None
    ) -> None:
        self.folder, self.count, self.emulate = folder, count, board is not None
        self.report: dict[str, Any] = {}
        self.port = free_base_port(count * count)
        folder.mkdir(parents=True, exist_ok=True)
        app, programs = folder / "app", folder / "programs"
        np.save(folder / "tokens.npy", tokens)
        _call("import", model, "-o", app)
        shutil.copy(ROOT / "scripts/robust/actors.py", app / "stamps.py")
        file = app / "application.xml"
        text = file.read_text().replace("tensor_source.py:TensorSource", "stamps.py:Paced")
        for name in ("count", "begun", "pace"):
            value = "0" if name == "pace" else "1"
            text = text.replace('stamps.py:Paced">', f'stamps.py:Paced">\n<param name="{name}" value="{value}"/>', 1)
        file.write_text(text.replace("tensor_sink.py:TensorSink", "stamps.py:Stamped"))
        if count > 1:
            given = ("--devices", count, "--port", self.port, *options)
            said = _call("apply", "partition", file, *given, "-o", folder / "parts", "--format", "json")
            app, self.report = folder / "parts", json.loads(said)
        platforms = [app / "platforms"] if count > 1 else [app / "platform.xml"]
        mappings = [app / "mappings"] if count > 1 else [app / "mapping.xml"]
        if board is not None:
            for each in platforms[0].glob("*.xml") if count > 1 else platforms:
                each.write_text(board.platform(each.read_text()))
        self.system: System = load(app / "application.xml", platforms, mappings, allow_outside=True)
        _call(
            "codegen",
            app / "application.xml",
            "-p",
            *platforms,
            "-m",
            *mappings,
            "--allow-outside",
            "-o",
            f"{programs}/",
        )
        self.names = [mapping.platform for mapping in self.system.mappings]

    def run(
        self,
        frames: int,
        pace: float = 0.0,
        during: Optional[Callable[[Running], None]] = None,
        proxies: bool = False,
    ) -> Measured:
        """Run so many frames, and meanwhile do what ``during`` does; with ``proxies`` in all links."""
        running = Running(self, frames, pace)
        try:
            if proxies:
                running.behind_proxies()
            running.start(range(self.count))
            if during is not None:
                during(running)
            return running.finish()
        finally:
            running.close()


class Running:
    """The processes of a run. What is done is done to the last device."""

    def __init__(self, devices: Devices, frames: int, pace: float) -> None:
        self.devices, self.frames, self.pace = devices, frames, pace
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        self.proxies: dict[tuple[int, int], tuple[int, Proxy]] = {}
        self.begun = devices.folder / "begun"
        self.begun.unlink(missing_ok=True)
        self.last = devices.count - 1

    def behind_proxies(self) -> None:
        """Put all links behind proxies, which count, and can be pulled; before anything is started."""
        pairs = [(one, other) for other in range(self.devices.count) for one in range(other)]
        base = free_base_port(len(pairs))
        for number, pair in enumerate(pairs):
            self.proxies[pair] = base + number, Proxy(base + number, self._port(*pair))

    @property
    def passed(self) -> int:
        """Bytes that have passed through the proxies."""
        return sum(proxy.passed for _, proxy in self.proxies.values())

    def start(self, chosen: Sequence[int]) -> None:
        """Start these devices."""
        for device in chosen:
            name = self.devices.names[device]
            path = self.devices.folder / "programs" / f"{name}.py"
            command = [sys.executable, str(path), *self._options(device)]
            with (self.devices.folder / f"{name}.log").open("wb") as log:
                self.processes[device] = subprocess.Popen(command, stderr=log, stdout=log, env=_environment())

    def wait(self, frame: int) -> None:
        """Until this frame has begun."""
        deadline = time.monotonic() + _PATIENCE
        while self.seen() <= frame:
            if time.monotonic() > deadline or self.processes[0].poll() is not None:
                raise SystemExit(f"{self.devices.folder}: frame {frame} did not begin: {self._said(0)}")
            time.sleep(min(0.002, self.pace / 10 or 0.002))

    def seen(self) -> int:
        """How many frames have begun."""
        return self.begun.stat().st_size // 8 if self.begun.exists() else 0

    def before(self, frame: int) -> None:
        """Until right before this frame begins: so late that no heartbeat that is missed tells of what happens now."""
        self.wait(frame - 1)
        due = float(np.fromfile(self.begun)[frame - 1]) + self.pace - _LEAD
        time.sleep(max(due - time.monotonic(), 0))

    def stop(self) -> None:
        """Freeze the last device."""
        self.processes[self.last].send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it run again."""
        self.processes[self.last].send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill it."""
        self.processes[self.last].kill()
        self.processes[self.last].wait()

    def pull(self) -> None:
        """Let nothing pass on the last device's links."""
        for pair, (_, proxy) in self.proxies.items():
            if self.last in pair:
                proxy.hold()

    def plug(self) -> None:
        """Let everything pass again."""
        for _, proxy in self.proxies.values():
            proxy.resume()

    def restart(self) -> None:
        """Start it again."""
        self.start([self.last])

    def finish(self) -> Measured:
        """Wait for the first device; what it has noted."""
        for device, process in self.processes.items():
            try:
                if process.wait(_PATIENCE) and not device:
                    raise SystemExit(f"{self.devices.folder}: {self.devices.names[0]} failed: {self._said(0)}")
            except subprocess.TimeoutExpired:
                process.kill()
        found = {
            name: np.load(self._result(name))
            for name in self.devices.names
            if self._result(name).exists() and (name == self.devices.names[0] or not self._dead(name))
        }
        first = found[self.devices.names[0]]
        table = self.devices.folder / "missing-1" / "missing.npy"
        missing = np.load(table) if table.exists() else np.zeros((len(first["ended"]), 1, 1), np.uint8)
        return Measured(
            np.fromfile(self.begun),
            first["ended"],
            first["answers"],
            missing,
            {name: each["cpu"] for name, each in found.items()},
            {name: json.loads((self.devices.folder / f"{name}.json").read_text()) for name in found},
        )

    def close(self) -> None:
        """End whatever runs."""
        for process in self.processes.values():
            process.kill()
            process.wait()
        for _, proxy in self.proxies.values():
            proxy.close()

    def _dead(self, name: str) -> bool:
        return self.processes[self.devices.names.index(name)].returncode != 0

    def _result(self, name: str) -> Path:
        return self.devices.folder / f"{name}.npz"

    def _said(self, device: int) -> str:
        return (self.devices.folder / f"{self.devices.names[device]}.log").read_text()[-2000:]

    def _port(self, one: int, other: int) -> int:
        pairs = [(a, b) for a in range(self.devices.count) for b in range(a + 1, self.devices.count)]
        return self.devices.port + pairs.index((one, other))

    def _options(self, device: int) -> list[str]:
        folder, name = self.devices.folder, self.devices.names[device]
        self._result(name).unlink(missing_ok=True)
        found = [f"--record={folder / name}.json", *["--emulate"] * self.devices.emulate]
        found += ["--patience=2"] if self.devices.count > 1 else []
        for actor in self.devices.system.graph.actors:
            if self.devices.system.homes[actor.name] != name:
                continue
            given = {}
            kind = getattr(actor.behaviour, "class_name", "")
            if kind == "Paced":
                given = {"path": folder / "tokens.npy", "begun": self.begun, "count": self.frames, "pace": self.pace}
            elif kind == "Stamped":
                given = {"path": self._result(name)}
            elif kind == "TensorSink":
                given = {"path": folder / f"missing-{device + 1}"}
            found += [f"--set={actor.name}.{key}={value}" for key, value in given.items()]
        for (one, other), (port, _) in self.proxies.items():
            if other == device:  # the later one dials
                found.append(f"--link={self.devices.names[one]}=127.0.0.1:{port}")
        return found


def _call(*words: object) -> str:
    result = CliRunner().invoke(cli, [str(word) for word in words])
    if result.exit_code:
        raise SystemExit(f"eprune {' '.join(map(str, words))}: {result.output}")
    return result.stdout


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}
