"""What a connection has to send goes out as soon as its socket has room, and in order."""

from __future__ import annotations

import pytest

from eprune.runtime.kernel.policy import WAIT
from eprune.runtime.net import wire
from eprune.runtime.net.counters import Credit
from eprune.runtime.net.ends import TxFifo
from eprune.runtime.net.send_queue import SendQueue

FRAME = wire.HEADER_BYTES + 8


class Carrier:
    """A connection that sends nothing by itself."""

    gathers = False

    def send(self, end, count, follows=False):
        end.put(count)


class Socket:
    """Takes ``room`` bytes."""

    def __init__(self):
        self.room = 0
        self.data = b""

    def sendmsg(self, buffers, ancillary, flags):
        if not self.room:
            raise BlockingIOError
        out = b"".join(buffers)[: self.room]
        self.room -= len(out)
        self.data += out
        return len(out)


@pytest.fixture
def sent():
    """An queue with one channel whose peer has room for 100 tokens, and its socket."""
    channel = TxFifo("f", "uint64", (1,), 100, WAIT, False)
    channel.number = 0
    channel.resume("peer", Credit(0, 0, 100, 0))
    channel.carrier = Carrier()
    return SendQueue({0: channel}, {}), channel, Socket()


def put(channel, number):
    channel.writable[channel.written % channel.capacity][0] = number
    channel.commit(1, number)


def numbers(data):
    return [
        int.from_bytes(data[place + wire.HEADER_BYTES : place + FRAME], "little")
        for place in range(0, len(data), FRAME)
    ]


@pytest.mark.parametrize("first", [0, 1, FRAME - 1])
@pytest.mark.parametrize("next_only", [False, True])
def test_what_came_while_the_socket_was_full_goes_out_with_the_rest(sent, first, next_only):
    queue, channel, connection = sent
    connection.room = first
    for number in range(3):
        put(channel, number)
        with pytest.raises(BlockingIOError):
            queue.send_next(connection, channel) if next_only else queue.send(connection)
    assert queue.waiting
    connection.room = 1000
    assert queue.send(connection)
    assert numbers(connection.data) == [0, 1, 2]
    assert not queue.waiting and channel.drained


def test_the_end_follows_the_tokens_that_the_socket_did_not_take(sent):
    queue, channel, connection = sent
    put(channel, 7)
    with pytest.raises(BlockingIOError):
        queue.send_next(connection, channel)
    channel.ended = True
    connection.room = 1000
    queue.send(connection)
    assert numbers(connection.data[:FRAME]) == [7]
    assert connection.data[FRAME:] == wire.control_frame(wire.END, 0, 1)
