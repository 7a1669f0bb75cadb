"""Bundles on Arm boards of 64 and 32 bits, as far as qemu is one: they run against a peer here, and answer alike."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from eprune.deploy.ports import free_base_port
from tests.kit import arm
from tests.kit.commands import call
from tests.kit.programs import ROOT, environment

FRAMES = 20
MODELS = ROOT.parent / "shared" / "models"
#: How far scores may differ from those of x86: float32 kernels add up in another order.
CLOSE = 2e-6
#: The same in steps of quantised scores: XNNPACK rounds on Arm's 64 bits in another way, and tflite-runtime does not.
STEPS = {"aarch64": 4, "armv7l": 0}

pytestmark = [pytest.mark.long, pytest.mark.parametrize("machine", arm.KINDS)]


def bundle(folder, application, *more):
    done = call("codegen", str(application), *more, "--pyz", "-o", f"{folder}/", "--allow-outside")
    assert done.code == 0, done.err


def here(*words, cwd, interpreter):
    """A program on this machine, by the same interpreter."""
    return subprocess.Popen(
        [sys.executable, *words, f"--interpreter={interpreter}"],
        cwd=cwd,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def results(process):
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    return [json.loads(line) for line in out.splitlines()]


def test_the_split_classifier_runs_on_a_board_against_a_server_here(tmp_path, machine):
    board = arm.board(machine)
    graphs = ROOT / "graphs"
    split = ("-p", str(graphs / "endpoint.xml"), str(graphs / "server.xml"), "-m", str(ROOT / "mappings/vehicle_split"))
    bundle(tmp_path, graphs / "vehicle.xml", *split)
    count = f"--set=Input.count={FRAMES}"

    def answers(start, interpreter):
        port = free_base_port(1)
        link = ("--timeout=300", "--no-pin")
        server = here("server.pyz", f"--link=endpoint=127.0.0.1:{port}", *link, cwd=tmp_path, interpreter=interpreter)
        endpoint = start("endpoint.pyz", f"--link=server=127.0.0.1:{port}", *link, count, cwd=tmp_path)
        found = results(server)
        assert endpoint.wait(60) == 0, endpoint.stderr.read()
        endpoint.communicate()
        return found

    on_board = answers(board.start, board.interpreter)
    on_x86 = answers(lambda *words, cwd: here(*words, cwd=cwd, interpreter=board.interpreter), board.interpreter)
    assert len(on_board) == len(on_x86) == FRAMES
    assert [line["class"] for line in on_board] == [line["class"] for line in on_x86]
    apart = [abs(one["score"] - other["score"]) for one, other in zip(on_board, on_x86)]
    assert max(apart) < CLOSE
    print(f"{machine}: {sum(each > 0 for each in apart)} of {FRAMES} scores differ, by {max(apart):.1e} at most")


@pytest.mark.parametrize(("model", "size"), [("mobilenet_v2_1.0_224_quant", 224), ("mobilenet_v1_0.25_128_quant", 128)])
def test_a_mobilenet_on_a_board_sees_what_it_sees_here(tmp_path, machine, model, size):
    path, files = MODELS / f"{model}.tflite", sorted((MODELS / "images").glob("*.*"))
    if not (path.exists() and files):
        pytest.skip(f"{path.name} and pictures for it are not here")
    board = arm.board(machine)
    app, pictures = tmp_path / "app", tmp_path / "pictures.npy"
    # Decoded here: two versions of Pillow make different pixels of one JPEG.
    np.save(pictures, np.stack([np.asarray(Image.open(file).convert("RGB").resize((size, size))) for file in files]))
    done = call("import", str(path), "-o", str(app), "--input", str(pictures), "-p", "pi")
    assert done.code == 0, done.err
    bundle(tmp_path, app / "application.xml", "-p", str(app / "platform.xml"), "-m", str(app / "mapping.xml"))
    (program,) = tmp_path.glob("*.pyz")
    on_board = results(board.start(str(program), "--timeout=300", "--no-pin", cwd=app))
    on_x86 = results(here(str(program), "--no-pin", cwd=app, interpreter=board.interpreter))
    assert len(on_board) > 2
    assert [line["class"] for line in on_board] == [line["class"] for line in on_x86]
    steps = [round(256 * abs(one["score"] - other["score"])) for one, other in zip(on_board, on_x86)]
    assert max(steps) <= STEPS[machine]
    print(f"{machine}, {model}: scores differ by {steps} steps of 1/256")
