"""An application graph as a drawing: text in DOT, the language of Graphviz, and the picture Graphviz makes of it."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from typing import Optional

from eprune.model import depths
from eprune.model.exit_codes import USAGE
from eprune.model.finding import Failure
from eprune.model.graph import Actor, ActorType, Graph, Port, phases_text
from eprune.model.quantity import format_size

#: Fill colours for platforms, in turn: light, and different also for colour-blind readers.
_COLOURS = ("#cfe2f3", "#ffe0b3", "#d5e8d4", "#f4cce0", "#fff2a8", "#d9d2e9", "#c9ecec", "#e2d6c8")
_NOWHERE_COLOUR = "#f2f2f2"
_CUT_COLOUR = "#c00000"
_CONTROL_COLOUR = "#3060a0"
#: Shapes of actors whose token rates change, or that change them; the others are boxes with round corners.
_SHAPES = {
    ActorType.SPA: "",
    ActorType.DA: ' shape=hexagon style="filled"',
    ActorType.DPA: ' style="filled,rounded,dashed"',
    ActorType.CA: ' shape=ellipse style="filled"',
}
#: Seconds that Graphviz may take.
TIMEOUT = 120


def write_dot(
    graph: Graph, homes: Optional[Mapping[str, str]] = None, links: Optional[Mapping[frozenset[str], str]] = None
) -> str:
    """The graph in DOT. Same arguments, same text.

    Actors are boxes, with what they run; FIFOs are arrows, with the size of a firing's tokens and their delay. CAs are
    ellipses, DAs hexagons, DPAs dashed; control FIFOs are dotted, dynamic ones have a hollow head and two sizes.
    ``homes`` maps actors to platforms: these get colours and a legend, and FIFOs that cross from one to another are red
    and bold. ``links`` maps pairs of platforms to what these FIFOs also say, such as a bandwidth. A deep graph is
    folded into columns, to be read from top to bottom, then from left to right.
    """
    homes = homes or {}
    platforms = list(dict.fromkeys(homes[actor.name] for actor in graph.actors if actor.name in homes))
    colours = {platform: _COLOURS[place % len(_COLOURS)] for place, platform in enumerate(platforms)}
    columns = depths.columns(graph)
    lines = [
        f"digraph {_quoted(graph.name)} {{",
        f"  label={_legend(graph.name, colours)}",
        '  labelloc="t" fontname="Helvetica" fontsize=14 ranksep=0.3 nodesep=0.4',
        '  node [shape=box style="filled,rounded" fontname="Helvetica" fontsize=11 margin="0.12,0.05" height=0.3]',
        '  edge [fontname="Helvetica" fontsize=9 arrowsize=0.6 color="#606060"]',
    ]
    for actor in graph.actors:
        colour = colours.get(homes.get(actor.name, ""), _NOWHERE_COLOUR)
        lines.append(f"  {_quoted(actor.name)} [label={_box(actor)} fillcolor={_quoted(colour)}{_SHAPES[actor.type]}]")
    lines.append(f"  {{rank=min; {'; '.join(map(_quoted, _tops(graph, columns)))}}}")
    ports = dict(graph.ports())
    for fifo in graph.fifos:
        port = ports.get(fifo.source)
        size = _multi_rate(port, ports.get(fifo.target)) if graph.is_sdf else _size(port)
        source, target = fifo.source.actor, fifo.target.actor
        attributes = {"label": f" {size}", "tooltip": f"{fifo.name}: {port.token if port else '?'}"}
        if port is not None and port.control:
            attributes.update(label="", style="dotted", color=_CONTROL_COLOUR)
        elif port is not None and not port.static:
            attributes["arrowhead"] = "empty"
        if homes.get(source) != homes.get(target):
            link = (links or {}).get(frozenset((homes.get(source, ""), homes.get(target, ""))), "")
            attributes["label"] = f"{attributes['label']} {link}".rstrip()
            attributes.update(color=_CUT_COLOUR, fontcolor=_CUT_COLOUR, penwidth="2.2", fontname="Helvetica-Bold")
        if fifo.delay:
            attributes.update(style="dashed", label=f" {size}, delay {fifo.delay}")
        if fifo.delay or columns.get(source) != columns.get(target):
            attributes["constraint"] = "false"
        text = " ".join(f"{name}={_quoted(value)}" for name, value in attributes.items())
        lines.append(f"  {_quoted(source)} -> {_quoted(target)} [{text}]")
    return "\n".join([*lines, "}", ""])


def _size(port: Optional[Port]) -> str:
    """The size of a firing's tokens, or the least and the most."""
    if port is None:
        return "?"
    least, most = (format_size(port.token.nbytes * rate) for rate in (port.lrl, port.url))
    return most if port.static else f"{least} to {most}"


def _multi_rate(source: Optional[Port], target: Optional[Port]) -> str:
    """The size of a token, and the rates at the two ends where they are not both 1."""
    if source is None or target is None:
        return "?"
    rates = [phases_text(port.rates) for port in (source, target)]
    size = format_size(source.token.nbytes)
    return size if rates == ["1", "1"] else f"{size}, {rates[0]} → {rates[1]}"


def _legend(name: str, colours: Mapping[str, str]) -> str:
    """The title, and a coloured cell for each platform, in Graphviz's HTML."""
    cells = "".join(f'<td bgcolor="{colour}">{_escaped(platform)}</td>' for platform, colour in colours.items())
    platforms = f'<table border="0" cellborder="1" cellspacing="6"><tr>{cells}</tr></table>' if cells else ""
    return f'<<table border="0"><tr><td><b>{_escaped(name)}</b></td><td>{platforms}</td></tr></table>>'


def _box(actor: Actor) -> str:
    title = actor.behaviour.title if actor.behaviour else ""
    small = f'<br/><font point-size="8" color="#404040">{_escaped(title)}</font>' if title else ""
    return f"<{_escaped(actor.name)}{small}>"


def _tops(graph: Graph, columns: Mapping[str, int]) -> list[str]:
    """The actors that begin the columns behind the first one: they are to be at the top, too."""
    below = {
        fifo.target.actor
        for fifo in graph.fifos
        if not fifo.delay and columns.get(fifo.source.actor) == columns.get(fifo.target.actor)
    }
    return [actor.name for actor in graph.actors if actor.name not in below and columns[actor.name] > 0]


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def layout(text: str, kind: str) -> bytes:
    """The picture that Graphviz makes of DOT text. Raises Failure where it is not installed, or fails."""
    try:
        done = subprocess.run(
            ["dot", f"-T{kind}"], input=text.encode(), capture_output=True, timeout=TIMEOUT, check=False
        )
    except FileNotFoundError:
        raise _undrawable(
            "Graphviz is not installed: there is no program 'dot'\n"
            "    hint: install it (Debian, Ubuntu: apt-get install graphviz; macOS: brew install graphviz),\n"
            "    or ask for DOT text, which needs nothing: -o FILE.dot"
        ) from None
    except subprocess.TimeoutExpired:
        raise _undrawable(f"Graphviz has not come to an end within {TIMEOUT} s") from None
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
        raise _undrawable(f"Graphviz cannot draw it: {reason[0]}")
    return done.stdout


def _undrawable(message: str) -> Failure:
    return Failure(message, USAGE)
