"""What each device is to come to, from what is to be deployed and what the device has; or what stands in the way."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Optional

from eprune.codegen.program import PlatformProgram
from eprune.deploy import keys as certificates
from eprune.deploy.health import Health, judge
from eprune.deploy.needs import PYTHON, Needs, fitting, requirements
from eprune.deploy.neighbours import share_of, together
from eprune.deploy.options import DAYS
from eprune.deploy.release import Input, Release, Setup, bind_option, release_of
from eprune.deploy.rollout import Environment, Target
from eprune.deploy.session import supervisor_text
from eprune.deploy.sites import Site
from eprune.formats.certificates import now, validity
from eprune.model.finding import EpruneError, Failure

#: Bytes that stay free on a device, for what programs write.
SPARE = 4 << 20
#: Seconds by which clocks may differ where certificates are checked.
SKEW = 3000.0


@dataclass(frozen=True)
class Wanted:
    """What is to be deployed on a platform: its program, all of it in one file, its certificates, its options.

    ``addresses`` are those at which others reach it; ``inputs`` is what is sent of what its actors read, and ``shift``
    by how much the ports of its links have been moved. ``memory`` is what buffers and weights take, in bytes, and
    ``limit`` what the platform file states.
    """

    program: PlatformProgram
    bundle: bytes
    needs: Needs
    keys: Mapping[str, bytes]
    options: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    inputs: tuple[Input, ...] = ()
    shift: int = 0
    memory: int = 0
    limit: Optional[int] = None


@dataclass(frozen=True)
class Bootstrap:
    """Whether environments are made, of what besides that is needed, and from wheels of a folder (None: the index)."""

    asked: bool = False
    require: tuple[str, ...] = ()
    wheels: Optional[str] = None


@dataclass(frozen=True)
class Prepared:
    """What a platform is to come to, what stands in the way, and what is to be said. ``same``: it is there and well."""

    target: Optional[Target]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    same: bool = False


def prepare(wanted: Wanted, site: Site, facts: Mapping[str, Any], bootstrap: Bootstrap) -> Prepared:
    """What a platform is to come to on a device that said ``facts`` of itself (``environment.look``)."""
    problems, notes = device_problems(wanted, site, facts)
    try:
        environment = _environment(wanted.needs, facts, bootstrap)
    except Failure as failure:
        environment = None
        if bootstrap.asked:
            problems.append(str(failure))
    known = environment is not None and environment.name in facts["environments"]
    used = environment if environment is not None and (bootstrap.asked or known) else None
    missing = wanted.needs.missing(facts["modules"])
    if used is None and missing and not bootstrap.asked:
        problems.append(f"{site.python} lacks {' and '.join(missing)}: --bootstrap makes an environment that has it")
    if problems:
        return Prepared(None, tuple(problems), tuple(notes))
    release = _release(wanted, facts, used)
    state, description = facts["state"], facts["description"]
    same = facts["version"] == release.version and judge(state, state["restarts"]).health is Health.WELL
    size = sum(len(file.data) for name, file in release.files.items() if not _has(description, name, file.sha256))
    if size + SPARE > facts["free"]:
        free = facts["free"] >> 20
        problems.append(f"{(size + SPARE) >> 20} MiB are needed on the disk of {facts['base']}, and {free} are free")
    target = Target(release.version, release, used if used is not None and not known else None)
    return Prepared(None if problems else target, tuple(problems), tuple(notes), same)


def device_problems(wanted: Wanted, site: Site, facts: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """What is wrong with a device in any case, and what is to be noted."""
    problems, notes = [], []
    if tuple(int(part) for part in facts["python"].split(".")[:2]) < PYTHON:
        problems.append(f"{site.python} is Python {facts['python']}; programs need {PYTHON[0]}.{PYTHON[1]}")
    if not facts["writable"]:
        problems.append(f'{facts["base"]} cannot be written to: state another folder="..." in the platform file')
    ahead = facts["time"] - time.time()
    if wanted.keys and abs(ahead) > SKEW:
        direction = "ahead" if ahead > 0 else "behind"
        problems.append(f"its clock is {abs(ahead) / 3600:.1f} h {direction}, so that certificates are not valid there")
    cores = max((core for unit in wanted.program.units for core in unit.cores), default=-1)
    if facts["cores"] is not None and cores >= facts["cores"]:
        problems.append(f"the platform file names core {cores}; there are {facts['cores']}, counted from 0")
    beside = together(share_of(wanted.program, wanted.memory), wanted.limit, facts)
    problems += beside[0]
    notes += beside[1]
    if facts["cut"]:
        notes.append("an earlier deployment was cut here; it is undone by the next one")
    return problems, notes


def _has(description: Mapping[str, Any], name: str, digest: str) -> bool:
    return bool(description.get("files", {}).get(name) == digest)


def _environment(needs: Needs, facts: Mapping[str, Any], bootstrap: Bootstrap) -> Environment:
    """The environment that this program has on this device, if it has one. Raises Failure."""
    missing = [module for module in needs.modules if facts["modules"].get(module) is None]
    wanted = requirements(needs, missing, facts["machine"], facts["python"], bootstrap.require)
    identity = [sorted(wanted), facts["python"], facts["machine"]]
    name = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:12]
    wheels = None
    if bootstrap.wheels is not None:
        paths = sorted(map(str, Path(bootstrap.wheels).glob("*.whl")))
        wheels = {Path(path).name: Path(path).read_bytes() for path in fitting(paths, facts["machine"])}
    return Environment(name, wanted, wheels, needs.modules)


def _release(wanted: Wanted, facts: Mapping[str, Any], environment: Optional[Environment]) -> Release:
    root, python, name = facts["root"], facts["executable"], None
    if environment is not None:
        name, python = environment.name, f"{facts['base']}/environments/{environment.name}/bin/python"
    options = (*bind_option(wanted.addresses, facts["own"]), *wanted.options)
    setup = Setup(root, python, facts["service"], name, wanted.shift, options)
    return release_of(
        wanted.program, wanted.bundle, setup, wanted.keys, supervisor_text(), wanted.inputs, wanted.memory
    )


def renew_keys(folder: str, platforms: Sequence[str], days: float) -> tuple[list[str], list[str]]:
    """Renew the certificates in a folder that end within so many days; what was renewed, and notes.

    The authority's own is one of them. Where its key is not here, that is noted, and matters once they end. Raises
    EpruneError (FILE) for what is missing, or cannot be used, or has ended and cannot be renewed.
    """
    soon = now() + timedelta(days=days)
    found = [each for each in certificates.show(folder) if each.name in (certificates.AUTHORITY, *platforms)]
    ending = [each for each in found if each.valid.end <= soon]
    if not ending:
        return [], []
    try:
        renewed = certificates.renew_all(folder, [each.name for each in ending], DAYS)
    except EpruneError:
        if any(each.valid.end <= now() for each in ending):
            raise
        return [], [
            f"{each.path} ends on {each.valid.end:%Y-%m-%d}, and is not renewed: ca.key is not here" for each in ending
        ]
    return [f"{each.path}: renewed, valid until {each.valid.end:%Y-%m-%d}" for each in renewed], []


def certificate_end(pem: Optional[str]) -> Optional[datetime]:
    """Until when a certificate is valid; None where there is none."""
    if pem is None:
        return None
    try:
        return validity(pem.encode()).end
    except ValueError:
        return None
