"""Ready-made actors that are updated while they run: cut after any firing, they go on as if nothing had happened."""

import numpy as np
import pytest
from driver import fired, padded, prepared
from frame_reader import FrameReader
from frame_source import FrameSource
from json_lines import JsonLines
from PIL import Image
from tensor_sink import TensorSink
from tensor_source import TensorSource
from tracker import Tracker
from traffic_source import TrafficSource
from vehicle_source import VehicleSource
from wav_source import WavSource

from eprune.runtime import EndOfStream
from eprune.runtime.main.legacy import pack, unpack
from tests.kit.ends import save_sound

PICTURE = "float32[1,96,96,3]"


def successor(make, before, inputs, outputs):
    """An actor of the next generation, which goes on where the one before has ended."""
    before.finalize()
    after = make()
    state = unpack(pack(before.state()))
    if state:
        after.resume(state)
    return prepared(after, inputs, outputs)


def images(folder):
    rng = np.random.default_rng(1)
    for number in range(3):
        Image.fromarray(rng.integers(0, 255, (16, 16, 3), np.uint8)).save(folder / f"{number}.png")
    return str(folder)


def film(folder):
    av = pytest.importorskip("av", reason="PyAV is not installed")
    path = folder / "film.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for grey in (20, 90, 160):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), grey, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return str(path)


def numbers(folder):
    np.save(folder / "numbers.npy", np.arange(12, dtype=np.float32).reshape(3, 4))
    return str(folder / "numbers.npy")


def sounds(folder):
    for name, length in (("a", 7), ("b", 10)):
        save_sound(folder / f"{name}.wav", np.linspace(-1, 0.9, length))
    return str(folder)


SOURCES = {
    "vehicles": (lambda folder: VehicleSource(count="5"), PICTURE),
    "traffic": (lambda folder: TrafficSource(count="5"), "uint8[1,32,32,3]"),
    "images": (lambda folder: FrameSource(images(folder), repeat="2"), "float32[1,8,8,3]"),
    "rendered": (lambda folder: FrameSource(count="4"), PICTURE),
    "film": (lambda folder: FrameReader(film(folder), repeat="2"), "uint8[1,12,16,3]"),
    "file": (lambda folder: TensorSource(numbers(folder), repeat="2"), "float32[4]"),
    "random": (lambda folder: TensorSource(count="6"), "float32[4]"),
    "sound": (lambda folder: WavSource(sounds(folder), repeat="2", hop="2"), "float32[4]"),
}


def tokens(source, count=99):
    found = []
    try:
        while len(found) < count:
            found.append(fired(source)["out"])
    except EndOfStream:
        pass
    return found


@pytest.mark.parametrize("kind", SOURCES)
def test_a_source_goes_on_with_the_next_token(tmp_path, kind):
    make, token = SOURCES[kind]
    outputs = {"out": token}
    whole = tokens(prepared(make(tmp_path), {}, outputs))
    assert len(whole) > 3
    for cut in range(len(whole) + 1):
        before = prepared(make(tmp_path), {}, outputs)
        found = tokens(before, cut)
        found += tokens(successor(lambda: make(tmp_path), before, {}, outputs))
        assert len(found) == len(whole)
        assert all(np.array_equal(one, other) for one, other in zip(found, whole))


SINKS = {
    "lines": lambda folder: JsonLines(path=str(folder / "x.json")),
    "tensors": lambda folder: TensorSink(str(folder)),
}


@pytest.mark.parametrize("kind", SINKS)
def test_a_sink_writes_behind_what_is_there(tmp_path, kind):
    def written(cut):
        folder = tmp_path / str(cut)
        folder.mkdir()
        inputs = {"in": "float32[3]"}
        sink = prepared(SINKS[kind](folder), inputs, {})
        for number in range(4):
            if number == cut:
                sink = successor(lambda: SINKS[kind](folder), sink, inputs, {})
            fired(sink, **{"in": [number, 1, 2]})
        sink.finalize()
        return [path.read_bytes() for path in sorted(folder.iterdir())]

    assert written(0) == written(1) == written(3) == written(9)
    assert len(written(99)[0]) > 40


def test_a_tracker_knows_its_tracks():
    rows = 4
    outputs = {"track_boxes": f"float32[{rows},4]", "track_classes": f"int32[{rows}]", "track_ids": f"int32[{rows}]"}
    inputs = {"boxes": f"float32[{rows},4]", "classes": f"int32[{rows}]", "scores": f"float32[{rows}]"}

    def told(cut):
        tracker, found = prepared(Tracker(), inputs, outputs), []
        for frame in range(12):
            if frame == cut:
                tracker = successor(Tracker, tracker, inputs, outputs)
            boxes = [[0.4, 0.1 + 0.02 * frame, 0.5, 0.3 + 0.02 * frame]] * (frame not in (4, 5))
            boxes += [[0.7, 0.5 - 0.02 * frame, 0.8, 0.7 - 0.02 * frame]] * (frame > 6)
            kinds, scores = [frame % 2] * len(boxes), [0.9] * len(boxes)
            given = {"boxes": padded(np.reshape(boxes, (-1, 4)), rows), "classes": padded(kinds, rows)}
            found.append(fired(tracker, **given, scores=padded(scores, rows)))
        return found

    whole = told(99)
    assert sorted({int(number) for frame in whole for number in frame["track_ids"]}) == [0, 1, 2]
    for cut in range(12):
        for one, other in zip(told(cut), whole):
            assert all(np.array_equal(one[name], other[name]) for name in outputs)


def test_what_is_not_plain_is_no_state():
    with pytest.raises(ValueError, match="its state 'x' is not made of numbers or text: object"):
        pack({"x": object()})
    kept = {"a": 1, "b": "text", "c": [1.5, 2], "d": np.ones((2, 0)), "e": True}
    found = unpack(pack(kept))
    assert (found["a"], found["b"], found["c"].tolist(), found["d"].shape, found["e"]) == (
        1,
        "text",
        [1.5, 2],
        (2, 0),
        True,
    )
