"""Actors are watched: one that is too long in a stage is named, and nobody is told that all is well meanwhile."""

import json
import signal
import socket
import time

import pytest

from eprune.runtime.tell import watch
from eprune.runtime.tell.journal import Journal
from eprune.runtime.tell.watch import Watch
from tests.kit.programs import finish, rest, run, start, write_program

CHAIN = (
    "actor('A', 'ACTORS:Count', 'cpu', {'n': '0'})",
    "actor('B', 'ACTORS:%s', 'cpu')",
    "actor('C', 'ACTORS:Total', 'cpu')",
    "fifo('f', 'A.out', 'B.in', 'int32', (), capacity=2)",
    "fifo('g', 'B.out', 'C.in', 'int32', (), capacity=2)",
)


def chain(tmp_path, behaviour, *more):
    return write_program(tmp_path, "host", *(line.replace("%s", behaviour) for line in CHAIN), *more)


class Doing:
    """An actor that is in a stage."""

    def __init__(self, name):
        self.name, self.stage, self.since_ns = name, "", 0


class Clock:
    def __init__(self, monkeypatch):
        self.seconds = 1000.0
        monkeypatch.setattr(watch.time, "perf_counter_ns", lambda: int(self.seconds * 1e9))

    def begin(self, actor, stage):
        actor.since_ns, actor.stage = watch.time.perf_counter_ns(), stage


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def told(journal):
    return [(event["event"], event["actor"], event["stage"], event["seconds"]) for event in journal.events]


def test_a_stall_is_told_once_and_so_is_its_end(clock):
    actor, journal = Doing("B"), Journal("p")
    watched = Watch([actor], {"B": 2.0}, journal)
    watched.look()
    clock.begin(actor, "fire")
    clock.seconds += 1.9
    watched.look()
    assert told(journal) == []
    clock.seconds += 0.2
    watched.look()
    clock.seconds += 5
    watched.look()
    assert told(journal) == [("stalled", "B", "fire", 2.1)]
    assert (watched.stalled["B"].stage, watched.stalled["B"].seconds) == ("fire", 7.1)
    clock.begin(actor, "fire")  # the next firing
    watched.look()
    assert told(journal)[1:] == [("resumed", "B", "fire", 7.1)]
    assert watched.stalled == {}


def test_an_actor_that_only_waits_for_tokens_is_not_stalled(clock):
    actor, journal = Doing("B"), Journal("p")
    watched = Watch([actor], {"B": 2.0}, journal)
    clock.begin(actor, "fire")
    actor.stage = ""
    clock.seconds += 100
    watched.look()
    assert (told(journal), watched.stalled) == ([], {})


def test_each_actor_has_its_own_limit_or_none(clock):
    actors = [Doing("A"), Doing("B"), Doing("C")]
    watched = Watch(actors, {"A": 1.0, "B": 10.0}, Journal("p"))
    for actor in actors:
        clock.begin(actor, "finalize")
    clock.seconds += 5
    watched.look()
    assert set(watched.stalled) == {"A"}
    assert 0 < watched.period <= 0.5
    assert Watch(actors, {}, Journal("p")).period is None


def test_a_firing_that_hangs_is_named_in_events_and_status(tmp_path):
    status = tmp_path / "status.json"
    process = start(chain(tmp_path, "Stuck"), "--stall-after", "0.3", "--status", str(status))
    assert process.stderr.readline().startswith("host: warning: actor 'B' is stalled: 0.")
    deadline = time.monotonic() + 20
    while not (report := json.loads(status.read_text()))["stalled"] and time.monotonic() < deadline:
        time.sleep(0.02)
    assert report["stalled"]["B"]["stage"] == "fire"
    assert report["stalled"]["B"]["seconds"] >= 0.3
    process.kill()
    rest(process)


@pytest.mark.long
def test_an_actor_that_never_returns_does_not_cost_the_record(tmp_path):
    status, record = tmp_path / "status.json", tmp_path / "record.json"
    options = ("--stall-after", "0.3", "--status", str(status), "--record", str(record))
    process = start(chain(tmp_path, "Stuck"), *options)
    process.stderr.readline()
    process.send_signal(signal.SIGINT)
    code, _, err = rest(process)
    assert code == 130
    assert "actor 'B' did not stop" in err
    events = json.loads(record.read_text())["events"]
    assert [event["actor"] for event in events if event["event"] == "stalled"] == ["B"]
    assert json.loads(status.read_text())["state"] == "interrupted"


def test_one_that_goes_on_is_told_too(tmp_path):
    code, _, err = run(chain(tmp_path, "Naps"), "--stall-after", "0.2", "--frames", "3")
    assert code == 0
    first, second = err.splitlines()
    assert "actor 'B' is stalled" in first
    assert "host: note: actor 'B' goes on after" in second


@pytest.mark.parametrize("arguments", [("--stall-after", "0"), ()])
def test_nothing_is_told_without_a_limit_or_within_it(tmp_path, arguments):
    assert run(chain(tmp_path, "Naps"), "--frames", "3", *arguments)[2] == ""


def test_an_actor_that_waits_for_the_world_is_not_stalled(tmp_path):
    assert run(chain(tmp_path, "Camera"), "--stall-after", "0.2", "--frames", "3")[2] == ""


@pytest.mark.parametrize("value", ["-1", "inf", "nan", "soon"])
def test_a_limit_is_a_number_of_seconds(tmp_path, value):
    code, _, err = run(chain(tmp_path, "Copy"), f"--stall-after={value}")
    assert code == 2
    assert "--stall-after" in err


def test_initialize_and_finalize_are_watched(tmp_path):
    err = run(chain(tmp_path, "SlowEnds"), "--stall-after", "0.2", "--frames", "3")[2]
    assert [line.rpartition(" ")[2] for line in err.splitlines() if "stalled" in line] == ["initialize", "finalize"]


@pytest.mark.parametrize(
    "limit", [("--stall-after", "0.3"), pytest.param(("--timeout", "0.5"), marks=pytest.mark.long)]
)
def test_those_that_wait_for_it_to_initialize_are_not_named(tmp_path, limit):
    process = start(chain(tmp_path, "NeverStarts", "cluster('A', 'B', 'C')"), *limit)
    told = []
    while not any("initialize" in line for line in told):
        told.append(process.stderr.readline())
    process.kill()
    told += process.communicate()[1].splitlines()
    assert all("actor 'B' " in line for line in told)


@pytest.mark.long
def test_an_actor_that_hangs_in_initialize_ends_the_start(tmp_path):
    code, _, err = run(chain(tmp_path, "NeverStarts"), "--timeout", "0.5")
    assert code == 1
    assert "host: error: actor 'B' has not returned from initialize in time; --timeout S allows more" in err
    assert "Traceback" not in err


def test_systemd_gets_no_sign_of_life_while_an_actor_is_stalled(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20)
        process = start(chain(tmp_path, "Stuck"), "--stall-after", "0.3", NOTIFY_SOCKET=str(tmp_path / "notify"))
        said = systemd.recv(4096).decode()
        assert "WATCHDOG=1" in said
        while "stalled: B" not in said:
            said = systemd.recv(4096).decode()
        for _ in range(2):
            assert "WATCHDOG=1" not in said
            said = systemd.recv(4096).decode()
        process.kill()
        finish(process)
