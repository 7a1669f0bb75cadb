"""Strangers with the right digest say whatever hypothesis likes to real ends of links, over real connections.

What must hold: no crash, no memory that grows with what they say; the end goes on and serves the peer that belongs
there, or ends with one clear error, within its time-out; and a FIFO that waits loses and doubles no token of that peer.
"""

import contextlib
import time

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from eprune.runtime.kernel.errors import LinkError
from eprune.runtime.net import connection, wire
from tests.kit import hostile
from tests.kit.hostile import PLAIN, End, Place, credit, frame, token

TOKENS = 5
#: what legitimate tokens begin with, so that they are told from a stranger's
OURS = 1000

counts = st.one_of(st.integers(0, 8), st.sampled_from([258, 2**31, 2**62 - 1, 2**62, 2**63, 2**64 - 1]))
numbers = st.sampled_from([0, 0, 0, 0, 1, 1, 2, 65535])
frames = st.one_of(
    st.builds(token, st.integers(0, 8)),
    st.builds(token, st.integers(0, 8), counts),
    st.builds(frame, st.just(wire.DATA), numbers, st.integers(0, 3), counts, st.just(bytes(12))),
    st.builds(frame, st.integers(0, 9), numbers, nbytes=counts),
    st.builds(credit, counts, counts, counts, counts, numbers),
    st.builds(frame, st.just(wire.END), numbers, st.just(0), counts),
    st.builds(frame, st.just(wire.ERROR), payload=st.binary(max_size=50)),
    st.builds(frame, st.just(wire.ERROR), payload=st.sampled_from([b"\x1b[2J\x07", bytes(4096), bytes(4097)])),
    st.just(frame(wire.HEARTBEAT)),
    st.just(frame(wire.HEARTBEAT) * 100),
    st.builds(frame, st.just(wire.IDLE), numbers),
    st.binary(max_size=60),
)
#: which incarnation, what it says, how many bytes it holds back at the end, whether byte by byte, whether it hangs up
sessions = st.tuples(
    st.sampled_from(["a", "a", "b", "honest", "x" * 64]),
    st.lists(frames, max_size=8).map(b"".join),
    st.sampled_from([0, 0, 0, 1, 5, 30]),
    st.booleans(),
    st.booleans(),
)
ENDS = [(PLAIN, 0), ("wait", 0), ("drop", 0), ("zero", 0), ("wait", TOKENS), ("drop", TOKENS)]
HOW_OFTEN = [pytest.param(12, id="some"), pytest.param(400, id="many", marks=pytest.mark.long)]


@pytest.fixture(autouse=True)
def nothing_stays_open():
    yield
    hostile.close_all()


@pytest.fixture(autouse=True, scope="module")
def soon():
    """Whoever does not part is left after a moment."""
    saved = connection.CLOSE_TIMEOUT
    connection.CLOSE_TIMEOUT = 0.3
    yield
    connection.CLOSE_TIMEOUT = saved


def say(stranger, data, withheld, drip, hangs_up):
    stranger.send(data[: max(len(data) - withheld, 0)], drip)
    if hangs_up:
        stranger.close()


def check(end, served, wait):
    """The end of all: ``served`` are a legitimate peer's tokens, as they arrived."""
    failed = end.finish()
    for message in failed:
        assert message.isprintable(), message
        assert len(message) < 5000
    assert len(end.journal.events) <= 1000
    ours = [number for number in served if number >= OURS]
    if wait and not failed:
        assert ours == list(range(OURS, OURS + len(ours)))
    return failed


def examples(count):
    return settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate] if count < 100 else list(Phase),
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )


@pytest.mark.parametrize("count", HOW_OFTEN)
@pytest.mark.parametrize(("policy", "shared"), ENDS)
def test_whatever_a_sender_says_the_receiving_end_serves_the_right_one_or_says_why_not(policy, shared, count):
    @examples(count)
    @given(st.lists(sessions, min_size=1, max_size=3))
    def play(said):
        end = hostile.somewhere(lambda port: End(0, policy, port, timeout=4, dead_after=0.2, shared=shared))
        port = end.port
        with contextlib.closing(end):
            for incarnation, *what in said:
                stranger = hostile.dial(port, incarnation, timeout=0.0)
                if stranger is None:
                    break
                say(stranger, *what)
            if policy == PLAIN:
                hostile.close_all_but(end)
                check(end, end.got, False)
                return
            with contextlib.closing(
                End(TOKENS, policy, port, "legitimate", 4, 0.2, start=OURS, shared=shared)
            ) as sender:
                deadline = time.monotonic() + 8
                while not (sender.done and end.done) and time.monotonic() < deadline:
                    if end.done:
                        break
                    time.sleep(0.005)
                failed = check(end, end.got, policy == "wait")
                if not failed and not end_sent(said):
                    assert sender.finish() == []
                    assert [number for number in end.got if number >= OURS][-1:] == [OURS + TOKENS - 1]
        hostile.close_all()

    play()


@pytest.mark.parametrize("count", HOW_OFTEN)
@pytest.mark.parametrize(("policy", "shared"), ENDS)
def test_whatever_a_receiver_says_the_sending_end_goes_on_with_the_right_one_or_says_why_not(policy, shared, count):
    @examples(count)
    @given(st.lists(sessions, min_size=1, max_size=3))
    def play(said):
        place = hostile.somewhere(Place)
        port = place.port
        with contextlib.closing(End(TOKENS, policy, port, "sender", 4, 0.2, start=OURS, shared=shared)) as end:
            for incarnation, *what in said:
                try:
                    stranger = place.accept(incarnation, timeout=0.5)
                except OSError:
                    break
                say(stranger, *what)
            place.close()
            if policy == PLAIN:
                hostile.close_all_but(end)
                check(end, [], False)
                return
            try:
                receiver = End(0, policy, port, "legitimate", 4, 0.2, shared=shared)
            except LinkError:
                return  # somebody else on this machine has got the port
            with contextlib.closing(receiver):
                deadline = time.monotonic() + 8
                while not end.done and time.monotonic() < deadline:
                    time.sleep(0.005)
                check(end, receiver.got, policy == "wait")
        hostile.close_all()

    play()


def end_sent(said):
    """Whether somebody may have said that a FIFO has ended, in a way that is believed."""
    return any(b"\x04\x00\x00" in data for _, data, *_ in said)
