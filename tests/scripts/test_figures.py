"""The papers' figures: our cases are what the papers state, and the tables say what the studies found."""

from __future__ import annotations

import pytest

from eprune.analysis.check import check
from eprune.cli.reading import read_sound
from eprune.formats.xml.platform import read_platform
from scripts.figures.draw import tables
from scripts.figures.papers import CASES
from scripts.figures.study import PLATFORMS, Point, Study, application

#: device and link -> bytes per second and seconds, from the papers
LINKS = {
    ("N2", "Ethernet"): (11.2e6, 1.49e-3),
    ("N2", "WiFi"): (2.3e6, 2.15e-3),
    ("N270", "Ethernet"): (11.2e6, 1.21e-3),
    ("N270", "WiFi"): (4.7e6, 1.22e-3),
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_links_are_the_papers_in_both_directions(case):
    folder = PLATFORMS / f"{case.device}_{case.link}".lower()
    endpoint, server = [read_platform(str(folder / f"{side}.xml")) for side in ("endpoint", "server")]
    assert (endpoint.name, server.name) == (case.device, "i7")
    for one, other in ((endpoint, server), (server, endpoint)):
        link = one.link(other.name)
        assert (link.bandwidth, link.latency) == pytest.approx(LINKS[case.device, case.link])


@pytest.mark.parametrize("name", ["vehicle", "ssd_mobilenet"])
def test_the_copy_with_frames_from_a_file_is_sound_and_has_what_the_papers_speak_of(tmp_path, name):
    system = read_sound(str(application(name, tmp_path)))
    assert not check(system)
    assert dict(system.graph.actors[0].parameters)["path"] == str(tmp_path / f"{name}.npy")
    actors = {actor.name for actor in system.graph.actors}
    for case in CASES:
        if case.application == name:
            assert {case.raw, *(stated.after for stated in case.stated if stated.after != "raw")} <= actors


def test_the_tables_set_ours_beside_the_papers():
    case = CASES[0]
    points = (
        Point(1, "Input", 110592, 1.0, 8.0, 8.0, 10.0),
        Point(2, "L1", 294912, 4.0, 26.0, 26.0, None),
        Point(3, "L2", 73728, 15.0, 6.5, 15.0, 16.0),
        Point(4, "Sink", 0, 18.9, 0.0, 18.9, 20.0),
    )
    lines = tables([Study(case, 12.0, points)]).splitlines()
    assert lines[2] == "| vehicle, N2, Ethernet | Input (raw) | 9 | 8.0 | 10.0 | 2.10 | 2.00 |"
    assert lines[3] == "| vehicle, N2, Ethernet | L2 | 14.9 | 15.0 | 16.0 | 1.27 | 1.25 |"
    assert lines[7].startswith("| vehicle, N2, Ethernet | Input | 8.0 | L2 | 15.0 | L2, 16.0 of 2 points | median 6 %,")
    assert "worst 20 %" in lines[7]
    assert "| 2 | L1 | 294912 | 4.00 | 26.00 | 26.00 |  |" in lines
