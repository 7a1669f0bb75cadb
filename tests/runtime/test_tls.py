"""Links with TLS: tokens arrive as over plain ones, and nobody without the right certificate gets one in or out."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import ssl
import threading
import time

import pytest

from eprune.deploy.ports import free_base_port
from eprune.runtime.kernel.errors import UsageError
from eprune.runtime.net import wire
from eprune.runtime.net.greeting import Greeting
from eprune.runtime.net.handshake import dial
from eprune.runtime.net.tls import Keys
from scripts.chaos.proxy import Proxy
from tests.kit import keys
from tests.kit.hostile import finish_alone
from tests.kit.programs import finish, lines, rest, run, start, write_program


@pytest.fixture
def port():
    return free_base_port(4)


@pytest.fixture(scope="module")
def authority():
    return keys.authority()


@pytest.fixture
def folder(tmp_path, authority):
    return keys.write(tmp_path / "keys", authority, "left", "right")


def left(tmp_path, port, n=300, shape="(3,)", policy="stop", source="Count", security="tls", more=""):
    return write_program(
        tmp_path,
        "left",
        f"actor('A', 'ACTORS:{source}', 'cpu', {{'n': '{n}'}})",
        f"tx('f', 'A.out', 'int32', {shape}, capacity=4, to='right', address='127.0.0.1', port={port}, "
        f"policy='{policy}', security='{security}'{more})",
        aligned=policy in ("drop", "zero"),
    )


def right(tmp_path, port, behaviour="Show", shape="(3,)", policy="stop", security="tls", more=""):
    return write_program(
        tmp_path,
        "right",
        f"actor('B', 'ACTORS:{behaviour}', 'cpu')",
        f"rx('f', 'B.in', 'int32', {shape}, capacity=4, frm='left', port={port}, "
        f"policy='{policy}', security='{security}'{more})",
        aligned=policy in ("drop", "zero"),
    )


def numbers(out):
    return [int(line) for line in out.splitlines() if line.lstrip("-").isdigit()]


@pytest.mark.sampled(3)
@pytest.mark.parametrize("policy", ["stop", "wait", "drop"])
@pytest.mark.parametrize("shape", ["()", "(100,)", "(5000,)", "(1000, 1200)"])
def test_every_token_arrives_once_and_in_order(tmp_path, port, folder, policy, shape):
    n = 300 if len(shape) < 9 else 40
    first = start(left(tmp_path, port, n, shape, policy), f"--keys={folder}")
    second = start(right(tmp_path, port, "Show", shape, policy), EPRUNE_KEYS=str(folder))
    assert finish(first) == (0, "", "")
    code, out, err = finish(second)
    assert (code, err) == (0, "")
    assert numbers(out) == list(range(n))


@pytest.mark.parametrize("sharing", [False, True])
def test_large_and_tiny_tokens_in_both_directions_at_once(tmp_path, port, folder, sharing):
    """Both ends send before they receive, more than all buffers between them hold."""
    big, tiny = "'int32', (1000, 1200), capacity=2", "'int32', (), capacity=2"

    def ends(mine, theirs, out_number, back_number, out_port, back_port):
        numbers = [f", shared=True, number={number}" * sharing for number in range(4)]
        out_port, back_port = (port, port) if sharing else (out_port, back_port)
        step = 0 if sharing else 1
        return (
            "actor('A', 'ACTORS:Count', 'cpu', {'n': '30'})",
            "actor('a', 'ACTORS:Count', 'cpu', {'n': '30'})",
            "actor('B', 'ACTORS:Show', 'cpu')",
            "actor('b', 'ACTORS:Total', 'cpu')",
            f"tx('big{mine}', 'A.out', {big}, to='{theirs}', address='127.0.0.1', port={out_port}, "
            f"security='tls'{numbers[out_number]})",
            f"tx('tiny{mine}', 'a.out', {tiny}, to='{theirs}', address='127.0.0.1', port={out_port + step}, "
            f"security='tls'{numbers[out_number + 1]})",
            f"rx('big{theirs}', 'B.in', {big}, frm='{theirs}', port={back_port}, security='tls'{numbers[back_number]})",
            f"rx('tiny{theirs}', 'b.in', {tiny}, frm='{theirs}', port={back_port + step}, "
            f"security='tls'{numbers[back_number + 1]})",
        )

    processes = [
        start(write_program(tmp_path, "left", *ends("left", "right", 0, 2, port, port + 2)), f"--keys={folder}"),
        start(write_program(tmp_path, "right", *ends("right", "left", 2, 0, port + 2, port)), f"--keys={folder}"),
    ]
    for process in processes:
        code, out, err = finish(process)
        assert (code, err) == (0, "")
        assert numbers(out) == list(range(30))
        assert "30 tokens, sum 435" in out


@pytest.mark.long
def test_wait_loses_and_doubles_nothing_across_broken_connections(tmp_path, port, folder):
    proxy = Proxy(port, port + 1)
    more = ", ack='fired'"
    second = start(right(tmp_path, port + 1, "Show", policy="wait", more=more), f"--keys={folder}")
    first = start(left(tmp_path, port, 2000, policy="wait", source="SlowCount", more=more), f"--keys={folder}")
    begun = ""
    for _ in range(5):
        begun += lines(second, 100)
        proxy.cut()
    code, out, err = rest(second)
    assert code == 0, err
    code, _, err = finish(first)
    proxy.close()
    assert code == 0, err
    assert numbers(begun + out) == list(range(2000))
    assert "note: FIFO 'f': reconnected to peer 'right'" in err


def test_drop_takes_a_restarted_peer_back(tmp_path, port, folder):
    first = start(left(tmp_path, port, 0, policy="drop", source="SlowCount"), f"--keys={folder}")
    program = right(tmp_path, port, policy="drop")
    for _ in range(3):
        second = start(program, f"--keys={folder}")
        lines(second, 20)
        second.send_signal(signal.SIGKILL)
        rest(second)
    first.send_signal(signal.SIGINT)
    assert finish(first)[0] == 130


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_peer_ends_the_other_with_a_message(tmp_path, port, folder, victim):
    processes = [
        start(left(tmp_path, port, 0, "(1000, 1200)"), f"--keys={folder}"),
        start(right(tmp_path, port, shape="(1000, 1200)"), f"--keys={folder}"),
    ]
    processes[1].stdout.readline()
    processes[victim].send_signal(signal.SIGKILL)
    finish(processes[victim])
    code, _, err = finish(processes[1 - victim])
    assert code == 1
    assert f"FIFO 'f': lost peer {['left', 'right'][victim]!r}: " in err


def test_over_an_emulated_link(tmp_path, port, folder):
    record = tmp_path / "record.json"
    first = start(left(tmp_path, port, 40, "(5000,)"), f"--keys={folder}", "--emulate")
    second = start(right(tmp_path, port, shape="(5000,)"), f"--keys={folder}", "--emulate", f"--record={record}")
    assert finish(first)[0] == 0
    code, out, _ = finish(second)
    assert code == 0
    assert numbers(out) == list(range(40))


def test_a_crash_over_there_is_told_in_its_words(tmp_path, port, folder):
    receiver = write_program(
        tmp_path,
        "right",
        "actor('B', 'ACTORS:Crash', 'cpu')",
        "actor('C', 'ACTORS:Total', 'cpu')",
        f"rx('f', 'B.in', 'int32', (3,), capacity=4, frm='left', port={port}, security='tls')",
        "fifo('g', 'B.out', 'C.in', 'int32', (3,), capacity=4)",
    )
    processes = [start(left(tmp_path, port, 0), f"--keys={folder}"), start(receiver, f"--keys={folder}")]
    (code, _, err), (code2, _, err2) = map(finish, processes)
    assert (code, code2) == (1, 1)
    assert err.startswith("left: error: peer 'right' failed: ")
    assert "five is right out" in err
    assert "five is right out" in err2


# Who is not let in.


def meet(tmp_path, port, left_keys, right_keys, policy="stop"):
    second = start(right(tmp_path, port, policy=policy), f"--keys={right_keys}", "--timeout=2.5")
    first = start(left(tmp_path, port, policy=policy), f"--keys={left_keys}", "--timeout=2.5")
    return finish(first), finish(second)


@pytest.mark.parametrize("policy", ["stop", "wait"])
def test_another_authority_is_refused_on_both_sides(tmp_path, port, folder, policy):
    other = keys.write(tmp_path / "other", keys.authority(), "left", "right")
    (code, _, err), (code2, out, err2) = meet(tmp_path, port, other, folder, policy)
    assert (code, code2, numbers(out)) == (1, 1, [])
    assert f"the certificate shown is not signed by the authority in {other / 'ca.crt'}" in err
    assert "'eprune certify'" in err
    assert (
        "refused in the meantime: left does not accept this platform's certificate: it is not signed by the authority"
        in err2
    )


def test_who_trusts_our_authority_but_is_of_another_is_refused_on_both_sides(tmp_path, port, folder, authority):
    """The dialler accepts the listener, and learns only afterwards that it is not accepted itself."""
    other = keys.write(tmp_path / "other", keys.authority(), "left")
    (other / "ca.crt").write_bytes(other.joinpath("ca.crt").read_bytes() + authority.certificate)
    (code, _, err), (code2, out, err2) = meet(tmp_path, port, other, folder)
    assert (code, code2, numbers(out)) == (1, 1, [])
    assert (
        "right does not accept this platform's certificate: it is not signed by the authority that the peer trusts"
        in err
    )
    assert f"the certificate shown is not signed by the authority in {folder / 'ca.crt'}" in err2


@pytest.mark.sampled(3)
@pytest.mark.parametrize("impostor", ["left", "right"])
@pytest.mark.parametrize("policy", ["stop", "wait"])
def test_another_platform_is_refused_on_both_sides(tmp_path, port, folder, authority, impostor, policy):
    """It has a good certificate, but not the one of the platform that the FIFO comes from or goes to."""
    sender, receiver = left(tmp_path, port, policy=policy), right(tmp_path, port, policy=policy)
    program = {"left": sender, "right": receiver}[impostor]
    program.write_text(program.read_text().replace(f"Program('app', '{impostor}'", "Program('app', 'other'"))
    keys.write(folder, authority, "other")
    second, first = (start(each, f"--keys={folder}", "--timeout=2.5") for each in (receiver, sender))
    (code, _, err), (code2, out, err2) = finish(first), finish(second)
    assert (code, code2, numbers(out)) == (1, 1, [])
    reason = f"the certificate shown is that of 'other', not of '{impostor}'"
    assert reason in err
    assert f"refused in the meantime: {reason if impostor == 'left' else f'left refuses other: {reason}'}" in err2


@pytest.mark.parametrize(
    ("valid", "message"), [(keys.EXPIRED, "has expired"), (keys.NOT_YET, "is not valid yet: is this machine's clock")]
)
def test_a_program_says_that_its_own_certificate_is_not_valid_now(tmp_path, port, authority, valid, message):
    folder = keys.write(tmp_path / "keys", authority, "left", valid=valid)
    code, _, err = run(left(tmp_path, port), f"--keys={folder}")
    assert code == 2
    assert f"{folder / 'left.crt'}: this certificate {message}" in err
    assert len(err.splitlines()) == 1


@pytest.mark.sampled(3)
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(
    ("valid", "told", "alert"),
    [
        (keys.EXPIRED, "has expired", "it has expired"),
        (keys.NOT_YET, "is not valid yet", "compare the clocks of the two machines"),
    ],
)
def test_a_certificate_that_is_not_valid_here_is_refused_on_both_sides(
    tmp_path, port, folder, authority, side, valid, told, alert, monkeypatch
):
    """The machine that shows it has a wrong clock, or no look at its own certificate; here it does not look."""
    blind = keys.write(tmp_path / "blind", authority, "left", "right", valid=valid)
    programs = {"left": left(tmp_path, port), "right": right(tmp_path, port)}
    text = programs[side].read_text()
    programs[side].write_text("from eprune.runtime.net import tls\ntls.Keys._prove = lambda self: None\n" + text)
    second, first = (
        start(programs[name], f"--keys={blind if name == side else folder}", "--timeout=2.5")
        for name in ("right", "left")
    )
    (code, _, err), (code2, out, err2) = finish(first), finish(second)
    assert (code, code2, numbers(out)) == (1, 1, [])
    seen, shown = (err2, err) if side == "left" else (err, err2)
    assert f"the certificate shown {told}" in seen
    assert (
        f"does not accept this platform's certificate: it {'' if told == 'has expired' else 'is not valid at the peer'}"
        in shown
    )
    assert alert in shown


def test_a_plain_peer_and_one_with_tls_tell_each_other(tmp_path, port, folder):
    for sender, receiver in (("none", "tls"), ("tls", "none")):
        second = start(right(tmp_path, port, security=receiver), f"--keys={folder}", "--timeout=2")
        first = start(left(tmp_path, port, security=sender), f"--keys={folder}", "--timeout=2")
        for code, _, err in (finish(first), finish(second)):
            assert code == 1
            assert wire.NO_TLS in err.splitlines()[-1]


@pytest.mark.parametrize("noise", [b"\x16\x03\x01\x02\x00\x01garbage" * 40, b"GET / HTTP/1.1\r\n\r\n", b"E", bytes(9)])
def test_garbage_and_silence_hold_nobody_up(tmp_path, port, folder, noise):
    receiver = start(right(tmp_path, port), f"--keys={folder}")
    with connect(port) as silent, connect(port) as stranger:
        stranger.sendall(noise)
        assert finish(start(left(tmp_path, port), f"--keys={folder}")) == (0, "", "")
        silent.close()
    code, out, err = finish(receiver)
    assert code == 0
    assert err.startswith("right: warning: FIFO 'f': refused a connection: ")
    assert numbers(out) == list(range(300))


def test_a_listener_that_drips_holds_nobody_for_long(folder):
    """It begins a record of 16 KiB, and sends a byte of it now and then."""

    def drip():
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(b"\x16\x03\x03\x40\x00")
            while True:
                connection.sendall(b"\0")
                time.sleep(0.05)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip)
        thread.start()
        with pytest.raises(TimeoutError):
            finish_alone(
                dial(listener.getsockname(), Greeting(), time.monotonic() + 0.5, "right", Keys(str(folder), "left"))
            )
        thread.join()


def test_who_shows_no_certificate_gets_nothing(tmp_path, port, folder):
    receiver = start(right(tmp_path, port), f"--keys={folder}", "--timeout=3")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(folder / "ca.crt")
    hello = {"application": "app", "platform": "left", "digest": "d", "fifo": "f", "token": "int32[3] at rate 1"}
    with connect(port) as plain, context.wrap_socket(plain) as stranger:
        stranger.sendall(wire.pack_greeting(hello))
        with pytest.raises(ssl.SSLError, match=r"(?i)certificate required"):
            stranger.recv(1)
    code, _, err = finish(receiver)
    assert code == 1
    assert "peer did not return a certificate" in err


def connect(port):
    for _ in range(200):
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=10)
        except ConnectionRefusedError:
            time.sleep(0.02)
    raise AssertionError("nobody listens")


def test_bytes_that_were_changed_on_the_way_end_the_run(tmp_path, port, folder):
    """Somebody in the middle turns one bit, after the handshake."""
    proxy = Flip(port, port + 1)
    second = start(right(tmp_path, port + 1, "Show"), f"--keys={folder}")
    first = start(left(tmp_path, port, 0), f"--keys={folder}")
    code, out, err = finish(second)
    proxy.close()
    assert code == 1
    assert "lost peer 'left': TLS: " in err
    assert numbers(out) == list(range(len(numbers(out))))
    assert finish(first)[0] == 1


class Flip(Proxy):
    """A proxy that turns a bit of the hundredth piece that it passes on, from the dialler."""

    count = 0

    def __init__(self, port, target):
        self.port = port
        super().__init__(port, target)

    def _pass(self, source, sink):
        with source:
            try:
                while data := source.recv(1000):
                    self.count += source.getsockname()[1] == self.port  # else it goes the other way
                    if self.count == 100:
                        self.count += 1
                        data = bytes([data[0]]) + bytes([data[1] ^ 1]) + data[2:]
                        data = data[:-1] + bytes([data[-1] ^ 1])
                    sink.sendall(data)
                sink.shutdown(socket.SHUT_WR)
            except OSError:
                return


# What a program says of its files.


def test_without_keys_a_program_says_how_to_get_them(tmp_path, port):
    code, _, err = run(left(tmp_path, port))
    assert code == 2
    assert "the link to right uses TLS" in err
    assert "'eprune certify FOLDER left right'" in err


@pytest.mark.parametrize("missing", ["ca.crt", "left.crt", "left.key"])
def test_a_missing_file_is_named(tmp_path, port, folder, missing):
    (folder / missing).unlink()
    code, _, err = run(left(tmp_path, port), f"--keys={folder}")
    assert code == 2
    assert f"{folder / missing}: No such file or directory; 'eprune certify {folder} left'" in err
    assert len(err.splitlines()) == 1


def test_a_key_that_others_can_read_is_warned_of(tmp_path, port, folder):
    (folder / "left.key").chmod(0o640)
    code, _, err = run(left(tmp_path, port), f"--keys={folder}", "--timeout=0.2")
    assert code == 1
    assert f"left: warning: {folder / 'left.key'} is readable by others: chmod 600 " in err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another group")
@pytest.mark.parametrize(("mode", "group", "warned"), [(0o640, 10001, False), (0o644, 10001, True), (0o640, 7, True)])
def test_a_key_that_root_lends_to_the_group_of_a_container_is_no_mistake(folder, monkeypatch, mode, group, warned):
    os.chown(folder / "left.key", 0, group)
    (folder / "left.key").chmod(mode)
    monkeypatch.setattr(os, "getegid", lambda: 10001)
    assert bool(Keys(str(folder), "left").warning) is warned


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("ca.crt", b"nonsense", "ca.crt: this is not a certificate"),
        ("left.crt", b"nonsense", "these are not a certificate and a key"),
        ("left.key", b"", "these are not a certificate and a key"),
    ],
)
def test_files_that_are_none_are_refused(folder, file, content, message):
    (folder / file).write_bytes(content)
    with pytest.raises(UsageError, match=message):
        Keys(str(folder), "left")


def test_certificates_of_others_are_refused(folder, authority):
    (folder / "left.key").write_bytes((folder / "right.key").read_bytes())
    with pytest.raises(UsageError, match="do not belong together"):
        Keys(str(folder), "left")
    keys.write(folder, authority, "left", name="right")
    with pytest.raises(UsageError, match="this is the certificate of 'right', not of 'left'"):
        Keys(str(folder), "left")
    keys.write(folder, keys.authority())
    with pytest.raises(UsageError, match="is not signed by the authority in"):
        Keys(str(folder), "right")


def test_the_record_of_a_run_over_tls_is_as_ever(tmp_path, port, folder):
    record = tmp_path / "record.json"
    first = start(left(tmp_path, port), f"--keys={folder}", f"--record={record}")
    assert finish(start(right(tmp_path, port), f"--keys={folder}"))[0] == 0
    assert finish(first)[0] == 0
    assert json.loads(record.read_text())["fifos"]["f"]["tokens"] == 300
