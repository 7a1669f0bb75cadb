"""Which cuts in two are likely to be good, from the file alone, before anything is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eprune.formats.models.cuts import work_of
from eprune.formats.models.flow import OperatorFlow, Piece, crossing
from eprune.formats.models.parts import Model

#: What is assumed of the machines, where nobody has measured: work per second of the endpoint and of the server (MACs,
#: and one for each byte written), bytes per second of the link between them, and the seconds that a frame takes on it.
ENDPOINT, SERVER = 2e9, 20e9
BANDWIDTH, LATENCY = 11.2e6, 1.49e-3
#: The same, for people.
ASSUMED = "2 G operations/s before the cut, 20 G/s behind it, a link of 11.2 MB/s and 1.49 ms"


@dataclass(frozen=True)
class Ranked:
    """A cut behind an operator: the bytes per frame that it sends, the share of the work that is before it, 0 to 1, and
    the predicted seconds of a frame from end to end.
    """

    operator: int
    nbytes: int
    share: float
    seconds: float


def ranked(model: Model, flow: OperatorFlow, pieces: Sequence[Piece]) -> tuple[Ranked, ...]:
    """The cuts in two, by the predicted time of a single frame on assumed machines; the earlier one of equal cuts.

    Those before which nothing is multiplied are not among them, if there are others: they send the input itself.
    """
    works = [sum(work_of(model, flow, model.operators[index]) for index in piece) for piece in pieces]
    total = max(1, sum(works))
    done = 0
    found = []
    for piece, work in zip(pieces[:-1], works):
        done += work
        end = flow.end(piece)
        nbytes = sum(flow.types[tensor].nbytes for tensor in crossing(flow, end))
        seconds = done / ENDPOINT + LATENCY + nbytes / BANDWIDTH + (total - done) / SERVER
        found.append(Ranked(end, nbytes, done / total, seconds))
    heavy = {operator.index for operator in model.operators if model.format.macs(model, operator, flow.types)}
    first = next((place for place, piece in enumerate(pieces[:-1]) if not heavy.isdisjoint(piece)), 0)
    return tuple(sorted(found[first:], key=lambda cut: cut.seconds))
