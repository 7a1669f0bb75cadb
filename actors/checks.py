"""What several behaviours check of their ports and parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping

from eprune.runtime import PortType


def only_port(ports: Mapping[str, PortType], kind: str) -> tuple[str, PortType]:
    """Name and type of an actor's only input or output (``kind``); raises ValueError for more, or a rate above 1."""
    if len(ports) != 1:
        raise ValueError(f"needs exactly one {kind} port, has {', '.join(ports) or 'none'}")
    [(name, port)] = ports.items()
    if port.rate != 1:
        raise ValueError(f"port {name!r}: handles one token a firing, but its rate is {port.rate}")
    return name, port


def whole_number(name: str, text: str) -> int:
    """The integer that parameter ``name`` gives; raises ValueError unless it is one, 0 or more."""
    if not re.fullmatch(r"[0-9]{1,18}", text.strip()):
        raise ValueError(f"{name}={text!r}: expected a whole number, 0 or more")
    return int(text)


def one_of(name: str, text: str, known: tuple[str, ...]) -> str:
    """The value of parameter ``name``; raises ValueError unless it is in ``known``."""
    if text not in known:
        raise ValueError(f"{name}={text!r}: expected {' or '.join(known)}")
    return text
