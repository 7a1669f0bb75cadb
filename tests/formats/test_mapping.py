"""Mapping files become mappings and back."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eprune.formats.xml.mapping import read_mapping, write_mapping
from eprune.model.mapping import Mapping, Placement

EXAMPLE = """<mapping application="vehicle" platform="endpoint">
  <map actor="Input" unit="cpu0"/>
  <map actor="L1" unit="cpu0" segment="head"/>
  <map actor="L3" platform="server"/>
</mapping>
"""


def test_a_mapping_is_read_with_lines_and_written_the_same(tmp_path: Path) -> None:
    path = tmp_path / "mapping.xml"
    path.write_text(EXAMPLE, encoding="utf-8")
    mapping = read_mapping(str(path))
    assert mapping == Mapping(
        "vehicle",
        "endpoint",
        (Placement("Input", "cpu0"), Placement("L1", "cpu0", segment="head"), Placement("L3", platform="server")),
    )
    assert [place.where.line for place in mapping.placements] == [2, 3, 4]
    assert mapping.where.line == 1
    assert write_mapping(mapping) == EXAMPLE


NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,6}", fullmatch=True)
LOCAL = st.builds(Placement, NAMES, unit=NAMES, segment=st.none() | NAMES)
REMOTE = st.builds(Placement, NAMES, platform=NAMES)


@given(st.builds(Mapping, NAMES, NAMES, st.lists(LOCAL | REMOTE, max_size=5).map(tuple)))
def test_what_is_written_reads_back_equal(tmp_path_factory: pytest.TempPathFactory, mapping: Mapping) -> None:
    path = tmp_path_factory.getbasetemp() / "written.xml"
    path.write_text(write_mapping(mapping), encoding="utf-8")
    assert read_mapping(str(path)) == mapping
