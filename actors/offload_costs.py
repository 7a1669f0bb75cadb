"""What an actor that decides where a network runs expects of each cut, and how it learns from what frames took.

A cut is the number of blocks that run here, 0 to K: the frame is sent as it is, or not at all. Seconds throughout.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

#: The weight of the newest measurement; the first ones of a figure count for more, and so do those after a pause of
#: frames: all after so many.
NEWEST, PAUSE = 0.3, 10
#: By which part a link's figures change from one frame to the next, by which part what is measured is off, and by how
#: much they may be off that are only stated.
DRIFT, NOISE, STATED = 0.1, 0.2, 9.0
#: To within which part a bandwidth must be known.
KNOWN = 0.5
#: A link's latency of which parts can be taken.
SHORTEST = 1e-4
#: What an objective counts: seconds that this platform computes, seconds on the way and elsewhere, bytes.
OBJECTIVES = {"latency": (1.0, 1.0, 0.0), "endpoint": (1.0, 0.0, 0.0), "bytes": (0.0, 0.0, 1.0)}


class Gate(NamedTuple):
    """An exit behind a block: the share of the frames that come so far which leave there, and the seconds it takes."""

    share: float
    seconds: float


class Figures(NamedTuple):
    """What is said of a network: seconds of each block here, seconds that the other side takes from each block on, the
    bytes that cross before each block; bytes per second and seconds of the link, and exits by the blocks before them.
    """

    here: Sequence[float]
    rest: Sequence[float]
    nbytes: Sequence[float]
    bandwidth: float
    latency: float
    gates: Mapping[int, Gate] = {}


class Costs:
    """What is expected: stated figures, corrected by what was measured.

    ``slower``: how many times more than stated the blocks ``here`` take, and the other side (``there``). ``delay`` of
    the link is there and back, ``pace`` its seconds per byte.
    """

    def __init__(self, stated: Figures) -> None:
        self.stated = stated
        self.blocks = len(stated.here)
        self.arrived = 0
        self.rest = [*stated.rest, 0.0]
        self.nbytes = [*map(float, stated.nbytes), 0.0]
        self.delay, self.pace = 2 * stated.latency, 1 / stated.bandwidth
        self.slower = {"here": 1.0, "there": 1.0}
        self.measured = {"here": 0, "there": 0, "link": 0}
        #: answered frames, and which of them was the last to say something of what
        self.reports, self.last = 0, dict.fromkeys(self.measured, 0)
        #: the covariances of delay and pace: of the delay, of both, of the pace
        self.doubt = ((STATED * max(self.delay, SHORTEST)) ** 2, 0.0, (STATED * self.pace) ** 2)
        steps = [
            seconds + (stated.gates[number].seconds if number in stated.gates else 0.0)
            for number, seconds in enumerate(stated.here, 1)
        ]
        self.stated_near = [sum(steps[:cut]) for cut in range(self.blocks + 1)]

    # What is expected

    def near(self, cut: int) -> float:
        """Seconds here, of a frame that leaves at no exit."""
        return self.slower["here"] * (self.stated_near[cut] - self.stated_near[self.arrived])

    def link(self, cut: int) -> float:
        """Seconds on the way."""
        return self.delay + self.pace * self.nbytes[cut] if cut < self.blocks else 0.0

    def far(self, cut: int) -> float:
        """Seconds on the way and there."""
        return self.link(cut) + self.slower["there"] * self.rest[cut]

    def seconds(self, cut: int, stretch: float = 1.0) -> float:
        """The latency of a frame that leaves at no exit; ``stretch``: how many times more is elsewhere."""
        return self.near(cut) + stretch * self.far(cut)

    def expected(self, objective: str, watts: Sequence[float] = (), stretch: float = 1.0) -> list[float]:
        """What each cut costs, exits counted by their shares: optimal stopping, one pass over the blocks.

        The cheapest of these costs is V_0 of V_k = min(sent_k, here_k+1 + (1 - share_k+1) V_k+1) with V_K = 0, and is
        so from each block on: a frame that did not leave goes on to the same cut.
        """
        sending = 0.0
        if objective == "energy":
            own, other, sending = watts
            size = 0.0
        else:
            own, other, size = OBJECTIVES[objective]
        gates = self.stated.gates
        spent, coming = 0.0, 1.0
        found = [math.inf] * self.arrived
        for cut in range(self.arrived, self.blocks + 1):
            nbytes = self.nbytes[cut]
            elsewhere = other * stretch * self.far(cut) + (sending * self.pace + size) * nbytes
            found.append(spent + coming * elsewhere)
            if cut < self.blocks:
                spent += coming * own * self.slower["here"] * (self.stated_near[cut + 1] - self.stated_near[cut])
                if cut + 1 in gates:
                    coming *= 1 - gates[cut + 1].share
        return found

    def confirms(self, what: str, cut: int) -> bool:
        """Whether, after a frame that is cut there, it is known what is so ``here``, of the ``link``, and of its
        ``bandwidth``, to within a half.
        """
        if what == "here":
            return self.stated_near[cut] > self.stated_near[self.arrived]
        if what == "link" or cut == self.blocks:
            return cut < self.blocks
        _, to_pace, total, doubt = self._gain(self.nbytes[cut])
        return doubt[2] - to_pace**2 / total < (KNOWN * self.pace) ** 2

    # What is learned

    def learn_here(self, arrived: int, cut: int, seconds: float) -> None:
        """A frame was answered; so long did the blocks between take here."""
        self.reports += 1
        self._follow("here", seconds, self.stated_near[cut] - self.stated_near[arrived])

    def learn_far(self, cut: int, seconds: float, there: float, nbytes: float) -> None:
        """So long was it away, of which so long ``there``, and so many bytes were sent."""
        self._follow("there", there, self.rest[cut])
        if nbytes:
            self.nbytes[cut] += NEWEST * (nbytes - self.nbytes[cut])
        self._follow_link(max(seconds - there, 0.0), nbytes or self.nbytes[cut])

    def _follow(self, what: str, seconds: float, stated: float) -> None:
        """An exponential average."""
        if stated > 0 and seconds > 0:
            pause = self._seen(what)
            weight = min(max(NEWEST, 1 / self.measured[what], pause / PAUSE), 1.0)
            self.slower[what] += weight * (seconds / stated - self.slower[what])

    def _follow_link(self, seconds: float, nbytes: float) -> None:
        """A Kalman filter of latency and seconds per byte: tokens of different sizes tell the two apart."""
        to_delay, to_pace, total, (of_delay, both, of_pace) = self._gain(nbytes)
        self._seen("link")
        wrong = (seconds - self.delay - self.pace * nbytes) / total
        self.delay = max(self.delay + wrong * to_delay, 0.0)
        self.pace = max(self.pace + wrong * to_pace, self.pace / 10)
        both -= to_delay * to_pace / total
        self.doubt = of_delay - to_delay**2 / total, both, of_pace - to_pace**2 / total

    def _gain(self, nbytes: float) -> tuple[float, float, float, tuple[float, float, float]]:
        """Of a token of so many bytes: how its time varies with the delay, with the pace, and in all; and the doubt by
        now, which grows from frame to frame.
        """
        of_delay, both, of_pace = self.doubt
        pause = min(self.reports - self.last["link"], 5 * PAUSE)
        of_delay += pause * (DRIFT * max(self.delay, SHORTEST)) ** 2
        of_pace += pause * (DRIFT * self.pace) ** 2
        to_delay, to_pace = of_delay + nbytes * both, both + nbytes * of_pace
        noise = (NOISE * max(self.delay + self.pace * nbytes, SHORTEST)) ** 2
        return to_delay, to_pace, to_delay + nbytes * to_pace + noise, (of_delay, both, of_pace)

    def _seen(self, what: str) -> int:
        """Counts a measurement; how many frames ago the one before was."""
        self.measured[what] += 1
        before, self.last[what] = self.last[what], self.reports
        return self.reports - before

    def astray(self) -> dict[str, float]:
        """What is measured to be less than half, or more than twice what is stated -> how many times that."""
        stated = 2 * self.stated.latency + self.nbytes[0] / self.stated.bandwidth
        found = {**self.slower, "link": (self.delay + self.pace * self.nbytes[0]) / stated if stated else 1.0}
        return {what: times for what, times in found.items() if self.measured[what] >= 5 and abs(math.log2(times)) > 1}
