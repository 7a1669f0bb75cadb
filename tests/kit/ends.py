"""Small models with ends that mean something: pictures, sound, classes, boxes, segments; and metadata about them."""

from __future__ import annotations

import io
import wave
import zipfile
from pathlib import Path
from typing import Any, Optional

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers

from tests.kit.tiny_models import ModelBuilder


def quantized(scale: float, zero_point: int) -> dict[str, Any]:
    """The fields of a tensor that is quantised so."""
    made = schema.QuantizationParametersT()
    made.scale, made.zeroPoint = np.array([scale], np.float32), np.array([zero_point], np.int64)
    return {"quantization": made}


def brightest(planes: bool = False) -> bytes:
    """A classifier of float pictures: how red, green and blue they are, as a softmax."""
    m = ModelBuilder()
    source = m.tensor((1, 3, 8, 8) if planes else (1, 8, 8, 3))
    means, out = m.tensor((1, 3)), m.tensor((1, 3))
    axes = m.constant(np.array([2, 3] if planes else [1, 2], np.int32))
    m.operator("MEAN", [source, axes], [means], "ReducerOptions", keepDims=False)
    m.operator("SOFTMAX", [means], [out], "SoftmaxOptions", beta=1.0)
    return m.build([source], [out])


def brightest_quantized(dtype: str, scale: float = 1 / 255, zero_point: Optional[int] = None) -> bytes:
    """The same without a softmax, of pictures in integers; scores are of the same quantisation as the pictures."""
    zero_point = zero_point if zero_point is not None else 0 if dtype == "uint8" else -128
    m = ModelBuilder()
    fields = quantized(scale, zero_point)
    source, out = m.tensor((1, 8, 8, 3), dtype, **fields), m.tensor((1, 3), dtype, **quantized(scale, zero_point))
    axes = m.constant(np.array([1, 2], np.int32))
    m.operator("MEAN", [source, axes], [out], "ReducerOptions", keepDims=False)
    return m.build([source], [out])


def segmenter() -> bytes:
    """A picture's own channels, at half its size, are the scores of three classes; two operators read the picture."""
    m = ModelBuilder()
    source, double = m.tensor((1, 8, 8, 3)), m.tensor((1, 8, 8, 3))
    size = m.constant(np.array([4, 4], np.int32))
    m.operator("MUL", [source, m.constant(np.float32([2]))], [double], "MulOptions")
    small = [m.tensor((1, 4, 4, 3)), m.tensor((1, 4, 4, 3))]
    for given, result in zip((source, double), small):
        m.operator("RESIZE_NEAREST_NEIGHBOR", [given, size], [result], "ResizeNearestNeighborOptions")
    out = m.tensor((1, 4, 4, 3))
    m.operator("ADD", small, [out], "AddOptions")
    return m.build([source], [out])


def listener(window: int = 16) -> bytes:
    """Windows of samples in, two scores out."""
    m = ModelBuilder()
    source = m.tensor((1, window))
    return m.build([source], [m.dense(m.dense(source, window, 4), 4, 2)])


def detector(rows: np.ndarray) -> bytes:
    """Whatever the picture, these rows (1, N, columns) are found; its pixels are read, so that they are no constant."""
    m = ModelBuilder()
    source, mean, none, out = m.tensor((1, 32, 32, 3)), m.tensor((1, 1, 1)), m.tensor((1, 1, 1)), m.tensor(rows.shape)
    flat = m.tensor((1, 1, 3072))
    shape = m.constant(np.array([1, 1, 3072], np.int32))
    m.operator("RESHAPE", [source, shape], [flat])
    m.operator("MEAN", [flat, m.constant(np.array([2], np.int32))], [mean], "ReducerOptions", keepDims=True)
    m.operator("MUL", [mean, m.constant(np.float32([[[0]]]))], [none], "MulOptions")
    m.operator("ADD", [none, m.constant(rows.astype(np.float32))], [out], "AddOptions")
    return m.build([source], [out])


def selecting_detector() -> bytes:
    """Whatever the picture, three boxes for the operator that selects: two that overlap, and one of another class."""
    m = ModelBuilder()
    source, flat = m.tensor((1, 8, 8, 3)), m.tensor((1, 1, 192))
    m.operator("RESHAPE", [source, m.constant(np.array([1, 1, 192], np.int32))], [flat])
    mean, none = m.tensor((1, 1, 1)), m.tensor((1, 1, 1))
    m.operator("MEAN", [flat, m.constant(np.array([2], np.int32))], [mean], "ReducerOptions", keepDims=True)
    m.operator("MUL", [mean, m.constant(np.float32([[[0]]]))], [none], "MulOptions")
    boxes, scores = m.tensor((1, 3, 4)), m.tensor((1, 3, 3))
    m.operator("ADD", [none, m.constant(np.zeros((1, 3, 4), np.float32))], [boxes], "AddOptions")
    found = np.float32([[[0, 0.9, 0.1], [0, 0.8, 0.1], [0, 0.1, 0.7]]])  # nothing, and two classes
    m.operator("ADD", [none, m.constant(found)], [scores], "AddOptions")
    # Centre y, centre x, height, width.
    anchors = m.constant(np.float32([[0.3, 0.4, 0.4, 0.4], [0.31, 0.4, 0.4, 0.4], [0.8, 0.8, 0.2, 0.2]]))
    outputs = [m.tensor((1, 3, 4)), m.tensor((1, 3)), m.tensor((1, 3)), m.tensor((1,))]
    operator = m.operator("CUSTOM", [boxes, scores, anchors], outputs)
    m.model.operatorCodes[-1].customCode = "TFLite_Detection_PostProcess"
    options = {"max_detections": 3, "max_classes_per_detection": 1, "num_classes": 2}
    scales = {f"{side}_scale": 10.0 for side in "yxhw"}
    limits = {"nms_score_threshold": 0.3, "nms_iou_threshold": 0.5}
    operator.customOptions = np.frombuffer(flexbuffers.Dumps({**options, **scales, **limits}), np.uint8)
    return m.build([source], outputs)


def with_metadata(
    model: bytes,
    labels: Optional[str] = None,
    mean: Optional[list[float]] = None,
    std: Optional[list[float]] = None,
    rate: int = 0,
) -> bytes:
    """The model with metadata: normalisation or rate of its input, labels of its output in a file packed behind it."""
    root = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model))
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(_metadata(labels is not None, mean, std, rate), np.uint8)
    entry.name, entry.buffer = "TFLITE_METADATA", len(root.buffers)
    root.buffers.append(buffer)
    root.metadata = [*(root.metadata or []), entry]
    builder = flatbuffers.Builder(2**16)
    builder.Finish(root.Pack(builder), b"TFL3")
    stream = io.BytesIO(bytes(builder.Output()))
    if labels is not None:
        stream.seek(0, io.SEEK_END)
        with zipfile.ZipFile(stream, "a") as archive:
            archive.writestr("names.txt", labels)
    return stream.getvalue()


def _metadata(labels: bool, mean: Optional[list[float]], std: Optional[list[float]], rate: int) -> bytes:
    """The flatbuffer, by the numbers of the schema's fields."""
    b = flatbuffers.Builder(1024)

    def table(count: int, offsets: dict[int, int], numbers: dict[int, tuple[str, int]]) -> int:
        b.StartObject(count)
        for slot, offset in offsets.items():
            b.PrependUOffsetTRelativeSlot(slot, offset, 0)
        for slot, (kind, value) in numbers.items():
            getattr(b, f"Prepend{kind}Slot")(slot, value, 0)
        return b.EndObject()

    def vector(offsets: list[int]) -> int:
        b.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            b.PrependUOffsetTRelative(offset)
        return b.EndVector()

    def floats(values: list[float]) -> int:
        b.StartVector(4, len(values), 4)
        for value in reversed(values):
            b.PrependFloat32(value)
        return b.EndVector()

    given: dict[int, int] = {}
    if mean is not None and std is not None:
        scale = table(2, {0: floats(mean), 1: floats(std)}, {})
        given[4] = vector([table(2, {1: scale}, {0: ("Uint8", 1)})])
    kind = 4 if rate else 2
    properties = table(2, {}, {0: ("Uint32", rate)} if rate else {})
    given[3] = table(3, {1: properties}, {0: ("Uint8", kind)})
    source = table(7, given, {})
    shown: dict[int, int] = {}
    if labels:
        shown[6] = vector([table(5, {0: b.CreateString("names.txt")}, {2: ("Int8", 2)})])
    result = table(7, shown, {})
    graph = table(5, {2: vector([source]), 3: vector([result])}, {})
    b.Finish(table(8, {3: vector([graph])}, {}), b"M001")
    return bytes(b.Output())


def save_sound(path: Path, samples: Any, rate: int = 8000, width: int = 2, channels: int = 1) -> None:
    """A PCM file, by the standard library: samples of -1 to 1."""
    values = np.repeat(np.asarray(samples, float)[:, None], channels, 1).reshape(-1)
    whole = np.rint(values * 2 ** (8 * width - 1)).astype(np.int64)
    if width == 1:
        whole += 128
    data = b"".join(int(value).to_bytes(width, "little", signed=width > 1) for value in whole)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(data)
