"""Names and passwords that stay out of graphs, messages and records."""

from __future__ import annotations

import ipaddress
import os
import urllib.parse
from pathlib import Path
from typing import Optional

_MAX_BYTES = 4096  # more is some other file


def login_of(variable: str, file: str) -> Optional[tuple[str, str]]:
    """User and password, from the environment variable or the first line of the file, ``USER:PASSWORD``.

    None if neither is named. Raises ValueError if both are, or if it is not there; the message never quotes it.
    """
    if variable and file:
        raise ValueError("login names an environment variable, login_file a file: give one of the two")
    if variable:
        text, place = os.environ.get(variable), f"login={variable!r}: the environment variable"
        if text is None:
            raise ValueError(f"{place} is not set; it holds USER:PASSWORD")
    elif file:
        place = f"login_file={file!r}: the file"
        with Path(file).open("rb") as stream:
            text = stream.read(_MAX_BYTES).decode("utf-8", "replace").partition("\n")[0].rstrip("\r")
    else:
        return None
    user, colon, password = text.partition(":")
    if not (user and colon):
        raise ValueError(f"{place} does not hold USER:PASSWORD")
    return user, password


def web_address(name: str, url: str, schemes: tuple[str, ...]) -> urllib.parse.SplitResult:
    """The parts of a URL. Raises ValueError for other schemes, without a host, and for one that holds a password."""
    try:
        parts = urllib.parse.urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urllib.parse.SplitResult("", "", "", "", ""), None
    if parts.scheme not in schemes or not host:
        shown = repr(url) if "@" not in url else "the address"
        raise ValueError(f"{name}: expected {' or '.join(f'{each}://HOST/...' for each in schemes)}, not {shown}")
    if "@" in parts.netloc:
        raise ValueError(f"{name}: holds a user or a password, which everybody reads: use login or login_file for it")
    return parts


def loopback(host: str) -> bool:
    """Whether a host is this machine and nobody else can reach it."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
