"""A user's own pictures, with or without labels, for all commands that take ``--data``.

``read_data`` takes a folder for each class, pictures with labels.csv, or an .npz file. ``Data.part`` divides them:
plans are made of the calibration part and judged by the test part. Pictures of one source (crops, frames of one film,
copies) are all in the same part, else a plan would be judged by what it was made of.
"""

from __future__ import annotations

import csv
import hashlib
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np

from eprune.measure.pictures import Pictures, image_source
from eprune.model.finding import EpruneError, Finding, Location

CALIBRATION, TEST, ALL = PARTS = ("calibration", "test", "all")
#: Of the calibration part, the share that is fitted on; the rest is for thresholds.
_FITTED = 0.6
LABELS = "labels.csv"
#: ``street_crop3.png`` and ``street@3.png`` are of the source ``street``.
_PIECE = re.compile(r"(?:@|[-_. ](?:crop|frame|tile|part)[-_]?)[0-9]+$")
#: Names of arrays in an .npz file: pictures, labels, and the part that they are of.
_ARRAYS = (
    ("x_train", "y_train", CALIBRATION),
    ("x_test", "y_test", TEST),
    ("train_images", "train_labels", CALIBRATION),
    ("test_images", "test_labels", TEST),
    ("x", "y", ""),
    ("images", "labels", ""),
)
#: More bytes of arrays are not loaded.
_MOST_BYTES = 2**33
#: Bytes of a labels.csv that are read at most.
_MOST_TEXT = 2**26


@dataclass(frozen=True)
class Example:
    """A picture: a file or an array, its ``label`` (None: unknown), and the ``source`` that it is a piece of.

    ``name`` is for messages. ``part`` is the part that the data themselves put it in, "" if they do not.
    """

    name: str
    content: Union[Path, np.ndarray]
    source: str
    label: Optional[str] = None
    part: str = ""


@dataclass(frozen=True)
class Data:
    """Examples, of ``path``; ``total`` is how many there are in all parts, ``named`` which part this is."""

    path: str
    examples: tuple[Example, ...]
    total: int
    named: str = ALL

    def __len__(self) -> int:
        return len(self.examples)

    def __iter__(self) -> Iterator[Example]:
        return iter(self.examples)

    @property
    def labelled(self) -> bool:
        """Whether every picture has a label."""
        return all(example.label is not None for example in self.examples)

    def part(self, name: str, share: float = 0.5, seed: int = 1) -> Data:
        """The ``calibration`` part, which has this share of the pictures, or the ``test`` part, or ``all``.

        The parts have no source in common. Where the data state parts themselves (train and test of an .npz file),
        these hold, and ``share`` is ignored. Same arguments, same parts. Raises EpruneError where a part is empty.
        """
        if name == ALL:
            return self
        groups = self._groups()
        stated = any(example.part for example in self.examples)
        held = _stated(self.examples, groups) if stated else _drawn(groups, share, seed)
        chosen = tuple(each for each, part in zip(self.examples, held) if part == name)
        if not chosen:
            message = f"has no pictures for the {name} part: {len(self)} pictures of {len(set(groups))} sources"
            raise data_error(self.path, message, "pictures of one source are all in one part; add pictures of others")
        return replace(self, examples=chosen, named=name)

    def fitting(self, count: int) -> tuple[Data, Data, Data]:
        """What is fitted on, what thresholds are chosen by, and what is judged by: up to ``count`` of either part.

        The first two are of the calibration part.
        """
        part = self.part(CALIBRATION).first(count)
        own = replace(part, examples=tuple(replace(each, part="") for each in part))
        return own.part(CALIBRATION, _FITTED), own.part(TEST, _FITTED), self.part(TEST).first(count)

    def first(self, count: Optional[int], seed: int = 1) -> Data:
        """So many pictures, drawn at random (None: all)."""
        if count is None or count >= len(self):
            return self
        drawn = np.random.default_rng(seed).permutation(len(self))[:count]
        return replace(self, examples=tuple(self.examples[index] for index in sorted(drawn)))

    def classes(self, names: Sequence[str] = ()) -> list[int]:
        """The class of each picture, counted from 0, in the order of ``names``.

        Without names, labels that are whole numbers are classes; others are classes in the order of the alphabet.
        Raises EpruneError for labels that are not among the names, and where a picture has none.
        """
        labels = [example.label for example in self.examples]
        known = {name: place for place, name in enumerate(names) if name}
        distinct = sorted({label for label in labels if label is not None})
        if not names and not all(map(_is_number, distinct)):
            known = {name: place for place, name in enumerate(distinct)}
        found = []
        for example, label in zip(self.examples, labels):
            if label is None:
                raise data_error(self.path, f"{example.name} has no label", "give all pictures labels, or none")
            number = known.get(label, int(label) if _is_number(label) else -1)
            if number < 0 or (names and number >= len(names)):
                few = ", ".join(names[:10]) + ", ..." * (len(names) > 10)
                hint = "name the folders, or the labels, like the classes"
                raise data_error(self.path, f"{example.name}: label {label!r} is none of the classes: {few}", hint)
            found.append(number)
        return found

    def by_alphabet(self, names: Sequence[str]) -> bool:
        """Whether ``classes`` has nothing but the alphabet to number the labels by."""
        return not names and not all(_is_number(example.label or "") for example in self.examples)

    def _groups(self) -> list[str]:
        """For each picture the source that it belongs to; sources that share a picture, byte by byte, are one."""
        parent: dict[str, str] = {}

        def root(name: str) -> str:
            while (above := parent.setdefault(name, name)) != name:
                parent[name] = parent[above]
                name = above
            return name

        first: dict[Any, str] = {}
        for example, mark in zip(self.examples, _marks(self.examples)):
            parent[root(example.source)] = root(first.setdefault(mark, example.source))
        return [root(example.source) for example in self.examples]


def read_data(path: str) -> Data:
    """The pictures of a folder, an .npz or an .npy file. Nothing is decoded yet.

    - A folder with labels.csv: lines ``file,label`` or ``file,label,source`` under a line that says so. Other columns
      are further properties of the pictures (``eprune privacy --attribute``).
    - A folder with a folder for each class; or ``train`` and ``test`` with such folders.
    - A folder of pictures: without labels. Pieces of one picture, ``street_crop3.png`` and ``street@3.png``, have one
      source.
    - An .npz file: ``x`` and ``y`` (and ``source``), or ``x_train``, ``y_train``, ``x_test``, ``y_test``; MNIST's other
      names are known, too. Without ``y``: no labels. An .npy file: pictures or tokens without labels.

    Raises EpruneError (FILE) for anything else.
    """
    place = Path(path)
    if place.is_dir():
        examples = _folder(place)
    elif not place.is_file():
        raise data_error(path, "is no file and no folder", "give a folder of pictures, or an .npz file")
    elif place.suffix.lower() in (".npz", ".npy"):
        examples = _arrays(path)
    else:
        raise data_error(path, "is neither a folder of pictures nor an .npz file")
    if not examples:
        raise data_error(path, "holds no pictures")
    return Data(path, tuple(examples), len(examples))


def data_error(path: str, message: str, hint: str = "") -> EpruneError:
    """What is wrong with the data."""
    return EpruneError(Finding("FILE", Location(path), message, hint))


# Folders


def token_of(pictures: Pictures, example: Example) -> np.ndarray:
    """The token of a picture. Raises EpruneError, which names the picture."""
    try:
        return pictures(example.content)
    except (ValueError, OSError) as error:
        text = str(error)
        named = text[len(example.name) :].lstrip(": ") if text.startswith(example.name) else text
        raise data_error(example.name, named) from None


def tokens_of(data: Data, pictures: Pictures) -> list[np.ndarray]:
    """The tokens of all pictures."""
    return [token_of(pictures, example) for example in data]


def _folder(folder: Path) -> list[Example]:
    if (folder / LABELS).is_file():
        return list(_listed(folder))
    inner = sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
    parts = {"train": CALIBRATION, "test": TEST}
    if inner and {each.name for each in inner} == set(parts):
        return [each for part in inner for each in _classes(part, parts[part.name])]
    return _classes(folder, "")


def _classes(folder: Path, part: str) -> list[Example]:
    """The pictures of a folder: those in its folders are of their class, those in itself have none."""
    inner = sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
    found = [
        Example(str(file), file, _source(file, name), name, part)
        for name, file in ((each.name, file) for each in inner for file in _pictures(each))
    ]
    own = _pictures(folder)
    if found and own:
        message = f"has pictures beside the folders of the classes: {own[0].name}"
        raise data_error(str(folder), message, f"move them into the folders, or list all pictures in {LABELS}")
    return found or [Example(str(file), file, _source(file, ""), None, part) for file in own]


def _pictures(folder: Path) -> list[Path]:
    try:
        found: list[Path] = image_source().find_images(str(folder))
    except FileNotFoundError:
        return []
    return found


def _source(file: Path, label: str) -> str:
    """What a picture is a piece of: its name without the number of the piece, in its folder."""
    return f"{label}/{_PIECE.sub('', file.stem)}"


def _listed(folder: Path) -> Iterator[Example]:
    """The pictures that labels.csv names."""
    table = folder / LABELS
    if table.stat().st_size > _MOST_TEXT:
        raise data_error(str(table), f"has more than {_MOST_TEXT} bytes")
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.reader(stream)
            header = [name.strip() for name in next(rows, [])]
            others = set(header) - {"file", "label", "source"}
            if header[:1] != ["file"] or len(set(header)) < len(header) or (others and "label" not in header):
                hint = "begin it with the line file,label or file,label,source; other columns may follow"
                raise EpruneError(Finding("FILE", Location(str(table), 1), "its first line names no columns", hint))
            for row in rows:
                if row:
                    yield _row(folder, Location(str(table), rows.line_num), header, row)
    except (UnicodeDecodeError, csv.Error) as error:
        raise data_error(str(table), f"is not a table in UTF-8: {error}") from None


def _row(folder: Path, where: Location, header: Sequence[str], row: Sequence[str]) -> Example:
    if len(row) != len(header):
        raise EpruneError(Finding("FILE", where, f"has {len(row)} columns, not {len(header)}"))
    values = {name: text.strip() for name, text in zip(header, row)}
    file = folder / values["file"]
    if folder.resolve() not in file.resolve().parents:
        raise EpruneError(Finding("FILE", where, f"{values['file']!r} is outside of the folder"))
    if not file.is_file():
        raise EpruneError(Finding("FILE", where, f"there is no picture {values['file']!r}"))
    return Example(str(file), file, values.get("source") or _source(file, ""), values.get("label") or None)


# Arrays


def _arrays(path: str) -> list[Example]:
    try:
        arrays = _load(path)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise data_error(path, f"cannot be read as arrays of plain numbers: {error}") from None
    examples: list[Example] = []
    for pictures, labels, part in _ARRAYS:
        if pictures in arrays:
            own = arrays.get("source") if pictures in ("x", "images") else None
            examples += _stacked(path, pictures, arrays[pictures], arrays.get(labels), own, part)
    if not any(pictures in arrays for pictures, _, _ in _ARRAYS):
        names = ", ".join(arrays) or "none"
        raise data_error(
            path, f"has no pictures among its arrays: {names}", "name them x and y, or x_train, y_train, ..."
        )
    return examples


def _load(path: str) -> Mapping[str, np.ndarray]:
    """The arrays of a file that are of use. Raises what numpy raises."""
    if path.lower().endswith(".npy"):
        return {"x": np.load(path, mmap_mode="r", allow_pickle=False)}
    wanted = {name for pictures, labels, _ in _ARRAYS for name in (pictures, labels)} | {"source"}
    with zipfile.ZipFile(path) as archive:
        large = sum(info.file_size for info in archive.infolist())
    if large > _MOST_BYTES:
        raise ValueError(f"it holds {large} bytes, more than {_MOST_BYTES}")
    with np.load(path, allow_pickle=False) as file:
        known = {name: file[name] for name in file.files if name in wanted}
        return known or dict.fromkeys(file.files, np.empty(0))


def _stacked(
    path: str, name: str, pictures: np.ndarray, labels: Optional[np.ndarray], sources: Optional[np.ndarray], part: str
) -> Iterable[Example]:
    if not pictures.ndim:
        raise data_error(path, f"{name} is a single number, not a stack of pictures")
    for what, column in (("labels", labels), ("sources", sources)):
        if column is not None and column.size != len(pictures):
            raise data_error(path, f"{name} has {len(pictures)} pictures, but there are {column.size} {what}")
    if labels is not None and labels.dtype.kind not in "iuUb":
        raise data_error(path, f"the labels of {name} are {labels.dtype}", "give numbers of classes, or their names")
    texts = None if labels is None else [str(label) for label in labels.reshape(-1).tolist()]
    owners = None if sources is None else [str(source) for source in sources.reshape(-1).tolist()]
    for index, picture in enumerate(pictures):
        title = f"{name}[{index}]"
        yield Example(title, picture, owners[index] if owners else title, texts[index] if texts else None, part)


# Parts


def _marks(examples: Sequence[Example]) -> list[Any]:
    """For each picture something that is equal for equal bytes. Files are read only where others have their size."""
    sizes = [
        each.content.stat().st_size if isinstance(each.content, Path) else each.content.nbytes for each in examples
    ]
    common = {size for size, count in zip(*np.unique(sizes, return_counts=True)) if count > 1}
    return [
        hashlib.sha256(
            each.content.read_bytes()
            if isinstance(each.content, Path)
            else np.ascontiguousarray(each.content).tobytes()
        ).digest()
        if size in common
        else index
        for index, (each, size) in enumerate(zip(examples, sizes))
    ]


def _stated(examples: Sequence[Example], groups: Sequence[str]) -> list[str]:
    """The parts that the data state; what has a source in common with the test part is in no other."""
    tested = {group for example, group in zip(examples, groups) if example.part == TEST}
    return [
        TEST if example.part == TEST else "" if group in tested else CALIBRATION
        for example, group in zip(examples, groups)
    ]


def _drawn(groups: Sequence[str], share: float, seed: int) -> list[str]:
    """Whole sources, in an order that the seed determines, for calibration until it has its share."""
    sizes: dict[str, int] = {}
    for group in groups:
        sizes[group] = sizes.get(group, 0) + 1
    order = sorted(sizes, key=lambda group: hashlib.sha256(f"{seed} {group}".encode()).digest())
    calibration: set[str] = set()
    taken = 0
    for group in order[:-1]:  # the last one is for testing, whatever the share
        if taken >= share * len(groups):
            break
        calibration.add(group)
        taken += sizes[group]
    return [CALIBRATION if group in calibration else TEST for group in groups]


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
