"""The source of windows of sound."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from driver import fired, prepared
from wav_source import WavSource

from tests.kit.ends import save_sound as save


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 2])
def test_windows_of_every_kind_of_pcm(tmp_path, tokens, width, channels):
    samples = np.array([0, 0.5, -0.5, 0.25, -1, 0.75, 0.125])
    save(tmp_path / "a.wav", samples, width=width, channels=channels)
    written = tokens(WavSource(str(tmp_path)), "float32[1,4,1]")
    assert np.allclose(np.concatenate(written).reshape(-1), [*samples, 0], atol=1e-6), "filled up with a zero"


def test_floats_and_chunks_that_nobody_needs(tmp_path, tokens):
    data = np.float32([0.1, -0.2, 0.3]).tobytes()
    form = struct.pack("<HHIIHH", 3, 1, 8000, 32000, 4, 32)
    chunks = b"LIST" + struct.pack("<I", 3) + b"abc\0" + b"fmt " + struct.pack("<I", 16) + form
    body = b"WAVE" + chunks + b"data" + struct.pack("<I", len(data)) + data
    (tmp_path / "a.wav").write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    [written] = tokens(WavSource(str(tmp_path / "a.wav")), "float32[3]")
    assert np.allclose(written, [0.1, -0.2, 0.3])


def test_windows_that_overlap_bring_every_sample_and_no_window_of_old_ones_alone(tmp_path, tokens):
    save(tmp_path / "a.wav", np.arange(10) / 16)
    written = tokens(WavSource(str(tmp_path), hop="2"), "float32[4]")
    assert [(token * 16).round().tolist() for token in written] == [
        [0, 1, 2, 3],
        [2, 3, 4, 5],
        [4, 5, 6, 7],
        [6, 7, 8, 9],
    ]


def test_files_in_order_and_repeat(tmp_path, tokens):
    save(tmp_path / "b.wav", [0.5] * 4)
    save(tmp_path / "a.WAV", [0.25] * 4)
    save(tmp_path / "._a.wav", [0.75] * 4)
    written = tokens(WavSource(str(tmp_path), repeat="2"), "float32[4]")
    assert [token[0] for token in written] == [0.25, 0.5, 0.25, 0.5]


def test_another_rate_keeps_the_tone(tmp_path, tokens):
    rate, wanted, tone = 16000, 8000, 440
    save(tmp_path / "a.wav", 0.5 * np.sin(2 * np.pi * tone * np.arange(rate) / rate), rate)
    [written] = tokens(WavSource(str(tmp_path), rate=str(wanted)), f"float32[{wanted}]")
    assert np.abs(np.fft.rfft(written)).argmax() == tone


def test_integers(tmp_path, tokens):
    save(tmp_path / "a.wav", [0.5, -0.25])
    assert tokens(WavSource(str(tmp_path)), "int16[2]")[0].tolist() == [16384, -8192]
    written = tokens(WavSource(str(tmp_path), scale="0.0078125", zero_point="10"), "int8[3]")
    assert written[0].tolist() == [74, -22, 10], "silence is the zero point"


def test_several_ports_carry_the_same(tmp_path):
    save(tmp_path / "a.wav", [0.5, -0.25])
    written = fired(prepared(WavSource(str(tmp_path)), {}, {"a": "float32[2]", "b": "float32[2]"}))
    assert written["a"].tolist() == written["b"].tolist() == [0.5, -0.25]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"ID3", "a.wav: not a .wav file"),
        (b"RIFF\0\0\0\0WAVEfmt ", "a.wav: a .wav file that is cut short"),
        (
            b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0" + struct.pack("<HHIIHH", 2, 1, 8000, 8000, 1, 4) + b"data\0\0\0\0",
            "format 2 of 4 bits is not read",
        ),
        (
            b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0" + struct.pack("<HHIIHH", 1, 1, 8000, 8000, 1, 8) + b"data\0\0\0\0",
            "a.wav: holds no samples",
        ),
    ],
)
def test_files_that_cannot_be_read_are_named(tmp_path, tokens, data, message):
    (tmp_path / "a.wav").write_bytes(data)
    with pytest.raises(ValueError, match=message):
        tokens(WavSource(str(tmp_path)), "float32[2]")


def test_what_is_not_there_and_what_is_no_window(tmp_path, tokens):
    with pytest.raises(FileNotFoundError, match=r"no sounds in this folder \(.wav\)"):
        WavSource(str(tmp_path))
    with pytest.raises(FileNotFoundError, match="nowhere: no such file or folder"):
        WavSource(str(tmp_path / "nowhere"))
    save(tmp_path / "a.wav", [0.5])
    with pytest.raises(ValueError, match=r"float32\[1, 28, 28\] is not a window of samples"):
        tokens(WavSource(str(tmp_path)), "float32[1,28,28]")
