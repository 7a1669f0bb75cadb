import os
import subprocess
import sys

import numpy as np
import pytest
from frame_source import FrameSource
from PIL import Image
from vehicle_renderer import render_vehicle


def test_without_a_path_it_renders_vehicles(tokens):
    [_, second] = tokens(FrameSource(count="2", seed="3", view="1"))
    assert np.array_equal(second[0], render_vehicle(3, 1, 1))


def test_a_npy_file_and_a_folder_of_images_give_the_same_frames(tmp_path, tokens):
    frames = np.stack([render_vehicle(1, index) for index in range(3)])
    np.save(tmp_path / "frames.npy", frames)
    for index, frame in enumerate(frames):
        Image.fromarray(np.rint(frame * 255).astype(np.uint8)).save(tmp_path / f"{index}.png")
    for path in (tmp_path / "frames.npy", tmp_path):
        assert np.array_equal(np.concatenate(tokens(FrameSource(path=str(path)))), frames)


def test_notes_name_the_actor(tmp_path, tokens, capsys):
    (tmp_path / "0.png").write_text("no image")
    Image.new("RGB", (9, 9)).save(tmp_path / "1.png")
    assert len(tokens(FrameSource(path=str(tmp_path), on_error="skip"))) == 1
    assert capsys.readouterr().err.startswith("Input: skipped: ")


def test_a_path_that_is_nowhere_is_named(tmp_path):
    for name in ("nowhere", "nowhere.npy"):
        with pytest.raises(FileNotFoundError, match=name):
            FrameSource(path=str(tmp_path / name))


def test_without_pillow_everything_but_images_works():
    program = """
import sys
sys.modules["PIL"] = None
from frame_source import FrameSource
FrameSource()
try:
    FrameSource(path=".")
except ValueError as error:
    print(error)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert result.stdout == "reading images needs Pillow: pip install pillow\n"
