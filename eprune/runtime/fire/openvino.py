"""OpenVINO as an engine: it reads our .tflite slices as they are, and computes float32 as float32.

It reads models from files only, so a model is a file for as long as it is read.
"""

from __future__ import annotations

import importlib
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Callable

from eprune.runtime.fire import tflite
from eprune.runtime.kernel.errors import UsageError


def load(model: bytes, threads: int, options: Mapping[str, str], shapes: Mapping[int, tuple[int, ...]]) -> Any:
    """An interpreter over the bytes of a .tflite model. See ``engines.ModelEngine.load``.

    Of the ``options``, ``device`` is where it computes (CPU), the others are properties of OpenVINO.
    """
    import tempfile

    library = _library()
    properties = {name: value for name, value in options.items() if name != "device"}
    device = options.get("device", "CPU")
    if device.partition(".")[0].partition(":")[0] == "CPU":
        properties = {"INFERENCE_NUM_THREADS": str(threads), "NUM_STREAMS": "1", **properties}
    properties = {"INFERENCE_PRECISION_HINT": "f32", **properties}
    try:
        core = library.Core()
        with tempfile.TemporaryDirectory(prefix="eprune-") as folder, tflite.quiet_stderr():
            path = Path(folder, "model.tflite")
            path.write_bytes(model)
            read = core.read_model(str(path))
            ends = [end.get_partial_shape() for end in read.inputs]
            wanted = {
                index: list(shapes.get(index, [1 if size.is_dynamic else size.get_length() for size in shape]))
                for index, shape in enumerate(ends)
                if index in shapes or shape.is_dynamic
            }
            if wanted:
                read.reshape(wanted)
            compiled = core.compile_model(read, device, properties)
        return Interpreter(compiled, model)
    except RuntimeError as error:
        raise RuntimeError(f"OpenVINO: {_reason(str(error))}") from None


def describe() -> str:
    """``openvino 2026.4.1``. Raises UsageError where it is not installed."""
    _library()
    return tflite.describe("openvino")


def _library() -> Any:
    try:
        return importlib.import_module("openvino")
    except ImportError as error:
        raise UsageError(f"engine openvino: {error}; install it (pip install openvino)") from None


def _reason(text: str) -> str:
    """What OpenVINO says is wrong: the lines that say neither where in its code, nor only that something is."""
    lines = [line.strip() for line in text.splitlines()]
    told = [
        line for line in lines if line and not line.startswith(("Exception from", "Check '", "FrontEnd API failed"))
    ]
    return " ".join(told[:2] or lines[:1])[:400]


class Interpreter:
    """A compiled model with the methods of TFLite's interpreter. Inputs come first among the indices, then outputs."""

    def __init__(self, compiled: Any, model: bytes) -> None:
        self._request = compiled.create_infer_request()
        zeros = zero_points(model)
        self._inputs = [_detail(end, number, zeros) for number, end in enumerate(compiled.inputs)]
        count = len(self._inputs)
        self._outputs = [_detail(end, count + number, {}) for number, end in enumerate(compiled.outputs)]

    def get_input_details(self) -> list[dict[str, Any]]:
        """The inputs, each with index, name, shape, dtype and quantization: scale (0, unknown) and zero point."""
        return self._inputs

    def get_output_details(self) -> list[dict[str, Any]]:
        """The outputs."""
        return self._outputs

    def invoke(self) -> None:
        """Compute. Raises RuntimeError."""
        self._request.infer()

    def tensor(self, index: int) -> Callable[[], Any]:
        """What gives a view of an input or output."""
        return lambda: self._find(index).data

    def set_tensor(self, index: int, value: Any) -> None:
        """Set an input. Raises ValueError for another shape or type."""
        detail, view = self._inputs[index], self._find(index).data
        if tuple(value.shape) != tuple(detail["shape"]) or value.dtype != view.dtype:
            message = (
                f"{detail['name']}: {value.dtype}{list(value.shape)}, where {view.dtype}{detail['shape']} is wanted"
            )
            raise ValueError(message)
        view[...] = value

    def get_tensor(self, index: int) -> Any:
        """A copy of an input or output."""
        return self._find(index).data.copy()

    def _find(self, index: int) -> Any:
        count = len(self._inputs)
        request = self._request
        return request.get_input_tensor(index) if index < count else request.get_output_tensor(index - count)


def _detail(end: Any, index: int, zeros: Mapping[int, int]) -> dict[str, Any]:
    return {
        "index": index,
        "name": end.get_any_name() if end.get_names() else "",
        "shape": list(end.get_shape()),
        "dtype": end.get_element_type().to_dtype().type,
        "quantization": (0.0, zeros.get(index, 0)),
    }


def zero_points(model: bytes) -> dict[int, int]:
    """Position among the inputs of the first graph -> zero point, of those that are quantised.

    Read from the flatbuffer (schema.fbs of TFLite): Model.subgraphs is field 2, SubGraph.tensors 0 and .inputs 1,
    Tensor.quantization 4, QuantizationParameters.zero_point 3.
    """

    def number(form: str, place: int) -> int:
        return int(struct.unpack_from(f"<{form}", model, place)[0])

    def field(table: int, index: int) -> int:
        """Where a table's field is, following its offset; 0 where it is not set."""
        vtable = table - number("i", table)
        offset = 4 + 2 * index
        shift = number("H", vtable + offset) if offset < number("H", vtable) else 0
        return table + shift + number("I", table + shift) if shift else 0

    def entry(vector: int, index: int) -> int:
        place = vector + 4 + 4 * index
        return place + number("I", place)

    graph = entry(field(number("I", 0), 2), 0)
    tensors, inputs = field(graph, 0), field(graph, 1)
    found = {}
    for position in range(number("I", inputs) if inputs else 0):
        quantization = field(entry(tensors, number("i", inputs + 4 + 4 * position)), 4)
        points = field(quantization, 3) if quantization else 0
        if points and number("I", points):
            found[position] = number("q", points + 4)
    return found
