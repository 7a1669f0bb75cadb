"""One server with a hundred endpoints, each a process of its own."""

import time
from pathlib import Path

import pytest

from eprune.deploy.ports import free_base_port
from tests.kit.programs import finish, start, write_program

FRAMES = 200


def play(folder, count):
    """K(1, count): what the server prints, and how many threads it had while it ran."""
    base = free_base_port(count)
    folder.mkdir()
    ports = [
        f"rx('f{each}', 'S.in{each}', 'int32', (), capacity=2, frm='e{each}', port={base + each})"
        for each in range(count)
    ]
    server = write_program(folder, "server", "actor('S', 'ACTORS:SumOfAll', 'cpu')", *ports)
    endpoints = [
        write_program(
            folder,
            f"e{each}",
            f"actor('C', 'ACTORS:Count', 'cpu', {{'n': '{FRAMES}'}})",
            f"tx('f{each}', 'C.out', 'int32', (), capacity=2, to='server', address='127.0.0.1', port={base + each})",
        )
        for each in range(count)
    ]
    processes = [start(each, "--timeout=300") for each in (server, *endpoints)]
    threads = 0
    while processes[0].poll() is None:
        status = Path(f"/proc/{processes[0].pid}/status").read_text()
        threads = max([threads, *(int(line.split()[1]) for line in status.splitlines() if line.startswith("Threads:"))])
        time.sleep(0.05)
    results = [finish(each, timeout=300) for each in processes]
    assert [code for code, _, _ in results] == [0] * (count + 1), results[0]
    return results[0][1].split(), threads


@pytest.mark.long
def test_a_server_with_a_hundred_endpoints_has_as_many_threads_as_with_two(tmp_path):
    """They all get through, and no token is lost or doubled."""
    threads = {}
    for count in (2, 100):
        printed, threads[count] = play(tmp_path / str(count), count)
        assert printed == [str(count * each) for each in range(FRAMES)]
    assert threads[2] == threads[100]
