"""Who waits for all sockets of a process: nothing that was asked for is forgotten, and nothing stays open."""

import socket
import threading
import time

import pytest

from eprune.runtime.fire.matched import Matched, MatchedInput
from eprune.runtime.fire.matched_ports import DROP, Inlet
from eprune.runtime.fire.matching import Matcher
from eprune.runtime.fire.numbering import Numbering
from eprune.runtime.kernel.actor import Actor
from eprune.runtime.kernel.bell import Bell
from eprune.runtime.kernel.fifo import Fifo
from eprune.runtime.net import loop as module
from eprune.runtime.net.greeting import Greeting
from eprune.runtime.net.handshake import Acceptor, Lobby, dial
from eprune.runtime.net.loop import READ, Loop

LONG = 30.0


class Failures(list):
    """What callbacks raised."""

    def __call__(self, error):
        self.append(error)


@pytest.fixture
def failures():
    return Failures()


@pytest.fixture
def loop(failures):
    """A loop, which runs."""
    made = Loop(failures)
    made.start()
    yield made
    assert made.close(LONG)


@pytest.fixture
def pair():
    near, far = socket.socketpair()
    near.setblocking(False)
    with near, far:
        yield near, far


@pytest.fixture
def patient(monkeypatch):
    """A look at all sockets may take as long as a busy machine needs."""
    monkeypatch.setattr(module, "LOOK", LONG)


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as made:
        made.settimeout(LONG)
        yield made


def keep_busy(loop):
    """The loop's thread does something until the event that is returned is set."""
    begun, free = threading.Event(), threading.Event()

    def work():
        begun.set()
        free.wait(LONG)

    loop.ask(lambda: loop.later(0, work))
    assert begun.wait(LONG)
    return free


def ask(loop, action):
    """Have the loop do something, and wait until it has; the result."""
    results = []
    done = threading.Event()

    def act():
        results.append(action())
        done.set()

    loop.ask(act)
    assert done.wait(LONG)
    return results[0]


# What a loop leaves behind


def test_a_sequence_that_waits_when_the_loop_ends_closes_what_it_holds(failures):
    loop = Loop(failures)
    loop.start()
    near, far = socket.socketpair()

    def sequence():
        with near:
            yield near, READ, time.monotonic() + LONG
            raise AssertionError("nothing has come")

    ask(loop, lambda: loop.run(sequence()))
    assert near.fileno() >= 0
    assert loop.close(LONG)
    assert near.fileno() == -1
    far.close()
    assert failures == []


def test_a_sequence_that_begins_after_the_end_does_nothing(failures):
    loop = Loop(failures)
    loop.start()
    assert loop.close(LONG)
    began = []

    def sequence():
        began.append(True)
        yield None, 0, 0.0

    loop.run(sequence())
    loop.wake()
    assert loop.close(LONG)
    assert not began


def test_the_end_hangs_up_on_whom_it_dialled_without_an_answer(failures, listener):
    loop = Loop(failures)
    loop.start()
    deadline = time.monotonic() + LONG
    ask(loop, lambda: loop.run(ignoring(dial(listener.getsockname(), Greeting(), deadline, "peer"))))
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(LONG)
        assert loop.close(LONG)
        while connection.recv(1000):
            pass
    assert failures == []


def ignoring(sequence):
    yield from sequence


def test_the_end_hangs_up_on_strangers_who_have_not_greeted(failures, listener):
    address = listener.getsockname()
    loop = Loop(failures)
    loop.start()
    door = listener.dup()
    door.setblocking(False)
    refused = []
    acceptor = Acceptor(door, Greeting, lambda _: "", lambda *_: None, refused.append, "peer", None, loop, Lobby())
    ask(loop, acceptor.begin)
    with socket.create_connection(address, LONG) as stranger:
        ask(loop, lambda: None)
        assert loop.close(LONG)
        acceptor.release()
        assert stranger.recv(1) == b""
    assert refused == []


# What is asked of a loop


def test_what_fails_keeps_nothing_else_from_being_done(loop, failures):
    free = keep_busy(loop)
    done = threading.Event()
    loop.ask(lambda: 1 / 0)
    loop.ask(done.set)
    free.set()
    assert done.wait(LONG)
    assert [type(error) for error in failures] == [ZeroDivisionError]


def test_who_asks_for_more_and_more_keeps_no_socket_waiting(loop, pair):
    near, far = pair
    came, over = threading.Event(), threading.Event()

    def again():
        if not over.is_set():
            loop.ask(again)

    ask(loop, lambda: loop.watch(near, READ, lambda _: (near.recv(10), came.set())))
    loop.ask(again)
    far.send(b"x")
    assert came.wait(LONG)
    over.set()


@pytest.mark.parametrize("threads", [4])
def test_no_request_is_forgotten(loop, threads):
    """Whoever asks while the loop notices others is heard, too."""
    answered = [threading.Event() for _ in range(threads * 500)]

    def ask_often(mine):
        for event in mine:
            loop.ask(event.set)
            assert event.wait(LONG)

    crowd = [threading.Thread(target=ask_often, args=(answered[number::threads],)) for number in range(threads)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join()
    assert all(event.is_set() for event in answered)


# Looking at all sockets


def test_a_look_delivers_what_lies_in_the_sockets(loop, pair, patient):
    near, far = pair
    got = []

    def read():
        got.append(near.recv(1))
        if len(got) % 2:  # one at a time, as long as there are more
            loop.ask(read)

    ask(loop, lambda: loop.watch(near, READ, lambda _: read()))
    for count in range(100):
        far.send(b"ab")
        loop.look(Bell())
        assert len(got) == 2 * count + 2


def test_a_look_ends_although_there_is_always_something_new(loop, pair, patient):
    near, far = pair
    got = []
    ask(loop, lambda: loop.watch(near, READ, lambda _: got.append(1)))
    far.send(b"x")  # nobody reads it
    begin = time.monotonic()
    loop.look(Bell())
    assert got
    assert time.monotonic() < begin + LONG / 2
    ask(loop, lambda: loop.unwatch(near))


def test_a_look_waits_for_a_thread_that_is_busy_with_something_else(loop, pair, patient):
    near, far = pair
    got = []
    ask(loop, lambda: loop.watch(near, READ, lambda _: got.append(near.recv(1))))
    free = keep_busy(loop)
    far.send(b"a")
    looked = threading.Event()
    looker = threading.Thread(target=lambda: (loop.look(Bell()), looked.set()))
    looker.start()
    assert not looked.wait(0.05)
    assert got == []
    free.set()
    assert looked.wait(LONG)
    assert got == [b"a"]
    looker.join()


def test_a_thread_that_waits_for_the_sockets_may_look_meanwhile(loop, pair, monkeypatch):
    """What it waits for is there only if something else is not: it does not wait for itself."""
    monkeypatch.setattr(module, "LOOK", 2 * LONG)
    near, far = pair
    got = []
    ask(loop, lambda: loop.watch(near, READ, lambda _: got.append(near.recv(1))))
    bell = Bell()
    bell.lookout = loop
    asked = []

    def there():
        if bell.leading:
            far.send(b"a")
            bell.look()
            asked.append(list(got))
        return bool(asked)

    assert bell.wait(there, time.monotonic() + LONG)
    assert asked[0] == [b"a"]


def test_a_look_does_not_wait_for_ever(loop, monkeypatch):
    monkeypatch.setattr(module, "LOOK", 0.01)
    free = keep_busy(loop)
    loop.look(Bell())
    free.set()


def test_a_look_before_the_loop_runs_or_after_its_end_does_no_harm(failures, pair):
    near, far = pair
    got = []
    loop = Loop(failures)
    loop.watch(near, READ, lambda _: got.append(near.recv(1)))
    far.send(b"a")
    loop.look(Bell())
    assert got == [b"a"]
    assert loop.close(LONG)
    far.send(b"b")
    loop.look(Bell())
    assert got == [b"a"]
    assert failures == []


class Frees:
    """A loop that is no longer busy once somebody looks."""

    def __init__(self, loop, free):
        self.lead, self.wake = loop.lead, loop.wake
        self._loop, self._free = loop, free

    def look(self, bell):
        self._free.set()
        self._loop.look(bell)


def test_a_token_that_lies_in_the_kernel_is_not_late(loop, pair, patient):
    """The time-out passes while the thread that would read it is busy."""
    near, far = pair
    fifos = {name: Fifo(name, "int32", (), 2) for name in "ab"}
    inlets = [Inlet(name, DROP, required=False, timeout=0.05) for name in fifos]
    inputs = [MatchedInput(inlet.name, fifos[inlet.name], 1, inlet) for inlet in inlets]
    actor = Matched(Actor(), inputs, [], [], Matcher(inlets, []), Numbering(0.0))
    for fifo in fifos.values():
        fifo.reader = actor.bell
    ask(loop, lambda: loop.watch(near, READ, lambda _: fifos["b"].commit(len(near.recv(1)), 0)))
    free = keep_busy(loop)
    actor.bell.lookout = Frees(loop, free)
    fifos["a"].commit(1, 0)
    far.send(b"x")
    tokens = {}
    assert actor.take(tokens)
    assert set(tokens) == {"a", "b"}
