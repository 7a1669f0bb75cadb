"""Looped schedules: a list of firings as a short text, ``A*3 (B C)*2``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Union

#: The longest body of a loop that is looked for, and about how many comparisons that may take.
_LONGEST, _COMPARISONS = 256, 2_000_000


class _Loop(NamedTuple):
    body: tuple[Union[str, _Loop], ...]
    times: int


def looped(firings: Sequence[str]) -> str:
    """The text of a schedule, in which what comes several times in a row is written once, with how often.

    Short bodies are looked for first, so it need not be the shortest text. Names hold no blank, star or parenthesis.
    """
    items: list[Union[str, _Loop]] = list(firings)
    length = 1
    while length <= min(len(items) // 2, _LONGEST, max(_COMPARISONS // len(items), 1)):
        folded = _fold(items, length)
        if len(folded) < len(items):
            items, length = folded, 1
        else:
            length += 1
    return " ".join(map(_text, items))


def _fold(items: list[Union[str, _Loop]], length: int) -> list[Union[str, _Loop]]:
    """With repetitions of ``length`` items as loops."""
    folded: list[Union[str, _Loop]] = []
    start = 0
    while start < len(items):
        body, times = items[start : start + length], 1
        while items[start + times * length : start + (times + 1) * length] == body and len(body) == length:
            times += 1
        if times == 1:
            folded.append(items[start])
            start += 1
        else:
            folded.append(_Loop(tuple(body), times))
            start += times * length
    return folded


def _text(item: Union[str, _Loop]) -> str:
    if isinstance(item, str):
        return item
    body = " ".join(map(_text, item.body))
    return f"{body}*{item.times}" if len(item.body) == 1 and isinstance(item.body[0], str) else f"({body})*{item.times}"
