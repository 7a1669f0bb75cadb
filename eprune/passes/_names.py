"""Names for what a pass adds to a graph."""

from __future__ import annotations

from eprune.model.graph import Graph


def names_of(graph: Graph) -> set[str]:
    """The names that its actors, FIFOs and dynamic processing graphs have."""
    return {each.name for group in (graph.actors, graph.fifos, graph.dpgs) for each in group}


def plain(name: str) -> str:
    """A name as a part of a file's name."""
    return "".join(each if each.isalnum() or each in "_-" else "_" for each in name)


def fresh(name: str, taken: set[str]) -> str:
    """The name, with underscores behind it if nothing else makes it new; it is taken from now on."""
    while name in taken:
        name += "_"
    taken.add(name)
    return name
