"""`eprune rules` explains every rule with an example that breaks it, and what it shows is what the analyzer prints."""

from __future__ import annotations

import json
import os
import re
import shlex

import pytest
from application import ROOT

from eprune.analysis.explain import explanation
from eprune.analysis.rules import RULES


def test_rules_are_listed(eprune):
    text, data = eprune("rules").out, eprune("rules", "--format", "json").out
    assert re.search(r"^ *G4 +error +symmetric rates", text, re.M)
    assert [each["rule"] for each in json.loads(data)] == list(RULES)


@pytest.mark.parametrize("rule", RULES)
def test_the_example_of_an_explanation_is_found_by_the_analyzer(eprune, tmp_path, monkeypatch, rule):
    explained = explanation(rule)
    monkeypatch.chdir(tmp_path)
    for name, text in explained.files.items():
        (tmp_path / name).write_text(text)
    program, *arguments = shlex.split(explained.command)
    assert program == "eprune"
    done = eprune(*arguments)
    findings = done.out.partition("\n\n")[0].rstrip("\n") + "\n"
    if os.environ.get("EPRUNE_GOLDEN") == "update":
        path = ROOT / f"eprune/analysis/explanations/{rule}.md"
        path.write_text(path.read_text(encoding="utf-8").replace(explained.output, findings), encoding="utf-8")
        explained = explanation(rule)
    assert explained.output == findings, "run `make golden` and review the difference"
    broken = set(re.findall(r"(?:error|warning)\[(\w+)\]", findings))
    assert broken == {rule}, "the example breaks other rules"


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_is_explained(eprune, rule):
    text, data = eprune("rules", rule), json.loads(eprune("rules", rule, "--format", "json").out)
    assert text.code == 0
    for part in (RULES[rule].meaning, "Why\n", "Example: application.xml\n", "$ eprune analyze", "What to do\n"):
        assert part in text.out
    assert (data["rule"], data["severity"]) == (rule, RULES[rule].severity.value)
    assert data["why"]
    assert data["advice"]
    assert "```" not in text.out


def test_no_explanation_is_left_of_a_rule_that_is_gone():
    assert {path.stem for path in (ROOT / "eprune/analysis/explanations").iterdir()} == set(RULES)


def test_a_rule_may_be_written_in_small_letters(eprune):
    assert eprune("rules", "c2") == eprune("rules", "C2")


def test_an_unknown_rule_gets_the_nearest_one(eprune):
    done = eprune("rules", "G9")
    assert done.code == 2
    assert done.out == ""
    assert "there is no rule 'G9'; did you mean 'G" in done.err


def test_nothing_like_a_rule_gets_a_way_out(eprune):
    done = eprune("rules", "deadlock")
    assert (done.code, done.out) == (2, "")
    assert "there is no rule 'deadlock'; `eprune rules` lists all" in done.err
