import sys

import numpy as np
import pytest
from driver import fired, padded, prepared
from tracker import Track, Tracker

ROWS = 8
OUTPUTS = {"track_boxes": f"float32[{ROWS},4]", "track_classes": f"int32[{ROWS}]", "track_ids": f"int32[{ROWS}]"}
FOUND = {"boxes": f"float32[{ROWS},4]", "classes": f"int32[{ROWS}]", "scores": f"float32[{ROWS}]"}


@pytest.fixture
def tracker():
    return prepared(Tracker(), FOUND, OUTPUTS)


def vehicle(x, y=0.5, width=0.2, height=0.1):
    return [y - height / 2, x - width / 2, y + height / 2, x + width / 2]


def follow(tracker, boxes, classes=None, scores=None):
    """One frame; the tracks that are reported, identity -> (box, class)."""
    count = len(boxes)
    out = fired(
        tracker,
        boxes=padded(np.reshape(boxes, (-1, 4)), ROWS),
        classes=padded(classes or [0] * count, ROWS),
        scores=padded(scores or [0.9] * count, ROWS),
    )
    real = out["track_ids"] > 0
    assert not out["track_boxes"][~real].any()
    rows = zip(out["track_ids"][real], out["track_boxes"][real], out["track_classes"][real])
    return {int(identity): (box, int(kind)) for identity, box, kind in rows}


def test_a_moving_vehicle_keeps_its_number_and_its_box_is_where_it_is(tracker):
    for frame in range(30):
        told = follow(tracker, [vehicle(0.1 + 0.025 * frame)])
        assert list(told) == [1]
        assert told[1][0] == pytest.approx(vehicle(0.1 + 0.025 * frame), abs=0.02)


def test_two_that_cross_keep_their_numbers(tracker):
    # Opposite ways, one lane a little nearer; in the middle their boxes overlap almost wholly.
    for frame in range(41):
        step = 0.02 * frame
        told = follow(tracker, [vehicle(0.1 + step, 0.50), vehicle(0.9 - step, 0.53)])
        assert sorted(told) == [1, 2]
    assert told[1][0] == pytest.approx(vehicle(0.9, 0.50), abs=0.03)
    assert told[2][0] == pytest.approx(vehicle(0.1, 0.53), abs=0.03)


@pytest.mark.parametrize("hidden", [1, 5, 15])
def test_behind_an_obstacle_a_vehicle_is_not_reported_and_then_is_the_same(tracker, hidden):
    for frame in range(12):
        follow(tracker, [vehicle(0.1 + 0.02 * frame)])
    for _ in range(hidden):
        assert follow(tracker, []) == {}
    assert list(follow(tracker, [vehicle(0.1 + 0.02 * (12 + hidden))])) == [1]


def test_a_vehicle_that_comes_back_too_late_is_another_one(tracker):
    for _ in range(5):
        follow(tracker, [vehicle(0.5)])
    for _ in range(16):
        follow(tracker, [])
    for _ in range(3):
        told = follow(tracker, [vehicle(0.5)])
    assert list(told) == [2]


def test_a_box_seen_once_is_no_track(tracker):
    for _ in range(4):
        follow(tracker, [vehicle(0.2)])
    assert list(follow(tracker, [vehicle(0.2), vehicle(0.8)])) == [1]
    assert list(follow(tracker, [vehicle(0.2)])) == [1]


def test_a_new_vehicle_is_reported_when_it_was_seen_three_times(tracker):
    for _ in range(4):
        follow(tracker, [])
    told = [list(follow(tracker, [vehicle(0.3)])) for _ in range(4)]
    assert told == [[], [], [1], [1]]


def test_at_the_start_nobody_waits(tracker):
    assert list(follow(tracker, [vehicle(0.3), vehicle(0.7)])) == [1, 2]


def test_the_class_is_that_with_most_score(tracker):
    for kind, score in ((1, 0.9), (2, 0.5), (2, 0.45), (1, 0.6)):
        told = follow(tracker, [vehicle(0.3)], [kind], [score])
    assert told[1][1] == 1
    for _ in range(3):
        told = follow(tracker, [vehicle(0.3)], [2], [0.9])
    assert told[1][1] == 2


@pytest.mark.parametrize(("score", "told"), [(0.39, []), (0.41, [1])])
def test_what_scores_too_low_is_not_there(tracker, score, told):
    assert list(follow(tracker, [vehicle(0.3)], scores=[score])) == told


def test_of_more_tracks_than_rows_the_oldest_are_reported():
    rows = {"track_boxes": "float32[2,4]", "track_classes": "int32[2]", "track_ids": "int32[2]"}
    tracker = prepared(Tracker(), FOUND, rows)
    assert list(follow(tracker, [vehicle(x, width=0.1) for x in (0.1, 0.4, 0.7)])) == [1, 2]


def test_boxes_that_are_none_are_ignored(tracker):
    assert follow(tracker, [[0.5, 0.5, 0.4, 0.6], [0.5, 0.5, 0.5, 0.5]]) == {}


def test_it_takes_what_tflites_own_post_processing_gives():
    inputs = {"boxes": "float32[1,3,4]", "classes": "float32[1,3]", "scores": "float32[1,3]", "count": "float32[1]"}
    tracker = prepared(Tracker(), inputs, OUTPUTS)
    found = [vehicle(0.2), vehicle(0.7), vehicle(0.5)]
    out = fired(tracker, boxes=found, classes=[2.0, 1, 0], scores=[0.8, 0.7, 0.9], count=[2.0])
    assert out["track_ids"].tolist() == [1, 2, *[0] * (ROWS - 2)]
    assert out["track_classes"][:2].tolist() == [2, 1]


def test_the_filter_learns_speed_from_noisy_boxes():
    # Against the true path: noise of 2 pixels of 300 in the boxes, less in the track's.
    rng = np.random.default_rng(3)
    track = Track(1, np.array(vehicle(0.1)), 0, 0.9)
    wrong = []
    for frame in range(1, 41):
        noisy = np.array(vehicle(0.1 + 0.015 * frame)) + np.tile(rng.normal(0, 2 / 300, 2), 2)
        track.move()
        track.meet(noisy, 0, 0.9)
        wrong.append(np.abs(track.box - vehicle(0.1 + 0.015 * frame)).mean())
    assert np.mean(wrong[20:]) < 0.8 * 2 / 300 * np.sqrt(2 / np.pi)
    track.move()
    assert track.box == pytest.approx(vehicle(0.1 + 0.015 * 41), abs=0.01)


def test_a_track_that_shrinks_while_unseen_keeps_a_size():
    track = Track(1, np.array(vehicle(0.5)), 0, 0.9)
    for size in (0.9, 0.7, 0.5, 0.3):
        track.move()
        track.meet(np.array(vehicle(0.5, width=0.2 * size, height=0.1 * size)), 0, 0.9)
    for _ in range(50):
        track.move()
    assert np.isfinite(track.box).all()
    assert (track.box[2:] > track.box[:2]).all()


def test_without_scipy_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(ValueError, match=r"pip install eprune\[tracking\]"):
        Tracker()
