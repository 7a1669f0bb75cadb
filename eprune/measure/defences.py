"""What each way to defend a cut leaves: of the picture to attackers, of accuracy, and of bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Optional

import numpy as np

from eprune.formats.model_files import parse_model, read_model
from eprune.formats.models.parts import Model
from eprune.formats.tflite.noise import noisy_weights
from eprune.measure.answers import SystemAnswers, alone, class_of, on_disk
from eprune.measure.attacks import chosen_attacks
from eprune.measure.bottleneck import Features
from eprune.measure.compression import Trial, prepare
from eprune.measure.data import CALIBRATION, TEST, Data, token_of
from eprune.measure.evaluate import class_names
from eprune.measure.executor import Firing
from eprune.measure.pictures import Pictures
from eprune.measure.privacy import Privacy, privacy
from eprune.measure.progress import Progress
from eprune.measure.ranges import next_layer
from eprune.model.finding import EpruneError
from eprune.model.samples import Share
from eprune.model.system import System
from eprune.passes import compress, defend
from eprune.passes.compress import Coding, listed
from eprune.passes.defend import Defence, Draw, Method, Options, head_of

#: What is tried where nothing is said: standard deviations of noise, shares that are dropped.
NOISES, DROPS, WEIGHTS = (0.25, 0.5, 1.0, 2.0), (0.3, 0.6, 0.9), (0.1, 0.3, 1.0)
#: Numbers that are sent, and of the bottleneck how much it counts that little is sent.
RANKS, SIZES, BETAS = (4, 8, 16, 32), (8, 16), (0.001, 0.01, 0.1)
#: The seed of what is drawn while it is measured.
_SEED = 1


@dataclass(frozen=True)
class Way:
    """A way to defend: its ``name``, the method that it is of, and whether it draws anew while the application runs."""

    name: str
    method: str
    defence: Defence
    drawn: bool = False


@dataclass(frozen=True)
class Row:
    """What is left with it: ``psnr``, ``ssim`` and ``label`` (of reconstructions, by the best attack), ``nbytes`` of a
    token, ``accuracy`` of the test part, and ``chosen_by``, that of pictures that nothing was fitted on.

    ``averaged`` is the SSIM where an attacker averages over frames of a scene; None where that changes nothing.
    """

    way: Way
    nbytes: float
    accuracy: Share
    chosen_by: Share
    psnr: float
    ssim: float
    label: Share
    averaged: Optional[float] = None

    @property
    def most(self) -> float:
        """The SSIM of the best attack."""
        return self.ssim if self.averaged is None else max(self.ssim, self.averaged)


class Defences:
    """An application, one FIFO of it, and pictures by which ways to defend it are measured.

    Without labels, the application's own answers take their place. Raises ValueError and EpruneError for what does not
    fit.
    """

    def __init__(self, system: System, options: Options, data: Data, progress: Progress) -> None:
        self.system, self.options, self.progress = system, options, progress
        self.fifo = defend.defensible(system, options.fifo)
        self.notes: list[str] = []
        self.labelled = data.labelled
        self._parts(data)
        given = compress.Options((options.fifo,), data=options.data, frames=options.frames)
        self.trial: Trial = prepare(system, given, progress)
        self.coded = compress.Options((options.fifo,), method=compress.Method.AUTO)

    def _parts(self, data: Data) -> None:
        """Run the application as it is: the features of the pictures that are fitted on, and where labels are lacking,
        its answers.
        """
        parts = data.part(CALIBRATION).first(self.options.frames), data.part(TEST).first(self.options.frames)
        self.fit, self.choice, _ = data.fitting(self.options.frames)
        fitted = {example.name for example in self.fit}
        tokens, labels, answered = [], [], []
        with on_disk(self.system) as stored, SystemAnswers(alone(stored), fused=False) as answers:
            pictures = Pictures(answers.token, answers.parameters)
            node, _, port = answers.source(self.fifo.name).partition(".")
            now: list[np.ndarray] = []

            def watch(firing: Firing) -> None:
                if firing.node == node and port in firing.outputs:
                    now.append(np.array(firing.outputs[port]).reshape(-1))

            if node in answers.sources:
                raise ValueError(f"--fifo {self.fifo.name}: it carries the picture itself")
            names = class_names(answers.labels)
            for part in parts:
                classes = part.classes(names) if self.labelled else [-1] * len(part)
                self.progress.begin(f"{part.named} part")
                for place, (example, wanted) in enumerate(zip(part, classes)):
                    now.clear()
                    answer = class_of(answers.frame(token_of(pictures, example), watch=watch).answer)
                    label = wanted if self.labelled else answer
                    answered.append(replace(example, label=example.label if self.labelled else str(answer)))
                    if example.name in fitted and now:  # in a branch of a choice, it may be idle
                        tokens.append(now[0])
                        labels.append(label)
                    self.progress.update(place + 1)
        if not tokens:
            raise ValueError(f"--fifo {self.fifo.name}: none of the pictures comes by there")
        self.tokens, self.classes = np.stack(tokens).astype(np.float32), np.array(labels)
        # The parts are as they were drawn, whatever the data state.
        self.data = replace(
            data,
            examples=tuple(
                replace(example, part=CALIBRATION if place < len(parts[0]) else TEST)
                for place, example in enumerate(answered)
            ),
        )

    # The ways

    def ways(self) -> Iterator[Way]:
        """The ways to defend that come into question. Raises ValueError where the method does not fit."""
        wanted, found = self.options.method, 0
        yield Way("as it is", "", Defence())
        for method, make in (
            (Method.NOISE, self._noise),
            (Method.DROPOUT, self._dropout),
            (Method.WEIGHTS, self._weights),
            (Method.INT8, self._codings),
            (Method.INT4, self._codings),
            (Method.RANK, self._codings),
            (Method.BOTTLENECK, self._bottlenecks),
        ):
            if wanted in (Method.AUTO, method):
                try:
                    for way in make(method):
                        found += 1
                        yield way
                except EpruneError as error:
                    if wanted is method:
                        raise
                    self.notes.append(f"no {method.value}: {error.findings[0].message}")
        if not found:
            raise ValueError(f"--method {wanted.value}: no linear layer follows, before which fewer numbers will do")

    def _strengths(self, usual: Sequence[float]) -> Sequence[float]:
        return usual if self.options.strength < 0 else (self.options.strength,)

    def _parameters(self, **given: str) -> tuple[tuple[str, str], ...]:
        """Those of an actor that draws."""
        drawn = {"draw": self.options.draw.value} if self.options.draw is not Draw.FRAME else {}
        return tuple({**given, **drawn}.items())

    def _noise(self, method: Method) -> Iterator[Way]:
        spread = float(self.tokens.std())
        for strength in self._strengths(NOISES):
            parameters = self._parameters(noise=f"{strength * spread:.6g}")
            yield Way(f"noise {strength:g}", method.value, Defence(parameters), True)

    def _dropout(self, method: Method) -> Iterator[Way]:
        for share in self._strengths(DROPS):
            yield Way(f"dropout {share:g}", method.value, Defence(self._parameters(drop=f"{share:g}")), True)

    def _weights(self, method: Method) -> Iterator[Way]:
        heads = head_of(self.system.graph, self.fifo)
        seed = _SEED if self.options.seed < 0 else self.options.seed
        for strength in self._strengths(WEIGHTS):
            models = {}
            for file, actors in heads.items():
                operators = [index for actor in actors if actor.behaviour for index in actor.behaviour.operators]
                models[file] = noisy_weights(self._model(file), operators, strength, seed)
            yield Way(f"weights {strength:g}", method.value, Defence(models=models))

    def _model(self, file: str) -> Model:
        if file in self.system.files:
            return parse_model(self.system.files[file], file)
        actor = head_of(self.system.graph, self.fifo)[file][0]
        assert actor.behaviour is not None
        return read_model(actor.behaviour.path or file)

    def _codings(self, method: Method) -> Iterator[Way]:
        """Those of ``compress``."""
        for name, coding in self.trial.ways(self.fifo, self.coded):
            kind, _, rest = name.partition(" ")
            if kind != method.value:
                continue
            rank = coding.rank
            if method is Method.RANK and (not rest.endswith("int8") or rank not in self._sizes(RANKS)):
                continue
            yield Way(name, method.value, Defence(coding=coding))

    def _sizes(self, usual: Sequence[int]) -> Sequence[int]:
        return (self.options.rank,) if self.options.rank else usual

    def _bottlenecks(self, method: Method) -> Iterator[Way]:
        actor = self.system.graph.actor(self.fifo.target.actor)
        weights = next_layer(actor)
        if weights is not None and weights.shape[1] != self.tokens.shape[1]:
            weights = None
        features = Features(self.tokens, self.classes, weights)
        plain = self.trial.ways(self.fifo, replace(self.coded, method=compress.Method.LOSSLESS))[0][1]
        if self.options.rank > features.most:
            raise ValueError(f"--rank {self.options.rank}: on these pictures, features have {features.most} dimensions")
        for size in dict.fromkeys(min(size, features.most) for size in self._sizes(SIZES)):
            betas = self._strengths(BETAS)
            for beta in betas:
                yield Way(
                    f"bottleneck {size}, {beta:g}", method.value, self._bottleneck(features, plain, size, beta), True
                )
            bare = self._bottleneck(features, plain, size, betas[0], False)
            yield Way(f"bottleneck {size}, no noise", method.value, bare)

    def _bottleneck(self, features: Features, plain: Coding, size: int, beta: float, noisy: bool = True) -> Defence:
        made = features.fitted(size, beta, noisy)
        hidden = self._parameters(noise=listed(made.noise)) if noisy else ()
        low, step = (tuple(each.astype(np.float32).tolist()) for each in (made.low, made.step))
        coding = replace(plain, method="int8", low=low, step=step, rank=size, basis=made.basis(), hidden=hidden)
        return Defence(coding=coding)

    # What is left

    def measure(self, way: Way) -> Row:
        """Attack it, and see how good the answers are."""
        system = defend.apply(self.system, replace(self.options, made=seeded(way.defence, _SEED))).system
        found = self._attacked(system, 1)
        self.nothing = found.nothing
        averaged = None
        if way.drawn and self.options.average > 1:
            averaged = max(cut.ssim for cut in self._attacked(system, self.options.average).cuts)
        best = max(found.cuts, key=lambda cut: cut.ssim)
        own = [found.right[example.name] for example in self.choice]
        return Row(
            way, best.nbytes, found.accuracy, Share(sum(own), len(own)), best.psnr, best.ssim, best.label, averaged
        )

    def _attacked(self, system: System, average: int) -> Privacy:
        attacks = chosen_attacks(self.options.attack)
        return privacy(
            system, self.data, False, self.options.frames, attacks=attacks, average=average, only=self.fifo.name
        )


def seeded(defence: Defence, seed: int) -> Defence:
    """The same defence, which draws the same in each run."""

    def drawing(parameters: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
        given: Mapping[str, str] = dict(parameters)
        return tuple({**given, "seed": str(seed)}.items()) if given else ()

    coding = defence.coding
    return replace(
        defence,
        disturbed=drawing(defence.disturbed),
        coding=None if coding is None else replace(coding, hidden=drawing(coding.hidden)),
    )
