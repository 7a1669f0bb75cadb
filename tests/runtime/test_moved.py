"""Modules of the runtime that have moved are found under their old names, for one version."""

import importlib
import sys

import pytest

from eprune.runtime.moved import MOVED


@pytest.mark.parametrize("old", MOVED)
def test_an_old_name_is_the_new_module_and_warns(old):
    sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match=MOVED[old]) as warned:
        module = importlib.import_module(old)
    assert module is importlib.import_module(MOVED[old])
    assert len(warned) == 1


def test_what_was_never_there_is_not_found():
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'eprune\.runtime\.nonsense'"):
        importlib.import_module("eprune.runtime.nonsense")
