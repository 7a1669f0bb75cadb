"""``model="sdf"``: what commands say of graphs whose ends have different rates."""

import json

import jsonschema
import pytest
from application import ROOT

from eprune.formats.xml.application import read_application, write_application
from eprune.views import schemas
from tests.kit import sdf3

THIRD = str(ROOT / "graphs/vehicle_third.xml")
SOUND = str(ROOT / "graphs/sound_windows.xml")
TIMES = ("Input=0.1ms", "Deal=0.1ms", "Shrink=0.8ms", "Light=0.5ms", "Heavy=2.7ms", "Choose=0.1ms", "Sink=0.1ms")
SPLIT = ("-p", str(ROOT / "graphs/endpoint.xml"), str(ROOT / "graphs/server.xml"))
SPLIT += ("-m", str(ROOT / "mappings/vehicle_third_split"))


@pytest.mark.parametrize("stated", [True, False])
def test_with_symmetric_rates_the_hint_names_both_ways(eprune, tmp_path, stated):
    application = THIRD
    if not stated:
        application = str(tmp_path / "application.xml")
        text = (ROOT / "graphs/vehicle_third.xml").read_text().replace(' model="sdf"', "")
        (tmp_path / "application.xml").write_text(text)
    done = eprune("analyze", application, *(["--model", "vr-prune"] if stated else []), "--allow-outside")
    assert done.code == 1
    assert "error[G4]: FIFO 'third': rate 1,0,0 at Deal.heavy, [1,1] at Heavy.in" in done.out
    assert '<application model="sdf">, or --model sdf' in done.out


def test_an_application_says_how_its_rates_are_read(eprune):
    graph = read_application(THIRD)
    assert graph.is_sdf and write_application(graph).startswith('<application name="vehicle_third" model="sdf">')
    assert eprune("analyze", THIRD).code == 0
    assert eprune("analyze", str(ROOT / "graphs"), str(ROOT / "mappings")).code == 0  # an example of its help


@pytest.mark.parametrize(
    "words",
    [
        ("explore", THIRD, *SPLIT[:3], "-o", "new"),
        ("apply", "resize", THIRD, "-o", "new"),
        ("verify", THIRD, "--model", str(ROOT / "graphs/vehicle.tflite")),
    ],
)
def test_who_reads_symmetric_rates_only_says_so(eprune, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    done = eprune(*words)
    assert done.code == 1, done.err
    assert "vehicle_third.xml:3: error[G4]: application 'vehicle_third' has rates of its own at each end" in done.err
    assert "eprune apply expand" in done.err
    assert not (tmp_path / "new").exists()


def test_expanded_it_has_symmetric_rates(eprune, tmp_path):
    done = eprune("apply", "expand", THIRD, "-o", str(tmp_path / "new"))
    assert done.code == 0, done.err
    assert eprune("analyze", str(tmp_path / "new" / "application.xml"), "--model", "vr-prune").code == 0


def test_a_graph_of_dynamic_rates_is_not_read_so(eprune):
    done = eprune("analyze", str(ROOT / "graphs/vehicle_exit.xml"), "--model", "sdf")
    assert done.code == 1
    assert "error[G8]: dynamic processing graph 'Deep'" in done.out
    assert "[G4]" not in done.out


def test_the_report_has_rates_firings_and_a_schedule(eprune):
    text = eprune("analyze", SOUND).out
    assert "1 -> 25" in text
    assert "Firings of an iteration: 50 of Sound, 25 of Window, 25 of Bands, 1 of Patch, 1 of Sink" in text
    whole = json.loads(eprune("analyze", THIRD, "--format", "json").out)
    jsonschema.validate(whole, json.loads(schemas.schema_text("analyze")))
    data = whole["graph"]
    assert data["iteration"] == {**dict.fromkeys(["Input", "Deal", "Shrink", "Light", "Choose", "Sink"], 3), "Heavy": 1}
    third = next(fifo for fifo in data["fifos"] if fifo["name"] == "third")
    assert (third["produced"], third["consumed"]) == ([1, 0, 0], [1])
    assert data["schedule"].split()[0] == "Input"


@pytest.mark.parametrize("more", [(), ("--rate", "100/s"), ("--front",)])
def test_buffers_are_those_of_the_fifos_and_the_bottleneck_names_actors_and_links(eprune, more):
    done = eprune("analyze", THIRD, *SPLIT, "--buffers", "--times", *TIMES, *more)
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
    asked = ("--buffers", "--times", *TIMES)
    done = eprune("analyze", THIRD, *asked, "--apply", str(sized), "--format", "json")
    fast = json.loads(done.out)["buffers"]
    again = json.loads(eprune("analyze", str(sized), *asked, "--format", "json").out)["buffers"]
    assert again["given"]["capacities"] == fast["fast"]["capacities"]
    assert again["throughput"]["period_s"] == fast["max_throughput"]["period_s"]
    assert 'rate="1,0,0"' in sized.read_text()


def test_a_simulation_has_all_firings_of_its_iterations(eprune):
    data = json.loads(eprune("simulate", THIRD, "--iterations", "4", "--format", "json").out)
    assert {actor["name"]: actor["firings"] for actor in data["actors"]}["Light"] == 12
    assert {fifo["name"]: fifo["tokens"] for fifo in data["fifos"]}["third"] == 4


def test_a_graph_of_sdf3_is_imported_as_it_is(eprune, tmp_path):
    (tmp_path / "graph.xml").write_text(sdf3.samplerate())
    app = tmp_path / "app"
    assert eprune("import", str(tmp_path / "graph.xml"), "-o", str(app)).code == 1
    done = eprune("import", str(tmp_path / "graph.xml"), "-o", str(app), "--model", "sdf")
    assert done.code == 0, done.err
    text = eprune("analyze", str(app / "application.xml"), "--buffers").out
    assert "147 of a, 147 of b, 98 of c, 28 of d, 32 of e, 160 of f" in text
