"""Dynamic processing graphs inside of others, really run: what is idle gets nothing, and all else is as computed."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from eprune.analysis.check import check
from eprune.formats.behaviours.python_class import PythonBehaviour
from eprune.model.graph import ActorType
from eprune.model.system import System
from tests.kit import mixing
from tests.kit.dynamic import check_run, deploy, reference, run_in_threads
from tests.kit.nests import random_nest

FRAMES = 9


def behaving(graph, folder):
    """The graph with behaviours of which every output depends on everything that they see."""
    leads = {dpg.control: dpg for dpg in graph.dpgs}
    actors = []
    for actor in graph.actors:
        kind, parameters = "Mix", {}
        if actor.name in leads:
            kind, parameters = "Lead", {"values": ",".join(str(row.value) for row in leads[actor.name].rows)}
        elif not actor.inputs:
            kind, parameters = "Numbers", {"n": str(FRAMES)}
        elif not actor.outputs and actor.type is ActorType.SPA:
            kind, parameters = "Collect", {"path": str(folder / f"{actor.name}.json")}
        if actor.type is ActorType.CA and not actor.inputs:
            parameters["n"] = str(FRAMES)
        behaviour = PythonBehaviour("mixing.py", kind, mixing.__file__)
        actors.append(replace(actor, behaviour=behaviour, parameters=tuple(parameters.items())))
    return replace(graph, actors=tuple(actors))


@pytest.mark.parametrize(
    "seeds",
    [
        pytest.param(range(25), id="some"),
        pytest.param(range(25, 225), id="many", marks=pytest.mark.long),
    ],
)
def test_random_nests_do_what_the_reference_does_wherever_their_actors_are(seeds, tmp_path):
    for seed in seeds:
        rng = random.Random(seed)
        graph = behaving(random_nest(rng, rng.choice([2, 2, 3, 4]), tangled=False, joined=True), tmp_path)
        assert not [finding for finding in check(System(graph)) if finding.severity.value == "error"], seed
        places = rng.choice([["one"], ["one", "other"], ["one", "other"], ["one", "other", "third"]])
        homes = {actor.name: rng.choice(places) for actor in graph.actors}
        records = run_in_threads(deploy(graph, homes, tmp_path))
        check_run(graph, records, reference(graph, FRAMES))
