"""An exchange puts a layer together, and says what was missing of it."""

from __future__ import annotations

import numpy as np
import pytest
from driver import fired as fire
from driver import prepared
from exchange import Exchange
from select_channels import SelectChannels

from eprune.runtime.kernel.outputs import Outputs

TABLE = "uint8[2,3]"


def exchange(parts: str = "own=0-1 b=2,4 c=3", row: str = "1", zero: str = "0", **seen: str) -> Exchange:
    """Device a of three, with five channels of two elements; ``seen`` are ports for tables."""
    actor = Exchange("conv", "a,b,c", parts, row, zero)
    actor.told = []
    actor.tell = actor.told.append
    counts = {
        port: text.count(",")
        + 1
        + sum(int(r.split("-")[1]) - int(r.split("-")[0]) for r in text.split(",") if "-" in r)
        for port, text in (part.split("=") for part in parts.split())
    }
    inputs = {port: f"int16[2,{count}]" for port, count in counts.items()}
    inputs.update(dict.fromkeys(("seen", *seen), TABLE))
    return prepared(actor, inputs, {"out": "int16[2,5]", "copy": "int16[2,5]", "table": TABLE, "table_b": TABLE})


def fired(actor: Exchange, tables=None, **parts):
    """The result, and the table, of parts that are channel numbers."""
    given = {port: np.array([values, values], np.int16) for port, values in parts.items()}
    given["seen"] = np.zeros((2, 3), np.uint8)
    given.update({name: np.array(table, np.uint8) for name, table in (tables or {}).items()})
    outputs = Outputs({name: np.full(port.shape, 77, port.dtype) for name, port in actor.outputs.items()})
    actor.fire(given, outputs)
    assert np.array_equal(outputs["out"], outputs["copy"])
    assert np.array_equal(outputs["table"], outputs["table_b"])
    assert np.array_equal(outputs["out"][0], outputs["out"][1])
    return outputs["out"][0].tolist(), outputs["table"].tolist()


def designated(device, *there):
    """Whether a device's result is the designated one; the parts of these peers are there."""
    peers = dict.fromkeys(set("abc") - {device}, "int16[1,1]")
    ports = " ".join(f"{name}={number}" for number, name in enumerate(peers, 1))
    actor = Exchange("conv", "a,b,c", f"own=0 {ports}", "1", device=device)
    actor.tell = lambda *_: None
    given = {"own": "int16[1,1]", **peers, "seen": TABLE}
    prepared(actor, given, {"out": "int16[1,3]", "designated": "uint8[1]"})
    inputs = {name: np.zeros((1, 1), np.int16) for name in ("own", *there)}
    inputs["seen"] = np.zeros((2, 3), np.uint8)
    outputs = Outputs({"out": np.zeros((1, 3), np.int16), "designated": np.full(1, 77, np.uint8)})
    actor.fire(inputs, outputs)
    return int(outputs["designated"][0])


def test_the_first_device_that_lives_is_the_designated_one():
    assert designated("a", "b", "c") == designated("a") == 1
    assert designated("b", "a", "c") == 0
    assert designated("b", "c") == 1
    assert designated("c", "a") == designated("c", "b") == 0
    assert designated("c") == 1


def test_a_device_whose_parts_are_not_needed_at_last_is_known_by_what_was_missing_before():
    actor = Exchange("conv", "a,b,c", "own=0 b=1", "1", device="c")
    actor.tell = lambda *_: None
    prepared(
        actor,
        {"own": "int16[1,1]", "b": "int16[1,1]", "seen": TABLE},
        {"out": "int16[1,2]", "designated": "uint8[1]"},
    )
    outputs = Outputs({"out": np.zeros((1, 2), np.int16), "designated": np.zeros(1, np.uint8)})
    for missing, wanted in ((0, 0), (1, 1), (2, 1)):
        actor.fire({"own": np.zeros((1, 1)), "seen": np.array([[missing, 0, 0], [0, 0, 0]])}, outputs)
        assert outputs["designated"][0] == wanted


def test_a_designated_output_needs_the_devices_name():
    actor = Exchange("conv", "a,b", "own=0 b=1")
    with pytest.raises(ValueError, match="expected a device"):
        prepared(actor, {"own": "int8[1,1]", "b": "int8[1,1]"}, {"out": "int8[1,2]", "designated": "uint8[1]"})


def test_all_parts_make_the_whole():
    result, table = fired(exchange(), own=[10, 11], b=[12, 14], c=[13])
    assert result == [10, 11, 12, 13, 14]
    assert table == [[0, 0, 0], [0, 0, 0]]


def test_frames_that_lacked_a_part_are_counted():
    actor = exchange()
    fired(actor, own=[10, 11], b=[12, 14], c=[13])
    assert not actor.figures
    fired(actor, own=[10, 11], c=[13])
    fired(actor, own=[10, 11])
    fired(actor, own=[10, 11], b=[12, 14], c=[13])
    assert actor.figures == {"without_b": 2, "without_c": 1}


def test_what_is_missing_is_zero_or_the_zero_point_and_is_reported():
    actor = exchange(zero="7")
    assert fired(actor, own=[10, 11], c=[13]) == ([10, 11, 7, 13, 7], [[0, 0, 0], [0, 2, 0]])
    assert fired(actor, own=[10, 11]) == ([10, 11, 7, 7, 7], [[0, 0, 0], [0, 2, 2]])
    assert fired(actor, own=[10, 11], b=[12, 14], c=[13])[0] == [10, 11, 12, 13, 14]
    assert actor.told == [
        "layer conv: without b (2 of 5 channels lost), from firing 0 on",
        "layer conv: without b, c (3 of 5 channels lost), from firing 1 on",
        "layer conv: all parts are there again, from firing 2 on",
    ]


def test_others_copies_stand_in_for_a_part_that_is_missing():
    actor = exchange("own=0-1 b=2-4 c=3,4,0,2")
    assert fired(actor, own=[10, 11], c=[13, 14, 99, 12]) == ([10, 11, 12, 13, 14], [[0, 0, 0], [0, 1, 0]])
    assert fired(actor, own=[10, 11], b=[12, 13, 14], c=[99, 99, 99, 99])[0] == [10, 11, 12, 13, 14]


def test_a_copy_of_a_device_that_lacked_something_comes_last():
    actor = exchange("own=0-1 b=2-4 c=2-4", seen_b=TABLE, seen_c=TABLE)
    clean, spoilt = [[0, 1, 0], [0, 0, 0]], [[2, 0, 2], [0, 0, 0]]
    result, table = fired(actor, {"seen_b": spoilt, "seen_c": clean}, own=[10, 11], b=[0, 0, 0], c=[12, 13, 14])
    assert (result, table) == ([10, 11, 12, 13, 14], [[0, 1, 0], [0, 0, 0]])
    # Where there is no other, it is used, and the table says so.
    result, table = fired(actor, {"seen_b": spoilt}, own=[10, 11], b=[0, 0, 0])
    assert (result, table) == ([10, 11, 0, 0, 0], [[2, 0, 2], [0, 0, 1]])
    # A part of which nobody says how good it is counts as lost.
    result, table = fired(actor, own=[10, 11], b=[1, 2, 3])
    assert (result, table) == ([10, 11, 1, 2, 3], [[0, 0, 0], [0, 2, 1]])


def test_its_own_part_comes_last_if_it_lacked_something_itself():
    actor = exchange("own=0-2 b=2-4 c=3", seen_b=TABLE)
    lacking = {"seen": [[0, 2, 0], [0, 0, 0]], "seen_b": [[0, 0, 0], [0, 0, 0]]}
    assert fired(actor, lacking, own=[10, 11, 99], b=[12, 13, 14], c=[0])[0] == [10, 11, 12, 13, 14]


def test_sums_restore_one_part_and_no_more():
    actor = exchange("own=0-1 b=2-4 c=0-2")
    actor.coded = "c"
    sums = [10 + 12, 11 + 13, 14]
    assert fired(actor, own=[10, 11], c=sums) == ([10, 11, 12, 13, 14], [[0, 0, 0], [0, 1, 0]])
    assert fired(actor, own=[10, 11], b=[12, 13, 14]) == ([10, 11, 12, 13, 14], [[0, 0, 0], [0, 0, 1]])
    assert fired(actor, own=[10, 11]) == ([10, 11, 0, 0, 0], [[0, 0, 0], [0, 2, 1]])
    # The device that has the sums needs no other's part more than any other does.
    actor = exchange("own=0-2 b=0-1 c=2-4")
    actor.coded = "own"
    assert fired(actor, own=sums, c=[12, 13, 14])[0] == [10, 11, 12, 13, 14]
    assert fired(actor, own=sums, b=[10, 11])[0] == [10, 11, 12, 13, 14]


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"parts": "own=0-1 b=2-3"}, "parts names own, b"),
        ({"parts": "own=0-1 b=1-2 d=3"}, "none of the devices"),
        ({"parts": "own=0,0 b=2 c=3"}, "each once"),
        ({"parts": "own=0-x b=2 c=3"}, "expected channels"),
        ({"parts": "own=0-1 b=2,5 c=3"}, "its part is"),
        ({"row": "2"}, "a table is"),
        ({"zero": "1.5"}, "expected a whole number"),
    ],
)
def test_what_does_not_fit_is_refused(parameters, words):
    chosen = {"parts": "own=0-1 b=2,4 c=3", "row": "1", "zero": "0", **parameters}
    with pytest.raises(ValueError, match=words):
        actor = Exchange("conv", "a,b,c", chosen["parts"], chosen["row"], chosen["zero"])
        third = "d" if "d=" in chosen["parts"] else "c"
        inputs = {"own": "int16[2,2]", "b": "int16[2,2]", third: "int16[2,1]", "seen": TABLE}
        prepared(actor, inputs, {"out": "int16[2,5]", "table": TABLE})


def test_each_reader_gets_the_channels_that_it_needs():
    actor = prepared(SelectChannels("b=0-1 c=3,0"), {"in": "int16[2,4]"}, {"b": "int16[2,2]", "c": "int16[2,2]"})
    made = fire(actor, **{"in": [[1, 2, 3, 4], [5, 6, 7, 8]]})
    assert made["b"].tolist() == [[1, 2], [5, 6]] and made["c"].tolist() == [[4, 1], [8, 5]]
    with pytest.raises(ValueError, match="its channels are"):
        prepared(SelectChannels("b=0-1"), {"in": "int16[2,4]"}, {"b": "int16[2,3]"})
    with pytest.raises(ValueError, match="the outputs that channels names"):
        prepared(SelectChannels("b=0-1"), {"in": "int16[2,4]"}, {"c": "int16[2,2]"})
