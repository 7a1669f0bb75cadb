"""``eprune import --list``: the operators of a model, and where it can be cut."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Optional

import click

from eprune.cli.errors import say
from eprune.cli.printing import show

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eprune.formats.models.flow import OperatorFlow, Piece
    from eprune.formats.models.parts import Model
    from eprune.model.token import TokenType


def print_list(
    model: Model, types: Mapping[int, TokenType], feedback: Sequence[str], fmt: str, best: Optional[int] = None
) -> None:
    """The operators, and what a cut behind each would send, or why none can be there; or the ``best`` cuts in two."""
    from eprune.formats.models import cuts as model_cuts
    from eprune.formats.models.flow import flow as find_flow
    from eprune.passes.import_ import parse_feedback
    from eprune.views.tables import table

    flow = find_flow(model, dict(types))
    pieces = model_cuts.pieces(model, flow)
    parse_feedback(model, flow, feedback)
    if best is not None:
        _print_best(model, flow, pieces, best, fmt)
        return
    reasons = model_cuts.why_not(model, flow, pieces)
    rows = [_row(model, flow, operator.index, reasons.get(operator.index)) for operator in model.operators]
    if fmt == "json":
        key = model.signature.key if model.signature else None
        ends = {
            side: [
                {
                    "name": model.name(index),
                    "token": str(flow.types.get(index) or ""),
                    "open": model.tensors[index].open,
                }
                for index in tensors
            ]
            for side, tensors in (("inputs", model.inputs), ("outputs", model.outputs))
        }
        click.echo(json.dumps({"model": model.path, "signature": key, **ends, "operators": rows}, indent=2))
        return
    header = ("index", "name", "output", "bytes", "MACs", "weights", "cut sends", "no cut, because")
    texts = [
        (
            *(row["index"], row["name"], _tokens(row["outputs"]), row["bytes"], row["macs"], row["weight_bytes"]),
            *("-" if row["cut_bytes"] is None else row["cut_bytes"], row["why_not"] or ""),
        )
        for row in rows
    ]
    show(table(header, texts))


def _print_best(model: Model, flow: OperatorFlow, pieces: Sequence[Piece], count: int, fmt: str) -> None:
    from eprune.formats.models.cuts import label
    from eprune.formats.models.ranking import ASSUMED, ranked
    from eprune.views.tables import table

    cuts = ranked(model, flow, pieces)[:count]
    names = [label(model.operators[cut.operator]) for cut in cuts]
    if fmt == "json":
        rows = [
            {
                "after": name,
                "cut_bytes": cut.nbytes,
                "share_before": round(cut.share, 6),
                "seconds": round(cut.seconds, 6),
            }
            for name, cut in zip(names, cuts)
        ]
        click.echo(json.dumps({"model": model.path, "assumed": ASSUMED, "best": rows}, indent=2))
        return
    say(f"by the predicted time of a single frame; assumed: {ASSUMED}; explore, profile and report measure it")
    shown = [
        (place, name, cut.nbytes, f"{100 * cut.share:.0f} %", f"{1000 * cut.seconds:.1f}")
        for place, (name, cut) in enumerate(zip(names, cuts), 1)
    ]
    show(table(("rank", "after", "cut sends", "work before", "predicted ms"), shown))


def _tokens(outputs: Sequence[str]) -> str:
    """``uint8[1,8] x6`` for six outputs of that type."""
    counts = [(token, outputs.count(token)) for token in dict.fromkeys(outputs)]
    return " ".join(f"{token} x{count}" if count > 1 else token for token, count in counts) or "-"


def _row(model: Model, flow: OperatorFlow, index: int, why_not: Optional[str]) -> dict[str, Any]:
    """What --list says of an operator; bytes and MACs are of one frame. ``cut_bytes`` is None where no cut can be."""
    from eprune.formats.models.boundary import weight_bytes
    from eprune.formats.models.cuts import label
    from eprune.formats.models.flow import crossing

    operator = model.operators[index]
    tokens = [flow.types.get(tensor) for tensor in operator.outputs]
    sent = [flow.types[tensor].nbytes for tensor in crossing(flow, index)] if why_not is None else None
    return {
        "index": index,
        "name": label(operator),
        "outputs": [str(token or "?") for token in tokens],
        "bytes": sum(token.nbytes for token in tokens if token),
        "macs": model.format.macs(model, operator, flow.types),
        "weight_bytes": weight_bytes(model, [index]),
        "cut_bytes": None if sent is None else sum(sent),
        "why_not": why_not,
    }
