"""What every pass has: options in, a System and a report out.

A pass is a module of this package: a docstring whose first line says what it does, a frozen dataclass ``Options``, and
``apply(system, options) -> Result``, a pure function, decorated by ``carries``. What must be measured first comes as
plain data in the options.
Whatever is in this folder is a pass, but for modules whose names begin with ``_``; ``eprune apply`` makes a command of
each that needs no more than a System. A pass that takes what breaks rules, and mends it, says ``MENDS = True``; one
that makes other actors, and so has no use for platforms and mappings, says ``UNMAPPED = True``; one that takes a
model as well, which is then imported, says ``MODELS = True``; one whose figures ``views`` draws, in a module of
its name, says ``CHART = True``; one that takes multi-rate graphs says ``MULTI_RATE = True``.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
import keyword
import pkgutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from enum import Enum
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional, TypeVar, cast, get_origin, get_type_hints

from eprune.analysis.graph import symmetric_only
from eprune.analysis.requirements import reached
from eprune.model.finding import EpruneError
from eprune.model.graph import NOWHERE, Actor, Direction, Graph, Port, PortRef, Requirement
from eprune.model.mapping import Placement
from eprune.model.platform import Platform
from eprune.model.system import System


@dataclass(frozen=True)
class Report:
    """What a pass did: ``lines`` for people, ``figures`` (plain data) for programs."""

    lines: tuple[str, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)


class Result(NamedTuple):
    """A pass's result."""

    system: System
    report: Report


Apply = TypeVar("Apply", bound=Callable[..., Result])
#: What has a place in the file.
Placed = TypeVar("Placed", Actor, Port)


def carries(apply: Apply) -> Apply:
    """What every pass's ``apply`` is decorated by: requirements go along, and what is left out is said.

    A pass whose module does not say ``MULTI_RATE = True`` reads symmetric rates only, and raises EpruneError (G4) for a
    graph of synchronous dataflow.
    An end of a requirement is where its actor is afterwards, by its name or, for copies that have others, by its place
    in the file. A requirement holds from each of its sources to each of its sinks to which tokens get from there.
    """

    @functools.wraps(apply)
    def carrying(system: System, *options: Any) -> Result:
        if system.graph.is_sdf and not apply.__globals__.get("MULTI_RATE", False):
            raise EpruneError(symmetric_only(system.graph), exit_code=1)
        made, report = apply(system, *options)
        wanted = made.graph.requirements or system.graph.requirements
        if not wanted:
            return Result(made, report)
        kept, lines = dict[Requirement, None](), list[str]()
        for each in wanted:
            found = list(_followed(each, system.graph, made.graph))
            kept.update(dict.fromkeys(found))
            if not found:
                lines.append(f"the requirement {each} is left out: its ends are no source and sink any more")
        graph = replace(made.graph, requirements=tuple(kept))
        return Result(replace(made, graph=graph), replace(report, lines=(*report.lines, *lines)))

    return cast("Apply", carrying)


def _followed(requirement: Requirement, before: Graph, after: Graph) -> Iterator[Requirement]:
    """A requirement between the ends that there are after a pass."""
    sinks = list(_copies(requirement.target, before, after, Direction.OUT))
    for source in _copies(requirement.source, before, after, Direction.IN):
        behind = reached(after, source, delays=requirement.latency is None)
        for target in sinks:
            if target in behind:
                yield replace(requirement, source=source, target=target)


def _copies(ref: PortRef, before: Graph, after: Graph, never: Direction) -> Iterator[PortRef]:
    """Where a port is after a pass, at actors that have no ports of the other direction."""
    old = before.actor(ref.actor)
    port = None if old is None else old.port(ref.port)
    for actor in after.actors:
        fits = all(each.direction is not never for each in actor.ports)
        if fits and (actor.name == ref.actor or (old is not None and _copied(actor, old, before.actors))):
            for each in actor.ports:
                if each.name == ref.port or (old is not None and port is not None and _copied(each, port, old.ports)):
                    yield PortRef(actor.name, each.name)


def _copied(new: Placed, old: Placed, others: Sequence[Placed]) -> bool:
    """Whether it is a copy of what is at a place in the file where nothing else is."""
    return new.where == old.where != NOWHERE and [each.where for each in others].count(old.where) == 1


def settled(system: System) -> System:
    """A system whose actors are on units that take them: one that a pass put beside a slice on an accelerator moves to
    the first unit of its platform that does.
    """
    actors = {actor.name: actor for actor in system.graph.actors if actor.behaviour is not None}

    def moved(placement: Placement, platform: Optional[Platform]) -> Placement:
        actor = actors.get(placement.actor)
        unit = None if platform is None or placement.unit is None else platform.unit(placement.unit)
        if platform is None or unit is None or actor is None or not actor.misplaced(unit):
            return placement
        other = platform.unit_for(actor)
        return replace(placement, unit=other.name) if other is not None else placement

    mappings = tuple(
        replace(each, placements=tuple(moved(place, system.platform(each.platform)) for place in each.placements))
        for each in system.mappings
    )
    return system if mappings == system.mappings else replace(system, mappings=mappings)


def names() -> list[str]:
    """The passes that there are: the modules of this package but this one, and those that help a pass (``_mesh``)."""
    found = (module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]))
    return sorted(name.rstrip("_") for name in found if name != "base" and not name.startswith("_"))


def find(name: str) -> Any:
    """The module of a pass. Raises ValueError, with a near name, where there is none."""
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names())}"
        raise ValueError(f"there is no pass {name!r}; {hint}")
    return importlib.import_module(f"eprune.passes.{name}_" if keyword.iskeyword(name) else f"eprune.passes.{name}")


def summary(name: str) -> str:
    """What a pass does: the first line of its docstring."""
    return (inspect.getdoc(find(name)) or "").partition("\n")[0].rstrip(".:")


def options_of(name: str, given: Mapping[str, Any]) -> Any:
    """The ``Options`` of a pass from names and values. One value will do for several, and an enumeration's text for it.

    Raises ValueError for a name that the pass does not have, and for one that is missing.
    """
    options = find(name).Options
    known = {each.name: each for each in fields(options)}
    for word in given:
        if word not in known:
            near = difflib.get_close_matches(word, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
            raise ValueError(f"the pass {name} has no option {word!r}; {hint}")
    missing = [each.name for each in known.values() if required(each) and each.name not in given]
    if missing:
        raise ValueError(f"the pass {name} needs {', '.join(missing)}")
    kinds = get_type_hints(options)
    return options(**{word: _fitting(kinds[word], value) for word, value in given.items()})


def required(option: Field[Any]) -> bool:
    """Whether a field of ``Options`` must be given."""
    return option.default is MISSING and option.default_factory is MISSING


def _fitting(kind: Any, value: Any) -> Any:
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(value)
    if get_origin(kind) is tuple:
        return (value,) if isinstance(value, str) or not isinstance(value, Iterable) else tuple(value)
    return value


def option(
    default: Any = MISSING,
    *,
    help: str,  # noqa: A002  # as click calls it
    metavar: str = "",
    argument: bool = False,
) -> Any:
    """A field of ``Options`` that a user can set; without a default it is required.

    An ``argument`` is given without a name, behind the application.
    """
    return field(default=default, metadata={"help": help, "metavar": metavar, "argument": argument})
