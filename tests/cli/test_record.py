"""`eprune record` and `eprune play`: tokens of a deployed system, and applications that get them again."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from application import SPLIT

from eprune.runtime.kernel.fifo import Fifo
from eprune.runtime.tell.tap import Tap
from tests.kit import fleet as kit
from tests.kit.commands import call
from tests.kit.waiting import until


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    """Two devices that are this machine; on both runs what counts, a hundred a second."""
    with kit.local(tmp_path_factory.mktemp("recorded")) as fleet:
        done = call("deploy", fleet.system, "--service", "plain")
        assert done.code == 0, done.err
        yield fleet


def files(fleet):
    names = ("application.xml", "-p", "platforms", "-m", "mappings")
    return [name if name.startswith("-") else f"{fleet.system}/{name}" for name in names]


def test_tokens_of_a_deployed_system_come_here_and_are_played(fleet, eprune, eprune_process, tmp_path):
    out = tmp_path / "tokens"
    done = eprune("record", fleet.system, "--fifo", "f", "--tokens", "7", "-o", str(out))
    assert (done.code, done.err) == (0, f"{out}/f.npy: 7 tokens of f\n")
    rows = np.load(out / "f.npy")
    numbers = rows["token"][:, 0].tolist()
    assert numbers == list(range(numbers[0], numbers[0] + 7))
    assert rows["firing"].tolist() == [number - 1 for number in numbers]
    until(lambda: fleet.status("camera")["taps"] == {}, 20)
    assert not list(fleet.root("camera").rglob("*.npy")), "nothing stays on the device"
    assert fleet.counts()

    done = eprune_process("play", *files(fleet), "--tokens", f"f={out}/f.npy")
    assert (done.code, done.out.split()) == (0, [str(number) for number in numbers])
    assert "left out, as nobody takes their tokens: Count" in done.err

    assert eprune("record", fleet.system, "--fifo", "f", "--tokens", "3", "-o", str(out), "-q").err == ""
    assert len(np.load(out / "f.npy")) == 3
    assert "there is no FIFO 'g'; there is f" in eprune("record", fleet.system, "--fifo", "g", "-o", str(out)).err


def test_a_file_has_no_more_bytes_than_one_wishes(fleet, eprune, tmp_path):
    done = eprune("record", fleet.system, "--fifo", "f", "--tokens", "1000", "--bytes", "4396", "-o", str(tmp_path))
    assert done.code == 0, done.err
    assert 1 <= len(np.load(tmp_path / "f.npy")) <= 300 // 28
    wrong = eprune("record", fleet.system, "--fifo", "f", "--bytes", "many", "-o", str(tmp_path))
    assert (wrong.code, "expected a size, for example 64MiB" in wrong.err) == (2, True)


@pytest.mark.long
def test_after_so_many_seconds_there_is_what_there_is(fleet, eprune, tmp_path):
    done = eprune("record", fleet.system, "--fifo", "f", "--tokens", "1000000", "--seconds", "2", "-o", str(tmp_path))
    assert (done.code, "there were no more in that time" in done.err) == (1, True)
    rows = np.load(tmp_path / "f.npy")
    assert len(rows) == int(re.search(r"(\d+) tokens", done.err)[1]) > 0


def test_what_is_played_gives_what_the_whole_gave(app, eprune, eprune_process):
    whole = eprune_process("run", *SPLIT, "--tap", "f2=f2.npy", "--tap", "f1=f1.npy", "-q")
    assert whole.code == 0, whole.err
    played = eprune_process("play", *SPLIT, "--tokens", "f1=f1.npy", "-q")
    assert (played.code, played.out) == (0, whole.out), played.err
    written = eprune("apply", "play", *SPLIT, "--tokens", "f2=f2.npy", "-o", "played")
    assert written.code == 0, written.err
    system = ("played/application.xml", "-p", "played/platforms", "-m", "played/mappings", "--allow-outside")
    assert eprune_process("run", *system, "-q").out == whole.out


def recorded(path, count=4):
    """A recording of FIFO f2, as it is if one was made."""
    fifo = Fifo("f2", "float32", (1, 4, 4, 4), 2)
    tap = Tap(fifo, str(path))
    for firing in range(count):
        fifo.writable[firing % 2][...] = firing
        fifo.commit(1, firing)
        fifo.release()
    tap.close()


@pytest.mark.long
def test_tokens_come_at_the_times_at_which_they_were_made(app, eprune_process):
    recorded(app / "f2.npy")
    rows = np.load(app / "f2.npy", mmap_mode="r+")
    rows["time"] = 1000 + 0.2 * np.arange(4)
    rows.flush()
    command = ("play", *SPLIT, "--tokens", "f2=f2.npy", "--pace", "recorded", "--record", "records")
    assert eprune_process(*command).code == 0
    player = json.loads((app / "records/endpoint.json").read_text())["actors"]["Play-f2"]
    assert player["last_s"] - player["first_s"] >= 0.2 * 3


@pytest.mark.long
def test_a_file_that_cannot_be_played_is_said(app, eprune_process):
    recorded(app / "f2.npy")
    done = eprune_process("play", *SPLIT, "--tokens", "f1=f2.npy")
    assert (done.code, "does not fit port 'out'" in done.err, "Traceback" in done.err) == (1, True, False), done.err


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (["f9=f2.npy"], "expected FIFO=FILE, and FIFO one of f1, f2, f3"),
        (["f2"], "expected FIFO=FILE"),
        (["f2=no.npy"], "no.npy: no such file"),
        (["f1=app.xml", "f2=app.xml"], "nobody would take the tokens of f1"),
    ],
)
def test_what_cannot_be_played_is_said_at_once(app, eprune, tokens, message):
    done = eprune("play", *SPLIT, *[word for each in tokens for word in ("--tokens", each)])
    assert (done.code, message in done.err) == (2, True), done.err
