"""Fixtures for all tests."""

import importlib.util
import os
import signal
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings

from eprune.runtime.fire.tflite import INTERPRETERS
from tests.kit import programs

if "PYTEST_XDIST_WORKER" in os.environ:  # tests that run side by side have ports of their own; of two runs, mostly
    first, _, last = (os.environ.get("EPRUNE_PORTS") or "20000-31999").partition("-")
    worker, workers = int(os.environ["PYTEST_XDIST_WORKER"][2:]), int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    share = min(1000, (int(last) + 1 - int(first)) // workers)
    shares = (int(last) + 1 - int(first)) // share
    begin = int(first) + share * ((os.getppid() + worker) % shares)
    os.environ["EPRUNE_PORTS"] = f"{begin}-{begin + share - 1}"


# What tests build of C is kept apart from what users do.
os.environ["XDG_CACHE_HOME"] = str(Path(tempfile.gettempdir(), "eprune-tests-cache"))

# On a busy machine an example may take a second; what a test may take in all has a limit of its own.
settings.register_profile("eprune", deadline=None)
settings.load_profile("eprune")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A script that starts the suite in the background has it ignore Ctrl-C, which all its processes would inherit.
    signal.signal(signal.SIGINT, signal.default_int_handler)

#: seconds that a test marked ``long`` may take
LONG = 3600


@pytest.hookimpl(tryfirst=True)  # before those that are not wanted are left out
def pytest_collection_modifyitems(items):
    variants = Counter()
    for item in items:
        sampled = item.get_closest_marker("sampled")
        if sampled:
            name = item.nodeid.partition("[")[0]
            if variants[name] % sampled.args[0]:
                item.add_marker(pytest.mark.long)
            variants[name] += 1
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.timeout(LONG))


@pytest.fixture(autouse=True)
def no_process_outlives_its_test():
    yield
    programs.reap()


@pytest.fixture(autouse=True)
def the_interpreter_of_a_test_is_installed(request):
    """A test with a parameter ``interpreter`` is skipped where that one is not installed."""
    callspec = getattr(request.node, "callspec", None)
    name = callspec.params.get("interpreter") if callspec else None
    if name in INTERPRETERS and importlib.util.find_spec(INTERPRETERS[name].partition(".")[0]) is None:
        pytest.skip(f"{name} is not installed here")
