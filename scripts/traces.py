"""Traces for ``eprune replay``: how a link and its platforms change, as CSV.

python -m scripts.traces DIR [--seconds 60] [--device endpoint] [--server server]

steps.csv    the link is as the papers' Ethernet, then as their WiFi, then worse, and back, in five equal steps
walk.csv     somebody walks out of range of the WiFi and back: bandwidth and latency follow the distance, with noise
load.csv     others load the server: it is one to twelve times slower, in bursts
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Iterator
from pathlib import Path

from eprune.formats.atomic import write_file
from eprune.runtime.net.conditions import FIELDS

#: The Edge-PRUNE papers' links of the ODROID N2: bytes per second and seconds.
ETHERNET, WIFI = (11.2e6, 1.49e-3), (2.3e6, 2.15e-3)
#: Seconds between two rows of a trace that changes all the time.
STEP = 0.5


def steps(seconds: float, device: str, server: str) -> Iterator[tuple[object, ...]]:
    """Five links one after the other."""
    links = (ETHERNET, WIFI, (3e5, 0.01), WIFI, ETHERNET)
    for number, (bandwidth, latency) in enumerate(links):
        yield number * seconds / len(links), device, server, bandwidth, latency, ""


def walk(seconds: float, device: str, server: str) -> Iterator[tuple[object, ...]]:
    """From the WiFi's best to a hundredth of it, and back."""
    draw = random.Random(7)
    for number in range(int(seconds / STEP)):
        far = math.sin(math.pi * number * STEP / seconds) ** 2
        fading = math.exp(draw.gauss(0, 0.2))
        bandwidth = max(11.2e6 * 10 ** (-2.2 * far) * fading, 2e4)
        yield number * STEP, device, server, round(bandwidth), round(0.002 + 0.03 * far * fading, 5), ""


def load(seconds: float, device: str, server: str) -> Iterator[tuple[object, ...]]:
    """A server that others use, too, behind the papers' Ethernet."""
    draw = random.Random(11)
    yield 0, device, server, *ETHERNET, ""
    now, busy = 0.0, False
    while now < seconds:
        yield round(now, 2), server, "", "", "", round(draw.uniform(6, 12), 1) if busy else 1
        now += draw.uniform(0.1, 0.2) * seconds
        busy = not busy


TRACES = {"steps": steps, "walk": walk, "load": load}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long they are (default: 60)")
    parser.add_argument("--device", default="endpoint", help="the platform that has the frames (endpoint)")
    parser.add_argument("--server", default="server", help="the other platform (server)")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for name, make in TRACES.items():
        rows = make(options.seconds, options.device, options.server)
        lines = [",".join(FIELDS), *(",".join(map(str, row)) for row in rows)]
        write_file(str(options.folder / f"{name}.csv"), "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
