"""An actor behind a cut that makes tokens of what a compressor sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from checks import only_port
from token_coding import TokenCoding

from eprune.runtime import Actor


class Decompressor(Actor):
    """Gives back the tokens that a ``Compressor`` with the same parameters has coded.

    A damaged or hostile token takes no more memory than the largest true one, and ends the run with one message.

    Parameters:
        method: lossless, int8 or int4.
        entropy, level: what codes the codes: none, zlib or zstd (needs zstandard), and its level.
        low, step: of int8 and int4: what code 0 stands for, and how far the next is; a number, or one per channel.
        basis: an .npz file by which tokens were projected.
    """

    PATHS: ClassVar[Mapping[str, str]] = {"basis": "part"}

    def __init__(
        self,
        method: str = "lossless",
        entropy: str = "zlib",
        level: str = "6",
        low: str = "",
        step: str = "",
        basis: str = "",
    ) -> None:
        self.given = (method, entropy, level, low, step, basis)

    def initialize(self) -> None:
        """Check ports and parameters. Raises ValueError if they do not fit."""
        self.source, source = only_port(self.inputs, "input")
        self.target, target = only_port(self.outputs, "output")
        if source.dtype != "uint8" or not source.variable:
            raise ValueError(f"port {self.source!r}: expected tokens of variable size, uint8[<=n]")
        self.coding = TokenCoding(target, *self.given)

    def fire(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
        """Decode one token. Raises ValueError for what is none."""
        self.coding.decode(inputs[self.source], outputs[self.target])
