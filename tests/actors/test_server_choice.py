"""Which of several servers gets a frame that is sent, and what is made of its answer."""

import numpy as np
import pytest
from driver import prepared
from server_answer import ServerAnswer
from server_choice import ServerChoice

CUT = "uint8[<=32]"


class World:
    """Servers that take so many seconds for a token, a few of which are under way."""

    def __init__(self, seconds, deep=2, **parameters):
        self.each = prepared(
            ServerChoice(**parameters),
            {"cut": CUT, "report": "float64[2]"},
            {**{f"to{n}": CUT for n in range(len(seconds))}, "sent": "float64[2]"},
        )
        self.seconds, self.deep, self.waiting = list(seconds), deep, []
        self.each.alive = frozenset(f"to{n}" for n in range(len(seconds)))

    def frames(self, count):
        found = []
        for _ in range(count):
            report = (0.0, 0.0)
            if len(self.waiting) >= self.deep:
                server = self.waiting.pop(0)
                report = (server, self.seconds[server])
            found.append(self.each.control({"cut": np.zeros(9, np.uint8), "report": np.array(report)}))
            self.waiting.append(found[-1])
        return found


def test_equal_servers_share_the_frames():
    chosen = World([0.1, 0.1]).frames(40)
    assert 15 <= chosen.count(0) <= 25


def test_a_server_that_is_slower_by_more_than_the_queue_gets_hardly_any():
    chosen = World([0.1, 1.0]).frames(60)
    assert chosen[10:].count(1) <= 5


def test_a_server_that_is_not_connected_gets_none_from_the_next_frame_on():
    world = World([0.1, 0.1, 0.1])
    world.frames(10)
    world.each.alive = frozenset({"to0", "to2"})
    assert 1 not in world.frames(20)
    world.each.alive = frozenset({"to0", "to1", "to2"})
    assert 1 in world.frames(20)


def test_a_server_that_does_not_answer_rests_and_is_tried_again():
    world = World([0.1, 0.1], rest="10")
    world.frames(10)
    world.seconds[1] = -1.0
    chosen = world.frames(60)
    assert 2 <= chosen.count(1) <= 12
    world.seconds[0] = -1.0
    assert set(world.frames(10)) <= {0, 1}  # none answers: one of them all the same


def test_a_server_that_was_slow_once_is_tried_where_the_others_are_busy():
    world = World([0.1, 0.15], deep=4)
    assert 10 < world.frames(60).count(1) < 40


@pytest.mark.parametrize("lost", [False, True])
def test_an_answer_is_handed_on_or_said_to_be_missing(lost):
    timed = "uint8[16]"
    made = prepared(
        ServerAnswer(),
        {"from0": timed, "from1": timed, "sent": "float64[2]"},
        {"out": timed, "report": "float64[2]"},
    )
    token = np.zeros(16, np.uint8)
    token[:8].view("<f8")[0], token[8:] = 0.25, 7
    out = {"out": np.ones(16, np.uint8), "report": np.zeros(2)}
    made.fire({"sent": np.array([1.0, 0.0]), **({} if lost else {"from1": token})}, out)
    seconds = float(out["out"][:8].view("<f8")[0])
    assert (seconds, out["report"][0]) == ((-1.0 if lost else 0.25), 1.0)
    assert (out["report"][1] < 0) == lost and set(out["out"][8:]) == ({0} if lost else {7})
