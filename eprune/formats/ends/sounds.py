"""Sound for an input: windows of samples."""

from __future__ import annotations

from eprune.formats.behaviours.python_class import PythonBehaviour
from eprune.formats.ends.base import Choices, End, Ends, InputKind, Source, sizes

_BEHAVIOUR = PythonBehaviour("wav_source.py", "WavSource")


def _fits(end: End) -> bool:
    kinds = ("float16", "float32", "float64", "int16", *(("int8", "uint8", "int32") if end.quantization else ()))
    return len(sizes(end.token)) == 1 and end.token.dtype in kinds


def _source(end: End, choices: Choices, ends: Ends) -> Source:
    rate = choices.rate or end.about.rate
    notes: tuple[str, ...] = ()
    if not rate:
        notes = (
            f"the model does not say how many samples per second input {end.name!r} takes: those of the files are "
            "taken; --rate says otherwise",
        )
    # 16 bits without a scale of one's own are samples as files have them.
    return Source(_BEHAVIOUR, (("rate", str(rate)), *end.scaling), notes)


KIND = InputKind("sounds", (".wav",), _fits, _source)
