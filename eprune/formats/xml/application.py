"""Application graphs, XML in and out. docs/reference/files.md has the format, schema/application.rng its structure.

What can be represented is read, also where it breaks design rules (two actors of one name, a FIFO to nowhere): the
analyzer reports those.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Optional

from eprune.formats.library import find
from eprune.formats.xml.safe import Document, Node, node, render
from eprune.formats.xml.schema import read
from eprune.model.behaviour import Behaviour
from eprune.model.finding import EpruneError, Finding
from eprune.model.graph import (
    Ack,
    Actor,
    ActorType,
    Computation,
    Direction,
    Dpg,
    FaultPolicy,
    Fifo,
    Graph,
    Match,
    Port,
    PortRef,
    Requirement,
    Route,
    Row,
    default_capacity,
    parse_phases,
    parse_rate,
    phases_text,
    rate_range,
)
from eprune.model.quantity import (
    decimal,
    exact_frequency,
    exact_rate,
    exact_seconds,
    exact_time,
    exact_times,
    fraction_rate,
    fraction_time,
    parse_frequency,
    parse_share,
    parse_timeout,
    parse_timeouts,
)
from eprune.model.token import parse_token

#: find(folder): (file, library) -> path, asked once a file
_Locate = Callable[[str, bool], str]

_token = lru_cache(maxsize=4096)(parse_token)


def read_application(path: str) -> Graph:
    """The graph of an application file, "-" for stdin. Raises EpruneError with all findings.

    Behaviours get the path where their file is, found relative to the application file's folder (for stdin the current
    one), classes also in the library of actors; the path of a file that is nowhere points into that folder.
    """
    folder = "" if path == "-" else str(Path(path).parent)
    locate = lru_cache(maxsize=None)(partial(find, folder))
    return read(path, "application", partial(_graph, locate))


def write_application(graph: Graph) -> str:
    """XML text that reads back as an equal graph. Comments are not kept, defaults are left out.

    Raises ValueError for text that XML cannot hold.
    """
    limits = _limits(graph.actors)
    children = [_actor_node(actor) for actor in graph.actors] + [_fifo_node(fifo, limits) for fifo in graph.fifos]
    children += [_dpg_node(dpg) for dpg in graph.dpgs]
    children += [_require_node(each) for each in graph.requirements]
    model = graph.computation.value if graph.is_sdf else None
    return render(node("application", children, name=graph.name, model=model))


def _graph(locate: _Locate, document: Document) -> Graph:
    root = document.root
    actors = tuple(_actor(document, locate, child) for child in root.children if child.tag == "actor")
    limits = _limits(actors)
    fifos = tuple(_fifo(document, limits, child) for child in root.children if child.tag == "fifo")
    dpgs = tuple(_dpg(document, child) for child in root.children if child.tag == "dpg")
    required = tuple(_requirement(document, child) for child in root.children if child.tag == "require")
    model = Computation(root.attributes.get("model", Computation.VR_PRUNE.value))
    return Graph(root.attributes["name"], actors, fifos, dpgs, required, document.where(root), model)


def _seconds(element: Node, name: str) -> Optional[float]:
    """The time that an attribute states, None where it is missing."""
    text = element.attributes.get(name)
    return None if text is None else parse_timeout(text)


def _frequency(element: Node, name: str) -> Optional[float]:
    text = element.attributes.get(name)
    return None if text is None else parse_frequency(text)


def _actor(document: Document, locate: _Locate, element: Node) -> Actor:
    quorum = element.attributes.get("quorum")
    time, bounds = exact_times(element.attributes["time"]) if "time" in element.attributes else (None, None)
    try:
        behaviour = Behaviour.of(element.attributes, locate)
    except ValueError as error:
        message = f"actor {element.attributes['name']!r}: {error}"
        raise EpruneError(Finding("XML", document.where(element), message)) from None
    return Actor(
        name=element.attributes["name"],
        ports=tuple(_port(document, child) for child in element.children if child.tag != "param"),
        type=ActorType(element.attributes.get("type", "SPA")),
        behaviour=behaviour,
        parameters=tuple(
            (child.attributes["name"], child.attributes["value"]) for child in element.children if child.tag == "param"
        ),
        quorum=None if quorum is None else int(quorum),
        time=time,
        bounds=bounds,
        match=Match(element.attributes["match"]) if "match" in element.attributes else None,
        clock=_frequency(element, "clock"),
        rate=_frequency(element, "rate"),
        stall_after=_seconds(element, "stall-after"),
        where=document.where(element),
    )


def _port(document: Document, element: Node) -> Port:
    attributes = element.attributes
    rate = attributes.get("rate", "1")
    phases = _phases(document, element, rate) if "," in rate or "*" in rate else ()
    lrl, url = (min(phases), max(phases)) if phases else parse_rate(rate)
    return Port(
        name=attributes["name"],
        direction=Direction(element.tag),
        token=_token(attributes["token"]),
        lrl=lrl,
        url=url,
        atr=int(attributes.get("atr", url)),
        control=attributes.get("control") == "true",
        tensor=int(attributes["tensor"]) if "tensor" in attributes else None,
        required=attributes.get("required") != "false",
        hold=attributes.get("hold") == "true",
        max_age=_seconds(element, "max-age"),
        phases=phases if lrl != url else (),
        where=document.where(element),
    )


def _phases(document: Document, element: Node, text: str) -> tuple[int, ...]:
    try:
        return parse_phases(text)
    except ValueError as error:
        message = f"port {element.attributes['name']!r}: {error}"
        raise EpruneError(Finding("XML", document.where(element), message)) from None


def _fifo(document: Document, limits: dict[PortRef, int], element: Node) -> Fifo:
    attributes = element.attributes
    source = PortRef(*attributes["from"].split("."))
    target = PortRef(*attributes["to"].split("."))
    delay = int(attributes.get("delay", 0))
    policy = FaultPolicy(attributes.get("policy", Fifo.policy.value))
    floor, timeout = parse_timeouts(attributes["timeout"]) if "timeout" in attributes else (None, None)
    return Fifo(
        name=attributes["name"],
        source=source,
        target=target,
        capacity=int(attributes.get("capacity", _default_capacity(limits, source, target, delay, policy))),
        delay=delay,
        initial=attributes.get("initial"),
        policy=policy,
        timeout=timeout,
        timeout_floor=floor,
        ack=Ack(attributes.get("ack", Fifo.ack.value)),
        room_timeout=_seconds(element, "room-timeout"),
        window=int(attributes["window"]) if "window" in attributes else None,
        group=attributes.get("group"),
        route=Route(attributes["route"]) if "route" in attributes else None,
        channel=attributes.get("channel"),
        where=document.where(element),
    )


def _dpg(document: Document, element: Node) -> Dpg:
    attributes = element.attributes
    (table,) = element.children
    return Dpg(
        name=attributes["name"],
        control=attributes["control"],
        entry=attributes["entry"],
        exit=attributes["exit"],
        members=tuple(attributes.get("members", "").split()),
        ports=tuple(PortRef(*port.split(".")) for port in table.attributes["ports"].split()),
        rows=tuple(_row(document, row) for row in table.children),
        inside=attributes.get("inside", ""),
        late=int(attributes["late"]) if "late" in attributes else None,
        late_after=_seconds(element, "late-after"),
        where=document.where(element),
    )


def _row(document: Document, element: Node) -> Row:
    rates = tuple(map(int, element.attributes["rates"].split()))
    return Row(int(element.attributes["value"]), rates, where=document.where(element))


def _requirement(document: Document, element: Node) -> Requirement:
    attributes = element.attributes
    return Requirement(
        source=PortRef(*attributes["from"].split(".")),
        target=PortRef(*attributes["to"].split(".")),
        rate=exact_rate(attributes["rate"]) if "rate" in attributes else None,
        latency=exact_seconds(attributes["latency"]) if "latency" in attributes else None,
        share=parse_share(attributes.get("share", "1")),
        where=document.where(element),
    )


def _limits(actors: tuple[Actor, ...]) -> dict[PortRef, int]:
    """Each port's upper rate limit; of ports that share a name, the first one's."""
    limits: dict[PortRef, int] = {}
    for actor in actors:
        for port in actor.ports:
            limits.setdefault(PortRef(actor.name, port.name), port.url)
    return limits


def _default_capacity(
    limits: dict[PortRef, int], source: PortRef, target: PortRef, delay: int, policy: FaultPolicy
) -> int:
    """The default capacity, at the larger of its ends' upper rate limits."""
    rates = [limits[end] for end in (source, target) if end in limits]
    return default_capacity(max(rates, default=1), delay, policy)


def _timeouts(fifo: Fifo) -> Optional[str]:
    longest = _optional(exact_time, fifo.timeout)
    return longest if fifo.timeout_floor is None else f"{exact_time(fifo.timeout_floor)}..{longest}"


def _times(actor: Actor) -> Optional[str]:
    if actor.time is None or actor.bounds is None:
        return None if actor.time is None else fraction_time(actor.time)
    least, most = actor.bounds
    return "..".join(map(fraction_time, (least, actor.time, most)))


def _optional(write: Callable[[float], str], value: Optional[float]) -> Optional[str]:
    return None if value is None else write(value)


def _actor_node(actor: Actor) -> Node:
    return node(
        "actor",
        [node("param", name=name, value=value) for name, value in actor.parameters]
        + [_port_node(port) for port in actor.ports],
        name=actor.name,
        type=None if actor.type is ActorType.SPA else actor.type.value,
        time=_times(actor),
        **(actor.behaviour.attributes() if actor.behaviour else {}),
        quorum=actor.quorum,
        match=None if actor.match is None else actor.match.value,
        clock=_optional(exact_frequency, actor.clock),
        rate=_optional(exact_frequency, actor.rate),
        **{"stall-after": _optional(exact_time, actor.stall_after)},
    )


def _port_node(port: Port) -> Node:
    rate = phases_text(port.phases) if port.phases else rate_range(port.lrl, port.url)
    return node(
        port.direction.value,
        (),
        name=port.name,
        token=port.token,
        rate=None if rate == "1" else rate,
        atr=None if port.atr == port.url else port.atr,
        control="true" if port.control else None,
        tensor=port.tensor,
        required=None if port.required else "false",
        hold="true" if port.hold else None,
        **{"max-age": _optional(exact_time, port.max_age)},
    )


def _fifo_node(fifo: Fifo, limits: dict[PortRef, int]) -> Node:
    default = _default_capacity(limits, fifo.source, fifo.target, fifo.delay, fifo.policy)
    return node(
        "fifo",
        (),
        name=fifo.name,
        from_=fifo.source,
        to=fifo.target,
        capacity=None if fifo.capacity == default else fifo.capacity,
        delay=fifo.delay or None,
        initial=fifo.initial,
        policy=None if fifo.policy is Fifo.policy else fifo.policy.value,
        timeout=_timeouts(fifo),
        ack=None if fifo.ack is Fifo.ack else fifo.ack.value,
        window=fifo.window,
        group=fifo.group,
        route=None if fifo.route is None else fifo.route.value,
        channel=fifo.channel,
        **{"room-timeout": _optional(exact_time, fifo.room_timeout)},
    )


def _dpg_node(dpg: Dpg) -> Node:
    rows = [node("row", value=row.value, rates=" ".join(map(str, row.rates))) for row in dpg.rows]
    table = node("table", rows, ports=" ".join(map(str, dpg.ports)))
    members = " ".join(dpg.members) or None
    ends = {"control": dpg.control, "entry": dpg.entry, "exit": dpg.exit}
    late = {"late": dpg.late, "late-after": _optional(exact_time, dpg.late_after)}
    return node("dpg", [table], name=dpg.name, inside=dpg.inside or None, **ends, members=members, **late)


def _require_node(requirement: Requirement) -> Node:
    return node(
        "require",
        (),
        from_=requirement.source,
        to=requirement.target,
        rate=None if requirement.rate is None else fraction_rate(requirement.rate),
        latency=None if requirement.latency is None else fraction_time(requirement.latency),
        share=None if requirement.share == 1 else decimal(requirement.share),
    )
