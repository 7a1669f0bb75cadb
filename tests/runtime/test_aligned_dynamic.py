"""Dynamic processing graphs among FIFOs that may lose tokens: whatever is killed, a result is that of its own frame."""

import json

import pytest

from eprune.deploy.ports import free_base_port
from tests.kit.programs import lines, rest, start, write_program

TABLE = [f"row('D', {rate}, {{'deep': {rate}, 'deeper': {rate}}})" for rate in (0, 1, 2)]
DEEP = "'int32', (), capacity=4, rate=(0, 2)"


@pytest.fixture
def port():
    return free_base_port(4)


def result(frame):
    """What the dynamic processing graph makes of a frame."""
    return 10 * frame - frame * (frame % 3)


def branch(control):
    """The actors and FIFOs of the dynamic processing graph after its entry, led by ``control``."""
    told = ["M", "X", "E"] if control != "E" else ["M", "X"]
    return [
        "actor('M', 'ACTORS:Negate', 'cpu')",
        "actor('X', 'ACTORS:Join', 'cpu')",
        "fifo('always', 'E.always', 'X.always', 'int32', (), capacity=2)",
        f"fifo('deep', 'E.deep', 'M.in', {DEEP})",
        f"fifo('deeper', 'M.out', 'X.deep', {DEEP})",
        *(f"fifo('c{name}', '{control}.{name}', '{name}.mode', 'int32', (), capacity=2, control='D')" for name in told),
        *TABLE,
    ]


def shown(out):
    """The lines of numbers of an output."""
    rows = [line.split() for line in out.splitlines() if not line.startswith("S")]
    return [tuple(None if part == "-" else int(part) for part in row) for row in rows]


@pytest.mark.parametrize("policy", ["drop", pytest.param("zero", marks=pytest.mark.long)])
def test_the_lossy_arm_of_a_diamond_may_be_a_dynamic_processing_graph(tmp_path, port, policy):
    left = write_program(
        tmp_path,
        "left",
        "actor('A', 'ACTORS:SlowCountBoth', 'cpu', {'n': '4000'})",
        "actor('J', 'ACTORS:Pairs', 'cpu', optional=('b',))",
        "fifo('d', 'A.direct', 'J.a', 'int32', (), capacity=20)",
        f"tx('f', 'A.out', 'int32', (), capacity=2, to='mid', address='127.0.0.1', port={port}, policy='drop')",
        f"rx('g', 'J.b', 'int32', (), capacity=2, frm='mid', port={port + 1}, policy='{policy}')",
        aligned=True,
    )
    mid = write_program(
        tmp_path,
        "mid",
        "actor('E', 'ACTORS:Fork', 'cpu')",
        *branch("E"),
        f"rx('f', 'E.in', 'int32', (), capacity=2, frm='left', port={port}, policy='drop')",
        f"tx('g', 'X.out', 'int32', (), capacity=2, to='left', address='127.0.0.1', port={port + 1}, "
        f"policy='{policy}')",
        aligned=True,
    )
    first, second = start(left), start(mid)
    begun = ""
    for _ in range(2):
        while begun.count("\n") < 100 or shown(begun)[-1][1] in (None, 0):
            begun += lines(first, 1)
        begun += lines(first, 100)
        second.kill()
        rest(second)
        begun += lines(first, 100)
        second = start(mid, "--record", str(tmp_path / "mid.json"))
    code, out, err = rest(first)
    assert code == 0, err
    assert rest(second)[0] == 0
    got = shown(begun + out)
    assert [frame for frame, _ in got] == list(range(4000))
    lost = [made for frame, made in got if made != result(frame)]
    assert set(lost) <= {None if policy == "drop" else 0}
    assert 100 < len(lost) < 4000 - 200
    modes = json.loads((tmp_path / "mid.json").read_text())["actors"]["M"]["modes"]
    assert min(modes.values()) > 10


@pytest.mark.parametrize("control", ["E", pytest.param("C", marks=pytest.mark.long)])
def test_what_comes_after_a_dynamic_processing_graph_may_be_lost(tmp_path, port, control):
    led = ["actor('E', 'ACTORS:Fork', 'cpu')", "fifo('in', 'A.out', 'E.in', 'int32', (), capacity=2)"]
    if control == "C":
        led = [
            "actor('C', 'ACTORS:Remainder', 'cpu')",
            "actor('E', 'ACTORS:ForkAsTold', 'cpu')",
            "fifo('look', 'A.direct', 'C.in', 'int32', (), capacity=2)",
            "fifo('in', 'A.out', 'E.in', 'int32', (), capacity=2)",
        ]
    source = "SlowCountBoth" if control == "C" else "SlowCount"
    left = write_program(
        tmp_path,
        "left",
        f"actor('A', 'ACTORS:{source}', 'cpu', {{'n': '3000'}})",
        *led,
        *branch(control),
        f"tx('g', 'X.out', 'int32', (), capacity=2, to='right', address='127.0.0.1', port={port}, policy='drop')",
        aligned=True,
    )
    right = write_program(
        tmp_path,
        "right",
        "actor('S', 'ACTORS:Show', 'cpu')",
        f"rx('g', 'S.in', 'int32', (), capacity=2, frm='left', port={port}, policy='drop')",
        aligned=True,
    )
    first, second = start(left, "--record", str(tmp_path / "left.json")), start(right)
    begun = lines(second, 200)
    second.kill()
    rest(second)
    second = start(right)
    code, out, err = rest(second)
    assert code == 0, err
    assert rest(first)[0] == 0
    assert shown(begun) == [(result(frame),) for frame in range(200)]
    after = shown(out)
    assert len(after) > 100
    assert after == [(result(frame),) for frame in range(3000 - len(after), 3000)]
    record = json.loads((tmp_path / "left.json").read_text())
    assert record["actors"]["M"]["modes"] == {"0": 1000, "1": 1000, "2": 1000}
    assert record["actors"][control]["modes"] == {"0": 1000, "1": 1000, "2": 1000}


@pytest.mark.long
def test_frames_that_an_entry_never_sees_are_no_frames_to_the_others(tmp_path, port):
    """The member is on a platform of its own, which must not wait for what was lost before the entry."""
    source = write_program(
        tmp_path,
        "source",
        "actor('A', 'ACTORS:SlowCount', 'cpu', {'n': '2000'})",
        f"tx('f', 'A.out', 'int32', (), capacity=2, to='mid', address='127.0.0.1', port={port}, policy='drop')",
        aligned=True,
    )
    links = [
        ("cM", "E.M", "M.mode", "(), capacity=2, control='D'", 1),
        ("deep", "E.deep", "M.in", "(), capacity=4, rate=(0, 2)", 2),
        ("deeper", "M.out", "X.deep", "(), capacity=4, rate=(0, 2)", 3),
    ]
    here = {"E", "X"}
    ends: dict[bool, list[str]] = {True: [], False: []}
    for name, begin, end, more, offset in links:
        for home in (True, False):
            peer = "far" if home else "mid"
            if (begin[0] in here) == home:
                where = f"to='{peer}', address='127.0.0.1', port={port + offset}"
                ends[home].append(f"tx('{name}', '{begin}', 'int32', {more}, {where}, policy='wait')")
            if (end[0] in here) == home:
                where = f"frm='{peer}', port={port + offset}"
                ends[home].append(f"rx('{name}', '{end}', 'int32', {more}, {where}, policy='wait')")
    mid = write_program(
        tmp_path,
        "mid",
        "actor('E', 'ACTORS:Fork', 'cpu')",
        "actor('X', 'ACTORS:Join', 'cpu')",
        "actor('S', 'ACTORS:Show', 'cpu')",
        "fifo('always', 'E.always', 'X.always', 'int32', (), capacity=2)",
        "fifo('cX', 'E.X', 'X.mode', 'int32', (), capacity=2, control='D')",
        "fifo('out', 'X.out', 'S.in', 'int32', (), capacity=2)",
        f"rx('f', 'E.in', 'int32', (), capacity=2, frm='source', port={port}, policy='drop')",
        *ends[True],
        *TABLE,
        aligned=True,
    )
    far = write_program(tmp_path, "far", "actor('M', 'ACTORS:Negate', 'cpu')", *ends[False], *TABLE, aligned=True)
    running = [start(mid), start(far)]
    first = start(source)
    begun = lines(running[0], 100)
    first.kill()
    rest(first)
    again = start(source)
    code, out, err = rest(running[0])
    assert code == 0, err
    assert rest(again)[0] == rest(running[1])[0] == 0
    assert shown(begun) == [(result(frame),) for frame in range(100)]
    # The source counts anew after its restart; all of it comes through whole and in order.
    after = [made for (made,) in shown(out)]
    anew = max(place for place, made in enumerate(after) if made < after[place - 1])
    assert after[anew:] == [result(frame) for frame in range(2000 - len(after) + anew, 2000)]
