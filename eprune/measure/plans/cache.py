"""The cache of ``eprune apply cache``: where its keys are taken, and how near is near enough."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Optional

import numpy as np

from eprune.measure import reuse
from eprune.measure.answers import SystemAnswers, alone, class_of, on_disk, part_of
from eprune.measure.costs import costs, spread
from eprune.measure.data import CALIBRATION, TEST, Data, read_data
from eprune.measure.evaluate import ACCURACY, AGREEMENT, figures_of, interval
from eprune.measure.executor import Firing
from eprune.measure.probe import chosen_interpreter
from eprune.measure.progress import SILENT, Progress
from eprune.measure.reuse import Stream, Tried
from eprune.measure.watched import Watched
from eprune.model.finding import EpruneError, Finding, Location
from eprune.model.samples import Share
from eprune.model.system import System
from eprune.passes import cache
from eprune.passes._places import Place, nowhere, places
from eprune.passes.cache import Cache, Options
from eprune.passes.exits import ending_in_one

#: So many test pictures are timed.
_TIMED = 100


def planned(system: System, options: Options, progress: Progress = SILENT) -> Options:
    """The options with a calibrated cache, and what is known of it.

    Raises ValueError and EpruneError for what is unfit.
    """
    _check(options)
    data = read_data(options.data)
    parts = [_first(data.part(part), options.frames) for part in (CALIBRATION, TEST)]
    with on_disk(part_of(ending_in_one(system), options.at)) as stored:
        plan = _Plan(stored, options)
        known, test = (plan.see(part, progress) for part in parts)
        return plan.made(known, test, len({example.source for example in data}))


def _check(options: Options) -> None:
    """Raise ValueError for numbers that cannot be."""
    for name in ("false_hits", "audit", "share"):
        value = getattr(options, name)
        if not 0 <= value <= 1:
            raise ValueError(f"--{name.replace('_', '-')} {value:g}: expected a share, 0 to 1")
    for name in ("entries", "nearest", "values", "frames_under_way", "frames"):
        if getattr(options, name) < 1:
            raise ValueError(f"--{name.replace('_', '-')} is 1 or more")
    if options.lifetime < 0:
        raise ValueError("--lifetime is 0 or more")


def _first(part: Data, count: int) -> Data:
    """The first pictures: drawn at random, they would not follow one another."""
    return replace(part, examples=part.examples[:count])


@dataclass(frozen=True)
class _Seen:
    """Frames of a part in order: ``keys`` of each place, ``pixels``, keys of the input, and ``marks``, its hashes.

    ``answers`` are computed, ``wanted`` are the right classes; ``there`` says of each place which frames come by.
    """

    keys: list[list[Optional[np.ndarray]]]
    pixels: list[Optional[np.ndarray]]
    marks: list[bytes]
    answers: list[np.ndarray]
    wanted: np.ndarray

    there: list[np.ndarray]

    def stream(self, place: int) -> Stream:
        """The frames with the keys of a place."""
        return Stream(self.keys[place], self.answers)

    def by(self, place: int) -> _Seen:
        """The frames that come by at a place, which may be in a branch."""
        some = np.flatnonzero(self.there[place]).tolist()
        return _Seen(
            [[each[frame] for frame in some] for each in self.keys],
            [self.pixels[frame] for frame in some],
            [self.marks[frame] for frame in some],
            [self.answers[frame] for frame in some],
            self.wanted[some],
            [each[some] for each in self.there],
        )


class _Plan:
    def __init__(self, system: System, options: Options) -> None:
        self.system, self.options = system, options
        self.costs, self.timed = costs(system.graph)
        self.watched = Watched(system)
        self.places = self._places()
        self.measure = ACCURACY
        self.features: dict[int, np.ndarray] = {}
        self.first: list[np.ndarray] = []

    def _places(self) -> list[Place]:
        ports = dict(self.system.graph.ports())
        found = [
            each
            for each in places(self.system.graph)
            if not any(ports[fifo.source].token.variable for fifo in (each.fifo, each.late))
        ]
        known = ", ".join(each.fifo.source.actor for each in found) or "none"
        chosen = [each for each in found if self.options.at in ("", each.fifo.source.actor)]
        if not found:
            raise ValueError(nowhere(self.system.graph, "a cache"))
        if not chosen:
            raise ValueError(f"--at {self.options.at}: no cache can be behind it; places are {known}")
        if self.options.at:
            return chosen
        return spread(chosen, self._behind, self.total)

    @property
    def total(self) -> float:
        """What a frame costs, on average."""
        return sum(each * self.watched.share(name) for name, each in self.costs.items())

    def _behind(self, place: Place) -> float:
        """What of that is behind a place."""
        return sum(self.costs[name] * self.watched.share(name) for name in place.behind)

    # Frames

    def see(self, part: Data, progress: Progress) -> _Seen:
        """Run the whole application on pictures, in order."""
        key_of = reuse.library().key_of
        by = {place.fifo.source: number for number, place in enumerate(self.places)}
        keys: list[dict[int, Optional[np.ndarray]]] = [{} for _ in self.places]
        answers, pixels, marks, wanted = list[np.ndarray](), [], [], []

        def observe(firing: Firing) -> None:
            self.watched(firing)
            for ref, number in by.items():
                if ref.actor == firing.node and ref.port in firing.outputs:
                    keys[number][len(answers)] = key_of(firing.outputs[ref.port], self.options.values)
                    self.features.setdefault(number, np.array(firing.outputs[ref.port]))

        interpreter = chosen_interpreter("auto")[0]
        with SystemAnswers(alone(self.system), interpreter, fused=False, observe=observe) as whole:
            self.measure = ACCURACY if part.labelled else AGREEMENT
            for token, answer, right in self.watched.pass_by(whole, part, part.labelled, progress):
                if part.named == TEST and len(self.first) < _TIMED:
                    self.first.append(token)
                pixels.append(key_of(token, self.options.values))
                marks.append(hashlib.sha256(np.ascontiguousarray(token).tobytes()).digest())
                answers.append(answer)
                wanted.append(right)
        there = [np.isin(np.arange(len(answers)), list(each)) for each in keys]
        listed = [[each.get(frame) for frame in range(len(answers))] for each in keys]
        return _Seen(listed, pixels, marks, answers, np.array(wanted), there)

    # The plan

    def made(self, known: _Seen, test: _Seen, scenes: int) -> Options:
        """The options with the cache that saves most on the calibration part, and figures of the test part."""
        passing = [known.by(place) for place in range(len(self.places))]
        tries = [reuse.calibrated(each.stream(place), self.options) for place, each in enumerate(passing)]
        saved = [self._effort(place, each) for place, each in zip(self.places, tries)]
        best = int(np.argmax(saved))
        if not tries[best].hits.right:
            raise self._unreachable(len(passing[best].answers))
        known, test = passing[best], test.by(best)
        place, found = self.places[best], tries[best]
        options = replace(self.options, made=Cache(place.fifo.name, found.evidence, found.bound, self._digest(place)))
        judged = reuse.tried(test.stream(best), options, found)
        pixels = reuse.calibrated(Stream(known.pixels, known.answers), options)
        beside = {
            "exact": (reuse.exact(test.marks, test.answers, options), None),
            "pixels": _hits(reuse.tried(Stream(test.pixels, test.answers), options, pixels)),
        }
        cost = reuse.look_up_seconds(self.features[best], options)
        lines, figures = self._report(place, found, judged, test, options, beside, cost)
        more, figures["latency_ms"] = self._latency(options)
        lines = (*lines, more)
        if not self.options.at:
            known_places, listed = self._others(tries, saved)
            lines, figures = (*lines, known_places), {**figures, "places": listed}
        if scenes == len(known.answers) + len(test.answers):
            lines = (
                "note: each picture is a scene of its own: name the scenes (source), or those of the calibration and "
                "of the test are the same",
                *lines,
            )
        return replace(options, lines=lines, figures=figures)

    def _effort(self, place: Place, found: Tried) -> float:
        """What is saved, as a share of the work, and of the bytes."""
        sent = self._bytes(place)
        effort = found.reused * (self._behind(place) / self.total if self.total else 0.0)
        whole = self.watched.crossing()
        return effort + (1 - float(np.mean([sent[row] for row in found.rows])) / whole if whole else 0.0)

    def _bytes(self, place: Place) -> dict[int, float]:
        """Row -> bytes over links of a frame with a cache at a place, control tokens included.

        What is behind the cache sends what it did while there was none.
        """
        share = self.watched.share(place.fifo.source.actor) or 1.0
        tried = replace(self.options, made=Cache(place.fifo.name, ""))
        made = cache.apply(self.system, tried).system
        ports = dict(made.graph.ports())
        dpg = made.graph.dpgs[0]
        known = self.watched.ports
        found = {}
        for row in dpg.rows:
            rates = dpg.rates(row)
            sent = 0.0
            for fifo in made.graph.fifos:
                idle = row.value == reuse.library().HIT and fifo.source.actor in place.behind
                if idle or not made.crosses(fifo):
                    continue
                if fifo.source in known:
                    sent += self.watched.sent(fifo) / (share if fifo.source.actor in place.behind else 1)
                else:
                    sent += rates.get(fifo.source, 1) * ports[fifo.source].token.nbytes
            found[row.value] = sent
        return found

    def _digest(self, place: Place) -> str:
        """What identifies the models, what the key is made of, and what becomes of it, whatever actors are called."""
        graph = self.system.graph
        actors = [graph.actor(name) for name in (place.fifo.source.actor, *place.behind)]
        known = [(each.behaviour.label, each.parameters) for each in actors if each is not None and each.behaviour]
        made = hashlib.sha256(f"{place.fifo.source.port} {self.options.values} {known}".encode())
        paths = {
            a.behaviour.path for a in self.system.graph.actors if a.behaviour is not None and a.behaviour.operators
        }
        for path in sorted(paths, key=lambda path: Path(path).name):
            made.update(hashlib.sha256(Path(path).read_bytes()).digest())
        return made.hexdigest()[:16]

    def _unreachable(self, frames: int) -> EpruneError:
        wish = self.options.false_hits
        message = f"no distance is known within which at most {wish:g} of the hits are false: {frames} pictures"
        least = int(np.ceil(2.71 / wish * (1 - wish))) if wish else 0
        hint = "are the pictures in the order in which they are taken? wish for more false hits"
        if least:
            hint += f", or give more scenes: {least} in the calibration part, without a false hit, are the least"
        return EpruneError(Finding("FILE", Location(self.options.data), message, hint), exit_code=1)

    # The report

    def _report(
        self,
        place: Place,
        found: Tried,
        judged: Tried,
        test: _Seen,
        options: Options,
        beside: Mapping[str, tuple[Share, Optional[Share]]],
        seconds: float,
    ) -> tuple[tuple[str, ...], dict[str, Any]]:
        count = len(judged.rows)
        computed = np.array([class_of(answer) for answer in test.answers])
        right = Share(int((judged.classes == test.wanted).sum()), count)
        whole = Share(int((computed == test.wanted).sum()), count)
        saved = judged.reused * self._behind(place) / self.total if self.total else 0.0
        sent = self._bytes(place)
        nbytes, before = float(np.mean([sent[row] for row in judged.rows])), self.watched.crossing()
        name, what = place.fifo.source.actor, "time" if self.timed else "MACs"
        with_ = f" (without a cache {whole.value:.4g})" if self.measure == ACCURACY else " with the whole model"
        lines = [
            f"cache behind {name}: {_said(judged.hits, judged.false_hits)} of {count} test pictures; "
            f"bound {found.bound:.4g}, {judged.entries} answers kept",
            f"all test pictures: {self.measure} {interval(right)}{with_}; {100 * saved:.1f} % of {what} saved",
        ]
        if before:
            lines.append(f"over links: {nbytes:.0f} bytes per frame instead of {before:.0f}")
        lines += [
            f"beside: equal inputs are {_said(*beside['exact'])}, keys of pixels {_said(*beside['pixels'])}",
            f"a key and a look-up among {options.entries} answers take {1e3 * seconds:.2g} ms here",
        ]
        figures: dict[str, Any] = {
            "at": name,
            "bound": found.bound,
            "pictures": count,
            **_figures(judged.hits, judged.false_hits),
            self.measure: figures_of(right),
            "without_cache": figures_of(whole),
            "saved": {what: saved},
            "bytes_per_frame": nbytes,
            "bytes_without_cache": before,
            "entries": judged.entries,
            "look_up_seconds": seconds,
            "beside": {kind: _figures(*each) for kind, each in beside.items()},
        }
        return tuple(lines), figures

    def _latency(self, options: Options) -> tuple[str, dict[str, Optional[float]]]:
        """What frames take, with the cache and without one, by the schedule of the platform files."""
        made = cache.apply(self.system, options).system
        before = reuse.timed(self.system, self.first)
        after = reuse.timed(made, self.first, made.graph.dpgs[0].control)
        found = {
            "p50": after.milliseconds(0.5),
            "p99": after.milliseconds(0.99),
            "p50_without_cache": before.milliseconds(0.5),
            "p99_without_cache": before.milliseconds(0.99),
            "hit": after.milliseconds(0.5, True),
            "miss": after.milliseconds(0.5, False),
        }
        told = {name: "none" if each is None else f"{each:.3g} ms" for name, each in found.items()}
        line = (
            f"latency, predicted: half of {len(self.first)} frames take at most {told['p50']}, 99 % {told['p99']} "
            f"(without a cache {told['p50_without_cache']} and {told['p99_without_cache']}); "
            f"a hit {told['hit']}, a miss {told['miss']}"
        )
        return line, found

    def _others(self, tries: Sequence[Tried], saved: Sequence[float]) -> tuple[str, list[dict[str, Any]]]:
        """What the calibration found at each place, the shallowest first."""
        names = [place.fifo.source.actor for place in self.places]
        texts = [f"{name} {100 * each.hits.value:.1f} %" for name, each in zip(names, tries)]
        listed = [
            {"at": name, **_figures(*_hits(each)), "bound": each.bound, "effort_saved": effort}
            for name, each, effort in zip(names, tries, saved)
        ]
        return f"hits in the calibration by place: {', '.join(texts)}", listed


def _hits(found: Tried) -> tuple[Share, Optional[Share]]:
    return found.hits, found.false_hits


def _said(hits: Share, false: Optional[Share]) -> str:
    known = f", {interval(false)} of them false," if false is not None else ""
    return f"{100 * hits.value:.1f} % hits{known}"


def _figures(hits: Share, false: Optional[Share]) -> dict[str, Any]:
    return {"hits": figures_of(hits), "false_hits": figures_of(false)}
