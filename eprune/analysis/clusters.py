"""Clusters: the actors of one unit that one thread fires, in a static order, so that a hop between them is a call.

A cluster

- is connected by FIFOs of that unit, and has none inside that may lose tokens, or whose reader does without them (under
  ``drop``, ``zero`` and ``newest``, and into an input on ``hold``);
- has no actor that waits for the world (a camera, a socket, a clock): such an actor keeps a thread of its own;
- takes tokens from elsewhere (another platform, unit or cluster) at one actor at most, which then is its only first
  one: every other actor comes behind it in the cluster. A cluster that takes nothing from elsewhere may have several
  first actors.

So its thread waits for tokens before its first actor only. The others find there what they need, or it will not come
(the input has ended, or is idle in this row) and they are skipped; each waits for room where its FIFOs leave the
cluster. The order is one topological order of the precedence graph at the upper rates, which all modes of dynamic
processing graphs have in common; what is idle is skipped.

Any clusters are live together, also of platforms whose orders differ. A deadlock would be a ring of actors in which
each needs the one before, by an edge of the precedence graph or by its cluster's order. Where the ring enters a cluster
by an edge, it does so at the only first actor, from which edges lead to where it leaves; so without the orders it would
be a ring as well, and the graph not live. Nor does it matter what returns to the cluster after a delay: it returns to
the first actor.

A graph that is live in every row of its control tables, but not at the upper rates, has cycles in the precedence graph
at the upper rates. The actors of such a cycle keep threads of their own: no order of theirs fits all rows. So do DPAs
without a control input, for nothing tells a thread in which rows to pass them over. For the same reason no cluster has
actors both inside and outside of a graph that is inside of another.

Of a multi-rate graph (``--model sdf``), the precedence graph is that of the tokens that an iteration needs of itself,
and a cluster's order is its part of a schedule of all actors (``sdf.execution.schedule``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from eprune.analysis.domains import dividing
from eprune.analysis.faults import LOSSY
from eprune.analysis.lookup import untold
from eprune.analysis.nests import Nests
from eprune.analysis.order import firing_order
from eprune.analysis.precedence import components, precedence
from eprune.analysis.sdf.execution import Net, needs
from eprune.model.system import System

#: An actor by name, or several: those of a cluster in firing order.
Cluster = tuple[str, ...]
#: Gives the clusters of each platform's program.
Clustering = Callable[[System], Mapping[str, Sequence[Cluster]]]


def clusters(system: System) -> dict[str, tuple[Cluster, ...]]:
    """Platform -> its clusters, in the order of their first actors; an actor that is alone is one, too.

    Each actor that a mapping puts on a unit is in one of them. The graph must be sound; for those that programs have,
    the system has been through ``passes.fuse``.
    """
    merging = _Merging(system)
    while merging.pass_over():
        pass
    found: dict[str, dict[str, list[str]]] = {mapping.platform: {} for mapping in system.mappings}
    for name in merging.order:
        if name in system.units:
            found[system.units[name][0]].setdefault(merging.cluster(name), []).append(name)
    return {platform: tuple(map(tuple, parts.values())) for platform, parts in found.items()}


def waiting(system: System) -> set[str]:
    """The actors that wait for the world: their class says so, or they keep to a clock or a rate."""
    paced = {actor.name for actor in system.graph.actors if actor.pace is not None}
    return paced | {name for name, interface in system.interfaces.items() if interface.waits}


class _Merging:
    """Sets of actors, each named by one of them, that grow into clusters."""

    def __init__(self, system: System) -> None:
        graph = system.graph
        # Room is nobody's reason to be apart there: see ``sdf.execution.schedule``.
        whole = needs(Net(graph)) if graph.is_sdf else precedence(graph)
        self.order = firing_order(graph)
        apart = {node for ring in components(whole) for node in ring.nodes} | waiting(system) | untold(graph)
        self._places = {name: place for name, place in system.units.items() if name not in apart}
        #: actor -> those that fire before it in each iteration
        self._before: dict[str, set[str]] = {name: set() for name in self.order}
        #: actor -> those whose tokens, or room, it needs
        self._needs: dict[str, set[str]] = {name: set() for name in self.order}
        #: actor -> those among them that it cannot be in one cluster with
        self._parted: dict[str, set[str]] = {name: set() for name in self.order}
        for edge in whole.edges:
            self._before[edge.target].add(edge.source)
            self._needs[edge.target].add(edge.source)
        nests = Nests(graph)
        inner = {name: dpg.name for name, dpg in nests.home.items() if dpg.inside}
        between = set(dividing(graph))
        for fifo in graph.fifos:
            source, target = fifo.source.actor, fifo.target.actor
            self._needs[target].add(source)
            apart_by_rows = inner.get(source) != inner.get(target)
            if source != target and (fifo.policy in LOSSY or fifo in between or apart_by_rows):
                self._parted[target].add(source)
        self._merged_into: dict[str, str] = {}
        #: set -> its actors with none before them in it: only these may need something from elsewhere
        self._first = {name: [name] for name in self.order}

    def cluster(self, name: str) -> str:
        """The actor that names the set which an actor is in."""
        while name in self._merged_into:
            above = self._merged_into[name]
            self._merged_into[name] = self._merged_into.get(above, above)
            name = above
        return name

    def pass_over(self) -> bool:
        """Merge each actor's set with those of all that it needs, where they make a cluster; whether any did.

        All of them, for an actor behind others that takes something from elsewhere would be in no cluster.
        """
        merged = False
        for name in self.order:
            place = self._places.get(name)
            if place and not self._parted[name] and all(self._places.get(n) == place for n in self._needs[name]):
                merged = self._merge((name, *self._needs[name])) or merged
        return merged

    def _merge(self, names: Iterable[str]) -> bool:
        sets = {self.cluster(name): None for name in names}
        if len(sets) == 1:
            return False
        first = []
        enters = False
        for name in (each for one in sets for each in self._first[one]):
            if any(self.cluster(other) in sets for other in self._parted[name]):
                return False
            outside = bool(self._parted[name]) or any(self.cluster(n) not in sets for n in self._needs[name])
            if not any(self.cluster(other) in sets for other in self._before[name]):
                first.append(name)
                enters = enters or outside
            elif outside:
                return False
        if enters and len(first) > 1:
            return False
        kept, *gone = sets
        self._merged_into.update(dict.fromkeys(gone, kept))
        self._first[kept] = first
        return True
