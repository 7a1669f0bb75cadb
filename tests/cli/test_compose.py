"""The page about passes around passes: its commands, and what it says of orders that are not in test_composed.py."""

from __future__ import annotations

import pytest

from eprune.analysis.check import check
from eprune.face import load
from eprune.model.finding import errors
from eprune.passes import exits, offload
from scripts.vehicle_stream import save
from tests.kit import pages
from tests.kit.composed import base, slices
from tests.kit.exits import exit_behind
from tests.kit.programs import ROOT


@pytest.mark.long
def test_the_session_of_the_page_is_real(tmp_path):
    for name in ("graphs", "mappings", "actors"):
        (tmp_path / name).symlink_to(ROOT / name)
    save(str(tmp_path / "vehicles.npz"), scenes=70, speed=0.3, length=4, seed=2001)
    assert pages.differing(ROOT / "docs/how-to/compose.md", tmp_path) == (7, [])


@pytest.mark.parametrize("order", [(1, 3), (3, 1)])
def test_an_exit_may_be_in_front_of_an_exit_and_behind_it(tmp_path, order):
    system = base(tmp_path)
    names = slices(system)
    for place in order:
        one = exits.ending_in_one(system)
        system = exits.apply(one, exits.Options("", made=(exit_behind(one, names[place], 0.9),))).system
        assert errors(check(system)) == []
    inner, outer = (next(dpg for dpg in system.graph.dpgs if bool(dpg.inside) is inside) for inside in (True, False))
    assert inner.inside == outer.name
    assert {names[4], names[5]} <= set(inner.actors)


def test_gates_of_blocks_are_one_piece_of_what_is_behind_an_exit():
    platforms = [str(ROOT / f"graphs/{name}.xml") for name in ("endpoint", "server")]
    system = load(str(ROOT / "graphs/vehicle_skipping.xml"), platforms, str(ROOT / "mappings/vehicle_skipping_split"))
    gates = len(system.graph.dpgs)
    made = exits.apply(system, exits.Options("", made=(exit_behind(system, "Stem", 0.9),))).system
    assert errors(check(made)) == []
    assert [dpg.inside for dpg in made.graph.dpgs] == ["", *["Exits"] * gates]
    # What is behind the last gate is no choice, and can be shared out; the rest cannot.
    shared = offload.apply(system, offload.Options("endpoint", ("server",), behind="Block3")).system
    assert errors(check(shared)) == []
    with pytest.raises(ValueError, match="within the network"):
        offload.apply(system, offload.Options("endpoint", ("server",)))
