"""G1, G2 and G5 where XML alone cannot say it: facts of behaviours, and the exactness of the capacity rule."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sample_graphs import TOKEN, build

from eprune.analysis.graph import capacities, check_graph
from eprune.formats.behaviours.model_slice import ModelSlice
from eprune.formats.behaviours.python_class import PythonBehaviour
from eprune.model.graph import Graph
from eprune.model.interface import Interface
from eprune.model.token import TokenType


def pipeline(behaviour: object, parameters: tuple[tuple[str, str], ...] = ()) -> Graph:
    """A source and actor ``b`` with the behaviour; its input port is ``i0``."""
    graph = build([("a", "b", 1, 0, 2)])
    b = replace(graph.actors[1], behaviour=behaviour, parameters=parameters)  # type: ignore[arg-type]
    return replace(graph, actors=(graph.actors[0], b))


PYTHON = PythonBehaviour("double.py", "Double")


def messages(graph: Graph, facts: Interface) -> list[str]:
    return [f"{finding.rule}: {finding.message} ({finding.hint})" for finding in check_graph(graph, {"b": facts})]


def test_a_misspelt_parameter_gets_the_right_name_and_a_missing_one_is_named():
    graph = pipeline(PYTHON, (("facter", "2"),))
    assert messages(graph, Interface(parameters={"factor": False, "path": True})) == [
        "G1: actor 'b': class Double takes no parameter 'facter' (did you mean 'factor'?)",
        "G1: actor 'b': class Double needs a parameter 'path' (add <param name=\"path\" value=\"...\"/>)",
    ]


def test_parameters_that_fit_or_are_unknown_are_no_findings():
    graph = pipeline(PYTHON, (("factor", "2"),))
    assert messages(graph, Interface(parameters={"factor": True})) == []
    assert messages(graph, Interface(parameters=None)) == []
    assert messages(graph, Interface(parameters={})) == [
        "G1: actor 'b': class Double takes no parameter 'factor' (there are none)"
    ]


def test_a_model_takes_no_parameters():
    graph = pipeline(ModelSlice("m.tflite", 0, 1), (("factor", "2"),))
    assert messages(graph, Interface())[0] == (
        "G1: actor 'b': model takes no parameters, but 'factor' is given (remove <param>)"
    )


def test_a_port_that_contradicts_its_class_or_model_is_found_at_the_port():
    other = TokenType("uint8", (4,))
    (finding,) = check_graph(pipeline(PYTHON), {"b": Interface(inputs={"i0": other})})
    assert finding.rule == "G2" and finding.where == pipeline(PYTHON).actors[1].ports[0].where
    assert finding.message == "actor 'b': token float32[4] at port 'i0', uint8[4] in its class Double"
    sliced = messages(pipeline(ModelSlice("m.tflite", 0, 1)), Interface(inputs={"i0": other}))
    assert sliced == [
        "G2: actor 'b': token float32[4] at port 'i0', uint8[4] in its model "
        '(write token="uint8[4]", or choose other operators)'
    ]


def test_a_port_that_the_class_has_and_the_actor_lacks_is_found():
    facts = Interface(inputs={"i0": TOKEN}, outputs={"result": TOKEN})
    assert messages(pipeline(PYTHON), facts) == [
        "G2: actor 'b' lacks the output port 'result' of its class Double "
        '(add <out name="result" token="float32[4]"/>)'
    ]


def test_an_actor_without_a_behaviour_is_fine():
    assert check_graph(build([("a", "b", 1, 0, 2)]), {}) == []


@pytest.mark.parametrize(
    ("rate", "delay", "capacity", "sound"),
    [
        (1, 0, 1, True),
        (1, 0, 0, False),
        (2, 1, 2, False),
        (2, 1, 3, True),
        (2, 2, 2, True),
        (2, 2, 1, False),
        (2, 3, 3, True),
        (3, 2, 4, False),
        (3, 2, 5, True),
    ],
)
def test_the_capacity_rule_is_exact(rate, delay, capacity, sound):
    assert (not list(capacities(build([("a", "b", rate, delay, capacity)])))) is sound


@pytest.mark.parametrize(
    ("rate", "delay", "capacity", "sound"),
    [(1, 1, 2, True), (1, 1, 1, False), (1, 0, 2, False), (2, 2, 4, True), (2, 2, 3, False), (2, 3, 5, True)],
)
def test_the_capacity_rule_is_exact_for_self_loops(rate, delay, capacity, sound):
    assert (not list(capacities(build([("a", "a", rate, delay, capacity)])))) is sound


def test_thousands_of_wrong_references_are_reported_without_ado():
    graph = build([(f"a{k}", f"a{k + 1}", 1, 0, 2) for k in range(3000)])
    actors = tuple(replace(actor, name=f"b{actor.name}") for actor in graph.actors)
    findings = check_graph(replace(graph, actors=actors), {})
    assert sum("there is no actor" in finding.message for finding in findings) == 6000
