"""Buffer sizes and throughput as text, for ``eprune analyze --buffers``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Optional

from eprune.analysis.sizing import Sizing
from eprune.model.quantity import format_size, format_time
from eprune.views.tables import counted, table

#: How many steps of a cycle people are shown.
_ROWS = 12
#: How many actors of a cluster.
_MEMBERS = 8

#: What the table calls the sets of capacities.
COLUMNS = {"given": "given", "least to live": "live", "least for full speed": "fast"}
#: How many points of a front people are shown.
_POINTS = 24


def as_text(answer: Sizing) -> str:
    """The answer for people."""
    sized = answer.as_data()
    columns = [(title, sized[key]) for title, key in COLUMNS.items() if sized[key] is not None]
    if "wish" in sized:
        columns.insert(2, (answer.chosen[0], sized["wish"]))
    rows: list[tuple[object, ...]] = [
        (name, *(_room(column, name) for _, column in columns)) for name in sized["given"]["capacities"]
    ]
    windows = any(window for _, column in columns for window in column["windows"].values())
    text = f"Capacities{' + windows' if windows else ''}, in tokens:\n\n"
    text += table(("FIFO", *(title for title, _ in columns)), rows) + "\n"
    if "channels" in sized["given"]:
        own = [(name, *(column["channels"][name] for _, column in columns)) for name in sized["given"]["channels"]]
        text += "Channels before the expansion, which have room enough with what their FIFOs have together:\n\n"
        text += table(("channel", *(title for title, _ in columns)), own) + "\n"
    for title, column in columns:
        text += f"Buffers, {title}: {format_size(column['bytes'])}{_proof(column)}\n"
    text += _clusters(sized["clusters"]) + _links(sized)
    if sized["throughput"] is None:
        missing = ", ".join(sized["without_time"][:6]) + (", ..." if len(sized["without_time"]) > 6 else "")
        text += "\n" if sized["clusters"] else ""
        return (
            f"{text}Throughput: unknown, for these actors have no time: {missing} (say how long they take: --times)\n"
        )
    bound = ", or less: all rates are taken at their upper limits" if sized["bound_only"] else ""
    for title, key in (("as given", "throughput"), ("full speed", "max_throughput")):
        found = sized[key]
        if key == "throughput" or found["period_s"] != sized["throughput"]["period_s"]:
            text += f"\nThroughput, {title}: {_pace(found['period_s'])}{bound}\n{_bottleneck(found['bottleneck'])}"
    if answer.front is not None:
        text += _front(sized["front"], sized["given"])
    if sized["domains"]:
        rows = [(", ".join(each["actors"]), _pace(each["period_s"])) for each in sized["domains"]]
        text += f"\nParts with a pace of their own, by themselves:\n\n{table(('actors', 'at most'), rows)}"
    return text


def _front(front: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    """Each point, with what it needs more than the one before."""
    points = front["points"]
    shown = points if len(points) <= _POINTS else [*points[: _POINTS - 1], points[-1]]
    rows: list[tuple[object, ...]] = []
    before: Optional[Mapping[str, Any]] = None
    for number, point in enumerate(shown):
        if number == len(shown) - 1 and len(points) > len(shown):
            rows.append((f"... {len(points) - len(shown)} more", "", "", ""))
            before = None
        size = format_size(point["bytes"]) + ("" if point["least"] else " or less")
        period = point["period_s"]
        rate = f"{1 / period:.4g}/s" if period else "any"
        rows.append((size, rate, format_time(period), "" if before is None else _changes(before, point)))
        before = point
    text = f"\nBuffers against throughput{'' if front['whole'] else ', not all of it'}:\n\n"
    return text + table(("buffers", "at most", "one every", "what changes, in tokens"), rows)


def _changes(before: Mapping[str, Any], point: Mapping[str, Any]) -> str:
    names = [name for name in point["capacities"] if _room(before, name) != _room(point, name)]
    listed = ", ".join(f"{name} {_room(point, name)}" for name in names[:_MEMBERS])
    return listed + ", ..." * (len(names) > _MEMBERS)


def chart(answer: Sizing, kind: str) -> bytes:
    """The front as ``svg`` or ``png``, by matplotlib. Raises ImportError where that is missing."""
    from eprune.views.scatter import Dot, draw

    assert answer.front is not None
    dots = [
        Dot(point.sizes.nbytes / 1024, 1 / float(point.period), f"{1 / float(point.period):.4g}/s", True)
        for point in answer.front.points
        if point.period
    ]
    return draw("Buffers against throughput", ("buffers, KiB", "iterations per second"), dots, kind)


def _room(column: Mapping[str, Any], name: str) -> str:
    """``2``, or with a window ``2 + 3``."""
    window = column["windows"].get(name, 0)
    return f"{column['capacities'][name]}{f' + {window}' if window else ''}"


def _clusters(clusters: Sequence[Mapping[str, Any]]) -> str:
    if not clusters:
        return ""
    rows = [(each["unit"], _few(each["actors"])) for each in clusters]
    return f"\nThreads, and the actors that each fires in turn:\n\n{table(('unit', 'actors'), rows)}"


def _few(names: Sequence[str]) -> str:
    """A cluster in a line."""
    shown = [*names[: _MEMBERS - 2], "...", names[-1]] if len(names) > _MEMBERS else names
    return ", ".join(shown) + f" ({len(names)})" * (len(names) > _MEMBERS)


def _links(sized: Mapping[str, Any]) -> str:
    """What the round trip of room over a link allows, and the window that takes the limit away."""
    if not sized["links"]:
        return ""
    known = sized["throughput"] is not None
    rows: list[tuple[object, ...]] = []
    for link in sized["links"]:
        period, enough = link["period_s"], link["enough_window"]
        pace = (f"{1 / period:.4g}/s" if period else "any",) if known else ()
        limited = enough is not None and enough > link["window"]
        needed = f"a window of {enough}" if limited else "" if enough is None else "what it has"
        trip, room = format_time(link["round_trip_s"]), _room(sized["given"], link["fifo"])
        rows.append((link["fifo"], link["link"], trip, room, *pace, needed))
    note = "" if known else " (of the link alone: not all actors have a time)"
    header = ("FIFO", "link", "round trip", "room", *(("allows",) if known else ()), "no limit with")
    return f"\nOver links, where room comes back after a round trip{note}:\n\n{table(header, rows)}"


def _proof(column: Mapping[str, Any]) -> str:
    if column.get("least", True):
        return ""
    return f" (perhaps less will do, but not less than {format_size(column['bound_bytes'])})"


def _pace(period: float) -> str:
    return f"{1 / period:.4g} iterations/s, one every {format_time(period)}" if period else "no actor takes any time"


def _bottleneck(found: Optional[Mapping[str, Any]]) -> str:
    if found is None:
        return ""
    reasons = {
        "token": "tokens in {}",
        "room": "room in {}",
        "self": "its own next firing",
        "unit": "its turn on {}",
        "link": "its turn on {}",
    }
    if any("#" in edge["source"] for edge in found["cycle"]):
        return _several_firings(found, reasons)
    rows = [
        (
            edge["source"],
            format_time(edge["time_s"]),
            edge["target"],
            reasons[edge["kind"]].format(edge["about"]),
            edge["tokens"],
        )
        for edge in found["cycle"]
    ]
    if len(rows) > _ROWS:
        rows[_ROWS - 1 :] = [("...", "", "", f"and {len(rows) - _ROWS + 1} more", "")]
    about = f"{format_time(found['time_s'])} for {counted(found['tokens'], 'token')}"
    lines = "".join(f"  - {line}\n" for line in found["advice"])
    header = ("actor", "time", "then", "which waits for", "tokens")
    return f"Bottleneck, a cycle of {about}:\n\n{table(header, rows)}\nWhat would help:\n{lines}"


def _several_firings(found: Mapping[str, Any], reasons: Mapping[str, str]) -> str:
    """A cycle in which actors fire several times: each once, with all its firings and what the next ones wait for."""
    firings: dict[str, tuple[int, float]] = {}
    waits: dict[str, dict[str, int]] = {}
    for edge in found["cycle"]:
        name = edge["source"].replace("#", " ", 1).partition(" ")[0] if " on " not in edge["source"] else ""
        name = name or " on ".join(part.partition("#")[0] for part in edge["source"].split(" on "))
        count, time = firings.get(name, (0, 0.0))
        firings[name] = count + 1, time + edge["time_s"]
        reason = reasons[edge["kind"]].format(edge["about"])
        waits.setdefault(name, {})[reason] = waits.get(name, {}).get(reason, 0) + 1
    rows: list[tuple[object, ...]] = [
        (name, count, format_time(time), ", ".join(f"{why} ({often})" for why, often in waits[name].items()))
        for name, (count, time) in firings.items()
    ]
    if len(rows) > _ROWS:
        rows[_ROWS - 1 :] = [("...", "", "", f"and {len(rows) - _ROWS + 1} more")]
    rounds = counted(found["tokens"], "iteration")
    lines = "".join(f"  - {line}\n" for line in found["advice"])
    header = ("actor", "firings", "time", "after which what comes next waits for")
    head = f"Bottleneck, a cycle of {format_time(found['time_s'])} for {rounds}:"
    return f"{head}\n\n{table(header, rows)}\nWhat would help:\n{lines}"
