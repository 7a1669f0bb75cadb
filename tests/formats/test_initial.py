"""Files of initial tokens are looked at before anything runs."""

from __future__ import annotations

import numpy as np
import pytest

from eprune.analysis.check import check
from eprune.formats.system import read_system

APP = """<application name="app">
  <actor name="A" type="SPA"><out name="o" token="float32[2]"/></actor>
  <actor name="B"><in name="i" token="float32[2]"/></actor>
  <fifo name="f" from="A.o" to="B.i" {}/>
</application>
"""
AHEAD = 'delay="3" initial="first.npy"'


def found(folder, attributes=AHEAD):
    file = folder / "app.xml"
    file.write_text(APP.format(attributes), encoding="utf-8")
    return [f"{finding} ({finding.hint})" for finding in check(read_system(str(file)))]


def test_the_right_file_is_no_finding(tmp_path):
    np.save(tmp_path / "first.npy", np.zeros((3, 2), np.float32))
    assert found(tmp_path) == []


def test_a_file_that_is_not_there_is_one(tmp_path):
    (line,) = found(tmp_path)
    assert "app.xml:4: error[FILE]: FIFO 'f': initial=\"first.npy\": there is no such file" in line
    (tmp_path / "first.npy").mkdir()
    assert "is not a file" in found(tmp_path)[0]


@pytest.mark.parametrize(
    ("array", "what"),
    [
        (np.zeros((2, 2), np.float32), "float32[2,2]"),
        (np.zeros(3, np.float32), "float32[3]"),
        (np.zeros((3, 2)), "float64[3,2]"),
        (np.zeros((3, 2), ">f4"), ">f4[3,2]"),
    ],
)
def test_another_shape_or_dtype_is_one(tmp_path, array, what):
    np.save(tmp_path / "first.npy", array)
    (line,) = found(tmp_path)
    assert f"{what}, but it starts with 3 tokens float32[2]: float32[3,2]" in line


@pytest.mark.parametrize("kind", ["text", "pickle", "archive", "cut short"])
def test_what_is_no_array_of_numbers_is_one(tmp_path, kind):
    path = tmp_path / "first.npy"
    if kind == "text":
        path.write_text("1 2 3", encoding="utf-8")
    elif kind == "pickle":
        np.save(path, np.array([{}, {}], dtype=object), allow_pickle=True)
    elif kind == "archive":
        with path.open("wb") as stream:
            np.savez(stream, np.zeros((3, 2), np.float32))
    else:
        np.save(path, np.zeros((3, 2), np.float32))
        path.write_bytes(path.read_bytes()[:-4])
    (line,) = found(tmp_path)
    assert "not a .npy file of plain numbers" in line


def test_values_of_no_delay_are_one(tmp_path):
    np.save(tmp_path / "first.npy", np.zeros((0, 2), np.float32))
    (line,) = found(tmp_path, 'initial="first.npy"')
    assert "it has no delay, so nothing is taken from there" in line
