"""``--model sdf``: what commands say of graphs whose ends have different rates."""

import json

import jsonschema
import pytest
from application import ROOT

from eprune.views import schemas
from tests.kit import sdf3

THIRD = str(ROOT / "graphs/vehicle_third.xml")
SOUND = str(ROOT / "graphs/sound_windows.xml")
TIMES = ("Input=0.1ms", "Deal=0.1ms", "Shrink=0.8ms", "Light=0.5ms", "Heavy=2.7ms", "Choose=0.1ms", "Sink=0.1ms")
SPLIT = ("-p", str(ROOT / "graphs/endpoint.xml"), str(ROOT / "graphs/server.xml"))
SPLIT += ("-m", str(ROOT / "mappings/vehicle_third_split"))


def test_without_it_rates_are_symmetric_and_the_hint_names_it(eprune):
    done = eprune("analyze", THIRD)
    assert done.code == 1
    assert "error[G4]: FIFO 'third': rate 1,0,0 at Deal.heavy, [1,1] at Heavy.in" in done.out
    assert "--model sdf" in done.out


def test_a_graph_of_dynamic_rates_is_not_read_so(eprune):
    done = eprune("analyze", str(ROOT / "graphs/vehicle_exit.xml"), "--model", "sdf")
    assert done.code == 1
    assert "error[G8]: dynamic processing graph 'Deep'" in done.out
    assert "[G4]" not in done.out


def test_the_report_has_rates_firings_and_a_schedule(eprune):
    text = eprune("analyze", SOUND, "--model", "sdf").out
    assert "1 -> 25" in text
    assert "Firings of an iteration: 50 of Sound, 25 of Window, 25 of Bands, 1 of Patch, 1 of Sink" in text
    whole = json.loads(eprune("analyze", THIRD, "--model", "sdf", "--format", "json").out)
    jsonschema.validate(whole, json.loads(schemas.schema_text("analyze")))
    data = whole["graph"]
    assert data["iteration"] == {**dict.fromkeys(["Input", "Deal", "Shrink", "Light", "Choose", "Sink"], 3), "Heavy": 1}
    third = next(fifo for fifo in data["fifos"] if fifo["name"] == "third")
    assert (third["produced"], third["consumed"]) == ([1, 0, 0], [1])
    assert data["schedule"].split()[0] == "Input"


@pytest.mark.parametrize("more", [(), ("--rate", "100/s"), ("--front",)])
def test_buffers_are_those_of_the_fifos_and_the_bottleneck_names_actors_and_links(eprune, more):
    done = eprune("analyze", THIRD, *SPLIT, "--model", "sdf", "--buffers", "--times", *TIMES, *more)
    assert done.code == 0, done.err
    assert "Throughput, as given: 101.3 iterations/s" in done.out
    assert "#" not in done.out
    assert ("least for 100/s" in done.out) == ("--rate" in more)
    assert ("Buffers against throughput" in done.out) == ("--front" in more)


def test_sizes_are_applied_and_the_graph_is_as_fast_as_promised(eprune, tmp_path):
    sized = tmp_path / "graphs" / "sized.xml"
    sized.parent.mkdir()
    for file in (ROOT / "graphs").glob("vehicle*.tflite"):
        (sized.parent / file.name).symlink_to(file)
    asked = ("--model", "sdf", "--buffers", "--times", *TIMES)
    done = eprune("analyze", THIRD, *asked, "--apply", str(sized), "--format", "json")
    fast = json.loads(done.out)["buffers"]
    again = json.loads(eprune("analyze", str(sized), *asked, "--format", "json").out)["buffers"]
    assert again["given"]["capacities"] == fast["fast"]["capacities"]
    assert again["throughput"]["period_s"] == fast["max_throughput"]["period_s"]
    assert 'rate="1,0,0"' in sized.read_text()


def test_a_simulation_has_all_firings_of_its_iterations(eprune):
    data = json.loads(eprune("simulate", THIRD, "--model", "sdf", "--iterations", "4", "--format", "json").out)
    assert {actor["name"]: actor["firings"] for actor in data["actors"]}["Light"] == 12
    assert {fifo["name"]: fifo["tokens"] for fifo in data["fifos"]}["third"] == 4


def test_a_graph_of_sdf3_is_imported_as_it_is(eprune, tmp_path):
    (tmp_path / "graph.xml").write_text(sdf3.samplerate())
    app = tmp_path / "app"
    assert eprune("import", str(tmp_path / "graph.xml"), "-o", str(app)).code == 1
    done = eprune("import", str(tmp_path / "graph.xml"), "-o", str(app), "--model", "sdf")
    assert done.code == 0, done.err
    assert "--buffers --model sdf" in done.err
    text = eprune("analyze", str(app / "application.xml"), "--model", "sdf", "--buffers").out
    assert "147 of a, 147 of b, 98 of c, 28 of d, 32 of e, 160 of f" in text
