"""`eprune analyze`: every finding of every file in one go, facts of what is sound, and the exit code."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pytest
from application import APPLICATION, LOCAL, SPLIT


def test_a_sound_application_is_described(app, eprune):
    done = eprune("analyze", *SPLIT)

    assert (done.code, done.err) == (0, "")
    assert "no findings" in done.out
    assert "tiny: 4 actors and 3 FIFOs" in done.out
    assert "Precedence order: In -> L1 -> L2 -> Out" in done.out
    lines = done.out.splitlines()
    assert next(line for line in lines if line.split()[:1] == ["f2"]).split()[3:] == [
        "float32[1,4,4,4]", "256", "1", "2", "0", "endpoint", "->", "server",
    ]  # fmt: skip
    assert next(line for line in lines if line.split()[:1] == ["L2"]).split()[-1] == "server/cpu0"


def test_the_application_alone_is_enough(app, eprune):
    assert eprune("analyze", "app.xml").code == 0


def test_analyzer_is_another_name(app, eprune):
    assert eprune("analyzer", "app.xml") == eprune("analyze", "app.xml")


def test_an_application_is_read_from_stdin(app, eprune):
    done = eprune("analyze", "-", stdin=APPLICATION)
    assert (done.code, done.err) == (0, "")
    broken = eprune("analyze", "-", stdin=APPLICATION.replace('to="L1.in"', 'to="L9.in"'))
    assert broken.code == 1
    assert "<stdin>:10: error[G1]" in broken.out


def test_a_broken_rule_is_exit_code_1_with_place_and_hint(app, eprune):
    (app / "app.xml").write_text(APPLICATION.replace('to="L2.in"', 'to="L2.inn"'))
    done = eprune("analyze", "app.xml")

    assert done.code == 1
    assert "app.xml:11: error[G1]" in done.out
    assert "hint: " in done.out
    assert "Precedence order" not in done.out


def test_findings_of_all_files_are_told_in_one_go(app, eprune):
    (app / "app.xml").write_text(APPLICATION.replace("<out ", "<uot ").replace("<in ", "<inn "))
    (app / "split/server.xml").write_text("<mapping application='tiny' platform='server'><mop/></mapping>")
    (app / "platforms/server.xml").write_text("<platform name='server'")
    done = eprune("analyze", *SPLIT)

    assert done.code == 2
    for place in (
        "app.xml:2: error[XML]",
        "app.xml:4: error[XML]",
        "split/server.xml:1: error",
        "platforms/server.xml:",
    ):
        assert place in done.out


def test_an_unreadable_mapping_does_not_hide_what_is_wrong_with_the_graph(app, eprune):
    (app / "app.xml").write_text(APPLICATION.replace('to="L2.in"', 'to="L2.inn"'))
    (app / "split/server.xml").write_text("")
    done = eprune("analyze", *SPLIT)

    assert done.code == 2
    assert "app.xml:11: error[G1]" in done.out
    assert "split/server.xml: error[XML]" in done.out


@pytest.mark.parametrize("source", ["missing.xml", "tiny.tflite"])
def test_input_that_is_no_application_is_exit_code_2_and_one_message(app, eprune, source):
    done = eprune("analyze", source)
    assert done.code == 2
    assert done.out.count("error[") == 1
    assert "Traceback" not in done.out + done.err


def test_strict_counts_warnings(app, eprune):
    lonely = '<actor name="Lonely" class="behaviours.py:Print"/>\n  <fifo name="f1"'
    (app / "app.xml").write_text(APPLICATION.replace('<fifo name="f1"', lonely))

    assert "warning[C3]" in eprune("analyze", "app.xml").out
    assert eprune("analyze", "app.xml").code == 0
    assert eprune("analyze", "app.xml", "--strict").code == 1


def test_json_holds_findings_and_facts(app, eprune):
    sound = json.loads(eprune("analyze", *LOCAL, "--format", "json").out)
    assert sound["findings"] == []
    assert sound["graph"]["order"] == ["In", "L1", "L2", "Out"]
    assert sound["graph"]["fifos"][0]["token_bytes"] == 768
    assert {actor["unit"] for actor in sound["graph"]["actors"]} == {"cpu0"}

    done = eprune("analyze", "-", "--format", "json", stdin="<application")
    assert done.code == 2
    report = json.loads(done.out)
    assert (report["errors"], report["graph"]) == (1, None)


def test_sarif_and_junit_name_the_rules(app, eprune):
    sarif = json.loads(eprune("analyze", *LOCAL, "--format", "sarif").out)
    assert "C2" in [rule["id"] for rule in sarif["runs"][0]["tool"]["driver"]["rules"]]
    junit = ET.fromstring(eprune("analyze", *LOCAL, "--format", "junit").out)
    assert len(list(junit.iter("testcase"))) >= 10


def test_the_report_goes_to_a_file(app, eprune):
    done = eprune("analyze", "app.xml", "--format", "json", "-o", "reports/app.json")
    assert (done.code, done.out) == (0, "")
    assert json.loads((app / "reports/app.json").read_text())["errors"] == 0
