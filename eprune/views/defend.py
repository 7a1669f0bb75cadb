"""The chart of ``eprune apply defend``: accuracy against what is seen of the picture, and that against bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eprune.views.figures import figure_of, quiet

_COLOURS = ("#222222", "#4878a8", "#e8a33d", "#6aa84f", "#8c6d4f", "#a35fa8", "#3aa6a0", "#b00020")
_CHOSEN = "#b00020"
#: Inches.
_SIZE = (11.0, 4.8)


def chart(figures: Mapping[str, Any], kind: str) -> bytes:
    """All ways of a report's figures as ``svg`` or ``png``, a colour for each method.

    SSIM is that of the best attack. Same arguments, same bytes. Raises ImportError without matplotlib.
    """
    ways = figures["ways"]
    methods = list(dict.fromkeys(way["method"] for way in ways))
    with figure_of(*_SIZE, kind) as (figure, stream):
        left, right = figure.subplots(1, 2)
        for place, method in enumerate(methods):
            own = [way for way in ways if way["method"] == method]
            seen = [max(way["ssim"], way["ssim_averaged"] or 0.0) for way in own]
            right_answers = [100 * way["accuracy"]["value"] for way in own]
            style = {"color": _COLOURS[place % len(_COLOURS)], "label": method or "as it is"}
            left.plot(seen, right_answers, "o", **style)
            right.plot([way["bytes"] for way in own], seen, "o", **style)
            for way, x, y in zip(own, seen, right_answers):
                name = way["name"].partition(" ")[2] if method else ""
                left.annotate(name, (x, y), xytext=(4, -9), textcoords="offset points", fontsize=6)
                right.annotate(name, (way["bytes"], x), xytext=(4, -9), textcoords="offset points", fontsize=6)
                if way["chosen"]:
                    ring = {"color": _CHOSEN, "markersize": 10, "fillstyle": "none", "label": "chosen"}
                    left.plot([x], [y], "o", **ring)
                    right.plot([way["bytes"]], [x], "o", **ring)
        nothing = figures["nothing"]["ssim"]
        left.axvline(nothing, color="#888888", linestyle="--", linewidth=0.8, label="without a token")
        right.axhline(nothing, color="#888888", linestyle="--", linewidth=0.8)
        left.set_xlabel("SSIM of reconstructions, the best attack")
        left.set_ylabel(f"{figures['metric']}, %")
        right.set_xlabel("bytes of a token")
        right.set_ylabel("SSIM of reconstructions, the best attack")
        right.set_xscale("log")
        left.set_title(f"{figures['fifo']}: what resists these attacks, and its price", loc="left", fontsize=11)
        left.legend(frameon=False, fontsize=7)
        for axes in (left, right):
            quiet(axes)
            axes.margins(0.1)
    return stream.getvalue()
