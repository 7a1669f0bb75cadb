"""What a window of sound is made of."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from checks import only_port

from eprune.runtime import Actor


class BandEnergies(Actor):
    """The energy of a window in B bands of equal width, from 0 to half the sampling rate, as logarithms.

    The window is a float vector; its ends are faded out (Hann). The output is float32[B].
    """

    def initialize(self) -> None:
        """Check the ports. Raises ValueError if there are more bands than frequencies."""
        self.source, source = only_port(self.inputs, "input")
        self.target, target = only_port(self.outputs, "output")
        length, bands = int(np.prod(source.shape)), int(np.prod(target.shape))
        if not source.dtype.startswith("float") or target.dtype != "float32" or bands > length // 2 + 1:
            raise ValueError(f"port {self.target!r}: {target.dtype}[{bands}] of a window of {source.dtype}[{length}]")
        self.fade = np.hanning(length).astype(np.float32)
        self.begins = np.arange(bands) * (length // 2 + 1) // bands

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Write the bands."""
        powers = np.abs(np.fft.rfft(inputs[self.source].reshape(-1) * self.fade)) ** 2
        outputs[self.target].reshape(-1)[:] = np.log(np.add.reduceat(powers, self.begins) + 1e-6)
