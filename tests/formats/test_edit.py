"""Capacities change in the text of a graph, and nothing else does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from eprune.formats.xml.application import read_application
from eprune.formats.xml.edit import rewrite
from eprune.passes.relocate import relocated

TEXT = """<?xml version="1.0"?>
<!-- <fifo name="f1" from="A.out" to="B.in"/> was here -->
<application name="one"
             >
  <actor name='A' class = "a.py:A"><out name="out" token="int8"/></actor>   <!-- the first -->
  <actor name="B"><in name="in" token="int8"/><in name="two" token="int8"/></actor>
  <actor name="C"><out name="out" token="int8"/></actor>
  <fifo name="f1" from="A.out" to="B.in"
        capacity = '3'/>  <!-- capacity="9" -->
  <fifo name="f2" from="C.out" to="B.two" initial="a>b.npy" delay="1" />
</application>
"""


@pytest.fixture
def graph(tmp_path):
    (tmp_path / "app.xml").write_text(TEXT, encoding="utf-8")
    (tmp_path / "a.py").write_text("")
    return read_application(str(tmp_path / "app.xml"))


def sized(graph, **capacities):
    return replace(
        graph, fifos=tuple(replace(fifo, capacity=capacities.get(fifo.name, fifo.capacity)) for fifo in graph.fifos)
    )


def test_only_capacities_change(graph):
    expected = TEXT.replace("capacity = '3'", 'capacity = "5"').replace('delay="1" />', 'delay="1" capacity="1"/>')
    assert rewrite(graph, sized(graph, f1=5, f2=1)) == expected


def test_what_stays_stays_as_it_is(graph):
    assert rewrite(graph, graph) == TEXT


def test_in_another_folder_files_are_named_from_there(graph, tmp_path):
    text = rewrite(graph, relocated(sized(graph, f1=4), str(tmp_path / "deep" / "down")))
    assert 'class = "../../a.py:A"' in text
    (tmp_path / "deep" / "down").mkdir(parents=True)
    (tmp_path / "deep" / "down" / "app.xml").write_text(text, encoding="utf-8")
    again = read_application(str(tmp_path / "deep" / "down" / "app.xml"))
    assert again.fifos == sized(graph, f1=4).fifos
    assert (tmp_path / "a.py").samefile(again.actors[0].behaviour.path)


def test_a_file_that_is_gone_is_written_anew(graph, tmp_path):
    (tmp_path / "app.xml").unlink()
    (tmp_path / "new.xml").write_text(rewrite(graph, sized(graph, f1=7)), encoding="utf-8")
    assert read_application(str(tmp_path / "new.xml")) == sized(graph, f1=7)
