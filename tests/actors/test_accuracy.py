"""How often a classifier is right, told once, at the end."""

from __future__ import annotations

import json

import numpy as np
import pytest
from accuracy import Accuracy

from tests.kit.ports import port_type

SCORES, WANTED = port_type("float32[1,4]"), port_type("int32[1]")


def made(**ports):
    sink = Accuracy()
    sink.inputs = ports
    sink.initialize()
    return sink


def test_the_share_of_frames_whose_best_score_is_that_of_the_class_that_is_wanted(capsys):
    sink = made(scores=SCORES, wanted=WANTED)
    for best, wanted in [(0, 0), (1, 2), (3, 3)]:
        sink.fire({"scores": np.eye(4, dtype=np.float32)[[best]], "wanted": np.int32([wanted])}, {})
    assert capsys.readouterr().out == ""
    sink.finalize()
    assert json.loads(capsys.readouterr().out) == {"frames": 3, "accuracy": 0.666667}


def test_of_no_frames_there_is_no_accuracy(capsys):
    made(scores=SCORES, wanted=WANTED).finalize()
    assert json.loads(capsys.readouterr().out) == {"frames": 0, "accuracy": None}


@pytest.mark.parametrize(
    ("ports", "message"),
    [
        ({"scores": SCORES}, "needs the inputs 'scores' and 'wanted'"),
        ({"scores": SCORES._replace(rate=2), "wanted": WANTED}, "at rate 1"),
        ({"scores": SCORES, "wanted": port_type("int32")}, "port 'wanted': the number of a class is"),
    ],
)
def test_other_ports_are_refused(ports, message):
    with pytest.raises(ValueError, match=message):
        made(**ports)
