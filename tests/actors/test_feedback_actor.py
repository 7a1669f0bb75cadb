"""Feedback hands results on unchanged, to as many as there are, for as many frames as asked."""

import numpy as np
import pytest
from driver import fired, prepared
from feedback import Feedback

from eprune.runtime import EndOfStream


def test_each_output_gets_a_copy_of_its_input():
    actor = prepared(
        Feedback(),
        {"result1": "float32[1,3]", "result2": "uint8[2]"},
        {"result1_1": "float32[1,3]", "result2_1": "uint8[2]", "result2_2": "uint8[2]", "go": "uint8[1]"},
    )
    told = fired(actor, result1=[1, 2, 3], result2=[4, 5])
    assert {name: value.ravel().tolist() for name, value in told.items()} == {
        "result1_1": [1, 2, 3],
        "result2_1": [4, 5],
        "result2_2": [4, 5],
        "go": [0],
    }


def test_several_tokens_a_firing():
    actor = Feedback()
    actor.inputs, actor.outputs = {"result1": None}, {"result1_1": None}
    actor.initialize()
    given, out = [np.array([1]), np.array([2])], [np.zeros(1), np.zeros(1)]
    actor.fire({"result1": given}, {"result1_1": out})
    assert [token[0] for token in out] == [1, 2]


def test_it_ends_after_so_many_frames():
    actor = prepared(Feedback("2"), {"result1": "uint8[1]"}, {})
    for _ in range(2):
        fired(actor, result1=[0])
    with pytest.raises(EndOfStream):
        fired(actor, result1=[0])


def test_a_wrong_number_is_refused():
    with pytest.raises(ValueError, match="frames='many'"):
        Feedback("many")
