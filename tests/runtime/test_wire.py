"""The wire protocol: what one side packs the other unpacks, and nothing else is accepted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eprune.runtime.kernel.errors import LinkError, ProtocolError, Refused
from eprune.runtime.net import wire

FACTS = {"application": "app", "platform": "server", "digest": "d1", "fifo": "f3", "token": "int32[2] at rate 1"}


@given(
    st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1), st.integers(0, wire.MAX_INDEX - 1), st.integers(0, 2**64 - 1)
)
def test_a_header_survives_the_journey(fifo, part, firing, nbytes):
    buffer = bytearray(wire.HEADER_BYTES)
    wire.pack_header(buffer, wire.DATA, fifo, part, firing, nbytes)
    assert wire.unpack_header(buffer, fifo, nbytes) == (wire.DATA, fifo, part, firing, nbytes)


@given(st.binary(min_size=wire.HEADER_BYTES, max_size=wire.HEADER_BYTES), st.integers(0, 9), st.integers(0, 9))
def test_a_header_of_noise_is_refused_or_within_bounds(data, fifo, token_bytes):
    try:
        header = wire.unpack_header(data, fifo, token_bytes)
    except ProtocolError:
        return
    assert header.fifo == fifo
    assert header.nbytes <= max(token_bytes, wire.MAX_ERROR)


@pytest.mark.parametrize("nbytes", [0, 7, 9, 2**63, 2**64 - 1])
def test_a_lie_about_the_length_is_refused(nbytes):
    buffer = bytearray(wire.HEADER_BYTES)
    wire.pack_header(buffer, wire.DATA, 0, 0, 0, nbytes)
    with pytest.raises(ProtocolError, match=f"{nbytes} bytes where every token has 8"):
        wire.unpack_header(buffer, 0, 8)


@pytest.mark.parametrize(
    ("kind", "fifo", "nbytes", "message"),
    [
        (0, 0, 8, "unknown kind 0"),
        (77, 0, 8, "unknown kind 77"),
        (wire.DATA, 1, 8, "number 1 on the connection of number 0"),
        (wire.END, 0, 1, "an end or a heartbeat with 1 bytes"),
        (wire.HEARTBEAT, 0, 1, "an end or a heartbeat with 1 bytes"),
        (wire.ERROR, 0, wire.MAX_ERROR + 1, "error message of 4097 bytes"),
    ],
)
def test_a_frame_out_of_place_is_refused(kind, fifo, nbytes, message):
    buffer = bytearray(wire.HEADER_BYTES)
    wire.pack_header(buffer, kind, fifo, 0, 0, nbytes)
    with pytest.raises(ProtocolError, match=message):
        wire.unpack_header(buffer, 0, 8)


def test_an_error_frame_carries_its_message_cut_to_the_bound():
    frame = wire.control_frame(wire.ERROR, 3, message="x" * 10_000)
    header = wire.unpack_header(frame, 3, 8)
    assert header.nbytes == wire.MAX_ERROR == len(frame) - wire.HEADER_BYTES


@given(st.dictionaries(st.text(), st.text(), max_size=5))
def test_a_greeting_survives_the_journey(fields):
    data = wire.pack_greeting(fields)
    assert wire.greeting_size(data[: wire.GREETING_BYTES]) == len(data)
    assert wire.unpack_greeting(data) == fields


@given(st.binary(min_size=wire.GREETING_BYTES, max_size=200))
def test_noise_is_no_greeting(data):
    with pytest.raises(LinkError):
        wire.greeting_size(data)


@pytest.mark.parametrize("body", [b"[" * 10_000, b"{", b"[]", b'{"a": 1}', b'{"a": {}}', b"\xff\xfe", b"null"])
def test_a_greeting_of_another_shape_is_refused(body):
    with pytest.raises(ProtocolError):
        wire.unpack_greeting(wire._GREETING.pack(wire.MAGIC, wire.VERSION, len(body)) + body)


def test_a_greeting_too_long_is_refused_before_it_is_read():
    with pytest.raises(ProtocolError, match="the limit is 16384"):
        wire.greeting_size(wire._GREETING.pack(wire.MAGIC, wire.VERSION, 2**32 - 1))


def test_another_version_is_refused_with_both_numbers():
    with pytest.raises(Refused, match="version 9 there, 1 here"):
        wire.greeting_size(wire._GREETING.pack(wire.MAGIC, 9, 2))


def test_the_receiver_accepts_its_own_kind():
    assert wire.judge({**FACTS, "platform": "endpoint"}, FACTS) == ""


@pytest.mark.parametrize(
    ("field", "message"),
    [("digest", "application digest"), ("fifo", "FIFO"), ("token", "token type")],
)
def test_the_receiver_refuses_others_saying_what_differs_on_which_side(field, message):
    reason = wire.judge({**FACTS, "platform": "endpoint", field: "other\n"}, FACTS)
    assert reason.startswith(f"{message} other? at endpoint, {FACTS[field]} at server")
    assert wire.judge({}, FACTS) != ""


def test_another_interpreter_is_noted_only():
    mine = {**FACTS, "interpreter": "ai-edge-litert 2.3.0"}
    hello = {**FACTS, "platform": "endpoint", "interpreter": "tflite-runtime 2.14.0"}
    assert wire.judge(hello, mine) == ""
    assert "results may differ in bits" in wire.warn(hello, mine)
    assert wire.warn(mine, mine) == ""
