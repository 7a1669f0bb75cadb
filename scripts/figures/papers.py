"""What the Edge-PRUNE papers state of their use cases, and how we play them. Times are milliseconds per frame."""

from __future__ import annotations

from typing import NamedTuple


class Stated(NamedTuple):
    """A figure of the papers: the actor after which the model is cut ("raw": the input is sent), and the time."""

    after: str
    ms: float


class Case(NamedTuple):
    """An application on a device, behind a link.

    ``whole`` is the papers' time of the whole model on the device, ``stated`` their times of cuts. ``raw`` is our last
    actor before the network. ``points`` of our partition points are measured, all where it is empty, over ``frames``.
    """

    application: str
    device: str
    link: str
    whole: float
    stated: tuple[Stated, ...]
    raw: str
    frames: int
    points: tuple[int, ...] = ()
    arguments: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """For files and titles."""
        return f"{self.application}-{self.device}-{self.link}".lower()


_SSD = {
    "application": "ssd_mobilenet",
    "device": "N2",
    "whole": 2360.0,
    "raw": "Resize",
    "frames": 8,
    # Reader, Resize, then from conv1 to the end, closer where the papers' best cut is.
    "points": (1, 2, 3, 6, 10, 14, 18, 20, 22, 24, 29, 37, 49, 50, 52),
    # As in our mappings: the tracks return to the endpoint, frames stay there.
    "arguments": ("--keep-on", "N2", "Writer"),
}

CASES = (
    Case("vehicle", "N2", "Ethernet", 18.9, (Stated("raw", 9.0), Stated("L2", 14.9)), "Input", 100),
    Case("vehicle", "N2", "WiFi", 18.9, (Stated("L2", 17.1),), "Input", 60),
    Case("vehicle", "N270", "Ethernet", 443.0, (Stated("raw", 28.6), Stated("L1", 167.0)), "Input", 30),
    Case("vehicle", "N270", "WiFi", 443.0, (Stated("raw", 38.9), Stated("L1", 191.0)), "Input", 30),
    Case(link="Ethernet", stated=(Stated("dw9", 406.0),), **_SSD),  # type: ignore[arg-type]
    Case(link="WiFi", stated=(Stated("dw9", 470.0),), **_SSD),  # type: ignore[arg-type]
)
