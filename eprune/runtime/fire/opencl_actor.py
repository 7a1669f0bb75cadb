"""Actors in OpenCL: one firing runs a kernel once, on the device of the actor's unit.

Tokens stay in the slots of their FIFOs, or between two actors of one device on the device. A firing's slots recur, so
what its call needs is prepared once for each combination of them. A firing is over when its kernel is.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Callable, NamedTuple, Union

import numpy as np

from eprune.runtime.fire.opencl import Device, Slot, element, library, reason, set_pointer
from eprune.runtime.kernel.actor import Actor
from eprune.runtime.kernel.errors import UsageError

#: So many combinations of slots are remembered: as many as a prepared step may have (``firing.PHASES``).
MOST_CALLS = 256

#: An actor and one of its ports.
End = tuple[str, str]


def leave_on_devices(fifos: Iterable[tuple[End, End]], actors: Mapping[str, Actor]) -> None:
    """Tokens between two actors of one device stay there, if nothing else looks into these FIFOs."""
    for (source, out), (target, into) in fifos:
        ends = actors[source], actors[target]
        if isinstance(ends[0], OpenClActor) and isinstance(ends[1], OpenClActor) and ends[0].device is ends[1].device:
            ends[0].resident |= {out}
            ends[1].resident |= {into}


class Argument(NamedTuple):
    """What an argument of a kernel is, by its ``kind``.

    ``in`` and ``out``: token ``detail`` of a firing's at the port ``name``. ``mode``: the value of the control token.
    Of the parameter ``name``, ``value``: it, as a number of the dtype ``detail``; ``file``: the numbers of that dtype
    in a .npy file; ``local``: so many elements of ``detail`` bytes of a work-group's memory.
    """

    kind: str
    name: str
    detail: Union[int, str] = 0


class OpenClActor(Actor):
    """An actor that is a kernel of an OpenCL file."""

    def __init__(
        self,
        device: Device,
        kernel: str,
        build: Callable[[Device], Any],
        parameters: Mapping[str, str],
        arguments: Sequence[Argument],
        size: Sequence[Union[int, str]],
        local: Sequence[Union[int, str]] = (),
    ) -> None:
        """``build`` gives the program on a device. ``size`` and ``local`` have numbers and names of parameters."""
        self.device = device
        self._kernel_name, self._build = kernel, build
        self._parameters, self._arguments = parameters, arguments
        self._sizes = size, local
        #: the ports whose tokens stay on the device: at the other end is an actor of the same
        self.resident: frozenset[str] = frozenset()
        #: the arguments that are tokens, with their indices: inputs first
        self._ports = [
            (index, each) for kind in ("in", "out") for index, each in enumerate(arguments) if each.kind == kind
        ]
        self._modes = [index for index, each in enumerate(arguments) if each.kind == "mode"]
        self._calls: dict[Any, Callable[[], None]] = {}
        self._watched: dict[Any, list[weakref.ref[Any]]] = {}
        #: slots of FIFOs that stay on the device, which must not be forgotten with the calls
        self._kept: dict[int, Slot] = {}
        self._set: Any = None
        self._copied = self._avoided = 0
        if [each.kind for _, each in self._ports] == ["in", "out"]:
            self.fire = self._simple()  # type: ignore[assignment, method-assign]

    @property
    def figures(self) -> Mapping[str, float]:  # type: ignore[override]
        """How many tokens were copied between the memories of host and device, and how many ways needed no copy."""
        return {"transfers": self._copied, "transfers_avoided": self._avoided}

    def initialize(self) -> None:
        """Build the program, and give the kernel what stays the same. Raises UsageError where that fails."""
        cl, opened = library(), self.device.opened
        self._cl, self._queue = cl, opened.queue
        self._global, self._local = self._size(self._sizes[0]), self._size(self._sizes[1]) or None
        # A kernel does not keep what its arguments are.
        self._values = [self._value(each) for each in self._arguments]
        program = self._build(self.device)
        try:
            self._kernel = cl.Kernel(program, self._kernel_name)
            if self._kernel.num_args != len(self._arguments):
                count = f"{self._kernel.num_args} arguments, where its source shows {len(self._arguments)}"
                raise UsageError(f"actor {self.name!r}: the kernel {self._kernel_name} has {count}")
            for index, value in enumerate(self._values):
                if value is not None:
                    self._kernel.set_arg(index, value)
            for index in self._modes:
                self._kernel.set_arg(index, element("int32", "0"))
        except cl.Error as error:
            raise UsageError(f"actor {self.name!r}: kernel {self._kernel_name}: {reason(error)}") from None
        self._calls.clear()

    def _size(self, stated: Sequence[Union[int, str]]) -> tuple[int, ...]:
        sizes = []
        for each in stated:
            text = str(self._parameters.get(each, "")) if isinstance(each, str) else str(each)
            if not text.isdigit() or int(text) < 1:
                raise UsageError(f"actor {self.name!r}: work size {each}={text!r}: is not a number from 1 on")
            sizes.append(int(text))
        return tuple(sizes)

    def _value(self, argument: Argument) -> Any:
        """What an argument is in all firings; None where that differs."""
        kind, name, detail = argument
        if kind not in ("value", "file", "local"):
            return None
        what, text = f"actor {self.name!r}: {name}", self._parameters.get(name)
        if text is None:
            raise UsageError(f"{what}: the kernel {self._kernel_name} needs this parameter")
        if kind == "file":
            return self._constants(what, text, str(detail))
        value = element(str(detail) if kind == "value" else "int64", text)
        if value is None or (kind == "local" and value < 1):
            wanted = "a number of elements" if kind == "local" else detail
            raise UsageError(f"{what}={text!r}: is not {wanted}")
        return value if kind == "value" else self._cl.LocalMemory(int(value) * int(detail))

    def _constants(self, what: str, path: str, dtype: str) -> Any:
        """The numbers of a .npy file, on the device."""
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)  # which believes no size that the file has not
            if not isinstance(array, np.ndarray):
                array.close()
                raise ValueError("it is an archive")
        except (OSError, ValueError, EOFError, SyntaxError) as error:
            raise UsageError(f"{what}={path}: is not a .npy file of numbers: {error}") from None
        if array.dtype != dtype or not array.size:
            raise UsageError(
                f"{what}={path}: has {array.dtype}{list(array.shape)}, where {dtype} is wanted: save it as such"
            )
        flags = self._cl.mem_flags
        array = np.array(array, order="C")
        return self._cl.Buffer(self.device.opened.context, flags.READ_ONLY | flags.COPY_HOST_PTR, hostbuf=array)

    def fire(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
        """Run the kernel on the tokens where they are."""
        arrays = []
        for _, (kind, name, number) in self._ports:
            token = (inputs if kind == "in" else outputs).get(name)
            if isinstance(token, list):
                token = token[int(number)] if int(number) < len(token) else None
            arrays.append(token)
        key = tuple(map(id, arrays))
        try:
            (self._calls.get(key) or self._prepare(key, arrays))()
        except Exception as error:
            self._explain(error)

    def _simple(self) -> Callable[[Mapping[str, Any], Mapping[str, Any]], None]:
        """The same for one token at either side, as fast as Python is."""
        (_, (_, source, _)), (_, (_, target, _)) = self._ports
        calls, prepare, explain = self._calls, self._prepare, self._explain

        def fire(inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
            given, room = inputs.get(source), outputs.get(target)
            key = id(given), id(room)
            try:
                (calls.get(key) or prepare(key, (given, room)))()
            except Exception as error:
                explain(error)

        return fire

    def _explain(self, error: Exception) -> None:
        """Raise what a firing has raised, in words if OpenCL did."""
        if isinstance(error, self._cl.Error):
            raise RuntimeError(reason(error)) from None
        raise error

    def _prepare(self, key: Any, arrays: Sequence[Any]) -> Callable[[], None]:
        """A firing with these arrays, known by their identities as long as all of them live."""
        if len(self._calls) >= MOST_CALLS:
            self._forget_all()
        call = self._calls[key] = self._made([None if each is None else self.device.slot(each) for each in arrays])
        self._watched[key] = [weakref.ref(each, lambda _: self._forget(key)) for each in arrays if each is not None]
        return call

    def _made(self, slots: Sequence[Any]) -> Callable[[], None]:
        places = [(index, slot, each) for (index, each), slot in zip(self._ports, slots)]
        there = [(slot, each.kind == "in", each.name in self.resident) for _, slot, each in places if slot is not None]
        self._kept.update((id(slot), slot) for slot, _, resident in there if resident)
        # Of memory that is shared, nothing moves.
        ways, there = len(there), [each for each in there if each[0].moves]
        given = [slot for slot, is_input, _ in there if is_input]
        room = [slot for slot, is_input, _ in there if not is_input]
        dropped = [slot for slot, is_input, resident in there if is_input and not resident]
        taken = [slot for slot, is_input, resident in there if not (is_input or resident)]
        stays = [slot for slot, is_input, resident in there if not is_input and resident]
        buffers = [(index, None if slot is None else slot.buffer) for index, slot, _ in places]
        kernel, queue, size, local = self._kernel, self._queue, self._global, self._local
        run, backs = self._cl.enqueue_nd_range_kernel, sum(slot.copies for slot in taken)

        def call() -> None:
            copied = backs
            for slot in given:
                if not slot.on_device:
                    slot.give()
                    copied += slot.copies
            for slot in room:
                slot.lend()
            if self._set is not buffers:
                for index, buffer in buffers:
                    set_pointer(kernel, index, buffer)
                self._set = buffers
            for index in self._modes:
                kernel.set_arg(index, np.int32(self.mode))
            last = run(queue, kernel, size, local)
            for slot in taken:
                last = slot.take() or last
                slot.on_device = False
            for slot in dropped:
                last = slot.drop() or last
            for slot in stays:
                slot.on_device = True
            self._copied += copied
            self._avoided += ways - copied
            last.wait()

        return call

    def _forget(self, key: Any) -> None:
        self._set = None
        self._calls.pop(key, None)
        self._watched.pop(key, None)

    def finalize(self) -> None:
        """Give the memory back."""
        self._forget_all()
        self._kept.clear()

    def _forget_all(self) -> None:
        self._calls.clear()
        self._watched.clear()
        self._set = None
