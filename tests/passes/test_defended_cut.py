"""The pass that defends a cut: pure, sound, also in a branch of a choice, and together with compression."""

from __future__ import annotations

from dataclasses import replace

import pytest

from eprune.analysis.check import check
from eprune.formats.system import files_in, read_system
from eprune.model.finding import has_errors
from eprune.model.graph import ActorType
from eprune.passes import compress, defend
from eprune.passes.compress import Coding
from eprune.passes.defend import Defence, Options, head_of
from tests.kit.programs import ROOT

NOISE = Defence((("noise", "0.5"), ("draw", "scene")))


@pytest.fixture(scope="module")
def vehicle():
    """The vehicle classifier, cut after L2."""
    platforms = [str(ROOT / f"graphs/{name}.xml") for name in ("endpoint", "server")]
    return read_system(
        str(ROOT / "graphs/vehicle.xml"), platforms, files_in([str(ROOT / "mappings/vehicle_split")], "mapping")
    )


def applied(system, fifo, made):
    found = defend.apply(system, Options(fifo, "pictures", made=made)).system
    assert not has_errors(check(replace(found, interfaces={}, problems=())))
    return found


def test_the_defender_is_on_the_sources_unit_and_the_fifo_keeps_its_name_and_window(vehicle):
    made = applied(vehicle, "f3", NOISE)
    assert made == applied(vehicle, "f3", NOISE), "pure"
    wire = next(fifo for fifo in made.graph.fifos if fifo.name == "f3")
    assert (str(wire.source), str(wire.target), wire.window) == ("Defend-f3.out", "L3.in", 1)
    assert made.units["Defend-f3"] == made.units["L2"]
    assert dict(made.graph.actor("Defend-f3").parameters) == {"noise": "0.5", "draw": "scene"}


def test_compression_may_follow_and_noise_may_be_on_what_is_coded(vehicle):
    both = compress.apply(
        applied(vehicle, "f3", NOISE), compress.Options(("f3",), made={"f3": Coding("lossless")})
    ).system
    plain = next(fifo for fifo in both.graph.fifos if fifo.target.actor == "Compress-f3")
    assert plain.source.actor == "Defend-f3"
    made = applied(vehicle, "f3", Defence(coding=Coding("lossless", hidden=(("noise", "1"),))))
    front, back = (dict(made.graph.actor(f"{kind}-f3").parameters) for kind in ("Compress", "Decompress"))
    assert front == {**back, "noise": "1"}, "the receiver need not know"


def test_in_a_branch_of_a_choice_it_is_idle_when_the_fifo_is():
    system = read_system(str(ROOT / "graphs/vehicle_exit.xml"))
    dynamic = {ref for dpg in system.graph.dpgs for ref in dpg.ports}
    fifo = next(
        each
        for each in system.graph.fifos
        if each.source in dynamic and not dict(system.graph.ports())[each.source].control
    )
    made = applied(system, fifo.name, NOISE)
    actor = made.graph.actor(f"Defend-{fifo.name}")
    assert actor.type is ActorType.DPA
    assert actor.name in made.graph.dpgs[0].members


def test_only_slices_before_the_fifo_are_its_head(vehicle):
    (found,) = head_of(vehicle.graph, next(fifo for fifo in vehicle.graph.fifos if fifo.name == "f3")).values()
    assert [actor.name for actor in found] == ["L1", "L2"]


def test_without_a_plan_nothing_is_made_and_whole_numbers_are_refused(vehicle):
    with pytest.raises(ValueError, match="how f3 is defended must be measured first"):
        defend.apply(vehicle, Options("f3", "pictures"))
    with pytest.raises(ValueError, match="there is no such FIFO"):
        defend.defensible(vehicle, "f9")
