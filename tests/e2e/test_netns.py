"""Across machines: two network namespaces joined by a link of 100 Mbit/s stand for two hosts."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.kit.programs import ROOT, environment, finish

FRAMES = 300
TOKEN_BYTES = 73728
#: bytes per second of 100 Mbit/s
BANDWIDTH = 100e6 / 8


def command(*words):
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.fixture
def hosts():
    """Two namespaces with addresses 10.77.0.1 and 10.77.0.2, or a skip that says why not."""
    if not (shutil.which("ip") and shutil.which("tc")):
        pytest.skip("no ip and tc here (iproute2)")
    names = [f"eprune-{os.getpid()}-{side}" for side in ("endpoint", "server")]
    steps = [["ip", "netns", "add", name] for name in names]
    steps += [["ip", "link", "add", "v0", "netns", names[0], "type", "veth", "peer", "name", "v1", "netns", names[1]]]
    for number, name in enumerate(names):
        inside = ["ip", "-n", name]
        steps += [
            [*inside, "addr", "add", f"10.77.0.{number + 1}/24", "dev", f"v{number}"],
            [*inside, "link", "set", f"v{number}", "up"],
            [*inside, "link", "set", "lo", "up"],
            f"tc -n {name} qdisc add dev v{number} root tbf rate 100mbit burst 32kb latency 50ms".split(),
        ]
    try:
        for step in steps:
            done = command(*step)
            if done.returncode:
                pytest.skip(f"not permitted here: {' '.join(step)}: {done.stderr.strip()}")
        yield names
    finally:
        for name in names:
            command("ip", "netns", "del", name)


def test_the_split_classifier_runs_on_two_hosts_and_its_link_is_the_bound(hosts, tmp_path):
    for platform in ("endpoint", "server"):
        done = command(
            sys.executable,
            *("-m", "eprune", "codegen", str(ROOT / "graphs" / "vehicle.xml")),
            *("-p", str(ROOT / "graphs" / f"{platform}.xml")),
            *("-m", str(ROOT / "mappings" / "vehicle_split" / f"{platform}.xml")),
            *("--pyz", "-o", str(tmp_path / f"{platform}.pyz")),
        )
        assert done.returncode == 0, done.stderr
    arguments = {
        "endpoint": ["--insecure", "--bind", "10.77.0.1", "--link", "server=10.77.0.2"],
        "server": ["--insecure", "--bind", "10.77.0.2", "--link", "endpoint=10.77.0.1"],
    }
    processes = [
        subprocess.Popen(
            ["ip", "netns", "exec", name, sys.executable, str(tmp_path / f"{platform}.pyz"), *arguments[platform]]
            + ["--no-pin", "--set", f"Input.count={FRAMES}"] * (platform == "endpoint")
            + ["--record", str(tmp_path / f"{platform}.json")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        for name, platform in zip(hosts, arguments)
    ]
    try:
        (code, _, err), (code2, out, err2) = [finish(process, 120) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert (code, code2) == (0, 0), err + err2
    assert [json.loads(line)["frame"] for line in out.splitlines()] == list(range(FRAMES))
    sink = json.loads((tmp_path / "server.json").read_text())["actors"]["Sink"]
    rate = FRAMES * TOKEN_BYTES / (sink["last_s"] - sink["first_s"])
    # What the bucket lets through at once, and what waits in socket buffers when the first result is out, is extra.
    assert rate < 1.2 * BANDWIDTH


@pytest.mark.long
def test_a_program_on_loopback_cannot_be_reached_from_another_host(hosts, tmp_path):
    done = command(
        *("ip", "netns", "exec", hosts[0], sys.executable, "-m", "eprune", "codegen"),
        *(str(ROOT / "graphs" / "vehicle.xml"), "-p", str(ROOT / "graphs" / "server.xml")),
        *("-m", str(ROOT / "mappings" / "vehicle_split" / "server.xml"), "-o", str(tmp_path / "server.py")),
    )
    assert done.returncode == 0, done.stderr
    server = subprocess.Popen(
        ["ip", "netns", "exec", hosts[1], sys.executable, str(tmp_path / "server.py"), "--timeout", "3"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    probe = "import socket, sys\ntry: socket.create_connection(('10.77.0.2', 5100), 1)\nexcept OSError: sys.exit(7)"
    reached = command("ip", "netns", "exec", hosts[0], sys.executable, "-c", probe).returncode
    code, _, err = finish(server)
    assert reached == 7
    assert code == 1
    assert "listens on loopback only: use --bind ADDRESS" in err
