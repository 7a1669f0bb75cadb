"""What a process uses of its machine: processor time, memory, load. Complete where psutil is installed."""

from __future__ import annotations

import contextlib
import glob
import os
import time
from dataclasses import dataclass
from typing import Any, Optional

#: Seconds between two readings of what is slow to read: of the unique memory, for which the system walks through all of
#: the process's pages, and of the sensors.
UNIQUE_PERIOD = 5.0
#: Degrees Celsius that no sensor can have measured.
_HOTTEST = 150.0
_MISSING = "psutil is not installed: unique memory and loads are unknown (pip install psutil)"


@dataclass(frozen=True)
class Usage:
    """One reading. What is unknown is None, and ``usage_note`` says why.

    ``user_s`` and ``system_s``: seconds of processor time since the start. ``resident_bytes``: memory of the process
    that is in RAM now, shared libraries included; ``peak_memory_bytes``: the most that it was. ``unique_bytes``:
    memory that would be free if the process ended (at most UNIQUE_PERIOD old while it runs). ``load``: processor
    seconds of the process per second, 1.5 is one and a half cores; ``machine_load``: the same of the whole machine,
    which has ``machine_cores``. Loads are those since the reading before; in a last reading, since the start.
    ``machine_memory_bytes``: the machine's memory, of which ``available_bytes`` can still be had. ``temperature_c``: of
    the hottest part of the machine that has a sensor.
    """

    user_s: Optional[float] = None
    system_s: Optional[float] = None
    resident_bytes: Optional[int] = None
    peak_memory_bytes: Optional[int] = None
    unique_bytes: Optional[int] = None
    load: Optional[float] = None
    machine_load: Optional[float] = None
    machine_cores: Optional[int] = None
    machine_memory_bytes: Optional[int] = None
    available_bytes: Optional[int] = None
    temperature_c: Optional[float] = None
    usage_note: str = ""


class UsageMeter:
    """Reads what this process uses. Any one thread at a time may call it."""

    def __init__(self) -> None:
        self._psutil = _find_psutil()
        self._process = self._psutil and self._psutil.Process()
        self._begin = self._before = self._times()
        self._unique: Optional[int] = None
        self._temperature: Optional[float] = None
        self._slow_due = 0.0

    def read(self, last: bool = False) -> Usage:
        """A reading; ``last``: the loads since the start, and the unique memory now."""
        user, system, peak = _resource_usage()
        now, before = self._times(), self._begin if last else self._before
        self._before = now
        seconds = max(now[0] - before[0], 1e-9)
        load = (now[1] - before[1]) / seconds
        cores = os.cpu_count()
        slow = last or now[0] >= self._slow_due
        if slow:
            self._slow_due = now[0] + UNIQUE_PERIOD
            self._temperature = _temperature(self._psutil)
        machine_wide = (cores, *_memory(), self._temperature)
        if not self._psutil:
            return Usage(user, system, _resident(), peak, None, load, None, *machine_wide, _MISSING)
        try:
            resident = self._process.memory_info().rss
            if slow:
                self._unique = getattr(self._process.memory_full_info(), "uss", None)
        except (self._psutil.Error, OSError) as error:
            return Usage(user, system, _resident(), peak, None, load, None, *machine_wide, f"psutil: {error}")
        # The system counts in ticks: over a short time there may seem to be more than there can be.
        machine = None
        if now[2] and before[2]:
            machine = max(0.0, min((now[2] - before[2]) / seconds, float(cores or 1)))
        return Usage(user, system, resident, peak, self._unique, load, machine, *machine_wide)

    def _times(self) -> tuple[float, float, float]:
        """Seconds on the clock, of this process's processor time, and of the whole machine's (0 where unknown)."""
        busy = 0.0
        times = self._machine_times()
        if times is not None:
            idle = times.idle + getattr(times, "iowait", 0.0)
            # Guests are counted among the users, too.
            busy = sum(times) - idle - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        return time.monotonic(), time.process_time(), busy

    def _machine_times(self) -> Any:
        """None where they are unknown."""
        try:
            return self._psutil.cpu_times() if self._psutil else None
        except OSError:  # out of descriptors, for example
            return None


def _find_psutil() -> Any:
    """The module, None where it is missing. It is optional on a device."""
    try:
        import psutil
    except ImportError:
        return None
    return psutil


def _resource_usage() -> tuple[Optional[float], Optional[float], Optional[int]]:
    """Seconds of processor time in this process and in the system for it, and its peak memory in bytes."""
    try:
        import resource
    except ImportError:  # Windows has none
        times = os.times()
        return times.user, times.system, None
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime, used.ru_stime, used.ru_maxrss * 1024


def _memory() -> tuple[Optional[int], Optional[int]]:
    """The machine's memory, and what of it can still be had, in bytes, on Linux."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:  # noqa: PTH123
            found = dict(line.split(":", 1) for line in file)
        total, available = (int(found[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    except (OSError, ValueError, KeyError, IndexError):
        return None, None
    return total, available


def _temperature(psutil: Any) -> Optional[float]:
    """The highest temperature that a sensor tells, in degrees Celsius; without psutil those of the kernel's zones."""
    found: list[float] = []
    if hasattr(psutil, "sensors_temperatures"):
        with contextlib.suppress(OSError, ValueError):
            found = [each.current for several in psutil.sensors_temperatures().values() for each in several]
    else:
        for zone in glob.glob("/sys/class/thermal/thermal_zone*/temp"):  # noqa: PTH207
            with contextlib.suppress(OSError, ValueError), open(zone, encoding="ascii") as file:  # noqa: PTH123
                found.append(int(file.read()) / 1000)
    # A sensor that is off says what no machine that runs can be like.
    return max((each for each in found if 0 < each < _HOTTEST), default=None)


def _resident() -> Optional[int]:
    """The memory in RAM as far as it is known without psutil, on Linux."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError, AttributeError):
        return None
