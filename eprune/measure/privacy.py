"""What does a cut reveal? Pictures are reconstructed from the tokens that it sends, by an attack trained here.

The attacker has pictures of his own, the calibration part of the data, and what the application makes of them: the
package ``attacks`` has what he does with that. Then he is given the tokens of the test part. Tokens that are coded, or
defended, are attacked as the receiver has them, by attacks that were fitted on such tokens. That is a lower bound of
what tokens reveal: a better attack may see more, and none sees what is not there.

Reference: He, Zhang, Lee, "Model inversion attacks against collaborative inference" (ACSAC 2019), for the setting.
"""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

import numpy as np

from eprune.codegen.program import LocalFifo
from eprune.measure.answers import SystemAnswers, alone, class_of, on_disk
from eprune.measure.attacks import ATTACKS
from eprune.measure.attacks.base import Own, Target, find, of_own
from eprune.measure.data import CALIBRATION, LABELS, TEST, Data, Example, data_error, token_of
from eprune.measure.engines import versions_of
from eprune.measure.evaluate import class_names
from eprune.measure.executor import Firing
from eprune.measure.likeness import psnr, ssim
from eprune.measure.pictures import Pictures
from eprune.measure.progress import SILENT, Progress
from eprune.model.finding import WrongUsage
from eprune.model.samples import Share
from eprune.model.system import System
from eprune.model.token import TokenType

#: Rows and columns of reconstructed pictures at most.
SIDE = 48
#: Bytes of tokens that are kept at once: places are looked at in groups of so many.
_KEPT = 512 * 2**20


@dataclass(frozen=True)
class Attribute:
    """A second property of pictures: its ``name``, and the value of each example, by the example's name."""

    name: str
    values: Mapping[str, str]


@dataclass(frozen=True)
class Cut:
    """What the tokens of a FIFO reveal to an ``attack``, over the test pictures.

    ``psnr`` (dB) and ``ssim`` are means; ``label`` is how often the application still gives a reconstruction the class
    of the picture, ``attribute`` how often a second property of it is told from the reconstruction. ``nbytes`` is a
    token's mean size on the link.
    """

    fifo: str
    source: str
    token: str
    nbytes: float
    crosses: bool
    attack: str
    psnr: float
    ssim: float
    label: Share
    attribute: Optional[Share] = None
    pictures: np.ndarray = field(default_factory=lambda: np.empty(0), compare=False, repr=False)


@dataclass(frozen=True)
class Privacy:
    """The cuts, from the source on, each with all attacks.

    ``nothing`` is what an attacker has without any token: the mean of his pictures. ``accuracy`` is how often the
    application gives a test picture its class. ``attackers`` and ``pictures`` are how many pictures he had, and saw
    tokens of, each ``average`` times; ``originals`` [n,H,W,C] are some of the latter, 0 to 1. ``labelled``: classes are
    the data's, else the application's own answers. ``right`` says of each picture, the attacker's too, by its name,
    whether the answer was.
    """

    application: str
    cuts: tuple[Cut, ...]
    nothing: Cut
    attackers: int
    pictures: int
    labelled: bool
    accuracy: Share
    attacks: tuple[str, ...] = ATTACKS[:1]
    average: int = 1
    attribute: str = ""
    interpreter: str = ""
    right: Mapping[str, bool] = field(default_factory=dict, compare=False, repr=False)
    originals: np.ndarray = field(default_factory=lambda: np.empty(0), compare=False, repr=False)


def privacy(
    system: System,
    data: Data,
    every: bool = False,
    frames: int = 300,
    split: float = 0.5,
    seed: int = 1,
    labels: str = "",
    attribute: Optional[Attribute] = None,
    interpreter: str = "auto",
    attacks: Sequence[str] = ATTACKS[:1],
    average: int = 1,
    only: str = "",
    shown: int = 6,
    progress: Progress = SILENT,
) -> Privacy:
    """Attack the tokens that cross platforms; with ``every``, or where nothing crosses, those of all slices.

    ``frames`` pictures at most of each part. The attacker sees each picture ``average`` times, and takes the mean of
    its tokens. ``only`` names a FIFO, which is attacked alone. Raises EpruneError and WrongUsage for what does not fit.
    """
    known = data.part(CALIBRATION, split, seed).first(frames, seed)
    seen = data.part(TEST, split, seed).first(frames, seed)
    version = versions_of(system, interpreter)
    with on_disk(system) as stored, SystemAnswers(alone(stored), interpreter, fused=False) as answers:
        attacker = _Attacker(system, answers, known, seen, labels, average, only)
        places = attacker.places(every)
        cuts = []
        for number, group in enumerate(attacker.groups(places)):
            progress.begin(f"tokens, group {number + 1}")
            tokens = attacker.tokens(group, progress)
            for fifo in group:
                for attack in attacks:
                    progress.begin(f"{fifo.name}: {attack}")
                    cuts.append(attacker.cut(fifo, tokens[fifo.name], attack, attribute, shown))
        nothing = attacker.nothing(attribute, shown)
    order = [fifo.name for fifo in places]
    return Privacy(
        system.graph.name,
        tuple(sorted(cuts, key=lambda cut: order.index(cut.fifo))),
        nothing,
        len(known),
        len(seen),
        attacker.labelled,
        attacker.accuracy(),
        tuple(attacks),
        average,
        attribute.name if attribute else "",
        version,
        attacker.right(),
        attacker.targets[1][:shown],
    )


@dataclass(frozen=True)
class _Tokens:
    """Of a FIFO the tokens [frames,n], float32, of both parts, and a token's mean bytes over the link."""

    known: np.ndarray
    seen: np.ndarray
    nbytes: float


class _Attacker:
    """The attacker's pictures and those that he is to reconstruct: ``targets`` [n,H,W,C] of both, from 0 to 1."""

    def __init__(
        self, system: System, answers: SystemAnswers, known: Data, seen: Data, labels: str, average: int, only: str
    ) -> None:
        self.system, self.answers, self.parts, self.average = system, answers, (known, seen), average
        self.pictures = Pictures(answers.token, answers.parameters)
        self.targets = [np.stack([pixels(each, answers.token) for each in part]) for part in self.parts]
        self.labelled = all(part.labelled for part in self.parts)
        self.crossing = {only} if only else {fifo.name for fifo in system.graph.fifos if system.crosses(fifo)}
        names = class_names(labels or answers.labels)
        self.classes: list[Optional[list[int]]] = [
            list(part.classes(names)) if self.labelled else None for part in self.parts
        ]
        self.given: tuple[list[int], list[int]] = [], []

    @property
    def wanted(self) -> Sequence[int]:
        """The classes of the test pictures; without labels, the application's own answers."""
        return self.classes[1] or self.given[1]

    def right(self) -> dict[str, bool]:
        """Picture -> whether the application's answer is right; without labels, always."""
        return {
            example.name: answer == wanted
            for part, answers, classes in zip(self.parts, self.given, self.classes)
            for example, answer, wanted in zip(part, answers, classes or answers)
        }

    def accuracy(self) -> Share:
        """How often the application's answers to test pictures are right; without labels, always."""
        right = sum(one == other for one, other in zip(self.given[1], self.wanted))
        return Share(right, len(self.given[1]))

    # Where

    def places(self, every: bool) -> list[LocalFifo]:
        """The FIFOs to attack: what crosses platforms, as it is behind its decoder; or what slices give."""
        fifos = self.answers.fifos
        data = [fifo for fifo in fifos if not fifo.control and _is_features(fifo.token)]
        slices = {a.name for a in self.system.graph.actors if a.is_slice}
        if every or not self.crossing:
            made = [f for f in data if f.source.partition(".")[0] in slices]
            found = {f.source.partition(".")[0] + str(f.token): f for f in reversed(made)}
            return [f for f in made if f in found.values()]
        found_here = []
        for fifo in fifos:
            if fifo.name not in self.crossing or fifo.control:
                continue
            behind = [f for f in data if f.source.partition(".")[0] == fifo.target.partition(".")[0]]
            if not fifo.token.variable and _is_features(fifo.token):
                found_here.append(fifo)
            elif fifo.token.variable and len(behind) == 1:
                found_here.append(behind[0])  # the attacker decodes as the receiver does
        if not found_here:
            raise WrongUsage("nothing crosses platforms that a picture could be made of: give --every", "--every")
        return list(dict.fromkeys(found_here))

    def groups(self, places: Sequence[LocalFifo]) -> Iterator[list[LocalFifo]]:
        """FIFOs whose tokens fit into memory together."""
        count = sum(map(len, self.parts))
        group: list[LocalFifo] = []
        for fifo in places:
            if group and sum(_floats(each) for each in [*group, fifo]) * count > _KEPT:
                yield group
                group = []
            group.append(fifo)
        if group:
            yield group

    def tokens(self, group: Sequence[LocalFifo], progress: Progress) -> dict[str, _Tokens]:
        """What the FIFOs of a group bring."""
        found: dict[str, list[list[np.ndarray]]] = {fifo.name: [[], []] for fifo in group}
        now: dict[str, list[np.ndarray]] = {fifo.name: [] for fifo in group}
        sizes: dict[str, list[int]] = {fifo.name: [] for fifo in group}
        wire = {fifo.name: self._on_the_wire(fifo) for fifo in group}

        def watch(firing: Firing) -> None:
            for fifo in group:
                node, _, port = fifo.source.partition(".")
                if firing.node == node and port in firing.outputs:
                    now[fifo.name].append(np.array(firing.outputs[port]).reshape(-1).astype(np.float32))
                coded = wire[fifo.name]
                if coded is not None and coded.source.partition(".")[0] == firing.node:
                    sizes[fifo.name].append(firing.outputs[coded.source.partition(".")[2]].used)

        answered = not self.given[1]
        for number, part in enumerate(self.parts):
            for place, example in enumerate(part):
                token = token_of(self.pictures, example)
                for turn in range(self.average):
                    answer = self.answers.frame(token, watch=watch).answer
                    if answered and turn == 0:
                        self.given[number].append(class_of(answer))
                for fifo in group:
                    own = now[fifo.name]
                    # Nothing may have been sent: an early exit, a bypassed block.
                    zeros = np.zeros(int(np.prod(fifo.token.shape)), np.float32)
                    found[fifo.name][number].append(np.mean(own, axis=0) if own else zeros)
                    own.clear()
                progress.update(place + 1)
        return {
            fifo.name: _Tokens(
                np.stack(found[fifo.name][0]),
                np.stack(found[fifo.name][1]),
                float(np.mean(sizes[fifo.name])) if sizes[fifo.name] else float(fifo.token.nbytes),
            )
            for fifo in group
        }

    def _on_the_wire(self, fifo: LocalFifo) -> Optional[LocalFifo]:
        """The coded FIFO that brings what a decoder gives; None where the tokens are sent as they are."""
        node = fifo.source.partition(".")[0]
        into = [f for f in self.answers.fifos if f.target.partition(".")[0] == node and f.token.variable]
        return into[0] if into else None

    # The attack

    def cut(self, fifo: LocalFifo, tokens: _Tokens, attack: str, attribute: Optional[Attribute], shown: int) -> Cut:
        """What the tokens of a FIFO reveal to an attack."""
        classes = self.classes[0]
        own = Own(tokens.known, self.targets[0], None if classes is None else np.array(classes))
        inversion = find(attack).prepared(own, self._target(fifo))
        crosses = fifo.name in self.crossing or self._on_the_wire(fifo) is not None
        about = fifo.name, fifo.source, str(fifo.token), tokens.nbytes, crosses, attack
        mine = of_own(own, inversion) if attribute else None
        return self._judged(about, inversion(own, tokens.seen), attribute, mine, shown)

    def _target(self, fifo: LocalFifo) -> Target:
        """What attackers know of the cut."""
        basis = getattr(getattr(self.answers.behaviour(_node(fifo)), "coding", None), "basis", None)
        bases = () if basis is None else (basis["project"],)
        return Target(self.answers.system, fifo.name, fifo.source, fifo.token, self.pictures, bases)

    def nothing(self, attribute: Optional[Attribute], shown: int) -> Cut:
        """What an attacker without a token has."""
        mean = self.targets[0].mean(axis=0)
        guesses = np.broadcast_to(mean, self.targets[1].shape)
        own = np.broadcast_to(mean, self.targets[0].shape) if attribute else None
        return self._judged(("", "", "", 0.0, False, ""), guesses, attribute, own, shown)

    def _judged(
        self,
        about: tuple[str, str, str, float, bool, str],
        found: np.ndarray,
        attribute: Optional[Attribute],
        own: Optional[np.ndarray],
        shown: int,
    ) -> Cut:
        true = self.targets[1]
        right = sum(self._class(picture) == wanted for picture, wanted in zip(found, self.wanted))
        told = None
        if attribute is not None and own is not None:
            told = self._attribute(own.reshape(len(own), -1), found.reshape(len(found), -1), attribute)
        return Cut(
            *about,
            float(np.mean([psnr(a, b) for a, b in zip(true, found)])),
            float(np.mean([ssim(a, b) for a, b in zip(true, found)])),
            Share(int(right), len(found)),
            told,
            np.array(found[:shown]),
        )

    def _class(self, picture: np.ndarray) -> int:
        """What the application says of a reconstruction, as a picture of its own."""
        example = Example("reconstruction", np.rint(255 * picture).astype(np.uint8), "")
        return class_of(self.answers.frame(token_of(self.pictures, example)).answer)

    def _attribute(self, known: np.ndarray, seen: np.ndarray, attribute: Attribute) -> Share:
        """How often a classifier of reconstructions tells the attribute; it is fitted on the attacker's own."""
        own, wanted = (np.array([attribute.values[example.name] for example in part]) for part in self.parts)
        try:
            from sklearn.linear_model import LogisticRegression
        except ImportError:
            raise WrongUsage(
                "it takes scikit-learn, which is not installed: pip install 'eprune[exits]'", "--attribute"
            ) from None
        if len(set(own.tolist())) < 2:
            said = np.full(len(wanted), own[0])
        else:
            said = LogisticRegression(C=0.1, max_iter=200).fit(known, own).predict(seen)
        return Share(int((said == wanted).sum()), len(wanted))


def read_attribute(data: Data, name: str) -> Attribute:
    """An array of that name in the data's .npz file, or a column of its labels.csv: a value for each picture.

    Raises EpruneError where there is none.
    """
    place = Path(data.path)
    if place.is_dir():
        found = _column(place, name) if (place / LABELS).is_file() else {}
        values = {each.name: found.get(each.name, "") for each in data}
    else:
        values = dict(zip((each.name for each in data), map(str, _array(place, name))))
    lacking = [each.name for each in data if not values.get(each.name)]
    if lacking:
        message = f"says nothing of {name!r}, of {lacking[0]} for example"
        raise data_error(data.path, message, "add an array of that name to the .npz file, or a column to labels.csv")
    return Attribute(name, values)


def _column(folder: Path, name: str) -> dict[str, str]:
    """Path of a picture -> its value in that column of labels.csv."""
    with (folder / LABELS).open(newline="", encoding="utf-8-sig") as lines:
        header, *rows = ([cell.strip() for cell in row] for row in csv.reader(lines) if row)
    if name not in header:
        return {}
    return {str(folder / row[0]): row[header.index(name)] for row in rows}


def _array(file: Path, name: str) -> Sequence[Any]:
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return [] if not hasattr(arrays, "files") or name not in arrays.files else list(arrays[name].reshape(-1))
    except (OSError, ValueError, zipfile.BadZipFile):
        return []


def _is_features(token: TokenType) -> bool:
    """Whether a picture could be made of such tokens: numbers, and more than a few."""
    return not token.variable and token.dtype not in ("bool", "int64", "int32") and int(np.prod(token.shape)) > 1


def _node(fifo: LocalFifo) -> str:
    return fifo.source.partition(".")[0]


def _floats(fifo: LocalFifo) -> int:
    return 4 * int(np.prod(fifo.token.shape))


def pixels(example: Example, token: TokenType) -> np.ndarray:
    """The picture that is to be reconstructed: [H,W,C] from 0 to 1, at most SIDE pixels each way.

    Raises EpruneError for an array that is no picture.
    """
    shape = token.shape[1:] if len(token.shape) == 4 else token.shape
    height, width, channels = (*shape[1:], shape[0]) if shape[-1] not in (1, 3) else shape
    content: Any = example.content
    if isinstance(content, np.ndarray) and content.dtype != np.uint8:
        plain = content.reshape([size for size in content.shape if size != 1] or [1])
        if plain.ndim < 2 or not (plain.min() >= 0 and plain.max() <= 1):
            raise data_error(example.name, "is no picture: expected uint8, or numbers from 0 to 1")
        content = np.rint(255 * plain).astype(np.uint8)
    scale = min(1.0, SIDE / max(height, width))
    size = TokenType("uint8", (1, max(1, round(scale * height)), max(1, round(scale * width)), channels))
    found = token_of(Pictures(size), Example(example.name, content, example.source))
    made: np.ndarray = found[0].astype(np.float32) / 255
    return made
