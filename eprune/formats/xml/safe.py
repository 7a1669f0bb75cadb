"""The one place where XML is parsed and written: nothing a file says can make us fetch, expand or recurse.

Expat, of the standard library, goes first: it refuses document types (so entities, DTDs and their expansion), other
encodings, deep nesting and huge counts as it meets them, and it counts lines right, which libxml2's 16-bit line numbers
do not beyond line 65535. What passes becomes a tree of plain ``Node``. libxml2 (lxml) is asked twice only: for the
better message where the text is not well-formed, and for schema validation (``schema.py``).
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import NoReturn, Optional
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

from lxml import etree

from eprune.model.finding import EpruneError, Finding, Location

MAX_BYTES = 64 * 2**20
MAX_DEPTH = 64
#: A graph of 100,000 actors with two ports and a FIFO each has 400,000 elements.
MAX_ELEMENTS = 2_000_000
MAX_ATTRIBUTES = 64
#: The encodings that both parsers read without help.
ENCODINGS = ("utf-8", "utf-16", "us-ascii", "iso-8859-1")

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Node:
    """An element: its tag, its attributes, the line its start tag begins on (1-based), its children, its text.

    ``text`` holds all character data directly inside, or nothing where that is only white space.
    """

    __slots__ = ("attributes", "children", "line", "tag", "text")

    def __init__(self, tag: str, attributes: dict[str, str], line: int = 0) -> None:
        self.tag = tag
        self.attributes = attributes
        self.line = line
        self.children: list[Node] = []
        self.text = ""


@dataclass(frozen=True)
class Document:
    """A parsed file: its name as messages give it, its bytes, its root."""

    file: str
    data: bytes
    root: Node

    def where(self, node: Node) -> Location:
        """The place of an element."""
        return Location(self.file, node.line)


def parse(path: str) -> Document:
    """Read and parse an XML file, "-" for stdin. Raises EpruneError, with one finding, for whatever cannot be read."""
    return parse_bytes(read_bytes(path), "<stdin>" if path == "-" else path)


def parse_bytes(data: bytes, file: str) -> Document:
    """Parse XML text; ``file`` is what messages call it. Raises EpruneError with one finding."""
    if not data.strip():
        _refuse(Location(file), "the file is empty")
    if b"\0" in data[:4] and data[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        _refuse(Location(file), "this is binary data, not XML")
    builder = _Builder(file)
    try:
        builder.parser.Parse(data, True)
    except expat.ExpatError as error:
        _refuse_malformed(data, file, error)
    finally:
        del builder.parser  # which refers back to the builder: a cycle would keep the tree
    return Document(file, data, builder.root.children[0])


def libxml_tree(document: Document) -> etree._Element:
    """The document as libxml2 sees it, for schema validation. Raises EpruneError where libxml2 refuses it."""
    try:
        return _libxml_parse(document.data)
    except etree.XMLSyntaxError as error:
        _refuse(Location(document.file, error.lineno or 0), f"not readable as XML: {_libxml_message(error)}")


def render(root: Node) -> str:
    """XML text, one element per line. Raises ValueError for characters that XML cannot hold."""
    lines: list[str] = []
    _render(root, "", lines)
    text = "\n".join(lines) + "\n"
    bad = _NO_XML.search(text)
    if bad:
        raise ValueError(f"XML cannot hold the character {bad.group()!r}")
    return text


def node(tag: str, children: Iterable[Node] = (), **attributes: object) -> Node:
    """An element to render; attributes that are None are left out. A trailing ``_`` of a keyword is dropped."""
    element = Node(tag, {name.rstrip("_"): str(value) for name, value in attributes.items() if value is not None})
    element.children.extend(children)
    return element


def read_bytes(path: str, limit: int = MAX_BYTES) -> bytes:
    """A file's bytes ("-" is stdin), at most ``limit``. Raises EpruneError (rule FILE) with what is wrong with it."""
    where = Location("<stdin>" if path == "-" else path)
    try:
        if path == "-":
            data = sys.stdin.buffer.read(limit + 1)
        else:
            with Path(path).open("rb") as stream:
                size = os.fstat(stream.fileno()).st_size
                data = stream.read(limit + 1) if size <= limit else b""
                if size > limit:
                    raise EpruneError(Finding("FILE", where, f"the file has {size} bytes; the limit is {limit}"))
    except IsADirectoryError:
        raise EpruneError(Finding("FILE", where, "this is a folder, not a file")) from None
    except FileNotFoundError:
        raise EpruneError(Finding("FILE", where, "there is no such file", _nearest_file(path))) from None
    except OSError as error:
        raise EpruneError(Finding("FILE", where, f"cannot be read: {error.strerror or error}")) from None
    except ValueError as error:  # a path with a NUL character
        raise EpruneError(Finding("FILE", where, f"cannot be read: {error}")) from None
    if len(data) > limit:
        raise EpruneError(Finding("FILE", where, f"there are more than {limit} bytes, which is the limit"))
    return data


class _Builder:
    """Expat's callbacks; they refuse what is hostile at the moment it is seen."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.root = Node("", {})
        self.open = [self.root]
        self.count = 0
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.XmlDeclHandler = self.declaration
        self.parser.StartDoctypeDeclHandler = self.doctype
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.text

    def refuse(self, message: str, hint: str = "") -> NoReturn:
        _refuse(Location(self.file, self.parser.CurrentLineNumber), message, hint)

    def declaration(self, version: str, encoding: Optional[str], standalone: int) -> None:
        if encoding and encoding.lower() not in ENCODINGS:
            self.refuse(
                f"the encoding {encoding!r} is not supported", "save the file as UTF-8, and declare that or nothing"
            )

    def doctype(self, *declaration: object) -> None:
        self.refuse("document types (<!DOCTYPE ...>) and entities are not allowed", "remove the declaration")

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.count += 1
        if len(self.open) > MAX_DEPTH:
            self.refuse(f"elements are nested more than {MAX_DEPTH} deep")
        if self.count > MAX_ELEMENTS:
            self.refuse(f"there are more than {MAX_ELEMENTS} elements, which is the limit")
        if len(attributes) > MAX_ATTRIBUTES:
            self.refuse(f"<{tag}> has {len(attributes)} attributes; the limit is {MAX_ATTRIBUTES}")
        element = Node(tag, attributes, self.parser.CurrentLineNumber)
        self.open[-1].children.append(element)
        self.open.append(element)

    def end(self, tag: str) -> None:
        self.open.pop()

    def text(self, data: str) -> None:
        if self.open[-1].text or not data.isspace():
            self.open[-1].text += data


def _refuse(where: Location, message: str, hint: str = "") -> NoReturn:
    raise EpruneError(Finding("XML", where, message, hint)) from None


def _refuse_malformed(data: bytes, file: str, error: expat.ExpatError) -> NoReturn:
    line, message = error.lineno, expat.ErrorString(error.code)
    truncated = message in (expat.errors.XML_ERROR_NO_ELEMENTS, expat.errors.XML_ERROR_UNCLOSED_TOKEN)
    hint = "the file ends in the middle: is it complete?" if truncated else ""
    try:
        _libxml_parse(data)
    except etree.XMLSyntaxError as better:
        line, message = better.lineno or line, _libxml_message(better)
    _refuse(Location(file, line), f"not well-formed XML: {message}", hint)


def _libxml_parse(data: bytes) -> etree._Element:
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    return etree.fromstring(data, parser)


def _libxml_message(error: etree.XMLSyntaxError) -> str:
    """libxml2's message without the place, which is given apart, and without advice to its programmers."""
    message = re.sub(r"\s*, line \d+, column \d+( \(.*\))?$", "", str(error).replace("\n", " "))
    return re.sub(r",? (try|use) XML_PARSE_HUGE.*", "", message).strip()


def _nearest_file(path: str) -> str:
    folder = Path(path).parent
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except OSError:
        return f"the folder {str(folder)!r} does not exist or cannot be read"
    close = get_close_matches(Path(path).name, names, 1)
    return f"did you mean {str(folder / close[0])!r}?" if close else ""


def _render(element: Node, indent: str, lines: list[str]) -> None:
    tag = element.tag + "".join(f" {name}={quoteattr(value)}" for name, value in element.attributes.items())
    if not element.children:
        lines.append(f"{indent}<{tag}/>")
        return
    lines.append(f"{indent}<{tag}>")
    for child in element.children:
        _render(child, indent + "  ", lines)
    lines.append(f"{indent}</{element.tag}>")
