"""How tokens look outside: their bytes, pictures, or JSON."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
from checks import one_of
from image_source import Image, decoded_image
from resize import picture_shape

from eprune.runtime import PortType

RAW, PICTURE, JSON = "raw", "picture", "json"
FORMS = (RAW, PICTURE, JSON)
#: form -> the type of contents, as HTTP calls it
TYPES = {RAW: "application/octet-stream", PICTURE: "image/jpeg", JSON: "application/json"}
MAX_PICTURE = 2**24  # bytes of a coded picture


class Payload:
    """Tokens of a port in one of the forms.

    - ``raw``: exactly the bytes of the token, little-endian; of a token of variable size, as many as it has.
    - ``picture``: for uint8 [1,H,W,3] or [H,W,3]. What comes in is a JPEG, PNG or BMP of any size, which becomes the
      token's; what goes out is a JPEG.
    - ``json``: the numbers, in lists as in numpy's ``tolist``; what is not finite goes out as null. A token
      ``uint8[<=n]`` holds text in JSON, which is passed on as it is.
    """

    def __init__(self, form: str) -> None:
        self.form = one_of("form", form, FORMS)

    def bind(self, name: str, port: PortType) -> None:
        """Set the port. Raises ValueError if the form is not one of its tokens."""
        self.port = port
        self.bytes = int(np.prod(port.shape)) * np.dtype(port.dtype).itemsize
        self.limit = self.bytes
        self.text = port.variable and port.dtype == "uint8"
        if self.form == PICTURE:
            if Image is None:
                raise ValueError("form=picture needs Pillow: pip install pillow")
            self.height, self.width = picture_shape(name, port, ("uint8",))
            self.limit = MAX_PICTURE
        elif self.form == JSON and not self.text:
            if port.variable or np.dtype(port.dtype).kind not in "fiu":
                raise ValueError(f"port {name!r}: form=json is for numbers and for text, uint8[<=n]")
            self.limit = 32 * int(np.prod(port.shape)) + 1024  # brackets, blanks, and all digits of a number

    @property
    def type(self) -> str:
        """The type of contents that goes out."""
        return TYPES[self.form]

    def token(self, data: bytes) -> np.ndarray:
        """The token that was sent so. Raises ValueError, which says what was expected."""
        if len(data) > self.limit:
            raise ValueError(f"{len(data)} bytes are more than {self.limit}")
        if self.form == PICTURE:
            return decoded_image(io.BytesIO(data), self.width, self.height, 3).reshape(self.port.shape)
        if self.form == JSON:
            return self._from_json(data)
        kind = np.dtype(self.port.dtype).newbyteorder("<")
        if self.port.variable and len(data) % kind.itemsize == 0:
            return np.frombuffer(data, kind)
        if len(data) != self.bytes:
            wanted = f"{self.port.dtype}{list(self.port.shape)}".replace(" ", "")
            raise ValueError(f"{len(data)} bytes are no token {wanted}, which has {self.bytes}")
        return np.frombuffer(data, kind).reshape(self.port.shape)

    def _from_json(self, data: bytes) -> np.ndarray:
        try:
            value: Any = json.loads(data)
        except (ValueError, RecursionError):
            raise ValueError(f"{len(data)} bytes are no JSON") from None
        if self.text:
            return np.frombuffer(data, np.uint8)
        count = int(np.prod(self.port.shape))
        try:
            numbers = np.array(value if isinstance(value, list) else [value])
            if numbers.dtype.kind not in "fiu" or numbers.size != count:
                raise ValueError
            with np.errstate(over="ignore"):
                token = numbers.reshape(self.port.shape).astype(self.port.dtype)
            if np.dtype(self.port.dtype).kind in "iu" and not np.array_equal(token.reshape(-1), numbers.reshape(-1)):
                raise ValueError
        except (ValueError, OverflowError):
            raise ValueError(f"expected {count} numbers, {self.port.dtype}, in a list") from None
        return token

    def data(self, token: np.ndarray) -> bytes:
        """What goes out for a token."""
        if self.form == PICTURE:
            stream = io.BytesIO()
            Image.fromarray(np.ascontiguousarray(token.reshape(self.height, self.width, 3))).save(
                stream, "JPEG", quality=90
            )
            return stream.getvalue()
        if self.form == JSON and not self.text:
            plain = token.astype(object)
            plain[~np.isfinite(token)] = None
            return json.dumps(plain.tolist()).encode()
        return token.astype(np.dtype(token.dtype).newbyteorder("<"), copy=False).tobytes()
