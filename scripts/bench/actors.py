"""A source and a sink that cost next to nothing."""

import numpy as np

from eprune.runtime import Actor


class Constant(Actor):
    """The same random token, again and again."""

    def initialize(self):
        """Make the token."""
        rng = np.random.default_rng(1)
        self.tokens = {
            name: (rng.random(port.shape) * (1 if port.dtype.startswith("float") else 255)).astype(port.dtype)
            for name, port in self.outputs.items()
        }

    def fire(self, inputs, outputs):
        """Copy it."""
        for name, out in outputs.items():
            out[...] = self.tokens[name]


class Idle(Actor):
    """Writes nothing into its token: for what a hand-over costs without any data."""

    def fire(self, inputs, outputs):
        """Nothing."""


class Discard(Actor):
    """Looks at nothing."""

    def fire(self, inputs, outputs):
        """Nothing."""
