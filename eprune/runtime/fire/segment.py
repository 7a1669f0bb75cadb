"""The behaviour that runs a segment of a model, and the slice that other behaviours call."""

from __future__ import annotations

import functools
import hashlib
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Callable, Optional

from eprune.runtime.fire.engines import ModelEngine
from eprune.runtime.kernel.actor import Actor


class Model:
    """A slice of a model that a behaviour calls. Belongs to the thread that calls it first, which loads it."""

    def __init__(self, read: Callable[[], bytes], engine: ModelEngine) -> None:
        self._read = read
        self._engine = engine
        self._loaded: Any = None
        #: how many tokens it takes at once -> the same for so many
        self._batches: dict[int, Any] = {}

    def batch(self, tokens: Sequence[Any], most: int) -> list[Any]:
        """The output for each of up to ``most`` tokens of a model with one input and one output, by one invocation.

        The tokens' first dimension is 1, and takes all of them; where there are fewer than ``most``, it computes on
        what is left over in vain. Raises ValueError where the model does not take that.
        """
        if most not in self._batches:
            [tensor] = self._single().get_input_details()
            shape = (most, *tuple(tensor["shape"])[1:])
            try:
                self._batches[most] = self._engine.load(self._read(), {tensor["index"]: shape})
            except RuntimeError as error:
                raise ValueError(f"the model does not take {most} tokens at once: {str(error).strip()}") from None
        interpreter = self._batches[most]
        [tensor], [result] = interpreter.get_input_details(), interpreter.get_output_details()
        room = interpreter.tensor(tensor["index"])
        for number, token in enumerate(tokens):
            room()[number] = token[0]
        self._engine.invoker(interpreter)()
        found = interpreter.get_tensor(result["index"])
        if len(found) != most:
            raise ValueError(f"the model makes one of {most} tokens, not one for each")
        return [found[number : number + 1] for number in range(len(tokens))]

    def _single(self) -> Any:
        if self._loaded is None:
            self._loaded = self._engine.load(self._read())
        return self._loaded

    def __call__(self, *inputs: Any) -> list[Any]:
        """The slice's outputs, as new arrays, for the arrays of its inputs, both in order.

        Raises ValueError for other inputs than its own.
        """
        interpreter = self._single()
        wanted = interpreter.get_input_details()
        if len(inputs) != len(wanted):
            raise ValueError(f"the model has {len(wanted)} inputs, {len(inputs)} were given")
        for tensor, value in zip(wanted, inputs):
            interpreter.set_tensor(tensor["index"], value)
        self._engine.invoker(interpreter)()
        return [interpreter.get_tensor(tensor["index"]) for tensor in interpreter.get_output_details()]


class Interpreters:
    """Interpreters that segments with the same model run on in turn, so that its weights are in memory once.

    Only for models that keep nothing from one invocation to the next.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loaded: dict[str, tuple[Any, threading.Lock]] = {}

    def load(self, engine: ModelEngine, model: bytes) -> tuple[Any, threading.Lock]:
        """An interpreter for the bytes of a model, and what is held while it is used; see ``ModelEngine.load``."""
        key = hashlib.sha256(model).hexdigest()
        with self._lock:
            if key not in self._loaded:
                self._loaded[key] = engine.load(model), threading.Lock()
            return self._loaded[key]


class SegmentActor(Actor):
    """A run of a model's operators: one or more slices, one interpreter.

    ``feeds`` and ``fetches`` map port names to positions among the sliced model's inputs and outputs.
    """

    copies_inputs = True
    #: the interpreters that it shares with others, if it does
    interpreters: Optional[Interpreters] = None

    def __init__(
        self,
        read: Callable[[], bytes],
        engine: ModelEngine,
        feeds: Mapping[str, int],
        fetches: Mapping[str, int],
    ) -> None:
        self._read = read
        self._engine = engine
        self._feeds = feeds
        self._fetches = fetches

    def initialize(self) -> None:
        """Load the model and compare its tensors with the ports'. Raises ValueError where they differ."""
        data = self._read()
        interpreter, self._turn = (self.interpreters or Interpreters()).load(self._engine, data)
        details = (interpreter.get_input_details(), interpreter.get_output_details())
        for ports, positions, tensors in (
            (self.inputs, self._feeds, details[0]),
            (self.outputs, self._fetches, details[1]),
        ):
            for port, position in positions.items():
                if position >= len(tensors):
                    raise ValueError(f"port {port!r}: the model has no tensor number {position}")
                tensor, wanted = tensors[position], ports[port]
                if tuple(tensor["shape"]) != wanted.shape or tensor["dtype"].__name__.strip("_") != wanted.dtype:
                    raise ValueError(
                        f"port {port!r} is {wanted.dtype}{list(wanted.shape)}, "
                        f"the model's tensor {tensor['dtype'].__name__}{list(tensor['shape'])}"
                    )
        # tensor(i) gives a function that makes a view. No view may be alive during invoke: views are made and
        # dropped in each firing.
        self._in = {port: _writer(interpreter, details[0][n]) for port, n in self._feeds.items()}
        self._out = {port: interpreter.tensor(details[1][n]["index"]) for port, n in self._fetches.items()}
        self.zeros = {port: details[0][n]["quantization"][1] for port, n in self._feeds.items()}
        self._invoke = self._engine.invoker(interpreter)

    def fire(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
        """Copy the inputs in, invoke, copy the active outputs out."""
        with self._turn:
            for port, token in inputs.items():
                self._in[port](token)
            if self.taken is not None:
                self.taken()
            self._invoke()
            for port, room in outputs.items():
                room[...] = self._out[port]()


def _writer(interpreter: Any, tensor: Mapping[str, Any]) -> Callable[[Any], None]:
    """What copies a token into an input."""
    index = tensor["index"]
    if not len(tensor["shape"]):  # a view of a scalar is a copy of it
        return functools.partial(interpreter.set_tensor, index)
    view = interpreter.tensor(index)

    def write(token: Any) -> None:
        view()[...] = token

    return write
