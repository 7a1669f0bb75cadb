"""M1 to M4: every wrong mapping is found, and says where and why."""

from __future__ import annotations

from dataclasses import replace
from typing import Optional

import pytest
from sample_graphs import build, fifos_like, on, sliced

from eprune.analysis.check import check
from eprune.analysis.lookup import windows
from eprune.analysis.mapping import crossings, memory_use
from eprune.model.finding import Finding, Location
from eprune.model.graph import FaultPolicy, Graph
from eprune.model.interface import Interface
from eprune.model.mapping import Mapping
from eprune.model.platform import Link, Platform, Security, Unit
from eprune.model.system import System

GRAPH = build([("a", "b", 1, 0, 2), ("b", "c", 1, 0, 2)])


def platform(name: str, *links: tuple[str, int], memory: int | None = None) -> Platform:
    file = f"{name}-platform.xml"
    return Platform(
        name,
        (Unit("cpu0", where=Location(file, 2)),),
        tuple(Link(to, port=port, where=Location(file, line)) for line, (to, port) in enumerate(links, start=3)),
        memory,
        where=Location(file, 1),
    )


DEVICE, SERVER = platform("device", ("server", 5100)), platform("server", ("device", 5100))
DEVICE_MAPPING = on("device", {"a": "cpu0", "b": "cpu0", "c": "@server"})
SERVER_MAPPING = on("server", {"a": "@device", "b": "@device", "c": "cpu0"})


def found(platforms: list[Platform], mappings: list[Mapping], graph: Graph = GRAPH, **facts: Interface) -> list[str]:
    return [f"{finding} ({finding.hint})" for finding in check(System(graph, tuple(platforms), tuple(mappings), facts))]


def the(lines: list[str], start: str, *parts: str) -> None:
    """There is one finding; it starts so, and has these parts."""
    assert len(lines) == 1
    assert lines[0].startswith(start) and all(part in lines[0] for part in parts), lines[0]


def test_a_sound_pair_is_clean_and_so_is_each_half():
    assert found([DEVICE, SERVER], [DEVICE_MAPPING, SERVER_MAPPING]) == []
    assert found([DEVICE], [DEVICE_MAPPING]) == []
    assert found([SERVER], [SERVER_MAPPING]) == []


# M1


def test_an_actor_that_is_not_mapped_is_named():
    mapping = on("device", {"a": "cpu0", "c": "@server"})
    the(found([DEVICE], [mapping]), "device.xml:1: error[M1]: mapping of 'device': no place for 'b'", '<map actor="b"')


def test_an_actor_that_is_mapped_twice_is_found_at_the_second_place():
    mapping = replace(DEVICE_MAPPING, placements=(*DEVICE_MAPPING.placements, DEVICE_MAPPING.placements[0]))
    the(found([DEVICE], [mapping]), "device.xml:2: error[M1]: mapping of 'device': actor 'a' is mapped twice")


def test_a_misspelt_actor_is_one_finding():
    graph = build([("camera", "b", 1, 0, 2)])
    mapping = on("device", {"camrea": "cpu0", "b": "cpu0"})
    the(found([DEVICE], [mapping], graph), "device.xml:2: error[M1]", "'camrea' is not in", "did you mean 'camera'?")


def test_a_unit_must_exist():
    mapping = on("device", {"a": "cpu0", "b": "cpuO", "c": "@server"})
    the(found([DEVICE], [mapping]), "device.xml:3: error[M1]", "has no unit 'cpuO'", "did you mean 'cpu0'?")


def test_an_actor_on_its_own_platform_needs_a_unit():
    mapping = on("device", {"a": "cpu0", "b": "@device", "c": "@server"})
    the(found([DEVICE], [mapping]), "device.xml:3: error[M1]", "to this platform, but to no unit", 'unit="cpu0"')


def test_a_place_is_either_a_unit_or_a_platform():
    placements = (replace(DEVICE_MAPPING.placements[0], unit=None), *DEVICE_MAPPING.placements[1:])
    the(found([DEVICE], [replace(DEVICE_MAPPING, placements=placements)]), "device.xml:2: error[M1]", "either")


def test_mappings_must_agree():
    mapping = on("server", {"a": "@device", "b": "cpu0", "c": "cpu0"})
    lines = found([DEVICE, SERVER], [DEVICE_MAPPING, mapping])
    the(lines, "server.xml:3: error[M1]: actor 'b' is on 'server' in the mapping of 'server', but on 'device'")


def test_the_files_must_belong_together():
    other = replace(DEVICE_MAPPING, application="other")
    the(found([DEVICE], [other]), "device.xml:1: error[M1]", "of application 'other', but the application is 'random'")
    the(found([], [DEVICE_MAPPING]), "device.xml:1: error[M1]", "'device', whose platform file is not given", "-p")
    the(found([DEVICE], []), "device-platform.xml:1: error[M1]: platform 'device' has no mapping file", "-m")
    the(found([DEVICE, DEVICE], [DEVICE_MAPPING]), "device-platform.xml:1: error[M1]: a second platform 'device'")
    the(found([DEVICE], [DEVICE_MAPPING] * 2), "device.xml:1: error[M1]: a second mapping of platform 'device'")
    twice = replace(DEVICE, units=DEVICE.units * 2)
    the(found([twice], [DEVICE_MAPPING]), "device-platform.xml:2: error[M1]", "unit 'cpu0' is defined twice")
    twice = replace(DEVICE, links=DEVICE.links * 2)
    the(found([twice], [DEVICE_MAPPING]), "device-platform.xml:3: error[M1]", "link to 'server' is defined twice")


# M2


def test_a_crossing_fifo_needs_a_link():
    lines = found([platform("device", ("sevrer", 5100))], [DEVICE_MAPPING])
    the(lines, "device-platform.xml:1: error[M2]", "no link to 'server', which FIFO 'f1' needs", "is 'sevrer' meant?")


def test_both_files_state_the_same_port():
    lines = found([DEVICE, platform("server", ("device", 5101))], [DEVICE_MAPPING, SERVER_MAPPING])
    the(
        lines,
        "server-platform.xml:3: error[M2]",
        "port 5100 in the file of 'device', and port 5101 in that of 'server'",
    )


def test_both_files_say_alike_how_ports_are_shared_and_what_protects_them():
    shared = replace(SERVER, links=(replace(SERVER.links[0], shared=True, security=Security.TLS),))
    lines = found([DEVICE, shared], [DEVICE_MAPPING, SERVER_MAPPING])
    assert [line.partition("has ")[2] for line in lines] == [
        "ports=\"each\" in the file of 'device', and ports=\"shared\" in that of 'server' "
        "(state the same ports in both)",
        "security=\"none\" in the file of 'device', and security=\"tls\" in that of 'server' "
        "(state the same security in both)",
    ]


def test_fifos_that_share_a_connection_need_one_port():
    graph = build([("a", "b", 1, 0, 2), ("a", "b", 1, 0, 2), ("c", "b", 1, 0, 2)])
    server = platform("server", ("one", 5100), ("two", 5101))
    mapping = on("server", {"a": "@one", "b": "cpu0", "c": "@two"})
    the(found([server], [mapping], graph), "server-platform.xml:4: error[M2]", "would both listen on port 5101")
    shared = replace(server, links=tuple(replace(link, shared=True) for link in server.links))
    assert found([shared], [mapping], graph) == []


def test_a_link_that_nothing_uses_does_no_harm():
    assert found([platform("device", ("server", 5100), ("other", 5100))], [DEVICE_MAPPING]) == []


@pytest.mark.parametrize(("port", "sound"), [(0, False), (1, True), (65534, True), (65535, False), (70000, False)])
def test_ports_must_be_in_range_for_every_fifo(port, sound):
    graph = build([("a", "b", 1, 0, 2), ("a", "b", 1, 0, 2)])
    lines = found([platform("device", ("server", port))], [on("device", {"a": "cpu0", "b": "@server"})], graph)
    if sound:
        assert lines == []
    else:
        the(lines, "device-platform.xml:3: error[M2]", "outside of 1 to 65535")


def test_fifos_from_two_platforms_must_not_listen_on_one_port():
    graph = build([("a", "c", 1, 0, 2), ("b", "c", 1, 0, 2), ("b", "c", 1, 0, 2)])
    mapping = on("server", {"a": "@one", "c": "cpu0", "b": "@two"})
    lines = found([platform("server", ("one", 5101), ("two", 5100))], [mapping], graph)
    the(lines, "server-platform.xml:4: error[M2]", "'f2' from 'two' and FIFO 'f0' from 'one'", "listen on port 5101")
    assert found([platform("server", ("one", 5102), ("two", 5100))], [mapping], graph) == []


def test_sending_to_two_platforms_on_one_port_is_fine():
    graph = build([("a", "b", 1, 0, 2), ("a", "c", 1, 0, 2)])
    mapping = on("device", {"a": "cpu0", "b": "@one", "c": "@two"})
    assert found([platform("device", ("one", 5100), ("two", 5100))], [mapping], graph) == []


def test_both_platforms_number_their_crossing_fifos_alike():
    graph = build([("a", "b", 1, 0, 2), ("b", "a", 1, 1, 3), ("a", "c", 1, 0, 2), ("c", "b", 1, 0, 2)])
    here = on("device", {"a": "cpu0", "b": "@server", "c": "@third"})
    there = on("server", {"a": "@device", "b": "cpu0", "c": "@third"})
    assert [fifo.name for fifo in crossings(graph, here)["server"]] == ["f0", "f1"]
    assert crossings(graph, here)["server"] == crossings(graph, there)["device"]
    assert [fifo.name for fifo in crossings(graph, there)["third"]] == ["f3"]


def windowed(platform, nbytes):
    return replace(platform, links=tuple(replace(link, window=nbytes) for link in platform.links))


def test_both_ends_of_a_link_allow_the_same_window():
    lines = found([windowed(DEVICE, 4096), SERVER], [DEVICE_MAPPING, SERVER_MAPPING])
    the(lines, "server-platform.xml:3: error[M2]", "window=\"4KiB\" in the file of 'device'", 'window="0B"')


def test_fifos_of_a_group_join_the_same_two_platforms():
    graph = fifos_like(build([("a", "c", 1, 0, 2), ("c", "b", 1, 1, 3)]), policy=FaultPolicy.DROP, group="g")
    assert found([DEVICE, SERVER], [DEVICE_MAPPING, SERVER_MAPPING], graph) == []
    lines = star(Link("b"), Link("c", port=5200), far=(5100, 5200), group="g")
    the(lines, "graph.xml:1001: error[M2]", "FIFO 'f1' of group 'g' goes from 'a' to 'c', but 'f0' from 'a' to 'b'")


# M2: one host


def star(*links: Link, far: tuple[int, int] = (5100, 5100), group: Optional[str] = None) -> list[str]:
    """``a`` sends to ``b`` and to ``c`` over these links."""
    policy = FaultPolicy.STOP if group is None else FaultPolicy.DROP
    graph = fifos_like(build([("A", "B", 1, 0, 2), ("A", "C", 1, 0, 2)]), policy=policy, group=group)
    places = {"A": "a", "B": "b", "C": "c"}
    mappings = [
        on(here, {actor: "cpu0" if home == here else f"@{home}" for actor, home in places.items()}) for here in "abc"
    ]
    links = tuple(replace(link, where=Location("a-platform.xml", line)) for line, link in enumerate(links, start=3))
    hub = replace(platform("a"), links=links)
    ends = [
        replace(each, links=tuple(replace(end, security=link.security, shared=link.shared) for end in each.links))
        for each, link in zip((platform("b", ("a", far[0])), platform("c", ("a", far[1]))), links)
    ]
    return found([hub, *ends], mappings, graph)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1", "lab.example"])
def test_two_peers_of_one_host_listen_on_ports_of_their_own(address, shared):
    lines = star(Link("b", address, 5100, shared=shared), Link("c", address, 5100, shared=shared))
    the(
        lines,
        "c-platform.xml:3: error[M2]",
        "platforms 'b' and 'c' are on one host",
        "FIFO 'f0' to 'b' and FIFO 'f1' to 'c' would both listen on port 5100",
    )
    assert star(Link("b", address, 5100), Link("c", address, 5101), far=(5100, 5101)) == []
    assert star(Link("b", address, 5100), Link("c", "10.0.0.2", 5100)) == []


def test_ssh_tunnels_of_one_platform_have_near_ends_of_their_own():
    links = [Link(to, address, 5100, security=Security.SSH) for to, address in (("b", "10.0.0.1"), ("c", "10.0.0.2"))]
    the(star(*links), "a-platform.xml:4: error[M2]", "the SSH tunnel of FIFO 'f1' to 'c'", "port 5100 of 'a'")
    assert star(links[0], replace(links[1], port=5200), far=(5100, 5200)) == []


@pytest.mark.parametrize(
    "address", ["256.1.1.1", "10.1", "1.2.3.4.5", "::zz", "10.0.0.1:5100", "-lab", "a..b", "x" * 64]
)
def test_an_address_that_cannot_be_is_a_mistake(address):
    lines = star(Link("b", address, 5100), Link("c", "10.0.0.2", 5100))
    the(lines, "a-platform.xml:3: error[M2]", f"the link to 'b' has the address '{address}'")


@pytest.mark.parametrize("address", ["192.168.1.10", "fe80::1%eth0", "::1", "pi", "pi_2.local", "lab.example."])
def test_addresses_that_can_be_are_none(address):
    assert star(Link("b", address, 5100), Link("c", "10.0.0.2", 5100)) == []


# M3


def test_what_may_be_under_way_is_room_at_both_ends():
    """A token has 16 bytes, in a slot of 64: a window of 20 allows two of them, unless the FIFO says one."""
    system = System(GRAPH, (windowed(DEVICE, 20), windowed(SERVER, 20)), (DEVICE_MAPPING, SERVER_MAPPING))
    assert windows(system) == {"f1": 2}
    for mapping in system.mappings:
        assert memory_use(GRAPH, mapping, {}, windows(system))["FIFO 'f1'"] == (2 + 2) * 64
    stated = replace(system, graph=fifos_like(GRAPH, window=1))
    assert windows(stated) == {"f1": 1}
    small = [replace(each, memory=128 + 192 - (each.name == "device")) for each in stated.platforms]
    the(
        found(small, [DEVICE_MAPPING, SERVER_MAPPING], stated.graph),
        "device-platform.xml:1: error[M3]",
        "FIFO 'f1' 192B",
    )


def test_memory_counts_a_crossing_fifo_on_both_sides_and_names_the_largest():
    facts = {"b": Interface(weight_bytes=1000)}
    assert memory_use(GRAPH, DEVICE_MAPPING, facts) == {"FIFO 'f0'": 128, "FIFO 'f1'": 128, "weights of 'b'": 1000}
    assert memory_use(GRAPH, SERVER_MAPPING, facts) == {"FIFO 'f1'": 128}
    lines = found([platform("device", ("server", 5100), memory=1255)], [DEVICE_MAPPING], **facts)
    the(lines, "device-platform.xml:1: error[M3]", "'device' has 1.226KiB of memory", "weights of 'b' 1000B, FIFO 'f0'")
    assert found([platform("device", ("server", 5100), memory=1256)], [DEVICE_MAPPING], **facts) == []


# M4

SLICES = {"L1": (0, 1), "L2": (2, 3), "L3": (4, 5)}


def fused(
    fifos: list[tuple[str, str]], segments: dict[str, str], slices: dict[str, tuple[int, int]] = SLICES, **more: object
) -> list[Finding]:
    """The findings of a graph of slices, all on one unit but for the actors in ``remote``."""
    graph, facts = sliced(fifos, slices, delays=more.get("delays", ()), fed=more.get("fed"))  # type: ignore[arg-type]
    graph = fifos_like(graph, capacity=more.get("capacity", 3))
    places = {actor.name: "cpu0" for actor in graph.actors}
    places.update(dict.fromkeys(more.get("remote", ()), "@server"))  # type: ignore[call-overload]
    return check(System(graph, (DEVICE,), (on("device", places, segments),), facts))


LINE = [("S", "L1"), ("L1", "L2"), ("L2", "L3"), ("L3", "T")]


def test_neighbours_may_be_one_segment():
    assert fused(LINE, {"L1": "s", "L2": "s", "L3": "s"}) == []


def test_a_segment_must_not_go_out_and_back_in():
    (finding,) = fused(LINE, {"L1": "s", "L3": "s"})
    assert str(finding.where) == "device.xml:3" and finding.rule == "M4"
    assert finding.message == "segment 's' of platform 'device' cannot be fused: it would wait for itself through 'L2'"
    assert [reason for _, reason in finding.related] == [
        "L2 first needs a token of L1 over f1: rate 1, delay 0",
        "L3 first needs a token of L2 over f2: rate 1, delay 0",
    ]


def test_a_segment_must_not_go_out_through_another_platform():
    (finding,) = fused([("S", "L1"), ("L1", "P"), ("P", "L3"), ("L1", "L3")], {"L1": "s", "L3": "s"}, remote=["P"])
    assert "it would wait for itself through 'P'" in finding.message


def test_two_segments_must_not_wait_for_each_other():
    slices = {"A": (0, 0), "B": (1, 1), "C": (2, 2), "D": (3, 3)}
    fifos = [("S", "A"), ("S", "C"), ("A", "B"), ("C", "D")]
    (finding,) = fused(fifos, {"A": "s", "D": "s", "B": "t", "C": "t"}, slices)
    assert "segment 't'" in finding.message and "through 'A'" in finding.message


def test_a_tensor_of_a_segment_s_own_cannot_come_from_an_earlier_firing():
    (finding,) = fused(LINE, {"L1": "s", "L2": "s"}, delays=("f1",))
    assert "tensor 1, which one of its slices writes, is taken from 'L1' with a delay of 1" in finding.message


def test_a_loop_of_a_segment_has_room_beside_its_delay():
    loop, all_three = [*LINE, ("L3", "L1")], dict.fromkeys(SLICES, "s")
    assert fused(loop, all_three, fed={"f4": 9}) == []
    (finding,) = fused(loop, all_three, fed={"f4": 9}, capacity=1)
    assert "FIFO 'f4' would be its loop: capacity 1 < delay 1 + rate 1" in finding.message
    assert finding.hint == "give FIFO 'f4' a capacity of 2"


def test_a_segment_is_of_slices_on_one_unit_of_one_model():
    assert "'S' is not a slice of a model" in fused(LINE, {"S": "s", "L1": "s"})[0].message
    graph, facts = sliced(LINE, SLICES)
    two = replace(DEVICE, units=(*DEVICE.units, Unit("cpu1")))
    places = {"S": "cpu0", "L1": "cpu0", "L2": "cpu1", "L3": "cpu0", "T": "cpu0"}
    (finding,) = check(System(graph, (two,), (on("device", places, {"L1": "s", "L2": "s"}),), facts))
    assert "'L1' is on unit 'cpu0', 'L2' on unit 'cpu1'" in finding.message
    other, more = sliced(LINE, SLICES, file="other.tflite")
    mixed = replace(graph, actors=tuple(b if b.name == "L2" else a for a, b in zip(graph.actors, other.actors)))
    (finding,) = check(
        System(
            mixed,
            (DEVICE,),
            (on("device", dict.fromkeys(places, "cpu0"), {"L1": "s", "L2": "s"}),),
            {**facts, **more},
        )
    )
    assert "'L1' and 'L2' are slices of two model files" in finding.message


def test_a_segment_has_rate_one():
    graph = build([("a", "b", 2, 0, 4)])
    models = sliced([("a", "b")], {"a": (0, 0), "b": (1, 1)})[0]
    actors = tuple(replace(a, behaviour=b.behaviour) for a, b in zip(graph.actors, models.actors))
    mapping = on("device", {"a": "cpu0", "b": "cpu0"}, {"a": "s", "b": "s"})
    (finding,) = check(System(replace(graph, actors=actors), (DEVICE,), (mapping,)))
    assert "'a' has a port with another rate than 1" in finding.message


def test_two_instances_of_a_slice_are_no_segment():
    slices = {"A1": (0, 1), "A2": (0, 1)}
    (finding,) = fused([("S", "A1"), ("S", "A2"), ("A1", "T"), ("A2", "T")], {"A1": "s", "A2": "s"}, slices)
    assert "operator 0 is in more than one of its slices" in finding.message


def test_findings_are_in_the_order_of_the_files():
    mapping = on("device", {"a": "cpu9", "b": "cpu9", "c": "@server"})
    wrong = replace(DEVICE, units=DEVICE.units * 2)
    places = [finding.where for finding in check(System(GRAPH, (wrong,), (mapping,)))]
    assert places == [Location("device-platform.xml", 2), Location("device.xml", 2), Location("device.xml", 3)]


def test_a_broken_graph_hides_what_would_only_echo_it():
    broken = replace(GRAPH, fifos=GRAPH.fifos[:1])
    assert {finding.rule for finding in check(System(broken, (DEVICE,)))} == {"G1"}
