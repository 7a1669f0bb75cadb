"""One model over two engines: TFLite on the endpoint, OpenVINO on the server."""

from __future__ import annotations

import importlib.util
import json
import sys

import numpy as np
import pytest

from eprune.deploy.ports import free_base_port
from tests.kit.programs import ROOT, finish, start_command

GRAPHS = ROOT / "graphs"

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="openvino is not installed (pip install eprune[openvino])"
)


@pytest.fixture
def platforms(tmp_path):
    """The platforms of the vehicle classifier on free ports, the server's with another engine."""
    port = free_base_port(4)
    for name, engine in (("endpoint", ""), ("server", ' engine="openvino"')):
        text = (GRAPHS / f"{name}.xml").read_text().replace("5100", str(port)).replace("<unit", f"<unit{engine}")
        (tmp_path / f"{name}.xml").write_text(text)
    return [str(tmp_path / f"{name}.xml") for name in ("endpoint", "server")]


def test_the_server_half_by_another_engine_gives_nearly_the_same_and_the_difference_is_stated(tmp_path, platforms):
    application = (
        sys.executable,
        "-m",
        "eprune",
        "run",
        str(GRAPHS / "vehicle.xml"),
        "-m",
        str(ROOT / "mappings/vehicle_split"),
    )
    run = (*application, "--frames", "5", "-p")
    code, out, err = finish(start_command(*run, *platforms, "--record", str(tmp_path)))
    assert code == 0, err
    plain = [str(GRAPHS / f"{name}.xml") for name in ("endpoint", "server")]
    assert "results may differ in single bits" in err
    endpoint, server = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("endpoint", "server"))
    assert endpoint["interpreter"].startswith("ai-edge-litert")
    assert server["interpreter"].startswith("openvino ")
    assert [each["engine"] for each in server["engines"].values()] == ["openvino"]
    _, right, _ = finish(start_command(*run, *plain))
    ours, right = ([json.loads(line) for line in text.splitlines()] for text in (out, right))
    assert [line["class"] for line in ours] == [line["class"] for line in right]
    assert np.allclose([line["score"] for line in ours], [line["score"] for line in right], atol=1e-5)


def test_verify_says_what_the_other_engine_does_to_the_results(platforms):
    command = (
        *(sys.executable, "-m", "eprune"),
        "verify",
        str(GRAPHS / "vehicle.xml"),
        "-p",
        platforms[1],
        "--unit",
        "cpu1",
        "--format",
        "json",
    )
    code, out, err = finish(start_command(*command))
    assert code == 0, err
    found = json.loads(out)
    assert found["engine"].startswith("openvino ")
    assert 0 < max(each["largest_difference"] for each in found["slices"]) < 1e-5
