"""Multi-rate graphs (``--model sdf``): each answer against the execution of a graph, token by token."""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction
from itertools import count

import multi_rate as kit
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from multi_rate import multi_rate
from test_timing import changed, missed

from eprune.analysis.check import check
from eprune.analysis.cycle_ratio import max_cycle_ratio
from eprune.analysis.repair import apply
from eprune.analysis.sdf.execution import MAX_FIRINGS, Net, firing_order, least_capacity, schedule
from eprune.analysis.sdf.latency import Latencies
from eprune.analysis.sdf.loops import looped
from eprune.analysis.sdf.repetition import repetition
from eprune.analysis.sdf.rules import repaired
from eprune.analysis.sdf.sizes import least_fast, least_for, least_live
from eprune.analysis.sdf.timing import timed
from eprune.analysis.simulate import simulate
from eprune.analysis.throughput import resources
from eprune.analysis.timeline import timeline
from eprune.analysis.timing import ActorTimes, timing
from eprune.analysis.tradeoff import front
from eprune.formats.xml.sdf3 import read_sdf3
from eprune.model.finding import has_errors
from eprune.model.graph import Computation, Graph, PortRef, Requirement
from eprune.model.mapping import Mapping, Placement
from eprune.model.platform import Link, Platform, Unit
from eprune.model.system import System
from eprune.runtime.fire.schedules import unrolled
from tests.kit import sdf3
from tests.kit.effort import examples

ONE = Fraction(1)


def tried(examples_: int):
    return settings(max_examples=examples(examples_), derandomize=True, deadline=None, database=None)


def errors(graph: Graph) -> list[str]:
    return [f"{f.rule}: {f.message}" for f in check(System(graph)) if f.severity.value == "error"]


# What an iteration is.


def test_the_least_numbers_of_firings_after_which_all_is_as_before():
    assert repetition(multi_rate("A 2 3 B", "B 1 2 C")).firings == {"A": 3, "B": 2, "C": 1}


def test_an_actor_goes_through_all_of_its_phases():
    assert repetition(multi_rate("A 1,0,0 1 B", "A 1 1 C")).firings == {"A": 3, "B": 1, "C": 3}
    assert repetition(multi_rate("A 1,0 1 B", "A 1,0,0 1 C")).firings == {"A": 6, "B": 3, "C": 2}


def test_parts_that_nothing_joins_have_iterations_of_their_own():
    assert repetition(multi_rate("A 2 1 B", "C 3 1 D")).firings == {"A": 1, "B": 2, "C": 1, "D": 3}


def test_rates_that_nothing_balances_are_told_with_the_numbers_that_contradict():
    (finding,) = check(System(multi_rate("A 1 1 B", "B 1 1 C", "A 2 1 C")))
    assert finding.rule == "C1"
    assert finding.message == "FIFO 'f2': an iteration writes 1 token (1 firing of 'B') and reads 2 (2 of 'C')"
    assert [text for _, text in finding.related] == [
        "over 'f1', 1 firing of 'A' for 1 of 'B'",
        "over 'f3', 1 firing of 'A' for 2 of 'C'",
    ]


def test_a_self_loop_that_gains_tokens_is_inconsistent():
    assert errors(multi_rate("A 2 1 A 5"))[0].startswith("C1: FIFO 'f1'")


@pytest.mark.parametrize(
    ("text", "firings"),
    [
        pytest.param(sdf3.samplerate(), (147, 147, 98, 28, 32, 160), id="samplerate"),
        pytest.param(sdf3.h263decoder(), (1, 594, 594, 1), id="h263decoder"),
        pytest.param(sdf3.modem(), (16, 16, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 1), id="modem"),
    ],
)
def test_graphs_of_the_literature_have_their_repetition_vectors(tmp_path, text, firings):
    graph = published(tmp_path, text)
    assert sorted(repetition(graph).firings.values()) == sorted(firings)


def published(tmp_path, text: str) -> Graph:
    """Without the self-loops that keep firings of one actor apart: here they are."""
    (tmp_path / "graph.xml").write_text(text, encoding="utf-8")
    graph = replace(read_sdf3(str(tmp_path / "graph.xml"), ONE).graph, computation=Computation.SDF)
    loops = {ref for f in graph.fifos if f.source.actor == f.target.actor for ref in (f.source, f.target)}
    actors = []
    for actor in graph.actors:
        own = {ref.port for ref in loops if ref.actor == actor.name}
        actors.append(replace(actor, ports=tuple(port for port in actor.ports if port.name not in own)))
    return replace(graph, actors=tuple(actors), fifos=tuple(f for f in graph.fifos if f.source not in loops))


# Liveness.


@tried(400)
@given(kit.graphs(), st.integers(0, 3))
def test_a_graph_is_live_exactly_if_simulation_says_so(graph, seed):
    problems = errors(graph)
    assert all(problem[:2] in ("G5", "C2") for problem in problems), problems
    result = simulate(graph, 2, random.Random(seed))
    assert result.deadlocked == bool(problems), problems


@tried(200)
@given(kit.graphs())
def test_the_hint_mends_a_deadlock_and_no_smaller_change_of_that_fifo_does(graph):
    net = Net(graph)
    if net.live():
        return
    repair = repaired(graph, net)
    mended = replace(graph, fifos=apply(repair.changes, graph.fifos))
    assert Net(mended).live()
    if repair.smallest:
        (changed,) = repair.changes
        old = next(fifo for fifo in graph.fifos if fifo.name == changed.name)
        more, delay = changed.capacity - old.capacity, changed.delay - old.delay
        less = replace(changed, capacity=changed.capacity - 1, delay=changed.delay - (delay > 0))
        assert more > 0
        assert not Net(replace(graph, fifos=apply((less,), graph.fifos))).live()


@tried(300)
@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=3).filter(any),
    st.lists(st.integers(0, 4), min_size=1, max_size=3).filter(any),
    st.integers(0, 9),
)
def test_the_least_capacity_of_a_fifo_by_itself(out, into, delay):
    text = f"A {','.join(map(str, out))} {','.join(map(str, into))} B {delay}"
    needed = next(c for c in count(max(delay, 1)) if Net(multi_rate(f"{text} {c}")).live())
    rates = Net(multi_rate(text)).rates[0]
    assert max(least_capacity(rates, delay), 1) == needed


def test_a_deadlock_names_who_waits_for_whom_and_why():
    graph = multi_rate("Source 1 1 A", "A 2 3 B", "B 3 2 A 2")
    (finding,) = [finding for finding in check(System(graph)) if finding.rule == "C2"]
    assert finding.message == "deadlock: actors 'A' and 'B' wait for each other"
    assert [text for _, text in finding.related] == [
        "firing 1 of 2 of 'B' needs 3 tokens of 'A' over f2, which has 2",
        "firing 2 of 3 of 'A' needs 2 tokens of 'B' over f3, which has 0",
    ]
    assert finding.hint == "give f2 a delay of 2 and a capacity of 8"


def test_a_fifo_too_small_by_itself_is_a_finding_of_its_own():
    (problem,) = errors(multi_rate("A 2 3 B 0 3"))
    assert problem == "G5: FIFO 'f1': capacity 3 < 4, so it blocks for ever (rates [2,2] and [3,3], delay 0)"


def test_an_iteration_that_is_too_long_is_refused_and_says_so():
    (problem,) = errors(multi_rate("A 999983 1 B", "B 1 999979 C"))
    assert problem.startswith("C2: not proved live: an iteration has ")
    assert f"the limit is {MAX_FIRINGS}" in problem


# The rules of --model sdf.


def test_what_has_no_meaning_is_refused():
    graph = multi_rate("A 2 1 B")
    port = replace(graph.actors[1].ports[0], hold=True, required=False)
    fifo = replace(graph.fifos[0], policy=type(graph.fifos[0].policy)("drop"))
    found = errors(replace(graph, actors=(graph.actors[0], replace(graph.actors[1], ports=(port,))), fifos=(fifo,)))
    assert [problem for problem in found if problem.startswith("G8")] == [
        "G8: port B.in1 states hold, which has no meaning with --model sdf",
        "G8: port B.in1 is optional: with --model sdf nothing is lost",
        "G8: FIFO 'f1': policy drop may lose tokens, and its reader counts on each",
    ]


# Schedules.


@tried(200)
@given(kit.graphs(), st.integers(0, 5))
def test_threads_that_keep_to_their_parts_of_the_schedule_never_stop(graph, seed):
    if not Net(graph).live():
        return
    firings, draw = schedule(graph), random.Random(seed)
    assert {name: firings.count(name) for name in set(firings)} == repetition(graph).firings
    assert sorted(firing_order(graph)) == sorted(actor.name for actor in graph.actors)
    thread = {actor.name: draw.randrange(3) for actor in graph.actors}
    lists = {number: [name for name in firings if thread[name] == number] for number in set(thread.values())}
    begun, current = dict.fromkeys(lists, 0), dict.fromkeys(lists, "")

    def next_of(events):
        """Only what is next in its thread may begin."""
        for phase, actor in draw.sample(events, len(events)):
            mine = thread[actor]
            if phase == "finish":
                current[mine] = ""
                return phase, actor
            if not current[mine] and lists[mine][begun[mine] % len(lists[mine])] == actor:
                begun[mine], current[mine] = begun[mine] + 1, actor
                return phase, actor
        raise AssertionError("the threads wait for each other in a ring")

    assert not simulate(graph, 3, next_of).deadlocked


@tried(200)
@given(st.lists(st.sampled_from(["A", "B", "L1+L2"]), min_size=1, max_size=40), st.integers(1, 3))
def test_a_looped_list_is_read_as_it_was_written(firings, times):
    text = looped(firings * times)
    assert list(unrolled(text)) == firings * times
    assert len(text) <= len(" ".join(firings * times))


def test_a_looped_list_is_short():
    assert looped(["A"] * 3 + ["B", "C", "C"]) == "A*3 B C*2"
    assert looped((["A"] * 2 + ["B"]) * 25 + ["C"]) == "(A*2 B)*25 C"


# Time.


@st.composite
def timed_graphs(draw):
    graph = draw(kit.graphs(actors=3, fifos=4))
    return graph, {actor.name: Fraction(draw(st.integers(0, 6)), 2) for actor in graph.actors}


@tried(300)
@given(timed_graphs())
def test_an_iteration_takes_what_self_timed_execution_takes(drawn):
    graph, times = drawn
    if not Net(graph).live() or not any(times.values()):
        return
    model = timed(graph, times)
    cycle = max_cycle_ratio(model.times, model.edges)
    ratio = Fraction(0) if cycle is None else cycle.ratio
    assert ratio == kit.period(graph, times, repetition(graph).firings)


@st.composite
def small_graphs(draw):
    graph = draw(kit.graphs(actors=3, fifos=3, most=2))
    return graph, {actor.name: Fraction(draw(st.integers(1, 4))) for actor in graph.actors}


@tried(160)
@given(small_graphs())
def test_the_least_buffers_of_all_that_there_are(drawn):
    graph, times = drawn
    net = Net(graph)
    ample = [delay + 3 * through for delay, through in zip(net.delays, net.through)]
    if not net.live(ample):
        return  # no room makes up for a missing token
    found = least_live(graph)
    best = min(sum(each) for each in kit.all_capacities(net.delays, ample) if net.live(each))
    assert found.least
    assert sum(found.capacities.values()) == best
    firings = repetition(graph).firings
    if len(graph.fifos) > 2:
        return
    fast = least_fast(graph, times)
    full = kit.period(kit.with_capacities(graph, [each + 20 for each in ample]), times, firings)
    most = [max(each, fast.capacities[fifo.name]) for each, fifo in zip(ample, graph.fifos)]
    assert kit.period(fast.applied(graph), times, firings) == full
    assert fast.least
    for each in kit.all_capacities(net.delays, most):
        if sum(each) < sum(fast.capacities.values()):
            assert kit.period(kit.with_capacities(graph, each), times, firings) != full
    wished = least_for(graph, times, full * 2)
    pace = kit.period(wished.applied(graph), times, firings)
    assert pace is not None
    assert pace <= full * 2
    assert sum(wished.capacities.values()) <= sum(fast.capacities.values())


@pytest.mark.parametrize(
    ("text", "live", "fast"),
    [
        # S. Stuijk, M. Geilen, T. Basten, "Exploring trade-offs in buffer requirements and throughput constraints for
        # synchronous dataflow graphs", DAC 2006: the smallest distributions, and those of maximal throughput.
        pytest.param(sdf3.samplerate(), 32, 34, id="samplerate"),
        pytest.param(sdf3.modem(), 38, 40, id="modem"),
        # All tokens of a frame in the first and the last channel, and one between.
        pytest.param(sdf3.h263decoder(99), 99 + 1 + 99, None, id="h263decoder"),
    ],
)
def test_graphs_of_the_literature_need_the_buffers_that_are_published(tmp_path, text, live, fast):
    graph = published(tmp_path, text)
    assert not has_errors([finding for finding in check(System(graph)) if finding.rule == "C2"])
    found = least_live(graph)
    assert (sum(found.capacities.values()), found.least) == (live, True)
    times = {actor.name: actor.time for actor in graph.actors}
    quick = least_fast(graph, times)
    assert quick.least
    assert fast is None or sum(quick.capacities.values()) == fast
    slowest = max(repetition(graph).firings[name] * time for name, time in times.items())
    assert max_cycle_ratio(*_model(quick.applied(graph), times)).ratio >= slowest


def test_the_front_of_buffers_and_throughput_is_the_published_one():
    """The running example of the same paper: room for 6, 8, 9 or 10 tokens, 1/7 to 1/4 iterations per time unit."""
    graph = multi_rate("a 2 3 b", "b 1 2 c")
    found = front(graph, {"a": ONE, "b": 2 * ONE, "c": 2 * ONE})
    points = {sum(point.sizes.capacities.values()): 1 / point.period for point in found.points}
    assert points == {6: ONE / 7, 8: ONE / 6, 9: ONE / 5, 10: ONE / 4}
    assert found.points[0].sizes.capacities == {"f1": 4, "f2": 2}
    assert found.whole


def _model(graph, times):
    model = timed(graph, times)
    return model.times, model.edges


# Latency.


@st.composite
def deployed(draw: st.DrawFn) -> tuple[System, dict[str, Fraction]]:
    """A random graph, with sources that keep a pace or do not, alone or on one or two platforms of one thread each."""
    graph = draw(kit.graphs())
    paces = st.sampled_from([None, 1 / 3, 1 / 20])
    actors = tuple(actor if actor.inputs else replace(actor, rate=draw(paces)) for actor in graph.actors)
    graph = replace(graph, actors=actors)
    times = {actor.name: draw(st.fractions(0, 5, max_denominator=2)) for actor in actors}
    names = [f"p{number}" for number in range(draw(st.integers(0, 2)))]
    if not names:
        return System(graph), times
    homes = {actor.name: draw(st.sampled_from(names)) for actor in actors}
    bandwidths, latencies = st.sampled_from([None, 64.0, 256.0]), st.sampled_from([None, 0.5])
    platforms = tuple(
        Platform(
            name,
            (Unit("u"),),
            tuple(Link(other, bandwidth=draw(bandwidths), latency=draw(latencies)) for other in names if other != name),
        )
        for name in names
    )
    mappings = tuple(
        Mapping(
            graph.name,
            name,
            tuple(
                Placement(actor, unit="u") if home == name else Placement(actor, platform=home)
                for actor, home in homes.items()
            ),
        )
        for name in names
    )
    return System(graph, platforms, mappings), times


@pytest.mark.parametrize(
    "number", [pytest.param(150, id="some"), pytest.param(3000, id="many", marks=pytest.mark.long)]
)
def test_latency_is_that_of_the_timeline(number):
    seen = {"exact": 0, "estimate": 0}

    @settings(
        max_examples=number, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(deployed())
    def compare(drawn):
        system, times = drawn
        wrong = [f for f in check(system) if f.severity.value == "error" and f.rule not in ("M2", "M5")]
        assume(not wrong and sum(repetition(system.graph).firings.values()) <= 60)
        shared = resources(system)
        asked = Latencies(system.graph, times, shared)
        run = timeline(system.graph, times, shared, 60)
        assert not run.short
        for source, sink in asked.ways():
            found = asked(source, sink)
            ages = [each.age for each in run.ages if (each.source, each.sink) == (source, sink)]
            seen[found.kind] += 1
            if found.kind == "exact":
                last = ages[-24 * repetition(system.graph).firings[sink] :]
                assert (max(ages), max(last)) == (found.most, found.steady)
                assert sum(part.seconds for part in found.parts) == found.steady

    compare()
    assert seen["exact"]


def test_the_oldest_token_of_an_iteration_counts():
    """Three frames of 10 ms are one of B, which takes 5 ms: the first of them is 35 ms old when C begins."""
    graph = multi_rate("A 1 3 B", "B 1 1 C")
    found = Latencies(graph, {"A": ONE / 100, "B": ONE / 200, "C": ONE / 1000})("A", "C")
    assert [(part.about, part.seconds) for part in found.parts] == [("A", 3 * ONE / 100), ("B", ONE / 200)]
    assert (found.steady, found.period) == (35 * ONE / 1000, 3 * ONE / 100)


def test_requirements_of_multi_rate_graphs_are_answered():
    graph = multi_rate("A 1 3 B", "B 1 1 C")
    required = Requirement(PortRef("A", "out1"), PortRef("C", "in2"), rate=Fraction(40), latency=ONE / 10)
    times = {"A": ONE / 100, "B": ONE / 200, "C": ONE / 1000}
    (verdict,) = timing(System(replace(graph, requirements=(required,))), ActorTimes(times, times, times)).verdicts
    assert (verdict.rate.word, verdict.latency.word) == ("missed", "met")
    assert verdict.changes[0].text == "make 'A' take 8.333ms, not 10ms"


def test_more_room_is_named_where_it_meets_the_requirement():
    """C takes two tokens, 40 ms; A has room for one of three until then, so that they take turns."""
    graph = multi_rate("A 2 3 C 0 4")
    required = Requirement(PortRef("A", "out1"), PortRef("C", "in1"), rate=Fraction(20))
    times = {"A": 2 * ONE / 100, "C": 4 * ONE / 100}
    (verdict,) = timing(System(replace(graph, requirements=(required,))), ActorTimes(times, times, times)).verdicts
    assert (verdict.rate.word, verdict.changes[0].kind) == ("missed", "capacity")
    enough = int(verdict.changes[0].value["f1.capacity"])
    firings = repetition(graph).firings
    paces = {size: kit.period(kit.with_capacities(graph, [size]), times, firings) for size in range(4, enough + 1)}
    assert [size for size, pace in paces.items() if pace * 20 <= firings["C"]] == [enough]


def test_a_source_that_keeps_a_pace_does_not_fill_the_buffer():
    """B takes 10 pairs of tokens per second, and has 10 of them to go through; C fires once for two firings of A."""
    graph = multi_rate("A 1 2 B 0 20", "B 1 1 C")
    required = Requirement(PortRef("A", "out1"), PortRef("C", "in2"), latency=3 * ONE / 10)
    times = {"A": ONE / 100, "B": ONE / 10, "C": ONE / 1000}
    (verdict,) = timing(System(replace(graph, requirements=(required,))), ActorTimes(times, times, times)).verdicts
    (change,) = [each for each in verdict.changes if each.kind == "source"]
    assert (change.about, change.value) == ("A", {"rate": 20.0})


@pytest.mark.parametrize(
    "number", [pytest.param(120, id="some"), pytest.param(1500, id="many", marks=pytest.mark.long)]
)
def test_each_change_by_itself_meets_a_requirement_of_a_multi_rate_graph(number):
    seen = dict.fromkeys(("capacity", "source", "actor"), 0)

    @settings(
        max_examples=number, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(deployed(), st.data())
    def compare(drawn, data):
        system, times = drawn
        wrong = [f for f in check(system) if f.severity.value == "error" and f.rule not in ("M2", "M5")]
        assume(not wrong and sum(repetition(system.graph).firings.values()) <= 40)
        one = missed(data, system.graph, Latencies(system.graph, times, resources(system)))
        system = replace(system, graph=replace(system.graph, requirements=(one,)))
        known = ActorTimes(times, times, times)
        (verdict,) = timing(system, known).verdicts
        for change in verdict.changes:
            if change.kind not in seen:
                continue
            (after,) = timing(*changed(system, known, change)).verdicts
            # Within a millionth, for values are written as floats.
            old = after.latencies and one.latency and after.latencies[1].steady <= one.latency * (1 + ONE / 10**4)
            fast = one.rate and after.periods[1] * one.rate <= 1 + ONE / 10**4
            assert old or fast, (change, after)
            seen[change.kind] += 1

    compare()
    assert seen["capacity"] and seen["actor"], seen
