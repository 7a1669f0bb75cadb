"""Actors in C compute what their Python twins compute, bit for bit; and nothing outside of their tokens."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from driver import fired, prepared
from nms import NonMaximumSuppression
from resize import Resize

from eprune.runtime.kernel.errors import UsageError
from tests.kit.accelerator import NEEDS_CC
from tests.kit.c_actors import actor
from tests.kit.programs import environment

pytestmark = NEEDS_CC
ACTORS = Path(__file__).resolve().parents[2] / "actors"
SIZES = [((48, 64), (24, 24)), ((17, 9), (31, 40)), ((33, 20), (33, 7)), ((5, 5), (5, 5)), ((1, 2), (9, 1))]


@pytest.mark.parametrize(("source", "target"), SIZES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("dtype", "parameters"), [("uint8", {}), ("int8", {}), ("float32", {"mean": "0.485", "std": "0.229,0.3,0.5"})]
)
def test_resize(source, target, channels, dtype, parameters):
    if channels == 1 and "std" in parameters:
        parameters = {"mean": "0.5", "std": "0.25"}
    ports = (
        {"in": f"uint8[1,{source[0]},{source[1]},{channels}]"},
        {"out": f"{dtype}[{target[0]},{target[1]},{channels}]"},
    )
    twin, ours = prepared(Resize(**parameters), *ports), actor(ACTORS / "resize.c", "resize", *ports, **parameters)
    for seed in range(3):
        pixels = np.random.default_rng(seed).integers(0, 256, (1, *source, channels), np.uint8)
        right, found = fired(twin, **{"in": pixels})["out"], fired(ours, **{"in": pixels})["out"]
        assert right.tobytes() == found.tobytes()
    ours.finalize()


@pytest.mark.parametrize("count", [1, 40, 500])
def test_nms(count):
    ports = (
        {"boxes": f"float32[{count},4]", "scores": f"float32[1,{count},3]"},
        {"kept_boxes": "float32[60,4]", "kept_classes": "int32[60]", "kept_scores": "float32[60]"},
    )
    parameters = {"score": "0.4", "overlap": "0.3"}
    twin = prepared(NonMaximumSuppression(**parameters), *ports)
    ours = actor(ACTORS / "nms.c", "nms", *ports, **parameters)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        corners = rng.random((count, 2), np.float32) * 1.2 - 0.1
        boxes = np.concatenate([corners, corners + 0.3 * rng.random((count, 2), np.float32) - 0.02], 1)
        scores = (rng.integers(0, 20, (1, count, 3)) / 20).astype(np.float32)  # many are equal
        right, found = (fired(each, boxes=boxes, scores=scores) for each in (twin, ours))
        assert {name: right[name].tobytes() for name in right} == {name: found[name].tobytes() for name in found}
    ours.finalize()


@pytest.mark.parametrize(
    ("file", "inputs", "outputs", "parameters", "message"),
    [
        ("resize", {"in": "uint8[4,4,3]"}, {"out": "uint8[4,4,1]"}, {}, "the channels of the input"),
        ("resize", {"in": "float32[4,4,3]"}, {"out": "uint8[4,4,3]"}, {}, "expected uint8"),
        (
            "resize",
            {"in": "uint8[4,4,3]"},
            {"out": "float32[4,4,3]"},
            {"mean": "1,2"},
            "a number, or one for each channel",
        ),
        ("resize", {"in": "uint8[4,4,3]"}, {"out": "float32[4,4,3]"}, {"std": "0"}, "std must not be 0"),
        ("nms", {"boxes": "float32[4,4]"}, {}, {}, "needs the inputs boxes float32[N,4]"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(file, inputs, outputs, parameters, message):
    with pytest.raises(UsageError) as caught:
        actor(ACTORS / f"{file}.c", file, inputs, outputs, **parameters)
    assert message in str(caught.value)


SANITIZED = """
import numpy as np, sys
from pathlib import Path
sys.path.append("tests/actors"); sys.path.append("actors")
from driver import fired
from tests.kit.c_actors import actor
flags = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
rng = np.random.default_rng(1)
for source, target in [((48, 64), (24, 24)), ((17, 9), (31, 40)), ((1, 2), (9, 1))]:
    for dtype in ("uint8", "float32"):
        ports = {"in": f"uint8[{source[0]},{source[1]},3]"}, {"out": f"{dtype}[{target[0]},{target[1]},3]"}
        made = actor(Path("actors/resize.c"), "resize", *ports, flags=flags)
        fired(made, **{"in": rng.integers(0, 256, (*source, 3))})
        made.finalize()
kept = {"kept_boxes": "float32[9,4]", "kept_classes": "int32[9]", "kept_scores": "float32[9]"}
for count in (1, 400):
    given = {"boxes": f"float32[{count},4]", "scores": f"float32[{count},5]"}
    made = actor(Path("actors/nms.c"), "nms", given, kept, flags=flags)
    for scale in (1, np.nan):
        fired(made, boxes=rng.random((count, 4)) * scale, scores=rng.random((count, 5)))
    made.finalize()
weights = Path(sys.argv[1]); weights.write_bytes(rng.random(4 * (25 * 3 + 1), np.float32).tobytes())
layer = ({"in": "float32[1,8,8,3]"}, {"out": "float32[1,4,4,4]"})
made = actor(Path("tests/kit/vehicle_layers.c"), "layer", *layer, flags=flags, weights=str(weights))
fired(made, **{"in": rng.random((1, 8, 8, 3))})
made.finalize()
for wrong in ({"weights": "/nowhere"}, {}):
    try:
        actor(Path("tests/kit/vehicle_layers.c"), "layer", *layer, flags=flags, **wrong)
    except Exception as error:
        assert "has not the weights" in str(error)
print("sound")
"""


def test_they_touch_no_memory_but_their_own(tmp_path):
    """Under the address and undefined behaviour sanitizers."""
    asan = subprocess.run(
        ["cc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not Path(asan).is_absolute():
        pytest.skip("the C compiler has no address sanitizer")
    settings = {"LD_PRELOAD": asan, "ASAN_OPTIONS": "detect_leaks=0", "PYTHONMALLOC": "malloc"}
    done = subprocess.run(
        [sys.executable, "-c", SANITIZED, str(tmp_path / "weights")],
        cwd=ACTORS.parent,
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (0, "sound\n"), done.stderr[-2000:]
