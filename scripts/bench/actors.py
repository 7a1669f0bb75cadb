"""A source and a sink that cost next to nothing."""

import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np

from eprune.runtime import Actor, EndOfStream


class Constant(Actor):
    """The same random token, again and again: written into each slot once, for the bare loops make no frames either."""

    def initialize(self):
        """Make the token."""
        rng = np.random.default_rng(1)
        self.tokens = {
            name: (rng.random(port.shape) * (1 if port.dtype.startswith("float") else 255)).astype(port.dtype)
            for name, port in self.outputs.items()
        }
        self.written = set()

    def fire(self, inputs, outputs):
        """Write it, if it is not there yet."""
        for name, out in outputs.items():
            slot = out.__array_interface__["data"][0]
            if slot not in self.written:
                self.written.add(slot)
                out[...] = self.tokens[name]


class Idle(Actor):
    """Writes nothing into its token: for what a hand-over costs without any data."""

    def fire(self, inputs, outputs):
        """Nothing."""


class Choose(Idle):
    """Chooses the row that the parameter names, always."""

    def __init__(self, value):
        """The control value is ``value``."""
        self.value = int(value)

    def control(self, inputs):
        """The same again."""
        return self.value


class Discard(Actor):
    """Looks at nothing."""

    def fire(self, inputs, outputs):
        """Nothing."""


class Spent(Actor):
    """Looks at nothing, and tells the CPU seconds that the process spends from one firing to the next, as JSON."""

    def initialize(self):
        """No firing yet."""
        self.firings = -1
        self.begin = 0.0

    def fire(self, inputs, outputs):
        """Look at the clock at the first one only, for that takes long."""
        if self.firings < 0:
            self.begin = time.process_time()
        self.firings += 1

    def finalize(self):
        """Print it."""
        print(json.dumps({"cpu_s": (time.process_time() - self.begin) / self.firings}), flush=True)


class Stamp(Actor):
    """A token every 2 ms, which begins with the time at which it was handed over."""

    def fire(self, inputs, outputs):
        """Wait, then stamp."""
        time.sleep(0.002)
        outputs["out"][:8].view(np.int64)[0] = time.perf_counter_ns()


class Lag(Actor):
    """Tells how old stamped tokens were, in microseconds: the median."""

    def initialize(self):
        """No token yet."""
        self.ages = []

    def fire(self, inputs, outputs):
        """Look at the stamp."""
        self.ages.append(time.perf_counter_ns() - int(inputs["in"][:8].view(np.int64)[0]))

    def finalize(self):
        """Print it."""
        print(json.dumps({"age_us": statistics.median(self.ages) / 1e3}), flush=True)


class Some(Actor):
    """So many tokens, with nothing in them."""

    def __init__(self, count):
        """``count`` tokens."""
        self.left = int(count)

    def fire(self, inputs, outputs):
        """One less."""
        self.left -= 1
        if self.left < 0:
            raise EndOfStream


class Paced(Some):
    """The same, one every ``pace`` seconds."""

    def __init__(self, count, pace):
        """A ``pace`` of 0 is as fast as it goes."""
        super().__init__(count)
        self.pace = float(pace)

    def fire(self, inputs, outputs):
        """Wait, then one less."""
        if self.pace:
            time.sleep(self.pace)
        super().fire(inputs, outputs)


class Echo(Actor):
    """Sends back what comes."""

    def fire(self, inputs, outputs):
        """Copy it."""
        outputs["out"][...] = inputs["in"]


class RoundTrip(Actor):
    """Sends a token, waits until it is back, rests for 20 ms; ``count`` times. Writes the median seconds to a file."""

    def __init__(self, count, told):
        """The file ``told`` is relative to the program's folder."""
        self.count = int(count)
        self.told = Path(sys.argv[0]).parent / told
        self.sent = None
        self.times = []

    def fire(self, inputs, outputs):
        """What is in the input came back, but for the first time."""
        if self.sent is not None:
            self.times.append(time.perf_counter() - self.sent)
        if len(self.times) == self.count:
            self.told.write_text(str(statistics.median(self.times)))
            raise EndOfStream
        time.sleep(0.02)
        self.sent = time.perf_counter()
