"""The wire protocol as bytes, without a socket: the handshake, and frames between the two ends of one FIFO.

One TCP connection carries one FIFO, or all of a pair of platforms. The sender (TX) opens it with a hello, of a shared
one the platform of the first FIFO's sender; the other (RX) answers with a verdict:

    hello, verdict   magic 'EPRUNE', u16 version, u32 length, then ``length`` bytes of JSON (an object of text values)

Then frames, each a header of 24 bytes and ``nbytes`` of payload, integers in network byte order:

    u8 kind | u8 zero | u16 FIFO number | u32 part | u64 firing | u64 nbytes

    DATA       one token; ``firing`` is the index of the producer's firing, ``part`` the token's place within it
    END        TX to RX: no more tokens, ``firing`` were sent; RX to TX: wants no more, ``firing`` were consumed
    ERROR      the sender's run failed; the payload says why, in UTF-8
    CREDIT     RX to TX: how many tokens came, how many were fired on, for how many there is room, and the index of the
               next firing: four u64
    HEARTBEAT  nothing to say, but alive
    IDLE       TX to RX: the producer is starved and makes no tokens for now

A connection that several FIFOs share, or whose FIFO has a fault policy, has a CREDIT frame for each FIFO after the
greetings, before any token, and never sends more tokens than there is room for.

Every length is compared with its bound before anything is allocated.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import NamedTuple

from eprune.runtime.kernel.errors import ProtocolError, Refused

VERSION = 1
MAGIC = b"EPRUNE"
_TLS = b"\x16\x03"  # how every TLS connection begins
NO_TLS = "one side uses TLS, the other does not: state the same security in all platform files, and generate again"

_GREETING = struct.Struct("!6sHI")
_HEADER = struct.Struct("!BBHIQQ")
GREETING_BYTES = _GREETING.size
HEADER_BYTES = _HEADER.size
MAX_GREETING = 16 * 1024
MAX_ERROR = 4096
#: Characters of the reason for a refusal that are shown.
MAX_REASON = 400
#: A firing index stays below this, a counter below twice as much: what follows from an index that is accepted is, too.
MAX_INDEX = 2**62

DATA, CREDIT, HEARTBEAT, END, ERROR, IDLE = range(1, 7)

_COUNTERS = struct.Struct("!QQQQ")
#: payload bytes of the frames that are of one size
_FIXED = {CREDIT: _COUNTERS.size, HEARTBEAT: 0, END: 0, IDLE: 0}


class Header(NamedTuple):
    """A frame's header, checked."""

    kind: int
    fifo: int
    part: int
    firing: int
    nbytes: int


def pack_header(buffer: bytearray | memoryview, kind: int, fifo: int, part: int, firing: int, nbytes: int) -> None:
    """Write a header into ``buffer``, HEADER_BYTES long."""
    _HEADER.pack_into(buffer, 0, kind, 0, fifo, part, firing, nbytes)


def control_frame(kind: int, fifo: int, firing: int = 0, message: str = "") -> bytes:
    """An END or ERROR frame, whole."""
    payload = message.encode("utf-8", "replace")[:MAX_ERROR]
    return _HEADER.pack(kind, 0, fifo, 0, firing, len(payload)) + payload


def credit_frame(fifo: int, counters: tuple[int, int, int, int]) -> bytes:
    """A CREDIT frame, whole."""
    return _HEADER.pack(CREDIT, 0, fifo, 0, 0, _COUNTERS.size) + _COUNTERS.pack(*counters)


def unpack_credit(payload: bytes | bytearray | memoryview) -> tuple[int, int, int, int]:
    """The counters of a CREDIT frame's payload. Raises ProtocolError where one is out of bounds."""
    received, fired, limit, firing = _COUNTERS.unpack(payload)
    for counter in (received, fired, limit, firing):
        _check(counter, 2 * MAX_INDEX)
    return received, fired, limit, firing


def unpack_shared(data: memoryview | bytes | bytearray, tokens: Mapping[int, int]) -> Header:
    """Read a header on a connection of several FIFOs: ``tokens`` maps the numbers of those that we receive to bytes.

    Raises ProtocolError where the kind is unknown, a token is of no FIFO that we receive, or the payload's length is
    not what the kind allows.
    """
    kind, zero, number, part, firing, nbytes = _HEADER.unpack_from(data)
    if kind == DATA:
        if nbytes != tokens.get(number):
            raise ProtocolError(f"a token of {nbytes} bytes for FIFO number {number}, which takes no such tokens")
    elif kind == ERROR:
        if nbytes > MAX_ERROR:
            raise ProtocolError(f"an error message of {nbytes} bytes; the limit is {MAX_ERROR}")
    elif nbytes != _FIXED.get(kind) or zero != 0:
        raise ProtocolError(f"a frame of unknown kind {kind} with {nbytes} bytes")
    _check(firing, MAX_INDEX)
    return Header(kind, number, part, firing, nbytes)


def unpack_header(data: memoryview | bytes | bytearray, fifo: int, token_bytes: int) -> Header:
    """Read a header from the first HEADER_BYTES of ``data``.

    Raises ProtocolError where the kind is unknown, the FIFO is not ``fifo``, or the payload's length is not what the
    kind allows (a token's payload is exactly ``token_bytes``).
    """
    kind, zero, number, part, firing, nbytes = _HEADER.unpack_from(data)
    if kind not in (DATA, END, ERROR, HEARTBEAT) or zero != 0:
        raise ProtocolError(f"a frame of unknown kind {kind}")
    if number != fifo:
        raise ProtocolError(f"a frame for FIFO number {number} on the connection of number {fifo}")
    if kind == DATA and nbytes != token_bytes:
        raise ProtocolError(f"a token of {nbytes} bytes where every token has {token_bytes}")
    if kind in (END, HEARTBEAT) and nbytes != 0:
        raise ProtocolError(f"an end or a heartbeat with {nbytes} bytes")
    if kind == ERROR and nbytes > MAX_ERROR:
        raise ProtocolError(f"an error message of {nbytes} bytes; the limit is {MAX_ERROR}")
    _check(firing, MAX_INDEX)
    return Header(kind, number, part, firing, nbytes)


def _check(number: int, limit: int) -> None:
    if number >= limit:
        raise ProtocolError(f"an index or a count of {number}; the limit is {limit}")


def pack_greeting(fields: dict[str, str]) -> bytes:
    """A hello or a verdict."""
    body = json.dumps(fields, sort_keys=True).encode()
    return _GREETING.pack(MAGIC, VERSION, len(body)) + body


def greeting_size(data: bytes | bytearray) -> int:
    """How many bytes a greeting has in all, from its first GREETING_BYTES.

    Raises ProtocolError if this is no greeting of eprune or is too long, Refused if it is one of another version.
    """
    magic, version, length = _GREETING.unpack_from(data)
    if data.startswith(_TLS):
        raise Refused(NO_TLS)
    if magic != MAGIC:
        raise ProtocolError("this is no eprune program")
    if version != VERSION:
        raise Refused(f"protocol version {version} there, {VERSION} here: use the same eprune on both sides")
    if length > MAX_GREETING:
        raise ProtocolError(f"a handshake of {length} bytes; the limit is {MAX_GREETING}")
    return GREETING_BYTES + int(length)


def unpack_greeting(data: bytes | bytearray) -> dict[str, str]:
    """Read a whole greeting. Raises ProtocolError if it is not an object of text values."""
    try:
        fields = json.loads(data[GREETING_BYTES:])
    except (ValueError, RecursionError):
        raise ProtocolError("a handshake that is no JSON") from None
    if not isinstance(fields, dict) or not all(isinstance(value, str) for value in fields.values()):
        raise ProtocolError("a handshake that is no object of text values")
    return fields


#: Characters of what tells one run of a program from another.
MAX_INCARNATION = 64

#: What both sides must agree on: hello field -> how a person calls it.
AGREE = {"digest": "application digest", "fifo": "FIFO", "token": "token type"}


def judge(hello: dict[str, str], mine: dict[str, str]) -> str:
    """Why a receiver with the facts ``mine`` must refuse this hello, '' if it accepts.

    Both have 'application', 'platform' and the fields of AGREE; who refuses us says so instead.
    """
    if hello.get("verdict") == "refused":
        reason = brief(hello.get("reason", ""), MAX_REASON)
        return f"{brief(hello.get('platform', 'the sender'))} refuses {mine['platform']}: {reason}"
    for field, name in AGREE.items():
        if hello.get(field) != mine[field]:
            theirs = hello.get(field, "nothing")
            reason = f"{name} {brief(theirs)} at {brief(hello.get('platform', 'the sender'))}"
            reason += f", {brief(mine[field])} at {mine['platform']}"
            if field == "digest":
                reason += ": generate all platforms' programs from the same files"
            return reason
    if "incarnation" in mine and not 0 < len(hello.get("incarnation", "")) <= MAX_INCARNATION:
        return "a hello that does not say which run of its program it is from"
    if ("latency" in hello) != ("latency" in mine):
        return "one side emulates the link, the other does not: start both with --emulate, or none"
    return ""


def firing_of(greeting: dict[str, str]) -> int:
    """The index of the next firing that a greeting tells; 0 if it is none."""
    text = greeting.get("firing", "")
    return int(text) if text.isdecimal() and len(text) < len(str(MAX_INDEX)) else 0


def brief(text: str, length: int = 60) -> str:
    """A peer's text, fit for a message: printable and short."""
    clean = "".join(char if char.isprintable() else "?" for char in text[: length + 1])
    return clean if len(clean) <= length else clean[: length - 3] + "..."


def warn(hello: dict[str, str], mine: dict[str, str]) -> str:
    """A note on what may differ without harm to the protocol, '' if nothing does: the TFLite interpreter."""
    theirs, ours = hello.get("interpreter", ""), mine.get("interpreter", "")
    if theirs and ours and theirs != ours:
        peer = brief(hello.get("platform", "the sender"))
        return f"{peer} runs {brief(theirs)}, {mine['platform']} {ours}: results may differ in bits"
    return ""
