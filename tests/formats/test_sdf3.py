"""SDF3's XML: what becomes of single-rate graphs, of others when expanded, and of files that are something else."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from pathlib import Path
from typing import Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eprune.analysis.buffers import least_fast, least_live
from eprune.analysis.check import check
from eprune.analysis.cycle_ratio import max_cycle_ratio
from eprune.analysis.throughput import timed
from eprune.formats.xml.application import read_application, write_application
from eprune.formats.xml.sdf3 import Sdf, read_sdf3
from eprune.model.finding import EpruneError, has_errors
from eprune.model.graph import Fifo, PortRef
from eprune.model.system import System
from eprune.passes.expand import expand, repetitions
from tests.kit import sdf3
from tests.kit.effort import examples

SINGLE = """<?xml version="1.0"?>
<sdf3 type="sdf" version="1.0" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
 <applicationGraph name="pair">
  <sdf name="pair" type="G">
   <actor name="a" type="A"><port name="p" type="out" rate="2"/></actor>
   <actor name="b" type="B"><port name="q" type="in" rate="2"/></actor>
   <channel name="c" srcActor="a" srcPort="p" dstActor="b" dstPort="q" initialTokens="1"/>
  </sdf>
  <sdfProperties>
   <actorProperties actor="a">
    <processor type="slow"><executionTime time="9"/></processor>
    <processor type="fast" default="true"><executionTime time="2.5"/></processor>
   </actorProperties>
   <channelProperties channel="c"><bufferSize sz="7"/><tokenSize sz="33"/></channelProperties>
  </sdfProperties>
 </applicationGraph>
</sdf3>
"""


@pytest.fixture
def read(tmp_path: Path):
    def call(text: str, unit: Fraction = Fraction(1)) -> Sdf:
        path = tmp_path / "graph.xml"
        path.write_text(text, encoding="utf-8")
        return read_sdf3(str(path), unit)

    return call


def problems(read, text: str) -> list[str]:
    with pytest.raises(EpruneError) as caught:
        read(text)
    return [f"{finding.where.line} {finding.rule}: {finding.message}" for finding in caught.value.findings]


def test_a_single_rate_graph_keeps_its_rates_times_and_buffers(read):
    sdf = read(SINGLE, Fraction(1, 1000))
    graph = sdf.graph
    assert sdf.findings() == []
    assert not has_errors(check(System(graph)))
    assert (graph.name, [actor.time for actor in graph.actors]) == ("pair", [Fraction(5, 2000), None])
    assert graph.fifos == (Fifo("c", PortRef("a", "p"), PortRef("b", "q"), capacity=7, delay=1),)
    assert {str(port.token) for _, port in graph.ports()} == {"uint8[5]"}  # 33 bits
    assert {port.url for _, port in graph.ports()} == {2}
    assert sdf.overlapping == ("a", "b")
    assert graph.fifos[0].where.line == 7


def test_what_was_read_can_be_written_and_read_again(read, tmp_path):
    graph = expand(read(sdf3.modem(), Fraction(1, 10**6)).graph)
    (tmp_path / "application.xml").write_text(write_application(graph), encoding="utf-8")
    assert read_application(str(tmp_path / "application.xml")) == graph


def test_each_channel_with_two_rates_is_a_finding_at_its_line(read):
    text = SINGLE.replace('type="in" rate="2"', 'type="in" rate="3"')
    finding = read(text).findings()[0]
    assert (finding.rule, finding.where.line) == ("G4", 7)
    assert finding.message == "channel 'c': rate 2 at a.p, 3 at b.q"
    assert "--expand" in finding.hint


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('srcPort="p"', 'srcPort="x"', "7 G1: channel 'c': there is no port a.x"),
        ('rate="2"/></actor>\n   <actor', 'rate="0"/></actor>\n   <actor', "5 G3: <port>: rate 0"),
        ('type="out" rate="2"', 'type="out" rate="1,2"', "5 XML: <port>: rate '1,2' is not a whole number"),
        ('type="out"', 'type="through"', "5 XML: <port> has the type 'through'"),
        ('initialTokens="1"', 'initialTokens="-1"', "7 XML: <channel>: initialTokens '-1' is not a whole number"),
        ('time="2.5"', 'time="soon"', "12 XML: <executionTime>: time 'soon' is not a number"),
        ('name="a"', 'name="a b"', "5 XML: <actor> has the name 'a b'"),
        ("<sdf name", "<fsm name", "not well-formed"),
        ("sdf3", "sdf4", "2 XML: <sdf4> is not an SDF3 file"),
    ],
)
def test_what_is_no_sdf_graph_is_told_with_its_line(read, old, new, problem):
    told = problems(read, SINGLE.replace(old, new))
    assert any(problem in each for each in told), told


PIECES = st.sampled_from(
    [
        "",
        "0",
        "-1",
        "7",
        "999999999",
        "1,2",
        "a",
        "b",
        "p",
        "x y",
        "é",
        "<actor/>",
        "<channel/>",
        "<port/>",
        "sdf",
        "&amp;",
    ]
)


@settings(max_examples=examples(300), derandomize=True, deadline=None, database=None)
@given(st.lists(st.tuples(st.integers(0, 10**6), PIECES), min_size=1, max_size=4))
def test_whatever_is_in_a_file_it_is_read_or_refused(tmp_path_factory, changes):
    words = re.split(r"(\"[^\"]*\"|(?<=>)(?=\n))", SINGLE)
    for place, piece in changes:
        place %= len(words)
        words[place] = f'"{piece}"' if words[place].startswith('"') else words[place] + piece
    path = tmp_path_factory.getbasetemp() / "changed.xml"
    path.write_text("".join(words), encoding="utf-8")
    try:
        sdf = read_sdf3(str(path))
        check(System(expand(sdf.graph, sdf.phases)))
    except EpruneError as error:
        assert error.findings


def test_other_kinds_of_graphs_are_refused(read):
    text = SINGLE.replace("<sdf ", "<fsm ").replace("</sdf>", "</fsm>")
    assert problems(read, text) == ["3 XML: <applicationGraph> has no <sdf>"]


# CSDF


def phased(text: str) -> str:
    return re.sub(r"(</?)sdf(Properties)?\b", r"\1csdf\2", text)


@pytest.mark.parametrize("rate", ["2", "2,2", "3*2", "2, 2*2"])
def test_csdf_with_constant_rates_is_sdf(read, rate):
    text = phased(SINGLE).replace('type="out" rate="2"', f'type="out" rate="{rate}"').replace('"2.5"', '"2.5,2*2.5"')
    given, constant = read(SINGLE), read(text)
    assert constant.graph == given.graph and constant.phases == given.phases and constant.notes == ()
    assert constant.findings() == []


def test_csdf_with_phases_is_expanded_and_else_reported(read):
    text = phased(SINGLE).replace('type="out" rate="2"', 'type="out" rate="1,0,2"').replace('"2.5"', '"5,6,7"')
    text = text.replace('initialTokens="1"', 'initialTokens="0"').replace('type="in" rate="2"', 'type="in" rate="3"')
    sdf = read(text)
    (finding,) = sdf.findings()
    assert finding.message == "channel 'c': rate 1,0,2 at a.p, 3 at b.q" and "--expand" in finding.hint
    graph = expand(sdf.graph, sdf.phases)
    assert [(actor.name, actor.time) for actor in graph.actors] == [("a-1", 5), ("a-2", 6), ("a-3", 7), ("b", None)]
    ports = dict(graph.ports())
    assert [(f.source.actor, f.target.actor, ports[f.source].url, f.delay) for f in graph.fifos] == [
        ("a-1", "b", 1, 0),
        ("a-3", "b", 2, 0),
    ]


def test_times_with_phases_at_constant_rates_are_said(read):
    sdf = read(phased(SINGLE).replace('"2.5"', '"5,7"'))
    assert sdf.graph.actor("a").time == 7 and sdf.findings() == []
    assert sdf.notes == ("the time of 'a' goes through 2 phases; without --expand it is the largest",)
    assert [actor.time for actor in expand(sdf.graph, sdf.phases).actors] == [5, 7, None, None]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('type="out" rate="2"', 'type="out" rate="1,,2"', "<port>: rate '1,,2' is no sequence of whole numbers"),
        ('type="out" rate="2"', 'type="out" rate="0*2"', "<port>: rate '0*2' is no sequence"),
        ('type="out" rate="2"', 'type="out" rate="99999*2"', "<port>: rate '99999*2' is no sequence"),
        ('type="out" rate="2"', 'type="out" rate="0,0"', "5 G3: <port>: rate 0"),
        ('time="2.5"', 'time="1,soon"', "<executionTime>: time '1,soon' is not a number for each phase"),
    ],
)
def test_phases_that_are_none_are_told(read, old, new, problem):
    told = problems(read, phased(SINGLE).replace(old, new))
    assert any(problem in each for each in told), told


def test_an_actor_with_too_many_phases_is_refused(read):
    text = phased(SINGLE).replace('rate="2"/></actor>\n   <actor', 'rate="{}"/></actor>\n   <actor')
    text = text.format(",".join(str(1 + k % 2) for k in range(101))).replace('"2.5"', f'"{",".join("1" * 100)},2"')
    text = text.replace(",".join("1" * 100) + ",2", ",".join(["1"] * 102 + ["2"]))
    assert any("phases; the limit is 10000" in each for each in problems(read, text))


@settings(max_examples=examples(200), derandomize=True, deadline=None, database=None)
@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=4).filter(any),
    st.lists(st.integers(0, 3), min_size=1, max_size=4).filter(any),
    st.integers(0, 9),
)
def test_each_expanded_firing_waits_for_those_that_write_its_tokens(tmp_path_factory, out, into, ahead):
    """The last firing that a firing needs, by counting tokens one by one."""
    text = phased(SINGLE).replace('initialTokens="1"', f'initialTokens="{ahead}"')
    for kind, rates in (("out", out), ("in", into)):
        text = text.replace(f'type="{kind}" rate="2"', f'type="{kind}" rate="{",".join(map(str, rates))}"')
    path = tmp_path_factory.getbasetemp() / "phases.xml"
    path.write_text(text.replace('<bufferSize sz="7"/>', ""), encoding="utf-8")
    sdf = read_sdf3(str(path))
    graph, firings = expand(sdf.graph, sdf.phases), repetitions(sdf.graph, sdf.phases)
    numbers = {
        name if firings[name] == 1 else f"{name}-{k + 1}": k for name, count in firings.items() for k in range(count)
    }
    ports = dict(graph.ports())
    needs: dict[int, list[tuple[int, int]]] = {}
    for fifo in graph.fifos:
        rate = ports[fifo.source].url
        assert fifo.delay % rate == 0
        back = fifo.delay // rate * firings["a"]
        needs.setdefault(numbers[fifo.target.actor], []).append((numbers[fifo.source.actor] - back, rate))
    token = -ahead
    for reader in range(firings["b"]):
        count = into[reader % len(into)]
        writers = [_writer(out, each) for each in range(token, token + count)]
        token += count
        assert sorted(needs.get(reader, [])) == sorted((each, writers.count(each)) for each in set(writers))


def _writer(rates: list[int], token: int) -> int:
    """The firing that writes a token, both counted from 0; before the first iteration less than 0."""
    rounds = token // sum(rates)
    written = rounds * sum(rates)
    for phase, rate in enumerate(rates):
        written += rate
        if token < written:
            return rounds * len(rates) + phase
    raise AssertionError


# Names


def test_channels_that_share_a_name_are_told_apart(read):
    channel = '<channel name="c" srcActor="a" srcPort="p" dstActor="b" dstPort="q" initialTokens="1"/>'
    text = SINGLE
    for name, direction in (("p", "out"), ("q", "in")):
        ports = [f'<port name="{name}{number}" type="{direction}" rate="2"/>' for number in ("", 2, 3)]
        text = text.replace(ports[0], "".join(ports))
    extra = [channel.replace('"p"', f'"p{k}"').replace('"q"', f'"q{k}"') for k in (2, 3)]
    sdf = read(text.replace(channel, channel + "".join(extra)))
    assert [fifo.name for fifo in sdf.graph.fifos] == ["c", "c-2", "c-3"]
    assert {fifo.capacity for fifo in sdf.graph.fifos} == {7}, "the properties of that name are those of each"
    assert sdf.notes == ("3 channels are called 'c': numbers tell them apart",)
    assert not has_errors(check(System(sdf.graph)))


def test_rates_that_nothing_balances_are_refused(read):
    with pytest.raises(EpruneError) as caught:
        expand(read(sdf3.xml("odd", ["a 1 1 b", "b 2 1 a"], {"a": 1, "b": 1})).graph)
    assert [finding.rule for finding in caught.value.findings] == ["C1"]


def test_graphs_that_would_explode_are_refused(read):
    channels = ["a 999999 1 b", "b 999999 1 c"]
    with pytest.raises(EpruneError, match="too large to expand"):
        expand(read(sdf3.xml("huge", channels, {"a": 1, "b": 1, "c": 1})).graph)


def ratio(graph, overlapping=False):
    times = {actor.name: actor.time for actor in graph.actors}
    model = timed(graph, times, bounded=False)
    edges = [edge for edge in model.edges if not (overlapping and edge.kind == "self")]
    return max_cycle_ratio(model.times, edges).ratio


@pytest.mark.parametrize(
    ("text", "firings", "period"),
    [
        pytest.param(sdf3.h263decoder(), 1190, 332046, id="h263decoder"),
        pytest.param(sdf3.samplerate(), 612, 960, id="samplerate"),
        pytest.param(sdf3.modem(), 48, 16, id="modem"),
    ],
)
def test_the_throughput_of_graphs_of_the_literature_is_what_the_literature_says(read, text, firings, period):
    graph = expand(read(text).graph)
    assert not has_errors(check(System(graph)))
    assert len(graph.actors) == firings
    assert ratio(graph) == period
    times = {actor.name: actor.time for actor in graph.actors}
    sizes = least_fast(graph, times)
    assert sizes.least
    model = timed(sizes.applied(graph), times)
    assert max_cycle_ratio(model.times, model.edges).ratio == period
    assert least_live(graph).least


def test_where_sdf3_lets_firings_overlap_we_do_not(read):
    sdf = read(sdf3.mp3decoder())
    graph = expand(sdf.graph)
    assert ratio(graph, overlapping=True) == 278650  # two firings of req0, which a self-loop keeps apart
    assert ratio(graph) == 1866138  # one of synth0, which SDF3 would begin again before it is done
    assert "synth0" in sdf.overlapping
    assert "req0" not in sdf.overlapping


@st.composite
def sdf_graphs(draw: st.DrawFn) -> tuple[str, dict[str, int]]:
    """A consistent, strongly connected SDF graph that may deadlock, and its repetition vector times some factor."""
    count = draw(st.integers(1, 4))
    firings = {f"a{index}": draw(st.integers(1, 4)) for index in range(count)}
    pairs = [(draw(st.integers(0, index - 1)), index) for index in range(1, count)]
    pairs += [(target, source) for source, target in pairs]
    pairs += draw(st.lists(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)), max_size=2))
    channels = []
    for source, target in pairs:
        factor = draw(st.integers(1, 2))
        produced, consumed = factor * firings[f"a{target}"], factor * firings[f"a{source}"]
        ahead = produced * firings[f"a{source}"] if source >= target and draw(st.integers(0, 5)) else 0
        channels.append(f"a{source} {produced} {consumed} a{target} {draw(st.integers(0, 9)) + ahead}")
    times = {name: draw(st.integers(0, 5)) for name in firings}
    return sdf3.xml("random", channels, times, serial=tuple(firings)), firings


@settings(max_examples=examples(150), derandomize=True, deadline=None, database=None)
@given(sdf_graphs())
def test_an_expanded_graph_leads_every_token_to_its_reader(tmp_path_factory, drawn):
    text, firings = drawn
    path = tmp_path_factory.getbasetemp() / "drawn.xml"
    path.write_text(text, encoding="utf-8")
    sdf = read_sdf3(str(path), Fraction(1))
    counted = repetitions(sdf.graph)
    assert all(firings[name] * counted["a0"] == counted[name] * firings["a0"] for name in firings)
    assert math.gcd(*counted.values()) == 1
    graph = expand(sdf.graph)
    assert [finding for finding in check(System(graph)) if finding.rule not in ("G5", "C2", "C3")] == []  # a deadlock
    rates, expanded = ({ref: port.url for ref, port in each.ports()} for each in (sdf.graph, graph))
    for channel in sdf.graph.fifos:
        parts = [fifo for fifo in graph.fifos if fifo.where == channel.where]
        written = rates[channel.source] * counted[channel.source.actor]
        assert sum(expanded[fifo.source] for fifo in parts) == written
        assert sum(fifo.delay for fifo in parts) == channel.delay
    simulated = sdf_period(sdf, counted)
    if simulated is None:
        with pytest.raises(ValueError, match="deadlocks"):
            ratio(graph)
    elif any(actor.time for actor in graph.actors):
        assert ratio(graph) == simulated


def sdf_period(sdf: Sdf, firings: dict[str, int]) -> Optional[Fraction]:
    """The time of an iteration of an SDF graph in the long run, from when each firing ends; None for a deadlock.

    The graph is strongly connected, and every actor has a self-loop of one token. Token after token, until the times of
    the last iterations, as many as tokens can be old, come again.
    """
    rates = {ref: port.url for ref, port in sdf.graph.ports()}
    times = {actor.name: actor.time for actor in sdf.graph.actors}
    inputs = {actor: [fifo for fifo in sdf.graph.fifos if fifo.target.actor == actor] for actor in firings}
    memory = 2 + max(fifo.delay // (rates[fifo.target] * firings[fifo.target.actor]) for fifo in sdf.graph.fifos)
    ends: dict[str, list[Fraction]] = {actor: [] for actor in firings}

    def end(actor: str) -> Optional[Fraction]:
        begin = Fraction(0)
        for fifo in inputs[actor]:
            written = (len(ends[actor]) + 1) * rates[fifo.target] - fifo.delay
            needed = -(-written // rates[fifo.source])
            if needed > len(ends[fifo.source.actor]):
                return None
            begin = max(begin, ends[fifo.source.actor][needed - 1] if needed > 0 else begin)
        return begin + times[actor]

    seen: dict[tuple[Fraction, ...], tuple[int, Fraction]] = {}
    for iteration in range(1, 3000):
        waiting = [actor for actor, count in firings.items() for _ in range(count)]
        while waiting:
            able = next(((actor, done) for actor in waiting if (done := end(actor)) is not None), None)
            if able is None:
                return None
            ends[able[0]].append(able[1])
            waiting.remove(able[0])
        now = ends["a0"][-1]
        state = tuple(done - now for actor, count in firings.items() for done in ends[actor][-memory * count :])
        if iteration > memory and state in seen:
            before, then = seen[state]
            return (now - then) / (iteration - before)
        seen[state] = iteration, now
    raise AssertionError("no state came again")
