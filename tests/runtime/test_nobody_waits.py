"""Nobody waits for the late: real processes, one of which freezes, hangs, is slow or is restarted.

The others go on at their pace. Their longest pause is that of the time-outs on the path, and what this machine adds to
any pause is measured in the same run, before the failure.
"""

import time

import pytest

from tests.kit import stamps
from tests.kit.cameras import MARGIN, ROOM, TIMEOUT, Cameras

#: seconds of observation before a failure and after it
BEFORE, AFTER = 2.0, 2.0


def assert_went_on(run, seen, port, before, failed, period=0.02, timeouts=ROOM + TIMEOUT):
    """What came at ``port`` in the span ``failed`` paused no longer than it may, and kept the pace of ``before``."""
    mine, calm = seen.of(port), run.calm()
    assert mine.pause(*failed) < timeouts + MARGIN + period + calm.pause(*failed)
    spent = 2 * timeouts / (failed[1] - failed[0])  # at the failure and at the return
    slower = calm.rate(*failed) / calm.rate(*before)  # the machine
    assert mine.rate(*failed) / mine.rate(*before) > (0.95 - spent) * slower


def assert_counts_as_the_other(seen, begin, end):
    """Firings have tokens of the camera that is back as often as of the other, whatever the machine does to both."""
    assert seen.of("in1").rate(begin, end) > 0.9 * seen.of("in2").rate(begin, end)


def assert_recorded(run, seen):
    """The record of the server says what its sink has fired on; the signal may have come within the last firing."""
    told = run.record("server1")["actors"]["S"]["inputs"]
    for port in run.inputs:
        count = len(seen.of(port))
        assert 0 <= count - told[port]["with_token"] <= 1
        assert 0 <= len(seen) - count - told[port]["missing"] <= 1


def some_long(first, *others):
    """The first of these seconds in `make test`, the others in `make test-long`."""
    listed = [first, *(pytest.param(each, marks=pytest.mark.long) for each in others)]
    return pytest.mark.parametrize("seconds", listed)


@some_long(4, 12, 60)
def test_a_frozen_camera_holds_up_nobody_then_and_afterwards(tmp_path, seconds):
    run = Cameras(tmp_path, 1, 2, {})
    before = run.settle(BEFORE)
    run.freeze("camera1")
    begin = time.monotonic()
    time.sleep(seconds)
    run.go_on("camera1")
    back = time.monotonic()
    time.sleep(AFTER)
    end = time.monotonic()
    run.stop()
    seen = run.seen()
    assert_went_on(run, seen, "in2", before, (begin, end))
    again = seen.between(back, end).of("in1")
    assert again[0].time - back < 1.0 + run.calm().pause(back, end)  # connected again, and counted with its next token
    assert_counts_as_the_other(seen, again[0].time, end)
    assert_recorded(run, seen)


@pytest.mark.long
def test_a_frozen_camera_of_a_scene_is_in_step_again(tmp_path):
    """Frames of two cameras that state a clock are matched by index, also when one comes back."""
    run = Cameras(tmp_path, 1, 2, {}, clock=50.0)
    before = run.settle(BEFORE)
    run.freeze("camera1")
    begin = time.monotonic()
    time.sleep(1.5)
    run.go_on("camera1")
    back = time.monotonic()
    time.sleep(AFTER)
    end = time.monotonic()
    run.stop()
    seen, calm = run.seen(), run.calm()
    assert_went_on(run, seen, "in2", before, (begin, end))
    again = seen.between(back, end).of("in1").of("in2")
    assert again[0].time - back < 1.0 + calm.pause(back, end)
    assert_counts_as_the_other(seen, again[0].time, end)
    apart = max(abs(firing.tokens["in1"][1] - firing.tokens["in2"][1]) for firing in again)
    assert apart < 0.04 + calm.pause(back, end)  # a period, and one that a source may be off its clock


@pytest.mark.long
def test_a_camera_that_hangs_holds_up_nobody(tmp_path):
    run = Cameras(tmp_path, 1, 2, {"camera1": {"hang_at": "200", "hang": "1.5"}})
    run.settle(0)
    seen = stamps.wait_for(run.file(), lambda seen: seen.counts("in1")[-1] > 300)
    run.stop()
    mine = seen.of("in1")
    begin = next(firing.time for firing in mine if firing.tokens["in1"][0] == 199)
    back = next(firing for firing in mine if firing.tokens["in1"][0] >= 200)
    assert back.tokens["in1"][0] < 210  # with its next token, or what a busy machine made of it
    assert back.time - back.tokens["in1"][1] < MARGIN + run.calm().pause(begin, back.time)
    start = seen.of("in1")[40].time
    assert_went_on(run, seen, "in2", (start, begin), (begin, seen[-1].time))


@pytest.mark.long
@some_long(4, 12)
def test_a_slow_camera_counts_with_each_token_and_holds_up_nobody(tmp_path, seconds):
    run = Cameras(tmp_path, 1, 2, {"camera1": {"period": "0.5"}, "camera2": {"period": "0.1"}})
    begin, end = run.settle(seconds, firings=2)
    run.stop()
    seen = run.seen()
    assert_recorded(run, seen)
    seen = seen.between(begin, end)
    slow = seen.counts("in1")
    assert slow == list(range(slow[0], slow[0] + len(slow)))
    assert len(slow) >= 1.5 * seconds
    fast = seen.of("in2")
    calm = run.calm()
    assert fast.pause(begin, end) < ROOM + TIMEOUT + MARGIN + 0.1 + calm.pause(begin, end)
    assert fast.rate(begin, end) > 8 * min(1.0, calm.rate(begin, end) / 50)


@pytest.mark.long
def test_a_camera_that_is_killed_and_started_again_counts_again(tmp_path):
    run = Cameras(tmp_path, 1, 2, {})
    before = run.settle(BEFORE)
    begin = time.monotonic()
    run.kill("camera1")
    time.sleep(1)
    run.start("camera1")
    seen = stamps.wait_for(run.file(), lambda seen: seen.between(begin + 1, time.monotonic()).of("in1"))
    time.sleep(AFTER)
    end = time.monotonic()
    run.stop()
    seen = run.seen()
    assert_went_on(run, seen, "in2", before, (begin, end))
    again = seen.between(begin + 1, end).of("in1")
    assert again[0].tokens["in1"][0] <= 1
    assert_counts_as_the_other(seen, again[0].time, end)


@pytest.mark.long
def test_a_hanging_server_holds_up_neither_the_cameras_nor_the_other_server(tmp_path):
    run = Cameras(tmp_path, 2, 2, {"server2": {"hang_at": "150", "hang": "1"}})
    before = run.settle(1.5)
    end_of_hang = stamps.wait_for(run.file(2), lambda seen: len(seen) > 151)
    time.sleep(AFTER)
    end = time.monotonic()
    run.stop()
    seen, other = run.seen(1), run.seen(2)
    begin = other[149].time
    assert begin > before[1] and end_of_hang[151].time > begin + 1
    for port in ("in1", "in2"):
        assert_went_on(run, seen, port, before, (begin, end))
        assert other.of(port).rate(begin + 1.5, end) > 0.9 * seen.of(port).rate(begin + 1.5, end)


@pytest.mark.long
def test_a_server_that_hangs_in_its_first_firing_holds_up_nobody_either(tmp_path):
    run = Cameras(tmp_path, 2, 2, {"server2": {"hang_at": "0", "hang": "60"}})
    stamps.wait_for(run.file(1), lambda seen: all(len(seen.of(port)) > 100 for port in run.inputs))
    run.stop()
    seen, calm = run.seen(1), run.calm()
    assert not run.seen(2)
    for port in run.inputs:
        mine = seen.of(port)
        begin, end = mine[0].time, mine[-1].time
        assert mine.pause(begin, end) < ROOM + MARGIN + 0.02 + calm.pause(begin, end)
