"""What ``eprune replay`` says."""

from __future__ import annotations

import json
import math
from typing import Any, Optional

from eprune.measure.replay import Replay, WayRun
from eprune.views.tables import table


def as_text(replay: Replay, wish: Optional[float]) -> str:
    """A table with a row for each way."""
    head = ["way", "frames", "mean, ms", "p95, ms", "bytes per frame", "switches", "over the oracle", "settled"]
    if wish is not None:
        head.insert(4, f"within {1e3 * wish:g} ms")
    rows = []
    for way in replay.ways:
        row = [
            _title(way, replay),
            str(len(way.frames)),
            _ms(way.mean(replay.seconds)),
            _ms(way.p95),
            f"{way.bytes_per_frame:.0f}",
            str(way.switches),
            _percent(replay.regret(way)),
            _percent(replay.regret(way, settled=True)),
        ]
        if wish is not None:
            row.insert(4, _percent(way.within(wish), sign=False))
        rows.append(row)
    best = replay.best_static
    text = table(head, rows)
    return text if best is None else f"{text}\nbest fixed cut: {_title(best, replay)}"


def as_json(replay: Replay, wish: Optional[float]) -> str:
    """The same for programs, with each frame."""
    return json.dumps(
        {
            "blocks": [list(block) for block in replay.blocks],
            "here_s": list(replay.here),
            "there_s": list(replay.there),
            "seconds": replay.seconds,
            "changes_s": list(replay.changes),
            "best_static": replay.best_static.name if replay.best_static is not None else None,
            "ways": [_way(way, replay, wish) for way in replay.ways],
        },
        indent=2,
    )


def _way(way: WayRun, replay: Replay, wish: Optional[float]) -> dict[str, Any]:
    return {
        "way": way.name,
        "mean_s": _number(way.mean(replay.seconds)),
        "p95_s": _number(way.p95),
        "within": None if wish is None else way.within(wish),
        "bytes_per_frame": way.bytes_per_frame,
        "switches": way.switches,
        "left": list(way.left),
        "regret": _number(replay.regret(way)),
        "regret_settled": _number(replay.regret(way, settled=True)),
        "frames": [[frame.begun, frame.blocks, frame.latency] for frame in way.frames],
    }


def _title(way: WayRun, replay: Replay) -> str:
    """``2: after L2``."""
    if not way.name.isdigit():
        return f"{way.name}, {_percent(sum(way.left) / len(way.frames), sign=False)} leave" if way.left else way.name
    count = int(way.name)
    if count == len(replay.blocks):
        return f"{count}: all here"
    return f"{count}: after {replay.blocks[count - 1][-1]}" if count else "0: all there"


def _ms(seconds: float) -> str:
    return "-" if math.isnan(seconds) else f"{1e3 * seconds:.1f}"


def _percent(part: float, sign: bool = True) -> str:
    return "-" if math.isnan(part) else f"{100 * part:+.0f} %" if sign else f"{100 * part:.0f} %"


def _number(value: float) -> Optional[float]:
    return None if math.isnan(value) else value
