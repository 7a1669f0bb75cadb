"""Benchmarks, as ratios taken side by side: each pair is run in turn, several times, and the median ratio counts.

python -m scripts.bench                    all of them
python -m scripts.bench local link         some of them
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from pathlib import Path

from scripts.bench.analyzer import analyzer
from scripts.bench.batch import batch
from scripts.bench.deploying import deploying, updating
from scripts.bench.dpg import dpg, dynamic
from scripts.bench.emulation import emulation
from scripts.bench.engines import engines
from scripts.bench.exits import exits
from scripts.bench.exploring import exploring
from scripts.bench.faults import faults
from scripts.bench.imported import imported
from scripts.bench.link import hop, link
from scripts.bench.local import local, split
from scripts.bench.mesh import endpoints, mesh
from scripts.bench.nests import nests
from scripts.bench.onnx import onnx
from scripts.bench.opencl import opencl
from scripts.bench.partition import partition
from scripts.bench.placement import placement
from scripts.bench.replicas import replicas
from scripts.bench.required import required
from scripts.bench.routes import routes
from scripts.bench.search import search
from scripts.bench.secure import secure
from scripts.bench.ssd import ssd
from scripts.bench.stages import stages
from scripts.bench.start import start
from scripts.bench.watching import watching

_ALL = (
    local,
    split,
    stages,
    link,
    hop,
    mesh,
    endpoints,
    analyzer,
    dpg,
    dynamic,
    nests,
    exits,
    start,
    imported,
    ssd,
    emulation,
    exploring,
    deploying,
    watching,
    updating,
    secure,
    search,
    replicas,
    required,
    routes,
    batch,
    faults,
    partition,
    placement,
    engines,
    onnx,
    opencl,
)
BENCHES = {each.__name__: each for each in _ALL}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *BENCHES], help="which; all by default")
    names = parser.parse_args().names or list(BENCHES)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name in names:
        print(f"\n{BENCHES[name].__doc__}\n", flush=True)
        with tempfile.TemporaryDirectory(prefix="eprune-bench-") as folder:
            BENCHES[name](Path(folder))


if __name__ == "__main__":
    main()
