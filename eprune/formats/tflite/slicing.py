"""Cutting operators out of a .tflite model: a new flatbuffer out of parts of an old one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Optional

from eprune.formats.tflite import shapes
from eprune.formats.tflite.channels import Narrowed
from eprune.formats.tflite.model import (
    CORRUPT,
    DETAILS,
    bonds,
    boundary,
    buffer_bytes,
    chosen_operators,
    enum_names,
    load_schema,
    model_error,
    tables,
    with_details,
    with_preparatory,
)
from eprune.formats.tflite.narrowing import Narrower, compacted, narrowed
from eprune.formats.tflite.parts import Model, Operator
from eprune.formats.tflite.signatures import packed, state_shapes
from eprune.model.behaviour import Kept
from eprune.model.token import TokenType

#: The metadata that XNNPACK chooses a precision by. The rest describes the file, or tensors by the whole's indices.
_KEPT_METADATA = b"reduced_precision_support"

_ALIGNMENT = 16  # of constants: `force_align: 16` of Buffer.data in TFLite's schema
_LARGE = 1024  # bytes: a smaller constant is not worth a file of its own


def slice_model(
    model: Model,
    operators: Iterable[int],
    inputs: Optional[Sequence[int]] = None,
    outputs: Optional[Sequence[int]] = None,
    kept: Sequence[Kept] = (),
) -> bytes:
    """A .tflite model of just these operators and the constants that they need. Same arguments, same bytes.

    ``inputs`` and ``outputs`` are tensor indices of ``model``, in the order that the slice shall have them; the default
    is ``boundary``. Inputs may name more tensors than are needed; outputs may name constants and inputs as well.
    ``kept`` names operators of the slice of which only some output channels are kept, and these, in their order: the
    slice has only these channels of their weights, of their results, and of data that is channel-local to them.

    Raises EpruneError (FILE) for operators or tensors that are not there, inputs that do not suffice, outputs that
    nothing fills, operators that ``bonds`` holds together with others, channels that cannot be kept alone, and what
    ai-edge-litert's schema does not know.
    """
    chosen = chosen_operators(model, operators)
    needed, offered = boundary(model, (operator.index for operator in chosen))
    inputs = needed if inputs is None else tuple(inputs)
    outputs = offered if outputs is None else tuple(outputs)
    named = chosen
    chosen = with_preparatory(model, chosen)
    _check_slice(model, chosen or named, needed, inputs, outputs)
    try:
        found = narrowed(model, [operator.index for operator in chosen], kept)
        return _Slicer(model, found).slice(chosen, inputs, outputs)
    except CORRUPT as error:
        raise model_error(model.path, f"is corrupt: {error}", "copy or convert it again") from None


def slice_channels(
    model: Model,
    operators: Iterable[int],
    channels: Sequence[int],
    inputs: Optional[Sequence[int]] = None,
    outputs: Optional[Sequence[int]] = None,
) -> bytes:
    """``slice_model`` with only these output channels, in this order, of all the operators."""
    chosen = tuple(sorted(set(operators)))
    return slice_model(model, chosen, inputs, outputs, ((chosen, tuple(channels)),))


def restated(model: Model, types: Mapping[int, TokenType]) -> bytes:
    """The model as a file of its own: the graph of its signature first, its tensors with the shapes of ``types``.

    Operators and tensors keep their numbers. Raises EpruneError (FILE) as ``slice_model`` does.
    """
    try:
        return _Slicer(model).slice(model.operators, model.inputs, model.outputs, types)
    except CORRUPT as error:
        raise model_error(model.path, f"is corrupt: {error}", "copy or convert it again") from None


def packed_model(schema: Any, model: Any, data: Sequence[Any]) -> bytes:
    """The file of a ModelT whose buffers are these uint8 arrays."""
    import flatbuffers

    model.buffers = [_Constant(schema, each) for each in data]
    builder = flatbuffers.Builder(sum(len(each) for each in data) + 2**16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def constant_spans(data: bytes) -> list[slice]:
    """Where the constants of at least 1 KiB lie in what ``slice_model`` wrote, in rising order."""
    root = load_schema("").Model.GetRootAs(data)
    spans = []
    for buffer in tables(root.BuffersLength(), root.Buffers):
        size = buffer.DataLength()
        if size >= _LARGE:
            start = buffer._tab.Vector(buffer._tab.Offset(4))  # Buffer.data, the table's first field
            spans.append(slice(start, start + size))
    return sorted(spans, key=lambda span: span.start)


def _check_slice(
    model: Model, chosen: Sequence[Operator], needed: Sequence[int], inputs: Sequence[int], outputs: Sequence[int]
) -> None:
    """Raise EpruneError unless these operators can be cut out with these inputs and outputs; they need ``needed``."""
    if not outputs:
        raise model_error(
            model.path,
            f"{' and '.join(map(str, chosen[:2]))} compute nothing that other operators wait for",
            "add the operators that use the result: each slice prepares its own weights and shapes",
        )
    _check_bonds(model, chosen)
    produced = {index for operator in chosen for index in operator.outputs}
    for index in (*inputs, *outputs):
        if not 0 <= index < len(model.tensors):
            hint = f"the model has tensors 0..{len(model.tensors) - 1}"
            raise model_error(model.path, f"has no tensor {index}", hint)
    for index in inputs:
        tensor = model.tensors[index]
        reasons = {
            "constant": tensor.constant,
            "state of its operator": tensor.variable,
            "produced by the slice itself": index in produced,
            "named twice": inputs.count(index) > 1,
        }
        reason = next((reason for reason, holds in reasons.items() if holds), None)
        if reason:
            raise model_error(model.path, f"tensor {index} ({tensor.name}) cannot be an input: it is {reason}")
    for index in needed:
        if index not in inputs:
            user = next(operator for operator in chosen if index in operator.inputs)
            tensor = model.tensors[index]
            raise model_error(model.path, f"{user} needs tensor {index} ({tensor.name}), which is not among the inputs")
    for index in outputs:
        tensor = model.tensors[index]
        if not (tensor.constant or index in produced or index in inputs):
            raise model_error(
                model.path, f"tensor {index} ({tensor.name}) cannot be an output: the slice does not produce it"
            )


def _check_bonds(model: Model, chosen: Sequence[Operator]) -> None:
    inside = {operator.index for operator in chosen}
    for bond in bonds(model):
        missing = [index for index in bond if index not in inside]
        if missing and len(missing) < len(bond):
            inner = next(model.operators[index] for index in bond if index in inside)
            raise model_error(
                model.path,
                f"{inner} shares state with {model.operators[missing[0]]}, which is not in the same slice",
                f"keep operators {', '.join(map(str, bond))} in one slice",
            )


def _extent(part: Any) -> int:
    """Roughly the bytes that an unpacked part of a model takes in a file."""
    if isinstance(part, list):
        return sum(4 + _extent(entry) for entry in part)
    if hasattr(part, "__dict__"):
        return sum(_extent(value) for value in vars(part).values())
    return len(part) if isinstance(part, bytes) else getattr(part, "nbytes", 0)


class _Constant:
    """A buffer for ModelT.buffers. BufferT itself would not align its data, and kernels rely on the alignment."""

    def __init__(self, schema: Any, data: Any) -> None:
        self.schema = schema
        self.data = data

    def Pack(self, builder: Any) -> int:  # noqa: N802 - the name that ModelT.Pack calls
        vector = 0
        if len(self.data):
            builder.Prep(_ALIGNMENT, len(self.data))
            vector = builder.CreateNumpyVector(self.data)
        self.schema.BufferStart(builder)
        self.schema.BufferAddData(builder, vector)
        return int(self.schema.BufferEnd(builder))


class _Slicer:
    """Writes one slice, numbering buffers and operator codes anew in the order in which they are first needed."""

    def __init__(self, model: Model, kept: Mapping[int, Narrowed] = MappingProxyType({})) -> None:
        self.schema = load_schema(model.path)
        self.source = model
        self.kept = kept
        self.root = self.schema.Model.GetRootAs(model.data)
        self.buffers: list[Any] = [_Constant(self.schema, b"")]  # buffer 0 is by convention the empty one
        self.buffer_index: dict[int, int] = {}
        self.opcode_index: dict[int, int] = {}
        self.budget = 2 * len(model.data)

    def slice(
        self,
        operators: Sequence[Operator],
        inputs: Sequence[int],
        outputs: Sequence[int],
        types: Optional[Mapping[int, TokenType]] = None,
    ) -> bytes:
        """The file: these operators as the main graph, with these inputs and outputs.

        With ``types``, all tensors are kept, those with the shapes of these, and the signature.
        """
        schema = self.schema
        graphs = [self._main(operators, inputs, outputs, types is not None)]
        if types is not None:
            state_shapes(graphs[0].tensors, types)
        if any(operator.subgraphs for operator in operators):
            # Calls go by index and may go on to further subgraphs: keeping all of them keeps every index right.
            graphs += [self._whole(self.root.Subgraphs(index)) for index in range(1, self.source.subgraphs)]
        model = schema.ModelT()
        model.version = self.root.Version()
        model.description = self.root.Description()
        model.subgraphs = graphs
        model.metadata = self._metadata()
        if self.kept:
            self.buffers = compacted(self.buffers, graphs, model.metadata or [])
        if types is not None and self.source.signature:
            model.signatureDefs = [packed(schema, self.source.signature)]
        model.operatorCodes = [
            schema.OperatorCodeT.InitFromObj(self._known(self.root.OperatorCodes(index), "OperatorCode"))
            for index in self.opcode_index
        ]
        return packed_model(schema, model, [buffer.data for buffer in self.buffers])

    def _main(
        self, operators: Sequence[Operator], inputs: Sequence[int], outputs: Sequence[int], everything: bool
    ) -> Any:
        source = self.root.Subgraphs(self.source.graph)
        own = {index for operator in operators for index in operator.tensors}
        used = sorted(with_details(self.source, own.union(inputs, outputs)))
        if everything:
            used = list(range(len(self.source.tensors)))
        index_of = {old: new for new, old in enumerate(used)}
        index_of[-1] = -1
        graph = self.schema.SubGraphT()
        graph.name = source.Name()
        graph.tensors = [self._tensor(source.Tensors(index)) for index in used]
        for index, values in () if everything else shapes.fixed(self.source).items():
            if index in index_of:
                graph.tensors[index_of[index]].buffer = len(self.buffers)
                self.buffers.append(_Constant(self.schema, shapes.as_bytes(values, self.source.tensors[index].type)))
        for tensor in graph.tensors:
            self._renumber_details(tensor.quantization, index_of)
        graph.inputs = [index_of[index] for index in inputs]
        graph.outputs = [index_of[index] for index in outputs]
        graph.operators = [self._operator(source.Operators(operator.index)) for operator in operators]
        for operator in graph.operators:
            for role in ("inputs", "outputs", "intermediates"):
                if getattr(operator, role) is not None:
                    setattr(operator, role, [index_of[int(index)] for index in getattr(operator, role)])
        if self.kept:
            narrower = Narrower(self.schema, self.source, graph, index_of, self.buffers)
            narrower.apply(operators, self.kept, lambda data: _Constant(self.schema, data))
        return graph

    def _whole(self, source: Any) -> Any:
        graph = self.schema.SubGraphT.InitFromObj(source)
        graph.tensors = [self._tensor(tensor) for tensor in tables(source.TensorsLength(), source.Tensors)]
        graph.operators = [self._operator(operator) for operator in tables(source.OperatorsLength(), source.Operators)]
        graph.debugMetadataIndex = -1
        return graph

    def _tensor(self, source: Any) -> Any:
        self._known(source, "Tensor")
        if source.Quantization() is not None:
            self._known(source.Quantization(), "QuantizationParameters")
            kind = source.Quantization().DetailsType()
            if kind:
                self._known(source.Quantization().Details(), enum_names(self.schema.QuantizationDetails)[kind])
        tensor = self._spend(self.schema.TensorT.InitFromObj(source))
        tensor.buffer = self._buffer_index(tensor.buffer)
        return tensor

    def _renumber_details(self, quantization: Any, index_of: Mapping[int, int]) -> None:
        if quantization is not None and quantization.detailsType:
            for field in DETAILS[enum_names(self.schema.QuantizationDetails)[quantization.detailsType]]:
                index = getattr(quantization.details, field)
                setattr(quantization.details, field, index_of.get(index, index))

    def _operator(self, source: Any) -> Any:
        self._known(source, "Operator")
        operator = self._spend(self.schema.OperatorT.InitFromObj(source))
        for role in ("BuiltinOptions", "BuiltinOptions2"):
            number = getattr(source, f"{role}Type", int)()
            if number:
                name = enum_names(getattr(self.schema, role)).get(number, f"{role} {number}")
                self._known(getattr(source, role)(), name)
        operator.opcodeIndex = self.opcode_index.setdefault(operator.opcodeIndex, len(self.opcode_index))
        operator.debugMetadataIndex = -1  # an index into metadata that is not kept
        if getattr(operator, "largeCustomOptionsOffset", 0) > 1:
            offset, size = operator.largeCustomOptionsOffset, operator.largeCustomOptionsSize
            operator.customOptions = self.source.data[offset : offset + size]
            operator.largeCustomOptionsOffset = operator.largeCustomOptionsSize = 0
        return operator

    def _spend(self, part: Any) -> Any:
        """The part, unless all parts are more than the file has: one huge vector may be shared by many small tables."""
        self.budget -= _extent(part)
        if self.budget < 0:
            raise ValueError("its tables claim more bytes than the file has")
        return part

    def _buffer_index(self, index: int) -> int:
        if index not in self.buffer_index:
            data = buffer_bytes(self.source.data, self.root, index)
            self.buffer_index[index] = len(self.buffers) if len(data) else 0
            if len(data):
                self.buffers.append(_Constant(self.schema, data))
        return self.buffer_index[index]

    def _metadata(self) -> Optional[list[Any]]:
        entries = tables(self.root.MetadataLength(), self.root.Metadata)
        kept = [self.schema.MetadataT.InitFromObj(entry) for entry in entries if entry.Name() == _KEPT_METADATA]
        for entry in kept:
            entry.buffer = self._buffer_index(entry.buffer)
        return kept or None

    def _known(self, table: Any, name: str) -> Any:
        """The table, once the installed schema is sure to know all its fields: others would be lost without a word."""
        import flatbuffers
        from flatbuffers import number_types

        start = getattr(self.schema, f"{name}Start", None)
        raw = getattr(table, "_tab", table)
        builder = flatbuffers.Builder(0)
        if start is not None:
            start(builder)
            vtable = raw.Pos - raw.Get(number_types.SOffsetTFlags, raw.Pos)
            fields = range(4, raw.Get(number_types.VOffsetTFlags, vtable), 2)[len(builder.current_vtable) :]
        if start is None or any(raw.Offset(field) for field in fields):
            hint = "install a newer ai-edge-litert; is the file corrupt?"
            raise model_error(
                self.source.path, f"has {name} fields that the installed ai-edge-litert does not know", hint
            )
        return table
