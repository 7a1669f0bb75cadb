import numpy as np
import pytest
from driver import prepared
from frame_reader import FrameReader
from PIL import Image
from traffic_renderer import TrafficScene

from eprune.runtime import EndOfStream

FRAME = "uint8[1,360,480,3]"


def read(reader, token=FRAME, names=("out", "frame")):
    """All frames that it gives, one dict of outputs a firing."""
    prepared(reader, {}, dict.fromkeys(names, token))
    found = []
    while True:
        outputs = {name: np.full(port.shape, 77, port.dtype) for name, port in reader.outputs.items()}
        try:
            reader.fire({}, outputs)
        except EndOfStream:
            return found
        found.append(outputs)


def test_without_a_path_it_renders_traffic_and_every_port_gets_each_frame():
    found = read(FrameReader(seed="7", count="3"))
    assert len(found) == 3
    for index, outputs in enumerate(found):
        assert np.array_equal(outputs["out"][0], TrafficScene(7).frame(index)[0])
        assert np.array_equal(outputs["out"], outputs["frame"])


def test_after_a_scene_the_next_one_begins():
    last = read(FrameReader(seed="7", count="101"), "uint8[12,16,3]", ["out"])[-1]["out"]
    [first] = read(FrameReader(seed="8", count="1"), "uint8[12,16,3]", ["out"])
    assert np.array_equal(last, first["out"])


def test_a_folder_of_pictures(tmp_path):
    for name, value in (("b.png", 200), ("a.png", 100)):
        Image.new("RGB", (10, 10), (value, 0, 0)).save(tmp_path / name)
    found = read(FrameReader(path=str(tmp_path)), "uint8[1,4,4,3]")
    assert [int(outputs["frame"][0, 0, 0, 0]) for outputs in found] == [100, 200]


def test_a_file_of_arrays(tmp_path):
    stack = np.random.default_rng(1).integers(0, 256, (3, 4, 4, 3), np.uint8)
    np.save(tmp_path / "stack.npy", stack)
    found = read(FrameReader(path=str(tmp_path / "stack.npy"), repeat="2"), "uint8[1,4,4,3]")
    assert np.array_equal([outputs["out"][0] for outputs in found], [*stack, *stack])


def test_ports_must_agree():
    with pytest.raises(ValueError, match="all of the same token type"):
        prepared(FrameReader(), {}, {"out": FRAME, "frame": "uint8[1,300,300,3]"})


def test_rendered_traffic_is_pictures_only():
    with pytest.raises(ValueError, match="expected uint8"):
        prepared(FrameReader(), {}, {"out": "float32[1,96,96,3]"})
