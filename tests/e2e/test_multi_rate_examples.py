"""The multi-rate examples, on one platform and on two, against numpy and whole models, and with a server killed."""

from __future__ import annotations

import json
import subprocess
import sys
import wave

import numpy as np
import pytest
from vehicle_renderer import render_vehicle

from eprune.runtime.fire.tflite import choose, load
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
