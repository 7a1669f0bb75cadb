"""The paper's table 2 and figure 3: what is counted of a run, what is said of it, and a run of real processes."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.robust import table2, timeouts
from scripts.robust.devices import Devices, Measured
from tests.e2e.test_partitioned_devices import VEHICLE


def test_the_frame_of_the_failure_is_the_first_without_a_part():
    missing = np.zeros((6, 2, 3), np.uint8)
    missing[3:, 0, 2] = 2
    found = Measured(np.arange(6.0), np.arange(6.0) + 0.5, np.eye(6), missing)
    assert timeouts._first_without(found, 3) == 3
    assert timeouts._first_without(found, 2) == 3
    assert found.latency.tolist() == [0.5] * 6
    assert found.period(skip=1) == 1
    assert timeouts.right(found, [0, 1, 2, 0, 0, 0], range(4)) == 0.75


def test_the_tables_say_what_was_found():
    point = timeouts.Point(30, 0.005, 0.034, 0.05, 0.003, 0.025, 0.94, 0.9)
    assert "| 30 | 5.00 | 34.00 (50.00) | 3.00 | 2.5% | 94.0% | 90.0% |" in timeouts.table([point])
    whole = table2.Row("full", 1, 1000, 10_000_000, 60e6, 30e6, 0.001, 500, 0.002)
    dealt = table2.Row("robust", 4, 480, 9_000_000, 60e6, 30e6, 0.002, 100, 0.01)
    text = table2.table("net", [whole, dealt])
    assert "| robust | 4 | 480 | 9.00 M | 2.00 | 8.00 | 60.0 | 30.0 | 100 | 10.00 |" in text
    assert "weights -52.0 %, resident memory +0.0 %, MACs -10.0 %, CPU time +100.0 %" in text


def test_the_chart_is_written(tmp_path):
    pytest.importorskip("matplotlib")
    points = [timeouts.Point(each, 0.005, 0.034, 0.05, 0.003, 0.025, 0.94, 0.9) for each in timeouts.TIMEOUTS]
    timeouts.chart(points, tmp_path / "chart", "title")
    assert {path.name for path in tmp_path.iterdir()} == {"chart.svg", "chart.png"}


@pytest.mark.long
def test_processes_are_measured_while_one_is_frozen(tmp_path, monkeypatch):
    for name, value in (("HEALTHY", 4), ("FROZEN", 5), ("PACE", 0.3)):
        monkeypatch.setattr(timeouts, name, value)
    monkeypatch.setitem(timeouts.FAULTS, "stop", (*timeouts.FAULTS["stop"][:2], 5))
    tokens = table2.noise(VEHICLE, 4)
    devices = Devices(tmp_path, VEHICLE, tokens, 2, "--timeout", "200ms")
    point = timeouts.measure(devices, [0, 1, 2, 3], 200, trials=2)
    assert point.missed < 0.5
    assert point.failure_s > point.after_s + 0.1
    macs = [table2.device_macs(devices.system, name) for name in devices.names]
    whole = Devices(tmp_path / "whole", VEHICLE, tokens, 1)
    assert sum(macs) / 2 < table2.device_macs(whole.system, "local") < sum(macs)
