"""Watch the programs of a deployed system: a connection to each device, which is made again when it breaks."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Optional

from eprune.codegen.program import PlatformProgram
from eprune.deploy.health import judge
from eprune.deploy.session import Session
from eprune.deploy.sites import Site
from eprune.model.finding import Failure
from eprune.watch.state import Edge, Node, Observation, Reported, Said, Shape, Silent

#: Seconds between two reports of a program, and lines of its log to begin with, in which the last events are.
PERIOD = 1.0
LINES = 1000
#: Seconds until a connection that broke is made again, at first and at most.
AGAIN, AT_MOST = 1.0, 30.0


def shape_of(programs: Sequence[PlatformProgram], sites: Sequence[Site]) -> Shape:
    """What there is to be watched."""
    nodes = [Node(node.name, program.platform, node.members) for program in programs for node in program.nodes]
    edges = []
    sources = {end.fifo.name: end.fifo.source for program in programs for end in program.tx}
    for program in programs:
        local = [(fifo.name, fifo.source, fifo.target) for fifo in program.fifos]
        come = [(end.fifo.name, sources[end.fifo.name], end.fifo.target) for end in program.rx]
        edges += [Edge(name, _node(source), _node(target)) for name, source, target in (*local, *come)]
    return Shape(programs[0].application, {site.platform: str(site) for site in sites}, nodes, edges)


def _node(end: str) -> str:
    return end.partition(".")[0]


class Watching:
    """Watches from entering to leaving; what is seen is ``next``."""

    def __init__(self, application: str, sites: Sequence[Site], period: float = PERIOD) -> None:
        self._application = application
        self._sites = sites
        self._period = period
        self._seen: SimpleQueue[Observation] = SimpleQueue()
        self._over = threading.Event()
        self._sessions: dict[str, Session] = {}
        self._threads = [threading.Thread(target=self._watch, args=(site,), daemon=True) for site in sites]

    def __enter__(self) -> Watching:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for session in list(self._sessions.values()):
            session.let_go()
        for thread in self._threads:
            thread.join(5)

    def next(self, patience: float) -> list[Observation]:
        """What was seen since the last call; it waits at most so many seconds for something."""
        seen = []
        try:
            seen.append(self._seen.get(timeout=patience))
            while True:
                seen.append(self._seen.get_nowait())
        except Empty:
            return seen

    def _watch(self, site: Site) -> None:
        """The life of a device's thread."""
        rest, lines = AGAIN, LINES
        while not self._over.is_set():
            begun = time.monotonic()
            try:
                self._watch_once(site, lines)
                why = "the device has ended the connection"
            except Failure as failure:
                why = str(failure)
            if self._over.is_set():
                return
            self._seen.put(Silent(site.platform, time.time(), why))
            rest = AGAIN if time.monotonic() - begun > AT_MOST else min(2 * rest, AT_MOST)
            self._over.wait(rest)
            lines = 0  # what was said before is known

    def _watch_once(self, site: Site, lines: int) -> None:
        """Connect, and watch until the connection breaks. Raises Failure."""
        session = self._sessions[site.platform] = Session(site)
        try:
            looked = session.call(
                "look",
                application=self._application,
                platform=site.platform,
                folder=site.folder,
                modules=[],
                addresses=[],
            )
            while looked["version"] is None and not self._over.is_set():
                why = "nothing is deployed there"
                self._seen.put(Reported(site.platform, time.time(), "not deployed", why))
                self._over.wait(self._period)
                looked = session.call("state")
            session.call("watch", on_say=lambda said: self._heard(site, said), lines=lines, period=self._period)
        finally:
            session.hang_up()

    def _heard(self, site: Site, said: str) -> None:
        """A device says something."""
        try:
            told = json.loads(said)
            if "line" in told:
                self._seen.put(event_of(site.platform, json.loads(told["line"])))
            elif "state" in told:
                self._seen.put(reported(site.platform, told["version"], told["state"]))
        except (ValueError, KeyError, TypeError):
            return


def reported(platform: str, version: Optional[str], state: dict[str, Any]) -> Reported:
    """What a device says of its program, and the verdict on it."""
    verdict = judge(state, state["restarts"])
    health = "stopped" if state["active"] == "stopped" else verdict.health.value
    report = state["status"] or {}
    return Reported(platform, time.time(), health, verdict.why, version, state["restarts"], report, state["age"])


def event_of(platform: str, event: Mapping[str, Any]) -> Said:
    """An event of a program's log. Raises KeyError or ValueError for something else."""
    message, name = str(event["message"]), str(event["event"])
    return Said(platform, float(event["time"]), str(event["level"]), message, name)
