"""How pictures are reconstructed from tokens: a module for each attack, ``prepared(own, target) -> Inversion``."""

from __future__ import annotations

from collections.abc import Iterable

#: The attacks that there are; the first is the one that is made where nobody asks for another.
ATTACKS = ("ridge", "network", "whitebox", "shadow")


def chosen_attacks(named: Iterable[str]) -> tuple[str, ...]:
    """Those that are named, each once, or the first of all."""
    return tuple(dict.fromkeys(named)) or ATTACKS[:1]
