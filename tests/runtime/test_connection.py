"""Connections that survive: what each fault policy promises, with real processes that are really killed and stopped."""

import json
import re
import signal
import socket
import time

import pytest

from eprune.deploy.ports import free_base_port
from eprune.runtime.net import wire
from scripts.chaos.proxy import Proxy
from tests.kit.hostile import receive
from tests.kit.programs import finish, lines, rest, start, write_program
from tests.kit.waiting import freeze


@pytest.fixture
def port():
    return free_base_port(4)


def left(tmp_path, port, n=1000, policy="wait", source="Count", name="left", more="", shape="(3,)", **keywords):
    return write_program(
        tmp_path,
        name,
        f"actor('A', 'ACTORS:{source}', 'cpu', {{'n': '{n}'}})",
        f"tx('f', 'A.out', 'int32', {shape}, capacity=4, to='right', address='127.0.0.1', port={port}, "
        f"policy='{policy}'{more})",
        aligned=policy in ("drop", "zero"),
        **keywords,
    )


def right(tmp_path, port, behaviour="Total", policy="wait", more="", shape="(3,)", **keywords):
    return write_program(
        tmp_path,
        "right",
        f"actor('B', 'ACTORS:{behaviour}', 'cpu')",
        f"rx('f', 'B.in', 'int32', {shape}, capacity=4, frm='left', port={port}, policy='{policy}'{more})",
        aligned=policy in ("drop", "zero"),
        **keywords,
    )


def connect(port):
    for _ in range(500):
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=10)
        except ConnectionRefusedError:
            time.sleep(0.02)
    raise AssertionError("nobody listens")


def numbers(out):
    return [int(line) for line in out.splitlines() if line.lstrip("-").isdigit()]


@pytest.mark.parametrize("policy", ["wait", "drop", "zero"])
@pytest.mark.parametrize("shape", ["(3,)", "(300, 600)"])
def test_on_a_healthy_link_every_token_arrives_once_and_in_order(tmp_path, port, policy, shape):
    record = tmp_path / "record.json"
    first = start(left(tmp_path, port, 300, policy, shape=shape), "--record", str(record))
    second = start(right(tmp_path, port, "Show", policy, shape=shape))
    assert finish(first) == (0, "", "")
    code, out, err = finish(second)
    assert (code, err) == (0, "")
    assert numbers(out) == list(range(300))
    fifo = json.loads(record.read_text())["fifos"]["f"]
    assert (fifo["tokens"], fifo["confirmed"], fifo["dropped"], fifo["resent"]) == (300, 300, 0, 0)


@pytest.mark.parametrize("ack", [pytest.param("received", marks=pytest.mark.long), "fired"])
def test_wait_loses_and_doubles_nothing_across_broken_connections(tmp_path, port, ack):
    proxy = Proxy(port, port + 1)
    more = f", ack='{ack}'"
    record = tmp_path / "record.json"
    second = start(right(tmp_path, port + 1, "Show", more=more))
    first = start(left(tmp_path, port, 3000, source="SlowCount", more=more), "--record", str(record))
    begun = ""
    for _ in range(8):
        begun += lines(second, 100)
        proxy.cut()
    code, out, err = rest(second)
    assert code == 0, err
    code, _, err = finish(first)
    proxy.close()
    assert code == 0, err
    assert numbers(begun + out) == list(range(3000))
    fifo = json.loads(record.read_text())["fifos"]["f"]
    assert (fifo["tokens"], fifo["confirmed"], fifo["dropped"]) == (3000, 3000, 0)
    happened = [event["event"] for event in json.loads(record.read_text())["events"]]
    assert happened.count("lost") == happened.count("reconnected") > 3


def test_wait_sends_a_restarted_receiver_what_it_had_not_fired_on(tmp_path, port):
    record = tmp_path / "record.json"
    program = right(tmp_path, port, "Show")
    first = start(left(tmp_path, port, 2000, source="SlowCount"), "--record", str(record))
    outs = []
    for _ in range(3):
        second = start(program)
        lines = [second.stdout.readline() for _ in range(50)]
        second.kill()
        outs.append(numbers("".join([*lines, rest(second)[1]])))
    second = start(program)
    code, _, err = finish(first)
    assert code == 0, err
    code, out, err = finish(second)
    assert code == 0, err
    outs.append(numbers(out))
    # No gap anywhere; at most the firing that was cut off by the kill is done again.
    for before, after in zip(outs, outs[1:]):
        assert after[0] in (before[-1], before[-1] + 1)
    for each in outs:
        assert each == list(range(each[0], each[-1] + 1))
    assert outs[-1][-1] == 1999
    doubled = sum(len(each) for each in outs) - 2000
    assert json.loads(record.read_text())["fifos"]["f"]["resent"] >= doubled


def test_wait_with_ack_received_ends_rather_than_doubling_what_a_restarted_receiver_may_have_fired_on(tmp_path, port):
    more = ", ack='received'"
    program = right(tmp_path, port, "SlowShow", more=more)
    first = start(left(tmp_path, port, 0, more=more))
    second = start(program)
    lines(second, 3)
    second.kill()
    rest(second)
    second = start(program, "--patience", "0.5")
    code, _, err = finish(first)
    assert code == 1
    assert 'ack="fired"' in err
    code, out, _ = finish(second)
    assert (code, numbers(out)) == (1, [])


def test_wait_gives_up_after_its_patience(tmp_path, port):
    first = start(left(tmp_path, port, 0), "--patience", "0.5")
    second = start(right(tmp_path, port, "Show"))
    second.stdout.readline()
    second.kill()
    second.communicate()
    code, _, err = finish(first)
    assert code == 1
    assert "within 0.5 s" in err
    assert "tokens were not delivered" in err


@pytest.mark.long
def test_a_receiver_of_another_build_is_no_peer_to_wait_for(tmp_path, port):
    """The sender keeps its tokens for one that belongs to it, but not longer than for one that does not come."""
    first = start(left(tmp_path, port, 0), "--patience", "8")
    second = start(right(tmp_path, port, "Show"))
    lines(second, 1)
    second.kill()
    rest(second)
    third = start(right(tmp_path, port, "Show", digest="another"), "--timeout", "10")
    code, _, err = finish(first)
    assert code == 1
    assert "within 8 s (refused by right: application digest" in err
    assert "tokens were not delivered" in err
    code, _, err = finish(third)
    assert code == 1
    assert "application digest d at left, another at right: generate the programs" in err


@pytest.mark.long
def test_a_sender_of_another_build_is_no_peer_to_wait_for(tmp_path, port):
    first = start(left(tmp_path, port, 0))
    second = start(right(tmp_path, port, "Show"), "--patience", "8")
    lines(second, 1)
    first.kill()
    rest(first)
    code, _, err = finish(start(left(tmp_path, port, 0, digest="another")))
    assert code == 1
    assert "refused by right: application digest" in err
    code, _, err = rest(second)
    assert code == 1
    assert "did not connect" in err
    assert "within 8 s (refused in the meantime: application digest another at left, d at right" in err


@pytest.mark.parametrize("policy", ["wait", "drop"])
def test_a_frozen_peer_is_noticed_and_taken_back(tmp_path, port, policy):
    first = start(left(tmp_path, port, 500, policy, source="SlowCount"), "--dead-after", "0.3")
    second = start(right(tmp_path, port, "Show", policy), "--dead-after", "0.3")
    second.stdout.readline()
    freeze(second.pid)
    deadline = time.monotonic() + 10
    line = first.stderr.readline()
    assert time.monotonic() < deadline
    assert "lost" in line
    second.send_signal(signal.SIGCONT)
    code, out, err = rest(second)
    assert code == 0, err
    code, _, err = rest(first)
    assert code == 0, err
    assert "reconnected" in err
    got = [0, *numbers(out)] if policy == "wait" else numbers(out)
    if policy == "wait":
        assert got == list(range(500))
    else:
        assert got == sorted(set(got))
        assert got[-1] == 499


@pytest.mark.sampled(4)
@pytest.mark.parametrize("policy", ["wait", pytest.param("drop", marks=pytest.mark.long)])
@pytest.mark.parametrize("silence", [(0.3, 0.3), (0.3, 2.0), (2.0, 0.3)], ids=["both", "sender", "receiver"])
def test_a_link_that_comes_and_goes_settles_whoever_takes_whom_for_dead(tmp_path, port, policy, silence):
    """Nothing passes for about as long as a peer may be silent: both ends take each other for dead, or one, or none."""
    proxy = Proxy(port, port + 1)
    record = tmp_path / "record.json"
    second = start(right(tmp_path, port + 1, "Show", policy), f"--dead-after={silence[1]}")
    first = start(
        left(tmp_path, port, 1500, policy, "SlowCount"), f"--dead-after={silence[0]}", "--record", str(record)
    )
    begun = ""
    for held in (0.25, 0.35, 0.45, 0.3):
        begun += lines(second, 20)
        proxy.hold()
        time.sleep(held)
        proxy.resume()
    code, out, err = rest(second)
    assert code == 0, err
    code, _, err = finish(first)
    proxy.close()
    assert code == 0, err
    got = numbers(begun + out)
    assert got[-1] > 1200
    assert got == list(range(1500)) if policy == "wait" else got == sorted(set(got))
    happened = [event["event"] for event in json.loads(record.read_text())["events"]]
    assert happened.count("lost") == happened.count("reconnected") > 0


def test_drop_goes_on_without_the_peer_and_takes_it_back(tmp_path, port):
    record = tmp_path / "record.json"
    program = right(tmp_path, port, "Show", "drop")
    first = start(left(tmp_path, port, 1500, "drop", source="SlowCount"), "--record", str(record))
    second = start(program)
    second.stdout.readline()
    second.kill()
    before = [0, *numbers(rest(second)[1])]
    time.sleep(0.2)
    second = start(program)
    code, _, err = finish(first)
    assert code == 0, err
    code, out, err = finish(second)
    assert code == 0, err
    after = numbers(out)
    assert before == list(range(len(before)))
    assert after == list(range(after[0], 1500))
    assert after[0] > before[-1] + 1
    fifo = json.loads(record.read_text())["fifos"]["f"]
    assert fifo["tokens"] == 1500
    assert fifo["confirmed"] + fifo["dropped"] == 1500
    assert fifo["dropped"] >= after[0] - before[-1] - 1 - 256


def test_shared_fifos_do_not_block_one_another(tmp_path, port):
    """``early`` has no room until ``late`` brings its first token, over the same connection."""
    link = f"port={port}, shared=True"
    programs = [
        write_program(
            tmp_path,
            "left",
            "actor('A', 'ACTORS:Count', 'cpu', {'n': '100'})",
            "actor('Z', 'ACTORS:LateCount', 'cpu', {'n': '100'})",
            f"tx('early', 'A.out', 'int32', (3,), capacity=1, to='right', address='127.0.0.1', {link}, number=0)",
            f"tx('late', 'Z.out', 'int32', (3,), capacity=1, to='right', address='127.0.0.1', {link}, number=1)",
        ),
        write_program(
            tmp_path,
            "right",
            "actor('C', 'ACTORS:Copy', 'cpu')",
            "actor('B', 'ACTORS:Add', 'cpu')",
            "actor('S', 'ACTORS:Show', 'cpu')",
            f"rx('early', 'B.early', 'int32', (3,), capacity=1, frm='left', {link}, number=0)",
            f"rx('late', 'C.in', 'int32', (3,), capacity=1, frm='left', {link}, number=1)",
            "fifo('g', 'C.out', 'B.late', 'int32', (3,), capacity=1)",
            "fifo('h', 'B.out', 'S.in', 'int32', (3,), capacity=1)",
        ),
    ]
    (code, _, err), (code2, out, err2) = [finish(process) for process in [start(program) for program in programs]]
    assert (code, err, code2, err2) == (0, "", 0, "")
    assert numbers(out) == [2 * number for number in range(100)]


def test_a_stop_link_that_is_shared_stops_at_a_failure(tmp_path, port):
    more = ", shared=True"
    first = start(left(tmp_path, port, 0, "stop", more=more))
    second = start(right(tmp_path, port, "Show", "stop", more=more))
    second.stdout.readline()
    second.kill()
    code, _, err = finish(first)
    assert code == 1
    assert re.search(r"link to 'right': lost peer 'right': ", err)


def test_a_token_of_which_only_a_part_has_come_has_not_arrived(tmp_path, port):
    """The consumer fires on token 0 while token 1 is under way: token 1 must not be acknowledged."""
    receiver = start(right(tmp_path, port, "SlowShow"))
    hello = {"application": "app", "platform": "left", "digest": "d", "fifo": "f", "token": "int32[3] at rate 1"}
    with connect(port) as connection:
        connection.sendall(wire.pack_greeting({**hello, "incarnation": "x"}))
        head = receive(connection, wire.GREETING_BYTES)
        receive(connection, wire.greeting_size(head) - len(head))
        token = bytearray(wire.HEADER_BYTES + 12)
        wire.pack_header(token, wire.DATA, 0, 0, 0, 12)
        connection.sendall(token + token[:-4])
        told = []
        while not told or told[-1][1] == 0:
            header = wire.unpack_header(receive(connection, wire.HEADER_BYTES), {})
            payload = receive(connection, header.nbytes)
            if header.kind == wire.CREDIT:
                told.append(wire.unpack_credit(payload))
    receiver.kill()
    assert told[-1][:2] == (1, 1)


@pytest.mark.parametrize("policy", ["wait", "drop"])
def test_faults_over_an_emulated_link(tmp_path, port, policy):
    proxy = Proxy(port, port + 1)
    programs = []
    for program, peer in (
        (left(tmp_path, port, 400, policy, source="SlowCount"), "right"),
        (right(tmp_path, port + 1, "Show", policy), "left"),
    ):
        text = program.read_text()
        program.write_text(text.replace("program.unit(", f"program.link({peer!r}, 2e6, 2e-3)\nprogram.unit("))
        programs.append(program)
    record = tmp_path / "record.json"
    first = start(programs[0], "--emulate", "--record", str(record))
    second = start(programs[1], "--emulate")
    begun = ""
    for _ in range(3):
        begun += lines(second, 50)
        proxy.cut()
    code, out, err = rest(second)
    assert code == 0, err
    code, _, err = finish(first)
    proxy.close()
    assert code == 0, err
    got = numbers(begun + out)
    assert got == sorted(set(got))
    assert got[-1] == 399
    assert policy == "drop" or got == list(range(400))
    fifo = json.loads(record.read_text())["fifos"]["f"]
    assert fifo["confirmed"] + fifo["dropped"] == fifo["tokens"] == 400
