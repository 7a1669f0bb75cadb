"""Static schedules of multi-rate graphs: the firings of an iteration, and what a firing is to its actor.

An actor fires several times in an iteration, perhaps at rates that go through phases. Its tokens have the index of the
iteration, whichever firing made them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from eprune.runtime.fire.firing import Mode
from eprune.runtime.kernel.errors import UsageError
from eprune.runtime.kernel.fifo import Input, Output

_WORD = re.compile(r"[()]|\*[0-9]*|[^\s()*]+")
#: Firings of an iteration, at most.
_MOST = 1_000_000


def unrolled(text: str) -> tuple[str, ...]:
    """The actors of a looped list such as ``A*3 (B C)*2``, firing by firing. Raises UsageError for what is none."""
    levels: list[list[str]] = [[]]
    last: list[str] = []  # what a star repeats
    for word in _WORD.findall(text):
        if word == "(":
            levels.append([])
            last = []
            continue
        if word == ")" and len(levels) > 1:
            last = levels.pop()
        elif word[0] == "*" and word != "*" and last and len(last) * int(word[1:]) <= _MOST:
            last = last * (int(word[1:]) - 1)
        elif word[0] in ")*":
            break
        else:
            last = [word]
        levels[-1] += last
    else:
        if len(levels) == 1 and levels[0]:
            return tuple(levels[0])
    raise UsageError(f"{text!r} is no schedule")


class Phases:
    """The rates of an actor go through phases: the mode of a firing follows from its number.

    ``gives`` and ``takes`` are the rates of its ports, firing by firing, over and over.
    """

    leads = False

    def __init__(
        self,
        inputs: Sequence[Input],
        outputs: Sequence[Output],
        takes: Mapping[str, Sequence[int]],
        gives: Mapping[str, Sequence[int]],
    ) -> None:
        count = math.lcm(*map(len, (*takes.values(), *gives.values())))
        self.index = 0
        self.modes = {}
        for phase in range(count):
            row = {port.fifo.name: takes[port.name][phase % len(takes[port.name])] for port in inputs}
            row.update({port.fifo.name: gives[port.name][phase % len(gives[port.name])] for port in outputs})
            self.modes[phase] = mode = Mode(inputs, outputs, row)
            mode.active = True  # a firing that neither takes nor gives is one, too

    def choose(self, tokens: dict[str, Any], firing: int) -> Mode:
        """The mode of that firing."""
        self.index = firing
        return self.modes[firing % len(self.modes)]
