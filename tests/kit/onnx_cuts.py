"""An ONNX model cut in two at every place: does it compute the same, bit for bit?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from eprune.formats.models.cuts import pieces
from eprune.formats.models.flow import flow
from eprune.formats.models.parts import Model
from eprune.formats.models.slices import slice_model
from eprune.runtime.fire import onnxruntime


def run(data: bytes, given: Mapping[str, Any]) -> dict[str, Any]:
    """The outputs of a model by name; of ``given`` it takes what it has."""
    session = onnxruntime.load(data, 1).session
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(names, {each.name: given[each.name] for each in session.get_inputs()})))


def random_inputs(model: Model, seed: int = 0) -> dict[str, Any]:
    """Random values for a model's inputs, by name."""
    random = np.random.default_rng(seed)
    given = {}
    for index in model.inputs:
        tensor = model.tensors[index]
        assert tensor.token is not None
        kind, shape = np.dtype(tensor.token.dtype), tensor.token.shape
        values = random.standard_normal(shape) if kind.kind == "f" else random.integers(0, 200, shape)
        given[tensor.name] = np.asarray(values).astype(kind)
    return given


def differences(model: Model, everywhere: bool = False) -> Iterator[tuple[int, bool]]:
    """Cut behind an operator -> whether the halves differ from the whole, at each place that import would cut at.

    ``everywhere``: behind each operator, whatever import keeps together.
    """
    flows = flow(model)
    given = random_inputs(model)
    whole = run(model.data, given)
    free = {flows.end(piece) for piece in pieces(model, flows)[:-1]}
    for place in range(1, len(flows.work)):
        if everywhere or flows.work[place - 1] in free:
            parts = [slice_model(model, operators) for operators in (flows.work[:place], flows.work[place:])]
            first = run(parts[0], given)
            found = {**first, **run(parts[1], {**given, **first})}
            yield flows.work[place - 1], any(found[name].tobytes() != whole[name].tobytes() for name in whole)
