"""The papers' vehicle classifier as graphs, platforms and mappings."""

from pathlib import Path

import pytest

from eprune.analysis.check import check
from eprune.formats.behaviours import inspect
from eprune.formats.xml.application import read_application
from eprune.formats.xml.mapping import read_mapping
from eprune.formats.xml.platform import read_platform
from eprune.model.system import System

ROOT = Path(__file__).resolve().parents[2]
GRAPHS, MAPPINGS = ROOT / "graphs", ROOT / "mappings"
DISTRIBUTIONS = [
    ("vehicle", "vehicle_local", ["endpoint"]),
    ("vehicle", "vehicle_split", ["endpoint", "server"]),
    ("vehicle_exit", "vehicle_exit_local", ["endpoint"]),
    ("vehicle_exit", "vehicle_exit_split", ["endpoint", "server"]),
    ("vehicle_dual", "vehicle_dual", ["endpoint1", "endpoint2", "server"]),
]


@pytest.mark.parametrize(("application", "folder", "platforms"), DISTRIBUTIONS, ids=lambda value: str(value))
def test_every_distribution_analyses_clean(application, folder, platforms):
    graph = read_application(str(GRAPHS / f"{application}.xml"))
    interfaces, findings = inspect(graph)
    assert findings == []
    assert sorted(path.stem for path in (MAPPINGS / folder).glob("*.xml")) == platforms
    devices = [read_platform(str(GRAPHS / f"{name}.xml")) for name in platforms]
    mappings = [read_mapping(str(MAPPINGS / folder / f"{name}.xml")) for name in platforms]
    assert [str(finding) for finding in check(System(graph, tuple(devices), tuple(mappings), interfaces))] == []


def test_tokens_have_the_sizes_of_the_papers():
    graph = read_application(str(GRAPHS / "vehicle.xml"))
    sizes = {fifo.name: graph.actor(fifo.source.actor).port(fifo.source.port).token.nbytes for fifo in graph.fifos}
    assert sizes == {"f1": 110592, "f2": 294912, "f3": 73728, "f4": 400, "f5": 16}


def test_two_machines_suffice_two_cores():
    for name in ("endpoint", "endpoint1", "endpoint2", "server"):
        assert {core for unit in read_platform(str(GRAPHS / f"{name}.xml")).units for core in unit.cores} <= {0, 1}


def test_links_are_the_papers_ethernet_over_loopback():
    for name in ("endpoint", "endpoint1", "endpoint2", "server"):
        for link in read_platform(str(GRAPHS / f"{name}.xml")).links:
            assert (link.address, link.bandwidth, link.latency) == ("127.0.0.1", 11.2e6, 1.49e-3)
