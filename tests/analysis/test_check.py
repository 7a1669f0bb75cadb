"""The whole analysis: rules and their documentation, consistency, the facts of a sound graph, and time."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from sample_graphs import build, chain, layered, on, sliced

from eprune.analysis.check import check
from eprune.analysis.consistency import consistency
from eprune.analysis.rules import RULES, rules_table
from eprune.analysis.summary import summary
from eprune.formats import touching
from eprune.model.finding import Severity
from eprune.model.graph import Graph
from eprune.model.interface import Interface
from eprune.model.system import System

ROOT = Path(__file__).parents[2]


def test_the_documentation_has_the_table_of_rules():
    assert rules_table() in (ROOT / "docs" / "reference" / "rules.md").read_text(encoding="utf-8")


def test_the_code_and_the_table_name_the_same_rules():
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "eprune" / "analysis").rglob("*.py"))
    used = set(re.findall(r'violation\(\s*"([A-Z]\d)"', code))
    # What may be read is decided before it is, by formats.
    assert used | {touching.RULE} == {rule for rule in RULES if re.fullmatch("[A-Z][0-9]", rule)}


def test_only_warnings_are_warnings():
    graph = build([("a", "b", 1, 0, 2), ("c", "d", 1, 0, 2), ("d", "c", 1, 0, 2)])
    findings = check(System(graph))
    assert {finding.rule for finding in findings} == {"C2", "C3"}
    assert all(finding.severity is RULES[finding.rule].severity for finding in findings)


def test_warnings_do_not_hide_the_next_stage():
    graph = build([("a", "b", 1, 0, 2), ("c", "d", 1, 0, 2)])
    assert [finding.rule for finding in check(System(graph, mappings=(on("device", {}),)))] == ["C3", "M1", "M1"]


def test_consistency_is_worked_out_from_the_rates():
    graph = build([("a", "b", 1, 0, 2), ("a", "b", 2, 0, 4)])
    assert not list(consistency(graph))
    a, b = graph.actors
    slow = replace(b, ports=(b.ports[0], replace(b.ports[1], lrl=1, url=1, atr=1)))
    (finding,) = consistency(replace(graph, actors=(a, slow)))
    assert finding.rule == "C1" and finding.where == graph.fifos[1].where
    assert "1 firings of 'a' that write 2 tokens each, and 1 of 'b' that read 1 each" in finding.message


def test_rates_that_balance_with_unequal_firings_break_consistency():
    graph = build([("a", "b", 2, 0, 4)])
    a, b = graph.actors
    slow = replace(b, ports=(replace(b.ports[0], lrl=1, url=1, atr=1),))
    (finding,) = consistency(replace(graph, actors=(a, slow)))
    assert "1 firings of 'a' that write 2 tokens each, and 2 of 'b' that read 1 each" in finding.message


def test_a_sound_graph_is_summed_up():
    graph, facts = sliced([("S", "L1"), ("L1", "L2"), ("L2", "T")], {"L1": (0, 1), "L2": (2, 3)})
    facts["L2"] = replace(facts["L2"], weight_bytes=100)
    mapping = on("device", {"S": "cpu0", "L1": "cpu0", "L2": "@server", "T": "@server"})
    server = on("server", {"S": "@device", "L1": "@device", "L2": "cpu0", "T": "cpu0"})
    facts_of_graph = summary(System(graph, mappings=(mapping, server), interfaces=facts))
    assert facts_of_graph.order == ("S", "L1", "L2", "T")
    assert facts_of_graph.sources == ("S",) and facts_of_graph.sinks == ("T",)
    assert facts_of_graph.token_bytes == {"f0": 16, "f1": 16, "f2": 16}
    assert facts_of_graph.buffer_bytes == 3 * 3 * 64
    assert facts_of_graph.memory_bytes == {"device": 2 * 192, "server": 2 * 192 + 100}


def test_the_order_of_a_feedback_loop_begins_where_its_delay_ends():
    graph = build([("a", "b", 1, 0, 2), ("b", "c", 1, 0, 2), ("c", "a", 1, 1, 3)], ("c", "b", "a"))
    assert summary(System(graph)).order == ("a", "b", "c")


@pytest.mark.parametrize("make", [chain, layered])
def test_ten_thousand_actors_take_about_a_second(make):
    graph = make(10_000)
    began = time.process_time()
    assert not any(finding.severity is Severity.ERROR for finding in check(System(graph)))
    assert time.process_time() - began < 5  # about half a second on an idle machine


def test_a_deadlock_of_ten_thousand_actors_is_explained_in_seconds():
    graph = build([(f"a{k}", f"a{(k + 1) % 10_000}", 1, 0, 2) for k in range(10_000)])
    began = time.process_time()
    errors = [finding for finding in check(System(graph)) if finding.severity is Severity.ERROR]
    assert [finding.hint for finding in errors] == ["give f0 a delay of 1"]
    assert time.process_time() - began < 10


def test_facts_of_unknown_actors_do_no_harm():
    assert check(System(build([("a", "b", 1, 0, 2)]), interfaces={"z": Interface(weight_bytes=1)})) == []


def test_a_fifo_without_room_hides_no_deadlock():
    graph = build([("s", "a", 1, 0, 2), ("a", "b", 1, 0, 2), ("b", "a", 1, 0, 2), ("b", "t", 2, 1, 2)])
    findings = check(System(graph))
    assert [finding.rule for finding in findings] == ["C2", "G5"]
    assert findings[0].hint == "give f1 a delay of 1"
    # And it makes none: a FIFO without room is no circle of two actors.
    (finding,) = check(System(build([("s", "t", 2, 1, 2)])))
    assert finding.rule == "G5"


def test_an_application_without_actors_is_a_finding():
    assert [str(finding) for finding in check(System(Graph("empty")))] == [
        "<none>: error[G1]: application 'empty' has no actors"
    ]
