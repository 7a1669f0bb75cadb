"""Application files become graphs and back, with the line of each object."""

from __future__ import annotations

import io
import sys
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eprune.formats.behaviours.model_slice import ModelSlice
from eprune.formats.behaviours.python_class import PythonBehaviour
from eprune.formats.library import library_folder
from eprune.formats.xml.application import read_application, write_application
from eprune.model.finding import EpruneError
from eprune.model.graph import (
    Ack,
    Actor,
    ActorType,
    Direction,
    Dpg,
    FaultPolicy,
    Fifo,
    Graph,
    Match,
    Port,
    PortRef,
    Requirement,
    Row,
)
from eprune.model.token import ITEM_SIZES, TokenType

EXAMPLE = """<application name="vehicle">
  <actor name="Input" class="image_source.py:ImageSource">
    <param name="path" value="images"/>
    <out name="out" token="float32[1,96,96,3]"/>
  </actor>
  <actor name="L1" model="vehicle.tflite" operators="0-1" type="DA" quorum="2">
    <in name="in" token="float32[1,96,96,3]"/>
    <in name="control" token="int32" control="true"/>
    <in name="extra" token="int8" required="false"/>
    <out name="out" token="float32[1, 48, 48, 32]" rate="0..2" atr="1" tensor="12"/>
  </actor>
  <fifo name="f1" from="Input.out" to="L1.in"/>
  <fifo name="f2" from="L1.out" to="Sink.in" delay="1"/>
  <fifo name="f3" from="Sink.out" to="L1.control" capacity="5" delay="2" initial="values.npy"/>
  <fifo name="f4" from="Sink.back" to="L1.extra" policy="wait" timeout="100ms" ack="received"/>
  <dpg name="Deep" control="Gate" entry="Split" exit="Merge" members="L3 L4-L5">
    <table ports="Split.deep L3.in">
      <row value="-1" rates="0 0"/>
      <row value="1" rates="1 12"/>
    </table>
  </dpg>
  <require from="Input.out" to="Sink.in" rate="30/s" latency="100ms" share="0.99"/>
</application>
"""


def read(tmp_path: Path, text: str) -> Graph:
    path = tmp_path / "app.xml"
    path.write_text(text, encoding="utf-8")
    return read_application(str(path))


def test_an_application_is_read_with_defaults_and_lines(tmp_path: Path) -> None:
    graph = read(tmp_path, EXAMPLE)
    image, layer = TokenType("float32", (1, 96, 96, 3)), TokenType("float32", (1, 48, 48, 32))
    assert graph == Graph(
        "vehicle",
        actors=(
            Actor(
                "Input",
                (Port("out", Direction.OUT, image),),
                behaviour=PythonBehaviour("image_source.py", "ImageSource"),
                parameters=(("path", "images"),),
            ),
            Actor(
                "L1",
                (
                    Port("in", Direction.IN, image),
                    Port("control", Direction.IN, TokenType("int32"), control=True),
                    Port("extra", Direction.IN, TokenType("int8"), required=False),
                    Port("out", Direction.OUT, layer, lrl=0, url=2, atr=1, tensor=12),
                ),
                ActorType.DA,
                ModelSlice("vehicle.tflite", 0, 1),
                quorum=2,
            ),
        ),
        fifos=(
            Fifo("f1", PortRef("Input", "out"), PortRef("L1", "in"), capacity=2),
            Fifo("f2", PortRef("L1", "out"), PortRef("Sink", "in"), capacity=5, delay=1),
            Fifo("f3", PortRef("Sink", "out"), PortRef("L1", "control"), capacity=5, delay=2, initial="values.npy"),
            Fifo(
                "f4",
                PortRef("Sink", "back"),
                PortRef("L1", "extra"),
                capacity=2,
                policy=FaultPolicy.WAIT,
                timeout=0.1,
                ack=Ack.RECEIVED,
            ),
        ),
        dpgs=(
            Dpg(
                "Deep",
                "Gate",
                "Split",
                "Merge",
                ("L3", "L4-L5"),
                (PortRef("Split", "deep"), PortRef("L3", "in")),
                (Row(-1, (0, 0)), Row(1, (1, 12))),
            ),
        ),
        requirements=(
            Requirement(
                PortRef("Input", "out"), PortRef("Sink", "in"), Fraction(30), Fraction(1, 10), Fraction(99, 100)
            ),
        ),
    )
    assert str(graph.where) == f"{tmp_path}/app.xml:1"
    assert [actor.where.line for actor in graph.actors] == [2, 6]
    assert [port.where.line for _, port in graph.ports()] == [4, 7, 8, 9, 10]
    assert [fifo.where.line for fifo in graph.fifos] == [12, 13, 14, 15]
    assert [dpg.where.line for dpg in graph.dpgs] == [16]
    assert [row.where.line for row in graph.dpgs[0].rows] == [18, 19]


LIVE = """<application name="live">
  <actor name="Camera" clock="30/s" rate="2.5/s" stall-after="2s">
    <out name="out" token="int8"/>
  </actor>
  <actor name="Join" match="arrival">
    <in name="in" token="int8" hold="true" max-age="100ms"/>
  </actor>
  <fifo name="f" from="Camera.out" to="Join.in" policy="newest" window="4" group="eyes" room-timeout="20ms"/>
</application>
"""


def test_what_is_said_of_live_data_is_read_and_written(tmp_path: Path) -> None:
    graph = read(tmp_path, LIVE)
    camera, join = graph.actors
    assert (camera.clock, camera.rate, camera.stall_after, camera.match) == (30, 2.5, 2, None)
    assert join.match is Match.ARRIVAL
    assert (join.inputs[0].hold, join.inputs[0].max_age) == (True, 0.1)
    (fifo,) = graph.fifos
    assert (fifo.policy, fifo.window, fifo.group, fifo.room_timeout) == (FaultPolicy.NEWEST, 4, "eyes", 0.02)
    assert fifo.capacity == 3, "one firing's tokens are read, one's are written, and one's are ready"
    assert write_application(graph) == LIVE


def test_a_time_out_is_one_time_or_a_range(tmp_path: Path) -> None:
    for text, floor, timeout in (("100ms", None, 0.1), ("2.5ms..100ms", 0.0025, 0.1)):
        file = LIVE.replace('policy="newest" window="4"', f'policy="drop" timeout="{text}" window="4"')
        file = file.replace("<fifo", '<fifo capacity="3"')
        (fifo,) = read(tmp_path, file).fifos
        assert (fifo.timeout_floor, fifo.timeout) == (floor, timeout)
        assert f'timeout="{text}"' in write_application(read(tmp_path, file))
    for text in ("100ms..2ms", "2ms..2ms", "2ms..", "..2ms", "0s..1s", "1ms..2ms..3ms"):
        with pytest.raises(EpruneError, match="timeout"):
            read(tmp_path, file.replace("2.5ms..100ms", text))


def test_what_breaks_design_rules_is_still_read(tmp_path: Path) -> None:
    """Only what cannot be represented is an error here; the analyzer judges the rest."""
    graph = read(
        tmp_path,
        """<application name="bad">
  <actor name="a" model="m.tflite" operators="5-2"><out name="o" token="int8" rate="3..1"/></actor>
  <actor name="a"><out name="o" token="int8" rate="0"/><in name="o" token="int8" atr="7"/></actor>
  <fifo name="f" from="nobody.o" to="nobody.i" capacity="0" delay="9"/>
  <fifo name="f" from="a.o" to="a.o"/>
</application>""",
    )
    assert [actor.name for actor in graph.actors] == ["a", "a"]
    assert [(port.lrl, port.url, port.atr) for _, port in graph.ports()] == [(3, 1, 1), (0, 0, 0), (1, 1, 7)]
    assert [(fifo.capacity, fifo.delay) for fifo in graph.fifos] == [(0, 9), (2, 0)]


@pytest.mark.parametrize(
    ("from_", "to", "capacity"),
    [("a.o", "b.i", 7), ("nobody.o", "b.i", 5), ("nobody.o", "nobody.i", 3), ("b.i", "a.o", 7)],
)
def test_the_default_capacity_lets_one_firing_write_while_the_last_is_read(
    tmp_path: Path, from_: str, to: str, capacity: int
) -> None:
    graph = read(
        tmp_path,
        f"""<application name="x">
  <actor name="a"><out name="o" token="int8" rate="3"/></actor>
  <actor name="b"><in name="i" token="int8" rate="0..2"/></actor>
  <fifo name="f" from="{from_}" to="{to}" delay="1"/>
</application>""",
    )
    assert graph.fifos[0].capacity == capacity


# Where behaviours are found.


def test_files_are_found_beside_the_application_and_classes_also_in_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "graphs"
    folder.mkdir()
    (folder / "own.py").touch()
    (folder / "both.py").touch()
    library = tmp_path / "library"
    library.mkdir()
    for name in ("both.py", "shipped.py", "m.tflite"):
        (library / name).touch()
    monkeypatch.setattr("eprune.formats.library.library_folder", lambda: str(library))
    monkeypatch.chdir(tmp_path)
    files = ["own.py:C", "both.py:C", "shipped.py:C", "nowhere.py:C", f"{library}/shipped.py:C"]
    actors = "".join(f'<actor name="a{n}" class="{file}"/>' for n, file in enumerate(files))
    text = f'<application name="x">{actors}<actor name="m" model="m.tflite" operators="0"/></application>'
    (folder / "app.xml").write_text(text, encoding="utf-8")
    graph = read_application("graphs/app.xml")
    paths = [actor.behaviour.path for actor in graph.actors if actor.behaviour is not None]
    assert paths == [
        "graphs/own.py",
        "graphs/both.py",
        f"{library}/shipped.py",
        "graphs/nowhere.py",
        f"{library}/shipped.py",
        "graphs/m.tflite",
    ]


def test_for_stdin_files_are_found_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = '<application name="x"><actor name="a" class="c.py:C"/></application>'
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    graph = read_application("-")
    assert graph.actors[0].behaviour == PythonBehaviour("c.py", "C")
    assert graph.actors[0].behaviour.path == "c.py"
    assert graph.where.file == "<stdin>"


def test_the_library_is_where_the_actors_are() -> None:
    assert Path(library_folder(), "__init__.py").is_file()


# Writing.


def test_an_application_is_written_as_people_would(tmp_path: Path) -> None:
    written = write_application(read(tmp_path, EXAMPLE))
    in_order = 'name="L1" type="DA" model="vehicle.tflite" operators="0-1" quorum="2"'
    expected = EXAMPLE.replace('name="L1" model="vehicle.tflite" operators="0-1" type="DA" quorum="2"', in_order)
    assert written == expected.replace("[1, 48, 48, 32]", "[1,48,48,32]")


NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,6}", fullmatch=True)
IDENTIFIERS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,6}", fullmatch=True)
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"), include_characters="\t\n\r"), max_size=8)
FILES = TEXTS.filter(lambda text: text and not set(text) & set("\n\r\x85\u2028\u2029"))
COUNTS = st.integers(0, 999_999_999)
TOKENS = st.builds(TokenType, st.sampled_from(sorted(ITEM_SIZES)), st.lists(st.integers(1, 99), max_size=4).map(tuple))
PORT = {
    "name": NAMES,
    "token": TOKENS,
    "lrl": st.integers(0, 5),
    "url": st.integers(0, 5),
    "atr": st.integers(0, 5),
    "control": st.booleans(),
    "tensor": st.none() | COUNTS,
}
SECONDS = st.none() | st.floats(1e-9, 1e6) | st.integers(1, 5000).map(lambda n: n * 1e-3)
FREQUENCIES = st.none() | st.floats(1e-9, 1e9) | st.integers(1, 1000).map(float)
PORTS = st.builds(
    Port, direction=st.just(Direction.IN), required=st.booleans(), hold=st.booleans(), max_age=SECONDS, **PORT
) | st.builds(Port, direction=st.just(Direction.OUT), **PORT)
TIMES = st.builds(lambda digits, places: Fraction(digits, 10**places), COUNTS, st.integers(0, 20))
SLICES = st.builds(ModelSlice, FILES, COUNTS, COUNTS)
BEHAVIOURS = (
    st.none()
    | SLICES
    | st.builds(PythonBehaviour, FILES.map(lambda text: text + ".py"), IDENTIFIERS, model=st.none() | SLICES)
)
ACTORS = st.builds(
    Actor,
    name=NAMES,
    ports=st.lists(PORTS, max_size=3).map(tuple),
    type=st.sampled_from(ActorType),
    behaviour=BEHAVIOURS,
    parameters=st.lists(st.tuples(IDENTIFIERS, TEXTS), max_size=2).map(tuple),
    quorum=st.none() | st.integers(1, 9),
    time=st.none() | TIMES,
    match=st.none() | st.sampled_from(Match),
    clock=FREQUENCIES,
    rate=FREQUENCIES,
    stall_after=SECONDS,
)
ROWS = st.builds(Row, value=st.integers(-(2**31), 2**31 - 1), rates=st.lists(COUNTS, max_size=4).map(tuple))


POSITIVE = TIMES.filter(lambda value: value > 0)


def bounded(actor: Actor, lengths: list[Fraction]) -> Actor:
    """The actor with bounds of its time, where it has one."""
    least, time, most = sorted(lengths)
    return actor if actor.time is None else replace(actor, time=time, bounds=(least, most))


ACTORS |= st.builds(bounded, ACTORS, st.lists(TIMES, min_size=3, max_size=3))


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    actors = tuple(draw(st.lists(ACTORS, max_size=4)))
    refs = [PortRef(actor.name, port.name) for actor in actors for port in actor.ports]
    ends = st.sampled_from(refs) if refs else st.builds(PortRef, NAMES, NAMES)
    fifos = st.builds(
        Fifo,
        name=NAMES,
        source=ends | st.builds(PortRef, NAMES, NAMES),
        target=ends,
        capacity=st.integers(0, 9) | COUNTS,
        delay=st.integers(0, 3) | COUNTS,
        initial=st.none() | FILES,
        policy=st.sampled_from(FaultPolicy),
        timeout=SECONDS,
        ack=st.sampled_from(Ack),
        room_timeout=SECONDS,
        window=st.none() | COUNTS,
        group=st.none() | NAMES,
    )
    dpgs = st.builds(
        Dpg,
        name=NAMES,
        control=NAMES,
        entry=NAMES,
        exit=NAMES,
        members=st.lists(NAMES, max_size=3).map(tuple),
        ports=st.lists(ends, max_size=3).map(tuple),
        rows=st.lists(ROWS, max_size=3).map(tuple),
        late=st.none() | st.integers(-9, 9),
        late_after=SECONDS,
    )
    required = st.builds(
        Requirement,
        source=ends,
        target=ends,
        rate=st.none() | POSITIVE,
        latency=st.none() | POSITIVE,
        share=POSITIVE.filter(lambda value: value <= 1),
    )
    fifo_list, dpg_list = draw(st.lists(fifos, max_size=4)), draw(st.lists(dpgs, max_size=2))
    return Graph(draw(NAMES), actors, tuple(fifo_list), tuple(dpg_list), tuple(draw(st.lists(required, max_size=2))))


@given(graphs())
def test_what_is_written_reads_back_equal(tmp_path_factory: pytest.TempPathFactory, graph: Graph) -> None:
    text = write_application(graph)
    path = tmp_path_factory.getbasetemp() / "written.xml"
    path.write_bytes(text.encode())
    again = read_application(str(path))
    assert again == graph
    assert write_application(again) == text


def test_large_graphs_are_read_in_good_time(tmp_path: Path) -> None:
    """10,000 actors and 15,000 FIFOs; the time is the processor's, with room for a slow machine."""
    count = 10_000
    ports = '<in name="i" token="int8[4]"/><out name="o" token="int8[4]"/><out name="p" token="int8"/>'
    lines = [f'  <actor name="a{n}">{ports}</actor>' for n in range(count)]
    lines += [f'  <fifo name="f{n}" from="a{n}.o" to="a{n + 1}.i"/>' for n in range(count)]
    lines += [f'  <fifo name="g{n}" from="a{n}.p" to="a{n + 1}.i"/>' for n in range(count // 2)]
    path = tmp_path / "large.xml"
    path.write_text("\n".join(['<application name="large">', *lines, "</application>"]), encoding="utf-8")
    begin = time.process_time()
    graph = read_application(str(path))
    assert time.process_time() - begin < 3
    assert (len(graph.actors), len(graph.fifos)) == (10_000, 15_000)
    assert graph.fifos[-1].where.line == 25_001


@pytest.mark.parametrize("count", ["no", "2"])
def test_a_dynamic_processing_graph_has_one_table(tmp_path: Path, count: str) -> None:
    tables = '<table ports=""/>' * (count == "2") * 2
    dpg = f'<dpg name="D" control="a" entry="b" exit="c">{tables}</dpg>'
    with pytest.raises(EpruneError) as caught:
        read(tmp_path, f'<application name="x">{dpg}</application>')
    assert [finding.message for finding in caught.value.findings] == [f"<dpg> has {count} <table>"]


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    """Also values that follow the schema's pattern and yet have no meaning, on their own or beside others."""
    actor = '<actor name="a"><in name="i" token="int8[0]"/>\n<in name="j" token="int8[1,0]"/></actor>'
    for extra, count in (("", 2), ("\n<actor/>", 3)):
        with pytest.raises(EpruneError) as caught:
            read(tmp_path, f'<application name="x">{actor}{extra}</application>')
        assert [finding.where.line for finding in caught.value.findings] == [1, 2, 3][:count]


@given(st.data())
def test_whatever_happens_to_a_file_it_is_read_or_refused_with_findings(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Pieces of a good file are replaced by other pieces of it, or by odd characters."""
    text = EXAMPLE
    for _ in range(data.draw(st.integers(1, 3))):
        begin, end, source, length = (data.draw(st.integers(0, len(text) - 1)) for _ in range(4))
        odd = data.draw(st.sampled_from(["", "\0", "&", "<", '"', "\ufffe", "é", "99999999999", "<!DOCTYPE a>", "]]>"]))
        text = text[: min(begin, end)] + text[source : source + length % 40] + odd + text[max(begin, end) :] or " "
    path = tmp_path_factory.getbasetemp() / "spoilt.xml"
    path.write_bytes(text.encode(data.draw(st.sampled_from(["utf-8", "utf-16", "iso-8859-1"])), "replace"))
    try:
        graph = read_application(str(path))
    except EpruneError as error:
        assert error.findings
        assert all(f.rule == "XML" and f.where.file == str(path) and f.message for f in error.findings)
    else:
        assert isinstance(graph, Graph)
