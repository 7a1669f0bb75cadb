"""How long each operator of an ONNX model takes, as onnxruntime's own profiler has it.

The profiler times nodes while the whole part runs. So, unlike operators that are timed one by one, they add up.
"""

from __future__ import annotations

import json
import re
import statistics
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from eprune.deploy.build import cut
from eprune.formats.model_files import read_model
from eprune.model.behaviour import Cut
from eprune.runtime.fire import onnxruntime
from eprune.runtime.fire.engines import ModelEngine

#: Runs that are timed, behind one to warm up.
RUNS = 10


def node_times(part: Cut, engine: ModelEngine) -> dict[int, float]:
    """Operator of a part of a model -> seconds per run, on random values.

    Of operators that onnxruntime has joined, one has the time of all. What belongs to none of them, mostly the change
    of a layout, is added to all in proportion; so is the time of a run between the nodes.
    """
    with tempfile.TemporaryDirectory(prefix="eprune-") as folder:
        prefix = str(Path(folder, "profile"))
        session = onnxruntime.load(_numbered(part), engine.threads, engine.options, profile=prefix)
        fill(session)
        for _ in range(RUNS + 1):
            session.invoke()
        events = json.loads(Path(session.end_profiling()).read_bytes())
    nodes: dict[int, list[float]] = defaultdict(list)
    whole = [1e-6 * each["dur"] for each in events if each.get("name") == "model_run"]
    for each in events:
        found = re.search(r"operator(\d+);", each.get("name", ""))
        if found and each["name"].endswith("_kernel_time"):
            nodes[int(found.group(1))].append(1e-6 * each["dur"])
    times = {index: statistics.median(seconds[1:] or seconds) for index, seconds in nodes.items()}
    total = sum(times.values())
    factor = statistics.median(whole[1:] or whole) / total if total and whole else 1.0
    return {index: factor * seconds for index, seconds in times.items()}


def _numbered(part: Cut) -> bytes:
    """The part, with nodes that are named after the operators of the model."""
    from eprune.formats.onnx.model import library

    model = read_model(part.path)
    writers = {model.tensors[index].name: each.index for each in model.operators for index in each.outputs}
    proto = library(part.path).load_model_from_string(cut(part))
    for node in proto.graph.node:
        node.name = f"operator{writers.get(next(iter(node.output), ''), 'none')};"
    data: bytes = proto.SerializeToString()
    return data


def fill(session: Any) -> None:
    """Random values for the inputs of an interpreter."""
    import numpy as np

    random = np.random.default_rng(0)
    for detail in session.get_input_details():
        values = random.random(detail["shape"])
        scale = 1 if np.issubdtype(detail["dtype"], np.floating) else 100
        session.set_tensor(detail["index"], (values * scale).astype(detail["dtype"]))
