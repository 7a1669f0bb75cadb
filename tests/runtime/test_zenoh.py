"""Links over zenoh: real programs, a real router, which is really killed."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from eprune.deploy.ports import free_base_port
from eprune.runtime.net.tunnels import reach
from tests.kit import zenoh_router
from tests.kit.keys import authority, write
from tests.kit.programs import finish, lines, rest, start, write_program

pytest.importorskip("zenoh", reason="needs eclipse-zenoh")


@pytest.fixture
def port():
    return free_base_port(2)


@pytest.fixture
def router():
    """Where a router is, which ``again`` kills and starts anew."""
    place = free_base_port(1)
    started = [zenoh_router.start(place)]

    class Router:
        where = f"tcp/127.0.0.1:{place}"

        @staticmethod
        def kill():
            zenoh_router.stop(started.pop())

        @staticmethod
        def again():
            started.append(zenoh_router.start(place))

    yield Router
    for process in started:
        zenoh_router.stop(process)


def left(folder, port, n=200, policy="stop", security="none"):
    return write_program(
        folder, "left", f"actor('A', 'ACTORS:SlowCount', 'cpu', {{'n': '{n}'}})",
        f"tx('f', 'A.out', 'int32', (), 4, 'right', '127.0.0.1', {port}, policy='{policy}', security='{security}',"
        " via='zenoh')",
    )  # fmt: skip


def right(folder, port, policy="stop", security="none"):
    return write_program(
        folder, "right", "actor('B', 'ACTORS:Show', 'cpu')",
        f"rx('f', 'B.in', 'int32', (), 4, 'left', {port}, policy='{policy}', security='{security}', via='zenoh')",
    )  # fmt: skip


def both(folder, port, where, *arguments, n=200, **options):
    """The programs, started."""
    receiver = start(right(folder, port, **options), "--zenoh", where, *arguments)
    return start(left(folder, port, n, **options), "--zenoh", where, *arguments), receiver


def tunnels_of(process):
    """The processes that a program has started to carry its links."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(child) for child in children if b"zenoh_tunnel" in Path(f"/proc/{child}/cmdline").read_bytes()]


def shown(process):
    """The numbers that a program has printed, once it has ended well, and what it has said."""
    code, out, err = finish(process)
    assert code == 0, err
    return [int(line) for line in out.splitlines() if line.isdecimal()], err


def test_tokens_arrive_through_a_router(tmp_path, port, router):
    sender, receiver = both(tmp_path, port, router.where)
    assert shown(receiver)[0] == list(range(200))
    assert finish(sender)[0] == 0


def test_programs_are_started_in_any_order_and_wait_for_a_router(tmp_path, port, router):
    router.kill()
    sender, receiver = both(tmp_path, port, router.where, "--timeout", "60", n=20)
    time.sleep(1.0)
    router.again()
    assert shown(receiver)[0] == list(range(20))
    assert finish(sender)[0] == 0


@pytest.mark.long
def test_a_router_that_is_killed_loses_nothing_under_wait(tmp_path, port, router):
    sender, receiver = both(tmp_path, port, router.where, n=1500, policy="wait")
    printed = ""
    for _ in range(3):
        printed += lines(receiver, 300)
        router.kill()
        router.again()
    code, out, err = rest(receiver)
    assert code == 0, err
    assert [int(line) for line in (printed + out).splitlines()[:-1]] == list(range(1500))
    assert err.count("reconnected to peer 'left'") >= 3
    assert finish(sender)[0] == 0


def test_what_a_router_carries_may_be_encrypted(tmp_path, port, router):
    keys = write(tmp_path / "keys", authority(), "left", "right")
    sender, receiver = both(tmp_path, port, router.where, f"--keys={keys}", n=20, security="tls")
    assert shown(receiver)[0] == list(range(20))
    assert finish(sender)[0] == 0


@pytest.mark.long
@pytest.mark.parametrize("side", [0, 1])
def test_a_tunnel_that_is_killed_is_started_again_and_loses_nothing_under_wait(tmp_path, port, router, side):
    programs = both(tmp_path, port, router.where, n=3000, policy="wait")
    printed = lines(programs[1], 100)
    (tunnel,) = tunnels_of(programs[side])
    os.kill(tunnel, signal.SIGKILL)
    code, out, err = rest(programs[1])
    assert code == 0, err
    assert [int(line) for line in (printed + out).splitlines()[:-1]] == list(range(3000))
    code, _, said = finish(programs[0])
    assert code == 0
    assert "the zenoh tunnel has ended, and is started again: exit code -9" in (said, err)[side]


def test_no_tunnel_outlives_its_program(tmp_path, port, router):
    sender, receiver = both(tmp_path, port, router.where, n=0)
    assert lines(receiver, 1) == "0\n"
    left_behind = [*tunnels_of(sender), *tunnels_of(receiver)]
    assert len(left_behind) == 2
    receiver.kill()
    assert finish(sender)[0] == 1
    finish(receiver)
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}/cwd").exists() for pid in left_behind) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [pid for pid in left_behind if Path(f"/proc/{pid}/cwd").exists()] == []


def test_nothing_unprotected_leaves_the_machine(tmp_path, port):
    for where in ("tcp/192.0.2.1:7447", "discover", "own.json5"):
        code, _, err = finish(start(left(tmp_path, port), "--zenoh", where))
        assert code == 2
        assert f"--zenoh {where} may lead to other machines, and nothing protects the tokens of FIFO 'f' there" in err
        assert len(err.splitlines()) == 1


def test_a_place_that_is_none_is_refused(tmp_path, port):
    code, _, err = finish(start(left(tmp_path, port), "--zenoh", "192.0.2.1"))
    assert code == 2
    assert "'192.0.2.1' is neither an endpoint such as tcp/192.168.1.10:7447" in err
    code, _, err = finish(start(left(tmp_path, port), EPRUNE_ZENOH="192.0.2.1"))
    assert (code, "EPRUNE_ZENOH: '192.0.2.1' is neither" in err) == (2, True)


def test_without_a_place_the_link_is_made_directly_and_that_is_said(tmp_path, port):
    receiver = start(right(tmp_path, port))
    assert finish(start(left(tmp_path, port, 5)))[0] == 0
    numbers, err = shown(receiver)
    assert numbers == list(range(5))
    assert "right: note: no --zenoh is given: the link with left is made directly" in err


@pytest.mark.parametrize(
    ("places", "outside"),
    [
        (["tcp/127.0.0.1:7447", "quic/[::1]:7447", "tls/localhost:1", "unixsock-stream//tmp/s"], ""),
        (["tcp/127.0.0.1:7447", "tcp/10.0.0.1:7447"], "tcp/10.0.0.1:7447"),
        (["discover"], "discover"),
        (["tcp/[2001:db8::1]:7447"], "tcp/[2001:db8::1]:7447"),
    ],
)
def test_what_may_lead_elsewhere_is_known(places, outside):
    assert reach(places) == outside
