"""Dynamic processing graphs, run: rates follow the control tokens, wherever control source, DAs and members are."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eprune.analysis.check import check
from eprune.formats.behaviours.python_class import PythonBehaviour
from eprune.model.finding import Severity
from eprune.model.graph import FaultPolicy
from eprune.model.system import System
from tests.kit.dynamic import check_run, deploy, dpg, homes_of, reference, run_in_threads, wired
from tests.kit.programs import finish, start

ROWS = {0: "0 0 0 0 0 0", 1: "1 1 1 1 1 1", 5: "1 1 1 1 1 1"}
COLUMNS = "Split.deep A.in A.out B.in B.out Merge.deep"


def led_by_a_ca(folder, values="0,1,5,0,1,1,0", n=20):
    """A source, a gate, and a branch of two DPAs that is there or not."""
    return wired(
        {
            "Src": f"SPA Numbers n={n}",
            "Gate": f"CA Lead values={values}",
            "Split": "DA Mix",
            "A": "DPA Mix",
            "B": "DPA Mix",
            "Merge": "DA Mix",
            "Sink": f"SPA Collect path={folder}/Sink.json",
        },
        """Src.look -> Gate.in
        Src.out -> Split.in
        Gate.split => Split.mode
        Gate.a => A.mode
        Gate.b => B.mode
        Gate.merge => Merge.mode
        Split.deep -> A.in 0..1
        A.out -> B.in 0..1
        B.out -> Merge.deep 0..1
        Merge.out -> Sink.in""",
        dpg("Deep", "Gate", "Split", "Merge", "A B", COLUMNS, ROWS),
    )


def led_by_the_entry(folder, values="0,1,5,0,1,1,0", n=20, told=("A", "B")):
    """The minimal form: the entry DA sets the rates, and the members that are ``told`` have control inputs."""
    tell = "\n".join(f"Split.{name.lower()} => {name}.mode" for name in told)
    return wired(
        {
            "Src": f"SPA Numbers n={n}",
            "Split": f"DA Lead values={values}",
            "A": "DPA Mix",
            "B": "DPA Mix",
            "Merge": "DA Mix",
            "Sink": f"SPA Collect path={folder}/Sink.json",
        },
        f"""Src.out -> Split.in
        Split.merge => Merge.mode
        Split.always -> Merge.always
        Split.deep -> A.in 0..1
        A.out -> B.in 0..1
        B.out -> Merge.deep 0..1
        Merge.out -> Sink.in
        {tell}""",
        dpg("Deep", "Split", "Split", "Merge", "A B", COLUMNS, ROWS),
    )


@pytest.mark.parametrize("told", [(), ("A",), ("B",)])
def test_a_member_without_a_control_input_fires_where_its_row_gives_it_tokens(told, tmp_path):
    graph = led_by_the_entry(tmp_path, told=told)
    assert not [finding for finding in check(System(graph)) if finding.severity is Severity.ERROR]
    wanted = reference(graph, 20)
    assert wanted.tokens["f3"] < 20 == wanted.tokens["f2"]
    names = [actor.name for actor in graph.actors if actor.name != "Src"]
    for away in ((), *((name,) for name in names), ("A", "B"), ("Split", "B", "Sink")):
        records = run_in_threads(deploy(graph, homes_of(graph, away), tmp_path))
        check_run(graph, records, wanted)


@pytest.mark.parametrize("values", ["0", "0,0,0,0,0,0,0,0,1"])
def test_it_ends_with_its_entry_though_it_has_had_nothing(values, tmp_path):
    graph = led_by_the_entry(tmp_path, values=values, told=())
    for away in ([], ["A", "B"], ["A"], ["Merge"]):
        check_run(graph, run_in_threads(deploy(graph, homes_of(graph, away), tmp_path)), reference(graph, 20))


@pytest.mark.parametrize(
    ("policy", "shared", "lossy"),
    [
        ("stop", True, None),
        ("wait", False, None),
        ("wait", True, None),
        ("stop", False, "drop"),
        ("wait", False, "drop"),
    ],
)
def test_it_does_so_over_all_kinds_of_connections_and_where_tokens_may_be_lost_before(policy, shared, lossy, tmp_path):
    graph = led_by_the_entry(tmp_path, told=())
    policies = {"f0": lossy or policy}
    fifos = (replace(fifo, policy=FaultPolicy(policies.get(fifo.name, policy))) for fifo in graph.fifos)
    graph = replace(graph, fifos=tuple(fifos))
    assert not [finding for finding in check(System(graph)) if finding.severity is Severity.ERROR]
    for away in (["A", "B"], ["A"], ["Split", "B", "Sink"], ["Split", "A", "B", "Merge", "Sink"]):
        records = run_in_threads(deploy(graph, homes_of(graph, away), tmp_path, shared=shared))
        check_run(graph, records, reference(graph, 20))


@pytest.mark.parametrize("told", [(), ("A",)])
@pytest.mark.parametrize("away", [[], ["A"], ["Src"], ["Split", "B", "Sink"]], ids=",".join)
def test_it_follows_its_entry_where_firings_before_it_are_lost(away, told, tmp_path):
    """The source is faster than all others, and only its newest tokens count."""
    graph = led_by_the_entry(tmp_path, n=200, told=told)
    fifos = (replace(f, policy=FaultPolicy.NEWEST, capacity=3) if f.name == "f0" else f for f in graph.fifos)
    records = run_in_threads(deploy(replace(graph, fifos=tuple(fifos)), homes_of(graph, away), tmp_path))
    actors = {name: facts for record in records.values() for name, facts in record["actors"].items()}
    entry = actors["Split"]
    working = sum(count for value, count in entry["modes"].items() if value != "0")
    assert actors["Merge"]["firings"] == actors["Sink"]["firings"] == entry["firings"]
    for name in ("A", "B"):
        assert actors[name]["firings"] == (entry["firings"] if name in told else working)


FORMS = pytest.mark.parametrize("form", [led_by_a_ca, led_by_the_entry])


@pytest.mark.parametrize("form", [pytest.param(led_by_a_ca, marks=pytest.mark.long), led_by_the_entry])
def test_every_cut_over_two_platforms_gives_what_the_reference_gives(form, tmp_path):
    graph = form(tmp_path)
    wanted = reference(graph, 20)
    assert set(wanted.modes["A"]) > {0, 1}
    names = [actor.name for actor in graph.actors if actor.name != "Src"]
    for count in range(len(names) + 1):
        for away in combinations(names, count):
            records = run_in_threads(deploy(graph, homes_of(graph, away), tmp_path))
            check_run(graph, records, wanted)


@FORMS
@pytest.mark.parametrize("away", [["A", "B"], ["Split", "B", "Sink"]], ids=",".join)
@pytest.mark.parametrize(("policy", "shared"), [("stop", True), ("wait", False), ("wait", True)])
def test_connections_that_are_shared_or_made_again_carry_control_and_data_alike(form, away, policy, shared, tmp_path):
    graph = form(tmp_path)
    graph = replace(graph, fifos=tuple(replace(fifo, policy=FaultPolicy(policy)) for fifo in graph.fifos))
    records = run_in_threads(deploy(graph, homes_of(graph, away), tmp_path, shared=shared))
    check_run(graph, records, reference(graph, 20))


def led_by_itself(folder, n=7):
    """A CA without inputs, and rates above 1 that differ from FIFO to FIFO."""
    return wired(
        {
            "Src": f"SPA Numbers n={n}",
            "Gate": "CA Lead values=0,3,1 n=7",
            "Split": "DA Mix",
            "Work": "DPA Mix",
            "Merge": "DA Mix",
            "Sink": f"SPA Collect path={folder}/Sink.json",
        },
        """Src.out -> Split.in
        Gate.a => Split.mode
        Gate.b => Work.mode
        Gate.c => Merge.mode
        Split.out -> Work.in 0..3
        Work.out -> Merge.in 0..2 3
        Merge.out -> Sink.in""",
        dpg(
            "Many",
            "Gate",
            "Split",
            "Merge",
            "Work",
            "Split.out Work.in Work.out Merge.in",
            {0: "0 0 0 0", 1: "1 1 2 2", 3: "3 3 1 1"},
        ),
    )


def test_rates_above_one_and_a_control_source_without_inputs(tmp_path):
    graph = led_by_itself(tmp_path)
    wanted = reference(graph, 7)
    assert wanted.modes["Work"] == {0: 3, 3: 2, 1: 2}
    check_run(graph, run_in_threads(deploy(graph, homes_of(graph, ["Work", "Gate"]), tmp_path)), wanted)


@st.composite
def applications(draw, folder):
    """One or two stages of one or two dynamic processing graphs each, and homes on up to three platforms."""
    kinds = {"Src": "SPA Numbers n=9"}
    wires, dpgs = [], []
    last = "Src"
    stages = draw(st.integers(1, 2))
    for stage in range(stages):
        join = "Sink" if stage == stages - 1 else "Join"
        for side in range(draw(st.integers(1, 2))):
            label = f"{stage}{side}"
            entry, leaves = f"In{label}", f"Out{label}"
            values = draw(st.lists(st.integers(-3, 9), min_size=1, max_size=4, unique=True))
            script = ",".join(map(str, draw(st.lists(st.sampled_from(values), min_size=1, max_size=8))))
            control = draw(st.sampled_from([entry, f"Gate{label}"]))
            kinds[entry] = f"DA Lead values={script}" if control == entry else "DA Mix"
            if control != entry:
                kinds[control] = f"CA Lead values={script}"
                wires.append(f"{last}.gate{label} -> {control}.in")
            wires.append(f"{last}.to{label} -> {entry}.in")
            members, limits, columns, branches = [], [], [], []
            for branch in range(draw(st.integers(1, 3))):
                chain = [f"M{label}{branch}{place}" for place in range(draw(st.integers(0, 2)))]
                members += chain
                branches.append(len(chain) + 1)
                for source, target in zip([entry, *chain], [*chain, leaves]):
                    limits.append(draw(st.integers(1, 3)))
                    room = draw(st.integers(limits[-1], 5))
                    columns += [f"{source}.out{branch}", f"{target}.in{branch}"]
                    wires.append(f"{columns[-2]} -> {columns[-1]} 0..{limits[-1]} {room}")
            rows = {}
            for value in values:
                active = [draw(st.booleans()) for _ in branches]
                on = [is_on for is_on, count in zip(active, branches) for _ in range(count)]
                rates = [draw(st.integers(1, limit)) if is_on else 0 for limit, is_on in zip(limits, on)]
                rows[value] = " ".join(str(rate) for rate in rates for _ in range(2))
            kinds.update(dict.fromkeys(members, "DPA Mix"))
            kinds[leaves] = "DA Mix"
            followers = [*members, leaves] if control == entry else [entry, *members, leaves]
            wires += [f"{control}.c{follower} => {follower}.mode" for follower in followers]
            wires.append(f"{leaves}.out -> {join}.in{label}")
            dpgs.append(dpg(f"D{label}", control, entry, leaves, " ".join(members), " ".join(columns), rows))
        kinds[join] = f"SPA Collect path={folder}/Sink.json" if join == "Sink" else "SPA Mix"
        last = join
    homes = {name: draw(st.sampled_from(["endpoint", "server", "third"])) for name in kinds}
    return wired(kinds, "\n".join(wires), *dpgs), homes


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_random_graphs_do_what_the_reference_does_wherever_their_actors_are(data, tmp_path):
    graph, homes = data.draw(applications(tmp_path))
    check_run(graph, run_in_threads(deploy(graph, homes, tmp_path)), reference(graph, 9))


def apart(graph, homes, folder):
    """Run in real processes: platform -> (exit code, standard output, standard error)."""
    started = {name: start(path, "--timeout", "20") for name, path in deploy(graph, homes, folder).items()}
    return {name: finish(process) for name, process in started.items()}


@FORMS
def test_a_run_ends_in_good_order_while_the_branch_is_idle(form, tmp_path):
    graph = form(tmp_path, values="0")
    ended = apart(graph, homes_of(graph, ["A", "B"]), tmp_path)
    assert ended == dict.fromkeys(("endpoint", "server"), (0, "", ""))
    assert len(json.loads((tmp_path / "Sink.json").read_text())) == 20


def test_a_source_that_would_go_on_ends_with_the_control_tokens(tmp_path):
    graph = led_by_itself(tmp_path, n=1000)
    ended = apart(graph, homes_of(graph, ["Work"]), tmp_path)
    assert ended == dict.fromkeys(("endpoint", "server"), (0, "", ""))
    assert json.loads((tmp_path / "Sink.json").read_text()) == reference(graph, 7).collected["Sink"]


@FORMS
def test_a_control_value_outside_of_the_table_stops_everything(form, tmp_path):
    graph = form(tmp_path, values="0,1,7")
    source = graph.dpgs[0].control
    words = f"actor '{source}': control value 7 is not in the control table of 'Deep' (0, 1, 5)"
    ended = apart(graph, homes_of(graph, ["A", "Merge", "Sink"]), tmp_path)
    assert {code for code, _, _ in ended.values()} == {1}
    assert ended["endpoint"][2] == f"endpoint: error: {words}\n"
    assert ended["server"][2] == f"server: error: peer 'endpoint' failed: {words}\n"


@FORMS
@pytest.mark.parametrize("away", [["B"], ["A", "B"]])
def test_a_failure_inside_a_branch_stops_everything(form, away, tmp_path):
    graph = form(tmp_path)
    behaviour = replace(graph.actor("B").behaviour, class_name="Fails")
    failing = replace(graph.actor("B"), behaviour=behaviour, parameters=(("at", "3"),))
    graph = replace(graph, actors=tuple(failing if actor.name == "B" else actor for actor in graph.actors))
    ended = apart(graph, homes_of(graph, away), tmp_path)
    assert {code for code, _, _ in ended.values()} == {1}
    for _, _, words in ended.values():
        assert "actor 'B' failed in fire: ValueError: this branch is rotten" in words
        assert len(words.splitlines()) == 1


@pytest.mark.parametrize("body", ["return 1.5", "raise KeyError('no such model')", "pass"])
def test_a_control_source_that_cannot_choose_is_named(body, tmp_path):
    (tmp_path / "bad.py").write_text(
        f"from eprune.runtime import Actor\n\nclass Bad(Actor):\n    def control(self, inputs):\n        {body}\n"
    )
    graph = led_by_a_ca(tmp_path)
    gate = replace(graph.actor("Gate"), behaviour=PythonBehaviour("bad.py", "Bad", "bad.py"), parameters=())
    graph = replace(graph, actors=tuple(gate if actor.name == "Gate" else actor for actor in graph.actors))
    code, _, words = apart(graph, homes_of(graph, []), tmp_path)["endpoint"]
    assert code == 1
    assert "actor 'Gate' failed in control: " in words
    assert len(words.splitlines()) == 1
