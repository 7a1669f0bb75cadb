"""What kinds of inputs and outputs are asked, and what they answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Callable, Optional

from eprune.formats.behaviours.python_class import PythonBehaviour
from eprune.formats.models.metadata import About
from eprune.formats.models.quantization import Quantization
from eprune.model.token import TokenType


@dataclass(frozen=True)
class End:
    """An input or output of a model.

    ``name`` is what graphs call it, ``about`` what the file says of it. Of an output, ``writer`` is the name of the
    operator that computes it (the one before, where that only changes shape or type), and ``place`` which of that
    operator's outputs it is.
    """

    name: str
    tensor: int
    token: TokenType
    quantization: Optional[Quantization] = None
    about: About = field(default_factory=About)
    writer: str = ""
    place: int = 0

    @property
    def is_float(self) -> bool:
        """Whether its elements are real numbers, not integers."""
        return self.token.dtype.startswith("float")

    @property
    def scaling(self) -> tuple[tuple[str, str], ...]:
        """The parameters ``scale`` and ``zero_point`` of a sink or source of its; none where it has no quantisation."""
        if self.is_float or self.quantization is None:
            return ()
        scale, zero_point = self.quantization
        return (("scale", repr(scale)), ("zero_point", str(zero_point)))

    def __str__(self) -> str:
        return f"{self.name!r} ({self.token})"


@dataclass(frozen=True)
class Choices:
    """What a user says of a model's ends, and the file does not, or says otherwise.

    ``mean`` and ``std`` are texts as for ``ImageSource``: of values from 0 to 1, one number or one for each channel.
    ``rate`` is in samples per second, 0 where nothing is said. ``labels`` are the names of the classes.
    """

    mean: str = ""
    std: str = ""
    rate: int = 0
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """The behaviour of a source and its parameters but for ``path``; ``notes`` say what was assumed."""

    behaviour: PythonBehaviour
    parameters: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sink:
    """A sink: ``ports`` map the outputs' tensors that it takes to its ports.

    ``labels`` are the names of classes that it wants as its parameter of that name, in a file.
    """

    name: str
    behaviour: PythonBehaviour
    ports: Mapping[int, str]
    parameters: tuple[tuple[str, str], ...] = ()
    labels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ends:
    """All ends of a model, as far as kinds of them want to know: its outputs that are not taken yet, and the picture.

    ``picture`` are height, width and channels of the input that gets pictures, if one does.
    """

    inputs: Sequence[End]
    outputs: Sequence[End]
    picture: Optional[tuple[int, int, int]] = None


@dataclass(frozen=True)
class InputKind:
    """A kind of input. ``what`` are its files, for people, and ``suffixes`` tell which files those are.

    ``single``: an input takes one file, and several are for the inputs that they are named after.

    ``fits`` says whether an input can take them. ``source`` is the source for an input that fits, given all ends of the
    model.
    """

    what: str
    suffixes: tuple[str, ...]
    fits: Callable[[End], bool]
    source: Callable[[End, Choices, Ends], Source]
    single: bool = False


#: A kind of output: the sink for some of the outputs, or None where there are none of its kind.
OutputKind = Callable[[Ends, Choices], Optional[Sink]]


def picture_of(token: TokenType) -> Optional[tuple[int, int, int]]:
    """Height, width and channels of a token that is a picture, channels last or first; None if it is none."""
    shape = token.shape[1:] if len(token.shape) == 4 and token.shape[0] == 1 else token.shape
    if len(shape) != 3 or token.dtype not in ("uint8", "int8", "float16", "float32", "float64"):
        return None
    if shape[2] not in (1, 3) and shape[0] in (1, 3):
        shape = (*shape[1:], shape[0])
    height, width, channels = shape
    return (height, width, channels) if channels in (1, 3) and min(height, width) > 1 else None


def sizes(token: TokenType) -> tuple[int, ...]:
    """A token's dimensions but for those of 1."""
    return tuple(size for size in token.shape if size != 1)


def labels_for(count: int, end: End, choices: Choices) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of ``count`` classes, from the user or else from the file, and notes.

    Where there is one name too few, class 0 is the background. Raises ValueError where the user's are too few or many.
    """
    labels = choices.labels or end.about.labels
    if len(labels) + 1 == count and labels:
        note = f"{len(labels)} labels for {count} classes of output {end.name!r}: class 0 is taken as the background"
        return ("background", *labels), (note,)
    if labels and len(labels) != count:
        if choices.labels:
            raise ValueError(f"{len(labels)} labels for {count} classes of output {end}")
        return (), (f"the model's own {len(labels)} labels do not fit the {count} classes of output {end.name!r}",)
    return labels, ()
