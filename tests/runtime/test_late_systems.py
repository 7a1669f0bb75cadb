"""Nobody waits for the late: systems in the simulator, in which something freezes, hangs, restarts or is cut off."""

from __future__ import annotations

import random
from statistics import median

import pytest

from tests.kit.late_checks import complaints, order, random_fault, random_history, random_net, run
from tests.kit.late_simulator import Edge, Fault, Firing, Net, Node, Simulator

PERIOD = 0.1
T = 0.5
LATENCY = 0.005


def mesh(endpoints: int, servers: int, policy: str = "drop", timeout: float = T, required: bool = False) -> Net:
    """K(servers, endpoints): each endpoint sends to each server, which fires on what it has."""
    return Net(
        (
            *(Node(f"E{e}", f"e{e}", PERIOD) for e in range(endpoints)),
            *(Node(f"S{s}", f"s{s}", 0.01) for s in range(servers)),
        ),
        tuple(
            Edge(f"E{e}", f"S{s}", policy, 4, LATENCY, timeout, required)
            for e in range(endpoints)
            for s in range(servers)
        ),
    )


def simulate(net: Net, *faults: Fault, until: float) -> Simulator:
    simulator = Simulator(net, faults, until)
    simulator.run()
    assert order(simulator) == []
    return simulator


def longest_pause(trace: list[Firing]) -> float:
    return max(after.begin - before.begin for before, after in zip(trace, trace[1:]))


def between(trace: list[Firing], begin: float, end: float) -> list[Firing]:
    return [firing for firing in trace if begin <= firing.begin < end]


def uses(trace: list[Firing], fifo: str) -> int:
    return sum(fifo in firing.used for firing in trace)


@pytest.mark.parametrize("kind", ["freeze", "restart", "cut"])
@pytest.mark.parametrize("length", [1, 4, 12, 60])
def test_the_other_endpoint_keeps_its_pace_whatever_happens_to_one(kind, length):
    where = "e0 s0" if kind == "cut" else "e0"
    end = 5.0 + length
    simulator = simulate(mesh(2, 1), Fault(kind, where, 5.0, end), until=end + 10)
    for name in ("E1", "S0"):
        trace = simulator.trace[name]
        assert longest_pause(trace) <= T + PERIOD + 0.05
        assert len(trace) >= (end + 9 - T) / PERIOD
    # The returned one counts with its next token.
    back = between(simulator.trace["S0"], end + 0.06 + 2 * PERIOD, end + 10)
    assert uses(back, "E0-S0") == uses(back, "E1-S0") == len(back)


def test_a_camera_that_hangs_holds_up_nobody_and_returns_with_its_newest_frame():
    simulator = simulate(mesh(2, 1), Fault("hang", "E0", 5.0, 17.0), until=30.0)
    trace = simulator.trace["S0"]
    assert longest_pause(trace) <= T + PERIOD + 0.05
    back = between(trace, 17.2, 30.0)
    assert uses(back, "E0-S0") == len(back)
    ages = [firing.begin - firing.used["E0-S0"].frames["E0"] for firing in back]
    assert max(ages) < 2 * PERIOD


def test_a_slow_endpoint_is_used_with_each_token_and_slows_nobody():
    simulator = simulate(mesh(2, 1, timeout=0.3), Fault("slow", "E0", 5.0, 100.0), until=35.0)
    trace = between(simulator.trace["S0"], 5.0, 35.0)
    made = len(between(simulator.trace["E0"], 5.0, 35.0))
    assert uses(trace, "E0-S0") >= made - 1
    # There are at most two time-outs in twenty time-outs' time.
    assert simulator.actors["S0"].matcher.timeouts <= 2 + 2 * 30 / (20 * 0.3)
    assert len(trace) >= 0.9 * 30 / PERIOD


def test_a_server_that_hangs_holds_up_neither_endpoints_nor_the_other_server():
    simulator = simulate(mesh(2, 2), Fault("hang", "S0", 5.0, 15.0), until=25.0)
    for name in ("E0", "E1", "S1"):
        assert longest_pause(simulator.trace[name]) <= T / 5 + 2 * PERIOD + 0.05
    back = between(simulator.trace["S0"], 16.0, 25.0)
    assert uses(back, "E0-S0") == uses(back, "E1-S0") == len(back) >= 85


def test_a_short_stall_leaves_live_data_fresh():
    """Under drop, what waited is fired on one after the other, and stays old; the newest is not."""
    ages = {}
    for policy in ("drop", "newest"):
        simulator = simulate(mesh(2, 1, policy), Fault("freeze", "e0", 5.0, 5.4), until=20.0)
        late = between(simulator.trace["S0"], 10.0, 20.0)
        ages[policy] = median(firing.begin - firing.used["E1-S0"].frames["E1"] for firing in late)
    # A FIFO of capacity 4 has room for one token in a firing and three that wait.
    assert ages["newest"] <= ages["drop"]


def test_a_slow_sink_of_live_data_sees_the_newest_frame():
    net = Net(
        (Node("C", "c", 0.01), Node("S", "s", 0.1)),
        (Edge("C", "S", "newest", 2, LATENCY, T, True),),
    )
    trace = simulate(net, until=10.0).trace["S"]
    ages = [firing.begin - firing.used["C-S"].frames["C"] for firing in trace]
    assert median(ages) <= 0.1 + 0.01 + 2 * LATENCY
    assert len(trace) >= 95


def test_a_slow_sensor_that_is_held_does_not_slow_a_fast_one():
    net = Net(
        (Node("F", "f", 0.01), Node("H", "h", 0.2), Node("J", "s", 0.001)),
        (Edge("F", "J", required=True), Edge("H", "J", "newest", 2, hold=True, required=True)),
    )
    trace = simulate(net, until=10.0).trace["J"]
    assert len(trace) >= 970
    assert all("H-J" in firing.used for firing in trace)
    assert max(firing.begin - firing.used["H-J"].frames["H"] for firing in trace) <= 0.2 + 0.03


def test_the_arms_of_a_diamond_stay_in_step_whatever_is_lost():
    net = Net(
        (Node("A", "left", PERIOD), Node("X", "mid", 0.03), Node("J", "left", 0.01)),
        (Edge("A", "X", "drop", 4, 0.01, T, True), Edge("A", "J", "", 20, 0.0, None, True), Edge("X", "J", "drop", 4)),
    )
    faults = (
        Fault("freeze", "mid", 5.0, 9.0),
        Fault("restart", "mid", 30.0, 33.0),
        Fault("cut", "left mid", 60.0, 61.0),
    )
    trace = simulate(net, *faults, until=90.0).trace["J"]
    assert longest_pause(trace) <= T + T / 5 + 2 * PERIOD
    assert len(trace) >= 890
    for begin, end in ((10.0, 30.0), (34.0, 60.0), (62.0, 90.0)):
        back = between(trace, begin, end)
        assert uses(back, "X-J") >= len(back) - 1


def test_cameras_of_one_scene_are_in_step_again_by_their_clock():
    net = Net(
        (
            Node("A", "a", PERIOD, clock=1 / PERIOD),
            Node("B", "b", PERIOD, clock=1 / PERIOD),
            Node("J", "s", 0.01),
        ),
        (Edge("A", "J"), Edge("B", "J")),
    )
    for fault in (Fault("freeze", "a", 5.0, 9.0), Fault("hang", "A", 5.0, 9.0), Fault("restart", "a", 5.0, 9.0)):
        trace = simulate(net, fault, until=20.0).trace["J"]
        assert longest_pause(trace) <= T + PERIOD + 0.05
        back = between(trace, 9.5, 20.0)
        assert uses(back, "A-J") == uses(back, "B-J") == len(back)
        apart = [firing.used["A-J"].frames["A"] - firing.used["B-J"].frames["B"] for firing in back]
        assert max(map(abs, apart)) < PERIOD / 2


@pytest.mark.parametrize("fault", [None, Fault("cut", "e0 s0", 2.5, 8.0), Fault("freeze", "s0", 2.5, 8.0)])
def test_the_end_of_a_stream_gets_through(fault):
    net = mesh(2, 1)
    net = Net((Node("E0", "e0", PERIOD, frames=30), Node("E1", "e1", PERIOD, frames=30), net.nodes[2]), net.edges)
    simulator = simulate(net, *([fault] if fault else []), until=20.0)
    assert all(actor.ended for actor in simulator.actors.values())


def test_a_consumer_waits_no_longer_than_patience_for_a_producer_that_is_gone():
    net = mesh(2, 1)
    net = Net((net.nodes[0], net.nodes[1], Node("S0", "s0", 0.01, patience=10.0)), net.edges)
    dead = [Fault("restart", where, 5.0, 1000.0) for where in ("e0", "e1")]
    simulator = simulate(net, *dead, until=14.0)
    assert not simulator.actors["S0"].ended
    assert simulate(net, *dead, until=16.0).actors["S0"].ended


def test_a_party_that_fails_again_and_again_costs_little():
    faults = [Fault("freeze", "e0", 5.0 + 3 * count, 6.5 + 3 * count) for count in range(20)]
    trace = simulate(mesh(2, 1), *faults, until=70.0).trace["S0"]
    assert longest_pause(trace) <= T + PERIOD + 0.05
    lost = 695 - len(between(trace, 0.0, 69.6))
    # Two time-outs in twenty time-outs' time cost a tenth; each costs the firings that would have been meanwhile.
    assert lost <= 0.1 * 700 + 10


@pytest.mark.parametrize("seed", range(0, 100, 10))
def test_in_random_systems_nobody_waits_for_the_late(seed):
    check(range(seed, seed + 10))


@pytest.mark.parametrize("seed", range(0, 20, 5))
def test_after_random_histories_everybody_counts_again(seed):
    check(range(seed, seed + 5), several=True)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1000, 4000, 100))
def test_in_many_random_systems_nobody_waits_for_the_late(seed):
    check(range(seed, seed + 100))
    check(range(seed, seed + 20), several=True)


def check(seeds: range, several: bool = False) -> None:
    """Random systems, with a failure each or with ``several``."""
    wrong = {}
    for seed in seeds:
        rng = random.Random(seed)
        net = random_net(rng)
        faults = random_history(rng, net) if several else (random_fault(rng, net),)
        found = complaints(run(net, *faults))
        if found:
            wrong[seed] = (faults, found)
    assert wrong == {}
