"""PREESM's .pi files: parameters become rates, delays initial tokens, and what is not read is said."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eprune.analysis.check import check
from eprune.formats.xml.pisdf import read_dataflow
from eprune.formats.xml.sdf3 import Sdf
from eprune.model.finding import EpruneError, has_errors
from eprune.model.graph import PortRef
from eprune.model.system import System
from eprune.passes.expand import expand, repetitions
from tests.kit.effort import examples

FILE = """<?xml version="1.0" encoding="UTF-8"?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
  <key attr.name="parameters" for="graph" id="parameters"/>
  <graph edgedefault="directed">
    <data key="name">edges</data>
    <node expr="24" id="width" kind="param"/>
    <node expr="2*width/3" id="height" kind="param"/>
    <node id="Read" kind="actor">
      <data key="graph_desc">Code/include/read.h</data>
      <port kind="cfg_input" name="w"/>
      <port kind="cfg_input" name="height"/>
      <port annotation="NONE" expr="w*height" kind="output" name="y"/>
    </node>
    <node id="Split" kind="fork">
      <port kind="cfg_input" name="size"/>
      <port expr="size" kind="input" name="in"/>
      <port expr="size/2" kind="output" name="left"/>
      <port expr="size/2" kind="output" name="right"/>
    </node>
    <node id="Sum" kind="actor">
      <data key="graph_desc">Algo/sum.pi</data>
      <port expr="2" kind="input" name="left"/>
      <port expr="max(1, 2)" kind="input" name="right"/>
      <port expr="1" kind="input" name="last"/>
      <port expr="1" kind="output" name="sum"/>
    </node>
    <node expr="2^2 - 3" id="before" kind="delay" level="permanent" setter="" getter=""/>
    <edge kind="dependency" source="width" target="height"/>
    <edge kind="dependency" source="width" target="Read" targetport="w"/>
    <edge kind="dependency" source="height" target="Read" targetport="height"/>
    <edge kind="dependency" source="height" target="Split" targetport="size"/>
    <edge kind="fifo" source="Read" sourceport="y" target="Split" targetport="in" type="uchar"/>
    <edge kind="fifo" source="Split" sourceport="left" target="Sum" targetport="left" type="float"/>
    <edge kind="fifo" source="Split" sourceport="right" target="Sum" targetport="right" type="picture"/>
    <edge kind="fifo" source="Sum" sourceport="sum" target="Sum" targetport="last" type="double">
      <data key="delay">before</data>
    </edge>
  </graph>
</graphml>
"""


@pytest.fixture
def read(tmp_path: Path):
    def call(text: str) -> Sdf:
        path = tmp_path / "graph.pi"
        path.write_text(text, encoding="utf-8")
        return read_dataflow(str(path))

    return call


def problems(read, text: str) -> list[str]:
    with pytest.raises(EpruneError) as caught:
        read(text)
    return [f"{finding.where.line} {finding.rule}: {finding.message}" for finding in caught.value.findings]


def test_rates_are_what_the_parameters_make_of_them(read):
    sdf = read(FILE)
    graph = sdf.graph
    assert graph.name == "edges" and [actor.name for actor in graph.actors] == ["Read", "Split", "Sum"]
    rates = {str(ref): port.url for ref, port in graph.ports()}
    assert rates == {
        "Read.y": 384, "Split.in": 16, "Split.left": 8, "Split.right": 8,
        "Sum.left": 2, "Sum.right": 2, "Sum.sum": 1, "Sum.last": 1,
    }  # fmt: skip
    assert [fifo.name for fifo in graph.fifos] == ["Read-y", "Split-left", "Split-right", "Sum-sum"]
    loop = graph.fifos[-1]
    assert (loop.source, loop.target, loop.delay) == (PortRef("Sum", "sum"), PortRef("Sum", "last"), 1)
    assert {str(port.token) for _, port in graph.ports()} == {"uint8", "uint8[4]", "uint8[8]"}
    assert sdf.notes == (
        "the size of tokens of type 'picture' is not known: taken for 1 byte",
        "with a graph of their own, here one actor each: 'Sum'",
    )
    assert graph.fifos[0].where.line == 32


def test_it_is_expanded_like_a_graph_of_sdf3(read):
    sdf = read(FILE)
    assert [finding.rule for finding in sdf.findings()] == ["G4"] * 3
    assert repetitions(sdf.graph) == {"Read": 1, "Split": 24, "Sum": 96}
    assert not has_errors(check(System(expand(sdf.graph))))


def test_what_sets_initial_tokens_is_left_out_and_said(read):
    text = FILE.replace('setter=""', 'setter="First"').replace(
        '<edge kind="dependency" source="width" target="height"/>',
        '<node id="First" kind="actor"><port expr="1" kind="output" name="o"/></node>'
        '<edge kind="fifo" source="First" sourceport="o" target="before" targetport="set" type="double"/>'
        '<edge kind="dependency" source="width" target="height"/>',
    )
    sdf = read(text)
    assert "what sets and gets the initial tokens of delays is left out" in sdf.notes
    assert sdf.graph.actor("First") is not None and len(sdf.graph.fifos) == 4


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('expr="24" id="width" kind="param"', 'id="width" kind="cfg_in_iface"', "6 XML: parameter 'width' has no"),
        ('expr="2*width/3"', 'expr="depth"', "7 XML: 'height': 'depth' names 'depth', which is no parameter of it"),
        ('expr="2*width/3"', 'expr="width/9"', "'Split': size is 2.66667, and no whole number"),
        ('expr="24"', 'expr="24+"', "6 XML: 'width': '24+' has no value: it ends too early"),
        ('expr="24"', 'expr="24 $"', "'$' is not understood"),
        ('expr="24"', 'expr="9^64"', "it is too large"),
        ('expr="24"', 'expr="1/0"', "has no value"),
        ('expr="24"', 'expr="sin(1)"', "the function 'sin' is not known"),
        ('expr="24"', 'expr="sqrt(1, 2)"', "has no value"),
        ('expr="24"', f'expr="{"(" * 60}1{")" * 60}"', "too many brackets"),
        ('expr="max(1, 2)"', 'expr="0"', "23 G3: port Sum.right: rate 0"),
        ('sourceport="y"', 'sourceport="z"', "32 G1: <edge>: there is no output Read.z"),
        ('kind="cfg_input" name="size"', 'kind="cfg_output" name="size"', "sets a parameter while the graph runs"),
        ('id="Sum" kind="actor"', 'id="Split" kind="actor"', "'Split' is there twice"),
        ('id="Sum" kind="actor"', 'id="S m" kind="actor"', "<node> has the id 'S m'"),
        ("<data key=\"delay\">before</data>", "<data key=\"delay\">after</data>", "its delay 'after' has no size"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_with_its_line(read, old, new, problem):
    assert old in FILE
    told = problems(read, FILE.replace(old, new))
    assert any(problem in each for each in told), told


def test_parameters_that_depend_on_themselves_have_no_value(read):
    text = FILE.replace('expr="24"', 'expr="height"')
    text = text.replace("<edge kind", '<edge kind="dependency" source="height" target="width"/><edge kind', 1)
    assert problems(read, text)


def test_a_long_chain_of_parameters_is_refused(read):
    nodes = "".join(f'<node expr="p{k + 1}" id="p{k}" kind="param"/>' for k in range(500))
    edges = "".join(f'<edge kind="dependency" source="p{k + 1}" target="p{k}"/>' for k in range(500))
    text = FILE.replace("<node", nodes + '<node id="p500" expr="1" kind="param"/><node', 1)
    text = text.replace("<edge", f'{edges}<edge kind="dependency" source="p0" target="width"/><edge', 1)
    assert any("depends on more than 50 others" in each for each in problems(read, text.replace('"24"', '"p0"')))


@settings(max_examples=examples(200), derandomize=True, deadline=None, database=None)
@given(st.recursive(st.integers(0, 99).map(str), lambda inner: st.tuples(inner, st.sampled_from("+-*"), inner)))
def test_expressions_mean_what_they_mean(tmp_path_factory, tree):
    def text(node) -> str:
        return node if isinstance(node, str) else f"({text(node[0])} {node[1]} {text(node[2])})"

    value = eval(text(tree))  # numbers and signs that this test has made
    path = tmp_path_factory.getbasetemp() / "expression.pi"
    path.write_text(FILE.replace('expr="max(1, 2)"', f'expr="{text(tree)}"'), encoding="utf-8")
    try:
        graph = read_dataflow(str(path)).graph
    except EpruneError:
        assert not 0 < value < 10**9 or len(text(tree)) > 300
    else:
        assert {str(ref): port.url for ref, port in graph.ports()}["Sum.right"] == value
