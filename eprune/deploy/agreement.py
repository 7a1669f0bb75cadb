"""Before which firing all sources of a system stop, so that the next generation goes on there: proposed, held, said.

Nobody stops before all sources have promised to wait there. A source that is past it already refuses; then all of them
go on, and another firing further ahead is proposed.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from eprune.deploy.fleet import at_once
from eprune.deploy.session import Refused, Session
from eprune.model.finding import Failure

#: Seconds between two looks at how far sources are.
LOOK = 0.3
#: Seconds from the proposal to the firing: at first, and at most. Sources wait no longer than a few seconds.
AHEAD, FURTHEST = 0.5, 4.0


@dataclass(frozen=True)
class Proposal:
    """``at``: platform -> source -> the firing that it does not do. ``begin``: where all firings are counted alike,
    the one that the next generation begins with.
    """

    at: Mapping[str, Mapping[str, int]]
    begin: Optional[int] = None


def propose(
    before: Mapping[str, Mapping[str, Any]], now: Mapping[str, Mapping[str, Any]], seconds: float, ahead: float
) -> Proposal:
    """A firing so many seconds ahead of what the sources said: platform -> source -> ``next``, ``clock``, ``own``.

    A source that waits in a firing is past it only when that is over. They said ``before`` and, ``seconds`` later,
    ``now``. Sources that number by one clock, and all those that have none, stop at the same firing; one that numbers
    its own firings stops at one of its own.
    """
    latest: dict[Any, int] = {}
    for platform, sources in now.items():
        for name, source in sources.items():
            pace = (source["next"] - before[platform].get(name, source)["next"]) / seconds
            at = source["next"] + 1 + math.ceil(max(pace, 0.0) * ahead)
            latest[_line(platform, name, source)] = max(at, latest.get(_line(platform, name, source), 0))
    at = {
        platform: {name: latest[_line(platform, name, source)] for name, source in sources.items()}
        for platform, sources in now.items()
    }
    return Proposal(at, latest.get(_ALL))


#: Those that count firings from the beginning of the run: all alike.
_ALL = "all"


def _line(platform: str, name: str, source: Mapping[str, Any]) -> Any:
    """Equal for sources whose firings have the same numbers."""
    return (platform, name) if source["own"] else source["clock"] or _ALL


def ask(session: Session, what: str, **arguments: Any) -> Any:
    """What the program that runs on a device answers. Raises Failure; Refused where it says no."""
    return session.call("ask", what=what, arguments=arguments)


def agree(sessions: Mapping[str, Session]) -> Proposal:
    """Have all programs agree on a firing, and tell them so. Raises Failure; no source has stopped then."""
    ahead = AHEAD
    while True:
        before, moment = _sources(sessions), time.monotonic()
        time.sleep(LOOK)
        now = _sources(sessions)
        proposal = propose(before, now, time.monotonic() - moment, ahead)
        refused = _hold(sessions, proposal)
        if refused is None:
            break
        at_once(_release, list(sessions.values()))
        ahead *= 2
        if ahead > FURTHEST:
            raise Failure(f"the sources do not agree on a firing: {refused}")
    at_once(lambda session: session.call("commit"), list(sessions.values()))
    return proposal


def _sources(sessions: Mapping[str, Session]) -> dict[str, Any]:
    found = at_once(lambda session: ask(session, "describe")["sources"], list(sessions.values()))
    return dict(zip(sessions, found))


def _hold(sessions: Mapping[str, Session], proposal: Proposal) -> Optional[Failure]:
    """Have all sources promise; why one does not."""

    def hold(platform: str) -> Optional[Failure]:
        try:
            ask(sessions[platform], "hold", at=proposal.at[platform], begin=proposal.begin)
        except Refused as refused:
            return refused
        return None

    return next(filter(None, at_once(hold, list(sessions))), None)


def _release(session: Session) -> None:
    with contextlib.suppress(Refused):  # it has not held anything
        ask(session, "release")
