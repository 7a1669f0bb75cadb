"""A source of windows of sound."""

from __future__ import annotations

import glob
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from checks import whole_number
from quantized import Quantized
from sound_window import SoundWindow

from eprune.runtime import Actor, EndOfStream

SUFFIXES = (".wav",)
MAX_BYTES = 2**30  # of one file, which is read as a whole
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE


class WavSource(Actor):
    """Windows of samples of .wav files, in the order of names; the last one of a file is filled up with zeros.

    The port's token has as many elements as a window has samples: [N], [1,N], [1,N,1], ...; several ports of one type
    all carry the same. Samples are -1 to 1 in float tokens, and 16 bits in int16 tokens; with ``scale``, integers stand
    for -1 to 1. Several channels become their mean. Files are PCM of 8 to 32 bits, or floats.

    Parameters:
        path: a folder (its .wav files), a pattern like ``sounds/*.wav``, or one file.
        repeat: the number of passes; 0 never ends.
        rate: the samples per second that the model wants: files of another rate are resampled, linearly. 0: none is.
        hop: the samples from one window to the next, at that rate; 0: a window.
        scale, zero_point: for integer tokens: q stands for scale * (q - zero_point).
    """

    PATHS: ClassVar[Mapping[str, str]] = {"path": "read"}
    copies = True

    def __init__(
        self,
        path: str,
        repeat: str = "1",
        rate: str = "0",
        hop: str = "0",
        scale: str = "",
        zero_point: str = "0",
    ) -> None:
        self.files = find_sounds(path)
        self.repeat = whole_number("repeat", repeat)
        self.rate = whole_number("rate", rate)
        self.hop = whole_number("hop", hop)
        self.windows = SoundWindow(Quantized(scale, zero_point))
        self.file = self.passes = self.start = 0
        self.samples: np.ndarray | None = None

    def state(self) -> Mapping[str, Any]:
        """How often the files have been read, and how far."""
        return {"passes": self.passes, "file": self.file, "start": self.start, "within": self.samples is not None}

    def resume(self, state: Mapping[str, Any]) -> None:
        """Read on from there."""
        self.passes, self.file, self.start = state["passes"], state["file"], state["start"]
        if state["within"]:
            self.samples = self._read(self.files[self.file - 1])

    def initialize(self) -> None:
        """Check the ports. Raises ValueError if their token is not a window of samples, and for files without sound."""
        self.window = self.windows.bind(self.outputs)
        self.hop = self.hop or self.window

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Write the next window."""
        self.windows.write(self._next(), outputs)

    def _next(self) -> np.ndarray:
        if self.samples is None:
            if self.file == len(self.files):
                self.file, self.passes = 0, self.passes + 1
            if self.repeat and self.passes == self.repeat:
                raise EndOfStream
            self.samples = self._read(self.files[self.file])
            self.file, self.start = self.file + 1, 0
        window = self.samples[self.start : self.start + self.window]
        self.start += self.hop
        # Another window begins where it brings samples that no window has had.
        if self.start >= len(self.samples) or self.start - self.hop + self.window >= len(self.samples):
            self.samples = None
        return window

    def _read(self, path: Path) -> np.ndarray:
        samples, rate = read_sound(path)
        if not samples.size:
            raise ValueError(f"{path}: holds no samples")
        return resampled(samples, rate, self.rate) if self.rate else samples


def find_sounds(path: str) -> list[Path]:
    """The files that ``path`` stands for, sorted. Raises FileNotFoundError with a message if there are none."""
    place = Path(path)
    if place.is_dir():
        hidden = "."  # macOS writes ._sound.wav beside a sound
        files = [file for file in place.iterdir() if file.suffix.lower() in SUFFIXES and file.name[0] != hidden]
        if not files:
            raise FileNotFoundError(f"{path}: no sounds in this folder ({', '.join(SUFFIXES)})")
        return sorted(files)
    files = [place] if place.exists() else [Path(name) for name in glob.glob(path)]  # noqa: PTH207
    if not files:
        raise FileNotFoundError(f"{path}: no such file or folder, and no files of that pattern")
    return sorted(files)


def read_sound(path: Path) -> tuple[np.ndarray, int]:
    """The samples of a .wav file, float32 of -1 to 1, its channels averaged, and their rate.

    Raises ValueError, naming the file, if it is no .wav file or of a kind that is not read; OSError.
    """
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path}: more than {MAX_BYTES} bytes")
    data = path.read_bytes()
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise ValueError(f"{path}: not a .wav file")
    found: dict[bytes, bytes] = {}
    place = 12
    while place + 8 <= len(data) and b"data" not in found:
        name, size = struct.unpack_from("<4sI", data, place)
        found.setdefault(name, data[place + 8 : place + 8 + size])  # recorders leave a wrong size when they are stopped
        place += 8 + size + size % 2
    if len(found.get(b"fmt ", b"")) < 16 or b"data" not in found:
        raise ValueError(f"{path}: a .wav file that is cut short")
    kind, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", found[b"fmt "])
    if kind == EXTENSIBLE and len(found[b"fmt "]) >= 26:
        (kind,) = struct.unpack_from("<H", found[b"fmt "], 24)
    if not channels or not rate or (kind, bits) not in _READERS:
        raise ValueError(f"{path}: format {kind} of {bits} bits is not read, only PCM of 8 to 32 bits and floats")
    frame = channels * bits // 8
    sound = found[b"data"][: len(found[b"data"]) // frame * frame]
    return _READERS[kind, bits](sound).reshape(-1, channels).mean(1, dtype=np.float32), rate


def resampled(samples: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """Samples at another rate, by linear interpolation."""
    if rate == wanted:
        return samples
    count = max(1, len(samples) * wanted // rate)
    return np.interp(np.arange(count) * (rate / wanted), np.arange(len(samples)), samples).astype(np.float32)


def _three_bytes(data: bytes) -> np.ndarray:
    parts = np.frombuffer(data, np.uint8).reshape(-1, 3).astype(np.int32)
    return ((parts[:, 0] << 8 | parts[:, 1] << 16 | parts[:, 2] << 24) / 2**31).astype(np.float32)


#: Format and bits -> samples of -1 to 1 from bytes.
_READERS = {
    (PCM, 8): lambda data: (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / 128,
    (PCM, 16): lambda data: np.frombuffer(data, "<i2").astype(np.float32) / 32768,
    (PCM, 24): _three_bytes,
    (PCM, 32): lambda data: (np.frombuffer(data, "<i4") / 2**31).astype(np.float32),
    (FLOAT, 32): lambda data: np.frombuffer(data, "<f4").astype(np.float32),
    (FLOAT, 64): lambda data: np.frombuffer(data, "<f8").astype(np.float32),
}
