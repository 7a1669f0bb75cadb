"""Folders of certificates for programs of tests."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from eprune.formats import certificates
from eprune.formats.certificates import Pair, Validity

_NOW = certificates.now()
YEAR = timedelta(days=365)
VALID = Validity(_NOW - YEAR, _NOW + YEAR)
EXPIRED = Validity(_NOW - 2 * YEAR, _NOW - YEAR)
NOT_YET = Validity(_NOW + YEAR, _NOW + 2 * YEAR)


def authority() -> Pair:
    return certificates.make_authority(Validity(_NOW - 4 * YEAR, _NOW + 4 * YEAR))


def write(folder: Path, by: Pair, *platforms: str, valid: Validity = VALID, name: str = "") -> Path:
    """Put certificates and keys of platforms there (in which ``name`` stands instead), and the authority's own."""
    folder.mkdir(exist_ok=True)
    (folder / "ca.crt").write_bytes(by.certificate)
    for platform in platforms:
        pair = certificates.certify(by, name or platform, valid)
        (folder / f"{platform}.crt").write_bytes(pair.certificate)
        (folder / f"{platform}.key").write_bytes(pair.key)
        (folder / f"{platform}.key").chmod(0o600)
    return folder
