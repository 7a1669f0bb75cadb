"""What this machine has of what eprune uses: interpreters, libraries, programs, cores, memory, ports.

Every check answers for one thing, and says which commands miss it where it is not there. An interpreter counts only
once it has run a model, in a process of its own.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Optional

import eprune
from eprune.formats.examples import example

#: Seconds that a program may take to tell its version.
PATIENCE = 20
#: The least Python.
PYTHON = (3, 9)

#: How many checks there are.
CHECKS = 32


class State(str, Enum):
    """OK: it works. MISSING: it is not there. BROKEN: it is there, and does not work. INFO: good to know."""

    OK = "ok"
    MISSING = "missing"
    BROKEN = "broken"
    INFO = "info"


@dataclass(frozen=True)
class Check:
    """One thing. ``found`` is its version, or what is wrong; ``uses`` says what needs it, ``remedy`` how to get it.

    ``run``: `eprune run` does not work without it.
    """

    name: str
    state: State
    found: str
    uses: str = ""
    remedy: str = ""
    run: bool = False


#: Distribution -> (module, what needs it, whether that is `eprune run`, how it is installed if not by its own name).
_LIBRARIES = {
    "numpy": ("numpy", "tokens: every run", True, ""),
    "click": ("click", "the command line", True, ""),
    "rich": ("rich", "tables and progress", True, ""),
    "lxml": ("lxml", "reading XML files", True, ""),
    "Jinja2": ("jinja2", "generating programs", True, ""),
    "flatbuffers": ("flatbuffers", "reading .tflite models", True, ""),
    "Pillow": ("PIL", "pictures as sources", False, ""),
    "cryptography": ("cryptography", 'eprune certify, and links with security="tls"', False, ""),
    "scipy": ("scipy", "the best of all cuts in eprune report, and the tracker", False, ""),
    "psutil": ("psutil", "processor time and memory in records", False, ""),
    "matplotlib": ("matplotlib", "charts of eprune report and sweep, PNG files of simulate", False, "eprune[plot]"),
    "av": ("av", "cameras, and frames from and into video files", False, "eprune[video]"),
    "paho-mqtt": ("paho", "messages from and to an MQTT broker", False, "eprune[mqtt]"),
    "prometheus-client": ("prometheus_client", "figures for a Pushgateway", False, "eprune[prometheus]"),
    "sounddevice": ("sounddevice", "a microphone", False, "eprune[sound]"),
    "onnx": ("onnx", "reading .onnx models", False, "eprune[onnx]"),
    "onnxruntime": ("onnxruntime", "running .onnx models", False, "eprune[onnx]"),
    "eclipse-zenoh": ("zenoh", 'links with via="zenoh"', False, "eprune[zenoh]"),
    "dora-rs": ("dora", "programs as nodes of dora dataflows", False, "eprune[dora]"),
    "openvino": ("openvino", 'units with engine="openvino"', False, "eprune[openvino]"),
}

#: Program -> (arguments that print its version, what needs it, Debian's package).
_PROGRAMS = {
    "cc": (("--version",), "actors in C, where no library is ready for them", "gcc"),
    "dot": (("-V",), "pictures of eprune draw", "graphviz"),
    "ssh": (("-V",), 'eprune profile --endpoint, and links with security="ssh"', "openssh-client"),
}


def checks() -> Iterator[Check]:
    """All checks, one after the other. Those of libraries and interpreters start processes."""
    yield Check("eprune", State.OK, f"{eprune.__version__} in {Path(eprune.__file__).parent}")
    yield _python()
    yield from (_library(name) for name in _LIBRARIES)
    yield from _interpreters()
    yield _opencl()
    yield from (_program(name) for name in _PROGRAMS)
    yield _netem()
    yield _cores()
    yield _memory()
    yield _ports()


def ready(found: list[Check]) -> bool:
    """Whether `eprune run` has what it needs."""
    return all(check.state in (State.OK, State.INFO) for check in found if check.run)


def _python() -> Check:
    text = f"{platform.python_version()} ({sys.executable})"
    if sys.version_info < PYTHON:
        return Check(
            "Python", State.BROKEN, text, "everything", f"install Python {PYTHON[0]}.{PYTHON[1]} or later", True
        )
    return Check("Python", State.OK, text, "everything", run=True)


def _version(distribution: str) -> Optional[str]:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _library(name: str) -> Check:
    module, uses, run, extra = _LIBRARIES[name]
    remedy = f"pip install '{extra}'" if extra else f"pip install {name}"
    if importlib.util.find_spec(module) is None:
        return Check(name, State.MISSING, "", uses, remedy, run)
    problem = _output([sys.executable, "-c", f"import {module}"])[1]
    if problem:
        return Check(name, State.BROKEN, problem, uses, remedy, run)
    return Check(name, State.OK, _version(name) or "", uses, run=run)


def _output(command: list[str]) -> tuple[str, str]:
    """What a program prints, and what is wrong with it, "" if nothing is."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", f"it does not run: {error}"
    lines = done.stdout.strip().splitlines() or [f"exit code {done.returncode}"]
    return (done.stdout.strip(), "") if done.returncode == 0 else ("", lines[-1])


def _interpreters() -> list[Check]:
    """Each TFLite interpreter. `eprune run` needs one that works; the other one is then only good to know."""
    from eprune.runtime.fire.tflite import INTERPRETERS

    found = [_interpreter(name) for name in INTERPRETERS]
    if not any(check.state is State.OK for check in found):
        return [replace(check, run=True) for check in found]
    return [
        replace(check, run=True) if check.state is State.OK else replace(check, state=State.INFO, remedy="")
        for check in found
    ]


def _interpreter(name: str) -> Check:
    from eprune.formats.model_files import read_model
    from eprune.measure.probe import try_out
    from eprune.model.finding import EpruneError
    from eprune.runtime.fire.tflite import INTERPRETERS

    uses = "running models; one interpreter is enough"
    if importlib.util.find_spec(INTERPRETERS[name].partition(".")[0]) is None:
        return Check(name, State.MISSING, "not installed", uses, f"pip install {name}")
    try:
        try_out(read_model(example("graphs/vehicle.tflite")), name)
    except EpruneError as error:
        return Check(name, State.BROKEN, error.findings[0].message, uses, f"pip install --force-reinstall {name}")
    return Check(name, State.OK, f"{_version(name) or '?'}, runs a model", uses)


#: Prints each OpenCL device and, behind a tabulator, why no kernel can be built for it.
_DEVICES = """from eprune.runtime.fire import opencl
for place, said in opencl.devices():
    print(place, said + "\\t" + opencl.Device(place).refusal)
"""


def _opencl() -> Check:
    """The OpenCL devices, as units state them; looked for in a process of its own, which a driver may crash."""
    uses = 'units with opencl="PLATFORM:DEVICE"'
    if importlib.util.find_spec("pyopencl") is None:
        return Check("OpenCL", State.MISSING, "", uses, "pip install 'eprune[opencl]'")
    text, problem = _output([sys.executable, "-c", _DEVICES])
    if problem:
        return Check("OpenCL", State.BROKEN, problem, uses, "install the driver of the device anew")
    devices = [line.replace(" opencl ", " ").partition("\t") for line in text.splitlines()]
    if not devices:
        remedy = "the driver of the device; pip install pocl-binary-distribution has one for processors"
        return Check("OpenCL", State.MISSING, "no device", uses, remedy)
    found = "; ".join(said + f", which builds no kernel: {reason}" * bool(reason) for said, _, reason in devices)
    if all(reason for _, _, reason in devices):
        return Check("OpenCL", State.BROKEN, found, uses, "install a newer driver of the device")
    return Check("OpenCL", State.OK, found, uses)


def _program(name: str) -> Check:
    arguments, uses, package = _PROGRAMS[name]
    if shutil.which(name) is None:
        return Check(name, State.MISSING, "", uses, f"apt-get install {package}")
    text, problem = _output([name, *arguments])
    return Check(name, State.BROKEN if problem else State.OK, problem or text.splitlines()[0], uses)


def _netem() -> Check:
    """Whether the kernel can slow links down, tried in a network namespace of its own."""
    uses = "real network emulation (scripts/netlab.py); --emulate needs nothing"
    if not sys.platform.startswith("linux"):
        return Check("tc netem", State.MISSING, "only Linux has it", uses)
    if shutil.which("tc") is None or shutil.which("unshare") is None:
        return Check("tc netem", State.MISSING, "", uses, "apt-get install iproute2 util-linux")
    isolated = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--net"]
    _, problem = _output([*isolated, "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"])
    return Check("tc netem", State.BROKEN if problem else State.OK, problem or "works", uses)


def _cores() -> Check:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Check("cores", State.INFO, f"{usable} of {os.cpu_count()} for this process", "units with a core")


def _memory() -> Check:
    from eprune.model.quantity import format_size

    try:
        import psutil

        memory = psutil.virtual_memory()
        text = f"{format_size(memory.total)}, {format_size(memory.available)} available"
    except ImportError:
        try:
            total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
            text = f"{format_size(total)}; how much is available is not known without psutil"
        except (ValueError, OSError, AttributeError):
            text = "not known without psutil"
    return Check("memory", State.INFO, text)


def _ports() -> Check:
    """Whether the links of a run on this machine get ports."""
    from eprune.deploy.ports import free_base_port

    uses = "links of eprune run"
    try:
        base = free_base_port(8)
    except OSError as error:
        return Check("ports", State.BROKEN, str(error), uses, "state a range: EPRUNE_PORTS=20000-29999", True)
    return Check("ports", State.OK, f"free on loopback from {base}", uses, run=True)
