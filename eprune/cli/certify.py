"""``eprune certify``: a small private authority, and a certificate for each platform."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Optional

import click

from eprune.cli import options
from eprune.cli.errors import FINDINGS, say
from eprune.cli.printing import show
from eprune.model.names import NAME

if TYPE_CHECKING:
    from eprune.deploy.keys import Certificate


@click.command("certify", short_help="Make certificates for TLS links.")
@click.argument("folder", metavar="FOLDER")
@click.argument("platforms", metavar="[PLATFORM]...", nargs=-1)
@click.option("--days", type=click.IntRange(1, 3650), default=365, metavar="N", help="Valid for N days (default: 365).")
@click.option("--renew", is_flag=True, help="Renew certificates that are there: those named, or all.")
@click.option("--show", is_flag=True, help="Show when certificates expire; exit code 1 if one has.")
@click.option("--format", "fmt", type=click.Choice(["text", "json"]), default="text", help="text (default) or json.")
def command(folder: str, platforms: Sequence[str], days: int, renew: bool, show: bool, fmt: str) -> Optional[int]:
    """Make certificates for platforms whose links have security="tls", signed by a small private authority.

    The first call makes the authority, FOLDER/ca.crt and FOLDER/ca.key, valid for ten years. Each platform gets
    FOLDER/PLATFORM.crt and FOLDER/PLATFORM.key. A device needs its own two and ca.crt, in a folder that --keys or
    EPRUNE_KEYS names to its program; ca.key stays on this machine. Renewing needs no platform's key; "ca" renews the
    authority.

    \b
    Examples:
      eprune certify keys endpoint server
      eprune certify keys --show
      eprune certify keys --renew --days 90
    """
    from eprune.deploy import keys
    from eprune.formats.certificates import days_from, now

    if show and (renew or platforms):
        raise click.UsageError("--show takes neither platforms nor --renew")
    if show:
        options.refuse(("days",), "--show changes nothing")
        return _show(folder, fmt)
    names = list(dict.fromkeys(platforms)) or (keys.certified(folder) if renew else [])
    if not names:
        raise click.UsageError("there is nothing to renew: name the platforms" if renew else "name the platforms")
    for name in names:
        if not re.fullmatch(NAME, name):
            raise click.UsageError(f"{name!r} is not a name that a platform can have")
        if name.lower() == keys.AUTHORITY and not renew:
            raise click.UsageError(f"{name!r} stands for the authority: give the platform another name")
    written = []
    for made in (keys.renew_all if renew else keys.add)(folder, names, days):
        written.append(made)
        say(f"{made.path}: valid until {made.valid.end:%Y-%m-%d}")
        if made.name != keys.AUTHORITY and made.valid.end < days_from(now(), days - 1).end:
            say(f"note: not for {days} days: the authority's own certificate ends then (--renew {folder} ca)")
        if renew and made.name == keys.AUTHORITY:
            say("note: every device needs the new ca.crt before the old one expires")
    if fmt == "json":
        click.echo(json.dumps(_as_data(written), indent=2))
    return None


def _show(folder: str, fmt: str) -> int:
    from eprune.deploy import keys
    from eprune.formats.certificates import now
    from eprune.views.tables import table

    moment = now()
    found = [(each, each.days_left(moment)) for each in keys.show(folder)]
    if fmt == "json":
        click.echo(json.dumps(_as_data([each for each, _ in found]), indent=2))
    else:
        cells = [(each.name, f"{each.valid.end:%Y-%m-%d}", "expired" if left is None else left) for each, left in found]
        show(table(("certificate", "until", "days left"), cells))
    return FINDINGS if any(left is None for _, left in found) else 0


def _as_data(certificates: Sequence[Certificate]) -> list[dict[str, str]]:
    return [
        {"name": each.name, "from": each.valid.begin.isoformat(), "until": each.valid.end.isoformat()}
        for each in certificates
    ]
