"""Whether a deployed program is well: a decision from what its device reports."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple

from eprune.runtime.tell import health

#: After so many restarts a program does not become well by itself.
RESTARTS = 2


class Health(str, Enum):
    """WELL; NOT_YET: it may still become so; ILL: it will not."""

    WELL = "healthy"
    NOT_YET = "not yet"
    ILL = "unhealthy"


class Verdict(NamedTuple):
    """How a program is, and why, in words."""

    health: Health
    why: str


def judge(state: Mapping[str, Any], restarts: int = 0) -> Verdict:
    """The verdict on a state as ``remote/services.py`` describes it; ``restarts``: so many had been when it began.

    A program is well when all its peers are connected, or when it is a service that waits for its producers, or when
    it has come to its end.
    """
    active, status = state["active"], state["status"] or {}
    again = state["restarts"] - restarts
    failure = status.get("failure") or f"exit code {state['code']}"
    if active == "failed":
        return Verdict(Health.ILL, f"it has failed: {failure}")
    if active == "stopped":
        return Verdict(Health.ILL, "it is stopped")
    if active == "ended":
        return Verdict(Health.WELL, "it has come to its end")
    if again >= RESTARTS:
        return Verdict(Health.ILL, f"it has failed {again} times: exit code {state['code']}")
    if active == "restarting":
        return Verdict(Health.NOT_YET, f"it has failed, and will be started again: {failure}")
    if not status:
        return Verdict(Health.NOT_YET, "it has not reported yet")
    well, why = health.judge(status, state["age"])
    return Verdict(Health.WELL if well else Health.NOT_YET, why)
