"""What a status says of the last seconds: rates, times, ages, losses, and how full FIFOs are."""

import json
import signal
import time
from types import SimpleNamespace

import pytest

from eprune.runtime.tell.recent import WINDOW, Counted, Recent, Window
from eprune.runtime.tell.usage import UsageMeter
from tests.kit.programs import rest, start, write_program
from tests.kit.waiting import until

#: Classes of ages as kernel.ages counts them: microseconds, for so few of them.
YOUNG, OLD = 10, 60


def counted(at, firings, busy=0.0, tokens=0, lost=0, ages=()):
    return Counted(at, {"A": (firings, busy)}, {"f": (tokens, 4 * tokens, lost)}, {"B.in": dict(ages)})


def test_rates_are_those_of_the_last_seconds_however_long_it_ran_before():
    window = Window()
    for second in range(100):
        window.add(counted(second, 100 * second, busy=second / 2, tokens=100 * second))
    for second in range(100, 120):
        recent = window.add(
            counted(second, 9900 + 10 * (second - 99), busy=49.5 + (second - 99) / 10, tokens=9900 + 10 * (second - 99))
        )
    assert recent.seconds == WINDOW
    assert recent.firings_per_s == {"A": 10}
    assert recent.busy_ms == {"A": 10}
    assert (recent.tokens_per_s, recent.bytes_per_s, recent.lost) == ({"f": 10}, {"f": 40}, {})


def test_ages_and_losses_of_long_ago_are_forgotten():
    window = Window()
    window.add(counted(0, 0))
    recent = window.add(counted(5, 100, tokens=100, lost=7, ages={OLD: 100}))
    assert (recent.lost, recent.ages["B.in"].p50_ms) == ({"f": 7}, 0.06)
    for second in range(6, 30):
        recent = window.add(counted(second, 200, tokens=200, lost=7, ages={OLD: 100, YOUNG: 4 * second}))
    assert (recent.lost, recent.ages["B.in"].p99_ms) == ({}, 0.01)


def test_many_reports_in_a_second_keep_few_counts():
    window = Window()
    for report in range(10_000):
        window.add(counted(report / 100, report))
    assert len(window._kept) <= WINDOW + 2


def test_the_first_report_has_nothing_to_compare_with():
    assert Window().add(counted(3, 100)) == Recent()


def test_a_status_says_how_fast_how_long_and_how_full(tmp_path):
    program = write_program(
        tmp_path,
        "host",
        "actor('A', 'ACTORS:Count', 'cpu', {'n': '0'})",
        "actor('B', 'ACTORS:SlowShow', 'cpu')",
        "fifo('f', 'A.out', 'B.in', 'int32', (3,), capacity=5)",
    )
    path = tmp_path / "status.json"
    process = start(program, "--status", str(path), "--threads", "actor")

    until(lambda: path.exists() and json.loads(path.read_text())["recent"]["firings_per_s"].get("B", 0) > 2)
    report = json.loads(path.read_text())
    process.send_signal(signal.SIGTERM)
    assert rest(process)[0] == 130
    recent, fifo = report["recent"], report["fifos"]["f"]
    assert 0 < recent["seconds"] <= WINDOW + 1
    assert 0 < recent["firings_per_s"]["B"] <= 10
    assert recent["busy_ms"]["B"] >= 100
    assert recent["bytes_per_s"]["f"] == pytest.approx(12 * recent["tokens_per_s"]["f"], rel=0.01)
    assert recent["ages"]["B.in"]["p50_ms"] >= 100, "tokens wait for those before them"
    assert (fifo["kind"], fifo["capacity"], fifo["fill"]) == ("local", 5, 5)
    assert report["missing"] == []


def test_a_temperature_is_that_of_the_hottest_sensor_that_works(monkeypatch):
    psutil = pytest.importorskip("psutil")
    sensors = {
        "cpu": [SimpleNamespace(current=51.5), SimpleNamespace(current=63.0)],
        "off": [SimpleNamespace(current=-273.1)],
    }
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: sensors, raising=False)
    meter = UsageMeter()
    assert meter.read().temperature_c == 63.0
    sensors["cpu"][0].current = 80.0
    assert meter.read().temperature_c == 63.0, "sensors are slow: they are read now and then"
    monkeypatch.setattr(time, "monotonic", lambda now=time.monotonic: now() + 60)
    assert meter.read().temperature_c == 80.0


def test_the_machine_s_memory_is_more_than_can_be_had():
    usage = UsageMeter().read()
    assert 0 < usage.available_bytes < usage.machine_memory_bytes
