"""Greetings: how the two ends of a connection identify themselves, and whether they belong together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Optional

from eprune.runtime.kernel.errors import ProtocolError
from eprune.runtime.net import wire
from eprune.runtime.net.shaping import MAX_LATENCY, Figures

#: The answers to a greeting: the connection is there, is refused for good, or may be tried again.
ACCEPTED, REFUSED, LATER = "accepted", "refused", "later"
#: Characters of an incarnation at most.
MAX_INCARNATION = 64
#: Characters of the reason for a refusal that are shown.
MAX_REASON = 400

#: What both sides must agree on: field of a greeting -> its name for people.
_AGREE = {"digest": "application digest", "fifo": "FIFO", "token": "token type"}


@dataclass(frozen=True)
class Greeting:
    """The first message on a connection, in each direction. The listening side answers with a ``verdict``.

    ``digest``, ``fifo`` and ``token`` must be equal on both sides. ``incarnation`` identifies one run of a program.
    ``firing`` is the index of the receiving end's next firing, ``running`` whether the application has been running
    before, ``emulated`` the figures of the emulated link in the sender's direction.
    """

    application: str = ""
    platform: str = ""
    digest: str = ""
    fifo: str = ""
    token: str = ""
    incarnation: str = ""
    interpreter: str = ""
    firing: int = 0
    running: bool = False
    emulated: Optional[Figures] = None
    verdict: str = ""
    reason: str = ""

    def pack(self) -> bytes:
        """The greeting as bytes."""
        fields = {name: value for name, value in vars(self).items() if value and isinstance(value, str)}
        if self.firing:
            fields["firing"] = str(self.firing)
        if self.running:
            fields["running"] = "1"
        if self.emulated is not None:
            fields["bandwidth"] = str(self.emulated.bandwidth or "")
            fields["latency"] = str(self.emulated.latency)
        return wire.pack_greeting(fields)

    @property
    def sender(self) -> str:
        """The sender's platform, fit for a message."""
        return brief(self.platform or "the sender")


def unpack(data: bytes | bytearray) -> Greeting:
    """Read a whole greeting; unknown fields are ignored. Raises ProtocolError if it is malformed."""
    fields = wire.unpack_greeting(data)
    return Greeting(
        application=fields.get("application", ""),
        platform=fields.get("platform", ""),
        digest=fields.get("digest", ""),
        fifo=fields.get("fifo", ""),
        token=fields.get("token", ""),
        incarnation=fields.get("incarnation", ""),
        interpreter=fields.get("interpreter", ""),
        firing=_index(fields.get("firing", "")),
        running=fields.get("running") == "1",
        emulated=_figures(fields),
        verdict=fields.get("verdict", ""),
        reason=brief(fields.get("reason", ""), MAX_REASON),
    )


def judge(greeting: Greeting, mine: Greeting) -> str:
    """Why the side whose own greeting is ``mine`` must refuse this one, '' if it accepts.

    A greeting with the verdict "refused" gives its own reason.
    """
    if greeting.verdict == REFUSED:
        return f"{greeting.sender} refuses {mine.platform}: {greeting.reason}"
    for field, name in _AGREE.items():
        theirs, ours = getattr(greeting, field), getattr(mine, field)
        if theirs != ours:
            reason = f"{name} {brief(theirs or 'nothing')} at {greeting.sender}, {brief(ours)} at {mine.platform}"
            hint = ": generate the programs of all platforms from the same files" if field == "digest" else ""
            return reason + hint
    if mine.incarnation and not 0 < len(greeting.incarnation) <= MAX_INCARNATION:
        return "a greeting that does not identify its program's run"
    if (greeting.emulated is None) != (mine.emulated is None):
        return "one side emulates the link and the other does not: start both or neither with --emulate"
    return ""


def warn(greeting: Greeting, mine: Greeting) -> str:
    """A note on a difference that the protocol tolerates, '' if there is none: the engines of models."""
    theirs, ours = greeting.interpreter, mine.interpreter
    if theirs and ours and theirs != ours:
        return f"{greeting.sender} runs {brief(theirs)}, {mine.platform} {ours}: results may differ in single bits"
    return ""


def brief(text: str, length: int = 60) -> str:
    """A peer's text, fit for a message: printable and short."""
    clean = "".join(char if char.isprintable() else "?" for char in text[: length + 1])
    return clean if len(clean) <= length else clean[: length - 3] + "..."


def _index(text: str) -> int:
    """A firing index; 0 for anything else."""
    return int(text) if text.isdecimal() and len(text) < len(str(wire.MAX_INDEX)) else 0


def _figures(fields: Mapping[str, str]) -> Optional[Figures]:
    """The link that the sender emulates, if any. Raises ProtocolError if its figures are malformed."""
    if "latency" not in fields:
        return None
    try:
        bandwidth = float(fields.get("bandwidth") or math.inf)
        latency = float(fields["latency"])
    except ValueError:
        raise ProtocolError("a greeting with an emulated link whose figures are not numbers") from None
    if not (bandwidth > 0 and 0 <= latency <= MAX_LATENCY):
        raise ProtocolError("a greeting with an impossible emulated link")
    return Figures(None if bandwidth == math.inf else bandwidth, latency)
