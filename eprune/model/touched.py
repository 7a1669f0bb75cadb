"""Which files an application touches, as far as its file and its classes state it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from eprune.model.finding import Location


class Access(Enum):
    """What is done to a file."""

    RUN = "run"
    READ = "read"
    WRITE = "write"


@dataclass(frozen=True)
class Touched:
    """A file or folder, and what for: ``by`` is an actor, an actor's parameter, or a FIFO (``Sink.path``).

    ``path`` is where it is, seen from the current folder. ``own``: it ships with eprune. ``inside``: the application
    may touch it, for it is there and only read, or in the application's folder, with all symbolic links followed.
    """

    path: str
    access: Access
    by: str
    where: Location
    own: bool
    inside: bool
