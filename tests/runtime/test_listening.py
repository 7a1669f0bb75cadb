"""Where a program listens: addresses of both families, names, and what is said where that is not possible."""

import socket

import pytest

from eprune.deploy.ports import free_base_port
from eprune.runtime.kernel.errors import LinkError
from eprune.runtime.net import handshake
from eprune.runtime.net.handshake import listen


def has_ipv6():
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="there is no IPv6 here")


@pytest.fixture
def port():
    return free_base_port(1)


def reached(host, port):
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError:
        return False
    return True


@needs_ipv6
@pytest.mark.parametrize("host", ["::", "0::0"])
def test_every_address_of_ipv6_is_every_address_of_ipv4_too(port, host):
    with listen("link", "peer", (host, port)):
        assert reached("::1", port)
        assert reached("127.0.0.1", port)


@needs_ipv6
def test_one_address_is_that_one_only(port):
    with listen("link", "peer", ("::1", port)):
        assert reached("::1", port)
        assert not reached("127.0.0.1", port)


def names(monkeypatch, *families):
    """The name ``board`` has loopback addresses of these families."""
    hosts = {socket.AF_INET: ("127.0.0.1", 0), socket.AF_INET6: ("::1", 0, 0, 0)}
    true = socket.getaddrinfo

    def resolve(host, *arguments, **keywords):
        if host != "board":
            return true(host, *arguments, **keywords)
        return [(family, socket.SOCK_STREAM, 6, "", hosts[family]) for family in families]

    monkeypatch.setattr(handshake.socket, "getaddrinfo", resolve)
    create = socket.create_server
    numbers = {family: address[0] for family, address in hosts.items()}
    monkeypatch.setattr(
        handshake.socket,
        "create_server",
        lambda address, family, **more: create(
            (numbers[family] if address[0] == "board" else address[0], address[1]), family=family, **more
        ),
    )


@needs_ipv6
def test_a_name_with_only_an_ipv6_address_is_listened_on(port, monkeypatch):
    names(monkeypatch, socket.AF_INET6)
    with listen("link", "peer", ("board", port)):
        assert reached("::1", port)


def test_a_name_with_both_is_listened_on_at_its_ipv4_address(port, monkeypatch):
    names(monkeypatch, socket.AF_INET6, socket.AF_INET)
    with listen("link", "peer", ("board", port)):
        assert reached("127.0.0.1", port)


def test_a_name_that_nobody_knows_is_explained(port):
    with pytest.raises(
        LinkError, match=rf"link: cannot listen on no.such.host.invalid:{port}: .*; choose another"
    ) as error:
        listen("link", "peer", ("no.such.host.invalid", port))
    assert "Unknown error" not in str(error.value)


def test_strangers_of_one_ipv4_host_do_not_crowd_out_another_at_a_socket_for_both():
    networks = {handshake._network(socket.AF_INET6, f"::ffff:10.0.0.{host}") for host in (1, 2)}
    assert len(networks) == 2
    assert len({handshake._network(socket.AF_INET6, f"2001:db8::{host}") for host in (1, 2)}) == 1
