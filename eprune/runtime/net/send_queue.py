"""What a connection has to send: frames in their order, as far as its socket takes them at once."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from typing import Optional

from eprune.runtime.net import wire
from eprune.runtime.net.ends import RxChannel, TxChannel
from eprune.runtime.net.tls import Stream

#: Bytes of tokens that one system call carries at most, roughly.
BATCH_BYTES = 256 * 1024


class Outbox:
    """The frames that a connection is sending, and the choice of what comes next. The connection's lock guards it."""

    def __init__(self, tx: Mapping[int, TxChannel], rx: Mapping[int, RxChannel]) -> None:
        self._tx = tx
        self._rx = rx
        self._control: list[bytes] = []
        self._frames: list[tuple[list[memoryview], Optional[TxChannel]]] = []
        #: bytes of the first frame that are out
        self.begun = 0
        self._full = False  # whether more may be there than was chosen
        #: FIFOs of which both ends know where they go on
        self.resumed: set[int] = set()

    @property
    def waiting(self) -> bool:
        """Whether frames have been chosen that are not out yet."""
        return bool(self._frames)

    def clear(self) -> None:
        """Forget everything: the connection is gone."""
        self._frames.clear()
        self._control.clear()
        self.begun = 0

    def say(self, frame: bytes) -> None:
        """Send a frame that is no token, before the next tokens."""
        self._control.append(frame)

    def send(self, connection: Stream) -> bool:
        """Give the socket what it takes at once; whether that was anything.

        Raises BlockingIOError if it takes no more now, OSError if it is broken.
        """
        sent = False
        while True:
            chosen = not self._frames
            if chosen and not self._fill():
                break
            buffers = [buffer for frame, _ in self._frames for buffer in frame]
            begin = time.perf_counter_ns()
            out = connection.sendmsg(_after(buffers, self.begun), (), socket.MSG_DONTWAIT)
            self._count(self.begun + out, begin)
            sent = True
            if chosen and not self._frames and not self._full:
                break
        return sent

    def send_next(self, connection: Stream, channel: TxChannel) -> bool:
        """The same for the next token of a channel only, if nothing else waits, as is nearly always so."""
        if self._frames or self._control:
            return self.send(connection)
        slot = channel.sending.take()
        if slot is None:
            return False
        frame = channel.frame(slot)
        self._frames.append((frame, channel))
        begin = time.perf_counter_ns()
        self._count(connection.sendmsg(frame, (), socket.MSG_DONTWAIT), begin)
        if self._frames:
            self.send(connection)
        return True

    def _count(self, out: int, begin: int) -> None:
        """``out`` bytes of the frames are out."""
        done = 0
        for frame, channel in self._frames:
            size = sum(map(len, frame))
            if out < size:
                break
            out -= size
            done += 1
            if channel is not None:
                channel.activity.add(begin, time.perf_counter_ns())
                channel.free_slots(channel.sending.sent())
        del self._frames[:done]
        self.begun = out

    def _fill(self) -> bool:
        """Choose what to send next; whether there is anything."""
        frames = self._frames
        for number, receiver in self._rx.items():
            if number in self.resumed and receiver.receiving.due:
                self.say(wire.credit_frame(number, receiver.receiving.tell()))
        frames += [([memoryview(frame)], None) for frame in self._control]
        self._control.clear()
        size, more = 0, True
        while more and size < BATCH_BYTES:
            more = False
            for channel in self._tx.values():
                slot = channel.sending.take()
                if slot is not None:
                    frames.append((channel.frame(slot), channel))
                    size += channel.token_bytes
                    more = True
        self._full = size >= BATCH_BYTES
        for number, channel in self._tx.items():
            sending = channel.sending
            if sending.alive and sending.drained and not channel.said_end:
                if channel.starved and not channel.said_starved:
                    channel.said_starved = True
                    frames.append(([memoryview(wire.control_frame(wire.IDLE, number))], None))
                if channel.ended:
                    channel.said_end = True
                    frames.append(([memoryview(wire.control_frame(wire.END, number, sending.count))], None))
        for number, receiver in self._rx.items():
            if receiver.left and number in self.resumed and not receiver.over:
                receiver.over = True
                frames.append(([memoryview(wire.credit_frame(number, receiver.receiving.tell()))], None))
                frames.append(([memoryview(wire.control_frame(wire.END, number, receiver.consumed))], None))
        return bool(frames)


def _after(buffers: list[memoryview], done: int) -> list[memoryview]:
    """What is left of the buffers after the first ``done`` bytes."""
    skip = 0
    while done and done >= len(buffers[skip]):
        done -= len(buffers[skip])
        skip += 1
    return [buffers[skip][done:], *buffers[skip + 1 :]] if done else buffers[skip:]
