"""OpenCL devices: which one a unit states, what it builds, and how tokens get into its memory and back.

pyopencl is imported only where a device is used.
"""

from __future__ import annotations

import ctypes
import importlib
import re
import sys
import threading
import warnings
import weakref
from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Optional

import numpy as np

from eprune.runtime.fire.tflite import quiet_stderr
from eprune.runtime.kernel.errors import UsageError

#: What is said of the device where a unit states none: the tools that measure run actors on any.
FIRST = "0:0"
#: Includes within includes.
DEEPEST = 16

_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"\n]+)"[^\n]*', re.M)
#: Where compilers say what is wrong: clang's order, and that of pocl.
_ERROR = re.compile(r"^(?:error: )?([^:\n]+):(\d+):(?:\d+:)? (?:(?:fatal )?error: )?(.*)$", re.M)
_LOCK = threading.Lock()


#: A kernel that every compiler builds, and what to do where one does not.
_NOTHING = "__kernel void nothing(void) {}\n"
_NEWER = "a newer driver may know this processor"


class BuildError(UsageError):
    """The device's compiler refuses a program for a ``reason``, which is at ``line`` of ``file``; 0: it names none."""

    def __init__(self, file: str, reason: str, line: int = 0) -> None:
        super().__init__(f"{file}:{line}: {reason}" if line else f"{file}: {reason}")
        self.file, self.reason, self.line = file, reason, line


class _Opened(NamedTuple):
    """A device with its context and a queue, which works in the order in which it is given work."""

    device: Any
    context: Any
    queue: Any


class Device:
    """The device ``PLATFORM:DEVICE``: numbers, or parts of names. Found when it is first used.

    Of the ``options``, ``memory`` is how tokens get there: ``shared``, ``mapped`` or ``copied``, by default what the
    device can do; ``build`` are flags of its compiler with commas between them. All methods raise UsageError where
    there is no such device.
    """

    #: whether it computes beside the core, as of ``engines.ModelEngine``
    beside = True

    def __init__(self, place: str = FIRST, options: Mapping[str, str] = MappingProxyType({})) -> None:
        self.place, self.options = place, options
        #: address -> the slot there
        self._slots: weakref.WeakValueDictionary[tuple[int, int], Slot] = weakref.WeakValueDictionary()

    def describe(self) -> str:
        """What runs kernels: the device, its platform and its driver's version."""
        said = self._said()
        return f"opencl {said['device']} ({said['platform']}, driver {said['driver']})"

    def record(self) -> dict[str, Any]:
        """The same for a run record, field by field, and how tokens get there."""
        shown: dict[str, Any] = {"engine": "opencl", "version": self.opened.device.version, **self._said()}
        shown["memory"] = self.memory
        if self.options:
            shown["options"] = dict(self.options)
        return shown

    def _said(self) -> dict[str, str]:
        device = self.opened.device
        texts = {"platform": device.platform.name, "device": device.name, "driver": device.driver_version}
        return {name: _said(text) for name, text in texts.items()}

    @cached_property
    def opened(self) -> _Opened:
        """The device, ready to be used; shared by all who name it in this process."""
        with _LOCK:
            return _open(_find(self.place))

    @cached_property
    def memory(self) -> str:
        """How tokens get there.

        ``shared``: the device works on the host's memory. ``mapped``: it does so, too, but wants to be told when the
        host does. ``copied``: it has memory of its own.
        """
        cl, opened = library(), self.opened
        if "memory" in self.options:
            return self.options["memory"]
        if opened.device.type & cl.device_type.CPU and _sees_host(cl, opened):
            return "shared"
        return "mapped" if opened.device.host_unified_memory else "copied"

    def slot(self, array: Any) -> Slot:
        """The slot of an array, which stays where it is."""
        place = (array.__array_interface__["data"][0], array.nbytes)
        found = self._slots.get(place)
        if found is None:
            kind = {"shared": Slot, "mapped": MappedSlot, "copied": CopiedSlot}[self.memory]
            found = self._slots[place] = kind(self.opened, *place)
        return found

    @cached_property
    def refusal(self) -> str:
        """Why no kernel can be built for it, and what helps; "" where one can. A driver may not know its processor."""
        opened = self.opened
        with _LOCK:
            reason = _refusal(opened)
        return f"{reason}; {_NEWER}" if reason else ""

    def build(self, name: str, sources: Mapping[str, bytes]) -> Any:
        """The program of the OpenCL file ``name``; ``sources`` are it and the files that it includes.

        Raises BuildError.
        """
        opened, text = self.opened, joined(name, sources)
        with _LOCK:
            return _build(opened, name, text, self.options.get("build", ""))


class Slot:
    """Memory of the host at an address, as a device sees it: here it works on it as it is.

    ``on_device``: what counts is what the device has.
    """

    #: whether something is to be done for the other side to have it, and how many copies that is
    moves = False
    copies = 0

    def __init__(self, opened: _Opened, address: int, size: int) -> None:
        self._cl, self._queue = library(), opened.queue
        # A view that keeps nothing alive: whoever has the memory decides when it goes.
        self.host = (ctypes.c_char * size).from_address(address)
        self.size = size
        self.on_device = False
        self.buffer = self._buffer(opened.context)

    def _buffer(self, context: Any) -> Any:
        flags = self._cl.mem_flags
        return self._cl.Buffer(context, flags.READ_WRITE | flags.USE_HOST_PTR, hostbuf=self.host)

    def give(self) -> None:
        """To the device, with what is in it."""

    def lend(self) -> None:
        """To the device, which writes it."""

    def take(self) -> Any:
        """Back to the host, with what the device wrote. Returns the event that says so, if something is to be done."""

    def drop(self) -> Any:
        """Back to the host, which writes it next."""


class MappedSlot(Slot):
    """Memory that both see, and the host only while it is mapped."""

    moves = True
    _map: Any = None

    def give(self) -> None:
        """Unmap it, if the host has it: at first its contents count as they are."""
        if self._map is not None:
            self._map.base.release(self._queue)
            self._map = None

    lend = give

    def take(self) -> Any:
        """Map it to be read."""
        return self._hold(self._cl.map_flags.READ)

    def drop(self) -> Any:
        """Map it to be written, whatever is in it."""
        return self._hold(self._cl.map_flags.WRITE_INVALIDATE_REGION)

    def _hold(self, how: Any) -> Any:
        place = (0, (self.size,), np.uint8)
        self._map, event = self._cl.enqueue_map_buffer(self._queue, self.buffer, how, *place, is_blocking=False)
        return event

    def __del__(self) -> None:
        if self._map is not None:
            self.give()
            self._queue.finish()


class CopiedSlot(Slot):
    """Memory of the device's own."""

    moves = True
    copies = 1

    def _buffer(self, context: Any) -> Any:
        return self._cl.Buffer(context, self._cl.mem_flags.READ_WRITE, self.size)

    def give(self) -> None:
        """Copy it there."""
        self._cl.enqueue_copy(self._queue, self.buffer, self.host, is_blocking=False)

    def take(self) -> Any:
        """Copy it back."""
        return self._cl.enqueue_copy(self._queue, self.host, self.buffer, is_blocking=False)


def library() -> Any:
    """pyopencl. Raises UsageError where it is not installed."""
    known = sys.modules.get("pyopencl")
    if known is not None:
        return known
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what its own cache, which is not used, would be faster with
            return importlib.import_module("pyopencl")
    except ImportError as error:
        raise UsageError(f"OpenCL: {error}; install it (pip install 'eprune[opencl]')") from None


def devices() -> list[tuple[str, str]]:
    """All devices of this machine: ``PLATFORM:DEVICE`` in numbers, and what `Device.describe` says of it."""
    places = [
        f"{first}:{second}"
        for first, platform in enumerate(_platforms())
        for second, _ in enumerate(_devices_of(platform))
    ]
    return [(place, Device(place).describe()) for place in places]


def set_pointer(kernel: Any, index: int, buffer: Any) -> None:
    """Set an argument that is a pointer; None: it is NULL."""
    try:
        kernel.set_arg(index, buffer)
    except TypeError:  # pyopencl 2025.1, the last one for Python 3.9, refuses None there
        kernel._set_arg_null(index)


def reason(error: Exception) -> str:
    """What OpenCL says is wrong: ``clEnqueueNDRangeKernel failed: INVALID_WORK_GROUP_SIZE``."""
    return f"OpenCL: {(str(error).strip().splitlines() or [type(error).__name__])[0]}"


def joined(name: str, sources: Mapping[str, bytes]) -> str:
    """One text of a file and of what it includes, whose lines are known by the names and numbers that they had.

    Raises BuildError for a file that includes itself.
    """

    def text(file: str, depth: int) -> str:
        if depth > DEEPEST:
            raise BuildError(name, f"{file} includes itself")
        found = sources[file].decode("utf-8", "replace")
        line, place, parts = 1, 0, [f'#line 1 "{file}"\n']
        for include in _INCLUDE.finditer(found):
            if include[1] not in sources:
                continue  # in a comment; or the compiler says so
            line += found.count("\n", place, include.end())
            parts += [found[place : include.start()], text(include[1], depth + 1), f'\n#line {line + 1} "{file}"']
            place = include.end()
        return "".join([*parts, found[place:]])

    return text(name, 0)


def _platforms() -> list[Any]:
    cl = library()
    try:
        with quiet_stderr():
            return list(cl.get_platforms())
    except cl.Error:
        return []


def _devices_of(platform: Any) -> list[Any]:
    cl = library()
    try:
        with quiet_stderr():
            return list(platform.get_devices())
    except cl.Error:
        return []


def _find(place: str) -> Any:
    first, _, second = place.partition(":")
    platforms = _platforms()
    if not platforms:
        remedy = "install the driver of the device; pip install pocl-binary-distribution has one for processors"
        raise UsageError(f"OpenCL {place}: this machine has no OpenCL platform: {remedy}")
    platform = _chosen(place, "platform", first, platforms)
    return _chosen(place, "device", second, _devices_of(platform), f" of {platform.name.strip()}")


def _chosen(place: str, what: str, wanted: str, things: Sequence[Any], whose: str = "") -> Any:
    """The thing of that number, or the only one whose name has that part."""
    if wanted.isdigit():
        found = [thing for number, thing in enumerate(things) if number == int(wanted)]
    else:
        found = [thing for thing in things if wanted.lower() in thing.name.lower()]
    if len(found) == 1:
        return found[0]
    there = ", ".join(f"{number} ({thing.name.strip()})" for number, thing in enumerate(things)) or "none"
    which = f"several {what}s are called {wanted!r}" if found else f"there is no {what} {wanted!r}"
    raise UsageError(f"OpenCL {place}: {which}; those{whose} are: {there}")


@cache
def _open(device: Any) -> _Opened:
    cl = library()
    try:
        context = cl.Context([device])
        return _Opened(device, context, cl.CommandQueue(context, device))
    except cl.Error as error:
        raise UsageError(f"{device.name.strip()}: {reason(error)}") from None


@cache
def _build(opened: _Opened, name: str, text: str, flags: str) -> Any:
    cl = library()
    try:
        with quiet_stderr(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the compiler has said something
            return cl.Program(opened.context, text).build([*filter(None, flags.split(","))], cache_dir=False)
    except cl.Error as error:
        refused = _refused(name, str(error))
    if not refused.line and text != _NOTHING:
        reason = _refusal(opened)
        if reason:
            raise UsageError(f"OpenCL device {_said(opened.device.name)} builds no kernel at all: {reason}; {_NEWER}")
    raise refused


def _said(text: str) -> str:
    return " ".join(text.replace("\0", "").split())


def _refusal(opened: _Opened) -> str:
    """What the compiler says against any kernel; "" where it builds one."""
    try:
        _build(opened, "", _NOTHING, "")
    except BuildError as error:
        return error.reason.partition("error: ")[2] or error.reason
    return ""


def _refused(name: str, text: str) -> BuildError:
    """What the compiler says first, and the line that it is about."""
    for found in _ERROR.finditer(text):
        if Path(found[1]).suffix and "warning" not in found[0]:
            return BuildError(found[1].strip(), found[3], int(found[2]))
    lines = [line for line in text.strip().splitlines() if "error" in line.lower()] or text.strip().splitlines()
    return BuildError(name, lines[0].strip() if lines else "the compiler fails")


def _sees_host(cl: Any, opened: _Opened) -> bool:
    """Whether a device works on the very memory of the host, each seeing what the other wrote: that is tried.

    The memory begins and ends where caches do not care for: drivers may make a copy of such.
    """
    size, flags = 66, cl.mem_flags
    memory = ctypes.create_string_buffer(4 * size)
    there = (ctypes.c_char * size).from_buffer(memory, -ctypes.addressof(memory) % 64 + 16)
    buffer = cl.Buffer(opened.context, flags.READ_WRITE | flags.USE_HOST_PTR, hostbuf=there)
    other = cl.Buffer(opened.context, flags.READ_WRITE, size)
    back = ctypes.create_string_buffer(size)
    cl.enqueue_fill_buffer(opened.queue, buffer, b"\1\1", 0, size)
    opened.queue.finish()
    seen = bytes(there) == b"\1" * size
    ctypes.memset(there, 2, size)
    cl.enqueue_copy(opened.queue, other, buffer)
    cl.enqueue_copy(opened.queue, back, other)
    return seen and bytes(back) == b"\2" * size


def element(dtype: str, text: str) -> Optional[Any]:
    """A parameter's text as a number of a dtype; None if it is none."""
    try:
        value = float(text) if dtype.startswith("float") else int(text)
        return np.dtype(dtype).type(value)
    except (ValueError, OverflowError):
        return None
