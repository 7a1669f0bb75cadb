"""Detections as one token: what is packed, how alike two are, how sure one is, and the sink of a cascade."""

from __future__ import annotations

import json

import numpy as np
import pytest
from detection_exits import DetectionExits
from detections import Detections, agreement, certainty
from driver import fired, padded, prepared

from tests.kit.ports import port_type

PORTS = {"boxes": "float32[1,3,4]", "classes": "float32[1,3]", "scores": "float32[1,3]", "count": "float32[1]"}
LEFT, RIGHT = [0, 0, 0.5, 0.5], [0, 0.5, 0.5, 1]
ROWS = port_type("float32[4,6]")


def token(*rows):
    """Rows (box, score, class)."""
    return padded(np.array([[*box, score, kind] for box, score, kind in rows]).reshape(-1, 6), 4).astype(np.float32)


def test_rows_are_in_order_and_the_others_0():
    actor = prepared(Detections(), PORTS, {"out": "float32[4,6]"})
    given = {"boxes": [LEFT, RIGHT, LEFT], "classes": [1, 2, 3], "scores": [0.25, 0.75, 1]}
    found = fired(actor, **given, count=[2])["out"]
    np.testing.assert_array_equal(found, token((RIGHT, 0.75, 2), (LEFT, 0.25, 1)))


@pytest.mark.parametrize("change", [{"boxes": "float32[1,2,4]"}, {"scores": "float32[3,2]"}])
def test_ports_that_do_not_fit_are_refused(change):
    with pytest.raises(ValueError):
        prepared(Detections(), {**PORTS, **change}, {"out": "float32[4,6]"})
    with pytest.raises(ValueError, match=r"expected float32\[K,6\]"):
        prepared(Detections(), PORTS, {"out": "float32[4,5]"})


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([], [], 1),
        ([], [(LEFT, 0.3, 1)], 1),
        ([], [(LEFT, 0.5, 1)], 0),
        ([(LEFT, 0.5, 1)], [(LEFT, 0.9, 1)], 1),
        ([(LEFT, 0.5, 1)], [(LEFT, 0.9, 2)], 0),
        ([(LEFT, 0.5, 1)], [(RIGHT, 0.9, 1)], 0),
        ([(LEFT, 0.5, 1), (LEFT, 0.5, 1)], [(LEFT, 0.9, 1)], 2 / 3),
        ([(LEFT, 0.5, 1)], [(LEFT, 0.9, 1), (RIGHT, 0.5, 1), (RIGHT, 0.5, 2)], 1 / 2),
    ],
)
def test_how_alike_two_are(one, other, expected):
    assert agreement(token(*one), token(*other)) == pytest.approx(expected)
    assert agreement(token(*other), token(*one)) == pytest.approx(expected)


def test_how_sure_one_is():
    assert certainty(token()) == 1
    assert certainty(token((LEFT, 1, 0), (RIGHT, 1, 1))) == 1
    assert certainty(token((LEFT, 0.25, 0))) == 0, "there may be an object, and none is named"
    assert certainty(token((LEFT, 0.75, 0), (RIGHT, 0.25, 1))) == pytest.approx(1.5 / 2)


def test_the_sink_tells_objects_and_how_alike_audited_ones_are(tmp_path):
    sink = DetectionExits("car,bus", str(tmp_path / "lines"))
    sink.name, sink.inputs, sink.outputs = "sink", {"early": ROWS, "late": ROWS}, {}
    sink.initialize()
    sink.mode = 0
    sink.fire({"early": token((LEFT, 0.75, 1), (RIGHT, 0.25, 0))}, {})
    sink.mode = 2
    sink.fire({"late": token((LEFT, 0.75, 1), (RIGHT, 0.5, 0)), "early": token((LEFT, 0.75, 1))}, {})
    sink.finalize()
    first, second, last = map(json.loads, (tmp_path / "lines").read_text().splitlines())
    assert first == {"frame": 0, "exit": "early", "objects": [{"class": "bus", "score": 0.75, "box": LEFT}]}
    assert second["exit"] == "audit"
    assert second["agree"] == pytest.approx(2 / 3, abs=1e-6)
    assert len(second["objects"]) == 2
    assert last["audits"] == 1
    assert last["agreement"] == pytest.approx(2 / 3, abs=1e-6)
