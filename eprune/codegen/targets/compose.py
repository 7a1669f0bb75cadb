"""The target for Docker Compose: an image for each platform, and all of them on one machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from eprune.codegen.targets import image
from eprune.codegen.targets.image import Image
from eprune.codegen.targets.target import Choices, Part, Target
from eprune.codegen.targets.text import comment, fill, listing, variable


def _emit(parts: Sequence[Part], choices: Choices) -> dict[str, bytes]:
    """``compose.yaml``, for each platform a folder with its image, and ``keys/`` if there are keys."""
    names = {part.program.platform: image.dns_label(part.program.platform) for part in parts}
    images = [image.image(part, choices) for part in parts]
    filters: dict[str, Any] = {"json": json.dumps, "comment": comment, "listing": listing}
    values = {
        "application": parts[0].program.application,
        "project": image.dns_label(parts[0].program.application),
        "services": [_service(each, names, choices) for each in images],
        "uid": image.USER,
        "work": image.WORK,
        "keys_folder": image.KEYS,
    }
    files = {path: data for each in images for path, data in each.files.items()}
    for platform, keys in choices.keys.items():
        files.update({f"keys/{platform}/{name}": data for name, data in keys.items()})
    files["compose.yaml"] = fill("compose.yaml.j2", filters, {}, **values).encode()
    return files


def _service(made: Image, names: dict[str, str], choices: Choices) -> dict[str, Any]:
    program = made.program
    ends = image.direct(program)
    outside = [end for end in ends if end.inwards and end.peer not in names]
    return {
        "program": program,
        "name": names[program.platform],
        "image": made.name,
        "arguments": image.arguments(made.part, choices),
        "links": [
            (f"EPRUNE_LINK_{variable(end.peer)}", names[end.peer]) for end in ends if end.outwards and end.peer in names
        ],
        "published": [end.port + distance for end in outside for distance in end.inwards],
        "outside": [end.peer for end in outside],
    }


TARGET = Target(
    "compose",
    "images of the platforms, and a Compose file that runs them on one machine",
    refused=image.refused,
    emit=_emit,
    secret=("keys/",),
)
