"""`eprune explore`: every partition point on disk, and two scripts that measure them all on two machines."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from eprune.deploy.ports import free_base_port
from eprune.measure import exploration
from eprune.measure import script as measuring

EXPLORE = ("explore", "app.xml", "-p", "platforms/endpoint.xml", "platforms/server.xml", "-o", "cuts")
FAST = (*EXPLORE, "--frames", "2")


def results(folder):
    return [json.loads(line) for line in (folder / "cuts/results.jsonl").read_text().splitlines()]


def script(app, platform, port, *options):
    return subprocess.Popen(
        ["sh", str(app / f"cuts/measure-{platform}.sh"), "--port", str(port), "--limit", "30", *options],
        env={**os.environ, "PYTHON": sys.executable},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.fixture
def on_free_ports(app):
    """The platforms' link on ports that nobody uses."""
    base = free_base_port(4)
    for name in ("endpoint", "server"):
        path = app / f"platforms/{name}.xml"
        path.write_text(path.read_text().replace("5100", str(base)))
    return app


def test_a_folder_with_other_files_is_not_filled_unasked(app, eprune):
    (app / "photos").mkdir()
    (app / "photos/cat.png").write_bytes(b"a cat")
    to_photos = (*EXPLORE[:-1], "photos")
    done = eprune(*to_photos)
    assert done.code == 2
    assert "photos has files, but no exploration" in done.err
    assert [path.name for path in (app / "photos").iterdir()] == ["cat.png"]
    for _ in range(2):  # from then on it is one
        assert eprune(*to_photos, "--force").code == 0
    assert eprune(*to_photos).code == 0
    assert (app / "photos/cat.png").read_bytes() == b"a cat"


def test_n_actors_make_n_pairs_of_mappings_that_pass_analysis(app, eprune):
    done = eprune(*FAST)
    assert done.code == 0, done.err
    assert "Order on endpoint (where it is open, as in the file): In -> L1 -> L2 -> Out" in done.out
    for point in "1234":
        assert (app / "cuts" / point / "endpoint.xml").exists() and (app / "cuts" / point / "server.xml").exists()
    for point in "123":
        assert eprune("analyze", "app.xml", "-p", "platforms", "-m", f"cuts/{point}").code == 0
        assert (app / f"cuts/{point}/server.parts").exists()
    assert not (app / "cuts/4/server.parts").exists()


def test_programs_are_put_together_as_they_were_made(app, eprune, monkeypatch):
    made = {}

    def kept(program, output, make=exploration.bundle_of):
        made[output] = make(program, output)
        return made[output]

    monkeypatch.setattr(exploration, "bundle_of", kept)
    eprune(*FAST)
    assert len(made) == 7  # the last point does not need the server
    for output, data in made.items():
        path = Path(output)
        assert measuring.program(app / "cuts", path.parent.name, path.stem) == data
        assert not path.exists()


def test_what_programs_share_is_on_the_disk_once(app, eprune):
    eprune(*FAST)
    whole = sum(len(measuring.program(app / "cuts", point, "endpoint")) for point in "1234")
    stored = sum(path.stat().st_size for path in (app / "cuts").rglob("*") if path.is_file())
    assert stored < whole / 4


def test_a_program_is_written_when_it_is_asked_for(app, eprune):
    """On a device, which has Python and the folder only."""
    eprune(*FAST)
    command = ["sh", str(app / "cuts/measure-endpoint.sh"), "--write"]
    environment = {"PYTHON": sys.executable, "PATH": os.environ["PATH"]}
    done = subprocess.run([*command, "2"], capture_output=True, text=True, env=environment, check=True)
    [path] = done.stdout.splitlines()
    assert Path(path) == app / "cuts/2/endpoint.pyz"
    helped = subprocess.run([sys.executable, path, "--help"], capture_output=True, text=True, env={}, check=True)
    assert "platform endpoint: In" in helped.stdout
    wrong = subprocess.run([*command, "9"], capture_output=True, text=True, env=environment, check=False)
    assert (wrong.returncode, wrong.stderr) == (2, "error: endpoint runs nothing in an alternative '9'\n")


@pytest.mark.parametrize("damage", ["missing", "changed", "torn"])
def test_parts_that_are_damaged_fail_the_point_with_a_reason(app, eprune, damage):
    eprune(*FAST)
    if damage == "torn":
        path = app / "cuts/1/endpoint.parts"
        path.write_bytes(path.read_bytes()[:-20])
    for part in (app / "cuts/store").iterdir():
        if damage == "missing":
            part.unlink()
        elif damage == "changed":
            part.write_bytes(zlib.compress(b"another"))
    done = eprune("profile", "cuts", "--point", "1")
    assert done.code == 1
    assert "partition point 1 failed: its programs cannot be put together: " in done.err
    assert "Traceback" not in done.err


def test_exploring_again_leaves_what_is_not_its_own(app, eprune):
    eprune(*FAST)
    (app / "cuts/store/mine.txt").write_text("mine")
    stale = app / "cuts/store" / ("0" * 32)
    stale.write_bytes(b"")
    assert eprune(*FAST).code == 0
    assert (app / "cuts/store/mine.txt").read_text() == "mine"
    assert not stale.exists()


def test_the_partition_points_as_json_are_those_of_the_plan(app, eprune):
    done = eprune(*EXPLORE, "--private-until", "L1", "--format", "json")
    assert (done.code, done.err) == (0, "")
    data, plan = json.loads(done.out), json.loads((app / "cuts/explore.json").read_text())
    assert (data["plan"], data["folder"]) == (plan["id"], "cuts")
    assert [point["homes"] for point in data["points"]] == [each["homes"] for each in plan["alternatives"]]
    assert [(point["point"], point["fifos"], point["bytes"]) for point in data["points"]] == [
        ("2", ["f2"], 256),
        ("3", ["f3"], 20),
        ("4", [], 0),
    ]
    assert data["orders"] == {"endpoint": ["In", "L1", "L2", "Out"]}
    assert list(data["excluded"]) == ["1"]


def test_explorer_is_another_name_for_it(app, eprune):
    assert eprune("explorer", *FAST[1:]).code == 0


def test_both_scripts_measure_every_alternative(on_free_ports, eprune):
    app = on_free_ports
    assert eprune(*FAST).code == 0
    port = free_base_port(2)
    server, endpoint = script(app, "server", port), script(app, "endpoint", port)
    errors = [process.communicate(timeout=60)[1] for process in (endpoint, server)]
    assert (endpoint.returncode, server.returncode) == (0, 0), errors
    lines = results(app)
    assert [line["alternative"] for line in lines] == ["1", "2", "3", "4"]
    assert all(line["ok"] and line["frames"] == 2 for line in lines)
    assert [line["bytes"] for line in lines] == [768, 256, 20, 0]
    assert all(side["python"] for line in lines for side in line["platforms"].values())
    assert lines[1]["platforms"]["server"]["interpreter"].split()[0] in ("ai-edge-litert", "tflite-runtime")


@pytest.mark.long
def test_a_failing_alternative_is_recorded_and_the_next_one_runs_and_nothing_is_measured_twice(on_free_ports, eprune):
    app = on_free_ports
    assert eprune(*FAST).code == 0
    (app / "cuts/2/server.pyz").write_text("raise SystemExit('out of order')")
    port = free_base_port(2)
    for again in (False, True):
        server, endpoint = script(app, "server", port), script(app, "endpoint", port, "--limit", "5")
        said = endpoint.communicate(timeout=60)[1]
        server.communicate(timeout=60)
        assert endpoint.returncode == 0, said
        lines = results(app)
        assert [line["ok"] for line in lines] == [True, False, True, True]
        assert "out of order" in lines[1]["problem"]
        assert "1 of them failed" in said
        assert ("3 of 4" in said) == (not again)


def test_another_exploration_s_endpoint_is_told_so_and_nothing_is_recorded(on_free_ports, eprune):
    app = on_free_ports
    assert eprune(*FAST).code == 0
    port = free_base_port(2)
    server = script(app, "server", port)
    assert "waits for endpoint" in server.stderr.readline()
    assert eprune(*EXPLORE, "--frames", "4").code == 0
    endpoint = script(app, "endpoint", port, "--limit", "1")
    said = endpoint.communicate(timeout=60)[1]
    server.kill()
    server.communicate()
    assert endpoint.returncode == 1
    assert "another version of it: copy it again" in said
    assert not (app / "cuts/results.jsonl").exists()


@pytest.mark.long
def test_addresses_are_for_the_programs_that_have_a_link_there_and_the_leader_may_come_first(on_free_ports, eprune):
    app = on_free_ports
    assert eprune(*FAST).code == 0
    port = free_base_port(2)
    endpoint = script(app, "endpoint", port, "--at", "server=localhost")
    server = script(app, "server", port, "--at", "endpoint=localhost")
    said = endpoint.communicate(timeout=60)[1]
    server.communicate(timeout=60)
    assert [line["ok"] for line in results(app)] == [True] * 4, said


@pytest.mark.parametrize(("platform", "option"), [("server", "--bind=0.0.0.0"), ("endpoint", "--at=server=192.0.2.1")])
def test_scripts_do_not_talk_in_the_clear_beyond_loopback_unless_told(on_free_ports, eprune, platform, option):
    app = on_free_ports
    assert eprune(*FAST).code == 0
    process = script(app, platform, free_base_port(2), option)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 2
    assert "is not loopback" in said
    assert "--insecure" in said


@pytest.mark.long
def test_a_script_that_dies_with_an_alternative_is_recorded_and_the_next_one_runs_once_it_is_back(
    on_free_ports, eprune
):
    app = on_free_ports
    assert eprune(*FAST).code == 0
    (app / "cuts/2/server.pyz").write_text("import os\nos.kill(os.getppid(), 9)")
    port = free_base_port(2)
    server, endpoint = script(app, "server", port), script(app, "endpoint", port)
    server.communicate(timeout=60)
    assert server.returncode == -9
    again = script(app, "server", port)
    said = endpoint.communicate(timeout=60)[1]
    again.communicate(timeout=60)
    assert endpoint.returncode == 0, said
    assert [line["ok"] for line in results(app)] == [True, False, True, True]
    assert results(app)[1]["problem"] == "server has gone in the middle of an alternative"


def test_a_script_that_is_stopped_stops_its_program_and_goes_on_later(on_free_ports, eprune):
    app = on_free_ports
    assert eprune(*FAST).code == 0
    (app / "cuts/2/endpoint.pyz").write_text(
        f"import os, pathlib, time\npathlib.Path({str(app / 'pid')!r}).write_text(str(os.getpid()))\ntime.sleep(60)"
    )
    port = free_base_port(2)
    server, endpoint = script(app, "server", port), script(app, "endpoint", port)
    while not (app / "pid").exists() or not (app / "pid").read_text():
        assert endpoint.poll() is None
    endpoint.terminate()
    endpoint.communicate(timeout=60)
    assert endpoint.returncode == 130
    assert not Path("/proc", (app / "pid").read_text()).exists()
    os.killpg(server.pid, signal.SIGKILL)
    server.communicate()
    assert [line["alternative"] for line in results(app)] == ["1"]
    (app / "cuts/2/endpoint.pyz").unlink()
    port = free_base_port(2)
    server, endpoint = script(app, "server", port), script(app, "endpoint", port)
    said = endpoint.communicate(timeout=60)[1]
    server.communicate(timeout=60)
    assert "1 of 4" not in said
    assert [line["alternative"] for line in results(app)] == ["1", "2", "3", "4"]


@pytest.mark.long
def test_three_scripts_measure_two_endpoints_and_a_server(two_endpoints, app):
    port = free_base_port(3)
    scripts = [script(app, platform, port) for platform in ("one", "server", "other")]
    errors = [process.communicate(timeout=60)[1] for process in scripts]
    assert [process.returncode for process in scripts] == [0, 0, 0], errors
    assert [line["ok"] for line in results(app)] == [True, True]
    assert set(results(app)[0]["platforms"]) == {"one", "other", "server"}
    assert results(app)[0]["bytes"] == 2 * 768


def test_a_failing_line_names_what_ran(on_free_ports, eprune):
    app = on_free_ports
    behaviours = (app / "behaviours.py").read_text()
    (app / "behaviours.py").write_text(behaviours.replace("print(", "1 / 0 or print("))
    assert eprune(*FAST).code == 0
    assert eprune("profile", "cuts", "--no-pin", "--point", "4").code == 1
    [line] = results(app)
    assert "ZeroDivisionError" in line["problem"]
    assert len(line["platforms"]["endpoint"]["interpreter"].split()) == 2
    assert line["platforms"]["endpoint"]["host"]


def test_a_new_exploration_takes_the_place_of_the_old_one(app, eprune):
    eprune(*FAST)
    done = eprune(*FAST, "--private-until", "L1")
    assert done.code == 0
    assert not (app / "cuts/1").exists()
    assert "1 is left out: L1, which is private, is on server" in done.out


def test_a_platform_without_the_memory_leaves_its_alternatives_out(app, eprune):
    path = app / "platforms/endpoint.xml"
    path.write_text(path.read_text().replace('name="endpoint"', 'name="endpoint" memory="2KiB"'))
    done = eprune(*FAST)
    assert done.code == 0
    assert "3, 4 are left out: M3: platform 'endpoint' has 2KiB of memory" in done.out


def test_no_legal_cut_is_a_clear_statement(app, eprune):
    done = eprune(*FAST, "--private-until", "L2", "--keep-on", "server", "L2")
    assert (done.code, done.out) == (1, "")
    assert "no cut is allowed: each of the 4 partition points is excluded" in done.err
    assert "L2 is on endpoint" in done.err
    assert not (app / "cuts/explore.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--keep-on", "endpoint", "Inn"), "there is no actor 'Inn'; did you mean 'In'?"),
        (("--not-on", "sever", "In"), "there is no platform 'sever'; did you mean 'server'?"),
        (("--must-use", "cloud"), "there is no platform 'cloud'"),
        (("--private-until", "L9"), "there is no actor 'L9'"),
        (("--max-bytes", "many"), "--max-bytes"),
    ],
)
def test_what_does_not_exist_is_told(app, eprune, arguments, message):
    done = eprune(*FAST, *arguments)
    assert done.code == 2
    assert message in done.err


SECOND_CAMERA = (
    '<actor name="In2" class="behaviours.py:Ramp"><out name="out" token="float32[1,8,8,3]"/></actor>'
    '<actor name="Out2" class="behaviours.py:Print"><in name="in" token="float32[1,8,8,3]"/></actor>'
    '<fifo name="g" from="In2.out" to="Out2.in"/></application>'
)


@pytest.fixture
def three(app):
    """An edge between endpoint and cloud; the endpoint has no link to the cloud."""
    for name, links in (
        ("endpoint", {"edge": 5100}),
        ("edge", {"endpoint": 5100, "cloud": 5200}),
        ("cloud", {"edge": 5200}),
    ):
        ends = "".join(f'<link to="{to}" port="{port}" bandwidth="1MB/s"/>' for to, port in links.items())
        (app / f"platforms/{name}.xml").write_text(f'<platform name="{name}"><unit name="cpu"/>{ends}</platform>')
    return ("explore", "app.xml", "-p", *(f"platforms/{n}.xml" for n in ("endpoint", "edge", "cloud")), "-o", "cuts")


def test_with_an_edge_each_point_is_a_pair_of_cuts_and_is_measured_as_any_other(app, eprune, three):
    done = eprune(*three, "--edge", "edge", "--frames", "2")
    assert done.code == 0, done.err
    plan = json.loads((app / "cuts/explore.json").read_text())
    names = [each["name"] for each in plan["alternatives"]]
    assert names == ["1-2", "1-3", "1-4", "2-3", "2-4", "3-4", "4-4"]
    assert plan["alternatives"][0]["homes"] == {"In": "endpoint", "L1": "edge", "L2": "cloud", "Out": "cloud"}
    assert "edge after In, cloud after L1" in done.out and "2-2 is left out: M2: platform 'endpoint' has no" in done.out

    assert eprune("profile", "cuts", "--no-pin", "--point", "1-2", "--point", "2-4").code == 0
    assert [(line["ok"], line["bytes"]) for line in results(app)] == [(True, 768 + 256), (True, 256)]
    assert eprune("profile", "cuts", "--no-pin", "--actors").code == 0
    done = eprune("report", "cuts", "--keep-on", "edge", "L1", "--must-use", "cloud", "--objective", "bytes")
    assert "Cut: edge after In, cloud after L2 (point 1-3): 788 B per frame" in done.out
    assert "edge ms" in done.out


def test_endpoints_are_around_a_server_unless_one_is_an_edge(app, eprune, three):
    cameras = (app / "app.xml").read_text().replace("</application>", SECOND_CAMERA)
    (app / "cameras.xml").write_text(cameras)
    for name, to, port in (("endpoint", "cloud", 5100), ("edge", "cloud", 5200)):
        link = f'<link to="{to}" port="{port}"/>'
        (app / f"around-{name}.xml").write_text(f'<platform name="{name}"><unit name="cpu"/>{link}</platform>')
    around = ("around-endpoint.xml", "around-edge.xml", "platforms/cloud.xml")
    done = eprune("explore", "cameras.xml", "-p", *around, "-o", "two")
    assert "on which endpoint is 'In' and 'In2'?" in done.err and "or --edge edge, if it lies between" in done.err
    assert "did you mean 'edge'?" in eprune(*three, "--edge", "egde").err
    assert "give both platform files" in eprune(*three, "--edge", "edge", "--edge", "cloud").err


def test_where_no_partition_point_is_allowed_another_cut_may_be(app, eprune):
    (app / "app.xml").write_text(
        (app / "app.xml")
        .read_text()
        .replace("</application>", "")
        .replace(
            '<fifo name="f1"',
            '<actor name="In2" class="behaviours.py:Ramp"><out name="out" token="float32[1,8,8,3]"/></actor>'
            '<actor name="Out2" class="behaviours.py:Print"><in name="in" token="float32[1,8,8,3]"/></actor>'
            '<fifo name="g" from="In2.out" to="Out2.in"/><fifo name="f1"',
        )
        + "</application>"
    )
    done = eprune(*FAST, "--not-on", "endpoint", "L2", "--not-on", "server", "In2", "--max-bytes", "300B")
    assert done.code == 1
    assert (
        "no partition point is allowed" in done.err
        and "there is a cut after L1: In, L1, In2, Out2 on endpoint" in done.err
    )


def test_one_platform_is_no_cut(app, eprune):
    done = eprune("explore", "app.xml", "-p", "platforms/server.xml", "-o", "cuts")
    assert done.code == 2
    assert "a cut needs an endpoint and a server" in done.err
