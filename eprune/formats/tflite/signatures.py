"""The signatures in a .tflite file, read and written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Optional

from eprune.formats.models.signatures import Signature

if TYPE_CHECKING:
    from eprune.model.token import TokenType


def read_signatures(root: Any, text: Callable[[Optional[bytes]], str]) -> tuple[Signature, ...]:
    """A file's signatures; ``text`` makes a text of a string of the file."""

    def ends(count: int, get: Callable[[int], Any]) -> dict[str, int]:
        return {text(end.Name()): end.TensorIndex() for end in map(get, range(count))}

    found = []
    for each in map(root.SignatureDefs, range(root.SignatureDefsLength())):
        inputs, outputs = ends(each.InputsLength(), each.Inputs), ends(each.OutputsLength(), each.Outputs)
        found.append(Signature(text(each.SignatureKey()), each.SubgraphIndex(), inputs, outputs))
    return tuple(found)


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
