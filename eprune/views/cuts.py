"""Cuts in words: where actors are, and why partition points are left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eprune.explore.space import Roles

#: Up to so many partition points with the same fault are named, and twice as many actors.
NAMED = 6


def left_out(excluded: Mapping[str, str]) -> list[str]:
    """A line for each reason why partition points are left out."""
    names: dict[str, list[str]] = {}
    for name, reason in excluded.items():
        names.setdefault(reason, []).append(name)
    return [f"  {_some(each)} left out: {reason}" for reason, each in names.items()]


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names) if len(names) <= NAMED else f"{', '.join(names[:NAMED])} and {len(names) - NAMED} more"
    return f"{shown} {'is' if len(names) == 1 else 'are'}"


def placed(roles: Roles, homes: Mapping[str, str]) -> str:
    """``Input, L1 on endpoint; L2 on edge``: where actors are that are not on the server; of a graph, all of them."""
    parts = []
    for platform in roles.platforms if roles.anywhere else roles.platforms[:-1]:
        own = [actor for actor, home in homes.items() if home == platform]
        if roles.anywhere and not own:
            continue
        more = [f"{len(own) - 2 * NAMED} more"] if len(own) > 2 * NAMED else []
        parts.append(f"{', '.join([*own[: 2 * NAMED], *more]) or 'nothing'} on {platform}")
    return "; ".join(parts)
