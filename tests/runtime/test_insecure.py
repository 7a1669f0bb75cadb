"""Nothing that is not protected leaves this machine, unless that was said."""

from __future__ import annotations

import pytest

from eprune.deploy.ports import free_base_port
from eprune.runtime.net.tls import is_loopback
from tests.kit import keys
from tests.kit.programs import run, write_program


def sender(tmp_path, security="none", address="127.0.0.1", more=""):
    return write_program(
        tmp_path,
        "left",
        "actor('A', 'ACTORS:Count', 'cpu', {'n': '3'})",
        f"tx('f', 'A.out', 'int32', (3,), capacity=4, to='right', address='{address}', port={free_base_port(1)}, "
        f"security='{security}'{more})",
    )


def receiver(tmp_path, security="none", more=""):
    return write_program(
        tmp_path,
        "right",
        "actor('B', 'ACTORS:Total', 'cpu')",
        f"rx('f', 'B.in', 'int32', (3,), capacity=4, frm='left', port={free_base_port(1)}, "
        f"security='{security}'{more})",
    )


@pytest.mark.parametrize("more", ["", ", policy='wait'", ", shared=True"])
@pytest.mark.parametrize("address", ["0.0.0.0", "", "::", "192.0.2.1", "somewhere.example"])
def test_a_bind_beyond_loopback_is_refused_with_the_ways_out(tmp_path, more, address):
    code, _, err = run(receiver(tmp_path, more=more), "--bind", address)
    assert code == 2
    assert f"{address or 'every address'} is not loopback, and nothing protects the tokens there" in err
    for way_out in ('security="tls"', 'security="ssh"', "--insecure"):
        assert way_out in err
    assert len(err.splitlines()) == 1


def test_dialling_beyond_loopback_is_refused_wherever_the_address_comes_from(tmp_path):
    program = sender(tmp_path)
    for outcome in (
        run(program, "--link", "right=192.0.2.1"),
        run(program, EPRUNE_LINK_RIGHT="somewhere.example"),
        run(sender(tmp_path, address="192.0.2.1")),
    ):
        assert outcome[0] == 2
        assert "is not loopback" in outcome[2]


def test_insecure_means_it(tmp_path):
    code, _, err = run(receiver(tmp_path), "--bind", "0.0.0.0", "--insecure", "--timeout", "0.1")
    assert code == 1
    assert "did not connect to 0.0.0.0:" in err


def test_with_tls_any_address_will_do(tmp_path):
    folder = keys.write(tmp_path / "keys", keys.authority(), "right")
    code, _, err = run(receiver(tmp_path, "tls"), "--bind", "0.0.0.0", f"--keys={folder}", "--timeout", "0.1")
    assert code == 1
    assert "did not connect to 0.0.0.0:" in err


def test_the_ends_of_ssh_tunnels_stay_on_loopback(tmp_path):
    code, _, err = run(receiver(tmp_path, "ssh"), "--bind", "0.0.0.0", "--timeout", "0.1")
    assert code == 1
    assert "did not connect to 127.0.0.1:" in err
    code, _, err = run(sender(tmp_path, "ssh"), "--link", "right=192.0.2.1")
    assert code == 2
    assert "left.ssh.sh --ssh right=HOST" in err


@pytest.mark.parametrize("more", ["", ", policy='wait'"])
def test_where_nobody_is_at_the_other_end_of_a_tunnel_the_script_that_opens_it_is_named(tmp_path, more):
    code, _, err = run(sender(tmp_path, "ssh", more=more), "--timeout", "0.1")
    assert code == 1
    assert "is right running there, and is an SSH tunnel to it open? left.ssh.sh runs this program with one" in err
    code, _, err = run(receiver(tmp_path, "ssh", more=more), "--timeout", "0.1")
    assert code == 1
    assert "is an SSH tunnel from it open? right.ssh.sh runs this program with one" in err


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", "LOCALHOST"])
def test_loopback(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "10.0.0.1", "::", "localhost.example", "127.1", "127.0.0.1.example"])
def test_not_loopback(host):
    assert not is_loopback(host)
