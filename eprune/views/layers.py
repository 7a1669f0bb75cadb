"""Where the nodes of a graph are drawn: in layers, from sources to sinks, with few crossings."""

from __future__ import annotations

from collections.abc import Sequence

#: So often the nodes of each layer are put in the order of their neighbours.
_SWEEPS = 4


def layers(nodes: Sequence[str], edges: Sequence[tuple[str, str]]) -> list[list[str]]:
    """The nodes of each layer in their order. An edge that closes a cycle, in the order of the nodes, is left aside."""
    forward = _without_cycles(nodes, edges)
    before: dict[str, list[str]] = {node: [] for node in nodes}
    behind: dict[str, list[str]] = {node: [] for node in nodes}
    for source, target in forward:
        before[target].append(source)
        behind[source].append(target)
    depth: dict[str, int] = {}
    waiting = {node: len(before[node]) for node in nodes}
    ready = [node for node in nodes if not waiting[node]]
    for node in ready:
        depth[node] = max((depth[each] + 1 for each in before[node]), default=0)
        for each in behind[node]:
            waiting[each] -= 1
            if not waiting[each]:
                ready.append(each)
    found: list[list[str]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for node in nodes:
        found[depth[node]].append(node)
    for sweep in range(_SWEEPS):
        near = before if sweep % 2 == 0 else behind
        for layer in found if sweep % 2 == 0 else reversed(found):
            place = {node: index for each in found for index, node in enumerate(each)}
            layer.sort(
                key=lambda node: sum(place[n] for n in near[node]) / len(near[node]) if near[node] else place[node]
            )
    return found


def _without_cycles(nodes: Sequence[str], edges: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The edges but for those that lead back, as a walk from each node finds them."""
    behind: dict[str, list[str]] = {node: [] for node in nodes}
    for source, target in edges:
        behind[source].append(target)
    targets = {target for _, target in edges}
    done: set[str] = set()
    back: set[tuple[str, str]] = set()
    for root in sorted(nodes, key=lambda node: node in targets):
        walk = [(root, iter(behind[root]))] if root not in done else []
        on_the_way = {root}
        while walk:
            node, rest = walk[-1]
            following = next(rest, None)
            if following is None:
                walk.pop()
                on_the_way.discard(node)
                done.add(node)
            elif following in on_the_way:
                back.add((node, following))
            elif following not in done:
                on_the_way.add(following)
                walk.append((following, iter(behind[following])))
    return [edge for edge in dict.fromkeys(edges) if edge not in back]
