"""Buffer sizes and throughput, for ``eprune analyze --buffers``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import click

if TYPE_CHECKING:
    from eprune.analysis.buffers import Sizes
    from eprune.analysis.cycle_ratio import Cycle
    from eprune.analysis.throughput import Deployment
    from eprune.cli.inputs import Inputs
    from eprune.model.graph import Graph


def read_times(given: Sequence[str], inputs: Inputs) -> dict[str, Fraction]:
    """Actor -> seconds a firing: what the graph declares, and over it ``given``, each ACTOR=TIME or a JSON file.

    Raises BadParameter for what is neither, and for actors that do not exist.
    """
    from eprune.analysis.lookup import Guesser
    from eprune.model.quantity import exact_seconds

    times = {actor.name: actor.time for actor in inputs.graph.actors if actor.time is not None}
    names = [actor.name for actor in inputs.graph.actors]
    for text in given:
        actor, equals, value = text.rpartition("=")
        found: Mapping[str, Any] = {actor: value} if equals and not Path(text).exists() else _read_file(text, inputs)
        for name, time in found.items():
            if name not in names:
                hint = Guesser().hint(name, names)
                raise click.BadParameter(f"{text}: there is no actor {name!r}; {hint}", param_hint="--times")
            try:
                exact = exact_seconds(time) if isinstance(time, str) else Fraction(time)
            except (ValueError, TypeError, OverflowError):
                message = f"{text}: the time of {name} is {time!r}; write it as 1.2ms, or in a file as seconds"
                raise click.BadParameter(message, param_hint="--times") from None
            if exact < 0:
                raise click.BadParameter(f"{text}: the time of {name} is below 0", param_hint="--times")
            times[name] = exact
    return times


def _read_file(path: str, inputs: Inputs) -> dict[str, Any]:
    """Actor -> time, of a file that ``eprune profile --actors`` wrote, or one that has nothing but that."""
    from eprune.formats.xml.safe import read_bytes

    try:
        data = json.loads(read_bytes(path))
        if "platforms" not in data:
            return dict(data.get("actors", data))
        platforms = {name: dict(told["actors"]) for name, told in data["platforms"].items()}
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        message = f"{path} has no times: it is a JSON file of eprune profile --actors, or actor and seconds"
        raise click.BadParameter(message, param_hint="--times") from None
    homes = {actor: home for mapping in inputs.mappings for actor, home in mapping.homes().items()}
    if not homes and len(platforms) > 1:
        message = f"{path} has times on {' and '.join(platforms)}: give a mapping, which says where an actor runs"
        raise click.BadParameter(message, param_hint="--times")
    only = next(iter(platforms), "")
    return {
        actor.name: platforms[home][actor.name]
        for actor in inputs.graph.actors
        if actor.name in platforms.get(home := homes.get(actor.name, only), {})
    }


def sizing(inputs: Inputs, times: Mapping[str, Fraction]) -> dict[str, Any]:
    """Capacities and throughput, as JSON has them; sizes in bytes, times in seconds, capacities in tokens.

    What needs the actors' times is None where ``times`` lacks some. Raises click.ClickException for a graph that is
    live only because its rates are never all at their upper limits.
    """
    from eprune.analysis.buffers import least_fast, least_live
    from eprune.analysis.throughput import deployment

    graph = inputs.graph
    unknown = [actor.name for actor in graph.actors if actor.name not in times]
    try:
        deployed = deployment(graph, inputs.platforms, inputs.mappings)
        live = least_live(graph, deployed)
        fast = None if unknown else least_fast(graph, times, deployed)
    except ValueError:
        message = "with all rates at their upper limits the graph deadlocks: its buffers cannot be sized as one"
        raise click.ClickException(message) from None
    return {
        "given": {"capacities": {fifo.name: fifo.capacity for fifo in graph.fifos}, "bytes": _bytes(graph, deployed)},
        "live": _sizes(live),
        "fast": None if fast is None else _sizes(fast),
        "throughput": None if unknown else _throughput(graph, times, deployed),
        "max_throughput": None if fast is None else _throughput(fast.applied(graph), times, deployed),
        "without_time": unknown,
        "bound_only": any(not port.static for _, port in graph.ports()),
    }


def _bytes(graph: Graph, deployed: Deployment) -> int:
    from eprune.analysis.lookup import buffer_bytes

    return sum(size * (1 + (name in deployed.transfers)) for name, size in buffer_bytes(graph).items())


def _sizes(sizes: Sizes) -> dict[str, Any]:
    return {"capacities": sizes.capacities, "bytes": sizes.nbytes, "bound_bytes": sizes.bound, "least": sizes.least}


def _throughput(graph: Graph, times: Mapping[str, Fraction], deployed: Deployment) -> dict[str, Any]:
    from eprune.analysis.cycle_ratio import max_cycle_ratio
    from eprune.analysis.throughput import advice, timed

    model = timed(graph, times, deployed)
    cycle: Optional[Cycle] = max_cycle_ratio(model.times, model.edges)
    if cycle is None:
        return {"period_s": 0.0, "bottleneck": None}
    edges = [{**edge._asdict(), "time_s": float(model.times[edge.source])} for edge in cycle.edges]
    bottleneck = {"cycle": edges, "time_s": float(cycle.time), "tokens": cycle.tokens, "advice": advice(cycle, graph)}
    return {"period_s": float(cycle.ratio), "bottleneck": bottleneck}


def as_text(sized: Mapping[str, Any]) -> str:
    """The same for people."""
    from eprune.model.quantity import format_size
    from eprune.views.tables import table

    columns = [(title, sized[key]) for title, key in _COLUMNS.items() if sized[key] is not None]
    rows: list[tuple[object, ...]] = [
        (name, *(column["capacities"][name] for _, column in columns)) for name in sized["given"]["capacities"]
    ]
    text = "Capacities, in tokens:\n\n"
    text += table(("FIFO", *(title for title, _ in columns)), rows) + "\n"
    for title, column in columns:
        text += f"Buffers, {title}: {format_size(column['bytes'])}{_proof(column)}\n"
    if sized["throughput"] is None:
        missing = ", ".join(sized["without_time"][:6]) + (", ..." if len(sized["without_time"]) > 6 else "")
        return (
            f"{text}Throughput: unknown, for these actors have no time: {missing} (--times says how long they take)\n"
        )
    bound = ", or less: all rates are taken at their upper limits" if sized["bound_only"] else ""
    for title, key in (("as given", "throughput"), ("full speed", "max_throughput")):
        told = sized[key]
        if key == "throughput" or told["period_s"] != sized["throughput"]["period_s"]:
            text += f"\nThroughput, {title}: {_pace(told['period_s'])}{bound}\n{_bottleneck(told['bottleneck'])}"
    return text


#: How many steps of a cycle people are shown.
_ROWS = 12

#: What the table calls the sets of capacities.
_COLUMNS = {"given": "given", "least to live": "live", "least for full speed": "fast"}


def _proof(column: Mapping[str, Any]) -> str:
    if column.get("least", True):
        return ""
    from eprune.model.quantity import format_size

    return f" (perhaps less will do, but not less than {format_size(column['bound_bytes'])})"


def _pace(period: float) -> str:
    from eprune.model.quantity import format_time

    return f"{1 / period:.4g} iterations/s, one every {format_time(period)}" if period else "no actor takes any time"


def _bottleneck(told: Optional[Mapping[str, Any]]) -> str:
    from eprune.model.quantity import format_time
    from eprune.views.tables import counted, table

    if told is None:
        return ""
    reasons = {
        "token": "tokens in {}",
        "room": "room in {}",
        "self": "its own next firing",
        "unit": "its turn on {}",
        "link": "its turn on {}",
    }
    rows = [
        (
            edge["source"],
            format_time(edge["time_s"]),
            edge["target"],
            reasons[edge["kind"]].format(edge["about"]),
            edge["tokens"],
        )
        for edge in told["cycle"]
    ]
    if len(rows) > _ROWS:
        rows[_ROWS - 1 :] = [("...", "", "", f"and {len(rows) - _ROWS + 1} more", "")]
    about = f"{format_time(told['time_s'])} for {counted(told['tokens'], 'token')}"
    lines = "".join(f"  - {line}\n" for line in told["advice"])
    header = ("actor", "time", "then", "which waits for", "tokens")
    return f"Bottleneck, a cycle of {about}:\n\n{table(header, rows)}\nWhat would help:\n{lines}"


def apply(path: str, inputs: Inputs, sized: Mapping[str, Any]) -> None:
    """Write the graph with the capacities for full speed, or with those to live where times are unknown."""
    from dataclasses import replace

    from eprune.cli.errors import say
    from eprune.formats.atomic import write_file
    from eprune.formats.xml.edit import rewrite
    from eprune.passes.relocate import relocated

    title, chosen = next((t, sized[k]) for t, k in reversed(_COLUMNS.items()) if sized[k] is not None)
    fifos = tuple(replace(fifo, capacity=chosen["capacities"][fifo.name]) for fifo in inputs.graph.fifos)
    graph = replace(inputs.graph, fifos=fifos)
    write_file(path, rewrite(inputs.graph, relocated(graph, "" if path == "-" else str(Path(path).parent))))
    say(f"{path}: capacities {title}")
