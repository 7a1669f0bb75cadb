"""A source and a sink that cost next to nothing."""

import statistics
import time

import numpy as np

from eprune.runtime import Actor


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


class Discard(Actor):
    """Looks at nothing."""

    def fire(self, inputs, outputs):
        """Nothing."""


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
        print(f"| 73728 B, one way | | {statistics.median(self.ages) / 1e3:.0f} us | (at most 100 us) |", flush=True)
