import numpy as np
import pytest
from driver import fired, prepared
from nms import NonMaximumSuppression

KEPT = {"kept_boxes": "float32[4,4]", "kept_classes": "int32[4]", "kept_scores": "float32[4]"}


def suppression(count, classes=3, kept=KEPT, **parameters):
    inputs = {"boxes": f"float32[{count},4]", "scores": f"float32[{count},{classes}]"}
    return prepared(NonMaximumSuppression(**parameters), inputs, kept)


def area_shared(a, b):
    inside = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    return inside / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inside)


def by_hand(boxes, scores, least, limit):
    """One box after the other, compared with each kept one: slow and obvious."""
    kept = []
    for index in sorted(range(len(boxes)), key=lambda i: -scores[i].max()):
        if scores[index].max() >= least and all(area_shared(boxes[index], boxes[k]) <= limit for k in kept):
            kept.append(index)
    return kept


@pytest.mark.parametrize("seed", range(20))
def test_it_keeps_what_comparing_one_by_one_keeps(seed):
    rng = np.random.default_rng(seed)
    corners = rng.random((120, 2), np.float32) * 0.6
    boxes = np.concatenate([corners, corners + 0.05 + 0.3 * rng.random((120, 2), np.float32)], 1)
    scores = rng.random((120, 3), np.float32) ** 2
    kept = {"kept_boxes": "float32[120,4]", "kept_classes": "int32[120]", "kept_scores": "float32[120]"}
    out = fired(suppression(120, kept=kept, score="0.4", overlap="0.3"), boxes=boxes, scores=scores)
    expected = by_hand(boxes, scores, 0.4, 0.3)
    assert 5 < len(expected) < 100
    assert np.array_equal(out["kept_boxes"][: len(expected)], boxes[expected])
    assert np.array_equal(out["kept_classes"][: len(expected)], scores[expected].argmax(1))
    assert np.array_equal(out["kept_scores"][: len(expected)], scores[expected].max(1))
    assert all(not values[len(expected) :].any() for values in out.values())


def test_of_more_than_there_is_room_for_the_best_are_kept():
    boxes = [[0, x / 10, 0.1, x / 10 + 0.08] for x in range(6)]
    scores = [[0.9, 0, 0], [0.5, 0, 0], [0, 0.8, 0], [0.4, 0, 0], [0, 0, 0.7], [0.6, 0, 0]]
    out = fired(suppression(6), boxes=boxes, scores=scores)
    assert out["kept_scores"].tolist() == pytest.approx([0.9, 0.8, 0.7, 0.6])
    assert out["kept_classes"].tolist() == [0, 1, 2, 0]


def test_what_has_no_room_is_said_once_at_the_end():
    corners = np.array([[0.1 * index, 0.1 * index] for index in range(6)], np.float32)
    boxes, scores = np.concatenate([corners, corners + 0.05], 1), np.full((6, 3), 0.9, np.float32)
    actor, said = suppression(6), []
    actor.tell = said.append
    for _ in range(3):
        fired(actor, boxes=boxes, scores=scores)
    actor.finalize()
    assert said == ["3 frames had more objects than the 4 rows of the output; the best are there"]


def test_one_vehicle_is_one_box_whatever_its_class():
    out = fired(suppression(2), boxes=[[0, 0, 0.5, 0.5]] * 2, scores=[[0.7, 0.6, 0], [0, 0.8, 0]])
    assert out["kept_scores"].tolist() == pytest.approx([0.8, 0, 0, 0])
    assert out["kept_classes"].tolist() == [1, 0, 0, 0]


def test_boxes_are_cut_to_the_picture():
    out = fired(suppression(1), boxes=[[-0.2, 0.5, 0.4, 1.7]], scores=[[0.9, 0, 0]])
    assert out["kept_boxes"][0].tolist() == pytest.approx([0, 0.5, 0.4, 1])


def test_nothing_found_is_all_zeros():
    out = fired(suppression(3), boxes=np.zeros((3, 4)), scores=np.zeros((3, 3)))
    assert not any(values.any() for values in out.values())


@pytest.mark.parametrize(("name", "value"), [("score", "1.5"), ("overlap", "-1"), ("score", "high"), ("score", "nan")])
def test_bad_parameters_are_named(name, value):
    with pytest.raises(ValueError, match=f"{name}='{value}': expected a number"):
        NonMaximumSuppression(**{name: value})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kept_scores": "float32[5]"}, "do not fit together"),
        ({"kept_boxes": "float32[4,5]"}, "do not fit together"),
        ({"kept_scores": "float32[4,4,4]"}, "'kept_scores': expected 1 dimensions"),
        ({"more": "float32[4]"}, "expected the ports kept_boxes, kept_classes, kept_scores, not"),
    ],
)
def test_ports_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        suppression(2, kept={**KEPT, **changes})
