"""Findings as text for people, JSON for scripts, SARIF 2.1.0 for code hosts, and JUnit XML for CI systems.

Same findings, same bytes: no dates, no machine names, the order of the findings as given.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from types import MappingProxyType
from typing import Optional
from urllib.parse import quote
from xml.sax.saxutils import escape, quoteattr

from eprune import __version__
from eprune.model.finding import Finding, Location, Severity

FORMATS = ("text", "json", "sarif", "junit")

#: The rules of input that could not be read; the design rules' meanings come from ``analysis``.
INPUT_RULES = {
    "XML": "the file is well-formed XML and follows its schema",
    "FILE": "files can be read, and hold what they should",
}

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


#: Where the program and its rules are described.
HOME = "https://github.com/eprune/eprune"
RULES_PAGE = f"{HOME}/blob/main/docs/reference/rules.md"


def render(
    findings: Sequence[Finding],
    fmt: str = "text",
    rules: Optional[Mapping[str, str]] = None,
    helps: Mapping[str, str] = MappingProxyType({}),
    files: Sequence[str] = (),
) -> str:
    """The findings in one of ``FORMATS``, ending in a newline where there is anything to say.

    ``rules`` are the rules that were checked, identifier to one-line meaning, in the order to list them; SARIF and
    JUnit name them all, those without findings as well. ``helps`` explains rules, in Markdown, for SARIF. ``files``
    are those that were checked: JUnit has a suite for each of them, and for others with findings. Raises ValueError
    for an unknown format.
    """
    checked = dict(rules or {})
    for finding in findings:
        checked.setdefault(finding.rule, INPUT_RULES.get(finding.rule, finding.rule))
    if fmt == "text":
        return "".join(map(_text, findings))
    if fmt == "json":
        return _dump(as_data(findings))
    if fmt == "sarif":
        return _dump(_sarif(findings, checked, helps))
    if fmt == "junit":
        return _junit(findings, checked, files)
    raise ValueError(f"there is no format {fmt!r}; there are {', '.join(FORMATS)}")


def as_data(findings: Iterable[Finding]) -> dict[str, object]:
    """What the JSON format prints, for commands that add to it::

        {"errors": 1, "warnings": 0,
         "findings": [{"rule": "G4", "severity": "error", "file": "app.xml", "line": 14,
                       "message": "...", "hint": "...",
                       "related": [{"file": "app.xml", "line": 9, "message": "..."}]}]}

    ``line`` is 0 where a finding concerns a file as a whole; ``hint`` may be empty.
    """
    listed = list(findings)
    errors = sum(finding.severity is Severity.ERROR for finding in listed)
    return {
        "errors": errors,
        "warnings": len(listed) - errors,
        "findings": [
            {
                "rule": finding.rule,
                "severity": finding.severity.value,
                **_place(finding.where),
                "message": finding.message,
                "hint": finding.hint,
                "related": [{**_place(where), "message": message} for where, message in finding.related],
            }
            for finding in listed
        ],
    }


def _place(where: Location) -> dict[str, object]:
    return {"file": where.file, "line": where.line}


def _dump(data: object) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def _text(finding: Finding) -> str:
    related = "".join(f"    {where}: {message}\n" for where, message in finding.related)
    hint = f"    hint: {finding.hint}\n" if finding.hint else ""
    return f"{finding}\n{related}{hint}"


def _sarif(findings: Sequence[Finding], rules: Mapping[str, str], helps: Mapping[str, str]) -> dict[str, object]:
    order = list(rules)
    driver = {
        "name": "eprune",
        "version": __version__,
        "semanticVersion": __version__,
        "informationUri": HOME,
        "rules": [
            {
                "id": rule,
                "shortDescription": {"text": meaning},
                "help": {"text": helps.get(rule, meaning), "markdown": helps.get(rule, meaning)},
                "helpUri": RULES_PAGE,
            }
            for rule, meaning in rules.items()
        ],
    }
    results = []
    for finding in findings:
        result: dict[str, object] = {
            "ruleId": finding.rule,
            "ruleIndex": order.index(finding.rule),
            "level": finding.severity.value,
            "message": {"text": finding.message + (f"\nhint: {finding.hint}" if finding.hint else "")},
            "locations": [{"physicalLocation": _physical(finding.where)}],
        }
        if finding.related:
            result["relatedLocations"] = [
                {"id": number, "physicalLocation": _physical(where), "message": {"text": message}}
                for number, (where, message) in enumerate(finding.related, 1)
            ]
        results.append(result)
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}],
    }


def _physical(where: Location) -> dict[str, object]:
    path = PurePath(where.file)
    uri = path.as_uri() if path.is_absolute() else quote(path.as_posix(), errors="surrogateescape")
    physical: dict[str, object] = {"artifactLocation": {"uri": uri}}
    if where.line:
        physical["region"] = {"startLine": where.line}
    return physical


def _junit(findings: Sequence[Finding], rules: Mapping[str, str], files: Sequence[str]) -> str:
    """A suite for each file, with a test case for each rule, named by the file.

    Errors are the failure of a case, for unreadable input its error, and warnings its output. Files that were not asked
    for have cases for the rules with findings there.
    """
    named = dict.fromkeys([*files, *(finding.where.file for finding in findings)]) or {"eprune analyze": None}
    suites, total = "", [0, 0, 0]
    for file in named:
        own = [finding for finding in findings if finding.where.file == file]
        listed = [rule for rule in rules if not files or file in files or any(each.rule == rule for each in own)]
        cases = [_junit_case(file, rule, rules[rule], [each for each in own if each.rule == rule]) for rule in listed]
        failed = {finding.rule for finding in own if finding.severity is Severity.ERROR}
        errors = len(failed.intersection(INPUT_RULES))
        counts = [len(cases), len(failed) - errors, errors]
        total = [one + other for one, other in zip(total, counts)]
        suites += f'  <testsuite name={_attribute(file)} {_counts(counts)} skipped="0" time="0">\n'
        suites += f"{''.join(cases)}  </testsuite>\n"
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<testsuites name="eprune analyze" {_counts(total)} time="0">\n{suites}</testsuites>\n'
    )


def _counts(counts: Sequence[int]) -> str:
    return 'tests="{}" failures="{}" errors="{}"'.format(*counts)


def _junit_case(file: str, rule: str, meaning: str, findings: list[Finding]) -> str:
    name = _attribute(f"{rule}: {meaning}")
    head = f'    <testcase classname={_attribute(file)} name={name} file={_attribute(file)} time="0"'
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    warnings = [finding for finding in findings if finding.severity is Severity.WARNING]
    body = ""
    if errors:
        kind = "error" if rule in INPUT_RULES else "failure"
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        message = _attribute(f"{errors[0].where}: {errors[0].message}{more}")
        body += f'      <{kind} type="{rule}" message={message}>{_escaped(errors)}</{kind}>\n'
    if warnings:
        body += f"      <system-out>{_escaped(warnings)}</system-out>\n"
    return f"{head}>\n{body}    </testcase>\n" if body else f"{head}/>\n"


def _attribute(text: str) -> str:
    return quoteattr(_NOT_IN_XML.sub("?", text))


def _escaped(findings: list[Finding]) -> str:
    return escape(_NOT_IN_XML.sub("?", "".join(map(_text, findings))))
