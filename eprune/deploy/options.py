"""What programs of one deployment are started with: where their links are, which platform a parameter belongs to."""

from __future__ import annotations

import difflib
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Optional

from eprune.model.finding import WrongUsage
from eprune.model.platform import Security
from eprune.model.system import System

#: Where programs look for certificates, and how many days those last that are made for one run.
KEYS = "EPRUNE_KEYS"
DAYS = 365


def check_complete(system: System) -> None:
    """All platforms that actors are on must have been given. Raises WrongUsage."""
    homes = set(system.homes.values())
    platforms = {platform.name for platform in system.platforms}
    mappings = {mapping.platform for mapping in system.mappings}
    for what, option, given in (("platform", "-p", platforms), ("mapping", "-m", mappings)):
        missing = sorted(homes - given)
        if missing:
            names = " and ".join(map(repr, missing))
            raise WrongUsage(f"the {what} files of {names} are missing: add them with {option}")


def link_options(system: System, ports: str = "auto") -> dict[str, list[str]]:
    """Platform -> the options that put its links on loopback, at free ports or (``file``) those of the files."""
    from eprune.deploy.ports import link_arguments

    homes = system.homes
    pairs = Counter(
        tuple(sorted((homes[fifo.source.actor], homes[fifo.target.actor])))
        for fifo in system.graph.fifos
        if homes[fifo.source.actor] != homes[fifo.target.actor]
    )
    arguments: dict[str, list[str]] = {mapping.platform: [] for mapping in system.mappings}
    if ports == "auto":
        arguments.update(link_arguments({(one, other): count for (one, other), count in pairs.items()}))
    else:
        for one, other in pairs:
            arguments[one].append(f"--link={other}=127.0.0.1")
            arguments[other].append(f"--link={one}=127.0.0.1")
    return arguments


def secured(system: System, security: Security) -> bool:
    """Whether a link between these platforms has this security."""
    names = {platform.name for platform in system.platforms}
    links = (link for platform in system.platforms for link in platform.links if link.to in names)
    return any(link.security is security for link in links)


@contextmanager
def certificates(platforms: Sequence[str], keys: Optional[str] = None, needed: bool = True) -> Iterator[None]:
    """Programs that are started meanwhile find certificates: in the folder ``keys``, in that of EPRUNE_KEYS, or else,
    if they are needed, in one that is made for this and removed afterwards.
    """
    if not (needed or keys):
        yield
        return
    from eprune.deploy.keys import make

    before = os.environ.get(KEYS)
    with tempfile.TemporaryDirectory(prefix="eprune-") as folder:
        if not (keys or before):
            make(folder, platforms, DAYS)
        os.environ[KEYS] = keys or before or folder
        try:
            yield
        finally:
            os.environ.pop(KEYS)
            os.environ.update({KEYS: before} if before is not None else {})


def split_setting(setting: str, form: str, option: str) -> tuple[str, str, str]:
    """Actor, parameter and value of ``ACTOR.PARAM=VALUE``. Raises WrongUsage, which shows ``form``."""
    target, equals, value = setting.partition("=")
    actor, dot, parameter = target.partition(".")
    if not (equals and dot and parameter):
        raise WrongUsage(f"{setting!r} is not of the form {form}", option)
    return actor, parameter, value


def home_of(system: System, actor: str, parameter: str, option: str) -> str:
    """The platform that an actor is on, if it takes such a parameter. Raises WrongUsage."""
    homes = system.homes
    if actor not in homes:
        raise WrongUsage(f"there is no actor {actor!r}{_near(actor, homes)}", option)
    interface = system.interfaces.get(actor)
    declared = system.graph.actor(actor)
    takes_any = declared is None or declared.behaviour is None or declared.behaviour.takes_parameters
    known = () if not takes_any else None if interface is None else interface.parameters
    if known is not None and parameter not in known:
        message = f"actor {actor!r} takes no parameter {parameter!r}{_near(parameter, known)}"
        raise WrongUsage(message, option)
    return homes[actor]


def placed_settings(system: System, settings: Sequence[str]) -> list[tuple[str, str]]:
    """Each ``ACTOR.PARAM=VALUE`` with the platform that the actor is on. Raises WrongUsage."""
    placed = []
    for setting in settings:
        actor, parameter, _ = split_setting(setting, "ACTOR.PARAM=VALUE", "--set")
        placed.append((home_of(system, actor, parameter, "--set"), setting))
    return placed


def stdin_reader(system: System, settings: Sequence[str] = ()) -> Optional[str]:
    """The platform whose program reads standard input, at these settings of parameters; None: there is none.

    Raises WrongUsage if more than one actor reads it.
    """
    given = {actor.name: dict(actor.parameters) for actor in system.graph.actors}
    for setting in settings:
        actor, parameter, value = split_setting(setting, "ACTOR.PARAM=VALUE", "--set")
        given.setdefault(actor, {})[parameter] = value
    kinds = {name: interface.stdin for name, interface in system.interfaces.items() if interface.stdin}
    readers = [name for name, (parameter, default) in kinds.items() if given[name].get(parameter, default) == "-"]
    if len(readers) > 1:
        raise WrongUsage(f"{' and '.join(map(repr, readers))} read standard input, which only one actor can")
    return system.homes.get(readers[0]) if readers else None


def _near(name: str, known: Iterable[str]) -> str:
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; it takes {', '.join(known)}" if 0 < len(known) < 9 else ""
