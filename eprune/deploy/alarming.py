"""Commands for alarms: run one after the other, apart from whoever watches."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from queue import Full, Queue
from typing import Callable

from eprune.watch.alarms import Alarm, Raised

#: Commands that wait at most, and seconds that one may take.
WAITING, PATIENCE = 100, 60.0


class Commands:
    """Runs the command for each new alarm of its kinds, by the shell.

    The alarm is in its environment: EPRUNE_ALARM (the kind), EPRUNE_PLATFORM, EPRUNE_SUBJECT, EPRUNE_MESSAGE. ``say``
    gets what goes wrong.
    """

    def __init__(self, wanted: Mapping[str, Sequence[str]], say: Callable[[str], None]) -> None:
        """``wanted``: kind -> commands."""
        self._wanted = wanted
        self._say = say
        self._raised = Raised()
        self._queue: Queue[tuple[str, Alarm]] = Queue(WAITING)
        if wanted:
            threading.Thread(target=self._run, daemon=True).start()

    def look(self, found: Sequence[Alarm], now: float) -> list[Alarm]:
        """The new ones among these alarms; their commands will be run."""
        new = self._raised.new(found, now)
        for alarm in new:
            for command in self._wanted.get(alarm.kind, ()):
                try:
                    self._queue.put_nowait((command, alarm))
                except Full:
                    self._say(f"warning: {WAITING} commands wait: none is run for: {alarm.message}")
        return new

    def _run(self) -> None:
        while True:
            self._carry_out(*self._queue.get())

    def _carry_out(self, command: str, alarm: Alarm) -> None:
        told = {"ALARM": alarm.kind, "PLATFORM": alarm.platform, "SUBJECT": alarm.subject, "MESSAGE": alarm.message}
        environment = {**os.environ, **{f"EPRUNE_{name}": value for name, value in told.items()}}
        with subprocess.Popen(
            command,
            shell=True,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that all that it starts can be ended
        ) as process:
            try:
                output, _ = process.communicate(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                self._say(f"warning: --on {alarm.kind}: the command takes longer than {PATIENCE:g} s and was ended")
                return
        if process.returncode:
            last = output.decode("utf-8", "replace").strip().rpartition("\n")[2]
            self._say(f"warning: --on {alarm.kind}: exit code {process.returncode}{': ' * bool(last)}{last}")
