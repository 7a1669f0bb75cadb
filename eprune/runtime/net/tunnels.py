"""Links that are not made directly: the process beside a program that carries their connections, and its keeper."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eprune.runtime.kernel.errors import UsageError
from eprune.runtime.net.tls import is_loopback
from eprune.runtime.tell.journal import Journal

#: Seconds before a process that has ended is started again: at first, and at most, if it ends again and again.
REST, LONGEST = 1.0, 60.0
#: Where the peers are looked for by multicast.
DISCOVER = "discover"


@dataclass(frozen=True)
class Ends:
    """What of a program's links goes through tunnels: ``PEER/PORT``, as the platforms' files have it.

    ``dials`` are the connections that are made here, ``accepts`` (with the port on which the program listens) those
    that are made there.
    """

    dials: Sequence[str]
    accepts: Mapping[str, int]


def reach(places: Sequence[str]) -> str:
    """The first of these places that is not on this machine for certain; '' if all are."""
    for place in places:
        host = place.partition("/")[2].rpartition(":")[0].strip("[]")
        if not place.startswith("unixsock") and not (host and is_loopback(host)):
            return place
    return ""


class Tunnel:
    """The process that carries connections over zenoh, started again whenever it ends, until this is closed.

    ``ports`` is where the program dials: ``PEER/PORT`` -> port on loopback; they stay the same.
    """

    def __init__(self, application: str, platform: str, ends: Ends, places: Sequence[str], journal: Journal) -> None:
        """Start it. Raises UsageError where that cannot work."""
        self._journal = journal
        self._wanted: dict[str, Any] = {
            "application": application,
            "platform": platform,
            "places": list(places),
            "accepts": dict(ends.accepts),
            "dials": dict.fromkeys(ends.dials, 0),
        }
        self._closed = threading.Event()
        self._process, answer = self._start()
        if "ports" not in answer:
            problem = answer.get("problem", "it ended without a word")
            hint = "; install it (pip install eclipse-zenoh)" if "No module named" in problem else ""
            raise UsageError(f"links via zenoh: {problem}{hint}")
        self.ports: dict[str, int] = answer["ports"]
        self._wanted["dials"] = self.ports
        threading.Thread(target=self._keep, name="zenoh tunnel", daemon=True).start()

    def close(self) -> None:
        """End it, after what it still has to say."""
        self._closed.set()
        process = self._process
        with contextlib.suppress(OSError):
            process.stdin.close()  # type: ignore[union-attr]
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(3.0)
            return
        process.kill()
        process.wait()

    def _start(self) -> tuple[subprocess.Popen[str], dict[str, Any]]:
        root = str(Path(__file__).parents[3])  # of a bundle, the bundle
        run = "from eprune.runtime.net.zenoh_tunnel import main; sys.exit(main())"
        command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {root!r}); {run}"]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, start_new_session=True)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(self._wanted) + "\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline() or "{}")
        except (OSError, ValueError):
            answer = {}
        return process, answer

    def _keep(self) -> None:
        rest = REST
        while True:
            begun = time.monotonic()
            said = self._process.stdout.read()  # type: ignore[union-attr]
            code = self._process.wait()
            if self._closed.is_set():
                return
            reason = json.loads(said)["problem"] if said.strip() else f"exit code {code}"
            self._journal.log("warning", f"the zenoh tunnel has ended, and is started again: {reason}")
            rest = REST if time.monotonic() - begun > LONGEST else min(2 * rest, LONGEST)
            if self._closed.wait(rest / 2):
                return
            self._process, _ = self._start()
            if self._closed.is_set():
                self.close()
                return
