"""The target for Kubernetes: an image for each platform, and the objects that run one program of each.

The text is a template of ours and not a library's output, because people read and review it, with the reasons in it.
Whatever comes from a user's files is written as JSON, which is YAML.
"""

from __future__ import annotations

import base64
import ipaddress
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

from eprune.codegen.program import LinkEnd, PlatformProgram
from eprune.codegen.targets import image
from eprune.codegen.targets.image import Image
from eprune.codegen.targets.target import Choices, Part, Target
from eprune.codegen.targets.text import comment, fill, listing, variable


@dataclass(frozen=True)
class Rule:
    """What a network policy lets through: ``ports``, with ``peer``, which is ``pod``, or at ``block``, or anywhere."""

    peer: str
    ports: tuple[int, ...]
    pod: str
    block: str = ""


def _chosen(program: PlatformProgram) -> str:
    if program.serves:
        return ""
    return "it has sources of its own, and runs at them: eprune deploy, or codegen --pyz"


def _emit(parts: Sequence[Part], choices: Choices) -> dict[str, bytes]:
    """``kubernetes.yaml``, for each platform a folder with its image, and ``secret.yaml`` if there are keys."""
    names = {part.program.platform: image.dns_name(part.program) for part in parts}
    images = [image.image(part, choices) for part in parts]
    pods = [_pod(each, names, choices) for each in images]
    filters: dict[str, Any] = {"json": json.dumps, "comment": comment, "listing": listing}
    places = {"program_file": image.PROGRAM, "status": image.STATUS, "work": image.WORK, "keys_folder": image.KEYS}
    values = {
        **places,
        "application": parts[0].program.application,
        "pods": pods,
        "registry": choices.registry,
        "keys": choices.keys,
        "user": image.USER,
    }
    files = {path: data for each in images for path, data in each.files.items()}
    if choices.keys:
        files["secret.yaml"] = fill("secret.yaml.j2", filters, {}, **values).encode()
    files["kubernetes.yaml"] = fill("kubernetes.yaml.j2", filters, {}, **values).encode()
    return files


def _pod(made: Image, names: dict[str, str], choices: Choices) -> dict[str, Any]:
    program = made.program
    ends = image.direct(program)
    listens = [Rule(end.peer, _ports(end, end.inwards), names.get(end.peer, "")) for end in ends if end.inwards]
    dials = [
        Rule(end.peer, _ports(end, end.outwards), names.get(end.peer, ""), _block(end.address))
        for end in ends
        if end.outwards
    ]
    if program.over_zenoh:
        dials += [rule for place in choices.zenoh if (rule := _router(place)) is not None]
    return {
        "program": program,
        "name": names[program.platform],
        "part_of": image.dns_label(program.application),
        "image": made.name,
        "arguments": image.arguments(made.part, choices),
        "links": [(f"EPRUNE_LINK_{variable(rule.peer)}", rule.pod) for rule in dials if rule.pod],
        "ports": [port for rule in listens for port in rule.ports],
        "outside": [rule.peer for rule in listens if not rule.pod],
        "listens": listens,
        "dials": dials,
        "certificates": [
            (name, base64.b64encode(data).decode()) for name, data in choices.keys.get(program.platform, {}).items()
        ],
    }


def _ports(end: LinkEnd, distances: Sequence[int]) -> tuple[int, ...]:
    return tuple(end.port + distance for distance in distances)


def _router(place: str) -> Optional[Rule]:
    """What reaches a router of zenoh; None where the place is none."""
    host, _, port = place.partition("/")[2].rpartition(":")
    return Rule("a router of zenoh", (int(port),), "", _block(host.strip("[]"))) if port.isdecimal() else None


def _block(address: str) -> str:
    """An IP address as a block of one; '' for a name."""
    block: Optional[Any] = None
    try:
        block = ipaddress.ip_network(address)
    except ValueError:
        return ""
    return str(block)


TARGET = Target(
    "kubernetes",
    "images of the platforms that serve others, and the objects that run them in a cluster",
    refused=image.refused,
    emit=_emit,
    chosen=_chosen,
    secret=("secret.yaml",),
)
