"""Whose turn it is to wait for the sockets: always somebody's, and that of a thread which waits rather than another."""

import socket
import threading
import time

import pytest

from eprune.runtime.kernel.bell import Bell
from eprune.runtime.net import loop as module
from eprune.runtime.net.loop import READ, Loop
from tests.kit.waiting import until

LONG = 30.0


class Waiting(threading.Thread):
    """A thread that waits, through sockets, until it has been given something."""

    def __init__(self, loop):
        super().__init__(daemon=True)
        self.bell = Bell()
        self.bell.lookout = loop
        self.given = False
        self.start()

    def run(self):
        self.bell.wait(lambda: self.given)

    def give(self):
        """What callbacks of the loop, and other threads, do."""
        self.given = True
        if self.bell.asleep:
            self.bell.ring()


@pytest.fixture
def loop():
    failures = []
    made = Loop(failures.append)
    made.start()
    yield made
    assert made.close(LONG)
    assert not failures


@pytest.fixture
def far(loop):
    """What comes from this socket is given to the threads in ``far.to``."""
    near, far = socket.socketpair()
    near.setblocking(False)
    to = []

    def ready(_):
        near.recv(100)
        for thread in to:
            thread.give()

    loop.ask(lambda: loop.watch(near, READ, ready))
    with near, far:
        yield far, to
        done = threading.Event()
        loop.ask(lambda: (loop.unwatch(near), done.set()))
        assert done.wait(LONG)


def test_a_thread_that_waits_takes_the_turn_of_the_loops_own(loop):
    one = Waiting(loop)
    until(lambda: one.bell.leading)
    one.give()
    one.join(LONG)
    assert not one.is_alive()


def test_a_thread_that_has_got_what_it_waits_for_hands_over_to_one_that_still_waits(loop, far):
    one = Waiting(loop)
    until(lambda: one.bell.leading)
    other = Waiting(loop)
    until(lambda: other.bell.asleep)
    assert not other.bell.leading
    one.give()
    until(lambda: other.bell.leading)
    send, to = far
    to.append(other)
    send.send(b"x")
    other.join(LONG)
    assert not other.is_alive()


def assert_taken(far):
    """What comes while threads compute is taken by somebody else."""
    send, to = far
    came = threading.Event()
    to.append(type("Computes", (), {"give": came.set}))
    send.send(b"x")
    assert came.wait(LONG)


@pytest.mark.parametrize("many", [1, 3])
def test_while_all_threads_compute_the_loops_own_takes_what_comes(loop, far, many):
    threads = [Waiting(loop) for _ in range(many)]
    until(lambda: any(thread.bell.leading for thread in threads))
    time.sleep(0.05)  # so long that the loop's own has gone to rest
    for thread in threads:
        thread.give()
        thread.join(LONG)
    assert_taken(far)


def test_what_is_given_again_and_again_always_arrives(loop, far):
    """Turns change all the time: a thread waits, gets something, and another one waits."""
    send, to = far
    for _ in range(300):
        threads = [Waiting(loop) for _ in range(2)]
        to[:] = threads
        send.send(b"x")
        for thread in threads:
            thread.join(LONG)
            assert not thread.is_alive()


def test_where_tokens_are_large_the_loops_own_takes_over_at_once(loop, far, monkeypatch):
    """The kernel would not hold them until the thread that computes waits again."""
    monkeypatch.setattr(module, "REST", 2 * LONG)
    loop.eager = True
    one = Waiting(loop)
    until(lambda: one.bell.leading)
    one.give()
    one.join(LONG)
    assert_taken(far)
