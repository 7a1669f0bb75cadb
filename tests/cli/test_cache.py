"""`eprune apply cache`: frames that are much like earlier ones are not computed again."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from eprune.analysis.check import check
from eprune.face import load
from eprune.formats.system import write_system
from eprune.measure.answers import SystemAnswers, alone, class_of, on_disk
from eprune.measure.data import read_data
from eprune.measure.evaluate import evaluate
from eprune.measure.reuse import library
from eprune.model.finding import errors
from eprune.passes import cache
from eprune.passes._places import places
from eprune.passes.cache import Cache, Options, Side
from scripts.vehicle_stream import save, stream
from tests.kit import pages
from tests.kit.composed import CERTAIN
from tests.kit.programs import ROOT

VEHICLE = str(ROOT / "graphs/vehicle.xml")
PLATFORMS = [str(ROOT / f"graphs/{name}.xml") for name in ("endpoint", "server")]
MAPPINGS = str(ROOT / "mappings/vehicle_split")
SPLIT = ("-p", *PLATFORMS, "-m", MAPPINGS)
CACHED = ("cached/application.xml", "-p", "cached/platforms", "-m", "cached/mappings", "--allow-outside")
HIT, MISS, AUDIT = 0, 1, 2


@pytest.fixture(scope="module")
def vehicles(tmp_path_factory):
    """Scenes of vehicles that hardly move, of four frames each."""
    path = tmp_path_factory.mktemp("data") / "vehicles.npz"
    save(str(path), scenes=70, speed=0.3, length=4, seed=2001)
    return str(path)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(options, homes=None):
    system = homes or load(VEHICLE, PLATFORMS, MAPPINGS)
    fifo = next(each for each in places(system.graph) if each.fifo.source.actor == options.at).fifo.name
    return cache.apply(system, replace(options, made=Cache(fifo, CERTAIN))).system


def told(eprune, data, *more):
    done = eprune("apply", "cache", VEHICLE, *SPLIT, "--data", data, *more, "-o", "made", "--format", "json")
    assert done.code == 0, done.err
    return json.loads(done.out)


class Plain:
    """The same decisions in plain Python: keys of a whole token, one neighbour, a bound that stays."""

    def __init__(self, under_way, bound):
        self.under_way, self.bound = under_way, bound
        self.kept, self.sent = [], []

    @staticmethod
    def key(features):
        grid = np.array(
            [[features[0, a : a + 24, b : b + 24].mean(axis=(0, 1)) for b in (0, 24)] for a in (0, 24)]
        ).reshape(-1)
        grid = grid - grid.mean()
        return grid / np.linalg.norm(grid)

    def __call__(self, features, computed):
        if len(self.sent) >= self.under_way:
            row, key, answer = self.sent[-self.under_way]
            if row == MISS:
                self.kept.append((key, answer))
        key = self.key(features.astype(np.float64))
        near = [(1 - float(key @ other), -place) for place, (other, _) in enumerate(self.kept)]
        row, answer = MISS, computed
        if near and min(near)[0] <= self.bound:
            row, answer = HIT, self.kept[-min(near)[1]][1]
        self.sent.append((row, key, answer))
        return row, answer


def test_it_decides_and_answers_as_plain_python_does(folder, eprune):
    """Two processes, a stream of scenes, and each answer bit by bit."""
    options = Options("", "L1", nearest=1, audit=0.0, values=128, frames_under_way=2)
    system = made(options)
    assert errors(check(system)) == []
    write_system(system, "cached")
    shutil.copy(ROOT / "graphs/vehicle.tflite", "cached")
    frames, _, _ = stream(8, 0.3, 5, 3)
    tokens = (frames[:, None].astype(np.float32)) / np.float32(255)
    np.save("tokens.npy", tokens)
    done = eprune("run", *CACHED, "--set", "Input.path=tokens.npy", "--set", "Sink.path=lines.jsonl")
    assert done.code == 0, done.err
    lines = [json.loads(line) for line in (folder / "lines.jsonl").read_text().splitlines()]
    plain, wanted, seen = Plain(2, library().Bound(0.05, CERTAIN).distance), [], {}
    whole = load(VEHICLE)
    with SystemAnswers(alone(whole), fused=False, observe=lambda f: seen.update({f.node: dict(f.outputs)})) as answers:
        for token in tokens:
            computed = np.array(answers.frame(token).answer)
            wanted.append(plain(np.array(seen["L1"]["out"]), computed))
    rows = [row for row, _ in wanted]
    assert 0.2 < np.mean([row == HIT for row in rows]) < 1
    assert len(lines) == len(wanted)
    for line, (_, answer) in zip(lines, wanted):
        assert line["score"] == pytest.approx(float(answer.max()), abs=1e-6)
    with on_disk(system) as stored, SystemAnswers(stored) as answers:
        modes = []
        for token, (_, answer) in zip(tokens, wanted):
            frame = answers.frame(token, watch=lambda f: modes.append(f.mode) if f.chose else None)
            assert frame.answer.tobytes() == answer.tobytes()
        assert modes == rows


@pytest.mark.parametrize("on", list(Side))
def test_a_hit_computes_nothing_and_sends_as_little_as_its_place_allows(on):
    options = Options("", "L2", on=on, audit=0.0, frames_under_way=1)
    system = made(options)
    assert errors(check(system)) == []
    homes = system.homes
    assert homes["Cache"] == ("endpoint" if on is Side.ENDPOINT else "server")
    token = np.random.default_rng(1).random((1, 96, 96, 3)).astype(np.float32)
    with SystemAnswers(system) as answers:
        fired = []
        first, _, third = (
            answers.frame(token, watch=lambda f: fired.append((f.node, f.mode))).nbytes for _ in range(3)
        )
    large = max(port.token.nbytes for _, port in system.graph.ports() if port.token.shape == (1, 24, 24, 32))
    assert sum(first.values()) >= large
    assert (sum(third.values()) < 200) == (on is Side.ENDPOINT)
    assert ("Cache", HIT) in fired


@pytest.mark.long
def test_what_is_evaluated_is_what_was_foretold(folder, eprune, vehicles):
    figures = told(eprune, vehicles, "--false-hits", "0.3", "--frames-under-way", "1", "--audit", "0.05")
    assert figures["hits"]["value"] > 0.2
    assert figures["bytes_per_frame"] < figures["bytes_without_cache"]
    assert {each["at"] for each in figures["places"]} == {"L1", "L2"}
    assert figures["beside"]["exact"]["hits"]["value"] == 0
    system = load("made/application.xml", "made/platforms", "made/mappings", allow_outside=True)
    assert errors(check(system)) == []
    found = evaluate(system, read_data(vehicles))
    assert found.share.of == figures["pictures"]
    assert found.share.value == pytest.approx(figures["accuracy"]["value"])
    assert sum(found.bytes_per_frame.values()) == pytest.approx(figures["bytes_per_frame"])


def test_a_cache_can_be_in_front_of_another_one():
    """Two levels: what misses on the endpoint is looked up on the server."""
    inner = made(Options("", "L2", on=Side.SERVER, audit=0.0, frames_under_way=2))
    both = made(Options("", "L1", audit=0.5, frames_under_way=2), inner)
    assert errors(check(both)) == []
    assert [dpg.inside for dpg in both.graph.dpgs] == ["", both.graph.dpgs[0].name]
    random = np.random.default_rng(1)
    tokens = [random.random((1, 96, 96, 3)).astype(np.float32) for _ in range(3)]
    rows = {"Cache": [], "Cache_": []}
    with SystemAnswers(both, fused=False) as answers, SystemAnswers(alone(load(VEHICLE))) as whole:
        for frame in range(12):
            got = answers.frame(tokens[frame % 3], watch=lambda f: rows[f.node].append(f.mode) if f.chose else None)
            assert class_of(got.answer) == class_of(whole.frame(tokens[frame % 3]).answer)
    assert rows["Cache_"].count(HIT) + rows["Cache_"].count(AUDIT) >= 6
    assert len(rows["Cache"]) == 12 - rows["Cache_"].count(HIT)


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (("--false-hits", "2"), 2, "expected a share"),
        (("--false-hits", "0.0001"), 1, "are the least"),
        (("--audit", "-1"), 2, "expected a share"),
        (("--entries", "0"), 2, "1 or more"),
        (("--lifetime", "-1"), 2, "0 or more"),
        (("--at", "Input"), 2, "no cache can be behind it; places are"),
        (("--data", "none.npz"), 2, "is no file"),
    ],
)
def test_what_cannot_be_is_said_in_one_message(folder, eprune, more, code, words):
    np.savez("few.npz", x=np.zeros((4, 96, 96, 3), np.uint8) + np.arange(4, dtype=np.uint8)[:, None, None, None])
    done = eprune("apply", "cache", VEHICLE, "--data", "few.npz", *more, "-o", "made")
    assert (done.code, "Traceback" in done.err) == (code, False), done.err
    assert words in done.err
    assert not (folder / "made").exists()


def test_where_two_tensors_lead_on_there_is_no_place(folder, eprune, vehicles):
    done = eprune("apply", "cache", str(ROOT / "graphs/vehicle_dual.xml"), "--data", vehicles, "-o", "made")
    assert done.code == 2
    assert "no place for a cache" in done.err


@pytest.mark.long
def test_the_session_of_the_page_is_real(tmp_path, vehicles):
    for name in ("graphs", "mappings", "actors"):
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copy(vehicles, tmp_path / "vehicles.npz")
    assert pages.differing(ROOT / "docs/how-to/cache.md", tmp_path) == (2, [])
