"""What a running program tells whoever started it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Optional

from eprune.runtime.engine import ActorThread
from eprune.runtime.errors import Interrupted


class Status:
    """Progress for whoever started this program: JSON lines to a file descriptor."""

    def __init__(self, descriptor: Optional[int], platform: str, actors: Sequence[ActorThread]) -> None:
        self._descriptor = descriptor
        self._platform = platform
        self._actors = actors

    def report(self, state: str) -> None:
        """Write one line. Raises Interrupted if the reader has gone: nobody is left to stop this program."""
        if self._descriptor is None:
            return
        firings = {actor.name: actor.activity.count for actor in self._actors}
        line = json.dumps({"platform": self._platform, "state": state, "firings": firings})
        try:
            os.write(self._descriptor, line.encode() + b"\n")
        except OSError:
            self._descriptor = None
            raise Interrupted("interrupted: whoever started this program has gone") from None
