"""The exits of ``eprune apply exits``: where they are, their heads and thresholds, made of the user's pictures."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional

import numpy as np

from eprune.formats.model_files import parse_model, read_model
from eprune.formats.models.quantization import Quantization
from eprune.formats.tflite.head import DTYPES, head_model, pool_within
from eprune.measure import exits
from eprune.measure.answers import SystemAnswers, alone, class_of, on_disk
from eprune.measure.costs import costs, spread
from eprune.measure.data import Data, read_data
from eprune.measure.evaluate import figures_of, interval
from eprune.measure.executor import Firing
from eprune.measure.exits import AGREEMENT, NEVER, Candidate, Frames, Head, Outcome, Wish
from eprune.measure.probe import chosen_interpreter
from eprune.measure.progress import SILENT, Progress
from eprune.measure.watched import Watched
from eprune.model.graph import Port, PortRef
from eprune.model.samples import Share
from eprune.model.system import System
from eprune.model.token import TokenType
from eprune.passes._places import Place, nowhere, places
from eprune.passes.exits import ONE_AUDITED, Exit, Options, ending_in_one

#: At most so many values go into a head.
_VALUES = 1024
#: A score of a larger step is no probability.
_COARSE = 1 / 64


def planned(
    system: System, options: Options, progress: Progress = SILENT, within: Optional[Collection[str]] = None
) -> Options:
    """The options with fitted exits, and what is known of them; behind actors ``within`` only, where these are given.

    Raises ValueError and EpruneError for what is unfit.
    """
    wish = exits.parse_wish(options.wish)
    if not 0 <= options.audit <= 1:
        raise ValueError(f"--audit {options.audit:g}: expected a share, 0 to 1")
    if options.audit and max(options.exits, len(options.at)) > 1:
        raise ValueError(ONE_AUDITED)
    if options.exits < 1 or options.frames < 1:
        raise ValueError("--exits and --frames are 1 or more")
    data = read_data(options.data)
    if wish.what == exits.ACCURACY and not data.labelled:
        raise ValueError(f"--wish {options.wish}: {data.path} has no labels; without, wish for agreement=0.99")
    parts = data.fitting(options.frames)
    with on_disk(ending_in_one(system)) as stored:
        plan = _Plan(stored, options, wish, within)
        seen = [plan.see(each, progress) for each in parts]
        return plan.made(*seen)


@dataclass(frozen=True)
class _Seen:
    """What frames of a part gave: values of each place [frames, n], the whole model's classes, the right ones.

    ``there`` [frames] says of each place which frames come by, for it may be in a branch; values of others are zeros.
    """

    values: list[np.ndarray]
    there: list[np.ndarray]
    answers: np.ndarray
    wanted: np.ndarray


class _Plan:
    def __init__(self, system: System, options: Options, wish: Wish, within: Optional[Collection[str]]) -> None:
        self.system, self.options, self.wish, self.within = system, options, wish, within
        self.ports = dict(system.graph.ports())
        self.costs, self.timed = costs(system.graph)
        self.watched = Watched(system)
        self.places = self._places()
        self.answer = self.ports[self.places[0].late.source].token
        self.quantized = self._quantization(self.places[0].late.source, self.places[0].behind)
        self.classes = int(np.prod(self.answer.shape))
        if self.answer.dtype not in DTYPES or self.classes < 2 or self.answer.shape != (1, self.classes):
            raise ValueError(
                f"the answer is {self.answer}: exits are for classifiers, whose scores are like float32[1,10]"
            )
        if self.answer.dtype != "float32" and (self.quantized is None or self.quantized.scale > _COARSE):
            raise ValueError(f"the answer's {self.answer.dtype} scores are no probabilities, so no head can give them")
        self.interpreter = chosen_interpreter("auto")[0]
        self.labelled = wish.what != AGREEMENT
        self.measure = exits.ACCURACY

    # Places

    def _places(self) -> list[Place]:
        found = [
            each
            for each in places(self.system.graph)
            if _pools(self.ports[each.fifo.source]) and (self.within is None or each.fifo.source.actor in self.within)
        ]
        for name in self.options.at:
            if name not in {each.fifo.source.actor for each in found}:
                known = ", ".join(each.fifo.source.actor for each in found) or "none"
                raise ValueError(f"--at {name}: no exit can be behind it; places are {known}")
        if not found:
            raise ValueError(nowhere(self.system.graph, "an exit"))
        if self.options.at:
            return [each for each in found if each.fifo.source.actor in self.options.at]
        return spread(found, self._behind, sum(self.costs.values()))

    def _behind(self, place: Place) -> float:
        """What a frame costs behind a place, on average of all that come by there."""
        share = self.watched.share(place.fifo.source.actor) or 1.0
        return sum(self.costs[name] * self.watched.share(name) for name in place.behind) / share

    def _quantization(self, ref: PortRef, behind: Sequence[str] = ()) -> Optional[Quantization]:
        """How elements of the tensor at a port of a slice stand for numbers.

        Where it is another actor's, they are those of the last slice ``behind`` whose output is of that type.
        """
        actor, port = self.system.graph.actor(ref.actor), self.ports[ref]
        slices = {a.name: a for a in self.system.graph.actors if a.is_slice}
        if ref.actor not in slices:
            others = [(name, each) for name in reversed(behind) if name in slices for each in slices[name].outputs]
            found = next((PortRef(name, each.name) for name, each in others if each.token == port.token), None)
            return None if found is None else self._quantization(found)
        interface = self.system.interfaces.get(ref.actor)
        told = interface.tensors.get(ref.port) if interface is not None else None
        tensor = port.tensor if port.tensor is not None else told
        if port.token.dtype == "float32" or actor is None or actor.behaviour is None or tensor is None:
            return None
        model = read_model(actor.behaviour.path)
        return model.format.quantization(model, tensor)

    # Frames

    def see(self, part: Data, progress: Progress) -> _Seen:
        """Run the whole application on pictures."""
        heads = [self._blank(place) for place in self.places]
        wanted_by = {place.fifo.source: number for number, place in enumerate(self.places)}
        values: list[dict[int, np.ndarray]] = [{} for _ in self.places]
        answers, wanted = list[int](), []

        def observe(firing: Firing) -> None:
            self.watched(firing)
            for ref, number in wanted_by.items():
                if ref.actor == firing.node and ref.port in firing.outputs:
                    values[number][len(answers)] = exits.values_of(firing.outputs[ref.port], heads[number])

        with SystemAnswers(alone(self.system), self.interpreter, fused=False, observe=observe) as whole:
            labelled = self.labelled and part.labelled
            self.measure = exits.ACCURACY if labelled else AGREEMENT
            for _, answer, right in self.watched.pass_by(whole, part, labelled, progress):
                answers.append(class_of(answer))
                wanted.append(right)
        there = [np.isin(np.arange(len(answers)), list(each)) for each in values]
        return _Seen([_stacked(each, len(answers)) for each in values], there, np.array(answers), np.array(wanted))

    def _blank(self, place: Place) -> Head:
        """The head of a place before it is fitted."""
        token = self.ports[place.fifo.source].token
        none = np.empty((0, 0), np.float32)
        return Head(
            pool_within(token.shape, _VALUES), none, none, self._quantization(place.fifo.source), self.quantized
        )

    # The plan

    def made(self, fit: _Seen, hold: _Seen, test: _Seen) -> Options:
        """The options with the exits that are best on ``hold``, and figures of ``test``."""
        heads = []
        for number, place in enumerate(self.places):
            known = fit.there[number]
            weights, biases = exits.fitted(fit.values[number][known], fit.wanted[known], self.classes)
            heads.append(replace(self._blank(place), weights=weights, biases=biases))
        frames, candidates = self._frames(hold), self._candidates(heads, hold)
        every = list(range(len(candidates)))
        most = self.options.exits
        taken = every if self.options.at else exits.chosen(frames, candidates, self.wish, most)
        found, outcome = exits.thresholds(frames, [candidates[each] for each in taken], self.wish)
        used = [place for place, threshold in zip(taken, found) if threshold < NEVER]
        if exits.lacks(self.wish, outcome) or not used:
            raise exits.unreachable(self.options.data, self.wish, outcome)
        limits = [threshold for threshold in found if threshold < NEVER]
        made = tuple(self._exit(self.places[each], heads[each], limit) for each, limit in zip(used, limits))
        tested = self._candidates(heads, test)
        judged = exits.outcome(self._frames(test), [tested[each] for each in used], limits)
        lines, figures = self._report(used, limits, made, judged, self._frames(test))
        return replace(self.options, made=made, lines=lines, figures=figures)

    def _frames(self, seen: _Seen) -> Frames:
        cost = sum(each * self.watched.share(name) for name, each in self.costs.items())
        return Frames(seen.answers, seen.wanted, cost, self._crossing(None))

    def _candidates(self, heads: Sequence[Head], seen: _Seen) -> list[Candidate]:
        found = []
        for place, head, values, there in zip(self.places, heads, seen.values, seen.there):
            scores = head.scores(values)
            # A head's time is not known; it is small.
            own = 0.0 if self.timed else float(head.macs)
            # What does not come by does not leave.
            sure = np.where(there, scores.max(axis=1), -1)
            found.append(Candidate(sure, scores.argmax(axis=1), self._behind(place), own, self._crossing(place)))
        return found

    def _crossing(self, place: Optional[Place]) -> float:
        """Bytes over links of a frame, or those that a frame saves that leaves at a place."""
        if place is None:
            return self.watched.crossing(control=False)
        homes, sent = self.system.homes, 0.0
        share = self.watched.share(place.fifo.source.actor) or 1.0
        for fifo in self.system.graph.fifos:
            inside = fifo is place.fifo or fifo.source.actor in place.behind
            if inside and self.system.crosses(fifo):
                sent += self.watched.sent(fifo) / share
        if homes.get(place.fifo.source.actor) != homes.get(place.late.target.actor):
            sent -= self.answer.nbytes
        return sent

    def _exit(self, place: Place, head: Head, threshold: float) -> Exit:
        token: TokenType = self.ports[place.fifo.source].token
        data = head_model(token, head.pool, head.weights, head.biases, self.answer, head.quantized, head.answer)
        answer = self.quantized or Quantization(1.0, 0)
        count = len(parse_model(data).operators)
        return Exit(place.fifo.name, data, count, threshold, answer.scale, answer.zero_point)

    def _report(
        self, used: Sequence[int], limits: Sequence[float], made: Sequence[Exit], judged: Outcome, frames: Frames
    ) -> tuple[tuple[str, ...], dict[str, Any]]:
        count = len(judged.right)
        what = "time" if self.timed else "MACs"
        lines, listed = [], []
        for number, (place, limit, each) in enumerate(zip(used, limits, made)):
            out = judged.leaves == number
            share = Share(int(judged.right[out].sum()), int(out.sum())) if out.any() else None
            name = self.places[place].fifo.source.actor
            known = f", {self.measure} {interval(share)}" if share else ""
            line = f"exit behind {name}: {100 * out.mean():.1f} % of {count} test pictures leave{known}"
            lines.append(f"{line}; threshold {limit:.4g}, head {len(each.data)} bytes")
            entry: dict[str, Any] = {"behind": name, "threshold": limit, "share": float(out.mean())}
            entry["head_bytes"] = len(each.data)
            listed.append({**entry, self.measure: figures_of(share)})
        right = Share(int(judged.right.sum()), count)
        whole = Share(int((frames.answers == frames.wanted).sum()), count)
        saved = 1 - judged.cost / frames.cost if frames.cost else 0.0
        beside = f" (without exits {whole.value:.4g})" if self.measure != AGREEMENT else " with the whole model"
        lines.append(
            f"all test pictures: {self.measure} {interval(right)}{beside}; {100 * saved:.1f} % of {what} saved"
        )
        if frames.nbytes:
            lines.append(f"over links: {judged.nbytes:.0f} bytes per frame instead of {frames.nbytes:.0f}")
        figures = {
            "exits": listed,
            "pictures": count,
            self.measure: figures_of(right),
            "saved": {what: saved},
            "bytes_per_frame": judged.nbytes,
            "bytes_without_exits": frames.nbytes,
        }
        if self.measure != AGREEMENT:
            figures["without_exits"] = figures_of(whole)
        return tuple(lines), figures


def _stacked(values: dict[int, np.ndarray], count: int) -> np.ndarray:
    """Values [frames, n], zeros for frames that have none."""
    width = len(next(iter(values.values()), np.empty(0)))
    found = np.zeros((count, width), np.float32)
    for frame, each in values.items():
        found[frame] = each
    return found


def _pools(port: Port) -> bool:
    """Whether a head can be made for a tensor."""
    shape = port.token.shape
    return port.token.dtype in DTYPES and not port.token.variable and len(shape) in (2, 4) and shape[0] == 1
