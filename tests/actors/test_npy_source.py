import io
import os

import numpy as np
import pytest
from npy_source import NpySource
from tensor_source import TensorSource


@pytest.fixture
def saved(tmp_path):
    def save(array, **options):
        path = tmp_path / "stack.npy"
        np.save(path, array, **options)
        return str(path)

    return save


@pytest.mark.parametrize("shape", [(5, 2, 3), (5, 1, 2, 3)])
@pytest.mark.parametrize("dtype", ["<f4", ">f4"])
def test_tokens_come_in_order_with_or_without_the_batch_dimension(saved, tokens, shape, dtype):
    stack = np.arange(30, dtype=dtype).reshape(shape)
    written = tokens(NpySource(saved(stack)), "float32[1,2,3]")
    assert np.array_equal(np.concatenate(written), stack.reshape(5, 2, 3))


def test_repeat(saved, tokens):
    path = saved(np.arange(3, dtype=np.int32))
    assert [int(token) for token in tokens(NpySource(path, repeat="2"), "int32")] == [0, 1, 2, 0, 1, 2]
    assert len(tokens(NpySource(path, repeat="0"), "int32", limit=50)) == 50


@pytest.mark.parametrize(
    "stack",
    [
        np.zeros((4, 3, 2), np.float32),
        np.zeros((4, 2, 3), np.float64),
        np.zeros((2, 3), np.float32),
        np.zeros((4, 2, 3, 1), np.float32),
    ],
)
def test_a_stack_of_other_tokens_says_what_was_expected(saved, tokens, stack):
    with pytest.raises(ValueError, match=r"stack.npy: .* does not fit port 'out': expected float32\[N,2,3\]"):
        tokens(NpySource(saved(stack)), "float32[1,2,3]")


def test_an_empty_stack_is_refused(saved, tokens):
    with pytest.raises(ValueError, match=r"stack.npy: holds no tokens"):
        tokens(NpySource(saved(np.zeros((0, 2, 3), np.float32))), "float32[1,2,3]")


class Bomb:
    def __reduce__(self):
        raise AssertionError("was unpickled")  # pragma: no cover


def test_python_objects_are_never_loaded(saved):
    with pytest.raises(ValueError, match=r"stack.npy: not a .npy file of plain numbers"):
        NpySource(saved(np.array([{"a": 1}, None], object), allow_pickle=True))


def bad_files():
    return {
        "empty": b"",
        "text": b"this is no array",
        "zip": b"PK\x03\x04" + bytes(40),
        "pickle": b"\x80\x04]\x94.",
        "header of another shape": b"\x93NUMPY\x01\x00\x10\x00{'descr': '<f4'}\n",
        "more tokens than bytes": b"\x93NUMPY\x01\x00\x46\x00"
        + b"{'descr': '<f4', 'fortran_order': False, 'shape': (999999, 2, 3)}".ljust(69)
        + b"\n"
        + bytes(64),
        "negative shape": b"\x93NUMPY\x01\x00\x46\x00"
        + b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 2, 3)}".ljust(69)
        + b"\n"
        + bytes(64),
    }


@pytest.mark.parametrize("kind", bad_files())
def test_a_file_that_is_no_stack_is_named(tmp_path, kind):
    path = tmp_path / "bad.npy"
    path.write_bytes(bad_files()[kind])
    with pytest.raises(ValueError, match=r"bad.npy: not a .npy file of plain numbers"):
        NpySource(str(path))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere.npy"):
        NpySource(str(tmp_path / "nowhere.npy"))


@pytest.fixture
def piped(monkeypatch):
    """Puts these bytes into standard input."""
    before = os.dup(0)

    def put(data):
        read, write = os.pipe()
        os.write(write, data)
        os.close(write)
        os.dup2(read, 0)
        os.close(read)

    yield put
    os.dup2(before, 0)
    os.close(before)


def bytes_of(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.mark.parametrize("dtype", ["<f4", ">f4"])
def test_tokens_come_from_standard_input(piped, tokens, dtype):
    stack = np.arange(30, dtype=dtype).reshape(5, 2, 3)
    piped(bytes_of(stack))
    written = tokens(NpySource("-"), "float32[1,2,3]")
    assert np.array_equal(np.concatenate(written), stack)


def test_scalars_come_from_standard_input_and_end_early(piped, tokens):
    piped(bytes_of(np.arange(5, dtype=np.int32))[:-8])
    assert [int(token) for token in tokens(NpySource("-"), "int32")] == [0, 1, 2]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "standard input: not a .npy file"),
        (b"frame 1", "standard input: not a .npy file"),
        (bytes_of(np.asfortranarray(np.ones((4, 4), np.float32))), "standard input: not a .npy file"),
        (bytes_of(np.ones((4, 4), np.float64)), r"float64\[4, 4\] does not fit port 'out'"),
        (bytes_of(np.ones((4, 4), np.float32))[:-1], "standard input: ends after 15 of the 16 bytes of a token"),
    ],
)
def test_standard_input_with_anything_else_is_refused(piped, tokens, data, message):
    piped(data)
    with pytest.raises(ValueError, match=message):
        tokens(NpySource("-"), "float32[4]")


def test_standard_input_cannot_be_repeated_and_waits():
    with pytest.raises(ValueError, match="can be read once only"):
        NpySource("-", "2")
    assert NpySource("-").waits
    assert not NpySource.waits


def test_a_tensor_source_reads_standard_input_too(piped, tokens):
    piped(bytes_of(np.arange(3, dtype=np.int32)))
    assert [int(token) for token in tokens(TensorSource("-"), "int32")] == [0, 1, 2]
