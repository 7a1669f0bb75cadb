"""Processor time, memory and load of a program: in its record, in its status, and a note where psutil is missing."""

import json
import sys
import time

import pytest

from eprune.runtime.tell.usage import UsageMeter
from tests.kit.programs import run, write_program

CHAIN = (
    "actor('A', 'ACTORS:Count', 'cpu', {'n': '4'})",
    "actor('B', 'ACTORS:Show', 'cpu')",
    "fifo('f', 'A.out', 'B.in', 'int32', (3,), 2)",
)
FIELDS = {
    *("user_s", "system_s", "resident_bytes", "peak_memory_bytes", "unique_bytes"),
    *(
        "load",
        "machine_load",
        "machine_cores",
        "machine_memory_bytes",
        "available_bytes",
        "temperature_c",
        "usage_note",
    ),
}


def burn(seconds):
    """Use that much processor time, however long it takes."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_a_record_and_a_status_have_the_process_s_usage(tmp_path):
    pytest.importorskip("psutil")
    record, status = tmp_path / "record.json", tmp_path / "status.json"
    program = write_program(tmp_path, "host", *CHAIN)
    assert run(program, "--record", str(record), "--status", str(status))[0] == 0
    for written in (json.loads(record.read_text()), json.loads(status.read_text())):
        assert written.keys() >= FIELDS
        assert written["usage_note"] == ""
        assert written["user_s"] + written["system_s"] > 0
        assert 0 < written["unique_bytes"] <= written["resident_bytes"] * 1.5
        assert written["resident_bytes"] > 1_000_000
        assert written["load"] >= 0
        assert 0 <= written["machine_load"] <= written["machine_cores"]


def test_a_busy_process_has_a_load_and_the_machine_has_it_too():
    pytest.importorskip("psutil")
    meter = UsageMeter()
    meter.read()
    burn(0.3)
    busy = meter.read()
    time.sleep(0.3)
    idle = meter.read()
    assert busy.load > idle.load
    assert busy.machine_load > 0
    assert 0 < meter.read(last=True).load <= 1.5


def test_without_psutil_a_note_says_what_is_unknown(monkeypatch):
    monkeypatch.setitem(sys.modules, "psutil", None)
    reading = UsageMeter().read()
    assert (reading.unique_bytes, reading.machine_load) == (None, None)
    assert "psutil is not installed" in reading.usage_note
    assert reading.user_s + reading.system_s > 0
    assert reading.load is not None
