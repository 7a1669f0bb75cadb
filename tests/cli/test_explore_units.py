"""Platforms with several units: explore, profile and predictions know where a slice runs best."""

from __future__ import annotations

import json

from tests.kit.accelerator import NEEDS_CC, accelerator

EXPLORE = ("explore", "app.xml", "-p", "platforms/endpoint.xml", "platforms/server.xml", "-o", "cuts")


def units_of(app, point):
    text = (app / f"cuts/{point}/endpoint.xml").read_text()
    return [unit for unit in ("npu", "cpu0") if f'unit="{unit}"' in text]


@NEEDS_CC
def test_actors_go_to_the_fastest_units(app, eprune):
    path = app / "platforms/endpoint.xml"
    npu = f'<unit name="npu" delegate="{accelerator()}" options="slow=0.01"/>'
    path.write_text(path.read_text().replace("<unit", f"{npu}<unit", 1))
    refused = eprune(*EXPLORE, "--fastest-units")
    assert refused.code == 2
    assert "eprune profile cuts --actors" in refused.err
    assert eprune(*EXPLORE).code == 0
    assert units_of(app, 2) == ["npu", "cpu0"], "slices are on the first unit that takes them, other actors elsewhere"
    timed = eprune("profile", "cuts", "--actors", "--format", "json")
    assert "note: endpoint: faster L1 on cpu0" in timed.err
    endpoint = json.loads(timed.out)["actors"]["platforms"]["endpoint"]
    assert endpoint["units"]["npu"].keys() == {"L1", "L2"}, "an accelerator runs slices alone"
    assert endpoint["units"]["npu"]["L1"] > 2 * endpoint["units"]["cpu0"]["L1"]
    assert set(endpoint["fastest"].values()) == {"cpu0"}
    slow = eprune("report", "cuts", "--format", "json")
    again = eprune(*EXPLORE, "--fastest-units")
    assert again.code == 0, again.err
    assert units_of(app, 2) == ["cpu0"]
    fast = eprune("report", "cuts", "--format", "json")
    before, after = (_predicted(json.loads(done.out)) for done in (slow, fast))
    assert before["3"] > 1.5 * after["3"], "predictions are those of the units"


def _predicted(report):
    """Point -> milliseconds on the endpoint."""
    return {row["point"]: row["predicted"]["endpoint"] for row in report["points"]}
