"""Results survive what happens to files, and what is measured is not measured again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from eprune.measure import script


def line(name, ok=True, plan="p"):
    return {"plan": plan, "alternative": name, "ok": ok}


def test_an_empty_or_missing_file_has_no_results(tmp_path):
    assert script.read(tmp_path / "results.jsonl", "p") == {}
    (tmp_path / "results.jsonl").write_text("")
    assert script.read(tmp_path / "results.jsonl", "p") == {}


def test_a_torn_last_line_is_passed_over_and_the_next_line_is_whole(tmp_path):
    path = tmp_path / "results.jsonl"
    script.append(path, line("1"))
    with path.open("a") as stream:
        stream.write(json.dumps(line("2"))[:20])
    assert set(script.read(path, "p")) == {"1"}

    script.append(path, line("3"))
    assert set(script.read(path, "p")) == {"1", "3"}


def test_bytes_that_are_no_text_do_no_harm(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_bytes(b"\xff\xfe\x00garbage\n[1]\nnull\n")
    script.append(path, line("1"))
    assert set(script.read(path, "p")) == {"1"}


def test_results_of_another_plan_do_not_count_and_the_last_of_this_one_does(tmp_path):
    path = tmp_path / "results.jsonl"
    for each in (line("1", ok=False), line("2", plan="old"), line("1", ok=True)):
        script.append(path, each)
    assert script.read(path, "p") == {"1": line("1")}


def test_what_failed_is_measured_again_only_on_request():
    results = {"1": line("1"), "2": line("2", ok=False)}
    assert script.waiting("123", results, retry=False) == ["3"]
    assert script.waiting("123", results, retry=True) == ["2", "3"]


def test_a_frame_s_time_on_a_platform_includes_sending():
    activity = {"firings": 4, "busy_s": 0.1, "first_s": 10.0, "last_s": 10.3}
    link = {**activity, "last_s": 10.4}
    fifo = {"kind": "tx", "bytes": 400}
    record = {"actors": {"A": activity}, "links": {"f": link}, "fifos": {"f": fifo}, "python": "3", "machine": "m"}
    told = script.measurement("p", "1", {"endpoint": record})
    assert round(told["platforms"]["endpoint"]["ms"], 6) == 100
    assert round(told["platforms"]["endpoint"]["busy_ms"], 6) == 25
    assert (told["frames"], told["bytes"], told["ok"]) == (4, 100, True)


def test_a_full_disk_is_an_error_not_a_lost_result():
    with pytest.raises(OSError, match="No space left"):
        script.append(Path("/dev/full"), line("1"))
