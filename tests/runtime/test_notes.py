"""What an actor says of a run by ``note`` is on stderr and in the record, once."""

from __future__ import annotations

import json

from tests.kit.programs import finish, start

PROGRAM = """
from eprune.runtime import Program

program = Program("tiny", "here", "", __file__)
program.unit("cpu")
program.actor("In", "mine.py:Short", unit="cpu")
program.actor("Out", "mine.py:Take", unit="cpu")
program.fifo("f", "In.out", "Out.in", "int32", (1,), capacity=2)
raise SystemExit(program.main())
"""
MINE = """
from eprune.runtime import Actor, EndOfStream


class Short(Actor):
    def fire(self, inputs, outputs):
        self.note("2 of 3 files were left out")
        raise EndOfStream


class Take(Actor):
    def fire(self, inputs, outputs):
        pass
"""


def test_a_note_of_an_actor_is_on_stderr_and_in_the_record(tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "here.py").write_text(PROGRAM)
    code, _, err = finish(start(tmp_path / "here.py", "--record", str(tmp_path / "record.json")))
    assert (code, err) == (0, "here: note: actor 'In': 2 of 3 files were left out\n")
    (note,) = [each for each in json.loads((tmp_path / "record.json").read_text())["events"] if each["event"] == "note"]
    assert note["actor"] == "In"
    assert note["message"] == "actor 'In': 2 of 3 files were left out"


def test_a_trace_that_is_cut_short_is_said_to_be(tmp_path):
    (tmp_path / "mine.py").write_text(
        MINE.replace("self.note", "self.left -= 1\n        if not self.left:\n            self.note")
    )
    text = (tmp_path / "mine.py").read_text()
    text = text.replace("    def fire", "    left = 9\n\n    def fire", 1)
    text = text.replace("        raise EndOfStream", "            raise EndOfStream\n        outputs['out'][...] = 1")
    (tmp_path / "mine.py").write_text(text)
    short = "from eprune.runtime.tell import record\nrecord.MAX_SPANS = 4\n"
    (tmp_path / "here.py").write_text(short + PROGRAM)
    traced = (f"--{name}={tmp_path / name}" for name in ("record", "trace"))
    code, _, err = finish(start(tmp_path / "here.py", *traced))
    assert code == 0
    said = "the trace has the first 4 firings only of In, Out"
    assert err.count(said) == 1
    assert said in (tmp_path / "record").read_text()
