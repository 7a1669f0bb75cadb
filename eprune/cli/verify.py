"""``eprune verify``: does an application compute what its model computes?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import click

from eprune.cli import options
from eprune.cli.errors import FINDINGS
from eprune.cli.printing import show

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eprune.measure.verify import Difference, Slices


@click.command("verify", short_help="Compare an application with its model, bit for bit.")
@click.argument("application", metavar="APP.xml")
@options.outside_option
@click.option("--model", metavar="MODEL.tflite", required=True, help="The whole model.")
@click.option(
    "--inputs",
    "folder",
    metavar="DIR",
    help="A folder with NAME.npy for each input, a stack of tokens (default: random inputs).",
)
@click.option(
    "--frames", type=click.IntRange(min=1), metavar="N", help="Stop after N frames (default: all, or 3 random ones)."
)
@click.option("--seed", type=click.IntRange(min=0), metavar="N", help="Seed of random inputs (default: 1).")
@click.option(
    "--interpreter",
    type=click.Choice(["auto", "ai-edge-litert", "tflite-runtime"]),
    default="auto",
    help="The TFLite interpreter to use (default: auto, the first that is installed).",
)
@click.option("--format", "fmt", type=click.Choice(["text", "json"]), default="text", help="text (default) or json.")
def command(
    application: str,
    model: str,
    folder: Optional[str],
    frames: Optional[int],
    seed: Optional[int],
    interpreter: str,
    fmt: str,
) -> int:
    """Compare an application's slices with the whole model, bit for bit, and name the first actor that differs.

    Runs the slices one after the other, in precedence order, each on what those before it computed; beside them the
    whole model, and the whole model with the tensors between the slices as further outputs. Exit code: 0 equal,
    1 different, 2 unusable input.

    \b
    Examples:
      eprune verify app/application.xml --model model.tflite
      eprune verify app/application.xml --model model.tflite --inputs frames/ --interpreter tflite-runtime
    """
    from eprune.cli.progress import progress
    from eprune.cli.reading import read_sound
    from eprune.measure.comparison import compare
    from eprune.measure.probe import chosen_interpreter, try_out
    from eprune.measure.verify import Slices, whole_model

    if folder is not None and seed is not None:
        raise click.UsageError("--seed is for random inputs; --inputs has others")
    system = read_sound(application)
    slices = Slices(system, whole_model(system, model))
    chosen, version = chosen_interpreter(interpreter)
    try_out(slices.model, chosen)
    wanted = [index for index in slices.model.inputs if index not in slices.feedback]
    if folder is None:
        values = [_random(slices, wanted, 1 if seed is None else seed, frame) for frame in range(frames or 3)]
    else:
        values = _stacks(slices, wanted, folder)[:frames]
    shown = progress(len(values))
    try:
        difference = compare(slices, chosen, values, shown)
    finally:
        shown.clear()
    report = {
        "equal": difference is None,
        "frames": len(values),
        "actors": len(slices.actors),
        "interpreter": version,
        "first": None if difference is None else _as_data(slices, difference),
    }
    show(json.dumps(report, indent=2) if fmt == "json" else _as_text(slices, difference, report), fmt)
    return 0 if difference is None else FINDINGS


def _as_data(slices: Slices, difference: Difference) -> dict[str, Any]:
    return {
        "actor": difference.actor.name if difference.actor else None,
        "port": difference.port,
        "tensor": difference.tensor,
        "name": slices.model.tensors[difference.tensor].name,
        "frame": difference.frame,
        "elements": difference.elements,
        "of": difference.size,
        "largest_difference": difference.largest,
    }


def _as_text(slices: Slices, difference: Optional[Difference], report: Mapping[str, Any]) -> str:
    ran = f"{report['frames']} frames, {report['actors']} slices, {report['interpreter']}"
    if difference is None:
        return f"equal, bit for bit: {ran}"
    name = slices.model.tensors[difference.tensor].name
    amount = f"{difference.elements} of {difference.size} elements, by {difference.largest:g} at most"
    place = f"tensor {difference.tensor} ({name}) in frame {difference.frame}: {amount}"
    if difference.actor is None:
        return (
            f"different: the model itself gives another {place}, if its inner tensors are outputs as well\n"
            "    hint: this interpreter then chooses other kernels; compare with another interpreter"
        )
    return (
        f"{difference.actor.where}: different: {difference.actor.name!r} is the first actor that differs,"
        f" at port {difference.port!r}, {place} ({ran})"
    )


def _stacks(slices: Slices, wanted: Sequence[int], folder: str) -> list[dict[int, Any]]:
    """The frames in a folder of .npy files, one for each input of the model: named after the input, or its source."""
    import numpy as np

    from eprune.formats.tflite.model import model_error
    from eprune.passes.import_ import end_names

    found: dict[int, Any] = {}
    for index, name in zip(wanted, end_names(slices.model, wanted)):
        token = slices.token(index)
        names = dict.fromkeys([slices.sources.get(index, name), name])
        path = next((path for each in names if (path := Path(folder, f"{each}.npy")).is_file()), None)
        if path is None:
            hint = f"a stack of {token} as a .npy file"
            if not Path(folder).is_dir():
                problem = "is a file, not a folder" if Path(folder).exists() else "there is no such folder"
                raise model_error(folder, problem, f"--inputs is a folder that has {name}.npy: {hint}")
            raise model_error(folder, f"has no {' or '.join(f'{each}.npy' for each in names)}", hint)
        try:
            stack = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise model_error(str(path), f"is not a .npy file of plain numbers: {error}") from None
        shapes = [token.shape] if token.shape[:1] != (1,) else [token.shape, token.shape[1:]]
        if stack.shape[1:] not in shapes or stack.dtype != token.dtype or not stack.ndim:
            shape = ",".join(map(str, ("N", *token.shape)))
            raise model_error(str(path), f"is {stack.dtype}{list(stack.shape)}, not {token.dtype}[{shape}]")
        found[index] = stack.reshape((len(stack), *token.shape))
    counts = {len(stack) for stack in found.values()}
    if len(counts) > 1 or 0 in counts:
        raise model_error(folder, f"its files have {' and '.join(map(str, sorted(counts)))} frames")
    return [{index: np.array(stack[frame]) for index, stack in found.items()} for frame in range(*counts)]


def _random(slices: Slices, wanted: Sequence[int], seed: int, frame: int) -> dict[int, Any]:
    """Normally distributed floats, small integers of any value; wide ones, which are often indices, are 0 or 1."""
    import numpy as np

    values = {}
    for index in wanted:
        token = slices.token(index)
        generator = np.random.default_rng([seed, index, frame])
        dtype = np.dtype(token.dtype)
        if dtype.kind in "fc":
            values[index] = generator.standard_normal(token.shape).astype(dtype)
        else:
            limits = np.iinfo(dtype) if dtype.kind in "iu" and dtype.itemsize <= 2 else None
            low, high = (int(limits.min), int(limits.max)) if limits else (0, 1)
            values[index] = generator.integers(low, high, token.shape, endpoint=True).astype(dtype)
    return values
