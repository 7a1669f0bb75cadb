"""The target for systemd: a unit that runs a program as a service."""

from __future__ import annotations

import shlex

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
