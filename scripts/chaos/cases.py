"""The cases: each platform and each link of each topology, and chosen pairs of them, in each way that makes sense."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

from eprune.analysis.failures import FaultModel, minimal_failures
from scripts.chaos import faults, topologies
from scripts.chaos.case import Case
from scripts.chaos.expect import service
from scripts.chaos.faults import Fault
from scripts.chaos.running import read
from scripts.chaos.topologies import Topology

#: A receiver that was restarted gets what it had not fired on.
FIRED = 'ack="fired"'
#: A token is late after this time.
QUICK = 'timeout="300ms"'
#: Seconds of outages that are compared.
OUTAGES = (1.0, 4.0, 12.0)
MOMENTARY = (faults.RESET, faults.SLOW_LINK)
#: All that can happen to a thing; restarts are for where they are promised to work.
ALL = (faults.KILL, faults.FREEZE, faults.UNPLUG, faults.REFUSE, *MOMENTARY)
WITH_RESTARTS = (*ALL, faults.RESTART, faults.STRANGER)


def singles(topology: Topology, ways: Sequence[Fault], system: FaultModel) -> Iterator[Case]:
    """Each thing by itself, in each way that is one for it."""
    for thing in system.things:
        for fault in ways:
            if thing.kind in fault.kinds and not (thing.kind == "link" and fault in (faults.KILL, faults.FREEZE)):
                yield Case(topology, fault, (thing.name,))


def pairs(topology: Topology, system: FaultModel) -> Iterator[Case]:
    """The pairs that break the service though each half is survived, for good, and as many that do not."""
    breaking = [
        tuple(thing.name for thing in found.failed)
        for found in minimal_failures(system, 2, service(system))
        if len(found.failed) == 2
    ]
    survived = [
        names
        for chosen in combinations(system.things, 2)
        if (names := tuple(thing.name for thing in chosen)) not in breaking
    ]
    for names in (*breaking, *survived[:: max(1, len(survived) // max(1, len(breaking)))]):
        yield Case(topology, faults.KILL, names)
    if breaking:
        yield Case(topology, faults.FREEZE, breaking[0])


def systems(listed: Sequence[Topology]) -> dict[str, FaultModel]:
    """Topology's name -> what the analysis works on."""
    found = {}
    for topology in listed:
        with tempfile.TemporaryDirectory() as folder:
            topology.write(Path(folder))
            found[topology.name] = FaultModel(read(Path(folder)))
    return found


def all_cases() -> list[Case]:
    """Every case of `make chaos`."""
    t = topologies
    restartable = [t.k(1, 2, "drop"), t.k(2, 1, "drop"), t.split("drop"), t.split("wait", FIRED), t.join("drop")]
    restartable += [t.join("zero"), t.diamond("wait", FIRED)]
    others = [t.split("stop"), t.k(1, 2, "wait"), t.diamond("stop"), t.tail(), t.beside()]
    k24, vehicles = t.k(2, 4, "drop"), [t.vehicle("wait", FIRED), t.vehicle("stop")]
    system = systems([*restartable, *others, k24, *vehicles])
    cases: list[Case] = []
    for topology in restartable:
        cases += singles(topology, WITH_RESTARTS, system[topology.name])
    for topology in others:
        cases += singles(topology, ALL, system[topology.name])
    cases += singles(k24, (faults.KILL, faults.UNPLUG), system[k24.name])
    cases += pairs(k24, system[k24.name])
    cases += [case for topology in restartable[:2] for case in pairs(topology, system[topology.name])]
    cases += [Case(vehicles[0], fault, ("server",)) for fault in (faults.FREEZE, faults.RESTART)]
    cases += [Case(vehicles[0], faults.RESET, ("endpoint - server",)), Case(vehicles[1], faults.KILL, ("server",))]
    for topology in (t.split("wait", FIRED), t.split("stop"), t.k(1, 2, "drop"), t.diamond("wait", FIRED)):
        cases += singles(topology, (faults.DOWN,), system.get(topology.name) or systems([topology])[topology.name])
    return [*cases, *surrounded(), *outages()]


def surrounded() -> list[Case]:
    """What goes wrong around processes: readers, disks, descriptors, and machines that sleep."""
    t = topologies
    split, k12, k21 = t.split("wait", FIRED), t.k(1, 2, "drop"), t.k(2, 1, "drop")
    everywhere = {
        split: ("endpoint", "server"),
        t.split("stop"): ("endpoint", "server"),
        k12: ("endpoint1", "endpoint2", "server1"),
        t.diamond("wait", FIRED): ("source", "lossy", "sure", "sink"),
    }
    return [
        *(Case(topology, faults.SUSPEND, platforms) for topology, platforms in everywhere.items()),
        Case(k12, faults.MUTE, ("endpoint1",)),
        Case(k21, faults.MUTE, ("server1",)),
        Case(k12, faults.UNHEARD, ("endpoint1",)),
        Case(split, faults.UNHEARD, ("server",)),
        Case(split, faults.FULL_DISK, ("server",)),
        Case(k12, faults.FULL_DISK, ("endpoint1",)),
        Case(split, faults.NO_FILES, ("endpoint - server",)),
        Case(k12, faults.NO_FILES, ("endpoint1 - server1",)),
    ]


def outages() -> list[Case]:
    """The same outage for 1, 4 and 12 s: nobody pauses the longer for it, and what was gone is back as soon."""
    t = topologies
    k12, k21 = (t.k(m, n, "drop", QUICK)._replace(name=f"K({m},{n}) drop, 300 ms") for m, n in ((1, 2), (2, 1)))
    split, diamond = t.split("wait", FIRED), t.diamond("wait", FIRED)
    ways = [
        (k12, faults.FREEZE, "endpoint1", OUTAGES),
        (k12, faults.UNPLUG, "endpoint1 - server1", OUTAGES),
        (k21, faults.FREEZE, "server1", OUTAGES[:2]),
        (split, faults.FREEZE, "server", OUTAGES),
        (diamond, faults.FREEZE, "lossy", OUTAGES[:2]),
    ]
    return [Case(topology, fault, (what,), seconds) for topology, fault, what, spans in ways for seconds in spans]


def lean_cases() -> list[Case]:
    """One of each kind, for `make test`."""
    t = topologies
    split, k12, diamond = t.split("wait", FIRED), t.k(1, 2, "drop"), t.diamond("wait", FIRED)
    link = ("endpoint - server",)
    return [
        Case(k12, faults.KILL, ("endpoint1",)),
        Case(k12, faults.UNPLUG, ("endpoint1 - server1",)),
        Case(t.k(2, 1, "drop"), faults.KILL, ("server1", "endpoint1 - server2")),
        Case(t.split("stop"), faults.FREEZE, ("server",)),
        Case(t.split("stop"), faults.RESET, link),
        Case(split, faults.RESTART, ("server",)),
        Case(split, faults.STRANGER, ("endpoint",)),
        Case(split, faults.RESET, link),
        Case(split, faults.SLOW_LINK, link),
        Case(split, faults.DOWN, link),
        Case(diamond, faults.RESTART, ("sink",)),
        Case(diamond, faults.FREEZE, ("sure",)),
        Case(t.tail(), faults.KILL, ("end",)),
        Case(t.beside(), faults.KILL, ("waits",)),
        Case(t.split("stop"), faults.SUSPEND, ("endpoint", "server")),
        Case(t.k(2, 1, "drop"), faults.MUTE, ("server1",)),
        Case(split, faults.UNHEARD, ("server",)),
        Case(split, faults.FULL_DISK, ("server",)),
        Case(split, faults.NO_FILES, link),
    ]
