"""An exchange of a network whose width differs from frame to frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from exchange import Exchange


class WidthExchange(Exchange):
    """As ``Exchange``, where parts are missing because nobody wanted them: nothing is noted.

    Parameters:
        layer, devices, parts, row, zero, coded, recovery, device: as of ``Exchange``; the devices are widths.
    """

    PATHS: ClassVar[Mapping[str, str]] = {"recovery": "read"}

    def _note(self, absent: tuple[str, ...], plan: Any) -> None:
        """Nothing: the control tokens say how wide a frame is."""
