"""`eprune evaluate`: what a user sees of an application on his own pictures."""

from __future__ import annotations

import json
import re

import jsonschema
import numpy as np
import pytest
from application import APPLICATION


@pytest.fixture
def pictures(app):
    """Pictures for the application, in the current folder."""
    pixels = np.random.default_rng(1).integers(0, 256, (12, 8, 8, 3), np.uint8)
    np.savez("unlabelled.npz", x=pixels)
    np.savez("pictures.npz", x=pixels, y=np.arange(12) % 5)
    return app


def test_an_application_and_its_model_give_the_same_accuracy(pictures, eprune):
    found = [
        json.loads(eprune("evaluate", *what, "--data", "pictures.npz", "--format", "json").out)
        for what in (("app.xml",), ("tiny.tflite",), ("app.xml", "-p", "platforms", "-m", "split"))
    ]
    assert len({each["right"] for each in found}) == 1
    assert [each["links"] for each in found[:2]] == [[], []]
    assert found[2]["links"] == [{"from": "endpoint", "to": "server", "bytes_per_frame": 256}]


def test_without_labels_it_is_the_agreement_with_the_whole_model(pictures, eprune):
    done = eprune("evaluate", "app.xml", "--data", "unlabelled.npz")
    assert "tiny: agreement with tiny.tflite: 100.00 % (61.0 to 100.0 %), 6 of 6 pictures of the test part" in done.out


def test_applications_are_set_side_by_side(pictures, eprune):
    placed = ("-p", "platforms", "-m", "split")
    assert (
        eprune("apply", "compress", "app.xml", *placed, "--fifo", "f2", "--method", "lossless", "-o", "small").code == 0
    )
    assert eprune("import", "tiny.tflite", "-o", "whole").code == 0
    given = ("evaluate", "app.xml", *placed, "--data", "pictures.npz", "--against", "small", "--against", "whole")
    done = eprune(*given, "--format", "json", "--allow-outside")
    assert done.code == 0, done.err
    data = json.loads(done.out)
    jsonschema.validate(data, json.loads(eprune("schema", "evaluate").out))
    small, whole = data["against"]
    assert data["right"] == small["right"] == whole["right"], "nothing was lost"
    assert (len(data["links"]), len(small["links"]), len(whole["links"])) == (1, 1, 0)
    rows = eprune(*given, "--allow-outside").out.splitlines()
    assert re.match(r"accuracy, 6 pictures of the test part; latency predicted; with ai-edge-litert", rows[0])
    assert [row.split()[0] for row in rows[3:6]] == ["tiny", small["application"], "tiny"]
    assert [row.split()[-3] for row in rows[3:6]][::2] == ["256", "0"]


def test_all_agree_with_one_model_where_there_are_no_labels(pictures, eprune):
    assert eprune("import", "tiny.tflite", "-o", "whole").code == 0
    done = eprune("evaluate", "app.xml", "--data", "unlabelled.npz", "--against", "whole", "--format", "json")
    data = json.loads(done.out)
    assert [each["model"] for each in (data, *data["against"])] == ["tiny.tflite", "tiny.tflite"]
    assert [each["value"] for each in (data, *data["against"])] == [1, 1]


@pytest.mark.parametrize(
    ("more", "words"),
    [(("--against", "nowhere"), "nowhere"), (("--against", "app", "--answer", "Out.in"), "--answer is a port of one")],
)
def test_what_cannot_be_set_beside_it_is_said(pictures, eprune, more, words):
    done = eprune("evaluate", "app.xml", "--data", "pictures.npz", *more)
    assert done.code == 2
    assert words in done.err
    assert not done.out


def test_the_answer_is_named_where_it_is_not_clear(pictures, eprune):
    more = APPLICATION.replace(
        '<actor name="Out" class="behaviours.py:Print"><in name="in" token="float32[1,5]"/></actor>',
        '<actor name="Out" class="behaviours.py:Print"><in name="in" token="float32[1,5]"/>'
        '<in name="other" token="float32[1,4,4,4]"/></actor>',
    )
    more = more.replace(
        '<out name="out" token="float32[1,4,4,4]"/>',
        '<out name="out" token="float32[1,4,4,4]" tensor="2"/><out name="also" token="float32[1,4,4,4]" tensor="2"/>',
        1,
    )
    more = re.sub("</application>", '<fifo name="f4" from="L1.also" to="Out.other"/></application>', more)
    tensor = json.loads(eprune("inspect", "tiny.tflite", "--format", "json").out)
    assert tensor
    (pictures / "more.xml").write_text(more.replace('tensor="2"', f'tensor="{pooled(pictures)}"'))
    done = eprune("evaluate", "more.xml", "--data", "pictures.npz")
    assert done.code == 2
    assert "it is not clear which input of a sink is the answer: Out.in (float32[1,5])" in done.err
    assert "--answer ACTOR.PORT" in done.err
    assert eprune("evaluate", "more.xml", "--data", "pictures.npz", "--answer", "Out.in").code == 0
    done = eprune("evaluate", "more.xml", "--data", "pictures.npz", "--answer", "Out.none")
    assert done.code == 2
    assert "'Out.none' is no input of a sink; there are Out.in, Out.other" in done.err


def test_the_latency_can_be_measured_or_emulated(pictures, eprune):
    for platform in (pictures / "platforms").iterdir():
        platform.write_text(platform.read_text().replace('port="5100"', 'port="5100" latency="30ms"'))
    split = ("app.xml", "-p", "platforms", "-m", "split", "--data", "pictures.npz", "--format", "json")
    found = {}
    for how in ((), ("--run",), ("--run", "--emulate")):
        done = eprune("evaluate", *split, *how)
        assert done.code == 0, done.err
        latency = json.loads(done.out)["latency"]
        found[latency["how"]] = latency["p50_ms"]
    assert found["predicted"] >= 30
    assert found["emulated"] >= 60, "the picture there, and the news of the result back"
    assert found["measured"] > 0


def pooled(folder):
    """The tensor behind the pool."""
    from eprune.formats.model_files import read_model

    return read_model(str(folder / "tiny.tflite")).operators[1].outputs[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("app.xml", "--data", "none"), "none: error[FILE]: is no file and no folder"),
        (("app.xml", "--data", "app.xml"), "app.xml: error[FILE]: is neither a folder of pictures nor an .npz file"),
        (("app.xml", "--data", "wrong.npz"), "x[0]: error[FILE]: is float64[3]: neither a picture"),
        (("app.xml", "--data", "pictures.npz", "--labels", "none.txt"), "labels='none.txt': expected names"),
        (("app.xml", "--data", "pictures.npz", "--split", "1", "--part", "calibration", "--labels", "a,b"), "none of"),
        (("none.tflite", "--data", "pictures.npz"), "none.tflite: error[FILE]"),
    ],
)
def test_what_does_not_fit_is_said_in_one_message(pictures, eprune, arguments, said):
    np.savez("wrong.npz", x=np.random.default_rng(1).random((4, 3)))
    done = eprune("evaluate", *arguments)
    assert done.code == 2
    assert said in done.err
    assert "Traceback" not in done.err
    assert not done.out
