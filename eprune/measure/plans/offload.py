"""The exits of ``eprune apply offload``: fitted on the user's pictures, as those of ``eprune apply exits`` are."""

from __future__ import annotations

from dataclasses import replace

from eprune.measure.plans import exits as plans
from eprune.measure.progress import SILENT, Progress
from eprune.model.system import System
from eprune.passes import exits
from eprune.passes.offload import Options


def planned(system: System, options: Options, progress: Progress = SILENT) -> Options:
    """The options with exits, if there is data for them. Raises ValueError and EpruneError for what is unfit."""
    if not options.data:
        blank = Options(options.device, options.server)
        for name in ("wish", "at", "exits"):
            if getattr(options, name) != getattr(blank, name):
                raise ValueError(f"--{name} is for exits, which are fitted on pictures: give --data, too")
        return options
    asked = exits.Options(options.data, options.wish, options.at, options.exits)
    found = plans.planned(system, asked, progress)
    # Where exits are, the network can be cut, too.
    at = tuple(each["behind"] for each in found.figures["exits"]) if options.cut else ()
    leaving = [each["share"] for each in found.figures["exits"]]
    shares = tuple(share / max(1 - sum(leaving[:number]), 1e-9) for number, share in enumerate(leaving))
    return replace(
        options,
        cut=(*options.cut, *at),
        made=found.made,
        shares=tuple(min(share, 1.0) for share in shares),
        lines=found.lines,
        figures=dict(found.figures),
    )
