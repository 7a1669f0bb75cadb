"""A run as a node of a dora dataflow: other ends of FIFOs, and no connections."""

from __future__ import annotations

from typing import Any, Callable, Optional

import numpy as np

from eprune.runtime.kernel.errors import UsageError
from eprune.runtime.kernel.fifo import Fifo
from eprune.runtime.kernel.policy import STOP
from eprune.runtime.main.assembly import Assembly
from eprune.runtime.main.declared import DeclaredFifo
from eprune.runtime.net.connection import Connection
from eprune.runtime.net.dora import Dataflow, DoraRx, DoraTx, Node
from eprune.runtime.net.handshake import Listeners


class NodeAssembly(Assembly):
    """The parts of such a run. Raises UsageError if they cannot be assembled."""

    def _make_parts(self) -> None:
        problem = self._unfit()
        if problem:
            raise UsageError(f"--dora: {problem}")
        self._node = Node()
        super()._make_parts()

    @property
    def links(self) -> int:
        """The number of FIFOs that begin and end with the run."""
        return sum(bool(fifo.peer) for fifo in self.declared.fifos)

    def make_network(self, report: Callable[[Any], None], listeners: Optional[Listeners]) -> Any:
        """What carries the FIFOs to other platforms."""
        ends: dict[str, Any] = {fifo.name: self.fifos[fifo.name] for fifo in self.declared.fifos if fifo.peer}
        return Dataflow(self._node, ends, self.declared.digest, report)

    def _unfit(self) -> str:
        """Why this program cannot be a node, '' if it can. The code generator refuses the same before."""
        if self._options.serve or self._options.emulate or self._options.emulate_trace:
            return "a node serves no streams and emulates no links: --serve and --emulate are for programs of their own"
        if self.declared.aligned:
            return "inputs are matched by index, which dora's edges do not carry"
        crossing = [fifo for fifo in self.declared.fifos if fifo.peer]
        wrong = next((fifo for fifo in crossing if fifo.policy != STOP or fifo.security != "none" or fifo.via), None)
        return "" if wrong is None else f"FIFO {wrong.name!r} has a policy, a security or a way that dora does not"

    def _make_end(self, fifo: DeclaredFifo, initial: Optional[np.ndarray]) -> Fifo:
        kind = self._node, fifo.name, fifo.dtype, fifo.shape, fifo.capacity + fifo.window
        return DoraTx(*kind) if fifo.target is None else DoraRx(*kind, fifo.delay, initial)

    def _make_connections(self) -> list[Connection]:
        return []
