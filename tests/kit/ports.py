"""Ports for behaviours that are driven without a runtime."""

from eprune.model.token import parse_token
from eprune.runtime import PortType


def port_type(token: str) -> PortType:
    """What a port of this token type, at rate 1, tells its behaviour."""
    parsed = parse_token(token)
    return PortType(parsed.dtype, parsed.shape, 1)
