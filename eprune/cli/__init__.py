"""The commands, one file each; no logic beyond arguments, progress and printing."""

from eprune.cli import early

early.prepare()
