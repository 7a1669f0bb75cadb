"""The types of an ONNX model's tensors, in the process that ``probe`` starts: by inference, and where that does not
tell, by runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eprune.measure import apart

#: A constant of more elements than this is no shape, and inference can do without its values.
_SMALL = 1024


def answer(path: str, tensors: Sequence[int], run: bool, inputs: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """As ``probe._answer`` gives it."""
    from eprune.formats.model_files import read_model

    try:
        model = read_model(path)
        names = {index: model.tensors[index].name for index in tensors}
        shapes = {model.tensors[int(index)].name: list(shape) for index, shape in inputs.items()}
        stated = _stated(model, shapes)
        found = _inferred(stated)
        missing = [name for name in names.values() if name not in found]
        if missing or run:
            found.update(_seen(stated, path, missing))
    except Exception as error:
        return {"types": {}, "problem": apart.plain_words(str(error)) or type(error).__name__}
    return {"types": {index: found[name] for index, name in names.items() if name in found}, "problem": ""}


def _stated(model: Any, shapes: Mapping[str, Sequence[int]]) -> Any:
    """The file with the shapes of its inputs stated: these, or 1 where a dimension is open; no output has a shape."""
    from eprune.formats.onnx.model import proto_of

    proto = type(proto_of(model.data, model.path))()
    proto.CopyFrom(proto_of(model.data, model.path))
    given = {model.tensors[index].name: shapes.get(model.tensors[index].name) for index in model.inputs}
    for value in proto.graph.input:
        if value.name in given:
            kind = value.type.tensor_type
            sizes = given[value.name] or [each.dim_value if each.dim_value > 0 else 1 for each in kind.shape.dim]
            del kind.shape.dim[:]
            for size in sizes:
                kind.shape.dim.add().dim_value = size
    if shapes or any(model.tensors[index].open for index in model.inputs):
        for value in proto.graph.output:
            if value.type.WhichOneof("value") == "tensor_type":
                value.type.tensor_type.ClearField("shape")
        del proto.graph.value_info[:]
    return proto


def _inferred(stated: Any) -> dict[str, tuple[str, list[int]]]:
    """Name -> type, of what follows from the inputs' shapes."""
    import onnx

    proto = type(stated)()
    proto.CopyFrom(stated)
    large = [each for each in proto.graph.initializer if math.prod(each.dims) > _SMALL]
    for each in large:
        proto.graph.input.append(onnx.helper.make_tensor_value_info(each.name, each.data_type, list(each.dims)))
        proto.graph.initializer.remove(each)
    graph = onnx.shape_inference.infer_shapes(proto, data_prop=True).graph
    found = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        kind = value.type.tensor_type
        if value.type.WhichOneof("value") != "tensor_type" or not kind.HasField("shape") or not kind.elem_type:
            continue
        sizes = [each.dim_value if each.HasField("dim_value") else -1 for each in kind.shape.dim]
        if min(sizes, default=1) >= 0 and kind.elem_type != onnx.TensorProto.STRING:
            found[value.name] = (onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name, sizes)
    return found


def _seen(stated: Any, path: str, names: Sequence[str]) -> dict[str, tuple[str, list[int]]]:
    """Name -> type, of what has the same in a run of zeros and in one of other values."""
    import numpy as np
    import onnx

    from eprune.runtime.fire import onnxruntime

    proto = type(stated)()
    proto.CopyFrom(stated)
    shown = {each.name for each in proto.graph.output}
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in shown)
    if any(each.data_location == each.EXTERNAL for each in proto.graph.initializer):
        onnx.load_external_data_for_model(proto, str(Path(path).parent))
    session = onnxruntime.load(proto.SerializeToString(), 1, {"optimization": "disabled"}).session
    runs: list[dict[str, tuple[str, list[int]]]] = []
    problem = ""
    for seed in (None, 1):
        given = {each.name: _value(each, seed, np) for each in session.get_inputs()}
        try:
            results = session.run(None, given)
        except Exception as error:  # not every model takes any values
            problem = problem or str(error)
            continue
        ends = [each.name for each in session.get_outputs()]
        runs.append({name: (value.dtype.name, list(value.shape)) for name, value in zip(ends, results) if _data(value)})
    if not runs and not any(names):
        return {}
    if not runs:
        raise ValueError(problem)
    return apart.same_in_all(runs)


def _data(value: Any) -> bool:
    return hasattr(value, "dtype") and not value.dtype.hasobject


def _value(end: Any, seed: Any, numpy: Any) -> Any:
    from eprune.runtime.fire.onnxruntime import dtype_of

    shape = [size if isinstance(size, int) else 1 for size in end.shape]
    if seed is None:
        return numpy.zeros(shape, dtype_of(end))
    return numpy.random.default_rng(seed).integers(0, 2, shape).astype(dtype_of(end))
