"""Files are written whole or not at all."""

from __future__ import annotations

import os
import secrets
import stat
import sys
from pathlib import Path
from typing import NoReturn, Union

from eprune.model.finding import EpruneError, Finding, Location


def write_file(path: str, data: Union[str, bytes], private: bool = False) -> None:
    """Write a file, "-" for stdout; text as UTF-8. Missing folders are made. Nobody else can read a ``private`` one.

    The data goes to a temporary file beside ``path``, which then takes its place: a reader sees the old file or the new
    one, and a failure leaves the old one. A symbolic link stays one, a file that is there keeps its permissions, and
    what is not a regular file, such as /dev/null, is written to directly. Raises EpruneError (FILE); a closed pipe
    behind stdout raises BrokenPipeError, as for print. A private file never goes into a pipe or a device.
    """
    # Names of files may hold bytes that are not UTF-8; Python keeps them as surrogates.
    content = data.encode(errors="surrogateescape") if isinstance(data, str) else data
    try:
        if path == "-":
            _print(content)
            return
        target = Path(os.path.realpath(path))
        if target.is_dir():
            _refuse(path, "there is a folder of this name")
        if target.exists() and not target.is_file():
            if private:
                _refuse(path, "there is a pipe or a device of this name, which others may read")
            target.write_bytes(content)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        _replace(target, content, private)
    except BrokenPipeError:
        raise
    except (FileExistsError, NotADirectoryError):
        _refuse(path, "a part of its path is a file, not a folder")
    except OSError as error:
        _refuse(path, error.strerror or str(error))
    except ValueError as error:  # a path with a NUL character
        _refuse(path, str(error))


def link_file(existing: str, path: str) -> bool:
    """Let ``path`` be another name of the file ``existing``; whether that could be done. Missing folders are made."""
    target = Path(path)
    temporary = beside(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(existing, temporary)
        temporary.replace(target)
    except OSError:
        temporary.unlink(missing_ok=True)
        return False
    # Of two names of one file, POSIX leaves both where one is to take the other's place.
    temporary.unlink(missing_ok=True)
    return True


def beside(target: Path) -> Path:
    """A name in the folder of ``target`` for what is to take its place. Nobody can foresee it and prepare a file there.

    Whoever makes it has to insist that it is new (O_EXCL, mkdir, link): the folder may be another user's.
    """
    return target.with_name(f".{target.name[:200]}.{secrets.token_hex(8)}.tmp")


def _print(content: bytes) -> None:
    sys.stdout.flush()
    try:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    except OSError:
        # What is left in the buffer would fail once more when Python ends, with a message and an exit code of its own.
        with open(os.devnull, "wb") as nothing:  # noqa: PTH123 - Path.open is for files
            os.dup2(nothing.fileno(), sys.stdout.fileno())
        raise


def _replace(target: Path, content: bytes, private: bool) -> None:
    # Not the tempfile module: its files are private to the user, ours follow the umask.
    temporary = beside(target)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o666)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            if target.exists() and not private:
                os.fchmod(stream.fileno(), stat.S_IMODE(target.stat().st_mode))
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _refuse(path: str, reason: str) -> NoReturn:
    where = Location("<stdout>" if path == "-" else path)
    raise EpruneError(Finding("FILE", where, f"cannot be written: {reason}")) from None
