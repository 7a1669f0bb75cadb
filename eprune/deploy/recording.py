"""Recordings of a deployed system's FIFOs, brought here from the devices."""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eprune.deploy.fleet import Fleet
from eprune.deploy.session import Session
from eprune.model.finding import Failure


@dataclass(frozen=True)
class Wish:
    """So many ``tokens`` and bytes (``most``) of each FIFO at most; after so many ``seconds``, what there is."""

    tokens: int
    most: int
    seconds: float


@dataclass(frozen=True)
class Recording:
    """A recording in ``file``: its tokens, how many were left out, and what the problem was, '' if there was none."""

    file: str
    tokens: int
    lost: int
    problem: str


def record(devices: Fleet, homes: Mapping[str, str], wish: Wish, folder: str) -> dict[str, Recording]:
    """FIFO -> its recording, in the folder.

    ``homes``: FIFO -> the platform of its producer. Raises Failure where a device cannot do it.
    """

    def take(session: Session) -> dict[str, Recording]:
        names = [name for name, home in homes.items() if home == session.site.platform]
        told = {name: {"tokens": wish.tokens, "bytes": wish.most} for name in names}
        found = session.call("record", taps=told, seconds=wish.seconds)
        return {name: _brought(session, name, found.get(name), folder) for name in names}

    return {name: row for rows in devices.each(take).values() for name, row in rows.items()}


def _brought(session: Session, name: str, found: Any, folder: str) -> Recording:
    """A recording, once it is here."""
    target = Path(folder, f"{name}.npy")
    if found is None:
        return Recording(str(target), 0, 0, "its program does not record it: it is within a segment, or nothing runs")
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with partial.open("xb") as file:

            def write(piece: str) -> None:
                file.write(base64.b64decode(piece))

            session.call("fetch", on_say=write, file=found["file"])
        os.replace(partial, target)  # noqa: PTH105
    except OSError as error:
        raise Failure(f"{target}: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()
    problem = found["problem"] or ("" if found["done"] else "there were no more in that time")
    rows = np.load(target, mmap_mode="r")  # the last tokens may have come after the last report
    lost = max(found["lost"], int(rows["lost"].sum()))
    return Recording(str(target), len(rows), lost, problem)
