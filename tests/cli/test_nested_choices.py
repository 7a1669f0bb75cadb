"""The example of choices inside of choices: proved, and on every path the bits of a loop over bare interpreters."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from eprune.analysis.check import check
from eprune.face import load
from eprune.formats.model_files import read_model
from eprune.formats.models.slices import slice_channels, slice_model
from eprune.measure.answers import SystemAnswers
from eprune.runtime.fire.tflite import choose
from eprune.runtime.fire.tflite import load as interpreter
from eprune.runtime.main import imports
from tests.kit import pages
from tests.kit.programs import ROOT

GRAPH = ROOT / "graphs" / "vehicle_nested.xml"
PATHS = {"exit", "easy", "easy, block 2", "hard, narrow", "hard, wide"}
SPLIT = (
    (str(ROOT / "graphs/endpoint.xml"), str(ROOT / "graphs/server.xml")),
    str(ROOT / "mappings/vehicle_nested_split"),
)


class Bare:
    """Operators of a model in an interpreter of their own."""

    def __init__(self, data):
        self.loaded = interpreter(choose(), data)

    def __call__(self, *tokens):
        """The output of these inputs, in the order of the file."""
        for detail, token in zip(self.loaded.get_input_details(), tokens):
            self.loaded.set_tensor(detail["index"], token)
        self.loaded.invoke()
        return self.loaded.get_tensor(self.loaded.get_output_details()[0]["index"])


class Reference:
    """The decisions as a person would program them."""

    def __init__(self):
        self.model = read_model(str(ROOT / "graphs/vehicle_skipping.tflite"))
        self.stem, self.gate1, self.gate2 = self.part(0, 2), self.part(3, 6), self.part(10, 13)
        self.block1, self.block2, self.head = self.part(7, 9), self.part(14, 15), self.part(24, 26)
        self.halves = [Bare(slice_channels(self.model, [14], part)) for part in (range(14), range(14, 28))]
        self.rest2, self.rest3 = self.part(15, 16), self.part(21, 26)
        self.classifier = Bare((ROOT / "graphs/vehicle_nested_head.tflite").read_bytes())

    def part(self, first, last):
        return Bare(slice_model(self.model, range(first, last + 1)))

    def __call__(self, picture):
        """The path, and the scores."""
        x = self.stem(picture)
        if self.gate1(x).item() < 0.05:
            scores = self.classifier(x)
            if scores.max() >= 0.9:
                return "exit", scores
            if self.gate2(x).item() < 0.05:
                return "easy", self.head(x)
            return "easy, block 2", self.head(x + self.block2(x))
        x = self.block1(x)
        wide = self.gate2(x).item() >= 0.03
        hidden = np.zeros((1, 12, 12, 28), np.float32)
        hidden[..., :14] = self.halves[0](x)
        if wide:
            hidden[..., 14:] = self.halves[1](x)
        by_shape = [hidden, x]
        return "hard, wide" if wide else "hard, narrow", self.rest3(self.rest2(*by_shape))


@pytest.fixture(scope="module")
def system():
    return load(str(GRAPH), *SPLIT)


def test_it_is_proved(system):
    assert check(system) == []
    assert {dpg.name: dpg.inside for dpg in system.graph.dpgs} == {
        "Depth1": "",
        "Early": "Depth1",
        "Depth2": "Early",
        "Widths": "Depth1",
    }


def test_on_every_path_it_has_the_bits_of_a_plain_loop(system):
    render = imports.load(str(ROOT / "actors/vehicle_renderer.py")).render_vehicle
    reference, met = Reference(), Counter()
    with SystemAnswers(system) as answers:
        for frame in range(60):
            picture = render(1, frame)[None]
            ran = []
            found = answers.frame(picture, 0, watch=lambda firing, ran=ran: ran.append(firing.node))
            path, scores = reference(picture)
            np.testing.assert_array_equal(found.answer, scores)
            assert ("Classifier" in ran) == (not path.startswith("hard")), "elsewhere it would not pay"
            assert ("Second" in ran) == (path == "hard, wide")
            met[path] += 1
    assert set(met) == PATHS


def test_two_processes_answer_alike_and_hear_of_hard_pictures_only(eprune, tmp_path):
    platforms, mappings = SPLIT
    given = ("-p", *platforms, "-m", mappings, "--set", f"Answer.path={tmp_path}/lines", "--frames", "40")
    done = eprune("run", str(GRAPH), *given, "--quiet", "--record", f"{tmp_path}/records")
    assert done.code == 0, done.err
    *lines, _ = map(json.loads, (tmp_path / "lines").read_text().splitlines())
    render, reference = imports.load(str(ROOT / "actors/vehicle_renderer.py")).render_vehicle, Reference()
    hard = 0
    for frame, line in enumerate(lines):
        path, scores = reference(render(1, frame)[None])
        assert line["exit"] == path.split(",")[0].replace("exit", "easy")
        assert np.float32(line["score"]) == scores.max()
        hard += line["exit"] == "hard"
    record = json.loads(Path(tmp_path, "records/server.json").read_text())
    assert record["fifos"]["hard"]["tokens"] == hard


def test_the_sessions_of_the_page_are_real():
    assert pages.differing(ROOT / "docs/how-to/nested_choices.md", ROOT) == (3, [])
