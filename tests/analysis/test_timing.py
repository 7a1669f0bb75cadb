"""Requirements are answered as they turn out in a simulated run, and what is said to meet them does."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from fractions import Fraction

import pytest
from deployed_systems import deployed_systems, mapped
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sample_graphs import build

from eprune.analysis.changes import Change
from eprune.analysis.expected import expected
from eprune.analysis.latency import Asking, Latencies
from eprune.analysis.throughput import ALONE, Resources, resources
from eprune.analysis.timing import ActorTimes, in_row, timing
from eprune.formats.xml.application import read_application
from eprune.model.finding import Severity
from eprune.model.graph import Graph, PortRef, Requirement
from eprune.model.platform import Link, Platform, Unit
from eprune.model.system import System

relaxed = {"deadline": None, "suppress_health_check": list(HealthCheck)}


def times(**given_times: str) -> ActorTimes:
    fixed = {name: Fraction(time) for name, time in given_times.items()}
    return ActorTimes(fixed, fixed, fixed)


def required(graph: Graph, source: str, target: str, **asked: str) -> Graph:
    exact = {name: Fraction(value) for name, value in asked.items()}
    one = Requirement(PortRef(*source.split(".")), PortRef(*target.split(".")), **exact)
    return replace(graph, requirements=(one,))


def paced(graph: Graph, **rates: float) -> Graph:
    return replace(graph, actors=tuple(replace(actor, rate=rates.get(actor.name)) for actor in graph.actors))


def on_p_and_q(graph: Graph, **homes: str) -> System:
    """On two platforms of two units each, whose links take no time. ``homes``: actor -> "platform/unit"."""
    units = (Unit("u0"), Unit("u1"))
    platforms = tuple(Platform(p, units, (Link(q, address="10.0.0.1"),)) for p, q in (("p", "q"), ("q", "p")))
    return System(graph, platforms, mapped("pq", homes))


def changed(system: System, known: ActorTimes, change: Change) -> tuple[System, ActorTimes]:
    """What a user does with the advice."""
    graph, typical = system.graph, dict(known.typical)
    if change.kind == "capacity":
        sizes = {key.rpartition(".")[0]: (key.rpartition(".")[2], int(size)) for key, size in change.value.items()}
        fifos = [replace(f, **{sizes[f.name][0]: sizes[f.name][1]}) if f.name in sizes else f for f in graph.fifos]
        graph = replace(graph, fifos=tuple(fifos))
    elif change.kind == "source":
        rate = change.value["rate"]
        graph = replace(
            graph, actors=tuple(replace(a, rate=rate) if a.name == change.about else a for a in graph.actors)
        )
    elif change.kind == "actor":
        typical[change.about] = Fraction(change.value["time_s"])
    elif change.kind == "unit":
        home = tuple(change.about.split("/"))
        factor = Fraction(change.value["times_as_fast"])
        typical = {name: t / factor if system.units.get(name) == home else t for name, t in typical.items()}
    else:
        origin, _, to = change.about.partition(" -> ")
        platforms = []
        for platform in system.platforms:
            links = tuple(
                replace(link, bandwidth=change.value["bandwidth"])
                if (platform.name, link.to) == (origin, to) and link.bandwidth
                else link
                for link in platform.links
            )
            platforms.append(replace(platform, links=links))
        system = replace(system, platforms=tuple(platforms))
    return replace(system, graph=graph), ActorTimes(typical, typical, typical)


def missed(data: st.DataObject, graph: Graph, asked: Asking) -> Requirement:
    """A rate or a latency that a system does not keep."""
    assume(asked.ways())
    source, sink = data.draw(st.sampled_from(asked.ways()))
    found = asked(source, sink)
    assume(found.steady and found.period)
    part = data.draw(st.fractions("1/5", "9/10", max_denominator=20))
    wish = {"latency": found.steady * part} if data.draw(st.booleans()) else {"rate": 1 / (found.period * part)}
    actors = {actor.name: actor for actor in graph.actors}
    return Requirement(
        PortRef(source, actors[source].outputs[0].name), PortRef(sink, actors[sink].inputs[0].name), **wish
    )


@pytest.mark.parametrize(
    "examples", [pytest.param(15, id="some"), pytest.param(600, id="many", marks=pytest.mark.long)]
)
def test_each_change_by_itself_meets_the_requirement(examples):
    seen: Counter[str] = Counter()

    @settings(max_examples=examples, **relaxed)
    @given(deployed_systems(actors=5, platforms=2), st.data())
    def compare(drawn, data):
        system, typical = drawn
        known = ActorTimes(typical, typical, typical)
        one = missed(data, system.graph, Latencies(system.graph, typical, resources(system)))
        system = replace(system, graph=replace(system.graph, requirements=(one,)))
        (verdict,) = timing(system, known).verdicts
        assert "missed" in (verdict.rate.word, verdict.latency.word)
        for change in verdict.changes:
            better, then = changed(system, known, change)
            (after,) = timing(better, then).verdicts
            kept = [met.typically for met in (after.rate, after.latency) if met.typically is not None]
            # Within a millionth, for values are written as floats.
            late = after.latencies and after.latencies[1].steady <= one.latency * (1 + Fraction(1, 10**4))
            fast = one.rate and after.periods[1] * one.rate <= 1 + Fraction(1, 10**4)
            assert all(kept) or late or fast, (change, after)
            seen[change.kind] += 1

    compare()
    assert len(seen) >= (4 if examples > 100 else 1), seen


def test_more_room_makes_a_graph_fast_enough_and_not_more_than_that():
    """b waits for room in f1 while c reads: 25/s with a capacity of 1, and 40/s with 2."""
    graph = required(build([("b", "c", 1, 0, 1)]), "b.o0", "c.i0", rate="35")
    (verdict,) = timing(System(graph), times(b="0.015", c="0.025")).verdicts
    assert verdict.rate.word == "missed" and verdict.periods[1] == Fraction("0.04")
    assert verdict.changes[0].value == {"f0.capacity": 2.0}
    assert verdict.changes[0].text == "give f0 a capacity of 2 (64B more)"


def test_a_source_that_fills_the_buffers_is_to_state_its_rate():
    graph = required(build([("a", "b", 1, 0, 8), ("b", "c", 1, 0, 2)]), "a.o0", "c.i1", latency="0.1")
    (verdict,) = timing(System(graph), times(a="0.001", b="0.03", c="0.001")).verdicts
    assert verdict.latency.word == "missed"
    assert verdict.changes[0].kind == "source" and verdict.changes[0].value == {"rate": 33.3}


@pytest.mark.parametrize("unit, helps", [("u0", False), ("u1", True)])
def test_a_source_that_states_its_rate_has_a_thread_of_its_own_which_may_share_the_unit(unit, helps):
    """a and b share a thread until a states a rate; then a's firing may have to wait for one of b, which takes 1 s."""
    graph = required(build([("a", "b", 1, 0, 3), ("b", "c", 1, 0, 3)]), "a.o0", "c.i1", latency="1.2")
    system, known = on_p_and_q(graph, a="p/u0", b=f"p/{unit}", c="q/u0"), times(a="0", b="1", c="2")
    (verdict,) = timing(system, known).verdicts
    assert verdict.latency.word == "missed"
    assert ("source" in [change.kind for change in verdict.changes]) == helps
    for change in verdict.changes:
        (after,) = timing(*changed(system, known, change)).verdicts
        assert after.latency.word == "met", change


def test_a_link_is_to_carry_more():
    graph = required(paced(build([("a", "b", 1, 0, 4)]), a=10), "a.o0", "b.i0", latency="0.03")
    platforms = (
        Platform("p", (Unit("u"),), (Link("q", bandwidth=400.0, latency=0.01),)),
        Platform("q", (Unit("u"),), (Link("p", bandwidth=400.0, latency=0.01),)),
    )
    system = System(graph, platforms, mapped("pq", {"a": "p/u", "b": "q/u"}))
    (verdict,) = timing(system, times(a="0.001", b="0.001")).verdicts
    assert verdict.latencies[1].steady == Fraction("0.051")  # 16 bytes take 40 ms
    (change,) = [each for each in verdict.changes if each.kind == "link"]
    assert change.value["bandwidth"] == pytest.approx(16 / 0.019, rel=1e-4)


def test_the_nearest_cut_that_meets_it_is_named_where_times_on_both_sides_are_known():
    """c is slow on p; b's tokens are sent in no time, so that c may move, or b and c."""
    graph = build([("a", "b", 1, 0, 2), ("b", "c", 1, 0, 2), ("c", "d", 1, 0, 2)])
    graph = required(paced(graph, a=10), "a.o0", "d.i2", latency="0.05")
    system = on_p_and_q(graph, a="p/u0", b="p/u0", c="p/u0", d="q/u0")
    slow = {"a": Fraction("0.001"), "b": Fraction("0.01"), "c": Fraction("0.09"), "d": Fraction("0.001")}
    fast = {"b": Fraction("0.002"), "c": Fraction("0.02"), "d": Fraction("0.001")}
    known = ActorTimes(slow, slow, slow, {"p": slow, "q": fast})
    (verdict,) = timing(system, known).verdicts
    (cut,) = [each for each in verdict.changes if each.kind == "cut"]
    assert (cut.about, cut.value, cut.homes["b"], cut.homes["c"]) == ("b", {"moved": 1.0}, "p", "q")
    alone = timing(system, known._replace(on={})).verdicts[0]
    assert [each.kind for each in alone.changes if each.kind == "cut"] == []


def test_what_is_met_with_typical_times_alone_is_a_warning_unless_a_share_is_required():
    graph = paced(build([("a", "b", 1, 0, 2), ("b", "c", 1, 0, 2)]), a=10)
    typical = {"a": Fraction("0.001"), "b": Fraction("0.02"), "c": Fraction("0.001")}
    known = ActorTimes(typical, typical, {**typical, "b": Fraction("0.06")})
    answer = timing(System(required(graph, "a.o0", "c.i1", latency="0.05")), known)
    (finding,) = answer.findings
    assert finding.severity is Severity.WARNING and "61ms old, and may be 50ms" in finding.message
    assert not timing(System(required(graph, "a.o0", "c.i1", latency="0.05", share="0.9")), known).findings


def test_without_a_time_nothing_is_answered():
    graph = required(build([("a", "b", 1, 0, 2)]), "a.o0", "b.i0", rate="10")
    answer = timing(System(graph), times(a="0.01"))
    assert answer.without_time == ("b",) and not answer.findings


EXIT = "graphs/vehicle_exit.xml"


def test_a_row_is_as_fast_as_the_graph_without_what_it_leaves_idle():
    graph = read_application(EXIT)
    (dpg,) = graph.dpgs
    known = {actor.name: Fraction(1, 1000) for actor in graph.actors}
    rows = timing(System(graph), ActorTimes(known, known, known), ways=True).rows
    early, deep = (rows[dpg.name, value][0].first for value in (0, 1))
    assert early == deep - Fraction(2, 1000)  # L3 and L4-L5
    names = {actor.name for actor in in_row(graph, dpg, 0).actors}
    assert {actor.name for actor in graph.actors} - names == {"L3", "L4-L5"}


def test_what_is_expected_of_rows_lies_between_those_of_each_and_has_its_confidence():
    import random

    graph = read_application(EXIT)
    (dpg,) = graph.dpgs
    known = {actor.name: Fraction(1, 1000) for actor in graph.actors}
    actors = tuple(replace(a, rate=20.0) if not a.inputs else a for a in graph.actors)
    graph = replace(graph, actors=actors)
    known_times = ActorTimes(known, known, known)
    means = {}
    for chance in (0.0, 0.5, 1.0):
        draw = random.Random(1)
        values = draw.choices([0, 1], [1 - chance, chance], k=400)
        (ages,) = expected(graph, known_times, ALONE, 400, {dpg.name: values}, draw).ages
        means[chance] = ages.mean
    assert means[0.0].value < means[0.5].low < means[0.5].high < means[1.0].value
    assert means[0.5].value == pytest.approx((means[0.0].value + means[1.0].value) / 2, abs=2e-4)


def test_the_share_in_time_is_that_of_the_firings_that_are():
    """Every firing of b takes as long as is drawn; its share in time is counted, with Wilson's interval."""
    import random

    graph = required(paced(build([("a", "b", 1, 0, 2), ("b", "c", 1, 0, 2)]), a=10), "a.o0", "c.i1", latency="0.03")
    typical = {"a": Fraction(0), "b": Fraction("0.03"), "c": Fraction(0)}
    known = ActorTimes(typical, {**typical, "b": Fraction("0.01")}, {**typical, "b": Fraction("0.05")})
    answer = expected(graph, known, Resources(), 500, {}, random.Random(3))
    (kept,) = answer.kept
    seconds = [float(span.end - span.begin) for span in answer.run.firings if span.name == "b"]
    assert kept.share.value == sum(each <= 0.03 for each in seconds) / 500
    assert kept.share.low < 0.5 < kept.share.high and not kept.met
    assert kept.rate == pytest.approx(10, rel=0.01)
