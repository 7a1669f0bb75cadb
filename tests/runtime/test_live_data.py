"""Live data in real processes: tokens are fresh where only the newest are kept, and sensors of different rates meet."""

import json
import statistics

import pytest

from eprune.deploy.ports import free_base_port
from tests.kit import stamps
from tests.kit.programs import finish, start, write_program

#: seconds between two frames of the camera, and what the sink takes for one
FRAME, SINK = 0.01, 0.1
#: frames that it makes
FRAMES = 100
#: seconds that a link on loopback takes, and a busy machine
LINK = 0.02
TYPE = "'float64', (2,)"


@pytest.fixture
def port():
    return free_base_port(4)


def camera(name="C", n=FRAMES, period=FRAME):
    return f"actor('{name}', 'ACTORS:Paced', 'cpu', {{'n': '{n}', 'period': '{period}'}})"


def sink(tmp_path, seconds=SINK, more=""):
    return f"actor('S', 'ACTORS:Stamps', 'cpu', {{'file': '{tmp_path / 'sink'}', 'seconds': '{seconds}'}}{more})"


def run_all(tmp_path, *programs, arguments=()):
    running = [start(program, "--record", f"{program}.json", *arguments) for program in programs]
    for process in running:
        code, _, err = finish(process)
        assert code == 0, err
    return [json.loads((tmp_path / f"{program.name}.json").read_text()) for program in programs]


def assert_fresh(seen, link=0.0):
    """Each token is the newest that there was when the sink could take it; none comes twice."""
    counts = seen.counts("in")
    assert counts == sorted(set(counts))
    assert counts[-1] == FRAMES - 1  # the last one is not dropped
    assert statistics.median(seen.ages("in")) < SINK + FRAME + link


def assert_never_waited(camera):
    """Had it waited for the sink at every other frame, it would have taken five times as long as its frames take."""
    assert camera["last_s"] - camera["first_s"] < FRAMES / 2 * SINK / 2


def test_a_slow_sink_gets_the_newest_frames_of_a_camera_that_never_waits(tmp_path):
    program = write_program(
        tmp_path,
        "one",
        camera(),
        sink(tmp_path),
        f"fifo('f', 'C.out', 'S.in', {TYPE}, capacity=3, policy='newest')",
        aligned=True,
    )
    (record,) = run_all(tmp_path, program)
    seen = stamps.read(tmp_path / "sink")
    assert_fresh(seen)
    fifo = record["fifos"]["f"]
    assert fifo["tokens"] == record["actors"]["C"]["firings"] == FRAMES
    assert fifo["consumed"] == FRAMES
    assert fifo["consumed"] - fifo["discarded"] == record["actors"]["S"]["firings"] == len(seen)
    assert_never_waited(record["actors"]["C"])


def test_over_a_link_too(tmp_path, port):
    kind = f"capacity=3, port={port}, policy='newest', timeout=1"
    near = write_program(
        tmp_path,
        "near",
        camera(),
        f"tx('f', 'C.out', {TYPE}, to='far', address='127.0.0.1', {kind})",
        aligned=True,
    )
    far = write_program(tmp_path, "far", sink(tmp_path), f"rx('f', 'S.in', {TYPE}, frm='near', {kind})", aligned=True)
    first, second = run_all(tmp_path, near, far)
    seen = stamps.read(tmp_path / "sink")
    assert_fresh(seen, LINK)
    fifo = first["fifos"]["f"]
    assert fifo["tokens"] == first["actors"]["C"]["firings"] == FRAMES
    assert fifo["tokens"] == fifo["confirmed"] + fifo["dropped"]
    there = second["fifos"]["f"]
    assert fifo["confirmed"] == there["tokens"] == there["consumed"]
    assert there["consumed"] - there["discarded"] == len(seen)
    assert_never_waited(first["actors"]["C"])


def test_what_stands_between_adds_only_what_it_holds(tmp_path, port):
    """Camera, newest, a slow actor, a link, a sink as slow: the age is what the two take, and what is under way."""
    kind = f"capacity=1, port={port}, policy='stop'"
    near = write_program(
        tmp_path,
        "near",
        camera(),
        f"actor('D', 'ACTORS:Stamps', 'cpu', {{'file': '{tmp_path / 'between'}', 'seconds': '{SINK}'}})",
        f"fifo('f', 'C.out', 'D.in', {TYPE}, capacity=3, policy='newest')",
        f"tx('g', 'D.out', {TYPE}, to='far', address='127.0.0.1', {kind})",
        aligned=True,
    )
    far = write_program(
        tmp_path, "far", sink(tmp_path, SINK / 2), f"rx('g', 'S.in', {TYPE}, frm='near', {kind})", aligned=True
    )
    run_all(tmp_path, near, far)
    seen, between = stamps.read(tmp_path / "sink"), stamps.read(tmp_path / "between")
    assert seen.counts("in") == between.counts("in")
    assert statistics.median(seen.ages("in")) < 2 * SINK + FRAME + LINK


@pytest.mark.parametrize("link", [False, True])
def test_sensors_of_different_rates_meet_at_the_pace_of_the_faster(tmp_path, port, link):
    images, ranges = camera("C"), camera("R", 5, 0.2)
    join = sink(tmp_path, 0, ", hold=('b',), groups=(('a',),)")
    if link:
        kind = f"capacity=3, port={port}, policy='newest', timeout=1"
        programs = [
            write_program(
                tmp_path,
                "lidar",
                ranges,
                f"tx('g', 'R.out', {TYPE}, to='car', address='127.0.0.1', {kind})",
                aligned=True,
            ),
            write_program(
                tmp_path,
                "car",
                images,
                join,
                f"fifo('f', 'C.out', 'S.a', {TYPE}, capacity=2)",
                f"rx('g', 'S.b', {TYPE}, frm='lidar', {kind})",
                aligned=True,
            ),
        ]
    else:
        programs = [
            write_program(
                tmp_path,
                "car",
                images,
                ranges,
                join,
                f"fifo('f', 'C.out', 'S.a', {TYPE}, capacity=2)",
                f"fifo('g', 'R.out', 'S.b', {TYPE}, capacity=2)",
                aligned=True,
            )
        ]
    records = run_all(tmp_path, *programs)
    seen = stamps.read(tmp_path / "sink")
    assert seen.counts("a") == list(range(seen.counts("a")[0], FRAMES))
    assert len(seen) > 0.8 * FRAMES  # the first firing waits for a first scan
    assert set(seen.counts("b")) >= {1, 2, 3}
    assert statistics.median(seen.ages("b")) < 0.2
    assert statistics.median(seen.ages("a")) < LINK
    assert records[-1]["actors"]["S"]["firings"] == len(seen)
