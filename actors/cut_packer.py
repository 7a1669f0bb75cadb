"""A cut of which the block is decided at run time, as one token."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
from checks import whole_number
from cut_token import block_number, expect_cut, is_numbered, opened, packed

from eprune.runtime import Actor

#: Inputs that are no tensors to pack.
BESIDE = ("padding", "passed", "deeper")
NOTHING = np.zeros(0, np.uint8)


class CutPacker(Actor):
    """Copies the active input to its output, with the number of the block that is next: a DPA, or an exit DA.

    Inputs are named ``block0``, ``block1``, ...: the tensor that this block takes, or what a ``Compressor`` has made of
    it; or ``exit1``, ...: the answer of that exit. Any other input of the output's type is a cut that is handed on. The
    output is uint8[<=n] for the largest of them: the number, and then the tensor's bytes (``cut_token``). The input
    ``padding``, int32[1], if there is one, says how many bytes more are to be sent. The output ``sent``, float64[3], if
    there is one, says when that was (time.perf_counter), the number, and the token's bytes. The output ``last``,
    uint8[<=n], if there is one, is the answer of the last exit that the frame has passed, packed likewise behind the
    number of that exit (0, without an answer: it has passed none): what the input ``deeper`` says, if that is active,
    or else the answer in ``passed``.

    Parameters:
        exit: the number of the exit whose answer is in ``passed``.
    """

    def __init__(self, exit: str = "0") -> None:  # noqa: A002  (the parameter's name)
        self.exit = whole_number("exit", exit)

    def initialize(self) -> None:
        """Check the ports. Raises ValueError if they do not fit."""
        outputs = {name: port for name, port in self.outputs.items() if name not in ("sent", "last")}
        if len(outputs) != 1:
            raise ValueError("needs exactly one output port")
        [(self.out, port)] = outputs.items()
        cuts = [name for name, each in self.inputs.items() if each == port and not is_numbered(name)]
        tensors = {name: each for name, each in self.inputs.items() if name not in (*cuts, *BESIDE)}
        self.numbers = {name: block_number(name) for name in tensors}
        expect_cut(port, tensors, self.out)
        if "last" in self.outputs:
            expect_cut(
                self.outputs["last"], {name: self.inputs[name] for name in self.inputs if name == "passed"}, "last"
            )

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Pack the tensor. Raises ValueError if several inputs are active."""
        active = [name for name in inputs if name not in BESIDE]
        if len(active) != 1:
            raise ValueError(f"inputs {', '.join(sorted(active))} are active at once")
        [port] = active
        number, tensor = (self.numbers[port], inputs[port]) if port in self.numbers else opened(inputs[port])
        out = outputs[self.out]
        out.used = packed(out, number, tensor, int(inputs["padding"][0]) if "padding" in inputs else 0)
        if "sent" in outputs:
            outputs["sent"][...] = time.perf_counter(), number, out.used
        if "last" in outputs:
            last = outputs["last"]
            passed = opened(inputs["deeper"]) if "deeper" in inputs else (self.exit, inputs.get("passed", NOTHING))
            last.used = packed(last, *passed, 0)
