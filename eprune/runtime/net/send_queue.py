"""The send queue of a connection: frames in their order, as far as its socket takes them without waiting."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from typing import Optional

from eprune.runtime.net import wire
from eprune.runtime.net.ends import RxFifo, TxFifo
from eprune.runtime.net.tls import Stream

#: Bytes of tokens that one system call carries at most, roughly.
BATCH_BYTES = 256 * 1024


class SendQueue:
    """The frames that a connection is sending, and the choice of the next ones. The connection's lock guards it."""

    def __init__(self, tx: Mapping[int, TxFifo], rx: Mapping[int, RxFifo]) -> None:
        self._tx = tx
        self._rx = rx
        self._control: list[bytes] = []
        self._frames: list[tuple[list[memoryview], Optional[TxFifo]]] = []
        #: bytes of the first frame that the socket has taken
        self.begun = 0
        self._full = False  # whether there may be more than was chosen
        #: FIFOs for which both ends know where to continue
        self.resumed: set[int] = set()

    @property
    def waiting(self) -> bool:
        """Whether the socket has not taken all chosen frames yet."""
        return bool(self._frames)

    def clear(self) -> None:
        """Forget everything: the connection is lost."""
        self._frames.clear()
        self._control.clear()
        self.begun = 0

    def add(self, frame: bytes) -> None:
        """Queue a frame that is not a token; it goes before the next tokens."""
        self._control.append(frame)

    def send(self, connection: Stream) -> bool:
        """Send what the socket takes without waiting; whether it took anything.

        Raises BlockingIOError if it takes no more now, OSError if it is broken.
        """
        sent = False
        while True:
            chosen = not self._frames
            if chosen and not self._fill():
                break
            buffers = [buffer for frame, _ in self._frames for buffer in frame]
            begin = time.perf_counter_ns()
            taken = connection.sendmsg(_after(buffers, self.begun), (), socket.MSG_DONTWAIT)
            self._count(self.begun + taken, begin)
            sent = True
            if chosen and not self._frames and not self._full:
                break
        return sent

    def send_next(self, connection: Stream, fifo: TxFifo) -> bool:
        """The same for only the next token of a FIFO, if nothing else waits, which is nearly always the case."""
        if self._frames or self._control:
            return self.send(connection)
        slot = fifo.sending.take()
        if slot is None:
            return False
        frame = fifo.frame(slot)
        self._frames.append((frame, fifo))
        begin = time.perf_counter_ns()
        self._count(connection.sendmsg(frame, (), socket.MSG_DONTWAIT), begin)
        if self._frames:
            self.send(connection)
        return True

    def _count(self, taken: int, begin: int) -> None:
        """The socket has taken ``taken`` bytes of the frames."""
        done = 0
        for frame, fifo in self._frames:
            size = sum(map(len, frame))
            if taken < size:
                break
            taken -= size
            done += 1
            if fifo is not None:
                fifo.activity.add(begin, time.perf_counter_ns())
                fifo.free_slots(fifo.sending.sent())
        del self._frames[:done]
        self.begun = taken

    def _fill(self) -> bool:
        """Choose what to send next; whether there is anything."""
        frames = self._frames
        for number, receiver in self._rx.items():
            if number in self.resumed and receiver.receiving.due:
                self.add(wire.credit_frame(number, receiver.receiving.report()))
        frames += [([memoryview(frame)], None) for frame in self._control]
        self._control.clear()
        size, more = 0, True
        while more and size < BATCH_BYTES:
            more = False
            for fifo in self._tx.values():
                slot = fifo.sending.take()
                if slot is not None:
                    frames.append((fifo.frame(slot), fifo))
                    size += fifo.token_bytes
                    more = True
        self._full = size >= BATCH_BYTES
        for number, fifo in self._tx.items():
            sending = fifo.sending
            if sending.alive and sending.drained and not fifo.end_sent:
                if fifo.starved and not fifo.idle_sent:
                    fifo.idle_sent = True
                    frames.append(([memoryview(wire.control_frame(wire.IDLE, number))], None))
                if fifo.ended:
                    fifo.end_sent = True
                    frames.append(([memoryview(wire.control_frame(wire.END, number, sending.count))], None))
        for number, receiver in self._rx.items():
            if receiver.left and number in self.resumed and not receiver.over:
                receiver.over = True
                frames.append(([memoryview(wire.credit_frame(number, receiver.receiving.report()))], None))
                frames.append(([memoryview(wire.control_frame(wire.END, number, receiver.consumed))], None))
        return bool(frames)


def _after(buffers: list[memoryview], done: int) -> list[memoryview]:
    """What is left of the buffers after the first ``done`` bytes."""
    skip = 0
    while done and done >= len(buffers[skip]):
        done -= len(buffers[skip])
        skip += 1
    return [buffers[skip][done:], *buffers[skip + 1 :]] if done else buffers[skip:]
