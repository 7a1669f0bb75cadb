"""Time-outs that follow what tokens take: estimates, what peers tell each other, and devices that share layers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eprune.runtime.fire.matched_ports import Inlet, Standing
from eprune.runtime.kernel.adaptive import CEILING, WARM, AdaptiveTimeout
from tests.kit.late_checks import order
from tests.kit.late_simulator import Edge, Fault, Net, Node, Simulator
from tests.kit.matching import Owner

MS = 1e-3


def adapting(*waits: float, floor: float = 5 * MS, ceiling: float = 200 * MS) -> tuple[AdaptiveTimeout, Inlet]:
    timeout, inlet = AdaptiveTimeout(), Inlet("a", "drop", timeout=ceiling)
    timeout.add(inlet, floor, ceiling)
    waiting = timeout.waits(ceiling)
    for wait in waits:
        waiting.took(wait)
    return timeout, inlet


def test_the_ceiling_holds_until_enough_waits_are_known():
    assert adapting(*[MS] * (WARM - 1))[1].timeout == 200 * MS
    assert adapting(*[MS] * WARM)[1].timeout < 10 * MS


def test_steady_waits_lead_to_the_floor_and_never_below():
    assert adapting(*[0.0] * 100)[1].timeout == 5 * MS
    assert adapting(*[MS] * 100)[1].timeout == 5 * MS
    assert adapting(*[20 * MS] * 100)[1].timeout == pytest.approx(40 * MS, rel=0.1)


def test_waits_that_scatter_are_allowed_for():
    _, inlet = adapting(*[10 * MS, 30 * MS] * 100)
    assert inlet.timeout is not None and 60 * MS < inlet.timeout < 160 * MS


@given(st.lists(st.floats(0, 1), max_size=60), st.lists(st.integers(1, CEILING), max_size=4))
def test_a_time_out_stays_between_its_bounds_and_no_shorter_than_anyone_asks_for(waits, heard):
    timeout, inlet = adapting(*waits)
    alone = inlet.timeout
    for peer, level in enumerate(heard):
        timeout.heard(f"device{peer}", level)
    assert inlet.timeout is not None and alone is not None
    assert 5 * MS <= inlet.timeout <= 200 * MS
    assert inlet.timeout >= alone
    assert all(inlet.timeout >= min(0.2 * 2 ** ((level - CEILING) / 8), 0.2) - 1e-9 for level in heard)
    for peer in range(len(heard)):
        timeout.forget(f"device{peer}")
    assert inlet.timeout == alone


def test_what_a_peer_asks_for_counts_only_while_it_lives():
    timeout, inlet = adapting(*[0.0] * 100)
    timeout.heard("device2", CEILING - 8)
    assert inlet.timeout == 100 * MS
    timeout.forget("device2")
    assert inlet.timeout == 5 * MS


def test_an_outage_is_no_wait():
    waits = [2 * MS] * 50
    assert adapting(*waits, 5.0, 60.0)[1].timeout == adapting(*waits)[1].timeout


def owner() -> tuple[Owner, Inlet, Inlet]:
    timeout = AdaptiveTimeout()
    own, other = Inlet("own"), Inlet("other", "drop", required=False, timeout=200 * MS)
    timeout.add(other, 5 * MS, 200 * MS)
    other.waits = timeout.waits(200 * MS)
    return Owner(own, other), own, other


def test_a_firing_tells_how_long_it_waited_and_one_in_vain_tells_nothing():
    actor, _, other = owner()
    for index in range(40):
        actor.give("own", index, at=float(index))
        assert actor.fires(index) is None
        actor.give("other", index, at=index + 40 * MS)
        assert actor.fires(index + 40 * MS) == {"own": index, "other": index}
    assert other.timeout == pytest.approx(80 * MS, rel=0.1)
    actor.give("own", 40, at=40.0)
    assert actor.fires(40.0) is None
    before = other.timeout
    assert actor.fires(40.0 + before) == {"own": 40}
    assert other.timeout == before


def test_tokens_that_come_a_little_too_late_lengthen_the_time_out_and_count_again():
    """A link that becomes slower is not given up for good."""
    actor, _, other = owner()
    now, missed = 0.0, []
    for index in range(200):
        late = 1 * MS if index < 100 else 30 * MS
        actor.give("own", index, at=now)
        fired = actor.fires(now)
        assert fired is None or index > 99
        if other.timeout and late > other.timeout and fired is None:
            fired = actor.fires(now + other.timeout)
        actor.give("other", index, at=now + late)
        fired = fired or actor.fires(now + late)
        if "other" not in fired:
            missed.append(index)
        now += 0.1
    assert missed
    assert max(missed) < 150, "it is waited for again, and in time"
    assert other.timeout is not None and other.timeout > 30 * MS


# Devices that share layers


def layers(devices: int, count: int, floor: float = 5 * MS, ceiling: float = 200 * MS, uneven: float = 0.0) -> Net:
    """Each device computes a part of each layer and gathers the others' parts; ``uneven``: how much slower the last."""
    nodes, edges = [Node(f"S{d}", f"d{d}", 0.05, clock=20.0) for d in range(devices)], []
    for k in range(count):
        wait = 1 + (k + 1) / 8
        slower = [uneven * (d == devices - 1) for d in range(devices)]
        nodes += [Node(f"L{d}.{k}", f"d{d}", 1 * MS + slower[d]) for d in range(devices)]
        nodes += [Node(f"X{d}.{k}", f"d{d}", 0.1 * MS) for d in range(devices)]
        for d in range(devices):
            before = f"S{d}" if k == 0 else f"X{d}.{k - 1}"
            edges += [
                Edge(before, f"L{d}.{k}", "", timeout=None, latency=0.0, required=True),
                Edge(f"L{d}.{k}", f"X{d}.{k}", "", timeout=None, latency=0.0, required=True),
            ]
            edges += [
                Edge(f"L{p}.{k}", f"X{d}.{k}", timeout=ceiling * wait, floor=floor * wait, latency=1 * MS, group=True)
                for p in range(devices)
                if p != d
            ]
    return Net(tuple(nodes), tuple(edges))


def survivors_miss(simulator: Simulator, gone: int, devices: int, after: float) -> list[tuple[str, float]]:
    """Firings of exchanges on living devices that lacked another living device's part."""
    missed = []
    for name, trace in simulator.trace.items():
        if name.startswith("X") and not name.startswith(f"X{gone}."):
            device, layer = name[1:].split(".")
            wanted = {f"L{p}.{layer}-{name}" for p in range(devices) if p not in (gone, int(device))}
            missed += [(name, f.begin) for f in trace if f.begin > after and not wanted <= set(f.used)]
    return missed


@pytest.mark.parametrize("kind", ["freeze", "restart"])
@pytest.mark.parametrize(("uneven", "devices"), [(0.0, 3), (10 * MS, 3), (0.0, 4)])
def test_a_device_that_stands_still_costs_one_short_time_out_and_no_part_of_the_others(kind, uneven, devices):
    """The time-out is what healthy devices take, not the ceiling, and nobody gives up who only waits for a third."""
    gone = 0
    simulator = Simulator(layers(devices, 2, uneven=uneven), (Fault(kind, f"d{gone}", 3.02, 6.02),), 8.0)
    simulator.run()
    assert order(simulator) == []
    assert survivors_miss(simulator, gone, devices, 2.0) == []
    last = simulator.trace[f"X{devices - 1}.1"]
    pauses = [after.begin - before.begin for before, after in zip(last, last[1:]) if before.begin > 2.0]
    assert max(pauses) < 0.05 + 40 * MS  # a period, and what healthy devices take
    back = [firing for firing in last if firing.begin > 7.0]
    assert back and all(f"L{gone}.1-X{devices - 1}.1" in firing.used for firing in back)


def test_with_a_time_out_of_its_own_a_fast_device_gives_up_one_that_waits_for_a_third():
    """Why peers tell each other: this is what happens if they do not."""

    class Deaf(AdaptiveTimeout):
        def heard(self, peer: str, level: int) -> None:
            pass

    net = layers(3, 3)
    # Only the second device waits long, and only in the last layer: the others never see it.
    slow = {"L2.2-X1.2"}
    net = replace(net, edges=tuple(replace(e, latency=25 * MS) if e.name in slow else e for e in net.edges))
    missing = {}
    for kind in (AdaptiveTimeout, Deaf):
        simulator = Simulator(net, (Fault("freeze", "d2", 3.02, 3.6),), 5.0)
        for timeout in simulator.adaptive.values():
            timeout.__class__ = kind
        simulator.run()
        missing[kind] = survivors_miss(simulator, 2, 3, 2.0)
    assert not missing[AdaptiveTimeout]
    assert missing[Deaf]


def test_ports_of_one_group_share_their_verdict_over_all_actors():
    """One time-out per failure, however many layers there are."""
    standing = Standing()
    first = Owner(Inlet("own"), Inlet("other", "drop", required=False, timeout=1.0, standing=standing))
    second = Owner(Inlet("own"), Inlet("other", "drop", required=False, timeout=2.0, standing=standing))
    first.give("own", 0)
    second.give("own", 0, at=1.1)
    assert first.fires(0.0) is None
    assert first.fires(1.0) == {"own": 0}
    assert second.fires(1.1) == {"own": 0}
