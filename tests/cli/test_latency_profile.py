"""`eprune profile --latency`: single frames, there and back, as programs that run."""

from __future__ import annotations

import json

import pytest

CUTS = ("explore", "app.xml", "-p", "platforms/endpoint.xml", "platforms/server.xml", "-o", "cuts", "--frames", "2")
LATENCY = ("profile", "cuts", "--no-pin", "--latency")


def lines(folder):
    return [json.loads(line) for line in (folder / "latency.jsonl").read_text().splitlines()]


def test_every_point_has_percentiles_and_a_split_that_adds_up(app, eprune):
    assert eprune(*CUTS).code == 0
    done = eprune(*LATENCY)
    assert (done.code, done.out) == (0, ""), done.err
    found = lines(app / "cuts")
    assert [line["alternative"] for line in found] == ["1", "2", "3", "4"]
    for line in found:
        assert line["ok"] and line["frames"] == 2
        times = line["latency_ms"]
        assert 0 < times["p50"] <= times["p90"] <= times["p99"] <= times["max"]
        assert sum(line["split_ms"].values()) == pytest.approx(times["mean"])
    assert set(found[0]["split_ms"]) == {"endpoint", "server", "(link)"}
    assert found[0]["split_ms"]["(link)"] > 0
    assert found[1]["platforms"]["endpoint"]["interpreter"]
    assert "0 measured now" in eprune(*LATENCY).err
    assert not (app / "cuts/results.jsonl").exists()


def test_the_report_shows_them_in_text_and_json(app, eprune):
    assert eprune(*CUTS).code == 0
    assert eprune(*LATENCY, "--point", "2").code == 0
    assert eprune("profile", "cuts", "--no-pin", "--point", "2").code == 0
    text = eprune("report", "cuts").out
    assert "Single frames, from source to result and back to it, measured (2 frames)" in text
    assert "p50 ms  p90 ms  p99 ms  max ms  endpoint  server  (link)" in text
    told = json.loads(eprune("report", "cuts", "--format", "json").out)
    shown = {point["point"]: point["single_frames"] for point in told["points"]}
    assert shown["2"]["latency_ms"]["p50"] > 0
    assert shown["1"] is None


def test_the_result_comes_back_even_where_the_sink_must_stay_on_the_server(app, eprune):
    assert eprune(*CUTS, "--keep-on", "server", "Out").code == 0
    done = eprune(*LATENCY, "--point", "2")
    assert done.code == 0, done.err


def test_two_endpoints_each_wait_for_the_result(two_endpoints, eprune):
    done = eprune(*LATENCY)
    assert done.code == 0, done.err
    assert all(line["ok"] and line["frames"] == 2 for line in lines(two_endpoints))
    assert set(lines(two_endpoints)[0]["split_ms"]) == {"one", "other", "server", "(link)"}


def test_a_cut_without_a_way_back_is_recorded_with_the_reason(app, eprune):
    assert eprune(*CUTS).code == 0
    assert eprune("profile", "cuts", "--no-pin", "--point", "1").code == 0
    (app / "platforms/server.xml").write_text('<platform name="server"><unit name="cpu0"/></platform>')
    done = eprune(*LATENCY, "--point", "2")
    assert done.code == 1
    assert "M2" in lines(app / "cuts")[0]["problem"]
    assert "2: single frames failed: M2" in eprune("report", "cuts").out


def test_it_goes_not_with_predicting(app, eprune):
    assert eprune(*CUTS).code == 0
    assert eprune(*LATENCY, "--actors").code == 2
