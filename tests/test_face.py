"""The library's face: what a notebook or a script sees of eprune."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import eprune
from eprune.model.finding import EpruneError, Failure, WrongUsage
from eprune.passes.base import names
from tests.kit.programs import ROOT, environment

VEHICLE = (ROOT / "graphs/vehicle.xml", ROOT / "graphs", ROOT / "mappings/vehicle_split")
ACTORS = ("Input", "L1", "L2", "L3", "L4-L5", "Sink")
#: seconds per firing on the endpoint; the server is ten times as fast
TIMES = dict(zip(ACTORS, (1e-3, 8e-3, 8e-3, 20e-3, 1e-3, 0)))


@pytest.fixture(scope="module")
def app():
    return eprune.load(*VEHICLE)


@pytest.fixture(scope="module")
def cuts(app):
    times = {"endpoint": TIMES, "server": {actor: time / 10 for actor, time in TIMES.items()}}
    return eprune.cuts(app).predict(times)


def test_no_module_takes_the_place_of_a_function():
    """Importing a submodule sets an attribute of the package; the face must have other names."""
    code = (
        "import importlib, pkgutil, eprune\n"
        "for module in pkgutil.walk_packages(eprune.__path__, 'eprune.'):\n"
        "    if not module.name.endswith('__main__'):\n"
        "        importlib.import_module(module.name)\n"
        "assert all(callable(getattr(eprune, name)) for name in eprune.__all__), eprune.__all__\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    subpackages = {module.name for module in pkgutil.iter_modules(eprune.__path__)}
    assert not subpackages & set(eprune.__all__)


def test_importing_it_loads_nothing():
    code = "import sys, eprune; print([name for name in sys.modules if name.startswith(('eprune.', 'numpy', 'lxml'))])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert done.stdout == "[]\n"
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        eprune.nonsense  # noqa: B018
    assert set(eprune.__all__) <= set(dir(eprune))


def test_a_system_is_loaded_checked_and_drawn(app):
    assert [platform.name for platform in app.platforms] == ["endpoint", "server"], "those that the mappings name"
    assert repr(app) == "<System vehicle: 6 actors, 5 FIFOs on endpoint, server>"
    assert not app.check() and len(app.check()) == 0 and app.check()._repr_html_() == "no findings"
    assert "Sink" in app._repr_html_()


def test_what_is_wrong_is_a_table(app):
    fifos = tuple(replace(fifo, capacity=0) for fifo in app.graph.fifos)
    findings = replace(app, graph=replace(app.graph, fifos=fifos)).check()
    assert findings and {finding.rule for finding in findings} == {"G5"}
    assert "<td>G5</td>" in findings._repr_html_() and "error[G5]" in repr(findings)
    with pytest.raises(EpruneError, match="G5"):
        eprune.run(replace(app, graph=replace(app.graph, fifos=fifos)))


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(EpruneError, match=r"nowhere\.xml"):
        eprune.load("nowhere.xml")
    with pytest.raises(WrongUsage, match="no mapping file"):
        eprune.load(VEHICLE[0], mappings=ROOT / "actors")


def test_every_pass_is_reached_and_gives_a_system(app):
    small = app.apply("resize", capacities=("f1=7",))
    assert isinstance(small, eprune.System) and small.graph.fifos[0].capacity == 7
    assert app.graph.fifos[0].capacity == 2, "passes change nothing in place"
    with pytest.raises(ValueError, match="did you mean 'resize'"):
        app.apply("resise")
    assert app.apply("resize", capacities="f1=7").graph == small.graph  # a single value will do
    with pytest.raises(ValueError, match="the pass resize has no option 'capacity'; did you mean 'capacities'"):
        app.apply("resize", capacity="f1=7")
    with pytest.raises(ValueError, match="the pass replicate needs endpoints, servers, cut_after"):
        app.apply("replicate")
    assert {"replicate", "feedback", "relocate", "import", "into", "expand", "fuse", "resize", "tap"} <= set(names())
    for name in names():
        module = importlib.import_module(f"eprune.passes.{name}_" if name == "import" else f"eprune.passes.{name}")
        assert module.__doc__ and module.Options and module.apply


def test_cuts_are_predicted_and_the_best_one_is_a_system(cuts):
    assert cuts.best("endpoint").homes["L1"] == "server"
    private = cuts.best("endpoint", private_until="L2")
    assert (private.homes["L2"], private.homes["L3"]) == ("endpoint", "server")
    assert private.check() == [] or not private.check()
    assert cuts.best("bytes").homes == dict.fromkeys(ACTORS, "endpoint")
    assert [row.alternative.name for row in cuts] == ["1", "2", "3", "4", "5", "6"]
    assert "after L2" in repr(cuts) and "<td>after L2</td>" in cuts._repr_html_()


def test_the_best_cut_keeps_what_is_required(app, cuts):
    fast = cuts.best("bytes", required="rate=60/s")
    assert fast.homes["L1"] == "server", "the endpoint alone sends nothing, but is too slow"
    assert [row.missed for row in cuts.rows(required="rate=60/s")][-1].endswith("of 60 frames/s")
    with pytest.raises(Failure, match="that meets what is required, 1000 frames/s"):
        cuts.best("bytes", required="rate=1000/s")
    with pytest.raises(WrongUsage, match="that needs predictions"):
        eprune.cuts(app).best("bytes", required="rate=1/s")
    with pytest.raises(WrongUsage, match="expected rate=30/s"):
        cuts.best("bytes", required="fast")


@pytest.mark.parametrize(
    ("constraints", "message"),
    [
        ({"privat": "L2"}, "no constraint 'privat'"),
        ({"private_until": "L9"}, "no actor 'L9'"),
        ({"must_use": "edge"}, "no platform 'edge'"),
        ({"keep_on": [("endpoint", "L9")]}, "no actor 'L9'"),
    ],
)
def test_constraints_with_wrong_names_are_refused(cuts, constraints, message):
    with pytest.raises(WrongUsage, match=message):
        cuts.best("endpoint", **constraints)


def test_cuts_that_cannot_be_are_refused(app, cuts):
    with pytest.raises(WrongUsage, match="no platform 'cloud'; there are endpoint, server"):
        eprune.cuts(app, server="cloud")
    with pytest.raises(WrongUsage, match="predict"):
        eprune.cuts(app).best("latency")
    with pytest.raises(Failure, match="no cut is allowed"):
        cuts.best("endpoint", keep_on=[("endpoint", "L3")], not_on=[("endpoint", "L3")])


def test_a_run_gives_figures_lines_and_arrays(app):
    run = eprune.run(app, frames=3)
    assert run.frames == 3 and run.frames_per_second > 0 and run.seconds > 0
    assert run.links["endpoint", "server"].bytes_per_frame == 73728
    assert run.links["server", "endpoint"].bytes == 0
    assert run.sinks["Sink"].shape == (3, 1, 4)
    assert np.allclose(run.sinks["Sink"].sum(axis=2), 1)
    assert [line["frame"] for line in run.results] == [0, 1, 2]
    assert set(run.platforms) == {"endpoint", "server"}
    assert "3 frames" in repr(run) and "3 frames" in run._repr_html_()


def test_settings_are_checked_and_a_run_that_fails_says_why(app):
    with pytest.raises(WrongUsage, match="no actor 'Nobody'"):
        eprune.run(app, settings={"Nobody.path": "x"})
    with pytest.raises(Failure, match="nowhere"):
        eprune.run(app, settings={"Input.path": "nowhere"})


def test_a_system_is_saved_and_loaded_again(app, tmp_path):
    path = app.save(tmp_path / "copy")
    again = eprune.load(path, tmp_path / "copy/platforms", tmp_path / "copy/mappings")
    assert not again.check()
    assert again.graph.actors == tuple(
        replace(actor, behaviour=again.graph.actor(actor.name).behaviour) for actor in app.graph.actors
    )
