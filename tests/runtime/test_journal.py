"""What a program says of its run: for people on stderr, for log collectors as JSON, and in the run record."""

import json
import re
import time

import pytest

from eprune.deploy.ports import free_base_port
from eprune.runtime.tell import journal
from eprune.runtime.tell.journal import Journal
from tests.kit.programs import ROOT, finish, lines, rest, run, start, write_program


@pytest.fixture
def port():
    return free_base_port(1)


def pair(tmp_path, port, policy="drop", n=0):
    left = write_program(
        tmp_path,
        "left",
        f"actor('A', 'ACTORS:SlowCount', 'cpu', {{'n': '{n}'}})",
        f"tx('f', 'A.out', 'int32', (3,), capacity=4, to='right', address='127.0.0.1', port={port}, policy='{policy}')",
        aligned=policy == "drop",
    )
    right = write_program(
        tmp_path,
        "right",
        "actor('B', 'ACTORS:Show', 'cpu')",
        f"rx('f', 'B.in', 'int32', (3,), capacity=4, frm='left', port={port}, policy='{policy}')",
        aligned=policy == "drop",
    )
    return left, right


def test_a_run_that_goes_well_has_nothing_to_say_to_people(capsys):
    printed = Journal("p")
    for event in ("starting", "running", "ended"):
        printed.log(event)
    printed.log("connected", connection="FIFO 'f' with q", peer="q")
    assert capsys.readouterr().err == ""
    assert [event["event"] for event in printed.events] == ["starting", "running", "ended", "connected"]


def test_people_get_a_sentence_and_log_collectors_an_object_a_line(capsys):
    details = {"connection": "FIFO 'f'", "peer": "q", "reason": "the peer\nclosed it"}
    Journal("p").log("lost", **{**details, "reason": "connection closed by peer"})
    assert capsys.readouterr().err == "p: warning: FIFO 'f': lost peer 'q': connection closed by peer\n"
    Journal("p", journal.JSON).log("lost", **details)
    (line,) = capsys.readouterr().err.splitlines()
    printed = json.loads(line)
    assert list(printed) == ["time", "level", "platform", "event", "connection", "peer", "reason", "message"]
    assert (printed["level"], printed["platform"], printed["event"]) == ("warning", "p", "lost")
    assert abs(printed["time"] - time.time()) < 60
    assert printed["reason"] == details["reason"]


def test_what_comes_over_and_over_is_summed_up(capsys, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(journal.time, "monotonic", lambda: clock[0])
    printed = Journal("p")
    for _ in range(500):
        printed.log_repeated("dropped", "tokens", 2, fifo="f", peer="q")
        printed.log_repeated("dropped", "tokens", 1, fifo="g", peer="q")
    assert [event["tokens"] for event in printed.events] == [2, 1]
    clock[0] += journal.INTERVAL
    printed.flush()
    printed.flush()
    assert [event["tokens"] for event in printed.events] == [2, 1, 998, 499]
    printed.log_repeated("dropped", "tokens", 3, fifo="f", peer="q")
    assert len(printed.events) == 4
    printed.flush(last=True)
    assert printed.events[-1]["tokens"] == 3
    assert capsys.readouterr().err.splitlines()[-1] == "p: warning: FIFO 'f': dropped 3 tokens for peer 'q'"


def test_a_peer_that_comes_and_goes_for_ever_does_not_fill_the_memory(capsys):
    printed = Journal("p")
    for _ in range(2000):
        printed.log("lost", connection="c", peer="q", reason="x")
        printed.log("reconnected", connection="c", peer="q", seconds=0.1)
    assert len(printed.events) == journal.MAX_EVENTS
    assert printed.count == 4000
    assert printed.links["c"][0] == "connected"


def test_a_log_that_nobody_reads_any_more_ends_no_run(monkeypatch):
    class Gone:
        def write(self, _):
            raise BrokenPipeError

    monkeypatch.setattr(journal.sys, "stderr", Gone())
    Journal("p").log("warning", "nobody will know")


def test_a_lost_peer_is_told_with_what_was_dropped_and_the_return(tmp_path, port):
    left, right = pair(tmp_path, port, n=1500)
    record = tmp_path / "record.json"
    first = start(left, "--log-format", "json", "--record", str(record))
    second = start(right)
    lines(second, 3)
    second.kill()
    rest(second)
    time.sleep(0.2)
    second = start(right)
    code, _, err = finish(first)
    assert code == 0, err
    assert finish(second)[0] == 0
    printed = [json.loads(line) for line in err.splitlines()]
    events = [each["event"] for each in printed]
    for before, after in zip(
        ("starting", "connected", "running", "lost", "reconnected", "closed"),
        ("connected", "running", "lost", "reconnected", "closed", "ended"),
    ):
        assert events.index(before) < events.index(after)
    fifo = json.loads(record.read_text())["fifos"]["f"]
    assert sum(each["tokens"] for each in printed if each["event"] == "dropped") == fifo["dropped"] > 0
    recorded = json.loads(record.read_text())
    assert [event["event"] for event in recorded["events"]] == events
    assert recorded["events_omitted"] == 0


def test_a_failure_and_wrong_usage_are_events_too(tmp_path, port):
    left, _ = pair(tmp_path, port, "stop")
    code, _, err = run(left, "--timeout", "0.2", EPRUNE_LOG_FORMAT="json")
    assert code == 1
    last = json.loads(err.splitlines()[-1])
    assert (last["event"], last["level"]) == ("failed", "error")
    assert "nobody answered" in last["message"]
    code, _, err = run(left, "--set", "A.m=1", "--log-format", "json")
    assert code == 2
    assert json.loads(err)["event"] == "failed"


def test_the_documentation_has_every_event_with_its_level():
    source = "".join(path.read_text() for path in (ROOT / "eprune" / "runtime").rglob("*.py"))
    made = set(re.findall(r'(?:log|log_repeated|_report)\(\s*"(\w+)"', source)) | {
        "interrupted",
        "failed",
        "resent",
        "dropped",
        "unlogged",
    }
    table = re.search(r"\| event \|(?:.*\n)+?\n", (ROOT / "docs/reference/records.md").read_text())[0]
    printed = {}
    for row in table.strip().splitlines()[2:]:
        _, events, levels, *_ = row.split("|")
        events, levels = re.findall("`(\\w+)`", events), levels.replace(" ", "").split(",")
        printed.update(zip(events, levels * len(events) if len(levels) == 1 else levels))
    assert set(printed) == made
    for event, level in printed.items():
        assert journal.level(event) == level
