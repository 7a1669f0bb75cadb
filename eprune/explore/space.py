"""The space of cuts: the partition points of an application, and which cuts are allowed.

Partition point k is that of the Edge-PRUNE papers: the first k actors, in precedence order, run on the endpoint, the
others on the server, so N actors have N partition points, and the last one needs no server. Of several endpoints each
has an order of its own, of the actors that only its own sources feed; its first k actors run there. With an edge
between endpoint and server, point j-k runs the first j actors on the endpoint, and those up to the k-th on the edge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations_with_replacement
from types import MappingProxyType
from typing import Optional

from eprune.analysis.links import widened
from eprune.explore.flow import Flow, Stream
from eprune.explore.required import ANYTHING, Required
from eprune.model.graph import Graph
from eprune.model.mapping import Mapping as PlatformMapping
from eprune.model.mapping import Placement
from eprune.model.platform import Platform, Unit
from eprune.model.quantity import format_size
from eprune.model.system import System

#: Another unit than the first must take less than this part of the time.
GAIN = 0.95
#: Up to so many actors before a cut are named.
_NAMED = 3

#: Platform -> actor -> the unit that it is on, where that is not the first one that takes it.
Units = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Constraints:
    """Questions to the space of cuts; ``keep_on`` and ``not_on`` are pairs of platform and actor.

    ``private_until``: these actors and all before them run on an endpoint, and no token of those before them leaves
    it. ``max_bytes`` is a frame's, over all links; -1: any number. ``required`` is what the cut's figures have to keep.
    """

    keep_on: tuple[tuple[str, str], ...] = ()
    not_on: tuple[tuple[str, str], ...] = ()
    must_use: tuple[str, ...] = ()
    must_not_use: tuple[str, ...] = ()
    max_bytes: int = -1
    private_until: tuple[str, ...] = ()
    required: Required = ANYTHING

    def allowed(self, actor: str, platforms: Sequence[str]) -> tuple[str, ...]:
        """The platforms on which an actor may run."""
        kept = [platform for platform, name in self.keep_on if name == actor]
        barred = {platform for platform, name in self.not_on if name == actor} | set(self.must_not_use)
        return tuple(
            platform for platform in platforms if platform not in barred and all(platform == other for other in kept)
        )


@dataclass(frozen=True)
class Roles:
    """The endpoints and their server, and what lies between them, in order.

    ``anywhere``: any actor may be on any platform, as far as links allow, and tokens go on in any direction, instead
    of from tier to tier. The endpoints then are the platforms that sources are on.
    """

    endpoints: tuple[str, ...]
    server: str
    edges: tuple[str, ...] = ()
    anywhere: bool = False

    @property
    def platforms(self) -> tuple[str, ...]:
        """All of them, the server last."""
        return tuple(dict.fromkeys((*self.endpoints, *self.edges, self.server)))

    @property
    def tiers(self) -> tuple[tuple[str, ...], ...]:
        """The platforms by their distance from the sources."""
        return (self.endpoints, *((edge,) for edge in self.edges), (self.server,))

    def onward(self, origin: str, to: str) -> bool:
        """Whether a frame goes on that way, and does not merely come back."""
        return self.anywhere or self._ranks[origin] < self._ranks[to]

    @cached_property
    def _ranks(self) -> dict[str, int]:
        return {platform: place for place, tier in enumerate(self.tiers) for platform in tier}

    def line(self, owner: str) -> tuple[str, ...]:
        """The platforms that an actor can be on, whose owner (see ``owners``) is this one."""
        others = self.platforms if self.anywhere else (*self.edges, self.server)
        return tuple(dict.fromkeys((owner, *others)))


@dataclass(frozen=True)
class Alternative:
    """A cut: where each actor runs. ``after`` names the last actors before the cut, for people.

    ``units`` says on which unit, of platforms whose units were chosen for it.
    """

    name: str
    homes: Mapping[str, str]
    after: str
    units: Units = field(default_factory=dict)


@dataclass(frozen=True)
class Space:
    """The partition points: those that are allowed, and why the others are not (name -> reason).

    ``orders`` gives each endpoint the order in which its actors move there.
    """

    orders: Mapping[str, tuple[str, ...]]
    alternatives: tuple[Alternative, ...]
    excluded: Mapping[str, str]


class AmbiguousSources(ValueError):
    """Several endpoints, and sources of which nobody said where they are."""

    def __init__(self, sources: Sequence[str]) -> None:
        super().__init__(f"on which endpoint is {' and '.join(map(repr, sources))}?")
        self.sources = tuple(sources)


def partition_points(flow: Flow, roles: Roles, constraints: Constraints) -> Space:
    """The partition points.

    A source or sink that a constraint ties to one platform stays there at every point; any other actor moves with the
    order, and a constraint on it excludes the points at which it is elsewhere. Raises AmbiguousSources.
    """
    pinned = pinned_ends(flow, roles, constraints)
    owner = owners(flow, roles, pinned)
    orders = {
        endpoint: tuple(actor for actor in flow.actors if owner[actor] == endpoint) for endpoint in roles.endpoints
    }
    alternatives: list[Alternative] = []
    excluded: dict[str, str] = {}
    names: dict[tuple[str, ...], str] = {}
    numbers = range(1, max(map(len, orders.values())) + 1)
    for point in combinations_with_replacement(numbers, len(roles.edges) + 1):
        homes = dict.fromkeys(flow.actors, roles.server)
        for platform, number in [*zip(roles.edges, point[1:])][::-1]:
            homes.update(dict.fromkeys(flow.actors[:number], platform))
        for endpoint, actors in orders.items():
            homes.update(dict.fromkeys(actors[: point[0]], endpoint))
        homes.update(pinned)
        name = "-".join(map(str, point))
        same = names.get(tuple(homes.values()))
        reason = f"the same cut as {same}" if same else violation(flow, roles, constraints, homes)
        if reason:
            excluded[name] = reason
        else:
            names[tuple(homes.values())] = name
            alternatives.append(Alternative(name, homes, after(flow, roles, homes)))
    return Space(orders, tuple(alternatives), excluded)


def pinned_ends(flow: Flow, roles: Roles, constraints: Constraints) -> dict[str, str]:
    """The sources and sinks that may be on one platform only, and that platform."""
    tied = {name for _, name in (*constraints.keep_on, *constraints.not_on)} & flow.ends
    choices = {actor: constraints.allowed(actor, roles.platforms) for actor in flow.actors if actor in tied}
    return {actor: platforms[0] for actor, platforms in choices.items() if len(platforms) == 1}


def owners(flow: Flow, roles: Roles, pinned: Mapping[str, str]) -> dict[str, str]:
    """Each actor's endpoint; the server for those that several endpoints feed. Raises AmbiguousSources.

    Where actors may be anywhere, sources that nobody has put elsewhere are on the first endpoint, which owns all.
    """
    if len(roles.endpoints) == 1 or roles.anywhere:
        return dict.fromkeys(flow.actors, roles.endpoints[0])
    unknown = [source for source in flow.sources if source not in pinned]
    if unknown:
        raise AmbiguousSources(unknown)
    fed: dict[str, set[str]] = {actor: set() for actor in flow.actors}
    for source in flow.sources:
        for actor in (source, *flow.after([source])):
            fed[actor].add(pinned[source])
    return {actor: next(iter(by)) if len(by) == 1 else roles.server for actor, by in fed.items()}


def violation(
    flow: Flow,
    roles: Roles,
    constraints: Constraints,
    homes: Mapping[str, str],
    most: Optional[Callable[[Stream, str, str], int]] = None,
) -> str:
    """Which constraint a cut breaks, for people; "" if none. ``most``: a frame's bytes of a coded FIFO on a link."""
    used = set(homes.values())
    for actor, home in homes.items():
        if home not in constraints.allowed(actor, roles.platforms):
            return f"{actor} is on {home}"
    for platform in constraints.must_use:
        if platform not in used:
            return f"{platform} is not used"
    private = flow.before(constraints.private_until)
    for actor in (*private, *constraints.private_until):
        if homes[actor] not in roles.endpoints:
            return f"{actor}, which is private, is on {homes[actor]}"
    for stream in flow.crossing(homes):
        if stream.source in private:
            return f"tokens of {stream.source}, which are private, leave {homes[stream.source]}"
    nbytes = flow.nbytes(homes)
    if most is not None:
        nbytes = sum(most(each, homes[each.source], homes[each.target]) for each in flow.crossing(homes))
    if 0 <= constraints.max_bytes < nbytes:
        return f"{format_size(nbytes)} per frame, more than {format_size(constraints.max_bytes)}"
    return ""


def after(flow: Flow, roles: Roles, homes: Mapping[str, str]) -> str:
    """The cut in words: the actors whose tokens go on to an edge or to the server; or, anywhere, to which platform."""
    if roles.anywhere:
        return _after_anywhere(flow, roles, homes)
    rank = {platform: place for place, tier in enumerate(roles.tiers) for platform in tier}
    last: dict[str, dict[str, None]] = {}
    for stream in flow.crossing(homes):
        origin, to = homes[stream.source], homes[stream.target]
        if rank[origin] < rank[to]:
            last.setdefault(to, {})[stream.source] = None
    parts = []
    for platform in (*roles.edges, roles.server):
        names = sorted(last.get(platform, ()), key=flow.actors.index)
        if names:
            parts.append(f"{platform} after {_several(names)}" if roles.edges else f"after {_several(names)}")
    if parts:
        return ", ".join(parts)
    used = set(homes.values())
    if roles.server in used:
        return "server only"
    return next((f"{edge} only" for edge in roles.edges if edge in used), "endpoint only")


def _after_anywhere(flow: Flow, roles: Roles, homes: Mapping[str, str]) -> str:
    """``b after L1, c after L3``; what only brings results to sinks is not told where there is something else."""
    used = [platform for platform in roles.platforms if platform in homes.values()]
    if len(used) == 1:
        return f"{used[0]} only"
    crossing = flow.crossing(homes)
    onward = [stream for stream in crossing if stream.target not in flow.sinks] or crossing
    parts = []
    for platform in used:
        names = {stream.source for stream in onward if homes[stream.target] == platform}
        if names:
            parts.append(f"{platform} after {_several(sorted(names, key=flow.actors.index))}")
    return ", ".join(parts) or " and ".join(used)


def _several(names: Sequence[str]) -> str:
    return f"{names[-1]} and {len(names) - 1} others" if len(names) > _NAMED else ", ".join(names)


NO_UNITS: Units = MappingProxyType({})


def cut_behind(flow: Flow, roles: Roles, constraints: Constraints, places: Sequence[str]) -> dict[str, str]:
    """Actor -> platform: what each of ``places`` needs, and itself, is on one tier, all else on the last one.

    ``places``: an actor for the endpoints, and one for each edge. What a constraint ties to a platform is there. Raises
    ValueError for actors that there are not, and where their number does not fit.
    """
    if roles.anywhere:
        raise ValueError("actors may be on any platform here: say which is where by --keep-on PLATFORM ACTOR")
    if len(places) != len(roles.tiers) - 1:
        raise ValueError(f"{len(places)} actors for {len(roles.tiers)} tiers: name one for each but the last")
    for name in places:
        if name not in flow.actors:
            raise ValueError(f"there is no actor {name!r}; there are {', '.join(flow.actors)}")
    pinned = pinned_ends(flow, roles, constraints)
    owner = owners(flow, roles, pinned)
    homes = dict.fromkeys(flow.actors, roles.server)
    for place, edge in reversed(list(zip(places, ("", *roles.edges)))):
        for actor in (place, *flow.before([place])):
            homes[actor] = edge or owner[actor]
    homes.update((source, owner[source]) for source in flow.sources)
    return {**homes, **pinned}


def place(system: System, homes: Mapping[str, str], units: Units = NO_UNITS) -> System:
    """The system with its actors where ``homes`` and ``units`` say, and only the platforms that run something.

    Where neither a FIFO between platforms nor its link states a window, it has one with which it is no limit.
    """
    platforms = tuple(platform for platform in system.platforms if platform.name in homes.values())
    mappings = tuple(mapping(system.graph, platform, homes, units) for platform in platforms)
    return widened(replace(system, platforms=platforms, mappings=mappings))


def mapping(graph: Graph, platform: Platform, homes: Mapping[str, str], units: Units = NO_UNITS) -> PlatformMapping:
    """One platform's mapping of a cut, in the order of the file; those that run on it are on ``units``."""
    own = units.get(platform.name, {})
    places = tuple(
        Placement(actor.name, unit=own.get(actor.name) or _name(platform.unit_for(actor)))
        if homes[actor.name] == platform.name
        else Placement(actor.name, platform=homes[actor.name])
        for actor in graph.actors
    )
    return PlatformMapping(graph.name, platform.name, places)


def _name(unit: Optional[Unit]) -> Optional[str]:
    return None if unit is None else unit.name


def fastest(timed: Mapping[str, Mapping[str, float]]) -> dict[str, str]:
    """Actor -> the unit that takes the least time for it; ``timed`` are unit -> actor -> seconds. The first of equals.

    An actor that is hardly faster elsewhere stays: a hop to another unit is not free.
    """
    best: dict[str, str] = {}
    for unit, own in timed.items():
        for actor, seconds in own.items():
            if actor not in best or seconds < GAIN * timed[best[actor]][actor]:
                best[actor] = unit
    return best
