"""Cutting operators out of a .tflite model: a new flatbuffer out of parts of an old one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Optional

from eprune.formats.models.boundary import with_details
from eprune.formats.models.errors import model_error
from eprune.formats.models.parts import Model, Operator
from eprune.formats.tflite import shapes
from eprune.formats.tflite.channels import Narrowed
from eprune.formats.tflite.model import CORRUPT, DETAILS, buffer_bytes, enum_names, load_schema, root_of, tables
from eprune.formats.tflite.narrowing import Narrower, compacted, narrowed
from eprune.formats.tflite.signatures import packed, state_shapes
from eprune.model.behaviour import Kept
from eprune.model.token import TokenType

#: The metadata that XNNPACK chooses a precision by. The rest describes the file, or tensors by the whole's indices.
_KEPT_METADATA = b"reduced_precision_support"

_ALIGNMENT = 16  # of constants: `force_align: 16` of Buffer.data in TFLite's schema
_LARGE = 1024  # bytes: a smaller constant is not worth a file of its own


def write_slice(
    model: Model,
    operators: Sequence[Operator],
    inputs: Sequence[int],
    outputs: Sequence[int],
    kept: Sequence[Kept] = (),
) -> bytes:
    """See ``Format.write``. Raises EpruneError (FILE) for what ai-edge-litert's schema does not know, too."""
    try:
        found = narrowed(model, [operator.index for operator in operators], kept)
        return _Slicer(model, found).slice(operators, inputs, outputs)
    except CORRUPT as error:
        raise model_error(model.path, f"is corrupt: {error}", "copy or convert it again") from None


def restated(model: Model, types: Mapping[int, TokenType]) -> bytes:
    """See ``slices.restated``: the graph of the model's signature comes first."""
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
    """Where the constants of at least 1 KiB lie in what was written here, in rising order."""
    root = load_schema("").Model.GetRootAs(data)
    spans = []
    for buffer in tables(root.BuffersLength(), root.Buffers):
        size = buffer.DataLength()
        if size >= _LARGE:
            start = buffer._tab.Vector(buffer._tab.Offset(4))  # Buffer.data, the table's first field
            spans.append(slice(start, start + size))
    return sorted(spans, key=lambda span: span.start)


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
        self.root = root_of(model)
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
        for index, values in () if everything else self.source.fixed.items():
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
