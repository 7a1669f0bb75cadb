"""What the fault analysis predicts is what happens when processes are really killed, frozen, cut off and replaced.

One case of each kind here, all of them in `make test-long` (and, as a table, by `make chaos`).
"""

from __future__ import annotations

import pytest

from scripts.chaos import case as cases_module
from scripts.chaos import cases, checks, faults, topologies
from scripts.chaos.__main__ import run_all
from scripts.chaos.case import Case, run_case
from scripts.chaos.expect import expect
from scripts.chaos.histories import ACTS, histories, steps
from scripts.chaos.network import Loopback
from scripts.chaos.running import Run, build
from scripts.chaos.soak import soak
from scripts.netlab import NotPermitted

#: Of these, `make test` tries a history.
SOME = ("K(2,2) drop", "split wait")


def seen(case, folder):
    try:
        return run_case(case, build(case.topology, folder))
    except NotPermitted as error:
        pytest.skip(f"not possible here: {error}")


@pytest.mark.sampled(3)
@pytest.mark.parametrize("case", cases.lean_cases(), ids=str)
def test_what_is_predicted_happens(case, tmp_path):
    assert not seen(case, tmp_path).wrong


@pytest.mark.long
def test_what_is_predicted_happens_in_every_case():
    assert run_all(cases.all_cases()) == 0


def assert_as_promised(history, folder):
    assert not history.run(build(history.topology, folder)).wrong


@pytest.mark.parametrize(
    "history",
    [
        pytest.param(each, id=str(each), marks=[pytest.mark.long] * (each.topology.name != SOME[0]))
        for each in histories(1)
        if each.topology.name in SOME
    ],
)
def test_a_random_history_of_several_faults_breaks_no_promise(history, tmp_path):
    assert_as_promised(history, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("history", histories(3, seed=2), ids=str)
def test_random_histories_of_several_faults_break_no_promise(history, tmp_path):
    assert_as_promised(history, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("policy", ["wait", "drop"])
def test_a_million_tokens_over_a_connection_that_breaks_need_no_more_memory(policy, tmp_path):
    assert not soak(policy, 1_000_000, tmp_path).wrong


@pytest.mark.parametrize("policy", ["wait", "drop"])
def test_many_tokens_over_a_connection_that_breaks(policy, tmp_path, monkeypatch):
    monkeypatch.setattr("scripts.chaos.soak.RESET", 0.3)
    found = soak(policy, 20_000, tmp_path)
    assert not found.wrong
    assert found.resets > 0
    assert found.arrived == 20_000 or policy == "drop"


# The harness can fail.


def test_a_wrong_prediction_is_noticed(tmp_path, monkeypatch):
    """The programs stop, where the prediction is that of programs that wait, and the other way round."""
    monkeypatch.setattr(cases_module, "FAIL", 3.0)  # a busy machine takes its time to end a program
    monkeypatch.setattr(cases_module, "IMPATIENCE", 8.0)  # what waits ends late enough to be seen to go on
    built = {}
    for policy in ("stop", "wait"):
        (tmp_path / policy).mkdir()
        built[policy] = build(topologies.split(policy), tmp_path / policy)
    for policy, other in (("stop", "wait"), ("wait", "stop")):
        wrong = built[policy]._replace(system=built[other].system)
        result = run_case(Case(topologies.split(policy), faults.KILL, ("server",)), wrong)
        assert result.wrong


def log(run, actor, *numbers):
    lines = [f"{place}.0 {port}:7:1:{number}\n" for place, (port, number) in enumerate(numbers)]
    (run.built.folder / f"{actor}.log").write_text("".join(lines))


@pytest.mark.parametrize(
    ("numbers", "wrong"),
    [
        ((0, 1, 2, 3), ""),
        ((0, 1, 3), "tokens 2 to 2 are lost"),
        ((2, 3), "tokens 0 to 1 are lost"),
        ((0, 1, 1, 2), "1 tokens came twice"),
        ((0, 2, 1, 3), "out of order"),
    ],
)
def test_what_is_lost_doubled_or_mixed_up_is_found(tmp_path, numbers, wrong):
    built = build(topologies.split("wait"), tmp_path)
    run = Run(built, Loopback(built.system), 1.0)
    log(run, "L2", *(("in", number) for number in numbers))
    run.update()
    found = list(checks.streams(run, 0))
    run.network.close()
    assert found == ([f"L2.in: {wrong}"] if wrong else [])


def test_a_token_of_an_earlier_incarnation_that_comes_late_is_found(tmp_path):
    built = build(topologies.split("drop"), tmp_path)
    run = Run(built, Loopback(built.system), 1.0)
    lines = [f"{place}.0 in:7:{incarnation}:{place}\n" for place, incarnation in enumerate((1, 1, 2, 1, 2))]
    (run.built.folder / "L2.log").write_text("".join(lines))
    run.update()
    found = list(checks.incarnations(run))
    run.network.close()
    assert found == ["L2.in: token 3 of a source's earlier incarnation comes late"]


def test_a_history_is_that_of_its_seed_and_ends_well(tmp_path):
    system = build(topologies.k(2, 1, "drop"), tmp_path).system
    assert steps(system, 1) == steps(system, 1) != steps(system, 2)
    for seed in range(50):
        states = {}
        for step in steps(system, seed):
            state = states.get(step.thing, "well")
            states[step.thing] = ACTS[step.thing.kind, state][step.act]  # possible in that state
        assert set(states.values()) == {"well"}
        assert len(states) > 1


def test_a_pause_that_is_too_long_is_noticed(tmp_path, monkeypatch):
    """A camera is frozen, and nobody may pause for longer than 12 ms."""
    monkeypatch.setattr(cases_module, "TIMEOUT", 0.01)
    monkeypatch.setattr(cases_module, "MARGIN", 0.0)
    result = Case(topologies.k(1, 2, "drop"), faults.FREEZE, ("endpoint1",)).run(
        build(topologies.k(1, 2, "drop"), tmp_path)
    )
    assert any(wrong.startswith("a pause of ") for wrong in result.wrong)


def test_the_prediction_is_the_analyzers(tmp_path):
    built = build(topologies.k(2, 1, "drop"), tmp_path)
    things = {thing.name: thing for thing in built.system.things}
    one = expect(built.system, [things["server1"]])
    assert set(one.serving) == {"Head-2"} and one.going == {"Input-1", "Net-1", "Head-2"}
    assert not (one.ended or one.stalled or one.starved)
    both = expect(built.system, [things["server1"], things["endpoint1 - server2"]])
    assert (both.outcome.verdict.value, set(both.starved), set(both.serving)) == ("fails", {"Head-2"}, set())
    assert both.orphans == {"server2"}


def test_processes_that_end_take_others_with_them_as_the_analyzer_says(tmp_path):
    built = build(topologies.diamond("stop"), tmp_path)
    things = {thing.name: thing for thing in built.system.things}
    assert expect(built.system, [things["sure"]]).ended == {"source", "sink"}
    assert not expect(built.system, [things["lossy"]]).ended
