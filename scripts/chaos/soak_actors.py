"""The two ends of a soak."""

import json
from pathlib import Path

from eprune.runtime import Actor, EndOfStream


class Numbers(Actor):
    """0, 1, 2, ... with a checksum, ``count`` of them."""

    def __init__(self, count):
        self.count = int(count)
        self.number = 0

    def fire(self, inputs, outputs):
        if self.number == self.count:
            raise EndOfStream
        out = outputs["out"]
        out[0] = self.number
        out[7] = self.number ^ 0x5EED
        self.number += 1


class Check(Actor):
    """Writes to ``path`` how many tokens came, how many are missing, and how many came twice, late or damaged."""

    def __init__(self, path, policy):
        self.path = path
        self.told = {"arrived": 0, "missing": 0, "disorder": 0}
        self.next = 0

    def fire(self, inputs, outputs):
        number, checksum = int(inputs["in"][0]), int(inputs["in"][7])
        told = self.told
        told["arrived"] += 1
        if number < self.next or checksum != number ^ 0x5EED:
            told["disorder"] += 1
        told["missing"] += max(0, number - self.next)
        self.next = max(self.next, number + 1)

    def finalize(self):
        Path(self.path).write_text(json.dumps(self.told))
