"""`eprune import --split N`: a pipeline over equal devices."""

from __future__ import annotations

import json
import random

import pytest

from eprune.analysis.check import check
from eprune.face import load
from eprune.formats.system import read_system
from eprune.measure.pipeline import dealt


@pytest.fixture
def system(app):
    """In, L1, L2, Out, in a row."""
    return read_system("app.xml")


def test_the_slowest_device_takes_as_little_as_can_be(system):
    names = [actor.name for actor in system.graph.actors]
    for seed in range(20):
        times = dict(zip(names, random.Random(seed).choices(range(1, 9), k=4)))
        found = dealt(system, ["one", "two"], times)
        parts = [([*times.values()][:cut], [*times.values()][cut:]) for cut in (1, 2, 3)]
        assert max(found.seconds.values()) == min(max(map(sum, part)) for part in parts)
        assert found.exact and found.bound <= max(found.seconds.values()) < found.bound * 1.001


def test_of_equals_the_one_that_sends_less(system):
    """Cut after In (768 bytes), L1 (256) or L2 (20): with one actor that takes all, any is as good."""
    found = dealt(system, ["one", "two"], {"In": 0.0, "L1": 0.0, "L2": 0.0, "Out": 5.0})
    assert (found.homes["L2"], found.homes["Out"], found.nbytes) == ("one", "two", 20)


def test_memory_decides_too(system):
    """Without a limit a device has L1 and L2, whose weights, and the FIFOs of both, take 3924 bytes."""
    times = {"In": 5.0, "L1": 0.0, "L2": 0.0, "Out": 5.0}
    sizes = [dealt(system, ["one", "two"], times, memory).memory for memory in (None, 3000)]
    assert max(sizes[0].values()) > 3000 >= max(sizes[1].values())
    assert dealt(system, ["one", "two"], times, 1000) is None


def test_each_device_needs_an_actor(system):
    assert dealt(system, ["a", "b", "c", "d", "e"], dict.fromkeys(("In", "L1", "L2", "Out"), 1.0)) is None


def test_a_pipeline_is_written_and_computes_what_the_model_does(app, eprune, eprune_process):
    done = eprune("import", "tiny.tflite", "-o", "new", "--per", "operator", "--split", "3", "--format", "json")
    assert done.code == 0, done.err
    assert "note: timed on this machine, per frame: device1 " in done.err
    found = json.loads(done.out)
    assert found["pipeline"]["seconds"].keys() == {"device1", "device2", "device3"}
    written = load(found["application"], found["platform"], found["mapping"])
    assert [str(each) for each in check(written)] == []
    assert set(written.homes.values()) == {"device1", "device2", "device3"}
    alone = eprune("import", "tiny.tflite", "-o", "alone")
    assert alone.code == 0
    runs = [
        eprune_process("run", f"{folder}/application.xml", "-p", where[0], "-m", where[1], "--frames", "3")
        for folder, where in (("new", ("new/platforms", "new/mappings")), ("alone", ("alone", "alone")))
    ]
    assert [done.code for done in runs] == [0, 0], [done.err for done in runs]
    assert runs[0].out == runs[1].out and len(runs[0].out.splitlines()) == 3


def test_each_device_has_the_name_the_address_and_the_memory_that_are_said(app, eprune):
    asked = ("--split", "2", "-p", "pi=10.0.0.1,jetson=10.0.0.2", "--memory")
    done = eprune("import", "tiny.tflite", "-o", "new", *asked, "1MiB")
    assert done.code == 0, done.err
    text = (app / "new/platforms/pi.xml").read_text()
    assert 'memory="1MiB"' in text and 'to="jetson"' in text and "10.0.0.2" in text
    done = eprune("import", "tiny.tflite", "-o", "newer", *asked, "100B")
    assert done.code == 2 and "there is no pipeline over 2 devices with 100B each" in done.err
    assert not (app / "newer").exists()
