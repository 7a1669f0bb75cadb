"""Channels dealt by importance: every channel is somewhere, like ones are apart, and memory is what was asked for."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eprune.explore.importance import HIERARCHY, LINKAGES, PASS, Scored, Table, burden, deal, held, lost, normalized

pytest.importorskip("scipy")


def scored(points, nbytes=1000, first=0):
    return Scored(first, nbytes, np.asarray(points, float))


#: Few different values, so that there are duplicates.
VALUES = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0])
LAYERS = st.integers(1, 3).flatmap(
    lambda width: st.lists(st.lists(VALUES, min_size=width, max_size=width), min_size=1, max_size=14)
)
THRESHOLDS = st.sampled_from([0.0, 0.05, 0.1, 0.3, 0.6, 1.0, 9.0])


def test_the_papers_five_neurons():
    """Groups of 2, 2 and 1 over three devices: losing 1 or 3 loses nothing, losing 2 loses one of each pair."""
    layer = scored([[0.9], [0.88], [0.5], [0.48], [0.1]])
    groups = layer.groups(0.1)
    assert groups == ((0, 1), (2, 3), (4,))
    parts = deal(groups, 3)
    assert parts == ((0, 2, 4), (1, 3, 4), (0, 2, 4))
    alive = [set().union(*(part for d, part in enumerate(parts) if d != dead)) for dead in range(3)]
    assert [set(range(5)) - each for each in alive] == [set(), {1, 3}, set()]


def test_scores_are_normalised_by_layer():
    assert normalized(np.array([[1.0, 5.0], [3.0, 5.0], [2.0, 5.0]])).tolist() == [[0, 0], [1, 0], [0.5, 0]]


@given(points=LAYERS, threshold=THRESHOLDS, linkage=st.sampled_from(LINKAGES))
def test_groups_divide_the_channels_and_are_closer_than_the_threshold(points, threshold, linkage):
    layer = scored(points)
    groups = layer.groups(threshold, linkage)
    assert sorted(itertools.chain(*groups)) == list(range(len(points)))
    for group in groups:
        for one, other in itertools.combinations(group, 2):
            assert np.linalg.norm(layer.scores[one] - layer.scores[other]) < threshold
        assert layer.importance[group[0]] == max(layer.importance[list(group)])


@given(points=LAYERS, devices=st.integers(1, 5), linkage=st.sampled_from(LINKAGES))
def test_threshold_0_is_full_replication_exactly(points, devices, linkage):
    parts = deal(scored(points).groups(0.0, linkage), devices)
    assert parts == (tuple(range(len(points))),) * devices


@given(points=LAYERS, devices=st.integers(1, 5), linkage=st.sampled_from(LINKAGES), rotate=st.booleans())
def test_a_huge_threshold_makes_fewer_copies_than_devices(points, devices, linkage, rotate):
    groups = scored(points).groups(1e9, linkage)
    parts = deal(groups, devices, rotate)
    assert len(groups) == 1
    assert sum(map(len, parts)) - len(points) <= devices - 1


@given(points=LAYERS, devices=st.integers(1, 5), threshold=THRESHOLDS, rotate=st.booleans())
def test_every_channel_is_somewhere_and_all_devices_have_as_many(points, devices, threshold, rotate):
    groups = scored(points).groups(threshold)
    parts = deal(groups, devices, rotate)
    assert set().union(*parts) == set(range(len(points)))
    assert {len(part) for part in parts} == {held(groups, devices)}
    for group in groups:  # no device has more of a group than its share
        assert all(len(set(part) & set(group)) <= -(-len(group) // devices) for part in parts)


@given(points=LAYERS, devices=st.integers(1, 5), threshold=THRESHOLDS, failures=st.integers(1, 4), rotate=st.booleans())
def test_the_importance_that_is_lost_is_the_mean_over_all_failures(points, devices, threshold, failures, rotate):
    failures = min(failures, devices)
    layer = scored(points)
    groups = layer.groups(threshold)
    parts = deal(groups, devices, rotate)
    every = [burden(layer, parts, dead)[0] for dead in itertools.combinations(range(devices), failures)]
    assert lost(layer, groups, devices, failures) == pytest.approx(np.mean(every), abs=1e-9)


@settings(deadline=None)
@given(
    layers=st.lists(LAYERS, min_size=1, max_size=3),
    devices=st.integers(2, 4),
    linkage=st.sampled_from(LINKAGES),
    extra=st.floats(0, 1),
)
def test_memory_is_used_and_never_exceeded(layers, devices, linkage, extra):
    table = Table(tuple(scored(points, 1000 * n + 500, n) for n, points in enumerate(layers)), devices, 77, linkage)
    budget = table.floor + extra * (table.whole - table.floor)
    for found in (table.within(budget), table.layer_by_layer(budget)):
        parts = [deal(groups, devices) for groups in found.groups]
        stored = [
            77 + sum(s.weight_bytes * len(p[device]) / s.channels for s, p in zip(table.layers, parts))
            for device in range(devices)
        ]
        assert max(stored) <= budget + 1e-3
        assert stored == pytest.approx([found.device_bytes] * devices)
    assert table.within(table.whole).device_bytes == pytest.approx(table.whole), "all that is given is used"
    assert table.within(table.floor).device_bytes == pytest.approx(table.floor)
    with pytest.raises(ValueError, match=r"need at least|devices need"):
        table.within(table.floor - 1)


@settings(deadline=None)
@given(
    layers=st.lists(LAYERS, min_size=1, max_size=2),
    devices=st.integers(2, 4),
    rotate=st.booleans(),
    linkage=st.sampled_from(LINKAGES),
    extra=st.floats(0, 1),
    data=st.data(),
)
def test_memory_includes_predictions(layers, devices, rotate, linkage, extra, data):
    made = tuple(Scored(n, 40 * n + 150, np.asarray(points, float), (1, 2)) for n, points in enumerate(layers))
    recover = data.draw(st.integers(1, devices - 1))
    table = Table(made, devices, 77, linkage, recover, rotate)
    budget = table.floor + extra * (table.whole - table.floor)
    found = table.layer_by_layer(budget)
    stored = [77.0] * devices
    for layer, groups in zip(made, found.groups):
        parts = deal(groups, devices, rotate)
        for device in range(devices):
            others = [other for other in range(devices) if other != device]
            stored[device] += layer.weight_bytes * len(parts[device]) / layer.channels
            for count in range(1, recover + 1):
                for dead in itertools.combinations(others, count):
                    left = len(set().union(*(part for d, part in enumerate(parts) if d not in dead)))
                    gone = layer.channels - left
                    stored[device] += 2 * ((left + 1) * gone + (2 * left + 1) * 2 * gone)
    assert max(stored) == pytest.approx(found.device_bytes)
    assert max(stored) <= budget + 1e-3
    with pytest.raises(ValueError, match="and predictions for up to"):
        table.layer_by_layer(table.floor - 1)


@given(points=LAYERS, devices=st.integers(2, 4))
def test_with_the_hierarchy_memory_falls_as_the_threshold_rises(points, devices):
    layer = scored(points)
    counts = [held(layer.groups(threshold), devices) for threshold in layer.thresholds()]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == len(points)
    assert counts[-1] == -(-len(points) // devices)


def test_of_the_single_pass_memory_may_rise_with_the_threshold():
    """So it is scanned, not bisected."""
    random = np.random.default_rng(3)
    seen = set()
    for _ in range(200):
        layer = scored(random.random((9, 2)))
        counts = [held(layer.groups(threshold, PASS), 3) for threshold in layer.thresholds(PASS)]
        seen.add(counts == sorted(counts, reverse=True))
    assert seen == {True, False}


def test_rotating_evens_out_what_devices_are_worth():
    random = np.random.default_rng(1)
    layer = scored(random.random((64, 1)) ** 3)
    groups = layer.groups(0.05)
    plain, rotated = (burden(layer, deal(groups, 4, rotate)) for rotate in (False, True))
    assert max(rotated) - min(rotated) < max(plain) - min(plain)


def test_a_threshold_for_each_layer_loses_no_more():
    random = np.random.default_rng(2)
    layers = tuple(Scored(n, size, random.random((24, 2)) ** 2) for n, size in enumerate((100, 10_000)))
    table = Table(layers, 4)
    for share in (0.4, 0.5, 0.7):
        totals = [
            sum(lost(layer, groups, 4) for layer, groups in zip(layers, found.groups))
            for found in (table.within(share * table.whole), table.layer_by_layer(share * table.whole))
        ]
        assert totals[1] <= totals[0] + 1e-9
    assert table.linkage == HIERARCHY
