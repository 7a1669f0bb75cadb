"""A microphone: a virtual device of ALSA behind the real PortAudio, and none at all."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from driver import fired, prepared

from eprune.runtime import EndOfStream
from tests.kit.programs import ROOT, environment

try:
    import sounddevice
except (ImportError, OSError) as error:
    pytest.skip(f"sounddevice or PortAudio is not installed here: {error}", allow_module_level=True)

from microphone_source import MicrophoneSource

HEAR = """
import sys
from driver import fired, prepared
from microphone_source import MicrophoneSource
source = prepared(MicrophoneSource("level", hop="400"), {}, {"out": "float32[1,1000]", "same": "float32[1,1000]"})
for _ in range(3):
    got = fired(source)
    print(got["out"].min(), got["out"].max(), (got["out"] == got["same"]).all())
source.finalize()
"""


@pytest.mark.skipif(not Path("/usr/share/alsa/alsa.conf").exists(), reason="ALSA is not installed here")
def test_a_device_is_heard(tmp_path):
    np.full(16000, 0.25, np.float32).tofile(tmp_path / "level.raw")
    device = f'type file\n slave.pcm "null"\n file "/dev/null"\n infile "{tmp_path}/level.raw"\n format raw'
    (tmp_path / ".asoundrc").write_text(f"pcm.level {{ {device} }}\n")
    paths = os.pathsep.join(str(ROOT / part) for part in ("actors", "tests/actors", "."))
    done = subprocess.run(
        [sys.executable, "-c", HEAR],
        env=environment(PYTHONPATH=paths, HOME=str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.splitlines() == ["0.25 0.25 True"] * 3, done.stderr


class Card:
    """Stands for sounddevice: pieces come when the test says so."""

    PortAudioError = sounddevice.PortAudioError

    def InputStream(self, callback, finished_callback, **asked):
        self.hear, self.end, self.asked = callback, finished_callback, asked
        return self

    def start(self):
        pass

    close = start


class Status:
    input_overflow = False


@pytest.fixture
def card(monkeypatch):
    made = Card()
    monkeypatch.setitem(sys.modules, "sounddevice", made)
    return made


def hear(card, *values, frames=2, channels=1):
    for value in values:
        card.hear(np.full((frames, channels), value, np.float32), frames, None, Status)


def test_windows_overlap_by_what_hop_leaves(card):
    source = prepared(MicrophoneSource(hop="2", keep="9"), {}, {"out": "int16[1,4]"})
    hear(card, 0.1, 0.2, 0.3)
    tenth = [round(0.1 * k * 32768) for k in range(4)]
    assert fired(source)["out"].tolist() == [[tenth[1]] * 2 + [tenth[2]] * 2]
    assert fired(source)["out"].tolist() == [[tenth[2]] * 2 + [tenth[3]] * 2]


def test_no_window_has_a_gap(card):
    source = prepared(MicrophoneSource(hop="2", keep="3"), {}, {"out": "float32[4]"})
    hear(card, 0, 1, 0.5)
    assert fired(source)["out"].tolist() == [0, 0, 1, 1]
    hear(card, 0.25, 0.125, -1, -0.5)
    assert fired(source)["out"].tolist() == [0.125, 0.125, -1, -1], "0.5 and 0.25 were left out"
    assert source.figures == {"dropped": 2, "overflows": 0}


def test_channels_become_their_mean(card):
    source = prepared(MicrophoneSource(channels="2"), {}, {"out": "float32[2]"})
    card.hear(np.array([[0, 1], [1, 1]], np.float32), 2, None, Status)
    assert fired(source)["out"].tolist() == [0.5, 1]
    assert card.asked["channels"] == 2


def test_a_microphone_that_is_pulled_out_ends_the_run_and_a_run_that_is_stopped_the_waiting(card):
    source = prepared(MicrophoneSource(), {}, {"out": "float32[2]"})
    card.end()
    with pytest.raises(OSError, match="the microphone is gone"):
        fired(source)
    source = prepared(MicrophoneSource(), {}, {"out": "float32[2]"})
    threading.Timer(0.1, source.interrupt).start()
    with pytest.raises(EndOfStream):
        fired(source)


def test_a_device_that_is_not_there_is_named():
    source = MicrophoneSource("no such card")
    with pytest.raises(OSError, match="device='no such card': no microphone of 1 channels and 16000 samples/s: "):
        prepared(source, {}, {"out": "float32[2]"})


def test_without_sounddevice_or_portaudio_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(ValueError, match=r"pip install eprune\[sound\]"):
        MicrophoneSource()
    monkeypatch.delitem(sys.modules, "sounddevice")
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ValueError, match="apt install libportaudio2"):
        MicrophoneSource()
