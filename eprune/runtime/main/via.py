"""Where the connections of a program lead, and the tunnel that carries those that are not made directly."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Optional

from eprune.runtime.kernel.errors import UsageError
from eprune.runtime.main.declared import Declared, DeclaredFifo
from eprune.runtime.main.options import unsafe, zenoh_places
from eprune.runtime.net.tls import is_loopback
from eprune.runtime.net.tunnels import Ends, Tunnel, reach
from eprune.runtime.tell.journal import Journal

Addresses = Mapping[str, tuple[str, int]]


def carried_as(fifo: DeclaredFifo) -> str:
    """What both ends call a connection: the peer, and the port that both platforms' files give it.

    So two generations of an application side by side, which have ports of their own, do not meet.
    """
    return f"{fifo.peer}/{fifo.port}"


def open_tunnel(
    declared: Declared, options: argparse.Namespace, addresses: Addresses, journal: Journal
) -> Optional[Tunnel]:
    """The tunnel of a program, if one of its links goes over zenoh and somebody says where. Raises UsageError."""
    # of those that share a connection, the first is it
    fifos = [fifo for fifo in declared.fifos if fifo.via and fifo.number == 0]
    if not fifos:
        return None
    places = zenoh_places(options)
    if not places:
        peers = sorted({fifo.peer for fifo in fifos})
        journal.log("note", f"no --zenoh is given: the link with {' and '.join(peers)} is made directly")
        return None
    outside = reach(places)
    bare = next((fifo for fifo in fifos if fifo.security != "tls"), None)
    if outside and bare is not None and not options.insecure:
        raise UsageError(
            f"--zenoh {outside} may lead to other machines, and nothing protects the tokens of FIFO {bare.name!r} "
            f'there: write security="tls" for the link with {bare.peer} into both platform files, or add --insecure '
            "if you trust everybody on the network"
        )
    return Tunnel(declared.application, declared.platform, _ends(declared, fifos, addresses), places, journal)


def _ends(declared: Declared, fifos: list[DeclaredFifo], addresses: Addresses) -> Ends:
    accepts = {}
    for fifo in fifos:
        if fifo.source is None:
            base = addresses.get(fifo.peer, ("", 0))[1]
            accepts[carried_as(fifo)] = fifo.port + (base - declared.first_port(fifo.peer) if base else 0)
    return Ends([carried_as(fifo) for fifo in fifos if fifo.source is not None], accepts)


def place_of(
    declared: Declared,
    options: argparse.Namespace,
    addresses: Addresses,
    tunnel: Optional[Tunnel],
    fifo: DeclaredFifo,
    name: str,
) -> tuple[str, int]:
    """Where the FIFO's connection, called ``name``, is listened for, or dialled. Raises UsageError where that is not
    safe.
    """
    tunnelled = tunnel is not None and bool(fifo.via)
    if tunnel is not None and tunnelled and fifo.source is not None:
        return "127.0.0.1", tunnel.ports[carried_as(fifo)]
    host, base = addresses.get(fifo.peer, ("", 0))
    host = host or fifo.address
    if fifo.source is None:
        host = "127.0.0.1" if fifo.security == "ssh" or tunnelled else options.bind
    if fifo.security != "tls" and not options.insecure and not is_loopback(host):
        raise UsageError(unsafe(name, host, fifo.peer, fifo.security, declared.platform))
    port = base + fifo.port - declared.first_port(fifo.peer) if base else fifo.port
    if port > 65535:
        raise UsageError(f"{name}: TCP port {port} does not exist; choose lower ports")
    return host, port
