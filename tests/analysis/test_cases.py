"""Each rule has minimal graphs in tests/cases: the first lines say what is found, and where; ok-*.xml are clean.

Those in tests/cases/sdf are read as --model sdf reads them.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from eprune.analysis.check import check
from eprune.analysis.rules import RULES
from eprune.formats.xml.application import read_application
from eprune.model.finding import Finding
from eprune.model.graph import Computation
from eprune.model.system import System

CASES = Path(__file__).parents[1] / "cases"
FAILING = sorted(CASES.glob("[A-Z]*.xml"))
CLEAN = sorted(CASES.glob("ok-*.xml"))
MULTI_RATE = sorted(CASES.glob("sdf/*.xml"))


def expectations(text: str) -> list[tuple[str, str]]:
    """("14: error[G4]", part of the message and hint), in order, from the comments of a case."""
    return re.findall(r"^<!-- expect: (\d+: \w+\[\w+\]): (.+) -->$", text, re.MULTILINE)


def differences(path: Path, findings: list[Finding], text: str) -> list[str]:
    """How findings differ from what a case expects; empty if they do not."""
    expected = expectations(text)
    seen = [
        (f"{finding.where.line}: {finding.severity.value}[{finding.rule}]", f"{finding.message} ({finding.hint})")
        for finding in findings
        if finding.where.file == str(path)
    ]
    result = [f"{len(seen)} of {len(findings)} findings are in the file, {len(expected)} expected: {findings}"]
    result = result if not len(seen) == len(findings) == len(expected) else []
    result += [
        f"{head} {message}, expected {want_head} {part}"
        for (head, message), (want_head, part) in zip(seen, expected)
        if head != want_head or part not in message
    ]
    return result


@pytest.mark.parametrize("path", MULTI_RATE, ids=lambda path: path.stem)
def test_multi_rate_case(path):
    graph = replace(read_application(str(path)), computation=Computation.SDF)
    assert not differences(path, check(System(graph)), path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", [*FAILING, *CLEAN], ids=lambda path: path.stem)
def test_case(path):
    findings = check(System(read_application(str(path))))
    assert not differences(path, findings, path.read_text(encoding="utf-8"))


def test_every_case_expects_its_rule_and_every_rule_of_graphs_has_a_case():
    for path in FAILING:
        rules = re.findall(r"\[(\w+)\]", " ".join(head for head, _ in expectations(path.read_text(encoding="utf-8"))))
        # The symmetry of rates (G4) implies consistency (C1), and is checked first.
        assert set(rules) == {path.stem.split("-")[0].replace("C1", "G4")}
    named = {path.stem.split("-")[0] for path in [*FAILING, *MULTI_RATE] if path.stem[0] != "o"}
    assert named == {rule for rule in RULES if rule[0] in "GCDN" or rule in ("T1", "F2", "F3", "F4", "F5")}
    assert CLEAN


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("expect: 9:", "expect: 10:"),
        ("error[G4]", "warning[G4]"),
        ("error[G4]", "error[G5]"),
        ("FIFO 'f1'", "FIFO 'f2'"),
        ("<!-- expect", "<!-- nothing expected"),
        ("<!-- expect", "<!-- expect: 9: error[G4]: FIFO 'f1' -->\n<!-- expect"),
    ],
)
def test_a_wrong_expectation_is_noticed(old, new):
    path = CASES / "G4-1.xml"
    text = path.read_text(encoding="utf-8")
    findings = check(System(read_application(str(path))))
    assert old in text and not differences(path, findings, text)
    assert differences(path, findings, text.replace(old, new))
