"""The behaviour of an actor: what users write, one class an actor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class EndOfStream(Exception):
    """Raised by ``fire``: this actor has nothing more to give, or wants nothing more.

    A source raises it after its last token; a sink may raise it when it wants no more. The firing does not count; the
    actor's FIFOs end, what is still in them downstream is processed, and the actors around it end in turn.
    """


class PortType(NamedTuple):
    """What passes through a port: numpy dtype name, token shape, and the upper rate limit in tokens per firing."""

    dtype: str
    shape: tuple[int, ...]
    rate: int


class Actor:
    """Base class of behaviours.

    Parameters of the application graph arrive at the constructor as text. ``name``, ``inputs`` and ``outputs`` (port
    name to PortType; control ports are not among them) are set before ``initialize``, and ``model``
    (runtime.tflite.Model) where the graph names a slice beside the class. All methods run in the actor's own thread.
    In a dynamic processing graph ``mode`` is the value of the firing's control token.
    """

    name: str = ""
    inputs: Mapping[str, PortType] = {}
    outputs: Mapping[str, PortType] = {}
    model: Any = None
    mode: int = 0
    #: the ports whose other end is alive; empty in an application whose FIFOs lose no tokens
    alive: frozenset[str] = frozenset()
    #: the value that stands for 0 at input ports of quantised models, for tokens that a fault policy makes up
    zeros: Mapping[str, int] = {}

    def initialize(self) -> None:
        """Called once before the first firing: open files, allocate memory."""

    def control(self, inputs: Mapping[str, Any]) -> int:
        """Choose the firing's row of the control table: its value. Only a DPG's control source is asked.

        Called before the active rates are known, with the firing's input tokens; ``fire`` follows, where the actor has
        active data outputs. Raise EndOfStream to end.
        """
        raise NotImplementedError

    def fire(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
        """Consume one firing's input tokens and produce its output tokens.

        Both map port names to numpy arrays of the token's shape and dtype: views of FIFO slots, valid until ``fire``
        returns. Inputs are read-only; write into the outputs, every element. A port whose upper rate limit is above 1
        has a list of such arrays, one a token. A port whose active rate is 0 is missing, and so is an input that is
        dead under the fault policy ``drop``. Raise EndOfStream to end.
        """
        raise NotImplementedError

    def finalize(self) -> None:
        """Called once after the last firing, also after a failure: close files, print totals."""
