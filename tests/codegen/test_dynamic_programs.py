"""Programs of dynamic applications: the control table is in the text, and slices that are active together are fused."""

from __future__ import annotations

import zlib
from dataclasses import replace
from itertools import cycle

import numpy as np
import pytest
from deployments import ENDPOINT, SERVER, mapping, program_of
from test_render import LAYOUT, calls

from eprune.analysis.mapping import segments
from eprune.codegen.digest import digest
from eprune.codegen.targets.python import LINE_LENGTH, render
from eprune.formats.behaviours import inspect
from eprune.formats.model_files import read_model
from eprune.formats.models.slices import slice_model
from eprune.model.system import System
from eprune.model.token import TokenType
from eprune.runtime.fire import tflite
from tests.kit.dynamic import deploy, dpg, homes_of, wired
from tests.kit.programs import finish, start
from tests.kit.tiny_models import ModelBuilder

TOKEN = TokenType("float32", (1, 4))
VALUES = (0, 1, 2)
#: (layers, the last one's tensor)
ENDS = ((2, 4), (3, 7))


def three_layers():
    """A chain of three dense layers of 4."""
    m = ModelBuilder()
    tensor = first = m.tensor((1, 4))
    for _ in range(3):
        tensor = m.dense(tensor, 4, 4)
    return m.build([first], [tensor])


@pytest.fixture
def model(tmp_path):
    (tmp_path / "three.tflite").write_bytes(three_layers())
    return str(tmp_path / "three.tflite")


def branch(model, results, *short):
    """Three slices of a model, which run for the control values 1 and 2. ``short``: a way for 1 from S2 past S3."""
    columns = "Split.out S1.in S1.out S2.in S2.out S3.in S3.out Merge.in"
    rows = {0: "0 " * 8, 1: "1 " * 8, 2: "1 " * 8}
    if short:
        columns += " S2.short Merge.short"
        rows = {0: "0 " * 10, 1: "1 1 1 1 0 0 0 0 1 1", 2: "1 1 1 1 1 1 1 1 0 0"}
    return wired(
        {
            "In": "SPA tensor_source.py:TensorSource count=9",
            "Gate": f"CA schedule.py:Schedule values={','.join(map(str, VALUES))}",
            "Split": "DA switch.py:Switch",
            "S1": f"DPA {model}:0",
            "S2": f"DPA {model}:1",
            "S3": f"DPA {model}:2",
            "Merge": "DA merge.py:Merge",
            "Out": f"SPA tensor_sink.py:TensorSink path={results}",
        },
        """In.look -> Gate.in
        In.out -> Split.in
        Gate.split => Split.mode
        Gate.s1 => S1.mode
        Gate.s2 => S2.mode
        Gate.s3 => S3.mode
        Gate.merge => Merge.mode
        Split.out -> S1.in 0..1
        S1.out -> S2.in 0..1
        S2.out -> S3.in 0..1
        S3.out -> Merge.in 0..1
        Merge.out -> Out.out"""
        + ("\nS2.short -> Merge.short 0..1" if short else ""),
        dpg("Deep", "Gate", "Split", "Merge", "S1 S2 S3", columns, rows),
        token=TOKEN,
    )


def with_probe(graph):
    """S2's two outputs carry its one tensor."""
    actors = tuple(
        replace(actor, ports=tuple(replace(p, tensor=4) if p.direction.value == "out" else p for p in actor.ports))
        if actor.name == "S2"
        else actor
        for actor in graph.actors
    )
    return replace(graph, actors=actors)


def lowered(graph, platform=ENDPOINT, away=(), fuse=True):
    interfaces, findings = inspect(graph)
    assert not findings
    return program_of(graph, platform, mapping(graph, platform.name, homes_of(graph, away)), interfaces, fuse)


def test_the_control_table_is_written_a_row_a_line(model):
    text = render(lowered(branch(model, "r"), away=["S3", "Merge", "Out"]), LAYOUT).replace("  # <none>", "")
    start = text.index("# ---- Control tables")
    assert text[start : text.index("# ---- FIFOs within")] == (
        """\
# ---- Control tables: graph, value of its control token, and then the tokens per firing over each dynamic FIFO ----
program.row("Deep", 0, {"f7": 0, "f9": 0})
program.row("Deep", 1, {"f7": 1, "f9": 1})
program.row("Deep", 2, {"f7": 1, "f9": 1})

"""
    )
    assert (
        'program.fifo("f7", "Split.out", "S1+S2.S1.in", "float32", (1, 4), rate=(0, 1), capacity=2)' in text
        and 'program.fifo("f2", "Gate.split", "Split.mode", "int32", (), control="Deep", capacity=2)' in text
    )
    assert max(map(len, text.splitlines())) <= LINE_LENGTH
    assert {name for name, _, _ in calls(text)} >= {"program.row", "program.fifo", "program.tx"}


def test_a_platform_without_a_part_of_the_graph_has_no_table(model):
    assert lowered(branch(model, "r"), SERVER, away=["Out"]).rows == ()
    assert [row.rates for row in lowered(branch(model, "r"), SERVER, away=["Gate"]).rows] == [(), (), ()]


def test_slices_that_are_active_together_are_one_segment_with_a_control_input_each(model):
    program = lowered(branch(model, "r"))
    [segment] = program.segments
    ends = [segment.declaration.option(name) for name in ("inputs", "outputs")]
    assert (segment.name, ends) == ("S1+S2+S3", [{"S1.in": 0}, {"S3.out": 0}])
    told = [fifo.target for fifo in program.fifos if fifo.control and fifo.target.startswith("S1+S2+S3.")]
    assert told == [f"S1+S2+S3.{name}.mode" for name in ("S1", "S2", "S3")]
    assert "f8" not in {fifo.name for fifo in program.fifos}
    assert [dict(row.rates) for row in program.rows] == [{"f7": n, "f10": n} for n in (0, 1, 1)]


def test_slices_are_not_fused_across_the_border_or_where_only_a_part_of_them_is_active(model):
    graph = with_probe(branch(model, "r", "short"))
    assert [segment.name for segment in lowered(graph).segments] == ["S1", "S2", "S3"]
    interfaces, _ = inspect(graph)
    whole = mapping(graph, "endpoint", homes_of(graph, []))
    named = replace(
        whole,
        placements=tuple(
            replace(place, segment="all") if place.actor in ("S1", "S3") else place for place in whole.placements
        ),
    )
    [finding] = segments(System(graph, mappings=(named,), interfaces=interfaces))
    assert finding.rule == "M4"
    assert "'S1' and 'S3' are not active in the same rows of a dynamic processing graph" in finding.message


def test_the_digest_knows_the_table(model):
    graph = branch(model, "r")
    mapped = mapping(graph, "endpoint", homes_of(graph, []))
    [deep] = graph.dpgs
    other = replace(graph, dpgs=(replace(deep, rows=deep.rows[:-1]),))
    assert digest(System(graph, mappings=(mapped,)), {}) != digest(System(other, mappings=(mapped,)), {})


@pytest.mark.parametrize("away", [[], ["S2", "S3"], ["S1", "S2", "S3"], ["Gate", "S2"]], ids=",".join)
@pytest.mark.parametrize("fuse", [True, False])
def test_a_dynamic_model_gives_the_bits_of_the_whole_model_and_zeros_where_it_is_idle(model, away, fuse, tmp_path):
    check_results(branch(model, tmp_path / "results"), away, fuse, tmp_path, {0: 0, 1: 3, 2: 3})


def test_a_slice_with_an_idle_output_gives_the_bits_of_the_model_up_to_there(model, tmp_path):
    graph = with_probe(branch(model, tmp_path / "results", "short"))
    check_results(graph, ["S3"], True, tmp_path, {0: 0, 1: 2, 2: 3})


def check_results(graph, away, fuse, folder, depths):
    """Run a graph; ``depths``: how many layers each control value runs, 0 for zeros."""
    interfaces, findings = inspect(graph)
    assert not findings
    started = [start(path) for path in deploy(graph, homes_of(graph, away), folder, interfaces, fuse).values()]
    assert [finish(process)[:2] for process in started] == [(0, "")] * len(started)
    model = read_model(graph.actor("S1").behaviour.path)
    prefixes = {
        count: tflite.load(tflite.choose(), slice_model(model, range(count), [0], [last])) for count, last in ENDS
    }
    written = np.load(folder / "results" / "out.npy")
    assert len(written) == 9
    for frame, (value, result) in enumerate(zip(cycle(VALUES), written)):
        wanted = np.zeros((1, 4), np.float32)
        if depths[value]:
            layers = prefixes[depths[value]]
            rng = np.random.default_rng([1, zlib.crc32(b"In"), frame])
            layers.set_tensor(layers.get_input_details()[0]["index"], rng.standard_normal((1, 4)).astype(np.float32))
            layers.invoke()
            wanted = layers.get_tensor(layers.get_output_details()[0]["index"])
        assert result.tobytes() == wanted.tobytes(), frame
