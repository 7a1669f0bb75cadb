"""How fast a system really is: the programs of all its platforms on this machine, in a steady stream."""

from __future__ import annotations

import tempfile

from eprune.deploy.build import write_programs
from eprune.deploy.local import launch
from eprune.deploy.options import certificates, link_options, secured
from eprune.measure.summary import RunSummary, summarize
from eprune.model.exit_codes import INTERRUPTED
from eprune.model.finding import Failure
from eprune.model.platform import Security
from eprune.model.system import System


def steady(system: System, frames: int, emulate: bool = False) -> RunSummary:
    """Run so many frames; with ``emulate`` links and units are as slow as the platform files state.

    Raises Failure, with the programs' messages, for a run that fails.
    """
    messages: list[str] = []
    with tempfile.TemporaryDirectory(prefix="eprune-") as folder, tempfile.TemporaryFile() as printed:
        programs = write_programs(system, folder)
        own = {platform: [f"--frames={frames}", *links] for platform, links in link_options(system).items()}
        arguments = {platform: [*each, *["--emulate"] * emulate] for platform, each in own.items()}
        with certificates(list(programs), needed=secured(system, Security.TLS)):
            outcome = launch(
                programs, arguments, on_message=messages.append, stdout=printed.fileno(), tolerant=system.tolerant
            )
    if outcome.exit_code == INTERRUPTED:
        raise KeyboardInterrupt
    if outcome.exit_code:
        raise Failure("\n".join(messages) or f"the programs end with exit code {outcome.exit_code}")
    return summarize(system.graph.name, outcome.records)
