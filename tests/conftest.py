"""Fixtures for all tests."""

import pytest

from tests.kit import programs


@pytest.fixture(autouse=True)
def no_process_outlives_its_test():
    yield
    programs.reap()
