"""What a file holds, in short: models, applications, platforms and mappings. Nothing of it is run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Union

from eprune.formats.model_files import is_model
from eprune.model.finding import EpruneError, Finding, Location


@dataclass(frozen=True)
class End:
    """An input or output of a model. ``token`` is "" where the file leaves its type or shape to the interpreter."""

    name: str
    token: str


@dataclass(frozen=True)
class ModelSummary:
    """A model. ``operators`` counts the operators of the main graph by name; ``macs`` are of one frame.

    ``bytes`` is the size of the file, ``weight_bytes`` that of its constants.
    """

    file: str
    inputs: tuple[End, ...]
    outputs: tuple[End, ...]
    operators: dict[str, int]
    subgraphs: int
    macs: int
    weight_bytes: int
    bytes: int


@dataclass(frozen=True)
class ActorSummary:
    """An actor of an application. ``behaviour`` is its class or its slice of a model, None without one."""

    name: str
    type: str
    behaviour: Optional[str]
    inputs: int
    outputs: int


@dataclass(frozen=True)
class DpgSummary:
    """A dynamic processing graph: its control source, its borders, and the control values of its table."""

    name: str
    control: str
    entry: str
    exit: str
    values: tuple[int, ...]


@dataclass(frozen=True)
class ApplicationSummary:
    """An application file."""

    file: str
    name: str
    actors: tuple[ActorSummary, ...]
    fifos: int
    sources: tuple[str, ...]
    sinks: tuple[str, ...]
    dpgs: tuple[DpgSummary, ...]


@dataclass(frozen=True)
class LinkSummary:
    """A link of a platform; bytes per second, seconds, None where the file does not state them."""

    to: str
    address: str
    port: int
    security: str
    bandwidth: Optional[float]
    latency: Optional[float]


@dataclass(frozen=True)
class PlatformSummary:
    """A platform file. ``units`` maps units to the core, or cores, that they are pinned to, ``memory`` is in bytes.

    ``engines`` says of units what runs models there, where that is not simply a TFLite interpreter.
    """

    file: str
    name: str
    memory: Optional[int]
    units: dict[str, Union[int, list[int], None]]
    engines: dict[str, str]
    links: tuple[LinkSummary, ...]


@dataclass(frozen=True)
class MappingSummary:
    """A mapping file: actor -> unit for those on its platform, actor -> platform for the others."""

    file: str
    application: str
    platform: str
    local: dict[str, str]
    remote: dict[str, str]


@dataclass(frozen=True)
class CActorSummary:
    """An actor of a C file, as far as the file states it. ``parameters`` maps names to defaults; None: required."""

    name: str
    line: int
    inputs: dict[str, str]
    outputs: dict[str, str]
    parameters: dict[str, Optional[str]]
    waits: bool


@dataclass(frozen=True)
class CSummary:
    """A C file. ``doc`` is its first comment."""

    file: str
    doc: str
    actors: tuple[CActorSummary, ...]


@dataclass(frozen=True)
class ArgumentSummary:
    """An argument of a kernel: the type of an element, where it is, and what it can be of an actor."""

    name: str
    type: str
    memory: str
    meaning: str


@dataclass(frozen=True)
class KernelSummary:
    """A kernel of an OpenCL file."""

    name: str
    line: int
    arguments: tuple[ArgumentSummary, ...]


@dataclass(frozen=True)
class OpenclSummary:
    """An OpenCL file. ``doc`` is its first comment."""

    file: str
    doc: str
    kernels: tuple[KernelSummary, ...]


Summary = Union[CSummary, OpenclSummary, ModelSummary, ApplicationSummary, PlatformSummary, MappingSummary]


def summarize_file(path: str) -> Summary:
    """The summary of a model, a C, OpenCL or XML file. Raises EpruneError (FILE, XML) for what cannot be read."""
    if Path(path).suffix in (".c", ".cl"):
        try:
            return _c_file(path) if Path(path).suffix == ".c" else _opencl_file(path)
        except OSError as error:
            raise EpruneError(Finding("FILE", Location(path), f"cannot be read: {error.strerror}")) from None
        except ValueError as error:
            raise EpruneError(Finding("FILE", Location(path), str(error))) from None
    if is_model(path):
        return summarize_model(path)
    from eprune.formats.xml.safe import parse

    kind = parse(path).root.tag
    if kind not in _SUMMARIES:
        message = f"its first element is <{kind}>, not <application>, <platform> or <mapping>"
        raise EpruneError(Finding("FILE", Location(path), message))
    return _SUMMARIES[kind](path)


def summarize_model(path: str) -> ModelSummary:
    """The summary of a model. Raises EpruneError (FILE)."""
    from eprune.formats.model_files import read_model
    from eprune.formats.models.boundary import weight_bytes

    model = read_model(path)

    def ends(tensors: tuple[int, ...]) -> tuple[End, ...]:
        return tuple(End(model.tensors[index].name, str(model.tensors[index].token or "")) for index in tensors)

    return ModelSummary(
        path,
        ends(model.inputs),
        ends(model.outputs),
        dict(Counter(operator.name for operator in model.operators)),
        model.subgraphs,
        sum(model.format.macs(model, operator) for operator in model.operators),
        weight_bytes(model, range(len(model.operators))),
        len(model.data),
    )


def _c_file(path: str) -> CSummary:
    from eprune.formats.c_source import CSource

    source = CSource(path)
    stated = [(name, source.stated(name)) for name in source.actors]
    return CSummary(
        path,
        source.doc,
        tuple(
            CActorSummary(name, each.line, each.inputs, each.outputs, each.parameters, each.waits)
            for name, each in stated
        ),
    )


def _opencl_file(path: str) -> OpenclSummary:
    from eprune.formats.cl_source import ClSource, KernelArgument

    def shown(argument: KernelArgument) -> ArgumentSummary:
        width = f" x {argument.width}" if argument.width > 1 else ""
        return ArgumentSummary(argument.name, argument.dtype + width, argument.space or "value", argument.meaning)

    source = ClSource(path)
    kernels = [
        KernelSummary(name, source.line(name), tuple(map(shown, source.arguments(name)))) for name in source.kernels
    ]
    return OpenclSummary(path, source.doc, tuple(kernels))


def _application(path: str) -> ApplicationSummary:
    from eprune.formats.xml.application import read_application

    graph = read_application(path)
    return ApplicationSummary(
        path,
        graph.name,
        tuple(
            ActorSummary(
                actor.name,
                actor.type.value,
                None if actor.behaviour is None else actor.behaviour.label,
                len(actor.inputs),
                len(actor.outputs),
            )
            for actor in graph.actors
        ),
        len(graph.fifos),
        tuple(actor.name for actor in graph.actors if not actor.inputs),
        tuple(actor.name for actor in graph.actors if not actor.outputs),
        tuple(
            DpgSummary(dpg.name, dpg.control, dpg.entry, dpg.exit, tuple(row.value for row in dpg.rows))
            for dpg in graph.dpgs
        ),
    )


def _platform(path: str) -> PlatformSummary:
    from eprune.formats.xml.platform import read_platform

    platform = read_platform(path)
    return PlatformSummary(
        path,
        platform.name,
        platform.memory,
        {unit.name: unit.cores[0] if len(unit.cores) == 1 else list(unit.cores) or None for unit in platform.units},
        {unit.name: unit.runs for unit in platform.units if unit.runs},
        tuple(
            LinkSummary(link.to, link.address, link.port, link.security.value, link.bandwidth, link.latency)
            for link in platform.links
        ),
    )


def _mapping(path: str) -> MappingSummary:
    from eprune.formats.xml.mapping import read_mapping

    mapping = read_mapping(path)
    placements = mapping.placements
    return MappingSummary(
        path,
        mapping.application,
        mapping.platform,
        {each.actor: each.unit for each in placements if each.unit is not None},
        {each.actor: each.platform for each in placements if each.platform is not None},
    )


_SUMMARIES: dict[str, Callable[[str], Summary]] = {
    "application": _application,
    "platform": _platform,
    "mapping": _mapping,
}
