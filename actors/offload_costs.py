"""What an actor that decides where a network runs expects of each cut, and how it learns from what frames took.

A cut is the number of blocks that run here, 0 to K: the frame is sent as it is, or not at all. Seconds throughout.
"""

from __future__ import annotations

import copy
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
#: The share of what the other side may have to compute that says how fast it is.
TELLING = 0.3
#: How many times the latency a token takes that is sent for the bandwidth's sake.
SEVERAL = 3
#: By how many standard deviations a bandwidth may be worse that is tried.
CAUTION = 2.0
#: A link's latency of which parts can be taken, and seconds by which what is measured is off in any case.
SHORTEST, JITTER = 1e-4, 3e-4
#: A transfer that takes less says nothing of the bandwidth.
TELLING_TIME = 3e-3
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
        #: the delay when the bandwidth was last seen
        self.delay_then = max(self.delay, TELLING_TIME)
        #: answered frames, and which of them was the last to say something of what
        self.reports, self.last = 0, dict.fromkeys(self.measured, 0)
        #: the variances of delay and pace
        self.doubt = ((STATED * max(self.delay, SHORTEST)) ** 2, (STATED * self.pace) ** 2)
        gates = stated.gates
        self.state([
            seconds + (gates[number].seconds if number in gates else 0.0)
            for number, seconds in enumerate(stated.here, 1)
        ])  # fmt: skip

    def state(self, here: Sequence[float]) -> None:
        """The seconds here of each block, with the exit behind it."""
        self.stated_near = [sum(here[:cut]) for cut in range(self.blocks + 1)]
        #: before each cut, the share of the frames that come so far, and the seconds here of all frames, as stated
        self.coming, self.spent = [1.0], [0.0]
        gates = self.stated.gates
        for number, step in enumerate(here, 1):
            self.spent.append(self.spent[-1] + self.coming[-1] * step)
            self.coming.append(self.coming[-1] * (1 - gates[number].share if number in gates else 1.0))

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

    def padding(self, cut: int, seconds: float) -> int:
        """How many bytes more make a token tell the bandwidth well: one that takes several times the latency; if it is
        not to take more than so many ``seconds``, one that tells something of it.
        """
        enough = SEVERAL * max(self.delay, TELLING_TIME) / self.pace
        affordable = (seconds - self.trying(cut)) / self._feared_pace() + self.nbytes[cut]
        least = 1.1 * max(self.delay / 2, TELLING_TIME) / self.pace
        return int(max(min(max(min(enough, affordable), least), max(self.nbytes)) - self.nbytes[cut], 0))

    def trying(self, cut: int, padding: int = 0) -> float:
        """What a frame may take that tries a cut which has not been used lately."""
        if cut == self.blocks:
            return self.seconds(cut)
        return self.seconds(cut) + self._feared_pace() * (self.nbytes[cut] + padding) - self.pace * self.nbytes[cut]

    def _feared_pace(self) -> float:
        """A link whose latency has changed is taken to have changed its bandwidth as much, and it may be worse by two
        standard deviations.
        """
        return self.pace * max(self.delay, TELLING_TIME) / self.delay_then + CAUTION * self._doubts()[1] ** 0.5

    def hopeful(self, what: str) -> Costs:
        """The same if what is tried turns out to be as good as stated, or twice as good as it was last; and all that
        cannot be known before.
        """
        found = copy.copy(self)
        found.slower = dict(self.slower)
        load = "here" if what == "here" else "there"
        found.slower[load] = min(1.0, self.slower[load] / 2)
        if what in ("link", "bandwidth"):
            found.pace = min(1 / self.stated.bandwidth, self.pace / 2)
        if what == "link":
            found.delay = min(2 * self.stated.latency, self.delay / 2)
        return found

    def expected(self, objective: str, watts: Sequence[float] = (), stretch: float = 1.0) -> list[float]:
        """What each cut costs, exits counted by their shares: optimal stopping, one pass over the blocks.

        The cheapest of these costs is V_0 of V_k = min(sent_k, here_k+1 + (1 - share_k+1) V_k+1) with V_K = 0, and is
        so from each block on: a frame that did not leave goes on to the same cut.
        """
        sending = size = 0.0
        if objective == "energy":
            own, other, sending = watts
        else:
            own, other, size = OBJECTIVES[objective]
        own, there, arrived = own * self.slower["here"], self.slower["there"], self.arrived
        begin, delay, pace = self.spent[arrived], self.delay, self.pace
        each = sending * pace + size
        other *= stretch
        figures = zip(self.spent[arrived:-1], self.coming[arrived:], self.nbytes[arrived:], self.rest[arrived:])
        found = [
            own * (spent - begin) + coming * (other * (delay + pace * nbytes + there * rest) + each * nbytes)
            for spent, coming, nbytes, rest in figures
        ]
        return [math.inf] * arrived + found + [own * (self.spent[-1] - begin)]

    def confirms(self, what: str, cut: int) -> bool:
        """Whether, after a frame that is cut there, it is known what is so ``here``, ``there``, of the ``link``, and of
        its ``bandwidth``, to within a half.
        """
        if what == "here":
            return self.stated_near[cut] > self.stated_near[self.arrived]
        if cut == self.blocks or what == "link":
            return cut < self.blocks
        if what == "there":
            return self.rest[cut] > 0 and self.rest[cut] >= TELLING * self.rest[self.arrived]
        of_delay, of_pace = self._doubts()
        moving = self.nbytes[cut] ** 2 * of_pace
        total = of_delay + moving + (NOISE * self.link(cut)) ** 2 + JITTER**2
        return self._tells(self.nbytes[cut]) and of_pace * (1 - moving / total) < (KNOWN * self.pace) ** 2

    def values(self) -> list[float]:
        """From each block on, the seconds that a frame takes which comes in there: it goes on here or is sent."""
        found = [0.0]
        for cut in reversed(range(self.blocks)):
            here = self.slower["here"] * (self.stated_near[cut + 1] - self.stated_near[cut])
            found.append(min(here + found[-1], self.far(cut)))
        return found[:0:-1]

    # What is learned

    def learn_here(self, arrived: int, cut: int, seconds: float) -> None:
        """A frame was answered; so long did the blocks between take here."""
        self.reports += 1
        self._follow("here", seconds, self.stated_near[cut] - self.stated_near[arrived])

    def learn_far(self, cut: int, seconds: float, there: float, nbytes: float, padding: int = 0) -> None:
        """So long was it away, of which so long ``there``; so many bytes were sent, so many of them padding."""
        if self.rest[cut] >= TELLING * max(self.rest):
            self._follow("there", there, self.rest[cut])
        if nbytes > padding:
            self.nbytes[cut] += NEWEST * (nbytes - padding - self.nbytes[cut])
        self._follow_link(max(seconds - there, 0.0), nbytes or self.nbytes[cut] + padding)

    def learn_round_trip(self, seconds: float) -> None:
        """So long did something small take there and back. A frame that is away may well find it to be otherwise."""
        self.delay = seconds
        self.doubt = max(self.doubt[0], (KNOWN * max(seconds, SHORTEST)) ** 2), self.doubt[1]

    def _follow(self, what: str, seconds: float, stated: float) -> None:
        """An exponential average."""
        if stated > 0 and seconds > 0:
            pause = self._seen(what)
            weight = min(max(NEWEST, 1 / self.measured[what], pause / PAUSE), 1.0)
            self.slower[what] += weight * (seconds / stated - self.slower[what])

    def _follow_link(self, seconds: float, nbytes: float) -> None:
        """What is wrong is put down to latency and to seconds per byte by what each may be wrong (a Kalman filter of
        two figures taken to be independent); all of it to latency, if the token is a small one.
        """
        of_delay, of_pace = self._doubts()
        self._seen("link")
        if not self._tells(nbytes):
            nbytes, seconds = 0.0, seconds - self.pace * nbytes
        noise = (NOISE * (self.delay + self.pace * nbytes)) ** 2 + JITTER**2
        total = of_delay + nbytes**2 * of_pace + noise
        wrong = (seconds - self.delay - self.pace * nbytes) / total
        self.delay = max(self.delay + wrong * of_delay, 0.0)
        self.pace = max(self.pace + wrong * nbytes * of_pace, self.pace / 10)
        self.doubt = of_delay * (1 - of_delay / total), of_pace * (1 - nbytes**2 * of_pace / total)
        if nbytes:
            self.delay_then = max(self.delay, TELLING_TIME)

    def _tells(self, nbytes: float) -> bool:
        """Whether a token is large enough to say something of the bandwidth."""
        return nbytes > max(self.nbytes) / 2 or self.pace * nbytes >= max(self.delay / 2, TELLING_TIME)

    def _doubts(self) -> tuple[float, float]:
        """The variances of delay and pace by now: they grow from frame to frame."""
        pause = min(self.reports - self.last["link"], 5 * PAUSE)
        of_delay = self.doubt[0] + pause * (DRIFT * max(self.delay, SHORTEST)) ** 2
        return of_delay, max(self.doubt[1], min(self.doubt[1] + pause * (DRIFT * self.pace) ** 2, self.pace**2))

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
