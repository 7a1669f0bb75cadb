"""What crosses between the halves of a network that is offloaded: cuts, answers, and reports of them."""

from __future__ import annotations

import numpy as np
import pytest
from cut_opener import CutOpener
from cut_packer import CutPacker
from hypothesis import given
from hypothesis import strategies as st
from offload_answer import OffloadAnswer
from offload_gate import OffloadGate
from offload_relay import OffloadRelay
from offload_sender import OffloadSender

from eprune.runtime.kernel.outputs import Outputs
from eprune.runtime.kernel.variable import VariableRoom
from tests.actors.driver import prepared

TYPES = {"block0": "uint8[7]", "block1": "float32[2,3]", "block2": "int16[4]", "exit1": "float32[2,3]"}
CUT = "uint8[<=40]"


def cut(number, tensor, padding=0):
    """A token."""
    head = np.array([number, padding], "<i4").tobytes()
    return np.frombuffer(head + np.asarray(tensor).tobytes() + bytes(padding), np.uint8)


def room():
    return np.zeros(40, np.uint8).view(VariableRoom)


@given(st.integers(0, 2), st.integers(0, 255))
def test_what_is_packed_is_opened_where_it_belongs(block, value):
    packer = prepared(CutPacker(), TYPES, {"cut": CUT})
    opener = prepared(CutOpener(), {"cut": CUT}, {name: TYPES[name] for name in list(TYPES)[:3]})
    port = packer.inputs[f"block{block}"]
    tensor = np.full(port.shape, value, port.dtype)
    out = room()
    packer.fire({f"block{block}": tensor}, {"cut": out})
    token = np.asarray(out)[: out.used]
    assert len(token) == 8 + tensor.nbytes
    assert opener.control({"cut": token}) == block
    copied = np.empty(port.shape, port.dtype)
    opener.fire({"cut": token}, {f"block{block}": copied})
    assert (copied == tensor).all()


def test_a_packer_hands_on_what_is_packed_and_says_when_it_left():
    packer = prepared(CutPacker(), {**TYPES, "done": CUT}, {"cut": CUT, "sent": "float64[3]"})
    given_ = cut(2, np.zeros(4, np.int16))
    out, sent = room(), np.zeros(3)
    packer.fire({"done": given_}, {"cut": out, "sent": sent})
    assert np.asarray(out)[: out.used].tolist() == given_.tolist()
    assert sent[0] > 0 and sent[1:].tolist() == [2, 16]
    packer.fire({"exit1": np.ones((2, 3), np.float32)}, {"cut": out, "sent": sent})
    assert sent[1:].tolist() == [-1, 32]


@given(st.integers(0, 60), st.integers(-5, 60))
def test_padding_is_sent_as_far_as_there_is_room_and_taken_off(wanted, stated):
    packer = prepared(CutPacker(), {**TYPES, "padding": "int32[1]"}, {"cut": CUT, "sent": "float64[3]"})
    tensor, out, sent = np.arange(4, dtype=np.int16), room(), np.zeros(3)
    packer.fire({"block2": tensor, "padding": np.int32([wanted])}, {"cut": out, "sent": sent})
    token = np.asarray(out)[: out.used]
    assert len(token) == 16 + min(wanted, 24) == sent[2]
    opener = prepared(CutOpener(), {"cut": CUT}, {"block2": "int16[4]"})
    copied = np.zeros(4, np.int16)
    opener.fire({"cut": token}, {"block2": copied})
    assert (copied == tensor).all()
    # A token that states other padding than it has is refused.
    wrong = token.copy()
    wrong[4:8].view("<i4")[0] = stated
    if stated != min(wanted, 24):
        with pytest.raises(ValueError, match="which takes 8"):
            opener.fire({"cut": wrong}, {"block2": copied})


@pytest.mark.parametrize("token", [b"", b"\1\0\0"])
def test_a_token_that_names_no_block_is_refused(token):
    opener = prepared(CutOpener(), {"cut": CUT}, {"block0": "uint8[7]"})
    with pytest.raises(ValueError, match="names no block"):
        opener.control({"cut": np.frombuffer(token, np.uint8)})


def test_a_tensor_of_another_size_is_refused():
    opener = prepared(CutOpener(), {"cut": CUT}, {"block0": "uint8[7]"})
    with pytest.raises(ValueError, match="a tensor of 3 bytes for block0, which takes 7"):
        opener.fire({"cut": np.zeros(11, np.uint8)}, {"block0": np.zeros(7, np.uint8)})


def answer(inputs, out="float32[2]", report=True):
    outputs = {"out": out, **({"report": "float64[6]"} if report else {})}
    return prepared(OffloadAnswer(), inputs, outputs)


def test_the_answer_is_that_of_whoever_computed_it_and_all_that_is_known_of_it_is_reported():
    each = answer({"local": "float32[2]", "remote": "uint8[16]", "sent": "float64[3]"})
    out, report = np.zeros(2, np.float32), np.zeros(6)
    remote = np.frombuffer(np.float64(0.25).tobytes() + np.float32([1, 2]).tobytes(), np.uint8)
    each.fire({"remote": remote, "sent": np.array([5.0, 2, 100])}, {"out": out, "report": report})
    assert out.tolist() == [1, 2] and report[0] == 1 and report[1] > 0
    assert report[2:].tolist() == [5, 2, 100, 0.25]
    each.fire({"local": np.float32([3, 4])}, {"out": out, "report": report})
    assert out.tolist() == [3, 4] and report[0] == 2 and report[2] == 0 and report[3] > 1000
    with pytest.raises(ValueError, match="local, remote are active"):
        each.fire({"local": np.float32([3, 4]), "remote": remote}, {"out": out, "report": report})


def test_a_servers_answer_says_how_long_it_took():
    each = answer({"local": "float32[2]", "arrived": "float32[2]", "begun": "float64[1]"}, "uint8[16]", report=False)
    out = np.zeros(16, np.uint8)
    begun = prepared(CutOpener(), {"cut": CUT}, {"block0": "float32[2]", "begun": "float64[1]"})
    token, stamp = cut(0, np.float32([1, 2])), np.zeros(1)
    begun.control({"cut": token})
    begun.fire({"cut": token}, {"block0": np.zeros(2, np.float32), "begun": stamp})
    each.fire({"arrived": np.float32([1, 2]), "begun": stamp}, {"out": out})
    assert 0 <= out[:8].view("<f8")[0] < 10
    assert out[8:].view("<f4").tolist() == [1, 2]


@pytest.mark.parametrize("number", [-1, 0, 2, 3])
def test_what_is_an_answer_is_not_sent(number):
    each = prepared(
        OffloadSender("3"),
        {"cut": CUT},
        {"answer": "float32[2]", "onwards": CUT, "sent": "float64[3]"},
    )
    token = cut(number, np.float32([1, 2]), 5)
    onwards = number in (0, 2)
    assert each.control({"cut": token}) == onwards
    out = {"onwards": room()} if onwards else {"answer": np.zeros(2, np.float32)}
    sent = np.full(3, 7.0)
    each.fire({"cut": token}, Outputs({**out, "sent": sent}))
    if onwards:
        assert np.asarray(out["onwards"])[: out["onwards"].used].tolist() == token.tolist()
        assert sent[0] > 0 and sent[1:].tolist() == [number, 21]
    else:
        assert out["answer"].tolist() == [1, 2] and sent.tolist() == [0, number, 0]


def gate(number="1", most="3"):
    made = OffloadGate(number, most, "0.9")
    made.clock = lambda: 10.0
    inputs = {"scores": "float32[1,2]", "features": "float32[4]", "given": "float64[4]"}
    outputs = {"early": "float32[1,2]", "deep": "float32[4]", "cut": "float32[4]", "plan": "float64[4]"}
    return prepared(made, inputs, outputs)


@pytest.mark.parametrize(
    ("scores", "plan", "value"),
    [
        ((0.95, 0.05), (5, np.inf, 1, 1), 0),  # sure: it leaves
        ((0.5, 0.5), (5, np.inf, 1, 1), 3),  # goes on to the next exit
        ((0.5, 0.5), (2, np.inf, 1, 1), 2),  # is sent after two blocks
        ((0.5, 0.5), (5, 10.5, 1, 0), 0),  # would be too late
        ((0.5, 0.5), (5, 11.5, 1, 9), 3),  # the next exit is in time
    ],
)
def test_at_an_exit_a_frame_leaves_or_follows_the_plan(scores, plan, value):
    inputs = {"scores": np.float32([scores]), "features": np.zeros(4, np.float32), "given": np.float64(plan)}
    assert gate().control(inputs) == value


def test_a_relay_decides_from_where_a_frame_comes_in():
    outputs = {"block0": "uint8[4]", "block1": "uint8[4]", "block2": "uint8[2]", "past": CUT, "begun": "float64[3]"}
    each = prepared(OffloadRelay("1,1", "9,9", "12,12"), {"cut": CUT, "report": "float64[6]"}, outputs)
    for number, value in ((0, 0 * 3 + 2), (1, 1 * 3 + 2), (2, 2 * 3 + 2)):
        token = cut(number, np.zeros(2 if number == 2 else 4, np.uint8))
        assert each.control({"cut": token, "report": np.zeros(6)}) == value
    # A server behind it that is fast gets the frame as it is.
    fast = prepared(OffloadRelay("1,1", "0.1,0.1", "12,12"), {"cut": CUT}, outputs)
    token = cut(1, np.zeros(4, np.uint8))
    assert fast.control({"cut": token}) == 1 * 3 + 1
    out, begun = room(), np.zeros(3)
    fast.fire({"cut": token}, Outputs({"past": out, "begun": begun}))
    assert np.asarray(out)[: out.used].tolist() == token.tolist() and begun[0] > 0
    # What it expects from each block on: the link takes next to no time.
    assert begun[1:] == pytest.approx([0.1, 0.1])
    with pytest.raises(ValueError, match="a cut before block 7, of 2"):
        fast.control({"cut": cut(7, np.zeros(4, np.uint8))})


def test_a_relay_learns_from_the_blocks_that_it_ran():
    outputs = {"block0": "uint8[4]", "block1": "uint8[4]", "block2": "uint8[2]", "past": CUT, "begun": "float64[3]"}
    each = OffloadRelay("1,0.5", "9,9", "12,12")
    each.tell = lambda _: None
    now = [0.0]
    each.clock = lambda: now[0]
    prepared(each, {"cut": CUT, "report": "float64[6]"}, outputs)
    each.control({"cut": cut(1, np.zeros(4, np.uint8)), "report": np.zeros(6)})
    # One block of half a second took two; nothing was sent.
    now[0] = 2.0
    each.control({"cut": cut(0, np.zeros(4, np.uint8)), "report": np.array([1, 2.0, 0, 2.0**31, 0, 0])})
    assert each.costs.slower["here"] == 4


def test_what_a_server_tells_comes_with_the_answer_and_is_reported():
    edge = answer({"local": "float32[2]", "begun": "float64[3]"}, "uint8[32]", report=False)
    token, out, report = np.zeros(32, np.uint8), np.zeros(2, np.float32), np.zeros(8)
    edge.fire({"local": np.float32([1, 2]), "begun": np.array([0.0, 5.0, 6.0])}, {"out": token})
    device = prepared(
        OffloadAnswer(), {"local": "float32[2]", "remote": "uint8[32]"}, {"out": "float32[2]", "report": "float64[8]"}
    )
    device.fire({"remote": token}, {"out": out, "report": report})
    assert out.tolist() == [1, 2] and report[5] > 0 and report[6:].tolist() == [5, 6]
    with pytest.raises(ValueError, match="port 'remote'"):
        prepared(OffloadAnswer(), {"local": "float32[2]", "remote": "uint8[13]"}, {"out": "float32[2]"})
