"""What tokens reveal, as ``eprune privacy`` has found it: of each cut, and which actors a bound makes private."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from eprune.explore.flow import Flow

#: What the source's own tokens reveal: the picture.
_ALL = 1.0


def read_revealed(text: str, flow: Flow) -> dict[str, float]:
    """Actor -> what its tokens reveal, as SSIM up to 1: of several attacks and ports, the most.

    ``text`` is what ``eprune privacy --format json`` prints for the application of ``flow``. Of what was not attacked,
    sources reveal all, and any other actor what comes in. Raises ValueError for a text that is something else.
    """
    measured: dict[str, float] = {}
    try:
        data = json.loads(text)
        application = data["application"]
        for cut in data["cuts"]:
            actor, ssim = str(cut["from"]).partition(".")[0], float(cut["ssim"])
            measured[actor] = max(measured.get(actor, ssim), ssim)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError("is not what eprune privacy --format json prints") from None
    if application != flow.application or not set(measured) & set(flow.actors):
        raise ValueError(f"is about {application!r}, not about {flow.application!r}")
    found: dict[str, float] = {}
    for actor in flow.actors:
        into = [found.get(each.source, _ALL) for each in flow.streams if each.target == actor]
        found[actor] = measured.get(actor, max(into, default=_ALL))
    return found


def of_cut(flow: Flow, homes: Mapping[str, str], endpoints: Sequence[str], revealed: Mapping[str, float]) -> float:
    """What the tokens reveal that leave the endpoints; 0 where none does."""
    leaving = [each.source for each in flow.crossing(homes) if homes[each.source] in endpoints]
    return max((revealed[source] for source in leaving), default=0.0)


def private_until(flow: Flow, revealed: Mapping[str, float], bound: float) -> tuple[str, ...]:
    """The actors for ``Constraints.private_until``, so that no token leaves an endpoint that reveals more than that.

    What comes before such a token is private, too, whatever it reveals by itself.
    """
    found = [each.target for each in flow.streams if revealed[each.source] > bound]
    return tuple(dict.fromkeys(found))
