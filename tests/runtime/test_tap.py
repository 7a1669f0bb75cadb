"""Taps: copies of a FIFO's tokens in a file; whoever reads them, and how little producers care."""

import json
import os
import signal
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eprune.runtime.kernel.fifo import Fifo
from eprune.runtime.kernel.newest import NewestFifo
from eprune.runtime.tell import tap as module
from eprune.runtime.tell.tap import Tap, read
from tests.kit.programs import rest, run, start, write_program
from tests.kit.waiting import until


def write(fifo, value, firing):
    """What a producer does, and a consumer."""
    if isinstance(fifo, NewestFifo):
        slots = fifo.reserve()
        for slot in slots:
            fifo.writable[slot][...] = value
        fifo.commit(len(slots), firing)
        return
    fifo.writable[fifo.written % fifo.capacity][...] = value
    fifo.commit(1, firing)
    fifo.release()


@pytest.mark.parametrize(
    "make", [lambda: Fifo("f", "float32", (2, 3), 4), lambda: NewestFifo("f", "float32", (2, 3), 3, 1)]
)
def test_a_file_has_each_token_with_its_firing_and_time(tmp_path, make):
    fifo, path = make(), str(tmp_path / "f.npy")
    tap = Tap(fifo, path)
    begun = time.time()
    for firing in range(50):
        write(fifo, firing / 2, firing)
    tap.close()
    for rows in (read(path), np.load(path)):
        assert list(rows["firing"]) == list(range(50))
        assert [token.tolist() for token in rows["token"]] == [[[n / 2] * 3] * 2 for n in range(50)]
        assert not rows["lost"].any() and (rows["used"] == 6).all()
        assert (np.diff(rows["time"]) >= 0).all() and begun <= rows["time"][0] <= time.time()
    assert (tap.status.tokens, tap.status.lost, tap.status.done, tap.status.problem) == (50, 0, True, "")


def test_when_a_file_is_full_the_fifo_is_as_it_was(tmp_path):
    for tokens, most in ((10, 1 << 30), (1000, 4096 + 10 * (24 + 24))):
        fifo, path = Fifo("f", "float32", (2, 3), 4), str(tmp_path / "f.npy")
        tap = Tap(fifo, path, tokens, most)
        assert "commit" in vars(fifo)
        for firing in range(11):
            write(fifo, firing, firing)
        assert "commit" not in vars(fifo)
        tap.close()
        assert len(read(path)) == 10


def test_tokens_of_variable_size_have_what_was_used(tmp_path):
    fifo, path = Fifo("f", "uint8", "<=5", 2), str(tmp_path / "f.npy")
    tap = Tap(fifo, path)
    for number, text in enumerate((b"abc", b"", b"vwxyz")):
        room = fifo.writable[fifo.written % 2]
        room[: len(text)] = np.frombuffer(text, np.uint8)
        room.used = len(text)
        fifo.commit(1, number)
        fifo.release()
    tap.close()
    rows = read(path)
    assert [bytes(row["token"][: row["used"]]) for row in rows] == [b"abc", b"", b"vwxyz"]


def test_a_disk_that_hangs_holds_up_nobody_and_what_is_lost_is_said_in_its_place(tmp_path, monkeypatch):
    gate = threading.Event()
    whole = Tap._write
    monkeypatch.setattr(Tap, "_write", lambda self, data: (gate.wait(20), whole(self, data)))
    monkeypatch.setattr(module, "WAITING", 10 * 28)
    fifo, path = Fifo("f", "int32", (), 4), str(tmp_path / "f.npy")
    tap = Tap(fifo, path)
    for firing in range(100):
        write(fifo, firing, firing)
    lost = tap.status.lost
    assert lost >= 80
    gate.set()
    until(lambda: tap.status.tokens == 100 - lost)
    write(fifo, 1000, 1000)
    tap.close()
    rows = read(path)
    assert rows[-1]["token"] == 1000 and rows[-1]["lost"] == lost
    firings = rows["firing"].tolist()
    assert all(b - a == 1 + row["lost"] for a, b, row in zip(firings, firings[1:-1], rows[1:]))


def test_a_full_disk_ends_the_tap_and_nothing_else():
    fifo = Fifo("f", "int32", (), 4)
    with pytest.raises(OSError, match="No space left"):
        Tap(fifo, "/dev/full")
    assert "commit" not in vars(fifo)
    write(fifo, 1, 1)


def test_what_was_written_when_a_program_was_killed_can_be_read(tmp_path):
    fifo, path = Fifo("f", "int32", (), 4), str(tmp_path / "f.npy")
    tap = Tap(fifo, path)
    for firing in range(7):
        write(fifo, firing, firing)
    until(lambda: tap.status.tokens == 7)
    data = (tmp_path / "f.npy").read_bytes()
    (tmp_path / "cut.npy").write_bytes(data[:-3])  # in the middle of a row
    assert read(str(tmp_path / "cut.npy"))["token"].tolist() == [0, 1, 2, 3, 4, 5]
    tap.close()


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """A file, and what is in it."""
    path = tmp_path_factory.mktemp("noise") / "f.npy"
    fifo = Fifo("f", "int32", (), 4)
    tap = Tap(fifo, str(path))
    for firing in range(20):
        write(fifo, firing, firing)
    tap.close()
    return path, path.read_bytes()


@given(noise=st.binary(max_size=100), place=st.integers(0, 150))
def test_other_files_are_refused_with_a_reason(recording, noise, place):
    path, whole = recording
    data = bytearray(whole)
    data[place : place + len(noise)] = noise
    path.write_bytes(data)
    try:
        rows = read(str(path))
    except ValueError as error:
        assert str(path) in str(error)
    else:
        assert rows.nbytes <= path.stat().st_size


def test_an_array_of_something_else_is_no_recording(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    with pytest.raises(ValueError, match="not a recording of a FIFO"):
        read(str(tmp_path / "a.npy"))
    np.save(tmp_path / "o.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(ValueError, match=r"not a \.npy file"):
        read(str(tmp_path / "o.npy"))
    with pytest.raises(ValueError, match="No such file"):
        read(str(tmp_path / "no.npy"))


CHAIN = (
    "actor('A', 'ACTORS:SlowCount', 'cpu', {'n': '200'})",
    "actor('B', 'ACTORS:Total', 'cpu')",
    "fifo('f', 'A.out', 'B.in', 'int32', (2,), capacity=2)",
)


def test_a_program_taps_what_it_is_told_and_says_how_much(tmp_path):
    path = tmp_path / "f.npy"
    code, _, err = run(write_program(tmp_path, "host", *CHAIN), "--tap", f"f={path}")
    assert (code, f"FIFO 'f': 200 tokens in {path}" in err) == (0, True)
    assert read(str(path))["token"].tolist() == [[n, n] for n in range(200)]
    for wrong in ("g=x.npy", "f", "f="):
        code, _, err = run(write_program(tmp_path, "host", *CHAIN), "--tap", wrong)
        assert (code, "expected FIFO=FILE" in err, "Traceback" in err) == (2, True, False)
    code, _, err = run(write_program(tmp_path, "host", *CHAIN), "--tap", f"f={tmp_path}/no/f.npy")
    assert (code, "No such file" in err) == (2, True)


def test_a_running_program_taps_what_a_file_beside_its_status_wishes(tmp_path):
    program = write_program(tmp_path, "host", CHAIN[0].replace("200", "0"), *CHAIN[1:])
    status, wish, data = tmp_path / "status.json", tmp_path / "status.json.tap", tmp_path / "data"
    data.mkdir()
    here = os.getcwd()  # noqa: PTH109
    os.chdir(data)
    try:
        process = start(program, "--status", str(status))
    finally:
        os.chdir(here)
    until(lambda: status.exists() and json.loads(status.read_text())["state"] == "running")
    wish.write_text("nonsense")
    wish.write_text(json.dumps({"f": {"tokens": 20, "bytes": 1 << 20}, "other": {"tokens": 1, "bytes": 1}}))
    until(lambda: json.loads(status.read_text())["taps"].get("f", {}).get("done"))
    tap = json.loads(status.read_text())["taps"]["f"]
    assert tap["file"] == str(data / "recorded-f.npy")
    assert (tap["tokens"], len(read(tap["file"]))) == (20, 20)
    wish.unlink()
    until(lambda: json.loads(status.read_text())["taps"] == {})
    process.send_signal(signal.SIGTERM)
    assert rest(process)[0] == 130
