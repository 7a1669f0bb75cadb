"""``eprune upgrade``: let files use the names of this version."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from eprune.cli.errors import FINDINGS, say


@click.command("upgrade", short_help="Rewrite files that use old names.")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--check", is_flag=True, help="Write nothing; exit code 1 if a file uses an old name.")
def command(files: Sequence[str], check: bool) -> int:
    """Rewrite files that use names of earlier versions: XML files, actors, Makefiles, scripts, documents.

    An old name works for one version, with a warning. Only the names change: comments and layout stay as they are. "-"
    reads command lines from stdin and writes them to stdout.

    \b
    Examples:
      eprune upgrade Makefile graphs/*.xml actors/*.py
      eprune upgrade --check .github/workflows/*.yml
    """
    from eprune.formats.atomic import write_file
    from eprune.formats.renames import upgraded
    from eprune.formats.xml.safe import read_bytes
    from eprune.model.finding import EpruneError, Finding, Location

    changed = 0
    for path in files:
        try:
            old = read_bytes(path).decode()
        except UnicodeDecodeError:
            raise EpruneError(Finding("FILE", Location(path), "is not a text file (UTF-8)")) from None
        new = upgraded("-" if path == "-" else Path(path).name, old)
        changed += new != old
        if path == "-" and not check:
            write_file("-", new)
        elif new != old:
            lines = [place for place, pair in enumerate(zip(old.split("\n"), new.split("\n")), 1) if pair[0] != pair[1]]
            say(f"{path}:{lines[0]}: {'uses an old name' if check else f'{len(lines)} lines rewritten'}")
            if not check:
                write_file(path, new)
    if not changed and "-" not in files and sys.stderr.isatty():
        say("no file uses an old name")
    return FINDINGS if check and changed else 0
