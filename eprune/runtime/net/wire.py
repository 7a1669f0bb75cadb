"""The wire protocol as bytes, without a socket: greetings, and the frames between the two ends of a FIFO.

One TCP connection carries one FIFO, or all FIFOs of a pair of platforms. The sender (TX) opens it with a greeting; on a
shared connection the sender of its first FIFO does. The other side (RX) answers with a greeting that has a verdict:

    greeting   magic 'EPRUNE', u16 version, u32 length, then ``length`` bytes of JSON (an object of text values)

Then frames, each a header of 28 bytes and ``nbytes`` of payload, integers in network byte order:

    u8 kind | u8 flags | u16 FIFO number | u32 birth | u64 firing | u64 nbytes | u16 credited | u16 fired

    DATA       one token; ``firing`` is the index of the producer's firing; ``birth`` is when the oldest source that the
               token comes from fired, in microseconds of the sender's clock since the epoch, modulo 2**32; 0: unknown.
               With bit 0 of ``flags`` it is a credit too, for the FIFO number ``credited`` in the other direction:
               so many tokens were ``fired`` on, modulo 2**16, and there is room for the capacity beyond these. The
               other bits of ``flags`` are the level of the time-out that the sender's waits ask for (``adaptive``)
    END        TX to RX: no more tokens, ``firing`` were sent; RX to TX: wants no more, ``firing`` were consumed
    ERROR      the sender's run failed; the payload is the reason in UTF-8
    CREDIT     RX to TX: tokens received, tokens fired on, tokens that there is room for, and the index of the next
               firing: four u64
    HEARTBEAT  alive; the sender's clock in microseconds since the epoch, and the least difference between its clock and
               the peer's that it has seen when a heartbeat came, 2**63 - 1 if none has come: two i64. The first ones
               on a connection are answered at once.
    IDLE       TX to RX: the producer is starved and makes no tokens for now
    PAST       TX to RX: no tokens of an index up to ``firing`` will come any more
    TRAIL      TX to RX, before a DATA frame of the same firing: where that token's time went, as JSON (``traced``);
               only over FIFOs on the way of a requirement

A CREDIT frame for each FIFO follows the greetings, before any token. No more tokens are sent than there is room for.
A credit in a token's header is as good as a CREDIT frame where producers need not know what has only been received:
not under ``wait`` and ``newest``.

Every length is compared with its bound before anything is allocated.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from functools import partial
from typing import Callable, NamedTuple, Union, cast

from eprune.runtime.kernel.errors import ProtocolError, Refused

VERSION = 4
MAGIC = b"EPRUNE"
_TLS = b"\x16\x03"  # how every TLS connection begins
NO_TLS = "one side uses TLS and the other does not: state the same security in all platform files, and generate again"

_GREETING = struct.Struct("!6sHI")
_HEADER = struct.Struct("!BBHIQQHH")
GREETING_BYTES = _GREETING.size
HEADER_BYTES = _HEADER.size
MAX_GREETING = 16 * 1024
MAX_ERROR = 4096
MAX_TRAIL = 4096
#: A firing index stays below this and a counter below twice as much, which leaves room for what is computed from them.
MAX_INDEX = 2**62

DATA, CREDIT, HEARTBEAT, END, ERROR, IDLE, PAST, TRAIL = range(1, 9)

_COUNTERS = struct.Struct("!QQQQ")
_CREDIT = struct.Struct("!BBHIQQHHQQQQ")  # header and counters
_CLOCKS = struct.Struct("!qq")
#: the FIFO that a header without a credit credits
NONE = -1
#: What is said of a number of tokens fired on in a header: the number modulo this.
BRIEF = 1 << 16
#: payload bytes of the frames that are of one size
_FIXED = {CREDIT: _COUNTERS.size, HEARTBEAT: _CLOCKS.size, END: 0, IDLE: 0, PAST: 0}


class Header(NamedTuple):
    """A frame's header, checked. ``credited`` is a FIFO that is sent, or NONE; ``level`` that of a time-out, or 0."""

    kind: int
    fifo: int
    birth: int
    firing: int
    nbytes: int
    credited: int = NONE
    fired: int = 0
    level: int = 0


#: the same without a call of Python's: one for each frame that comes
_new_header = cast("Callable[[tuple[int, ...]], Header]", partial(tuple.__new__, Header))


def pack_header(
    buffer: bytearray | memoryview,
    kind: int,
    fifo: int,
    birth: int,
    firing: int,
    nbytes: int,
    credited: int = NONE,
    fired: int = 0,
    level: int = 0,
) -> None:
    """Write a header into ``buffer``, HEADER_BYTES long. ``fired`` counts modulo BRIEF; ``level`` is below 128."""
    if credited == NONE:
        _HEADER.pack_into(buffer, 0, kind, level << 1, fifo, birth, firing, nbytes, 0, 0)
    else:
        _HEADER.pack_into(buffer, 0, kind, level << 1 | 1, fifo, birth, firing, nbytes, credited, fired % BRIEF)


def control_frame(kind: int, fifo: int, firing: int = 0, message: str = "") -> bytes:
    """An END, IDLE or ERROR frame, whole."""
    payload = message.encode("utf-8", "replace")[:MAX_ERROR]
    return _HEADER.pack(kind, 0, fifo, 0, firing, len(payload), 0, 0) + payload


def trail_frame(fifo: int, firing: int, payload: bytes) -> bytes:
    """A TRAIL frame, whole."""
    return _HEADER.pack(TRAIL, 0, fifo, 0, firing, len(payload), 0, 0) + payload


def credit_frame(fifo: int, counters: tuple[int, int, int, int]) -> bytes:
    """A CREDIT frame, whole."""
    return _CREDIT.pack(CREDIT, 0, fifo, 0, 0, _COUNTERS.size, 0, 0, *counters)


def unpack_credit(payload: bytes | bytearray | memoryview) -> tuple[int, int, int, int]:
    """The counters of a CREDIT frame's payload. Raises ProtocolError if one is out of bounds."""
    received, fired, limit, firing = counters = _COUNTERS.unpack(payload)
    _check(max(counters), 2 * MAX_INDEX)
    return received, fired, limit, firing


def heartbeat_frame(clock: int, difference: int) -> bytes:
    """A HEARTBEAT frame, whole: this clock, and the least difference seen (microseconds)."""
    return _HEADER.pack(HEARTBEAT, 0, 0, 0, 0, _CLOCKS.size, 0, 0) + _CLOCKS.pack(clock, difference)


def unpack_heartbeat(payload: bytes | bytearray | memoryview) -> tuple[int, int]:
    """The peer's clock, and the least difference that it has seen (microseconds)."""
    clock, difference = _CLOCKS.unpack(payload)
    return clock, difference


def unpack_header(
    data: memoryview | bytes | bytearray, tokens: Mapping[int, Union[int, range]], begin: int = 0
) -> Header:
    """Read a header from ``data`` at ``begin``: ``tokens`` maps received FIFOs to the bytes that their tokens may have.

    Raises ProtocolError if the kind is unknown, a token belongs to no received FIFO, or the kind does not allow the
    payload's length.
    """
    kind, flags, number, birth, firing, nbytes, credited, fired = _HEADER.unpack_from(data, begin)
    if kind == DATA:
        lengths = tokens.get(number)
        if nbytes != lengths and not (isinstance(lengths, range) and nbytes in lengths):
            raise ProtocolError(f"a token of {nbytes} bytes for FIFO number {number}, which does not take such tokens")
        _check(firing, MAX_INDEX)
        if flags & 1:
            return _new_header((kind, number, birth, firing, nbytes, credited, fired, flags >> 1))
        return _new_header((kind, number, birth, firing, nbytes, NONE, 0, flags >> 1))
    if kind == ERROR:
        if nbytes > MAX_ERROR:
            raise ProtocolError(f"an error message of {nbytes} bytes; the limit is {MAX_ERROR}")
    elif kind == TRAIL:
        if nbytes > MAX_TRAIL:
            raise ProtocolError(f"a trail of {nbytes} bytes; the limit is {MAX_TRAIL}")
    elif nbytes != _FIXED.get(kind) or flags:
        raise ProtocolError(f"a frame of unknown kind {kind} with {nbytes} bytes")
    _check(firing, MAX_INDEX)
    return _new_header((kind, number, birth, firing, nbytes, NONE, 0, 0))


def _check(number: int, limit: int) -> None:
    if number >= limit:
        raise ProtocolError(f"an index or a count of {number}; the limit is {limit}")


def pack_greeting(fields: dict[str, str]) -> bytes:
    """A greeting as bytes: its fields are text. See ``greeting`` for their meaning."""
    body = json.dumps(fields, sort_keys=True).encode()
    return _GREETING.pack(MAGIC, VERSION, len(body)) + body


def greeting_size(data: bytes | bytearray) -> int:
    """The size of a greeting in bytes, from its first GREETING_BYTES.

    Raises ProtocolError if it is not a greeting of eprune or is too long, Refused if it has another version.
    """
    magic, version, length = _GREETING.unpack_from(data)
    if data.startswith(_TLS):
        raise Refused(NO_TLS)
    if magic != MAGIC:
        raise ProtocolError("the other side is not an eprune program")
    if version != VERSION:
        raise Refused(f"protocol version {version}, expected {VERSION}: use the same version of eprune on both sides")
    if length > MAX_GREETING:
        raise ProtocolError(f"a greeting of {length} bytes; the limit is {MAX_GREETING}")
    return GREETING_BYTES + int(length)


def unpack_greeting(data: bytes | bytearray) -> dict[str, str]:
    """The fields of a whole greeting. Raises ProtocolError if it is not an object of text values."""
    try:
        fields = json.loads(data[GREETING_BYTES:])
    except (ValueError, RecursionError):
        raise ProtocolError("a greeting that is not JSON") from None
    if not isinstance(fields, dict) or not all(isinstance(value, str) for value in fields.values()):
        raise ProtocolError("a greeting that is not an object of text values")
    return fields
