"""The library's ends of branches: what a control token chooses goes in by Switch and out by Merge."""

from __future__ import annotations

import numpy as np
import pytest
from merge import Merge
from schedule import Schedule
from switch import Switch

from eprune.runtime import EndOfStream
from tests.kit.ports import port_type

TOKEN = port_type("float32[2]")
ONE, TWO = np.float32([1, 2]), np.float32([3, 4])


def made(actor, inputs, outputs, **types):
    actor.name = "actor"
    actor.inputs, actor.outputs = (
        {name: types.get(name, TOKEN) for name in names.split()} for names in (inputs, outputs)
    )
    actor.initialize()
    return actor


def test_switch_copies_its_input_to_what_is_active():
    switch = made(Switch(), "in", "left right")
    rooms = {port: np.full(2, 77, np.float32) for port in ("left", "right")}
    switch.fire({"in": ONE}, {"right": rooms["right"]})
    assert [list(room) for room in rooms.values()] == [[77, 77], [1, 2]]
    switch.fire({"in": TWO}, rooms)
    assert [list(room) for room in rooms.values()] == [[3, 4], [3, 4]]


@pytest.mark.parametrize(
    ("default", "active", "wanted"),
    [
        ("", {}, [0, 0]),
        ("", {"deep": ONE}, [1, 2]),
        ("early", {"early": TWO}, [3, 4]),
        ("early", {"early": TWO, "deep": ONE}, [1, 2]),
        ("early", {"deep": ONE, "early": TWO}, [1, 2]),
    ],
)
def test_merge_copies_what_is_active_or_the_default_or_zeros(default, active, wanted):
    out = np.full(2, 77, np.float32)
    made(Merge(default), "early deep", "out").fire(active, {"out": out})
    assert list(out) == wanted


def test_merge_refuses_to_guess():
    merge = made(Merge(), "early deep", "out")
    with pytest.raises(ValueError, match="inputs deep, early are active at once"):
        merge.fire({"early": ONE, "deep": TWO}, {"out": np.zeros(2, np.float32)})


def test_a_schedule_goes_round_and_ends():
    schedule = Schedule("0,2,-1", "2")
    assert [schedule.control({}) for _ in range(6)] == [0, 2, -1, 0, 2, -1]
    with pytest.raises(EndOfStream):
        schedule.control({})
    endless = Schedule("5")
    assert {endless.control({}) for _ in range(100)} == {5}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: made(Switch(), "in other", "out"), "exactly one input"),
        (lambda: made(Switch(), "in", "out", out=port_type("float32[3]")), "outputs of the type and rate of its input"),
        (lambda: made(Switch(), "in", "out", out=TOKEN._replace(rate=2)), "outputs of the type and rate of its input"),
        (lambda: made(Merge(), "in", "out other", other=port_type("uint8[2]")), "needs output ports of one type"),
        (lambda: made(Merge(), "in more", "out", more=port_type("uint8[2]")), "inputs of the type and rate"),
        (lambda: made(Merge("ear1y"), "early deep", "out"), "default=ear1y: there is no such input"),
        (lambda: Schedule("1;2"), "expected whole numbers, separated by commas"),
        (lambda: Schedule("1", "-1"), "repeat='-1'"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
