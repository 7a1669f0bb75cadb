"""Platform graphs, XML in and out. The format is described in docs/files.md, its structure in schema/platform.rng."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Optional

from eprune.formats.schema import read
from eprune.formats.xmlsafe import Document, Node, node, render
from eprune.model.platform import Link, Platform, Unit
from eprune.model.quantity import BANDWIDTH, TIME, exact_size, parse_bandwidth, parse_quantity, parse_size, parse_time


def read_platform(path: str) -> Platform:
    """The platform of a file, "-" for stdin. Raises EpruneError with all findings."""
    return read(path, "platform", _platform)


def write_platform(platform: Platform) -> str:
    """XML text that reads back as an equal platform. Comments are not kept, defaults are left out."""
    units = [node("unit", name=unit.name, core=unit.core) for unit in platform.units]
    links = [_link_node(link) for link in platform.links]
    memory = None if platform.memory is None else exact_size(platform.memory)
    return render(node("platform", units + links, name=platform.name, memory=memory))


def _platform(document: Document) -> Platform:
    root = document.root
    memory = root.attributes.get("memory")
    return Platform(
        name=root.attributes["name"],
        units=tuple(_unit(document, child) for child in root.children if child.tag == "unit"),
        links=tuple(_link(document, child) for child in root.children if child.tag == "link"),
        memory=None if memory is None else parse_size(memory),
        where=document.where(root),
    )


def _unit(document: Document, element: Node) -> Unit:
    core = element.attributes.get("core")
    return Unit(element.attributes["name"], None if core is None else int(core), document.where(element))


def _link(document: Document, element: Node) -> Link:
    attributes = element.attributes
    bandwidth, latency = attributes.get("bandwidth"), attributes.get("latency")
    return Link(
        to=attributes["to"],
        address=attributes.get("address", Link.address),
        port=int(attributes.get("port", Link.port)),
        bandwidth=None if bandwidth is None else parse_bandwidth(bandwidth),
        latency=None if latency is None else parse_time(latency),
        where=document.where(element),
    )


def _link_node(link: Link) -> Node:
    return node(
        "link",
        to=link.to,
        address=None if link.address == Link.address else link.address,
        port=None if link.port == Link.port else link.port,
        bandwidth=_quantity(link.bandwidth, ("Gbit/s", "Mbit/s", "kbit/s", "MB/s", "kB/s", "B/s"), BANDWIDTH),
        latency=_quantity(link.latency, ("s", "ms", "us", "ns"), TIME),
    )


def _quantity(value: Optional[float], units: tuple[str, ...], factors: Mapping[str, float]) -> Optional[str]:
    """Text that reads back as exactly this value, in that of ``units`` in which it is 1 or more and reads simplest."""
    if value is None:
        return None
    texts = []
    for unit in units:
        number = f"{Decimal(f'{value / factors[unit]:.15g}'):f}"
        if parse_quantity(number + unit, factors) == value:
            digits = len(number.replace(".", "").strip("0"))
            texts.append((value < factors[unit], digits, len(number + unit), number + unit))
    base = next(unit for unit in units if factors[unit] == 1)
    return min(texts, key=lambda text: text[:3])[3] if texts else f"{Decimal(repr(value)):f}{base}"
