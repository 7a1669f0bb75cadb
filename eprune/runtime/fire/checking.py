"""What ``--check`` puts around a behaviour: it finds outputs that are left unwritten, and views that are kept.

The behaviour works on memory of its own instead of the FIFOs' slots: inputs are copied in, outputs copied out. Outputs
are full of rubbish before each firing, a new one each time, and inputs after it. What is rubbish still has not been
written; whoever kept a view of an input sees rubbish, and is found because the view is still alive.
"""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Mapping
from typing import Any, Callable, Optional

import numpy as np

from eprune.runtime.kernel.errors import RunError
from eprune.runtime.kernel.memory import slots
from eprune.runtime.kernel.outputs import Outputs, Rooms
from eprune.runtime.kernel.variable import VariableRoom

#: Bits of rubbish that are not there by chance, together: at one place over several firings, or side by side in one.
_SURE = 44
#: The same for a whole token that has fewer.
_SURE_OF_TOKEN = 32


class Checked:
    """A behaviour's ``fire`` and ``control``, checked. Both raise RunError, besides what they raise themselves."""

    def __init__(self, actor: str, fire: Callable[..., Any], control: Callable[..., Any]) -> None:
        self._actor = actor
        self._fire = fire
        self._control = control
        self._memory: dict[tuple[str, str, int], _Memory] = {}
        #: (input or output, port) and a lent array, of which nothing may be left after the firing
        self._lent: list[tuple[str, str, weakref.ref[np.ndarray]]] = []
        self._random = np.random.default_rng()  # not of a seed that a behaviour may have, too

    def control(self, tokens: Mapping[str, Any]) -> Any:
        """``control`` on copies of the tokens. A view may be kept until ``fire`` has returned."""
        self._expect_none_left()
        lent = {port: self._copied(port, token) for port, token in tokens.items()}
        try:
            return self._control(lent)
        finally:
            lent.clear()

    def fire(self, tokens: Mapping[str, Any], rooms: Mapping[str, Any]) -> None:
        """``fire`` on copies of the tokens, and on rubbish, which is copied into the rooms if it is none any more."""
        lent = {port: self._copied(port, token) for port, token in tokens.items()}
        outputs = Outputs({port: self._rubbish(port, room) for port, room in rooms.items()})
        sizes: dict[tuple[str, int], int] = {}
        try:
            self._fire(lent, outputs)
            for port, room in outputs.items():
                for number, each in enumerate(room if isinstance(room, list) else [room]):
                    if isinstance(each, VariableRoom):
                        sizes[port, number] = each.used
        finally:
            lent.clear()
            dict.clear(outputs)
            room = each = None
        for port, room in rooms.items():
            for number, each in enumerate(room if isinstance(room, list) else [room]):
                memory = self._memory["output", port, number]
                if (port, number) in sizes:
                    each.used = sizes[port, number]
                    memory.ignore(each.used)
                self._expect_written(port, memory)
                each[...] = memory.array
        for port, token in tokens.items():
            for number, _ in enumerate(token if isinstance(token, list) else [token]):
                self._memory["input", port, number].spoil(self._random)
        self._expect_none_left()

    def _copied(self, port: str, token: Any) -> Any:
        if isinstance(token, list):
            return [self._copy(port, number, each) for number, each in enumerate(token)]
        return self._copy(port, 0, token)

    def _copy(self, port: str, number: int, token: np.ndarray) -> np.ndarray:
        memory = self._memory_for("input", port, number, token)
        memory.array[...] = token
        return self._lend("input", port, memory, memory.buffer.toreadonly())

    def _rubbish(self, port: str, room: Any) -> Any:
        if isinstance(room, list):
            return Rooms(self._spoilt(port, number, each) for number, each in enumerate(room))
        return self._spoilt(port, 0, room)

    def _spoilt(self, port: str, number: int, room: np.ndarray) -> np.ndarray:
        memory = self._memory_for("output", port, number, room)
        memory.spoil(self._random)
        lent = self._lend("output", port, memory, memory.buffer)
        return lent.view(VariableRoom) if isinstance(room, VariableRoom) else lent

    def _memory_for(self, kind: str, port: str, number: int, array: np.ndarray) -> _Memory:
        key = (kind, port, number)
        if key not in self._memory or self._memory[key].array.shape != array.shape:
            self._memory[key] = _Memory(array)
        return self._memory[key]

    def _lend(self, kind: str, port: str, memory: _Memory, buffer: memoryview) -> np.ndarray:
        # Every view of the array that is returned has this one as its base, for its own base is no array.
        base: np.ndarray = np.frombuffer(buffer, memory.array.dtype)
        self._lent.append((kind, port, weakref.ref(base)))
        return base.reshape(memory.array.shape)

    def _expect_none_left(self) -> None:
        if any(lent() is not None for _, _, lent in self._lent):
            gc.collect()  # in a cycle, not kept
        for kind, port, lent in self._lent:
            if lent() is not None:
                self._lent.clear()
                raise RunError(
                    f"actor {self._actor!r} keeps a view of its {kind} {port!r} after fire, when the memory is another "
                    f'token\'s: keep a copy, {kind}s["{port}"].copy()'
                )
        self._lent.clear()

    def _expect_written(self, port: str, memory: _Memory) -> None:
        left = memory.unwritten()
        if left is not None:
            first = ",".join(map(str, np.unravel_index(int(left.argmax()), memory.array.shape)))
            raise RunError(
                f"actor {self._actor!r} left {int(left.sum())} of {left.size} elements of its output {port!r} unwritten"
                f"{f', the first of them [{first}]' if first else ''}: fire must write every element"
            )


class _Memory:
    """Memory for one token, that a behaviour works on in the place of a slot."""

    def __init__(self, like: np.ndarray) -> None:
        self._bytes = slots(1, like.nbytes)[0, : like.nbytes]
        self.buffer = self._bytes.data
        self.array = self._bytes.view(like.dtype).reshape(like.shape)
        self._pattern = self._bytes.copy()
        self._bits = _bits(like.dtype)
        #: the elements that have been unwritten in as many firings as the evidence, in bits, says
        self._suspects: Optional[np.ndarray] = None
        self._evidence = 0

    def spoil(self, random: np.random.Generator) -> None:
        """Fill it with new rubbish: numbers that are none where there are such, else any."""
        pattern = np.frombuffer(random.bytes(self._bytes.size), np.uint8).copy()
        dtype = self.array.dtype
        if dtype.kind == "b":
            pattern |= 2  # no truth value looks so
        elif dtype.kind in "fc":
            size = dtype.itemsize if dtype.kind == "f" else dtype.itemsize // 2
            if size in _NANS:
                pattern.view(f"u{size}")[...] |= _NANS[size]
        self._pattern = pattern
        self._bytes[...] = pattern

    def ignore(self, first: int) -> None:
        """Nobody asks for elements from this one on: they count as written."""
        rest = slice(first * self.array.itemsize, None)
        self._bytes[rest] = ~self._pattern[rest]

    def unwritten(self) -> Optional[np.ndarray]:
        """Which elements (flat) have surely not been written; None if there are none."""
        size = self.array.dtype.itemsize
        same: np.ndarray = (self._bytes == self._pattern).reshape(-1, size).all(axis=1)
        # Side by side in this firing,
        edges = np.concatenate([[-1], np.flatnonzero(~same), [same.size]])
        sure = math.ceil(_SURE / self._bits)
        if same.size < sure and same.size * self._bits >= _SURE_OF_TOKEN:
            sure = same.size
        if int(np.diff(edges).max()) - 1 >= sure:
            return same
        # or here and there, but in several.
        self._suspects = same if self._suspects is None else self._suspects & same
        self._evidence += self._bits
        if not self._suspects.any():
            self._suspects, self._evidence = None, 0
        elif self._evidence >= _SURE:
            return self._suspects
        return None


#: size of a float in bytes -> the bits that make it no number, whatever the others are
_NANS = {2: 0x7E00, 4: 0x7FC00000, 8: 0x7FF8000000000000}


def _bits(dtype: np.dtype) -> int:
    """How many bits of an element are rubbish by chance."""
    if dtype.kind == "c":
        return 2 * _bits(np.dtype(f"f{dtype.itemsize // 2}"))
    if dtype.kind == "f" and dtype.itemsize in _NANS:
        return dtype.itemsize * 8 - bin(_NANS[dtype.itemsize]).count("1")
    return dtype.itemsize * 8
