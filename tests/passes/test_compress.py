"""Coded cuts of the vehicle classifier: the pass, what is measured for it, and the same answers over two platforms."""

from __future__ import annotations

import importlib.util
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eprune import face
from eprune.analysis.check import check
from eprune.explore.space import mapping
from eprune.formats.system import files_in, read_system, write_system
from eprune.measure.plans.compress import planned
from eprune.measure.ranges import Statistics, next_layer, projection
from eprune.model.finding import EpruneError, has_errors
from eprune.model.graph import FaultPolicy
from eprune.passes import compress, relocate
from eprune.passes.compress import Coding, Method, Options
from eprune.runtime.main import imports
from tests.kit.programs import ROOT

GRAPHS = ROOT / "graphs"


@pytest.fixture(scope="module")
def vehicle():
    """The vehicle classifier, cut after L2."""
    platforms = [str(GRAPHS / "endpoint.xml"), str(GRAPHS / "server.xml")]
    mappings = files_in([str(ROOT / "mappings/vehicle_split")], "mapping")
    return read_system(str(GRAPHS / "vehicle.xml"), platforms, mappings)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """Rendered vehicles with their classes, as a user's data."""
    made = imports.load(str(ROOT / "actors" / "vehicle_renderer.py"))
    path = tmp_path_factory.mktemp("data") / "vehicles.npz"
    pixels = [np.rint(made.render_vehicle(7, index).reshape(96, 96, 3) * 255).astype(np.uint8) for index in range(16)]
    np.savez(path, x=np.array(pixels), y=[made.vehicle_class(7, index) for index in range(16)])
    return str(path)


@pytest.fixture(scope="module")
def measured(vehicle, rendered):
    """All ways, measured."""
    return planned(vehicle, Options(("f3",), data=rendered))


def rows(options):
    return {row["name"]: row for row in options.figures["methods"]["f3"]}


def answers(system, folder, frames=6):
    """What the application's own programs say, one line of JSON for each frame, and the bytes per frame."""
    written = write_system(relocate.apply(system, relocate.Options(str(folder))).system, str(folder))
    loaded = face.load(written.application, written.platforms, written.mappings, allow_outside=True)
    path = folder / "answers.jsonl"
    run = face.run(loaded, frames=frames, settings={"Sink.path": str(path)})
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == frames
    return lines, run.links["endpoint", "server"].bytes_per_frame


def test_the_pass_is_pure_and_breaks_no_rule(vehicle, measured):
    once, again = (compress.apply(vehicle, measured) for _ in range(2))
    assert once.system == again.system
    assert not has_errors(check(replace(once.system, interfaces={}, problems=())))
    fifos = {fifo.name: fifo for fifo in once.system.graph.fifos}
    assert fifos["f3"].window == 1
    assert once.system.homes["Compress-f3"] == "endpoint"
    assert once.system.homes["Decompress-f3"] == "server"


def test_each_way_is_measured_and_without_loss_nothing_changes(measured):
    found = rows(measured)
    assert {"lossless", "int8", "int8-channel", "int4", "int4-channel", "rank 16 int8", "rank 100"} <= set(found)
    for exact in ("lossless", "rank 100"):
        assert found[exact]["agreement"]["value"] == 1
    assert found["lossless"]["bytes"] < 73728
    assert found["int4"]["bytes"] < found["int8"]["bytes"] < found["lossless"]["bytes"]
    assert found["int8"]["agreement"]["right"] >= found["int8"]["agreement"]["of"] - 1
    assert found["rank 16 int8"]["most_bytes"] == 17
    assert found["rank 100"]["most_bytes"] == 401
    sent = {row["name"]: row["bytes"] for row in measured.figures["coded_input"]}
    assert sorted(sent, key=sent.get) == ["JPEG 50", "JPEG 75", "JPEG 90", "JPEG 95"]
    assert any("the input as JPEG 50" in line for line in measured.lines)
    assert sum(row["chosen"] for row in found.values()) == 1


@pytest.mark.long
def test_the_wish_takes_the_fewest_bytes_that_keep_it_and_the_bytes_the_best_answers(vehicle, rendered):
    least = planned(vehicle, Options(("f3",), data=rendered, wish="accuracy=0", frames=4))
    small = planned(vehicle, Options(("f3",), data=rendered, bytes="8KiB", frames=4))
    fewest, best = (next(row for row in rows(each).values() if row["chosen"]) for each in (least, small))
    assert fewest["bytes"] == min(row["bytes"] for row in rows(least).values())
    assert fewest["bytes"] <= best["bytes"] <= 8192 * 1.1


@pytest.mark.long
def test_over_two_platforms_the_answers_are_those_that_were_stated(vehicle, tmp_path):
    plain, raw = answers(vehicle, tmp_path / "plain")
    assert raw == 73728
    for method, tolerance in ((Method.LOSSLESS, 0), (Method.INT8, 0.05), (Method.RANK, 1e-4)):
        made = planned(vehicle, Options(("f3",), method=method, frames=6))
        folder = tmp_path / method.value
        found, sent = answers(compress.apply(vehicle, made).system, folder)
        assert sent < raw * 0.7, method
        for line, wanted in zip(found, plain):
            assert line["class"] == wanted["class"], method
            assert abs(line["score"] - wanted["score"]) <= tolerance, method


def test_all_ranks_of_a_layer_are_exact_but_for_rounding_and_fewer_are_near(vehicle, rendered):
    weights = next_layer(vehicle.graph.actor("L3"))
    assert weights.shape == (100, 24 * 24 * 32)
    assert next_layer(vehicle.graph.actor("L2")) is None
    assert next_layer(vehicle.graph.actor("Sink")) is None
    exact = planned(vehicle, Options(("f3",), data=rendered, method=Method.RANK, frames=8))
    near = planned(vehicle, Options(("f3",), data=rendered, method=Method.RANK, rank=32, frames=8))
    assert exact.made["f3"].rank == 100
    assert exact.made["f3"].method == "lossless"
    assert near.made["f3"].most(compress.token_of(vehicle, compress.checked(vehicle, "f3"))) == 33


def test_before_a_convolution_the_channels_of_each_place_are_projected(vehicle, rendered):
    """All of them are exact but for rounding; a quarter of them is near, and as small as it can be."""
    near = {actor.name: "endpoint" if actor.name in ("Input", "L1") else "server" for actor in vehicle.graph.actors}
    system = replace(vehicle, mappings=tuple(mapping(vehicle.graph, each, near) for each in vehicle.platforms))
    made = [
        planned(system, Options(("f2",), data=rendered, method=Method.RANK, rank=rank, frames=4)) for rank in (32, 8)
    ]
    whole, quarter = (each.figures["methods"]["f2"][0] for each in made)
    assert whole["name"] == "rank 32 of 32" and whole["agreement"]["value"] == 1
    assert quarter["name"] == "rank 8 of 32 int8" and quarter["agreement"]["value"] >= 0.75
    assert quarter["most_bytes"] == 1 + 48 * 48 * 8
    with pytest.raises(ValueError, match="the layer behind has rank 32"):
        planned(system, Options(("f2",), method=Method.RANK, rank=33, frames=4))


def test_what_is_kept_is_what_the_convolution_sees():
    """Of channels that it hardly looks at nothing is kept, however much they vary."""
    random = np.random.default_rng(3)
    kernel = random.standard_normal((6, 3, 3, 4))
    kernel[..., 2] *= 1e-3
    values, vectors = np.linalg.eigh(kernel.reshape(-1, 4).T @ kernel.reshape(-1, 4))
    aware, blind = Statistics((vectors * np.sqrt(values)) @ vectors.T, True), Statistics(np.eye(4), True)
    tokens = random.standard_normal((20, 7, 7, 4)) * (1, 1, 50, 1)
    errors = []
    for found in (aware, blind):
        for token in tokens:
            found.add(token)
        with np.load(io.BytesIO(projection(found).basis(3))) as basis:
            back = (tokens @ basis["project"].T) @ basis["restore"] + basis["offset"]
        wrong = np.lib.stride_tricks.sliding_window_view(back - tokens, (3, 3), axis=(1, 2))
        errors.append((np.einsum("nhwcij,oijc->nhwo", wrong, kernel) ** 2).mean())
    assert errors[0] < errors[1] / 100


def test_random_inputs_are_said_and_numbers_are_reproducible(vehicle):
    one, two = (planned(vehicle, Options(("f3",), method=Method.INT4, frames=4)) for _ in range(2))
    assert one.made == two.made
    assert any("no --data: measured on random inputs" in line for line in one.lines)
    assert one.figures["pictures"]["random"]


def changed(system, name, **values):
    fifos = tuple(replace(each, **values) if each.name == name else each for each in system.graph.fifos)
    return replace(system, graph=replace(system.graph, fifos=fifos))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fifo": ("f9",)}, "--fifo f9: there is no such FIFO; between platforms there are f3"),
        ({"fifo": ("f2",)}, "--fifo f2: it does not leave platform 'endpoint': there is nothing to save"),
        ({"wish": "nonsense"}, "--wish nonsense: write accuracy=0.97 or agreement=0.99"),
        ({"wish": "agreement=2"}, "--wish agreement=2: write accuracy=0.97"),
        ({"wish": "accuracy=0.9", "frames": 2}, "needs pictures with labels"),
        ({"wish": "agreement=1", "bytes": "1KiB"}, "give one of them"),
        ({"method": Method.INT8, "bytes": "1KiB"}, "give one of them"),
        ({"bytes": "1B", "frames": 2}, "--bytes 1: the least for f3 is"),
        ({"rank": 3}, "--rank is for --method rank"),
        ({"method": Method.RANK, "rank": 101, "frames": 2}, "--rank 101: the layer behind has rank 100"),
        ({"level": 23, "frames": 2}, "--level 23: zstd has levels 1 to 22"),
        ({"frames": 0}, "--frames 0: at least one picture"),
        ({"bandwidth": "fast"}, "fast"),
    ],
)
def test_what_cannot_be_is_said(vehicle, options, message):
    pytest.importorskip("zstandard")
    with pytest.raises(ValueError, match=message):
        planned(vehicle, replace(Options(("f3",)), **options))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"delay": 1, "capacity": 3}, "has initial tokens"),
        ({"policy": FaultPolicy.DROP}, "has the policy drop; only stop and wait bring every token"),
    ],
)
def test_fifos_that_lose_tokens_or_begin_with_some_are_refused(vehicle, values, message):
    with pytest.raises(ValueError, match=message):
        compress.checked(changed(vehicle, "f3", **values), "f3")


def test_what_is_coded_already_is_refused_and_without_a_plan_nothing_is_made(vehicle):
    coded = compress.apply(vehicle, Options(("f3",), made={"f3": Coding("lossless")})).system
    with pytest.raises(ValueError, match="it is coded already"):
        compress.checked(coded, "f3")
    with pytest.raises(ValueError, match="how f3 is coded must be measured first"):
        compress.apply(vehicle, Options(("f3",)))


def test_data_that_cannot_be_read_are_said(vehicle):
    with pytest.raises(EpruneError, match="is no file and no folder"):
        planned(vehicle, Options(("f3",), data=str(Path("none"))))


def test_without_zstandard_zlib_codes_and_a_note_says_so(vehicle, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "zstandard" else found(name))
    made = planned(vehicle, Options(("f3",), method=Method.INT8, frames=2))
    assert made.made["f3"].entropy == "zlib"
    assert any("zstandard is not installed, so zlib codes" in line for line in made.lines)
    with pytest.raises(ValueError, match="needs zstandard, which is not installed"):
        planned(vehicle, Options(("f3",), entropy=compress.Entropy.ZSTD, frames=2))
