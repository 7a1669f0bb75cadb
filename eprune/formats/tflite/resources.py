"""Which state inside the interpreter an operator touches: variables and tables, which have names of their own.

An operator names a resource (VAR_HANDLE, HASHTABLE), and its result, a handle, leads others to it. CALL_ONCE and other
operators that call a graph touch what is named in there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from eprune.formats.models.parts import UNKNOWN, Operator

#: Operators whose result is a handle -> the fields of their options that say to what.
_NAMING = {"VAR_HANDLE": ("container", "sharedName"), "HASHTABLE": ("tableId",)}
#: Operators that leave a resource as it is.
_READING = {"HASHTABLE_FIND", "HASHTABLE_SIZE", "READ_VARIABLE"}
#: Called in a circle, or deeper than this, is not followed.
_DEEPEST = 20


def names_one(operator: Operator) -> bool:
    """Whether all that an operator does is to name a resource: any slice can do it again."""
    return operator.name in _NAMING and UNKNOWN not in operator.resources


def only_read(operators: Iterable[Operator]) -> bool:
    """Whether these operators leave what they touch as it was filled once: any slice has the same in its own."""
    return all(operator.name in _READING and UNKNOWN not in operator.resources for operator in operators)


def touched(
    root: Any, schema: Any, graph: int, operators: Sequence[Operator], codes: Sequence[str], handles: Collection[int]
) -> dict[int, tuple[str, ...]]:
    """Operator of a graph -> the resources that it touches, for those that touch any.

    ``codes`` are the names of the file's operator codes, ``handles`` the graph's tensors that are no data.
    """
    graphs = _Graphs(root, schema, codes)
    leads: dict[int, set[str]] = {}
    found: dict[int, tuple[str, ...]] = {}
    source = root.Subgraphs(graph)
    for operator in operators:
        names = {name for index in operator.inputs if index in handles for name in leads.get(index, {UNKNOWN})}
        names |= graphs.named(source.Operators(operator.index), operator.name)
        for called in operator.subgraphs:
            names |= graphs.inside(called)
        if operator.name == "CALL_ONCE" and not names:
            names = {UNKNOWN}
        for index in operator.outputs:
            if index in handles:
                leads[index] = names if operator.name in _NAMING else {UNKNOWN}
                names = names or {UNKNOWN}
        if names:
            found[operator.index] = tuple(sorted(names))
    if len({name.partition(" ")[0] for names in found.values() for name in names} - {UNKNOWN}) > 1:
        # Variables are numbered as they come, tables as the file says: in one interpreter they may meet.
        return dict.fromkeys(found, (UNKNOWN,))
    return found


def starters(operators: Iterable[Operator], chosen: Iterable[Operator]) -> list[Operator]:
    """The operators that fill, once, what the chosen ones find in their resources: each slice has its own."""
    wanted = {name for operator in chosen for name in operator.resources}
    return [
        operator
        for operator in operators
        if operator.name == "CALL_ONCE" and wanted and (UNKNOWN in wanted or not wanted.isdisjoint(operator.resources))
    ]


class _Graphs:
    """What the file's other graphs touch."""

    def __init__(self, root: Any, schema: Any, codes: Sequence[str]) -> None:
        self.root = root
        self.schema = schema
        self.codes = codes
        self.known: dict[int, set[str]] = {}

    def named(self, operator: Any, name: str) -> set[str]:
        """The resource that an operator names itself."""
        if name not in _NAMING:
            return set()
        options = self.schema.OperatorT.InitFromObj(operator).builtinOptions
        values = [getattr(options, field, None) for field in _NAMING[name]]
        if options is None or (name == "HASHTABLE" and values[0] is None):
            return {UNKNOWN}
        texts = (value.decode(errors="replace") if isinstance(value, bytes) else str(value or "") for value in values)
        return {f"{'variable' if name == 'VAR_HANDLE' else 'table'} {'/'.join(filter(None, texts))}"}

    def inside(self, index: int, depth: int = 0) -> set[str]:
        """What a graph touches, and those that it calls."""
        if index in self.known:
            return self.known[index]
        if depth > _DEEPEST or not 0 <= index < self.root.SubgraphsLength():
            return {UNKNOWN}
        self.known[index] = found = set()
        graph = self.root.Subgraphs(index)
        for place in range(graph.OperatorsLength()):
            operator = graph.Operators(place)
            found |= self.named(operator, self.codes[operator.OpcodeIndex()])
            for called in subgraphs_of(self.schema.OperatorT.InitFromObj(operator)):
                found |= self.inside(called, depth + 1)
        return found


def subgraphs_of(operator: Any) -> tuple[int, ...]:
    """The subgraphs that an unpacked operator calls: every such field of the schema has 'subgraph' in its name."""
    return _called(operator.builtinOptions) + _called(getattr(operator, "builtinOptions2", None))


def _called(options: Any) -> tuple[int, ...]:
    import numpy as np

    fields: Mapping[str, Any] = vars(options) if options else {}
    values = [value for name, value in fields.items() if "subgraph" in name.lower()]
    indices = [int(index) for value in values if value is not None for index in np.atleast_1d(value)]
    return tuple(index for index in indices if index >= 0)
