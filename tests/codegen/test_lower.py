"""A mapped graph becomes one program per platform; what crosses between them fits together."""

from __future__ import annotations

from dataclasses import replace

import pytest
from deployments import ENDPOINT, FORK, INTERFACES, SERVER, chain, mapping, program_of, sliced

from eprune.formats.behaviours.model_slice import ModelSlice
from eprune.model.behaviour import File
from eprune.model.graph import Ack, FaultPolicy, PortRef
from eprune.model.interface import Interface
from eprune.model.platform import Security
from eprune.passes.fuse import segment_name

PYTHON = chain("A", "B", "C", "D")


def both(graph, homes, fuse=True):
    """The programs of endpoint and server."""
    return tuple(
        program_of(graph, platform, mapping(graph, platform.name, homes), INTERFACES, fuse)
        for platform in (ENDPOINT, SERVER)
    )


def test_a_local_fifo_is_on_one_platform_and_a_crossing_one_has_an_end_on_each():
    endpoint, server = both(PYTHON, {"A": "endpoint", "B": "endpoint", "C": "server", "D": "server"})

    assert [fifo.name for fifo in endpoint.fifos] == ["A-B"]
    assert [fifo.name for fifo in server.fifos] == ["C-D"]
    assert [(tx.fifo.name, tx.to, tx.address, tx.port) for tx in endpoint.tx] == [("B-C", "server", "10.0.0.2", 5100)]
    assert [(rx.fifo.name, rx.origin, rx.port) for rx in server.rx] == [("B-C", "endpoint", 5100)]
    assert not endpoint.rx and not server.tx


def test_ports_are_numbered_in_file_order_whatever_the_direction():
    endpoint, server = both(PYTHON, {"A": "endpoint", "B": "server", "C": "endpoint", "D": "server"})

    ports = {tx.fifo.name: tx.port for program in (endpoint, server) for tx in program.tx}
    assert ports == {"A-B": 5100, "B-C": 5101, "C-D": 5102}
    assert ports == {rx.fifo.name: rx.port for program in (endpoint, server) for rx in program.rx}


def test_fifos_to_a_third_platform_have_ports_of_their_own():
    homes = {"A": "endpoint", "B": "third", "C": "server", "D": "endpoint"}
    program = program_of(PYTHON, SERVER, mapping(PYTHON, "server", homes), INTERFACES)

    assert [(rx.fifo.name, rx.port) for rx in program.rx] == [("B-C", 5300)]
    assert [(tx.fifo.name, tx.port) for tx in program.tx] == [("C-D", 5100)]


def test_both_ends_of_a_fifo_have_its_policy():
    wait = replace(PYTHON.fifos[1], policy=FaultPolicy.WAIT, timeout=0.1, ack=Ack.RECEIVED)
    graph = replace(PYTHON, fifos=(PYTHON.fifos[0], wait, PYTHON.fifos[2]))
    endpoint, server = both(graph, {"A": "endpoint", "B": "endpoint", "C": "server", "D": "server"})

    assert [(end.policy, end.timeout, end.ack) for end in (*endpoint.tx, *server.rx)] == [("wait", 0.1, "received")] * 2


def test_fifos_that_share_a_connection_have_one_port_and_a_number_each():
    homes = {"A": "endpoint", "B": "server", "C": "endpoint", "D": "server"}
    shared = replace(ENDPOINT, links=(replace(ENDPOINT.links[0], shared=True, security=Security.TLS),))
    program = program_of(PYTHON, shared, mapping(PYTHON, "endpoint", homes), INTERFACES)

    ends = [(end.fifo.name, end.port, end.number) for end in (*program.tx, *program.rx)]
    assert ends == [("A-B", 5100, 0), ("C-D", 5100, 2), ("B-C", 5100, 1)]
    assert all(end.shared and end.security == "tls" for end in (*program.tx, *program.rx))


def test_an_actor_knows_what_it_can_do_without():
    first, second, *rest = PYTHON.actors
    second = replace(second, quorum=1, ports=(replace(second.ports[0], required=False), *second.ports[1:]))
    program, _ = both(replace(PYTHON, actors=(first, second, *rest)), dict.fromkeys("ABCD", "endpoint"))

    options = [node.declaration.option for node in program.nodes[:3]]
    assert [(option("optional"), option("quorum")) for option in options] == [
        ((), None),
        (("in",), 1),
        ((), None),
    ]


def test_the_slice_that_a_class_calls_is_cut_beside_the_segments():
    graph = sliced("S1")
    first, second, last = graph.actors
    last = replace(last, behaviour=replace(last.behaviour, model=ModelSlice("m.tflite", 3, 5, "graphs/m.tflite")))
    facts = {**INTERFACES, "Out": Interface(called=((7,), (9,)))}
    homes = dict.fromkeys(("In", "S1", "Out"), "endpoint")
    mapped = mapping(graph, "endpoint", homes)
    program = program_of(replace(graph, actors=(first, second, last)), ENDPOINT, mapped, facts)

    assert [cut.file_name for cut in program.cuts] == ["S1.tflite", "Out.tflite"]
    assert program.cuts[1] is program.nodes[-1].declaration.option("model")
    assert (program.cuts[1].path, program.cuts[1].operators) == ("graphs/m.tflite", (3, 4, 5))
    assert (program.cuts[1].input_tensors, program.cuts[1].output_tensors) == ((7,), (9,))
    assert program.digest != program_of(graph, ENDPOINT, mapped, INTERFACES).digest


def test_initial_tokens_are_at_the_receiver():
    graph = replace(PYTHON, fifos=tuple(replace(f, delay=1, capacity=3, initial="start.npy") for f in PYTHON.fifos))
    endpoint, server = both(graph, {"A": "endpoint", "B": "server", "C": "server", "D": "server"})

    assert (server.rx[0].fifo.delay, server.rx[0].fifo.initial) == (1, "graphs/start.npy")
    assert endpoint.initial_files == ()
    assert server.initial_files == ("graphs/start.npy",)


def test_nodes_are_in_precedence_order_and_units_list_what_they_run():
    backwards = replace(PYTHON, actors=PYTHON.actors[::-1])
    program = program_of(backwards, SERVER, mapping(backwards, "server", dict.fromkeys("ABCD", "server")), INTERFACES)

    assert [node.name for node in program.nodes] == ["A", "B", "C", "D"]
    assert [(unit.name, unit.nodes) for unit in program.units] == [("cpu1", ("A", "B", "C", "D"))]


def test_actors_of_a_unit_are_a_cluster_but_for_those_that_are_alone_or_wait():
    split = {"A": "endpoint", "B": "endpoint", "C": "server", "D": "endpoint"}
    endpoint, server = both(PYTHON, split)
    assert (endpoint.clusters, server.clusters) == ((("A", "B"),), ())

    camera = {**INTERFACES, "A": Interface(waits=True)}
    mapped = mapping(PYTHON, "endpoint", dict.fromkeys("ABCD", "endpoint"))
    assert program_of(PYTHON, ENDPOINT, mapped, camera).clusters == (("B", "C", "D"),)


def test_consecutive_slices_become_one_segment_and_the_fifo_between_them_is_gone():
    graph = sliced("S1", "S2", "S3")
    endpoint, server = both(
        graph, {"In": "endpoint", "S1": "endpoint", "S2": "endpoint", "S3": "server", "Out": "server"}
    )

    segment = endpoint.segments[0]
    cut, option = segment.declaration.source, segment.declaration.option
    assert (segment.name, segment.members, cut.operators) == ("S1+S2", ("S1", "S2"), (0, 1))
    assert (cut.input_tensors, cut.output_tensors) == ((0,), (2,))
    assert (option("inputs"), option("outputs")) == ({"S1.in": 0}, {"S2.out": 0})
    assert [(fifo.source, fifo.target) for fifo in endpoint.fifos] == [("In.out", "S1+S2.S1.in")]
    assert endpoint.tx[0].fifo.source == "S1+S2.S2.out"
    assert server.rx[0].fifo.target == "S3.S3.in"


def test_without_fusing_each_slice_is_a_segment_even_where_the_mapping_names_one():
    graph = sliced("S1", "S2", "S3")
    homes = dict.fromkeys(("In", "S1", "S2", "S3", "Out"), "endpoint")
    mapped = mapping(graph, "endpoint", homes)
    named = replace(
        mapped,
        placements=tuple(replace(p, segment="all") if p.actor.startswith("S") else p for p in mapped.placements),
    )

    fused = program_of(graph, ENDPOINT, named, INTERFACES)
    apart = program_of(graph, ENDPOINT, named, INTERFACES, fuse=False)

    assert [segment.members for segment in fused.segments] == [("S1", "S2", "S3")]
    assert [segment.members for segment in apart.segments] == [("S1",), ("S2",), ("S3",)]
    assert [fifo.name for fifo in apart.fifos] == ["In-S1", "S1-S2", "S2-S3", "S3-Out"]


def test_a_tensor_that_feeds_several_fifos_is_one_output_of_the_segment():
    homes = {"In": "endpoint", "S1": "endpoint", "S2": "endpoint", "Probe": "server", "Out": "server"}
    endpoint, _ = both(FORK, homes)

    segment = endpoint.segments[0]
    assert segment.name == "S1+S2"
    assert segment.declaration.source.output_tensors == (1, 2)
    assert segment.declaration.option("outputs") == {"S1.probe": 0, "S2.out": 1, "S2.again": 1}


def test_python_actors_and_segments_keep_their_files():
    endpoint, _ = both(sliced("S1"), {"In": "endpoint", "S1": "endpoint", "Out": "server"})

    actor, segment = endpoint.nodes
    assert (actor.declaration.call, actor.declaration.source) == ("actor", File("actors/in.py", ":In"))
    assert (segment.declaration.call, segment.declaration.source.path) == ("segment", "graphs/model.tflite")


@pytest.mark.parametrize(
    ("actors", "name"),
    [(["L1"], "L1"), (["L1", "L2"], "L1+L2"), (["L1", "L2", "L3"], "L1+L2+L3"), (["L1", "x", "y", "L9"], "L1~L9")],
)
def test_segments_are_named_after_their_actors(actors, name):
    assert segment_name(actors) == name


def test_a_missing_link_is_named():
    homes = {"A": "endpoint", "B": "server", "C": "server", "D": "server"}
    unlinked = replace(ENDPOINT, links=())
    with pytest.raises(ValueError, match=r"FIFO 'A-B' crosses to 'server'.*M2"):
        program_of(PYTHON, unlinked, mapping(PYTHON, "endpoint", homes), INTERFACES)


class TestDigest:
    """It tells deployments apart, and nothing else."""

    def setup_method(self):
        self.graph = sliced("S1", "S2")
        self.homes = {"In": "endpoint", "S1": "endpoint", "S2": "server", "Out": "server"}
        self.hashes = {"graphs/model.tflite": "m", "actors/in.py": "i", "actors/out.py": "o"}

    def digest(self, graph=None, homes=None, hashes=None, platform=ENDPOINT, fuse=True):
        graph = graph or self.graph
        mapped = mapping(graph, platform.name, homes or self.homes)
        return program_of(graph, platform, mapped, INTERFACES, fuse, {**self.hashes, **(hashes or {})}).digest

    def test_it_is_the_same_on_all_platforms_and_with_or_without_fusing(self):
        assert self.digest() == self.digest(platform=SERVER) == self.digest(fuse=False)

    def test_it_does_not_depend_on_places_in_files(self):
        elsewhere = replace(self.graph.where, file="other/place.xml", line=99)
        moved = replace(
            self.graph,
            where=elsewhere,
            actors=tuple(replace(actor, where=elsewhere) for actor in self.graph.actors),
            fifos=tuple(replace(fifo, where=elsewhere) for fifo in self.graph.fifos),
        )
        assert self.digest(moved) == self.digest()

    def test_it_depends_on_contents_parameters_capacities_order_and_homes(self):
        first, *rest = self.graph.actors
        fifo, *fifos = self.graph.fifos
        variants = [
            self.digest(hashes={"graphs/model.tflite": "another"}),
            self.digest(hashes={"actors/in.py": "another"}),
            self.digest(homes={**self.homes, "S2": "endpoint"}),
            self.digest(replace(self.graph, actors=(replace(first, parameters=(("n", "3"),)), *rest))),
            self.digest(replace(self.graph, fifos=(replace(fifo, capacity=9), *fifos))),
            self.digest(replace(self.graph, fifos=(*fifos, fifo))),
            self.digest(replace(self.graph, fifos=(replace(fifo, policy=FaultPolicy.WAIT), *fifos))),
            self.digest(replace(self.graph, fifos=(replace(fifo, timeout=0.5), *fifos))),
            self.digest(replace(self.graph, fifos=(replace(fifo, ack=Ack.RECEIVED), *fifos))),
            self.digest(replace(self.graph, actors=(replace(first, quorum=2), *rest))),
            self.digest(
                replace(self.graph, actors=(replace(first, ports=(replace(first.ports[0], required=False),)), *rest))
            ),
            self.digest(replace(self.graph, name="another")),
        ]
        assert len({self.digest(), *variants}) == 1 + len(variants)


def test_ends_are_split_at_the_first_dot():
    endpoint, _ = both(sliced("S1"), {"In": "endpoint", "S1": "endpoint", "Out": "server"})
    node, _, port = endpoint.tx[0].fifo.source.partition(".")
    assert (node, port) == ("S1", str(PortRef("S1", "out")))
