"""Where each frame is computed: how many blocks of a network run here, before the rest goes to a server."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple, Optional

import numpy as np
from checks import number, one_of, only_port, whole_number
from offload_costs import Costs, Figures, Gate
from offload_log import OffloadLog

from eprune.runtime import Actor, EndOfStream

#: A cut that costs more than so many times the cheapest one is left at once.
FAR_WORSE = 2.0
#: Figures that are tried: what is known of ``bandwidth`` first, for that says what is so of the ``link``, too.
TRIED = ("here", "bandwidth", "link", "there")
#: Seconds after which a figure that nothing has confirmed is tried, and the frames until it is tried the first time.
QUIET, FIRST = 1.0, 10
#: After how many frames it is asked again whether to try what was too dear, or no use.
AGAIN = 4
#: The share of the time since a figure was last confirmed that trying it may cost.
BUDGET = 0.05
#: A frame that is away for so many times what was expected says that others would be, too.
OVERDUE = 2.0
#: After so many frames, what is measured is compared with what is stated.
SOMETIMES = 8
#: The share of a frame's time that deciding may take, and after how many frames in a row that took more it is rested.
DECIDING, TIRED = 0.05, 3


class Report(NamedTuple):
    """What comes back of an answered frame: see ``OffloadAnswer``."""

    count: float
    answered: float
    sent: float
    block: float
    nbytes: float
    there: float


class UnderWay(NamedTuple):
    """A frame that nothing has been reported of: the block at which it came in, its cut, its padding, when it began,
    and the seconds that were expected.
    """

    arrived: int
    cut: int
    padding: int
    begun: float
    expected: float


class OffloadDecider(Actor):
    """Copies a frame to the network's first block, or to the server: the entry DA of an offloading graph.

    It is also the control source: the control value is how many of the K blocks run here. Value 0 sends the frame as it
    is, K sends nothing. With exits, the control value is at most the number of blocks before the first one; what is to
    become of a frame that does not leave there is in the output ``plan``, float64: the cut, the time by which it must
    be answered (time.perf_counter), and for each exit the seconds from there to the next chance of an answer.

    The choice is the cheapest cut by what is expected: the blocks' times here, the link's latency and bandwidth, and
    the time that the other side takes; a share of the frames leaves at each exit. What comes back over ``report``,
    float64[6], or float64[6+K] of another side that decides, too, corrects all of these. A cut that is cheaper by
    ``margin`` in ``patience`` frames in a row takes the place of the current one, at once if that costs more than twice
    as much. What nothing has confirmed for ``probe`` frames, or a second, is tried by the cheapest cut that does, if it
    could change the choice, and costs no more than a twentieth of the time that has passed. The output ``padding``,
    int32[1], if there is one, says how many bytes are then sent in vain, for a small token says little of the
    bandwidth.

    To decide otherwise, write a class that inherits from this one and has a method ``decide``, which returns a cut. If
    it raises, or returns something else, all blocks run here; if it takes more than a twentieth of a frame's time, its
    last answer holds for some frames.

    Outputs ``local`` (the first block) and ``raw`` (the server), of the input's type; one of them is active. A firing
    without ``report`` decides by what is expected. An output ``frame`` always gets the frame: where the server may be
    lost, the frame is then computed from it. When a report says that the server did not answer, all blocks run here,
    but for one frame after ``probe`` of them, or a second, until an answer comes.

    Parameters:
        here: the seconds of each block on this device, ``0.005,0.01,0.003``.
        rest: the seconds that the other side takes from the first, the second, ... block on.
        bytes: what crosses the link if 0, 1, ... K-1 blocks run here.
        bandwidth: of the link, in bytes per second.
        latency: of a message, in seconds; the answer takes it, too.
        objective: ``latency``; ``endpoint``, the seconds that this device computes; ``bytes``; or ``energy`` of this
            device.
        watts: of this device while it computes, while it waits, and what sending takes besides, ``5,1,0.5``.
        within: seconds that a frame may take: the objective chooses among the cuts that are expected to keep that, and
            if none is, the fastest one is taken, or the last exit that can be reached in time. 0 for no limit.
        exits, shares, heads: the number of blocks before each exit, ``1,3``; the share of the frames that come so far
            which leave there; and the seconds that its head takes.
        probe: after how many frames without it a figure is tried; 0 for never.
        margin, patience: when another cut takes over.
        fixed: a cut for all frames, to measure it or to debug.
        seconds: after so many the stream ends; 0 for never.
        log: a file to write, CSV: what became of each answered frame.
        trace: a file to write, CSV: what was learned of link and platforms, as ``eprune replay`` takes it.
        between: the names of this platform and the other one, for the trace.
    """

    PATHS: ClassVar[Mapping[str, str]] = {"log": "write", "trace": "write"}
    #: seconds; another one makes time run as a test likes
    clock = staticmethod(time.perf_counter)

    def __init__(
        self,
        here: str,
        rest: str,
        bytes: str,  # noqa: A002  (the parameter's name)
        bandwidth: str = "1e9",
        latency: str = "0",
        objective: str = "latency",
        watts: str = "",
        within: str = "0",
        exits: str = "",
        shares: str = "",
        heads: str = "",
        probe: str = "50",
        margin: str = "0.05",
        patience: str = "3",
        fixed: str = "",
        seconds: str = "0",
        log: str = "",
        trace: str = "",
        between: str = "here,there",
    ) -> None:
        stated = [_numbers(name, text) for name, text in (("here", here), ("rest", rest), ("bytes", bytes))]
        if not len(stated[0]) == len(stated[1]) == len(stated[2]):
            raise ValueError(f"here={here} rest={rest} bytes={bytes}: expected as many numbers in each")
        self.blocks = len(stated[0])
        if number("bandwidth", bandwidth) <= 0:
            raise ValueError(f"bandwidth={bandwidth}: expected a number above 0")
        gates = _gates(exits, shares, heads, self.blocks)
        figures = Figures(*stated, number("bandwidth", bandwidth), number("latency", latency), gates)
        self.costs = Costs(figures)
        self.gates = sorted(gates)
        self.objective = one_of("objective", objective, ("latency", "endpoint", "bytes", "energy"))
        self.watts = _numbers("watts", watts)
        if len(self.watts) not in (0, 3) or (self.objective == "energy" and not self.watts):
            raise ValueError(f"watts={watts}: expected three numbers, for computing, waiting and sending")
        self.within = number("within", within) or math.inf
        self.probe = whole_number("probe", probe)
        self.margin, self.patience = number("margin", margin), whole_number("patience", patience)
        self.fixed: Optional[int] = None if fixed == "" else whole_number("fixed", fixed)
        if self.fixed is not None and self.fixed > self.blocks:
            raise ValueError(f"fixed={fixed}: expected a number of blocks from 0 to {self.blocks}")
        self.seconds = number("seconds", seconds)
        self.log = OffloadLog(log, trace, between, figures)
        #: the platform that frames are sent to, and how long heartbeats took there and back, as they were last heard
        self.other = between.partition(",")[2]
        self.round: Optional[float] = None
        self.begun: Optional[float] = None
        self.frame = 0
        self.chosen = 0
        #: block at which frames come in -> the current choice, and how many frames in a row another was better
        self.kept: dict[int, tuple[int, int]] = {}
        #: figure -> the frame in which it was last asked whether to try it
        self.looked: dict[str, int] = {}
        #: figure -> the frame and the time of the last one that confirms it
        self.confirmed: dict[str, tuple[int, float]] = {}
        self.under_way: deque[UnderWay] = deque()
        #: frames in a row in which deciding took too long, and those for which it rests
        self.tired, self.resting = 0, 0
        self.said: set[str] = set()
        #: since which frame and when the server does not answer, or when it was last tried; None: it does
        self.lost: Optional[tuple[int, float]] = None

    def initialize(self) -> None:
        """Check the ports. Raises ValueError if they do not fit."""
        inputs = {name: port for name, port in self.inputs.items() if name != "report"}
        _, port = only_port(inputs, "input (beside report)")
        outputs = {name: port for name, port in self.outputs.items() if name not in ("plan", "padding")}
        if set(outputs) - {"frame"} != {"local", "raw"} or {*outputs.values()} != {port}:
            raise ValueError("needs the outputs 'local' and 'raw' of the type and rate of its input")
        if self.gates and "plan" in self.outputs and self.outputs["plan"].shape != (2 + len(self.gates),):
            raise ValueError(f"port 'plan': expected float64[{2 + len(self.gates)}]")
        (self.source,) = inputs

    def control(self, inputs: Mapping[str, np.ndarray]) -> int:
        """How many blocks run here, before the first exit."""
        return min(self.choose(inputs), self.gates[0] if self.gates else self.blocks)

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Copy the frame."""
        for name, out in outputs.items():
            if name == "padding":
                out[0] = self.under_way[-1].padding
            else:
                out[...] = self.plan() if name == "plan" else inputs[self.source]

    def finalize(self) -> None:
        """Write the files."""
        self.log.write()

    def choose(self, inputs: Mapping[str, np.ndarray]) -> int:
        """The cut of a frame: learns from the report first. Raises EndOfStream after the stated seconds."""
        now = self.clock()
        self.begun = now if self.begun is None else self.begun
        if "report" in inputs:
            report = inputs["report"].tolist()
            self.learn(Report(*report[:6]), report[6:])
        self.listen(now)
        if self.seconds and now - self.begun >= self.seconds:
            raise EndOfStream
        self.frame += 1
        self.chosen, padding = self.probing(self.decided(), now) if self.lost is None else (self.trying_again(now), 0)
        for what in TRIED:
            if self.costs.confirms(what, self.chosen):
                self.confirmed[what] = (self.frame, now)
        expected = self.costs.seconds(self.chosen) + self.costs.pace * padding
        self.under_way.append(UnderWay(self.costs.arrived, self.chosen, padding, now, expected))
        return self.chosen

    # Deciding

    def decide(self) -> int:
        """The cheapest cut, but the current one while that is nearly as good."""
        costs = self.expected()
        best = min(range(self.costs.arrived, self.blocks + 1), key=costs.__getitem__)
        choice, better = self.kept.get(self.costs.arrived, (best, 0))
        better = better + 1 if costs[best] < (1 - self.margin) * costs[choice] else 0
        if better and (better >= self.patience or costs[choice] > FAR_WORSE * costs[best]):
            choice, better = best, 0
        self.kept[self.costs.arrived] = (choice, better)
        return choice

    def expected(self) -> list[float]:
        """What each cut is expected to cost now; infinity if the frame would take too long."""
        stretch = self.stretch()
        costs = self.costs.expected(self.objective, self.watts, stretch)
        if self.within == math.inf:
            return costs
        latency = [self.costs.seconds(cut, stretch) for cut in range(self.blocks + 1)]
        kept = [cost if seconds <= self.within else math.inf for cost, seconds in zip(costs, latency)]
        if min(kept) < math.inf:
            return kept
        # Too late everywhere: the last exit in time, from which the frame goes no further.
        reached = {place: self.costs.near(place) for place in self.gates}
        timely = [place for place, seconds in reached.items() if seconds <= self.within]
        if timely:
            return [0.0 if cut == timely[-1] else math.inf for cut in range(self.blocks + 1)]
        return [min(seconds, reached.get(cut, math.inf)) for cut, seconds in enumerate(latency)]

    def stretch(self) -> float:
        """How many times longer than expected the oldest frame that was sent is away already, if that is too long."""
        if not self.under_way or self.under_way[0].cut == self.blocks:
            return 1.0
        oldest = self.under_way[0]
        away = (self.clock() - oldest.begun) / max(oldest.expected, 1e-9)
        return away if away > OVERDUE else 1.0

    def decided(self) -> int:
        """What ``decide`` says, as far as it is of use."""
        if self.fixed is not None:
            return max(self.fixed, self.costs.arrived)
        if self.resting:
            self.resting -= 1
            return max(self.chosen, self.costs.arrived)
        begin = self.clock()
        try:
            chosen = int(self.decide())
            if not self.costs.arrived <= chosen <= self.blocks:
                raise ValueError(f"{chosen} is no cut; there are {self.costs.arrived} to {self.blocks}")
        except EndOfStream:
            raise
        except Exception as error:
            self.say_once("failed", f"deciding failed: {type(error).__name__}: {error}; all blocks run here instead")
            return self.blocks
        spent = self.clock() - begin
        bearable = DECIDING * max(self.costs.seconds(chosen), 1e-3)
        self.tired = self.tired + 1 if spent > bearable else 0
        if self.tired >= TIRED:
            self.resting, self.tired = min(math.ceil(spent / bearable), 1000), TIRED - 1
            self.say_once(
                "slow", f"deciding takes {1e3 * spent:.3g} ms, too much for each frame: a choice holds for several"
            )
        return chosen

    def probing(self, chosen: int, now: float) -> tuple[int, int]:
        """The chosen cut, or another one where something is to be tried, and how many bytes are sent in vain."""
        if not self.probe or self.fixed is not None:
            return chosen, 0
        costs = self.costs
        for what in TRIED:
            # What has never been measured is tried whatever it costs, unless no figure of time counts.
            new = what not in self.confirmed and (self.objective != "bytes" or self.within < math.inf)
            frame, at = self.confirmed.get(what, (0, self.begun or now))
            recent = self.frame - frame < (min(self.probe, FIRST) if new else self.probe) and (new or now - at < QUIET)
            if recent or self.frame < self.looked.get(what, 0) + AGAIN or costs.confirms(what, chosen):
                continue
            self.looked[what] = self.frame
            cuts = [cut for cut in range(costs.arrived, self.blocks + 1) if costs.confirms(what, cut)]
            if what == "bandwidth":
                cuts = [chosen] if chosen < self.blocks else list(range(costs.arrived, self.blocks))
            if cuts:
                cut = min(cuts, key=costs.seconds)
                most = math.inf if new else costs.seconds(chosen) + BUDGET * (now - at)
                padding = costs.padding(cut, most) if what == "bandwidth" else 0
                more = costs.trying(cut, padding) - costs.seconds(chosen)
                if new or (more <= BUDGET * (now - at) and self.worth(what, chosen)):
                    self.confirmed[what] = (self.frame, now)
                    return cut, padding
        return chosen, 0

    def trying_again(self, now: float) -> int:
        """The cut while the server does not answer: all blocks here, but now and then one frame is sent."""
        assert self.lost is not None
        frame, at = self.lost
        if self.fixed is not None:
            return self.fixed
        if not self.probe or (self.frame - frame < self.probe and now - at < QUIET):
            return self.blocks
        self.lost = self.frame, now
        return min(range(self.costs.arrived, self.blocks), key=self.costs.seconds)

    def worth(self, what: str, chosen: int) -> bool:
        """Whether another cut would be chosen, if what is tried turned out well."""
        usual, now = self.costs, self.expected()[chosen]
        self.costs = usual.hopeful(what)
        hoped = min(self.expected())
        self.costs = usual
        return hoped < (1 - self.margin) * now

    def plan(self) -> list[float]:
        """What the exits are told of this frame."""
        costs, begun = self.costs, self.under_way[-1].begun
        nexts = [*self.gates[1:], self.blocks + 1]
        answer = costs.seconds(self.chosen)
        onwards = [
            (costs.near(after) if self.chosen >= after else answer) - costs.near(place)
            for place, after in zip(self.gates, nexts)
        ]
        return [self.chosen, begun + self.within, *onwards]

    # Learning

    def learn(self, report: Report, told: Sequence[float] = ()) -> None:
        """What became of the oldest frame under way; a report whose count is 0 is none. ``told``: the seconds that the
        other side expected from each block on, if it decides, too.
        """
        if not report.count or not self.under_way:
            return
        frame = self.under_way.popleft()
        left = -int(report.block) if report.block < 0 else 0
        cut = self.gates[left - 1] if left else min(int(report.block), self.blocks)
        if told and report.sent and report.there >= 0:
            self.costs.rest[:-1] = told
        self.correct(frame, cut, report)
        self.log.add(frame.begun - (self.begun or 0.0), cut, left, frame.begun, report, self.costs)
        for what, times in self.costs.astray().items() if self.frame % SOMETIMES == 0 else ():
            name = {"here": "the blocks here take", "there": "the other side takes", "link": "the link takes"}[what]
            self.say_once(what, f"{name} {times:.2g} times what was stated; what was measured counts")

    def listen(self, now: float) -> None:
        """While no frame tells how long the way is, heartbeats do."""
        seconds = self.round_trip(self.other)
        if seconds is None or seconds == self.round:
            return
        self.round = seconds
        _, at = self.confirmed.get("link", (0, -math.inf))
        if now - at >= QUIET:
            self.costs.learn_round_trip(seconds)

    def correct(self, frame: UnderWay, cut: int, report: Report) -> None:
        """What is expected from now on."""
        sent = report.sent > 0
        if sent and report.there < 0:
            self.lost = self.lost or (self.frame, self.clock())
            self.say_once("lost", "the server does not answer; all blocks run here until it does")
        elif sent:
            self.lost = None
        self.costs.learn_here(frame.arrived, cut, (report.sent if sent else report.answered) - frame.begun)
        if sent and report.there >= 0:
            away = report.answered - report.sent
            self.costs.learn_far(cut, away, report.there, report.nbytes, frame.padding)

    def say_once(self, what: str, text: str) -> None:
        """A note, but not twice about one thing."""
        if what not in self.said:
            self.said.add(what)
            self.note(text)


def _numbers(name: str, text: str) -> list[float]:
    return [number(name, each) for each in text.split(",")] if text else []


def _gates(exits: str, shares: str, heads: str, blocks: int) -> dict[int, Gate]:
    """The exits that parameters state, by the number of blocks before them."""
    places = [whole_number("exits", each) for each in exits.split(",")] if exits else []
    left, taken = _numbers("shares", shares) or [0.0] * len(places), _numbers("heads", heads) or [0.0] * len(places)
    rising = all(one < other for one, other in zip([0, *places], [*places, blocks]))
    if not rising or not len(places) == len(left) == len(taken) or not all(0 <= share <= 1 for share in left):
        raise ValueError(f"exits={exits} shares={shares} heads={heads}: expected as many of each, and shares, 0 to 1")
    return {place: Gate(share, seconds) for place, share, seconds in zip(places, left, taken)}
