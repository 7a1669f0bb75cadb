"""An actor that passes tokens on and keeps a copy of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from tensor_sink import TensorSink


class Tap(TensorSink):
    """Copies the token at input ``in`` to output ``out``.

    It stands before a sink whose results are wanted as an array; the pass ``tap`` puts it there.

    Parameters:
        path: a folder, which is made; ``in.npy`` there is a stack of all tokens, and is complete at the end.
    """

    PATHS: ClassVar[Mapping[str, str]] = {"path": "write"}

    def __init__(self, path: str) -> None:
        super().__init__(path)

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Keep the token, then pass it on."""
        super().fire(inputs, {})
        outputs["out"][...] = inputs["in"]
