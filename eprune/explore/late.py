"""The latency that 95 of 100 frames keep, by how much the times of actors vary.

Within a platform what is slow is slow together: times are those of whole prefixes. Platforms and links vary each by
itself. So the deviations add up as those of independent parts do: by the root of the sum of their squares.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Optional

from eprune.explore.cost import Costs, predict
from eprune.explore.flow import Flow
from eprune.explore.space import Roles


def p95(flow: Flow, roles: Roles, costs: Costs, homes: Mapping[str, str], links: float = 0.0) -> Optional[float]:
    """Seconds; None where it is not known how times vary. ``links``: by how much these are late, likewise."""
    parts = deviations(flow, roles, costs, homes)
    if parts is None:
        return None
    typical = predict(flow, roles, costs, homes).latency
    return typical + math.hypot(*parts.values(), links)


def deviations(flow: Flow, roles: Roles, costs: Costs, homes: Mapping[str, str]) -> Optional[dict[str, float]]:
    """Platform -> seconds that a frame takes longer where it is late there, as 5 of 100 are, and nowhere else."""
    used = [platform for platform in roles.platforms if platform in homes.values()]
    if any(platform not in costs.late for platform in used):
        return None
    typical = predict(flow, roles, costs, homes).latency
    found = {}
    for platform in used:
        times = {**costs.times, platform: {**costs.times[platform], **costs.late[platform]}}
        found[platform] = max(predict(flow, roles, replace(costs, times=times), homes).latency - typical, 0.0)
    return found
