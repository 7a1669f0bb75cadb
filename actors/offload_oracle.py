"""A decider that knows what will happen: the best that any other could do on a trace."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Optional

from checks import number
from offload_decider import OffloadDecider


class OffloadOracle(OffloadDecider):
    """Decides like OffloadDecider, from the trace of a link and its platforms instead of what it has seen.

    It is for comparison only: ``eprune replay`` uses it.

    Parameters:
        foretold: the CSV file by which the links and units are emulated; the platforms in it are those of ``between``.
        near: the seconds that the device really takes for 0, 1, ... K blocks, as the trace begins.
        here, rest, bytes, bandwidth, latency, objective, watts, within: as of OffloadDecider.
        exits, shares, heads, probe, fixed, seconds, between: as of OffloadDecider.
        log: a file to write, as of OffloadDecider.
    """

    PATHS: ClassVar[Mapping[str, str]] = {"log": "write", "foretold": "read"}

    def __init__(
        self,
        foretold: str,
        here: str,
        rest: str,
        bytes: str,  # noqa: A002  (the parameter's name)
        near: str = "",
        bandwidth: str = "1e9",
        latency: str = "0",
        objective: str = "latency",
        watts: str = "",
        within: str = "0",
        exits: str = "",
        shares: str = "",
        heads: str = "",
        probe: str = "0",
        fixed: str = "",
        seconds: str = "0",
        log: str = "",
        between: str = "here,there",
    ) -> None:
        super().__init__(
            *(here, rest, bytes, bandwidth, latency, objective, watts, within, exits, shares, heads),
            probe="0", fixed=fixed, seconds=seconds, log=log, between=between,
        )  # fmt: skip
        if near:
            seconds = [number("near", each) for each in near.split(",")]
            if len(seconds) != self.blocks + 1:
                raise ValueError(f"near={near}: expected {self.blocks + 1} numbers")
            # What each frame takes, wherever it is cut, makes no difference.
            self.costs.state([other - one for one, other in zip(seconds, seconds[1:])])
        with Path(foretold).open(encoding="utf-8-sig", newline="") as lines:
            self.rows = list(csv.DictReader(lines))
        self.names = {self.log.here: "here", self.log.there: "there"}
        self.next = 0

    def decide(self) -> int:
        """The cheapest now."""
        now = 0.0 if self.begun is None else self.clock() - self.begun
        while self.next < len(self.rows) and float(self.rows[self.next]["seconds"]) <= now:
            self.apply(self.rows[self.next])
            self.next += 1
        costs = self.expected()
        return min(range(len(costs)), key=costs.__getitem__)

    def apply(self, row: Mapping[str, Optional[str]]) -> None:
        """A row of the trace holds from now on."""
        ends = {(row["platform"] or "").strip(), (row["peer"] or "").strip()} - {""}
        if ends == set(self.names):
            self.costs.pace = 1 / float(row["bandwidth"] or 1 / self.costs.pace)
            self.costs.delay = 2 * float(row["latency"] or self.costs.delay / 2)
        elif ends <= set(self.names):
            self.costs.slower[self.names[ends.pop()]] = float(row["slowdown"] or 1)

    def correct(self, *_: object) -> None:
        """It knows."""

    def stretch(self) -> float:
        """Nothing surprises it."""
        return 1.0
