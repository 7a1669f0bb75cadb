"""The fuzz targets: they bear what they begin with and noise, without atheris, and notice a fault that is planted."""

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eprune.runtime.net import counters, protocol, wire
from eprune.runtime.net.counters import Sending
from eprune.runtime.net.ends import RxFifo
from eprune.runtime.net.protocol import Protocol
from scripts.fuzz import targets
from tests.kit.programs import ROOT


@pytest.mark.parametrize("name", targets.TARGETS)
def test_a_target_bears_what_it_begins_with(name):
    target = targets.TARGETS[name]
    seeds = list(target.seeds())
    assert len(seeds) >= 6
    for seed in seeds:
        target.run(seed)


@pytest.mark.parametrize("name", targets.TARGETS)
def test_a_target_bears_noise(name):
    @settings(max_examples=40, deadline=None, database=None)
    @given(st.binary(max_size=300))
    def play(data):
        targets.TARGETS[name].run(data)

    play()


def test_a_count_that_is_not_checked_is_noticed(monkeypatch):
    monkeypatch.setattr(counters, "_check", lambda told, sent, last: None)
    with pytest.raises((AssertionError, IndexError)):
        for seed in targets.TARGETS["machines"].seeds():
            targets.fuzz_machines(seed)


def test_a_length_that_is_not_checked_is_noticed(monkeypatch):
    monkeypatch.setattr(wire, "greeting_size", lambda data: wire.GREETING_BYTES + 2**31)
    with pytest.raises(AssertionError):
        targets.fuzz_wire(wire.pack_greeting({}))


def test_what_a_stranger_says_to_a_connection_is_heard(monkeypatch):
    """Tokens and credits get through to what handles them: else the target finds nothing because it tries nothing."""
    heard = set()
    for kind, name in ((RxFifo, "arrived"), (Sending, "resume"), (Protocol, "_end")):
        handle = getattr(kind, name)

        def handles(self, *arguments, name=name, handle=handle):
            heard.add(name)
            return handle(self, *arguments)

        monkeypatch.setattr(kind, name, handles)
    table = {each: handles if act is handle else act for each, act in protocol.TABLE.items()}
    monkeypatch.setattr(protocol, "TABLE", table)
    for seed in targets.TARGETS["connection"].seeds():
        targets.fuzz_connection(seed)
    assert heard == {"arrived", "resume", "_end"}


def test_the_names_in_the_help_are_those_of_the_targets():
    done = subprocess.run(
        [sys.executable, "-m", "scripts.fuzz", "--help"], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert ", ".join(targets.TARGETS) in done.stdout
