"""Strangers by the thousand, who connect and say nothing: the peer that belongs there still gets in."""

import contextlib
import re
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from eprune.runtime.net import wire
from eprune.runtime.net.handshake import MAX_PENDING
from tests.kit import hostile
from tests.kit.hostile import GREETING, PLAIN, End
from tests.kit.programs import ROOT, STARTED, finish, start, write_program

FLOOD = ROOT / "tests" / "kit" / "flood.py"


@pytest.fixture(autouse=True)
def nothing_stays_open():
    yield
    hostile.close_all()


@pytest.fixture
def port():
    return hostile.free_port()


def flood(port, connections):
    """Start an attacker; returns once it has opened so many connections."""
    process = subprocess.Popen(
        [sys.executable, str(FLOOD), str(port), str(connections)], stdout=subprocess.PIPE, text=True
    )
    STARTED.append(process)
    assert process.stdout.readline() == "flooding\n"
    return process


def programs(tmp_path, port, policy):
    more = "" if policy == PLAIN else f", policy='{policy}'"
    left = write_program(
        tmp_path,
        "left",
        "actor('A', 'ACTORS:Count', 'cpu', {'n': '1000'})",
        f"tx('f', 'A.out', 'int32', (3,), capacity=4, to='right', address='127.0.0.1', port={port}{more})",
    )
    right = write_program(
        tmp_path,
        "right",
        "actor('B', 'ACTORS:Total', 'cpu')",
        f"rx('f', 'B.in', 'int32', (3,), capacity=4, frm='left', port={port}{more})",
    )
    return left, right


def listening(port):
    for _ in range(500):
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        time.sleep(0.02)
    raise AssertionError("nobody listens")


@pytest.mark.parametrize("policy", [PLAIN, pytest.param("wait", marks=pytest.mark.long)])
@pytest.mark.parametrize("connections", [10_000])
def test_the_right_peer_gets_in_through_a_flood_of_half_open_connections(tmp_path, port, policy, connections):
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < connections + 100:
        pytest.skip(f"this system allows no {connections} open files")
    left, right = programs(tmp_path, port, policy)
    receiver = start(right, "--timeout", "60")
    listening(port)
    flood(port, connections)
    code, _, err = finish(start(left, "--timeout", "15"), 40)
    assert code == 0, err
    code, out, err = finish(receiver, 40)
    assert (code, out) == (0, "1000 tokens, sum 499500\n"), err
    # Told, but not a line for each.
    assert 1 <= len(err.splitlines()) < 20


def half(port, source):
    """A connection from an address of ours that has said nothing yet."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=5, source_address=(source, 0))
    hostile.OPEN.append(connection)
    return connection


def test_a_peer_behind_a_slow_network_is_not_the_one_that_has_to_go(port):
    """Its hello is on the way while somebody else opens connection after connection."""
    end = End(0, "wait", port, timeout=20)
    slow = half(port, "127.0.0.1")
    for _ in range(3 * MAX_PENDING):
        half(port, "127.0.0.2")
        time.sleep(0.001)
    slow.sendall(wire.pack_greeting({**GREETING, "platform": "left", "incarnation": "slow"}))
    assert hostile.greeting(slow)["verdict"] == "accepted"
    slow.sendall(hostile.frame(wire.END))
    while slow.recv(1000):
        pass
    slow.close()
    assert end.finish() == []


@pytest.mark.long
def test_a_stranger_who_talks_without_end_keeps_nobody_out(port):
    end = End(0, "wait", port)
    talker = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import socket; c = socket.create_connection(('127.0.0.1', {port})); print('on', flush=True)\n"
            "while True: c.sendall(bytes(1 << 20))",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    STARTED.append(talker)
    assert talker.stdout.readline() == "on\n"
    begin = time.monotonic()
    peer = hostile.dial(port, "peer")
    assert peer is not None
    assert time.monotonic() - begin < 4
    peer.send(hostile.frame(wire.END))
    assert end.finish() == []


def resident(process):
    """Bytes of memory that a process has."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", text)[1]) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells a process's memory this way")
def test_a_peer_that_talks_for_ever_does_not_make_a_program_grow(tmp_path, port):
    """A hundred thousand frames of all kinds, and three hundred connections that break the protocol."""
    right = write_program(
        tmp_path,
        "right",
        "actor('B', 'ACTORS:Total', 'cpu')",
        f"rx('f', 'B.in', 'int32', (3,), capacity=4, frm='left', port={port}, policy='drop')",
        aligned=True,
    )
    receiver = start(right, "--timeout", "60")
    listening(port)
    peer = hostile.dial(port, "peer")
    peer.send(hostile.frame(wire.HEARTBEAT) * 1000)
    time.sleep(0.3)
    before = resident(receiver)
    for _ in range(100):
        peer.send(hostile.frame(wire.HEARTBEAT) * 500 + hostile.frame(wire.IDLE) * 500)
    peer.close()
    refused = 0
    for number in range(300):
        stranger = hostile.dial(port, f"stranger {number}", firing="7")
        if stranger is None:
            refused += 1
            time.sleep(0.01)
            continue
        stranger.send(hostile.credit(number, 1, 1) + hostile.frame(wire.ERROR, payload=bytes(4000)))
        stranger.close()
    assert refused < 250
    assert resident(receiver) < before + 16 * 1024 * 1024
    peer = hostile.dial(port, "peer")
    while peer is None:
        peer = hostile.dial(port, "peer")
    peer.send(hostile.frame(wire.END))
    code, out, _ = finish(receiver)
    assert (code, out) == (0, "0 tokens, sum 0\n")
