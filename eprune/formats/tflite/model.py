"""Models as TFLite flatbuffers: read what is in one, and cut any set of operators out of it.

A slice computes, bit for bit, what its operators compute in the whole model. docs/explanation/slicing.md explains how,
and where it ends. Three choices carry it:

- Everything that an operator's kernel is chosen by travels with it: options, versions, quantisation, sparsity, names,
  constants (16-byte aligned, as the format demands), and the one piece of metadata that selects a precision.
- What an interpreter computes before the run (weights stored as float16 or sparse, shapes) must stay known before the
  run, or it chooses other kernels: each slice that needs the result of a ``preparatory`` operator carries its own copy.
- What state or control flow holds together is never cut: ``bonds`` names those operators.

The flatbuffer's accessors come from ai-edge-litert, imported on first use; its interpreter is not loaded.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Callable, Optional, Union

from eprune.formats.models.errors import model_error
from eprune.formats.models.parts import Format, Model, Operator, Tensor
from eprune.formats.models.signatures import chosen as chosen_signature
from eprune.formats.tflite import resources, shapes
from eprune.formats.tflite.signatures import read_signatures
from eprune.model.token import TokenType

#: TFLite's tensor types that can be tokens -> numpy's names
_DTYPES = {
    "FLOAT32": "float32",
    "FLOAT16": "float16",
    "FLOAT64": "float64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "BOOL": "bool",
    "COMPLEX64": "complex64",
    "COMPLEX128": "complex128",
}

#: Operators that interpreters compute before the run where all inputs are known: unpacking weights, shape arithmetic.
#: No operator is here that holds state or draws random numbers.
_FOLDABLE = {"DEQUANTIZE", "DENSIFY", "BROADCAST_ARGS", "CAST", "CONCATENATION", "EXPAND_DIMS", "GATHER", "PACK"}.union(
    {"RESHAPE", "SLICE", "SQUEEZE", "STRIDED_SLICE", "ADD", "SUB", "MUL", "FLOOR_DIV", "MAXIMUM", "MINIMUM"},
    {"REDUCE_MAX", "REDUCE_PROD", "SUM"},
)

#: Kinds of quantisation details -> the fields of theirs that are indices of tensors. Of others nothing is known.
DETAILS: dict[str, tuple[str, ...]] = {
    "NONE": (),
    "CustomQuantization": (),  # bytes that no interpreter reads
    "BlockwiseQuantization": ("scales", "zeroPoints"),
    "MultiAxisQuantization": ("scales", "zeroPoints"),
}

#: Types of tensors that are handles to state inside the interpreter, not data.
_HANDLES = ("RESOURCE", "VARIANT")

#: What flatbuffers' accessors raise when they are led out of the file.
CORRUPT = (struct.error, ValueError, IndexError, TypeError, AttributeError, OverflowError, MemoryError)


def parse_model(form: Format, data: bytes, path: str, signature: Optional[str] = None) -> Model:
    """See ``Format.parse``; ``form`` is what the model is said to be of."""
    if data[4:8] != b"TFL3":
        raise model_error(
            path, "is not a TFLite model: bytes 4 to 7 are not 'TFL3'", "is it the right file, and complete?"
        )
    try:
        return _Reader(form, data, path).model(signature)
    except CORRUPT as error:
        raise model_error(path, f"is corrupt or cut short: {error}", "copy or convert it again") from None


def preparatory(model: Model) -> frozenset[int]:
    """The operators whose results are known before the run: they unpack constants, or compute with shapes.

    Those that name a resource are among them, and those that fill resources once. Each slice carries those that it
    needs, so that they are no work to place anywhere. On their own they are no slice, except where they fill an output
    of the graph.
    """
    found: set[int] = set()
    known = {tensor.index for tensor in model.tensors if tensor.constant} | {-1}
    for operator in model.operators:
        if operator.name == "CALL_ONCE" or resources.names_one(operator):
            found.add(operator.index)
        elif operator.name in shapes.SHAPES or (operator.name in _FOLDABLE and known.issuperset(operator.inputs)):
            found.add(operator.index)
            known.update(operator.outputs)
    return frozenset(found)


def bonds(model: Model) -> tuple[tuple[int, ...], ...]:
    """Sets of operators that share state inside the interpreter, so that a slice must hold all of a set or none of it.

    Users of one variable tensor are a set; so are those of one resource (a variable, a hash table) that any of them
    writes. Where the file does not tell which resource an operator touches, all that touch any are one set.
    """
    groups: dict[str, list[int]] = {}
    early = model.early
    stateful = [operator for operator in model.operators if operator.resources and operator.index not in early]
    blurred = any(resources.UNKNOWN in operator.resources for operator in stateful)
    for operator in stateful:
        for name in ("",) if blurred else operator.resources:
            groups.setdefault(name, []).append(operator.index)
    variables = [tensor.index for tensor in model.tensors if tensor.variable]
    users = [[operator.index for operator in model.operators if index in operator.tensors] for index in variables]
    written = [group for group in groups.values() if not resources.only_read(model.operators[index] for index in group)]
    found = (tuple(group) for group in (*users, *written))
    return tuple(dict.fromkeys(group for group in found if len(group) > 1))


def load_schema(path: str) -> Any:
    """The generated accessors, imported when the model ``path`` is read: nothing else needs them, or numpy."""
    try:
        from ai_edge_litert import schema_py_generated
    except ImportError:
        raise model_error(
            path,
            "to read .tflite models takes the package ai-edge-litert, which is not installed here",
            "generate programs on x86-64 or 64-bit Arm; generated programs run without it",
        ) from None
    return schema_py_generated


def root_of(model: Model) -> Any:
    """The accessor of a model's file. Raises EpruneError (FILE) for a model of another format."""
    if model.data[4:8] != b"TFL3":
        raise model_error(model.path, f"is an {model.format.name} model; this is for .tflite models")
    return load_schema(model.path).Model.GetRootAs(model.data)


def enum_names(enumeration: type) -> dict[int, str]:
    """Value -> name of one of the schema's enumerations."""
    return {value: name for name, value in vars(enumeration).items() if isinstance(value, int)}


def tables(count: int, get: Callable[[int], Any]) -> Iterator[Any]:
    """All tables of a vector, given its length and its accessor."""
    return (get(index) for index in range(count))


def buffer_bytes(data: Union[bytes, bytearray], root: Any, index: int) -> Any:
    """A buffer's bytes: a uint8 array that views the file, wherever it is; of a bytearray it can be written."""
    import numpy as np

    if not index:
        return np.empty(0, np.uint8)
    buffer = root.Buffers(index)
    # An offset of 0 or 1 means none; larger ones count from the file's start, behind the flatbuffer proper.
    if hasattr(buffer, "Offset") and buffer.Offset() > 1:
        return np.frombuffer(data, np.uint8, buffer.Size(), buffer.Offset())
    return np.empty(0, np.uint8) if buffer.DataIsNone() else buffer.DataAsNumpy()


class _Reader:
    """Reads one file.

    No byte of a valid file serves two purposes, so what is read in all is bounded by the file's size: ``_spend`` stops
    a hostile file in which many small tables point at one huge vector.
    """

    def __init__(self, form: Format, data: bytes, path: str) -> None:
        self.form = form
        self.schema = load_schema(path)
        self.data = data
        self.path = path
        self.budget = 2 * len(data)  # twice: some writers do share short vectors and strings
        self.types = enum_names(self.schema.TensorType)
        self.codes = enum_names(self.schema.BuiltinOperator)
        self.details = enum_names(self.schema.QuantizationDetails)

    def model(self, key: Optional[str]) -> Model:
        root = self.schema.Model.GetRootAs(self.data)
        if root.SubgraphsLength() < 1:
            raise ValueError("it has no graph")
        self.root = root
        self._spend(4 * (root.OperatorCodesLength() + root.BuffersLength() + root.SubgraphsLength()))
        opcodes = [self._opcode(code) for code in tables(root.OperatorCodesLength(), root.OperatorCodes)]
        signatures = read_signatures(root, self._text)
        try:
            signature = chosen_signature(signatures, key)
        except ValueError as error:
            raise model_error(self.path, str(error)) from None
        number = signature.graph if signature else 0
        if not 0 <= number < root.SubgraphsLength():
            raise ValueError(f"a signature means graph {number} of {root.SubgraphsLength()}")
        graph = root.Subgraphs(number)
        self._spend(4 * (graph.OperatorsLength() + graph.TensorsLength()))
        inputs, outputs = self._ints(graph.InputsAsNumpy()), self._ints(graph.OutputsAsNumpy())
        operators = tuple(
            self._operator(index, operator, opcodes)
            for index, operator in enumerate(tables(graph.OperatorsLength(), graph.Operators))
        )
        given = set(inputs)
        written = given.union(index for operator in operators for index in operator.outputs)
        tensors = tuple(
            self._tensor(index, tensor, index in given, index in written)
            for index, tensor in enumerate(tables(graph.TensorsLength(), graph.Tensors))
        )
        handles = {tensor.index for tensor in tensors if tensor.type in _HANDLES}
        if handles or any(operator.subgraphs for operator in operators):
            touched = resources.touched(root, self.schema, number, operators, [name for name, _ in opcodes], handles)
            operators = tuple(replace(each, resources=touched.get(each.index, ())) for each in operators)
        model = Model(
            *(self.path, operators, tensors, inputs, outputs, root.SubgraphsLength(), self.data, self.form),
            graph=number,
            signature=signature,
            signatures=signatures,
        )
        _check_order(model)
        _check_details(model)
        return model

    def _spend(self, nbytes: int) -> None:
        self.budget -= nbytes
        if self.budget < 0:
            raise ValueError("its tables claim more bytes than the file has")

    def _ints(self, vector: Any) -> tuple[int, ...]:
        if isinstance(vector, int):  # the accessors' word for an absent vector
            return ()
        self._spend(4 * len(vector))
        return tuple(vector.tolist())

    def _text(self, text: Optional[bytes]) -> str:
        self._spend(len(text or b""))
        return (text or b"").decode(errors="replace")

    def _opcode(self, code: Any) -> tuple[str, bool]:
        custom = self._text(code.CustomCode())
        # Codes up to 126 were once a byte of their own, where newer ones say 127: the larger of the two is meant.
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        name = self.codes.get(number, f"BUILTIN_{number}")
        return (custom, False) if name == "CUSTOM" else (name, True)

    def _operator(self, index: int, operator: Any, opcodes: list[tuple[str, bool]]) -> Operator:
        name, builtin = opcodes[operator.OpcodeIndex()]
        subgraphs: tuple[int, ...] = ()
        if self.root.SubgraphsLength() > 1:
            subgraphs = resources.subgraphs_of(self.schema.OperatorT.InitFromObj(operator))
        return Operator(
            index,
            name,
            builtin,
            self._ints(operator.InputsAsNumpy()),
            self._ints(operator.OutputsAsNumpy()),
            self._ints(operator.IntermediatesAsNumpy()),
            subgraphs,
        )

    def _tensor(self, index: int, tensor: Any, given: bool, written: bool) -> Tensor:
        # Buffer 0 means no data; a model without constants may have no buffer at all.
        if not 0 <= tensor.Buffer() < max(1, self.root.BuffersLength()):
            raise ValueError(f"tensor {index} refers to buffer {tensor.Buffer()} of {self.root.BuffersLength()}")
        name = self._text(tensor.Name())
        if hasattr(tensor, "ExternalBuffer") and tensor.ExternalBuffer():
            hint = "convert it to a single file below 2 GiB"
            raise model_error(self.path, f"tensor {index} ({name}) has its weights in another file", hint)
        shape, signature = self._ints(tensor.ShapeAsNumpy()), self._ints(tensor.ShapeSignatureAsNumpy())
        element = self.types.get(tensor.Type(), f"TYPE_{tensor.Type()}")
        # An interpreter gives the graph's inputs the shape that the file states; what follows from an open dimension
        # further inside is known to the interpreter alone, and so are results for which the file states no rank: older
        # converters write a scalar in the same way.
        ranked = bool(shape) or (hasattr(tensor, "HasRank") and bool(tensor.HasRank()))
        fixed = min(shape, default=1) > 0 and (given or (min(signature, default=1) > 0 and (ranked or not written)))
        dtype = _DTYPES.get(element)
        token = TokenType(dtype, shape) if fixed and dtype else None
        variable = bool(tensor.IsVariable())
        nbytes = len(buffer_bytes(self.data, self.root, tensor.Buffer()))
        constant = not (written or variable)
        details = self._details(index, name, tensor.Quantization())
        unknown = tuple(place for place, size in enumerate(signature) if size < 0)
        return Tensor(
            index, name, element, dtype, shape, token, constant, variable, tensor.Buffer(), nbytes, details, unknown
        )

    def _details(self, index: int, name: str, quantization: Any) -> tuple[int, ...]:
        if quantization is None or not quantization.DetailsType():
            return ()
        kind = self.details.get(quantization.DetailsType(), f"kind {quantization.DetailsType()}")
        if kind not in DETAILS:
            hint = "a slice may lack what they refer to; install a newer eprune"
            message = f"tensor {index} ({name}) has quantization details of a kind that is not known: {kind}"
            raise model_error(self.path, message, hint)
        table = getattr(self.schema, f"{kind}T").InitFromObj(_table(self.schema, kind, quantization.Details()))
        # -1 means none; so does 0, the default, where writers leave out zero points.
        least = {"scales": 0, "zeroPoints": 1}
        return tuple(value for field in DETAILS[kind] if (value := getattr(table, field)) >= least[field])


def _table(schema: Any, name: str, raw: Any) -> Any:
    """The accessors of a table of which only the place is known."""
    table = getattr(schema, name)()
    table.Init(raw.Bytes, raw.Pos)
    return table


def _check_details(model: Model) -> None:
    """Raise ValueError unless what a tensor's quantisation names is there, and constant."""
    for tensor in model.tensors:
        for index in tensor.details:
            if index >= len(model.tensors) or not model.tensors[index].constant:
                raise ValueError(
                    f"the quantization of tensor {tensor.index} names tensor {index}, which is no constant"
                )


def _check_order(model: Model) -> None:
    """Raise ValueError unless every index exists and every operator's inputs are there before it runs."""
    count = len(model.tensors)
    ends = (*model.signature.inputs.values(), *model.signature.outputs.values()) if model.signature else ()
    if not all(0 <= index < count for index in ends):
        raise ValueError("its signature names a tensor that is not there")
    if not all(0 <= index < count for index in model.inputs + model.outputs):
        raise ValueError("its inputs or outputs name a tensor that is not there")
    pending = {index for operator in model.operators for index in operator.outputs}
    if not pending.isdisjoint(model.inputs):
        raise ValueError("an operator writes an input of the graph")
    for operator in model.operators:
        for index in operator.inputs + operator.intermediates:
            if not -1 <= index < count:
                raise ValueError(f"{operator} names tensor {index} of {count}")
            if index in pending and not model.tensors[index].variable:
                raise ValueError(f"{operator} reads tensor {index} before it is written")
        for index in operator.outputs:
            if not 0 <= index < count:
                raise ValueError(f"{operator} names tensor {index} of {count}")
            if index not in pending and not model.tensors[index].variable:
                raise ValueError(f"{operator} writes tensor {index}, which another has written")
            pending.discard(index)
        if not all(0 < index < model.subgraphs and index != model.graph for index in operator.subgraphs):
            raise ValueError(f"{operator} calls subgraph {operator.subgraphs} of {model.subgraphs}")
