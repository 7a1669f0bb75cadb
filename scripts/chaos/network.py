"""What joins the processes of a case: loopback with a proxy in the middle of each connection, or network namespaces."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterable, Iterator, Sequence

from eprune.analysis.failures import FaultModel
from eprune.deploy.ports import link_ports
from scripts.chaos.proxy import Proxy
from scripts.netlab import do

Pair = tuple[str, str]


def links(system: FaultModel) -> dict[Pair, list[tuple[str, str]]]:
    """Pair of platforms, sorted -> the FIFOs between them as (sending, receiving) platform, in file order."""
    found: dict[Pair, list[tuple[str, str]]] = {}
    for fifo in system.graph.fifos:
        ends = system.homes[fifo.source.actor], system.homes[fifo.target.actor]
        if ends[0] != ends[1]:
            first, second = sorted(ends)
            found.setdefault((first, second), []).append(ends)
    return found


class Loopback:
    """Each end of a link has ports of its own; between them are proxies that can be told to fail."""

    def __init__(self, system: FaultModel) -> None:
        pairs = links(system)
        bases = link_ports({pair: 2 * len(fifos) for pair, fifos in pairs.items()})
        self._options: dict[str, list[str]] = {}
        self._proxies: dict[Pair, list[Proxy]] = {}
        for (one, other), fifos in pairs.items():
            port = {one: bases[one, other], other: bases[one, other] + len(fifos)}
            self._options.setdefault(one, []).append(f"--link={other}=127.0.0.1:{port[one]}")
            self._options.setdefault(other, []).append(f"--link={one}=127.0.0.1:{port[other]}")
            self._proxies[one, other] = [
                Proxy(port[sender] + number, port[receiver] + number) for number, (sender, receiver) in enumerate(fifos)
            ]

    def command(self, platform: str, words: Sequence[str]) -> list[str]:
        """A program's command line on that platform."""
        return [*words, *self._options.get(platform, ())]

    def between(self, pairs: Iterable[Pair]) -> list[Proxy]:
        """The proxies of some links."""
        return [proxy for pair in pairs for proxy in self._proxies[pair]]

    def at(self, platforms: Sequence[str]) -> list[Proxy]:
        """The proxies of all links of some platforms."""
        return self.between(pair for pair in self._proxies if set(pair) & set(platforms))

    def down(self, pairs: Iterable[Pair]) -> None:
        """Pull the cables."""
        for proxy in self.between(pairs):
            proxy.hold()

    def up(self, pairs: Iterable[Pair]) -> None:
        """Plug them in again."""
        for proxy in self.between(pairs):
            proxy.resume()

    def close(self) -> None:
        """End the proxies."""
        for proxies in self._proxies.values():
            for proxy in proxies:
                proxy.close()


class Namespaces:
    """A network namespace for each platform, and a pair of virtual interfaces for each link."""

    def __init__(self, system: FaultModel) -> None:
        self._names: dict[str, str] = {}
        self._devices: dict[Pair, str] = {}
        self._options: dict[str, list[str]] = {}
        try:
            self._make(links(system))
        except BaseException:
            self.close()
            raise

    def _make(self, pairs: Iterable[Pair]) -> None:
        platforms = dict.fromkeys(platform for pair in pairs for platform in pair)
        for number, platform in enumerate(platforms):
            name = f"chaos-{os.getpid()}-{number}"
            do("ip", "netns", "add", name)
            self._names[platform] = name
            do(*f"ip -n {name} link set lo up".split())
        for number, (one, other) in enumerate(pairs):
            ends = self._names[one], self._names[other]
            device = f"v{number}"
            do(*f"ip link add {device} netns {ends[0]} type veth peer name {device} netns {ends[1]}".split())
            self._devices[one, other] = device
            for side, name in enumerate(ends, 1):
                do(*f"ip -n {name} addr add 10.78.{number}.{side}/24 dev {device}".split())
                do(*f"ip -n {name} link set {device} up".split())
            self._options.setdefault(one, []).append(f"--link={other}=10.78.{number}.2")
            self._options.setdefault(other, []).append(f"--link={one}=10.78.{number}.1")

    def command(self, platform: str, words: Sequence[str]) -> list[str]:
        """A program's command line on that platform."""
        inside = ["ip", "netns", "exec", self._names[platform]]
        return [*inside, *words, "--bind=0.0.0.0", "--insecure", *self._options[platform]]

    def down(self, pairs: Iterable[Pair]) -> None:
        """Pull the cables."""
        self._set(pairs, "down")

    def up(self, pairs: Iterable[Pair]) -> None:
        """Plug them in again."""
        self._set(pairs, "up")

    def _set(self, pairs: Iterable[Pair], state: str) -> None:
        for pair in pairs:
            do(*f"ip -n {self._names[pair[0]]} link set {self._devices[pair]} {state}".split())

    def close(self) -> None:
        """Remove the namespaces."""
        for name in self._names.values():
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


@contextlib.contextmanager
def joined(system: FaultModel, namespaces: bool) -> Iterator[Loopback | Namespaces]:
    """The network of a case. Raises NotPermitted where namespaces are not to be had."""
    network = Namespaces(system) if namespaces else Loopback(system)
    with contextlib.closing(network):
        yield network
