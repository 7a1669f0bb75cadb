"""``eprune replicate``: another name for ``eprune apply replicate``."""

from __future__ import annotations

from eprune.cli.apply import command_of

command = command_of("replicate")
