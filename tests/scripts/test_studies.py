"""The studies of caches and of codes at a cut: what their figures rest on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from eprune.analysis.check import check
from eprune.measure.reuse import Stream
from eprune.model.finding import errors
from eprune.passes.cache import Options
from scripts.compression_study import learned, over
from scripts.reuse_study import Seen, both, halves, tuned_on

ROOT = Path(__file__).resolve().parents[2]


def test_the_test_has_no_scene_of_the_calibration():
    scenes = np.repeat(np.arange(9), 4)
    calibration, test = halves(Seen({}, [], scenes, scenes, []))
    assert not set(scenes[calibration]) & set(scenes[test])
    assert sorted([*calibration, *test]) == list(range(36))


def test_what_is_tuned_on_the_test_keeps_its_wish_there():
    random = np.random.default_rng(1)
    centres = random.normal(size=(6, 12))
    keys = [each / np.linalg.norm(each) for each in np.repeat(centres, 5, axis=0) + random.normal(0, 0.3, (30, 12))]
    answers = [np.eye(3, dtype=np.float32)[frame // 5 % 3][None] for frame in range(30)]
    found = tuned_on(Stream(keys, answers), Options("", false_hits=0.2, frames_under_way=1))
    assert found.hits.right > 0
    assert found.false_hits.value <= 0.2


def test_the_second_camera_sees_what_the_first_one_saw():
    (first, classes, scenes), (second, others, numbers) = both(6)
    assert first.shape == second.shape
    assert list(scenes[:-20]) == list(numbers[20:])
    assert list(classes[:-20]) == list(others[20:])


def test_a_network_with_a_bottleneck_is_a_sound_application_over_any_link():
    system = over(learned(str(ROOT / "graphs/vehicle_bottleneck.tflite")), 2e6, 0.002)
    assert errors(check(system)) == []
    assert {link.bandwidth for platform in system.platforms for link in platform.links} == {2e6}
