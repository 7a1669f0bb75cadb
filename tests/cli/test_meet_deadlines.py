"""Rows for late frames, as docs/how-to/meet_deadlines.md shows them: skip, answer with the last, take an exit."""

import json

import pytest

from tests.kit import pages
from tests.kit.programs import ROOT

PAGE = (ROOT / "docs" / "how-to" / "meet_deadlines.md").read_text(encoding="utf-8")


@pytest.fixture
def shown(tmp_path):
    """A folder with the files that the page shows, and the examples."""
    for name, body in pages.files(PAGE).items():
        (tmp_path / name).write_text(body, encoding="utf-8")
    for folder in ("graphs", "mappings", "actors"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    return tmp_path


def record_of(folder, command, platform="pc"):
    done = pages.run(f"{command} -q --record record", folder)
    assert done.returncode == 0, done.stdout
    return json.loads((folder / "record" / f"{platform}.json").read_text()), done.stdout


@pytest.mark.long
def test_the_page_is_real(shown):
    for command, printed in pages.sessions(PAGE):
        done = pages.run(command, shown)
        assert done.returncode == 0, done.stdout
        assert pages.missing(printed, done.stdout) == [], f"$ {command}\n{done.stdout}"


def test_what_is_late_is_skipped_and_what_is_not_is_in_time(shown):
    record, out = record_of(shown, "eprune run skip.xml -p pc.xml -m skip_map.xml --set Camera.frames=50")
    (found,) = record["requirements"].values()
    degraded = record["degraded"]["Keep"]
    assert (degraded["row"], degraded["frames"]) == (0, 50)
    assert degraded["taken"] > 10, "the network has time for one of three frames"
    assert found["tokens"] == 50 - degraded["taken"]
    assert f"{found['tokens']} answers" in out
    assert record["actors"]["Network"]["modes"] == {"0": degraded["taken"], "1": found["tokens"]}
    told = [event for event in record["events"] if event["event"] == "degraded"]
    assert sum(event["frames"] for event in told) == degraded["taken"]
    assert {(event["dpg"], event["row"]) for event in told} == {("Keep", 0)}
    assert all(event["age_ms"] > 60 for event in told)
    assert found["late"] <= found["tokens"] / 2, "without the row nearly all are"


def test_a_simulation_says_how_often_the_row_will_be_taken(shown):
    """One frame of three, as the page measures it: 34 of 34 in time, and row 0 for 66 of 100."""
    command = next(line for line, _ in pages.sessions(PAGE) if line.startswith("eprune simulate skip"))
    done = pages.run(f"{command} --format json", shown)
    assert done.returncode == 0, done.stdout
    found = json.loads(done.stdout)["time"]
    assert found["degraded"] == {"Keep": {"row": 0, "taken": 66, "frames": 100}}
    (kept,) = found["requirements"]
    assert (kept["share"]["value"], found["ages"][0]["count"]) == (1.0, 34)
    assert 16 < kept["rate"] < 17
    text = (shown / "skip.xml").read_text()
    (shown / "plain.xml").write_text(text.replace(' late="0" late-after="60ms"', ""))
    plain = pages.run(f"{command.replace('skip.xml', 'plain.xml')} --format json", shown)
    assert plain.returncode == 1


@pytest.mark.long
def test_what_is_late_gets_the_last_answer(shown):
    record, out = record_of(shown, "eprune run last.xml -p pc.xml -m last_map.xml")
    (found,) = record["requirements"].values()
    assert "100 answers" in out
    assert (found["tokens"], record["actors"]["Network"]["modes"]["0"]) == (100, record["degraded"]["Keep"]["taken"])


@pytest.mark.long
def test_what_is_late_takes_the_exit(shown):
    for command, _ in pages.sessions(PAGE)[-4:-1]:
        assert pages.run(command, shown).returncode == 0
    command = "eprune run exits.xml -p slow -m mappings/vehicle_exit_split --emulate --set Exit.threshold=1.1"
    record, out = record_of(shown, f"{command} --frames 40", "endpoint")
    answers = [json.loads(line) for line in out.splitlines() if line.startswith('{"frame"')]
    assert [each["frame"] for each in answers if "frame" in each] == list(range(40))
    early = sum(each.get("exit") == "early" for each in answers)
    assert early == record["degraded"]["Deep"]["taken"] > 10
    (found,) = record["requirements"].values()
    assert found["tokens"] == 40
    assert found["within"] > 20, "without the row three are in time"
