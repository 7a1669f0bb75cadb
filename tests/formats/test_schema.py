"""What does not follow the schema is named: all of it, each with its line and the way out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from lxml import etree

from eprune.formats.xml import schema
from eprune.formats.xml.application import read_application
from eprune.formats.xml.mapping import read_mapping
from eprune.formats.xml.platform import read_platform
from eprune.formats.xml.schema import KINDS, schema_text
from eprune.model.finding import EpruneError
from eprune.model.quantity import BANDWIDTH, POWER, SIZE, TIME
from eprune.model.token import ITEM_SIZES

CASES = Path(__file__).parents[1] / "cases"
DOCUMENTATION = (Path(__file__).parents[2] / "docs" / "reference" / "files.md").read_text(encoding="utf-8")
READERS = {"application": read_application, "platform": read_platform, "mapping": read_mapping}


def problems(tmp_path: Path, kind: str, text: str) -> list[str]:
    """The findings of a file, without its name, as ``line: message (hint)``."""
    path = tmp_path / "file.xml"
    path.write_text(text, encoding="utf-8")
    try:
        READERS[kind](str(path))
    except EpruneError as error:
        assert all(finding.rule == "XML" and finding.where.file == str(path) for finding in error.findings)
        return [f"{finding.where.line}: {finding.message} ({finding.hint})" for finding in error.findings]
    return []


@pytest.mark.parametrize("path", sorted(CASES.glob("xml-*.xml")), ids=lambda path: path.stem)
def test_case(path: Path) -> None:
    """Each file in tests/cases says at its top what is to be found, all of it, in this order."""
    expected = re.findall(r"<!-- expect: (\d+): error\[XML\]: (.*) -->", path.read_text(encoding="utf-8"))
    with pytest.raises(EpruneError) as caught:
        read_application(str(path))
    found = [(str(f.where.line), f"{f.message} ({f.hint})") for f in caught.value.findings]
    assert [line for line, _ in found] == [line for line, _ in expected]
    for (_, message), (_, start) in zip(found, expected):
        assert message.startswith(start)


def test_platform_problems(tmp_path: Path) -> None:
    text = """<platform name="p" memory="512">
  <unit name="cpu0" core="zero"/>
  <unit/>
  <link too="s" bandwith="100Mbit"/>
  <link to="s" address="a b" port="65536" bandwidth="100Mbit" latency="1.49"/>
  <units/>
</platform>"""
    assert problems(tmp_path, "platform", text) == [
        f"1: memory=\"512\" of <platform>: '512' is not a quantity in one of {', '.join(SIZE)}"
        " (write a size with its unit, for example 512MiB)",
        '2: core="zero" of <unit>: expected the number of a CPU core, counted from 0 ()',
        "3: <unit> lacks the attribute 'name' (its value is a name of letters, digits, '_' and '-' that does not begin "
        "with '-', for example L4-L5)",
        "4: unknown attribute 'too' of <link> (did you mean 'to'?)",
        "4: unknown attribute 'bandwith' of <link> (did you mean 'bandwidth'?)",
        '5: address="a b" of <link>: expected a host name or an IP address, for example 192.168.1.10, or [fe80::1] ()',
        '5: port="65536" of <link>: expected a TCP port number from 1 to 65535 ()',
        f"5: bandwidth=\"100Mbit\" of <link>: '100Mbit' is not a quantity in one of {', '.join(BANDWIDTH)}"
        " (write a bandwidth with its unit, for example 100Mbit/s or 11.2MB/s)",
        "5: latency=\"1.49\" of <link>: '1.49' is not a quantity in one of s, ms, us, ns"
        " (write a time with its unit, for example 1.49ms)",
        "6: unknown element <units> inside <platform> (did you mean <unit>?)",
    ]


def test_mapping_problems(tmp_path: Path) -> None:
    text = """<mapping application="a" platform="p">
  <map actor="x"/>
  <map actor="x" unit="u" platform="q"/>
  <map actor="x" platform="q" segment="s"/>
  <map actor="x" segment="s"/>
  <map/>
  <map actor="x" unt="u"/>
</mapping>"""
    name = "its value is a name of letters, digits, '_' and '-' that does not begin with '-', for example L4-L5"
    assert problems(tmp_path, "mapping", text) == [
        "2: <map> lacks 'unit' or 'platform' ()",
        "3: <map> cannot have both 'unit' and 'platform' (remove 'platform' or 'unit')",
        "4: <map> cannot have both 'platform' and 'segment' (remove 'segment')",
        f"5: <map> lacks the attribute 'unit' ({name})",
        f"6: <map> lacks the attribute 'actor' ({name})",
        "6: <map> lacks 'unit' or 'platform' ()",
        "7: unknown attribute 'unt' of <map> (did you mean 'unit'?)",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '<platform name="p"/>',
            "1: <platform> found where <application> is expected (this is the file of a platform)",
        ),
        ("<html/>", "1: <html> found where <application> is expected (the outermost element is <application ...>)"),
        (
            '<application xmlns="urn:x" name="a"/>',
            "1: unknown attribute 'xmlns' of <application> (valid there: name, model)",
        ),
    ],
)
def test_a_file_of_another_kind_is_called_that(tmp_path: Path, text: str, message: str) -> None:
    assert problems(tmp_path, "application", text) == [message]


def test_long_values_are_cut_short_in_messages(tmp_path: Path) -> None:
    text = f'<application name="{"x!" * 10**6}"/>'
    (problem,) = problems(tmp_path, "application", text)
    assert len(problem) < 300
    (problem,) = problems(tmp_path, "application", f"<{'x' * 10**6}/>")
    assert len(problem) < 300
    (problem,) = problems(tmp_path, "application", f'<application name="a" {"x" * 10**5}="1"/>')
    assert len(problem) < 300


def test_what_the_walk_cannot_name_is_told_in_libxml2s_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "_walk", lambda root, kind: iter(()))
    (problem,) = problems(tmp_path, "application", "<application>\n<actor/></application>")
    assert re.match(r"\d+: not a valid application: \S+", problem)


# The tables follow from the schema, so these hold for whatever is added to it.


@pytest.mark.parametrize("kind", KINDS)
def test_the_schema_is_valid_relax_ng_and_documents_its_values(kind: str) -> None:
    etree.RelaxNG(etree.fromstring(schema_text(kind).encode()))
    for table in schema._tables_of(schema_text(kind)).values():
        for name, type_ in table.attributes.items():
            assert type_.documentation, name


def test_there_is_no_other_schema() -> None:
    with pytest.raises(ValueError, match="there is no schema 'graph'; there are application, platform, mapping"):
        schema_text("graph")


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_libxml2_refuses_the_walk_names(kind: str) -> None:
    """Each element with each attribute left out, doubled in number, misspelt or spoilt: both judges agree."""
    tables = schema._tables_of(schema_text(kind))
    good = {
        "name": "n",
        "identifier": "n",
        "actor-type": "SPA",
        "c": "f.c:relu",
        "kernel": "f.cl:scale",
        "work-size": "48,width",
        "class": "f.py:C",
        "file": "f",
        "operators": "0-1",
        "channels": "4,0-2",
        "token": "int8",
        "rate": "0..2",
        "count": "3",
        "boolean": "true",
        "end": "a.b",
        "text": "any",
        "host": "pi@192.168.1.20",
        "python": "python3.11",
        "folder": "eprune",
        "core": "0",
        "cores": "0-2,4",
        "engine": "openvino",
        "threads": "2",
        "delegate": "/usr/lib/libvx_delegate.so",
        "opencl": "NVIDIA:0",
        "options": "cache=1 mode=fast",
        "slowdown": "7.5",
        "address": "h",
        "tcp-port": "1",
        "size": "1B",
        "bandwidth": "1B/s",
        "time": "1s",
        "power": "1W",
        "quorum": "2",
        "policy": "drop",
        "timeout": "1s",
        "timeouts": "1ms..1s",
        "route": "one",
        "ack": "fired",
        "match": "index",
        "model-of-computation": "sdf",
        "frequency": "30/s",
        "times": "1ms..2ms..5ms",
        "share": "0.9",
        "ports": "shared",
        "security": "tls",
        "via": "zenoh",
        "groups": "a b",
        "names": "a b",
        "ends": "a.b c.d",
        "integer": "-1",
        "counts": "0 1",
    }
    parents = {child: parent for parent, table in tables.items() for child in table.children}
    tried = 0
    for tag, table in tables.items():
        names = list(table.attributes)
        for chosen in range(2 ** len(names)):
            if len(names) > 9 and 2 < bin(chosen).count("1") < len(names) - 1:
                continue  # of many attributes: none, one, two, all but one, all
            given = {n: good[table.attributes[n].name] for k, n in enumerate(names) if chosen >> k & 1}
            for spoilt in [given] + [{**given, name: "!\n"} for name in given] + [{**given, "other": "x"}]:
                element = etree.Element(tag, spoilt)
                while element.tag != kind:
                    outer = parents[element.tag]
                    shape = tables[outer].shapes[0]
                    parent = etree.Element(outer, {n: good[tables[outer].attributes[n].name] for n in shape.required})
                    parent.append(element)
                    element = parent
                document = schema.parse_bytes(etree.tostring(element), "x.xml")
                valid = schema._validator(schema_text(kind)).validate(element)
                assert valid == (not list(schema._walk(document.root, kind))), etree.tostring(element)
                tried += 1
    assert tried > 30


PORT = "<application name='a'><actor name='a'><in name='i' token='{}'/></actor></application>"
LINK = "<platform name='p'><link to='s' {}='{}'/></platform>"


@pytest.mark.parametrize(
    ("kind", "values", "form"),
    [
        ("application", list(ITEM_SIZES), PORT),
        ("application", [f"{dtype}[1, 2,3 ]" for dtype in ITEM_SIZES], PORT),
        ("platform", [f"1.5{unit}" for unit in SIZE], "<platform name='p' memory='{}'/>"),
        ("platform", [f".5 {unit}" for unit in BANDWIDTH], LINK.format("bandwidth", "{}")),
        ("platform", [f"1.{unit}" for unit in TIME], LINK.format("latency", "{}")),
        ("platform", [f"1.5 {unit}" for unit in POWER], LINK.format("watts", "{}")),
    ],
)
def test_the_schema_allows_all_units_and_dtypes_of_the_model(
    tmp_path: Path, kind: str, values: list[str], form: str
) -> None:
    for value in values:
        assert problems(tmp_path, kind, form.format(value)) == []
    assert len(problems(tmp_path, kind, form.format("1X" + values[0]))) == 1


def test_tokens_have_as_many_dimensions_as_arrays_can(tmp_path: Path) -> None:
    assert problems(tmp_path, "application", PORT.format("int8[1" + ",1" * 31 + "]")) == []
    (problem,) = problems(tmp_path, "application", PORT.format("int8[1" + ",1" * 32 + "]"))
    assert "expected a token type of at most 32 dimensions" in problem


def test_a_type_means_the_same_in_all_schemas() -> None:
    types = [
        type_
        for kind in KINDS
        for table in schema._tables_of(schema_text(kind)).values()
        for type_ in table.attributes.values()
    ]
    by_name = {type_.name: type_ for type_ in types}
    assert all(by_name[type_.name] == type_ for type_ in types)


# docs/reference/files.md


def test_the_examples_of_the_documentation_are_complete_files(tmp_path: Path) -> None:
    blocks = re.findall(r"^```xml\n(.*?)^```", DOCUMENTATION, re.MULTILINE | re.DOTALL)
    kinds = [block.split(maxsplit=1)[0].lstrip("<") for block in blocks]
    assert set(kinds) == set(KINDS)
    for kind, block in zip(kinds, blocks):
        assert problems(tmp_path, kind, block) == []


def test_the_documentation_names_every_attribute_with_its_default() -> None:
    sections = dict(re.findall(r"^`<(\w+)>`.*?\n\n((?:\|.*\n)+)", DOCUMENTATION, re.MULTILINE))
    sections["out"] = re.sub(r"\| `(required|hold|max-age)` .*\n", "", sections["in"])
    for kind in KINDS:
        text = schema_text(kind)
        for tag, table in schema._tables_of(schema_text(kind)).items():
            assert re.findall(r"^\| `([\w-]+)` \|", sections[tag], re.MULTILINE) == list(table.attributes), tag
            always = set.intersection(*(set(shape.required) for shape in table.shapes))
            required = re.findall(r"^\| `(\w+)` \|.*\| required \|$", sections[tag], re.MULTILINE)
            assert set(required) == always, tag
        for name, default in re.findall(r'<attribute name="(\w+)" a:defaultValue="(.*?)">', text):
            assert re.search(rf"^\| `{name}` \|.*\| `{default}` \|$", DOCUMENTATION, re.MULTILINE), name
