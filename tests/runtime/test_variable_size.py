"""Tokens of variable size: what is written arrives, no more and no less, wherever the FIFO runs."""

from __future__ import annotations

import json
import textwrap
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eprune.analysis.check import check
from eprune.analysis.lookup import buffer_bytes
from eprune.formats.behaviours.python_class import PythonBehaviour
from eprune.model.graph import Actor, Direction, FaultPolicy, Fifo, Graph, Port, PortRef
from eprune.model.system import System
from eprune.model.token import TokenType, parse_token
from eprune.runtime.kernel.errors import ProtocolError
from eprune.runtime.kernel.fifo import Fifo as Ring
from eprune.runtime.net import wire
from tests.kit.dynamic import deploy, run_in_threads
from tests.kit.programs import finish, start

BEHAVIOURS = '''
    import json
    from pathlib import Path

    from eprune.runtime import Actor, EndOfStream


    def size(number, most):
        """How many elements token ``number`` has: all that are possible, the largest and none among them."""
        return (0, most, 1)[number] if number < 3 else number * 7919 % (most + 1)


    class Source(Actor):
        def __init__(self, count="60"):
            self.count, self.made = int(count), 0

        def fire(self, inputs, outputs):
            if self.made == self.count:
                raise EndOfStream
            rooms = outputs["out"] if isinstance(outputs["out"], list) else [outputs["out"]]
            for room in rooms:
                count = size(self.made, len(room))
                room[:count] = self.made % 251
                room.used = count
                self.made += 1


    class Pass(Actor):
        def fire(self, inputs, outputs):
            token, room = inputs["in"], outputs["out"]
            room[: len(token)] = token
            room.used = len(token)


    class Sink(Actor):
        def __init__(self, path):
            self.path, self.got = path, []

        def fire(self, inputs, outputs):
            tokens = inputs["in"] if isinstance(inputs["in"], list) else [inputs["in"]]
            for token in tokens:
                assert len(set(token.tolist())) < 2
                self.got.append([len(token), int(token[0]) if len(token) else -1])

        def finalize(self):
            Path(self.path).write_text(json.dumps(self.got))


    class Greedy(Actor):
        def fire(self, inputs, outputs):
            outputs["out"].used = len(outputs["out"]) + 1


    class Lazy(Actor):
        def fire(self, inputs, outputs):
            outputs["out"][:1] = 1
            outputs["out"].used = 40
'''


def sizes(count, most):
    return [(0, most, 1)[k] if k < 3 else k * 7919 % (most + 1) for k in range(count)]


def application(folder, token, policy=FaultPolicy.STOP, capacity=2, rate=1, source="Source", count=60):
    """Source, Pass, Sink."""
    path = folder / "behaviours.py"
    path.write_text(textwrap.dedent(BEHAVIOURS))

    def actor(name, class_name, *parameters):
        return Actor(name, (), behaviour=PythonBehaviour("behaviours.py", class_name, str(path)), parameters=parameters)

    middle = [actor("Pass", "Pass")] if rate == 1 else []
    actors = [
        actor("Source", source, *[("count", str(count))] * (source == "Source")),
        *middle,
        actor("Sink", "Sink", ("path", str(folder / "sink.json"))),
    ]
    ports = {each.name: [] for each in actors}
    fifos = []
    for number, (one, other) in enumerate(zip(actors, actors[1:])):
        ports[one.name].append(Port("out", Direction.OUT, token, rate, rate, atr=rate))
        ports[other.name].append(Port("in", Direction.IN, token, rate, rate, atr=rate))
        ends = PortRef(one.name, "out"), PortRef(other.name, "in")
        fifos.append(Fifo(f"f{number}", *ends, capacity=capacity, policy=policy))
    return Graph("app", tuple(replace(each, ports=tuple(ports[each.name])) for each in actors), tuple(fifos))


WAYS = {
    "within": {},
    "both between": {"Pass": "b", "Sink": "c"},
    "one between": {"Sink": "b"},
}


@pytest.mark.parametrize("shared", [False, True], ids=["alone", "shared"])
@pytest.mark.parametrize("policy", [FaultPolicy.STOP, FaultPolicy.WAIT, FaultPolicy.DROP])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("token", ["uint8[<=40000]", "float32[<=30]"])
def test_tokens_arrive_as_long_as_they_are(token, way, policy, shared, tmp_path):
    graph = application(tmp_path, parse_token(token), policy, capacity=2 if token[0] == "u" else 16)
    homes = {actor.name: WAYS[way].get(actor.name, "a") for actor in graph.actors}
    records = run_in_threads(deploy(graph, homes, tmp_path, shared=shared))
    most = parse_token(token).shape[0]
    got = json.loads((tmp_path / "sink.json").read_text())
    assert got == [[count, number % 251 if count else -1] for number, count in enumerate(sizes(60, most))]
    sent = sum(sizes(60, most)) * np.dtype(parse_token(token).dtype).itemsize
    assert {fifo["bytes"] for record in records.values() for fifo in record["fifos"].values()} == {sent}


def test_several_tokens_per_firing_have_sizes_of_their_own(tmp_path):
    graph = application(tmp_path, parse_token("int32[<=100]"), rate=3, capacity=6)
    for homes in ({"Source": "a", "Sink": "a"}, {"Source": "a", "Sink": "b"}):
        run_in_threads(deploy(graph, homes, tmp_path))
        assert [count for count, _ in json.loads((tmp_path / "sink.json").read_text())] == sizes(60, 100)


@pytest.mark.parametrize("homes", [{}, {"Pass": "b", "Sink": "b"}], ids=["within", "between"])
def test_the_newest_tokens_keep_their_size(homes, tmp_path):
    graph = application(tmp_path, parse_token("uint8[<=500]"), FaultPolicy.NEWEST, capacity=3)
    run_in_threads(deploy(graph, {actor.name: homes.get(actor.name, "a") for actor in graph.actors}, tmp_path))
    got = json.loads((tmp_path / "sink.json").read_text())
    possible = {(count, number % 251 if count else -1) for number, count in enumerate(sizes(60, 500))}
    assert got and {tuple(each) for each in got} <= possible


def test_check_asks_only_for_the_elements_that_are_used(tmp_path):
    token = parse_token("uint8[<=5000]")
    (program,) = deploy(application(tmp_path, token), dict.fromkeys(("Source", "Pass", "Sink"), "a"), tmp_path).values()
    assert finish(start(program, "--check"))[0] == 0
    assert [count for count, _ in json.loads((tmp_path / "sink.json").read_text())] == sizes(60, 5000)
    graph = application(tmp_path, token, source="Lazy")
    (program,) = deploy(graph, dict.fromkeys(("Source", "Pass", "Sink"), "a"), tmp_path).values()
    outcome = finish(start(program, "--check", "--frames", "3"))
    assert outcome[0] == 1
    assert "left 39 of" in str(outcome)


def test_more_elements_than_there_is_room_for_are_refused(tmp_path):
    graph = application(tmp_path, parse_token("uint8[<=5]"), source="Greedy")
    (program,) = deploy(graph, dict.fromkeys(("Source", "Pass", "Sink"), "a"), tmp_path).values()
    outcome = finish(start(program))
    assert outcome[0] == 1
    assert "a token of 6 elements, where there is room for 0 to 5" in str(outcome)


def test_initial_tokens_are_empty():
    ring = Ring("f", "uint8", "<=8", 3, delay=2)
    assert [len(ring.token(number)) for number in (0, 1)] == [0, 0]


def test_memory_counts_the_most_that_a_token_may_have(tmp_path):
    graph = application(tmp_path, parse_token("uint8[<=1000]"))
    assert set(buffer_bytes(graph).values()) == {2 * 1024}


def test_both_ends_state_the_same_most(tmp_path):
    graph = application(tmp_path, parse_token("uint8[<=1000]"))
    sink = graph.actors[-1]
    fixed = replace(sink, ports=(replace(sink.ports[0], token=parse_token("uint8[1000]")),))
    findings = check(System(replace(graph, actors=(*graph.actors[:-1], fixed))))
    assert any(each.rule == "G2" and "uint8[<=1000]" in each.message for each in findings)


@pytest.mark.parametrize("text", ["uint8[<=]", "uint8[<=0]", "uint8[<=3,4]", "uint8[3,<=4]", "uint8[<3]"])
def test_a_size_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match="uint8"):
        parse_token(text)


@given(st.sampled_from(["uint8", "float32", "complex128"]), st.integers(1, 10**9))
def test_a_token_type_survives_the_journey(dtype, most):
    token = TokenType(dtype, (most,), True)
    assert parse_token(str(token)) == token


@given(st.integers(0, 200), st.integers(1, 20))
def test_a_length_that_no_token_has_is_refused(nbytes, most):
    ring = Ring("f", "int32", f"<={most}", 1)
    lengths = range(0, ring.token_bytes + 1, 4)
    buffer = bytearray(wire.HEADER_BYTES)
    wire.pack_header(buffer, wire.DATA, 0, 0, 0, nbytes)
    if nbytes % 4 == 0 and nbytes <= 4 * most:
        assert wire.unpack_header(buffer, {0: lengths}).nbytes == nbytes
    else:
        with pytest.raises(ProtocolError, match="does not take such tokens"):
            wire.unpack_header(buffer, {0: lengths})
