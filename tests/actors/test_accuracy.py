"""How often a classifier is right, told once, at the end."""

from __future__ import annotations

import json

import numpy as np
import pytest
from accuracy import Accuracy

from tests.kit.ports import port_type

SCORES, CLASS = port_type("float32[1,4]"), port_type("int32")


def made(**ports):
    sink = Accuracy()
    sink.inputs = ports
    sink.initialize()
    return sink


def test_the_share_of_frames_whose_best_score_is_the_true_class(capsys):
    sink = made(scores=SCORES, **{"class": CLASS})
    for best, true in [(0, 0), (1, 2), (3, 3)]:
        sink.fire({"scores": np.eye(4, dtype=np.float32)[[best]], "class": np.array(true, np.int32)}, {})
    assert capsys.readouterr().out == ""
    sink.finalize()
    assert json.loads(capsys.readouterr().out) == {"frames": 3, "accuracy": 0.666667}


def test_of_no_frames_there_is_no_accuracy(capsys):
    made(scores=SCORES, **{"class": CLASS}).finalize()
    assert json.loads(capsys.readouterr().out) == {"frames": 0, "accuracy": None}


@pytest.mark.parametrize(
    ("ports", "message"),
    [
        ({"scores": SCORES}, "needs the inputs 'scores' and 'class'"),
        ({"scores": SCORES._replace(rate=2), "class": CLASS}, "at rate 1"),
        ({"scores": SCORES, "class": port_type("float32")}, "port 'class': a class is"),
    ],
)
def test_other_ports_are_refused(ports, message):
    with pytest.raises(ValueError, match=message):
        made(**ports)
