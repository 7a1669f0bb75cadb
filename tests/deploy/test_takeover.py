"""Whether a version can take over while frames flow."""

from dataclasses import replace

import pytest

from eprune.deploy.build import programs_of
from eprune.deploy.live import next_shift, obstacles, ports_of, shift_of, shifted
from eprune.formats.system import read_system, written_in
from tests.kit import fleet as kit

MIB = 1 << 20


@pytest.fixture
def system(tmp_path):
    with kit.local(tmp_path) as fleet:
        fleet.write()
        return read_system(*written_in(fleet.system))


def facts(ports=(), shift=0, memory=None, resident=None):
    status = {"resident_bytes": resident}
    return {"description": {"ports": ports, "shift": shift}, "memory": memory, "state": {"status": status}}


def told(**more):
    return {"sources": {}, "states": [], "fifos": {}, **more}


def moved(system, homes):
    """The same system with other mappings."""
    mappings = tuple(
        replace(
            mapping,
            placements=tuple(
                replace(
                    place,
                    unit="cpu0" if homes[place.actor] == mapping.platform else None,
                    platform=None if homes[place.actor] == mapping.platform else homes[place.actor],
                )
                for place in mapping.placements
            ),
        )
        for mapping in system.mappings
    )
    return replace(system, mappings=mappings)


def test_the_ports_of_the_next_version_are_those_behind_and_then_again_those_of_the_files(system):
    programs = programs_of(system)
    ports = ports_of(programs[0])
    running = {name: facts(ports) for name in kit.PLATFORMS}
    shift = next_shift(programs, running)
    assert shift == 1
    later = [port for program in programs_of(shifted(system, shift)) for port in ports_of(program)]
    assert set(later) == {port + 1 for port in ports}
    running = {name: facts(later, shift) for name in kit.PLATFORMS}
    assert shift_of(running) == 1
    assert next_shift(programs, running) == 0


def test_what_keeps_state_does_not_move_unless_it_is_to_begin_anew(system):
    swapped = moved(system, {"Count": "server", "Print": "camera"})
    running = {
        "camera": told(sources={"Count": {}}, states=["Count"], fifos={}),
        "server": told(states=["Print"], fifos={"f": "Print"}),
    }
    place = {name: facts() for name in kit.PLATFORMS}
    assert obstacles(system, place, running, ()) == []
    source = "source 'Count' moves from camera to server: that takes a stop"
    assert obstacles(swapped, place, running, ()) == [
        source,
        "actor 'Print' keeps its state, and moves from server to camera: --reset Print lets it begin anew",
        "FIFO 'f' holds state, and moves from server to camera: --reset Print lets it begin anew",
    ]
    assert obstacles(swapped, place, running, ("Print",)) == [source]
    assert obstacles(system, place, running, ("Nobody",)) == ["--reset Nobody: there is no such actor"]


def test_memory_has_to_be_there_for_both(system):
    running = {"camera": told(), "server": told()}
    place = {"camera": facts(memory=80 * MIB, resident=90 * MIB), "server": facts(memory=80 * MIB, resident=70 * MIB)}
    assert obstacles(system, place, running, ()) == [
        "camera: both versions need 90 MiB of memory more for a while, and 80 are free"
    ]
