"""The protocol of a connection: random histories of two ends that are joined by bytes, without sockets or clocks."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eprune.runtime.kernel.errors import LostTokens, ProtocolError
from eprune.runtime.kernel.policy import DROP, NEWEST, STOP, WAIT, ZERO, lossy
from eprune.runtime.net import wire
from eprune.runtime.net.counters import Credit, Receiving, Sending
from eprune.runtime.net.protocol import TABLE, Do, Event, Protocol, State
from tests.kit.pair import Pair, Spec

HOW_OFTEN = [pytest.param(150, id="some"), pytest.param(2000, id="many", marks=pytest.mark.long)]


def fifos(policies):
    return st.builds(
        Spec,
        source=st.integers(0, 1),
        policy=st.sampled_from(policies),
        capacity=st.sampled_from([1, 2, 3, 4, 8, 9]),
        fired=st.booleans(),
        delay=st.sampled_from([0, 0, 0, 1]),
        size=st.sampled_from([2, 2, 2, 1100]),
    ).filter(lambda spec: spec.capacity > spec.delay)


places = st.integers(0, 1)
numbers = st.integers(0, 2)
times = st.sampled_from([1, 1, 2, 20])
#: what actors do
acts = st.one_of(
    st.tuples(st.sampled_from(["make", "use"]), numbers, times),
    st.tuples(st.sampled_from(["make", "use", "reserve", "hold", "starve"]), numbers),
)
ends = st.tuples(st.just("end"), numbers, places)
#: what the network does
flows = st.one_of(
    st.tuples(st.just("flow")),
    st.tuples(st.just("work"), times),
    st.tuples(st.just("move"), places, st.sampled_from([10_000, 10_000, 1, 24, 50])),
)
breaks = st.one_of(
    st.tuples(st.just("meet")),
    st.tuples(st.just("cut")),
    st.tuples(st.just("notice"), places),
)
despair = st.tuples(st.just("nobody"), places)
restarts = st.tuples(st.just("restart"), places)


def histories(*further):
    """Lists of steps; mostly both ends have met at the beginning."""
    step = st.one_of(acts, acts, acts, flows, flows, *further)
    steps = st.sampled_from([0, 10, 40]).flatmap(lambda least: st.lists(step, min_size=least, max_size=60))
    begin = st.sampled_from([[("meet",), ("flow",)]] * 4 + [[("meet",)]])
    return st.tuples(begin, steps).map(lambda both: both[0] + both[1])


def systems(*policies, most=3):
    return st.lists(fifos(policies), min_size=1, max_size=most)


def act(pair, what, *more):
    if not hasattr(pair, what):
        number, *more = more
        number %= len(pair.specs)
        source = pair.specs[number].source
        places = [1 - source if what in ("use", "hold") else source]
        repeat = 1
        if what == "end":
            places = more
        elif more:
            repeat = more[0]
        for place in places:
            side = pair.sides[place]
            if side.opened and not side.gone:
                for _ in range(repeat):
                    getattr(side, what)(number)
    else:
        getattr(pair, what)(*more)


def check_counters(pair):
    """What holds at every moment."""
    for number, spec in enumerate(pair.specs):
        sender, receiver = pair.sides[spec.source], pair.sides[1 - spec.source]
        tx, rx = sender.tx[number], receiver.rx[number]
        assert tx.confirmed + tx.dropped == tx.written
        assert 0 <= tx.written - tx.next <= tx.capacity
        assert 0 <= rx.written - rx.released <= rx.capacity
        assert rx.received <= sum(pair.logs[number].made.values())
        if lossy(spec.policy):
            assert 0 <= tx.given_up <= tx.dropped
            assert tx.alive or tx.given_up == tx.dropped
        else:
            assert tx.written - tx.released <= tx.capacity + spec.delay  # a restarted consumer has initial tokens again


def check_tokens(pair):
    """Each consumer got what each producer made, in order, and nothing twice."""
    for number in range(len(pair.specs)):
        log = pair.logs[number]
        for used in log.used.values():
            assert len(set(used)) == len(used)
            for incarnation, made in log.made.items():
                own = [token for birth, token in used if birth == incarnation]
                assert own == sorted(own)
                assert not own or own[-1] < made


def run(specs, history, check):
    pair = Pair(specs)
    for step in history:
        act(pair, *step)
        check_counters(pair)
        check(pair)
        check_tokens(pair)
    pair.settle()
    check_counters(pair)
    check(pair)
    check_tokens(pair)
    return pair


def in_one_piece(used, incarnation):
    """The tokens of one producer, of which none is missing up to the last."""
    own = [token for birth, token in used if birth == incarnation]
    assert own == list(range(own[0], own[0] + len(own))) if own else True
    return own


def check_bound(pair):
    """Where nothing is lost, what is written and not yet released is at most the capacity."""
    for number, spec in enumerate(pair.specs):
        tx, rx = pair.sides[spec.source].tx[number], pair.sides[1 - spec.source].rx[number]
        if not lossy(spec.policy) and not rx.left:
            assert tx.written - (rx.released - rx.delay) <= tx.capacity


def repeated(examples, *strategies):
    """Run a test that often with random arguments."""

    def wrap(play):
        settings(max_examples=examples, suppress_health_check=list(HealthCheck))(given(*strategies)(play))()

    return wrap


def ends_early(specs, history, number):
    """Whether the consumer may have ended before its producer."""
    place = 1 - specs[number].source
    return any(step[0] == "end" and step[1] % len(specs) == number and step[2] == place for step in history)


def all_over(pair):
    return all(side.protocol.state is State.OVER and not side.failed for side in pair.sides)


def complete(pair, number, history):
    """Whether the consumer, which was never restarted, has fired on all that each run of the producer made, in order;
    of runs that were killed, on the first of it.
    """
    spec, log = pair.specs[number], pair.logs[number]
    last = pair.sides[spec.source].incarnation
    (used,) = log.used.values()
    for incarnation, made in log.made.items():
        own = [token for birth, token in used if birth == incarnation]
        if own != list(range(len(own))):
            return False
        if incarnation == last and len(own) != made and not ends_early(pair.specs, history, number):
            return False
    return True


@pytest.mark.parametrize("examples", HOW_OFTEN)
def test_on_a_healthy_link_all_tokens_arrive_within_the_capacity_and_both_ends_part(examples):
    @repeated(examples, systems(STOP, WAIT, DROP, ZERO), histories(ends))
    def play(specs, history):
        pair = run(specs, history, check_bound)
        assert all_over(pair)
        assert all(complete(pair, number, history) for number in range(len(specs)))
        for number, spec in enumerate(specs):
            tx = pair.sides[spec.source].tx[number]
            assert tx.resent == 0
            assert (tx.confirmed, tx.dropped) == (tx.written, 0) or ends_early(specs, history, number)


@pytest.mark.parametrize("examples", HOW_OFTEN)
def test_wait_loses_and_doubles_nothing_when_connections_break(examples):
    @repeated(examples, systems(WAIT), histories(ends, breaks, breaks))
    def play(specs, history):
        pair = run(specs, history, check_bound)
        assert all_over(pair)
        assert all(complete(pair, number, history) for number in range(len(specs)))


@pytest.mark.parametrize("examples", HOW_OFTEN)
def test_drop_and_zero_go_on_when_connections_break_and_both_ends_part(examples):
    """Whoever despairs is not waited for either."""

    @repeated(examples, systems(DROP, ZERO), histories(ends, breaks, breaks, despair))
    def play(specs, history):
        pair = run(specs, history, lambda pair: None)
        assert all_over(pair)
        for number, spec in enumerate(specs):
            tx, rx = pair.sides[spec.source].tx[number], pair.sides[1 - spec.source].rx[number]
            assert tx.confirmed <= rx.received


@pytest.mark.parametrize("examples", HOW_OFTEN)
def test_the_end_gets_through_to_whoever_is_there_when_the_link_is_back(examples):
    """A producer that may lose tokens ends while the connection is down; its consumer learns that all has ended."""

    @repeated(examples, systems(WAIT, DROP, ZERO), histories(ends, breaks, breaks))
    def play(specs, history):
        pair = run(specs, history, lambda pair: None)
        for number, spec in enumerate(specs):
            rx = pair.sides[1 - spec.source].rx[number]
            assert rx.end_received or ends_early(specs, history, number)
        assert all_over(pair)


@pytest.mark.parametrize("examples", HOW_OFTEN)
def test_a_stop_link_that_breaks_ends_the_run_unless_all_had_ended(examples):
    @repeated(examples, systems(STOP), histories(ends, breaks))
    def play(specs, history):
        pair = run(specs, history, check_bound)
        for side in pair.sides:
            assert side.failed or side.protocol.state is State.OVER
            if not side.failed:
                assert all(complete(pair, number, history) for number in side.tx)


def fired_on(pair, number):
    """Incarnation of the producer -> the tokens that its consumers, one after the other, fired on."""
    log = pair.logs[number]
    return {
        incarnation: [token for used in log.used.values() for birth, token in used if birth == incarnation]
        for incarnation in log.made
    }


def with_ack(fired):
    return st.lists(fifos([WAIT]).map(lambda spec: dataclasses.replace(spec, fired=fired)), min_size=1, max_size=3)


@pytest.mark.parametrize("examples", HOW_OFTEN)
def test_wait_sends_a_restarted_consumer_again_what_is_not_known_to_be_fired_on(examples):
    """At least once: nothing is missing, and what may be done again is what was made and not yet confirmed."""

    @repeated(examples, with_ack(True), histories(ends, breaks, restarts))
    def play(specs, history):
        pair = run(specs, history, lambda pair: None)
        for number, spec in enumerate(specs):
            if ends_early(specs, history, number):  # what such a consumer leaves is done, too
                continue
            again = 0
            for tokens in fired_on(pair, number).values():
                assert sorted(set(tokens)) == list(range(len(set(tokens))))
                again += len(tokens) - len(set(tokens))
            killed = [side for side in pair.killed if side.place != spec.source]
            assert again <= spec.capacity * len(killed)
            resent = [side.tx[number].resent for side in (*pair.killed, *pair.sides) if side.place == spec.source]
            assert again <= sum(resent)
        for side in pair.sides:
            assert side.failed in ("", "nobody")
            assert not side.failed or pair.sides[1 - side.place].gone


@pytest.mark.parametrize("examples", HOW_OFTEN)
def test_wait_that_forgets_what_was_received_fails_rather_than_doubling_or_losing(examples):
    """At most once: a restarted consumer goes on exactly where the one before it stood, or the producer fails."""

    @repeated(examples, with_ack(False), histories(ends, breaks, restarts))
    def play(specs, history):
        pair = run(specs, history, lambda pair: None)
        for number in range(len(specs)):
            early = ends_early(specs, history, number)  # what such a consumer leaves is done, too
            for tokens in fired_on(pair, number).values():
                assert tokens == (sorted(set(tokens)) if early else list(range(len(tokens))))


@pytest.mark.parametrize("examples", HOW_OFTEN)
def test_drop_and_zero_survive_restarts(examples):
    @repeated(examples, systems(DROP, ZERO), histories(ends, breaks, restarts, despair))
    def play(specs, history):
        pair = run(specs, history, lambda pair: None)
        assert all(side.gone and not side.failed for side in pair.sides)


@pytest.mark.parametrize("examples", HOW_OFTEN)
def test_any_mixture_of_policies_comes_to_an_end_whatever_happens(examples):
    @repeated(examples, systems(STOP, WAIT, DROP, ZERO), histories(ends, breaks, breaks, restarts, despair))
    def play(specs, history):
        pair = run(specs, history, lambda pair: None)
        assert all(side.gone for side in pair.sides)


APART, MEETING, TOGETHER, CLOSING, OVER = State


def sender(policy):
    return lambda: Protocol({0: Sending(policy, 2)})


def receiver(policy):
    return lambda: Protocol({0: Receiving(policy, 2)})


def two_ways(policy):
    return lambda: Protocol({0: Receiving(policy, 2), 1: Sending(policy, 2)})


def brought(protocol, state):
    """The protocol, after what brings it to that state."""
    if state is not APART:
        protocol.handle(Event.MET, "peer")
    if state in (TOGETHER, CLOSING, OVER):
        for number in protocol.sending:
            protocol.handle(Event.CREDIT, number, Credit(0, 0, 2, 0))
    if state in (CLOSING, OVER):
        for end in protocol.receiving.values():
            end.left = end.over = True
        for number, end in protocol.sending.items():
            end.ended = True
            protocol.handle(Event.END, number, 0)
        protocol.handle(Event.CHANGED)
    if state is OVER:
        protocol.handle(Event.CLOSED, "closed")
    assert protocol.state is state
    return protocol


DETAILS = {
    Event.MET: ("peer",),
    Event.BROKEN: ("reason",),
    Event.CLOSED: ("reason",),
    Event.NOBODY: ("reason",),
    Event.CREDIT: (0, Credit(0, 0, 2, 0)),
    Event.END: (0, 0),
    Event.IDLE: (0,),
    Event.ERROR: ("reason",),
    Event.CHANGED: (),
    Event.STOP: ("reason",),
}
#: ends, state, event -> state, what is done
STEPS = [
    (receiver(WAIT), APART, Event.MET, TOGETHER, [Do.SEND, Do.OPENED, Do.PUMP, Do.PUMP]),
    (sender(WAIT), APART, Event.MET, MEETING, [Do.PUMP]),
    (sender(WAIT), APART, Event.BROKEN, APART, []),
    (sender(WAIT), APART, Event.NOBODY, OVER, [Do.FAIL]),
    (sender(DROP), APART, Event.NOBODY, APART, [Do.LOST, Do.OPENED]),
    (receiver(ZERO), APART, Event.NOBODY, APART, [Do.LOSE, Do.LOST, Do.OPENED]),
    (sender(WAIT), APART, Event.CHANGED, APART, []),
    (sender(WAIT), APART, Event.STOP, OVER, [Do.SEND, Do.PUMP]),
    (sender(WAIT), MEETING, Event.BROKEN, APART, [Do.BREAK, Do.SEEK]),
    (sender(STOP), MEETING, Event.BROKEN, OVER, [Do.BREAK, Do.PARTED]),
    (sender(WAIT), MEETING, Event.CLOSED, APART, [Do.BREAK, Do.SEEK]),
    (sender(WAIT), MEETING, Event.NOBODY, OVER, [Do.BREAK, Do.FAIL]),
    (sender(DROP), MEETING, Event.NOBODY, APART, [Do.BREAK, Do.LOST, Do.OPENED, Do.SEEK]),
    (sender(WAIT), MEETING, Event.CREDIT, TOGETHER, [Do.OPENED, Do.PUMP, Do.PUMP]),
    (sender(WAIT), MEETING, Event.ERROR, APART, [Do.BREAK, Do.SEEK]),
    (sender(WAIT), MEETING, Event.CHANGED, MEETING, [Do.PUMP]),
    (sender(WAIT), MEETING, Event.STOP, OVER, [Do.SEND, Do.PUMP]),
    (sender(STOP), TOGETHER, Event.BROKEN, OVER, [Do.BREAK, Do.PARTED]),
    (sender(WAIT), TOGETHER, Event.BROKEN, APART, [Do.BREAK, Do.LOST, Do.SEEK]),
    (receiver(DROP), TOGETHER, Event.BROKEN, APART, [Do.LOSE, Do.BREAK, Do.LOST, Do.SEEK]),
    (receiver(DROP), TOGETHER, Event.CLOSED, APART, [Do.LOSE, Do.BREAK, Do.LOST, Do.SEEK]),
    (sender(WAIT), TOGETHER, Event.CREDIT, TOGETHER, [Do.PUMP, Do.PUMP]),
    (sender(WAIT), TOGETHER, Event.END, CLOSING, [Do.LEAVE, Do.PUMP, Do.PUMP, Do.SHUT]),
    (receiver(WAIT), TOGETHER, Event.END, TOGETHER, [Do.FINISH, Do.PUMP, Do.PUMP]),
    (receiver(ZERO), TOGETHER, Event.IDLE, TOGETHER, [Do.IDLE]),
    (receiver(DROP), TOGETHER, Event.ERROR, APART, [Do.LOSE, Do.BREAK, Do.LOST, Do.SEEK]),
    (sender(STOP), TOGETHER, Event.CHANGED, TOGETHER, [Do.PUMP]),
    (sender(STOP), TOGETHER, Event.STOP, OVER, [Do.SEND, Do.PUMP]),
    (receiver(WAIT), CLOSING, Event.BROKEN, APART, [Do.BREAK, Do.LOST, Do.SEEK]),
    (receiver(STOP), CLOSING, Event.BROKEN, OVER, [Do.BREAK, Do.OVER]),
    (sender(WAIT), CLOSING, Event.BROKEN, OVER, [Do.BREAK, Do.OVER]),
    (receiver(WAIT), CLOSING, Event.CLOSED, OVER, [Do.BREAK, Do.OVER]),
    (sender(WAIT), CLOSING, Event.CREDIT, CLOSING, []),
    (receiver(WAIT), CLOSING, Event.END, CLOSING, []),
    (receiver(DROP), CLOSING, Event.IDLE, CLOSING, []),
    (receiver(WAIT), CLOSING, Event.ERROR, OVER, [Do.BREAK, Do.OVER]),
    (receiver(WAIT), CLOSING, Event.CHANGED, CLOSING, []),
    (receiver(WAIT), CLOSING, Event.STOP, OVER, [Do.SEND, Do.PUMP]),
]


@pytest.mark.parametrize(("make", "state", "event", "then", "done"), STEPS)
def test_a_step_of_the_table(make, state, event, then, done):
    protocol = brought(make(), state)
    told = protocol.handle(event, *DETAILS[event])
    assert (protocol.state, [what for what, *_ in told]) == (then, done)


def test_each_step_of_the_table_is_tested():
    assert {(state, event) for _, state, event, *_ in STEPS} == set(TABLE)


@pytest.mark.parametrize("state", [state for state in State if state is not OVER])
@pytest.mark.parametrize("event", Event)
def test_what_the_table_lacks_violates_the_protocol(state, event):
    if (state, event) not in TABLE:
        with pytest.raises(ProtocolError, match=f"'{event.value}' while {state.value}"):
            brought(two_ways(DROP)(), state).handle(event, *DETAILS[event])


@pytest.mark.parametrize("event", Event)
def test_once_all_is_over_nothing_happens_any_more(event):
    assert brought(receiver(DROP)(), OVER).handle(event, *DETAILS[event]) == []


LIES = [
    (Event.CREDIT, 1, Credit(0, 0, 2, 0)),
    (Event.CREDIT, 0, Credit(1, 0, 2, 0)),
    (Event.CREDIT, 0, Credit(0, 1, 2, 0)),
    (Event.CREDIT, 0, Credit(0, 0, 1, 0)),
    (Event.END, 1, 0),
    (Event.IDLE, 0),
]


@pytest.mark.parametrize("lie", LIES)
def test_a_lying_consumer_violates_the_protocol(lie):
    with pytest.raises(ProtocolError):
        brought(sender(WAIT)(), TOGETHER).handle(*lie)


@pytest.mark.parametrize("lie", [(Event.CREDIT, 0, Credit(0, 0, 2, 0)), (Event.END, 0, 1), (Event.IDLE, 1)])
def test_a_lying_producer_violates_the_protocol(lie):
    with pytest.raises(ProtocolError):
        brought(receiver(WAIT)(), TOGETHER).handle(*lie)


def test_wait_notices_a_consumer_that_has_got_the_tokens_of_another():
    protocol = brought(sender(WAIT)(), TOGETHER)
    protocol.sending[0].put(2)
    protocol.sending[0].take(2)
    protocol.handle(Event.BROKEN, "reason")
    protocol.handle(Event.MET, "another")
    with pytest.raises(LostTokens, match="another process"):
        protocol.handle(Event.CREDIT, 0, Credit(1, 0, 2, 0))


@pytest.mark.parametrize("policy", [DROP, ZERO])
def test_a_consumer_that_had_ended_and_is_restarted_learns_the_end_too(policy):
    """It does so although nothing remains to be done but that."""
    pair = Pair([Spec(0, policy, 2), Spec(1, policy, 2)])
    pair.meet()
    pair.work(3)
    pair.sides[1].end(0)
    pair.flow()
    pair.restart(1)
    pair.notice(0)
    pair.meet()
    pair.flow()
    pair.sides[0].end(1)
    pair.flow()
    pair.settle()
    assert pair.sides[1].rx[0].end_received
    assert all_over(pair)


def test_the_second_report_says_that_the_consumer_has_begun_to_fire():
    receiving, sending = Receiving(DROP, 8), Sending(DROP, 8)
    receiving.resume("sender")
    sending.resume("receiver", receiving.report())
    assert not (receiving.due or sending.begun)
    receiving.begin()
    assert receiving.due
    sending.credit(receiving.report())
    assert sending.begun and not receiving.due


def test_a_credit_goes_in_the_header_of_a_token_that_goes_the_other_way():
    """Under wait, where the producer must know what was received, it does not."""
    for policy, expected in ((STOP, True), (DROP, True), (ZERO, True), (WAIT, False)):
        pair = Pair([Spec(0, policy, 2), Spec(1, policy, 2)])
        pair.meet()
        pair.flow()
        for _ in range(50):
            for number in (0, 1):
                pair.sides[number].make(number)
                pair.flow()
                pair.sides[1 - number].use(number)
        assert [len(log.used[side.incarnation]) for log, side in zip(pair.logs, reversed(pair.sides))] == [50, 50]
        assert all((side.briefly > 40) is expected for side in pair.sides), policy


@given(st.lists(st.integers(1, 3 * wire.BRIEF), max_size=8), st.integers(1, 100))
def test_a_brief_credit_says_the_same_as_a_whole_one(steps, capacity):
    """As long as what is new counts less than the modulus; else a whole one is due."""
    receiving, sending = Receiving(DROP, capacity), Sending(DROP, capacity)
    receiving.resume("sender")
    sending.resume("receiver", receiving.report())
    for step in steps:
        sending.written = sending.next = receiving.written = receiving.released = receiving.released + step
        fired = receiving.report_briefly()
        assert (fired is None) is (step >= wire.BRIEF)
        if fired is None:
            sending.credit(receiving.report())
        else:
            sending.credit_briefly(fired % wire.BRIEF)
        assert (sending.released, sending.limit) == (receiving.released, receiving.released + capacity)


@pytest.mark.parametrize("policy", [WAIT, NEWEST])
def test_a_brief_credit_where_a_whole_one_is_due_is_refused(policy):
    sending = Sending(policy, 4)
    sending.resume("receiver", Credit(0, 0, 4, 0))
    with pytest.raises(ProtocolError, match=f"a credit in a header for a FIFO under '{policy}'"):
        sending.credit_briefly(0)


@pytest.mark.parametrize("fired", [2, wire.BRIEF - 1])
def test_a_brief_credit_for_tokens_that_were_not_sent_is_refused(fired):
    sending = Sending(STOP, 4)
    sending.resume("receiver", Credit(0, 0, 4, 0))
    sending.put(1)
    sending.take(1)
    with pytest.raises(ProtocolError, match=f"{fired} fired on"):
        sending.credit_briefly(fired)


def test_a_brief_credit_for_a_fifo_that_is_not_sent_is_refused():
    pair = Pair([Spec(0, STOP, 2), Spec(1, STOP, 2)])
    pair.meet()
    pair.flow()
    for number in (1, 7):
        with pytest.raises(ProtocolError, match=f"for FIFO number {number}, which is not one to be credited so"):
            pair.sides[0].protocol.credit_briefly(number, 0)


def test_credits_that_only_tokens_could_carry_block_nobody():
    """A consumer that has used up the producer's room and sends nothing reports all the same."""
    pair = Pair([Spec(0, STOP, 1), Spec(1, STOP, 1)])
    pair.meet()
    pair.flow()
    for _ in range(20):
        pair.sides[0].make(0)
        pair.flow()
        pair.sides[1].use(0)
        pair.flow()
    assert pair.sides[0].tx[0].written == 20
