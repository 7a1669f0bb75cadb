"""Platform graphs, XML in and out. docs/reference/files.md describes the format, schema/platform.rng its structure."""

from __future__ import annotations

from decimal import Decimal
from typing import Optional, Union

from eprune.formats.xml.safe import Document, Node, node, render
from eprune.formats.xml.schema import read
from eprune.model.platform import Engine, Link, Platform, Security, Unit, Via
from eprune.model.quantity import (
    exact_bandwidth,
    exact_power,
    exact_size,
    exact_time,
    parse_bandwidth,
    parse_power,
    parse_size,
    parse_time,
)


def read_platform(path: str) -> Platform:
    """The platform of a file, "-" for stdin. Raises EpruneError with all findings."""
    return read(path, "platform", _platform)


def write_platform(platform: Platform) -> str:
    """XML text that reads back as an equal platform. Comments are not kept, defaults are left out."""
    units = [_unit_node(unit) for unit in platform.units]
    links = [_link_node(link) for link in platform.links]
    memory = None if platform.memory is None else exact_size(platform.memory)
    return render(
        node(
            "platform",
            units + links,
            name=platform.name,
            host=platform.host,
            python=platform.python,
            folder=platform.folder,
            memory=memory,
            group=_group(platform),
        )
    )


def _platform(document: Document) -> Platform:
    root = document.root
    memory = root.attributes.get("memory")
    return Platform(
        name=root.attributes["name"],
        units=tuple(_unit(document, child) for child in root.children if child.tag == "unit"),
        links=tuple(_link(document, child) for child in root.children if child.tag == "link"),
        memory=None if memory is None else parse_size(memory),
        groups=_groups(root),
        host=root.attributes.get("host"),
        python=root.attributes.get("python"),
        folder=root.attributes.get("folder"),
        where=document.where(root),
    )


def _unit(document: Document, element: Node) -> Unit:
    attributes = element.attributes
    delegate = attributes.get("delegate")
    return Unit(
        name=attributes["name"],
        cores=_cores(attributes.get("core") or attributes.get("cores", "")),
        slowdown=float(attributes.get("slowdown", Unit.slowdown)),
        watts=_watts(element, "watts"),
        idle=_watts(element, "idle"),
        groups=_groups(element),
        engine=Engine(attributes["engine"]) if "engine" in attributes else None,
        threads=int(attributes.get("threads", Unit.threads)),
        delegate=delegate,
        opencl=attributes.get("opencl"),
        options=_options(attributes.get("options", "")),
        where=document.where(element),
    )


def _cores(text: str) -> tuple[int, ...]:
    """The cores of ``0-2,5``, each once, in rising order."""
    ends = [part.partition("-") for part in text.split(",") if part]
    return tuple(sorted({core for first, _, last in ends for core in range(int(first), int(last or first) + 1)}))


def _written_cores(cores: tuple[int, ...]) -> str:
    breaks = [place for place in range(1, len(cores)) if cores[place] != cores[place - 1] + 1]
    ends = zip([0, *breaks], [*breaks, len(cores)]) if cores else ()
    return ",".join(f"{cores[a]}" if b - a == 1 else f"{cores[a]}-{cores[b - 1]}" for a, b in ends)


def _options(text: str) -> tuple[tuple[str, str], ...]:
    """The options of ``cache=1 mode=fast``; the last of several of one name counts."""
    return tuple({name: value for name, _, value in (each.partition("=") for each in text.split())}.items())


def _unit_node(unit: Unit) -> Node:
    slowdown = None if unit.slowdown == Unit.slowdown else f"{Decimal(repr(unit.slowdown)):f}"
    watts, idle = (None if each is None else exact_power(each) for each in (unit.watts, unit.idle))
    cores = _written_cores(unit.cores)
    return node(
        "unit",
        name=unit.name,
        engine=None if unit.engine is None else unit.engine.value,
        delegate=unit.delegate,
        opencl=unit.opencl,
        options=" ".join(f"{name}={value}" for name, value in unit.options) or None,
        threads=None if unit.threads == Unit.threads else unit.threads,
        core=cores if len(unit.cores) == 1 else None,
        cores=cores if len(unit.cores) > 1 else None,
        slowdown=slowdown,
        watts=watts,
        idle=idle,
        group=_group(unit),
    )


def _watts(element: Node, name: str) -> Optional[float]:
    text = element.attributes.get(name)
    return None if text is None else parse_power(text)


def _link(document: Document, element: Node) -> Link:
    attributes = element.attributes
    bandwidth, latency = attributes.get("bandwidth"), attributes.get("latency")
    return Link(
        to=attributes["to"],
        address=attributes.get("address", Link.address).strip("[]"),
        port=int(attributes.get("port", Link.port)),
        bandwidth=None if bandwidth is None else parse_bandwidth(bandwidth),
        latency=None if latency is None else parse_time(latency),
        watts=_watts(element, "watts"),
        shared=attributes.get("ports") == "shared",
        security=Security(attributes.get("security", "none")),
        via=Via(attributes["via"]) if "via" in attributes else None,
        window=parse_size(attributes["window"]) if "window" in attributes else Link.window,
        groups=_groups(element),
        where=document.where(element),
    )


def _groups(element: Node) -> tuple[str, ...]:
    """The names in ``group``, each once."""
    return tuple(dict.fromkeys(element.attributes.get("group", "").split()))


def _group(thing: Union[Platform, Unit, Link]) -> Optional[str]:
    return " ".join(thing.groups) or None


def _link_node(link: Link) -> Node:
    return node(
        "link",
        to=link.to,
        address=None if link.address == Link.address else link.address,
        port=None if link.port == Link.port else link.port,
        ports="shared" if link.shared else None,
        bandwidth=None if link.bandwidth is None else exact_bandwidth(link.bandwidth),
        latency=None if link.latency is None else exact_time(link.latency),
        watts=None if link.watts is None else exact_power(link.watts),
        security=None if link.security is Security.NONE else link.security.value,
        via=None if link.via is None else link.via.value,
        window=exact_size(link.window) if link.window else None,
        group=_group(link),
    )
