"""What a generated program imports: the standard library, numpy and a TFLite interpreter, nothing else of eprune."""

from eprune.runtime.actor import Actor, EndOfStream, PortType
from eprune.runtime.program import Program

__all__ = ["Actor", "EndOfStream", "PortType", "Program"]
