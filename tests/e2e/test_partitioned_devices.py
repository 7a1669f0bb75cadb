"""A model over several processes: exact while all live, and going on without those that are killed or stopped."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

import numpy as np
import pytest
from click.testing import CliRunner

from eprune.analysis.survey import survey
from eprune.cli.main import cli
from eprune.deploy.ports import free_base_port
from eprune.face import load as load_system
from eprune.runtime.fire.tflite import load
from tests.kit.programs import finish, start
from tests.kit.waiting import freeze

ROOT = Path(__file__).parents[2]
VEHICLE = ROOT / "graphs/vehicle.tflite"
MOBILENET = ROOT.parent / "shared/models/mobilenet_v1_0.25_128_quant.tflite"

#: A source whose frames are known, and which leaves time to do something to a process.
FRAMES = """
import time
from pathlib import Path
import numpy as np
from eprune.runtime import Actor, EndOfStream

def frame(number, shape, kind):
    random = np.random.default_rng(number)
    return random.standard_normal(shape) if kind == "f" else random.integers(0, 256, shape)

class Frames(Actor):
    copies = True

    def __init__(self, count, path=""):
        self.count, self.number = int(count), 0

    def fire(self, inputs, outputs):
        if self.number == self.count:
            raise EndOfStream
        time.sleep(0.02)
        for out in outputs.values():
            out[...] = frame(self.number, out.shape, out.dtype.kind)
        self.number += 1
        with Path(__file__).with_name("begun").open("a") as file:
            file.write(".")
"""


def call(*words: object) -> None:
    result = CliRunner().invoke(cli, [str(word) for word in words])
    assert result.exit_code == 0, result.output


class Devices:
    """The processes of a partitioned model, and what those that ended in order have written."""

    def __init__(self, folder: Path, model: Path, devices: int, method: str, count: int, *more: str) -> None:
        if not model.exists():
            pytest.skip(f"{model} is not there")
        self.folder, self.model, self.devices, self.count = folder, model, devices, count
        self.port = free_base_port(devices * devices)
        call("import", model, "-o", folder / "app", "--per", 3)
        (folder / "app/frames.py").write_text(FRAMES)
        file = folder / "app/application.xml"
        text = file.read_text().replace("tensor_source.py:TensorSource", "frames.py:Frames")
        text = text.replace('<param name="path" value=""/>', f'<param name="count" value="{count}"/>', 1)
        file.write_text(text.replace('<param name="path" value=""/>', '<param name="path" value="out"/>'))
        parts = self.build(method, "build", *more)
        self.system = load_system(parts / "application.xml", parts / "platforms", parts / "mappings", True)
        self.programs = [folder / f"build/device{number}.py" for number in range(1, devices + 1)]
        self.processes = [
            start(program, "--patience", "2", "--record", folder / f"{program.stem}.json") for program in self.programs
        ]

    def build(self, method: str, name: str, *more: str) -> Path:
        """Programs of a partition, in the folder of that name; the folder of its files."""
        parts = self.folder / f"app/{method}"
        given = ("--devices", self.devices, "--method", method, "--port", self.port, "--timeout", "500ms")
        call("apply", "partition", self.folder / "app/application.xml", *given, *more, "-o", parts)
        whole = ("-p", parts / "platforms", "-m", parts / "mappings", "--allow-outside")
        call("codegen", parts / "application.xml", *whole, "-o", f"{self.folder}/{name}/")
        return parts

    def wait_for_frames(self, number: int) -> None:
        """Until so many frames have begun."""
        begun = self.folder / "app/begun"
        deadline = time.monotonic() + 60
        while not begun.exists() or begun.stat().st_size < number:
            assert time.monotonic() < deadline and self.processes[0].poll() is None
            time.sleep(0.02)

    @property
    def expected(self) -> list[np.ndarray]:
        """What the whole model gives for each frame."""
        if not hasattr(self, "_expected"):
            whole = load("ai-edge-litert", self.model.read_bytes())
            space: dict[str, Any] = {}
            exec(FRAMES, space)
            (given,), (made,) = whole.get_input_details(), whole.get_output_details()
            self._expected = []
            for number in range(self.count):
                value = space["frame"](number, given["shape"], np.dtype(given["dtype"]).kind)
                whole.set_tensor(given["index"], value.astype(given["dtype"]))
                whole.invoke()
                self._expected.append(whole.get_tensor(made["index"]))
        return self._expected

    def _files(self, device: int) -> list[Path]:
        found = sorted(self.folder.rglob(f"out-device{device}/*.npy"))
        found = [file for file in found if file.stem != "designated"]
        return [file for file in found if file.stem != "missing"] + [file for file in found if file.stem == "missing"]

    def end(self, dead: Optional[int] = None) -> None:
        """Wait for all; those that were not killed end well."""
        for number, process in enumerate(self.processes, 1):
            code, _, err = finish(process)
            assert code == (-signal.SIGKILL if number == dead else 0), err

    def tables(self, device: int) -> tuple[np.ndarray, list[bool]]:
        """A device's tables of parts, and for each frame whether its result is the whole model's, bit for bit."""
        result, missing = (np.load(file) for file in self._files(device))
        assert len(result) == len(missing) == self.count
        return missing, [got.tobytes() == want.tobytes() for got, want in zip(result, self.expected)]


@pytest.fixture
def devices(tmp_path: Path) -> Iterator[Any]:
    made: list[Devices] = []

    def make(*given: Any) -> Devices:
        made.append(Devices(tmp_path, *given))
        return made[-1]

    yield make
    for each in made:
        for process in each.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)


def check_alive(run: Devices) -> None:
    run.end()
    for device in range(1, run.devices + 1):
        missing, same = run.tables(device)
        assert not missing.any()
        assert all(same)


def check_killed(run: Devices, exact: bool) -> None:
    """The last device is killed: the others have every result, and say which of them are exact."""
    predicted = next(
        result
        for result in survey(run.system, 1, (), "every").results
        if [thing.name for thing in result.failed] == [f"device{run.devices}"]
    )
    sinks = tuple(f"Output-{device}" for device in range(1, run.devices))
    assert (predicted.exact, predicted.degraded) == ((sinks, ()) if exact else ((), sinks))
    run.wait_for_frames(20)
    run.processes[-1].kill()
    run.end(dead=run.devices)
    for device in range(1, run.devices):
        missing, same = run.tables(device)
        says_exact = missing.reshape(run.count, -1).max(axis=1) < 2
        assert all(right for right, said in zip(same, says_exact) if said)
        without = missing[:, :, -1].any(axis=1)
        assert not without[:15].any() and without[-20:].all()
        assert says_exact[-20:].all() == exact


def test_three_devices_go_on_exactly_without_one_where_each_channel_is_on_two(devices: Any) -> None:
    check_killed(devices(VEHICLE, 3, "chained", 70), exact=True)


@pytest.mark.long
def test_three_devices_go_on_without_one_and_say_what_is_missing(devices: Any) -> None:
    check_killed(devices(VEHICLE, 3, "lop", 70), exact=False)


@pytest.mark.long
def test_a_device_that_is_stopped_is_left_out_and_takes_part_again(devices: Any) -> None:
    run = devices(VEHICLE, 2, "lop", 150)
    run.wait_for_frames(20)
    freeze(run.processes[-1].pid)
    run.wait_for_frames(60)
    run.processes[-1].send_signal(signal.SIGCONT)
    for process in run.processes:
        finish(process)
    missing, same = run.tables(1)
    without = missing[:, :, -1].any(axis=1)
    assert not without[:15].any() and without[30:55].all() and not without[-10:].any()
    assert all(right for right, table in zip(same, missing) if table.max() < 2)


@pytest.mark.long
@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("model", [VEHICLE, MOBILENET], ids=["vehicle", "mobilenet"])
def test_all_devices_have_the_whole_models_result_while_all_live(devices: Any, model: Path, count: int) -> None:
    check_alive(devices(model, count, "lop", 60))


@pytest.mark.long
@pytest.mark.parametrize(("count", "method"), [(2, "lop"), (4, "lop"), (3, "chained"), (4, "chained")])
@pytest.mark.parametrize("model", [VEHICLE, MOBILENET], ids=["vehicle", "mobilenet"])
def test_devices_go_on_without_one(devices: Any, model: Path, count: int, method: str) -> None:
    check_killed(devices(model, count, method, 80), exact=method == "chained")


@pytest.mark.long
def test_a_device_that_comes_back_spoils_no_exact_result(devices: Any) -> None:
    run = devices(MOBILENET, 3, "chained", 150)
    run.wait_for_frames(20)
    freeze(run.processes[-1].pid)
    run.wait_for_frames(60)
    run.processes[-1].send_signal(signal.SIGCONT)
    for process in run.processes:
        finish(process)
    for device in (1, 2):
        missing, same = run.tables(device)
        assert missing.any() and missing.max() == 1 and all(same)


@pytest.mark.long
def test_a_device_that_is_started_again_takes_part_again(devices: Any) -> None:
    run = devices(VEHICLE, 2, "lop", 250)
    run.wait_for_frames(20)
    run.processes[-1].kill()
    run.wait_for_frames(40)
    again = start(run.programs[-1], "--patience", "2")
    for process in (run.processes[0], again):
        code, _, err = finish(process)
        assert code == 0, err
    missing, same = run.tables(1)
    without = missing[:, :, -1].any(axis=1)
    assert not without[:15].any() and without[30:38].all() and not without[-20:].any()
    assert all(right for right, table in zip(same, missing) if table.max() < 2)


@pytest.mark.long
def test_the_next_device_in_line_gives_the_result_when_the_designated_one_dies(devices: Any) -> None:
    """A source on every device; their time-out follows what parts take."""
    run = devices(VEHICLE, 3, "chained", 500, "--clock", "20/s", "--timeout", "20ms..500ms")
    run.wait_for_frames(600)  # of all three together
    run.processes[0].kill()
    for process in run.processes[1:]:
        code, _, err = finish(process)
        assert code == 0, err
    flags = {}
    for device in (2, 3):
        (file,) = run.folder.rglob(f"out-device{device}/designated.npy")
        flags[device] = np.load(file)[:, 0].astype(bool)
    assert not flags[2][5:45].any(), "the first device lives"
    assert flags[2][-40:-10].all() and not flags[3][-40:-10].any(), "one of them may end a little earlier"
    for device in (2, 3):
        fifos = json.loads((run.folder / f"device{device}.json").read_text())["fifos"].values()
        shortest = min(fifo["timeout_ms"] for fifo in fifos if "timeout_ms" in fifo)
        assert 20 < shortest < 500, "it follows what parts take"


@pytest.mark.long
def test_a_device_with_another_partition_of_the_model_is_refused_with_the_reason(devices: Any) -> None:
    run = devices(VEHICLE, 3, "lop", 5)
    for process in run.processes:
        process.kill()
        process.wait()
    run.port = free_base_port(9)
    run.build("lop", "again")
    run.build("chained", "other")
    given = ("--timeout", "20", "--patience", "1")
    programs = run.folder / "again/device1.py", run.folder / "other/device2.py"
    started = [start(program, *given) for program in programs]
    for process in started:
        _, _, err = finish(process)
        assert "refused" in err and "application digest" in err
        assert "generate the programs of all platforms from the same files" in err


@pytest.mark.long
def test_a_device_that_flaps_costs_no_more_than_its_parts(devices: Any) -> None:
    run = devices(VEHICLE, 3, "chained", 300)
    for number in range(20, 220, 40):
        run.wait_for_frames(number)
        freeze(run.processes[-1].pid)
        run.wait_for_frames(number + 20)
        run.processes[-1].send_signal(signal.SIGCONT)
    for process in run.processes:
        finish(process)
    for device in (1, 2):
        missing, same = run.tables(device)
        assert missing.max() == 1 and all(same)
