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


def record(devices: Fleet, homes: Mapping[str, str], wish: Wish, folder: str) -> dict[str, dict[str, Any]]:
    """FIFO -> its ``file`` in the folder, its ``tokens``, how many were ``lost``, and what the ``problem`` was.

    ``homes``: FIFO -> the platform of its producer. Raises Failure where a device cannot do it.
    """

    def take(session: Session) -> dict[str, dict[str, Any]]:
        names = [name for name, home in homes.items() if home == session.site.platform]
        told = {name: {"tokens": wish.tokens, "bytes": wish.most} for name in names}
        found = session.call("record", taps=told, seconds=wish.seconds)
        return {name: _brought(session, name, found.get(name), folder) for name in names}

    return {name: row for rows in devices.each(take).values() for name, row in rows.items()}


def _brought(session: Session, name: str, found: Any, folder: str) -> dict[str, Any]:
    """A recording, once it is here."""
    if found is None:
        return {
            "file": None,
            "tokens": 0,
            "lost": 0,
            "problem": "its program does not record: it is in a segment, or old",
        }
    target = Path(folder, f"{name}.npy")
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
    return {"file": str(target), "tokens": len(rows), "lost": lost, "problem": problem}
