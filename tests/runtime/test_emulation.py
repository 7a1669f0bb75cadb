"""Programs with --emulate: as slow as their links and units, and they say so. Times are compared with bounds below."""

from __future__ import annotations

import json
import select
import socket
import threading
import time

import pytest

from eprune.deploy.ports import free_base_port
from eprune.runtime.net.emulation import EmulatedLink, EmulatedSocket, Emulation
from eprune.runtime.net.shaping import Figures
from tests.kit.programs import finish, start, write_program

COUNT, NUMBERS = 60, 5000
FRAME = 24 + 4 * NUMBERS


@pytest.fixture
def port():
    return free_base_port(1)


@pytest.fixture
def pair():
    """Two connected sockets, each over an emulated link of 1 MB/s and 50 ms."""
    figures = Figures(1e6, 0.05)
    first, second = [EmulatedSocket(each, EmulatedLink(figures), figures) for each in socket.socketpair()]
    yield first, second
    first.close()
    second.close()


def programs(folder, port, figures, window=0):
    """A sender and a receiver of COUNT tokens; the sender's unit is three times slower than this core."""
    shape = f"'int32', ({NUMBERS},), capacity=2, window={window}"
    left = write_program(
        folder,
        "left",
        "unit('slow', slowdown=3.0)",
        f"link('right', {figures})",
        f"actor('A', 'ACTORS:Count', 'slow', {{'n': '{COUNT}'}})",
        f"tx('f', 'A.out', {shape}, to='right', address='127.0.0.1', port={port})",
    )
    right = write_program(
        folder,
        "right",
        f"link('left', {figures})",
        "actor('B', 'ACTORS:Total', 'cpu')",
        f"rx('f', 'B.in', {shape}, frm='left', port={port})",
    )
    return left, right


def test_tokens_take_the_time_of_the_link_and_the_record_says_so(tmp_path, port):
    left, right = programs(tmp_path, port, "bandwidth=11.2e6, latency=0.02")
    started = [start(each, "--emulate", "--record", str(each.with_suffix(".json"))) for each in (left, right)]
    (code, _, err), (code2, out, err2) = [finish(each) for each in started]
    assert (code, code2) == (0, 0), err + err2
    assert out == f"{COUNT} tokens, sum {sum(range(COUNT))}\n"
    assert err == "left: note: emulated: slow 3 times slower; link to right: 11.2 MB/s, 20 ms\n"
    sender, receiver = [json.loads(each.with_suffix(".json").read_text()) for each in (left, right)]
    assert sender["emulated"] == {"units": {"slow": 3.0}, "links": {"right": {"bandwidth": 11.2e6, "latency": 0.02}}}
    assert receiver["emulated"]["units"] == {}
    taken = receiver["actors"]["B"]["last_s"] - sender["actors"]["A"]["first_s"]
    assert taken > COUNT * FRAME / 11.2e6 + 0.02


def test_latency_limits_no_throughput_with_a_window(tmp_path, port):
    # One token at a time over 0.4 s would take 24 s.
    left, right = programs(tmp_path, port, "latency=0.4", window=COUNT)
    begin = time.monotonic()
    results = [finish(each) for each in [start(left, "--emulate"), start(right, "--emulate")]]
    assert [code for code, _, _ in results] == [0, 0], results
    assert 0.4 < time.monotonic() - begin < COUNT * 0.4


def test_an_actor_knows_how_long_the_way_to_a_platform_and_back_is(tmp_path, port):
    """From heartbeats, whether tokens have been there or not."""
    source = "actor('A', 'ACTORS:RoundTrips', 'cpu', {{'to': '{}'}})"
    end = f"'int32', (1,), capacity=2, port={port}"
    near = write_program(
        *(tmp_path, "near", "link('far', latency=0.03)", source.format("far")),
        f"tx('f', 'A.out', {end}, to='far', address='127.0.0.1')",
    )
    far = write_program(
        *(tmp_path, "far", "link('near', latency=0.02)"),
        f"rx('f', 'B.in', {end}, frm='near')",
        "actor('B', 'ACTORS:Total', 'cpu')",
    )
    begun = [start(near, "--emulate"), start(far, "--emulate")]
    (code, _, err), (_, out, _) = [finish(each) for each in begun]
    assert code == 0, err
    micros = int(out.partition("sum ")[2])
    assert 50_000 <= micros < 500_000
    assert "the way to nowhere: None" in err


def test_a_program_does_not_emulate_unless_told_to(tmp_path, port):
    left, right = programs(tmp_path, port, "bandwidth=10.0, latency=3600.0")
    started = [start(each, "--record", str(each.with_suffix(".json"))) for each in (left, right)]
    assert [finish(each)[::2] for each in started] == [(0, ""), (0, "")]
    assert json.loads(left.with_suffix(".json").read_text())["emulated"] is None


def test_a_link_is_emulated_by_both_sides_or_by_none(tmp_path, port):
    left, right = programs(tmp_path, port, "latency=0.01")
    sender, receiver = start(left, "--emulate", "--timeout", "3"), start(right, "--timeout", "1")
    assert finish(sender)[0] == 1
    code, _, err = finish(receiver)
    assert code == 1
    assert "one side emulates the link and the other does not: start both or neither with --emulate" in err


def test_a_slower_unit_is_named_and_a_faster_one_refused(tmp_path):
    only = write_program(tmp_path, "only", "unit('fast', slowdown=0.5)", "actor('A', 'ACTORS:Count', 'fast')")
    code, _, err = finish(start(only, "--emulate"))
    assert (code, "unit 'fast': a slowdown of 0.5" in err) == (2, True), err


def test_bytes_arrive_whole_and_not_before_their_time(pair):
    first, second = pair
    data = bytes(range(256)) * 200
    begin = time.monotonic()
    sender = threading.Thread(target=first.sendmsg, args=([data[:1000], data[1000:]],))
    sender.start()
    got = bytearray(len(data))
    rest = memoryview(got)
    while rest:
        rest = rest[second.recv_into(rest) :]
    assert time.monotonic() - begin > len(data) / 1e6 + 0.05
    sender.join()
    assert bytes(got) == data


def test_the_end_comes_after_what_was_sent(pair):
    first, second = pair
    first.sendall(b"abc")
    first.close()
    assert (second.recv(3, socket.MSG_WAITALL), second.recv(1), second.recv(1)) == (b"abc", b"", b"")


def test_it_is_a_socket_like_any_other(pair):
    first, second = pair
    second.settimeout(0.01)
    with pytest.raises(socket.timeout):  # TimeoutError itself from Python 3.10 on
        second.recv(1)
    sent = 0
    with pytest.raises(BlockingIOError):  # a slow link takes no more than it can hold
        while True:
            sent += first.sendmsg([bytes(10**6)], (), socket.MSG_DONTWAIT)
    assert 0 < sent < 10**6
    assert select.select([second], [first], [], 8)[1] == [first]
    assert select.select([second], [], [], 8)[0] == [second]


def test_what_was_sent_last_leaves_before_the_connection_is_closed():
    figures = Figures(1e5, 0.05)
    near, far = socket.socketpair()
    with EmulatedSocket(far, EmulatedLink(figures), figures) as other:
        with EmulatedSocket(near, EmulatedLink(figures), figures) as one:
            one.sendall(bytes(10**4))
        assert len(other.recv(10**5, socket.MSG_WAITALL)) == 10**4


def test_who_waits_to_send_or_to_receive_wakes_when_the_connection_is_cut(pair):
    first, second = pair
    ended = []

    def send():
        try:
            first.sendall(bytes(10**7))  # ten seconds
        except OSError as error:
            ended.append(error)

    threads = [threading.Thread(target=send), threading.Thread(target=second.recv, args=(1,))]
    for thread in threads:
        thread.start()
    begin = time.monotonic()
    first.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join(8)
        assert not thread.is_alive()
    assert isinstance(ended[0], OSError)
    assert time.monotonic() - begin < 8


def test_a_slow_unit_waits_for_what_it_lacks():
    fire = Emulation({}, {"cpu": 4.0}).fire("cpu", lambda: sum(range(300_000)))
    begin, cpu = time.monotonic(), time.thread_time()
    fire()
    assert time.monotonic() - begin >= 4 * 0.9 * (time.thread_time() - cpu)
