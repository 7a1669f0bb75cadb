"""A model as it is imported: one signature of it, all shapes stated, as far as an interpreter can tell them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Optional

from eprune.formats.model_files import parse_model, read_model
from eprune.formats.models.errors import model_error
from eprune.formats.models.metadata import Metadata
from eprune.formats.models.parts import Model, Tensor
from eprune.formats.models.signatures import listed, several
from eprune.formats.models.slices import restated
from eprune.measure.probe import open_types
from eprune.model.token import TokenType
from eprune.passes.import_ import end_names, find_end

#: What the compiler for the Edge TPU makes of many operators.
EDGE_TPU = "edgetpu-custom-op"
_LARGEST = 2**31 - 1  # of a dimension, in elements


@dataclass(frozen=True)
class Stated:
    """``model`` is what to import, under the file name ``file``; ``types`` are those that its file still leaves open.

    ``metadata`` are those of the original file, ``notes`` say what was assumed.
    """

    model: Model
    types: Mapping[int, TokenType]
    file: str
    notes: tuple[str, ...]
    metadata: Metadata


def stated(path: str, signature: Optional[str] = None, shapes: Sequence[str] = ()) -> Stated:
    """The model at ``path``, with ``shapes`` as texts ``INPUT=1,1280``.

    It is the file as it is, unless the signature is of another graph than the first, or shapes are given, or an
    interpreter finds other shapes than the file has, or some that operators ask for: then it is a file in which that
    graph is the first, and shapes are stated. Raises EpruneError (FILE) where a signature must be chosen, and for
    shapes that cannot be.
    """
    whole = read_model(path, signature)
    keys = listed([each.key for each in whole.signatures])
    if signature is None and several(whole.signatures):
        message = f"has {len(whole.signatures)} signatures: {keys}"
        raise model_error(path, message, "choose one with --signature NAME")
    _check_operators(whole)
    wanted = dict(_shape(whole, text) for text in shapes)
    metadata = whole.format.metadata(whole)
    types = open_types(whole, wanted)
    notes = tuple(_note(whole, index) for index in whole.inputs if whole.tensors[index].open and index not in wanted)
    name = PurePath(path)
    stem = f"{name.stem}_{re.sub('[^A-Za-z0-9_-]+', '_', signature)}" if signature and whole.graph else name.stem
    differ = any(token.shape != whole.tensors[index].shape for index, token in types.items())
    differ = differ or whole.format.open_questions(whole, types)
    if not (wanted or differ or whole.graph):
        return Stated(whole, types, name.name, notes, metadata)
    if wanted or differ:
        sizes = ["x".join(map(str, wanted[index])) for index in whole.inputs if index in wanted]
        stem += f"_{'_'.join(sizes) or 'stated'}"
    return Stated(
        parse_model(restated(whole, types), path), types, f"{stem[:100]}{whole.format.suffix}", notes, metadata
    )


def _check_operators(model: Model) -> None:
    """Raise EpruneError (FILE) for a model without operators, and for one that only an Edge TPU can run."""
    if not model.operators:
        raise model_error(model.path, "has no operators: there is nothing to compute, and nothing to cut")
    if any(operator.name == EDGE_TPU for operator in model.operators):
        hint = "import the file that it was compiled from, mostly the one without _edgetpu in its name"
        raise model_error(model.path, "is compiled for an Edge TPU, whose operators nobody can look into", hint)


def _shape(model: Model, text: str) -> tuple[int, tuple[int, ...]]:
    """The input and the shape that ``INPUT=1,1280`` gives it."""
    name, sign, numbers = text.rpartition("=")
    if not sign or not re.fullmatch(r"[0-9]{1,10}(,[0-9]{1,10})*", numbers):
        raise model_error(model.path, f"--shape {text!r} is not of the form INPUT=1,1280")
    index = find_end(model, model.inputs, name)
    if index is None:
        known = ", ".join(f"{place}: {each}" for place, each in enumerate(end_names(model, model.inputs)))
        raise model_error(model.path, f"--shape {text}: the model has no input {name!r}", f"its inputs are {known}")
    shape = tuple(map(int, numbers.split(",")))
    tensor = model.tensors[index]
    same = len(shape) == len(tensor.shape) and all(
        size == own or place in tensor.open or not tensor.open
        for place, (size, own) in enumerate(zip(shape, tensor.shape))
    )
    if not same or not all(0 < size <= _LARGEST for size in shape):
        hint = "give as many numbers, above 0, and other ones only where the model leaves a dimension open (?)"
        raise model_error(model.path, f"--shape {text}: the input is {_declared(tensor)}", hint)
    return index, shape


def _note(model: Model, index: int) -> str:
    tensor = model.tensors[index]
    name = end_names(model, model.inputs)[model.inputs.index(index)]
    shape = ",".join(map(str, tensor.shape))
    return f"input {name!r} is {_declared(tensor)}, and taken as [{shape}]; --shape {name}=... gives it another shape"


def _declared(tensor: Tensor) -> str:
    sizes = ("?" if place in tensor.open else str(size) for place, size in enumerate(tensor.shape))
    return f"{tensor.dtype or tensor.type}[{','.join(sizes)}]"
