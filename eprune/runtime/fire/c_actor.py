"""Actors in C, whose functions are in a shared library: called by ctypes (``c_build`` makes the library).

Tokens stay in the slots of their FIFOs. A firing's slots recur, so what its call needs is prepared once for each
combination of them. While C runs, Python runs, too: ctypes gives the lock back.
"""

from __future__ import annotations

import ctypes
import functools
import math
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, Callable

import numpy as np

from eprune.runtime.kernel.actor import Actor, EndOfStream, PortType
from eprune.runtime.kernel.errors import UsageError

#: What a fire function returns.
OK, END = 0, 1
#: Room for the reason of a failure.
ERROR_BYTES = 1024
#: So many combinations of slots are remembered: as many as a prepared step may have (``firing.PHASES``).
MOST_CALLS = 256


class _Port(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("dtype", ctypes.c_char_p),
        ("bytes", ctypes.c_size_t),
        ("dimensions", ctypes.c_int),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("lower", ctypes.c_int),
        ("upper", ctypes.c_int),
        ("first", ctypes.c_int),
    )


class _Parameter(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("value", ctypes.c_char_p))


class _Context(ctypes.Structure):
    _fields_ = (
        ("version", ctypes.c_uint32),
        ("actor", ctypes.c_char_p),
        ("inputs", ctypes.c_int),
        ("outputs", ctypes.c_int),
        ("parameters", ctypes.c_int),
        ("input", ctypes.POINTER(_Port)),
        ("output", ctypes.POINTER(_Port)),
        ("parameter", ctypes.POINTER(_Parameter)),
        ("mode", ctypes.POINTER(ctypes.c_int32)),
    )


class CActor(Actor):
    """An actor whose functions are in a shared library."""

    def __init__(
        self,
        library: str,
        name: str,
        parameters: Mapping[str, str],
        ports: tuple[Sequence[str], Sequence[str]],
        rates: Mapping[str, tuple[int, int]],
        waits: bool = False,
    ) -> None:
        """``library`` is its path. ``ports`` are inputs and outputs in the order of the graph; ``rates`` has the limits
        of those that have not 1.
        """
        self._library = library
        self._function = name
        self._parameters = parameters
        self._ports = ports
        self._rates = rates
        self._calls: dict[Any, Callable[[], int]] = {}
        self._watched: dict[Any, list[weakref.ref[Any]]] = {}
        if all(upper == 1 for _, upper in rates.values()):
            self.fire = self._simple()  # type: ignore[assignment, method-assign]
        self._mode = ctypes.c_int32(0)
        self._made: Any = None
        self.waits = waits

    @property
    def mode(self) -> int:
        """The control value of the firing, which C sees, too."""
        return self._mode.value

    @mode.setter
    def mode(self, value: int) -> None:
        self._mode.value = value

    def initialize(self) -> None:
        """Load the library, and call its ``new``. Raises UsageError where that fails."""
        try:
            library = ctypes.CDLL(self._library)
        except OSError as error:
            raise UsageError(f"{self._library}: {error}") from None
        new, fire, self._free = (self._find(library, each) for each in ("new", "fire", "free"))
        new.restype = ctypes.c_void_p
        self._error = ctypes.create_string_buffer(ERROR_BYTES)
        self._context = self._describe()
        made = new(ctypes.byref(self._context), self._error, ctypes.c_size_t(ERROR_BYTES))
        if not made:
            raise UsageError(f"actor {self.name!r}: {self._reason('it gives no reason')}")
        self._made = ctypes.c_void_p(made)
        self._call = fire
        self._calls.clear()

    def _find(self, library: Any, which: str) -> Any:
        try:
            return getattr(library, f"{self._function}_{which}")
        except AttributeError:
            raise UsageError(f"{self._library}: it has no function {self._function}_{which}") from None

    def _describe(self) -> _Context:
        context = _Context(version=1, actor=self.name.encode())
        self._widths = []
        for side, names, types in (("input", self._ports[0], self.inputs), ("output", self._ports[1], self.outputs)):
            made, first = (_Port * max(len(names), 1))(), 0
            for port, name in zip(made, names):
                first = self._fill(port, name, types[name], first)
            setattr(context, side, made)
            setattr(context, f"{side}s", len(names))
            self._widths.append([types[name].rate for name in names])
        given = (_Parameter * max(len(self._parameters), 1))()
        for parameter, (name, value) in zip(given, self._parameters.items()):
            parameter.name, parameter.value = name.encode(), value.encode()
        context.parameter, context.parameters = given, len(self._parameters)
        context.mode = ctypes.pointer(self._mode)
        return context

    def _fill(self, port: _Port, name: str, kind: PortType, first: int) -> int:
        shape = (ctypes.c_int64 * max(len(kind.shape), 1))(*kind.shape)
        port.name, port.dtype, port.dimensions, port.shape = name.encode(), kind.dtype.encode(), len(kind.shape), shape
        port.bytes = np.dtype(kind.dtype).itemsize * math.prod(kind.shape)
        (port.lower, port.upper), port.first = self._rates.get(name, (1, 1)), first
        return first + kind.rate

    def _reason(self, otherwise: str) -> str:
        text = self._error.value.decode("utf-8", "replace")
        self._error[0] = b"\0"
        return " ".join(text.split()) or otherwise

    def fire(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
        """Call ``fire`` on the tokens where they are."""
        arrays: list[Any] = []
        for names, widths, side in zip(self._ports, self._widths, (inputs, outputs)):
            for name, width in zip(names, widths):
                arrays += _listed(side.get(name), width)
        key = tuple(map(id, arrays))
        self._judge((self._calls.get(key) or self._prepare(key, arrays))())

    def _simple(self) -> Callable[[Mapping[str, Any], Mapping[str, Any]], None]:
        """The same for one token at each port, as fast as Python is."""
        sources, targets = self._ports
        calls, prepare, judge = self._calls, self._prepare, self._judge

        def fire(inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
            arrays = [*map(inputs.get, sources), *map(outputs.get, targets)]
            key = tuple(map(id, arrays))
            try:
                code = calls[key]()
            except KeyError:
                code = prepare(key, arrays)()
            if code:
                judge(code)

        def fire_one(inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
            given, room = inputs.get(source), outputs.get(target)
            try:
                code = calls[id(given), id(room)]()
            except KeyError:
                code = prepare((id(given), id(room)), (given, room))()
            if code:
                judge(code)

        if len(sources) != 1 or len(targets) != 1:
            return fire
        (source,), (target,) = self._ports
        return fire_one

    def _prepare(self, key: Any, arrays: Sequence[Any]) -> Callable[[], int]:
        """A call with the addresses of these arrays, known by their identities as long as all of them live."""
        if len(self._calls) >= MOST_CALLS:
            self._calls.clear()
            self._watched.clear()
        count = sum(self._widths[0])
        places = [None if array is None else array.__array_interface__["data"][0] for array in arrays]
        given = (ctypes.c_void_p * max(count, 1))(*places[:count])
        made = (ctypes.c_void_p * max(len(places) - count, 1))(*places[count:])
        call = self._calls[key] = functools.partial(self._call, self._made, given, made)
        self._watched[key] = [weakref.ref(each, lambda _: self._forget(key)) for each in arrays if each is not None]
        return call

    def _forget(self, key: Any) -> None:
        self._calls.pop(key, None)
        self._watched.pop(key, None)

    def _judge(self, code: int) -> None:
        if code == END:
            raise EndOfStream
        if code != OK:
            raise RuntimeError(self._reason(f"{self._function}_fire returned {code}"))

    def finalize(self) -> None:
        """Call ``free``, if there is something to free."""
        if self._made is not None:
            self._free(self._made)
            self._made = None


def _listed(tokens: Any, count: int) -> list[Any]:
    """As many tokens as a port may have; None for each that is not there."""
    if count == 1:
        return [tokens]
    found = list(tokens or ())
    return found + [None] * (count - len(found))
