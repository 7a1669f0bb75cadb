"""A source of windows of sound from a microphone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from checks import whole_number
from inbox import Inbox
from quantized import Quantized
from sound_window import SoundWindow

from eprune.runtime import Actor


class MicrophoneSource(Actor):
    """Windows of samples as a microphone hears them, its channels averaged. Needs sounddevice and PortAudio.

    The port's token has as many elements as a window has samples: [N], [1,N], [1,N,1], ...; several ports of one type
    all carry the same. Samples are -1 to 1 in float tokens, and 16 bits in int16 tokens; with ``scale``, integers stand
    for -1 to 1. The first window comes when it is full. Where the graph is slower than the sound, the oldest sound that
    waits is left out, and the next window begins anew; the figures count ``dropped`` pieces of ``hop`` samples, and
    ``overflows`` of the sound card.

    Parameters:
        device: a part of its name, or its number, as ``python -m sounddevice`` lists them; empty for the usual one.
        rate: samples per second.
        hop: the samples from one window to the next; 0: a window.
        channels: how many to record.
        keep: how many pieces of ``hop`` samples wait for the graph.
        scale, zero_point: for integer tokens: q stands for scale * (q - zero_point).
    """

    waits = True
    copies = True

    def __init__(
        self,
        device: str = "",
        rate: str = "16000",
        hop: str = "0",
        channels: str = "1",
        keep: str = "16",
        scale: str = "",
        zero_point: str = "0",
    ) -> None:
        try:
            import sounddevice
        except ImportError:
            raise ValueError("a microphone needs sounddevice: pip install eprune[sound]") from None
        except OSError:
            raise ValueError("a microphone needs PortAudio: apt install libportaudio2") from None
        self.sound = sounddevice
        self.device = int(device) if device.isascii() and device.isdigit() else device or None
        self.rate, self.hop = whole_number("rate", rate), whole_number("hop", hop)
        self.channels = whole_number("channels", channels)
        if not self.rate or not self.channels:
            raise ValueError("rate and channels are 1 or more")
        self.window = SoundWindow(Quantized(scale, zero_point))
        self.inbox = Inbox(max(1, whole_number("keep", keep)))
        self.overflows = self.pieces = self.next = 0
        self.heard = np.empty(0, np.float32)
        self.stream: Any = None

    def initialize(self) -> None:
        """Open the microphone. Raises ValueError for ports that do not fit, OSError if it is not there."""
        self.samples = self.window.bind(self.outputs)
        self.hop = self.hop or self.samples
        try:
            self.stream = self.sound.InputStream(
                samplerate=self.rate,
                blocksize=self.hop,
                device=self.device,
                channels=self.channels,
                dtype="float32",
                callback=self._hear,
                finished_callback=self._end,
            )
            self.stream.start()
        except (self.sound.PortAudioError, ValueError) as error:
            which = "no microphone" if self.device is None else f"device={str(self.device)!r}: no microphone"
            raise OSError(f"{which} of {self.channels} channels and {self.rate} samples/s: {error.args[0]}") from None

    def fire(self, inputs: Mapping[str, Any], outputs: Mapping[str, np.ndarray]) -> None:
        """Wait for the next window. Raises OSError if the microphone is gone."""
        while True:
            number, piece = self.inbox.take()
            if number != self.next:  # what was between is not there
                self.heard = self.heard[:0]
            self.next = number + 1
            self.heard = np.concatenate([self.heard, piece])[-max(self.samples, self.hop) :]
            if len(self.heard) >= self.samples:
                break
        self.came()
        self.window.write(self.heard[-self.samples :], outputs)
        self.figures = {"dropped": self.inbox.dropped, "overflows": self.overflows}

    def interrupt(self) -> None:
        """Nobody waits for sound any more."""
        self.inbox.end()

    def finalize(self) -> None:
        """Close the microphone."""
        self.interrupt()
        if self.stream is not None:
            self.stream.close()

    def _hear(self, sound: np.ndarray, _: int, __: Any, status: Any) -> None:
        self.overflows += bool(status.input_overflow)
        self.inbox.put((self.pieces, sound.mean(1, dtype=np.float32)))
        self.pieces += 1

    def _end(self) -> None:
        self.inbox.end(OSError("the microphone is gone"))
