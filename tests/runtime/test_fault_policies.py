"""The two ends of a FIFO as state machines, joined by a made-up connection that breaks whenever hypothesis likes."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eprune.runtime.kernel.errors import LostTokens, ProtocolError
from eprune.runtime.net.counters import Credit, Receiving, Sending
from eprune.runtime.net.detector import FailureDetector, back_off


class Pair:
    """A sending and a receiving end; tokens are their producer's count. ``got`` is what the consumer fired on.

    The rings are real: a slot that is written again too early shows as a wrong token.
    """

    def __init__(self, policy, slots=4, ack_fired=False, iteration=0):
        self.policy, self.slots, self.iteration = policy, slots, iteration
        self.sending = Sending(policy, slots, ack_fired, iteration)
        self.sent_ring = [None] * (slots + iteration)
        self.made = 0
        self.incarnations = itertools.count()
        self.got = []
        self.start_receiver()
        self.connected = False

    def start_receiver(self):
        self.receiving = Receiving(self.policy, self.slots)
        self.receiving.completed = 0 if self.iteration else None
        self.incarnation = str(next(self.incarnations))
        self.ring = [None] * self.slots
        self.on_the_way = []
        self.told = []

    def produce(self):
        sending = self.sending
        if sending.written - sending.released < sending.capacity:
            self.sent_ring[sending.written % sending.capacity] = self.made
            self.made += 1
            sending.put(1)

    def send(self):
        if self.connected and self.sending.take(1):
            self.on_the_way.append(self.sent_ring[(self.sending.next - 1) % self.sending.capacity])

    def deliver(self):
        if self.connected and self.on_the_way:
            assert self.receiving.room > 0, "more tokens than there is room for"
            self.ring[self.receiving.written % self.slots] = self.on_the_way.pop(0)
            self.receiving.written += 1

    def fire(self):
        if self.receiving.written > self.receiving.released:
            self.got.append(self.ring[self.receiving.released % self.slots])
            self.receiving.released += 1
            if self.iteration and self.receiving.released % self.iteration == 0:
                self.receiving.completed = self.receiving.released

    def tell(self):
        if self.connected and self.receiving.due:
            self.told.append(self.receiving.report())

    def hear(self):
        if self.connected and self.told:
            self.sending.credit(self.told.pop(0))

    def ring_of_the_receiver(self):
        receiving = self.receiving
        return [self.ring[number % self.slots] for number in range(receiving.released, receiving.written)]

    def ring_of_the_sender(self):
        sending = self.sending
        return [self.sent_ring[number % sending.capacity] for number in range(sending.next, sending.written)]

    def cut(self):
        if self.connected:
            self.connected = False
            self.on_the_way.clear()
            self.told.clear()
            self.sending.part()

    def connect(self):
        if not self.connected:
            self.receiving.resume("sender")
            self.sending.resume(self.incarnation, self.receiving.report())
            self.connected = True

    def restart(self):
        self.cut()
        self.start_receiver()

    def settle(self):
        self.connect()
        for _ in range(10 * self.slots + 10):
            for step in (self.send, self.deliver, self.tell, self.hear, self.fire):
                step()
        self.sending.credit(self.receiving.report())  # as before an end


STEPS = ("produce", "send", "deliver", "fire", "tell", "hear", "cut", "connect")
histories = st.lists(st.sampled_from(STEPS), max_size=200)


@given(histories, st.integers(1, 6), st.booleans())
def test_wait_delivers_each_token_once_and_in_order_however_the_connection_breaks(history, slots, ack_fired):
    pair = Pair("wait", slots, ack_fired)
    for step in history:
        getattr(pair, step)()
    pair.settle()
    assert pair.got == list(range(pair.made))
    assert pair.sending.confirmed == pair.made
    assert pair.sending.written == pair.sending.released


@given(histories, st.sampled_from(["stop", "wait", "drop", "zero"]), st.integers(1, 20))
def test_no_more_tokens_are_under_way_than_the_capacity(history, policy, slots):
    """Wherever they are: in slots of either end, on the wire, or with the consumer."""
    pair = Pair(policy, slots)
    pair.connect()
    for step in history:
        if policy == "stop" and step in ("cut", "connect"):
            continue
        getattr(pair, step)()
        kept = {*pair.on_the_way, *pair.ring_of_the_receiver(), *pair.ring_of_the_sender()}
        assert len(kept) <= slots


@given(st.lists(st.sampled_from((*STEPS, "restart")), max_size=200), st.integers(1, 6))
def test_wait_with_ack_fired_loses_nothing_when_the_receiver_restarts(history, slots):
    pair = Pair("wait", slots, ack_fired=True)
    for step in history:
        getattr(pair, step)()
    pair.settle()
    assert sorted(set(pair.got)) == list(range(pair.made))


@given(st.lists(st.sampled_from((*STEPS, "restart")), max_size=200), st.integers(1, 6), st.integers(1, 5))
def test_a_receiver_that_restarts_in_an_iteration_gets_it_whole(history, slots, iteration):
    """Of a multi-rate graph. There is no less room than else, however many slots are kept for the iteration."""
    pair = Pair("wait", slots, ack_fired=True, iteration=iteration)
    begun = [0]
    for step in history:
        if step == "restart":
            begun.append(len(pair.got))
        getattr(pair, step)()
        assert pair.sending.written - pair.sending.next <= slots
    pair.settle()
    assert sorted(set(pair.got)) == list(range(pair.made))
    for first, last in zip(begun, [*begun[1:], len(pair.got)]):
        own = pair.got[first:last]
        assert not own or own == list(range(own[0], own[0] + len(own)))
        assert not own or own[0] % iteration == 0


@given(st.lists(st.sampled_from((*STEPS, "restart")), max_size=200), st.integers(1, 6))
def test_wait_without_it_loses_and_doubles_nothing_in_silence(history, slots):
    pair = Pair("wait", slots)
    try:
        for step in history:
            getattr(pair, step)()
        pair.settle()
    except LostTokens:
        return
    assert pair.got == list(range(pair.made))


@given(
    st.lists(st.sampled_from((*STEPS, "restart")), max_size=200), st.integers(1, 6), st.sampled_from(["drop", "zero"])
)
def test_drop_and_zero_double_nothing_keep_the_order_and_count_what_was_lost(history, slots, policy):
    pair = Pair(policy, slots)
    pair.connect()
    for step in history:
        getattr(pair, step)()
    pair.settle()
    assert pair.got == sorted(set(pair.got))
    sending = pair.sending
    assert sending.written == sending.released, "the producer is never blocked for good"
    assert sending.confirmed + sending.dropped == sending.written == pair.made
    assert sending.given_up == sending.dropped, "at the end nothing is on its way"
    if "restart" not in history:
        assert sending.confirmed == len(pair.got)


@given(histories, st.tuples(*[st.integers(0, 2**64 - 1)] * 4))
def test_a_peer_that_lies_about_its_counters_is_caught_or_harmless(history, lie):
    pair = Pair("wait")
    for step in history:
        getattr(pair, step)()
    pair.connect()
    told = Credit(*lie)
    try:
        pair.sending.credit(told)
    except ProtocolError:
        return
    assert told.fired <= told.received <= pair.sending.count


def test_a_receiver_has_no_room_before_it_has_said_so_nor_for_more():
    receiving = Receiving("drop", 2)
    receiving.resume("a")
    assert receiving.room <= 0
    receiving.report()
    receiving.written += 2
    assert receiving.room == 0


def test_silence_is_suspected_after_its_time_and_answered_before():
    detector = FailureDetector(2.0)
    detector.begin(100.0)
    assert not detector.heartbeat_due(100.4)
    assert detector.heartbeat_due(100.5)
    assert not any(detector.dead(100.0 + 0.5 * step) for step in range(5))
    assert detector.dead(102.1)


def test_who_has_slept_itself_does_not_call_that_the_peers_silence():
    detector = FailureDetector(2.0)
    detector.begin(100.0)
    assert not detector.dead(200.0)
    assert not any(detector.dead(200.0 + 0.5 * step) for step in range(3))
    assert detector.dead(201.6)


def test_backing_off_grows_to_half_a_second_and_no_further():
    assert back_off(0, 1.0) == pytest.approx(0.01)
    assert back_off(3, 1.0) == pytest.approx(0.08)
    assert back_off(1000, 1.0) == pytest.approx(0.5)
    assert back_off(1000, 0.0) == pytest.approx(0.25)


@pytest.mark.parametrize("policy", ["wait", "drop"])
def test_a_peer_that_lies_whenever_it_comes_back_changes_no_count(policy):
    """Found by fuzzing: each lie had taken one token off those that were given up."""
    pair = Pair(policy)
    pair.connect()
    for _ in range(3):
        pair.produce()
        pair.send()
    pair.cut()
    before = (pair.sending.written, pair.sending.confirmed, pair.sending.given_up)
    for _ in range(5):
        with pytest.raises(ProtocolError):
            pair.sending.resume(pair.incarnation, Credit(3, 1, 1, 0))  # it had told of more room
        assert not pair.sending.alive
        assert (pair.sending.written, pair.sending.confirmed, pair.sending.given_up) == before
