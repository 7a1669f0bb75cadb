"""The platform graph as a search sees it: over which links FIFOs may cross, and in which direction a frame may go on.

A frame visits a platform once: what its actors need from elsewhere is there before the first of them fires, as for the
actors of one fused segment (rule M4). So the platforms, joined by the FIFOs between them, are an acyclic graph, but for
FIFOs that wait for nothing (their delay suffices) and those into sinks. No platform hands on what others send.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import cached_property
from typing import Optional

from eprune.explore.space import Roles

Pair = tuple[str, str]


class Network:
    """Platforms and links. ``starts`` are the platforms on which there may be actors that wait for no other."""

    def __init__(self, roles: Roles, links: Iterable[Pair], starts: Collection[str]) -> None:
        self.platforms = roles.platforms
        self._anywhere = roles.anywhere
        self.starts = starts
        stated = set(links)
        #: where both platforms' files have the link
        self.links = tuple(
            (a, b) for a in self.platforms for b in self.platforms if a != b and {(a, b), (b, a)} <= stated
        )
        self._near: dict[str, list[str]] = {name: [] for name in self.platforms}
        for a, b in self.links:
            self._near[a].append(b)
        self.onward = frozenset(pair for pair in self.links if roles.onward(*pair) and self._comes_by(*pair))

    def _comes_by(self, origin: str, to: str) -> bool:
        """Whether a frame may go on that way: it came to ``origin`` without passing ``to``."""
        if not self._anywhere:
            return True
        reached = [start for start in self.starts if start != to]
        for name in reached:
            reached += [near for near in self._near[name] if near != to and near not in reached]
        return origin in reached

    def into(self, platform: str) -> tuple[str, ...]:
        """The platforms from which a frame may come."""
        return tuple(origin for origin, to in self.onward if to == platform)

    def out_of(self, platform: str) -> tuple[str, ...]:
        """The platforms to which a frame may go on."""
        return tuple(to for origin, to in self.onward if origin == platform)

    @cached_property
    def order(self) -> Optional[tuple[str, ...]]:
        """The platforms so that frames go forward; None where that depends on which links are used."""
        return order(self.platforms, self.onward)

    def tree(self, places: Sequence[str]) -> dict[str, Optional[str]]:
        """Some platforms, each with one before it that is nearer to the first one; None for that and what is apart."""
        if not self._anywhere:
            return dict(zip(places, (None, *places)))
        found: dict[str, Optional[str]] = {}
        for root in places:
            if root in found:
                continue
            found[root] = None
            queue = [root]
            for name in queue:
                for near in self._near[name]:
                    if near in places and near not in found:
                        found[near] = name
                        queue.append(near)
        return found

    def ways(self, most: int) -> list[tuple[str, ...]]:
        """Up to so many ways from such a platform over links that lead on as far as it goes, the longest first."""
        found: list[tuple[str, ...]] = []
        stack: list[tuple[str, ...]] = [(start,) for start in self.starts]
        while stack and len(found) < 4 * most:
            way = stack.pop()
            further = [to for to in self.out_of(way[-1]) if to not in way]
            stack += [(*way, to) for to in reversed(further)]
            if not further:
                found.append(way)
        return sorted(found, key=len, reverse=True)[:most]


def order(platforms: Sequence[str], pairs: Collection[Pair]) -> Optional[tuple[str, ...]]:
    """The platforms, each after those from which a pair leads to it; None where these make a cycle."""
    found: list[str] = []
    while len(found) < len(platforms):
        ready = [p for p in platforms if p not in found and all(a in found for a, b in pairs if b == p)]
        if not ready:
            return None
        found += ready
    return tuple(found)
