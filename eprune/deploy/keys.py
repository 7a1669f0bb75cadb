"""A folder of certificates for links with TLS: a small private authority, and a pair of files for each platform."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NoReturn, Optional

from eprune.formats.atomic import write_file
from eprune.formats.certificates import (
    Pair,
    Validity,
    certify,
    days_from,
    load_key,
    make_authority,
    now,
    renew,
    renew_authority,
    validity,
)
from eprune.model.finding import EpruneError, Finding, Location

#: The authority's name among the files; no platform can have it there.
AUTHORITY = "ca"
AUTHORITY_DAYS = 3650


@dataclass(frozen=True)
class Certificate:
    """A certificate in a folder: whose it is, its file, and when it is valid."""

    name: str
    path: str
    valid: Validity

    def days_left(self, moment: datetime) -> Optional[int]:
        """Whole days until it expires; None if it has."""
        return (self.valid.end - moment).days if moment <= self.valid.end else None


def make(folder: str, platforms: Sequence[str], days: float) -> None:
    """An authority and certificates in a folder where there are none."""
    valid = days_from(now(), days)
    authority = make_authority(valid)
    _write(folder, AUTHORITY, authority)
    for platform in platforms:
        _write(folder, platform, certify(authority, platform, valid))


def add(folder: str, platforms: Sequence[str], days: int) -> list[Certificate]:
    """Certificates for platforms that have none, and an authority where there is none; what was made.

    Raises EpruneError (FILE) for what is there already, and where the authority cannot be used.
    """
    for platform in platforms:
        for path in (Path(folder, f"{platform}.crt"), Path(folder, f"{platform}.key")):
            if path.exists():
                _refuse(path, "this is there already", f"--renew gives {platform} new dates; to begin anew, remove it")
    made = []
    if not Path(folder, f"{AUTHORITY}.crt").exists():
        key = Path(folder, f"{AUTHORITY}.key")
        if key.exists():
            _refuse(key, "a key without its certificate ca.crt", "restore it, or remove this")
        _write(folder, AUTHORITY, make_authority(days_from(now(), AUTHORITY_DAYS)))
        made.append(_certificate(folder, AUTHORITY))
    authority, valid = _authority(folder, days_from(now(), days))
    for platform in platforms:
        _write(folder, platform, certify(authority, platform, valid))
        made.append(_certificate(folder, platform))
    return made


def renew_all(folder: str, names: Sequence[str], days: int) -> list[Certificate]:
    """New dates for these certificates, the authority's first; what was renewed. Raises EpruneError (FILE)."""
    old = {name: _read(Path(folder, f"{name}.crt")) for name in names}
    renewed = []
    if AUTHORITY in old:
        path = Path(folder, f"{AUTHORITY}.key")
        with _usable(path):
            new = renew_authority(Pair(old.pop(AUTHORITY), _read(path)), days_from(now(), AUTHORITY_DAYS))
        write_file(str(Path(folder, f"{AUTHORITY}.crt")), new)
        renewed.append(_certificate(folder, AUTHORITY))
    if not old:
        return renewed
    authority, valid = _authority(folder, days_from(now(), days))
    for name, certificate in old.items():
        path = Path(folder, f"{name}.crt")
        with _usable(path):
            new = renew(authority, certificate, name, valid)
        write_file(str(path), new)
        renewed.append(_certificate(folder, name))
    return renewed


def show(folder: str) -> list[Certificate]:
    """All certificates in a folder, the authority's first. Raises EpruneError (FILE) for what cannot be read."""
    return [_certificate(folder, name) for name in [AUTHORITY, *certified(folder)]]


def certified(folder: str) -> list[str]:
    """The platforms that have a certificate in a folder."""
    return [path.stem for path in sorted(Path(folder).glob("*.crt")) if path.stem != AUTHORITY]


def _certificate(folder: str, name: str) -> Certificate:
    path = Path(folder, f"{name}.crt")
    data = _read(path)
    with _usable(path):
        return Certificate(name, str(path), validity(data))


def _authority(folder: str, valid: Validity) -> tuple[Pair, Validity]:
    """The authority, and the part of these dates in which it is valid itself."""
    path = Path(folder, f"{AUTHORITY}.crt")
    certificate = _read(path)
    with _usable(path):
        own = validity(certificate)
    if not own.at(now()):
        message = f"the authority is not valid now, but until {own.end:%Y-%m-%d}"
        _refuse(path, message, "eprune certify --renew FOLDER ca")
    key = _read(path.with_suffix(".key"))
    with _usable(path.with_suffix(".key")):
        load_key(key)
    return Pair(certificate, key), Validity(valid.begin, min(valid.end, own.end))


def _write(folder: str, name: str, pair: Pair) -> None:
    """The key first: a certificate without one would look whole."""
    write_file(str(Path(folder, f"{name}.key")), pair.key, private=True)
    write_file(str(Path(folder, f"{name}.crt")), pair.certificate)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        hint = "it is where the authority was made" if path.name == f"{AUTHORITY}.key" else "eprune certify makes it"
        _refuse(path, error.strerror or str(error), hint)


@contextmanager
def _usable(path: Path) -> Iterator[None]:
    """A file that is not a certificate or a key is named."""
    try:
        yield
    except ValueError:
        _refuse(path, "this is not a certificate or key that can be used", "restore it, or begin with another folder")


def _refuse(path: Path, message: str, hint: str) -> NoReturn:
    raise EpruneError(Finding("FILE", Location(str(path)), message, hint)) from None
