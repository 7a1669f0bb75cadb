"""Checks of ports and parameters that several behaviours share."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Union

import numpy as np

from eprune.runtime import PortType


def only_port(ports: Mapping[str, PortType], kind: str) -> tuple[str, PortType]:
    """Name and type of an actor's only input or output (``kind``); raises ValueError for more, or a rate above 1."""
    if len(ports) != 1:
        raise ValueError(f"needs exactly one {kind} port, has {', '.join(ports) or 'none'}")
    [(name, port)] = ports.items()
    if port.rate != 1:
        raise ValueError(f"port {name!r}: handles one token per firing, but its rate is {port.rate}")
    return name, port


def only_type(ports: Mapping[str, PortType], kind: str) -> tuple[str, PortType]:
    """The first of an actor's inputs or outputs (``kind``), and the type of all of them; raises ValueError if there is
    none, if they differ, or for a rate above 1.
    """
    if len(set(ports.values())) != 1:
        raise ValueError(f"needs {kind} ports of one type, has {', '.join(ports) or 'none'}")
    name, port = next(iter(ports.items()))
    if port.rate != 1:
        raise ValueError(f"port {name!r}: handles one token per firing, but its rate is {port.rate}")
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


def number(name: str, text: str) -> float:
    """The number that parameter ``name`` gives; raises ValueError unless it is one, and finite."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{name}={text!r}: expected a number")
    return value


def numbers(name: str, text: str) -> np.ndarray:
    """The numbers, separated by commas, of parameter ``name``, float64; raises ValueError unless all are finite."""
    try:
        values = np.array([float(number) for number in text.split(",")])
    except ValueError:
        values = np.array([np.nan])
    if not np.isfinite(values).all():
        raise ValueError(f"{name}={text!r}: expected a number, or several separated by commas")
    return values


def fraction(name: str, text: str) -> float:
    """The number that parameter ``name`` gives; raises ValueError unless it is from 0 to 1."""
    value = number(name, text)
    if not 0 <= value <= 1:
        raise ValueError(f"{name}={text!r}: expected a number from 0 to 1")
    return value


def shapes(ports: Mapping[str, PortType], ranks: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """The shapes of exactly the ports that ``ranks`` names, in its order, each of the stated rank.

    A shape may have a leading 1 in addition, which is left out. Raises ValueError for other ports, ranks and rates.
    """
    if set(ports) != set(ranks):
        raise ValueError(f"expected the ports {', '.join(ranks)}, not {', '.join(ports) or 'none'}")
    found = {}
    for name, rank in ranks.items():
        shape = ports[name].shape
        if ports[name].rate != 1:
            raise ValueError(f"port {name!r}: handles one token per firing, but its rate is {ports[name].rate}")
        if len(shape) != rank and not (len(shape) == rank + 1 and shape[0] == 1):
            raise ValueError(f"port {name!r}: expected {rank} dimensions, not {list(shape)}")
        found[name] = shape[-rank:]
    return found


def tokens_of(given: Union[np.ndarray, list[np.ndarray], None]) -> list[np.ndarray]:
    """The tokens of a port in a firing as a list, whatever its rate limits; for an idle port (``None``), none."""
    if given is None:
        return []
    return given if isinstance(given, list) else [given]


def put(out: Any, token: np.ndarray) -> None:
    """Copy a token to the room for one, of variable size or not."""
    if hasattr(out, "used"):
        out[: len(token)] = token
        out.used = len(token)
    else:
        out[...] = token
