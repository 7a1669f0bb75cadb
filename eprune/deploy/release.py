"""What goes onto a device: the files of one version of one platform's program, and the version's name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Union

import eprune
from eprune.codegen.program import PlatformProgram, RxFifo, TxFifo
from eprune.codegen.targets import service
from eprune.deploy.live import ports_of
from eprune.deploy.neighbours import share_of
from eprune.deploy.remote.versions import DESCRIPTION
from eprune.formats.touching import placed
from eprune.model.finding import EpruneError, Finding, Location
from eprune.model.platform import Security
from eprune.model.system import System

#: Characters of a version's name.
NAME = 12
LOOPBACK = ("127.", "localhost", "::1")


@dataclass(frozen=True)
class File:
    """A file, and who may read it."""

    data: bytes
    mode: int = 0o644

    @property
    def sha256(self) -> str:
        """The digest of its contents."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True)
class Release:
    """A version of a platform's program: its files by name. Equal files make an equal ``version``."""

    platform: str
    files: Mapping[str, File]
    serves: bool = False

    @property
    def version(self) -> str:
        """Its name, from all that it is made of."""
        said = [[name, file.sha256, file.mode] for name, file in sorted(self.files.items())]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:NAME]

    def announced(self) -> dict[str, dict[str, Any]]:
        """What the device is told of the files before they come."""
        return {name: {"sha256": file.sha256, "mode": file.mode} for name, file in self.files.items()}


@dataclass(frozen=True)
class Setup:
    """How a program is started on its device, and by what."""

    root: str
    python: str
    service: str
    environment: Optional[str] = None
    #: by how much the ports of its links have been moved, so that it can come up beside another version
    shift: int = 0
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Input:
    """What a parameter of an actor names to be read: ``path``, a file or a folder, here."""

    actor: str
    parameter: str
    path: str

    @property
    def folder(self) -> str:
        """Where its files are in a version."""
        return f"inputs/{self.actor}/{self.parameter}"

    def files(self) -> dict[str, File]:
        """Its files, by their names in a version."""
        path = Path(self.path)
        if not path.is_dir():
            return {f"{self.folder}/{path.name}": File(path.read_bytes())}
        found = sorted(each for each in path.rglob("*") if each.is_file())
        return {f"{self.folder}/{each.relative_to(path).as_posix()}": File(each.read_bytes()) for each in found}

    def option(self, root: str) -> str:
        """The option that lets the program find them below its ``root``."""
        end = "" if Path(self.path).is_dir() else f"/{Path(self.path).name}"
        return f"--set={self.actor}.{self.parameter}={root}/current/{self.folder}{end}"


def inputs_of(system: System, platform: str) -> list[Input]:
    """What the actors of a platform read that is here, but for what a bundle takes along."""
    found = []
    for actor in system.graph.actors:
        interface = system.interfaces.get(actor.name)
        for name, value in actor.parameters if interface and system.homes.get(actor.name) == platform else ():
            path = placed(actor, "read", value) if interface and interface.paths.get(name) == "read" else None
            if path is not None and Path(path).exists():
                found.append(Input(actor.name, name, path))
    return found


def release_of(
    program: PlatformProgram,
    bundle: bytes,
    setup: Setup,
    keys: Mapping[str, bytes],
    supervisor: bytes,
    inputs: Sequence[Input] = (),
    memory: int = 0,
) -> Release:
    """The version of a program with these certificates and inputs, for a device that was looked at.

    ``memory``: bytes that its buffers and weights take.
    """
    current = f"{setup.root}/current"
    plain = setup.service == "plain"
    command = [setup.python, f"{current}/program.pyz", "--log-format=json", *["--serve"] * program.serves]
    command += [each.option(setup.root) for each in inputs]
    files = {"program.pyz": File(bundle, 0o755)}
    for each in inputs:
        files.update(each.files())
    if plain:
        files["supervisor.py"] = File(supervisor)
        if keys:
            command.append(f"--keys={current}/keys")
    command += setup.options
    if not plain:
        name = f"eprune-{program.application}-{program.platform}"
        unit = service.deployed(program, name, command, setup.root, setup.service == "user", bool(keys))
        files[f"{name}.service"] = File(unit)
    share = share_of(program, memory)
    description = {
        "application": program.application,
        "platform": program.platform,
        "digest": program.digest,
        "eprune": eprune.__version__,
        "service": setup.service,
        "serves": program.serves,
        "environment": setup.environment,
        "shift": setup.shift,
        "ports": ports_of(program),
        "cores": share.cores,
        "listens": share.ports,
        "memory": share.memory,
        "command": command,
        "files": {name: file.sha256 for name, file in files.items()},
    }
    files.update({f"keys/{name}": File(data, 0o600) for name, data in keys.items()})
    files[DESCRIPTION] = File(json.dumps(description, indent=2).encode() + b"\n")
    return Release(program.platform, files, program.serves)


def keys_for(folder: str, platform: str) -> dict[str, bytes]:
    """File name -> contents of what a platform needs for links with TLS. Raises EpruneError (FILE)."""
    found = {}
    for name in ("ca.crt", f"{platform}.crt", f"{platform}.key"):
        path = Path(folder, name)
        try:
            found[name] = path.read_bytes()
        except OSError as error:
            hint = f"eprune certify {folder} {platform} makes it"
            where = Location(str(path))
            raise EpruneError(Finding("FILE", where, error.strerror or str(error), hint)) from None
    return found


def wants_keys(program: PlatformProgram) -> bool:
    """Whether it has links with TLS."""
    return any(end.security == Security.TLS.value for end in (*program.tx, *program.rx))


def reached_at(system: System, platform: str) -> tuple[str, ...]:
    """The addresses, but for loopback, at which other platforms reach this one to send to it."""
    senders = {
        system.homes[fifo.source.actor]
        for fifo in system.graph.fifos
        if system.homes[fifo.target.actor] == platform and system.crosses(fifo)
    }
    # Over a shared connection tokens go both ways, and whoever receives the first FIFO listens.
    peers = senders | {link.to for each in system.platforms if each.name == platform for link in each.links}
    links = [link for each in system.platforms if each.name in peers for link in each.links if link.to == platform]
    return tuple(dict.fromkeys(link.address for link in links if not link.address.startswith(LOOPBACK)))


def bind_option(addresses: Sequence[str], own: Sequence[str]) -> tuple[str, ...]:
    """The option that lets a program listen where others reach it; ``own``: those addresses that the device has."""
    if not addresses:
        return ()
    if len(addresses) == 1 and addresses[0] in own:
        return (f"--bind={addresses[0]}",)
    return ("--bind=0.0.0.0",) if not any(":" in address for address in addresses) else ("--bind=::",)


def unreachable(system: System, program: PlatformProgram, insecure: bool) -> Optional[Finding]:
    """Why its links cannot work once it is deployed."""
    platform = system.platform(program.platform)
    ends: tuple[Union[TxFifo, RxFifo], ...] = (*program.tx, *program.rx)
    for end in ends:
        peer = end.to if isinstance(end, TxFifo) else end.origin
        link = platform.link(peer) if platform is not None else None
        if link is None:
            continue
        if end.security == Security.SSH.value and not link.address.startswith(LOOPBACK):
            message = f"the link between {program.platform!r} and {peer!r} goes over SSH, for which there is no service"
            return Finding("FILE", link.where, message, 'state security="tls" in both platform files')
        if end.security == "none" and not link.address.startswith(LOOPBACK) and not insecure:
            message = f"nothing protects the link between {program.platform!r} and {peer!r}"
            hint = 'state security="tls" in both platform files, or give --insecure if you trust everybody there'
            return Finding("FILE", link.where, message, hint)
    return None
