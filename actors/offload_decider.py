"""Where each frame is computed: how many blocks of a network run here, before the rest goes to a server."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Optional

import numpy as np
from checks import number, one_of, only_port, whole_number

from eprune.runtime import Actor, EndOfStream

#: A choice must be better than the current one by this part, so many frames in a row, before it takes its place.
MARGIN, FRAMES = 0.05, 3
#: The weight of the newest measurement in what is learned.
NEWEST = 0.3


class OffloadDecider(Actor):
    """Copies a frame to the network's first block, or to the server: the entry DA of an offloading graph.

    It is also the control source: the control value is how many of the K blocks run here. Value 0 sends the frame as it
    is, K sends nothing. The choice is the cheapest by the expected latency: the blocks' times here, and then the link's
    latency, the bytes of the cut by the bandwidth, and the other blocks' times there. What comes back over ``report``,
    float64[2], says how long earlier frames took, so that two factors are learned: how many times slower than expected
    this device is, and link and server together (exponential averages). When nothing has been sent for ``probe``
    frames, one frame is, because nothing else says whether the server has become faster.

    Outputs ``local`` (the first block) and ``raw`` (the server), of the input's type; one of them is active. A firing
    without ``report`` decides by what is expected.

    Parameters:
        here, there: the seconds of each block on this device and on the server, ``0.005,0.01,0.003``.
        bytes: what crosses the link if 0, 1, ... K-1 blocks run here.
        bandwidth: of the link, in bytes per second.
        latency: of a message, in seconds; the answer takes it, too.
        objective: ``latency``; ``endpoint``, the seconds that this device computes; ``bytes``; or ``energy`` of this
            device.
        watts: of this device while it computes, while it waits, and what sending takes besides, ``5,1,0.5``.
        within: seconds that a frame may take: the objective chooses among the cuts that are expected to keep that, and
            if none is, the fastest one is taken. 0 for no limit.
        probe: after how many frames without one on the server; 0 for never.
        fixed: a control value for all frames, to measure it or to debug.
        seconds: after so many the stream ends; 0 for never.
        log: a file to write, CSV: for each answered frame the seconds at which it began, its control value, and how
            many seconds it took.
    """

    PATHS: ClassVar[Mapping[str, str]] = {"log": "write"}

    def __init__(
        self,
        here: str,
        there: str,
        bytes: str,  # noqa: A002  (the parameter's name)
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
        self.here = [number("here", each) for each in here.split(",")]
        self.there = [number("there", each) for each in there.split(",")]
        self.nbytes = [number("bytes", each) for each in bytes.split(",")]
        if not len(self.here) == len(self.there) == len(self.nbytes):
            raise ValueError(f"here={here} there={there} bytes={bytes}: expected as many numbers in each")
        self.bandwidth, self.latency = number("bandwidth", bandwidth), number("latency", latency)
        if self.bandwidth <= 0:
            raise ValueError(f"bandwidth={bandwidth}: expected a number above 0")
        self.objective = one_of("objective", objective, ("latency", "endpoint", "bytes", "energy"))
        self.watts = [number("watts", each) for each in watts.split(",")] if watts else []
        if len(self.watts) not in (0, 3) or (self.objective == "energy" and not self.watts):
            raise ValueError(f"watts={watts}: expected three numbers, for computing, waiting and sending")
        self.within = number("within", within)
        self.probe = whole_number("probe", probe)
        self.blocks = len(self.here)
        self.fixed: Optional[int] = None if fixed == "" else whole_number("fixed", fixed)
        if self.fixed is not None and self.fixed > self.blocks:
            raise ValueError(f"fixed={fixed}: expected a number of blocks from 0 to {self.blocks}")
        self.seconds, self.log = number("seconds", seconds), log
        self.begun: Optional[float] = None
        #: for each answered frame: when it began, its control value, the seconds that it took
        self.answered: list[tuple[float, int, float]] = []
        #: the expected seconds here, and on the way and there, for each control value
        self.near = [sum(self.here[:cut]) for cut in range(self.blocks + 1)]
        self.far = [
            2 * self.latency + self.nbytes[cut] / self.bandwidth + sum(self.there[cut:]) for cut in range(self.blocks)
        ]
        self.far.append(0.0)
        #: how many times more this device takes than expected, and the link with the server
        self.slower = {"near": 1.0, "far": 1.0}
        self.choice: Optional[int] = None
        self.better = 0  # frames in a row in which another choice would have been better
        self.quiet = 0  # frames since one was sent
        #: the frames that have not been reported: (choice, when it began)
        self.under_way: deque[tuple[int, float]] = deque()

    def initialize(self) -> None:
        """Check the ports. Raises ValueError if they do not fit."""
        inputs = {name: port for name, port in self.inputs.items() if name != "report"}
        _, port = only_port(inputs, "input (beside report)")
        if set(self.outputs) != {"local", "raw"} or {*self.outputs.values()} != {port}:
            raise ValueError("needs the outputs 'local' and 'raw' of the type and rate of its input")
        (self.source,) = inputs

    def control(self, inputs: Mapping[str, np.ndarray]) -> int:
        """How many blocks run here."""
        if "report" in inputs:
            self.learn(int(inputs["report"][0]), float(inputs["report"][1]))
        now = time.perf_counter()
        self.begun = now if self.begun is None else self.begun
        if self.seconds and now - self.begun >= self.seconds:
            raise EndOfStream
        chosen = self.decide()
        self.quiet = self.quiet + 1 if chosen == self.blocks else 0
        self.under_way.append((chosen, now))
        return chosen

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Copy the frame."""
        for out in outputs.values():
            out[...] = inputs[self.source]

    def finalize(self) -> None:
        """Write the log."""
        if self.log:
            lines = ["seconds,blocks,latency", *(f"{at:.6f},{cut},{taken:.6f}" for at, cut, taken in self.answered)]
            Path(self.log).write_text("\n".join(lines) + "\n", encoding="utf-8")

    def parts(self) -> tuple[list[float], list[float]]:
        """The seconds that each control value is expected to take now: on this device, and on the way and there."""
        near = [self.slower["near"] * each for each in self.near]
        return near, [self.slower["far"] * each for each in self.far]

    def costs(self) -> list[float]:
        """What each control value is expected to cost now; infinity if the frame would take too long."""
        near, far = self.parts()
        latency = [one + other for one, other in zip(near, far)]
        costs = latency
        if self.objective == "bytes":
            costs = [*self.nbytes, 0.0]
        elif self.objective == "endpoint":
            costs = near
        elif self.objective == "energy":
            computing, waiting, sending = self.watts
            sent = [*(each / self.bandwidth for each in self.nbytes), 0.0]
            costs = [
                computing * one + waiting * other + sending * self.slower["far"] * seconds
                for one, other, seconds in zip(near, far, sent)
            ]
        if not self.within:
            return costs
        kept = [cost if seconds <= self.within else math.inf for cost, seconds in zip(costs, latency)]
        return latency if min(kept) == math.inf else kept

    def decide(self) -> int:
        """The cheapest, but the current one while that is nearly as good; now and then one that is sent."""
        if self.fixed is not None:
            return self.fixed
        costs = self.costs()
        best = min(range(len(costs)), key=costs.__getitem__)
        if self.choice is None:
            self.choice = best
        elif costs[best] < (1 - MARGIN) * costs[self.choice]:
            self.better += 1
            if self.better >= FRAMES:
                self.choice, self.better = best, 0
        else:
            self.better = 0
        if self.probe and self.choice == self.blocks and self.quiet >= self.probe:
            return min(range(self.blocks), key=costs.__getitem__)
        return self.choice

    def learn(self, count: int, answered: float) -> None:
        """``count`` answers are there, the last one since ``answered`` (time.perf_counter of this process)."""
        if not count or not self.under_way:
            return
        chosen, begun = self.under_way.popleft()
        taken = answered - begun
        if self.log and self.begun is not None:
            self.answered.append((begun - self.begun, chosen, taken))
        near = self.slower["near"] * self.near[chosen]
        if chosen == self.blocks:
            part, measured, expected = "near", taken, self.near[chosen]
        else:
            part, measured, expected = "far", taken - near, self.far[chosen]
        if expected > 0 and measured > 0:
            self.slower[part] += NEWEST * (measured / expected - self.slower[part])
