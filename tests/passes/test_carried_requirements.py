"""What becomes of an application's requirements in a pass: they go along, or it is said that they do not."""

from __future__ import annotations

import importlib
import keyword
from dataclasses import replace
from fractions import Fraction

import pytest

from eprune import face
from eprune.analysis.requirements import requirements
from eprune.formats.xml.application import read_application
from eprune.model.graph import Location, PortRef, Requirement
from eprune.model.system import System
from eprune.passes import feedback, play, replicate, resize
from eprune.passes.base import names, options_of
from tests.kit.programs import ROOT

GRAPHS = ROOT / "graphs"
WANTED = Requirement(PortRef("Input", "out"), PortRef("Sink", "in"), Fraction(30), Fraction(1, 10), Fraction(99, 100))


def module_of(name):
    return importlib.import_module(f"eprune.passes.{name}{'_' * keyword.iskeyword(name)}")


@pytest.mark.parametrize("name", names())
def test_every_pass_carries_requirements(name):
    assert hasattr(module_of(name).apply, "__wrapped__"), "decorate apply with passes.base.carries"


@pytest.fixture(scope="module")
def vehicle():
    """The vehicle classifier, split, with a requirement."""
    app = face.load(GRAPHS / "vehicle.xml", GRAPHS, ROOT / "mappings" / "vehicle_split")
    return replace(app, graph=replace(app.graph, requirements=(WANTED,)))


SAME = [
    ("fork", {}),
    ("fuse", {}),
    ("resize", {"aim": "live"}),
    ("split", {"over": ("endpoint", "server"), "after": ("L1",)}),
    ("relocate", {"folder": "elsewhere"}),
    ("tap", {"folder": "taps"}),
]


@pytest.mark.parametrize(("name", "given"), SAME, ids=[name for name, _ in SAME])
def test_a_pass_that_keeps_the_ends_keeps_the_requirement(vehicle, name, given):
    module = module_of(name)
    made = module.apply(vehicle, options_of(name, given)).system
    assert made.graph.requirements == (WANTED,)
    assert not list(requirements(made.graph))


def test_copies_of_the_ends_have_the_requirement_each():
    chain = read_application(str(GRAPHS / "vehicle_chain.xml"))
    sink = next(actor for actor in chain.actors if not actor.outputs)
    source = next(actor for actor in chain.actors if not actor.inputs)
    wanted = replace(
        WANTED, source=PortRef(source.name, source.outputs[0].name), target=PortRef(sink.name, sink.inputs[0].name)
    )
    chain = replace(chain, requirements=(wanted,))
    options = replicate.Options(3, 2, "L3")
    made = replicate.apply(System(chain), options).system
    sources = [actor.name for actor in made.graph.actors if not actor.inputs]
    sinks = [actor.name for actor in made.graph.actors if not actor.outputs]
    assert (len(sources), len(sinks)) == (3, 2)
    assert {(each.source.actor, each.target.actor) for each in made.graph.requirements} == {
        (one, other) for one in sources for other in sinks
    }
    assert not list(requirements(made.graph))


def test_what_is_played_in_the_place_of_a_source_is_the_source(vehicle):
    (first,) = (fifo for fifo in vehicle.graph.fifos if fifo.source == WANTED.source)
    made = play.apply(vehicle, play.Options((f"{first.name}=frames.npy",)))
    assert made.system.graph.requirements == (replace(WANTED, source=PortRef(f"Play-{first.name}", "out")),)
    (last,) = (fifo for fifo in vehicle.graph.fifos if fifo.target == WANTED.target)
    made = play.apply(vehicle, play.Options((f"{last.name}=answers.npy",)))
    assert (made.system.graph.requirements, "left out" in made.report.lines[-1]) == ((), True)


def test_what_has_no_ends_any_more_is_left_out_and_that_is_said(vehicle):
    made = feedback.apply(vehicle, feedback.Options())
    assert made.system.graph.requirements == ()
    assert made.report.lines[-1] == (
        "the requirement Input.out -> Sink.in is left out: its ends are no source and sink any more"
    )


def test_actors_that_stand_on_one_line_are_not_copies_of_each_other(vehicle):
    here = Location("app.xml", 1)
    actors = tuple(replace(actor, where=here) for actor in vehicle.graph.actors)
    made = resize.apply(replace(vehicle, graph=replace(vehicle.graph, actors=actors)), resize.Options("live"))
    assert made.system.graph.requirements == (WANTED,)
