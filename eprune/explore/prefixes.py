"""Cuts in the order of the actors, along a way over the platforms: each platform takes what comes next.

Dynamic programming finds the best of these in milliseconds. They are not all cuts: the search begins with them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Optional

from eprune.explore.cost import buffer_bytes

if TYPE_CHECKING:
    from eprune.explore.search import Search

#: So many ways over the platforms are tried at most.
WAYS = 20


def along_ways(search: Search) -> Iterator[dict[str, str]]:
    """For each way, the cut with the least time between two frames, and that with the least time of a single one.

    They may break constraints that are about more than one actor. Raises ImportError without numpy.
    """
    for way in search.network.ways(WAYS):
        table = _Table(search, way)
        for largest in (True, False):
            homes = table.best(largest)
            if homes is not None:
                yield homes


class _Table:
    """What stages cost along a way: the actors from ``i`` up to ``j`` on its k-th platform, in seconds."""

    def __init__(self, search: Search, way: Sequence[str]) -> None:
        import numpy as np

        self._np: Any = np
        self.way = way
        self.fixed = search.pinned
        self.actors = [actor for actor in search.flow.actors if actor not in self.fixed]
        costs, count = search.costs, len(self.actors)
        place = {actor: number for number, actor in enumerate(self.actors)}
        streams = [
            (place[each.source], place[each.target], each)
            for each in search.flow.streams
            if each.source in place and each.target in place and each.waits
        ]
        #: boundary -> the furthest actor that gets something from before it
        reach = np.full(count + 1, -1)
        for source, target, _ in streams:
            reach[source + 1 : target + 1] = np.maximum(reach[source + 1 : target + 1], target)
        ends = np.arange(count + 1)
        whole = (ends[None, :] >= ends[:, None]) & (reach[:, None] < ends[None, :])
        self.stages, self.sent = [], []
        for number, platform in enumerate(way):
            times = costs.times[platform]
            allowed = np.array([platform in search.choices[actor] and actor in times for actor in self.actors], bool)
            work = np.array([times.get(actor, 0.0) for actor in self.actors], float)
            weights = np.array([search.flow.weights.get(actor, 0) for actor in self.actors], float)
            buffers = np.zeros(count)
            for _, target, stream in streams:
                buffers[target] += buffer_bytes(stream, costs, platform, platform)
            fits = self._between(weights + buffers) <= costs.memory.get(platform, np.inf)
            may = (self._between(~allowed) == 0) & fits & (whole if number else ends[:, None] == 0)
            if platform in search.constraints.must_use:
                may &= ends[None, :] > ends[:, None]
            self.stages.append(np.where(may, self._between(work), np.inf))
            self.sent.append(self._sending(search, streams, platform, way[number + 1 : number + 2]))

    def _between(self, values: Any) -> Any:
        """(i, j) -> the sum of the values from i up to j."""
        sums = self._np.concatenate([[0.0], self._np.cumsum(values)])
        return sums[None, :] - sums[:, None]

    def _sending(self, search: Search, streams: Sequence[Any], origin: str, to: Sequence[str]) -> Any:
        """Boundary -> the seconds of what is sent there, each token once."""
        sent = self._np.zeros(len(self.actors) + 1)
        last: dict[str, tuple[int, int, float]] = {}
        for source, target, stream in streams if to else ():
            name = stream.same or stream.name
            seconds = search.costs.sending(stream, origin, to[0])
            last[name] = (source, max(target, last.get(name, (0, 0, 0.0))[1]), seconds)
        for source, target, seconds in last.values():
            sent[source + 1 : target + 1] += seconds
        return sent

    def best(self, largest: bool) -> Optional[dict[str, str]]:
        """The homes for which the largest stage, or the sum of all, is least; None if there are none."""
        np = self._np
        join = np.maximum if largest else np.add
        value = self.stages[0][0]
        begins = [np.zeros(len(value), int)]
        for stage, sent in zip(self.stages[1:], self.sent):
            every = join(join(value, sent)[:, None], stage)
            begins.append(every.argmin(axis=0))
            value = every.min(axis=0)
        if not np.isfinite(value[-1]):
            return None
        homes, end = dict(self.fixed), len(self.actors)
        for platform, begin in zip(reversed(self.way), reversed(begins)):
            homes.update(dict.fromkeys(self.actors[begin[end] : end], platform))
            end = begin[end]
        return homes
