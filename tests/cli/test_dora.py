"""`eprune codegen --target dora`: a dataflow that a real dora runs, with the same results as `eprune run`."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from application import APPLICATION, ROOT, SPLIT, mapping

from tests.golden import expected

BIN = Path(sys.executable).parent
NEEDS_DORA = pytest.mark.skipif(
    not (shutil.which("dora", path=f"{BIN}{os.pathsep}{os.environ['PATH']}")), reason="needs dora-rs-cli and dora-rs"
)
BACK = {"In": "endpoint", "L1": "endpoint", "L2": "server", "Out": "endpoint"}


@pytest.fixture
def flow(app, eprune):
    """Writes a dataflow into ``flow``."""

    def write(*files, code=0):
        done = eprune("codegen", *(files or SPLIT), "--target", "dora", "-o", "flow/")
        assert done.code == code, done.err
        return done

    return write


def counting(frames):
    """The application, whose source makes so many frames."""
    source = 'class="behaviours.py:Ramp">'
    return APPLICATION.replace(source, f'{source}<param name="count" value="{frames}"/>')


def start(folder):
    """A dora that runs the dataflow of a folder."""
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "PYTHONUNBUFFERED": "1"}
    environment.pop("PYTHONPATH", None)
    return subprocess.Popen(
        ["dora", "run", "dataflow.yml"], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, start_new_session=True,
    )  # fmt: skip


def finish(process):
    """The exit code, and what nodes have printed: node -> lines."""
    try:
        out, _ = process.communicate(timeout=100)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    printed = {}
    for node, line in re.findall(r"^\S+ +stdout +([\w-]+): (.*)$", out, re.M):
        printed.setdefault(node, []).append(line)
    return process.returncode, printed, out


def run(folder):
    return finish(start(folder))


def test_a_dataflow_reads_like_this(flow):
    flow()
    text = Path("flow/dataflow.yml").read_text()
    assert text == expected("targets/dataflow.yml", text), "run `make golden` and review the difference"
    assert os.access("flow/server.pyz", os.X_OK)


def test_each_fifo_between_platforms_is_two_edges_with_room_for_all_that_is_under_way(flow):
    flow()
    endpoint, server = yaml.safe_load(Path("flow/dataflow.yml").read_text())["nodes"]
    assert endpoint["outputs"] == ["f2"]
    assert endpoint["inputs"] == {"f2.credit": {"source": "server/f2.credit", "queue_size": 4}}
    assert server["outputs"] == ["f2.credit"]
    assert server["inputs"] == {"f2": {"source": "endpoint/f2", "queue_size": 4}}


@pytest.mark.parametrize("policy", ["wait", "drop", "zero", "newest"])
def test_a_fault_policy_is_refused_by_name(flow, app, policy):
    more = ' timeout="1s"' if policy in ("drop", "zero") else ""
    (app / "app.xml").write_text(APPLICATION.replace('name="f2"', f'name="f2" policy="{policy}"{more}'))
    done = flow(code=2)
    assert f"app.xml:11: error[FILE]: FIFO 'f2' has policy=\"{policy}\"" in done.err
    assert 'hint: let it be "stop", or let eprune\'s own programs run it' in done.err
    assert not (app / "flow").exists()


@pytest.mark.parametrize("stated", ['security="tls"', 'security="ssh"', 'via="zenoh"'])
def test_what_dora_has_not_is_refused_by_name(flow, app, stated):
    for path in (app / "platforms").glob("*.xml"):
        path.write_text(path.read_text().replace("<link ", f"<link {stated} "))
    done = flow(code=2)
    assert f"the link between 'endpoint' and 'server' has {stated}, which dora's edges have not" in done.err


def test_inputs_that_match_by_index_are_refused(flow, app):
    text = APPLICATION.replace('name="f1"', 'name="f1" policy="newest" capacity="3"')
    (app / "app.xml").write_text(text)
    assert "inputs are matched by index" in flow(code=2).err


def test_a_platform_without_a_program_is_refused(flow):
    done = flow("app.xml", "-p", "platforms/server.xml", "-m", "split/server.xml", code=2)
    assert "platform 'server' has FIFOs with 'endpoint', of which there is no node" in done.err


def test_options_of_containers_mean_nothing_to_a_dataflow(app, eprune):
    done = eprune("codegen", *SPLIT, "--target", "dora", "--insecure", "-o", "flow/")
    assert (done.code, "--insecure: this means nothing to --target dora" in done.err) == (2, True)


def test_a_node_that_no_dora_has_started_says_so(flow):
    pytest.importorskip("dora")
    flow()
    done = subprocess.run(
        [sys.executable, "flow/server.pyz", "--dora"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "server: error: --dora: no dataflow of dora has started this program" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@NEEDS_DORA
@pytest.mark.long
@pytest.mark.parametrize("there_and_back", [False, True])
def test_a_dataflow_computes_the_same_bits_as_run(flow, app, eprune_process, there_and_back):
    if there_and_back:
        for platform in ("endpoint", "server"):
            (app / f"split/{platform}.xml").write_text(mapping(platform, BACK))
    direct = eprune_process("run", *SPLIT, "-q")
    flow()
    code, printed, out = run(app / "flow")
    assert code == 0, out
    assert printed == {"endpoint" if there_and_back else "server": direct.out.splitlines()}


@NEEDS_DORA
@pytest.mark.long
def test_a_slow_consumer_gets_every_token(flow, app):
    text = (app / "behaviours.py").read_text().replace("import values\n", "import values\nimport time\n")
    (app / "behaviours.py").write_text(
        text.replace("        print(inputs", "        time.sleep(0.01)\n        print(inputs")
    )
    graph = APPLICATION.replace(
        'class="behaviours.py:Ramp">', 'class="behaviours.py:Ramp"><param name="count" value="150"/>'
    )
    (app / "app.xml").write_text(graph)
    flow()
    code, printed, out = run(app / "flow")
    assert code == 0, out
    assert len(printed["server"]) == 150


@NEEDS_DORA
@pytest.mark.long
def test_rates_may_change(app, eprune_process):
    """The early exit: most frames end on the endpoint, and no token of theirs crosses."""
    for folder in ("graphs", "mappings", "actors"):
        (app / folder).symlink_to(ROOT / folder)
    files = [
        "graphs/vehicle_exit.xml",
        "-p",
        "graphs/endpoint.xml",
        "graphs/server.xml",
        "-m",
        "mappings/vehicle_exit_split",
    ]
    direct = eprune_process("run", *files, "-q")
    done = eprune_process("codegen", *files, "--target", "dora", "-o", "flow/")
    assert done.code == 0, done.err
    code, printed, out = run(app / "flow")
    assert code == 0, out
    lines = [line for each in printed.values() for line in each if line.startswith("{")]
    assert len(lines) >= 100
    assert sorted(lines) == sorted(line for line in direct.out.splitlines() if line.startswith("{"))


def endless(flow, app):
    """A dataflow whose source goes on for ever, once it has results."""
    graph = APPLICATION.replace(
        'class="behaviours.py:Ramp">', 'class="behaviours.py:Ramp"><param name="count" value="9999999"/>'
    )
    (app / "app.xml").write_text(graph)
    flow()
    process = start(app / "flow")
    while "stdout server: [[" not in (line := process.stdout.readline()):
        assert line, "dora has ended"
    return process


@NEEDS_DORA
@pytest.mark.long
def test_a_node_that_is_killed_ends_the_others_with_its_name(flow, app):
    process = endless(flow, app)
    (node,) = (pid for pid, words in commands() if words[-2:] == [f"{app}/flow/server.pyz", "--dora"])
    os.kill(node, signal.SIGKILL)
    code, printed, out = finish(process)
    assert code != 0
    assert any("endpoint: error: FIFO 'f2': the node at its other end" in line for line in printed["endpoint"]), out


@NEEDS_DORA
@pytest.mark.long
def test_a_dataflow_without_an_end_is_stopped_well(flow, app):
    process = endless(flow, app)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    code, _, out = finish(process)
    assert "finished successfully" in out, out
    assert code == 0, out


def commands():
    """The processes of this machine: number and words."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield int(path.parent.name), path.read_bytes().decode().rstrip("\0").split("\0")
        except OSError:
            continue
