"""What several actors of another platform read crosses once: the pass, what it proves, and that all numbers agree."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from eprune.analysis.check import check
from eprune.cli.main import cli
from eprune.explore.flow import flow
from eprune.explore.space import mapping
from eprune.formats.atomic import write_file
from eprune.formats.model_files import parse_model
from eprune.formats.models.cuts import pieces
from eprune.formats.models.flow import flow as operator_flow
from eprune.formats.system import read_system
from eprune.formats.xml.mapping import write_mapping
from eprune.formats.xml.platform import write_platform
from eprune.model.graph import FaultPolicy, PortRef
from eprune.model.interface import Interface
from eprune.model.platform import Link, Platform, Unit
from eprune.model.system import System
from eprune.passes import fork, fuse
from eprune.passes.import_ import graph_of
from tests.kit import tiny_models
from tests.kit.tiny_models import ModelBuilder

SHARED = Path(__file__).parents[3] / "shared" / "models"
NEAR = Platform("near", (Unit("cpu"),), (Link("far"),))
FAR = Platform("far", (Unit("cpu"),), (Link("near"),))


def ladder(steps: int) -> bytes:
    """A NEG of the input, which ``steps`` ADDs, one behind the other, all read."""
    m = ModelBuilder()
    source, first = m.tensor((1, 4)), m.tensor((1, 4))
    m.operator("NEG", [source], [first], "NegOptions")
    last = first
    for _ in range(steps):
        total = m.tensor((1, 4))
        m.operator("ADD", [last, first], [total], "AddOptions")
        last = total
    return m.build([source], [last])


@pytest.fixture
def eprune_command():
    """Calls a command in this process."""

    def call(*arguments):
        return CliRunner().invoke(cli, list(arguments), prog_name="eprune")

    return call


@pytest.fixture
def imported(tmp_path, monkeypatch, eprune_command):
    """Imports a model, an actor an operator, into ``app``, with two platforms; the System."""
    monkeypatch.chdir(tmp_path)

    def make(data, *options):
        (tmp_path / "m.tflite").write_bytes(data)
        assert eprune_command("import", "m.tflite", "-o", "app", "--per", "operator", *options).exit_code == 0
        system = read_system("app/application.xml", (), (), check)
        for platform in (NEAR, FAR):
            write_file(f"p/{platform.name}.xml", write_platform(platform))
        return system

    return make


def split(system, near):
    """The system with these actors on one platform, the others on the other."""
    homes = {actor.name: "near" if actor.name in near else "far" for actor in system.graph.actors}
    maps = tuple(mapping(system.graph, platform, homes) for platform in (NEAR, FAR))
    return replace(system, platforms=(NEAR, FAR), mappings=maps)


def crossing(system):
    homes = system.homes
    return [fifo for fifo in system.graph.fifos if homes[fifo.source.actor] != homes[fifo.target.actor]]


def problems(system):
    return [str(finding) for finding in check(replace(system, problems=()))]


def test_a_tensor_with_three_readers_elsewhere_crosses_once(imported):
    system = split(imported(ladder(3)), ("t0", "neg_0"))
    assert [fifo.name for fifo in crossing(system)] == ["t1_add_1", "t1_add_2", "t1_add_3"]
    made, report = fork.apply(system)
    (fifo,) = crossing(made)
    assert (fifo.name, str(fifo.target)) == ("t1_add_1", "Fork-t1_add_1.in")
    assert report.figures == {"forks": ["Fork-t1_add_1"]}
    assert made.homes["Fork-t1_add_1"] == "far"
    assert [port.name for port in made.graph.actor("neg_0").outputs] == ["out_1_add_1"]
    assert problems(made) == []
    assert fork.apply(made).system == made, "there is nothing more to share"
    segments = fuse.apply(made).system.graph
    assert sorted(actor.name for actor in segments.actors) == [
        "Fork-t1_add_1",
        "Output",
        "add_1+add_2+add_3",
        "neg_0",
        "t0",
    ]


def test_readers_at_home_and_on_two_other_platforms(imported):
    system = imported(ladder(3))
    third = Platform("third", (Unit("cpu"),), (Link("near"), Link("far")))
    near, far = (replace(each, links=(*each.links, Link("third"))) for each in (NEAR, FAR))
    homes = {"t0": "near", "neg_0": "near", "add_1": "near", "add_2": "far", "add_3": "third", "Output": "third"}
    maps = tuple(mapping(system.graph, platform, homes) for platform in (near, far, third))
    placed = replace(system, platforms=(near, far, third), mappings=maps)
    assert fork.apply(placed).system is placed, "each platform has one reader"


@pytest.mark.parametrize(
    "differs",
    [
        {"policy": FaultPolicy.WAIT},
        {"timeout": 0.5},
        {"delay": 1},
        {"window": 3},
        {"group": "g"},
    ],
)
def test_fifos_on_other_terms_cross_by_themselves(imported, differs):
    system = split(imported(ladder(2)), ("t0", "neg_0"))
    fifos = [replace(fifo, **differs) if fifo.name == "t1_add_2" else fifo for fifo in system.graph.fifos]
    changed = replace(system, graph=replace(system.graph, fifos=tuple(fifos)))
    assert len(crossing(fork.apply(changed).system)) == 2


@pytest.mark.parametrize("policy", [FaultPolicy.DROP, FaultPolicy.ZERO, FaultPolicy.NEWEST])
def test_what_may_be_lost_for_one_reader_and_not_for_another_is_not_shared(imported, policy):
    system = split(imported(ladder(2)), ("t0", "neg_0"))
    fifos = tuple(replace(fifo, policy=policy) for fifo in system.graph.fifos)
    assert len(crossing(fork.apply(replace(system, graph=replace(system.graph, fifos=fifos))).system)) == 2


def test_a_class_that_may_know_its_ports_by_name_keeps_them(imported):
    """TensorSource says that it does not; of a class that says nothing, each FIFO crosses."""
    m = ModelBuilder()
    x, first, last = (m.tensor((1, 4)) for _ in range(3))
    m.operator("NEG", [x], [first], "NegOptions")
    m.operator("ADD", [first, x], [last], "AddOptions")
    system = split(imported(m.build([x], [last])), ("t0",))
    assert [len(crossing(each)) for each in (system, fork.apply(system).system)] == [2, 1]
    silent = {name: replace(each, copies=False) for name, each in system.interfaces.items()}
    assert len(crossing(fork.apply(replace(system, interfaces=silent)).system)) == 2


def test_a_delay_and_its_tokens_stay_before_the_fork(imported):
    system = imported(tiny_models.recurrent(), "--feedback", "1:1")
    made = fork.apply(split(system, ("t0", "add_4", "fully_connected_5"))).system
    (state,) = [fifo for fifo in made.graph.fifos if fifo.delay]
    assert state.target.actor.startswith("Fork-")
    assert problems(made) == []


def random_model(chooser):
    """A graph of ADDs with tensors read again and again."""
    m = ModelBuilder()
    tensors = [m.tensor((1, 4))]
    for _ in range(chooser.randrange(3, 9)):
        total = m.tensor((1, 4))
        m.operator("ADD", [chooser.choice(tensors), chooser.choice(tensors[-3:])], [total], "AddOptions")
        tensors.append(total)
    return parse_model(m.build(tensors[:1], tensors[-chooser.randrange(1, 3) :]), "m.tflite")


def test_sharing_keeps_any_cut_sound_and_every_number_the_same():
    """Random models, random homes: no finding, and what explore counts is what crosses after the pass."""
    chooser, forks = random.Random(5), 0
    for _ in range(300):
        model = random_model(chooser)
        facts = operator_flow(model)
        graph, _ = graph_of(model, facts, pieces(model, facts), "m", "m.tflite", {})
        interfaces = {
            actor.name: Interface(tensors={p.name: p.tensor for p in actor.ports if p.tensor is not None}, copies=True)
            for actor in graph.actors
        }
        bare = replace(graph, actors=tuple(replace(actor, behaviour=None) for actor in graph.actors))
        near = {actor.name for actor in graph.actors if chooser.random() < 0.5}
        system = split(System(bare, interfaces=interfaces), near)
        before = problems(system)
        made, report = fork.apply(system)
        assert problems(made) == before == []
        forks += len(report.figures["forks"])
        sent = crossing(made)
        counted = flow(bare, interfaces)
        assert [stream.name for stream in counted.crossing(system.homes)] == [fifo.name for fifo in sent]
        ports = dict(made.graph.ports())
        assert counted.nbytes(system.homes) == sum(ports[fifo.source].token.nbytes for fifo in sent)
        fed = {PortRef(fifo.source.actor, fifo.source.port) for fifo in sent}
        tensors = [(ref.actor, interfaces[ref.actor].tensors[ref.port]) for ref in fed]
        homes = made.homes
        places = {(*pair, homes[fifo.target.actor]) for pair, fifo in zip(tensors, sent)}
        assert len(places) == len(sent), "no tensor crosses twice"
    assert forks > 100


def test_list_explore_and_the_run_state_one_number(imported, eprune_command):
    data = tiny_models.residual_split()
    system = imported(data)
    listed = json.loads(eprune_command("import", "m.tflite", "--list", "--format", "json").stdout)
    (row,) = [row for row in listed["operators"] if row["name"] == "conv2d_0"]
    placed = split(system, ("t0", "t1", "conv2d_0"))
    assert flow(system.graph, system.interfaces).nbytes(placed.homes) == row["cut_bytes"]
    for each in placed.mappings:
        write_file(f"m/{each.platform}.xml", write_mapping(each))
    ran = eprune_command(
        *("run", "app/application.xml", "-p", "p", "-m", "m", "--frames", "3", "--summary", "sum.json"),
        *("--set", "Output.path=results"),
    )
    assert ran.exit_code == 0, ran.stderr
    told = json.loads(Path("sum.json").read_text())
    assert sum(link["bytes"] for link in told["links"]) == 3 * row["cut_bytes"], told["links"]


@pytest.mark.parametrize("name", ["mobilenet_v2_1.0_224_quant", "nmp", "traffic_model"])
def test_real_models_cross_with_what_the_list_says_at_every_point(tmp_path, monkeypatch, eprune_command, name):
    """MobileNet's block boundaries, where the result and the shortcut are one tensor, are the cheap ones."""
    path = SHARED / f"{name}.tflite"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    monkeypatch.chdir(tmp_path)
    assert eprune_command("import", str(path), "-o", "app", "--per", "operator").exit_code == 0
    rows = json.loads(eprune_command("import", str(path), "--list", "--format", "json").stdout)["operators"]
    system = read_system("app/application.xml", (), (), check)
    counted = flow(system.graph, system.interfaces)
    operators = {actor.name: actor.behaviour.operators for actor in system.graph.actors if actor.behaviour.operators}
    sources = {actor.name for actor in system.graph.actors if not actor.inputs}
    several = 0
    for row in rows:
        if row["cut_bytes"] is not None:
            near = sources | {actor for actor, own in operators.items() if own[-1] <= row["index"]}
            homes = {actor: "near" if actor in near else "far" for actor in counted.actors}
            assert counted.nbytes(homes) == row["cut_bytes"], row
            every = sum(each.nbytes for each in counted.streams if homes[each.source] != homes[each.target])
            several += every > row["cut_bytes"]
    assert several >= {"mobilenet_v2_1.0_224_quant": 10}.get(name, 0)
