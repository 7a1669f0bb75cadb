"""A cache of answers: what is found, what is forgotten, and what the audits do to the bound."""

from __future__ import annotations

import time

import numpy as np
import pytest
from answer_cache import AUDIT, EDGES, HIT, MISS, AnswerCache, Bound, Reuse, key_of, shares, upper
from cache_answer import CacheAnswer
from cache_gate import CacheGate
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.actors.driver import fired, prepared

PORTS = ({"features": "float32[1,4]", "answer": "float32[1,3]"}, {"hit": "float32[1,3]", "deep": "float32[1,4]"})


def scores(label, value=1.0):
    """The answer of a class."""
    found = np.zeros((1, 3), np.float32)
    found[0, label] = value
    return found


def unit(values):
    values = np.float32(values)
    return values / np.linalg.norm(values)


class Plain:
    """The same by dictionaries and loops, in double precision."""

    def __init__(self, entries, nearest, share, lifetime):
        self.entries, self.nearest, self.share, self.lifetime = entries, nearest, share, lifetime
        self.kept, self.frame, self.touches, self.puts = {}, 0, 0, 0

    @staticmethod
    def rounded(key):
        return [round(float(value)) for value in np.float32(key) * np.float32(127 / np.abs(key).max())]

    def alive(self):
        return {
            slot: entry
            for slot, entry in self.kept.items()
            if not self.lifetime or self.frame - entry["born"] <= self.lifetime
        }

    def look_up(self, key):
        key = self.rounded(key)
        length = sum(value * value for value in key) ** -0.5
        found = []
        for slot, entry in self.alive().items():
            cosine = sum(a * b for a, b in zip(key, entry["key"])) * entry["scale"] * length
            if cosine >= 1 - EDGES[-1]:
                found.append((-cosine, -entry["number"], slot))
        some = sorted(found)[: self.nearest]
        labels = [self.kept[slot]["label"] for _, _, slot in some]
        if not labels:
            return None
        most = max(map(labels.count, labels))
        if most < self.share * len(labels):
            return None
        place = next(place for place, label in enumerate(labels) if labels.count(label) == most)
        return some[place][2], labels[place]

    def touch(self, slot):
        self.touches += 1
        self.kept[slot]["used"] = self.touches

    def put(self, key, label, instead=None):
        self.puts += 1
        slot = len(self.kept)
        if instead is not None:
            slot = instead
        elif slot == self.entries:
            oldest = min(self.kept, key=lambda slot: self.kept[slot]["born"])
            least = min(self.kept, key=lambda slot: self.kept[slot]["used"])
            slot = least if oldest in self.alive() else oldest
        key = self.rounded(key)
        scale = sum(value * value for value in key) ** -0.5
        self.kept[slot] = {"key": key, "scale": scale, "label": label, "born": self.frame, "number": self.puts}
        self.touch(slot)


@settings(max_examples=30, deadline=None)
@given(st.data(), st.integers(1, 6), st.integers(1, 4), st.sampled_from([0.3, 0.6, 1.0]), st.sampled_from([0, 5]))
def test_it_finds_and_forgets_what_a_dictionary_does(data, entries, nearest, share, lifetime):
    cache, plain = (
        AnswerCache(entries, nearest, share, lifetime, rounded=True),
        Plain(entries, nearest, share, lifetime),
    )
    numbers = st.lists(st.integers(-3, 3), min_size=3, max_size=3).filter(any)
    for _ in range(data.draw(st.integers(1, 30))):
        key = unit(data.draw(numbers))
        cache.tick()
        plain.frame += 1
        match, wanted = cache.look_up(key), plain.look_up(key)
        assert (match and (match.slot, match.label)) == wanted
        if match and data.draw(st.booleans()):
            cache.use(match)
            plain.touch(match.slot)
        if data.draw(st.booleans()):
            label, instead = data.draw(st.integers(0, 2)), data.draw(st.booleans())
            cache.put(key, scores(label), match if instead else None)
            plain.put(key, label, match.slot if instead and match else None)
        assert cache.count == len(plain.kept) <= entries


@pytest.mark.parametrize("rounded", [False, True])
def test_the_nearest_of_many_is_found(rounded):
    random = np.random.default_rng(1)
    keys = [unit(each) for each in random.normal(size=(100, 64))]
    cache = AnswerCache(100, nearest=1, rounded=rounded)
    for place, key in enumerate(keys):
        cache.put(key, np.int32([place]))
    for place, key in enumerate(keys):
        match = cache.look_up(unit(key + 0.02 * random.normal(size=64)))
        assert match is not None
        assert match.label == place == cache.use(match)[0]
        assert 0 < match.distance < 0.1


def test_a_look_up_among_ten_thousand_keys_is_cheap():
    random = np.random.default_rng(1)
    cache = AnswerCache(10_000)
    for key in random.normal(size=(10_000, 64)):
        cache.put(unit(key), scores(0))
    key = unit(random.normal(size=64))
    seconds = []
    for _ in range(20):
        begin = time.perf_counter()
        cache.look_up(key)
        seconds.append(time.perf_counter() - begin)
    assert min(seconds) < 0.01, "0.2 ms where nothing else runs"


def test_keys_do_not_depend_on_brightness_or_scale():
    random = np.random.default_rng(1)
    features = random.normal(size=(1, 7, 6, 5)).astype(np.float32)
    key = key_of(features, 32)
    assert key.shape == (2 * 2 * 5,)
    assert key @ key_of(3 * features + 5, 32) == pytest.approx(1, abs=1e-5)
    assert np.linalg.norm(key) == pytest.approx(1, abs=1e-6)
    # The mean over each part.
    parts = [features[0, a, b].mean(axis=(0, 1)) for a in (slice(3), slice(3, 7)) for b in (slice(3), slice(3, 6))]
    plain = np.concatenate(parts) - np.mean(parts)
    assert np.allclose(key, plain / np.linalg.norm(plain), atol=1e-5)
    assert key_of(features, 1).shape == (5,), "one number for each channel is the least"
    assert key_of(np.arange(10, dtype=np.uint8)[None], 4).shape == (4,)
    assert key_of(np.ones((1, 8), np.float32), 4) is None
    assert key_of(np.float32([[1, np.nan]]), 4) is None


def observed(bound, distance, count, false=False):
    """So many frames, each of a scene of its own."""
    for scene in range(count):
        bound.observe(distance, scene % 5, (scene + false) % 5)


def test_the_bound_is_the_largest_with_few_false_hits():
    bound = Bound(0.05)
    assert bound.distance < 0, "nothing is known, so nothing is reused"
    for distance in (0.01, 0.1):
        observed(bound, distance, 200)
    assert bound.distance == EDGES[-1], "beyond, nothing is known to be false"
    observed(bound, 0.3, 40, false=True)
    assert 0.1 <= bound.distance < 0.3
    assert upper(np.float64(0.05), np.float64(400)) > 0.05
    observed(bound, 0.1, 30, false=True)
    assert 0.01 <= bound.distance < 0.1
    again = Bound(0.05, bound.evidence)
    assert again.distance == bound.distance
    observed(bound, 0.01, 100, false=True)
    assert bound.distance < 0
    observed(bound, 0.01, 4000)
    assert bound.distance >= 0.01, "what was long ago fades"
    bound.observe(1.5, 0, 1)  # no neighbour
    for text in ("1", "1:2:1", "a:1:1", ",".join(["1:0:1"] * 25)):
        with pytest.raises(ValueError, match="evidence"):
            Bound(0.05, text)


def test_a_scene_is_one_observation_however_long_it_is():
    bound = Bound(0.1)
    for _ in range(1000):
        bound.observe(0.01, 1, 1)
    assert bound.distance < 0, "one scene proves nothing"
    for scene in range(60):
        for distance in (0.2, 0.02, 0.1):
            bound.observe(distance, scene % 5, scene % 5)
    assert bound.distance == EDGES[-1]
    assert bound.seen[2].sum() == pytest.approx(61, abs=1)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.05, 0.3]), st.integers(1, 5))
def test_with_many_audits_false_hits_stay_below_the_wish(seed, flaw, under_way):
    """A stream of clusters, of which those far from their centres are named wrongly."""
    random = np.random.default_rng(seed)
    centres = [unit(each) for each in random.normal(size=(4, 16))]
    reuse = Reuse(AnswerCache(100), Bound(0.1), under_way, audit=0.3)
    answers, rows, wrong = [scores(0)] * under_way, [], 0
    for frame in range(500):
        cluster = frame // 5 % 4
        spread = random.choice([0.01, 0.1])
        key = unit(centres[cluster] + spread * random.normal(size=16))
        true = int(random.integers(3)) if spread > 0.05 and random.random() < flaw else cluster % 3
        reuse.returned(answers[-under_way])
        row = reuse.decide(key)
        rows.append(row)
        if row != MISS and frame >= 250:
            wrong += reuse.match.label != true
        answers.append(reuse.reused if row == HIT else scores(true))
    late = sum(row != MISS for row in rows[250:])
    assert wrong <= 0.1 * late + 3 * (0.1 * late) ** 0.5 + 1
    if not flaw:
        assert late > 50
    figures = shares(reuse)
    assert figures["hits"] == sum(row != MISS for row in rows)
    assert abs(figures["audits"] - 0.3 * figures["hits"]) <= 2 + under_way


def gate(**parameters):
    evidence = ",".join(["200:0:200"] * 20 + ["200:100:200"] * 4)
    given_ = {"evidence": evidence, "under_way": "2", "audit": "0", **parameters}
    return prepared(CacheGate(**given_), *PORTS)


def step(actor, features, answer):
    actor.mode = actor.control({"features": np.float32([features]), "answer": answer})
    return actor.mode


def test_a_gate_reuses_what_has_come_back():
    actor = gate()
    assert step(actor, [1, 2, 3, 9], scores(2)) == MISS, "initial tokens say nothing"
    assert step(actor, [1, 2, 3, 9], scores(2)) == MISS
    assert step(actor, [1, 2, 3, 9], scores(1, 0.25)) == HIT
    outputs = fired(actor, features=[[1, 2, 3, 9]], answer=scores(0))
    assert outputs["hit"].tolist() == scores(1, 0.25).tolist()
    assert step(actor, [9, 3, 2, 1], scores(1)) == MISS
    assert actor.figures["hits"] == 1
    assert actor.figures["entries"] == 2
    assert step(actor, [4, 4, 4, 4], scores(1)) == MISS, "no direction, no key"


def test_audits_are_counted_and_false_ones_replaced():
    actor = gate(audit="1", false_hits="0.05")
    notes = []
    actor.tell = notes.append
    answer = scores(0)
    for _ in range(4):
        step(actor, [1, 2, 3, 9], answer)
    assert actor.mode == AUDIT
    for _ in range(20):
        step(actor, [1, 2, 3, 9], scores(1))
    assert actor.reuse.cache.look_up(unit([-2.75, -1.75, -0.75, 5.25])).label == 1
    # The first entry misleads until the first audit is back, and the second one no more.
    assert actor.figures["audits"] > actor.figures["false_hits"] >= 2
    assert actor.reuse.reused is None or actor.reuse.reused.argmax() == 1
    assert len(notes) == 1
    assert "are false" in notes[0]


def test_answers_outlive_a_run_but_not_their_model(tmp_path):
    path = str(tmp_path / "answers.npz")
    actor = gate(path=path, model="one", entries="2")
    for features in ([1, 2, 3, 9], [9, 1, 2, 3], [5, 0, 1, 9], [1, 1, 1, 1]):
        step(actor, features, scores(1))
    actor.finalize()
    assert [each.name for each in tmp_path.iterdir()] == ["answers.npz"]
    assert step(gate(path=path, model="one"), [9, 1, 2, 3], scores(0)) == HIT
    assert step(gate(path=path, model="two"), [9, 1, 2, 3], scores(0)) == MISS
    assert step(gate(path=path, model="one", keys="int8"), [9, 1, 2, 3], scores(0)) == MISS
    assert step(gate(path=path, model="one", lifetime="1"), [9, 1, 2, 3], scores(0)) == MISS
    (tmp_path / "answers.npz").write_bytes(b"no")
    with pytest.raises(ValueError, match="holds no answers"):
        gate(path=path, model="one")


def test_caches_of_one_name_have_their_answers_in_common_and_others_do_not():
    one, other, alone = gate(shared="road"), gate(shared="road"), gate()
    for _ in range(3):
        step(one, [1, 2, 3, 9], scores(1))
    assert step(other, [1, 2, 3, 9], scores(0)) == HIT
    assert other.reuse.reused.argmax() == 1
    assert step(alone, [1, 2, 3, 9], scores(0)) == MISS
    # What the other one does is its own: audits, and the bound.
    assert (one.reuse.hits, other.reuse.hits) == (1, 1)
    with pytest.raises(ValueError, match="another model, place or size"):
        gate(shared="road", model="of another kind")
    with pytest.raises(ValueError, match="one of them"):
        gate(shared="street", path="answers.npz")


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"entries": "0"}, "1 or more"),
        ({"under_way": "0"}, "1 or more"),
        ({"share": "2"}, "from 0 to 1"),
        ({"keys": "int4"}, "float32 or int8"),
        ({"false_hits": "x"}, "number"),
    ],
)
def test_parameters_are_checked(parameters, words):
    with pytest.raises(ValueError, match=words):
        gate(**parameters)


def test_ports_are_checked_and_the_computed_answer_counts():
    with pytest.raises(ValueError, match="deep"):
        prepared(CacheGate(), {**PORTS[0], "features": "float32[1,5]"}, PORTS[1])
    with pytest.raises(ValueError, match="inputs"):
        prepared(CacheGate(), {}, PORTS[1])
    answers = {"hit": "float32[1,3]", "late": "float32[1,3]"}
    actor = prepared(CacheAnswer(), answers, {"out": "float32[1,3]", "back": "float32[1,3]"})
    outputs = fired(actor, hit=scores(0), late=scores(1))
    assert outputs["out"].tolist() == outputs["back"].tolist() == scores(1).tolist()
    rooms = {"out": np.empty((1, 3), np.float32)}
    actor.fire({"hit": scores(2)}, rooms)
    assert rooms["out"].tolist() == scores(2).tolist()
    with pytest.raises(ValueError, match="needs the inputs"):
        prepared(CacheAnswer(), {"hit": "float32[1,3]"}, {"out": "float32[1,3]"})
