"""Plans that deal a model's layers to devices without measuring anything: ``lop``, ``chained`` and ``full``."""

from __future__ import annotations

from collections.abc import Sequence

from eprune.formats.tflite.channels import Layer
from eprune.model.partition import LayerParts, Plan


def full(devices: int) -> Plan:
    """Every layer on every device."""
    return Plan(devices, "full")


def blocks(channels: int, devices: int) -> list[tuple[int, ...]]:
    """Contiguous blocks of as equal size as can be, the larger ones first."""
    size, rest = divmod(channels, devices)
    starts = [device * size + min(device, rest) for device in range(devices + 1)]
    return [tuple(range(start, end)) for start, end in zip(starts, starts[1:])]


def lop(layers: Sequence[Layer], devices: int) -> Plan:
    """Layer output partitioning: a contiguous block of each layer's channels on each device."""
    return Plan(devices, "lop", tuple(LayerParts(each.first, tuple(blocks(each.channels, devices))) for each in layers))


def chained(layers: Sequence[Layer], devices: int, copies: int) -> Plan:
    """Each block of ``lop`` on ``copies`` successive devices: exact for any ``copies`` - 1 failures."""
    made = []
    for layer in layers:
        own = blocks(layer.channels, devices)
        held = [[own[(device - back) % devices] for back in range(copies)] for device in range(devices)]
        parts = tuple(tuple(sorted({channel for block in each for channel in block})) for each in held)
        made.append(LayerParts(layer.first, parts))
    return Plan(devices, "chained", tuple(made))
