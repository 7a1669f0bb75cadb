"""How fast a system really is: the programs of all its platforms on this machine, in a steady stream."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence

from eprune.deploy.build import write_programs
from eprune.deploy.local import RunOutcome, launch
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
    with tempfile.TemporaryDirectory(prefix="eprune-") as folder:
        programs = write_programs(system, folder)
        own = {platform: [f"--frames={frames}", *links] for platform, links in link_options(system).items()}
        arguments = {platform: [*each, *["--emulate"] * emulate] for platform, each in own.items()}
        outcome = run_to_the_end(system, programs, arguments, system.tolerant)
    return summarize(system.graph.name, outcome.records)


def run_to_the_end(
    system: System,
    programs: Mapping[str, str],
    arguments: Mapping[str, Sequence[str]],
    tolerant: bool,
    limit: float = math.inf,
) -> RunOutcome:
    """Run a system's programs, whose output is thrown away, see ``launch``.

    Raises Failure, with the programs' messages, for a run that fails, and TimeoutError.
    """
    messages: list[str] = []
    with certificates(list(programs), needed=secured(system, Security.TLS)), tempfile.TemporaryFile() as printed:
        outcome = launch(
            programs, arguments, on_message=messages.append, stdout=printed.fileno(), tolerant=tolerant, limit=limit
        )
    if outcome.exit_code == INTERRUPTED:
        raise KeyboardInterrupt
    if outcome.exit_code:
        raise Failure("\n".join(messages) or f"the programs end with exit code {outcome.exit_code}")
    return outcome
