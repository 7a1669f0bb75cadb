"""How a model's layers are dealt to devices by output channels: plain data, with a JSON form."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: More sets of dead devices are not tried.
MOST_SETS = 5000
#: Bytes of a weight of a prediction, a float16.
PREDICTION_BYTES = 2


@dataclass(frozen=True)
class LayerParts:
    """The channels of one layer on each device: ``parts[d]`` are those of device d, counted from 0, rising.

    ``first`` is the layer's first operator. A channel may be on several devices; each is on one at least.
    """

    first: int
    parts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Plan:
    """The partition of a model over ``devices``. Operators of layers that are not named run on every device."""

    devices: int
    method: str
    layers: tuple[LayerParts, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As lists, numbers and texts."""
        layers = [{"first": each.first, "parts": [list(part) for part in each.parts]} for each in self.layers]
        return {"devices": self.devices, "method": self.method, "layers": layers}

    @classmethod
    def from_json(cls, data: Any) -> Plan:
        """Raises ValueError, which says what is wrong, for what ``to_json`` cannot have given."""
        if not isinstance(data, Mapping) or not isinstance(data.get("layers"), list):
            raise ValueError("it is no plan: there is no list of layers")
        devices, method = data.get("devices"), data.get("method")
        if not isinstance(devices, int) or devices < 1 or not isinstance(method, str):
            raise ValueError("it is no plan: it needs the number of devices, and the name of a method")
        return cls(devices, method, tuple(_layer(each, devices) for each in data["layers"]))


def failure_sets(devices: int, failures: int) -> list[tuple[int, ...]]:
    """All sets of up to so many of the devices, the empty one first. Raises ValueError for too many."""
    if not 0 <= failures < devices:
        raise ValueError(f"of {devices} devices 0 to {devices - 1} can fail")
    count = sum(math.comb(devices, k) for k in range(failures + 1))
    if count > MOST_SETS:
        raise ValueError(f"{count} sets of dead devices are more than {MOST_SETS}: take fewer failures")
    return [dead for k in range(failures + 1) for dead in itertools.combinations(range(devices), k)]


def prediction_bytes(parts: Sequence[Sequence[int]], failures: int, widths: Sequence[int] = (1,)) -> list[int]:
    """What predictions of a layer's missing channels take on each device: bytes of weights.

    One for each set of up to ``failures`` others that are dead and take channels with them: from the channels that are
    left, and 1, to those that are missing. ``widths``: of each tensor that leaves the layer, elements for a channel.
    """
    held = [sum(1 << channel for channel in part) for part in parts]
    count = bin(_union(held)).count("1")
    found = [0] * len(held)
    for dead in failure_sets(len(held), failures)[1:]:
        left = bin(_union([own for device, own in enumerate(held) if device not in dead])).count("1")
        nbytes = PREDICTION_BYTES * sum((left * width + 1) * (count - left) * width for width in widths)
        found = [total + nbytes * (device not in dead) for device, total in enumerate(found)]
    return found


def _union(sets: Sequence[int]) -> int:
    made = 0
    for each in sets:
        made |= each
    return made


def _layer(data: Any, devices: int) -> LayerParts:
    first = data.get("first") if isinstance(data, Mapping) else None
    parts = data.get("parts") if isinstance(data, Mapping) else None
    if not isinstance(first, int) or first < 0 or not isinstance(parts, list):
        raise ValueError("a layer of it does not state its first operator, and the parts of devices")
    if len(parts) != devices:
        raise ValueError(f"its layer at operator {first} has {len(parts)} parts for {devices} devices")
    made = []
    for part in parts:
        if not isinstance(part, list) or not all(map(_natural, part)) or sorted(set(part)) != part:
            raise ValueError(f"its layer at operator {first} has a part that is no list of channels in rising order")
        made.append(tuple(part))
    return LayerParts(first, tuple(made))


def _natural(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
