"""What a generation of a program says to the next one, and leaves to it: states of actors, tokens of FIFOs."""

from __future__ import annotations

import contextlib
import io
import json
import socket
import threading
from collections.abc import Mapping
from typing import Any, Optional

import numpy as np

from eprune.runtime.fire.firing import RunningActor
from eprune.runtime.kernel.actor import Actor
from eprune.runtime.main.assembly import Assembly
from eprune.runtime.main.declared import owner

#: Bytes that an actor may leave at most.
STATE_BYTES = 256 << 20


def has_state(actor: RunningActor) -> bool:
    """Whether an actor has something to hand over."""
    behaviour = actor.behaviour
    return bool(behaviour.STATE) or type(behaviour).state is not Actor.state


def delayed(assembly: Assembly) -> dict[str, str]:
    """FIFO with a delay -> the actor here that reads it."""
    return {fifo.name: owner(fifo.target) for fifo in assembly.declared.fifos if fifo.delay and fifo.target}


def pack(state: Mapping[str, Any]) -> bytes:
    """A state as the bytes of an .npz file. Raises ValueError for what is no number, text or array of these."""
    file = io.BytesIO()
    values = {str(number): _plain(name, value) for number, (name, value) in enumerate(state.items())}
    np.savez(file, names=np.array(list(state), str), **values)
    return file.getvalue()


def _plain(name: str, value: Any) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.hasobject:
        raise ValueError(f"its state {name!r} is not made of numbers or text: {type(value).__name__}")
    return array


def unpack(data: bytes) -> dict[str, Any]:
    """The state that was packed; single numbers and texts are Python's."""
    if not data:
        return {}
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        found = {name: file[str(number)] for number, name in enumerate(file["names"].tolist())}
    return {name: array if array.ndim else array.item() for name, array in found.items()}


class Channel:
    """One end of what two generations say to each other: lines of JSON, and ``bytes`` of data behind them."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._file = end.makefile("rb")
        self._lock = threading.Lock()

    def send(self, message: Mapping[str, Any], data: bytes = b"") -> None:
        """Say something, if the other side is there."""
        line = json.dumps({**message, "bytes": len(data)}).encode() + b"\n"
        with self._lock, contextlib.suppress(OSError):
            self._end.sendall(line + data)

    def receive(self) -> Optional[tuple[dict[str, Any], bytes]]:
        """What the other side says next; None: it has gone."""
        with contextlib.suppress(OSError, ValueError):
            line = self._file.readline()
            if line.endswith(b"\n"):
                message: dict[str, Any] = json.loads(line)
                size = message["bytes"]
                data = self._file.read(size) if 0 <= size <= STATE_BYTES else b""
                if len(data) == size:
                    return message, data
        return None

    def close(self) -> None:
        """The other side is told that this one has gone."""
        with contextlib.suppress(OSError):
            self._end.shutdown(socket.SHUT_RDWR)
        self._end.close()
