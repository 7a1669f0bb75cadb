import numpy as np
import pytest
from traffic_renderer import FRAMES, HEIGHT, WIDTH, TrafficScene


@pytest.fixture(scope="module")
def frames():
    return [TrafficScene(seed).frame(index) for seed in range(12) for index in (10, 60)]


def test_a_frame_depends_on_its_names_only():
    scene = TrafficScene(3)
    scene.frame(8)
    pixels, truths = scene.frame(40)
    again, same = TrafficScene(3).frame(40)
    assert np.array_equal(pixels, again)
    assert truths == same


@pytest.mark.parametrize(("seed", "index"), [(4, 40), (3, 41)])
def test_seed_and_index_each_matter(seed, index):
    assert not np.array_equal(TrafficScene(3).frame(40)[0], TrafficScene(seed).frame(index)[0])


def test_frames_are_pictures_with_vehicles_in_them(frames):
    for pixels, truths in frames:
        assert (pixels.shape, pixels.dtype) == ((HEIGHT, WIDTH, 3), np.uint8)
        assert pixels.std() > 3
        for truth in truths:
            ymin, xmin, ymax, xmax = truth.box
            assert 0 <= ymin < ymax <= 1
            assert 0 <= xmin < xmax <= 1
            assert 0 <= truth.visible <= 1
    assert {truth.kind for _, truths in frames for truth in truths} == {0, 1, 2, 3}
    shown = [truth.visible for _, truths in frames for truth in truths]
    assert 3 < len(shown) / len(frames) < 12
    assert 0.05 < np.mean([visible < 0.25 for visible in shown]) < 0.5, "too much or too little is hidden"


def test_a_box_is_where_its_vehicle_is():
    # Take one vehicle off the road: what changes lies in its box, its shadow just below aside.
    seed, index = 5, 50
    with_all, truths = TrafficScene(seed).frame(index)
    for truth in truths:
        if truth.visible < 0.9:
            continue
        scene = TrafficScene(seed)
        for number, lane in enumerate(scene.lanes):
            left = tuple(vehicle for vehicle in lane.vehicles if vehicle.identity != truth.identity)
            scene.lanes[number] = type(lane)(lane.row, lane.scale, lane.speed, lane.sway, left)
        changed = (scene.frame(index)[0] != with_all).any(2)
        rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
        ymin, xmin, ymax, xmax = np.array(truth.box) * (HEIGHT, WIDTH, HEIGHT, WIDTH)
        assert abs(rows[0] - ymin) <= 2
        assert rows[-1] - ymax < 12
        assert abs(columns[0] - xmin) < 30
        assert abs(columns[-1] - xmax) < 30
        assert changed[int(ymin) : int(ymax), int(xmin) : int(xmax)].mean() > 0.5
        return
    raise AssertionError("no vehicle of this scene is in full view")


def test_vehicles_keep_their_identities_and_move_smoothly():
    scene = TrafficScene(8)
    middles = {}
    for index in range(0, FRAMES, 4):
        for truth in scene.frame(index)[1]:
            if truth.box[1] > 0 and truth.box[3] < 1:
                middles.setdefault((truth.identity, truth.kind), []).append((index, (truth.box[1] + truth.box[3]) / 2))
    assert len({identity for identity, _ in middles}) == len(middles), "a vehicle changed its class"
    steps = [(b[1] - a[1]) / 4 for seen in middles.values() for a, b in zip(seen, seen[1:]) if b[0] - a[0] == 4]
    assert len(steps) > 20
    assert max(map(abs, steps)) < 0.08
    assert np.abs(steps).mean() > 0.002
