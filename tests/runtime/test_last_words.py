"""The end gets through: who is done says so to whoever comes back in time, and nobody waits for ever for who does not.

Real processes, connections that are cut or hold, peers that are frozen or killed.
"""

import signal

import pytest

from eprune.deploy.ports import free_base_port
from scripts.chaos.proxy import Proxy
from tests.kit.programs import finish, lines, rest, start, write_program
from tests.kit.waiting import freeze

#: longer than any test runs: who waits that long has not been told
LONG = "--patience=600"
QUICK = "--dead-after=0.4"
LOSSY = ["drop", "zero"]


@pytest.fixture
def port():
    return free_base_port(4)


@pytest.fixture
def between(port):
    """What lies between producer and consumer."""
    proxy = Proxy(port, port + 1)
    yield proxy
    proxy.close()


def producer(tmp_path, port, policy, n):
    """It says when its actor has ended; that is not the end of its program."""
    return write_program(
        tmp_path,
        "left",
        f"actor('A', 'ACTORS:SaysThatItEnds', 'cpu', {{'n': '{n}'}})",
        f"tx('f', 'A.out', 'int32', (3,), capacity=4, to='right', address='127.0.0.1', port={port}, policy='{policy}')",
        aligned=policy in LOSSY,
    )


def consumer(tmp_path, port, policy):
    return write_program(
        tmp_path,
        "right",
        "actor('B', 'ACTORS:Show', 'cpu')",
        f"rx('f', 'B.in', 'int32', (3,), capacity=4, frm='left', port={port}, policy='{policy}')",
        aligned=policy in LOSSY,
    )


def numbers(out):
    return [int(line) for line in out.splitlines() if line.isdigit()]


def said(process, word):
    """Read what a program reports until it says that."""
    line = process.stderr.readline()
    while line and word not in line:
        line = process.stderr.readline()
    assert line, f"never said {word!r}"


@pytest.mark.parametrize("outage", ["refuse", "hold"])
@pytest.mark.parametrize("policy", LOSSY)
def test_a_producer_that_ends_while_the_link_is_down_tells_its_consumer_afterwards(
    tmp_path, port, between, policy, outage
):
    first = start(producer(tmp_path, port, policy, 400), LONG, QUICK)
    second = start(consumer(tmp_path, port + 1, policy), LONG, QUICK)
    begun = lines(second, 20)
    getattr(between, outage)()
    assert lines(first, 1) == "ended\n"
    said(first, "lost")
    said(second, "lost")
    between.resume()
    code, out, err = rest(second)
    assert code == 0, err
    code, _, err = rest(first)
    assert code == 0, err
    got = numbers(begun + out)
    assert [number for number in got if number] == sorted({number for number in got if number})


@pytest.mark.parametrize("policy", LOSSY)
def test_a_consumer_that_is_frozen_when_its_producer_ends_learns_it_when_it_goes_on(tmp_path, port, policy):
    first = start(producer(tmp_path, port, policy, 400), LONG, QUICK)
    second = start(consumer(tmp_path, port, policy), LONG, QUICK)
    lines(second, 20)
    freeze(second.pid)
    assert lines(first, 1) == "ended\n"
    said(first, "lost")
    second.send_signal(signal.SIGCONT)
    code, _, err = rest(second)
    assert code == 0, err
    code, _, err = rest(first)
    assert code == 0, err


@pytest.mark.parametrize("policy", LOSSY)
def test_a_producer_tries_to_say_so_no_longer_than_its_patience(tmp_path, port, between, policy):
    first = start(producer(tmp_path, port, policy, 400), "--patience=1", QUICK)
    second = start(consumer(tmp_path, port + 1, policy), LONG, QUICK)
    lines(second, 20)
    between.hold()
    code, out, err = finish(first)
    assert (code, out) == (0, "ended\n"), err
    assert second.poll() is None
    second.kill()


@pytest.mark.sampled(3)
@pytest.mark.parametrize("outage", ["killed", "frozen", "unplugged"])
@pytest.mark.parametrize("policy", [*LOSSY, "wait"])
def test_a_consumer_waits_for_a_producer_that_is_gone_no_longer_than_its_patience(
    tmp_path, port, between, policy, outage
):
    first = start(producer(tmp_path, port, policy, 0), LONG, QUICK)
    second = start(consumer(tmp_path, port + 1, policy), "--patience=1", QUICK)
    lines(second, 20)
    if outage == "killed":
        first.kill()
    elif outage == "frozen":
        freeze(first.pid)
    else:
        between.hold()
    code, _, err = rest(second)
    assert code == (1 if policy == "wait" else 0), err
    assert "lost" in err
    assert ("within 1 s" in err) == (policy == "wait")
    first.kill()


@pytest.mark.parametrize("policy", LOSSY)
def test_a_pulled_cable_at_the_end_keeps_neither_from_ending(tmp_path, port, between, policy):
    first = start(producer(tmp_path, port, policy, 400), "--patience=1", QUICK)
    second = start(consumer(tmp_path, port + 1, policy), "--patience=1", QUICK)
    lines(second, 20)
    between.hold()
    for process in (first, second):
        code, _, err = rest(process)
        assert code == 0, err
