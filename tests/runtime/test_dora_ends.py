"""The ends of FIFOs of a dora dataflow, without dora: what one sends the other takes, in the order of the test."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eprune.runtime.kernel.errors import LinkError, PeerError, ProtocolError
from eprune.runtime.net.dora import CREDIT, Dataflow, DoraRx, DoraTx, Stopped


class Wire:
    """What nodes send lies here until the test delivers it."""

    def __init__(self):
        self.messages = deque()

    def send(self, edge, data, **metadata):
        value = SimpleNamespace(to_numpy=lambda zero_copy_only: data)
        self.messages.append({"type": "INPUT", "id": edge, "value": value, "metadata": metadata})


class Pair:
    """A FIFO, with a dataflow at either end."""

    def __init__(self, capacity=2, dtype="float32", shape=(3,), delay=0, digest="d", other="d"):
        self.wire = Wire()
        self.tx = DoraTx(self.wire, "f", dtype, shape, capacity)
        self.rx = DoraRx(self.wire, "f", dtype, shape, capacity, delay)
        self.told = {"tx": [], "rx": []}
        self.sender = Dataflow(self.wire, {"f": self.tx}, digest, self.told["tx"].append)
        self.receiver = Dataflow(self.wire, {"f": self.rx}, other, self.told["rx"].append)
        self.rx.report(other)

    def meet(self):
        """Both say hello."""
        self.deliver(3)
        assert (self.told["tx"], self.told["rx"], len(self.wire.messages)) == (["opened"], ["opened"], 0)
        return self

    def deliver(self, count=None):
        """The oldest messages, all that are there by default."""
        for _ in range(len(self.wire.messages) if count is None else count):
            message = self.wire.messages.popleft()
            (self.sender if message["id"].endswith(CREDIT) else self.receiver)._take(message)

    @property
    def room(self):
        return self.tx.capacity - self.tx.written + self.tx.released

    def write(self, value):
        self.tx.writable[self.tx.written % self.tx.capacity][...] = value
        self.tx.commit(1, self.tx.written)


def test_the_producer_writes_nothing_before_its_consumer_is_there():
    pair = Pair()
    for lost in (1, 2):  # dora loses what it is given before an edge works
        pair.deliver(lost - 1)
        pair.wire.messages.clear()
        assert pair.room == 0
        pair.rx.report("d")
    pair.meet()
    assert pair.room == 2


@given(st.integers(1, 5), st.integers(0, 3), st.lists(st.sampled_from("wrd"), max_size=60))
def test_tokens_come_in_order_and_never_more_of_them_than_there_is_room_for(capacity, delay, steps):
    pair = Pair(capacity + delay, delay=delay).meet()
    written = released = 0
    for step in steps:
        if step == "d" and pair.wire.messages:
            pair.deliver(1)
        if step == "w" and pair.room:
            pair.write(written)
            written += 1
        if step == "r" and pair.rx.written > pair.rx.released:
            expected = released - delay if released >= delay else 0
            assert (pair.rx.token(pair.rx.released) == expected).all()
            pair.rx.release()
            released += 1
        assert 0 <= written + delay - released <= capacity + delay
    pair.deliver()
    assert pair.room == capacity + delay - (written + delay - released)


def test_an_end_reaches_the_consumer_and_its_answer_the_producer():
    pair = Pair().meet()
    pair.write(1)
    pair.tx.end()
    pair.deliver()
    assert (pair.rx.ended, pair.rx.written) == (True, 1)
    pair.deliver()
    assert (pair.told["tx"], pair.told["rx"]) == (["opened", "ended"], ["opened", "ended"])


def test_a_consumer_that_leaves_lets_its_producer_go():
    pair = Pair().meet()
    pair.write(1)
    pair.rx.leave()
    pair.deliver()
    assert pair.tx.left
    pair.tx.end()
    pair.deliver(), pair.deliver()
    assert pair.told["tx"][-1] == pair.told["rx"][-1] == "ended"


def test_a_token_that_overtakes_another_waits_for_it():
    pair = Pair(capacity=3).meet()
    pair.write(0), pair.write(1), pair.write(2), pair.tx.end()
    pair.wire.messages.reverse()
    pair.deliver(3)
    assert (pair.rx.written, pair.rx.ended) == (0, False)
    pair.deliver(1)
    assert [pair.rx.token(number)[0] for number in range(3)] == [0, 1, 2]
    assert pair.rx.ended


def test_reports_of_room_may_overtake_each_other():
    pair = Pair().meet()
    pair.write(0), pair.write(1)
    pair.deliver()
    pair.rx.release(), pair.rx.release()
    pair.wire.messages.reverse()
    pair.deliver()
    assert pair.room == 2


def test_the_record_says_what_was_sent_again():
    pair = Pair().meet()
    pair.write(0), pair.write(1)
    pair.wire.messages.clear()
    pair.tx._sent_at = float("-inf")  # long ago
    pair.rx.report()
    pair.deliver(1), pair.deliver()
    assert (pair.rx.written, pair.tx.summary().tokens, pair.tx.summary().resent) == (2, 2, 2)


@given(st.lists(st.booleans(), max_size=80), st.integers(1, 3), st.integers(0, 2))
def test_whatever_dora_loses_is_sent_again(losses, capacity, delay):
    """A stream of ten tokens and its end, over edges that lose what ``losses`` says."""
    pair = Pair(capacity + delay, delay=delay).meet()
    losses, got = list(losses), []
    for _ in range(200):
        if pair.tx.written < 10 and pair.room:
            pair.write(pair.tx.written)
        elif pair.tx.written == 10 and not pair.tx.ended:
            pair.tx.end()
        if pair.wire.messages and losses and losses.pop():
            pair.wire.messages.popleft()
        pair.deliver()
        if pair.rx.written > pair.rx.released:
            got.append(int(pair.rx.token(pair.rx.released)[0]))
            pair.rx.release()
        pair.tx._sent_at = float("-inf")  # long ago
        pair.rx.report()
    assert got == [0] * delay + list(range(10))
    assert pair.rx.ended
    assert pair.told["rx"][-1] == pair.told["tx"][-1] == "ended"


def test_what_does_not_fit_is_refused():
    pair = Pair().meet()
    pair.wire.send("f", np.zeros(7, np.uint8), number=0, firing=0)
    with pytest.raises(ProtocolError, match="a token has 7 bytes, where 12 are expected"):
        pair.deliver()
    pair = Pair(capacity=1).meet()
    for number in range(2):
        pair.wire.send("f", np.zeros(3, np.float32), number=number, firing=0)
    with pytest.raises(ProtocolError, match="sends more than there is room for"):
        pair.deliver()
    pair.wire.send("f", np.zeros(3, np.float32), number=9, firing=0)
    with pytest.raises(ProtocolError, match="sends more than there is room for"):
        pair.deliver()


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "float64", "complex64"])
def test_every_type_arrives_as_it_was(dtype):
    pair = Pair(dtype=dtype, shape=(2, 2)).meet()
    pair.write(np.array([[0, 1], [1, 0]]))
    pair.deliver()
    assert pair.rx.token(0).dtype == dtype
    assert pair.rx.token(0).tolist() == [[0, 1], [1, 0]]


def test_tokens_of_variable_size_are_as_long_as_they_are():
    pair = Pair(dtype="uint16", shape="<=8").meet()
    room = pair.tx.writable[0]
    room[:3] = 1, 2, 3
    room.used = 3
    pair.tx.commit(1, 0)
    assert pair.wire.messages[0]["value"].to_numpy(zero_copy_only=True).nbytes == 6
    pair.deliver()
    assert pair.rx.token(0).tolist() == [1, 2, 3]


def test_nodes_of_two_builds_do_not_talk():
    pair = Pair(digest="one", other="two")
    with pytest.raises(LinkError, match="is of another build"):
        pair.deliver()


def test_whoever_fails_or_ends_without_a_word_is_named():
    pair = Pair().meet()
    pair.receiver._take({"type": "INPUT_CLOSED", "id": "f"})
    pair.receiver._closed["f"] -= 10
    pair.receiver._deadline = float("inf")
    with pytest.raises(LinkError, match="FIFO 'f': the node at its other end has ended, or was killed"):
        pair.receiver.look()
    pair.sender.abort("out of paper")
    with pytest.raises(PeerError, match="the node at its other end has failed: out of paper"):
        pair.deliver()


def test_a_dataflow_that_is_stopped_ends_well():
    with pytest.raises(Stopped) as stopped:
        Pair().receiver._take({"type": "STOP", "id": None})
    assert stopped.value.exit_code == 0
