"""What `eprune run` says at its end."""

from eprune.measure.summary import RunSummary
from eprune.runtime.tell.judge import Required, Tally, judged
from eprune.views.summary import text


def shown(tally, latency=0.1, rate=30.0, share=0.99, measured=30.0, by=None):
    required = Required("Camera.out", "Sink.in", latency, rate, share, ())
    found = judged(required, tally, measured, 0.2, by or {}).as_json()
    degraded = {"Keep": {"row": 0, "taken": 7, "frames": 100}}
    made = text(RunSummary("app", 100, 3.0, 30.0, False, {}, (), {}, {"Camera.out -> Sink.in": found}, degraded))
    assert "Keep: row 0 for 7 of 100 frames, which were late" in made
    return " ".join(next(line for line in made.splitlines() if "Camera.out" in line).split())


def test_a_requirement_is_shown_with_what_was_late_and_why():
    line = shown(Tally(100, 80, 20, 0), by={"FIFO f": 3, "actor Net": 17})
    assert line == "Camera.out -> Sink.in 80 of 100 0.99 in 100 ms 30.0 30 no actor Net 17, FIFO f 3"
    assert shown(Tally(100, 98, 0, 2)).endswith("98 of 100, 2 undecided 0.99 in 100 ms 30.0 30 undecided")
    assert shown(Tally(100, 100, 0, 0)).endswith("100 of 100 0.99 in 100 ms 30.0 30 yes")


def test_a_rate_or_a_latency_may_be_all_that_is_required():
    assert shown(Tally(100, 0, 0, 0), latency=None, share=1, measured=20.0) == "Camera.out -> Sink.in 20.0 30 no"
    assert shown(Tally(100, 99, 1, 0), rate=None) == "Camera.out -> Sink.in 99 of 100 0.99 in 100 ms 30.0 yes"
