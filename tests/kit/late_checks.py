"""Random nets with a fault each, and what must hold in them: pace, pause, use, age, order."""

from __future__ import annotations

import random
from dataclasses import replace

from eprune.runtime.fire.matched_ports import PROBATION, ROOM_SHARE
from tests.kit.late_simulator import Edge, Fault, Firing, Net, Node, Simulator

#: the time-out of a source's tokens, before what is added for pauses; that for room, a fifth, exceeds all periods
BASE = 0.75
PERIOD = 0.1
#: a net comes to rest before its fault begins
CALM = 5.0


def with_timeouts(net: Net) -> Net:
    """The net with time-outs that exceed the pauses of the producer and the differences in latency."""
    edges = {edge.name: edge for edge in net.edges}
    for node in net.nodes:
        timeout = (BASE + 1.2 * _pause_before(Net(net.nodes, tuple(edges.values())), node.name)) / (
            1 - 1.2 * ROOM_SHARE
        )
        for edge in net.outputs(node.name):
            limited = edge.policy or not edge.required
            edges[edge.name] = replace(edge, timeout=timeout if limited else None)
    return Net(net.nodes, tuple(edges.values()))


def _pause_before(net: Net, name: str) -> float:
    """The longest that an actor waits for tokens: the time-outs on one path to it, added up."""
    inputs = net.inputs(name)
    if not inputs:
        return 0.0
    return max(pause(net, edge.source) for edge in inputs) + max(edge.timeout or 0.0 for edge in inputs)


def pause(net: Net, name: str) -> float:
    """The longest that an actor waits for tokens and room."""
    room = max((edge.timeout or 0.0 for edge in net.outputs(name)), default=0.0) * ROOM_SHARE
    return _pause_before(net, name) + room


def bound(net: Net, name: str) -> float:
    """The longest pause of an actor that does not need what fails.

    An actor pauses with those that it is joined to by a FIFO that cannot lose tokens, in both directions.
    """
    joined = {name}
    while True:
        more = {edge.source for edge in net.edges if edge.target in joined}
        more |= {edge.target for edge in net.edges if edge.source in joined and not edge.policy}
        if more <= joined:
            return max(pause(net, other) for other in joined)
        joined |= more


def period(net: Net) -> float:
    """The longest period of a source: a join by arrival takes the others along at that pace."""
    return max(node.time for node in net.nodes)


def needing(net: Net, fault: Fault) -> set[str]:
    """The actors that cannot do without what fails."""
    homes = {node.name: node.platform for node in net.nodes}
    pair = set(fault.where.split()) if fault.kind == "cut" else set()
    lost = {node.name for node in net.nodes if fault.where in (node.name, node.platform)}
    while True:
        more = set()
        for node in net.nodes:
            inputs = net.inputs(node.name)
            broken = [
                edge
                for edge in inputs
                if edge.source in lost or (pair and {homes[edge.source], homes[edge.target]} == pair)
            ]
            live = [edge for edge in inputs if edge not in broken or edge.policy == "zero"]
            if any(edge.required and edge.policy != "zero" for edge in broken) or (inputs and len(live) < node.quorum):
                more.add(node.name)
            if any(edge.policy == "" and edge.target in lost for edge in net.outputs(node.name)):
                more.add(node.name)
        if more <= lost:
            return lost
        lost |= more


def uneven(net: Net) -> bool:
    """Whether its sources have different rates."""
    return len({node.time for node in net.nodes if not net.inputs(node.name)}) > 1


def meets_again(net: Net) -> bool:
    """Whether ways from one source meet again where what they lose shifts them, so that nothing is promised.

    That is behind an actor that numbers its own firings, for they are matched by arrival; where a FIFO on the way keeps
    the newest; where an actor on the way fires on zeros alone, a time-out behind the other way; and where sources of
    different rates are joined, so that the faster one always lacks room.
    """
    lines = net.lines()
    sources: dict[str, set[str]] = {}
    live: dict[str, bool] = {}  # whether what it makes has gaps of its own, or comes late
    for node in net.nodes:
        by_line: dict[int, list[Edge]] = {}
        for edge in net.inputs(node.name):
            by_line.setdefault(lines[edge.name], []).append(edge)
        origins = [set().union(*(sources[edge.source] for edge in line)) for line in by_line.values()]
        sources[node.name] = set().union(*origins) or {node.name}
        inputs = net.inputs(node.name)
        live[node.name] = any(edge.policy == "newest" or live[edge.source] for edge in inputs)
        live[node.name] |= bool(inputs) and all(edge.policy == "zero" for edge in inputs)
        if by_line and sum(map(len, origins)) > len(sources[node.name]):
            return True
        for line in by_line.values():
            if len(line) > 1 and (uneven(net) or any(edge.policy == "newest" or live[edge.source] for edge in line)):
                return True
    return False


def random_net(rng: random.Random) -> Net:
    """One to three sources, workers and joins behind them, joins behind joins."""
    while True:
        net = _random_net(rng)
        if not meets_again(net):
            return net


def _random_net(rng: random.Random) -> Net:
    nodes: list[Node] = []
    edges: list[Edge] = []
    clock = 1 / PERIOD if rng.random() < 0.25 else None
    same = clock is not None or rng.random() < 0.5
    for number in range(rng.randint(1, 3)):
        time = PERIOD if same else PERIOD * rng.uniform(0.85, 1.15)
        nodes.append(Node(f"S{number}", f"p{number}", time, clock=clock))
    for number in range(rng.randint(1, 5)):
        home = rng.choice([node.platform for node in nodes] + [f"q{number}"] * len(nodes))
        count = min(rng.choice([1, 2, 2, 3]), len(nodes))
        name = f"A{number}"
        sources = rng.sample(nodes, count)
        required = [count == 1 or rng.random() < 0.2 for _ in sources]
        for source, need in zip(sources, required):
            local = source.platform == home
            policy = rng.choice(["", "newest", "drop"] if local else ["drop", "drop", "newest", "zero"])
            capacity = rng.randint(2, 4) if policy == "newest" else rng.randint(4, 8)
            edges.append(Edge(source.name, name, policy, capacity, rng.uniform(0.001, 0.03), required=need))
        nodes.append(Node(name, home, rng.uniform(0.002, 0.03)))
    return with_timeouts(Net(tuple(nodes), tuple(edges)))


def random_fault(rng: random.Random, net: Net) -> Fault:
    """Something fails for between a tenth of a second and some seconds."""
    kind = rng.choice(["freeze", "freeze", "restart", "hang", "cut"])
    begin = CALM + rng.uniform(0, 1)
    end = begin + rng.choice([rng.uniform(0.1, 0.6), rng.uniform(0.6, 2.0), rng.uniform(2.0, 12.0)])
    homes = {node.name: node.platform for node in net.nodes}
    links = sorted({" ".join(sorted({homes[e.source], homes[e.target]})) for e in net.edges})
    links = [link for link in links if " " in link]
    if kind == "cut" and links:
        return Fault("cut", rng.choice(links), begin, end)
    if kind == "hang":
        return Fault("hang", rng.choice(net.nodes).name, begin, end)
    return Fault("freeze" if kind == "cut" else kind, rng.choice(sorted(set(homes.values()))), begin, end)


def random_history(rng: random.Random, net: Net) -> tuple[Fault, ...]:
    """Some failures, one after the other."""
    faults: list[Fault] = []
    shift = 0.0
    for _ in range(3):
        fault = random_fault(rng, net)
        faults.append(replace(fault, begin=fault.begin + shift, end=fault.end + shift))
        shift = faults[-1].end - CALM + rng.uniform(0.1, 6.0)
    return tuple(faults)


def run(net: Net, *faults: Fault) -> Simulator:
    """The net with these faults, until well after the last one's end."""
    longest = max(pause(net, node.name) for node in net.nodes)
    after = _recovery(net)
    if len(faults) > 1:  # who relapsed is on probation
        after += PROBATION * max(edge.timeout or 0.0 for edge in net.edges)
    simulator = Simulator(net, faults, faults[-1].end + longest + after)
    simulator.run()
    return simulator


def _recovery(net: Net) -> float:
    """Seconds after which all is as before, but for the pauses.

    Where arms of different room are matched by index, and what they make by arrival, the one with less room relapses
    until what the other one has buffered is used up.
    """
    lines = net.lines()
    for node in net.nodes:
        having = [lines[edge.name] for edge in net.inputs(node.name)]
        if 1 < len(set(having)) < len(having):
            return 30.0
    return 8.0


def complaints(simulator: Simulator) -> list[str]:
    """What does not hold. Pauses are looked at where there is one fault only."""
    net = simulator.net
    found = order(simulator)
    for node in net.nodes:
        trace = [firing for firing in simulator.trace[node.name] if firing.begin > CALM - 1]
        if len(simulator.faults) == 1 and node.name not in needing(net, simulator.faults[0]):
            found += _steady(simulator, node, trace)
        found += _returned(simulator, node, trace)
    return found


def order(simulator: Simulator) -> list[str]:
    """Indices increase, nothing is fired twice, what belongs together is fired together."""
    found = []
    for name, trace in simulator.trace.items():
        for before, after in zip(trace, trace[1:]):
            if after.index <= before.index:
                found.append(f"{name}: index {after.index} after {before.index}")
        for firing in trace:
            found += _mixed(simulator, name, firing)
    found += [f"{fifo}: token {serial} used {n} times" for (fifo, serial), n in simulator.used.items() if n > 1]
    found += [
        f"{fifo}: slot of {serial} released {n} times" for (fifo, serial), n in simulator.released.items() if n > 1
    ]
    return found


def _mixed(simulator: Simulator, name: str, firing: Firing) -> list[str]:
    lines: dict[int, set[int]] = {}
    for fifo, token in firing.used.items():
        lines.setdefault(simulator.lines[fifo], set()).add(token.index)
    return [f"{name}: indices {have} in one firing" for line, have in lines.items() if line >= 0 and len(have) > 1]


def _steady(simulator: Simulator, node: Node, trace: list[Firing]) -> list[str]:
    """An actor that does not need what failed: its pauses and its pace."""
    net = simulator.net
    found = []
    ends = [simulator.horizon - 0.2]
    times = [firing.begin for firing in trace] + ends
    step = period(net)
    most = bound(net, node.name) + 2 * step + 0.1
    longest, when = max((b - a, a) for a, b in zip(times, times[1:])) if len(times) > 1 else (99.0, 0.0)
    if longest > most:
        found.append(f"{node.name}: pause of {longest:.2f} at {when:.2f}, bound {most:.2f}")
    last = [time for time in times[:-1] if time > simulator.horizon - 6]
    # Joins by arrival pass on each other's pauses for room, where a faster source always lacks some.
    share = 0.6 if uneven(net) else 0.9
    if len(last) < share * 5.8 / step:
        found.append(f"{node.name}: {len(last)} firings in the last 6 s, period {step:.3f}")
    return found


def _returned(simulator: Simulator, node: Node, trace: list[Firing]) -> list[str]:
    """After the return everybody fires on everything again, and on nothing that is old."""
    net = simulator.net
    last = [firing for firing in trace if firing.begin > simulator.horizon - 6]
    if not last:
        return [f"{node.name}: does not fire any more"]
    found = []
    for edge in net.inputs(node.name):
        count = sum(edge.name in firing.used for firing in last)
        if count < 0.85 * len(last):
            found.append(f"{node.name}: {edge.name} used in {count} of the last {len(last)} firings")
    return found
