"""One platform's program, as a real process: it runs to the end, or says in one line why not."""

import json
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from eprune.runtime.main.files import Files
from tests.kit.programs import ROOT, finish, lines, rest, run, start, start_command, write_program

CHAIN = (
    "actor('A', 'ACTORS:Count', 'cpu', {'n': '4'})",
    "actor('B', 'ACTORS:Show', 'cpu')",
    "fifo('f', 'A.out', 'B.in', 'int32', (3,), capacity=2)",
)


def test_a_chain_runs_to_its_end_and_drains(tmp_path):
    assert run(write_program(tmp_path, "host", *CHAIN)) == (0, "0\n1\n2\n3\nB finalized\n", "")


@pytest.mark.parametrize("capacity", [1, 2, 7])
def test_any_capacity_gives_the_same_tokens(tmp_path, capacity):
    program = write_program(
        tmp_path,
        "host",
        "actor('A', 'ACTORS:Count', 'cpu', {'n': '2000'})",
        "actor('B', 'ACTORS:Copy', 'cpu')",
        "actor('C', 'ACTORS:Total', 'cpu')",
        f"fifo('f', 'A.out', 'B.in', 'int32', (), capacity={capacity})",
        f"fifo('g', 'B.out', 'C.in', 'int32', (), capacity={capacity})",
    )
    assert run(program) == (0, "2000 tokens, sum 1999000\n", "")


def test_frames_limits_the_sources(tmp_path):
    program = write_program(tmp_path, "host", *CHAIN)
    assert run(program, "--frames", "2")[1] == "0\n1\nB finalized\n"
    assert run(program, "--frames", "0")[0] == 2


def test_parameters_can_be_set_and_wrong_ones_are_explained(tmp_path):
    program = write_program(tmp_path, "host", *CHAIN)
    assert run(program, "--set", "A.n=1")[1] == "0\nB finalized\n"
    for wrong, expected in {
        "A.m=1": "actor 'A': ",
        "A.n=many": "invalid literal",
        "a.n=1": "did you mean 'A'?",
        "A.n": "expected ACTOR.PARAM=VALUE",
    }.items():
        code, out, err = run(program, "--set", wrong)
        assert (code, out) == (2, "")
        assert expected in err
        assert len(err.splitlines()) == 1


def test_a_feedback_loop_runs_on_its_initial_token(tmp_path):
    np.save(tmp_path / "ten.npy", np.array([10], np.int32))
    program = write_program(
        tmp_path,
        "host",
        "actor('A', 'ACTORS:Count', 'cpu', {'n': '4'})",
        "actor('Sum', 'ACTORS:Add', 'cpu')",
        "actor('B', 'ACTORS:Show', 'cpu')",
        "fifo('f', 'A.out', 'Sum.new', 'int32', (), capacity=1)",
        "fifo('loop', 'Sum.state', 'Sum.old', 'int32', (), capacity=2, delay=1, initial='ten.npy')",
        "fifo('g', 'Sum.out', 'B.in', 'int32', (), capacity=1)",
    )
    assert run(program) == (0, "10\n11\n13\n16\nB finalized\n", "")
    np.save(tmp_path / "ten.npy", np.array([10.0]))
    code, _, err = run(program)
    assert code == 2
    assert "float64[1], but FIFO 'loop' starts with int32[1]" in err
    (tmp_path / "ten.npy").write_bytes(b"\x80\x04not an array")
    assert run(program)[0] == 2
    (tmp_path / "ten.npy").unlink()
    assert "No such file" in run(program)[2]


def test_a_port_of_rate_two_sees_two_tokens_a_firing(tmp_path):
    program = write_program(
        tmp_path,
        "host",
        "actor('A', 'ACTORS:Count', 'cpu', {'n': '6'})",
        "actor('B', 'ACTORS:Show', 'cpu')",
        "fifo('f', 'A.out', 'B.in', 'int32', (), capacity=5, rate=2)",
    )
    assert run(program)[1] == "0\n1\n2\n3\n4\n5\nB finalized\n"


def test_slots_are_allocated_once(tmp_path):
    program = write_program(
        tmp_path,
        "host",
        "actor('A', 'ACTORS:Fresh', 'cpu')",
        "actor('B', 'ACTORS:Total', 'cpu')",
        "fifo('f', 'A.out', 'B.in', 'int32', (100,), capacity=3)",
    )
    code, out, _ = run(program)
    # 100 firings wrote the number of distinct slots seen so far: 1, 2, 3, 3, 3, ...
    assert (code, out) == (0, f"100 tokens, sum {1 + 2 + 98 * 3}\n")


def test_a_sink_that_wants_no_more_ends_the_sources(tmp_path):
    program = write_program(
        tmp_path,
        "host",
        "actor('A', 'ACTORS:Count', 'cpu', {'n': '0'})",
        "actor('B', 'ACTORS:Few', 'cpu')",
        "fifo('f', 'A.out', 'B.in', 'int32', (), capacity=2)",
    )
    assert run(program) == (0, "3 tokens, sum 3\n", "")


MIDDLE = (
    "actor('A', 'ACTORS:Count', 'cpu', {'n': '0'})",
    "actor('B', 'ACTORS:%s', 'cpu')",
    "actor('C', 'ACTORS:Show', 'cpu')",
    "fifo('f', 'A.out', 'B.in', 'int32', (), capacity=2)",
    "fifo('g', 'B.out', 'C.in', 'int32', (), capacity=2)",
)


def middle(tmp_path, behaviour):
    return write_program(tmp_path, "host", *(line.replace("%s", behaviour) for line in MIDDLE))


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ("Crash", "actor 'B' failed in fire: ValueError: five is right out"),
        ("Exit", "actor 'B' failed in fire: SystemExit: 0"),
        ("WritesInput", "actor 'B' failed in fire: ValueError: assignment destination is read-only"),
        ("BadStart", "actor 'B' failed in initialize: FileNotFoundError: [Errno 2] No such camera: '/dev/video7'"),
    ],
)
def test_a_failing_actor_ends_the_run_in_its_own_words(tmp_path, behaviour, message):
    code, out, err = run(middle(tmp_path, behaviour))
    assert code == 1
    assert err.startswith("host: error: ")
    assert message in err
    assert "actors.py:" in err  # the line of the behaviour that raised
    assert len(err.splitlines()) == 1
    assert behaviour == "BadStart" or out.endswith("C finalized\n")


def test_traceback_is_there_on_request(tmp_path):
    assert 'raise ValueError("five is right out")' in run(middle(tmp_path, "Crash"), "--traceback")[2]


def test_a_sink_that_cannot_write_its_results_fails_the_run(tmp_path):
    program = write_program(tmp_path, "host", *(line.replace("Show", "BadEnd") for line in CHAIN))
    code, _, err = run(program)
    assert code == 1
    assert "failed in finalize: OSError: [Errno 28] No space left on device: 'results.json'" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_run_cleanly(tmp_path, number):
    process = start(middle(tmp_path, "Copy"))
    process.stdout.readline()
    process.send_signal(number)
    code, out, err = finish(process)
    assert code == 130
    assert out.endswith("C finalized\n")
    assert err == f"host: error: interrupted by {number.name}\n"


def test_ctrl_c_ends_a_program_that_a_script_started_in_the_background(tmp_path):
    """Such a process inherits that SIGINT is ignored."""
    program = middle(tmp_path, "Copy")
    process = start_command("sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable, str(program))
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process)
    assert code == 130
    assert err == "host: error: interrupted by SIGINT\n"


def test_a_program_that_is_to_outlive_its_terminal_does(tmp_path):
    """Under nohup SIGHUP is ignored."""
    program = middle(tmp_path, "Copy")
    process = start_command("sh", "-c", 'trap "" HUP; exec "$@"', "sh", sys.executable, str(program))
    process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    lines(process, 1000)
    process.send_signal(signal.SIGTERM)
    code, _, err = rest(process)
    assert (code, err) == (130, "host: error: interrupted by SIGTERM\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("where", ["import", "declarations"])
def test_a_signal_while_a_program_is_being_loaded_ends_it_quietly(tmp_path, number, where):
    program = middle(tmp_path, "Copy")
    pause = "print('loading', flush=True); import time; time.sleep(60)\n"
    environment = {}
    if where == "declarations":
        program.write_text(program.read_text().replace("program.unit", pause + "program.unit", 1))
    else:  # what takes long on a small device
        (tmp_path / "elsewhere/numpy").mkdir(parents=True)
        (tmp_path / "elsewhere/numpy/__init__.py").write_text(pause)
        environment["PYTHONPATH"] = f"{tmp_path / 'elsewhere'}:{ROOT}"
    process = start(program, **environment)
    assert process.stdout.readline() == "loading\n"
    process.send_signal(number)
    assert finish(process) == (130, "", f"host: error: interrupted by {number.name}\n")


def test_what_only_imports_the_runtime_keeps_its_signals_as_they_are(tmp_path):
    (tmp_path / "tool.py").write_text("from eprune.runtime import Program\n")
    code = "import signal, tool; print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)"
    process = start_command(sys.executable, "-c", code, PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert finish(process) == (0, "True\n", "")


@pytest.mark.long
def test_an_actor_that_never_returns_cannot_hold_the_program(tmp_path):
    process = start(middle(tmp_path, "Stuck"))
    while process.stdout.readline() != "stuck\n":
        pass
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process)
    assert code == 130
    assert "actor 'B' did not stop within 5 s and is left behind" in err


def test_an_actor_that_waits_for_the_world_hears_that_the_run_is_stopped(tmp_path):
    actors = ("actor('A', 'ACTORS:Doorkeeper', 'cpu')", "actor('B', 'ACTORS:Show', 'cpu')")
    process = start(write_program(tmp_path, "host", *actors, "fifo('f', 'A.out', 'B.in', 'int32', (1,), capacity=2)"))
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(signal.SIGINT)
    assert finish(process) == (130, "B finalized\n", "host: error: interrupted by SIGINT\n")


def test_the_run_record_counts_what_happened(tmp_path):
    record = tmp_path / "record.json"
    assert run(write_program(tmp_path, "host", *CHAIN), "--record", str(record))[0] == 0
    run_record = json.loads(record.read_text())
    assert run_record["actors"]["A"]["firings"] == run_record["actors"]["B"]["firings"] == 4
    assert run_record["actors"]["A"]["role"], run_record["actors"]["B"]["role"] == ("source", "sink")
    fifo = run_record["fifos"]["f"]
    assert (fifo["tokens"], fifo["consumed"], fifo["bytes"], fifo["token_bytes"]) == (4, 4, 48, 12)
    assert 1 <= fifo["peak_fill"] <= fifo["capacity"] == 2
    assert run_record["failure"] == ""
    assert run_record["peak_memory_bytes"] > 0


POOLS = """import os, threading
from eprune.runtime import Actor
import numpy as np
class Pools(Actor):
    def fire(self, inputs, outputs):
        np.ones((500, 500)) @ np.ones((500, 500))
        print(len(os.listdir("/proc/self/task")) - threading.active_count(), flush=True)
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads in /proc")
def test_numpy_computes_in_the_actors_thread_unless_the_user_says_otherwise(tmp_path):
    (tmp_path / "pools.py").write_text(POOLS)
    program = write_program(tmp_path, "host", CHAIN[0], "actor('B', 'pools.py:Pools', 'cpu')", CHAIN[2])
    assert run(program, "--frames", "1")[1] == "0\n"
    other = run(program, "--frames", "1", OPENBLAS_NUM_THREADS="2")[1]
    assert other == f"{min(2, os.cpu_count() or 1) - 1}\n"


SLOW_FIRST = """import time
from eprune.runtime import Actor
class SlowFirst(Actor):
    first = True
    def fire(self, inputs, outputs):
        time.sleep(0.5 * self.first)
        self.first = False
"""


def test_what_first_firings_take_is_left_out_of_the_figures_if_that_is_wished(tmp_path):
    (tmp_path / "slow.py").write_text(SLOW_FIRST)
    chain = ("actor('A', 'ACTORS:Count', 'cpu', {'n': '0'})", "actor('B', 'slow.py:SlowFirst', 'cpu')", CHAIN[2])
    program, path = write_program(tmp_path, "host", *chain), tmp_path / "record.json"
    for warm_up, slow in (("0", True), ("2", False)):
        assert run(program, "--record", str(path), "--frames", "5", "--warm-up", warm_up)[0] == 0
        record = json.loads(path.read_text())
        actor = record["actors"]["B"]
        assert (actor["firings"], record["actors"]["A"]["firings"], record["warm_up"]) == (5, 5, int(warm_up))
        assert (actor["busy_s"] > 0.4) == (actor["last_s"] - actor["first_s"] > 0.4) == slow
        assert record["fifos"]["f"]["tokens"] == 5 + int(warm_up)
    assert "not a number of firings" in run(program, "--warm-up", "-1")[2]


def test_the_record_of_a_failed_run_says_why(tmp_path):
    record = tmp_path / "record.json"
    assert run(middle(tmp_path, "Crash"), "--record", str(record))[0] == 1
    assert "five is right out" in json.loads(record.read_text())["failure"]


def test_the_trace_has_a_bar_for_each_firing(tmp_path):
    trace = tmp_path / "trace.json"
    run(write_program(tmp_path, "host", *CHAIN), "--trace", str(trace))
    events = json.loads(trace.read_text())["traceEvents"]
    assert sum(event["ph"] == "X" and event["name"] == "B" for event in events) == 4
    assert {event["args"]["name"] for event in events if event["ph"] == "M"} == {"host", "A", "B"}


def test_a_result_that_cannot_be_written_is_said_before_the_run(tmp_path):
    code, out, err = run(write_program(tmp_path, "host", *CHAIN), "--record", str(tmp_path / "no" / "record.json"))
    assert (code, out) == (2, "")
    assert "the folder is missing or not writable" in err


def test_a_full_disk_leaves_no_half_record(tmp_path):
    code, _, err = run(write_program(tmp_path, "host", *CHAIN), "--record", "/dev/full")
    assert code != 0
    assert "/dev/full" in err
    assert len(err.splitlines()) == 1


def test_threads_are_pinned_to_their_units_core(tmp_path):
    core = max(os.sched_getaffinity(0))
    program = write_program(
        tmp_path,
        "host",
        f"unit('one', {core})",
        "actor('A', 'ACTORS:Where', 'one')",
    )
    assert run(program)[1] == f"[{core}]\n"
    assert run(program, "--no-pin")[1] == f"{sorted(os.sched_getaffinity(0))}\n"


def test_a_core_that_is_not_there_is_noted(tmp_path):
    program = write_program(tmp_path, "host", "unit('far', 4096)", "actor('A', 'ACTORS:Where', 'far')")
    code, _, err = run(program)
    assert code == 0
    assert err == "host: note: unit far: core 4096 is not available on this machine; its threads are not pinned\n"


def test_a_behaviour_knows_its_ports(tmp_path):
    program = write_program(
        tmp_path,
        "host",
        "actor('A', 'ACTORS:Shapes', 'cpu')",
        "actor('B', 'ACTORS:Total', 'cpu')",
        "fifo('f', 'A.out', 'B.in', 'uint8', (2, 3), capacity=2)",
    )
    assert "A {} {'out': PortType(dtype='uint8', shape=(2, 3), rate=1)}" in run(program)[1]


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ("missing.py:A", "missing.py: No such file or directory"),
        ("ACTORS:Missing", "has no class Missing"),
        ("broken.py:A", "cannot be loaded: SyntaxError"),
        ("raises.py:A", "cannot be loaded: ZeroDivisionError"),
        ("other.py:A", "has no class A derived from eprune.runtime.Actor"),
    ],
)
def test_a_behaviour_that_cannot_be_loaded_is_named(tmp_path, behaviour, message):
    (tmp_path / "broken.py").write_text("class A(:\n")
    (tmp_path / "raises.py").write_text("1 / 0\n")
    (tmp_path / "other.py").write_text("class A: pass\n")
    code, _, err = run(write_program(tmp_path, "host", f"actor('A', '{behaviour}', 'cpu')"))
    assert code == 2
    assert message in err
    assert len(err.splitlines()) == 1


def test_a_behaviour_may_import_its_neighbours(tmp_path):
    (tmp_path / "words.py").write_text("WORD = 'neighbour'\n")
    (tmp_path / "speaker.py").write_text(
        "from words import WORD\n"
        "from eprune.runtime import Actor, EndOfStream\n"
        "class Speaker(Actor):\n"
        "    def fire(self, inputs, outputs):\n"
        "        print(WORD)\n"
        "        raise EndOfStream\n"
    )
    assert run(write_program(tmp_path, "host", "actor('A', 'speaker.py:Speaker', 'cpu')"))[1] == "neighbour\n"


def test_programs_in_one_process_take_no_class_from_a_file_that_is_still_loading(tmp_path):
    (tmp_path / "slow.py").write_text(
        "import time\nfrom eprune.runtime import Actor\ntime.sleep(0.2)\nclass Slow(Actor):\n    fire = None\n"
    )
    files = Files(str(tmp_path / "program.py"))
    with ThreadPoolExecutor(3) as pool:
        classes = set(pool.map(files.load_class, ["slow.py:Slow"] * 3))
    assert [each.__name__ for each in classes] == ["Slow"]
