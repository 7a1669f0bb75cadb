"""What a target is: programs -> files. The table of all targets is in ``table``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Callable

from eprune.codegen.program import PlatformProgram
from eprune.model.finding import Finding


@dataclass(frozen=True)
class Choices:
    """What the user says of a target: ``insecure`` links are allowed, images are pushed to ``registry`` ("": to none).

    ``zenoh`` is where links over zenoh lead. ``keys`` are the certificates that go with it: platform -> file name ->
    contents; {}: they are delivered by hand.
    """

    insecure: bool = False
    registry: str = ""
    zenoh: tuple[str, ...] = ()
    keys: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """A program with all that a target packs: itself with what it needs as one file (.pyz), and packages for pip.

    ``inputs`` are files that its actors read (path -> contents), which the ``options`` name.
    """

    program: PlatformProgram
    bundle: bytes
    requirements: tuple[str, ...] = ()
    inputs: Mapping[str, bytes] = field(default_factory=dict)
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Target:
    """``summary`` is for the help. ``chosen`` says which programs it takes, and in words why not the others.

    ``refused`` are the findings that keep it from ``emit``, which gives path -> contents, all at once and pure. Files
    whose path begins with one of ``secret`` are for nobody else to read; those whose name ends in one of ``executable``
    are run. ``takes`` are the options that mean something to it.
    """

    name: str
    summary: str
    refused: Callable[[Sequence[Part], Choices], Iterable[Finding]]
    emit: Callable[[Sequence[Part], Choices], dict[str, bytes]]
    chosen: Callable[[PlatformProgram], str] = lambda program: ""
    secret: tuple[str, ...] = ()
    executable: tuple[str, ...] = ()
    takes: tuple[str, ...] = ("registry", "keys", "insecure", "zenoh", "with_inputs", "require")
