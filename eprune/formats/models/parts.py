"""What a model file consists of, as far as eprune looks at it: tensors, operators, the model that they are of; and what
a format of model files answers. Everything else about models is the same for all formats.

A format is a class derived from ``Format``, in a room of its own beside this one, and an entry in
``model_files.FORMATS``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Optional

from eprune.formats.models.metadata import Metadata
from eprune.formats.models.quantization import Quantization
from eprune.formats.models.signatures import Signature
from eprune.model.behaviour import Kept
from eprune.model.token import TokenType

#: What stands for a resource that the file alone does not tell.
UNKNOWN = "?"


@dataclass(frozen=True)
class Tensor:
    """A tensor of the model's graph.

    ``type`` is the format's name of the element type (``FLOAT32``, ``FLOAT``), ``dtype`` numpy's (``float32``), None if
    it has none. ``token`` is None where the file does not state what a FIFO would carry: the shape is known to engines
    alone, and ``shape`` is what the file has in its place; or elements have no dtype. ``constant``: nothing ever writes
    it; ``nbytes`` of it are then stored in the file, shared with all tensors of the same ``buffer``. ``variable``:
    state that an operator keeps from one invocation to the next. ``details`` are the constants that its quantisation
    names (scales by block, say); no operator does. ``open``: the dimensions, counted from 0, that the file leaves open.
    """

    index: int
    name: str
    type: str
    dtype: Optional[str]
    shape: tuple[int, ...]
    token: Optional[TokenType]
    constant: bool
    variable: bool
    buffer: int
    nbytes: int
    details: tuple[int, ...] = ()
    open: tuple[int, ...] = ()


@dataclass(frozen=True)
class Operator:
    """An operator of the model's graph: ``name`` is ``CONV_2D``, ``Conv``, or the name of a custom operator.

    ``inputs`` are tensor indices, -1 for an optional input that is absent. ``intermediates`` describe quantisation
    inside the operator. ``subgraphs`` are those that it calls (IF, WHILE, CALL_ONCE, ...), ``resources`` the variables
    and tables of the interpreter that it touches, there as well.
    """

    index: int
    name: str
    builtin: bool
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    intermediates: tuple[int, ...] = ()
    subgraphs: tuple[int, ...] = ()
    resources: tuple[str, ...] = ()

    @property
    def tensors(self) -> tuple[int, ...]:
        """All tensors that the operator refers to."""
        return tuple(index for index in self.inputs + self.outputs + self.intermediates if index >= 0)

    def __str__(self) -> str:
        return f"operator {self.index} ({self.name})"


@dataclass(frozen=True)
class Model:
    """What is in a model file: one graph's operators in execution order, its tensors, inputs and outputs.

    ``graph`` is that graph's number, 0 but for a chosen signature; ``subgraphs`` counts all of the file.
    ``signatures`` are the file's, ``signature`` is that of the graph, if it has one. ``data`` is the file, ``format``
    what knows how it is written.
    """

    path: str
    operators: tuple[Operator, ...]
    tensors: tuple[Tensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    subgraphs: int
    data: bytes = field(repr=False, compare=False)
    format: Format = field(repr=False, compare=False)
    graph: int = 0
    signature: Optional[Signature] = None
    signatures: tuple[Signature, ...] = ()

    @cached_property
    def early(self) -> frozenset[int]:
        """The operators whose results are known before the run (``Format.early``)."""
        return self.format.early(self)

    @cached_property
    def fixed(self) -> Mapping[int, tuple[int, ...]]:
        """Tensor -> its values, of shapes that the file states (``Format.fixed``)."""
        return self.format.fixed(self)

    @cached_property
    def bonds(self) -> tuple[tuple[int, ...], ...]:
        """Sets of operators that share state (``Format.bonds``)."""
        return self.format.bonds(self)

    def name(self, tensor: int) -> str:
        """A tensor's name: that in the signature, if it has one, else the file's; ``tensor3`` for none."""
        names = self.signature.names if self.signature else {}
        return names.get(tensor) or self.tensors[tensor].name or f"tensor{tensor}"


@dataclass(frozen=True)
class Left:
    """What is left where operators keep some output channels only: the ``channels`` of each tensor that has not all,
    and how many bytes of constants are ``saved``. Channels are ``axis`` of a tensor, from its end: -1 is the last.
    """

    channels: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    saved: int = 0
    axis: Mapping[int, int] = field(default_factory=dict)


class Format(ABC):
    """A format of model files. Its names of operators are those of ``Operator.name``.

    ``suffix`` is what names of its files end in, ``engines`` are the names of those that read it, what runs on a plain
    unit first. ``main`` are operators that a layer is named after, ``leading`` those
    that prepare the input of the layer that comes next, ``trailing`` those that finish a layer's result, where that
    and constants are all that they read.
    """

    name: ClassVar[str]
    suffix: ClassVar[str]
    engines: ClassVar[tuple[str, ...]]
    main: ClassVar[frozenset[str]]
    leading: ClassVar[frozenset[str]]
    trailing: ClassVar[frozenset[str]]

    @abstractmethod
    def parse(self, data: bytes, path: str, signature: Optional[str] = None) -> Model:
        """The model in a file's bytes; ``path`` is where it lies. Raises EpruneError (FILE) for what is none."""

    @abstractmethod
    def early(self, model: Model) -> frozenset[int]:
        """The operators whose results are known before the run: they unpack constants, or compute with shapes.

        Each slice carries those that it needs, so that they are no work to place anywhere. On their own they are no
        slice, except where they fill an output of the graph.
        """

    @abstractmethod
    def fixed(self, model: Model) -> Mapping[int, tuple[int, ...]]:
        """Tensor -> its values, where these are a shape that the file states: nobody needs to compute it."""

    def open_questions(self, model: Model, types: Mapping[int, TokenType]) -> bool:
        """Whether more would be ``fixed`` if the file stated the shapes of these types."""
        return False

    @abstractmethod
    def bonds(self, model: Model) -> tuple[tuple[int, ...], ...]:
        """Sets of operators that share state, so that a slice must hold all of a set or none of it."""

    @abstractmethod
    def fused(self, model: Model) -> Iterator[tuple[int, int, str]]:
        """Operators that an engine computes as one, with other rounding than one after the other: the first and the
        last of them, and why, for people.
        """

    @abstractmethod
    def macs(self, model: Model, operator: Operator, types: Optional[Mapping[int, TokenType]] = None) -> int:
        """Multiplications that are added up, of one run of an operator; 0 for those that multiply no matrices, and
        where shapes are not known. ``types`` are those of tensors whose type the file does not state.
        """

    @abstractmethod
    def write(
        self,
        model: Model,
        operators: Sequence[Operator],
        inputs: Sequence[int],
        outputs: Sequence[int],
        kept: Sequence[Kept] = (),
    ) -> bytes:
        """A file of just these operators, in execution order, and the constants that they need. Same arguments, same
        bytes. See ``slices.slice_model``, which has checked that they fit together.
        """

    @abstractmethod
    def restated(self, model: Model, types: Mapping[int, TokenType]) -> bytes:
        """See ``slices.restated``."""

    @abstractmethod
    def constant_spans(self, data: bytes) -> list[slice]:
        """Where the constants of at least 1 KiB lie in what ``write`` wrote, in rising order."""

    @abstractmethod
    def narrowed(self, model: Model, operators: Iterable[int], kept: Sequence[Kept]) -> Left:
        """What is left of a slice of ``operators``, of which some keep some output channels only.

        Raises EpruneError (FILE) where they cannot be kept alone.
        """

    def quantization(self, model: Model, tensor: int) -> Optional[Quantization]:
        """That of a tensor; None where it has none, or one for each channel."""
        return None

    def metadata(self, model: Model) -> Metadata:
        """What the file says of the model's ends. A ``restated`` file may have lost it."""
        return Metadata()

    def starters(self, model: Model, operators: Sequence[Operator]) -> Sequence[Operator]:
        """The operators that fill, once, state that these find: each slice has its own."""
        return ()
