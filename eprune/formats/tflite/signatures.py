"""The signatures of a model: functions with names, each a graph of the file, its inputs and outputs named."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Optional

if TYPE_CHECKING:
    from eprune.model.token import TokenType


@dataclass(frozen=True)
class Signature:
    """One of them: ``inputs`` and ``outputs`` map its names to tensors of graph ``graph``."""

    key: str
    graph: int
    inputs: Mapping[str, int] = field(default_factory=dict)
    outputs: Mapping[str, int] = field(default_factory=dict)

    @property
    def names(self) -> dict[int, str]:
        """Tensor -> its name here; the first, where it has several."""
        found: dict[int, str] = {}
        for name, index in (*self.inputs.items(), *self.outputs.items()):
            found.setdefault(index, name)
        return found


def read_signatures(root: Any, text: Callable[[Optional[bytes]], str]) -> tuple[Signature, ...]:
    """A file's signatures; ``text`` makes a text of a string of the file."""

    def ends(count: int, get: Callable[[int], Any]) -> dict[str, int]:
        return {text(end.Name()): end.TensorIndex() for end in map(get, range(count))}

    found = []
    for each in map(root.SignatureDefs, range(root.SignatureDefsLength())):
        inputs, outputs = ends(each.InputsLength(), each.Inputs), ends(each.OutputsLength(), each.Outputs)
        found.append(Signature(text(each.SignatureKey()), each.SubgraphIndex(), inputs, outputs))
    return tuple(found)


def chosen(signatures: Sequence[Signature], key: Optional[str]) -> Optional[Signature]:
    """The signature of that name; without one, that of the file's first graph, if there is one.

    Raises ValueError, with what there is, where there is none of that name.
    """
    if key is None:
        return next((each for each in signatures if each.graph == 0), None)
    for each in signatures:
        if each.key == key:
            return each
    keys = [each.key for each in signatures]
    near = difflib.get_close_matches(key, keys, 1)
    there = f"did you mean {near[0]!r}?" if near else f"it has {listed(keys)}" if keys else "it has none"
    raise ValueError(f"has no signature {key!r} ({there})")


def several(signatures: Sequence[Signature]) -> bool:
    """Whether signatures mean different graphs, so that one must be chosen."""
    return len({each.graph for each in signatures}) > 1


def listed(keys: Sequence[str]) -> str:
    """``'add', 'mul'``, and how many more."""
    return ", ".join(map(repr, keys[:8])) + (f" and {len(keys) - 8} more" if len(keys) > 8 else "")


def packed(schema: Any, signature: Signature) -> Any:
    """The signature as a table of a file that has its graph first."""
    made = schema.SignatureDefT()
    made.signatureKey, made.subgraphIndex, made.inputs, made.outputs = signature.key, 0, [], []
    for ends, tensors in ((made.inputs, signature.inputs), (made.outputs, signature.outputs)):
        for name, index in tensors.items():
            end = schema.TensorMapT()
            end.name, end.tensorIndex = name, index
            ends.append(end)
    return made


def state_shapes(tensors: Sequence[Any], types: Mapping[int, TokenType]) -> None:
    """Give unpacked tensors the shapes of these types, as if the file had always stated them."""
    for index, token in types.items():
        tensors[index].shape = list(token.shape)
        tensors[index].shapeSignature = None
        tensors[index].hasRank = True
