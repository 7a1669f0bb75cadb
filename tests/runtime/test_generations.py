"""One generation of programs hands over to the next while tokens flow: real processes, as a device sees them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from eprune.deploy.ports import free_base_port
from eprune.deploy.remote.running import Running
from eprune.deploy.remote.versions import Problem
from eprune.runtime.fire.matched import TIMEOUT
from tests.kit import generation_actors
from tests.kit.programs import environment, write_program

ACTORS = Path(generation_actors.__file__)
#: what the next generation adds to each number
MORE = 1_000_000


class Change:
    """Two generations of programs in a folder, and what a deployment asks of those that run."""

    def __init__(self, folder, platforms, serves=()):
        self.folder, self.platforms, self.serves = folder, platforms, serves
        self.sink = folder / "sink.txt"
        self.processes = {}
        self.asked = {}

    def generation(self, name, **declarations):
        """Write a generation's programs; their paths."""
        folder = self.folder / name
        folder.mkdir()
        behaviour = os.path.relpath(ACTORS, folder)
        return {
            platform: write_program(folder, platform, *(line.replace("KIT:", f"{behaviour}:") for line in lines))
            for platform, lines in declarations.items()
        }

    def options(self, platform):
        return ["--serve"] * (platform in self.serves) + ["--timeout=20", "--patience=20"][: 2 if self.patient else 1]

    patient = False

    def start(self, programs):
        for platform in self.platforms:
            files = [f"--status={self.file(platform, 'status.json')}", f"--control={self.file(platform, 'control')}"]
            with (self.folder / f"{platform}.log").open("w") as log:
                command = [sys.executable, str(programs[platform]), *self.options(platform), *files]
                self.processes[platform] = subprocess.Popen(command, stdout=log, stderr=log, env=environment())

    def file(self, platform, name):
        return self.folder / f"{platform}.{name}"

    def run(self, platform):
        """The conversation with the program that runs."""
        if platform not in self.asked:
            wait(lambda: self.file(platform, "control").exists())
            self.asked[platform] = Running(self.file(platform, "control"))
        return self.asked[platform]

    def start_next(self, programs):
        for platform in self.platforms:
            command = [sys.executable, str(programs[platform]), *self.options(platform)]
            self.run(platform).ask("start", command=command)

    def await_ready(self):
        wait(lambda: all(self.run(platform).ask("describe")["change"] == "ready" for platform in self.platforms))

    def agree(self, ahead=20):
        """Agree on a firing, and tell everybody; the firing."""
        sources = [self.run(platform).ask("describe")["sources"] for platform in self.platforms]
        at = max(source["next"] for each in sources for source in each.values()) + ahead
        for platform, each in zip(self.platforms, sources):
            self.run(platform).ask("hold", at=dict.fromkeys(each, at), begin=at)
        for platform in self.platforms:
            self.run(platform).ask("commit")
        return at

    def await_end_of_first(self):
        return {platform: process.wait(60) for platform, process in self.processes.items()}

    def log(self, platform):
        return (self.folder / f"{platform}.log").read_text()

    def close(self):
        for asked in self.asked.values():
            asked.close()
        self.asked = {}

    def lines(self):
        return [tuple(map(int, line.split())) for line in self.sink.read_text().splitlines()]

    def await_lines(self, enough):
        wait(lambda: self.sink.exists() and enough(self.lines()))

    def end(self):
        """Kill whoever still runs."""
        self.close()
        for platform in self.platforms:
            for name in ("status.json", "status.2.json"):
                with contextlib.suppress(OSError, ValueError):
                    pid = json.loads(self.file(platform, name).read_text())["pid"]
                    if str(self.folder).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                        os.kill(pid, signal.SIGKILL)
        for process in self.processes.values():
            process.kill()
            process.wait()


def wait(condition, seconds=60):
    until = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except (OSError, ValueError):
            pass
        assert time.monotonic() < until, "it takes too long"
        time.sleep(0.02)


@pytest.fixture
def change(tmp_path, request):
    made = []

    def make(*platforms, **keywords):
        made.append(Change(tmp_path, platforms, **keywords))
        return made[-1]

    yield make
    for each in made:
        each.end()


def both_sides(change, port, more, middle="Add", policy="stop", source="Numbers", parameters="{'pause': '0.002'}"):
    """Endpoint: source and middle; server: sink."""
    link = f"'int64', (), capacity=4, {{}}, port={port}, policy='{policy}'"
    change.patient = policy != "stop"
    said = f"{{'more': '{more}'}}" if middle == "Add" else "{}"
    return {
        "server": [
            f"actor('Sink', 'KIT:File', 'cpu', {{'path': {str(change.sink)!r}}})",
            f"rx('f', 'Sink.in', {link.format(chr(102) + 'rm=' + repr('endpoint'))})",
        ],
        "endpoint": [
            f"actor('Source', 'KIT:{source}', 'cpu', {parameters})",
            f"actor('Middle', 'KIT:{middle}', 'cpu', {said})",
            "fifo('e', 'Source.out', 'Middle.in', 'int64', (), capacity=2)",
            f"tx('f', 'Middle.out', {link.format('to=' + repr('server') + ', address=' + repr('127.0.0.1'))})",
        ],
    }


@pytest.mark.parametrize("policy", ["stop", "wait"])
def test_no_token_is_lost_or_doubled_across_the_change(change, policy):
    change = change("server", "endpoint", serves=["server"])
    port = free_base_port(2)
    change.start(change.generation("one", **both_sides(change, port, 0, policy=policy)))
    change.await_lines(lambda lines: len(lines) > 20)
    change.start_next(change.generation("two", **both_sides(change, port + 1, MORE, policy=policy)))
    change.await_ready()
    at = change.agree()
    ended = change.await_end_of_first()
    assert set(ended.values()) == {0}
    change.await_lines(lambda lines: len(lines) > at + 20)
    found = change.lines()
    assert found == [(number, number + MORE * (number >= at)) for number in range(len(found))]


def test_the_status_names_who_has_taken_over(change):
    change = change("server", "endpoint", serves=["server"])
    port = free_base_port(2)
    change.start(change.generation("one", **both_sides(change, port, 0)))
    change.await_lines(bool)
    change.start_next(change.generation("two", **both_sides(change, port + 1, MORE)))
    change.await_ready()
    change.agree()
    change.await_end_of_first()
    for platform in change.platforms:
        left = json.loads(change.file(platform, "status.json").read_text())
        change.close()
        wait(lambda platform=platform: change.run(platform).ask("describe")["process"])
        assert change.run(platform).ask("describe")["process"] == left["successor"]
        wait(lambda platform=platform: json.loads(change.file(platform, "status.2.json").read_text())["firings"])
        assert json.loads(change.file(platform, "status.2.json").read_text())["pid"] == left["successor"]


def test_what_an_actor_counts_goes_on(change):
    change = change("server", "endpoint", serves=["server"])
    port = free_base_port(2)
    change.start(change.generation("one", **both_sides(change, port, 0, middle="Sum")))
    change.await_lines(lambda lines: len(lines) > 20)
    change.start_next(change.generation("two", **both_sides(change, port + 1, 0, middle="Sum")))
    change.await_ready()
    at = change.agree()
    change.await_end_of_first()
    change.await_lines(lambda lines: len(lines) > at + 20)
    found = change.lines()
    assert found == [(number, number * (number + 1) // 2) for number in range(len(found))]


def in_a_circle(change):
    """An actor whose state comes back over a FIFO with a delay of 2: every second number is added up."""
    return {
        "alone": [
            "actor('Source', 'KIT:Numbers', 'cpu')",
            "actor('Circle', 'KIT:Accumulate', 'cpu')",
            "actor('Back', 'KIT:Add', 'cpu')",
            f"actor('Sink', 'KIT:File', 'cpu', {{'path': {str(change.sink)!r}}})",
            "fifo('a', 'Source.out', 'Circle.in', 'int64', (), capacity=2)",
            "fifo('b', 'Circle.out', 'Sink.in', 'int64', (), capacity=2)",
            "fifo('c', 'Circle.back', 'Back.in', 'int64', (), capacity=2)",
            "fifo('d', 'Back.out', 'Circle.last', 'int64', (), capacity=4, delay=2)",
        ]
    }


def test_what_comes_back_over_a_fifo_goes_on(change):
    change = change("alone")
    change.start(change.generation("one", **in_a_circle(change)))
    change.await_lines(lambda lines: len(lines) > 20)
    change.start_next(change.generation("two", **in_a_circle(change)))
    change.await_ready()
    at = change.agree()
    change.await_end_of_first()
    change.await_lines(lambda lines: len(lines) > at + 20)
    found = change.lines()
    assert found == [(number, sum(range(number % 2, number + 1, 2))) for number in range(len(found))]


def goes_on(change):
    """The first generation still runs, alone, and nobody else writes."""
    before = len(change.lines())
    change.await_lines(lambda lines: len(lines) > before + 50)
    found = change.lines()
    assert found == [(number, number) for number in range(len(found))]
    assert all(process.poll() is None for process in change.processes.values())


def pending(change, port, **keywords):
    """A change of which nothing is agreed yet."""
    change.start(change.generation("one", **both_sides(change, port, 0)))
    change.await_lines(bool)
    two = both_sides(change, port + 1, MORE)
    if keywords.get("broken"):
        two["endpoint"][1] = two["endpoint"][1].replace("{'more'", "{'broken': 'yes', 'more'")
    change.start_next(change.generation("two", **two))


def standing_by(make):
    """A change for which both sides are ready."""
    change = make("server", "endpoint", serves=["server"])
    pending(change, free_base_port(2))
    change.await_ready()
    return change


def hold(change, ahead):
    """Have everybody promise to stop so many firings ahead; that firing."""
    at = change.run("endpoint").ask("describe")["sources"]["Source"]["next"] + ahead
    for platform in change.platforms:
        change.run(platform).ask("hold", at={"Source": at} if platform == "endpoint" else {}, begin=at)
    return at


def test_a_next_generation_that_fails_disturbs_nobody(change):
    change = change("server", "endpoint", serves=["server"])
    pending(change, free_base_port(2), broken=True)
    wait(lambda: change.run("endpoint").ask("describe")["problem"])
    found = change.run("endpoint").ask("describe")
    assert (found["change"], found["problem"]) == ("alone", "the next generation has ended with exit code 1")
    with pytest.raises(Problem, match="no 'hold' while the change is 'alone': the next generation has ended"):
        change.run("endpoint").ask("hold", at={"Source": 10**6}, begin=10**6)
    goes_on(change)


def test_what_ends_by_itself_after_a_change_that_failed_ends_well(change):
    change = change("server", "endpoint")
    port, few = free_base_port(2), "{'pause': '0.002', 'n': '1000'}"
    change.start(change.generation("one", **both_sides(change, port, 0, parameters=few)))
    change.await_lines(bool)
    two = both_sides(change, port + 1, MORE, parameters=few)
    two["endpoint"][1] = two["endpoint"][1].replace("{'more'", "{'broken': 'yes', 'more'")
    change.start_next(change.generation("two", **two))
    wait(lambda: change.run("endpoint").ask("describe")["problem"])
    assert set(change.await_end_of_first().values()) == {0}
    assert change.lines() == [(number, number) for number in range(1000)]


def test_whoever_goes_away_before_the_last_word_leaves_all_as_it_was(change):
    change = standing_by(change)
    at = hold(change, 10)
    nexts = [json.loads(change.file(platform, "status.2.json").read_text())["pid"] for platform in change.platforms]
    wait(lambda: len(change.lines()) == at)
    time.sleep(0.3)
    assert len(change.lines()) == at  # it is held
    change.close()
    wait(lambda: not any(Path(f"/proc/{pid}").exists() for pid in nexts))
    goes_on(change)


@pytest.mark.long
def test_sources_are_not_held_for_long(change):
    change = standing_by(change)
    hold(change, 10)
    goes_on(change)
    with pytest.raises(Problem, match="have been held for 5 s"):
        change.run("endpoint").ask("commit")
    goes_on(change)


@pytest.mark.long
def test_a_firing_that_has_begun_is_not_agreed_on(change):
    change = standing_by(change)
    with pytest.raises(Problem, match=r"source 'Source' is at firing \d+ already"):
        change.run("endpoint").ask("hold", at={"Source": 1}, begin=1)
    assert change.run("endpoint").ask("describe")["change"] == "ready"
    goes_on(change)


def test_a_next_generation_that_dies_before_it_takes_over_disturbs_nobody(change):
    change = standing_by(change)
    at = hold(change, 300)
    change.run("endpoint").ask("commit")
    os.kill(json.loads(change.file("endpoint", "status.2.json").read_text())["pid"], signal.SIGKILL)
    wait(lambda: change.run("endpoint").ask("describe")["change"] == "alone")
    change.close()
    wait(lambda: len(change.lines()) > at)
    goes_on(change)


def two_cameras(change, port, more, policy="stop", clock=None):
    """Two endpoints whose numbers are joined on the server."""
    change.patient = policy != "stop"
    kind = f"'int64', (), capacity=8, {{}}, port={{}}, policy='{policy}'"
    clocked = f", clock={clock}" if clock else ""
    pause = f"{{'pause': '{0.8 / clock if clock else 0.002}'}}"

    def endpoint(number, name):
        link = kind.format("to='server', address='127.0.0.1'", port + number)
        return [f"actor('{name}', 'KIT:Numbers', 'cpu', {pause}{clocked})", f"tx('{name}', '{name}.out', {link})"]

    return {
        "server": [
            f"actor('Join', 'KIT:Add', 'cpu', {{'more': '{more}'}})",
            f"actor('Sink', 'KIT:File', 'cpu', {{'path': {str(change.sink)!r}}})",
            *(
                f"rx('{name}', 'Join.{name}', {kind.format(f'frm={platform!r}', port + number)})"
                for number, (platform, name) in enumerate([("left", "L"), ("right", "R")])
            ),
            "fifo('j', 'Join.out', 'Sink.in', 'int64', (), capacity=2)",
        ],
        "left": endpoint(0, "L"),
        "right": endpoint(1, "R"),
    }


def test_all_sources_change_at_the_firing_that_was_agreed_on(change):
    change = change("server", "left", "right", serves=["server"])
    port = free_base_port(4)
    change.start(change.generation("one", **two_cameras(change, port, 0)))
    change.await_lines(lambda lines: len(lines) > 20)
    change.start_next(change.generation("two", **two_cameras(change, port + 2, MORE)))
    change.await_ready()
    at = change.agree()
    assert set(change.await_end_of_first().values()) == {0}
    change.await_lines(lambda lines: len(lines) > at + 20)
    found = change.lines()
    assert found == [(number, 2 * number + MORE * (number >= at)) for number in range(len(found))]


def test_where_one_does_not_agree_nobody_changes(change):
    change = change("server", "left", "right", serves=["server"])
    port = free_base_port(4)
    change.start(change.generation("one", **two_cameras(change, port, 0)))
    change.await_lines(lambda lines: len(lines) > 20)
    change.start_next(change.generation("two", **two_cameras(change, port + 2, MORE)))
    change.await_ready()
    at = change.run("left").ask("describe")["sources"]["L"]["next"] + 20
    change.run("left").ask("hold", at={"L": at}, begin=at)
    with pytest.raises(Problem, match="source 'R' is at firing"):
        change.run("right").ask("hold", at={"R": 1}, begin=at)
    change.close()
    change.await_lines(lambda lines: len(lines) > at + 50)
    found = change.lines()
    assert found == [(number, 2 * number) for number in range(len(found))]


def test_under_drop_clocked_sources_change_together_and_little_is_lost(change):
    change = change("server", "left", "right", serves=["server"])
    port, clock = free_base_port(4), 200
    change.start(change.generation("one", **two_cameras(change, port, 0, "drop", clock)))
    change.await_lines(lambda lines: len(lines) > 20)
    change.start_next(change.generation("two", **two_cameras(change, port + 2, MORE, "drop", clock)))
    change.await_ready()
    change.agree(ahead=clock // 4)
    assert set(change.await_end_of_first().values()) == {0}
    change.await_lines(lambda lines: lines[-1][1] >= MORE and len(lines) > 200)
    counts = [count for count, _ in change.lines()]
    assert counts == list(range(len(counts)))
    sums = [value for _, value in change.lines()]
    assert [value >= MORE for value in sums] == sorted(value >= MORE for value in sums)
    lost = sums[-1] % MORE // 2 + 1 - len(sums)
    assert 0 <= lost <= clock * TIMEOUT
