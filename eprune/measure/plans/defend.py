"""How ``defend`` defends a cut: the ways are attacked, and the wish chooses one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from eprune.measure.attacks import ATTACKS, chosen_attacks
from eprune.measure.compression import entropy_note
from eprune.measure.data import read_data
from eprune.measure.defences import Defences, Row, seeded
from eprune.measure.evaluate import AGREEMENT
from eprune.measure.plans.compress import aligned, check_metric, plain, wished
from eprune.measure.progress import SILENT, Progress
from eprune.model.system import System
from eprune.passes import compress
from eprune.passes.compress import token_of
from eprune.passes.defend import Method, Options

#: What must hold where nothing is wished: this share of the answers.
_LEAST = 0.95
#: A fall of the SSIM by less than that is next to nothing.
_LITTLE = 0.05


def planned(system: System, options: Options, progress: Progress = SILENT) -> Options:
    """The options with the defence, and with what was measured.

    Raises ValueError for what does not fit, and where no way keeps the wish; EpruneError for data that cannot be read;
    WrongUsage for attacks that cannot be made here.
    """
    metric, least = _checked(options)
    data = read_data(options.data)
    check_metric(metric, data.labelled)
    if metric == AGREEMENT:  # with the application's own answers, whatever the labels are
        data = replace(data, examples=tuple(replace(example, label=None) for example in data))
    trial = Defences(system, options, data, progress)
    ways = list(trial.ways())
    progress.begin(f"{options.fifo}: {len(ways)} ways")
    rows = []
    for place, way in enumerate(ways):
        rows.append(trial.measure(way))
        progress.update(place + 1)
    chosen = _chosen(rows, metric, least, options)
    made = chosen.way.defence if options.seed < 0 else seeded(chosen.way.defence, options.seed)
    nothing = trial.nothing
    notes = [*trial.notes, *entropy_note(compress.Options((options.fifo,)))]
    lines = _table(rows, chosen, nothing, metric, options)
    lines += _verdicts(chosen, rows[0], metric, least)
    lines += [f"note: {note}" for note in notes]
    figures: dict[str, Any] = {
        "fifo": options.fifo,
        "metric": metric,
        "attacks": list(chosen_attacks(options.attack)),
        "average": options.average,
        "pictures": {"calibration": len(trial.fit) + len(trial.choice), "test": rows[0].accuracy.of},
        "ways": [_data(row, row is chosen) for row in rows],
        "nothing": {"psnr_db": nothing.psnr, "ssim": nothing.ssim, "label": plain(nothing.label)},
        "raw_bytes": token_of(system, trial.fifo).nbytes,
        "notes": notes,
    }
    return replace(options, made=made, lines=tuple(lines), figures=figures)


def _checked(options: Options) -> tuple[str, float]:
    """The metric, and how much of it must be left. Raises ValueError for options that do not fit together."""
    if options.frames < 8:
        raise ValueError(f"--frames {options.frames}: an attack needs at least 8 pictures")
    if options.average < 1:
        raise ValueError(f"--average {options.average}: expected 1 or more")
    for attack in options.attack:
        if attack not in ATTACKS:
            raise ValueError(f"--attack {attack}: there are {', '.join(ATTACKS)}")
    strong = (Method.NOISE, Method.WEIGHTS, Method.DROPOUT, Method.BOTTLENECK)
    if options.strength >= 0 and options.method not in strong:
        raise ValueError(f"--strength is for --method {', '.join(each.value for each in strong)}")
    if options.rank < 0 or (options.rank and options.method not in (Method.RANK, Method.BOTTLENECK)):
        raise ValueError("--rank is for --method rank and bottleneck: how many numbers are sent")
    return wished(options.wish, (AGREEMENT, _LEAST))


def _chosen(rows: Sequence[Row], metric: str, least: float, options: Options) -> Row:
    """The way with the lowest SSIM of those that keep the wish on pictures that nothing was fitted on."""
    ways = rows[1:]
    good = [row for row in ways if row.chosen_by.value >= least]
    if not good:
        best = max(ways, key=lambda row: row.chosen_by.value)
        raise ValueError(
            f"--wish {metric}={least:g}: the best for {options.fifo} is {best.chosen_by.value:.4f}, by {best.way.name}"
        )
    return min(good, key=lambda row: (row.most, row.nbytes))


def _data(row: Row, chosen: bool) -> dict[str, Any]:
    """As plain data."""
    return {
        "name": row.way.name,
        "method": row.way.method,
        "bytes": row.nbytes,
        "accuracy": plain(row.accuracy),
        "psnr_db": row.psnr,
        "ssim": row.ssim,
        "ssim_averaged": row.averaged,
        "label": plain(row.label),
        "chosen": chosen,
    }


def _table(rows: Sequence[Row], chosen: Row, nothing: Any, metric: str, options: Options) -> list[str]:
    """The ways, as lines of text."""
    head = ["way", "bytes", metric, "PSNR, dB", "SSIM", f"of {options.average} frames", "label told", ""]
    table = [head]
    for row in rows:
        averaged = "" if row.averaged is None else f"{row.averaged:.3f}"
        figures = [f"{row.psnr:.1f}", f"{row.ssim:.3f}", averaged, f"{100 * row.label.value:.1f} %"]
        mark = "<- chosen" if row is chosen else ""
        table.append([row.way.name, f"{row.nbytes:.0f}", f"{100 * row.accuracy.value:.1f} %", *figures, mark])
    bare = [f"{nothing.psnr:.1f}", f"{nothing.ssim:.3f}", "", f"{100 * nothing.label.value:.1f} %", ""]
    table.append(["(no token)", "", "", *bare])
    attacks = " and ".join(chosen_attacks(options.attack))
    return [f"{options.fifo}, attacked by {attacks}, on {rows[0].accuracy.of} pictures:", *aligned(table)]


def _verdicts(row: Row, before: Row, metric: str, least: float) -> list[str]:
    """What the defence does, and what it does not."""
    lines = [
        f"{row.way.name}: SSIM {row.most:.3f} instead of {before.most:.3f}, {metric} {row.accuracy.value:.4f} instead "
        f"of {before.accuracy.value:.4f}, {row.nbytes:.0f} bytes instead of {before.nbytes:.0f}"
    ]
    if row.accuracy.value < least:
        lines.append(f"on the test part {metric} is below the {least:g} that it had on the calibration part")
    if row.most > before.most - _LITTLE:
        lines.append("it hardly resists these attacks, and nothing that keeps the wish does better")
    else:
        lines.append("it resists these attacks by so much; what resists them may not resist a better one")
    return lines
