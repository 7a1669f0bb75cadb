"""A source of rendered vehicles."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ahead import Ahead, needed
from checks import only_port, whole_number
from vehicle_renderer import render_vehicle, vehicle_class

from eprune.runtime import Actor, EndOfStream, PortType


class VehicleSource(Actor):
    """Pictures of cars, buses, trucks and motorcycles (see ``vehicle_renderer``).

    They are rendered before the first firing, as many as are needed and fit into 64 MiB; the others as they are needed.
    An optional second output ``wanted``, int32[1], carries the class that the picture shows.

    Parameters:
        seed: the number of the sequence of vehicles; equal seeds give equal pictures.
        count: the number of vehicles; 0 never ends.
        view: the number of the camera; sources with equal seeds and different views see the same vehicles.
    """

    OUTPUTS = {"out": "float32[1,96,96,3]"}  # noqa: RUF012
    STATE = ("frame",)

    def __init__(self, seed: str = "1", count: str = "100", view: str = "0") -> None:
        self.seed = whole_number("seed", seed)
        self.count = whole_number("count", count)
        self.view = whole_number("view", view)
        self.frame = 0

    def initialize(self) -> None:
        """Check the ports. Raises ValueError if a type differs from that of the pictures or their classes."""
        outputs = dict(self.outputs)
        self.with_class = "wanted" in outputs
        if self.with_class and outputs.pop("wanted") != PortType("int32", (1,), 1):
            raise ValueError("port 'wanted': the class of a picture is int32[1], one per firing")
        self.port, port = only_port(outputs, "output")
        if (port.dtype, port.shape) != ("float32", (1, 96, 96, 3)):
            raise ValueError(f"port {self.port!r}: vehicles are float32[1,96,96,3], not {port.dtype}{list(port.shape)}")
        self.pictures = Ahead(self.draw, needed(self.count, self.most_firings))

    def draw(self, index: int) -> np.ndarray:
        """Render a vehicle."""
        return render_vehicle(self.seed, index, self.view)

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Write the next vehicle."""
        if self.count and self.frame == self.count:
            raise EndOfStream
        outputs[self.port][0] = self.pictures[self.frame]
        if self.with_class:
            outputs["wanted"][0] = vehicle_class(self.seed, self.frame)
        self.frame += 1
