"""The guide to tracking: a detector with its state fed back, put into reader, tracker and writer, on real frames."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import numpy as np
import pytest

from eprune.formats.xml.application import read_application
from eprune.runtime.fire.tflite import load
from tests.kit.programs import ROOT, environment

SHARED = ROOT.parent / "shared" / "models"
MODEL, FRAMES = SHARED / "traffic_model.tflite", SHARED / "traffic"
PAGE = (ROOT / "docs" / "how-to" / "tracking.md").read_text(encoding="utf-8")
EXAMPLE = ROOT / "docs" / "examples" / "tracking.xml"
IMPORT, *COMMANDS = re.findall(r"^\$ eprune (.*)\n((?:(?!\$ |```).*\n)*)", PAGE, re.MULTILINE)
#: what a person sees on the first frame: ymin, xmin, ymax, xmax
SEEN = {"sedan": (0.58, 0.2, 0.77, 0.48), "pickup": (0.56, 0.83, 0.75, 1), "white car": (0.71, 0.92, 0.86, 1)}

needs_model = pytest.mark.skipif(not MODEL.is_file() or not FRAMES.is_dir(), reason=f"needs {MODEL} and {FRAMES}")


def eprune(command, folder):
    """Run a command as the page has it, in a folder like a checkout with the model and the frames."""
    done = subprocess.run(
        [sys.executable, "-m", "eprune", *command.split()],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment(),
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the page's first command has been run."""
    path = tmp_path_factory.mktemp("tracking")
    for name, target in {"docs": ROOT / "docs", "graphs": ROOT / "graphs", "frames": FRAMES, MODEL.name: MODEL}.items():
        (path / name).symlink_to(target)
    eprune(IMPORT[0], path)
    return path


@pytest.fixture(scope="module")
def tracked(folder):
    """Lines and pictures of one process, fused."""
    return run(folder, "app", "-p app -m app")


def run(folder, application, deployment):
    """The lines and the pictures of a run on the three frames."""
    pictures = folder / "pictures"
    for old in pictures.glob("*"):
        old.unlink()
    options = f"-q --set Reader.path=frames --set Writer.images={pictures}"
    done = eprune(f"run {application}/application.xml {deployment} {options}", folder)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return lines, [path.read_bytes() for path in sorted(pictures.iterdir())]


def shared(a, b):
    """Intersection over union."""
    inside = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    return inside / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inside)


@needs_model
@pytest.mark.parametrize("vehicle", SEEN)
def test_what_a_person_sees_is_found_and_followed_to_the_left(tracked, vehicle):
    frames = [line["tracks"] for line in tracked[0]]
    best = max(frames[0], key=lambda track: shared(track["box"], SEEN[vehicle]))
    assert shared(best["box"], SEEN[vehicle]) > 0.5
    boxes = [track["box"] for tracks in frames for track in tracks if track["id"] == best["id"]]
    assert len(boxes) == 3, "it was lost"
    assert boxes[0][1] > boxes[1][1] > boxes[2][1]


@needs_model
def test_nothing_else_is_followed(tracked):
    assert [line["frame"] for line in tracked[0]] == [0, 1, 2]
    assert [len(line["tracks"]) for line in tracked[0][1:]] == [3, 3]


@needs_model
def test_boxes_are_drawn_where_they_are(tracked):
    from io import BytesIO

    from PIL import Image

    for path, data, line in zip(sorted(FRAMES.glob("*.bmp")), tracked[1], tracked[0]):
        with Image.open(path) as before, Image.open(BytesIO(data)) as after:
            changed = np.abs(np.asarray(before.convert("RGB"), int) - np.asarray(after, int)).max(2) > 60
        assert not changed[:100].any(), "there is nothing in the upper part of the frames"
        for track in line["tracks"]:
            ymin, xmin, ymax = (min(int(256 * value), 255) for value in track["box"][:3])
            assert changed[ymin : ymax + 1, xmin : xmin + 2].any(1).mean() > 0.5, "no left edge"


@needs_model
@pytest.mark.parametrize(
    "deployment", ["-p app -m app --no-fuse", "--split", pytest.param("--split --no-fuse", marks=pytest.mark.long)]
)
def test_split_and_unfused_it_says_and_draws_the_same(folder, tracked, deployment):
    if "--split" in deployment:
        if not (folder / "cuts").exists():
            [explore] = [command for command, _ in COMMANDS if command.startswith("explore")]
            eprune(explore, folder)
        deployment = deployment.replace("--split", "-p graphs/endpoint.xml graphs/server.xml -m cuts/4")
    assert run(folder, "app", deployment) == tracked


@pytest.mark.long
@needs_model
def test_cut_into_layers_it_says_and_draws_the_same(folder, tracked):
    eprune(IMPORT[0].replace("-o app --per 4", "-o layers --per layer"), folder)
    assert run(folder, "layers", "-p layers -m layers") == tracked


@pytest.mark.long
@needs_model
def test_the_commands_of_the_page_print_what_it_shows(folder):
    def shape(line):
        return re.sub(r"\d+\.\d+", "#", line)

    for command, shown in [IMPORT, *COMMANDS]:
        done = eprune(command, folder)
        seen = iter([shape(line) for line in (done.stdout + done.stderr).splitlines()])
        for line in shown.splitlines():
            assert shape(line) in seen, f"not seen: {line}"
    assert len(list((folder / "pictures").iterdir())) == 3


@pytest.mark.long
@needs_model
def test_larger_pictures_take_four_other_tokens(folder):
    from PIL import Image

    text, count = re.subn(r'(name="(?:frame|drawing)" token="uint8\[1,)256,256', r"\g<1>360,640", EXAMPLE.read_text())
    assert count == 4
    (folder / "larger.xml").write_text(text)
    eprune(IMPORT[0].replace("-o app", "-o larger").replace("docs/examples/tracking.xml", "larger.xml"), folder)
    lines, _ = run(folder, "larger", "-p larger -m larger")
    for vehicle in SEEN.values():
        assert max(shared(track["box"], vehicle) for track in lines[0]["tracks"]) > 0.5
    with Image.open(folder / "pictures" / "000000.jpg") as image:
        assert image.size == (640, 360)


@pytest.mark.long
@needs_model
def test_a_video_file_does_as_well(folder, tracked):
    av = pytest.importorskip("av")
    from PIL import Image

    with av.open(str(folder / "street.mp4"), "w") as video:
        stream = video.add_stream("mpeg4", rate=25, width=256, height=256, pix_fmt="yuv420p", bit_rate=10**7)
        for path in sorted(FRAMES.glob("*.bmp")):
            frame = av.VideoFrame.from_image(Image.open(path).convert("RGB"))
            video.mux(stream.encode(frame))
        video.mux(stream.encode())
    done = eprune("run app/application.xml -p app -m app -q --set Reader.path=street.mp4", folder)
    frames = [json.loads(line)["tracks"] for line in done.stdout.splitlines()]
    assert len(frames) == 3
    for vehicle in SEEN.values():
        assert max(shared(track["box"], vehicle) for track in frames[0]) > 0.5


@needs_model
def test_the_state_goes_round(folder):
    """With a first state that makes a difference: this model's own is always 0."""
    from PIL import Image

    application = folder / "raw" / "application.xml"
    eprune(re.sub(r"-o app (.*)--into \S+", r"-o raw \1", IMPORT[0]), folder)
    np.save(folder / "raw" / "first.npy", np.full((1, 1, 8, 8, 320), 255, np.uint8))
    text, count = re.subn(r'delay="1"', r'delay="1" initial="first.npy"', application.read_text())
    assert count > 0
    application.write_text(text)
    pixels = [np.asarray(Image.open(path).convert("RGB"))[None] for path in sorted(FRAMES.glob("*.bmp"))]
    source = read_application(str(application)).actors[0].name
    np.save(folder / "raw" / "frames.npy", np.stack(pixels))
    options = f"-q --interpreter ai-edge-litert --set {source}.path=raw/frames.npy --set Output.path=out"
    eprune(f"run raw/application.xml -p raw -m raw {options}", folder)

    runner = load("ai-edge-litert", MODEL.read_bytes())
    inputs, outputs = runner.get_input_details(), runner.get_output_details()
    results = {}
    for first in (0, 255):
        state = [np.full((1, 8, 8, 320), first, np.uint8)] * 2
        for frame in pixels:
            for detail, value in zip(inputs, (frame, *state)):
                runner.set_tensor(detail["index"], value)
            runner.invoke()
            boxes, *_, cell, hidden = (runner.get_tensor(detail["index"]) for detail in outputs)
            state = [cell, hidden]
            results.setdefault(first, []).append(boxes)
    assert not np.array_equal(results[0][0], results[255][0]), "the state makes no difference"
    boxes = np.load(folder / "out" / "TFLite_Detection_PostProcess.npy")
    assert boxes.tobytes() == np.stack(results[255]).tobytes()


def test_the_page_shows_the_example_as_it_is():
    assert f"```xml\n{EXAMPLE.read_text(encoding='utf-8')}```\n" in PAGE
