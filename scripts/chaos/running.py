"""The real processes of a case, and what their actors write."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, Optional

from eprune.analysis.check import check
from eprune.analysis.failures import FaultModel
from eprune.cli.reading import sound
from eprune.deploy.build import programs_of, write_program
from eprune.formats.system import read_system
from eprune.model.system import System
from scripts.chaos.network import Loopback, Namespaces
from scripts.chaos.surroundings import Calm, Reader, Surroundings
from scripts.chaos.topologies import ROOT, Topology

#: Seconds of silence after which a peer is dead.
DEAD_AFTER = 0.5


class Token(NamedTuple):
    """What an actor got: ``number`` of what its source's incarnation made."""

    port: str
    source: int
    incarnation: int
    number: int


class Firing(NamedTuple):
    """A line of an actor's log; ``time`` is of time.monotonic."""

    time: float
    tokens: tuple[Token, ...]


class Log:
    """An actor's firings, in all incarnations of its process, as far as they have been read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self.firings: list[Firing] = []

    def update(self) -> list[Firing]:
        """Read on; all firings."""
        with contextlib.suppress(FileNotFoundError), self._path.open("rb") as file:
            file.seek(self._read)
            data = file.read()
            whole = data[: data.rfind(b"\n") + 1]
            self._read += len(whole)
            self.firings += [_firing(line) for line in whole.decode().splitlines()]
        return self.firings


def _firing(line: str) -> Firing:
    when, *tokens = line.split()
    parts = [token.rsplit(":", 3) for token in tokens]
    return Firing(float(when), tuple(Token(port, *map(int, rest)) for port, *rest in parts))  # type: ignore[arg-type]


class Built(NamedTuple):
    """A topology's programs, by platform; those of ``strangers`` are the same with another digest."""

    folder: Path
    system: FaultModel
    programs: dict[str, Path]
    strangers: dict[str, Path]


def build(topology: Topology, folder: Path) -> Built:
    """Write a topology's files and generate its programs."""
    topology.write(folder)
    system = read(folder)
    programs, strangers = {}, {}
    for program in programs_of(system):
        path = folder / f"{program.platform}.py"
        write_program(program, str(path))
        programs[program.platform] = path
        stranger = folder / f"{program.platform}.stranger.py"
        stranger.write_text(path.read_text().replace(program.digest, program.digest[::-1]))
        strangers[program.platform] = stranger
    return Built(folder, FaultModel(system), programs, strangers)


def read(folder: Path) -> System:
    """An application's files. Raises EpruneError if they break a rule."""
    platforms, mappings = (sorted(map(str, (folder / name).iterdir())) for name in ("platforms", "mappings"))
    system = read_system(str(folder / "application.xml"), platforms, mappings, check, allow_outside=True)
    sound(system)
    return system


class Run:
    """One run of a built topology; ``patience``: seconds for which lost peers are waited for.

    Leaves no process behind: use as a context.
    """

    def __init__(
        self,
        built: Built,
        network: Loopback | Namespaces,
        patience: float,
        surroundings: Surroundings = Surroundings(),  # noqa: B008, frozen
    ) -> None:
        self.patience = patience
        self.surroundings = surroundings
        self.calm = Calm()
        #: (platform, stream) -> who reads it, of pipes
        self.readers: dict[tuple[str, str], Reader] = {}
        self.built = built
        self.system = built.system
        self.network = network
        #: actors that write logs; segments of a model do not
        self.logged = {
            actor.name for actor in built.system.graph.actors if not (actor.behaviour and actor.behaviour.operators)
        }
        self.logs = {actor.name: Log(built.folder / f"{actor.name}.log") for actor in built.system.graph.actors}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        #: platform -> what all its incarnations said on stderr, in files
        self._said: dict[str, list[Path]] = {platform: [] for platform in built.programs}
        self._records: dict[str, Path] = {}
        #: processes that were given up: killed, or strangers
        self._former: list[subprocess.Popen[bytes]] = []
        for path in (*built.folder.glob("*.log"), built.folder / "stop"):
            path.unlink(missing_ok=True)

    def __enter__(self) -> Run:
        for platform in self.built.programs:
            self.start(platform)
        return self

    def __exit__(self, *_: object) -> None:
        self.calm.stop()
        for process in (*self.processes.values(), *self._former):
            process.kill()
            process.wait()
        for reader in self.readers.values():
            reader.close()

    def start(self, platform: str, stranger: bool = False) -> subprocess.Popen[bytes]:
        """Start a platform's program, or one of another application in its place."""
        number = len(self._said[platform])
        folder = self.built.folder
        said, record = (folder / f"{platform}.{number}.{kind}" for kind in ("err", "json"))
        disk = self.surroundings.disk if platform in self.surroundings.platforms else None
        record = record if disk is None else disk / record.name
        record.unlink(missing_ok=True)
        program = (self.built.strangers if stranger else self.built.programs)[platform]
        words = [sys.executable, str(program), "--no-pin", f"--record={record}", f"--dead-after={DEAD_AFTER}"]
        words.append(f"--timeout={2 if stranger else 20}")
        words += [] if disk is None else [f"--status={disk / 'status'}"]
        text = self.built.programs[platform].read_text()
        words += [f"--patience={self.patience}"] * ("policy=" in text)
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with contextlib.ExitStack() as opened:
            out: Any = subprocess.DEVNULL
            err: Any = opened.enter_context(said.open("wb"))
            if platform in self.surroundings.platforms and self.surroundings.piped:
                out = self._read(platform, "stdout", said.with_suffix(".out"))
                err = self._read(platform, "stderr", said)
                environment["CHAOS_PRINT"] = "1"
            process = subprocess.Popen(
                self.network.command(platform, words),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        self._said[platform].append(said)
        if stranger:
            self._former.append(process)
        else:
            self.processes[platform] = process
            self._records[platform] = record
        return process

    def _read(self, platform: str, stream: str, path: Path) -> int:
        """The end of a pipe that is read into a file."""
        reader = self.readers[platform, stream] = Reader(path)
        return reader.end

    def kill(self, platform: str) -> None:
        """End a process as a power failure does."""
        process = self.processes.pop(platform)
        process.kill()
        self._former.append(process)

    def end_strangers(self) -> None:
        """End the processes of other applications, which may still listen in the place of ours."""
        for process in self._former:
            process.kill()
            process.wait()

    def signal(self, platform: str, number: signal.Signals) -> None:
        """Send a signal to a process."""
        self.processes[platform].send_signal(number)

    def stop(self) -> None:
        """Tell the sources to end."""
        (self.built.folder / "stop").touch()

    def update(self) -> None:
        """Read what the actors wrote meanwhile."""
        for log in self.logs.values():
            log.update()

    def wait(self, holds: Callable[[], bool], seconds: float) -> bool:
        """Read logs until something holds; whether it does before the time is over."""
        deadline = time.monotonic() + seconds
        while True:
            self.update()
            if holds():
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)

    def code(self, platform: str) -> Optional[int]:
        """The exit code of a platform's process; None: it runs."""
        return self.processes[platform].poll()

    def over(self, platforms: Iterable[str]) -> bool:
        """Whether these processes have ended."""
        return all(self.code(platform) is not None for platform in platforms)

    def said(self, platform: str) -> str:
        """What a platform's last process said on stderr."""
        return self._said[platform][-1].read_text()

    def errors(self, platform: str) -> list[str]:
        """Its errors."""
        return [line for line in self.said(platform).splitlines() if ": error: " in line or "Traceback" in line]

    def record(self, platform: str) -> Optional[dict[str, Any]]:
        """The run record of a platform's last process; None: it left none."""
        try:
            return json.loads(self._records[platform].read_text())
        except (OSError, ValueError):
            return None

    def restarts(self, platform: str) -> int:
        """How many more processes than one had this place."""
        return max(len(self._said[platform]) - 1, 0)


def numbers(firings: Iterable[Firing]) -> dict[tuple[str, int, int], list[int]]:
    """(Port, source, incarnation) -> the numbers of the tokens that came, in order. Zero tokens are none."""
    found: dict[tuple[str, int, int], list[int]] = {}
    for firing in firings:
        for token in firing.tokens:
            if token.source or token.number:
                found.setdefault(token[:3], []).append(token.number)
    return found
