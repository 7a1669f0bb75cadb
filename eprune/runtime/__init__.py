"""What a generated program imports: the standard library, numpy and a TFLite interpreter, nothing else of eprune.

Inside are rooms, each of which imports only those before it: ``kernel`` and ``tell``; ``fire`` and ``net``, which know
nothing of one another; ``main``.
"""

from eprune.runtime import moved
from eprune.runtime.kernel.actor import Actor, EndOfStream, PortType
from eprune.runtime.main.program import Program

__all__ = ["Actor", "EndOfStream", "PortType", "Program"]

moved.install()
