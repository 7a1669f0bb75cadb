"""A deployed system's state as data: what ``eprune top --format json`` prints, and what the page gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Optional

from eprune.watch.alarms import Alarm
from eprune.watch.state import Program, State

if TYPE_CHECKING:
    from eprune.model.system import System

#: The figures of a program's report that are its platform's.
_FIGURES = (
    *("load", "machine_load", "machine_cores", "resident_bytes", "machine_memory_bytes", "available_bytes"),
    *("temperature_c", "unlogged", "unreported"),
)


def data(state: State, alarms: Sequence[Alarm] = (), advice: str = "") -> dict[str, Any]:
    """The state as objects of JSON. Figures that are unknown are null."""
    rates, busy, stalled = state.rates, state.busy_ms, state.stalled
    return {
        "application": state.shape.application,
        "time": state.time,
        "degraded": state.degraded,
        "frames_per_s": state.frames_per_s,
        "platforms": [_platform(program) for program in state.all_programs],
        "actors": [
            {
                "actor": node.name,
                "platform": node.platform,
                "members": list(node.members),
                "firings_per_s": rates.get(node.name),
                "busy_ms": busy.get(node.name),
                "busy_share": busy_share(rates.get(node.name), busy.get(node.name)),
                "stalled": stalled.get(node.name),
            }
            for node in state.shape.nodes
        ],
        "fifos": [asdict(flow) for flow in state.flows],
        "ages": {port: dict(age) for port, age in state.ages.items()},
        "requirements": {name: dict(found) for name, found in state.requirements.items()},
        "degraded_rows": {dpg: dict(found) for dpg, found in state.degraded_rows.items()},
        "missing": state.missing,
        "alarms": [asdict(alarm) for alarm in alarms],
        "advice": advice,
        "events": [asdict(event) for event in state.events],
    }


def page(system: System) -> str:
    """The page that shows such data as it comes: one file, which reaches only the server that it is from."""
    from eprune.views.graph import drawing
    from eprune.views.page import rendered

    return rendered(
        "watch.html.j2",
        title=system.graph.name,
        drawing=drawing(system.graph, system.homes, dict.fromkeys((fifo.name for fifo in system.graph.fifos), "")),
        styles=("style.css", "watch.css"),
        scripts=("page.js", "watch.js"),
        reaches="; connect-src 'self'; base-uri 'none'; form-action 'none'",
    )


def busy_share(rate: Optional[float], busy_ms: Optional[float]) -> Optional[float]:
    """The part of the time for which an actor computes."""
    return None if rate is None or busy_ms is None else round(rate * busy_ms / 1e3, 4)


def _platform(program: Program) -> dict[str, Any]:
    firings = (program.figure("firings") or {}).values()
    return {
        "platform": program.platform,
        "host": program.host,
        "health": program.health,
        "why": program.why,
        "version": program.version,
        "restarts": program.restarts,
        "state": program.figure("state"),
        "since": program.figure("since"),
        "heard": program.heard,
        "frames": min(firings, default=None),
        "peers": program.figure("peers") or {},
        **{name: program.figure(name) for name in _FIGURES},
    }
