"""What targets for containers share: the Dockerfile of a platform's program, and what cannot be in a container."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from eprune.codegen.program import LinkEnd, PlatformProgram
from eprune.codegen.targets.target import Choices, Part
from eprune.codegen.targets.text import comment, fill
from eprune.model.behaviour import File
from eprune.model.finding import Finding, Location

#: Where things are in a container: the program, its certificates, its status report, its working folder.
PROGRAM, KEYS, STATUS, WORK = "/app/program.pyz", "/keys", "/run/eprune/status.json", "/data"
#: The folder that takes the place of a deployment's, in which the files that actors read lie below ``current/inputs``.
INPUTS = "/app"
#: The user and the group that programs run as: no account of the image, so that no account of the host fits.
USER = 10001
#: What must be there to build actors in C when the program starts.
_COMPILERS = {"c": ("gcc", "libc6-dev")}


@dataclass(frozen=True)
class Image:
    """A platform's image: the names of its folder and of itself, with its tag, and the files of the folder."""

    part: Part
    name: str
    files: dict[str, bytes]

    @property
    def program(self) -> PlatformProgram:
        """The program inside."""
        return self.part.program


def image(part: Part, choices: Choices) -> Image:
    """The image of a program. Its tag changes with what is in it, so that a new one is rolled out."""
    program = part.program
    packages = "".join(f"{package}\n" for package in part.requirements)
    compilers = sorted({name for node in program.nodes for name in _COMPILERS.get(node.declaration.compiled, ())})
    values = {"program": program, "part": part, "compilers": compilers, "user": USER, "command": _command(part)}
    filters: dict[str, Any] = {"json": json.dumps, "comment": comment}
    places = {"program_file": PROGRAM, "status": STATUS, "work": WORK, "inputs": f"{INPUTS}/current/inputs/"}
    text = fill("dockerfile.j2", filters, {}, **places, **values)
    files = {
        "program.pyz": part.bundle,
        "requirements.txt": packages.encode(),
        "Dockerfile": text.encode(),
        **part.inputs,
    }
    contents = hashlib.sha256()
    for name, data in sorted(files.items()):
        contents.update(f"{name} {hashlib.sha256(data).hexdigest()}\n".encode())
    name = f"{dns_name(program)}:{contents.hexdigest()[:12]}"
    prefix = f"{choices.registry}/" if choices.registry else ""
    return Image(part, prefix + name, {f"images/{program.platform}/{path}": data for path, data in files.items()})


def _command(part: Part) -> list[str]:
    """What every container of the image runs. Cores are not pinned: a container owns none."""
    own = ["--log-format=json", "--no-pin", "--bind=0.0.0.0", f"--status={STATUS}"]
    return ["python3", PROGRAM, *own, *["--serve"] * part.program.serves, *part.options]


def dns_name(program: PlatformProgram) -> str:
    """``APPLICATION-PLATFORM``, as ``dns_label`` writes it."""
    return dns_label(f"{program.application}-{program.platform}")


def dns_label(text: str) -> str:
    """A name as DNS, Kubernetes and registries take it: at most 63 small letters, digits and -, a letter first.

    What is left of a longer one ends in a part of its hash.
    """
    name = "-".join(filter(None, text.lower().replace("_", "-").split("-")))
    name = name if name[:1].isalpha() else f"app-{name}".rstrip("-")
    return name if len(name) <= 63 else f"{name[:52].rstrip('-')}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def arguments(part: Part, choices: Choices) -> list[str]:
    """What a container adds to the command of its image."""
    zenoh = [f"--zenoh={place}" for place in choices.zenoh if part.program.over_zenoh]
    return [*["--insecure"] * choices.insecure, *[f"--keys={KEYS}"] * part.program.secure, *zenoh]


def direct(program: PlatformProgram) -> list[LinkEnd]:
    """The links that are: only these have ports that others reach."""
    return [end for end in program.ends if not end.via]


def refused(parts: Sequence[Part], choices: Choices) -> Iterator[Finding]:
    """What keeps these programs out of containers that run beside each other."""
    inside = frozenset(part.program.platform for part in parts)
    names: dict[str, str] = {}
    for part in parts:
        yield from _uncontained(part, names)
        yield from _unlinked(part, inside, choices)


def _uncontained(part: Part, names: dict[str, str]) -> Iterator[Finding]:
    """What a program has that no image can give it. ``names`` gathers the names of images: name -> platform."""
    program = part.program
    taken = names.setdefault(dns_name(program), program.platform)
    place = Location(program.sources[1])
    if taken != program.platform:
        message = f"platforms {taken!r} and {program.platform!r} would both be called {dns_name(program)!r}"
        yield Finding("FILE", place, message, "rename one of them")
    for unit in program.units:
        what = (
            f"delegate {unit.delegate!r}" if unit.delegate else f"OpenCL device {unit.opencl!r}" if unit.opencl else ""
        )
        if what:
            hint = "let the platform run on its machine (eprune deploy), or state a unit without it for the container"
            yield Finding("FILE", unit.where, f"an image has no driver for {what} of unit {unit.name!r}", hint)
    for node in program.nodes:
        source = node.declaration.source
        if isinstance(source, File) and "{" in source.path:
            message = f"actor {node.name!r} needs a library for the machine that it runs on"
            yield Finding("FILE", node.where, message, "name the C file, which is built in the container")
        if node.declaration.compiled == "opencl" and program.unit(node.unit).opencl is None:
            hint = "let the platform run on its machine (eprune deploy)"
            yield Finding("FILE", node.where, f"an image has no OpenCL device for actor {node.name!r}", hint)


def _unlinked(part: Part, inside: frozenset[str], choices: Choices) -> Iterator[Finding]:
    """Links that containers cannot have; ``inside`` are the platforms that are in containers beside this one."""
    for link in part.program.ends:
        place, between = link.where, f"the link between {part.program.platform!r} and {link.peer!r}"
        if link.security == "ssh":
            hint = 'state security="tls" in both platform files'
            yield Finding("FILE", place, f"{between} goes over SSH, and no container holds its tunnel", hint)
        elif link.security == "none" and not choices.insecure:
            hint = 'state security="tls" in both platform files, or give --insecure if you trust everybody there'
            yield Finding("FILE", place, f"nothing protects {between}", hint)
        elif link.outwards and link.peer not in inside and link.local and not link.via:
            hint = f'state address="..." in the link to {link.peer!r}'
            yield Finding("FILE", place, f"{between} has no address at which a container finds {link.peer!r}", hint)
        elif link.via and not choices.zenoh:
            yield Finding(
                "FILE", place, f"{between} goes over zenoh, and nobody says where", "add --zenoh tcp/HOST:7447"
            )
