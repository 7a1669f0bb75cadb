"""``eprune top``: a deployed system's state on a terminal, drawn by rich."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Optional

from eprune.views.watching import busy_share
from eprune.watch.alarms import Alarm
from eprune.watch.state import HEALTHY, Flow, Program, State

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

_BARS = " ▁▂▃▄▅▆▇█"
#: Lines that events and alarms take at most, and lines of the rest apart from its rows.
_EVENTS, _AROUND = 6, 9
_WIDE = 1_000_000


def plain(state: State, alarms: Sequence[Alarm] = (), advice: str = "") -> str:
    """All of it as text."""
    from rich.console import Console

    stream = io.StringIO()
    console = Console(file=stream, width=_WIDE, color_system=None, legacy_windows=False)
    console.print(screen(state, alarms, advice), no_wrap=True, crop=False, soft_wrap=True)
    return "".join(f"{line.rstrip()}\n" for line in stream.getvalue().splitlines())


def screen(
    state: State, alarms: Sequence[Alarm] = (), advice: str = "", height: Optional[int] = None
) -> RenderableType:
    """It as rich draws it, on so many lines; None: on as many as it takes."""
    from rich.console import Group
    from rich.text import Text

    told = _told(state, alarms, advice)
    room: float = math.inf
    if height is not None:
        told = told[:_EVENTS]
        room = max(height - _AROUND - len(state.shape.hosts) - len(told), 2)
    flows = sorted(state.flows, key=lambda flow: (-flow.lost, -_fullness(flow)))
    nodes = _busiest(state)
    actors = max(room - len(flows), room // 2)
    shown = nodes[: None if actors == math.inf else int(actors)]
    fifos = flows[: None if room == math.inf else max(int(room) - len(shown), 0)]
    left = [(len(nodes) - len(shown), "actors"), (len(flows) - len(fifos), "FIFOs")]
    more = ", ".join(f"{count} more {what}" for count, what in left if count)
    parts: list[Any] = [_headline(state), _platforms(state), Text(), _actors(state, shown), Text(), _fifos(fifos)]
    parts += [Text(more, style="dim")] * bool(more) + _required(state) + [Text()] + told
    return Group(*parts)


def _headline(state: State) -> RenderableType:
    from rich.text import Text

    line = Text(state.shape.application, style="bold")
    rate = state.frames_per_s
    line.append(f"  {_number(rate)} frames/s" if rate is not None else "  no frames yet", "")
    history = [moment.frames_per_s for moment in state.moments[-40:]]
    if any(history):
        line.append(f"  {sparkline(history)}", "cyan")
    for port, age in state.ages.items():
        line.append(f"  {port}: age {_number(age['p50_ms'])} ms, 1 % above {_number(age['p99_ms'])} ms")
    if state.time:
        line.append(f"  {datetime.fromtimestamp(state.time).astimezone():%H:%M:%S}", "dim")
    return line


def sparkline(values: Sequence[Optional[float]]) -> str:
    """Bars, one a value; a gap where there is none."""
    most = max((value for value in values if value), default=0) or 1
    return "".join(_BARS[0 if value is None else 1 + round(value / most * (len(_BARS) - 2))] for value in values)


def _platforms(state: State) -> Table:
    made = _table(
        "platform", "health", "frames", "load", "of cores", "memory", "of machine", "°C", "host", right=range(2, 8)
    )
    for program in state.all_programs:
        made.add_row(*_platform(program), style="" if program.health == HEALTHY else "red")
    return made


def _platform(program: Program) -> list[str]:
    used, whole = program.figure("available_bytes"), program.figure("machine_memory_bytes")
    share = f"{100 * (1 - used / whole):.0f} %" if used is not None and whole else "-"
    frames = min((program.figure("firings") or {}).values(), default=None)
    temperature = program.figure("temperature_c")
    return [
        program.platform,
        program.health,
        "-" if frames is None else str(frames),
        _number(program.figure("machine_load") or program.figure("load")),
        str(program.figure("machine_cores") or "-"),
        _size(program.figure("resident_bytes")),
        share,
        "-" if temperature is None else f"{temperature:.0f}",
        program.host,
    ]


def _busiest(state: State) -> list[str]:
    """The actors, those first that compute for the greatest part of the time."""
    rates, busy = state.rates, state.busy_ms
    share = {node.name: busy_share(rates.get(node.name), busy.get(node.name)) or 0 for node in state.shape.nodes}
    return sorted(share, key=lambda name: -share[name])


def _actors(state: State, names: Sequence[str]) -> Table:
    rates, busy, stalled = state.rates, state.busy_ms, state.stalled
    homes = {node.name: node.platform for node in state.shape.nodes}
    made = _table("actor", "platform", "firings/s", "ms", "busy", "", right=range(2, 5))
    for name in names:
        share = busy_share(rates.get(name), busy.get(name))
        stall = stalled.get(name)
        note = f"stalled: {stall['seconds']:.0f} s in {stall['stage']}" if stall else _bar(share)
        part = "-" if share is None else f"{100 * share:.0f} %"
        cells = [name, homes[name], _number(rates.get(name)), _number(busy.get(name)), part, note]
        made.add_row(*cells, style="red" if stall else "")
    return made


def _bar(share: Optional[float], width: int = 16) -> str:
    filled = min(round((share or 0) * width), width)
    return "━" * filled


def _fifos(flows: Sequence[Flow]) -> Table:
    made = _table("FIFO", "from", "to", "tokens/s", "bytes/s", "fill", "lost", right=range(3, 7))
    for flow in flows:
        fill = "-" if flow.fill is None else f"{flow.fill} of {flow.capacity}" if flow.capacity else str(flow.fill)
        style = "red" if flow.lost else "yellow" if _fullness(flow) >= 1 else ""
        cells = [flow.fifo, flow.source, flow.target, _number(flow.tokens_per_s), _size(flow.bytes_per_s), fill]
        made.add_row(*cells, str(flow.lost) if flow.lost else "-", style=style)
    return made


def _required(state: State) -> list[RenderableType]:
    """How requirements were met in the last seconds, and the rows that were taken for late frames."""
    from rich.text import Text

    made = _table("requirement", "in time", "required", "frames/s", "required", "by", right=range(1, 5))
    for name, found in state.requirements.items():
        by: dict[str, int] = next((each["late_by"] for each in _reports(state, name) if each["late_by"]), {})
        limit = found["latency_ms"]
        cells = [
            name,
            "-" if found["share"] is None else f"{100 * found['share']:.1f} %",
            "-" if limit is None else f"{100 * found['required_share']:g} % in {limit:g} ms",
            _number(found["rate_per_s"]),
            _number(found["required_rate_per_s"]),
            max(by, key=lambda each: by[each], default=""),
        ]
        made.add_row(*cells, style="red" if found["met"] is False else "")
    rows = [
        Text(f"{dpg} took row {each['row']} for {each['taken']} of {each['frames']} frames: they were late", "yellow")
        for dpg, each in state.degraded_rows.items()
        if each["taken"]
    ]
    shown: list[RenderableType] = [Text(), made] if state.requirements else []
    return [*shown, *rows]


def _reports(state: State, requirement: str) -> list[Any]:
    found = ((program.figure("requirements") or {}).get(requirement) for program in state.all_programs)
    return [each for each in found if each is not None]


def _fullness(flow: Flow) -> float:
    return (flow.fill or 0) / flow.capacity if flow.capacity else 0.0


def _told(state: State, alarms: Sequence[Alarm], advice: str) -> list[RenderableType]:
    """Alarms, and the last events, the latest first."""
    from rich.text import Text

    lines: list[RenderableType] = [Text(f"{alarm.kind}: {alarm.message}", style="bold red") for alarm in alarms]
    lines += [Text(advice, style="yellow")] * bool(advice)
    now = {f"{alarm.kind}: {alarm.message}" for alarm in alarms}
    events = [each for each in state.events if each.message not in now]
    for said in reversed(events[-_EVENTS:]):
        style = {"warning": "yellow", "error": "red"}.get(said.level, "dim")
        moment = datetime.fromtimestamp(said.at).astimezone()
        text = "".join(char if char.isprintable() else "?" for char in said.message)
        lines.append(Text(f"{moment:%H:%M:%S} {said.platform}: {text}", style=style, no_wrap=True, overflow="ellipsis"))
    return lines


def _table(*names: str, right: Any = ()) -> Table:
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    for place, name in enumerate(names):
        made.add_column(Text(name), justify="right" if place in right else "left", no_wrap=True, overflow="ellipsis")
    return made


def _number(value: Optional[float]) -> str:
    """Three digits, as far as there are some behind the point."""
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _size(value: Optional[float]) -> str:
    """Bytes with a unit of 1000."""
    if value is None:
        return "-"
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
