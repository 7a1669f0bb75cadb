"""The wire protocol: what one side packs the other unpacks, and nothing else is accepted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eprune.runtime.kernel.errors import LinkError, ProtocolError, Refused
from eprune.runtime.net import wire
from eprune.runtime.net.greeting import Greeting, judge, unpack, warn
from eprune.runtime.net.shaping import Figures

GREETING = {"application": "app", "platform": "server", "digest": "d1", "fifo": "f3", "token": "int32[2] at rate 1"}


@given(
    st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1), st.integers(0, wire.MAX_INDEX - 1), st.integers(0, 2**64 - 1)
)
def test_a_header_survives_the_journey(fifo, birth, firing, nbytes):
    buffer = bytearray(wire.HEADER_BYTES)
    wire.pack_header(buffer, wire.DATA, fifo, birth, firing, nbytes)
    assert wire.unpack_header(buffer, {fifo: nbytes}) == (wire.DATA, fifo, birth, firing, nbytes, wire.NONE, 0, 0)
    assert wire.Header(wire.DATA, fifo, birth, firing, nbytes) == wire.unpack_header(buffer, {fifo: nbytes})


@given(st.integers(0, 2**16 - 1), st.integers(0, 2**64), st.integers(0, 127))
def test_a_credit_and_a_time_out_in_a_header_survive_the_journey(credited, fired, level):
    buffer = bytearray(wire.HEADER_BYTES)
    wire.pack_header(buffer, wire.DATA, 3, 0, 1, 8, credited, fired, level)
    assert wire.unpack_header(buffer, {3: 8}) == (wire.DATA, 3, 0, 1, 8, credited, fired % wire.BRIEF, level)
    wire.pack_header(buffer, wire.DATA, 3, 0, 1, 8, level=level)
    assert wire.unpack_header(buffer, {3: 8}) == (wire.DATA, 3, 0, 1, 8, wire.NONE, 0, level)


@given(st.binary(min_size=wire.HEADER_BYTES, max_size=wire.HEADER_BYTES), st.integers(0, 9), st.integers(0, 9))
def test_a_header_of_noise_is_refused_or_within_bounds(data, fifo, token_bytes):
    try:
        header = wire.unpack_header(data, {fifo: token_bytes})
    except ProtocolError:
        return
    assert header.fifo == fifo or header.kind != wire.DATA
    assert header.nbytes <= max(token_bytes, wire.MAX_ERROR)


@pytest.mark.parametrize("nbytes", [0, 7, 9, 2**63, 2**64 - 1])
def test_a_lie_about_the_length_is_refused(nbytes):
    buffer = bytearray(wire.HEADER_BYTES)
    wire.pack_header(buffer, wire.DATA, 0, 0, 0, nbytes)
    with pytest.raises(ProtocolError, match=f"{nbytes} bytes for FIFO number 0, which does not take such tokens"):
        wire.unpack_header(buffer, {0: 8})


@pytest.mark.parametrize(
    ("kind", "fifo", "nbytes", "message"),
    [
        (0, 0, 8, "unknown kind 0"),
        (77, 0, 8, "unknown kind 77"),
        (wire.DATA, 1, 8, "FIFO number 1, which does not take such tokens"),
        (wire.END, 0, 1, "with 1 bytes"),
        (wire.HEARTBEAT, 0, 1, "with 1 bytes"),
        (wire.ERROR, 0, wire.MAX_ERROR + 1, "error message of 4097 bytes"),
    ],
)
def test_a_frame_out_of_place_is_refused(kind, fifo, nbytes, message):
    buffer = bytearray(wire.HEADER_BYTES)
    wire.pack_header(buffer, kind, fifo, 0, 0, nbytes)
    with pytest.raises(ProtocolError, match=message):
        wire.unpack_header(buffer, {0: 8})


def test_an_error_frame_carries_its_message_cut_to_the_bound():
    frame = wire.control_frame(wire.ERROR, 3, message="x" * 10_000)
    header = wire.unpack_header(frame, {3: 8})
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
    with pytest.raises(Refused, match=f"version 9, expected {wire.VERSION}"):
        wire.greeting_size(wire._GREETING.pack(wire.MAGIC, 9, 2))


def test_the_receiver_accepts_its_own_kind():
    assert judge(Greeting(**{**GREETING, "platform": "endpoint"}), Greeting(**GREETING)) == ""


@pytest.mark.parametrize(
    ("field", "message"),
    [("digest", "application digest"), ("fifo", "FIFO"), ("token", "token type")],
)
def test_the_receiver_refuses_others_saying_what_differs_on_which_side(field, message):
    own = Greeting(**GREETING)
    reason = judge(Greeting(**{**GREETING, "platform": "endpoint", field: "other\n"}), own)
    assert reason.startswith(f"{message} other? at endpoint, {GREETING[field]} at server")
    assert judge(Greeting(), own) != ""


def test_another_interpreter_is_noted_only():
    mine = Greeting(**GREETING, interpreter="ai-edge-litert 2.3.0")
    theirs = Greeting(**{**GREETING, "platform": "endpoint"}, interpreter="tflite-runtime 2.14.0")
    assert judge(theirs, mine) == ""
    assert "results may differ in single bits" in warn(theirs, mine)
    assert warn(mine, mine) == ""


@pytest.mark.parametrize(
    "greeting",
    [
        Greeting(**GREETING),
        Greeting(**GREETING, incarnation="i", firing=7, running=True, emulated=Figures(1e6, 0.01)),
        Greeting(**GREETING, emulated=Figures()),
        Greeting(verdict="refused", reason="no"),
    ],
)
def test_a_greeting_is_read_as_it_was_written(greeting):
    assert unpack(greeting.pack()) == greeting


def test_an_end_that_emulates_its_link_refuses_one_that_does_not():
    assert "--emulate" in judge(Greeting(**GREETING), Greeting(**GREETING, emulated=Figures()))


@pytest.mark.parametrize("figures", [Figures(), Figures(11.2e6, 1.49e-3), Figures(None, 2.0), Figures(1.0)])
def test_the_figures_of_an_emulated_link_survive_the_journey(figures):
    assert unpack(Greeting(emulated=figures).pack()).emulated == figures


@pytest.mark.parametrize(
    "fields",
    [{"latency": value} for value in ("", "x", "nan", "-1", "inf")]
    + [{"latency": "1", "bandwidth": value} for value in ("x", "nan", "-1", "0")],
)
def test_impossible_figures_of_an_emulated_link_are_refused(fields):
    with pytest.raises(ProtocolError, match="emulated link"):
        unpack(wire.pack_greeting(fields))
