#!/usr/bin/env python3
"""Measures every alternative of an exploration, one JSON line each, in results.jsonl. Part of eprune.

A copy of this file lies beside explore.json, so that a device needs Python and nothing else to run it. Start it on each
platform with the platform's name, or by the script measure-PLATFORM.sh. The first endpoint leads: it says which
alternative is next, and collects what the others have measured. The others wait for it and run what it asks for, by the
name of an alternative, never by anything else.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import ipaddress
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Optional

#: The folder of what several programs hold, and the ending of the list of a program's parts.
STORE = "store"
PARTS = ".parts"
#: The port at which the others wait for the leader.
PORT = 5090
#: Seconds that the leader waits for the others to be there.
PATIENCE = 60.0
#: Seconds that a program has to end once its peer has failed.
GRACE = 3.0
#: Frames that come before what is measured, at most: memory is touched for the first time, libraries load.
WARM_UP = 5
#: Bytes of a request, and of an answer, at most.
REQUEST_BYTES = 4096
ANSWER_BYTES = 2**24


# Results: one JSON line a measurement.


def measurement(plan: str, name: str, records: Mapping[str, Mapping[str, Any]], problem: str = "") -> dict[str, Any]:
    """What the platforms' run records say of one alternative; ``problem`` if it failed, "" if not.

    The first frames, ``warm_up``, are not measured. A platform's ``ms`` is the time per frame from its first firing to
    its last, sending included: what the papers plot. ``busy_ms`` is the part of it in which an actor fired, summed up
    over actors. Of an alternative that failed a platform says no more than what it is.
    """
    if problem:
        platforms = {platform: _identity(record) for platform, record in records.items()}
        return _line(plan, name, problem, 0, None, 0, platforms, notes(records))
    sinks = [actor["firings"] for record in records.values() for actor in record["actors"].values()]
    frames = min(sinks, default=0)
    platforms = {platform: _side(record, frames) for platform, record in records.items()}
    slowest = max((side["ms"] for side in platforms.values()), default=0.0)
    rate = 1e3 / slowest if slowest else None
    nbytes = sum(side["sent_bytes"] for side in platforms.values())
    return _line(plan, name, "", frames, rate, nbytes, platforms, notes(records))


def notes(records: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What the run records note of what was left out, assumed or cut short: ``PLATFORM: MESSAGE``, each once."""
    found = [
        f"{platform}: {event['message']}"
        for platform, record in records.items()
        for event in record.get("events", ())
        if event.get("event") in ("note", "warning") and event.get("message")
    ]
    return list(dict.fromkeys(found))


def _line(
    plan: str,
    name: str,
    problem: str,
    frames: int,
    rate: Optional[float],
    nbytes: float,
    platforms: Any,
    noted: Sequence[str],
) -> dict[str, Any]:
    return {
        "plan": plan,
        "alternative": name,
        "ok": not problem,
        "problem": problem,
        "frames": frames,
        "frames_per_second": rate,
        "bytes": nbytes,
        "platforms": platforms,
        "notes": list(noted),
        "time": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _side(record: Mapping[str, Any], frames: int) -> dict[str, Any]:
    activities = [*record["actors"].values(), *record["links"].values()]
    begins = [each["first_s"] for each in activities if each["first_s"] is not None]
    ends = [each["last_s"] for each in activities if each["last_s"] is not None]
    each = max(frames, 1)
    sent = sum(fifo["bytes"] for fifo in record["fifos"].values() if fifo["kind"] == "tx")
    return {
        "ms": 1e3 * (max(ends) - min(begins)) / each if begins else 0.0,
        "busy_ms": 1e3 * sum(actor["busy_s"] for actor in record["actors"].values()) / each,
        "actors": {name: 1e3 * actor["busy_s"] / each for name, actor in record["actors"].items()},
        "sent_bytes": sent / (each + record.get("warm_up", 0)),
        **_identity(record),
    }


def _identity(record: Mapping[str, Any]) -> dict[str, Any]:
    """What ran there, and on which machine."""
    names = (
        *("host", "machine", "python", "interpreter", "emulated", "peak_memory_bytes"),
        *("user_s", "system_s", "resident_bytes", "unique_bytes", "load", "machine_load"),
    )
    return {name: record.get(name) for name in names}


def warm_up(frames: int) -> int:
    """How many frames come before ``frames`` that are measured: not more than these."""
    return min(frames, WARM_UP)


def append(path: Path, line: Mapping[str, Any]) -> None:
    """Add a line to the results; a torn one at the end, of a run that was cut off, is closed first. Raises OSError."""
    with path.open("ab+") as stream:
        if stream.tell():
            stream.seek(-1, os.SEEK_END)
            torn = stream.read(1) != b"\n"
        else:
            torn = False
        stream.write(b"\n" * torn + json.dumps(line).encode() + b"\n")


def emulated(line: Mapping[str, Any]) -> bool:
    """Whether units and links were emulated in a measurement."""
    return bool(line.get("emulated"))


def read(path: Path, plan: str, emulation: Optional[bool] = None) -> dict[str, dict[str, Any]]:
    """Alternative -> its last measurement under this plan. Lines that are torn or foreign are passed over.

    With ``emulation`` only those count that were emulated (True), or were not (False).
    """
    results = {}
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return {}
    for text in lines:
        try:
            line = json.loads(text)
            if line["plan"] == plan and emulation in (None, emulated(line)):
                results[line["alternative"]] = line
        except (ValueError, TypeError, KeyError):
            continue
    return results


def passed_over(path: Path, plan: str) -> str:
    """A sentence on the lines that ``read`` passes over, "" if there are none."""
    torn = foreign = 0
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return ""
    for text in filter(None, lines):
        try:
            line = json.loads(text)
            foreign += line["plan"] != plan and bool(line["alternative"])
        except (ValueError, TypeError, KeyError):
            torn += 1
    parts = [f"{foreign} of another exploration"] * bool(foreign) + [f"{torn} torn"] * bool(torn)
    return f"{path}: of {len(lines)} lines, {' and '.join(parts)} do not count" if parts else ""


def waiting(names: Iterable[str], results: Mapping[str, Mapping[str, Any]], retry: bool) -> list[str]:
    """The alternatives that are still to be measured; with ``retry`` also those that failed."""
    return [name for name in names if name not in results or (retry and not results[name]["ok"])]


# Programs, which lie there in parts.


def program(folder: Path, name: str, platform: str) -> bytes:
    """The program of an alternative on a platform: the .pyz that lies there, or else what its parts make.

    Raises OSError or ValueError for parts that are missing or damaged.
    """
    whole = folder / name / f"{platform}.pyz"
    if whole.exists():
        return whole.read_bytes()
    head, own = _parts(folder, name, platform)
    found, place = [], 0
    for part in head["parts"]:
        if isinstance(part, int):  # so many bytes of its own
            found.append(own[place : place + part])
            place += part
        else:
            found.append(zlib.decompress((folder / STORE / part).read_bytes()))
    data = b"".join(found)
    if hashlib.sha256(data).hexdigest() != head["sha256"]:
        raise ValueError(f"the parts of {whole} do not fit together: explore again, or copy the folder again")
    return data


def has_model(folder: Path, name: str, platform: str) -> bool:
    """Whether an alternative's program on a platform runs a model; False where there is no such program."""
    try:
        return bool(_parts(folder, name, platform)[0]["model"])
    except (OSError, ValueError, KeyError):
        return False


def _parts(folder: Path, name: str, platform: str) -> tuple[dict[str, Any], bytes]:
    """The list of a program's parts, and those that are its own."""
    path = folder / name / f"{platform}{PARTS}"
    try:
        text, _, own = zlib.decompress(path.read_bytes()).partition(b"\n")
        return json.loads(text), own
    except zlib.error as error:
        raise ValueError(f"{path}: {error}: explore again, or copy the folder again") from None


# One alternative on this platform.


class ProgramRun(threading.Thread):
    """A program of an alternative, run to its end; then ``record`` is its run record, or ``problem`` says why not."""

    def __init__(self, folder: Path, name: str, options: argparse.Namespace, frames: int) -> None:
        super().__init__(daemon=True)
        self.record: Optional[dict[str, Any]] = None
        self.problem = ""
        self._process: Optional[subprocess.Popen[bytes]] = None
        self._folder, self._name = folder, name
        self._limit = options.limit
        self._platform = options.platform
        self._arguments = [
            f"--frames={frames}",
            f"--warm-up={warm_up(frames)}",
            f"--bind={options.bind}",
            *["--insecure"] * options.insecure,
        ]
        # Not as options: a program has no link to a platform that its alternative does not use.
        links = {f"EPRUNE_LINK_{platform.upper().replace('-', '_')}": host for platform, host in options.at}
        self._environment = {**os.environ, **links}
        self.start()

    def run(self) -> None:
        """Start the program and wait for its end."""
        with tempfile.TemporaryDirectory(prefix="eprune-") as folder:
            record, whole = Path(folder, "record.json"), Path(folder, f"{self._platform}.pyz")
            command = [sys.executable, str(whole), *self._arguments, f"--record={record}"]
            try:
                whole.write_bytes(program(self._folder, self._name, self._platform))
                with subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    env=self._environment,
                ) as self._process:
                    output = self._talk(self._process)
                if self._process.returncode:
                    last = output.decode(errors="replace").strip().splitlines()[-1:]
                    self.problem = (last or [f"{self._platform}: exit code {self._process.returncode}"])[0]
                else:
                    self.record = json.loads(record.read_bytes())
            except subprocess.TimeoutExpired:
                self.problem = f"{self._platform}: not done after {self._limit:g} s"
            except (OSError, ValueError, zlib.error, KeyError, TypeError) as error:
                self.problem = f"{self._platform}: {error}"

    def _talk(self, process: subprocess.Popen[bytes]) -> bytes:
        """What the program says on stderr until it ends. Raises TimeoutExpired, after which it has ended, too."""
        try:
            return process.communicate(timeout=self._limit)[1]
        except subprocess.TimeoutExpired:
            process.kill()
            raise

    def stop(self) -> None:
        """End the program, if it still runs."""
        if self._process is not None:
            self._process.kill()
            self.join()

    def finish(self, failed: bool) -> None:
        """Wait for the end; a program whose peer has failed gets little time to notice."""
        if failed:
            self.join(GRACE)
            if self.is_alive() and self._process is not None:
                self._process.terminate()
                self.join()
                self.problem = ""  # it was not to blame
        self.join()


# The leader.


class Gone(Exception):
    """A platform's script does not answer, or cannot."""


class Lost(Gone):
    """It has gone in the middle of an alternative."""


def lead(folder: Path, plan: Mapping[str, Any], options: argparse.Namespace) -> int:
    """Measure what is not measured yet, alternative by alternative."""
    results = folder / "results.jsonl"
    homes = {alternative["name"]: alternative["homes"] for alternative in plan["alternatives"]}
    names = waiting(homes, read(results, plan["id"]), options.retry)
    total = len(homes)
    for name in names:
        begin = time.monotonic()
        others = sorted(set(homes[name].values()) - {options.platform})
        try:
            line = _measure(folder, plan, options, name, others)
        except Gone as error:
            _say(f"error: {error}")
            return 1
        append(results, line)
        outcome = f"{line['frames']} frames, {time.monotonic() - begin:.1f} s" if line["ok"] else line["problem"]
        _say(f"{name} of {total}: {outcome}")
    for platform in dict.fromkeys(home for home in plan["platforms"] if home != options.platform):
        with contextlib.suppress(OSError, Gone):
            _ask(plan, options, platform, {"end": True}, patience=1.0)
    failed = sum(not line["ok"] for line in read(results, plan["id"]).values())
    _say(f"all {total} alternatives are measured" + (f", {failed} of them failed" if failed else ""))
    return 0


def _measure(
    folder: Path, plan: Mapping[str, Any], options: argparse.Namespace, name: str, others: list[str]
) -> dict[str, Any]:
    questions = {platform: _ask(plan, options, platform, {"run": name}, PATIENCE) for platform in others}
    own = ProgramRun(folder, name, options, plan["frames"])
    answers = {}
    try:
        for platform, connection in questions.items():
            with connection:
                try:
                    answers[platform] = _answer(connection, platform, options.limit)
                except Lost as error:  # perhaps this alternative is what killed it
                    answers[platform] = {"record": None, "problem": str(error)}
        own.finish(any(answer["problem"] for answer in answers.values()))
    except BaseException:
        own.stop()
        raise
    answers[options.platform] = {"record": own.record, "problem": own.problem}
    problem = "; ".join(answer["problem"] for answer in answers.values() if answer["problem"])
    records = {platform: answer["record"] for platform, answer in answers.items() if answer["record"]}
    return measurement(plan["id"], name, records, problem)


def _ask(
    plan: Mapping[str, Any], options: argparse.Namespace, platform: str, request: Mapping[str, Any], patience: float
) -> socket.socket:
    """Send a request to a platform's script. Raises Gone if nobody is there in time."""
    addresses = {link["to"]: link["address"] for link in plan["links"] if link["from"] == options.platform}
    host = {**addresses, **{name: _host(at) for name, at in options.at}}.get(platform, "127.0.0.1")
    _check_address(host, options)
    port = options.port + plan["platforms"].index(platform)
    deadline = time.monotonic() + patience
    while True:
        try:
            connection = socket.create_connection((host, port), timeout=5.0)
            break
        except OSError as error:
            if time.monotonic() > deadline:
                raise Gone(
                    f"{platform} does not answer at {host}:{port}: {error}\n"
                    "hint: start its script there, then this one again: it goes on where it stopped"
                ) from None
            time.sleep(0.2)
    connection.sendall(json.dumps({"plan": plan["id"], **request}).encode() + b"\n")
    return connection


def _answer(connection: socket.socket, platform: str, limit: float) -> dict[str, Any]:
    connection.settimeout(limit + PATIENCE)
    try:
        answer: dict[str, Any] = json.loads(_read_line(connection, ANSWER_BYTES))
        if "refusal" in answer:
            raise Gone(str(answer["refusal"]))
        return {"record": answer["record"], "problem": answer["problem"]}
    except (OSError, ValueError, KeyError, TypeError):
        raise Lost(f"{platform} has gone in the middle of an alternative") from None


def _host(address: str) -> str:
    """Without the port: ``HOST``, ``HOST:PORT``, ``[HOST]:PORT``, or an IPv6 address."""
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address if address.count(":") > 1 else address.partition(":")[0]


# The others.


def follow(folder: Path, plan: Mapping[str, Any], options: argparse.Namespace) -> int:
    """Run what the leader asks for, until it says that it is done."""
    names = {alternative["name"] for alternative in plan["alternatives"]}
    port = options.port + plan["platforms"].index(options.platform)
    _check_address(options.bind, options)
    with socket.create_server((options.bind, port)) as listener:
        _say(f"{options.platform} waits for {plan['platforms'][0]} at {options.bind}:{port}")
        while True:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.settimeout(5.0)
                try:
                    request = json.loads(_read_line(connection, REQUEST_BYTES))
                    known = request["plan"] == plan["id"] and (request.get("end") or request["run"] in names)
                except (ValueError, KeyError, TypeError):
                    continue
                if not known:
                    refusal = f"{options.platform} has another exploration, or another version of it: copy it again"
                    _reply(connection, {"refusal": refusal})
                elif request.get("end"):
                    _say("all alternatives are measured")
                    return 0
                else:
                    run = ProgramRun(folder, request["run"], options, plan["frames"])
                    try:
                        run.join()
                    except BaseException:
                        run.stop()
                        raise
                    _say(f"{request['run']} of {len(names)}: {run.problem or 'done'}")
                    _reply(connection, {"record": run.record, "problem": run.problem})


def _reply(connection: socket.socket, answer: Mapping[str, Any]) -> None:
    connection.sendall(json.dumps(answer).encode() + b"\n")


def _read_line(connection: socket.socket, limit: int) -> bytes:
    """What the peer sends up to the end of its line. Raises ValueError if that is too long, or does not come."""
    data = b""
    while not data.endswith(b"\n"):
        part = connection.recv(65536)
        data += part
        if not part or len(data) > limit:
            raise ValueError("no line")
    return data


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Unsafe(Exception):
    """What was asked for would leave this machine in the clear."""


def _check_address(host: str, options: argparse.Namespace) -> None:
    """Raises Unsafe for an address beyond loopback, unless that is meant."""
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host.lower() == "localhost"
    if not loopback and not options.insecure:
        raise Unsafe(
            f"{host or 'every address'} is not loopback, and these scripts talk in the clear, to anybody: "
            "say --insecure where you trust everybody on the network, "
            "or measure over SSH: eprune profile --endpoint ssh://HOST"
        )


def _write(folder: Path, plan: Mapping[str, Any], options: argparse.Namespace) -> int:
    """Write the program of one alternative, as a file."""
    homes = {alternative["name"]: alternative["homes"] for alternative in plan["alternatives"]}
    if options.platform not in homes.get(options.write, {}).values():
        _say(f"error: {options.platform} runs nothing in an alternative {options.write!r}")
        return 2
    path = folder / options.write / f"{options.platform}.pyz"
    path.write_bytes(program(folder, options.write, options.platform))
    path.chmod(0o755)
    print(path)
    return 0


def _at(text: str) -> tuple[str, str]:
    platform, equals, host = text.partition("=")
    if not equals or not host:
        raise argparse.ArgumentTypeError(f"{text!r}: expected PLATFORM=HOST[:PORT]")
    return platform, host


def main(arguments: Optional[Iterable[str]] = None) -> int:
    """The command line."""
    folder = Path(__file__).resolve().parent
    plan = json.loads((folder / "explore.json").read_text(encoding="utf-8"))
    parser = argparse.ArgumentParser(description="Measure every alternative, this platform's part of it.")
    parser.add_argument("platform", choices=plan["platforms"], help="the platform that this machine is")
    parser.add_argument("--at", action="append", type=_at, default=[], metavar="PLATFORM=HOST", help="its address")
    parser.add_argument("--bind", default="127.0.0.1", metavar="ADDRESS", help="the address to listen on")
    parser.add_argument("--insecure", action="store_true", help="use addresses beyond loopback, in the clear")
    parser.add_argument("--port", type=int, default=PORT, help="where the others wait for the leader")
    parser.add_argument("--limit", type=float, default=3600.0, metavar="S", help="seconds for an alternative")
    parser.add_argument("--retry", action="store_true", help="measure again what failed")
    parser.add_argument("--write", metavar="K", help="only write this alternative's program: K/PLATFORM.pyz")
    options = parser.parse_args(None if arguments is None else list(arguments))
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:  # not under nohup
            signal.signal(number, signal.default_int_handler)
    try:
        if options.write is not None:
            return _write(folder, plan, options)
        return (lead if options.platform == plan["platforms"][0] else follow)(folder, plan, options)
    except KeyboardInterrupt:
        return 130
    except Unsafe as error:
        _say(f"error: {error}")
        return 2
    except OSError as error:
        _say(f"error: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
