"""Peers that know the application and mean harm: no crash, no unbounded memory, nothing lost or doubled in silence."""

import contextlib
import socket
import threading
import time

import pytest

from eprune.runtime.kernel.errors import Refused
from eprune.runtime.net import connection, wire
from eprune.runtime.net.ends import TxFifo
from eprune.runtime.net.greeting import Greeting
from eprune.runtime.net.handshake import dial
from eprune.runtime.net.network import Network
from eprune.runtime.tell.journal import Journal
from tests.kit import hostile
from tests.kit.hostile import GREETING, PLAIN, End, Place, credit, frame, token

LARGEST = 2**64 - 1


@pytest.fixture
def port():
    return hostile.free_port()


@pytest.fixture(autouse=True)
def nothing_stays_open():
    yield
    hostile.close_all()


@pytest.fixture
def soon(monkeypatch):
    """Whoever does not part is left after a moment."""
    monkeypatch.setattr(connection, "CLOSE_TIMEOUT", 0.5)


def serve(end, start=0, tokens=5):
    """A legitimate sender comes; what the consumer got of it, in the end."""
    sender = End(tokens, end.fifo.policy, end.port, "legitimate", start=start)
    assert sender.finish() == []
    assert end.finish() == []
    return end.got


def until(condition, timeout=5):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "never"
        time.sleep(0.005)


@pytest.mark.parametrize("policy", ["drop", "zero", "wait"])
@pytest.mark.parametrize("firing", ["\N{SUPERSCRIPT TWO}", "9" * 5000, "-1", "\N{ARABIC-INDIC DIGIT THREE}"])
def test_a_hello_with_a_number_that_is_none(port, policy, firing):
    end = End(0, policy, port)
    stranger = hostile.dial(port, firing=firing)
    if stranger:
        stranger.close()
    assert serve(end) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("policy", ["drop", "wait"])
@pytest.mark.parametrize("firing", [LARGEST, wire.MAX_INDEX - 1])
def test_the_largest_firing_index_is_refused_or_bearable(port, policy, firing):
    """The next index must fit into a credit, and the right peer must accept that."""
    end = End(0, policy, port)
    stranger = hostile.dial(port)
    stranger.send(token(7, firing=firing))
    time.sleep(0.1)
    stranger.close()
    if policy == "drop" or firing < LARGEST:
        assert serve(end)[-5:] == [0, 1, 2, 3, 4]
    else:
        (message,) = end.finish()
        assert "violates the protocol" in message


def test_frames_that_say_the_same_for_ever_fill_no_memory(port):
    """An END that comes over and over: the producer is told of each."""
    place = Place(port)
    end = End(5, "drop", port)
    stranger = place.accept()
    stranger.send(credit(0, 0, 0) + frame(wire.END) * 20_000)
    until(lambda: end.fifo.over)
    stranger.close()
    end.close()


def test_a_producer_that_is_starved_for_ever_fills_no_memory(port):
    """An IDLE that comes over and over, while the consumer is busy."""
    end = End(0, "drop", port, busy=True)
    stranger = hostile.dial(port)
    stranger.send(frame(wire.IDLE) * 20_000 + token(1) + frame(wire.IDLE) * 20_000 + token(2))
    until(lambda: end.fifo.received == 2)
    stranger.close()
    end.close()


def test_a_greeting_that_drips_in_takes_no_longer_than_the_time_out(port):
    with socket.create_server(("127.0.0.1", port)) as server:

        def drip():
            with contextlib.suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    for byte in wire.pack_greeting({**GREETING, "verdict": "accepted"}):
                        connection.sendall(bytes([byte]))
                        time.sleep(0.05)

        threading.Thread(target=drip, daemon=True).start()
        begin = time.monotonic()
        with pytest.raises(OSError, match="timed out"):
            hostile.finish_alone(dial(("127.0.0.1", port), Greeting(**GREETING), time.monotonic() + 0.5, "right"))
        assert time.monotonic() - begin < 3


@pytest.mark.parametrize("verdict", ["refused", "later"])
def test_what_a_peer_says_when_it_refuses_cannot_play_with_the_terminal(port, verdict):
    with socket.create_server(("127.0.0.1", port)) as server:

        def refuse():
            connection, _ = server.accept()
            with connection:
                reason = "\x1b[2J\r\n\ud800 " + "x" * 9000
                connection.sendall(wire.pack_greeting({"verdict": verdict, "reason": reason}))
                connection.recv(65536)

        threading.Thread(target=refuse, daemon=True).start()
        with pytest.raises((OSError, Refused)) as caught:
            hostile.finish_alone(dial(("127.0.0.1", port), Greeting(**GREETING), time.monotonic() + 5, "right"))
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 600


@pytest.mark.parametrize("sends", [0, 5])
def test_a_peer_that_never_parts_does_not_keep_the_run_from_ending(port, sends, soon):
    """It says what an end needs to hear, and then that it is alive, for ever."""
    policy = "drop"
    if sends:
        place = Place(port)
        end = End(sends, policy, port)
        stranger = place.accept()
        stranger.send(credit(0, 0, 100) + frame(wire.END))
    else:
        end = End(0, policy, port)
        stranger = hostile.dial(port)
        stranger.send(frame(wire.END))
    stop = threading.Event()

    def live():
        while not stop.wait(0.1) and stranger.send(frame(wire.HEARTBEAT)):
            pass

    threading.Thread(target=live, daemon=True).start()
    try:
        end.finish()
    finally:
        stop.set()


def test_a_plain_link_whose_peer_never_parts_ends_too(port, soon):
    place = Place(port)
    end = End(5, PLAIN, port)
    stranger = place.accept()
    stranger.send(frame(wire.END))
    stop = threading.Event()

    def live():
        while not stop.wait(0.1) and stranger.send(frame(wire.HEARTBEAT)):
            pass

    threading.Thread(target=live, daemon=True).start()
    try:
        end.finish()
    finally:
        stop.set()


@pytest.mark.parametrize(
    "lie", [credit(3, 0, 100), credit(10**18, 0, 2 * 10**18), credit(LARGEST, LARGEST, LARGEST, LARGEST)]
)
@pytest.mark.parametrize("policy", ["drop", "wait"])
def test_a_peer_that_has_more_than_was_sent_spoils_no_count(port, policy, lie):
    place = Place(port)
    end = End(5, policy, port)
    place.accept().send(lie)
    time.sleep(0.1)
    sending = end.fifo
    assert 0 <= sending.confirmed <= sending.written
    assert 0 <= sending.given_up <= sending.written
    place.close()
    end.close()


@pytest.mark.long
def test_an_impostor_takes_no_place_of_a_peer_that_is_alive(port):
    end = End(0, "wait", port)
    first = hostile.dial(port, "first")
    first.send(token(1))
    until(lambda: end.got == [1])
    assert hostile.dial(port, "second") is None
    first.send(token(2) + frame(wire.END, firing=2))
    until(lambda: end.got == [1, 2])
    first.close()
    assert end.finish() == []


@pytest.mark.long
def test_an_impostor_cannot_drive_away_a_peer_that_was_just_accepted(port):
    """Both come while the receiving end still waits: the first one has the place."""
    end = End(0, "wait", port)
    accepted = [hostile.dial(port, str(number)) for number in range(20)]
    assert accepted[0] is not None
    assert accepted[1:] == [None] * 19
    accepted[0].send(token(1) + frame(wire.END, firing=1))
    assert end.finish() == []
    assert end.got == [1]


@pytest.mark.parametrize("ack_fired", [pytest.param(False, marks=pytest.mark.long), True])
def test_an_impostor_doubles_no_token_of_a_sender_that_comes_back(port, ack_fired):
    """It takes the sender's place while its connection is broken, and goes again."""
    end = End(0, "wait", port, ack_fired=ack_fired)
    first = hostile.dial(port, "first")
    first.send(token(0) + token(1))
    until(lambda: end.got == [0, 1])
    first.close()
    until(lambda: end.connection._stream is None)
    impostor = hostile.dial(port, "impostor")
    impostor.send(token(77))
    until(lambda: 77 in end.got)
    impostor.close()
    until(lambda: end.connection._stream is None)
    again = hostile.dial(port, "first")
    received, *_ = wire.unpack_credit(*again.hear(wire.CREDIT))
    assert received == 2, "the first sender's own tokens, not the impostor's"
    again.send(token(2) + frame(wire.END, firing=3))
    assert end.finish() == []
    assert end.got == [0, 1, 77, 2]


@pytest.mark.parametrize("policy", ["drop", "wait"])
def test_a_consumer_that_ends_and_is_gone_as_soon_as_all_have_met_keeps_nobody_from_beginning(port, policy):
    place = Place(port)
    end = End(5, policy, port)
    stranger = place.accept()
    stranger.send(credit(0, 0, 4) + frame(wire.END))
    stranger.close()
    assert end.finish() == []
    place.close()


def test_a_receiver_whose_place_was_taken_meanwhile_is_not_taken_for_a_new_one(port):
    """An impostor that fired on nothing it had would otherwise make us skip what it took."""
    place = Place(port)
    end = End(50, "wait", port)
    receiver = place.accept("receiver")
    receiver.send(credit(0, 0, 4))
    receiver.hear(wire.DATA, 4)
    receiver.send(credit(4, 4, 4))
    until(lambda: end.fifo.confirmed == 4)
    receiver.close()
    impostor = place.accept("impostor")
    impostor.send(credit(0, 0, 4))
    impostor.hear(wire.DATA, 4)
    impostor.send(credit(3, 3, 4))
    until(lambda: end.fifo.confirmed == 7)
    impostor.close()
    receiver = place.accept("receiver")
    receiver.send(credit(4, 4, 8))
    (message,) = end.finish()
    place.close()
    assert "another process" in message


def test_tokens_without_room_take_no_room_from_the_right_peer(port):
    """They are refused, over and over, while the consumer is busy; then it is idle again."""
    end = End(0, "drop", port, busy=True)
    for attempt in range(2 * end.fifo.capacity):
        stranger = hostile.dial(port, str(attempt))
        stranger.send(token(0) * (end.fifo.capacity + 1 if attempt == 0 else 1))
        stranger.connection.settimeout(5)
        with contextlib.suppress(ConnectionResetError):
            while stranger.connection.recv(4096):
                pass
        stranger.close()
    end.idle.set()
    assert serve(end)[-5:] == [0, 1, 2, 3, 4]


def test_a_connection_that_breaks_before_all_its_fifos_go_on_blocks_no_producer(port):
    """The peer says for one FIFO where it goes on, and not for the other."""
    place = Place(port)
    fifos = {number: TxFifo("f", *hostile.TOKEN, 4, "drop", False) for number in (0, 1)}
    end = connection.Connection(
        "the link", "right", Greeting(**GREETING), fifos, ("127.0.0.1", port), True, 1.0, 5.0, print, Journal("left")
    )
    links = Network([end], print)
    hostile.OPEN.append(links)
    links.listen()
    links.open(time.monotonic() + 30)
    stranger = place.accept()
    stranger.send(credit(0, 0, 68))
    until(lambda: fifos[0].alive)
    stranger.close()
    place.close()

    def produce():
        for number in range(200):
            fifos[0].await_room(1)
            fifos[0].commit(1, number)

    producer = threading.Thread(target=produce, daemon=True)
    producer.start()
    producer.join(5)
    assert not producer.is_alive()
    assert fifos[0].dropped == 200


def test_who_has_closed_its_side_answers_no_heartbeat(port):
    """Its socket would fail, and it would meet a peer that is done again and again, for ever if both do so."""
    place = Place(port)
    end = End(1, "wait", port, shared=1)
    peer = place.accept()
    peer.send(credit(0, 0, 4))
    peer.hear(wire.CREDIT)
    peer.send(frame(wire.END, 1) + credit(0, 0, 4) + frame(wire.END, 0))
    while peer.connection.recv(1000):
        pass
    peer.send(frame(wire.HEARTBEAT, payload=bytes(16)))
    peer.close()
    assert end.finish(5) == []
    assert [event["event"] for event in end.journal.events] == ["connected", "closed"]


def test_two_ends_part_however_soon_after_they_met(port):
    """Both have ended when they meet; heartbeats cross the end of all."""
    ends = [End(1, "wait", port, shared=1), End(0, "wait", port, shared=1)]
    for end in ends:
        assert end.finish(5) == []
        assert "lost" not in {event["event"] for event in end.journal.events}
