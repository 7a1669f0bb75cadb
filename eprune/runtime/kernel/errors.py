"""Why a run ended badly, told apart by whose fault it is.

RunError                     exit 1
  ActorError                 a behaviour raised: the local user's code or data
  LinkError                  a connection could not be made or broke
    Refused                  one side does not accept the other: another application, FIFO, token type or version
    ProtocolError            the peer sent what the protocol forbids
    PeerError                the peer failed and said why
    LostTokens               the peer came back, but what it had received is gone
UsageError                   exit 2: wrong options, a file that is missing
Interrupted                  exit 130: Ctrl-C or SIGTERM
"""

from __future__ import annotations

import traceback


class RunError(Exception):
    """A run failed; the message is for the user."""

    exit_code = 1


class UsageError(RunError):
    """Wrong options or unusable input."""

    exit_code = 2


class Interrupted(RunError):
    """Ctrl-C or a termination signal."""

    exit_code = 130


class LinkError(RunError):
    """A connection could not be made, or was lost."""


class Refused(LinkError):
    """The handshake failed: the two sides do not belong together."""


class ProtocolError(LinkError):
    """The peer sent what the wire protocol forbids."""


class PeerError(LinkError):
    """The peer's run failed, and it said why."""


class LostTokens(LinkError):
    """Tokens are gone that a FIFO had promised to keep."""


class ActorError(RunError):
    """An actor's behaviour raised; ``cause`` is what it raised."""

    def __init__(self, actor: str, stage: str, cause: BaseException) -> None:
        self.cause = cause
        frames = traceback.extract_tb(cause.__traceback__)
        # The behaviour's own line: the innermost frame outside this runtime.
        own = [frame for frame in frames if "/eprune/runtime/" not in frame.filename.replace("\\", "/")]
        where = f"{own[-1].filename}:{own[-1].lineno}: " if own else ""
        text = str(cause).strip()
        kind = type(cause).__name__
        super().__init__(f"{where}actor {actor!r} failed in {stage}: {kind}{': ' if text else ''}{text}")
