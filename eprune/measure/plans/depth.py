"""The gates of ``eprune apply depth``: which blocks, whose weights, and the scores from which on a block runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from eprune.formats.model_files import parse_model
from eprune.formats.tflite.head import gate_model, pool_within, pooled
from eprune.measure import exits
from eprune.measure.answers import SystemAnswers, alone, class_of, on_disk
from eprune.measure.costs import macs_of
from eprune.measure.data import Data, read_data, token_of
from eprune.measure.evaluate import check_class, class_names, figures_of, interval
from eprune.measure.executor import Firing
from eprune.measure.exits import ACCURACY, AGREEMENT, BYTES, Outcome, Wish
from eprune.measure.gates import VALUES, Tried
from eprune.measure.pictures import Pictures
from eprune.measure.probe import chosen_interpreter
from eprune.measure.progress import SILENT, Progress
from eprune.measure.scores import divergence
from eprune.model.samples import Share
from eprune.model.system import System
from eprune.model.token import TokenType
from eprune.passes import depth
from eprune.passes.depth import Block, Gate, Options

#: Pictures on which blocks are compared, before some of them are chosen.
_COMPARED = 40
#: More gates are more combinations than can be tried: two for each.
_MOST = 6
ALWAYS, NEVER = 0.0, 1.1


def planned(system: System, options: Options, progress: Progress = SILENT) -> Options:
    """The options with fitted gates, and what is known of them. Raises ValueError and EpruneError for what is unfit."""
    wish = exits.parse_wish(options.wish)
    if wish.what == BYTES:
        raise ValueError(f"--wish {options.wish}: expected accuracy=0.97 or agreement=0.98")
    if not 1 <= options.blocks <= _MOST or len(options.at) > _MOST:
        raise ValueError(f"--blocks and the number of --at are 1 to {_MOST}")
    if options.frames < 1:
        raise ValueError("--frames is 1 or more")
    data = read_data(options.data)
    if wish.what == ACCURACY and not data.labelled:
        raise ValueError(f"--wish {options.wish}: {data.path} has no labels; without, wish for agreement=0.98")
    parts = data.fitting(options.frames)
    with on_disk(system) as stored:
        plan = _Plan(system, stored, options, wish)
    plan.choose(parts[0], progress)
    return plan.made(*[plan.see(each, progress) for each in parts])


#: Its ways are masks, bit k of which says whether block k runs; ``values[k]`` [frames, masks, n] are what gate k gets.
_Seen = Tried[list[np.ndarray]]


class _Plan:
    def __init__(self, system: System, stored: System, options: Options, wish: Wish) -> None:
        self.system, self.options, self.wish = system, options, wish
        self.interpreter = chosen_interpreter("auto")[0]
        self.measure = AGREEMENT
        self.blocks = self._blocks()
        ports = dict(system.graph.ports())
        self.tokens = {fifo.name: ports[fifo.source].token for fifo in system.graph.fifos}
        macs = {actor.name: macs_of(actor) for actor in stored.graph.actors}
        self.total = sum(macs.values())
        self.costs = [sum(macs[name] for name in block.actors) for block in self.blocks]

    def _blocks(self) -> list[Block]:
        found = depth.blocks(self.system)
        known = ", ".join(block.name for block in found) or "none"
        for name in self.options.at:
            if name not in {block.name for block in found}:
                raise ValueError(f"--at {name}: no residual block that can be bypassed; there are {known}")
        if not found:
            raise ValueError("there is no residual block (an ADD of x and what is made of x alone) to bypass")
        return [block for block in found if block.name in self.options.at] if self.options.at else found

    # Frames

    def choose(self, part: Data, progress: Progress) -> None:
        """Keep the blocks that save most without changing the answer."""
        most = self.options.blocks
        self.scores = {block.name: 0.0 for block in self.blocks}
        count = len(self.blocks)
        singles = [(1 << count) - 1, *((1 << count) - 1 - (1 << k) for k in range(count))]
        few = part.first(_COMPARED)
        outputs = [[each for each, _ in frame] for frame in self._frames(self.blocks, few, singles, progress)]
        keeps = []
        for k, block in enumerate(self.blocks):
            found = [_divergence(frame[0], frame[k + 1]) for frame in outputs]
            self.scores[block.name] = float(np.mean(found))
            keeps.append(np.mean([class_of(frame[0]) == class_of(frame[k + 1]) for frame in outputs]))
        if not self.options.at and count > most:
            worth = sorted(range(count), key=lambda k: -keeps[k] * self.costs[k])[:most]
            self.blocks = [self.blocks[k] for k in sorted(worth)]
            self.costs = [self.costs[k] for k in sorted(worth)]

    def see(self, part: Data, progress: Progress) -> _Seen:
        """All combinations of the chosen blocks."""
        masks = range(1 << len(self.blocks))
        answers, values = [], []
        for frame in self._frames(self.blocks, part, masks, progress):
            answers.append([class_of(answer) for answer, _ in frame])
            values.append([found for _, found in frame])
        wanted = np.array([each[-1] for each in answers])
        if self.wish.what == ACCURACY:
            self.measure = ACCURACY
            classes = part.classes(class_names(self.labels))
            for example, label in zip(part, classes):
                check_class(part, example, label, np.zeros(self.classes))
            wanted = np.array(classes)
        columns = [np.array([[mask[k] for mask in frame] for frame in values]) for k in range(len(self.blocks))]
        return _Seen(np.array(answers), columns, wanted)

    def _frames(
        self, blocks: Sequence[Block], part: Data, masks: Sequence[int], progress: Progress
    ) -> Iterable[list[tuple[np.ndarray, list[np.ndarray]]]]:
        """For each picture and mask: the answer, and what each gate gets."""
        blank = [self._gate(block, np.zeros(self._size(block), np.float32), 0.0, ALWAYS) for block in blocks]
        tried = depth.apply(self.system, replace(self.options, made=tuple(blank))).system
        names = [dpg.entry for dpg in tried.graph.dpgs[-len(blocks) :]]
        found: dict[str, np.ndarray] = {}

        def observe(firing: Firing) -> None:
            if firing.node in names:
                found[firing.node] = next(iter(firing.outputs.values()))

        progress.begin(f"{len(masks)} combinations of blocks")
        with (
            on_disk(alone(tried)) as stored,
            SystemAnswers(stored, self.interpreter, fused=False, observe=observe) as answers,
        ):
            self.labels = answers.labels
            pictures = Pictures(answers.token, answers.parameters)
            gates = [answers.behaviour(name) for name in names]
            for place, example in enumerate(part):
                token = token_of(pictures, example)
                frame = []
                for mask in masks:
                    for k, gate in enumerate(gates):
                        gate.threshold = ALWAYS if mask >> k & 1 else NEVER
                    answer = np.array(answers.frame(token).answer)
                    given = [self._pooled(block, found[name]) for block, name in zip(blocks, names)]
                    frame.append((answer, given))
                self.classes = answer.size
                yield frame
                progress.update(place + 1)

    # Gates

    def _token(self, block: Block) -> TokenType:
        return self.tokens[block.into[0]]

    def _pooled(self, block: Block, x: np.ndarray) -> np.ndarray:
        return pooled(x, pool_within(self._token(block).shape, VALUES), block.quantized[0])

    def _size(self, block: Block) -> int:
        token = self._token(block)
        return len(self._pooled(block, np.zeros(token.shape, token.dtype)))

    def _gate(self, block: Block, weights: np.ndarray, bias: float, threshold: float) -> Gate:
        fitted = weights[None], np.array([bias], np.float32)
        data = gate_model(
            self._token(block), pool_within(self._token(block).shape, VALUES), *fitted, block.quantized[0]
        )
        return Gate(block.name, data, len(parse_model(data).operators), threshold)

    def _fitted(self, k: int, seen: _Seen) -> tuple[np.ndarray, float]:
        """Weights and bias of the gate of block k: how likely the block is needed, all others running."""
        every = seen.answers.shape[1] - 1
        return exits.likelihood(seen.values[k][:, every], seen.spoiled(every - (1 << k)))

    # The plan

    def made(self, fit: _Seen, hold: _Seen, test: _Seen) -> Options:
        """The options with the gates that are best on ``hold``, and figures of ``test``."""
        models = [self._fitted(k, fit) for k in range(len(self.blocks))]
        limits, outcome = self._thresholds(hold, self._scores(models, hold))
        if exits.lacks(self.wish, outcome) or all(limit == ALWAYS for limit in limits):
            raise exits.unreachable(self.options.data, self.wish, outcome)
        used = [k for k, limit in enumerate(limits) if limit != ALWAYS]
        runs, judged = self._outcome(test, self._scores(models, test), limits)
        gates = tuple(self._gate(self.blocks[k], *models[k], limits[k]) for k in used)
        lines, figures = self._report(used, limits, runs, judged, test)
        return replace(self.options, made=gates, lines=lines, figures=figures)

    def _scores(self, models: Sequence[tuple[np.ndarray, float]], seen: _Seen) -> list[np.ndarray]:
        """Of each gate [frames, masks]."""
        found = []
        for (weights, bias), values in zip(models, seen.values):
            logits = values @ weights + np.float32(bias)
            found.append(1 / (1 + np.exp(-logits)))
        return found

    def _outcome(
        self, seen: _Seen, scores: Sequence[np.ndarray], limits: Sequence[float]
    ) -> tuple[np.ndarray, Outcome]:
        """Which blocks run [frames, blocks], and what becomes of the frames."""
        count, frames = len(limits), np.arange(len(seen.answers))
        masks = np.full(len(frames), seen.answers.shape[1] - 1)
        for k, limit in enumerate(limits):
            masks -= (scores[k][frames, masks] < limit) << k
        runs = (masks[:, None] >> np.arange(count)) & 1
        answers = seen.answers[frames, masks]
        cost = self.total - (1 - runs) @ np.array(self.costs)
        right = answers == seen.wanted
        lost = float(((seen.whole == seen.wanted) & ~right).mean())
        mean = float(cost.mean())
        return runs, Outcome(masks, right, mean, 0.0, mean / (self.total or 1), lost)

    def _thresholds(self, seen: _Seen, scores: Sequence[np.ndarray]) -> tuple[list[float], Outcome]:
        """The thresholds that fulfil the wish at the least cost."""
        tried = [[ALWAYS, *exits.quantiles(each[:, -1]), NEVER] for each in scores]
        return exits.improved(
            [ALWAYS] * len(scores), tried, lambda each: self._outcome(seen, scores, each)[1], self.wish
        )

    def _report(
        self, used: Sequence[int], limits: Sequence[float], runs: np.ndarray, judged: Outcome, test: _Seen
    ) -> tuple[tuple[str, ...], dict[str, Any]]:
        count = len(judged.right)
        lines, listed = [], []
        for k in used:
            share, worth = float(runs[:, k].mean()), self.costs[k] / (self.total or 1)
            name = self.blocks[k].name
            lines.append(
                f"block {name}: runs for {100 * share:.1f} % of {count} test pictures, has {100 * worth:.1f} % of the "
                f"MACs; threshold {limits[k]:.4g}"
            )
            entry = {"block": name, "threshold": limits[k], "runs": share, "macs": worth}
            listed.append({**entry, "divergence": self.scores[name]})
        off = test.answers.shape[1] - 1 - sum(1 << k for k in used)
        static = Share(int((test.answers[:, off] == test.wanted).sum()), count)
        right = Share(int(judged.right.sum()), count)
        whole = Share(int((test.whole == test.wanted).sum()), count)
        saved = 1 - judged.cost / (self.total or 1)
        removed = sum(self.costs[k] for k in used) / (self.total or 1)
        beside = f" (whole {whole.value:.4g})" if self.measure == ACCURACY else " with the whole model"
        lines.append(f"all test pictures: {self.measure} {interval(right)}{beside}; {100 * saved:.1f} % of MACs saved")
        lines.append(
            f"the same blocks always removed: {self.measure} {interval(static)}; {100 * removed:.1f} % of MACs saved"
        )
        figures: dict[str, Any] = {
            "blocks": listed,
            "pictures": count,
            self.measure: figures_of(right),
            "saved": saved,
            "removed": {self.measure: figures_of(static), "saved": removed},
        }
        if self.measure == ACCURACY:
            figures["whole"] = figures_of(whole)
        return tuple(lines), figures


def _divergence(one: np.ndarray, other: np.ndarray) -> float:
    """How far two answers are apart, as distributions."""
    parts = [each.reshape(-1).astype(np.float64) for each in (one, other)]
    parts = [each - min(each.min(), 0) for each in parts]
    return divergence(*(each / (each.sum() or 1) for each in parts))
