"""How a model's layers are dealt to devices by output channels: plain data, with a JSON form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


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
