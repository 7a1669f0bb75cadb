"""A platform that serves (``--serve``): one process, to which stream after stream of producers come."""

import contextlib
import json
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from eprune.deploy.ports import free_base_port
from eprune.runtime.net import wire
from tests.kit import hostile, keys
from tests.kit.programs import finish, lines, rest, run, start, write_program
from tests.kit.waiting import freeze

#: how each producer of these tests is called, and the FIFO from it
ENDPOINTS = ("left", "right")


@pytest.fixture
def port():
    return free_base_port(4)


def endpoint(folder, name, port, policy="stop", source="Count"):
    return write_program(
        folder,
        name,
        f"actor('A', 'ACTORS:{source}', 'cpu', {{'n': '10'}})",
        f"tx('{name}', 'A.out', 'int32', (), capacity=4, to='server', address='127.0.0.1', port={port}, "
        f"policy='{policy}')",
        aligned=policy in ("drop", "zero"),
    )


def server(folder, *declarations, **keywords):
    return write_program(folder, "server", *declarations, **keywords)


def from_one(port, policy="stop", behaviour="Total"):
    return (
        f"actor('B', 'ACTORS:{behaviour}', 'cpu')",
        f"rx('left', 'B.in', 'int32', (), capacity=4, frm='left', port={port}, policy='{policy}')",
    )


def from_both(port, policy="stop"):
    """A sink of its own for each of two producers."""
    return (
        "actor('B0', 'ACTORS:Total', 'cpu')",
        "actor('B1', 'ACTORS:Total', 'cpu')",
        f"rx('left', 'B0.in', 'int32', (), capacity=4, frm='left', port={port}, policy='{policy}')",
        f"rx('right', 'B1.in', 'int32', (), capacity=4, frm='right', port={port + 1}, policy='{policy}')",
    )


def log(process):
    """The next event of a program with --log-format json."""
    return json.loads(process.stderr.readline())


def play_one_token(port, incarnation):
    """A producer of one token, from its greeting to its orderly end."""
    with contextlib.closing(hostile.dial(port, incarnation)) as producer:
        assert producer.send(hostile.token(0) + hostile.frame(wire.END, firing=1))
        producer.hear(wire.END)


def wait_for(process, event, **details):
    """Read the log up to an event."""
    while True:
        found = log(process)
        if found["event"] == event and details.items() <= found.items():
            return found


def serve(program, *arguments, **more):
    return start(program, "--serve", "--log-format", "json", *arguments, **more)


def stop(process, number=signal.SIGTERM):
    process.send_signal(number)
    return rest(process)


@pytest.mark.parametrize(
    "policy", ["stop", "drop", *(pytest.param(each, marks=pytest.mark.long) for each in ("wait", "zero"))]
)
def test_one_stream_after_the_other_comes_to_the_same_process(tmp_path, port, policy):
    service = serve(server(tmp_path, *from_one(port, policy), aligned=policy in ("drop", "zero")))
    producer = endpoint(tmp_path, "left", port, policy)
    for number, frames in enumerate([10, 4, 10], 1):
        wait_for(service, "waiting", stream=number)
        assert finish(start(producer, "--frames", str(frames))) == (0, "", "")
        assert lines(service, 1) == f"{frames} tokens, sum {sum(range(frames))}\n"
        assert wait_for(service, "served", stream=number)["frames"] == frames
    wait_for(service, "waiting", stream=4)
    assert stop(service)[:2] == (0, "0 tokens, sum 0\n")


@pytest.mark.parametrize("policy", ["wait", *(pytest.param(each, marks=pytest.mark.long) for each in ("stop", "drop"))])
def test_a_stream_lasts_until_all_producers_have_ended_and_who_comes_back_early_waits(tmp_path, port, policy):
    aligned = policy == "drop"
    service = serve(server(tmp_path, *from_both(port, policy), aligned=aligned))
    first = endpoint(tmp_path, "left", port, policy)
    second = endpoint(tmp_path, "right", port + 1, policy)
    early = start(first)
    for number in range(1, 4):
        wait_for(service, "waiting", stream=number)
        if number == 2:
            time.sleep(1)  # it has been asked to wait, and asks again and again
        late = start(second)
        if number == 1:
            assert finish(early) == (0, "", "")
            early = start(first)
        assert finish(late) == (0, "", "")
        assert sorted(lines(service, 2).splitlines()) == ["10 tokens, sum 45"] * 2
        wait_for(service, "served", stream=number)
        if number == 2:
            assert finish(early) == (0, "", "")
            early = start(first)
    assert finish(early) == (0, "", "")
    wait_for(service, "waiting", stream=4)
    assert stop(service)[0] == 0


def test_who_comes_between_two_streams_never_finds_the_door_closed(tmp_path, port):
    service = serve(server(tmp_path, *from_one(port)))
    producer = endpoint(tmp_path, "left", port)
    wait_for(service, "waiting")
    knocks, over = [], threading.Event()

    def knock():
        while not over.is_set():
            try:
                socket.create_connection(("127.0.0.1", port), timeout=30).close()
                knocks.append("open")
            except ConnectionRefusedError:
                knocks.append("closed")

    stranger = threading.Thread(target=knock)
    stranger.start()
    try:
        for number in range(1, 4):
            assert finish(start(producer))[0] == 0
            wait_for(service, "waiting", stream=number + 1)
    finally:
        over.set()
        stranger.join()
    assert set(knocks) == {"open"}
    assert stop(service)[0] == 0


def test_actors_begin_anew_and_those_that_keep_their_state_go_on(tmp_path, port):
    service = serve(
        server(
            tmp_path,
            "actor('B', 'ACTORS:Diary', 'cpu')",
            "actor('C', 'ACTORS:Total', 'cpu')",
            f"rx('left', 'B.in', 'int32', (), capacity=4, frm='left', port={port})",
            "fifo('f', 'B.out', 'C.in', 'int32', (), capacity=4)",
        )
    )
    producer = endpoint(tmp_path, "left", port)
    for _ in range(2):
        assert finish(start(producer, "--frames", "2"))[0] == 0
        wait_for(service, "served")
    wait_for(service, "waiting")
    code, out, _ = stop(service)
    told = out.splitlines()
    assert code == 0
    assert [line for line in told if line.startswith("B")] == [
        "B initialized", "B 1", "B 2", "B 3", "B 4", "B finalized after 4",
    ]  # fmt: skip
    assert [line for line in told if "tokens" in line] == ["2 tokens, sum 3", "2 tokens, sum 7", "0 tokens, sum 0"]


def test_without_serve_an_actor_that_would_keep_its_state_is_finalized_with_the_run(tmp_path, port):
    sink = start(server(tmp_path, *from_one(port, behaviour="Diary")))
    assert finish(start(endpoint(tmp_path, "left", port), "--frames", "1"))[0] == 0
    assert finish(sink) == (0, "B initialized\nB 1\nB finalized after 1\n", "")


def test_fifos_begin_anew_with_their_initial_tokens(tmp_path, port):
    service = serve(
        server(
            tmp_path,
            "actor('Sum', 'ACTORS:Add', 'cpu')",
            "actor('B', 'ACTORS:Show', 'cpu')",
            f"rx('left', 'Sum.new', 'int32', (), capacity=4, frm='left', port={port})",
            "fifo('loop', 'Sum.state', 'Sum.old', 'int32', (), capacity=2, delay=1)",
            "fifo('g', 'Sum.out', 'B.in', 'int32', (), capacity=1)",
        )
    )
    producer = endpoint(tmp_path, "left", port)
    for number in range(1, 4):
        wait_for(service, "waiting", stream=number)
        assert finish(start(producer, "--frames", "4"))[0] == 0
        assert lines(service, 5) == "0\n1\n3\n6\nB finalized\n"
    assert stop(service)[0] == 0


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, *(pytest.param(each, marks=pytest.mark.long) for each in (signal.SIGINT, signal.SIGHUP))]
)
@pytest.mark.parametrize("streams", [0, 1])
def test_a_signal_while_it_waits_is_an_orderly_end(tmp_path, port, number, streams):
    service = serve(server(tmp_path, *from_one(port)))
    for _ in range(streams):
        assert finish(start(endpoint(tmp_path, "left", port)))[0] == 0
    wait_for(service, "waiting", stream=streams + 1)
    code, _, err = stop(service, number)
    assert code == 0
    assert [json.loads(line)["event"] for line in err.splitlines()] == ["ended"]


def test_a_signal_within_a_stream_interrupts_it(tmp_path, port):
    record = tmp_path / "record.json"
    service = serve(server(tmp_path, *from_one(port)), "--record", str(record))
    producer = start(endpoint(tmp_path, "left", port, source="Idle"))
    wait_for(service, "running")
    assert stop(service)[0] == 130
    assert finish(producer)[0] == 1
    assert "SIGTERM" in json.loads(record.read_text())["failure"]


def test_a_failure_within_a_stream_ends_the_service(tmp_path, port):
    service = serve(server(tmp_path, *from_one(port, behaviour="DiesAtFive")))
    finish(start(endpoint(tmp_path, "left", port)))
    code, _, err = rest(service)
    assert code == 1
    assert "five is right out" in err


def test_an_actor_that_cannot_be_made_anew_is_a_failure_that_a_restart_may_mend(tmp_path, port):
    service = serve(server(tmp_path, *from_one(port, behaviour="OnlyOnce")))
    assert finish(start(endpoint(tmp_path, "left", port)))[0] == 0
    code, _, err = rest(service)
    assert code == 1  # not 2, after which systemd would not start it again
    assert "actor 'B': [Errno 16] Device or resource busy" in err


def test_a_producer_that_dies_under_stop_ends_the_service(tmp_path, port):
    service = serve(server(tmp_path, *from_one(port)))
    producer = start(endpoint(tmp_path, "left", port, source="Idle"))
    wait_for(service, "running")
    producer.kill()
    assert rest(service)[0] == 1


def test_a_producer_that_never_comes_is_waited_for_longer_than_the_timeout(tmp_path, port):
    service = serve(server(tmp_path, *from_one(port)), "--timeout", "0.3")
    wait_for(service, "waiting")
    time.sleep(0.6)
    assert finish(start(endpoint(tmp_path, "left", port)))[0] == 0
    assert wait_for(service, "served")["frames"] == 10
    assert stop(service)[0] == 0


def test_but_once_one_has_come_the_others_have_that_time(tmp_path, port):
    service = serve(server(tmp_path, *from_both(port)), "--timeout", "0.5")
    wait_for(service, "waiting")
    producer = start(endpoint(tmp_path, "left", port))
    code, _, err = rest(service)
    assert code == 1
    assert "right did not connect" in err
    assert finish(producer)[0] == 1


@pytest.mark.sampled(3)
@pytest.mark.parametrize("security", ["none", "tls"])
@pytest.mark.parametrize("dials", ["producer", "service"])
def test_answers_go_back_over_the_same_connection(tmp_path, port, dials, security):
    there, back = (0, 1) if dials == "producer" else (1, 0)
    shared = f"'int32', (), capacity=2, port={port}, shared=True, security='{security}'"
    service_program = server(
        tmp_path,
        "actor('C', 'ACTORS:Copy', 'cpu')",
        f"rx('f', 'C.in', {shared}, number={there}, frm='left')",
        f"tx('g', 'C.out', {shared}, number={back}, to='left', address='127.0.0.1')",
    )
    producer = write_program(
        tmp_path,
        "left",
        "actor('A', 'ACTORS:Count', 'cpu', {'n': '5'})",
        "actor('B', 'ACTORS:Total', 'cpu')",
        f"tx('f', 'A.out', {shared}, number={there}, to='server', address='127.0.0.1')",
        f"rx('g', 'B.in', {shared}, number={back}, frm='server')",
    )
    folder = keys.write(tmp_path / "keys", keys.authority(), "left", "server") if security == "tls" else tmp_path
    service = serve(service_program, "--keys", str(folder))
    for number in range(1, 4):
        wait_for(service, "waiting", stream=number)
        assert finish(start(producer, "--keys", str(folder))) == (0, "5 tokens, sum 10\n", "")
    wait_for(service, "waiting", stream=4)
    assert stop(service)[0] == 0


def test_an_emulated_service_serves_too(tmp_path, port):
    slow = "link({!r}, bandwidth=1e6, latency=0.01)".format
    service = serve(server(tmp_path, slow("left"), *from_one(port)), "--emulate")
    producer = endpoint(tmp_path, "left", port)
    producer.write_text(producer.read_text().replace("program.actor", f"program.{slow('server')}\nprogram.actor", 1))
    for number in range(1, 4):
        wait_for(service, "waiting", stream=number)
        assert finish(start(producer, "--emulate"))[0] == 0
        assert lines(service, 1) == "10 tokens, sum 45\n"
    wait_for(service, "waiting", stream=4)
    assert stop(service)[0] == 0


def three(port, policy):
    """A sink of the FIFO that strangers speak of."""
    return (
        "actor('B', 'ACTORS:Total', 'cpu')",
        f"rx('f', 'B.in', 'int32', (3,), capacity=4, frm='left', port={port}, policy='{policy}')",
    )


def test_a_producer_that_has_ended_is_not_taken_for_the_next_one(tmp_path, port):
    """Its connection broke before it learnt that all had arrived; it tries to tell once more."""
    service = serve(server(tmp_path, *three(port, "drop"), aligned=True))
    wait_for(service, "waiting")
    play_one_token(port, "first")
    wait_for(service, "waiting", stream=2)
    assert hostile.dial(port, "first") is None
    assert "has ended here" in wait_for(service, "refused")["reason"]
    play_one_token(port, "second")
    wait_for(service, "waiting", stream=3)
    assert stop(service)[0] == 0


def test_a_producer_that_was_away_too_long_begins_the_next_stream(tmp_path, port):
    service = serve(server(tmp_path, *three(port, "drop"), aligned=True), "--patience", "0.3", "--dead-after", "1")
    wait_for(service, "waiting")
    with contextlib.closing(hostile.dial(port, "first")) as producer:
        assert producer.send(hostile.token(0))
        wait_for(service, "running")
    assert wait_for(service, "served")["frames"] <= 1
    wait_for(service, "waiting", stream=2)
    with contextlib.closing(hostile.dial(port, "first")) as producer:
        assert producer.send(hostile.token(1))
        wait_for(service, "running")
    wait_for(service, "waiting", stream=3)
    assert stop(service)[0] == 0


def test_a_producer_that_has_gone_before_it_was_let_in_is_no_stream(tmp_path, port):
    """It gave up while it waited in the kernel, because the service was frozen."""
    service = serve(server(tmp_path, *three(port, "stop")))
    wait_for(service, "waiting")
    freeze(service.pid)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as producer:
        producer.sendall(wire.pack_greeting({**hostile.GREETING, "platform": "left", "incarnation": "first"}))
    service.send_signal(signal.SIGCONT)
    assert "closed before" in wait_for(service, "refused")["reason"]
    play_one_token(port, "second")
    wait_for(service, "waiting", stream=2)
    assert stop(service)[0] == 0


def test_a_service_in_the_middle_connects_to_its_consumer_in_each_stream(tmp_path, port):
    sink = serve(server(tmp_path, *from_one(port + 1)), "--timeout", "0.5")
    middle = write_program(
        tmp_path,
        "middle",
        "actor('C', 'ACTORS:Copy', 'cpu')",
        f"rx('first', 'C.in', 'int32', (), capacity=4, frm='start', port={port})",
        f"tx('left', 'C.out', 'int32', (), capacity=4, to='server', address='127.0.0.1', port={port + 1})",
    )
    between = serve(middle, "--timeout", "5")
    source = write_program(
        tmp_path,
        "start",
        "actor('A', 'ACTORS:Count', 'cpu', {'n': '5'})",
        f"tx('first', 'A.out', 'int32', (), capacity=4, to='middle', address='127.0.0.1', port={port})",
    )
    for number in range(1, 4):
        wait_for(between, "waiting", stream=number)
        assert finish(start(source)) == (0, "", "")
        assert lines(sink, 1) == "5 tokens, sum 10\n"
    wait_for(between, "waiting", stream=4)
    assert stop(between)[0] == 0
    wait_for(sink, "waiting", stream=4)
    assert stop(sink)[0] == 0


def test_the_record_is_that_of_the_last_stream(tmp_path, port):
    record, trace = tmp_path / "record.json", tmp_path / "trace.json"
    service = serve(server(tmp_path, *from_one(port)), "--record", str(record), "--trace", str(trace))
    producer = endpoint(tmp_path, "left", port)
    incarnations = set()
    wait_for(service, "waiting")
    for number, frames in ((1, 7), (2, 3)):
        begin = time.time()
        assert finish(start(producer, "--frames", str(frames)))[0] == 0
        wait_for(service, "waiting", stream=number + 1)
        told = json.loads(record.read_text())
        assert (told["stream"], told["actors"]["B"]["firings"], told["fifos"]["left"]["tokens"]) == (
            number, frames, frames,
        )  # fmt: skip
        assert [event["event"] for event in told["events"]].count("connected") == 1
        assert told["begin"] >= begin  # of the stream, not of the wait for it
        bars = [each for each in json.loads(trace.read_text())["traceEvents"] if each["ph"] == "X"]
        assert len([bar for bar in bars if bar["name"] == "B"]) == frames
        incarnations.add(told["incarnation"])
    assert len(incarnations) == 2
    assert stop(service)[0] == 0
    assert json.loads(record.read_text())["stream"] == 2


def written(status, stream):
    """The status in a file, once the service waits for a stream."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        report = json.loads(status.read_text())
        if (report["state"], report["stream"]) == ("waiting", stream):
            return report
        time.sleep(0.01)
    raise AssertionError(report)


def test_the_status_tells_what_it_waits_for(tmp_path, port):
    status = tmp_path / "status.json"
    notify = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(notify))
        systemd.settimeout(30)
        service = serve(server(tmp_path, *from_one(port)), "--status", str(status), NOTIFY_SOCKET=str(notify))

        def told(text):
            seen = []
            while not seen or text not in seen[-1]:
                seen.append(systemd.recv(4096).decode())
            return seen

        assert not any("READY=1" in message for message in told("STATUS=waiting for stream 1")[:-1])
        report = written(status, stream=1)
        assert report["pid"] == service.pid
        assert report["peers"]["left"]["state"] == "waiting"
        assert finish(start(endpoint(tmp_path, "left", port)))[0] == 0
        messages = told("STATUS=waiting for stream 2")
        report = written(status, stream=2)
        assert (report["firings"], report["peers"]["left"]["state"]) == ({"B": 0}, "waiting")
        assert stop(service)[0] == 0
        assert not any("STOPPING=1" in message for message in messages)
        assert "STOPPING=1" in told("STATUS=ended")[-1]


@pytest.mark.parametrize(
    ("declarations", "reason"),
    [
        (
            ("actor('A', 'ACTORS:Count', 'cpu')", "actor('B', 'ACTORS:Show', 'cpu')",
             "fifo('f', 'A.out', 'B.in', 'int32', (), capacity=1)"),
            "server receives nothing from other platforms",
        ),
        (
            ("actor('A', 'ACTORS:Count', 'cpu')", "actor('B', 'ACTORS:Add', 'cpu')",
             "fifo('f', 'A.out', 'B.own', 'int32', (), capacity=1)",
             "rx('g', 'B.far', 'int32', (), capacity=1, frm='left', port=20000)"),
            "actor 'A' has no inputs",
        ),
    ],
)  # fmt: skip
def test_a_platform_that_cannot_serve_says_so(tmp_path, declarations, reason):
    code, out, err = run(server(tmp_path, *declarations), "--serve")
    assert (code, out) == (2, "")
    assert "--serve" in err
    assert reason in err


def descriptors(process):
    return len(list(Path(f"/proc/{process.pid}/fd").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_streams_leave_neither_descriptors_nor_threads_behind(tmp_path, port):
    service = serve(server(tmp_path, *from_both(port)))
    counts, strangers = [], []
    for number in range(1, 5):
        wait_for(service, "waiting", stream=number)
        counts.append((descriptors(service), len(list(Path(f"/proc/{service.pid}/task").iterdir()))))
        strangers.append(socket.create_connection(("127.0.0.1", port), timeout=10))  # says nothing
        pair = [start(endpoint(tmp_path, name, port + index)) for index, name in enumerate(ENDPOINTS)]
        assert [finish(each)[0] for each in pair] == [0, 0]
    assert len(set(counts[1:])) == 1, counts
    for stranger in strangers:
        stranger.close()
    assert stop(service)[0] == 0
