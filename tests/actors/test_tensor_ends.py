"""The source and the sink of imported models."""

from __future__ import annotations

import json

import numpy as np
import pytest
from driver import prepared
from tensor_sink import TensorSink
from tensor_source import TensorSource

from eprune.runtime import EndOfStream
from tests.kit.ports import port_type


@pytest.mark.parametrize("token", ["float32[1,3]", "float16", "uint8[2,2]", "int16[5]", "int32[4]", "int64", "bool[8]"])
def test_random_tensors_repeat_with_their_seed(tokens, token):
    first, again, other = (tokens(TensorSource(count="4", seed=seed), token) for seed in ("1", "1", "2"))
    assert len(first) == 4
    assert np.array_equal(first, again)
    assert first[0].dtype == port_type(token).dtype
    if token not in ("int64", "bool[8]"):
        assert not np.array_equal(first, other)
        assert not np.array_equal(first[0], first[1])


def test_wide_integers_are_small_since_they_are_often_indices(tokens):
    assert set(np.unique(tokens(TensorSource(), "int32[100]"))) == {0, 1}


def test_a_count_of_0_never_ends(tokens):
    assert len(tokens(TensorSource(count="0"), "int8[1]", limit=50)) == 50


def test_a_file_or_a_folder_of_files_named_after_actors(tokens, tmp_path):
    stack = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.save(tmp_path / "Input.npy", stack)
    for path in (tmp_path, tmp_path / "Input.npy"):
        assert np.array_equal(np.stack(tokens(TensorSource(str(path)), "float32[4]")), stack)
    assert len(tokens(TensorSource(str(tmp_path), repeat="2"), "float32[4]")) == 6


def test_all_ports_carry_the_same(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(4, dtype=np.float32).reshape(1, 4))
    source = TensorSource(str(tmp_path / "x.npy"))
    source.name, source.outputs = "x", {name: port_type("float32[4]") for name in "ab"}
    source.initialize()
    written = {name: np.full(4, 9, np.float32) for name in "ab"}
    source.fire({}, written)
    assert written["a"].tolist() == written["b"].tolist() == [0, 1, 2, 3]
    with pytest.raises(EndOfStream):
        source.fire({}, written)


def test_ports_of_different_types_are_refused():
    source = TensorSource()
    source.outputs = {"a": port_type("int8"), "b": port_type("int16")}
    with pytest.raises(ValueError, match="output ports of one type"):
        source.initialize()


def test_bad_numbers_are_refused():
    for name in ("count", "seed", "repeat"):
        with pytest.raises(ValueError, match=name):
            TensorSource(**{name: "-1"})


@pytest.mark.parametrize("token", ["float32[1,4]", "int8", "complex64[2]", "bool[3]"])
def test_the_sinks_files_are_what_numpy_reads(feed, tmp_path, token):
    port = port_type(token)
    generator = np.random.default_rng(1)
    stack = generator.integers(0, 2, (5, *port.shape)).astype(port.dtype)
    feed(TensorSink(str(tmp_path / "made" / "here")), stack, token)
    read = np.load(tmp_path / "made" / "here" / "in.npy", mmap_mode="r")
    assert (read.dtype, read.shape) == (stack.dtype, stack.shape)
    assert np.array_equal(read, stack)


def test_without_a_path_the_sink_prints_a_line_a_frame(feed, capsys):
    feed(TensorSink(), [[1, 5, 2, 0], [np.nan, 1, 2, 3]])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == {"frame": 0, "in": {"min": 0.0, "max": 5.0, "at": 1}}
    assert lines[1]["frame"] == 1
    assert lines[1]["in"]["max"] is None


def test_the_sink_says_whether_a_result_is_the_designated_one_or_leaves_out_all_others(capsys, tmp_path):
    ports = {"t": "float32[1,2]", "missing": "uint8[1,2]", "designated": "uint8[1]"}
    table = np.zeros((1, 2), np.uint8)
    for only, shown in (("", [False, True]), ("designated", [True])):
        for path in ("", str(tmp_path / f"kept{only}")):
            sink = prepared(TensorSink(path, "conv", "a,b", only), ports, {})
            for flag in (0, 1):
                sink.fire({"t": np.ones((1, 2)), "missing": table, "designated": np.array([flag], np.uint8)}, {})
            sink.finalize()
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [line["designated"] for line in lines] == shown
        assert len(np.load(tmp_path / f"kept{only}" / "t.npy")) == len(shown)
        assert lines[-1]["frame"] == 1


def test_only_is_for_a_sink_that_is_told(tmp_path):
    with pytest.raises(ValueError, match="only"):
        TensorSink(only="mine")
    with pytest.raises(ValueError, match="designated"):
        prepared(TensorSink("", "conv", "a,b", "designated"), {"t": "int8[1]", "missing": "uint8[1,2]"}, {})


def test_a_run_that_writes_nothing_leaves_an_empty_stack(feed, tmp_path):
    feed(TensorSink(str(tmp_path)), [])
    assert np.load(tmp_path / "in.npy").shape == (0, 1, 4)
