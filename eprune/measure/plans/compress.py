"""How ``compress`` codes the tokens of each cut: the ways are measured, and the wish or the bytes choose one."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional

from eprune.measure.compression import Measured, Trial, entropy_note, prepare
from eprune.measure.evaluate import ACCURACY, AGREEMENT
from eprune.measure.progress import SILENT, Progress
from eprune.model.graph import Fifo
from eprune.model.quantity import exact_bandwidth, parse_bandwidth, parse_size
from eprune.model.samples import Share
from eprune.model.system import System
from eprune.passes.compress import Coding, Method, Options
from eprune.passes.compress import token_of as type_of

#: What must hold where nothing is wished.
_WISH = (AGREEMENT, 0.99)


@dataclass(frozen=True)
class _Aim:
    """``metric`` is at least ``least``, with the fewest bytes; or, with ``nbytes``, as high as they allow."""

    metric: str
    least: float = 0.0
    nbytes: Optional[int] = None


def planned(system: System, options: Options, progress: Progress = SILENT) -> Options:
    """The options with the coding of each FIFO, and with what was measured.

    FIFOs are decided one after the other, each with those before it coded. Raises ValueError for what does not fit,
    and where no way is good or small enough; EpruneError for data that cannot be read.
    """
    aim = _aim(options)
    given = _bandwidth(options.bandwidth)
    trial = prepare(system, options, progress)
    check_labels(trial, options)
    made: dict[str, Coding] = {}
    tables: dict[str, list[dict[str, Any]]] = {}
    lines: list[str] = []
    inputs = trial.coded_inputs() if options.method is Method.AUTO else []
    for fifo in trial.fifos:
        tried, chosen = choose(trial, fifo, options, made, progress)
        assert chosen.coding is not None
        rows = [
            trial.measure(row.name, {**made, fifo.name: row.coding}, fifo, trial.test)
            for row in tried
            if row.coding is not None
        ]
        made[fifo.name] = chosen.coding
        bandwidth = given or _stated(system, fifo)
        raw = type_of(system, fifo).nbytes
        tables[fifo.name] = [_row(row, raw, row.name == chosen.name) for row in rows]
        lines += _table(fifo.name, raw, [trial.unchanged(fifo), *rows, *inputs], chosen.name)
        lines += _verdicts(fifo.name, raw, next(row for row in rows if row.name == chosen.name), inputs, aim, bandwidth)
    notes = [*trial.notes, *entropy_note(options)]
    lines += [f"note: {note}" for note in notes]
    figures = {
        "methods": tables,
        "as_it_is": _shares(trial.unchanged(trial.fifos[0])),
        "coded_input": [_row(row, trial.pictures.token.nbytes) for row in inputs],
        "pictures": {
            "calibration": len(trial.calibration.tokens),
            "test": len(trial.test.tokens),
            "random": not options.data,
        },
        "notes": notes,
    }
    return replace(options, made=made, lines=tuple(lines), figures=figures)


def check_labels(trial: Trial, options: Options) -> None:
    """Raise ValueError for a wish that needs labels where there are none."""
    check_metric(_aim(options).metric, trial.calibration.classes is not None)


def check_metric(metric: str, labelled: bool) -> None:
    """Raise ValueError for a metric that needs labels where there are none."""
    if metric == ACCURACY and not labelled:
        raise ValueError("--wish accuracy=...: needs pictures with labels (--data); agreement=... does not")


def choose(
    trial: Trial, fifo: Fifo, options: Options, made: Mapping[str, Coding], progress: Progress = SILENT
) -> tuple[list[Measured], Measured]:
    """All ways to code a FIFO, on the calibration part, and the one to take; others are coded as ``made``.

    Raises ValueError where no way is good or small enough.
    """
    ways = trial.ways(fifo, options)
    progress.begin(f"{fifo.name}: {len(ways)} ways")
    tried = []
    for place, (name, coding) in enumerate(ways):
        tried.append(trial.measure(name, {**made, fifo.name: coding}, fifo, trial.calibration))
        progress.update(place + 1)
    return tried, tried[0] if options.method is not Method.AUTO else _chosen(tried, _aim(options), fifo.name)


def _aim(options: Options) -> _Aim:
    if options.method is not Method.AUTO:
        if options.wish or options.bytes:
            raise ValueError("--method says how to code; --wish and --bytes choose that themselves: give one of them")
        return _Aim(*_WISH)
    if options.rank:
        raise ValueError("--rank is for --method rank")
    if options.wish and options.bytes:
        raise ValueError("--wish asks for the fewest bytes, --bytes for the best answers: give one of them")
    if options.bytes:
        return _Aim(ACCURACY if options.wish == ACCURACY else AGREEMENT, nbytes=parse_size(options.bytes))
    return _Aim(*wished(options.wish, _WISH))


def wished(text: str, usual: tuple[str, float]) -> tuple[str, float]:
    """The metric that a wish names, and the least of it; what is usual for an empty one. Raises ValueError."""
    if not text:
        return usual
    match = re.fullmatch(rf"({ACCURACY}|{AGREEMENT})=([0-9.]+)", text)
    try:
        least = float(match[2]) if match else math.nan
    except ValueError:
        least = math.nan
    if match is None or not 0 <= least <= 1:
        raise ValueError(f"--wish {text}: write accuracy=0.97 or agreement=0.99, from 0 to 1")
    return match[1], least


def _bandwidth(text: str) -> Optional[float]:
    return parse_bandwidth(text) if text else None


def _stated(system: System, fifo: Fifo) -> Optional[float]:
    """The bandwidth of the link, if its platform's file states it."""
    homes = system.homes
    platform = system.platform(homes.get(fifo.source.actor, ""))
    link = platform.link(homes.get(fifo.target.actor, "")) if platform else None
    return link.bandwidth if link else None


def _value(row: Measured, metric: str) -> float:
    share = row.accuracy if metric == ACCURACY else row.agreement
    return share.value if share is not None else 0.0


def _chosen(rows: Sequence[Measured], aim: _Aim, fifo: str) -> Measured:
    """The way that the aim asks for. Raises ValueError where there is none."""
    if aim.nbytes is not None:
        small = [row for row in rows if row.nbytes <= aim.nbytes]
        if not small:
            least = min(rows, key=lambda row: row.nbytes)
            raise ValueError(f"--bytes {aim.nbytes}: the least for {fifo} is {least.nbytes:.0f} bytes, by {least.name}")
        return max(small, key=lambda row: (_value(row, aim.metric), -row.nbytes))
    good = [row for row in rows if _value(row, aim.metric) >= aim.least]
    if not good:
        best = max(rows, key=lambda row: _value(row, aim.metric))
        raise ValueError(
            f"--wish {aim.metric}={aim.least:g}: the best for {fifo} is {_value(best, aim.metric):.4f}, by {best.name}"
        )
    return min(good, key=lambda row: row.nbytes)


def _row(row: Measured, raw: int, chosen: bool = False) -> dict[str, Any]:
    """As plain data."""
    coding = row.coding
    data: dict[str, Any] = {
        "name": row.name,
        "bytes": row.nbytes,
        **_shares(row),
        "encode_ms": 1e3 * row.encode,
        "decode_ms": 1e3 * row.decode,
        "raw_bytes": raw,
    }
    if coding is not None:
        data.update(
            most_bytes=row.most,
            pays_below=row.pays_below(raw),
            basis_bytes=len(coding.basis),
            chosen=chosen,
        )
    return data


def _shares(row: Measured) -> dict[str, Any]:
    return {"agreement": plain(row.agreement), "accuracy": plain(row.accuracy) if row.accuracy else None}


def plain(share: Share) -> dict[str, Any]:
    """A share as plain data."""
    return {"right": share.right, "of": share.of, "value": share.value, "interval": [share.low, share.high]}


def _table(fifo: str, raw: int, rows: Sequence[Measured], chosen: str) -> list[str]:
    """The ways to send a frame, as lines of text."""
    labelled = any(row.accuracy for row in rows)
    head = ["way", "bytes", "agreement", *(["accuracy"] if labelled else []), "coding", "pays below", ""]
    table = [head]
    for row in rows:
        accuracy = [f"{100 * row.accuracy.value:.1f} %" if row.accuracy else ""] if labelled else []
        coded = row.coding is not None
        name = f"the input as {row.name}" if row.encode and not coded else row.name
        times = f"{1e3 * (row.encode + row.decode):.2f} ms" if row.encode else ""
        agreement = f"{100 * row.agreement.value:.1f} %"
        pays = _rate(row.pays_below(raw)) if coded else ""
        mark = "<- chosen" if coded and row.name == chosen else ""
        table.append([name, f"{row.nbytes:.0f}", agreement, *accuracy, times, pays, mark])
    texts = aligned(table)
    return [f"{fifo}, on {rows[0].agreement.of} pictures:", *texts]


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines of text, in columns."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]


def _rate(rate: float) -> str:
    """A bandwidth in MB/s, to two digits; ``never`` for none."""
    return f"{rate / 1e6:.3g} MB/s" if rate > 0 else "never"


def _verdicts(
    fifo: str, raw: int, row: Measured, inputs: Sequence[Measured], aim: _Aim, bandwidth: Optional[float]
) -> list[str]:
    """Whether it is worth it."""
    lines = [f"{fifo}: {row.name}: {row.nbytes:.0f} bytes on average instead of {raw}, at most {row.most}"]
    if row.coding is not None and row.coding.basis:
        lines.append(f"{fifo}: the projection is a file of {len(row.coding.basis)} bytes at both ends")
    if aim.nbytes is None and _value(row, aim.metric) < aim.least:
        lines.append(
            f"{fifo}: on the test part {aim.metric} is {_value(row, aim.metric):.4f}, below the {aim.least:g} that it "
            "had on the calibration part"
        )
    saved, taken = raw - row.nbytes, row.encode + row.decode
    if bandwidth:
        gain = 1e3 * (saved / bandwidth - taken)
        verdict = f"saves {gain:.2f} ms per frame, coding included"
        if gain <= 0:
            verdict = f"does not pay: {-gain:.2f} ms lost"
        lines.append(f"{fifo}: at {exact_bandwidth(bandwidth)} it {verdict}")
    else:
        lines.append(f"{fifo}: saves time on links slower than {_rate(row.pays_below(raw))}")
    least = _value(row, aim.metric) if aim.nbytes is not None else min(aim.least, _value(row, aim.metric))
    better = [each for each in inputs if each.nbytes < row.nbytes and _value(each, aim.metric) >= least]
    if better:
        best = min(better, key=lambda each: each.nbytes)
        lines.append(
            f"{fifo}: the input as {best.name} has {best.nbytes:.0f} bytes, and {aim.metric} "
            f"{_value(best, aim.metric):.4f}: a cut at the input sends less, if the picture may leave the device"
        )
    return lines
