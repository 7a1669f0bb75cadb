"""A fault in eprune itself ends a program with one clear message and exit code 70, whatever thread it comes up in."""

import pytest

from eprune.deploy.ports import free_base_port
from eprune.runtime import Program
from eprune.runtime.main import program as main
from eprune.runtime.main.assembly import Assembly
from eprune.runtime.main.fifos import Maker
from eprune.runtime.main.report import Reporter
from tests.kit.programs import ACTORS, finish, start, write_program


def program():
    made = Program("app", "host", "d", __file__)
    made.unit("cpu")
    made.actor("A", f"{ACTORS}:SlowCount", "cpu", {"n": "0"})
    made.actor("B", f"{ACTORS}:Show", "cpu")
    made.fifo("f", "A.out", "B.in", "int32", (3,), 2)
    return made


def fault(*_):
    raise KeyError("nobody expects this")


@pytest.fixture(autouse=True)
def nothing_is_left_behind(monkeypatch):
    leave = main.leave

    def leave_in_order(journal, code, at_once):
        assert not at_once, "a thread did not stop"
        return leave(journal, code, at_once)

    monkeypatch.setattr(main, "leave", leave_in_order)


def test_a_fault_in_the_main_thread_is_one_message(monkeypatch, capsys):
    monkeypatch.setattr(Assembly, "begin", fault)
    assert program().main([]) == 70
    err = capsys.readouterr().err
    assert err.startswith("host: error: INTERNAL ERROR: KeyError: 'nobody expects this' (test_internal_errors.py:")
    assert "report it" in err
    assert len(err.splitlines()) == 1


def test_a_fault_before_anything_runs_is_one_message(monkeypatch, capsys):
    monkeypatch.setattr(Maker, "make", fault)
    assert program().main([]) == 70
    assert capsys.readouterr().err.startswith("host: error: INTERNAL ERROR: KeyError")


def test_whoever_looks_for_the_fault_sees_where_it_was_raised(monkeypatch, capsys):
    monkeypatch.setenv("EPRUNE_DEBUG", "1")
    monkeypatch.setattr(Assembly, "begin", fault)
    assert program().main([]) == 70
    err = capsys.readouterr().err
    assert "INTERNAL ERROR" in err
    assert "Traceback (most recent call last)" in err


def test_a_fault_in_the_thread_that_keeps_the_status_ends_the_run(monkeypatch, capsys, tmp_path):
    snapshot, calls = Reporter.snapshot, []

    def breaks_later(self):
        calls.append(1)
        return fault() if len(calls) == 3 else snapshot(self)

    monkeypatch.setattr(Reporter, "snapshot", breaks_later)
    assert program().main(["--status", str(tmp_path / "status.json")]) == 70
    assert "host: error: INTERNAL ERROR in status: KeyError" in capsys.readouterr().err


def test_a_source_runs_whose_platform_has_no_link_that_may_break(tmp_path):
    """Somewhere else in the application a FIFO may lose tokens; here it does not."""
    port = free_base_port(1)
    link = "'int32', (3,), capacity=4"
    left = write_program(
        tmp_path,
        "left",
        "actor('A', 'ACTORS:Count', 'cpu', {'n': '5'})",
        f"tx('f', 'A.out', {link}, to='right', address='127.0.0.1', port={port})",
        aligned=True,
    )
    right = write_program(
        tmp_path,
        "right",
        "actor('B', 'ACTORS:Show', 'cpu')",
        f"rx('f', 'B.in', {link}, frm='left', port={port})",
        aligned=True,
    )
    first, second = start(left), start(right)
    assert finish(first)[0] == 0
    code, out, _ = finish(second)
    assert code == 0
    assert len([line for line in out.splitlines() if line.strip("[] ").split()[0].isdigit()]) == 5
