"""Where the platforms of a system are: what their files state, made into what ssh is called with."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from eprune.deploy.ssh import Device, parse_device
from eprune.model.finding import EpruneError, Finding
from eprune.model.platform import Platform
from eprune.model.system import System

#: What a platform file says of the machine that deploys.
LOCAL = "local"


@dataclass(frozen=True)
class Site:
    """Where a platform is. ``device`` is None for this machine; ``folder`` "": the usual one of the user there."""

    platform: str
    device: Optional[Device]
    python: str
    folder: str

    def __str__(self) -> str:
        return str(self.device) if self.device else "this machine"


def sites_of(system: System) -> tuple[Site, ...]:
    """The site of each platform that has a mapping, in the order of the mappings.

    Raises EpruneError (DEPLOY) for each platform whose file does not say where it is.
    """
    platforms = [system.platform(mapping.platform) for mapping in system.mappings]
    homeless = [_homeless(platform) for platform in platforms if platform is not None and platform.host is None]
    if homeless:
        raise EpruneError(*homeless)
    return tuple(site_of(platform) for platform in platforms if platform is not None)


def _homeless(platform: Platform) -> Finding:
    message = f"platform {platform.name!r} does not say where it is"
    hint = 'state host="USER@HOST" in this file, or host="local" if it is this machine'
    return Finding("FILE", platform.where, message, hint)


def site_of(platform: Platform) -> Site:
    """The site of a platform that states one. Raises EpruneError (FILE) where ssh could not be called with it."""
    host = platform.host or LOCAL
    folder = platform.folder or ""
    if host == LOCAL:
        return Site(platform.name, None, platform.python or sys.executable, folder)
    python = platform.python or "python3"
    try:
        device = parse_device(host if host.startswith("ssh://") else f"ssh://{host}", python)
    except ValueError:
        message = f"host={host!r} is not of the form [USER@]HOST or ssh://[USER@]HOST[:PORT]"
        raise EpruneError(Finding("FILE", platform.where, message)) from None
    return Site(platform.name, device, python, folder)


def start_order(names: Sequence[str], edges: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """The platforms in the order in which to start them: receivers first.

    ``edges`` lead from a platform that sends to the one that receives. Where they form a ring, the platform that sends
    to the fewest others that have not been started is next.
    """
    left = list(names)
    order: list[str] = []
    while left:
        waits = {name: {to for frm, to in edges if frm == name and to in left and to != name} for name in left}
        chosen = min(left, key=lambda name: (len(waits[name]), names.index(name)))
        left.remove(chosen)
        order.append(chosen)
    return tuple(order)
