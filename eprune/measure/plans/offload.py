"""The exits and the coding of ``eprune apply offload``: measured on the user's pictures, as other passes do it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from eprune.measure.compression import prepare
from eprune.measure.evaluate import figures_of
from eprune.measure.plans import compress as coding
from eprune.measure.plans import exits as plans
from eprune.measure.progress import SILENT, Progress
from eprune.model.system import System
from eprune.passes import compress, exits
from eprune.passes._offload_network import network_of
from eprune.passes.offload import Coded, Options


def planned(system: System, options: Options, progress: Progress = SILENT) -> Options:
    """The options with exits, if there is data for them, and with codings, if they are wished for.

    Raises ValueError and EpruneError for what is unfit.
    """
    if options.data and options.exits:
        options = _with_exits(system, options, progress)
    else:
        blank = Options(options.device, options.server)
        for name in ("wish", "at", *([] if options.data else ["exits"])):
            if getattr(options, name) != getattr(blank, name):
                raise ValueError(f"--{name} is for exits, which are fitted on pictures: give --data, too")
        if options.data and not options.compress:
            raise ValueError("--exits 0: then --data is for --compress: give it too")
    return _with_codings(system, options, progress) if options.compress else options


def _with_exits(system: System, options: Options, progress: Progress) -> Options:
    asked = exits.Options(options.data, options.wish, options.at, options.exits)
    found = plans.planned(system, asked, progress, network_of(system.graph, (), options.behind).actors)
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
        figures={"exits": found.figures["exits"]},
    )


def _with_codings(system: System, options: Options, progress: Progress) -> Options:
    """Each cut by itself: a frame is cut once. The picture goes as it is."""
    network = network_of(system.graph, options.cut, options.behind)
    fifos = [block.into.name for block in network.blocks[1:]]
    if not fifos:
        raise ValueError("--compress: the network has one block, and the picture goes as it is")
    asked = compress.Options(tuple(fifos), wish=options.compress, data=options.data)
    trial = prepare(replace(system, mappings=()), asked, progress, fused=False)
    coding.check_labels(trial, asked)
    made: dict[int, Coded] = {}
    lines, figures = list(options.lines), []
    for number, fifo in enumerate(trial.fifos, 1):
        _, chosen = coding.choose(trial, fifo, asked, {}, progress)
        assert chosen.coding is not None
        found = trial.measure(chosen.name, {fifo.name: chosen.coding}, fifo, trial.test)
        made[number] = Coded(chosen.coding, found.nbytes)
        whole = compress.token_of(system, fifo).nbytes
        lines.append(
            f"cut behind {fifo.source.actor}: {found.name}, {found.nbytes:.0f} bytes on average instead of {whole}; "
            f"agreement {found.agreement.value:.4g} on {found.agreement.of} test pictures"
        )
        row: dict[str, Any] = {"behind": fifo.source.actor, "way": found.name, "bytes": found.nbytes}
        figures.append({**row, "agreement": figures_of(found.agreement), "accuracy": figures_of(found.accuracy)})
    lines += [f"note: {note}" for note in trial.notes]
    return replace(options, codings=made, lines=tuple(lines), figures={**options.figures, "codings": figures})
