"""What an OpenCL file says of its kernels, read and never compiled: names, and arguments with their types."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Optional

from eprune.formats.c_source import CSource
from eprune.model.finding import EpruneError, Finding, Location

_ATTRIBUTE = re.compile(r"__attribute__\s*\(\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)\)")
_KERNEL = re.compile(r"\b(?:__kernel|kernel)\s+void\s+([A-Za-z_]\w*)\s*\(([^()]*)\)")
_WORD = re.compile(r"[A-Za-z_]\w*|\S")
_SPACES = {f"{prefix}{space}": space for space in ("global", "constant", "local") for prefix in ("", "__")}
_QUALIFIERS = {"restrict", "__restrict", "__restrict__", "volatile", "private", "__private", "signed"}
#: Scalar types of OpenCL C that a kernel may take -> numpy's
_TYPES = {
    "char": "int8",
    "uchar": "uint8",
    "short": "int16",
    "ushort": "uint16",
    "int": "int32",
    "uint": "uint32",
    "long": "int64",
    "ulong": "uint64",
    "half": "float16",
    "float": "float32",
    "double": "float64",
}
#: What an argument can be.
_TAKEN = "a number (float, int, uchar, ...), or one pointer to __global, __constant or __local memory of numbers"
_VECTOR = re.compile(rf"({'|'.join(_TYPES)})(2|3|4|8|16)?")


@dataclass(frozen=True)
class KernelArgument:
    """An argument: ``dtype`` is numpy's name of an element, of which a vector type has ``width``.

    ``space`` is where a pointer points, "global", "constant" or "local"; "" for a value.
    """

    name: str
    line: int
    dtype: str
    width: int = 1
    space: str = ""
    constant: bool = False

    @property
    def meaning(self) -> str:
        """What it can be of an actor."""
        if not self.space:
            return "parameter" + ", or the control input" * (self.dtype == "int32")
        if self.space == "local":
            return "parameter: a number of elements"
        return "input, or parameter: a .npy file" if self.constant else "output"

    def holds(self, dtype: str) -> bool:
        """Whether a pointer of this type reads tokens of a dtype as they are: complex ones are pairs, bool bytes."""
        pairs = {"complex64": "float32", "complex128": "float64"}
        if dtype in pairs:
            return (self.dtype, self.width % 2) == (pairs[dtype], 0)
        return self.dtype == dtype or (dtype == "bool" and self.dtype == "uint8")


class ClSource(CSource):
    """An OpenCL file. Raises OSError or ValueError where it cannot be read."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path
        plain = _ATTRIBUTE.sub(lambda found: " " + "\n" * found[0].count("\n"), self.text)
        #: kernel -> where it is once more, with other arguments
        self._twice: dict[str, int] = {}
        self._kernels: dict[str, tuple[int, list[tuple[int, str]]]] = {}
        for found in _KERNEL.finditer(plain):
            line = plain.count("\n", 0, found.start(1)) + 1
            place, arguments = found.start(2), []
            for text in found[2].split(","):
                begin = place + len(text) - len(text.lstrip())
                arguments.append((plain.count("\n", 0, begin) + 1, text.strip()))
                place += len(text) + 1
            arguments = [] if arguments[0][1] in ("", "void") else arguments
            _, known = self._kernels.setdefault(found[1], (line, arguments))
            if [text for _, text in known] != [text for _, text in arguments]:
                self._twice.setdefault(found[1], line)

    @property
    def kernels(self) -> list[str]:
        """Their names, in the order of the file."""
        return list(self._kernels)

    @property
    def strange(self) -> str:
        """The first include that is not a file beside it; "" if there is none: a device has no headers."""
        return next((text for text in self.included_texts if not text.startswith('"')), "") or super().strange

    def line(self, kernel: str) -> int:
        """Where a kernel begins."""
        return self._kernels[kernel][0]

    def arguments(self, kernel: str) -> list[KernelArgument]:
        """The arguments of a kernel.

        Raises EpruneError (FILE) for types that no token and no parameter has, and for a kernel with two lists of them.
        """
        found, findings = [], []
        if kernel in self._twice:
            message = f"the kernel {kernel} is there once more, with other arguments than in line {self.line(kernel)}"
            hint = "give each version a name of its own: conditions (#if) are not read"
            findings.append(Finding("FILE", Location(self.path, self._twice[kernel]), message, hint))
        for line, text in self._kernels[kernel][1]:
            argument = _argument(line, text)
            if argument is not None:
                found.append(argument)
            else:
                message = f"argument '{text}' of the kernel {kernel} is of a type that no token and no parameter has"
                findings.append(Finding("FILE", Location(self.path, line), message, _TAKEN))
        if findings:
            raise EpruneError(*findings)
        return found


def _argument(line: int, text: str) -> Optional[KernelArgument]:
    """An argument, None where it is of a type that cannot be taken."""
    words = _WORD.findall(text)
    spaces = [_SPACES[word] for word in words if word in _SPACES]
    stars = words.count("*") + words.count("[")
    names = [word for word in words if word[0].isalpha() or word[0] == "_"]
    types = [word for word in names[:-1] if word not in _SPACES and word not in _QUALIFIERS and word != "const"]
    if "unsigned" in types:
        types = ["u" + (next((word for word in types if word != "unsigned"), "int"))]
    found = _VECTOR.fullmatch(" ".join(types) or "int")
    space = spaces[0] if spaces else ""
    if not names or not found or stars != bool(space) or (found[2] and not space):
        return None
    # What the pointer points to is constant if the word stands before the star.
    before = words[: words.index("*")] if "*" in words else words
    constant = space == "constant" or "const" in before
    return KernelArgument(names[-1], line, _TYPES[found[1]], int(found[2] or 1), space, constant)
