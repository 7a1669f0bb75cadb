"""Plain links whose peer says nothing: a frozen one ends the run, one that only takes its time does not."""

import contextlib
import signal
import socket
import time

import pytest

from eprune.deploy.ports import free_base_port
from eprune.runtime.net import wire
from eprune.runtime.net.counters import Credit
from eprune.runtime.net.ends import TxFifo
from eprune.runtime.net.send_queue import SendQueue
from scripts.chaos.proxy import Proxy
from tests.kit.hostile import receive
from tests.kit.programs import finish, lines, start, write_program
from tests.kit.waiting import freeze

SOON = ("--dead-after", "0.4")


@pytest.fixture
def port():
    return free_base_port(4)


def left(tmp_path, port, behaviour="SlowCount", n=0, shape="(3,)", capacity=4, more=""):
    return write_program(
        tmp_path,
        "left",
        f"actor('A', 'ACTORS:{behaviour}', 'cpu', {{'n': '{n}'}})",
        f"tx('f', 'A.out', 'int32', {shape}, capacity={capacity}, to='right', address='127.0.0.1', port={port}{more})",
    )


def right(tmp_path, port, behaviour="Show", shape="(3,)", capacity=4, more=""):
    return write_program(
        tmp_path,
        "right",
        f"actor('B', 'ACTORS:{behaviour}', 'cpu')",
        f"rx('f', 'B.in', 'int32', {shape}, capacity={capacity}, frm='left', port={port}{more})",
    )


def read_greeting(connection):
    header = receive(connection, wire.GREETING_BYTES)
    receive(connection, wire.greeting_size(header) - len(header))


@pytest.mark.parametrize("victim", [0, 1])
@pytest.mark.parametrize("shape", ["(3,)", "(300, 600)"])
def test_a_frozen_peer_ends_the_run_with_a_message(tmp_path, port, victim, shape):
    processes = [
        start(left(tmp_path, port, shape=shape), *SOON),
        start(right(tmp_path, port, shape=shape), *SOON),
    ]
    lines(processes[1], 1)
    freeze(processes[victim].pid)
    code, _, err = finish(processes[1 - victim])
    assert code == 1
    peer = ["left", "right"][victim]
    assert err.startswith(
        f"{['right', 'left'][victim]}: error: FIFO 'f': lost peer {peer!r}: nothing received for 0.4 s"
    )
    assert len(err.splitlines()) == 1
    processes[victim].send_signal(signal.SIGCONT)
    assert finish(processes[victim])[0] == 1


def test_a_pulled_cable_ends_both_ends_of_an_idle_link(tmp_path, port):
    proxy = Proxy(port, port + 1)
    processes = [start(left(tmp_path, port, "Idle"), *SOON), start(right(tmp_path, port + 1), *SOON)]
    lines(processes[1], 1)
    proxy.hold()
    for process in processes:
        code, _, err = finish(process)
        assert code == 1
        assert "nothing received for 0.4 s" in err
    proxy.close()


def test_a_peer_that_freezes_when_it_wants_no_more_holds_up_nobody(tmp_path, port):
    with socket.create_server(("127.0.0.1", port)) as server:
        sender = start(left(tmp_path, port, "Count", shape="(300, 600)"), *SOON)
        connection, _ = server.accept()
        with connection:
            read_greeting(connection)
            connection.sendall(
                wire.pack_greeting({"verdict": "accepted", "incarnation": "i"})
                + wire.credit_frame(0, (0, 0, 4, 0))
                + wire.control_frame(wire.END, 0)
            )
            assert finish(sender) == (0, "", "")


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("producer", "consumer"),
    [("Idle", "Show"), ("Count", "Sleeper"), ("LateStart", "Show"), ("Count", "LateStartShow")],
    ids=["idle", "backpressure", "late producer", "late consumer"],
)
@pytest.mark.parametrize("more", ["", ", shared=True", ", policy='wait'"])
def test_who_only_takes_its_time_is_not_dead(tmp_path, port, producer, consumer, more):
    """Two tokens with 0.7 s between them, or 0.7 s before the first, are no silence."""
    processes = [
        start(left(tmp_path, port, producer, 2, "(300, 600)", 1, more), *SOON),
        start(right(tmp_path, port, consumer, "(300, 600)", 1, more), *SOON),
    ]
    codes = [finish(process) for process in processes]
    assert [(code, err) for code, _, err in codes] == [(0, ""), (0, "")]
    assert codes[1][1].split()[:2] == ["0", "1"]


@pytest.mark.long
def test_tokens_right_behind_a_heartbeat_are_whole(tmp_path, port):
    receiver = start(right(tmp_path, port, capacity=20))
    hello = {"application": "app", "platform": "left", "digest": "d", "fifo": "f", "token": "int32[3] at rate 1"}
    hello["incarnation"] = "i"
    for _ in range(200):
        try:
            connection = socket.create_connection(("127.0.0.1", port), timeout=10)
            break
        except ConnectionRefusedError:
            time.sleep(0.02)
    with connection:
        connection.sendall(wire.pack_greeting(hello))
        read_greeting(connection)
        beat = wire.heartbeat_frame(0, 0)
        stream = beat
        for number in range(20):
            head = bytearray(wire.HEADER_BYTES)
            wire.pack_header(head, wire.DATA, 0, 0, number, 12)
            stream += bytes(head) + number.to_bytes(4, "little") * 3 + beat * (number % 3)
        connection.sendall(stream + wire.control_frame(wire.END, 0, 20))
        code, out, err = finish(receiver)
    assert (code, err) == (0, "")
    assert out.split()[:20] == [*map(str, range(20))]


def test_no_heartbeat_in_the_middle_of_a_frame():
    """A part of a token is out: what comes next goes behind the rest of it."""
    here, there = socket.socketpair()
    fifo = TxFifo("f", "uint8", (4_000_000,), 2)
    queue = SendQueue({0: fifo}, {})
    fifo.resume("right", Credit(0, 0, 2, 0))
    fifo.firings[0] = 0
    fifo.put(1)
    with here, there:
        with pytest.raises(BlockingIOError):
            queue.send(here)
        queue.add(wire.heartbeat_frame(0, 0))
        data = bytearray()
        while len(data) < wire.HEADER_BYTES + 4_000_000:
            data += there.recv(65536)
            with contextlib.suppress(BlockingIOError):
                queue.send(here)
        assert data[wire.HEADER_BYTES : wire.HEADER_BYTES + 4_000_000] == bytes(4_000_000)
