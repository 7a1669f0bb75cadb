"""The send queue of a connection: frames in their order, as far as its socket takes them without waiting."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Mapping
from typing import Callable, Optional

from eprune.runtime.net import wire
from eprune.runtime.net.ends import RxFifo, TxFifo
from eprune.runtime.net.tls import Stream

#: Bytes of tokens that one system call carries at most, roughly, and how many tokens.
BATCH_BYTES = 256 * 1024
BATCH_TOKENS = 256


class SendQueue:
    """The frames that a connection is sending, and the choice of the next ones. The connection's lock guards it."""

    def __init__(self, tx: Mapping[int, TxFifo], rx: Mapping[int, RxFifo]) -> None:
        self._tx = tx
        self._rx = rx
        self._control: list[bytes] = []
        self._buffers: list[memoryview] = []
        self._closing: list[bool] = []  # whether a buffer is the last one of its frame
        self._inside = False  # whether the first buffer is not the first one of its frame
        self._size = 0  # bytes of all buffers
        self._begun = 0  # bytes that the socket has taken of the first one
        self._due: list[RxFifo] = []  # whose reports are due
        self._fifos: list[tuple[TxFifo, int]] = []
        #: whether this side of the connection is closed, and who learns it once all has been sent
        self._closed = False
        self._last: Optional[Callable[[Stream], None]] = None
        self._batch = {
            number: max(1, min(BATCH_BYTES // (fifo.token_bytes + wire.HEADER_BYTES), BATCH_TOKENS) // len(tx))
            for number, fifo in tx.items()
        }

    @property
    def waiting(self) -> bool:
        """Whether the socket has not taken all chosen frames yet."""
        return bool(self._buffers)

    @property
    def empty(self) -> bool:
        """Whether nothing is to be sent that was chosen or added."""
        return not self._buffers and not self._control

    def clear(self) -> None:
        """Forget everything: the connection is lost."""
        self._buffers = []
        self._closing = []
        self._fifos = []
        self._control = []
        self._size = self._begun = 0
        self._inside = self._closed = False
        self._last = None

    def close(self, closed: Callable[[Stream], None]) -> None:
        """Close this side of the connection once all is sent that is due, and call ``closed``.

        Nothing follows: the socket would fail, and what still arrives would be lost with it.
        """
        self._last = closed

    def keep_begun(self) -> None:
        """Forget all but the frame of which the socket has a part."""
        buffers, closing, begun, inside, closed = self._buffers, self._closing, self._begun, self._inside, self._closed
        self.clear()
        self._closed = closed
        if begun or inside:
            count = closing.index(True) + 1
            self._buffers, self._closing = buffers[:count], closing[:count]
            self._size, self._begun, self._inside = sum(map(len, self._buffers)), begun, inside

    def add(self, frame: bytes) -> None:
        """Queue a frame that is not a token; it goes before the next tokens."""
        if not self._closed:
            self._control.append(frame)

    def send(self, stream: Stream) -> bool:
        """Send what the socket takes without waiting; whether it took anything.

        Raises BlockingIOError if it takes no more now, OSError if it is broken.
        """
        sent = False
        while not self._closed and (self._buffers or self._choose()):
            self._send_chosen(stream)
            sent = True
        closed, self._last = self._last, None
        if closed is not None:
            self._closed = True
            with contextlib.suppress(OSError):
                stream.shutdown(socket.SHUT_WR)
            closed(stream)
        return sent

    def send_next(self, stream: Stream, fifo: Optional[TxFifo] = None) -> bool:
        """The same for due reports and the next tokens of one FIFO, if nothing else waits, as is nearly always so."""
        if self._buffers or self._control or self._closed:
            return self.send(stream)
        if fifo is not None:
            count = fifo.take(self._batch[fifo.number])
            if count:
                self._choose_tokens(fifo, count)
        if self._due:
            self._choose_reports()
        if not self._buffers:
            return False
        self._send_chosen(stream)
        return True

    def report(self, receiver: RxFifo) -> None:
        """A report is due. Any thread may say so."""
        self._due.append(receiver)

    def _send_chosen(self, stream: Stream) -> None:
        begin = time.perf_counter_ns()
        buffers = self._buffers
        if self._begun:
            buffers = [buffers[0][self._begun :], *buffers[1:]]
        taken = stream.sendmsg(buffers[:1000], (), socket.MSG_DONTWAIT)
        if taken == self._size - self._begun:
            end = time.perf_counter_ns()
            for fifo, count in self._fifos:
                fifo.activity.add(begin, end, count)
            self._buffers = []
            self._closing = []
            self._fifos = []
            self._size = self._begun = 0
            self._inside = False
            return
        self._begun += taken
        done = 0
        while self._begun >= len(self._buffers[done]):
            self._begun -= len(self._buffers[done])
            self._size -= len(self._buffers[done])
            done += 1
        if done:
            self._inside = not self._closing[done - 1]
            del self._buffers[:done], self._closing[:done]
        raise BlockingIOError

    def _choose_tokens(self, fifo: TxFifo, count: int) -> None:
        credited, fired = self._choose_rider() if self._due else (wire.NONE, 0)
        frames = fifo.frames(fifo.next - count, count, credited, fired)
        self._buffers += frames
        self._closing += (False, True) * count
        self._size += sum(map(len, frames)) if fifo.uneven else count * (fifo.token_bytes + wire.HEADER_BYTES)
        self._fifos.append((fifo, count))

    def _choose_rider(self) -> tuple[int, int]:
        """A report that goes with the next token, as its header has it: FIFO and count."""
        due = self._due
        while due:
            receiver = due[-1]
            if receiver.alive and receiver.released != receiver.reported:
                fired = receiver.report_briefly()
                if fired is None:
                    break
                due.pop()
                return receiver.number, fired
            due.pop()
        return wire.NONE, 0

    def _choose_reports(self) -> None:
        while self._due:
            receiver = self._due.pop()
            if receiver.alive and receiver.released != receiver.reported:
                self._choose_frame(wire.credit_frame(receiver.number, receiver.report()))

    def _choose(self) -> bool:
        """Choose what to send next; whether there is anything."""
        for number, receiver in self._rx.items():
            if receiver.alive and receiver.released - receiver.reported >= receiver.stride:
                self._control.append(wire.credit_frame(number, receiver.report()))
        for frame in self._control:
            self._choose_frame(frame)
        self._control = []
        self._choose_reports()
        for number, fifo in self._tx.items():
            count = fifo.take(self._batch[number])
            if count:
                self._choose_tokens(fifo, count)
        for number, fifo in self._tx.items():
            if fifo.alive and fifo.drained and not fifo.end_sent:
                if fifo.passed > fifo.passed_sent:
                    fifo.passed_sent = fifo.passed
                    self._choose_frame(wire.control_frame(wire.PAST, number, fifo.passed))
                if fifo.starved and not fifo.idle_sent:
                    fifo.idle_sent = True
                    self._choose_frame(wire.control_frame(wire.IDLE, number))
                if fifo.ended:
                    fifo.end_sent = True
                    self._choose_frame(wire.control_frame(wire.END, number, fifo.count))
        for number, receiver in self._rx.items():
            if receiver.left and receiver.alive and not receiver.over:
                receiver.over = True
                self._choose_frame(wire.credit_frame(number, receiver.report()))
                self._choose_frame(wire.control_frame(wire.END, number, receiver.released))
        return bool(self._buffers)

    def _choose_frame(self, frame: bytes) -> None:
        self._buffers.append(memoryview(frame))
        self._closing.append(True)
        self._size += len(frame)
