"""A user's pictures: read in every form, and divided so that no source is in two parts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from eprune.measure.data import CALIBRATION, TEST, Data, Example, read_data
from eprune.measure.pictures import Pictures
from eprune.model.finding import EpruneError
from eprune.model.token import TokenType


def picture(path, value, size=(6, 4)):
    """A picture of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, value)).save(path)


def sources(data):
    return {example.source for example in data}


@given(
    owners=st.lists(st.integers(0, 8), min_size=2, max_size=40),
    contents=st.lists(st.integers(0, 12), min_size=40, max_size=40),
    share=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_no_source_and_no_picture_is_in_both_parts(owners, contents, share, seed):
    examples = tuple(Example(f"{n}", np.array([contents[n]]), f"s{owner}") for n, owner in enumerate(owners))
    data = Data("x", examples, len(examples))
    parts = []
    for name in (CALIBRATION, TEST):
        try:
            parts.append(data.part(name, share, seed))
        except EpruneError:
            continue  # all pictures are of one source, or the share is 0
    assert parts
    assert sum(map(len, parts)) == len(data)
    if len(parts) == 2:
        assert not sources(parts[0]) & sources(parts[1])
        assert not {int(e.content[0]) for e in parts[0]} & {int(e.content[0]) for e in parts[1]}
    assert parts[-1] == data.part(parts[-1].named, share, seed), "same arguments, same parts"


def test_a_folder_for_each_class(tmp_path):
    for n in range(6):
        picture(tmp_path / ("cat" if n % 2 else "dog") / f"p{n}.png", 30 * n)
    data = read_data(str(tmp_path))
    assert len(data) == 6
    assert data.labelled
    assert data.classes(["dog", "bird", "cat"]) == [2, 2, 2, 0, 0, 0]
    assert data.classes() == [0, 0, 0, 1, 1, 1]
    with pytest.raises(EpruneError, match="label 'cat' is none of the classes: dog, bird"):
        data.classes(["dog", "bird"])
    assert len(data.part(CALIBRATION)) == len(data.part(TEST)) == 3


def test_crops_of_one_picture_are_of_one_source(tmp_path):
    names = ("street_crop1", "street_crop2", "street@3", "img_1", "img_2", "film-frame007", "film-frame008")
    for n, name in enumerate(names):
        picture(tmp_path / f"{name}.png", 20 * n)
    data = read_data(str(tmp_path))
    assert not data.labelled
    assert sources(data) == {"/street", "/img_1", "/img_2", "/film"}


def test_a_copy_of_a_picture_is_of_its_source(tmp_path):
    for n in range(4):
        picture(tmp_path / f"{n}.png", n)
        picture(tmp_path / f"again{n}.png", n)
    for seed in range(8):
        data = read_data(str(tmp_path))
        parts = [{e.content.read_bytes() for e in data.part(name, seed=seed)} for name in (CALIBRATION, TEST)]
        assert not parts[0] & parts[1]


def test_pictures_that_a_table_lists(tmp_path):
    for n in range(4):
        picture(tmp_path / f"in/{n}.png", n)
    (tmp_path / "labels.csv").write_text("file,label,source\nin/0.png,a,x\nin/1.png,b,x\nin/3.png,a,y\n")
    data = read_data(str(tmp_path))
    assert [(e.label, e.source) for e in data] == [("a", "x"), ("b", "x"), ("a", "y")]
    assert {len(data.part(name)) for name in (CALIBRATION, TEST)} == {1, 2}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file,label\nin/9.png,a\n", "labels.csv:2: error[FILE]: there is no picture 'in/9.png'"),
        ("file,label\nin/0.png\n", "labels.csv:2: error[FILE]: has 1 columns, not 2"),
        ("file,lable\nin/0.png,a\n", "labels.csv:1: error[FILE]: its first line names no columns"),
        ("file,label,age,age\nin/0.png,a,1,2\n", "labels.csv:1: error[FILE]: its first line names no columns"),
        ("in/0.png,a\n", "labels.csv:1: error[FILE]: its first line names no columns"),
        ("file,label\n../0.png,a\n", "labels.csv:2: error[FILE]: '../0.png' is outside of the folder"),
        ("file,label\n", "holds no pictures"),
    ],
)
def test_what_is_wrong_with_a_table_is_said_by_line(tmp_path, text, said):
    picture(tmp_path / "data/in/0.png", 1)
    picture(tmp_path / "0.png", 1)
    (tmp_path / "data/labels.csv").write_text(text)
    with pytest.raises(EpruneError) as caught:
        read_data(str(tmp_path / "data"))
    assert said in str(caught.value)


def test_train_and_test_of_a_file_are_the_parts(tmp_path):
    pictures = np.random.default_rng(1).integers(0, 256, (9, 4, 4), np.uint8)
    pictures[2] = pictures[7]  # one of the pictures is in both
    np.savez(tmp_path / "m.npz", x_train=pictures[:6], y_train=range(6), x_test=pictures[6:], y_test=range(3))
    data = read_data(str(tmp_path / "m.npz"))
    assert [e.name for e in data.part(TEST)] == ["x_test[0]", "x_test[1]", "x_test[2]"]
    assert [e.label for e in data.part(CALIBRATION)] == ["0", "1", "3", "4", "5"]
    np.savez(tmp_path / "n.npz", train_images=pictures[:6], test_images=pictures[6:])
    assert not read_data(str(tmp_path / "n.npz")).labelled


def test_folders_called_train_and_test_are_the_parts(tmp_path):
    for n in range(4):
        picture(tmp_path / "train/cat" / f"{n}.png", n)
    picture(tmp_path / "test/cat/9.png", 9)
    data = read_data(str(tmp_path))
    assert (len(data.part(CALIBRATION)), len(data.part(TEST))) == (4, 1)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"z": np.zeros(3)}, "has no pictures among its arrays: z"),
        ({"x": np.zeros((3, 2)), "y": np.zeros(2, int)}, "x has 3 pictures, but there are 2 labels"),
        ({"x": np.zeros((3, 2)), "y": np.zeros(3)}, "the labels of x are float64"),
        ({"x": np.zeros(())}, "x is a single number"),
        ({"x": np.array([{}], object)}, "cannot be read as arrays of plain numbers"),
        ({"x": np.zeros((0, 2))}, "holds no pictures"),
    ],
)
def test_what_is_wrong_with_arrays_is_said(tmp_path, arrays, said):
    np.savez(tmp_path / "m.npz", **arrays)
    with pytest.raises(EpruneError, match=said):
        read_data(str(tmp_path / "m.npz"))


def test_what_is_no_data_is_said(tmp_path):
    (tmp_path / "broken.npz").write_bytes(b"PK")
    (tmp_path / "a.txt").write_text("")
    (tmp_path / "empty").mkdir()
    picture(tmp_path / "both/cat/1.png", 1)
    picture(tmp_path / "both/2.png", 2)
    for name, said in {
        "broken.npz": "cannot be read",
        "a.txt": "neither a folder of pictures",
        "none": "is no file and no folder",
        "empty": "holds no pictures",
        "both": "has pictures beside the folders of the classes",
    }.items():
        with pytest.raises(EpruneError, match=said):
            read_data(str(tmp_path / name))
    picture(tmp_path / "one/1.png", 1)
    with pytest.raises(EpruneError, match="has no pictures for the calibration part"):
        read_data(str(tmp_path / "one")).part(CALIBRATION)


def test_pictures_are_scaled_as_the_image_source_does(tmp_path):
    picture(tmp_path / "p.png", 51, size=(4, 4))
    path, pixels = tmp_path / "p.png", np.full((4, 4, 3), 51, np.uint8)
    shape = (1, 4, 4, 3)
    for content in (path, pixels):
        assert (Pictures(TokenType("uint8", shape))(content) == 51).all()
        assert (Pictures(TokenType("int8", shape))(content) == 51 - 128).all()
        assert np.allclose(Pictures(TokenType("float32", shape))(content), 0.2)
        assert np.allclose(
            Pictures(TokenType("float32", shape), {"mean": "0.5", "std": "0.5", "path": "x"})(content), -0.6
        )
    assert Pictures(TokenType("float32", (1, 2, 2, 1)))(pixels[:, :, 0]).shape == (1, 2, 2, 1), "resized"


def test_arrays_of_the_tokens_type_are_taken_as_they_are():
    token = np.random.default_rng(1).normal(size=(4, 4)).astype(np.float32)
    assert np.array_equal(Pictures(TokenType("float32", (1, 4, 4, 1)))(token)[0, :, :, 0], token)
    with pytest.raises(ValueError, match="neither a picture"):
        Pictures(TokenType("float32", (1, 5, 4, 1)))(token)
