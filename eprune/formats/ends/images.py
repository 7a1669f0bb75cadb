"""Pictures for an input: scaled as the file says, or else by what is customary."""

from __future__ import annotations

from typing import Optional

from eprune.formats.behaviours.python_class import PythonBehaviour
from eprune.formats.ends.base import Choices, End, Ends, InputKind, Source, picture_of
from eprune.formats.ends.rows import find_rows

_BEHAVIOUR = PythonBehaviour("image_source.py", "ImageSource")
#: So many steps of the quantisation may the ends of its range be from those of pixels that are taken as they are.
_NEAR = 2
_LAST = 255  # of a pixel's values


def _fits(end: End) -> bool:
    return picture_of(end.token) is not None and not end.about.audio


def _source(end: End, choices: Choices, ends: Ends) -> Source:
    own = _own(end)
    if choices.mean or choices.std:
        chosen: Optional[tuple[str, str]] = (choices.mean or "0", choices.std or "1")
    else:
        chosen = own
    if not end.is_float:
        # Without a word on the scale, the range of the quantisation is the range of pixels; so it mostly is with one.
        if chosen is None or end.quantization is None or (chosen == own and _fills(end)):
            return Source(_BEHAVIOUR)
        return Source(_BEHAVIOUR, (("mean", chosen[0]), ("std", chosen[1]), *end.scaling))
    notes: tuple[str, ...] = ()
    if chosen is None:
        chosen, meaning = (("0", "1"), "0 to 1") if find_rows(ends, choices) else (("0.5", "0.5"), "-1 to 1")
        notes = (
            f"the model does not say how pixels become numbers of input {end.name!r}: taken as {meaning} "
            f"(mean {chosen[0]}, std {chosen[1]}); --mean and --std say otherwise",
        )
    return Source(_BEHAVIOUR, (("mean", chosen[0]), ("std", chosen[1])), notes)


def _own(end: End) -> Optional[tuple[str, str]]:
    """Mean and std as the file states them, for values from 0 to 1."""
    if not end.about.mean:
        return None
    mean, std = (",".join(f"{value / _LAST:.9g}" for value in values) for values in (end.about.mean, end.about.std))
    return mean, std


def _fills(end: End) -> bool:
    """Whether pixels scaled as the file states it, then quantised, are the pixels again: 0 to 255, or -128 to 127."""
    assert end.quantization is not None
    lowest = 0 if end.token.dtype == "uint8" else -128
    scale, zero_point = end.quantization
    count = max(len(end.about.mean), len(end.about.std))
    means, stds = (values * (count if len(values) == 1 else 1) for values in (end.about.mean, end.about.std))
    ends = [
        (value - mean) / std / scale + zero_point - value - lowest
        for mean, std in zip(means, stds)
        for value in (0, _LAST)
    ]
    return all(abs(step) <= _NEAR for step in ends)


KIND = InputKind("pictures", (".png", ".jpg", ".jpeg", ".bmp"), _fits, _source)
