"""A deployed system's state in Prometheus' text format: what its programs say, and what only whoever watches knows."""

from __future__ import annotations

from collections.abc import Sequence

from eprune.runtime.tell.metrics import CONTENT_TYPE, COUNTER, GAUGE, Family, families, text
from eprune.watch.alarms import Alarm
from eprune.watch.state import HEALTHY, UNREACHABLE, State

__all__ = ["CONTENT_TYPE", "metrics"]


def metrics(state: State, alarms: Sequence[Alarm]) -> str:
    """The text."""
    application = {"application": state.shape.application}
    programs = state.all_programs
    own = {each.platform: {**application, "platform": each.platform} for each in programs}
    raised = [({**own[each.platform], "kind": each.kind, "subject": each.subject}, 1.0) for each in alarms]
    return text(
        [
            Family(
                "eprune_healthy",
                GAUGE,
                "Whether a program is well.",
                [(own[each.platform], float(each.health == HEALTHY)) for each in programs],
            ),
            Family(
                "eprune_restarts_total",
                COUNTER,
                "How often a program was started again.",
                [(own[each.platform], float(each.restarts)) for each in programs],
            ),
            Family("eprune_alarm", GAUGE, "An alarm that is raised.", raised),
            *(
                family
                for each in programs
                if each.report and each.health != UNREACHABLE
                for family in families(each.report)
            ),
        ]
    )
