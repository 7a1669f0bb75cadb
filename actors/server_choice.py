"""Which of several servers that can do the same gets each token."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping

import numpy as np
from checks import put, whole_number

from eprune.runtime import Actor

#: The weight of the newest measurement.
NEWEST = 0.3


class ServerChoice(Actor):
    """Copies a cut to one of several servers: the entry DA of a graph that has a server in each row, and its source.

    The control value n activates the output ``to`` with that number. Of the servers that are there, it is the one that
    is expected to be through first: its mean time for a token, times the tokens that it has and one. One that did not
    answer gets nothing for ``rest`` tokens, as long as there is another. ``report``, float64[2], comes back from
    ``ServerAnswer``: the server that had an earlier token, and its seconds, below 0 if it did not answer. The output
    ``sent``, float64[2], is the server, and when it was chosen (time.perf_counter).

    Parameters:
        rest: for how many tokens a server is left alone that did not answer.
    """

    def __init__(self, rest: str = "50") -> None:
        self.rest = whole_number("rest", rest)
        self.count = 0
        #: the servers of the tokens that are not reported
        self.under_way: deque[int] = deque()

    def initialize(self) -> None:
        """Check the ports. Raises ValueError if they do not fit."""
        names = [name for name in self.outputs if name != "sent"]
        if set(self.inputs) != {"cut", "report"} or sorted(names) != [f"to{number}" for number in range(len(names))]:
            raise ValueError("needs inputs 'cut' and 'report', and outputs 'sent', 'to0', 'to1', ...")
        if any(self.outputs[name] != self.inputs["cut"] for name in names):
            raise ValueError("needs outputs of the type and rate of its input 'cut'")
        #: the mean seconds of each server, 0 where unknown; the token up to which it rests; when it was chosen last
        self.seconds, self.resting, self.last = ([0.0] * len(names), [0] * len(names), [-1] * len(names))

    def control(self, inputs: Mapping[str, np.ndarray]) -> int:
        """The server that is expected to be through first."""
        self.learn(float(inputs["report"][1]))
        self.count += 1
        servers = range(len(self.seconds))
        there = [n for n in servers if f"to{n}" in self.alive] or list(servers)
        fit = [n for n in there if self.count > self.resting[n]] or there
        self.server = min(fit, key=lambda n: (self.seconds[n] * (self.under_way.count(n) + 1), self.last[n]))
        self.last[self.server] = self.count
        self.under_way.append(self.server)
        return self.server

    def learn(self, seconds: float) -> None:
        """What became of the oldest token; 0 seconds: there is no report yet."""
        if not seconds or not self.under_way:
            return
        server = self.under_way.popleft()
        if seconds < 0:
            self.resting[server] = self.count + self.rest
        else:
            known = self.seconds[server]
            self.seconds[server] = known + NEWEST * (seconds - known) if known else seconds
            self.resting[server] = 0

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Copy the cut."""
        token = inputs["cut"]
        for name, out in outputs.items():
            if name == "sent":
                out[...] = self.server, time.perf_counter()
            else:
                put(out, token)
