"""What a model file says of its inputs and outputs, beside the graph."""

from __future__ import annotations

from dataclasses import dataclass

#: A list of labels with more bytes than this is some other file.
MAX_LABELS = 2**20


@dataclass(frozen=True)
class About:
    """What the metadata say of one input or output.

    ``mean`` and ``std`` normalise values x of 0 to 255 to (x - mean) / std, one number or one for each channel; empty
    where nothing is said. ``rate`` is in samples per second, 0 where unknown. ``labels`` are the names of classes; a
    class without a name has an empty one.
    """

    image: bool = False
    audio: bool = False
    grey: bool = False
    rate: int = 0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Metadata:
    """What is said of the inputs and outputs, in the order of the first graph's; ``problem`` is why it says nothing."""

    inputs: tuple[About, ...] = ()
    outputs: tuple[About, ...] = ()
    problem: str = ""

    def of(self, side: str, place: int) -> About:
        """What is said of an input or output (``side`` is "inputs" or "outputs"), by its place among them."""
        known: tuple[About, ...] = getattr(self, side)
        return known[place] if place < len(known) else About()


def labels_of(text: str) -> tuple[str, ...]:
    """The names in a file of labels: one a line, or with its number in front (``17 cat``, ``17: cat``).

    A blank line is a class without a name; blank lines at the end are none.
    """
    lines = [line.strip() for line in text.lstrip("\ufeff").rstrip().splitlines()]
    numbered = [line.replace(":", " ", 1).split(None, 1) for line in lines if line]
    numbers = [int(words[0]) for words in numbered if words[0].isascii() and words[0].isdigit() and len(words[0]) < 7]
    if len(numbers) < len(numbered) or numbers != sorted(set(numbers)) or any(len(words) < 2 for words in numbered):
        return tuple(lines)
    names = {number: words[1].strip() for number, words in zip(numbers, numbered)}
    return tuple(names.get(number, "") for number in range(max(numbers, default=-1) + 1))
