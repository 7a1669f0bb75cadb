"""The behaviour of an actor: what users write, one class per actor."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Callable, NamedTuple, Optional, Union


class EndOfStream(Exception):
    """Raised by ``fire`` or ``control``: the actor produces and consumes no more tokens.

    A source raises it after its last token; a sink may raise it when it needs no more. The firing does not count. The
    actor's FIFOs end; tokens that are still in them are processed, and the actors around it end in turn.
    """


class PortType(NamedTuple):
    """What passes through a port: numpy dtype name, token shape, and the upper rate limit in tokens per firing.

    Where tokens are of ``variable`` size, the shape is that of the largest.
    """

    dtype: str
    shape: tuple[int, ...]
    rate: int

    @property
    def variable(self) -> bool:
        """Whether tokens vary in size."""
        return False


class VariablePortType(PortType):
    """The same of tokens that do."""

    __slots__ = ()

    @property
    def variable(self) -> bool:
        """They do."""
        return True


def _unknown(platform: str) -> Optional[float]:
    """Nothing is known of the way to a platform."""
    return None


class Actor:
    """Base class of behaviours.

    The constructor gets the parameters of the application graph as text. ``name``, ``inputs`` and ``outputs`` (port
    name -> PortType, without control ports) are set before ``initialize``, and so is ``model``
    (``runtime.fire.segment.Model``) if the graph names a slice beside the class. All methods run in the actor's own
    thread. In a dynamic processing graph, ``mode`` is the value of the firing's control token.
    """

    name: str = ""
    inputs: Mapping[str, PortType] = {}
    outputs: Mapping[str, PortType] = {}
    model: Any = None
    mode: int = 0
    #: of an actor without inputs: how often it fires at most in this run; None where that is not known
    most_firings: Optional[int] = None
    #: the ports whose other end is alive; empty in an application whose FIFOs cannot lose tokens
    alive: frozenset[str] = frozenset()
    #: where it is set, `fire` calls it once it needs its inputs no more, if that is long before its end: their room is
    #: given back then. ``copies_inputs`` says that it does.
    taken: Optional[Callable[[], None]] = None
    copies_inputs: bool = False
    #: whether its methods wait for the world: a camera, a socket, a clock, standard input. Such an actor has a thread
    #: of its own, and is stalled only by a limit of its own (``stall-after`` in the graph).
    waits: bool = False
    #: whether output ports that name one tensor all get the same, however many there are: then only one of them is sent
    #: to another platform, and the others may be missing.
    copies: bool = False
    #: whether it keeps its state from one stream to the next of a service (``--serve``): it is initialized once, before
    #: the first, and finalized once, after the last. Each stream has a thread of its own.
    keeps_state: bool = False
    #: of a source that waits in ``fire``: when what it waited for was there, by ``time.perf_counter_ns``; see ``came``
    came_ns: int = 0
    #: the attributes that make up its state: numbers, texts, arrays of these. Where a program is updated while it runs
    #: (``eprune deploy --live``), the actor of the next generation goes on from them; without any it begins anew.
    STATE: Sequence[str] = ()
    #: whether it reads standard input: True, or the name of the parameter that is ``-`` where it does
    stdin: Union[bool, str] = False
    #: where ``note`` says it: the runtime gives each actor the journal of its run
    tell: Optional[Callable[[str], None]] = None
    #: how many seconds heartbeats take to a platform and back; None where nothing is known. The runtime sets it.
    round_trip: Callable[[str], Optional[float]] = staticmethod(_unknown)
    #: input port -> the value that represents 0 in a quantised model, for tokens that the policy ``zero`` makes up
    zeros: Mapping[str, int] = {}

    #: what it counts or measures: name -> number. They are in the status and in the record of the run; an actor that
    #: has news sets a new mapping.
    figures: Mapping[str, float] = {}

    def note(self, text: str) -> None:
        """Say what the run would otherwise not show: what was left out, assumed or cut short. Each thing once.

        It goes to stderr and, as an event ``note``, into the record of the run.
        """
        if self.tell is not None:
            self.tell(text)
        else:
            print(f"{self.name}: {text}", file=sys.stderr, flush=True)

    def came(self) -> None:
        """Say that what ``fire`` has waited for is there: a frame, a message, a moment.

        Of an actor without inputs, the firing counts from here on: the age of its tokens, and the time that it takes.
        """
        self.came_ns = time.perf_counter_ns()

    def state(self) -> Mapping[str, Any]:
        """What the actor of the next generation goes on from: numbers, texts, arrays of these. By default, STATE.

        Called after the last firing, before ``finalize``.
        """
        return {name: getattr(self, name) for name in self.STATE}

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on from the ``state`` of the generation before: called before ``initialize``, where there is some."""
        for name in self.STATE:
            if name in state:
                setattr(self, name, state[name])

    def initialize(self) -> None:
        """Called once before the first firing: open files, allocate memory."""

    def control(self, inputs: Mapping[str, Any]) -> int:
        """Choose the row of the control table for this firing; returns its control value.

        Called at the control source of a DPG only, before the active rates are known, with the firing's input tokens.
        ``fire`` follows if the actor has active data outputs. Raises EndOfStream to end.
        """
        raise NotImplementedError

    def fire(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
        """Consume one firing's input tokens and produce its output tokens.

        Both map port names to numpy arrays of the token's shape and dtype: views of FIFO slots, valid until ``fire``
        returns. Inputs are read-only; every element of the outputs must be written. A token of variable size has as
        many elements as it has; room for one has the most, and ``outputs[port].used = n`` says how many are the token
        (all, if nobody says so). A port whose upper rate limit is
        above 1 has a list of such arrays, one per token. A port whose active rate is 0 is missing, and so is an input
        that is dead under the fault policy ``drop``. Raises EndOfStream to end.
        """
        raise NotImplementedError

    def interrupt(self) -> None:
        """Called from another thread, if the actor ``waits``, where the run is stopped.

        Nobody needs what another method waits for: that should return, or raise EndOfStream.
        """

    def finalize(self) -> None:
        """Called once after the last firing, also after a failure: close files, print totals."""
