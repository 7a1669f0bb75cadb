"""The one place that knows the TFLite interpreters, and the behaviour that runs a segment of a model.

There are two interpreters because neither exists everywhere: ``ai-edge-litert`` is faster (much faster on quantised
models) and has wheels for x86-64 and 64-bit Arm; ``tflite-runtime`` 2.14 is for 32-bit Arm boards and needs numpy 1.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Callable, Optional

from eprune.runtime.kernel.actor import Actor
from eprune.runtime.kernel.errors import UsageError

#: distribution -> module with the class Interpreter, in order of preference
INTERPRETERS = {
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
}


def choose(wanted: str = "auto") -> str:
    """The distribution to use: ``wanted``, or for 'auto' the first that is installed. Raises UsageError if none is."""
    if wanted != "auto" and wanted not in INTERPRETERS:
        raise UsageError(f"unknown interpreter {wanted!r}; known are auto, {', '.join(INTERPRETERS)}")
    candidates = list(INTERPRETERS) if wanted == "auto" else [wanted]
    for name in candidates:
        if importlib.util.find_spec(INTERPRETERS[name].partition(".")[0]) is not None:
            return name
    raise UsageError(f"no TFLite interpreter: install {' or '.join(candidates)} (pip install {candidates[0]})")


def describe(name: str) -> str:
    """Name and version, as records and handshakes give them: ``ai-edge-litert 2.3.0``."""
    try:
        return f"{name} {importlib.metadata.version(name)}"
    except importlib.metadata.PackageNotFoundError:
        return name


def load(
    name: str,
    model: bytes,
    threads: int = 1,
    delegates: bool = True,
    shapes: Mapping[int, tuple[int, ...]] = MappingProxyType({}),
) -> Any:
    """An interpreter over the bytes of a model, its tensors allocated. Belongs to the calling thread.

    Without ``delegates``, the interpreter's own kernels compute everything. ``shapes`` are those of inputs, by their
    tensors' numbers, that get another one than the file states.

    Raises UsageError where the interpreter cannot be imported (a numpy that is too new, for example), ValueError or
    RuntimeError where it does not take the model.
    """
    try:
        module = importlib.import_module(INTERPRETERS[name])
    except (ImportError, AttributeError) as error:
        raise UsageError(f"interpreter {name} cannot be imported: {error}") from None
    options = {}
    if not delegates:
        options["experimental_op_resolver_type"] = module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    with _quiet_stderr():
        interpreter = module.Interpreter(model_content=model, num_threads=threads, **options)
        for index, shape in shapes.items():
            interpreter.resize_tensor_input(index, list(shape))
        interpreter.allocate_tensors()
    return interpreter


_STDERR = threading.Lock()


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Keep the interpreter's banner ("Created TensorFlow Lite XNNPACK delegate") out of the user's terminal."""
    with _STDERR:
        sys.stderr.flush()
        saved = os.dup(2)
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(null, 2)
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            os.close(null)


class Model:
    """A slice of a model that a behaviour calls. Belongs to the thread that calls it first, which loads it."""

    def __init__(self, read: Callable[[], bytes], interpreter: str) -> None:
        self._read = read
        self._name = interpreter
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
                self._batches[most] = load(self._name, self._read(), shapes={tensor["index"]: shape})
            except RuntimeError as error:
                raise ValueError(f"the model does not take {most} tokens at once: {str(error).strip()}") from None
        interpreter = self._batches[most]
        [tensor], [result] = interpreter.get_input_details(), interpreter.get_output_details()
        room = interpreter.tensor(tensor["index"])
        for number, token in enumerate(tokens):
            room()[number] = token[0]
        interpreter.invoke()
        found = interpreter.get_tensor(result["index"])
        if len(found) != most:
            raise ValueError(f"the model makes one of {most} tokens, not one for each")
        return [found[number : number + 1] for number in range(len(tokens))]

    def _single(self) -> Any:
        if self._loaded is None:
            self._loaded = load(self._name, self._read())
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
        interpreter.invoke()
        return [interpreter.get_tensor(tensor["index"]) for tensor in interpreter.get_output_details()]


class Interpreters:
    """Interpreters that segments with the same model run on in turn, so that its weights are in memory once.

    Only for models that keep nothing from one invocation to the next.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loaded: dict[str, tuple[Any, threading.Lock]] = {}

    def load(self, name: str, model: bytes) -> tuple[Any, threading.Lock]:
        """An interpreter for the bytes of a model, and what is held while it is used; see `load`."""
        key = hashlib.sha256(model).hexdigest()
        with self._lock:
            if key not in self._loaded:
                self._loaded[key] = load(name, model), threading.Lock()
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
        interpreter: str,
        feeds: Mapping[str, int],
        fetches: Mapping[str, int],
    ) -> None:
        self._read = read
        self._name = interpreter
        self._feeds = feeds
        self._fetches = fetches

    def initialize(self) -> None:
        """Load the model and compare its tensors with the ports'. Raises ValueError where they differ."""
        data = self._read()
        interpreter, self._turn = (self.interpreters or Interpreters()).load(self._name, data)
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
        self._invoke = interpreter.invoke

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
