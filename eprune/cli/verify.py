"""``eprune verify``: does an application compute what its model computes, and a unit what an interpreter does?"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import click

from eprune.cli import options
from eprune.cli.errors import FINDINGS, say
from eprune.cli.printing import show

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from eprune.measure.verify import Difference, Slices
    from eprune.model.platform import Platform, Unit
    from eprune.model.system import System


@click.command("verify", cls=options.Command, short_help="Compare an application with its model, or a unit.")
@click.argument("application", metavar="APP.xml")
@options.platforms_of_unit_option
@options.outside_option
@click.option("--model", metavar="MODEL", help="The whole model, to compare the slices with, bit for bit.")
@click.option("--unit", metavar="NAME", help="The unit on which to run each slice, to compare it with a plain one.")
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    metavar="X",
    help="With --unit: how far results may differ, in parts of the largest value; 0: not in a bit (default: 1e-3).",
)
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
    platforms: Sequence[str],
    model: Optional[str],
    unit: Optional[str],
    tolerance: Optional[float],
    folder: Optional[str],
    frames: Optional[int],
    seed: Optional[int],
    interpreter: str,
    fmt: str,
) -> int:
    """Compare an application's slices with the whole model, or on an accelerator with a plain interpreter.

    With --model it runs the slices one after the other, in precedence order, each on what those before it computed;
    beside them the whole model, and the whole model with the tensors between the slices as further outputs. All have to
    be equal, bit for bit, or the first actor that differs is named.

    With --unit it runs each slice on that unit of a platform, by its engine or delegate, and on a plain interpreter, on
    what the whole model computes there. A slice that differs by more than --tolerance is named with its first operator
    that does. What was equal is written to PLATFORM.verified.json beside the platform's file, where eprune codegen
    looks it up. Run it where the unit is. Exit code: 0 equal, 1 different, 2 unusable input.

    \b
    Examples:
      eprune verify app/application.xml --model model.tflite
      eprune verify app/application.xml --model model.tflite --inputs frames/ --interpreter tflite-runtime
      eprune verify app/application.xml -p endpoint.xml --unit npu --tolerance 1e-3
    """
    from eprune.cli.reading import read_sound

    if folder is not None and seed is not None:
        raise click.UsageError("--seed is for random inputs; --inputs has others")
    if (model is None) == (unit is None):
        raise click.UsageError("say what to compare with: either --model MODEL, or --unit NAME with -p")
    if unit is None and (platforms or tolerance is not None):
        raise click.UsageError("-p and --tolerance go with --unit; with --model everything is compared bit for bit")
    if unit is not None and not platforms:
        raise click.UsageError("--unit: give the platform's file with -p")
    system = read_sound(application)
    given = _Given(interpreter, folder, frames, 1 if seed is None else seed)
    if unit is not None:
        return _on_unit(system, platforms, unit, 1e-3 if tolerance is None else tolerance, given, fmt)
    return _with_model(system, model or "", given, fmt)


@dataclass(frozen=True)
class _Given:
    """The interpreter, and where the model's inputs come from."""

    interpreter: str
    folder: Optional[str]
    frames: Optional[int]
    seed: int

    def values(self, slices: Slices) -> list[dict[int, Any]]:
        """The frames for a model: each a map from inputs to tokens."""
        wanted = [index for index in slices.model.inputs if index not in slices.feedback]
        if self.folder is None:
            return [_random(slices, wanted, self.seed, frame) for frame in range(self.frames or 3)]
        return _stacks(slices, wanted, self.folder)[: self.frames]


def _with_model(system: System, model: str, given: _Given, fmt: str) -> int:
    from eprune.cli.progress import progress
    from eprune.measure.comparison import compare
    from eprune.measure.engines import PLAIN, version_of
    from eprune.measure.probe import try_out
    from eprune.measure.verify import Slices, whole_model

    slices = Slices(system, whole_model(system, model))
    version = version_of(PLAIN, given.interpreter, slices.model.path)
    try_out(slices.model, given.interpreter)
    values = given.values(slices)
    shown = progress(len(values))
    try:
        difference = compare(slices, given.interpreter, values, shown)
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


def _on_unit(system: System, files: Sequence[str], name: str, tolerance: float, given: _Given, fmt: str) -> int:
    """Every slice that the unit takes, against a plain interpreter."""
    from eprune.cli.progress import progress
    from eprune.formats.model_files import read_model
    from eprune.measure.engines import PLAIN
    from eprune.measure.on_unit import on_unit
    from eprune.measure.verified import remember
    from eprune.measure.verify import Slices
    from eprune.model.finding import EpruneError, Finding
    from eprune.views.on_unit import OnUnit

    platform, unit = _unit(files, name)
    behaviours = [actor.behaviour for actor in system.graph.actors]
    paths = dict.fromkeys(each.path for each in behaviours if each and each.operators and not each.misplaced(unit))
    if not paths:
        raise EpruneError(
            Finding("FILE", system.graph.where, f"no actor is a slice of a model that unit {name!r} takes")
        )
    version, reference = (_versions(each, given.interpreter, paths) for each in (unit, PLAIN))
    compared = [Slices(system, read_model(path)) for path in paths]
    frames = [given.values(slices) for slices in compared]
    shown = progress(sum(len(slices.actors) for slices in compared), unit="slice")
    found = []
    try:
        for slices, values in zip(compared, frames):
            found.append(on_unit(slices, unit, given.interpreter, values, tolerance, shown))
    finally:
        shown.clear()
    result = OnUnit(f"{platform.name}.{name}", version, reference, tolerance, len(frames[0]), compared, found)
    show(result.json() if fmt == "json" else result.text(), fmt)
    equal = {path: all(one.within(tolerance) for one in own) for path, own in zip(paths, found)}
    try:
        path = remember(platform, unit, given.interpreter, tolerance, equal)
        if path and any(equal.values()):
            say(f"{path}: eprune codegen knows now that this unit was verified")
    except OSError as error:
        say(f"note: that could not be written down for eprune codegen: {error}")
    return 0 if result.equal else FINDINGS


def _versions(unit: Unit, interpreter: str, paths: Iterable[str]) -> str:
    """What runs these models on a unit."""
    from eprune.measure.engines import version_of

    return ", ".join(dict.fromkeys(version_of(unit, interpreter, path) for path in paths))


def _unit(files: Sequence[str], name: str) -> tuple[Platform, Unit]:
    """The unit of that name in these platforms' files. Raises a usage error where there is none, or several."""
    from difflib import get_close_matches

    from eprune.formats.xml.platform import read_platform

    platforms = [read_platform(path) for path in files]
    found = [(platform, unit) for platform in platforms if (unit := platform.unit(name)) is not None]
    if not found:
        names = [unit.name for platform in platforms for unit in platform.units]
        near = get_close_matches(name, names, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names) or 'none'}"
        raise click.BadParameter(f"there is no unit {name!r}; {hint}", param_hint="--unit")
    if len(found) > 1:
        both = " and ".join(platform.name for platform, _ in found)
        raise click.BadParameter(f"{both} both have a unit {name!r}: give one platform with -p", param_hint="--unit")
    return found[0]


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

    from eprune.formats.models.errors import model_error
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
