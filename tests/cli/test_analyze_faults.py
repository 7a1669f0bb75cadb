"""`eprune analyze --faults`: what is not survived, where and why, in every format; and the guide to it is run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from application import APPLICATION, SPLIT

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "how-to" / "survive_failures.md").read_text(encoding="utf-8")
SESSIONS = re.findall(r"^\$ eprune (.*)\n((?:(?!\$ |```).*\n)*)", GUIDE, re.MULTILINE)


def policy(folder, value, extra=""):
    text = APPLICATION.replace('<fifo name="f2"', f'<fifo name="f2" policy="{value}"')
    (folder / "app.xml").write_text(text.replace('<actor name="Out"', f'{extra}<actor name="Out"'))


def test_a_set_that_is_not_survived_is_an_error_where_the_thing_is_described(app, eprune):
    done = eprune("analyze", *SPLIT, "--faults", "2")
    assert done.code == 1
    assert (
        "platforms/server.xml:1: error[F1]: platform 'server' fails: the run stops because FIFO 'f2' breaks" in done.out
    )
    assert "app.xml:11: FIFO 'f2' from 'L1.out' to 'L2.in' breaks (policy stop)" in done.out
    assert "link 'endpoint - server' fails" in done.out
    assert "Faults: 2 platforms, 1 link can fail. Not every single failure is survived." in done.out
    assert done.out.endswith("Minimal sets that break it: 3 of 1.\n")


def test_a_stall_says_who_stands_still_after_how_many_iterations(app, eprune):
    policy(app, "wait")
    out = eprune("analyze", *SPLIT, "--faults", "1").out
    assert "platform 'server' fails: FIFO 'f2' waits; standing still: 'L1' after 2 iterations, 'In' after 4" in out
    assert "; a larger capacity bridges a longer failure" in out


def test_json_has_the_sets_and_sarif_the_findings(app, eprune):
    data = json.loads(eprune("analyze", *SPLIT, "--faults", "1", "--format", "json", "--service", "some").out)
    assert data["faults"]["survives"] == 0
    assert data["faults"]["service"] == {"sources": "some", "essential": ["Out"]}
    assert data["faults"]["things"][-1] == {"kind": "link", "name": "endpoint - server"}
    first = data["faults"]["failures"][0]
    assert first["failed"] == [{"kind": "platform", "name": "endpoint"}]
    assert (first["verdict"], first["culprits"], first["gone"]) == ("stops", ["f2"], ["In", "L1"])
    assert data["errors"] == len(data["findings"]) == 3

    sarif = json.loads(eprune("analyze", *SPLIT, "--faults", "1", "--format", "sarif").out)
    assert [result["ruleId"] for result in sarif["runs"][0]["results"]] == ["F1"] * 3


def test_essential_takes_several_actors(app, eprune):
    data = json.loads(eprune("analyze", *SPLIT, "--faults", "1", "--format", "json", "--essential", "L2", "Out").out)
    assert data["faults"]["service"]["essential"] == ["L2", "Out"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            [*SPLIT, "--faults", "1", "--essential", "Oot"],
            "--essential Oot: there is no such actor; did you mean 'Out'?",
        ),
        (["app.xml", "--faults", "1"], "give them (-p), and mappings (-m)"),
        (
            ["app.xml", "-p", "platforms/server.xml", "-m", "split/server.xml", "--faults", "1"],
            "those of 'endpoint' too",
        ),
        ([*SPLIT, "--essential", "Out"], "--faults K asks: give it too"),
        ([*SPLIT, "--faults", "1", "--service", "most"], "neither 'every' nor 'some' nor a number"),
        ([*SPLIT, "--faults", "-1"], "1<=x<=9"),
    ],
)
def test_a_question_without_meaning_is_wrong_usage(app, eprune, arguments, message):
    done = eprune("analyze", *arguments)
    assert done.code == 2 and message in done.err


def test_a_graph_that_breaks_other_rules_is_not_asked(app, eprune):
    (app / "app.xml").write_text(APPLICATION.replace('to="L2.in"', 'to="L2.inn"'))
    done = eprune("analyze", *SPLIT, "--faults", "1")
    assert done.code == 1 and "F1" not in done.out and "Faults:" not in done.out


def test_what_the_page_shows_comes_out(tmp_path, monkeypatch, eprune):
    """Each line shown, in that order; the sessions build on each other."""
    for folder in ("graphs", "mappings"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    monkeypatch.chdir(tmp_path)
    assert len(SESSIONS) >= 4
    for command, shown in SESSIONS:
        done = eprune(*command.split())
        seen = iter([line.strip() for line in (done.out + done.err).splitlines()])
        for line in filter(None, (line.strip() for line in shown.splitlines())):
            assert line == "..." or line in seen, f"{command}: not seen, or not in this place: {line}\n{done.out}"
