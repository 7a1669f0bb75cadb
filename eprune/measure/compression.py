"""What each way to code the tokens of a cut costs in answers, and saves in bytes and time; and the coded picture."""

from __future__ import annotations

import importlib.util
import io
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Optional

import numpy as np

from eprune.measure.answers import SystemAnswers, class_of, milliseconds, on_disk
from eprune.measure.data import ALL, CALIBRATION, TEST, Data, Example, read_data, token_of
from eprune.measure.evaluate import class_names
from eprune.measure.executor import Firing
from eprune.measure.pictures import Pictures
from eprune.measure.progress import Progress
from eprune.measure.ranges import Statistics, next_convolution, next_layer, projection
from eprune.model.finding import EpruneError
from eprune.model.graph import Fifo
from eprune.model.samples import Share
from eprune.model.system import System
from eprune.model.token import TokenType
from eprune.passes.compress import COMPRESSOR, DECOMPRESSOR, Coding, Entropy, Method, Options, apply, checked
from eprune.passes.compress import token_of as type_of

#: Numbers of a projection that are tried, beside the layer's rank.
RANKS = (4, 8, 16, 32, 64, 128)
#: Qualities of the picture as a JPEG.
QUALITIES = (50, 75, 90, 95)
#: Without pictures, so many random inputs; more channels than this have one range together.
_RANDOM, _CHANNELS = 40, 4096
_LEVELS = {"int8": 255, "int4": 15}


@dataclass(frozen=True)
class Measured:
    """One way to code, or (``coding`` None) to send the picture: mean ``nbytes`` of a token, and how the answers are.

    ``agreement`` is with the answers of the application as it is, ``accuracy`` None without labels; ``encode`` and
    ``decode`` are the median seconds at both ends, on units as slow as theirs.
    """

    name: str
    nbytes: float
    agreement: Share
    accuracy: Optional[Share] = None
    encode: float = 0.0
    decode: float = 0.0
    most: int = 0
    coding: Optional[Coding] = None

    def pays_below(self, raw: int) -> float:
        """The bandwidth, bytes per second, below which coding saves time: tokens have ``raw`` bytes else."""
        taken = self.encode + self.decode
        return max(0.0, raw - self.nbytes) / taken if taken else 0.0


@dataclass(frozen=True)
class Part:
    """Pictures as tokens, what the application answers for them as it is, and their classes, where known."""

    examples: tuple[Example, ...]
    tokens: tuple[np.ndarray, ...]
    answers: tuple[int, ...]
    classes: Optional[tuple[int, ...]]

    def every_other(self) -> Part:
        """The second picture, the fourth, and so on."""
        classes = None if self.classes is None else self.classes[1::2]
        return Part(self.examples[1::2], self.tokens[1::2], self.answers[1::2], classes)

    def shares(self, found: Sequence[int]) -> tuple[Share, Optional[Share]]:
        """Agreement and accuracy of other answers."""
        of = len(found)
        agreement = Share(sum(one == other for one, other in zip(found, self.answers)), of)
        if self.classes is None:
            return agreement, None
        return agreement, Share(sum(one == other for one, other in zip(found, self.classes)), of)


@dataclass
class Trial:
    """An application and pictures by which ways to code its cuts are measured."""

    system: System
    fifos: tuple[Fifo, ...]
    calibration: Part
    test: Part
    statistics: Mapping[str, Statistics]
    pictures: Pictures
    notes: list[str] = field(default_factory=list)
    fused: bool = True

    def ways(self, fifo: Fifo, options: Options) -> list[tuple[str, Coding]]:
        """The ways to code a FIFO that come into question, with their names."""
        entropy, level = _entropy(options)
        token, found = type_of(self.system, fifo), self.statistics[fifo.name]
        base = Coding("lossless", entropy, level)
        ways = [(Method.LOSSLESS.value, base)]
        if token.dtype.startswith("float"):
            for method, levels in _LEVELS.items():
                low, step = found.ranges(levels, False)
                ways.append((method, replace(base, method=method, low=low, step=step)))
                if len(found.rows[0][0]) <= _CHANNELS:
                    low, step = found.ranges(levels, True)
                    ways.append((f"{method}-channel", replace(base, method=method, low=low, step=step)))
            ways += self._projected(found, base, options, token)
        if options.method is Method.AUTO:
            return ways
        wanted = [way for way in ways if way[0].split()[0] == options.method.value]
        if not wanted:
            hint = "only floats are rounded"
            if options.method is Method.RANK:
                hint = "neither a fully connected layer nor a convolution of floats follows"
            raise ValueError(f"--method {options.method.value}: {fifo.name} carries {token}, and {hint}")
        return wanted

    def _projected(
        self, found: Statistics, base: Coding, options: Options, token: TokenType
    ) -> Iterator[tuple[str, Coding]]:
        """So many numbers for a token before a fully connected layer, for each of its places before a convolution."""
        if options.method not in (Method.AUTO, Method.RANK):
            return
        directions = projection(found)
        if directions is None:
            return
        most = directions.rank
        if options.rank > most:
            raise ValueError(f"--rank {options.rank}: the layer behind has rank {most}, so that {most} numbers say all")
        places = math.prod(token.shape[:-1]) if found.places else 1
        named = f" of {token.shape[-1]}" if found.places else ""
        if options.method is Method.RANK:
            ranks = [options.rank or most]
        else:
            # As many channels as there are, projected, would be the token again.
            ranks = [rank for rank in RANKS if rank < most] + [most] * (not found.places)
        for rank in ranks:
            coding = replace(base, rank=rank * places, basis=directions.basis(rank))
            if rank == most:
                yield f"rank {rank}{named}", coding
            if rank < most or options.method is Method.AUTO:
                low, step = directions.ranges(rank, _LEVELS["int8"])
                yield f"rank {rank}{named} int8", replace(coding, method="int8", low=low, step=step)

    def measure(self, name: str, made: Mapping[str, Coding], fifo: Fifo, part: Part) -> Measured:
        """Run the application with its FIFOs coded so."""
        coding = made[fifo.name]
        front, back = f"{COMPRESSOR}-{fifo.name}", f"{DECOMPRESSOR}-{fifo.name}"
        seconds: dict[str, list[float]] = {front: [], back: []}
        sent: list[int] = []

        def watch(firing: Firing) -> None:
            if firing.node in seconds:
                seconds[firing.node].append(firing.seconds)
            if firing.node == front:
                sent.append(firing.outputs["out"].used)

        chosen = Options(tuple(made), made=made)
        with _running(apply(self.system, chosen).system, self.fused) as answers:
            found = [class_of(answers.frame(token, watch=watch).answer) for token in part.tokens]
        agreement, accuracy = part.shares(found)
        ends = fifo.source.actor, fifo.target.actor
        encode, decode = (
            milliseconds(seconds[node], 0.5) / 1e3 * self._slowdown(end) for node, end in zip((front, back), ends)
        )
        most = coding.most(type_of(self.system, fifo))
        return Measured(name, sum(sent) / len(sent), agreement, accuracy, encode, decode, most, coding)

    def _slowdown(self, actor: str) -> float:
        platform, unit = self.system.units.get(actor, ("", ""))
        found = self.system.platform(platform)
        return next((each.slowdown for each in found.units if each.name == unit), 1.0) if found else 1.0

    def unchanged(self, fifo: Fifo) -> Measured:
        """The tokens as they are."""
        agreement, accuracy = self.test.shares(self.test.answers)
        return Measured("as it is", type_of(self.system, fifo).nbytes, agreement, accuracy)

    def coded_inputs(self) -> list[Measured]:
        """The picture itself as a JPEG, by quality; all of the network then runs behind the cut."""
        from PIL import Image

        shape = self.pictures.token.shape
        if len(shape) < 3 or shape[-1] not in (1, 3) or any(size != 1 for size in shape[:-3]):
            return []
        plain = Pictures(TokenType("uint8", shape))
        try:
            pixels = [token_of(plain, example).reshape(shape[-3:]) for example in self.test.examples]
        except EpruneError:
            self.notes.append("the data are tokens, not pictures: what a JPEG of the input takes is not known")
            return []
        rows = []
        with _running(self.system, self.fused) as answers:
            for quality in QUALITIES:
                found, sizes, encode, decode = [], [], [], []
                for picture in pixels:
                    begin = time.perf_counter()
                    stream = io.BytesIO()
                    Image.fromarray(picture[:, :, 0] if shape[-1] == 1 else picture).save(
                        stream, "JPEG", quality=quality
                    )
                    middle = time.perf_counter()
                    stream.seek(0)
                    seen = np.asarray(Image.open(stream)).reshape(picture.shape)
                    decode.append(time.perf_counter() - middle)
                    encode.append(middle - begin)
                    sizes.append(len(stream.getvalue()))
                    found.append(class_of(answers.frame(self.pictures(seen)).answer))
                agreement, accuracy = self.test.shares(found)
                ends = milliseconds(encode, 0.5) / 1e3, milliseconds(decode, 0.5) / 1e3
                rows.append(Measured(f"JPEG {quality}", sum(sizes) / len(sizes), agreement, accuracy, *ends))
        return rows


def prepare(system: System, options: Options, progress: Progress, fused: bool = True) -> Trial:
    """Read the pictures, and see what is in the FIFOs. Raises ValueError and EpruneError for what does not fit.

    Without ``fused``, slices of a model that are on one unit are apart, so that there are FIFOs between them.

    Every other picture of the calibration part is for the ranges, and the rest for the choice: a projection fits those
    that it was made of too well.
    """
    fifos = tuple(checked(system, name) for name in dict.fromkeys(options.fifo))
    if options.frames < 1:
        raise ValueError(f"--frames {options.frames}: at least one picture is needed")
    notes: list[str] = []
    with _running(system, fused) as answers:
        pictures = Pictures(answers.token, answers.parameters)
        if options.data:
            data = read_data(options.data)
            parts = _parts(data, options.frames, notes)
        else:
            parts = _random(answers.token, options.frames)
            notes.append("no --data: measured on random inputs, so ranges and answers on yours will be others")
        names = class_names(answers.labels)
        ports = {answers.source(fifo.name): fifo.name for fifo in fifos}
        actors = {fifo.name: system.graph.actor(fifo.target.actor) for fifo in fifos}
        statistics = {name: _statistics(system, name, actors[name]) for name in actors}

        def watch(firing: Firing) -> None:
            for port, token in firing.outputs.items():
                if (name := ports.get(f"{firing.node}.{port}")) is not None:
                    statistics[name].add(np.asarray(token))

        for port, name in ports.items():
            if port.partition(".")[0] in answers.sources:
                raise ValueError(
                    f"--fifo {name}: it carries the picture itself; code that in the source, as a JPEG say"
                )
        made = []
        for index, part in enumerate(parts):
            progress.begin(f"{part.named} part")
            tokens = tuple(token_of(pictures, example) for example in part)
            classes = tuple(part.classes(names)) if options.data and part.labelled else None
            found = []
            for place, token in enumerate(tokens):
                fitted = index == 0 and (place % 2 == 0 or len(tokens) == 1)
                found.append(class_of(answers.frame(token, watch=watch if fitted else _unseen).answer))
                progress.update(place + 1)
            made.append(Part(part.examples, tokens, tuple(found), classes))
        if len(made[0].tokens) > 1:
            made[0] = made[0].every_other()
    return Trial(system, fifos, made[0], made[1], statistics, pictures, notes, fused)


def _unseen(firing: Firing) -> None:
    """Nothing is kept of a firing."""


def _statistics(system: System, name: str, actor: Any) -> Statistics:
    """With the weights of the layer behind a FIFO, if it takes its whole token, or the channels of each place."""
    fifo = next(each for each in system.graph.fifos if each.name == name)
    shape = type_of(system, fifo).shape
    whole, places = next_layer(actor), next_convolution(actor)
    if whole is not None and whole.shape[1] == math.prod(shape):
        return Statistics(whole)
    if places is not None and len(shape) > 1 and len(places) == shape[-1]:
        return Statistics(places, True)
    return Statistics()


def _parts(data: Data, frames: int, notes: list[str]) -> tuple[Data, Data]:
    try:
        parts = data.part(CALIBRATION), data.part(TEST)
    except EpruneError:
        notes.append("the pictures cannot be divided: ranges are judged by the pictures that they were made of")
        parts = data.part(ALL), data.part(ALL)
    return parts[0].first(frames), parts[1].first(frames)


def _random(token: TokenType, frames: int) -> tuple[Data, Data]:
    """Random inputs in place of pictures."""
    random = np.random.default_rng(1)
    picture = len(token.shape) >= 3 and token.shape[-1] in (1, 3) and all(size == 1 for size in token.shape[:-3])
    parts = []
    for name in (CALIBRATION, TEST):
        examples = []
        for index in range(min(frames, _RANDOM)):
            if picture:
                content = random.integers(0, 256, token.shape[-3:], np.uint8)
            elif token.dtype.startswith("float"):
                content = random.random(token.shape).astype(token.dtype)
            else:
                content = random.integers(0, 100, token.shape).astype(token.dtype)
            examples.append(Example(f"random input {index}", content, str(index)))
        parts.append(Data("random inputs", tuple(examples), len(examples), name))
    return parts[0], parts[1]


@contextmanager
def _running(system: System, fused: bool) -> Iterator[SystemAnswers]:
    """The application, from files where it needs some."""
    with on_disk(system) as stored, SystemAnswers(stored, fused=fused) as answers:
        yield answers


def _entropy(options: Options) -> tuple[str, int]:
    """What codes, and its level. Raises ValueError for what is not installed, and levels that there are not."""
    installed = importlib.util.find_spec("zstandard") is not None
    if options.entropy is Entropy.ZSTD and not installed:
        raise ValueError("--entropy zstd needs zstandard, which is not installed: pip install 'eprune[zstd]'")
    name = options.entropy.value if options.entropy is not Entropy.AUTO else "zstd" if installed else "zlib"
    most, usual = {"zstd": (22, 3), "zlib": (9, 6)}[name]
    if not 0 <= options.level <= most:
        raise ValueError(f"--level {options.level}: {name} has levels 1 to {most}")
    return name, options.level or usual


def entropy_note(options: Options) -> list[str]:
    """What to say of the entropy coder."""
    name, _ = _entropy(options)
    if name == "zlib" and options.entropy is Entropy.AUTO:
        return ["zstandard is not installed, so zlib codes, slower: pip install 'eprune[zstd]'"]
    return []
