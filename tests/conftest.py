"""Fixtures for all tests."""

import importlib.util
import os

import pytest

from eprune.runtime.tflite import INTERPRETERS
from tests.kit import programs

if "PYTEST_XDIST_WORKER" in os.environ:  # tests that run side by side have ports of their own; of two runs, mostly
    first = 20000 + 1000 * ((os.getppid() + int(os.environ["PYTEST_XDIST_WORKER"][2:])) % 12)
    os.environ["EPRUNE_PORTS"] = f"{first}-{first + 999}"


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
