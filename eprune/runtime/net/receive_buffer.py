"""The receive buffer of a connection: frames out of bytes. Small ones are read ahead, large tokens go to their slots.

Reading waits for nothing: `read` handles what is there and returns.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from typing import Callable, Optional

import numpy as np

from eprune.runtime.kernel.errors import ProtocolError
from eprune.runtime.net import clocks, wire
from eprune.runtime.net.ends import RxFifo
from eprune.runtime.net.tls import Stream

#: Bytes that are read ahead at most.
AHEAD = 64 * 1024
#: Tokens of that many bytes and more are received straight into their slots.
LARGE = 8 * 1024
#: From that many waiting tokens on, they are taken together.
TOGETHER = 4
#: How often the socket is read before others get their turn.
READS = 16

#: what the headers of tokens that are taken together have in common: kind, zero, number and length
_SAME = np.r_[0:4, 16:24]


class Closed(ConnectionResetError):
    """The peer has closed its side."""


Handle = Callable[[wire.Header, bytes], None]
#: gets the FIFO that a token's header credits, and how many tokens were fired on
Credited = Callable[[int, int], None]


class ReceiveBuffer:
    """The bytes that one connection receives, in order. ``handle`` gets each frame that is not a token."""

    def __init__(self, stream: Stream, fifos: Mapping[int, RxFifo], handle: Handle, credited: Credited) -> None:
        self._stream = stream
        #: a socket that has given less than it might have has no more; it is not so with TLS
        self._plain = isinstance(stream, socket.socket)
        self._drained = False
        self._fifos = fifos
        self._handle = handle
        self._credited = credited
        self._lengths = {number: fifo.lengths for number, fifo in fifos.items()}
        self._latest = dict.fromkeys(fifos, 0)  # FIFO -> the index of its latest token
        self._ahead = memoryview(bytearray(AHEAD))
        self._array = np.frombuffer(self._ahead, np.uint8)
        self._end = 0  # of what was read ahead, from the start of the buffer
        self._head = memoryview(bytearray(wire.HEADER_BYTES))
        #: what a large token still lacks: its slot's rest, FIFO, header, and when it began to arrive
        self._rest: Optional[memoryview] = None
        self._coming: tuple[RxFifo, wire.Header, int]
        #: the FIFO that probably has the next token, if that is a large one: which one followed last time, for each
        self._likely: Optional[RxFifo] = None
        self._follower: dict[int, RxFifo] = {}
        self._previous = -1  # the FIFO of the last token

    def read(self) -> bool:
        """Handle what has arrived; whether there may be more.

        Raises OSError if the connection breaks, Closed if the peer has closed its side.
        """
        for _ in range(READS):
            self._drained = False
            try:
                if self._rest is not None:
                    self._continue(self._rest)
                elif self._likely is not None and not self._end and self._likely.room > 0 and not self._likely.left:
                    self._expect(self._likely)
                else:
                    self._end += self._receive([self._ahead[self._end :]], AHEAD - self._end)
                    self._parse()
            except BlockingIOError:
                return False
            if self._drained:
                return False
        return True

    def _receive(self, buffers: list[memoryview], most: int) -> int:
        """Receive into buffers that take ``most`` bytes; how many came."""
        count = self._stream.recvmsg_into(buffers)[0]
        if count == 0:
            raise Closed("connection closed by peer")
        self._drained = self._plain and count < most
        return count

    def _continue(self, rest: memoryview) -> None:
        """More of a large token, and what follows it."""
        count = self._receive([rest, self._ahead], len(rest) + AHEAD)
        if count < len(rest):
            self._rest = rest[count:]
            return
        self._rest = None
        fifo, header, begin = self._coming
        fifo.activity.add(begin, time.perf_counter_ns())
        fifo.arrived(header.firing, header.birth)
        self._guess(fifo)
        self._end = count - len(rest)
        self._parse()

    def _guess(self, fifo: RxFifo) -> None:
        """Which token probably comes after one of ``fifo``: the one that did last time, as FIFOs take turns."""
        number = fifo.number
        self._follower[self._previous] = fifo
        self._previous = number
        likely = self._follower.get(number, fifo)
        self._likely = likely if likely.token_bytes >= LARGE and not likely.uneven else None

    def _expect(self, fifo: RxFifo) -> None:
        """The header and the payload of the token that probably comes, in one call."""
        slot = fifo.target(fifo.token_bytes)
        begin = time.perf_counter_ns()
        size = wire.HEADER_BYTES
        count = self._receive([self._head, slot, self._ahead], size + len(slot) + AHEAD)
        if count >= size:
            header = wire.unpack_header(self._head, self._lengths)
            if header.kind == wire.DATA and header.fifo == fifo.number:
                self._check_order(header.fifo, header.firing)
                if header.credited >= 0:
                    self._credited(header.credited, header.fired)
                if header.level:
                    fifo.heard(header.level)
                count -= size
                self._rest, self._coming = slot, (fifo, header, begin)
                if count < len(slot):
                    self._rest = slot[count:]
                    return
                self._rest = None
                fifo.activity.add(begin, time.perf_counter_ns())
                fifo.arrived(header.firing, header.birth)
                self._guess(fifo)
                self._end = count - len(slot)
                self._parse()
                return
        # It was something else: nothing is in the slot that anybody reads.
        data = bytes(self._head[: min(count, size)])
        data += bytes(slot[: max(count - size, 0)]) + bytes(self._ahead[: max(count - size - len(slot), 0)])
        self._likely = None
        for begin in range(0, len(data), AHEAD // 2):
            part = data[begin : begin + AHEAD // 2]
            if self._rest is not None:
                part = self._put_rest(part)
            self._ahead[self._end : self._end + len(part)] = part
            self._end += len(part)
            self._parse()

    def _put_rest(self, part: bytes) -> bytes:
        """Give a large token what it lacks; what is left over."""
        rest = self._rest
        assert rest is not None
        count = min(len(part), len(rest))
        rest[:count] = part[:count]
        self._rest = rest[count:]
        if count == len(rest):
            self._rest = None
            fifo, header, begin = self._coming
            fifo.activity.add(begin, time.perf_counter_ns())
            fifo.arrived(header.firing, header.birth)
        return part[count:]

    def _parse(self) -> None:
        """Handle the frames that were read ahead; what remains moves to the start of the buffer."""
        ahead, end, begin, size = self._ahead, self._end, 0, wire.HEADER_BYTES
        while end - begin >= size:
            header = wire.unpack_header(ahead, self._lengths, begin)
            kind, number, birth, firing, nbytes, credited, fired, level = header
            whole = size + nbytes
            if kind != wire.DATA:
                if end - begin < whole:
                    break
                payload = bytes(ahead[begin + size : begin + whole])
                begin += whole
                self._handle(header, payload)
                continue
            fifo = self._fifos[number]
            room = fifo.bound - fifo.written
            if room <= 0:
                raise ProtocolError("the peer sends more tokens than there is room for")
            if credited < 0 and end - begin >= TOGETHER * whole and room >= TOGETHER and not fifo.variable:
                begin += self._take_together(fifo, begin, end, whole)
                continue
            have = end - begin - size
            self._check_order(number, firing)
            if have < nbytes < LARGE:
                break
            if credited >= 0:
                self._credited(credited, fired)
            if level:
                fifo.heard(level)
            slot = fifo.target(nbytes)
            now = time.perf_counter_ns()
            slot[:have] = ahead[begin + size : begin + min(size + have, whole)]
            if have < nbytes:
                self._rest, self._coming = slot[have:], (fifo, header, now)
                begin = end
                break
            begin += whole
            fifo.activity.add(now, time.perf_counter_ns())
            fifo.arrived(firing, birth)
            self._guess(fifo)
        if begin:
            rest = end - begin
            ahead[:rest] = ahead[begin:end]
            self._end = rest

    def _take_together(self, fifo: RxFifo, begin: int, end: int, whole: int) -> int:
        """Take the tokens of one FIFO that follow one another; how many bytes they and their headers have."""
        now = time.perf_counter_ns()
        most = min((end - begin) // whole, fifo.room)
        frames = self._array[begin : begin + most * whole].reshape(most, whole)
        same = (frames[:, _SAME] == frames[0, _SAME]).all(axis=1)
        count = most if same.all() else int(np.argmin(same))
        frames = frames[:count]
        firings = frames[:, 8:16].copy().view(">u8").ravel()
        if firings.max() >= wire.MAX_INDEX:
            raise ProtocolError(f"an index of {firings.max()}; the limit is {wire.MAX_INDEX}")
        self._check_order(fifo.number, int(firings[0]))
        if not fifo.unordered and (firings[1:] < firings[:-1]).any():
            raise ProtocolError("the peer sent firings out of order")
        self._latest[fifo.number] = int(firings[-1])
        births = clocks.all_from_wire(frames[:, 4:8].copy().view(">u4").ravel(), fifo.offset)
        fifo.arrived_together(frames[:, wire.HEADER_BYTES :], firings.tolist(), births)
        fifo.activity.add(now, time.perf_counter_ns(), count)
        return count * whole

    def _check_order(self, number: int, firing: int) -> None:
        """A producer's firings come in their order, unless some of its tokens went elsewhere first."""
        latest = self._latest[number]
        if firing < latest and not self._fifos[number].unordered:
            raise ProtocolError(f"the peer sent firing {firing} after firing {latest}")
        self._latest[number] = firing
