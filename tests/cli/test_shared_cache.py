"""`eprune apply cache --shared`: what one camera saw need not be computed for another one."""

from __future__ import annotations

import json

import numpy as np
import pytest

from eprune.analysis.check import check
from eprune.face import load
from eprune.formats.system import write_system
from eprune.model.finding import errors
from eprune.passes import relocate
from tests.kit import composed

HIT = 0


@pytest.fixture
def road(tmp_path, monkeypatch):
    """Two cameras: what the first one sees, the second one sees six frames later, with other noise."""
    monkeypatch.chdir(tmp_path)
    seen = composed.frames(60)
    random = np.random.default_rng(2)
    later = np.concatenate([composed.frames(6, 9), seen[:-6]]) + random.normal(scale=0.01, size=seen.shape)
    np.save("first.npy", seen)
    np.save("second.npy", later.astype(np.float32))
    np.savez("seen.npz", x=seen, source=np.arange(60) // 3)
    system = composed.cameras(composed.base(tmp_path), "first", "second")
    for name in ("first", "second"):
        source = next(each.name for each in system.graph.actors if each.name.startswith(name) and not each.inputs)
        system = composed.setting(system, source, path=str(tmp_path / f"{name}.npy"))
    write_system(relocate.apply(system, relocate.Options("cameras")).system, "cameras")
    return tmp_path


def cached(eprune, shared):
    """A cache for each camera, on the server, one pass after the other."""
    folder, more = "cameras", ("--shared", "road") if shared else ()
    for name in ("first", "second"):
        parts = (f"{folder}/application.xml", "-p", f"{folder}/platforms", "-m", f"{folder}/mappings")
        done = eprune(
            *(
                "apply",
                "cache",
                *parts,
                "--allow-outside",
                "--data",
                "seen.npz",
                "--at",
                f"{name}-max_pool2d_3",
                "--on",
                "server",
            ),
            *("--false-hits", "0.9", "--audit", "0", "--frames-under-way", "2", "--nearest", "1", *more),
            *("-o", name, "--format", "json"),
        )
        assert done.code == 0, done.err
        assert json.loads(done.out)["at"] == f"{name}-max_pool2d_3"
        folder = name
    system = load(f"{folder}/application.xml", f"{folder}/platforms", f"{folder}/mappings", allow_outside=True)
    assert errors(check(system)) == []
    return system


def test_two_cameras_share_a_cache_only_where_that_is_asked_for(road, eprune):
    hits = {}
    for shared in (False, True):
        system = cached(eprune, shared)
        gates = {each.name: dict(each.parameters) for each in system.graph.actors if each.name.startswith("Cache")}
        assert len({each["model"] for each in gates.values()}) == 1
        sinks = {each.name: str(road / each.name) for each in system.graph.actors if not each.outputs}
        for sink, path in sinks.items():
            system = composed.setting(system, sink, path=path)
        for gate in gates:  # of random networks all answers are much alike
            system = composed.setting(system, gate, bound="0.001")
        _, chosen = composed.answers(system, None, 60)
        hits[shared] = [chosen[name].count(HIT) for name in ("Cache", "Cache_")]
    # Of three frames of a scene, with two under way, one can be known by oneself; by the other camera, all.
    assert hits[False][0] >= 12
    assert hits[True][0] >= hits[False][0]
    assert hits[True][1] >= hits[False][1] + 20
