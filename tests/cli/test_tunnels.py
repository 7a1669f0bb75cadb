"""Links with security="ssh": the scripts that codegen writes run the programs through tunnels of a real sshd."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from application import APPLICATION, ROOT, mapping

from eprune.deploy.ports import free_base_port
from tests.kit import sshd
from tests.kit.programs import STARTED, finish, rest

#: There and back: f2 goes to the server, f3 comes from it.
HOMES = {"In": "endpoint", "L1": "endpoint", "L2": "server", "Out": "endpoint"}


@pytest.fixture
def device(tmp_path_factory, monkeypatch):
    """An sshd on this machine, which stands for the server's machine."""
    folder = tmp_path_factory.mktemp("device") / "sshd"
    with sshd.server(folder, f"SetEnv MARK={folder}") as server:
        monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
        yield server


@pytest.fixture
def build(app, eprune):
    """Writes both programs, and returns the folder; the link's first ports on both machines are in ``ports``."""

    def write(shared=False, policy="stop", pyz=False):
        ports = ' ports="shared"' * shared
        for platform, peer in (("endpoint", "server"), ("server", "endpoint")):
            (app / f"platforms/{platform}.xml").write_text(
                f'<platform name="{platform}"><unit name="cpu0"/><link to="{peer}" security="ssh"{ports}/></platform>\n'
            )
            (app / f"split/{platform}.xml").write_text(mapping(platform, HOMES))
        crossing = APPLICATION
        for fifo in ("f2", "f3"):
            crossing = crossing.replace(f'name="{fifo}"', f'name="{fifo}" policy="{policy}"')
        (app / "app.xml").write_text(crossing)
        done = eprune(
            "codegen", "app.xml", "-p", "platforms", "-m", "split", *["--pyz"] * pyz, "-o", "build/", "--no-fuse"
        )
        assert done.code == 0, done.err
        assert "build/endpoint.ssh.sh: runs it, with SSH tunnels for its links with server" in done.err
        return app / "build"

    return write


@pytest.fixture
def ports():
    """The first ports of the link on the endpoint and on the server, which are one machine here."""
    base = free_base_port(4)
    return base, base + 2


def start(script, *arguments, **environment):
    """Start a script in a process group of its own, as a terminal does."""
    process = subprocess.Popen(
        ["sh", str(script), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(ROOT), **environment},
    )
    STARTED.append(process)
    return process


def both(build, device, ports, *arguments):
    here, there = ports
    server = start(build / "server.ssh.sh", f"--ports=endpoint={there}:{here}")
    endpoint = start(
        build / "endpoint.ssh.sh", "--ssh", f"server={device.url}", f"--ports=server={here}:{there}", *arguments
    )
    return endpoint, server


def listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def closed(device, ports):
    """Whether no port of the link is open any more, and no session on the device, within moments."""
    mark = f"MARK={device.folder}".encode()

    def left():
        for environment in Path("/proc").glob("[0-9]*/environ"):
            try:
                if mark in environment.read_bytes().split(b"\0"):
                    return True
            except OSError:
                continue
        return any(listening(port + step) for port in ports for step in (0, 1))

    deadline = time.monotonic() + 20
    while left() and time.monotonic() < deadline:
        time.sleep(0.1)
    return not left()


def begun(endpoint, server):
    """Wait until frames flow."""
    assert endpoint.stdout.readline().startswith("[["), (endpoint.stderr.read(), server.poll())


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("pyz", [False, True])
def test_programs_run_through_the_tunnel_in_both_directions(build, device, ports, shared, pyz):
    endpoint, server = both(build(shared, pyz=pyz), device, ports)
    code, out, err = finish(endpoint, 60)
    assert (code, err) == (0, "")
    assert len(out.splitlines()) == 4
    assert finish(server) == (0, "", "")
    assert closed(device, ports)


def test_only_the_ports_of_the_links_fifos_are_forwarded(build, device):
    text = (build() / "endpoint.ssh.sh").read_text()
    assert text.count("127.0.0.1:$((there_1 + 0))") == text.count("127.0.0.1:$((there_1 + 1))") == 1
    assert '"-L127.0.0.1:$((here_1 + 0)):127.0.0.1:$((there_1 + 0))"' in text
    assert '"-R127.0.0.1:$((there_1 + 1)):127.0.0.1:$((here_1 + 1))"' in text


def test_the_other_platform_can_open_the_tunnel(build, device, ports):
    here, there = ports
    folder = build()
    endpoint = start(folder / "endpoint.ssh.sh", "--ssh=server=-", f"--ports=server={here}:{there}")
    server = start(folder / "server.ssh.sh", f"--ports=endpoint={there}:{here}", EPRUNE_SSH_ENDPOINT=device.url)
    assert finish(endpoint, 60)[0] == 0
    assert finish(server)[0] == 0
    assert closed(device, ports)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_signal_to_the_script_closes_the_tunnel(build, device, ports, number):
    endpoint, server = both(build(), device, ports, "--set=In.count=1000000000")
    begun(endpoint, server)
    endpoint.send_signal(number)
    code, _, _ = finish(endpoint)
    assert code == (-9 if number == signal.SIGKILL else 130)
    assert finish(server)[0] == 1
    assert closed(device, ports)


def test_an_interrupt_at_the_terminal_ends_all_in_good_order(build, device, ports):
    endpoint, server = both(build(), device, ports, "--set=In.count=1000000000")
    begun(endpoint, server)
    os.killpg(endpoint.pid, signal.SIGINT)
    code, _, err = finish(endpoint)
    assert code == 130, err
    code, _, err = finish(server)
    assert code == 1
    assert "peer 'endpoint' failed: interrupted" in err  # it was told, through the tunnel
    assert closed(device, ports)


def test_a_program_that_is_killed_takes_the_tunnel_with_it(build, device, ports):
    endpoint, server = both(build(), device, ports, "--set=In.count=1000000000")
    begun(endpoint, server)
    children = Path(f"/proc/{endpoint.pid}/task/{endpoint.pid}/children").read_text().split()
    program = next(child for child in children if "endpoint.py" in Path(f"/proc/{child}/cmdline").read_text())
    os.kill(int(program), signal.SIGKILL)
    assert finish(endpoint)[0] == 137
    assert finish(server)[0] == 1
    assert closed(device, ports)


@pytest.mark.long
def test_a_broken_tunnel_is_opened_again_and_nothing_is_lost(build, device, ports):
    endpoint, server = both(build(policy="wait"), device, ports, "--set=In.count=3000")
    begun(endpoint, server)
    sessions = subprocess.run(
        ["pgrep", "-P", str(device.process.pid)], capture_output=True, text=True, check=False
    ).stdout.split()
    for session in sessions:
        os.kill(int(session), signal.SIGKILL)
    code, out, err = rest(endpoint)
    assert code == 0, err
    assert "the tunnel to server is broken; opening it again" in err
    assert len(out.splitlines()) == 3000 - 1
    assert finish(server)[0] == 0
    assert closed(device, ports)


@pytest.mark.parametrize("trouble", ["unknown host", "other host", "wrong key", "taken port", "no server"])
def test_no_tunnel_no_run(build, device, ports, trouble):
    here, there = ports
    folder, url, more = build(), device.url, []
    hosts = device.folder / "known_hosts"
    taken = None
    if trouble == "unknown host":
        hosts.write_text("")
    elif trouble == "other host":
        key = (device.folder / "user.pub").read_text().split()[1]
        hosts.write_text(f"[127.0.0.1]:{device.port} ssh-ed25519 {key}\n")
    elif trouble == "wrong key":
        more = ["--identity", str(device.folder / "host")]
        (device.folder / "ssh_config").write_text(f"Host *\n UserKnownHostsFile {hosts}\n")
    elif trouble == "taken port":
        taken = socket.create_server(("127.0.0.1", here))
    else:
        url = f"ssh://127.0.0.1:{free_base_port(1)}"
    endpoint = start(folder / "endpoint.ssh.sh", f"--ssh=server={url}", f"--ports=server={here}:{there}", *more)
    code, out, err = finish(endpoint)
    if taken:
        taken.close()
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == "endpoint: error: there is no tunnel to server; see ssh's message above"
    said = {
        "unknown host": "Host key verification failed",
        "other host": "Host key verification failed",
        "wrong key": "Permission denied",
        "taken port": "Address already in use",
        "no server": "Connection refused",
    }
    assert said[trouble] in err
    assert closed(device, ports)


def test_identity_is_passed_on(build, device, ports):
    folder, (here, there) = build(), ports
    (device.folder / "ssh_config").write_text(f"Host *\n UserKnownHostsFile {device.folder}/known_hosts\n")
    server = start(folder / "server.ssh.sh", f"--ports=endpoint={there}:{here}")
    endpoint = start(
        folder / "endpoint.ssh.sh",
        *("--ssh", f"server={device.url}", "--identity", str(device.folder / "user")),
        f"--ports=server={here}:{there}",
    )
    assert finish(endpoint, 60)[0] == 0
    assert finish(server)[0] == 0


def test_an_account_for_nothing_else_is_enough(build, device, ports):
    """As docs/how-to/secure_links.md has it, and for the FIFO that comes back."""
    there = ports[1]
    keys = device.folder / "authorized_keys"
    text = (Path(ROOT) / "docs/how-to/secure_links.md").read_text()
    options = next(line.strip() for line in text.splitlines() if "restrict,port-forwarding" in line)
    options = options.partition(" ssh-ed25519")[0].replace("5100", str(there))
    keys.write_text(f'{options},permitlisten="127.0.0.1:{there + 1}" {keys.read_text()}')
    endpoint, server = both(build(), device, ports)
    code, _, err = finish(endpoint, 60)
    assert (code, err) == (0, "")
    assert finish(server)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "where does ssh find server? say --ssh server=[USER@]HOST, or --ssh server=- if server opens"),
        (("--ssh",), "--ssh needs a value"),
        (("--ssh", "sever=host"), "--ssh sever=host: not of the form that --help shows"),
        (("--ssh=server=h", "--ports=server=1:x"), "1:x are no ports"),
    ],
)
def test_wrong_usage_is_said(build, arguments, message):
    code, _, err = finish(start(build() / "endpoint.ssh.sh", *arguments))
    assert code == 2
    assert message in err
    assert len(err.splitlines()) == 1


def test_help_tells_the_options_of_script_and_program(build):
    code, out, err = finish(start(build() / "endpoint.ssh.sh", "--help"))
    assert (code, err) == (0, "")
    assert "--ssh PLATFORM=DESTINATION" in out
    assert "server: 1 to there, 1 from there; opened by this platform" in out
    assert "--frames N" in out


def test_a_program_without_such_links_gets_no_script(app, eprune):
    done = eprune("codegen", "app.xml", "-p", "platforms", "-m", "split", "-o", "build/")
    assert done.code == 0
    assert not list((app / "build").glob("*.sh"))
