"""ONNX Runtime as an engine: it reads our .onnx slices, and computes into arrays that stay where they are.

Graphs are optimised as far as its level "extended". With "all" it is faster, but lays tensors out anew where it likes,
so that a model in parts rounds otherwise than the whole (docs/explanation/slicing.md).
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Callable

from eprune.runtime.fire import tflite
from eprune.runtime.kernel.errors import UsageError

#: Values of the option ``optimization`` -> what onnxruntime calls them.
LEVELS = {
    "disabled": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}
DEFAULT_LEVEL = "extended"

#: onnxruntime's names of types -> numpy's
_DTYPES = {"float": "float32", "double": "float64", "float16": "float16", "bool": "bool_"}


def load(
    model: bytes,
    threads: int,
    options: Mapping[str, str] = MappingProxyType({}),
    shapes: Mapping[int, tuple[int, ...]] = MappingProxyType({}),
    profile: str = "",
) -> Any:
    """An interpreter over the bytes of an .onnx model. See ``engines.ModelEngine.load``.

    Of the ``options``, ``optimization`` is one of ``LEVELS``, ``provider`` what executes it (CPUExecutionProvider); the
    others are entries of the session's configuration. ``profile``: it times each node, into files whose names begin so.
    """
    library = _library()
    told = dict(options)
    level = told.pop("optimization", DEFAULT_LEVEL)
    if level not in LEVELS:
        raise UsageError(f"engine onnxruntime: optimization={level}: expected {', '.join(LEVELS)}")
    provider = told.pop("provider", "CPUExecutionProvider")
    if provider not in library.get_available_providers():
        known = ", ".join(library.get_available_providers())
        raise UsageError(f"engine onnxruntime: it has no provider {provider} here; it has {known}")
    chosen = library.SessionOptions()
    chosen.graph_optimization_level = getattr(library.GraphOptimizationLevel, LEVELS[level])
    chosen.intra_op_num_threads = threads
    chosen.inter_op_num_threads = 1
    chosen.log_severity_level = 4  # what goes wrong is raised
    # Threads that spin for the next frame take the cores from other actors.
    chosen.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if profile:
        chosen.enable_profiling = True
        chosen.profile_file_prefix = profile
    try:
        for name, value in told.items():
            chosen.add_session_config_entry(name, value)
        with tflite.quiet_stderr():
            return Interpreter(library.InferenceSession(model, chosen, providers=[provider]), shapes)
    except UsageError:
        raise
    except Exception as error:  # its own kinds of errors have no common base
        raise RuntimeError(_plain(error)) from None


def describe() -> str:
    """Name and version. Raises UsageError where it is not installed."""
    _library()
    return tflite.describe("onnxruntime")


def _library() -> Any:
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        raise UsageError(f"engine onnxruntime: {error}; install it (pip install onnxruntime)") from None


def _plain(error: Exception) -> str:
    """What went wrong, on one line, without onnxruntime's number for it."""
    return f"onnxruntime: {re.sub(r'^.ONNXRuntimeError. : [0-9]+ : [A-Z_]+ : ', '', ' '.join(str(error).split()))}"


class Interpreter:
    """A session with the interface of TFLite's interpreter: inputs have the first indices, then outputs.

    Inputs and outputs are arrays of ours, bound once: nothing is copied between them and the session.
    """

    def __init__(self, session: Any, shapes: Mapping[int, tuple[int, ...]]) -> None:
        import numpy as np

        self.session = session
        ends = (*session.get_inputs(), *session.get_outputs())
        self._count = len(session.get_inputs())
        self._names = [end.name for end in ends]
        self._details = [_detail(end, index, shapes.get(index)) for index, end in enumerate(ends)]
        self._binding: Any = None
        self._arrays: list[Any] = []
        self._results: list[Any] = []
        for each in self._details[: self._count]:
            self._arrays.append(_aligned(np, each["shape"], each["dtype"]))
        self._fixed = all(each["fixed"] for each in self._details)

    def allocate_tensors(self) -> None:
        """They are there already."""

    def get_input_details(self) -> list[dict[str, Any]]:
        """As TFLite's."""
        return self._details[: self._count]

    def get_output_details(self) -> list[dict[str, Any]]:
        """As TFLite's."""
        return self._details[self._count :]

    def set_tensor(self, index: int, value: Any) -> None:
        """Copy a value into an input. Raises ValueError for another shape or dtype."""
        room = self._arrays[index]
        if room.shape != value.shape or room.dtype != value.dtype:
            name = self._names[index]
            raise ValueError(f"input {name!r} is {room.dtype}{list(room.shape)}, not {value.dtype}{list(value.shape)}")
        room[...] = value

    def tensor(self, index: int) -> Callable[[], Any]:
        """What gives the array of an input or output."""
        if index < self._count:
            room = self._arrays[index]
            return lambda: room
        return lambda: self._result(index)

    def get_tensor(self, index: int) -> Any:
        """A copy of an input or output."""
        return self._arrays[index].copy() if index < self._count else self._result(index).copy()

    def _result(self, index: int) -> Any:
        return self._results[index - self._count]

    def invoke(self) -> None:
        """Compute. Raises RuntimeError."""
        try:
            if self._fixed:
                if self._binding is None:
                    self._bind()
                self.session.run_with_iobinding(self._binding)
            else:
                given = dict(zip(self._names, self._arrays))
                self._results = self.session.run(self._names[self._count :], given)
        except Exception as error:  # its own kinds of errors have no common base
            raise RuntimeError(_plain(error)) from None

    def _bind(self) -> None:
        import numpy as np

        binding = self.session.io_binding()
        for index, array in enumerate(self._arrays):
            binding.bind_input(self._names[index], "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        self._results = [_aligned(np, each["shape"], each["dtype"]) for each in self._details[self._count :]]
        for index, array in enumerate(self._results, self._count):
            binding.bind_output(self._names[index], "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        self._binding = binding

    def end_profiling(self) -> str:
        """The file with the times of the nodes."""
        return str(self.session.end_profiling())


def _detail(end: Any, index: int, shape: Any) -> dict[str, Any]:
    import numpy as np

    dtype = dtype_of(end)
    fixed = shape is not None or all(isinstance(size, int) and size >= 0 for size in end.shape)
    fixed = fixed and dtype is not np.object_
    sizes = shape or [size if isinstance(size, int) and size >= 0 else 1 for size in end.shape]
    return {
        "index": index,
        "name": end.name,
        "shape": np.array(sizes, np.int32),
        "dtype": dtype,
        "quantization": (0.0, 0),
        "fixed": fixed,
    }


def dtype_of(end: Any) -> Any:
    """numpy's type of the elements of an input or output; object where it has none."""
    import numpy as np

    kind = end.type.partition("(")[2].rstrip(")")
    found = getattr(np, _DTYPES.get(kind, kind), None)
    return found if found is not None and end.type.startswith("tensor") else np.object_


def _aligned(numpy: Any, shape: Any, dtype: Any) -> Any:
    """An array of zeros that begins at a multiple of 64 bytes."""
    kind = numpy.dtype(dtype)
    sizes = tuple(map(int, shape))
    size = kind.itemsize
    for each in sizes:
        size *= each
    if kind.hasobject:
        return numpy.zeros(sizes, kind)
    room = numpy.zeros(size + 64, numpy.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + size].view(kind).reshape(sizes)
