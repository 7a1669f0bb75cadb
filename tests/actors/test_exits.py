"""Early exits: the gate that decides, and the sink that writes what came out."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from exit_gate import ExitGate, confidence
from exit_lines import ExitLines

from tests.kit.ports import port_type

SCORES, FEATURES, ONE, CLASS = map(port_type, ("float32[1,4]", "float32[3]", "float32[1]", "int32[1]"))
SURE, UNSURE = np.float32([[0.0625, 0.75, 0.125, 0.0625]]), np.float32([[0.25, 0.25, 0.25, 0.25]])


def made(actor, inputs, outputs):
    actor.name, actor.inputs, actor.outputs = "actor", inputs, outputs
    actor.initialize()
    return actor


def gate(threshold, measure="probability", **more):
    outputs = {"early": SCORES, "deep": FEATURES, "confidence": ONE, **more}
    return made(ExitGate(threshold, measure), {"scores": SCORES, "features": FEATURES}, outputs)


@pytest.mark.parametrize(
    ("threshold", "scores", "row"),
    [("0.7", SURE, 0), ("0.75", SURE, 0), ("0.76", SURE, 1), ("0", UNSURE, 0), ("0.3", UNSURE, 1), ("1.1", SURE, 1)],
)
def test_what_reaches_the_threshold_leaves(threshold, scores, row):
    assert gate(threshold).control({"scores": scores, "features": np.zeros(3, np.float32)}) == row


def test_entropy_is_in_relation_to_that_of_equal_scores():
    assert confidence(UNSURE, "entropy") == pytest.approx(0)
    assert confidence(np.float32([[0, 1, 0, 0]]), "entropy") == 1
    entropy = -sum(p * math.log(p) for p in (0.0625, 0.75, 0.125, 0.0625))
    assert confidence(SURE, "entropy") == pytest.approx(1 - entropy / math.log(4))
    assert gate("0.3", "entropy").control({"scores": SURE}) == 0
    assert gate("0.5", "entropy").control({"scores": SURE}) == 1


def test_scores_that_are_no_numbers_are_not_sure():
    for measure in ("probability", "entropy"):
        assert confidence(np.float32([[np.nan, 1, 0, 0]]), measure) == 0


def test_the_gate_copies_what_goes_on_its_way():
    actor, features = gate("0.5"), np.float32([1, 2, 3])
    rooms = {"early": np.full((1, 4), 77, np.float32), "confidence": np.zeros(1, np.float32)}
    given = {"scores": SURE, "features": features}
    assert actor.control(given) == 0
    actor.fire(given, rooms)
    assert rooms["early"].tolist() == SURE.tolist()
    assert rooms["confidence"] == [0.75]
    deep = {"deep": np.full(3, 77, np.float32)}
    actor.fire(given, deep)
    assert deep["deep"].tolist() == [1, 2, 3]


def sink(tmp_path, labels="car,bus,truck,motorcycle", **inputs):
    inputs = inputs or {"early": SCORES, "late": SCORES, "confidence": ONE, "wanted": CLASS}
    return made(ExitLines(labels, str(tmp_path / "lines")), inputs, {})


def lines(tmp_path):
    return [json.loads(line) for line in (tmp_path / "lines").read_text().splitlines()]


def audited(tmp_path, wish, *agree):
    """A sink that has seen so many audits, and as many frames that went on; and what it has noted."""
    actor = made(ExitLines("", str(tmp_path / "lines"), wish), {"early": SCORES, "late": SCORES}, {})
    notes = []
    actor.tell = notes.append
    for same in agree:
        actor.mode = 2
        actor.fire({"early": SURE, "late": SURE if same else SURE[:, ::-1]}, {})
        actor.mode = 1
        actor.fire({"late": SURE}, {})
    actor.finalize()
    return actor, notes


def test_audits_are_figures_of_the_run_while_it_runs(tmp_path):
    actor, notes = audited(tmp_path, "", *[True] * 18, False, False)
    found = actor.figures
    assert (found["audits"], found["agreement"]) == (20, 0.9)
    assert found["agreement_low"] < 0.9 < found["agreement_high"] < 1
    assert found["share"] == pytest.approx(0.5, abs=0.05)
    assert notes == []


def test_agreement_that_cannot_be_what_was_wished_for_is_noted_once(tmp_path):
    assert audited(tmp_path, "0.9", *[True] * 30)[1] == []
    _, notes = audited(tmp_path, "0.9", *[True, False] * 30)
    assert len(notes) == 1
    assert "the wish is 0.9" in notes[0]
    assert audited(tmp_path, "0.6", *[True, False] * 30)[1] == [], "half of the frames go on, and agree"


def test_a_line_for_each_frame_and_one_for_all(tmp_path):
    actor = sink(tmp_path)
    beside = {"confidence": np.float32([0.75]), "wanted": np.int32([1])}
    actor.fire({"early": SURE, **beside}, {})
    actor.fire({"late": SURE[:, ::-1], **beside, "wanted": np.int32([3])}, {})
    actor.finalize()
    assert lines(tmp_path) == [
        {"frame": 0, "exit": "early", "class": "bus", "score": 0.75, "confidence": 0.75, "wanted": "bus"},
        {"frame": 1, "exit": "late", "class": "truck", "score": 0.75, "confidence": 0.75, "wanted": "motorcycle"},
        {"frames": 2, "accuracy": 0.5, "early_accuracy": 1.0, "late_accuracy": 0.0},
    ]


def test_without_what_is_wanted_there_is_no_accuracy(tmp_path):
    actor = sink(tmp_path, "", first=SCORES, second=SCORES)
    actor.fire({"second": SURE}, {})
    actor.finalize()
    assert lines(tmp_path) == [{"frame": 0, "exit": "second", "class": "1", "score": 0.75}, {"frames": 1}]


def test_two_answers_to_one_frame_are_refused(tmp_path):
    actor = sink(tmp_path)
    with pytest.raises(ValueError, match="early, late are active; exactly one exit must be active"):
        actor.fire({"early": SURE, "late": SURE}, {})
    actor.finalize()
    assert lines(tmp_path) == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda _: ExitGate("sure"), "threshold='sure': expected a number"),
        (lambda _: ExitGate("1", "luck"), "expected probability or softmax or entropy or detections or random"),
        (lambda _: gate("1", late=SCORES), "the outputs 'early' and 'deep'"),
        (lambda _: gate("1", deep=SCORES), "and 'deep' with those of 'features'"),
        (lambda _: gate("1", confidence=FEATURES), "port 'confidence' is float32"),
        (lambda path: sink(path, wanted=CLASS), "needs inputs for scores"),
        (lambda path: sink(path, early=SCORES, late=FEATURES), "needs inputs for scores, of one type"),
        (lambda path: sink(path, early=SCORES, wanted=ONE), r"port 'wanted': expected int32\[1\]"),
        (lambda path: sink(path, "a,b"), "2 labels for 4 scores"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, make, message):
    with pytest.raises(ValueError, match=message):
        make(tmp_path)


def test_a_share_of_those_that_leave_is_audited():
    own = ExitGate("0.7", audit="0.25")
    given = {"scores": SURE, "features": np.zeros(3, np.float32)}
    assert [own.control(given) for _ in range(8)] == [0, 0, 0, 2, 0, 0, 0, 2]
    assert [own.control({**given, "scores": UNSURE}) for _ in range(8)] == [1] * 8


def test_quantised_scores_are_compared_as_numbers():
    own = ExitGate("0.7", scale="0.00390625", zero="-128")
    scores = np.int8([[0, 60, -128, -60]])
    assert own.control({"scores": scores, "features": scores}) == 0
    assert float(own.confidence) == pytest.approx(188 / 256)


@pytest.mark.parametrize("audit", ["-1", "2", "often"])
def test_an_audit_is_a_share(audit):
    with pytest.raises(ValueError, match="audit="):
        ExitGate("0.7", audit=audit)


def test_an_audited_frame_is_answered_by_the_whole_and_compared(tmp_path):
    sink = made(ExitLines(path=str(tmp_path / "lines")), {"early": SCORES, "late": SCORES}, {})
    other = SURE[:, ::-1]
    for early, late in ((SURE, SURE), (SURE, other), (SURE, SURE)):
        sink.mode = 2
        sink.fire({"early": early, "late": late}, {})
    sink.mode = 0
    sink.fire({"early": SURE}, {})
    sink.finalize()
    *lines, last = map(json.loads, (tmp_path / "lines").read_text().splitlines())
    assert [line["exit"] for line in lines] == ["audit", "audit", "audit", "early"]
    assert [line.get("agree") for line in lines] == [True, False, True, None]
    assert lines[1]["class"] == str(other.argmax())
    assert last == {"frames": 4, "audits": 3, "agreement": 0.666667, "agreement_low": pytest.approx(0.20765, abs=1e-4)}
