"""Mappings, XML in and out. docs/reference/files.md describes the format, schema/mapping.rng its structure."""

from __future__ import annotations

from eprune.formats.xml.safe import Document, node, render
from eprune.formats.xml.schema import read
from eprune.model.mapping import Mapping, Placement


def read_mapping(path: str) -> Mapping:
    """The mapping of a file, "-" for stdin. Raises EpruneError with all findings."""
    return read(path, "mapping", _mapping)


def write_mapping(mapping: Mapping) -> str:
    """XML text that reads back as an equal mapping. Comments are not kept, defaults are left out."""
    children = [
        node("map", actor=place.actor, unit=place.unit, platform=place.platform, segment=place.segment)
        for place in mapping.placements
    ]
    return render(node("mapping", children, application=mapping.application, platform=mapping.platform))


def _mapping(document: Document) -> Mapping:
    root = document.root
    placements = tuple(
        Placement(
            actor=child.attributes["actor"],
            unit=child.attributes.get("unit"),
            platform=child.attributes.get("platform"),
            segment=child.attributes.get("segment"),
            where=document.where(child),
        )
        for child in root.children
    )
    return Mapping(root.attributes["application"], root.attributes["platform"], placements, document.where(root))
