"""Two programs joined by a connection that may not break: every token arrives; trouble is one clear message."""

import json
import signal
import socket
import struct
import time

import pytest

from eprune.deploy.ports import free_base_port
from eprune.runtime.net import wire
from tests.kit.hostile import receive
from tests.kit.programs import finish, run, start, write_program

TOKEN = "int32[3] at rate 1"
HELLO = {"application": "app", "platform": "left", "digest": "d", "fifo": "f", "token": TOKEN, "incarnation": "i"}


@pytest.fixture
def port():
    return free_base_port(3)


def left(tmp_path, port, n=1000, **more):
    return write_program(
        tmp_path,
        "left",
        f"actor('A', 'ACTORS:Count', 'cpu', {{'n': '{n}'}})",
        f"tx('f', 'A.out', 'int32', (3,), capacity=4, to='right', address='127.0.0.1', port={port})",
        **more,
    )


def right(tmp_path, port, behaviour="Total", **more):
    return write_program(
        tmp_path,
        "right",
        f"actor('B', 'ACTORS:{behaviour}', 'cpu')",
        f"rx('f', 'B.in', 'int32', (3,), capacity=4, frm='left', port={port})",
        **more,
    )


def both(first, second, *arguments):
    processes = [start(first, *arguments), start(second, *arguments)]
    return [finish(process) for process in processes]


@pytest.mark.parametrize("shape", ["()", "(3,)", "(100,)", "(5000,)", "(600, 600)"])
def test_every_token_arrives_once_and_in_order(tmp_path, port, shape):
    (code, _, err), (code2, out, err2) = both(
        *(
            write_program(
                tmp_path,
                platform,
                *(line.replace("(3,)", shape) for line in lines),
            )
            for platform, lines in {
                "left": (
                    "actor('A', 'ACTORS:Count', 'cpu', {'n': '200'})",
                    f"tx('f', 'A.out', 'int32', (3,), capacity=4, to='right', address='127.0.0.1', port={port})",
                ),
                "right": (
                    "actor('B', 'ACTORS:Show', 'cpu')",
                    f"rx('f', 'B.in', 'int32', (3,), capacity=4, frm='left', port={port})",
                ),
            }.items()
        )
    )
    assert (code, err, code2, err2) == (0, "", 0, "")
    assert out.split() == [*map(str, range(200)), "B", "finalized"]


def test_either_side_may_start_first(tmp_path, port):
    sender = start(left(tmp_path, port))
    time.sleep(0.5)
    assert run(right(tmp_path, port)) == (0, "1000 tokens, sum 499500\n", "")
    assert finish(sender)[0] == 0
    receiver = start(right(tmp_path, port))
    time.sleep(0.5)
    assert run(left(tmp_path, port))[0] == 0
    assert finish(receiver)[0] == 0


def test_a_loop_through_another_platform(tmp_path, port):
    """Both programs listen and connect, in a ring with one initial token."""
    one = write_program(
        tmp_path,
        "one",
        "actor('A', 'ACTORS:Count', 'cpu', {'n': '5'})",
        "actor('Sum', 'ACTORS:Add', 'cpu')",
        "actor('B', 'ACTORS:Show', 'cpu')",
        "fifo('f', 'A.out', 'Sum.new', 'int32', (), capacity=1)",
        "fifo('g', 'Sum.out', 'B.in', 'int32', (), capacity=1)",
        f"tx('go', 'Sum.state', 'int32', (), capacity=2, to='two', address='127.0.0.1', port={port})",
        f"rx('back', 'Sum.old', 'int32', (), capacity=2, delay=1, frm='two', port={port + 1})",
    )
    two = write_program(
        tmp_path,
        "two",
        "actor('C', 'ACTORS:Copy', 'cpu')",
        f"rx('go', 'C.in', 'int32', (), capacity=2, frm='one', port={port})",
        f"tx('back', 'C.out', 'int32', (), capacity=2, to='one', address='127.0.0.1', port={port + 1})",
    )
    (code, out, err), (code2, _, err2) = both(one, two)
    assert (code, err, code2, err2) == (0, "", 0, "")
    assert out == "0\n1\n3\n6\n10\nB finalized\n"


def test_a_consumer_that_wants_no_more_ends_the_producer_there(tmp_path, port):
    (code, _, err), (code2, out, err2) = both(left(tmp_path, port, n=0), right(tmp_path, port, "Few"))
    assert (code, err, code2, err2) == (0, "", 0, "")
    assert out == "3 tokens, sum 3\n"


@pytest.mark.parametrize("behaviour", ["Crash", "BadStart"])
def test_a_crash_of_the_receiver_ends_both_in_its_words(tmp_path, port, behaviour):
    receiver = write_program(
        tmp_path,
        "right",
        f"actor('B', 'ACTORS:{behaviour}', 'cpu')",
        "actor('C', 'ACTORS:Total', 'cpu')",
        f"rx('f', 'B.in', 'int32', (3,), capacity=4, frm='left', port={port})",
        "fifo('g', 'B.out', 'C.in', 'int32', (3,), capacity=4)",
    )
    words = "five is right out" if behaviour == "Crash" else "No such camera"
    (code, _, err), (code2, _, err2) = both(left(tmp_path, port, n=0), receiver, "--timeout", "3")
    assert (code, code2) == (1, 1)
    assert words in err2
    assert behaviour == "BadStart" or err.startswith("left: error: peer 'right' failed: ")
    assert behaviour == "BadStart" or words in err


def test_a_crash_of_the_sender_ends_both_in_its_words(tmp_path, port):
    sender = write_program(
        tmp_path,
        "left",
        "actor('A', 'ACTORS:Count', 'cpu', {'n': '0'})",
        "actor('B', 'ACTORS:Crash', 'cpu')",
        "fifo('e', 'A.out', 'B.in', 'int32', (3,), capacity=4)",
        f"tx('f', 'B.out', 'int32', (3,), capacity=4, to='right', address='127.0.0.1', port={port})",
    )
    (code, _, err), (code2, _, err2) = both(sender, right(tmp_path, port))
    assert (code, code2) == (1, 1)
    assert "five is right out" in err
    assert err2.startswith("right: error: peer 'left' failed: ")
    assert "five is right out" in err2


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_peer_ends_the_other_with_a_message(tmp_path, port, victim):
    processes = [start(left(tmp_path, port, n=0)), start(right(tmp_path, port, "Show"))]
    processes[1].stdout.readline()
    processes[victim].send_signal(signal.SIGKILL)
    finish(processes[victim])
    code, _, err = finish(processes[1 - victim])
    assert code == 1
    assert f"FIFO 'f': lost peer {['left', 'right'][victim]!r}: " in err


@pytest.mark.parametrize("victim", [0, 1])
def test_an_interrupted_peer_ends_the_other_with_a_message(tmp_path, port, victim):
    processes = [start(left(tmp_path, port, n=0)), start(right(tmp_path, port, "Show"))]
    processes[1].stdout.readline()
    processes[victim].send_signal(signal.SIGINT)
    assert finish(processes[victim])[0] == 130
    code, _, err = finish(processes[1 - victim])
    assert code == 1
    assert f"peer {['left', 'right'][victim]!r} failed: interrupted" in err


def test_a_peer_that_never_comes_is_a_timeout_on_either_side(tmp_path, port):
    (code, _, err) = run(left(tmp_path, port), "--timeout", "0.5")
    assert code == 1
    assert f"nobody answered at 127.0.0.1:{port} in time (Connection refused)" in err
    (code, _, err) = run(right(tmp_path, port), "--timeout", "0.5")
    assert code == 1
    assert f"left did not connect to 127.0.0.1:{port} in time" in err
    assert "--bind ADDRESS" in err


def test_a_wait_for_a_peer_can_be_interrupted(tmp_path, port):
    for program in (left(tmp_path, port), right(tmp_path, port)):
        process = start(program, "--status", "/dev/stdout")
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert finish(process)[0] == 130


def test_a_port_in_use_is_said_with_the_way_out(tmp_path, port):
    with socket.create_server(("127.0.0.1", port)):
        code, _, err = run(right(tmp_path, port))
    assert code == 1
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use; choose another" in err
    assert "--link left=HOST:PORT" in err


def test_another_application_is_refused_on_both_sides(tmp_path, port):
    (code, _, err), (code2, _, err2) = both(
        left(tmp_path, port, digest="other"), right(tmp_path, port), "--timeout", "2"
    )
    assert (code, code2) == (1, 1)
    reason = "application digest other at left, d at right: generate the programs of all platforms from the same files"
    assert f"refused by right: {reason}" in err
    assert f"refused in the meantime: {reason}" in err2


def connect(port):
    for _ in range(200):
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=10)
        except ConnectionRefusedError:
            time.sleep(0.02)
    raise AssertionError("nobody listens")


def read_all(connection):
    data = b""
    while more := connection.recv(65536):
        data += more
    return data


@pytest.mark.parametrize(
    ("noise", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "the other side is not an eprune program"),
        (wire._GREETING.pack(wire.MAGIC, 1, 2) + b"{}", "protocol version 1, expected 4"),
        (wire._GREETING.pack(wire.MAGIC, wire.VERSION, 2**31) + b"x", "a greeting of 2147483648 bytes"),
        (wire._GREETING.pack(wire.MAGIC, wire.VERSION, 2) + b"[]", "not an object of text values"),
        (wire.pack_greeting({**HELLO, "token": "int32[4] at rate 1"}), "token type int32[4] at rate 1 at left"),
        (wire.pack_greeting({**HELLO, "fifo": "g"}), "FIFO g at left, f at right"),
    ],
)
def test_a_stranger_is_refused_and_the_right_peer_still_served(tmp_path, port, noise, reason):
    receiver = start(right(tmp_path, port))
    with connect(port) as silent, connect(port) as stranger:
        stranger.sendall(noise)
        answer = wire.unpack_greeting(read_all(stranger))
        assert answer["verdict"] == "refused"
        assert reason in answer["reason"]
        # The silent connection is still open and holds nobody up.
        assert run(left(tmp_path, port)) == (0, "", "")
        silent.close()
    code, out, err = finish(receiver)
    assert (code, out) == (0, "1000 tokens, sum 499500\n")
    assert err.startswith("right: warning: FIFO 'f': refused a connection: ")
    assert reason in err


def shake(port):
    connection = connect(port)
    connection.sendall(wire.pack_greeting(HELLO))
    header = receive(connection, wire.GREETING_BYTES)
    body = receive(connection, wire.greeting_size(header) - len(header))
    assert wire.unpack_greeting(header + body)["verdict"] == "accepted"
    return connection


def frame(kind, fifo, firing, nbytes, payload=b""):
    return struct.pack("!BBHIQQHH", kind, 0, fifo, 0, firing, nbytes, 0, 0) + payload


@pytest.mark.parametrize(
    ("lie", "message"),
    [
        (frame(wire.DATA, 0, 0, 2**63), "a token of 9223372036854775808 bytes for FIFO number 0"),
        (b"\xff" * 64, "a frame of unknown kind 255"),
        (frame(wire.DATA, 1, 0, 12), "for FIFO number 1, which does not take such tokens"),
        (frame(wire.DATA, 0, 5, 12, bytes(12)) + frame(wire.DATA, 0, 4, 12, bytes(12)), "firing 4 after firing 5"),
        (5 * frame(wire.DATA, 0, 0, 12, bytes(12)), "more tokens than there is room for"),
        (frame(wire.END, 0, 3, 0), "left violates the protocol: the peer sent 3 tokens, but 0 arrived"),
        (frame(wire.ERROR, 0, 0, 9, b"bad\x1b[2Jluck"[:9]), "peer 'left' failed: bad?[2Jlu"),
        (frame(wire.ERROR, 0, 0, 2**40), "an error message of 1099511627776 bytes"),
        (frame(wire.DATA, 0, 0, 12, bytes(5)), "lost peer 'left': connection closed by peer"),
    ],
)
def test_a_lying_peer_ends_the_run_with_a_message(tmp_path, port, lie, message):
    receiver = start(right(tmp_path, port))
    with shake(port) as connection:
        connection.sendall(lie)
        connection.shutdown(socket.SHUT_WR)
        code, _, err = finish(receiver)
    assert code == 1
    assert message in err
    assert len(err.splitlines()) == 1


def test_every_firing_has_its_token_in_the_record_when_the_connection_is_reset(tmp_path, port):
    """The token that the broken connection did not take was made, too."""
    program = left(tmp_path, port, n=0)
    for _ in range(4):
        with socket.create_server(("127.0.0.1", port)) as server:
            sender = start(program, f"--record={tmp_path / 'left.json'}")
            connection, _ = server.accept()
            connection.recv(65536)
            connection.sendall(wire.pack_greeting({**HELLO, "verdict": "accepted", "platform": "right"}))
            connection.sendall(wire.credit_frame(0, (0, 0, 4, 0)))
            receive(connection, 100)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
            code, _, err = finish(sender)
        assert (code, len(err.splitlines())) == (1, 1)
        record = json.loads((tmp_path / "left.json").read_text())
        assert record["fifos"]["f"]["tokens"] == record["actors"]["A"]["firings"] > 0


def test_a_server_that_is_no_eprune_program_is_named_so(tmp_path, port):
    with socket.create_server(("127.0.0.1", port)) as server:
        sender = start(left(tmp_path, port))
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"220 mail.example.org ESMTP ready\r\n")
            code, _, err = finish(sender)
    assert code == 1
    assert "the other side is not an eprune program" in err


def test_addresses_and_ports_can_be_overridden_by_option_and_environment(tmp_path, port):
    programs = left(tmp_path, 1), right(tmp_path, 1)
    receiver = start(programs[1], "--bind", "127.0.0.2", "--link", f"left=127.0.0.1:{port}")
    code, _, err = run(programs[0], EPRUNE_LINK_RIGHT=f"127.0.0.2:{port}")
    assert (code, err) == (0, "")
    assert finish(receiver)[0] == 0
    code, _, err = run(programs[0], "--link", "rihgt=127.0.0.1")
    assert code == 2
    assert "did you mean 'right'?" in err
    assert run(programs[0], "--link", "right=127.0.0.1:99999")[0] == 2
    assert run(programs[0], "--link", "right=127.0.0.1:http")[0] == 2


def test_what_is_no_address_is_said_at_once(tmp_path):
    for where, expected in (("..", 1), ("x" * 300, 1), ("127.0.0.1:65535", 2)):
        program = write_program(
            tmp_path,
            "left",
            "actor('A', 'ACTORS:Count', 'cpu')",
            "tx('f', 'A.out', 'int32', (3,), capacity=4, to='right', address='127.0.0.1', port=1)",
            "tx('g', 'A.more', 'int32', (3,), capacity=4, to='right', address='127.0.0.1', port=2)",
        )
        code, _, err = run(program, "--timeout", "5", "--insecure", "--link", f"right={where}")
        assert code == expected
        assert "is not an address" in err or "TCP port 65536 does not exist" in err
        assert len(err.splitlines()) == 1


def test_ipv6_addresses_work(tmp_path, port):
    try:
        socket.create_server(("::1", port), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 loopback here")
    receiver = start(right(tmp_path, 1), "--bind", "::1", "--link", f"left=[::1]:{port}")
    assert run(left(tmp_path, 1), "--link", f"right=[::1]:{port}") == (0, "", "")
    assert finish(receiver)[0] == 0
