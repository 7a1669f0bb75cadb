"""``eprune certify``: a small private authority, and a certificate for each platform."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Optional

import click

from eprune.cli.errors import FINDINGS, say

if TYPE_CHECKING:
    from eprune.formats.certificates import Pair, Validity

#: The authority's name among the files; no platform can have it there.
AUTHORITY = "ca"
AUTHORITY_DAYS = 3650


@click.command("certify", short_help="Make certificates for links with TLS.")
@click.argument("folder", metavar="FOLDER")
@click.argument("platforms", metavar="[PLATFORM]...", nargs=-1)
@click.option("--days", type=click.IntRange(1, 3650), default=365, metavar="N", help="Valid for N days (default: 365).")
@click.option("--renew", is_flag=True, help="New dates for certificates that are there: those named, or all.")
@click.option("--show", is_flag=True, help="Tell what expires when; exit code 1 if something has expired.")
@click.option("--format", "fmt", type=click.Choice(["text", "json"]), default="text", help="text (default) or json.")
def command(folder: str, platforms: Sequence[str], days: int, renew: bool, show: bool, fmt: str) -> Optional[int]:
    """Make certificates for platforms whose links have security="tls", signed by a small private authority.

    The first call makes the authority, FOLDER/ca.crt and FOLDER/ca.key, valid for ten years. Each platform gets
    FOLDER/PLATFORM.crt and FOLDER/PLATFORM.key. A device needs its own two and ca.crt, in a folder that its program is
    told by --keys or EPRUNE_KEYS; ca.key stays here. Renewing takes no platform's key; "ca" renews the authority.

    \b
    Examples:
      eprune certify keys endpoint server
      eprune certify keys --show
      eprune certify keys --renew --days 90
    """
    from eprune.formats.certificates import days_from, now

    if show and (renew or platforms):
        raise click.UsageError("--show takes neither platforms nor --renew")
    if show:
        return _show(folder, fmt)
    names = list(dict.fromkeys(platforms)) or (_certified(folder) if renew else [])
    if not names:
        raise click.UsageError("name the platforms" + (", for there is nothing to renew" if renew else ""))
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]*", name):
            raise click.UsageError(f"{name!r} is no name of a platform")
        if name.lower() == AUTHORITY and not renew:
            raise click.UsageError(f"{name!r} stands for the authority here: give the platform another name")
    if renew:
        _renew(folder, names, days_from(now(), days))
    else:
        _add(folder, names, days_from(now(), days))
    return None


def make(folder: str, platforms: Sequence[str], days: float) -> None:
    """An authority and certificates in a folder where there are none."""
    from eprune.formats.certificates import certify, days_from, make_authority, now

    valid = days_from(now(), days)
    authority = make_authority(valid)
    _write(folder, AUTHORITY, authority)
    for platform in platforms:
        _write(folder, platform, certify(authority, platform, valid))


def _add(folder: str, platforms: Sequence[str], valid: Validity) -> None:
    from eprune.formats.certificates import certify, days_from, make_authority, now

    for platform in platforms:
        for path in (Path(folder, f"{platform}.crt"), Path(folder, f"{platform}.key")):
            if path.exists():
                _refuse(path, "this is there already", f"--renew gives {platform} new dates; to begin anew, remove it")
    if not Path(folder, f"{AUTHORITY}.crt").exists():
        if Path(folder, f"{AUTHORITY}.key").exists():
            _refuse(
                Path(folder, f"{AUTHORITY}.key"), "a key without its certificate ca.crt", "restore it, or remove this"
            )
        _write(folder, AUTHORITY, make_authority(days_from(now(), AUTHORITY_DAYS)))
        _told(folder, AUTHORITY)
    authority, valid = _authority(folder, valid)
    for platform in platforms:
        _write(folder, platform, certify(authority, platform, valid))
        _told(folder, platform)


def _renew(folder: str, names: Sequence[str], valid: Validity) -> None:
    from eprune.formats.atomic import write_file
    from eprune.formats.certificates import Pair, days_from, now, renew, renew_authority

    old = {name: _read(Path(folder, f"{name}.crt")) for name in names}
    if AUTHORITY in old:
        path = Path(folder, f"{AUTHORITY}.key")
        with _usable(path):
            new = renew_authority(Pair(old.pop(AUTHORITY), _read(path)), days_from(now(), AUTHORITY_DAYS))
        write_file(str(Path(folder, f"{AUTHORITY}.crt")), new)
        _told(folder, AUTHORITY)
        say("note: every device needs the new ca.crt before the old one expires")
    if not old:
        return
    authority, valid = _authority(folder, valid)
    for name, certificate in old.items():
        path = Path(folder, f"{name}.crt")
        with _usable(path):
            new = renew(authority, certificate, name, valid)
        write_file(str(path), new)
        _told(folder, name)


def _show(folder: str, fmt: str) -> int:
    from eprune.formats.certificates import now, validity
    from eprune.views.tables import table

    moment, expired = now(), False
    told: list[dict[str, str]] = []
    rows = []
    for name in [AUTHORITY, *_certified(folder)]:
        path = Path(folder, f"{name}.crt")
        data = _read(path)
        with _usable(path):
            valid = validity(data)
        expired = expired or moment > valid.end
        told.append({"name": name, "from": valid.begin.isoformat(), "until": valid.end.isoformat()})
        rows.append((name, f"{valid.end:%Y-%m-%d}", (valid.end - moment).days if moment <= valid.end else "expired"))
    if fmt == "json":
        click.echo(json.dumps(told, indent=2))
    else:
        click.echo(table(("certificate", "until", "days left"), rows), nl=False)
    return FINDINGS if expired else 0


def _authority(folder: str, valid: Validity) -> tuple[Pair, Validity]:
    """The authority, and the part of these dates in which it is valid itself."""
    from eprune.formats.certificates import Pair, Validity, load_key, now, validity

    path = Path(folder, f"{AUTHORITY}.crt")
    certificate = _read(path)
    with _usable(path):
        own = validity(certificate)
    if not own.at(now()):
        _refuse(
            path, f"the authority is not valid now, but until {own.end:%Y-%m-%d}", "eprune certify --renew FOLDER ca"
        )
    key = _read(path.with_suffix(".key"))
    with _usable(path.with_suffix(".key")):
        load_key(key)
    return Pair(certificate, key), Validity(valid.begin, min(valid.end, own.end))


def _certified(folder: str) -> list[str]:
    return [path.stem for path in sorted(Path(folder).glob("*.crt")) if path.stem != AUTHORITY]


def _write(folder: str, name: str, pair: Pair) -> None:
    """The key first: a certificate without one would look whole."""
    from eprune.formats.atomic import write_file

    write_file(str(Path(folder, f"{name}.key")), pair.key, private=True)
    write_file(str(Path(folder, f"{name}.crt")), pair.certificate)


def _told(folder: str, name: str) -> None:
    from eprune.formats.certificates import validity

    path = Path(folder, f"{name}.crt")
    say(f"{path}: valid until {validity(path.read_bytes()).end:%Y-%m-%d}")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        hint = "it is where the authority was made" if path.name == f"{AUTHORITY}.key" else "eprune certify makes it"
        _refuse(path, error.strerror or str(error), hint)


@contextmanager
def _usable(path: Path) -> Iterator[None]:
    """What is no certificate or key is told so."""
    try:
        yield
    except ValueError:
        _refuse(path, "this is not a certificate or key that can be used", "restore it, or begin with another folder")


def _refuse(path: Path, message: str, hint: str) -> NoReturn:
    from eprune.model.finding import EpruneError, Finding, Location

    raise EpruneError(Finding("FILE", Location(str(path)), message, hint)) from None
