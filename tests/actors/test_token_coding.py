"""Tokens coded at a cut: exact, or within half a step; and what is damaged costs no more than a true token."""

from __future__ import annotations

import re
import sys
import tracemalloc
import zlib

import numpy as np
import pytest
from compressor import Compressor
from decompressor import Decompressor
from driver import prepared
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from token_coding import TokenCoding

from tests.kit.ports import port_type

zstandard = pytest.importorskip("zstandard")
ENTROPIES = ["none", "zlib", "zstd"]
DTYPES = ["bool", "int8", "uint8", "int16", "int64", "float16", "float32", "float64", "complex64"]


def coding(token, **parameters):
    return TokenCoding(port_type(token), **parameters)


def there_and_back(coder, token):
    room = np.full(coder.most, 77, np.uint8)
    used = coder.encode(token, room)
    assert used <= coder.most
    out = np.full(coder.shape, 77).astype(coder.dtype)
    coder.decode(room[:used], out)
    return out


@given(
    st.sampled_from(DTYPES).flatmap(lambda dtype: arrays.arrays(dtype, arrays.array_shapes(max_dims=3, max_side=6))),
    st.sampled_from(ENTROPIES),
)
def test_without_loss_every_bit_comes_back(token, entropy):
    text = f"{token.dtype.name}[{','.join(map(str, token.shape))}]"
    assert there_and_back(coding(text, entropy=entropy), token).tobytes() == token.tobytes()


@given(st.data())
def test_what_is_rounded_comes_back_within_half_a_step(data):
    channels = data.draw(st.integers(1, 5))
    method, levels = data.draw(st.sampled_from([("int8", 255), ("int4", 15)]))
    several = data.draw(st.sampled_from([1, channels]))
    low = np.float32(data.draw(st.lists(st.floats(-100, 100, width=32), min_size=several, max_size=several)))
    step = np.float32(data.draw(st.lists(st.floats(0.0625, 10, width=16), min_size=several, max_size=several)))
    share = data.draw(arrays.arrays(np.float32, (3, channels), elements=st.floats(0, 1, width=32)))
    token = low + share * step * levels
    texts = {"low": low, "step": step}
    coder = coding(
        f"float32[3,{channels}]",
        method=method,
        entropy=data.draw(st.sampled_from(ENTROPIES)),
        **{name: ",".join(f"{each:.9g}" for each in values) for name, values in texts.items()},
    )
    assert np.all(np.abs(there_and_back(coder, token) - token) <= step / 2 + np.abs(token) * 1e-5 + 1e-3 * step)


def test_what_is_out_of_range_or_no_number_comes_back_as_the_end_of_the_range():
    coder = coding("float32[5]", method="int8", low="-1", step="0.01")
    back = there_and_back(coder, np.float32([np.nan, -9, 99, np.inf, -np.inf]))
    assert np.allclose(back, [-1, -1, 1.55, 1.55, -1])


def test_small_codes_become_few_bytes_and_noise_never_more_than_the_most():
    coder = coding("float32[1,24,24,32]", method="int4", entropy="zstd", level="3", low="0", step="1")
    room = np.empty(coder.most, np.uint8)
    assert coder.most == 9217
    assert coder.encode(np.zeros(coder.shape, np.float32), room) < 50
    noise = np.random.default_rng(1).integers(0, 16, coder.shape).astype(np.float32)
    assert coder.encode(noise, room) == 9217


@given(st.binary(max_size=80), st.sampled_from(ENTROPIES), st.sampled_from([None, 0, 1]))
def test_any_bytes_are_a_token_or_one_clear_error(data, entropy, kind):
    coder = coding("float32[3,5]", method="int4", entropy=entropy, low="0", step="1")
    data = data if kind is None else bytes([kind]) + data
    out = np.empty(coder.shape, np.float32)
    try:
        coder.decode(np.frombuffer(data, np.uint8), out)
    except ValueError as error:
        assert "bytes that are no float32[3, 5] coded by int4" in str(error)
    else:
        assert np.all((out >= 0) & (out <= 15))


def bombs():
    size = 50_000_000
    zeros = bytes(size)
    unsized = zstandard.ZstdCompressor(write_content_size=False).compress(zeros)
    return {
        "zlib": ("zlib", zlib.compress(zeros)),
        "zstd": ("zstd", zstandard.ZstdCompressor().compress(zeros)),
        "zstd without its size": ("zstd", unsized),
        # a frame that states another size than it has: 8 bytes of it, in a single segment
        "zstd that lies": ("zstd", b"\x28\xb5\x2f\xfd\xe0" + (100).to_bytes(8, "little") + unsized[6:]),
        "cut off": ("zlib", zlib.compress(bytes(100))[:-3]),
        "with more behind it": ("zlib", zlib.compress(bytes(100)) + b"x"),
        "two frames": ("zstd", 2 * zstandard.ZstdCompressor().compress(bytes(100))),
        "shorter": ("zlib", zlib.compress(bytes(99))),
    }


BOMBS = bombs()


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_takes_no_more_memory_than_a_token(name):
    entropy, data = BOMBS[name]
    coder = coding("uint8[100]", entropy=entropy)
    out = np.empty(100, np.uint8)
    token = np.frombuffer(b"\x01" + data, np.uint8)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="damaged, or the two ends have different parameters"):
            coder.decode(token, out)
        assert tracemalloc.get_traced_memory()[1] < len(data) * 3 + 100_000
    finally:
        tracemalloc.stop()


def test_a_projection_sends_few_numbers(tmp_path):
    random = np.random.default_rng(1)
    rows = np.linalg.qr(random.standard_normal((12, 3)))[0].T.astype(np.float32)
    path = tmp_path / "basis.npz"
    np.savez(path, project=rows, restore=rows, offset=np.zeros(12, np.float32))
    coder = coding("float32[3,4]", basis=str(path))
    assert coder.most == 13
    token = (random.standard_normal(3).astype(np.float32) @ rows).reshape(3, 4)
    assert np.allclose(there_and_back(coder, token), token, atol=1e-6)


def test_the_channels_of_each_place_can_be_projected(tmp_path):
    random = np.random.default_rng(1)
    rows = np.linalg.qr(random.standard_normal((4, 2)))[0].T.astype(np.float32)
    path, offset = tmp_path / "basis.npz", np.arange(4, dtype=np.float32)
    np.savez(path, project=rows, restore=rows, offset=offset - offset @ rows.T @ rows)
    coder = coding("float32[1,3,5,4]", basis=str(path))
    assert coder.most == 1 + 4 * 2 * 15
    token = random.standard_normal((1, 3, 5, 2)).astype(np.float32) @ rows + offset
    assert np.allclose(there_and_back(coder, token), token, atol=1e-5)
    rounded = coding("float32[1,3,5,4]", method="int8", low="-8,-8", step="0.0625,0.0625", basis=str(path))
    assert rounded.most == 1 + 2 * 15
    assert np.allclose(there_and_back(rounded, token), token, atol=0.0625)


def test_the_actors_say_what_does_not_fit(tmp_path):
    (tmp_path / "wrong.npz").write_bytes(b"x")
    np.savez(tmp_path / "other.npz", project=np.ones((2, 3)), restore=np.ones((2, 3)), offset=np.ones(3))
    for parameters, message in (
        ({"method": "int9"}, "method='int9': expected lossless or int8 or int4"),
        ({"entropy": "rar"}, "entropy='rar'"),
        ({"level": "10"}, "level=10: zlib has levels up to 9"),
        ({"low": "1"}, "low and step are for methods that round"),
        ({"method": "int8", "low": "0"}, "step=''"),
        ({"method": "int8", "low": "0,1", "step": "1"}, "low: has 2 numbers; expected one, or 4"),
        ({"method": "int8", "low": "0", "step": "0"}, "step: expected numbers above 0"),
        ({"basis": str(tmp_path / "wrong.npz")}, "holds no projection"),
        ({"basis": str(tmp_path / "other.npz")}, "project is float64"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            prepared(Compressor(**parameters), {"in": "float32[3,4]"}, {"out": "uint8[<=99]"})
    with pytest.raises(ValueError, match="only coded without loss"):
        prepared(Compressor("int8", low="0", step="1"), {"in": "uint8[3]"}, {"out": "uint8[<=99]"})
    with pytest.raises(ValueError, match=re.escape("expected tokens uint8[<=49], or more")):
        prepared(Compressor(), {"in": "float32[3,4]"}, {"out": "uint8[<=48]"})
    with pytest.raises(ValueError, match="expected tokens of variable size"):
        prepared(Decompressor(), {"in": "uint8[49]"}, {"out": "float32[3,4]"})


def test_without_zstandard_zstd_is_refused_with_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(ValueError, match=re.escape("needs zstandard: pip install 'eprune[zstd]'; or code by zlib")):
        coding("float32[3]", entropy="zstd")
    assert coding("float32[3]", entropy="zlib").entropy.name == "zlib"


def test_the_decoder_gives_what_the_encoder_took():
    encoder = prepared(Compressor(), {"in": "float32[3,4]"}, {"out": "uint8[<=49]"})
    decoder = prepared(Decompressor(), {"in": "uint8[<=49]"}, {"out": "float32[3,4]"})
    token = np.arange(12, dtype=np.float32).reshape(3, 4)
    room = np.empty(49, np.uint8)
    used = encoder.coding.encode(token, room)
    out = {"out": np.empty((3, 4), np.float32)}
    decoder.fire({"in": room[:used]}, out)
    assert np.array_equal(out["out"], token)
    assert used < 49
