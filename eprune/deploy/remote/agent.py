"""The device's end of ``eprune deploy``: answers one request after the other, and cleans up whatever happens.

Requests are lines of JSON on standard input (``do``, its arguments, and ``size`` where that many bytes follow), with an
empty line now and then as a sign of life. Each is answered by a line of JSON on standard output, ``done`` or
``problem``; before it there may be lines ``say``. When standard input ends or is silent for too long while a version is
being tried out, the version before comes back at once.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, Optional

from eprune.deploy.remote import environment, services
from eprune.deploy.remote.environment import Gone
from eprune.deploy.remote.running import Running
from eprune.deploy.remote.versions import Place, Problem

#: Seconds of silence after which the other side is taken for gone.
PATIENCE = 30.0
#: Seconds between two questions to what keeps a program that is watched running.
WATCHED = 5.0
#: Seconds until the events of a program that is watched are sent.
SOON = 0.1
#: Seconds in which a program writes what it has copied, and bytes of a piece of a file.
FINISHED, PIECE = 10.0, 1 << 20
#: How a line of the log begins that is an event.
EVENT = '{"time": '
#: Bytes of a request at most.
REQUEST_BYTES = 16 << 20

Request = dict[str, Any]


def send(**line: Any) -> None:
    """Say something, if anybody still listens."""
    with contextlib.suppress(OSError):
        data = json.dumps(line).encode() + b"\n"
        while data:
            data = data[os.write(1, data) :]


class Input:
    """Standard input, by lines and by bytes."""

    def __init__(self) -> None:
        self._rest = b""

    def request(self) -> Request:
        """The next line that says something. Raises Gone, or ValueError for nonsense."""
        while True:
            line, newline, rest = self._rest.partition(b"\n")
            if newline:
                self._rest = rest
                if line.strip():
                    request: Request = json.loads(line)
                    return request
            else:
                if len(line) > REQUEST_BYTES:
                    raise ValueError("no request")
                self._rest += self._more()

    def copy(self, size: int, write: Callable[[bytes], Any]) -> None:
        """The next ``size`` bytes, of which all are read even if writing fails. Raises Gone, OSError."""
        failure: Optional[OSError] = None
        while size:
            data, self._rest = self._rest[:size], self._rest[size:]
            data = data or self._more(size)
            size -= len(data)
            if failure is None:
                try:
                    write(data)
                except OSError as error:
                    failure = error
        if failure is not None:
            raise failure

    def _more(self, most: int = 65536) -> bytes:
        if not select.select([0], [], [], PATIENCE)[0]:
            raise Gone
        data = os.read(0, min(most, 1 << 20))
        if not data:
            raise Gone
        return data


class Agent:
    """Answers requests about one platform of one application."""

    def __init__(self) -> None:
        self._input = Input()
        self._place: Place
        self._wished = services.PLAIN
        self._claimed = False
        #: the program that runs, once it is asked for a change, and the process of its next generation
        self._running: Optional[Running] = None
        self._next = 0

    def run(self) -> None:
        """Answer until standard input ends."""
        try:
            while True:
                self._answer(self._input.request())
        except Gone:
            pass
        finally:
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            if self._claimed:
                self._go_back()

    def _answer(self, request: Request) -> None:
        try:
            done = getattr(self, f"_do_{request['do']}")(request)
        except Problem as problem:
            send(problem=str(problem))
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            send(problem=f"{where}{error.strerror or error}")
        except subprocess.TimeoutExpired as error:
            send(problem=f"{' '.join(map(str, error.cmd))} takes longer than {error.timeout:g} s")
        else:
            send(done=done)

    # Looking.

    def _do_look(self, request: Request) -> dict[str, Any]:
        """Where this is about, and all that is to be known before anything is changed."""
        place = self._place = Place(request["folder"], request["application"], request["platform"])
        offered = services.available()
        wished = request.get("service") or place.description(place.current()).get("service") or offered[0]
        if wished not in offered:
            raise Problem(f"there is no service manager of the kind {wished!r} for this user; {' or '.join(offered)}")
        self._wished = wished
        found = environment.look(request["modules"], request["addresses"], place.base)
        environments = {}
        for folder in (place.base / "environments").glob("[!.]*"):
            python = environment.python_of(place.base, folder.name)
            if python.exists():
                environments[folder.name] = str(python)
        return {
            **found,
            "base": str(place.base),
            "root": str(place.root),
            "service": wished,
            "environments": environments,
            "neighbours": place.neighbours(),
            **self._do_state(request),
        }

    @property
    def _service(self) -> services.Service:
        """What keeps the current version running; where there is none, what is to."""
        kind = self._place.description(self._place.current()).get("service")
        return services.make(kind if kind in services.available() else self._wished, self._place)

    def _do_state(self, request: Request) -> dict[str, Any]:
        """Which versions there are, and how the program is."""
        place, version, previous = self._place, self._place.current(), self._place.previous()
        return {
            "version": version,
            "previous": previous,
            "cut": place.trial() is not None and not place.locked(),
            "description": place.description(version),
            "previous_description": place.description(previous),
            "certificate": self._certificate(),
            "state": self._do_health(request),
        }

    def _certificate(self) -> Optional[str]:
        try:
            path = self._place.root / "current" / "keys" / f"{self._place.root.name}.crt"
            return path.read_text(errors="replace")
        except OSError:
            return None

    def _do_modules(self, request: Request) -> dict[str, Optional[str]]:
        """Which modules an environment has."""
        python = environment.python_of(self._place.base, request["environment"])
        return environment.versions_in(str(python), request["modules"])

    # Changing.

    def _do_claim(self, request: Request) -> dict[str, Any]:
        """From now on nobody else changes anything; what somebody has left half-done is undone."""
        self._place.claim()
        self._claimed = True
        healed = self._place.trial() is not None
        if healed:
            self._go_back()
            if self._place.current() is None:
                self._place.claim()
        self._place.settle()
        return {"healed": healed, **self._do_state(request)}

    def _do_environment(self, request: Request) -> str:
        """Make an environment; wheels come as files."""
        base = self._place.base
        with tempfile.TemporaryDirectory(prefix="eprune-") as name:
            for wheel, size in request["wheels"].items():
                with (Path(name) / Path(wheel).name).open("wb") as file:
                    self._input.copy(size, file.write)
            wheels = Path(name) if request["carried"] else None
            environment.make(base, request["name"], request["requirements"], wheels, lambda text: send(say=text))
        return str(environment.python_of(base, request["name"]))

    def _do_stage(self, request: Request) -> list[str]:
        return self._place.stage(request["version"], request["files"])

    def _do_open(self, request: Request) -> None:
        self._place.open(request["name"], request["mode"])

    def _do_piece(self, request: Request) -> None:
        """A part of the file, whose bytes follow."""
        self._input.copy(request["size"], self._place.write)

    def _do_close(self, request: Request) -> None:
        self._place.close(request["sha256"])

    def _do_begin(self, request: Request) -> None:
        self._place.begin(request["version"], self._service.phase)

    def _do_stop(self, request: Request) -> None:
        self._service.stop()

    def _do_switch(self, request: Request) -> None:
        self._place.switch(request["version"])

    def _do_start(self, request: Request) -> str:
        """Start the current version; what is to be said about it."""
        return self._start()

    def _start(self) -> str:
        service = self._service
        for kind in services.available():  # the version before may have been for another one
            if kind != service.kind:
                services.make(kind, self._place).remove()
        service.install()
        service.start()
        return services.linger() if service.kind == services.USER else ""

    # Changing while it runs: see runtime/main/succession.py.

    def _do_next(self, request: Request) -> None:
        """Start the version that was staged as the next generation of what runs."""
        self._running = Running(self._service.control)
        self._next = self._running.ask("start", command=self._place.command(request["version"]), reset=request["reset"])

    def _do_taken(self, request: Request) -> list[int]:
        """Those of the ports that somebody listens on."""
        return [port for port in request["ports"] if not environment.can_listen(port)]

    def _do_ask(self, request: Request) -> Any:
        """What the program that runs answers."""
        return self._told().ask(request["what"], **request["arguments"])

    def _do_commit(self, request: Request) -> None:
        """The last word: what runs hands over to the next generation. A cut after it is undone by a restart."""
        self._place.commit()
        self._told().ask("commit")

    def _do_taken_over(self, request: Request) -> bool:
        """Whether the next generation is the one that runs. Raises Problem where it never will be."""
        state = self._service.state()
        if state["pid"] == self._next:
            return state["status"] is not None and state["status"]["pid"] == self._next
        problem = ""
        with contextlib.suppress(Problem):
            problem = self._told().ask("describe")["problem"]
        if problem:
            raise Problem(problem)
        if state["active"] not in ("running", "starting"):
            raise Problem(f"nobody has taken over: the program is {state['active']}")
        return False

    def _told(self) -> Running:
        if self._running is None:
            self._running = Running(self._service.control)
        return self._running

    def _do_disable(self, request: Request) -> None:
        self._service.disable()

    def _do_health(self, request: Request) -> dict[str, Any]:
        """How the program is; ``age``: seconds since its report."""
        state = self._service.state()
        return {**state, "age": time.time() - state["status"]["time"] if state["status"] else None}

    def _do_keep(self, request: Request) -> None:
        self._place.keep()

    def _go_back(self) -> None:
        """Undo a trial, if there is one, and leave nothing of what was only received."""
        trial = self._place.trial()
        if trial is None:
            self._place.settle()
        elif self._untouched(trial):
            if self._running is not None:
                self._running.close()  # which ends the next generation
            self._place.back()  # nothing has happened yet, and what runs goes on
        else:
            self._service.stop()
            self._place.back()
            if trial["before"] is None:
                self._remove_services()
            elif trial["phase"] != "stopped":  # what had come to its end begins anew
                self._start()
        self._place.forget()

    def _untouched(self, trial: dict[str, Any]) -> bool:
        """Whether what ran before the trial runs on as if nothing had happened."""
        same = self._place.current() == trial["before"] and self._service.phase == trial["phase"]
        return same and not trial.get("committed")

    def _do_remove(self, request: Request) -> bool:
        """Leave nothing, except for what the program has written; whether there is something of that."""
        self._service.stop()
        self._remove_services()
        return self._place.clear(request["purge"])

    def _remove_services(self) -> None:
        for kind in services.available():
            services.make(kind, self._place).remove()

    # Logs.

    def _do_logs(self, request: Request) -> None:
        """Lines of the log, as ``say``; with ``follow`` until the other side has enough."""
        for line in self._log(request["lines"], request["follow"]):
            if line is not None:
                send(say=line)

    def _do_watch(self, request: Request) -> None:
        """How the program is, every ``period`` seconds, and its events, until the other side has enough.

        Both as JSON in ``say``: {"state": ..., "version": ...} as in ``state``, or {"line": ...}. What actors print may
        be as much as there are frames, and is not sent.
        """
        period, asked, state = request["period"], 0.0, self._do_health({})
        due = 0.0
        for line in self._log(request["lines"], True, period, SOON):
            if line is not None and line.startswith(EVENT):
                send(say=json.dumps({"line": line}))
            if time.monotonic() < due:
                continue
            due = time.monotonic() + period
            # What keeps it running may be slow to ask; the program's own report is a file.
            report = self._service.report(state["pid"])
            same = report is not None and report["pid"] == state["pid"] and state["active"] == "running"
            if not same or time.monotonic() >= asked + WATCHED:
                asked, state = time.monotonic(), self._do_health({})
            elif report is not None:
                state = {**state, "status": report, "age": time.time() - report["time"]}
            send(say=json.dumps({"version": self._place.current(), "state": state}))

    # Recordings.

    def _do_record(self, request: Request) -> dict[str, Any]:
        """Have the program copy tokens of its FIFOs (``taps``: FIFO -> limits) for so many seconds; how far it came."""
        status = self._service.report_path(self._do_health({})["pid"])
        wish = status.with_name(f"{status.name}.tap")
        if wish.exists():
            raise Problem("somebody else is recording here")
        self._await_untapped(request)  # the program may not have noticed yet that an earlier recording is over
        if self._taps(request):
            raise Problem(f"{', '.join(self._taps(request))}: the program records that already, as it was told to")
        taps: dict[str, Any] = {}
        until = time.monotonic() + request["seconds"]
        try:
            wish.write_text(json.dumps(request["taps"]))
            while time.monotonic() < until and not (taps and all(tap["done"] for tap in taps.values())):
                if select.select([0], [], [], 0.2)[0] and not os.read(0, 4096):
                    raise Gone
                taps = self._taps(request)
        finally:
            wish.unlink(missing_ok=True)
        if not all(tap["done"] for tap in taps.values()):
            self._await_untapped(request)  # what was copied is being written
        return taps

    def _await_untapped(self, request: Request) -> None:
        until = time.monotonic() + FINISHED
        while self._taps(request) and time.monotonic() < until:
            time.sleep(0.1)

    def _taps(self, request: Request) -> dict[str, Any]:
        report = self._service.report(self._do_health({})["pid"]) or {}
        return {name: tap for name, tap in report.get("taps", {}).items() if name in request["taps"]}

    def _do_fetch(self, request: Request) -> None:
        """A recording, in pieces, as ``say``; it is removed here."""
        path = Path(request["file"])
        if not re.fullmatch(r"recorded-[\w-]+\.npy", path.name):
            raise Problem(f"{path} is no recording")
        with path.open("rb") as file:
            while data := file.read(PIECE):
                send(say=base64.b64encode(data).decode())
        path.unlink()

    def _log(self, lines: int, follow: bool, period: float = PATIENCE, pause: float = 0.0) -> Iterator[Optional[str]]:
        """Lines of the log; None whenever there was none for ``period`` seconds. Raises Gone.

        After each look it rests for ``pause`` seconds: a log may get a line a frame.
        """
        command = self._service.log_command(lines, follow)
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as log:
            assert log.stdout is not None
            output, rest, heard = log.stdout.fileno(), b"", time.monotonic()
            try:
                while True:
                    ready = select.select([output, 0], [], [], period)[0]
                    if 0 in ready:
                        heard = time.monotonic()
                        if not os.read(0, 4096):
                            raise Gone
                    if time.monotonic() > heard + PATIENCE:
                        raise Gone
                    if output not in ready:
                        yield None
                        continue
                    data = os.read(output, 65536)
                    if not data:
                        break
                    *whole, rest = (rest + data).split(b"\n")
                    yield from (line.decode("utf-8", "replace") for line in whole)
                    time.sleep(pause)
            finally:
                log.kill()
        if rest:
            yield rest.decode("utf-8", "replace")


def _stop(number: int, _: Any) -> None:
    raise Gone


def main() -> int:
    """Answer requests."""
    os.umask(0o022)
    for wanted in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        signal.signal(wanted, _stop)
    with contextlib.suppress(OSError):
        os.setsid()  # the end of the session is no reason to stop half-way
    send(hello=1)
    try:
        Agent().run()
    except (ValueError, KeyError, AttributeError) as error:
        send(problem=f"{type(error).__name__}: {error}")
        return 1
    return 0
