"""Why a run failed, by whose fault it is.

RunError                     exit 1
  OutOfDescriptors           the process may open no more files and sockets
  ActorError                 a behaviour raised: the local user's code or data
  LinkError                  a connection could not be made or broke
    Refused                  one side does not accept the other: another application, FIFO, token type or version
    ProtocolError            the peer sent what the protocol forbids
    PeerError                the peer failed and sent the reason
    LostTokens               the peer came back, but what it had received is lost
UsageError                   exit 2: wrong options, a file that is missing
InternalError                exit 70: a fault in eprune
Interrupted                  exit 130: Ctrl-C or SIGTERM
"""

from __future__ import annotations

import errno
import traceback
from pathlib import Path


class RunError(Exception):
    """A run failed; the message is for the user."""

    exit_code = 1
    #: whether an event has told of it
    told = False


class UsageError(RunError):
    """Wrong options or unusable input."""

    exit_code = 2


class Interrupted(RunError):
    """Ctrl-C or a termination signal."""

    exit_code = 130


class InternalError(RunError):
    """A fault in eprune itself: ``cause`` is what was raised in the thread ``where``."""

    exit_code = 70

    def __init__(self, cause: BaseException, where: str = "") -> None:
        self.cause = cause
        frames = traceback.extract_tb(cause.__traceback__)
        place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno}, in {frames[-1].name})" if frames else ""
        thread = f" in {where}" if where else ""
        super().__init__(
            f"INTERNAL ERROR{thread}: {type(cause).__name__}: {cause}{place}. This is a fault in eprune, not in your "
            "files. Please report it with the command, its input files, and what the command prints with EPRUNE_DEBUG=1"
        )


class OutOfDescriptors(RunError):
    """The process may open no more files and sockets."""

    def __init__(self, where: str = "") -> None:
        limit = f" of {_limit()}" if _limit() else ""
        super().__init__(
            f"out of file descriptors{f' in {where}' if where else ''}: the limit{limit} is too low for this program's "
            "files and connections; raise it (ulimit -n, or LimitNOFILE of a service)"
        )


def _limit() -> int:
    """How many descriptors this process may have; 0: unknown."""
    try:
        import resource
    except ImportError:  # Windows has none
        return 0
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def unexpected(cause: BaseException, where: str = "") -> RunError:
    """The failure of a run for what was raised where nothing should be: in our own code, in the thread ``where``."""
    if isinstance(cause, OSError) and cause.errno in (errno.EMFILE, errno.ENFILE):
        return OutOfDescriptors(where)
    return InternalError(cause, where)


class LinkError(RunError):
    """A connection could not be made, or was lost."""


class Refused(LinkError):
    """The handshake failed: the two sides do not belong together."""


class ProtocolError(LinkError):
    """The peer sent what the wire protocol forbids."""


class PeerError(LinkError):
    """The peer's run failed, and it sent the reason."""


class LostTokens(LinkError):
    """Tokens are lost that a FIFO had promised to keep."""


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
