"""The ways in which things fail, and come back."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Optional

from eprune.analysis.failures import Thing
from scripts.chaos.network import Loopback, Pair
from scripts.chaos.running import Run
from scripts.chaos.surroundings import forbid_files

#: Bytes per second of a slow link: an eighth of what the sources make.
SLOW = 1e6
#: Seconds for which all are suspended: peers count as lost after fewer.
SUSPENDED = 3.0


class Fault(NamedTuple):
    """``apply`` lets things fail, ``heal`` brings them back. ``lasting``: they stay failed until then; ``harmless``:
    nothing has failed in the analyzer's sense. With ``namespaces`` the links are real ones. ``piped``: the platforms
    write into pipes; ``full``: their disks are full, and they end with exit code 1 in the end.
    """

    name: str
    kinds: tuple[str, ...]
    apply: Callable[[Run, Sequence[Thing]], None]
    heal: Optional[Callable[[Run, Sequence[Thing]], None]] = None
    lasting: bool = True
    harmless: bool = False
    namespaces: bool = False
    piped: bool = False
    full: bool = False


def platforms(things: Sequence[Thing]) -> list[str]:
    """The platforms among failing things."""
    return [thing.name for thing in things if thing.kind == "platform"]


def pairs(things: Sequence[Thing]) -> list[Pair]:
    """The links among failing things."""
    return [tuple(thing.name.split(" - ")) for thing in things if thing.kind == "link"]  # type: ignore[misc]


def _kill(run: Run, things: Sequence[Thing]) -> None:
    for platform in platforms(things):
        run.kill(platform)
    run.network.down(pairs(things))


def _restart(run: Run, things: Sequence[Thing]) -> None:
    run.end_strangers()
    for platform in platforms(things):
        run.start(platform)
    run.network.up(pairs(things))


def _freeze(run: Run, things: Sequence[Thing]) -> None:
    for platform in platforms(things):
        run.signal(platform, signal.SIGSTOP)
    run.network.down(pairs(things))


def _continue(run: Run, things: Sequence[Thing]) -> None:
    for platform in platforms(things):
        run.signal(platform, signal.SIGCONT)
    run.network.up(pairs(things))


def _stranger(run: Run, things: Sequence[Thing]) -> None:
    for platform in platforms(things):
        run.kill(platform)
        run.start(platform, stranger=True)


def reset(run: Run, things: Sequence[Thing]) -> None:
    """Reset the connections of links."""
    assert isinstance(run.network, Loopback)
    for proxy in run.network.between(pairs(things)):
        proxy.cut()


def _resets(run: Run, things: Sequence[Thing]) -> None:
    for _ in range(5):
        reset(run, things)
        time.sleep(0.15)


def _refuse(run: Run, things: Sequence[Thing]) -> None:
    assert isinstance(run.network, Loopback)
    for proxy in run.network.between(pairs(things)):
        proxy.refuse()


def _slow(run: Run, things: Sequence[Thing]) -> None:
    assert isinstance(run.network, Loopback)
    for proxy in run.network.between(pairs(things)):
        proxy.rate = SLOW


def _down(run: Run, things: Sequence[Thing]) -> None:
    run.network.down(pairs(things))


def _up(run: Run, things: Sequence[Thing]) -> None:
    run.network.up(pairs(things))


def _suspend(run: Run, things: Sequence[Thing]) -> None:
    for number, wait in ((signal.SIGSTOP, SUSPENDED), (signal.SIGCONT, 0.0)):
        for platform in platforms(things):
            run.signal(platform, number)
        time.sleep(wait)


def _gag(stream: str) -> Callable[[Run, Sequence[Thing]], None]:
    def apply(run: Run, things: Sequence[Thing]) -> None:
        for platform in platforms(things):
            run.readers[platform, stream].stop()

    return apply


def _listen(run: Run, things: Sequence[Thing]) -> None:
    for platform in platforms(things):
        run.readers[platform, "stdout"].go_on()


def _ends(run: Run, things: Sequence[Thing]) -> None:
    assert isinstance(run.network, Loopback)
    for _ in range(5):
        for proxy in run.network.at(platforms(things)):
            proxy.cut()
        time.sleep(0.15)


def _unheard(run: Run, things: Sequence[Thing]) -> None:
    _gag("stderr")(run, things)
    _ends(run, things)


def _out_of_files(run: Run, things: Sequence[Thing]) -> None:
    for platform in {end for pair in pairs(things) for end in pair}:
        forbid_files(run.processes[platform].pid, True)
    reset(run, things)


def _files_again(run: Run, things: Sequence[Thing]) -> None:
    for platform in {end for pair in pairs(things) for end in pair}:
        forbid_files(run.processes[platform].pid, False)


def _nothing(run: Run, things: Sequence[Thing]) -> None:
    """The failure is there from the beginning."""


PLATFORM, LINK = ("platform",), ("link",)

KILL = Fault("killed", ("platform", "link"), _kill)
RESTART = Fault("killed, restarted", PLATFORM, _kill, _restart)
FREEZE = Fault("frozen, continued", ("platform", "link"), _freeze, _continue)
STRANGER = Fault("another application, then the right one", PLATFORM, _stranger, _restart)
UNPLUG = Fault("unplugged, plugged in", LINK, _down, _up)
REFUSE = Fault("reset and refused, then not", LINK, _refuse, _up)
RESET = Fault("reset 5 times", LINK, _resets, lasting=False)
SLOW_LINK = Fault("slow", LINK, _slow, lasting=False, harmless=True)
SUSPEND = Fault("all suspended, resumed", PLATFORM, _suspend, lasting=False, harmless=True)
MUTE = Fault("nobody reads its stdout, then somebody", PLATFORM, _gag("stdout"), _listen, piped=True)
UNHEARD = Fault("nobody reads its stderr, reset 5 times", PLATFORM, _unheard, lasting=False, piped=True)
FULL_DISK = Fault("its disk is full", PLATFORM, _nothing, lasting=False, harmless=True, full=True)
NO_FILES = Fault("reset, and no descriptors, then some", LINK, _out_of_files, _files_again)
DOWN = Fault("down and up (namespaces)", LINK, _down, _up, namespaces=True)
