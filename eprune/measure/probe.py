"""What only an interpreter knows of a model: whether it takes it, and the shapes that the file leaves open.

The interpreter runs in a process of its own, with bounds on time and memory, since a corrupt model can crash it.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Optional

from eprune.measure import apart

if TYPE_CHECKING:
    from eprune.formats.models.parts import Model
    from eprune.model.token import TokenType
    from eprune.runtime.fire.engines import ModelEngine

#: Seconds that an interpreter may take to load a model, and run it twice if it has open shapes.
TIMEOUT = 120
#: Bytes of memory that it may take, beside 16 times the model's size.
MEMORY = 2**32


def chosen_interpreter(wanted: str) -> tuple[str, str]:
    """The interpreter to use, and its name with its version. Raises WrongUsage if it is not installed."""
    from eprune.model.finding import WrongUsage
    from eprune.runtime.fire.tflite import choose, describe
    from eprune.runtime.kernel.errors import UsageError

    try:
        name = choose(wanted)
    except UsageError as error:
        raise WrongUsage(str(error)) from None
    return name, describe(name)


def open_types(model: Model, inputs: Mapping[int, tuple[int, ...]] = MappingProxyType({})) -> dict[int, TokenType]:
    """The types of tensors that the file leaves open, found by an interpreter: a run of zeros, one of other values.

    ``inputs`` are the shapes of inputs, where they are not to be those of the file; all types follow from them. Tensors
    whose shape differs between the two runs are left out. Raises EpruneError (FILE) for a model that no installed
    interpreter takes, with their reasons.
    """
    from eprune.formats.models.errors import model_error
    from eprune.measure.engines import plain_engines
    from eprune.model.token import TokenType
    from eprune.runtime.kernel.errors import UsageError

    asked = [t.index for t in model.tensors if not t.constant and (inputs or not t.token)]
    problems: dict[str, list[str]] = {}
    missing = []
    for engine in plain_engines(model):
        try:
            described = engine.describe()
        except UsageError as error:
            missing.append(str(error))
            continue
        with _file(model) as path:
            found, problem = _ask(engine, path, asked, plain=bool(asked), inputs=inputs)
            if problem and asked:  # some models need a delegate
                found, problem = _ask(engine, path, asked, inputs=inputs)
        if not problem:
            types = {index: TokenType(dtype, shape) for index, (dtype, shape) in found.items() if dtype}
            return {index: token for index, token in types.items() if min(token.shape, default=1) > 0}
        problems.setdefault(problem, []).append(described)
    hint = "an application runs only what its interpreter runs; are all operators built in, and is the file complete?"
    reasons = [f"refused by {' and '.join(names)}: {problem}" for problem, names in problems.items()]
    raise model_error(model.path, "; ".join(reasons or missing), hint if reasons else "")


def try_out(model: Model, interpreter: str) -> None:
    """Load and run a model in another process. Raises EpruneError (FILE) where an interpreter refuses it or crashes."""
    from eprune.formats.models.errors import model_error
    from eprune.measure.engines import plain_engine

    engine = plain_engine(model, interpreter)
    with _file(model) as path:
        _, problem = _ask(engine, path, [], run=True)
    if problem:
        raise model_error(model.path, f"refused by {engine.describe()}: {problem}", "is the file complete?")


@contextlib.contextmanager
def _file(model: Model) -> Iterator[str]:
    """The path of a file whose first graph is the model's: its own, or one that is there as long as the context."""
    if not model.graph:
        yield model.path
        return
    from eprune.formats.models.slices import restated

    with tempfile.TemporaryDirectory(prefix="eprune-") as folder:
        path = Path(folder, Path(model.path).name)
        path.write_bytes(restated(model, {}))
        yield str(path)


def _ask(
    engine: ModelEngine,
    path: str,
    tensors: Sequence[int],
    run: bool = False,
    plain: bool = False,
    inputs: Mapping[int, tuple[int, ...]] = MappingProxyType({}),
) -> tuple[dict[int, tuple[str, tuple[int, ...]]], str]:
    """Tensor -> dtype ("" for none) and shape, or what is wrong. It runs the model if asked for some, or by ``run``.

    ``plain``: without a delegate, which keeps the shapes of tensors between its own operators to itself.
    """
    question = {"tensors": list(tensors), "run": run or bool(tensors), "plain": plain, "inputs": dict(inputs)}
    try:
        *_, answer = apart.answers("eprune.measure.probe", [engine.interpreter, path], question, TIMEOUT)
    except apart.Died as error:
        return {}, str(error)
    except ValueError:
        return {}, "it ends without an answer"
    types = {int(index): (dtype, tuple(shape)) for index, (dtype, shape) in answer["types"].items()}
    return types, answer["problem"]


def _answer(
    interpreter: str, path: str, tensors: Sequence[int], run: bool, plain: bool, inputs: Mapping[str, Sequence[int]]
) -> dict[str, Any]:
    """In the process of its own: load the model, and run it if asked to."""
    import numpy as np

    from eprune.runtime.fire.tflite import choose, load

    shapes = {int(index): tuple(shape) for index, shape in inputs.items()}
    try:
        model = load(choose(interpreter), Path(path).read_bytes(), delegates=not plain, shapes=shapes)
        runs = []
        for seed in (None, 1) if run else ():
            for detail in model.get_input_details():
                model.set_tensor(detail["index"], _values(detail, seed, np))
            try:
                model.invoke()
            except RuntimeError:
                continue  # not every model takes any values
            if not tensors:
                continue  # tflite-runtime crashes when it is asked about sparse tensors
            details = {detail["index"]: detail for detail in model.get_tensor_details()}
            runs.append({index: _type(details[index], np) for index in tensors if index in details})
    except Exception as error:
        return {"types": {}, "problem": apart.plain_words(str(error)) or type(error).__name__}
    return {"types": apart.same_in_all(runs), "problem": ""}


def _type(detail: Any, numpy: Any) -> tuple[str, list[int]]:
    kind = numpy.dtype(detail["dtype"])
    return ("" if kind.hasobject or kind.kind in "SU" else kind.name), detail["shape"].tolist()


def _values(detail: Any, seed: Optional[int], numpy: Any) -> Any:
    if seed is None:
        return numpy.zeros(detail["shape"], detail["dtype"])
    return numpy.random.default_rng(seed).integers(0, 2, detail["shape"]).astype(detail["dtype"])


if __name__ == "__main__":
    apart.bound_memory(MEMORY + 16 * Path(sys.argv[2]).stat().st_size)
    from eprune.formats.model_files import ONNX, format_of

    question = json.load(sys.stdin)
    if format_of(sys.argv[2]) is ONNX:
        from eprune.measure.probe_onnx import answer as answer_onnx

        found = answer_onnx(sys.argv[2], question["tensors"], question["run"], question["inputs"])
    else:
        found = _answer(sys.argv[1], sys.argv[2], **question)
    print(json.dumps(found))
