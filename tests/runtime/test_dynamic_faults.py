"""A dynamic processing graph with a branch on another platform, when that platform or the link to it fails."""

import signal
import time

import pytest

from eprune.deploy.ports import free_base_port
from scripts.chaos.proxy import Proxy
from tests.kit.programs import finish, lines, rest, start, write_program
from tests.kit.waiting import freeze

TABLE = [f"row('D', {rate}, {{'deep': {rate}, 'deeper': {rate}}})" for rate in (0, 1, 2)]


@pytest.fixture
def port():
    return free_base_port(6)


def programs(tmp_path, port, peer_port, policy, n):
    """Entry E leads itself and exit X on ``left``, member M on ``right``."""
    deep = f"'int32', (), capacity=4, rate=(0, 2), policy='{policy}'"
    control = f"'int32', (), capacity=2, control='D', policy='{policy}'"
    right = "to='right', address='127.0.0.1'"
    left = "to='left', address='127.0.0.1'"
    return (
        write_program(
            tmp_path,
            "left",
            f"actor('A', 'ACTORS:SlowCount', 'cpu', {{'n': '{n}'}})",
            "actor('E', 'ACTORS:Fork', 'cpu')",
            "actor('X', 'ACTORS:Join', 'cpu')",
            "actor('S', 'ACTORS:Show', 'cpu')",
            "fifo('in', 'A.out', 'E.in', 'int32', (), capacity=2)",
            "fifo('always', 'E.always', 'X.always', 'int32', (), capacity=2)",
            "fifo('cX', 'E.X', 'X.mode', 'int32', (), capacity=2, control='D')",
            "fifo('out', 'X.out', 'S.in', 'int32', (), capacity=2)",
            f"tx('deep', 'E.deep', {deep}, {right}, port={port})",
            f"tx('cM', 'E.M', {control}, {right}, port={port + 1})",
            f"rx('deeper', 'X.deep', {deep}, frm='right', port={port + 2})",
            *TABLE,
        ),
        write_program(
            tmp_path,
            "right",
            "actor('M', 'ACTORS:Negate', 'cpu')",
            f"rx('deep', 'M.in', {deep}, frm='left', port={peer_port})",
            f"rx('cM', 'M.mode', {control}, frm='left', port={peer_port + 1})",
            f"tx('deeper', 'M.out', {deep}, {left}, port={peer_port + 2})",
            *TABLE,
        ),
    )


def results(out):
    return [int(line) for line in out.splitlines() if line.lstrip("-").isdigit()]


def right_results(count):
    return [10 * frame - frame * (frame % 3) for frame in range(count)]


@pytest.mark.parametrize(("policy", "words"), [("stop", "lost peer"), ("wait", "within 0.5 s")])
def test_a_platform_that_is_killed_ends_the_run_with_one_message(tmp_path, port, policy, words):
    left, right = programs(tmp_path, port, port, policy, 0)
    first = start(left, *(["--patience", "0.5"] if policy == "wait" else []))
    second = start(right)
    begun = lines(first, 50)
    second.kill()
    code, out, err = rest(first)
    assert code == 1
    assert words in err
    assert sum("error:" in line for line in err.splitlines()) == 1
    got = results(begun + out)
    assert got == right_results(len(got))


def test_connections_that_break_and_a_platform_that_freezes_change_no_result_under_wait(tmp_path, port):
    """All three FIFOs over the link, that of control tokens too, go through a proxy."""
    proxies = [Proxy(port + number, port + 3 + number) for number in range(2)]
    proxies.append(Proxy(port + 5, port + 2))
    left, right = programs(tmp_path, port, port + 3, "wait", 1500)
    first, second = start(left, "--dead-after", "0.3"), start(right, "--dead-after", "0.3")
    begun = ""
    for turn in range(6):
        begun += lines(first, 100)
        proxies[turn % 3].cut()
    freeze(second.pid)
    time.sleep(0.6)
    second.send_signal(signal.SIGCONT)
    code, out, err = rest(first)
    assert code == 0, err
    code, _, err = finish(second)
    for proxy in proxies:
        proxy.close()
    assert code == 0, err
    assert results(begun + out) == right_results(1500)
