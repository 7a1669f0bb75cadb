"""The target for systemd: a unit that runs a program as a service."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from eprune.codegen.program import PlatformProgram
from eprune.codegen.targets.text import fill, printable, variable


def emit(program: PlatformProgram, file: str) -> dict[str, bytes]:
    """``eprune-PLATFORM.service``, which runs a program whose self-contained file is called ``file``."""
    peers = sorted({*(tx.to for tx in program.tx), *(rx.origin for rx in program.rx)})
    secure = any(end.security == "tls" for end in (*program.tx, *program.rx))
    filters = {"variable": variable}
    quoted = printable(shlex.quote(file))
    text = fill("service.j2", filters, {}, program=program, file=quoted, peers=peers, secure=secure)
    return {f"eprune-{program.platform}.service": text.encode()}


def deployed(program: PlatformProgram, name: str, command: Sequence[str], root: str, user: bool, secure: bool) -> bytes:
    """The unit ``name`` of a program that ``eprune deploy`` has put below ``root``; ``user``: for the user's systemd.

    ``secure``: its keys are there, too.
    """
    filters = {"word": _word, "setting": _setting}
    values = {"program": program, "name": name, "command": command, "root": root, "user": user, "secure": secure}
    return fill("service_deployed.j2", filters, {}, **values).encode()


def _word(text: str) -> str:
    """A word of a command line, or of a list of settings, whatever it holds; see systemd.service(5) on quoting."""
    escaped = printable(text.replace("\\", "\\\\")).replace('"', '\\"')
    return '"' + escaped.replace("%", "%%").replace("$", "$$") + '"'


def _setting(path: str) -> str:
    """A path that is a setting of its own: only specifiers mean something there."""
    return printable(path).replace("%", "%%")
