"""What only an interpreter knows of a model: whether it takes it, and the shapes that the file leaves open.

The interpreter runs in a process of its own, with bounds on time and memory, since a corrupt model can crash it.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Optional

from eprune.measure import apart

if TYPE_CHECKING:
    from eprune.formats.tflite.parts import Model
    from eprune.model.token import TokenType

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
    from eprune.formats.tflite.model import model_error
    from eprune.model.token import TokenType
    from eprune.runtime.fire.tflite import INTERPRETERS, choose, describe
    from eprune.runtime.kernel.errors import UsageError

    asked = [t.index for t in model.tensors if t.dtype and not t.constant and (inputs or not t.token)]
    problems: dict[str, list[str]] = {}
    for name in INTERPRETERS:
        with contextlib.suppress(UsageError), _file(model) as path:
            shapes, problem = _ask(choose(name), path, asked, plain=bool(asked), inputs=inputs)
            if problem and asked:  # some models need a delegate
                shapes, problem = _ask(choose(name), path, asked, inputs=inputs)
            if not problem:
                return {
                    index: TokenType(model.tensors[index].dtype or "", shape)
                    for index, shape in shapes.items()
                    if min(shape, default=1) > 0
                }
            problems.setdefault(problem, []).append(describe(name))
    reasons = [f"refused by {' and '.join(names)}: {problem}" for problem, names in problems.items()]
    hint = "an application runs only what its interpreter runs; are all operators built in, and is the file complete?"
    raise model_error(model.path, "; ".join(reasons) or "no TFLite interpreter is installed", hint)


def try_out(model: Model, interpreter: str) -> None:
    """Load and run a model in another process. Raises EpruneError (FILE) where an interpreter refuses it or crashes."""
    from eprune.formats.tflite.model import model_error
    from eprune.runtime.fire.tflite import describe

    with _file(model) as path:
        _, problem = _ask(interpreter, path, [], run=True)
    if problem:
        raise model_error(model.path, f"refused by {describe(interpreter)}: {problem}", "is the file complete?")


@contextlib.contextmanager
def _file(model: Model) -> Iterator[str]:
    """The path of a file whose first graph is the model's: its own, or one that is there as long as the context."""
    if not model.graph:
        yield model.path
        return
    from eprune.formats.tflite.slicing import restated

    with tempfile.TemporaryDirectory(prefix="eprune-") as folder:
        path = Path(folder, Path(model.path).name)
        path.write_bytes(restated(model, {}))
        yield str(path)


def _ask(
    interpreter: str,
    path: str,
    tensors: Sequence[int],
    run: bool = False,
    plain: bool = False,
    inputs: Mapping[int, tuple[int, ...]] = MappingProxyType({}),
) -> tuple[dict[int, tuple[int, ...]], str]:
    """Tensor -> shape, or what is wrong. The model is run if shapes are asked for, or ``run`` says so.

    ``plain``: without a delegate, which keeps the shapes of tensors between its own operators to itself.
    """
    question = {"tensors": list(tensors), "run": run or bool(tensors), "plain": plain, "inputs": dict(inputs)}
    try:
        *_, answer = apart.answers("eprune.measure.probe", [interpreter, path], question, TIMEOUT)
    except apart.Died as error:
        return {}, str(error)
    except ValueError:
        return {}, "it ends without an answer"
    return {int(index): tuple(shape) for index, shape in answer["shapes"].items()}, answer["problem"]


def _answer(
    interpreter: str, path: str, tensors: Sequence[int], run: bool, plain: bool, inputs: Mapping[str, Sequence[int]]
) -> dict[str, Any]:
    """In the process of its own: load the model, and run it if asked to."""
    import numpy as np

    from eprune.runtime.fire.tflite import load

    shapes = {int(index): tuple(shape) for index, shape in inputs.items()}
    try:
        model = load(interpreter, Path(path).read_bytes(), delegates=not plain, shapes=shapes)
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
            runs.append({index: details[index]["shape"].tolist() for index in tensors if index in details})
    except Exception as error:
        return {"shapes": {}, "problem": _plain(str(error)) or type(error).__name__}
    same = {index: shape for index, shape in (runs or [{}])[0].items() if all(run[index] == shape for run in runs)}
    return {"shapes": same, "problem": ""}


def _plain(text: str) -> str:
    """An interpreter's message on one line, each sentence once, without addresses of web pages."""
    line = " ".join(re.sub(r"See instructions: \S+", "", text).split()).rstrip(".")
    sentences = (sentence.strip() for sentence in re.split(r"\.\s*(?=[A-Z])", line))
    return ". ".join(dict.fromkeys(filter(None, sentences)))[:400]


def _values(detail: Any, seed: Optional[int], numpy: Any) -> Any:
    if seed is None:
        return numpy.zeros(detail["shape"], detail["dtype"])
    return numpy.random.default_rng(seed).integers(0, 2, detail["shape"]).astype(detail["dtype"])


if __name__ == "__main__":
    apart.bound_memory(MEMORY + 16 * Path(sys.argv[2]).stat().st_size)
    print(json.dumps(_answer(sys.argv[1], sys.argv[2], **json.load(sys.stdin))))
