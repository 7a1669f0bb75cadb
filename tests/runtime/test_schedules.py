"""Programs of multi-rate graphs: ends with rates of their own, schedules, indices that are those of iterations."""

import json

import numpy as np
import pytest

from eprune.deploy.ports import free_base_port
from eprune.runtime.fire.schedules import unrolled
from eprune.runtime.kernel.errors import UsageError
from tests.kit.programs import finish, lines, rest, run, start, write_program


@pytest.fixture
def port():
    return free_base_port(4)


def batches(out):
    return [[] if line == "-" else [int(word) for word in line.split()] for line in out.splitlines()]


@pytest.mark.parametrize("threads", ["cluster", "actor"])
def test_what_one_end_gives_in_twos_the_other_takes_in_threes(tmp_path, threads):
    program = write_program(
        tmp_path,
        "alone",
        "actor('A', 'ACTORS:Blocks', 'cpu', {'n': '9'})",
        "actor('B', 'ACTORS:Batches', 'cpu')",
        "schedule('A*2 B A B')",
        "fifo('f', 'A.out', 'B.in', 'int32', (3,), capacity=4, produced=2, consumed=3)",
    )
    code, out, err = run(program, "--threads", threads)
    assert (code, err) == (0, "")
    assert batches(out) == [[3 * k, 3 * k + 1, 3 * k + 2] for k in range(6)]


@pytest.mark.parametrize("threads", ["cluster", "actor"])
def test_a_stream_that_ends_within_an_iteration_is_used_as_far_as_it_goes_and_the_rest_is_told(tmp_path, threads):
    program = write_program(
        tmp_path,
        "alone",
        "actor('A', 'ACTORS:Blocks', 'cpu', {'n': '11'})",
        "actor('B', 'ACTORS:Batches', 'cpu')",
        "schedule('A*6 B*4')",
        "fifo('f', 'A.out', 'B.in', 'int32', (3,), capacity=12, produced=2, consumed=3)",
    )
    code, out, err = run(program, "--threads", threads)
    assert code == 0
    assert batches(out) == [[3 * k, 3 * k + 1, 3 * k + 2] for k in range(7)]
    assert "FIFO 'f': the stream ended with 1 token, too few for another firing" in err


@pytest.mark.parametrize("threads", ["cluster", "actor"])
def test_rates_go_through_their_phases(tmp_path, threads):
    program = write_program(
        tmp_path,
        "alone",
        "actor('A', 'ACTORS:Blocks', 'cpu', {'n': '60'})",
        "actor('B', 'ACTORS:Passes', 'cpu')",
        "actor('C', 'ACTORS:Batches', 'cpu')",
        "schedule('(A B)*3 C*4')",
        "fifo('f', 'A.out', 'B.in', 'int32', (), capacity=4, produced=(1, 0, 2), consumed=(1, 0, 2))",
        "fifo('g', 'B.out', 'C.in', 'int32', (), capacity=6, produced=(1, 0, 2), consumed=(0, 1, 2, 0))",
    )
    code, out, err = run(program, "--frames", "5", "--threads", threads)
    assert (code, err) == (0, "")
    whole = [each for k in range(0, 15, 3) for each in ([], [k], [k + 1, k + 2], [])]
    assert batches(out) == [*whole, []], "a firing that takes nothing waits for nothing"


def test_frames_are_iterations_and_the_record_says_how_many_firings_that_is(tmp_path):
    program = write_program(
        tmp_path,
        "alone",
        "actor('A', 'ACTORS:Blocks', 'cpu', {'n': '1000'})",
        "actor('B', 'ACTORS:Batches', 'cpu')",
        "schedule('A*3 B')",
        "fifo('f', 'A.out', 'B.in', 'int32', (), capacity=6, produced=1, consumed=3)",
    )
    record = tmp_path / "record.json"
    code, out, _ = run(program, "--frames", "7", "--record", str(record))
    assert code == 0
    assert len(batches(out)) == 7
    actors = json.loads(record.read_text())["actors"]
    assert {name: (actor["firings"], actor["repeats"]) for name, actor in actors.items()} == {"A": (21, 3), "B": (7, 1)}


def test_a_token_has_the_index_of_its_iteration(tmp_path):
    program = write_program(
        tmp_path,
        "alone",
        "actor('A', 'ACTORS:Blocks', 'cpu', {'n': '12'})",
        "actor('B', 'ACTORS:Passes', 'cpu')",
        "actor('C', 'ACTORS:Batches', 'cpu')",
        "schedule('A*2 B*3 C*2')",
        "fifo('f', 'A.out', 'B.in', 'int32', (), capacity=6, produced=3, consumed=2)",
        "fifo('g', 'B.out', 'C.in', 'int32', (), capacity=6, produced=2, consumed=3)",
    )
    code, _, err = run(program, "--tap", f"f={tmp_path}/f.npy", "--tap", f"g={tmp_path}/g.npy")
    assert code == 0, err
    for name in "fg":
        assert np.load(tmp_path / f"{name}.npy")["firing"].tolist() == [k // 6 for k in range(36)]


def split(tmp_path, port, policy="wait", n=600, wait="0.001", capacity=8):
    """A gives 2 tokens a firing; B takes 1, none and 3 in turn. An iteration has 4 tokens."""
    link = f"capacity={capacity}, produced=2, consumed=(1, 0, 3), policy='{policy}'"
    link += ", iteration=4" * (policy == "wait")
    return (
        write_program(
            tmp_path,
            "left",
            f"actor('A', 'ACTORS:Blocks', 'cpu', {{'n': '{n}', 'wait': '{wait}'}})",
            "schedule('A*2')",
            f"tx('f', 'A.out', 'int32', (3,), to='right', address='127.0.0.1', port={port}, {link})",
        ),
        write_program(
            tmp_path,
            "right",
            "actor('B', 'ACTORS:Batches', 'cpu')",
            "schedule('B*3')",
            f"rx('f', 'B.in', 'int32', (3,), frm='left', port={port}, {link})",
        ),
    )


def expected(first, last):
    return [each for k in range(first, last, 4) for each in ([k], [], [k + 1, k + 2, k + 3])]


@pytest.mark.parametrize("policy", ["stop", "wait"])
def test_two_platforms_compute_what_one_does(tmp_path, port, policy):
    first, second = map(start, split(tmp_path, port, policy, wait="0"))
    assert finish(first) == (0, "", "")
    code, out, err = finish(second)
    assert (code, err) == (0, "")
    assert batches(out) == expected(0, 1200)


def test_a_receiver_that_is_killed_begins_again_with_an_iteration_and_nothing_is_lost(tmp_path, port):
    left, right = split(tmp_path, port)
    record = tmp_path / "record.json"
    first = start(left, "--record", str(record))
    outs = []
    for count in (50, 31, 52):  # in the midst of an iteration, too
        second = start(right)
        begun = lines(second, count)
        second.kill()
        whole = begun + rest(second)[1]
        outs.append(batches(whole[: whole.rfind("\n") + 1]))
    second = start(right)
    code, _, err = finish(first)
    assert code == 0, err
    code, out, err = finish(second)
    assert code == 0, err
    outs.append(batches(out))
    begins = [each[0][0] for each in outs]
    for own, begin in zip(outs, begins):
        assert begin % 4 == 0, "the first of an iteration"
        assert own == expected(begin, 1200)[: len(own)]
    for before, begin in zip(outs, begins[1:]):
        got = max(number for batch in before for number in batch)
        # The one that was cut off, and one whose report was on its way.
        assert got // 4 * 4 - 4 <= begin <= got + 1, "no gap, and only one or two iterations are done again"
    assert outs[-1][-1] == [1197, 1198, 1199]
    fifo = json.loads(record.read_text())["fifos"]["f"]
    assert (fifo["capacity"], fifo["tokens"], fifo["confirmed"]) == (8, 1200, 1200)
    assert fifo["peak_fill"] <= 8, "what is kept for a restart is not in the FIFO"


@pytest.mark.parametrize("text", ["", "A*", "A (B", "A) B", "*3", "()*2", "A*99999999"])
def test_what_is_no_schedule_is_refused(text):
    with pytest.raises(UsageError, match="no schedule"):
        unrolled(text)
