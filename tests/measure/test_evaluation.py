"""How good an application is: accuracy or agreement with bounds, bytes and time, however it is cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eprune.codegen.lower import lower
from eprune.face import System
from eprune.formats.model_files import read_model
from eprune.formats.system import read_system
from eprune.measure.answers import ModelAnswers, SystemAnswers, alone, system_of
from eprune.measure.data import read_data
from eprune.measure.evaluate import evaluate
from eprune.measure.executor import Executor
from eprune.model.finding import EpruneError
from eprune.model.samples import Share
from tests.kit.programs import ROOT

GRAPHS = ROOT / "graphs"
SPLIT = [str(GRAPHS / "endpoint.xml"), str(GRAPHS / "server.xml")]


def example(name, mapped=None):
    """An example, on two platforms if ``mapped`` names the folder of mappings."""
    files = [str(path) for path in sorted((ROOT / "mappings" / mapped).glob("*.xml"))] if mapped else []
    return read_system(str(GRAPHS / f"{name}.xml"), SPLIT if mapped else (), files)


@pytest.fixture(scope="module")
def vehicles(tmp_path_factory):
    """Rendered vehicles and their classes, as the application's source has them."""
    path = tmp_path_factory.mktemp("data") / "vehicles.npz"
    (program,) = lower(alone(example("vehicle_exit")))
    pictures, classes = [], []
    with Executor(program, only=["Input"]) as executor:
        for _ in range(24):
            outputs = executor.fire("Input").outputs
            pictures.append(outputs["out"].copy())
            classes.append(int(outputs["wanted"][0]))
    np.savez(path, x=np.array(pictures), y=classes)
    return read_data(str(path))


@given(right=st.integers(0, 400), of=st.integers(1, 400))
def test_the_interval_holds_the_share_and_is_within_0_and_1(right, of):
    right = min(right, of)
    share = Share(right, of)
    assert 0 <= share.low <= share.value <= share.high <= 1
    assert share.low < share.high
    assert Share(10 * right, 10 * of).high - Share(10 * right, 10 * of).low < share.high - share.low


def test_the_interval_is_wilsons():
    share = Share(96, 100)
    assert share.low == pytest.approx(0.901629, abs=1e-6)
    assert share.high == pytest.approx(0.984337, abs=1e-6)


def test_what_crosses_the_cut_is_counted(vehicles):
    found = evaluate(example("vehicle", "vehicle_split"), vehicles, part="all")
    assert (found.measure, found.share.of) == ("accuracy", 24)
    assert found.share.value > 0.9
    assert found.bytes_per_frame == {("endpoint", "server"): 73728}
    # over a link of 11.2 MB/s the token alone takes more than 6 ms
    assert found.latency_p95_ms >= found.latency_ms > 1e3 * 73728 / 11.2e6


def test_early_exits_send_less(vehicles):
    found = evaluate(example("vehicle_exit", "vehicle_exit_split"), vehicles, part="all")
    assert found.share.value > 0.9
    late = found.bytes_per_frame["server", "endpoint"] / 16  # the share that went on
    assert 0 < late < 1
    assert found.bytes_per_frame["endpoint", "server"] == pytest.approx(73728 * late + 8, rel=0.01)


def test_a_cut_application_agrees_with_its_model(vehicles):
    model = vehicle_model()
    found = evaluate(example("vehicle", "vehicle_split"), vehicles, model=model, frames=5)
    assert (found.measure, found.share.right, found.share.of) == ("agreement", 5, 5)
    with system_of(str(GRAPHS / "vehicle.tflite")) as system, SystemAnswers(system) as answers:
        model_alone = ModelAnswers(model, "ai-edge-litert")
        for each in vehicles.first(3):
            token = each.content
            assert answers.frame(token).answer.tobytes() == model_alone(token).tobytes()


def test_every_camera_gets_the_picture(vehicles):
    found = evaluate(example("vehicle_dual"), vehicles, frames=6)
    assert found.share.right >= 4
    assert any("2 sources" in note for note in found.notes)


def test_labels_without_a_score_are_refused(vehicles, tmp_path):
    pixels = np.arange(2, dtype=np.uint8)[:, None, None, None] + np.zeros((2, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "far.npz", x=pixels, y=[9, 9])
    data = read_data(str(tmp_path / "far.npz"))
    with pytest.raises(EpruneError, match="label '9' is none of the classes: car, bus, truck, motorcycle"):
        evaluate(example("vehicle"), data)
    with system_of(str(GRAPHS / "vehicle.tflite")) as system:
        with pytest.raises(EpruneError, match="label '9' is class 9, but there are 4 scores"):
            evaluate(system, data)
        assert System.of(system).evaluate(tmp_path / "far.npz", model=vehicle_model()).share.value == 1


def vehicle_model():
    return read_model(str(GRAPHS / "vehicle.tflite"))
