"""The multi-rate examples, on one platform and on two, against numpy and whole models, and with a server killed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import wave

import numpy as np
import pytest
from vehicle_renderer import render_vehicle

from eprune.deploy.ports import free_base_port
from eprune.runtime.fire.tflite import choose, load
from scripts.chaos.proxy import Proxy
from tests.kit.programs import ROOT, environment, finish, lines, rest, start

PLATFORMS = {"local": ["endpoint"], "split": ["endpoint", "server"]}
CLASSES = ["car", "bus", "truck", "motorcycle"]


def eprune(command, application, where, *more):
    files = [ROOT / "graphs" / f"{platform}.xml" for platform in PLATFORMS[where]]
    words = [command, ROOT / f"graphs/{application}.xml", "-p", *files]
    words += ["-m", ROOT / f"mappings/{application}_{where}", *more]
    done = subprocess.run(
        [sys.executable, "-m", "eprune", *map(str, words)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Two seconds at 16 kHz: a .wav file, and its samples."""
    path = tmp_path_factory.mktemp("sound") / "sound.wav"
    samples = (np.random.default_rng(7).standard_normal(32_000) * 4000).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(samples.tobytes())
    return path, samples.astype(np.float32) / 32768


def patches(samples):
    """25 windows of 20 bands each: all windows at once, hop 160 of 400 samples, silence before the first."""
    whole = np.concatenate([np.zeros(240, np.float32), samples])
    windows = np.lib.stride_tricks.sliding_window_view(whole, 400)[::160]
    powers = np.abs(np.fft.rfft(windows * np.hanning(400).astype(np.float32))) ** 2
    bands = np.log(np.add.reduceat(powers, np.arange(20) * 201 // 20, axis=1) + 1e-6).astype(np.float32)
    return bands[: len(bands) // 25 * 25].reshape(-1, 1, 25, 20, 1)


@pytest.mark.parametrize("where", PLATFORMS)
def test_windows_of_sound_are_what_numpy_cuts_out(sound, tmp_path, where):
    path, samples = sound
    eprune("run", "sound_windows", where, "--set", f"Sound.path={path}", "--set", f"Sink.path={tmp_path}")
    got = np.load(tmp_path / "in.npy")
    wanted = patches(samples)
    assert got.reshape(wanted.shape) == pytest.approx(wanted, rel=1e-5)


def test_a_server_that_is_killed_comes_back_and_no_patch_is_lost(sound, tmp_path):
    path, _ = sound
    eprune("codegen", "sound_windows", "split", "-o", f"{tmp_path}/")
    alone = eprune("run", "sound_windows", "local", "--set", f"Sound.path={path}", "--set", "Sound.repeat=25")
    whole = [shown(line) for line in alone.splitlines()]
    settings = ("--set", f"Sound.path={path}", "--set", "Sound.repeat=25")
    endpoint = start(tmp_path / "endpoint.py", *settings)
    outs = []
    for count in (30, 40):
        server = start(tmp_path / "server.py")
        begun = lines(server, count)
        server.kill()
        text = begun + rest(server)[1]
        outs.append([shown(line) for line in text[: text.rfind("\n")].splitlines()])
    server = start(tmp_path / "server.py")
    assert finish(endpoint)[0] == 0
    code, text, err = finish(server)
    assert code == 0, err
    outs.append([shown(line) for line in text.splitlines()])
    at = 0
    for own in outs:
        # From where the last one was, or one or two patches before: those are done again.
        begin = next((b for b in range(at, max(at - 3, -1), -1) if whole[b : b + len(own)] == own), None)
        assert begin is not None, (at, own[:3])
        at = begin + len(own)
    assert at == len(whole) == 25 * 8


def test_a_connection_that_breaks_loses_and_doubles_nothing(sound, tmp_path):
    path, _ = sound
    eprune("codegen", "sound_windows", "split", "-o", f"{tmp_path}/")
    settings = ("--set", f"Sound.path={path}", "--set", "Sound.repeat=25")
    alone = eprune("run", "sound_windows", "local", *settings)
    port = free_base_port(1)
    proxy = Proxy(port, 5100)
    proxy.rate = 200e3  # a few seconds for all
    try:
        server = start(tmp_path / "server.py")
        endpoint = start(tmp_path / "endpoint.py", "--link", f"server=127.0.0.1:{port}", *settings)
        begun = []
        for count in (30, 40, 50):
            begun.append(lines(server, count))
            proxy.cut()
        (code, _, told), (_, text, err) = finish(endpoint), finish(server)
        assert code == 0, err
    finally:
        proxy.close()
    assert told.count("reconnected to peer 'server'") == 3 and "resent" in told, told
    assert ("".join(begun) + text).splitlines() == alone.splitlines()


def shown(line):
    """A line of the sink without its number, which counts from 0 in each process."""
    return {name: value for name, value in json.loads(line).items() if name != "frame"}


@pytest.mark.parametrize("where", PLATFORMS)
def test_every_third_frame_has_the_answer_of_the_heavy_network(where):
    out = eprune("run", "vehicle_third", where, "--frames", "8")
    light, heavy = (load(choose(), (ROOT / f"graphs/vehicle{name}.tflite").read_bytes()) for name in ("_small", ""))
    wanted = []
    for frame in range(24):
        picture = render_vehicle(1, frame, 0).reshape(1, 96, 96, 3)
        small = picture.reshape(1, 48, 2, 48, 2, 3).mean((2, 4))
        scores = scored(*((light, small) if frame % 3 else (heavy, picture)))
        wanted.append((frame, CLASSES[int(scores.argmax())], float(scores.max())))
    got = [json.loads(line) for line in out.splitlines()]
    assert [(line["frame"], line["class"]) for line in got] == [each[:2] for each in wanted]
    assert [line["score"] for line in got] == pytest.approx([each[2] for each in wanted], rel=1e-4)


def scored(interpreter, picture):
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], picture.astype(np.float32))
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).reshape(-1)


BEATS = """import time

from eprune.runtime import Actor


class Beat(Actor):
    def fire(self, inputs, outputs):
        began = time.perf_counter_ns()
        time.sleep(0.1)
        for out in outputs.values():
            out[...] = began


class Oldest(Actor):
    def fire(self, inputs, outputs):
        outputs["out"][...] = min(int(token[0]) for token in inputs["in"])


class Watch(Actor):
    def fire(self, inputs, outputs):
        print(self.name, (time.perf_counter_ns() - int(inputs["in"][0])) / 1e9, flush=True)
"""
BEATING = """<application name="beating" model="sdf">
  <actor name="Beat" class="beats.py:Beat">
    <out name="each" token="int64[1]"/>
    <out name="third" token="int64[1]" rate="0,0,1"/>
  </actor>
  <actor name="Three" class="beats.py:Oldest">
    <in name="in" token="int64[1]" rate="3"/>
    <out name="out" token="int64[1]"/>
  </actor>
  <actor name="All" class="beats.py:Watch"><in name="in" token="int64[1]"/></actor>
  <actor name="Last" class="beats.py:Watch"><in name="in" token="int64[1]"/></actor>
  <fifo name="each" from="Beat.each" to="Three.in"/>
  <fifo name="three" from="Three.out" to="All.in"/>
  <fifo name="third" from="Beat.third" to="Last.in"/>
  <require from="Beat.each" to="All.in" latency="250ms" rate="1/s"/>
  <require from="Beat.third" to="Last.in" latency="250ms"/>
</application>
"""


@pytest.mark.parametrize("far", [(), ("Three", "All", "Last")])
def test_requirements_are_measured_a_token_is_as_old_as_the_oldest_that_it_was_made_from(tmp_path, far):
    (tmp_path / "beats.py").write_text(BEATS)
    (tmp_path / "app.xml").write_text(BEATING)
    homes = {name: "server" if name in far else "endpoint" for name in ("Beat", "Three", "All", "Last")}
    platforms = list(dict.fromkeys(homes.values()))
    for platform in platforms:
        unit = re.search(r'unit name="([^"]+)"', (ROOT / f"graphs/{platform}.xml").read_text()).group(1)
        rows = [f'<map actor="{a}" ' + (f'unit="{unit}"' if h == platform else f'platform="{h}"') + "/>"
                for a, h in homes.items()]  # fmt: skip
        text = f'<mapping application="beating" platform="{platform}">{"".join(rows)}</mapping>'
        (tmp_path / f"{platform}.xml").write_text(text)
    files = [str(ROOT / f"graphs/{name}.xml") for name in platforms]
    words = ["run", "app.xml", "-p", *files, "-m", *(f"{name}.xml" for name in platforms), "--frames", "5"]
    done = subprocess.run(
        [sys.executable, "-m", "eprune", *words, "--record", "records"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    seen = {"All": [], "Last": []}
    for line in done.stdout.splitlines():
        if line.split()[0] in seen:
            seen[line.split()[0]].append(float(line.split()[1]))
    assert min(seen["All"]) >= 0.3 > 0.25 > max(seen["Last"])
    found = {}
    for name in platforms:
        found.update(json.loads((tmp_path / "records" / f"{name}.json").read_text()).get("requirements", {}))
    late, within = found["Beat.each -> All.in"], found["Beat.third -> Last.in"]
    assert (late["tokens"], late["late"], late["met"]) == (5, 5, False)
    assert (within["tokens"], within["within"], within["met"]) == (5, 5, True)
    assert 2.5 < late["rate_per_s"] < 3.5
    assert late["late_by"] == {"FIFO each" if far else "actor Beat": 5}


@pytest.mark.parametrize("where", PLATFORMS)
def test_the_records_of_a_run_are_the_times_of_its_actors(tmp_path, where):
    """In an iteration, three frames, the light network fires three times and the heavy one once."""
    eprune("run", "vehicle_third", where, "--frames", "20", "--record", tmp_path)
    records = sorted(tmp_path.glob("*.json"))
    assert len(records) == len(PLATFORMS[where])
    measured = {name: each for path in records for name, each in json.loads(path.read_text())["actors"].items()}
    assert (measured["Light"]["firings"], measured["Heavy"]["firings"]) == (60, 20)
    text = eprune("analyze", "vehicle_third", where, "--latency", "--format", "json", "--times", *records)
    (way,) = json.loads(text)["timing"]["ways"]
    parts = [part for part in way["parts"] if part["does"] == "fires"]
    assert {part["about"] for part in parts} >= {"Deal", "Choose"}
    for part in parts:
        name = part["about"].partition("#")[0]
        assert part["seconds"] == pytest.approx(measured[name]["busy_s"] / measured[name]["firings"])
