"""An actor in front of a cut that makes tokens small."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from checks import only_port, only_type, put
from disturbance import Disturbance
from token_coding import TokenCoding

from eprune.runtime import Actor


class Compressor(Actor):
    """Codes each token of its input as uint8[<=n]; a ``Decompressor`` with the same parameters gives it back.

    The output has room for the largest that a token can become: the codes, and a byte. If there are several, all that
    are active get it.

    Parameters:
        method: lossless, int8 or int4.
        entropy, level: what codes the codes: none, zlib or zstd (needs zstandard), and its level.
        low, step: of int8 and int4: what code 0 stands for, and how far the next is; a number, or one per channel.
        basis: an .npz file by which tokens are projected first (``eprune apply compress``).
        noise: standard deviation of what is added to each number that is sent (``eprune apply defend``); a number, or
            one per channel.
        draw, change, seed: when noise is drawn anew, as for a ``Defender``.
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
        noise: str = "",
        draw: str = "frame",
        change: str = "0.5",
        seed: str = "",
    ) -> None:
        self.given = (method, entropy, level, low, step, basis)
        self.noise = (noise, "0", draw, change, seed) if noise else None

    def initialize(self) -> None:
        """Check ports and parameters. Raises ValueError if they do not fit."""
        self.source, source = only_port(self.inputs, "input")
        name, target = only_type(self.outputs, "output")
        self.coding = TokenCoding(source, *self.given)
        self.disturbance = None
        if self.noise is not None:
            if self.coding.coded_dtype.kind != "f":
                raise ValueError(f"noise: {source.dtype} tokens are sent as they are")
            self.disturbance = Disturbance(self.coding.coded_shape, *self.noise)
        if target.dtype != "uint8" or not target.variable or target.shape[0] < self.coding.most:
            raise ValueError(f"port {name!r}: expected tokens uint8[<={self.coding.most}], or more")

    def fire(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
        """Code one token."""
        first, *others = outputs.values()
        first.used = self.coding.encode(inputs[self.source], first, self.disturbance)
        for other in others:
            put(other, first[: first.used])
