"""Small .tflite models made here, so that tests need no files: each function returns a model's bytes.

All weights are seeded, so the same call gives the same bytes.
"""

from __future__ import annotations

from typing import Any, Optional

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

_NAMES = ("float32", "float16", "int4", "int8", "uint8", "int16", "int32", "bool", "resource")
_TYPES = {name: getattr(schema.TensorType, name.upper()) for name in _NAMES}


class ModelBuilder:
    """Adds tensors and operators to a model, graph by graph; ``build`` gives the file."""

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.description = "made by eprune's tests"
        self.model.operatorCodes = []
        self.model.buffers = [schema.BufferT()]
        self.model.subgraphs = []
        self.graph()

    def graph(self) -> None:
        """Begin the next graph: what follows belongs to it."""
        self.current = schema.SubGraphT()
        self.current.tensors, self.current.operators = [], []
        self.model.subgraphs.append(self.current)

    def tensor(self, shape: tuple[int, ...], dtype: str = "float32", data: Any = None, **fields: Any) -> int:
        """A tensor's index; with ``data`` it is constant."""
        tensor = schema.TensorT()
        tensor.name = f"t{len(self.current.tensors)}"
        tensor.shape = list(shape)
        tensor.type = _TYPES[dtype]
        for name, value in fields.items():
            setattr(tensor, name, value)
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.asarray(data).reshape(-1).view(np.uint8)
            tensor.buffer = len(self.model.buffers)
            self.model.buffers.append(buffer)
        self.current.tensors.append(tensor)
        return len(self.current.tensors) - 1

    def constant(self, data: Any, **fields: Any) -> int:
        """The index of a tensor that holds this array."""
        array = np.asarray(data)
        return self.tensor(array.shape, array.dtype.name, array, **fields)

    def weights(self, *shape: int) -> int:
        """The index of a constant of random float32 values."""
        return self.constant(self.random.standard_normal(shape).astype(np.float32))

    def operator(
        self, name: str, inputs: list[int], outputs: list[int], options: str = "", **fields: Any
    ) -> schema.OperatorT:
        """Add an operator: ``options`` names the table of ``fields``, for example ``Conv2DOptions``."""
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = fields.pop("version", 1)
        operator = schema.OperatorT()
        operator.opcodeIndex = len(self.model.operatorCodes)
        self.model.operatorCodes.append(code)
        operator.inputs, operator.outputs = inputs, outputs
        if options:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, options)
            operator.builtinOptions = getattr(schema, f"{options}T")()
            for field, value in fields.items():
                setattr(operator.builtinOptions, field, value)
        self.current.operators.append(operator)
        return operator

    def conv(self, source: int, shape: tuple[int, ...], channels: int, size: int = 3, activation: int = 1) -> int:
        """A convolution that keeps height and width: from tensor ``source`` to a new one of ``shape``."""
        out = self.tensor(shape)
        weights = [self.weights(shape[-1], size, size, channels), self.weights(shape[-1])]
        options = {"strideW": 1, "strideH": 1, "fusedActivationFunction": activation}
        self.operator("CONV_2D", [source, *weights], [out], "Conv2DOptions", **options)
        return out

    def dense(self, source: int, inputs: int, outputs: int, **fields: Any) -> int:
        """A fully connected layer: from tensor ``source`` to a new one of (1, ``outputs``)."""
        out = self.tensor((1, outputs), **fields)
        weights = [self.weights(outputs, inputs), self.weights(outputs)]
        self.operator("FULLY_CONNECTED", [source, *weights], [out], "FullyConnectedOptions")
        return out

    def signature(self, key: str, inputs: dict[str, int], outputs: dict[str, int]) -> None:
        """Name the current graph, its inputs and outputs."""
        made = schema.SignatureDefT()
        made.signatureKey, made.subgraphIndex = key, len(self.model.subgraphs) - 1
        made.inputs, made.outputs = [], []
        for ends, tensors in ((made.inputs, inputs), (made.outputs, outputs)):
            for name, index in tensors.items():
                end = schema.TensorMapT()
                end.name, end.tensorIndex = name, index
                ends.append(end)
        self.model.signatureDefs = [*(self.model.signatureDefs or []), made]

    def ends(self, inputs: list[int], outputs: list[int]) -> None:
        """The current graph's inputs and outputs."""
        self.current.inputs, self.current.outputs = inputs, outputs

    def build(self, inputs: Optional[list[int]] = None, outputs: Optional[list[int]] = None) -> bytes:
        """The file; with the ends of the last graph, if they are not set yet."""
        if inputs is not None and outputs is not None:
            self.ends(inputs, outputs)
        builder = flatbuffers.Builder(2**16)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def conv_pool_dense() -> bytes:
    """A chain of 4: float32[1,8,8,3], CONV_2D, MAX_POOL_2D, FULLY_CONNECTED, SOFTMAX, float32[1,5]."""
    m = ModelBuilder()
    image = m.tensor((1, 8, 8, 3))
    features = m.conv(image, (1, 8, 8, 4), 3)
    pooled = m.tensor((1, 4, 4, 4))
    options = {"strideW": 2, "strideH": 2, "filterWidth": 2, "filterHeight": 2}
    m.operator("MAX_POOL_2D", [features], [pooled], "Pool2DOptions", **options)
    scores = m.dense(pooled, 64, 5)
    probabilities = m.tensor((1, 5))
    m.operator("SOFTMAX", [scores], [probabilities], "SoftmaxOptions", beta=1.0)
    return m.build([image], [probabilities])


def two_convolutions(channels: int = 12) -> bytes:
    """float32[1,8,8,3], two times CONV_2D and MAX_POOL_2D of ``channels``, FULLY_CONNECTED, SOFTMAX, float32[1,5].

    Weights are as small as those of trained networks, so that the answers are no matter of one channel.
    """
    m = ModelBuilder(7)
    data = image = m.tensor((1, 8, 8, 3))
    for size in (8, 4):
        made = m.conv(data, (1, size, size, channels), 3 if size == 8 else channels)
        data = m.tensor((1, size // 2, size // 2, channels))
        options = {"strideW": 2, "strideH": 2, "filterWidth": 2, "filterHeight": 2}
        m.operator("MAX_POOL_2D", [made], [data], "Pool2DOptions", **options)
    scores = m.dense(data, 4 * channels, 5)
    probabilities = m.tensor((1, 5))
    m.operator("SOFTMAX", [scores], [probabilities], "SoftmaxOptions", beta=0.01)
    return m.build([image], [probabilities])


def residual_split() -> bytes:
    """A residual branch, a SPLIT, and all sorts of outputs.

    0 CONV_2D, 1 CONV_2D, 2 ADD (of 0 and 1), 3 SPLIT (of 2, into two), 4 MUL (of both halves). Outputs: the product,
    the second half, the first convolution's result, the input ``b`` passed straight through, and a constant.
    """
    m = ModelBuilder()
    a, b = m.tensor((1, 4, 4, 4)), m.tensor((1, 2))
    first = m.conv(a, (1, 4, 4, 4), 4)
    second = m.conv(first, (1, 4, 4, 4), 4)
    total = m.tensor((1, 4, 4, 4))
    m.operator("ADD", [first, second], [total], "AddOptions")
    low, high = m.tensor((1, 4, 4, 2)), m.tensor((1, 4, 4, 2))
    m.operator("SPLIT", [m.constant(np.int32(3)), total], [low, high], "SplitOptions", numSplits=2)
    product = m.tensor((1, 4, 4, 2))
    m.operator("MUL", [low, high], [product], "MulOptions")
    return m.build([a, b], [product, high, first, b, m.weights(3)])


def reshapes(dtype: str, *shapes: tuple[int, ...]) -> bytes:
    """A RESHAPE from each of these shapes to the next."""
    m = ModelBuilder()
    tensors = [m.tensor(shape, dtype) for shape in shapes]
    for source, target, shape in zip(tensors, tensors[1:], shapes[1:]):
        wanted = m.constant(np.array(shape, np.int32))
        m.operator("RESHAPE", [source, wanted], [target], "ReshapeOptions", newShape=list(shape))
    return m.build(tensors[:1], tensors[-1:])


def recurrent() -> bytes:
    """A cell of six operators: ``x`` and a state to ``y`` and the next state; the first and fourth read the state."""
    m = ModelBuilder(7)
    x, state = m.tensor((1, 4)), m.tensor((1, 4))
    total, gate, kept, following = (m.tensor((1, 4)) for _ in range(4))
    m.operator("ADD", [x, state], [total], "AddOptions")
    hidden = m.dense(total, 4, 4)
    m.operator("LOGISTIC", [hidden], [gate])
    m.operator("MUL", [gate, state], [kept], "MulOptions")
    m.operator("ADD", [kept, x], [following], "AddOptions")
    y = m.dense(following, 4, 3)
    return m.build([x, state], [y, following])


def float16_weights() -> bytes:
    """0 and 1 DEQUANTIZE unpack weights and bias, which 2 and 3, both FULLY_CONNECTED, share."""
    m = ModelBuilder()
    source = m.tensor((1, 64))
    unpacked = []
    for shape in ((64, 64), (64,)):
        stored = m.constant(m.random.standard_normal(shape).astype(np.float16))
        unpacked.append(m.tensor(shape))
        m.operator("DEQUANTIZE", [stored], [unpacked[-1]], "DequantizeOptions", version=3)
    for _ in range(2):
        out = m.tensor((1, 64))
        m.operator("FULLY_CONNECTED", [source, *unpacked], [out], "FullyConnectedOptions")
        source = out
    return m.build([0], [source])


def sparse_weights() -> bytes:
    """0 DENSIFY unpacks the sparse weights of 1 FULLY_CONNECTED."""
    m = ModelBuilder()
    dense = m.random.standard_normal((8, 16)).astype(np.float32)
    dense[m.random.random((8, 16)) < 0.6] = 0
    segments = np.concatenate([[0], np.cumsum(np.count_nonzero(dense, axis=1))])
    sparsity = schema.SparsityParametersT()
    sparsity.traversalOrder = [0, 1]
    rows, columns = schema.DimensionMetadataT(), schema.DimensionMetadataT()
    rows.denseSize = 8
    columns.format = schema.DimensionType.SPARSE_CSR
    columns.arraySegmentsType = columns.arrayIndicesType = schema.SparseIndexVector.Uint8Vector
    columns.arraySegments, columns.arrayIndices = schema.Uint8VectorT(), schema.Uint8VectorT()
    columns.arraySegments.values = segments.tolist()
    columns.arrayIndices.values = np.nonzero(dense)[1].tolist()
    sparsity.dimMetadata = [rows, columns]
    source, unpacked, out = m.tensor((1, 16)), m.tensor((8, 16)), m.tensor((1, 8))
    stored = m.tensor((8, 16), data=dense[dense != 0], sparsity=sparsity)
    m.operator("DENSIFY", [stored], [unpacked], "DensifyOptions")
    m.operator("FULLY_CONNECTED", [source, unpacked, m.weights(8)], [out], "FullyConnectedOptions")
    return m.build([source], [out])


def blockwise(kind: str = "BlockwiseQuantization", zero_points: int = -1) -> bytes:
    """0 NEG, 1 and 2 FULLY_CONNECTED with int4 weights, whose scales a quantisation detail of this kind names alone."""
    m = ModelBuilder()
    source, last = m.tensor((1, 64)), m.tensor((1, 64))
    m.operator("NEG", [source], [last], "NegOptions")
    for _ in range(2):
        scales = m.constant((m.random.random((64, 2)) + 0.1).astype(np.float16))
        quantization = schema.QuantizationParametersT()
        quantization.detailsType = getattr(schema.QuantizationDetails, kind)
        quantization.details = getattr(schema, f"{kind}T")()
        quantization.details.scales, quantization.details.zeroPoints = scales, zero_points
        if kind == "BlockwiseQuantization":
            quantization.details.blockSize = 32
        packed = m.random.integers(0, 256, 64 * 64 // 2, np.uint8)
        weights = m.tensor((64, 64), "int4", packed, quantization=quantization)
        out = m.tensor((1, 64))
        m.operator("FULLY_CONNECTED", [last, weights], [out], "FullyConnectedOptions", version=13)
        last = out
    return m.build([source], [last])


def reshape_like() -> bytes:
    """0 CONV_2D; 2 RESHAPE gives it the shape that 1 SHAPE reads off the second input; 3 FULLY_CONNECTED."""
    m = ModelBuilder()
    image, other = m.tensor((1, 16, 16, 3)), m.tensor((1, 2048))
    features = m.conv(image, (1, 16, 16, 8), 3)
    shape, flat = m.tensor((2,), "int32"), m.tensor((1, 2048))
    m.operator("SHAPE", [other], [shape], "ShapeOptions", outType=schema.TensorType.INT32)
    m.operator("RESHAPE", [features, shape], [flat], "ReshapeOptions")
    return m.build([image, other], [m.dense(flat, 2048, 10)])


def open_batch() -> bytes:
    """Any batch size: 0 CONV_2D; 1 SHAPE, 2 STRIDED_SLICE, 3 PACK say (batch, 2048) to 4 RESHAPE; 5 NEG."""
    m = ModelBuilder()
    image = m.tensor((1, 16, 16, 3), shapeSignature=[-1, 16, 16, 3])
    features = m.conv(image, (1, 16, 16, 8), 3)
    m.current.tensors[features].shapeSignature = [-1, 16, 16, 8]
    shape = m.tensor((4,), "int32")
    m.operator("SHAPE", [features], [shape], "ShapeOptions", outType=schema.TensorType.INT32)
    batch = m.tensor((), "int32")
    ends = [m.constant(np.array([value], np.int32)) for value in (0, 1, 1)]
    m.operator("STRIDED_SLICE", [shape, *ends], [batch], "StridedSliceOptions", shrinkAxisMask=1)
    target = m.tensor((2,), "int32")
    m.operator("PACK", [batch, m.constant(np.int32(2048))], [target], "PackOptions", valuesCount=2)
    flat, result = (m.tensor((1, 2048), shapeSignature=[-1, 2048]) for _ in range(2))
    m.operator("RESHAPE", [features, target], [flat], "ReshapeOptions")
    m.operator("NEG", [flat], [result], "NegOptions")
    return m.build([image], [result])


def loop() -> bytes:
    """0 MUL, 1 WHILE (doubles a vector until its first element is 100 or more; graphs 1 and 2), 2 ADD."""
    m = ModelBuilder()
    source, scaled, looped, result = (m.tensor((4,)) for _ in range(4))
    m.operator("MUL", [source, m.constant(np.full(4, 3, np.float32))], [scaled], "MulOptions")
    m.operator("WHILE", [scaled], [looped], "WhileOptions", condSubgraphIndex=1, bodySubgraphIndex=2)
    m.operator("ADD", [looped, m.weights(4)], [result], "AddOptions")
    m.ends([source], [result])
    m.graph()
    value, first, more = m.tensor((4,)), m.tensor((1,)), m.tensor((1,), "bool")
    ends = [m.constant(np.array([index], np.int32)) for index in (0, 1)]
    m.operator("SLICE", [value, *ends], [first], "SliceOptions")
    m.operator("LESS", [first, m.constant(np.array([100], np.float32))], [more], "LessOptions")
    m.ends([value], [more])
    m.graph()
    value, double = m.tensor((4,)), m.tensor((4,))
    m.operator("ADD", [value, value], [double], "AddOptions")
    return m.build([value], [double])


def counter() -> bytes:
    """A running sum: 0 CALL_ONCE zeroes it; 1 MUL; 2 VAR_HANDLE, 3 READ_VARIABLE, 4 ADD, 5 ASSIGN_VARIABLE; 6 NEG."""
    m = ModelBuilder()
    source, scaled, value, total, result = (m.tensor((4,)) for _ in range(5))
    handle = m.tensor((1,), "resource")
    variable = {"container": "", "sharedName": "sum"}
    m.operator("CALL_ONCE", [], [], "CallOnceOptions", initSubgraphIndex=1)
    m.operator("MUL", [source, source], [scaled], "MulOptions")
    m.operator("VAR_HANDLE", [], [handle], "VarHandleOptions", **variable)
    m.operator("READ_VARIABLE", [handle], [value], "ReadVariableOptions")
    m.operator("ADD", [scaled, value], [total], "AddOptions")
    m.operator("ASSIGN_VARIABLE", [handle, total], [], "AssignVariableOptions")
    m.operator("NEG", [total], [result], "NegOptions")
    m.ends([source], [result])
    m.graph()
    handle = m.tensor((1,), "resource")
    m.operator("VAR_HANDLE", [], [handle], "VarHandleOptions", **variable)
    m.operator("ASSIGN_VARIABLE", [handle, m.constant(np.zeros(4, np.float32))], [], "AssignVariableOptions")
    return m.build([], [])


def two_streams() -> bytes:
    """Two running sums, both read first, as converters write it, and begun with 1 and 2.

    0 CALL_ONCE fills both; 1 and 2 VAR_HANDLE, 3 and 4 READ_VARIABLE, 5 MUL (halves the second state); then 6 ADD and
    7 ASSIGN_VARIABLE (the first), 8 NEG, 9 ADD (of what 5 gives) and 10 ASSIGN_VARIABLE (the second), 11 EXP.
    """
    m = ModelBuilder()
    variables = [{"container": "", "sharedName": name} for name in ("first", "second")]
    source, state, other, doubled, total, negated, sums, result = (m.tensor((4,)) for _ in range(8))
    m.operator("CALL_ONCE", [], [], "CallOnceOptions", initSubgraphIndex=1)
    handles = []
    for variable in variables:
        handles.append(m.tensor((1,), "resource"))
        m.operator("VAR_HANDLE", [], handles[-1:], "VarHandleOptions", **variable)
    for handle, value in zip(handles, (state, other)):
        m.operator("READ_VARIABLE", [handle], [value], "ReadVariableOptions")
    m.operator("MUL", [other, m.constant(np.full(4, 0.5, np.float32))], [doubled], "MulOptions")
    m.operator("ADD", [source, state], [total], "AddOptions")
    m.operator("ASSIGN_VARIABLE", [handles[0], total], [], "AssignVariableOptions")
    m.operator("NEG", [total], [negated], "NegOptions")
    m.operator("ADD", [negated, doubled], [sums], "AddOptions")
    m.operator("ASSIGN_VARIABLE", [handles[1], sums], [], "AssignVariableOptions")
    m.operator("EXP", [sums], [result], "ExpOptions")
    m.ends([source], [result])
    m.graph()
    for variable, value in zip(variables, (1, 2)):
        handle = m.tensor((1,), "resource")
        m.operator("VAR_HANDLE", [], [handle], "VarHandleOptions", **variable)
        values = m.constant(np.full(4, value, np.float32))
        m.operator("ASSIGN_VARIABLE", [handle, values], [], "AssignVariableOptions")
    return m.build([], [])


def two_signatures() -> bytes:
    """``encode`` (frames -> embedding): 0 RELU, 1 FULLY_CONNECTED; ``decode`` (embedding -> sound): 0 NEG, 1 EXP."""
    m = ModelBuilder()
    source, active = m.tensor((1, 4)), m.tensor((1, 4))
    m.operator("RELU", [source], [active])
    result = m.dense(active, 4, 6)
    m.ends([source], [result])
    m.signature("encode", {"frames": source}, {"embedding": result})
    m.graph()
    source, negated, result = (m.tensor((1, 6)) for _ in range(3))
    m.operator("NEG", [source], [negated], "NegOptions")
    m.operator("EXP", [negated], [result], "ExpOptions")
    m.ends([source], [result])
    m.signature("decode", {"embedding": source}, {"sound": result})
    return m.build()


def open_length() -> bytes:
    """float32[1,?], which the file has as [1,1]: 0 NEG, 1 EXP."""
    m = ModelBuilder()
    tensors = [m.tensor((1, 1), shapeSignature=[1, -1]) for _ in range(3)]
    m.operator("NEG", tensors[:1], tensors[1:2], "NegOptions")
    m.operator("EXP", tensors[1:2], tensors[2:], "ExpOptions")
    m.signature("serving_default", {"audio": tensors[0]}, {"levels": tensors[2]})
    return m.build(tensors[:1], tensors[2:])


def residual_blocks(count: int = 3) -> bytes:
    """A classifier with residual blocks, float32[1,8,8,3] to float32[1,5].

    0 CONV_2D, then for each block CONV_2D, CONV_2D and ADD, then FULLY_CONNECTED and SOFTMAX.
    """
    m = ModelBuilder(3)
    image = m.tensor((1, 8, 8, 3))
    x = m.conv(image, (1, 8, 8, 4), 3)
    for _ in range(count):
        made = m.conv(m.conv(x, (1, 8, 8, 4), 4), (1, 8, 8, 4), 4, activation=0)
        total = m.tensor((1, 8, 8, 4))
        m.operator("ADD", [x, made], [total], "AddOptions")
        x = total
    scores = m.dense(x, 256, 5)
    probabilities = m.tensor((1, 5))
    m.operator("SOFTMAX", [scores], [probabilities], "SoftmaxOptions", beta=1e-5)
    return m.build([image], [probabilities])
