"""A source of images."""

from __future__ import annotations

import glob
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, ClassVar, Union

import numpy as np
from checks import numbers, one_of, only_type, whole_number
from quantized import Quantized

from eprune.runtime import Actor, EndOfStream

try:
    from PIL import Image, ImageOps
except ImportError:  # on a device there may be none; FrameSource still has its other sources then
    Image = None  # type: ignore[assignment]

FORMATS = ("PNG", "JPEG", "BMP")  # Pillow knows more; each is code that hostile files could reach
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
OTHERS = (".heic", ".heif", ".webp", ".gif", ".tif", ".tiff", ".avif", ".dng", ".jp2")
FLOATS = ("float16", "float32", "float64")
INTEGERS = ("uint8", "int8")
MAX_PIXELS = 64_000_000  # more would need hundreds of megabytes to decode


class ImageSource(Actor):
    """PNG, JPEG and BMP images of any size and mode, resized to the port's height and width, in the order of names.

    The port's token is [1,H,W,C] or [H,W,C], or [1,C,H,W] or [C,H,W], with C = 3 (RGB) or 1 (grey); several ports of
    one type all carry the same. Values are 0 to 255 in uint8 tokens, -128 to 127 in int8 tokens, and
    (value / 255 - mean) / std in float tokens; with ``scale``, integers stand for the latter. Images are rotated
    according to their EXIF orientation; transparent parts become white.

    In a folder, names that begin with a dot are left out, and so are pictures of other kinds, with a note.

    Parameters:
        path: a folder (its .png, .jpg, .jpeg and .bmp files), a pattern like ``photos/*.png``, or one file.
        repeat: the number of passes; 0 never ends.
        mean, std: one number, or one for each channel: ``0.485,0.456,0.406``. For float tokens, and with ``scale``.
        on_error: ``stop`` the run at a file that cannot be read, or ``skip`` the file, with a note.
        scale, zero_point: for integer tokens: q stands for scale * (q - zero_point).
    """

    PATHS: ClassVar[Mapping[str, str]] = {"path": "read"}
    STATE = ("position", "passes", "read")
    copies = True

    def __init__(
        self,
        path: str,
        repeat: str = "1",
        mean: str = "0",
        std: str = "1",
        on_error: str = "stop",
        scale: str = "",
        zero_point: str = "0",
    ) -> None:
        if Image is None:
            raise ValueError("reading images needs Pillow: pip install pillow")
        self.files = find_images(path)
        self.repeat = whole_number("repeat", repeat)
        self.mean = numbers("mean", mean).astype(np.float32)
        self.std = numbers("std", std).astype(np.float32)
        if not self.std.all():
            raise ValueError(f"std={std!r}: must not be 0")
        self.quantized = Quantized(scale, zero_point)
        self.on_error = one_of("on_error", on_error, ("stop", "skip"))
        self.position = self.passes = self.read = 0
        self.skipped: dict[Path, None] = {}
        self.others = _other_pictures(path)

    def initialize(self) -> None:
        """Check the ports. Raises ValueError if their token is not an image, or if parameters do not fit it."""
        self.port, port = only_type(self.outputs, "output")
        shape = port.shape[1:] if len(port.shape) == 4 and port.shape[0] == 1 else port.shape
        self.planes = len(shape) == 3 and shape[2] not in (1, 3) and shape[0] in (1, 3)
        if self.planes:
            shape = (*shape[1:], shape[0])
        if len(shape) != 3 or shape[2] not in (1, 3) or port.dtype not in (*INTEGERS, *FLOATS):
            raise ValueError(
                f"port {self.port!r}: {port.dtype}{list(port.shape)} is not an image; expected uint8, int8 or float, "
                "[1,H,W,3] or [1,3,H,W], with or without the 1 in front, or 1 in place of 3 for grey"
            )
        self.height, self.width, self.channels = shape
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values.size not in (1, self.channels):
                raise ValueError(f"{name}: {values.size} numbers for {self.channels} channels")
        if self.others:
            self.note(f"left out: {_some(self.others)}: not {', '.join(SUFFIXES)}")
        self.dtype = port.dtype
        if self.dtype in FLOATS and self.quantized.given:
            raise ValueError(f"port {self.port!r}: scale is for integer tokens, not {self.dtype}")
        if self.dtype in INTEGERS and not self.quantized.given and (self.mean.any() or (self.std != 1).any()):
            raise ValueError(
                f"port {self.port!r}: mean and std are for float tokens, not {self.dtype}, unless scale is given"
            )

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Read the next image."""
        pixels = self._next()
        first = outputs[self.port]
        out = first.reshape(first.shape[-3:])  # a view
        self._write(pixels, out.transpose(1, 2, 0) if self.planes else out)
        for port, token in outputs.items():
            if port != self.port:
                token[...] = first

    def _write(self, pixels: np.ndarray, out: np.ndarray) -> None:
        if self.dtype in FLOATS:
            self._normalize(pixels, out)
        elif self.quantized.given:
            real = np.empty(pixels.shape, np.float32)
            self._normalize(pixels, real)
            out[...] = self.quantized.stored(real, self.dtype)
        elif self.dtype == "int8":
            out[...] = (pixels ^ np.uint8(128)).view(np.int8)  # the value less 128
        else:
            out[...] = pixels

    def _normalize(self, pixels: np.ndarray, out: np.ndarray) -> None:
        np.divide(pixels, 255, out=out, dtype=out.dtype)
        if self.mean.any():
            out -= self.mean
        if (self.std != 1).any():
            out /= self.std

    def finalize(self) -> None:
        """Say what was skipped."""
        if len(self.skipped) > 1:
            self.note(f"skipped in all: {_some([*self.skipped])} of {len(self.files)}")

    def _next(self) -> np.ndarray:
        while True:
            if self.position == len(self.files):
                if not self.read:
                    raise ValueError(f"none of {len(self.files)} files could be read: {self.files[0]}, ...")
                self.position, self.passes = 0, self.passes + 1
            if self.repeat and self.passes == self.repeat:
                raise EndOfStream
            file = self.files[self.position]
            self.position += 1
            try:
                pixels = read_image(file, self.width, self.height, self.channels)
            except (OSError, ValueError) as error:
                if self.on_error == "stop":
                    raise
                if not self.skipped:
                    self.note(f"skipped: {error}")
                self.skipped[file] = None
            else:
                self.read += 1
                return pixels


def _is_image(file: Path) -> bool:
    """By its name. One that begins with a dot is none: macOS writes ``._photo.jpg`` beside a picture from a phone."""
    return file.suffix.lower() in SUFFIXES and not file.name.startswith(".")


def _other_pictures(path: str) -> list[Path]:
    """The pictures in a folder that are of no kind that is read."""
    files = Path(path).iterdir() if Path(path).is_dir() else ()
    return sorted(file for file in files if file.suffix.lower() in OTHERS and not file.name.startswith("."))


def _some(files: list[Path]) -> str:
    """``3 files (a.heic, b.heic, ...)``."""
    names = ", ".join(file.name for file in files[:3]) + ", ..." * (len(files) > 3)
    return f"{len(files)} file{'s' * (len(files) != 1)} ({names})"


def find_images(path: str) -> list[Path]:
    """The files that ``path`` stands for, sorted. Raises FileNotFoundError with a message if there are none."""
    place = Path(path)
    if place.is_dir():
        files = [file for file in place.iterdir() if _is_image(file) and file.is_file()]
    elif place.exists():
        files = [place]
    else:
        files = [Path(name) for name in glob.glob(path) if Path(name).is_file()]  # noqa: PTH207
    if files:
        return sorted(files)
    if place.is_dir():
        raise FileNotFoundError(f"{path}: no images in this folder ({', '.join(SUFFIXES)})")
    raise FileNotFoundError(f"{path}: no such file or folder, and no files of that pattern")


def read_image(file: Path, width: int, height: int, channels: int) -> np.ndarray:
    """Decode and resize one image: uint8 (height, width, channels). Raises OSError or ValueError, naming the file."""
    try:
        return decoded_image(file, width, height, channels)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


def decoded_image(file: Union[Path, BinaryIO], width: int, height: int, channels: int) -> np.ndarray:
    """The same of a file or stream. Raises ValueError, FileNotFoundError."""
    try:
        with Image.open(file, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width}x{image.height} pixels are more than {MAX_PIXELS:,}")
            image.draft(None, (2 * max(width, height),) * 2)  # a large JPEG is decoded at a fraction of its size
            turned = ImageOps.exif_transpose(image)
            resized = _eight_bits(turned, "RGB" if channels == 3 else "L").resize((width, height), Image.BILINEAR)
    except FileNotFoundError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever they meet in a broken file
        reason = "not a PNG, JPEG or BMP file" if isinstance(error, Image.UnidentifiedImageError) else error
        raise ValueError(f"cannot be read as an image: {reason}") from None
    return np.asarray(resized).reshape(height, width, channels)


def _eight_bits(image: Image.Image, mode: str) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey: Pillow's own conversion clips instead of scaling
        image = Image.fromarray((np.clip(np.asarray(image), 0, 65535) >> 8).astype(np.uint8))
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)
