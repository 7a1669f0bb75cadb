"""Whatever is given as XML, there is a tree with the right lines, or one clear message."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from eprune.formats.xml import safe
from eprune.formats.xml.safe import Node, node, parse, parse_bytes, read_bytes, render
from eprune.model.finding import EpruneError


def refusal(data: bytes) -> str:
    with pytest.raises(EpruneError) as caught:
        parse_bytes(data, "app.xml")
    (finding,) = caught.value.findings
    assert finding.rule == "XML"
    return f"{finding} ({finding.hint})"


def refused_file(path: str | Path) -> str:
    with pytest.raises(EpruneError) as caught:
        parse(str(path))
    (finding,) = caught.value.findings
    assert finding.rule == "FILE"
    assert caught.value.exit_code == 2
    return f"{finding} ({finding.hint})"


def stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


# What is read.


def test_a_document_becomes_nodes() -> None:
    root = parse_bytes(b"<a x='1'>\n  <!-- no -->\n  <?no no?>\n  <b y='&lt;&#10;'/>text</a>", "a.xml").root
    (child,) = root.children
    assert (root.tag, root.attributes, root.line, root.text) == ("a", {"x": "1"}, 1, "text")
    assert (child.tag, child.attributes, child.line, child.text) == ("b", {"y": "<\n"}, 4, "")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1"])
def test_common_encodings_are_read(encoding: str) -> None:
    declared = f'<?xml version="1.0" encoding="{encoding}"?>' if encoding == "iso-8859-1" else ""
    root = parse_bytes(f"{declared}<a x='ü'/>".encode(encoding), "a.xml").root
    assert root.attributes == {"x": "ü"}


def test_lines_are_right_beyond_65535_and_are_those_where_tags_begin() -> None:
    data = b"<a>" + b"\n" * 150_000 + b"<b/><c\n\n\nx='1'/>\n<d/></a>"
    document = parse_bytes(data, "a.xml")
    assert [document.where(child).line for child in document.root.children] == [150_001, 150_001, 150_005]


def test_a_dash_is_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin(monkeypatch, b"\n<a/>")
    document = parse("-")
    assert str(document.where(document.root)) == "<stdin>:2"


def test_an_external_entity_is_never_opened(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    data = f'<!DOCTYPE a [<!ENTITY s SYSTEM "{secret.as_uri()}">]>\n<a>&s;</a>'.encode()
    assert refusal(data).startswith("app.xml:1: error[XML]: document types (<!DOCTYPE ...>) and entities are not")


def test_an_include_stays_an_element_like_any_other() -> None:
    data = b"<a xmlns:xi='http://www.w3.org/2001/XInclude'><xi:include href='/etc/passwd' parse='text'/></a>"
    root = parse_bytes(data, "a.xml").root
    assert [child.tag for child in root.children] == ["xi:include"]
    assert root.text == ""


# What is refused.


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "app.xml: error[XML]: the file is empty"),
        (b" \n\n", "app.xml: error[XML]: the file is empty"),
        (b"\x1c\x00\x00\x00TFL3", "app.xml: error[XML]: this is binary data, not XML"),
        (b"\x89PNG\r\n\x1a\n", "app.xml:1: error[XML]: not well-formed XML: "),
        (b"hello", "app.xml:1: error[XML]: not well-formed XML: Start tag expected, '<' not found"),
        (b"<a>\n<b>", "app.xml:2: error[XML]: not well-formed XML: Premature end of data"),
        (b"<a>\n<b", "app.xml:2: error[XML]: not well-formed XML: "),
        (b"<a>\n</b>", "app.xml:2: error[XML]: not well-formed XML: Opening and ending tag mismatch: a line 1 and b"),
        (b"<a/>\n<b/>", "app.xml:2: error[XML]: not well-formed XML: Extra content at the end"),
        (b"<a>\n\x00</a>", "app.xml:2: error[XML]: not well-formed XML: Invalid character: Char 0x0"),
        (b"<a>\n\xff</a>", "app.xml:2: error[XML]: not well-formed XML: "),
        (b"<a x='1'\nx='2'/>", "app.xml:2: error[XML]: not well-formed XML: Attribute x redefined"),
        (b"<a>\n&nbsp;</a>", "app.xml:2: error[XML]: not well-formed XML: Entity 'nbsp' not defined"),
        (b"\n<!DOCTYPE a><a/>", "app.xml:2: error[XML]: document types"),
        (b"<?xml version='1.0' encoding='klingon'?><a/>", "app.xml:1: error[XML]: the encoding 'klingon' is not"),
        (b"<?xml version='1.0' encoding='utf-7'?><a/>", "app.xml:1: error[XML]: the encoding 'utf-7' is not"),
        (b"<?xml version='1.0' encoding='utf-16'?><a/>", "app.xml:1: error[XML]: not well-formed XML: "),
        ("<?xml version='1.0' encoding='utf-8'?><a/>".encode("utf-16"), "app.xml:1: error[XML]: not well-formed"),
    ],
)
def test_what_is_no_xml_is_one_message_with_its_line(data: bytes, message: str) -> None:
    assert refusal(data).startswith(message)


@pytest.mark.parametrize("data", [b"<a>\n<b/>", b"<a><b", b"<a b='"])
def test_a_truncated_file_is_called_that(data: bytes) -> None:
    assert refusal(data).endswith("(the file ends in the middle: is it complete?)")


def test_the_line_of_an_error_is_right_beyond_65535() -> None:
    assert refusal(b"<a>" + b"\n" * 99_999 + b"<b></a>").startswith("app.xml:100000: error[XML]: not well-formed")


def test_nesting_is_bounded() -> None:
    deep = b"<a>\n" * 100_000
    expected = "app.xml:65: error[XML]: elements are nested more than 64 deep ()"
    assert refusal(deep + b"</a>" * 100_000) == expected
    assert refusal(deep) == expected
    at_limit = parse_bytes(b"<a>" * 64 + b"</a>" * 64, "a.xml").root
    assert at_limit.children[0].tag == "a"


def test_expansion_is_refused_before_it_begins() -> None:
    levels = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 30))
    assert "document types" in refusal(f'<!DOCTYPE a [<!ENTITY e0 "ha">{levels}]><a>&e29;</a>'.encode())


def test_numbers_of_elements_and_attributes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safe, "MAX_ELEMENTS", 10)
    assert "more than 10 elements" in refusal(b"<a>" + b"<b/>" * 10 + b"</a>")
    assert len(parse_bytes(b"<a>" + b"<b/>" * 9 + b"</a>", "a.xml").root.children) == 9
    many = " ".join(f"x{n}='1'" for n in range(100))
    assert refusal(f"<a {many}/>".encode()) == "app.xml:1: error[XML]: <a> has 100 attributes; the limit is 64 ()"


def test_what_only_libxml2_refuses_is_a_message_as_well() -> None:
    document = parse_bytes(b"<a x='" + b"y" * 11_000_000 + b"'/>", "app.xml")
    with pytest.raises(EpruneError, match=r"app\.xml:1: error\[XML\]: not readable as XML: (?!.*HUGE)"):
        safe.libxml_tree(document)


# Files.


def test_a_missing_file_is_named_with_the_nearest_one(tmp_path: Path) -> None:
    (tmp_path / "vehicle.xml").write_text("<a/>")
    near = tmp_path / "vehicel.xml"
    assert refused_file(near) == f"{near}: error[FILE]: there is no such file (did you mean '{tmp_path}/vehicle.xml'?)"
    nowhere = tmp_path / "gone" / "a.xml"
    assert refused_file(nowhere).endswith(f"(the folder '{tmp_path}/gone' does not exist or cannot be read)")


def test_a_folder_and_a_device_and_a_path_with_a_nul_are_refused(tmp_path: Path) -> None:
    assert refused_file(tmp_path) == f"{tmp_path}: error[FILE]: this is a folder, not a file ()"
    assert "error[FILE]: there are more than 67108864 bytes" in refused_file("/dev/zero")
    assert "error[FILE]: cannot be read: " in refused_file("a\0b")


def test_a_file_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_permission(*arguments: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", no_permission)  # root, in a container, could read it
    assert refused_file("a.xml") == "a.xml: error[FILE]: cannot be read: Permission denied ()"


def test_a_huge_file_is_refused_without_reading_it(tmp_path: Path) -> None:
    huge = tmp_path / "huge.xml"
    with huge.open("wb") as stream:
        stream.truncate(100 * 2**20)
    assert refused_file(huge) == f"{huge}: error[FILE]: the file has 104857600 bytes; the limit is 67108864 ()"


def test_stdin_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin(monkeypatch, b"12345")
    with pytest.raises(EpruneError, match=r"<stdin>: error\[FILE\]: there are more than 4 bytes"):
        read_bytes("-", limit=4)
    stdin(monkeypatch, b"1234")
    assert read_bytes("-", limit=4) == b"1234"


# Writing.


def test_rendered_text_is_one_element_a_line_and_reads_back() -> None:
    root = node("a", [node("b", x_='<&">\n\t\r', y=None), node("c", [node("d", z=1)])])
    text = render(root)
    assert text == '<a>\n  <b x=\'&lt;&amp;"&gt;&#10;&#9;&#13;\'/>\n  <c>\n    <d z="1"/>\n  </c>\n</a>\n'
    assert flat(parse_bytes(text.encode(), "a.xml").root) == flat(root)


def test_what_xml_cannot_hold_is_not_written() -> None:
    with pytest.raises(ValueError, match=r"XML cannot hold the character '\\x00'"):
        render(node("a", x="\0"))


def flat(element: Node) -> tuple[object, ...]:
    return (element.tag, element.attributes, [flat(child) for child in element.children])
