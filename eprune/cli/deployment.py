"""What a run needs to know of its deployment: all its platforms, the ports of its links, where parameters go."""

from __future__ import annotations

import difflib
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Optional

import click

if TYPE_CHECKING:
    from eprune.cli.inputs import Inputs
    from eprune.model.platform import Security

#: Where programs look for certificates, and how long those last that are made for one run.
KEYS = "EPRUNE_KEYS"
DAYS = 365


def check_complete(inputs: Inputs) -> None:
    """All platforms that actors are on must have been given. Raises UsageError."""
    homes = {home for mapping in inputs.mappings for home in mapping.homes().values()}
    for what, option, given in (("platform", "-p", inputs.platforms), ("mapping", "-m", inputs.mappings)):
        names = {getattr(item, "name", None) or getattr(item, "platform", None) for item in given}
        missing = sorted(homes - names)
        if missing:
            names_missing = " and ".join(map(repr, missing))
            raise click.UsageError(f"the {what} files of {names_missing} are missing: add them with {option}")


def link_options(inputs: Inputs, ports: str = "auto") -> dict[str, list[str]]:
    """Platform -> the options that put its links on loopback, at free ports or (``file``) those of the files."""
    from eprune.deploy.ports import link_arguments

    homes = inputs.mappings[0].homes()
    pairs = Counter(
        tuple(sorted((homes[fifo.source.actor], homes[fifo.target.actor])))
        for fifo in inputs.graph.fifos
        if homes[fifo.source.actor] != homes[fifo.target.actor]
    )
    arguments: dict[str, list[str]] = {mapping.platform: [] for mapping in inputs.mappings}
    if ports == "auto":
        arguments.update(link_arguments({(one, other): count for (one, other), count in pairs.items()}))
    else:
        for one, other in pairs:
            arguments[one].append(f"--link={other}=127.0.0.1")
            arguments[other].append(f"--link={one}=127.0.0.1")
    return arguments


def secured(inputs: Inputs, security: Security) -> bool:
    """Whether a link between these platforms has this security."""
    names = {platform.name for platform in inputs.platforms}
    links = (link for platform in inputs.platforms for link in platform.links if link.to in names)
    return any(link.security is security for link in links)


@contextmanager
def certificates(platforms: Sequence[str], keys: Optional[str] = None, needed: bool = True) -> Iterator[None]:
    """Programs that are started meanwhile find certificates: in the folder ``keys``, in that of EPRUNE_KEYS, or else,
    if they are needed, in one that is made for this and removed afterwards.
    """
    from eprune.cli.certify import make

    if not (needed or keys):
        yield
        return
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
    """Actor, parameter and value of ``ACTOR.PARAM=VALUE``. Raises BadParameter, which shows ``form``."""
    target, equals, value = setting.partition("=")
    actor, dot, parameter = target.partition(".")
    if not (equals and dot and parameter):
        raise click.BadParameter(f"{setting!r} is not of the form {form}", param_hint=option)
    return actor, parameter, value


def home_of(inputs: Inputs, actor: str, parameter: str, option: str) -> str:
    """The platform that an actor is on, if it takes such a parameter. Raises BadParameter."""
    homes = inputs.mappings[0].homes()
    if actor not in homes:
        raise click.BadParameter(f"there is no actor {actor!r}{_near(actor, homes)}", param_hint=option)
    facts = inputs.interfaces.get(actor)
    declared = inputs.graph.actor(actor)
    model = declared is not None and not hasattr(declared.behaviour, "class_name")
    known = () if model else None if facts is None else facts.parameters
    if known is not None and parameter not in known:
        what = f"actor {actor!r} takes no parameter {parameter!r}{_near(parameter, known)}"
        raise click.BadParameter(what, param_hint=option)
    return homes[actor]


def placed_settings(inputs: Inputs, settings: Sequence[str]) -> list[tuple[str, str]]:
    """Each ``ACTOR.PARAM=VALUE`` with the platform that the actor is on. Raises BadParameter."""
    placed = []
    for setting in settings:
        actor, parameter, _ = split_setting(setting, "ACTOR.PARAM=VALUE", "--set")
        placed.append((home_of(inputs, actor, parameter, "--set"), setting))
    return placed


def _near(name: str, known: Iterable[str]) -> str:
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; it takes {', '.join(known)}" if 0 < len(known) < 9 else ""
