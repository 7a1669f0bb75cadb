"""A program's metrics, as Prometheus reads them."""

import json
import signal
import urllib.error
import urllib.request

import pytest

from eprune.deploy.ports import free_base_port
from eprune.runtime.tell.metrics import COUNTER, GAUGE, Family, families, text
from tests.kit.programs import rest, run, start, write_program
from tests.kit.waiting import until

parser = pytest.importorskip("prometheus_client.parser")


@pytest.fixture
def program(tmp_path):
    return write_program(
        tmp_path,
        "host",
        "actor('A', 'ACTORS:SlowCount', 'cpu', {'n': '0'})",
        "actor('B', 'ACTORS:Total', 'cpu')",
        "fifo('f', 'A.out', 'B.in', 'int32', (), capacity=2)",
        "require('A.out', 'B.in', 1e-9, 1.0, fifos=('f',))",
    )


def scrape(port, path="/metrics", host="127.0.0.1"):
    with urllib.request.urlopen(f"http://{host}:{port}{path}", timeout=20) as answer:
        return answer.headers["Content-Type"], answer.read().decode()


def samples(written):
    return {
        (s.name, *sorted(s.labels.items())): s.value
        for f in parser.text_string_to_metric_families(written)
        for s in f.samples
    }


def test_a_running_program_answers_with_what_its_status_says(program, tmp_path):
    port, status = free_base_port(1), tmp_path / "status.json"
    process = start(program, "--metrics", str(port), "--status", str(status))
    until(lambda: status.exists() and json.loads(status.read_text())["recent"]["ages"])
    kind, written = scrape(port)
    assert kind.startswith("text/plain; version=0.0.4")
    found = samples(written)
    names = {name for name, *_ in found}
    assert {"eprune_running", "eprune_fifo_fill", "eprune_age_seconds", "eprune_cpu_seconds_total"} <= names
    required = {"eprune_requirement_tokens_total", "eprune_requirement_late_total", "eprune_late_total"}
    assert required | {"eprune_requirement_share", "eprune_requirement_rate"} <= names
    (late,) = [value for (name, *_), value in found.items() if name == "eprune_requirement_late_total"]
    (total,) = [value for (name, *_), value in found.items() if name == "eprune_requirement_tokens_total"]
    assert late == total > 0
    (firings,) = [
        value for (name, *labels), value in found.items() if name == "eprune_firings_total" and ("actor", "A") in labels
    ]
    assert firings > 0
    assert all(("platform", "host") in labels for _, *labels in found)
    with pytest.raises(urllib.error.HTTPError, match="404"):
        scrape(port, "/")
    process.send_signal(signal.SIGTERM)
    assert rest(process)[0] == 130


@pytest.mark.long
def test_a_port_that_is_taken_ends_the_program_with_a_message(program):
    port = free_base_port(1)
    process = start(program, "--metrics", str(port))
    until(lambda: answers(port))
    code, _, err = run(program, "--metrics", str(port))
    assert (code, f"--metrics {port}: Address already in use" in err) == (1, True)
    process.send_signal(signal.SIGTERM)
    rest(process)
    for wrong in ("no", "70000", "host:"):
        code, _, err = run(program, "--metrics", wrong)
        assert (code, err.count("expected PORT or HOST:PORT"), "Traceback" in err) == (2, 1, False)


def answers(port):
    try:
        return scrape(port)
    except OSError:
        return False


def test_names_that_users_choose_stay_in_their_place():
    name = 'a"b\\c\nd{}'
    written = text(
        [Family("eprune_x", GAUGE, "X.", [({"actor": name}, 1.5)]), Family("eprune_x", GAUGE, "X.", [({}, 2.0)])]
    )
    assert written.count("# TYPE") == 1
    (family,) = parser.text_string_to_metric_families(written)
    assert [(s.labels, s.value) for s in family.samples] == [({"actor": name}, 1.5), ({}, 2.0)]


def test_figures_that_are_unknown_are_left_out_and_older_programs_are_understood():
    report = {
        "application": "a",
        "platform": "p",
        "state": "waiting",
        "firings": {},
        "stalled": {},
        "fifos": {"f": {"kind": "rx", "peer": "q", "tokens": 3}},
        "peers": {"q": {"state": "lost", "clock_offset_ms": None}},
    }
    found = families(report)
    assert {f.name: [value for _, value in f.samples] for f in found if f.samples} == {
        "eprune_running": [0.0],
        "eprune_fifo_tokens_total": [3.0],
        "eprune_peer_connected": [0.0],
    }
    assert {family.kind for family in found} == {GAUGE, COUNTER}
