"""What a partitioned model withstands: a worker of a coded one killed, a link down and up, mutual suspicion."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eprune.analysis.survey import survey
from eprune.deploy.ports import free_base_port
from eprune.runtime.fire.tflite import load
from scripts.chaos.proxy import Proxy
from tests.e2e.test_partitioned_devices import VEHICLE, Devices, call
from tests.kit.programs import finish, start

pytestmark = pytest.mark.long


@pytest.fixture
def started() -> Iterator[list[Any]]:
    """Whatever is in the list is ended, processes and proxies."""
    made: list[Any] = []
    yield made
    for each in made:
        each.kill() if hasattr(each, "kill") else each.close()


@pytest.mark.parametrize("dead", [2, 3])
def test_a_coded_model_stays_exact_but_for_rounding_when_any_one_dies(
    tmp_path: Path, started: list[Any], dead: int
) -> None:
    """Of three devices two have channels, and the last one their sums."""
    run = Devices(tmp_path, VEHICLE, 3, "cdc", 70)
    started += run.processes
    (predicted,) = (
        each
        for each in survey(run.system, 1, (), "every").results
        if [thing.name for thing in each.failed] == [f"device{dead}"]
    )
    assert not predicted.degraded
    run.wait_for_frames(20)
    run.processes[dead - 1].kill()
    for number, process in enumerate(run.processes, 1):
        code, _, err = finish(process)
        assert code == (-signal.SIGKILL if number == dead else 0), err
    for device in {1, 2, 3} - {dead}:
        result, missing = (np.load(file) for file in run._files(device))
        assert len(result) == run.count
        assert missing[-20:, :, dead - 1].any(axis=1).all() and missing.max() == 1
        for got, wanted in zip(result, run.expected):
            assert np.abs(got - wanted).max() <= 1e-5


def test_a_link_that_is_down_and_up_again_costs_what_its_peer_computes(tmp_path: Path, started: list[Any]) -> None:
    run = Devices(tmp_path, VEHICLE, 2, "lop", 0)
    started += run.processes
    for process in run.processes:
        finish(process)
    run.count = 150
    (tmp_path / "app/begun").unlink(missing_ok=True)
    relay = free_base_port(1)
    proxy = Proxy(relay, run.port)
    options = "--patience", "2", f"--set={source_of(run)}.count={run.count}"
    run.processes = [
        start(run.programs[0], *options),
        start(run.programs[1], "--patience", "2", f"--link=device1=127.0.0.1:{relay}"),
    ]
    started += [*run.processes, proxy]
    run.wait_for_frames(20)
    proxy.hold()
    run.wait_for_frames(60)
    proxy.resume()
    code, _, err = finish(run.processes[0])
    assert code == 0, err
    missing, same = run.tables(1)
    without = missing[:, :, -1].any(axis=1)
    assert not without[:15].any() and without[25:55].all() and not without[60:].all()
    assert all(right for right, table in zip(same, missing) if table.max() < 2)


def source_of(run: Devices) -> str:
    """The name of the first device's source."""
    return next(actor.name for actor in run.system.graph.actors if not actor.inputs)


#: A source of a scene that changes every second, numbered by a common clock, until there is a file ``end``.
SCENE = """
import time
from pathlib import Path
import numpy as np
from eprune.runtime import Actor, EndOfStream

RATE, SCENES = 20, 8

class Scene(Actor):
    waits = True
    copies = True

    def __init__(self, path=""):
        self.folder = Path(__file__).parent

    def fire(self, inputs, outputs):
        number = int(time.time() * RATE) + 1
        if (self.folder / "end").exists():
            raise EndOfStream
        time.sleep(max(number / RATE - time.time(), 0))
        with (self.folder / "begun").open("a") as file:
            file.write(".")
        for out in outputs.values():
            out[...] = np.random.default_rng(number // RATE % SCENES).standard_normal(out.shape)
"""


def test_two_that_suspect_each_other_go_on_and_trust_each_other_again(tmp_path: Path, started: list[Any]) -> None:
    """The link between them is down: each counts the other out, while the third one has both."""
    call("import", VEHICLE, "-o", tmp_path / "app", "--per", 3)
    (tmp_path / "app/scene.py").write_text(SCENE)
    file = tmp_path / "app/application.xml"
    text = file.read_text().replace("tensor_source.py:TensorSource", "scene.py:Scene")
    before, _, after = text.rpartition('<param name="path" value=""/>')
    file.write_text(f'{before}<param name="path" value="out"/>{after}')
    port, relay, parts = free_base_port(9), free_base_port(1), tmp_path / "parts"
    given = ("--devices", 3, "--method", "chained", "--clock", "20/s", "--timeout", "100ms", "--port", port)
    call("apply", "partition", file, *given, "-o", parts)
    whole = ("-p", parts / "platforms", "-m", parts / "mappings", "--allow-outside")
    call("codegen", parts / "application.xml", *whole, "-o", f"{tmp_path}/build/")
    proxy = Proxy(relay, port)
    programs = [tmp_path / f"build/device{number}.py" for number in (1, 2, 3)]
    links = [(), ("--link", f"device1=127.0.0.1:{relay}"), ()]
    processes = [start(program, "--patience", "2", *link) for program, link in zip(programs, links)]
    started += [*processes, proxy]
    wait_for(tmp_path / "app/begun", 3 * 20)
    proxy.hold()
    wait_for(tmp_path / "app/begun", 3 * 70)
    proxy.resume()
    wait_for(tmp_path / "app/begun", 3 * 170)
    (tmp_path / "app/end").touch()
    for process in processes:
        code, _, err = finish(process)
        assert code == 0, err
    expected = answers()
    for device in (1, 2, 3):
        files = sorted(tmp_path.rglob(f"out-device{device}/*.npy"), key=lambda path: path.stem == "missing")
        result, missing = (np.load(each) for each in files)
        assert len(result) > 100
        lacking = missing.max(axis=1) > 0
        assert not lacking[-20:].all(axis=0).any(), "all trust each other again"
        if device < 3:
            assert lacking[:, 2 - device].sum() > 30, "it did without the other one while the link was down"
        assert lacking[:, 2].mean() < 0.2, "the third one was there, but for what a busy machine delays"
        exact = missing.reshape(len(missing), -1).max(axis=1) < 2
        assert exact.mean() > 0.8, "each channel is on two devices, and one of them was there"
        alike = [any(np.array_equal(got, wanted) for wanted in expected) for got in result[exact]]
        assert np.mean(alike) > 0.8, "but where the scene changes, and one source is late"


def wait_for(begun: Path, count: int) -> None:
    """Until so many frames have begun, of all sources together."""
    deadline = time.monotonic() + 60
    while not begun.exists() or begun.stat().st_size < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def answers() -> list[np.ndarray]:
    """What the whole model gives for the frames of the scene."""
    space: dict[str, Any] = {}
    exec(SCENE, space)
    whole = load("ai-edge-litert", VEHICLE.read_bytes())
    (given,), (made,) = whole.get_input_details(), whole.get_output_details()
    found = []
    for number in range(space["SCENES"]):
        value = np.random.default_rng(number).standard_normal(given["shape"])
        whole.set_tensor(given["index"], value.astype(given["dtype"]))
        whole.invoke()
        found.append(whole.get_tensor(made["index"]))
    return found
