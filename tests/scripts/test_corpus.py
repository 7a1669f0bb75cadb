"""`python -m scripts.corpus`: a row for each model, and what came of it."""

from __future__ import annotations

import json
import sys

import pytest

from scripts import corpus
from tests.kit import tiny_models


@pytest.fixture
def run(monkeypatch, capsys):
    """Exit code and stdout of the script."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["corpus", *map(str, arguments)])
        code = corpus.main()
        return code, capsys.readouterr().out

    return call


@pytest.mark.long
def test_a_folder_of_models_becomes_a_table_with_totals(tmp_path, run):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "blockwise.tflite").write_bytes(tiny_models.blockwise())
    (tmp_path / "junk.tflite").write_bytes(b"no model at all")
    code, out = run(tmp_path, "--cuts", "2", "--frames", "1", "--format", "json")
    told = json.loads(out)
    rows = {row["model"].rpartition("/")[2]: row for row in told["models"]}
    exact, refused = rows["blockwise.tflite"], rows["junk.tflite"]
    assert (code, exact["operators"], exact["tried"], exact["exact"], exact["verdict"]) == (0, 3, 3, 3, "exact")
    assert (refused["verdict"], refused["operators"]) == ("refused", None)
    assert refused["text"].startswith("is not a TFLite model")
    assert told["totals"] == {
        "models": 2,
        "exact": 1,
        "refused": 1,
        "too slow": 0,
        "differs": 0,
        "crashed": 0,
        "ways tried": 3,
        "ways exact": 3,
    }
    table = corpus.as_table(told["models"], tmp_path).splitlines()
    assert table[1].split() == ["deep/blockwise.tflite", "3", "3", "3", "exact"]


def test_what_differs_or_dies_comes_first():
    tries = [
        {"way": "--cut 1", "verdict": "exact", "text": ""},
        {"way": "--cut 2", "verdict": "differs", "text": "'a' is the first"},
        {"way": "--cut 3", "verdict": "refused", "text": "no"},
    ]
    row = corpus.judge("m.tflite", [{"operators": 4}, *tries], "")
    assert (row["verdict"], row["text"], row["tried"], row["exact"]) == ("differs", "--cut 2: 'a' is the first", 3, 1)
    row = corpus.judge("m.tflite", [{"operators": 4}, *tries[:1]], "crashed: SIGSEGV")
    assert (row["verdict"], row["text"], row["exact"]) == ("crashed", "SIGSEGV", 1)


def test_an_empty_folder_is_wrong_usage(tmp_path, run, capsys):
    with pytest.raises(SystemExit) as end:
        run(tmp_path)
    assert end.value.code == 2
    assert "holds no .tflite models" in capsys.readouterr().err
