"""`eprune analyze` over files and folders, as pre-commit and CI systems call it; and the page on that is tried."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import yaml
from application import APPLICATION, ROOT

PAGE = (ROOT / "docs" / "how-to" / "check_every_change.md").read_text(encoding="utf-8")
SNIPPETS = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]


@pytest.fixture
def several(app):
    """Beside the sound application one that is not, one with a warning only, and one that cannot be read."""
    (app / "broken.xml").write_text(APPLICATION.replace('to="L2.in"', 'to="L2.inn"'))
    (app / "deep" / "er").mkdir(parents=True)
    shutil.copy(app / "app.xml", app / "deep" / "er" / "app.xml")
    for name in ("behaviours.py", "helper.py", "tiny.tflite"):
        shutil.copy(app / name, app / "deep" / "er" / name)
    (app / "deep" / ".hidden").mkdir()
    (app / "deep" / ".hidden" / "no.xml").write_text("<application")
    (app / "deep" / "pom.xml").write_text("<project/>")
    (app / "none").mkdir()
    return app


def test_each_file_is_checked_and_the_counts_are_of_all(several, eprune):
    done = eprune("analyze", "app.xml", "broken.xml")
    assert done.code == 1
    assert done.out.startswith("broken.xml:11: error[G1]: ") and done.out.endswith("2 files: 1 error\n")
    assert eprune("analyze", "app.xml", "deep/er/app.xml").out == "2 files: no findings\n"
    assert eprune("analyze", "app.xml", "gone.xml").code == 2


def test_a_folder_has_what_is_in_it_and_below(several, eprune):
    done = eprune("analyze", "deep")
    assert done.code == 0 and "tiny: 4 actors and 3 FIFOs" in done.out, "it has one application"
    done = eprune("analyze", "deep", "broken.xml", "platforms", "split")
    assert done.code == 1 and done.out.endswith("6 files: 1 error\n")
    assert "there is no application, platform or mapping (*.xml) in the folder" in eprune("analyze", "none").err
    (several / "platforms" / "server.xml").write_text("<platform/>")
    assert eprune("analyze", "app.xml", "broken.xml", "platforms").code == 2


def test_what_lies_beside_one_application_is_its_own(several, eprune):
    whole = eprune("analyze", "app.xml", "platforms", "split")
    assert whole.out == eprune("analyze", "app.xml", "-p", "platforms", "-m", "split").out
    assert "Memory of server" in whole.out
    # Two mappings of one platform: nobody has said which is meant, so the application is checked alone.
    assert "Memory of" not in eprune("analyze", "app.xml", "platforms", "split", "local").out
    text = (several / "split" / "server.xml").read_text()
    assert 'unit="cpu0"' in text
    (several / "split" / "server.xml").write_text(text.replace('unit="cpu0"', 'unit="cpu9"'))
    assert "error[M1]" in eprune("analyze", "app.xml", "platforms", "split").out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("app.xml", "broken.xml", "-p", "platforms", "-m", "split"), "-p and -m are those of one application"),
        (("app.xml", "platforms", "-p", "platforms", "-m", "split"), "beside the application and by -p and -m"),
        (("app.xml", "broken.xml", "--buffers"), "--buffers: it is asked of one application, and 2 are given"),
        (("app.xml", "broken.xml", "--faults", "1"), "--faults: it is asked of one application"),
        ((), "Missing argument"),
    ],
)
def test_what_is_asked_of_one_application_is_not_asked_of_several(several, eprune, arguments, message):
    done = eprune("analyze", *arguments)
    assert done.code == 2 and message in done.err


def test_reports_for_scripts_and_ci_name_the_files(several, eprune):
    data = json.loads(eprune("analyze", "app.xml", "broken.xml", "--format", "json").out)
    assert (data["errors"], data["graph"], data["checked"]) == (1, None, ["app.xml", "broken.xml"])
    assert data["graphs"]["app.xml"]["application"] == "tiny" and data["graphs"]["broken.xml"] is None
    suites = list(ET.fromstring(eprune("analyze", "app.xml", "broken.xml", "--format", "junit").out))
    assert [(suite.get("name"), suite.get("failures")) for suite in suites] == [("app.xml", "0"), ("broken.xml", "1")]
    assert {case.get("classname") for case in suites[1]} == {"broken.xml"}
    (run,) = json.loads(eprune("analyze", "app.xml", "broken.xml", "--format", "sarif").out)["runs"]
    assert [each["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for each in run["results"]] == [
        "broken.xml"
    ]
    rules = {rule["id"]: rule for rule in run["tool"]["driver"]["rules"]}
    assert "precedence graph" in rules["C2"]["help"]["markdown"]


def test_the_hook_checks_the_files_that_pre_commit_gives_it(several, eprune):
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    config = next(snippet for snippet in SNIPPETS if "repos" in snippet)
    (used,) = config["repos"][0]["hooks"]
    assert used["id"] == hook["id"] and hook["types"] == ["xml"]
    program, *arguments = shlex.split(hook["entry"])
    assert program == "eprune"
    assert eprune(*arguments, "app.xml", "split/server.xml").code == 0
    assert eprune(*arguments, "app.xml", "broken.xml", "split/server.xml").code == 1


def test_the_commands_of_the_workflows_write_what_is_uploaded(several, eprune, monkeypatch):
    (several / "graphs").mkdir()
    (several / "mappings").mkdir()
    shutil.copy(several / "broken.xml", several / "graphs" / "broken.xml")
    shutil.copy(several / "split" / "server.xml", several / "mappings" / "server.xml")
    github = next(snippet for snippet in SNIPPETS if "jobs" in snippet)
    steps = github["jobs"]["analyze"]["steps"]
    gitlab = next(snippet for snippet in SNIPPETS if "eprune" in snippet)["eprune"]
    commands = [step["run"] for step in steps if "run" in step] + gitlab["script"]
    for command in commands:
        program, *arguments = shlex.split(command)
        if program == "eprune":
            assert eprune(*arguments).code == 1
    uploaded = [step["with"]["sarif_file"] for step in steps if "sarif_file" in step.get("with", {})]
    assert json.loads(Path(*uploaded).read_text(encoding="utf-8"))["version"] == "2.1.0"
    assert ET.parse(gitlab["artifacts"]["reports"]["junit"]).getroot().get("failures") != "0"
