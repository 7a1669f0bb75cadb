"""Requirements at run time: who is late, by how much, and what took the time."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eprune.deploy.ports import free_base_port
from eprune.runtime.kernel.ages import UNBORN
from eprune.runtime.kernel.errors import ProtocolError
from eprune.runtime.kernel.fifo import Fifo
from eprune.runtime.kernel.trails import Came, Leg, Shift, Traced, Trail, joined
from eprune.runtime.net import clocks, traced, wire
from eprune.runtime.net.ends import RxFifo
from eprune.runtime.tell.judge import Judge, Required
from tests.kit.programs import finish, start, write_program

MS = 1_000_000
CAM = "Cam.out"


def judge(latency=0.1, rate=None, share=0.99):
    return Judge(Required(CAM, "Snk.in", latency, rate, share, ()))


def idle(begin, end, fifo):
    return [(f"FIFO {fifo}", end - begin)]


def leg(birth, *parts, unsure=0):
    return Leg(birth, unsure, dict(parts))


# ---- The verdict


def test_each_token_counts_once_and_those_that_the_clocks_do_not_tell_are_undecided():
    found = judge()
    for age, unsure in ((99, 0), (100, 0), (101, 0), (95, 6), (105, 6), (80, 6), (120, 6)):
        found.add(10_000 * MS, (10_000 - age) * MS, unsure * MS, {})
    found.add(10_000 * MS, None, 0, {})
    record = found.record()
    assert (record.tokens, record.within, record.late, record.undecided) == (8, 3, 2, 3)
    assert (record.share, record.share_at_most, record.uncertainty_ms) == (0.375, 0.75, 6.0)


@pytest.mark.parametrize(
    ("late", "undecided", "met"), [(0, 0, True), (1, 0, True), (2, 0, False), (0, 2, None), (2, 1, False), (1, 1, None)]
)
def test_a_share_is_met_if_it_is_whatever_the_undecided_are(late, undecided, met):
    found = judge(share=0.99)
    for number in range(100):
        age = 200 if number < late else 50
        found.add(1000 * MS, (1000 - age) * MS if number >= undecided + late or number < late else None, 0, {})
    assert found.record().met is met


@pytest.mark.parametrize(("period_ms", "met"), [(33, True), (33.5, True), (40, False)])
def test_a_rate_is_met_to_one_percent(period_ms, met):
    found = judge(latency=None, rate=30.0)
    for number in range(100):
        found.add(round((1 + number) * period_ms * MS), None, 0, {})
    record = found.record()
    assert (record.met, record.share, record.undecided) == (met, None, 0)
    assert record.rate_per_s == pytest.approx(1000 / period_ms, 1e-4)


def test_what_took_the_time_is_what_took_more_than_it_usually_does():
    found = judge()
    for number in range(50):
        slow = 60 * (number % 10 == 9)
        parts = {"actor Net": 80 * MS, "link a -> b": (5 + slow) * MS}
        found.add(1000 * MS, (1000 - 85 - slow) * MS, 0, parts)
    misses = found.misses()
    assert [(miss.by, miss.age_ms, miss.ms) for miss in misses] == [("link a -> b", 145.0, 65.0)] * 5
    assert misses[0].usual_ms == pytest.approx(5)
    assert found.record().late_by == {"link a -> b": 5}
    assert found.misses() == [], "each is told once"


def test_where_nothing_is_in_time_it_is_what_took_most():
    found = judge()
    found.add(1000 * MS, 500 * MS, 0, {"actor Net": 400 * MS, "FIFO f": 100 * MS})
    assert found.record().late_by == {"actor Net": 1}


# ---- Where the time went


def test_a_thread_that_is_busy_is_what_a_token_waits_for():
    shift = Shift()
    for number, actor in enumerate(("A", "B", "A", "C")):
        shift.add(actor, 100 * number, 100 * number + 80)
    assert shift.during(150, 350, "FIFO f") == [("actor C", 50), ("actor A", 80), ("actor B", 30), ("FIFO f", 40)]


@given(
    st.lists(
        st.tuples(st.integers(0, 100), st.integers(0, 900), st.booleans(), st.sampled_from(["", "Cam.out", "Mic.out"])),
        min_size=1,
        max_size=4,
    )
)
def test_the_parts_of_a_token_add_up_to_its_age(tokens):
    came = []
    for number, (birth, under_way, leads, source) in enumerate(tokens):
        legs = {source: leg(birth, ("actor S", under_way))} if source else {}
        came.append(Came(f"f{number}", Trail(birth, birth + under_way, legs), leads))
    begin = 1000
    for source, found in joined(came, begin, idle).items():
        births = [each.trail.legs[source].birth for each in came if source in each.trail.legs]
        assert found.birth in births
        if len(births) == 1:
            assert sum(found.parts.values()) == begin - found.birth


def test_each_source_has_an_age_of_its_own_and_what_comes_last_was_waited_for():
    young = Came("f1", Trail(90, 95, {CAM: leg(90, ("actor Cam", 5))}), True)
    old = Came("f2", Trail(10, 200, {"Mic.out": leg(10, ("actor Slow", 190))}), True)
    found = joined([young, old], 210, idle)
    assert found[CAM] == leg(90, ("actor Cam", 5), ("FIFO f2", 105), ("FIFO f1", 10))
    assert found["Mic.out"] == leg(10, ("actor Slow", 190), ("FIFO f2", 10))


def test_what_comes_from_earlier_firings_counts_where_nothing_else_comes_from_a_source():
    fresh = Came("f", Trail(90, 95, {CAM: leg(90, ("actor Cam", 5))}), True)
    back = Came("back", Trail(40, 60, {CAM: leg(40, ("actor Cam", 20))}), False)
    assert joined([fresh, back], 100, idle)[CAM].birth == 90
    assert joined([back], 100, idle)[CAM] == leg(40, ("actor Cam", 20), ("FIFO back", 40))


def test_a_clock_that_is_not_known_leaves_the_age_open():
    known = Came("f", Trail(90, 95, {CAM: leg(90)}), True)
    unknown = Came("g", Trail(UNBORN, 95, {CAM: leg(None)}), True)
    assert joined([known, unknown], 100, idle)[CAM].birth is None


# ---- Between platforms


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=10),
        st.tuples(
            st.none() | st.integers(0, 10**12),
            st.integers(0, 10**9),
            st.dictionaries(st.text(max_size=20), st.integers(0, 10**12), max_size=5),
        ),
        max_size=3,
    ),
    st.integers(-(10**12), 10**12),
)
def test_a_trail_survives_the_wire_whatever_the_clocks(legs, offset):
    at = time.perf_counter_ns()
    trail = Trail(at, at, {source: Leg(*about) for source, about in legs.items()})
    moment, told = traced.unpack(traced.pack(trail))
    assert abs(clocks.moment(moment + offset, offset) - at) <= 1000
    for source, each in trail.legs.items():
        birth, unsure, parts = told[source]
        assert (birth is None) == (each.birth is None)
        if birth is not None:
            assert abs(clocks.moment(birth + offset, offset) - each.birth) <= 1000
        assert unsure == each.unsure // 1000
        assert [took for _, took in parts] == [took // 1000 for took in each.parts.values()]


def test_a_trail_that_is_too_long_loses_its_parts_and_not_its_age():
    parts = {f"actor {number:0200}": number for number in range(40)}
    payload = traced.pack(Trail(1, 1, {CAM: Leg(1, 0, parts)}))
    assert len(payload) <= wire.MAX_TRAIL
    assert traced.unpack(payload)[1][CAM][2] == []


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b'{"at":1,"legs":[]}',
        b'{"at":1.5,"legs":{}}',
        b'{"at":true,"legs":{}}',
        b'{"at":1,"legs":{"a":[1,2]}}',
        b'{"at":1,"legs":{"a":[1,2,[["x"]]]}}',
        b'{"at":1e999,"legs":{}}',
        b'{"at":' + b"9" * 400 + b',"legs":{}}',
        b"[" * 4000,
    ],
)
def test_a_trail_of_a_hostile_peer_is_an_error_of_the_protocol(payload):
    with pytest.raises(ProtocolError):
        traced.unpack(payload)


def test_a_trail_for_a_fifo_on_no_way_is_refused():
    with pytest.raises(ProtocolError, match="'f'"):
        RxFifo("f", "uint8", (4,), 2).trail(0, b'{"at":1,"legs":{}}')


def test_a_frame_of_a_trail_is_bounded():
    frame = bytearray(wire.trail_frame(0, 7, b"{}"))
    assert wire.unpack_header(frame, {})[:2] == (wire.TRAIL, 0)
    frame[16:24] = (wire.MAX_TRAIL + 1).to_bytes(8, "big")
    with pytest.raises(ProtocolError):
        wire.unpack_header(frame, {})


def test_where_nothing_is_required_nothing_is_another_class():
    assert isinstance(Traced("f", "uint8", (), 1), Fifo)
    plain = Fifo("f", "uint8", (), 1)
    plain.commit(1, 0, 5)
    assert [type(birth) for birth in plain.births] == [int]


# ---- Real programs

TYPE = "'float64', (%s,)"


def run(folder, a, b, limit, size=2, share=0.75, link="bandwidth=2e6", arguments=()):
    """Cam on platform a sends to Work on platform b, and that to Snk; the records, and b's events."""
    port = free_base_port(2)
    kind = TYPE % size
    required = f"require('Cam.out', 'Snk.in', {limit}, 0.01, {share}, fifos=%s)"
    first = write_program(
        folder,
        "a",
        f"actor('Cam', 'ACTORS:Count', 'cpu', {a})",
        f"tx('f', 'Cam.out', {kind}, 1, 'b', '127.0.0.1', {port})",
        f"link('b', {link})",
        required % "('f',)",
    )
    second = write_program(
        folder,
        "b",
        f"actor('Work', 'ACTORS:{b}', 'cpu')",
        "actor('Snk', 'ACTORS:Total', 'cpu')",
        f"rx('f', 'Work.in', {kind}, 1, 'a', {port})",
        f"fifo('g', 'Work.out', 'Snk.in', {kind}, 1)",
        f"link('a', {link})",
        required % "('f', 'g')",
    )
    options = ("--log-format=json", *arguments)
    programs = [
        start(program, "--record", str(folder / f"{program.stem}.json"), *options) for program in (first, second)
    ]
    ended = [finish(program) for program in programs]
    assert [code for code, *_ in ended] == [0, 0], ended
    records = [json.loads((folder / f"{name}.json").read_text()) for name in "ab"]
    return (*records, [json.loads(line) for line in ended[1][2].splitlines()])


def test_an_actor_that_is_slow_for_every_fourth_frame_is_named_and_the_share_is_exact(tmp_path):
    first, second, events = run(tmp_path, {"n": "12"}, "SlowForEveryFourth", limit=0.5)
    assert "requirements" not in first, "the sink is elsewhere"
    (found,) = second["requirements"].values()
    assert (found["tokens"], found["within"], found["late"], found["undecided"]) == (12, 9, 3, 0)
    assert (found["share"], found["met"], found["late_by"]) == (0.75, True, {"actor Work": 3})
    assert 0 < found["uncertainty_ms"] < 500
    late = [event for event in events if event["event"] == "late"]
    assert sum(event["tokens"] for event in late) == 3
    assert {(event["requirement"], event["limit_ms"], event["by"], event["level"]) for event in late} == {
        ("Cam.out -> Snk.in", 500.0, "actor Work", "warning")
    }
    assert "actor Work took 1" in late[0]["message"]


def test_a_slow_link_is_named(tmp_path):
    """Tokens of 800 kB at 2 MB/s."""
    _, second, events = run(tmp_path, {"n": "3"}, "Copy", 0.05, size=100_000, arguments=("--emulate",))
    (found,) = second["requirements"].values()
    assert (found["tokens"], found["late"], found["met"]) == (3, 3, False)
    assert found["late_by"] == {"link a -> b": 3}
    assert next(event["by"] for event in events if event["event"] == "late") == "link a -> b"


def test_what_the_clocks_do_not_tell_is_undecided(tmp_path):
    """Half a second under way each way, by which the clocks may be apart, and at most 0.6 are required."""
    _, second, events = run(tmp_path, {"n": "2"}, "Copy", 0.6, link="latency=0.5", arguments=("--emulate",))
    (found,) = second["requirements"].values()
    assert (found["tokens"], found["undecided"], found["share"], found["share_at_most"]) == (2, 2, 0.0, 1.0)
    assert found["met"] is None
    assert not [event for event in events if event["event"] == "late"]


def test_a_token_that_is_sent_again_takes_its_trail_along_again():
    class Carrier:
        gathers = False

        def send(self, end, count, follows=False):
            end.put(count)

    class Tracer:
        def trail(self, birth, source):
            return Trail(birth, birth, {source: leg(birth, ("actor Cam", 5))})

    end = traced.TracedTxFifo("f", "uint8", (4,), 2, "wait")
    end.carrier, end.tracer, end.source = Carrier(), Tracer(), CAM
    now = time.perf_counter_ns()
    for firing in (7, 8):
        end.commit(1, firing, now)
    for _ in "again":
        frames = end.frames(0, 2)
        assert len(frames) == 4, "what belongs to one token stays together"
        for firing, first in zip((7, 8), frames[::2]):
            header = wire.unpack_header(first, {})
            assert (header.kind, header.firing) == (wire.TRAIL, firing)
            rest = first[wire.HEADER_BYTES + header.nbytes :]
            assert wire.unpack_header(rest, {0: 4})[:4] == (wire.DATA, 0, clocks.to_wire(now), firing)


def test_of_live_data_what_is_dropped_is_not_measured_and_a_token_waits_for_who_is_busy(tmp_path):
    kind = TYPE % 2
    program = write_program(
        tmp_path,
        "one",
        "actor('Cam', 'ACTORS:Count', 'cpu', {'n': '0'})",
        "actor('Work', 'ACTORS:SlowForEveryFourth', 'cpu', rate=1000.0)",
        "actor('Snk', 'ACTORS:Few', 'cpu', {'n': '5'})",
        f"fifo('f', 'Cam.out', 'Work.in', {kind}, 3, policy='newest')",
        f"fifo('g', 'Work.out', 'Snk.in', {kind}, 2)",
        "require('Cam.out', 'Snk.in', 0.5, fifos=('f', 'g'))",
        aligned=True,
    )
    code, _, errors = finish(start(program, "--record", str(tmp_path / "one.json")))
    assert code == 0, errors
    record = json.loads((tmp_path / "one.json").read_text())
    (found,) = record["requirements"].values()
    assert found["tokens"] == record["actors"]["Snk"]["firings"] == 5
    assert record["fifos"]["f"]["discarded"] > 0
    assert found["late"] == found["tokens"] // 4
    assert found["late_by"] == {"actor Work": found["late"]}
