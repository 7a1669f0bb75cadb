"""A decider that knows what will happen: the best that any other could do on a trace."""

from __future__ import annotations

import csv
import time
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Optional

from checks import number
from offload_decider import OffloadDecider


class OffloadOracle(OffloadDecider):
    """Decides like OffloadDecider, from the trace of a link and its platforms instead of what it has seen.

    It is for comparison only: ``eprune replay`` uses it.

    Parameters:
        trace: the CSV file by which the links and units are emulated.
        device, server: the names of the two platforms in it.
        near: the seconds that the device really takes for 0, 1, ... K blocks, as the trace begins.
        here, there, bytes, bandwidth, latency, objective, watts, within, probe, fixed, seconds: as of OffloadDecider.
        log: a file to write, as of OffloadDecider.
    """

    PATHS: ClassVar[Mapping[str, str]] = {"log": "write", "trace": "read"}

    def __init__(
        self,
        trace: str,
        device: str,
        server: str,
        here: str,
        there: str,
        bytes: str,  # noqa: A002  (the parameter's name)
        near: str = "",
        bandwidth: str = "1e9",
        latency: str = "0",
        objective: str = "latency",
        watts: str = "",
        within: str = "0",
        probe: str = "50",
        fixed: str = "",
        seconds: str = "0",
        log: str = "",
    ) -> None:
        figures = (here, there, bytes, bandwidth, latency)
        super().__init__(*figures, objective, watts, within, probe, fixed, seconds, log)
        if near:
            self.near = [number("near", each) for each in near.split(",")]
            if len(self.near) != self.blocks + 1:
                raise ValueError(f"near={near}: expected {self.blocks + 1} numbers")
        self.probe = 0
        self.choice = None
        with Path(trace).open(encoding="utf-8-sig", newline="") as lines:
            self.rows = list(csv.DictReader(lines))
        self.device, self.server = device, server
        self.next = 0
        #: device and server: how many times slower than their files say
        self.slowdowns = {device: 1.0, server: 1.0}

    def decide(self) -> int:
        """The cheapest now."""
        now = 0.0 if self.begun is None else time.perf_counter() - self.begun
        while self.next < len(self.rows) and float(self.rows[self.next]["seconds"]) <= now:
            self.apply(self.rows[self.next])
            self.next += 1
        costs = self.costs()
        return min(range(len(costs)), key=costs.__getitem__)

    def apply(self, row: Mapping[str, Optional[str]]) -> None:
        """A row of the trace holds from now on."""
        ends = {(row["platform"] or "").strip(), (row["peer"] or "").strip()} - {""}
        if ends == {self.device, self.server}:
            self.bandwidth = float(row["bandwidth"] or self.bandwidth)
            self.latency = float(row["latency"] or self.latency)
        elif ends <= set(self.slowdowns):
            self.slowdowns[ends.pop()] = float(row["slowdown"] or 1)

    def parts(self) -> tuple[list[float], list[float]]:
        """The seconds that each control value takes, as things are."""
        near = [self.slowdowns[self.device] * each for each in self.near]
        far = [
            2 * self.latency + self.nbytes[cut] / self.bandwidth + self.slowdowns[self.server] * sum(self.there[cut:])
            for cut in range(self.blocks)
        ]
        return near, [*far, 0.0]
