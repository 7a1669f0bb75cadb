"""What a model file consists of, as far as eprune looks at it: tensors, operators, and the model that they are of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

from eprune.formats.models.format import Format
from eprune.formats.models.signatures import Signature
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

    def name(self, tensor: int) -> str:
        """A tensor's name: that in the signature, if it has one, else the file's; ``tensor3`` for none."""
        names = self.signature.names if self.signature else {}
        return names.get(tensor) or self.tensors[tensor].name or f"tensor{tensor}"
