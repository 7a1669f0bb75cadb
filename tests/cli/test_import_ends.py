"""`eprune import --input`: from a model and a user's files to an application, with nothing written by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from lxml import etree
from PIL import Image

from eprune.measure import apart
from tests.kit import ends, tiny_models
from tests.kit.ends import save_sound

SHARED = Path(__file__).parents[3] / "shared" / "models"
COLOURS = {"a_green": (0, 255, 0), "b_blue": (0, 0, 255), "c_red": (255, 0, 0)}
LABELS = "red\ngreen\nblue\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with photos of one colour each, and models that say which."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for name, colour in COLOURS.items():
        Image.new("RGB", (20, 10), colour).save(tmp_path / "photos" / f"{name}.png")
    (tmp_path / "photos" / "notes.txt").write_text("not a picture")
    (tmp_path / "plain.tflite").write_bytes(ends.brightest())
    (tmp_path / "told.tflite").write_bytes(ends.with_metadata(ends.brightest(), LABELS, [127.5], [127.5]))
    (tmp_path / "labels.txt").write_text(LABELS)
    return tmp_path


def actors_of(application):
    """Class -> parameters of the sources and sinks of an application."""
    found = {}
    for actor in etree.parse(str(application)).getroot().iter("actor"):
        if actor.get("class"):
            name = actor.get("class").rpartition(":")[2]
            found[name] = {each.get("name"): each.get("value") for each in actor.iter("param")}
    return found


def lines(done):
    return [json.loads(line) for line in done.out.splitlines()]


def seen(done, *path):
    assert done.code == 0, done.err
    return [line["class"] for line in lines(done)]


def test_what_the_model_says_is_used(folder, eprune, eprune_process):
    done = eprune("import", "told.tflite", "-o", "app", "--input", "photos")
    assert (done.code, done.out) == (0, "")
    assert "note" not in done.err
    assert actors_of("app/application.xml") == {
        "ImageSource": {"path": "inputs/t0", "mean": "0.5", "std": "0.5"},
        "JsonLines": {"labels": "labels.txt"},
    }
    assert eprune("analyze", "app/application.xml", "-p", "app", "-m", "app", "--strict").code == 0
    ran = eprune_process("run", "app/application.xml", "-p", "app", "-m", "app")
    assert seen(ran) == ["green", "blue", "red"]
    # of a pixel at both ends of the range, -1 and 1
    assert lines(ran)[0]["score"] == pytest.approx(np.exp(1) / (np.exp(1) + 2 * np.exp(-1)), rel=1e-5)


def test_the_folder_has_all_that_is_needed_and_can_be_moved(folder, eprune, eprune_process):
    eprune("import", "told.tflite", "-o", "app", "--input", "photos")
    Path("elsewhere").mkdir()
    Path("app").rename("elsewhere/app")
    Path("photos").rename("gone")
    ran = eprune_process("run", "elsewhere/app/application.xml", "-p", "elsewhere/app", "-m", "elsewhere/app")
    assert seen(ran) == ["green", "blue", "red"]


def test_two_machines_in_two_commands(folder, eprune, eprune_process):
    done = eprune("import", "told.tflite", "-o", "app", "--input", "photos", "--split", "best", "-p", "pi,server")
    assert done.code == 0
    assert "the best cut is predicted to be after mean_0" in done.err
    assert done.err.endswith("next: eprune run app/application.xml -p app/platforms -m app/mappings\n")
    ran = eprune_process("run", "app/application.xml", "-p", "app/platforms", "-m", "app/mappings")
    assert seen(ran) == ["green", "blue", "red"]


def test_a_cut_that_is_named_and_addresses(folder, eprune):
    options = ("--split", "after_mean_0", "-p", "pi", "server=192.168.1.10")
    assert eprune("import", "told.tflite", "-o", "app", "--input", "photos", *options).code == 0
    [link] = etree.parse("app/platforms/pi.xml").getroot().iter("link")
    assert (link.get("to"), link.get("address")) == ("server", "192.168.1.10")
    homes = {each.get("actor"): each.get("platform") for each in etree.parse("app/mappings/pi.xml").getroot()}
    assert homes == {"t0": None, "mean_0": None, "softmax_1": "server", "Classes": "server"}


def test_a_cut_inside_a_layer_divides_it(folder, eprune):
    (folder / "net.tflite").write_bytes(tiny_models.conv_pool_dense())
    done = eprune("import", "net.tflite", "-o", "app", "--split", "after_fully_connected_2", "-p", "pi,server")
    assert done.code == 0
    text = Path("app/application.xml").read_text()
    assert [line.split('"')[5] for line in text.splitlines() if "operators=" in line] == ["0", "1", "2", "3"]


def test_three_machines(folder, eprune):
    (folder / "net.tflite").write_bytes(tiny_models.conv_pool_dense())
    options = ("--split", "after_0", "after_1", "-p", "a,b,c")
    done = eprune("import", "net.tflite", "-o", "app", *options)
    assert done.code == 0
    assert eprune("analyze", "app/application.xml", "-p", "app/platforms", "-m", "app/mappings", "--strict").code == 0


def test_what_is_assumed_is_said_once_with_the_option_for_it(folder, eprune):
    done = eprune("import", "plain.tflite", "-o", "app", "--input", "photos")
    notes = [line for line in done.err.splitlines() if line.startswith("note")]
    assert len(notes) == 1
    assert "taken as -1 to 1 (mean 0.5, std 0.5); --mean and --std say otherwise" in notes[0]
    done = eprune("import", "plain.tflite", "-o", "app", "--input", "photos", "--mean", "0", "--std", "0.5")
    assert "note" not in done.err
    assert actors_of("app/application.xml")["ImageSource"] == {"path": "inputs/t0", "mean": "0", "std": "0.5"}


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_quantised_models_get_pixels_and_their_scores_are_real_numbers(folder, eprune, eprune_process, dtype):
    (folder / "q.tflite").write_bytes(ends.brightest_quantized(dtype))
    done = eprune("import", "q.tflite", "-o", "app", "--input", "photos", "--labels", "labels.txt")
    assert "note" not in done.err
    ran = eprune_process("run", "app/application.xml", "-p", "app", "-m", "app")
    assert seen(ran) == ["green", "blue", "red"]
    assert [line["score"] for line in lines(ran)] == pytest.approx([1, 1, 1], abs=0.01)


@pytest.mark.parametrize(
    ("scale", "zero_point", "mean", "std", "parameters"),
    [
        (1 / 255, -128, [0], [255], {}),  # 0 to 1, and its range is that: pixels as they are
        (2 / 255, 0, [127.5], [127.5], {}),  # -1 to 1
        (2 / 255, 0, [0], [255], {"mean": "0", "std": "1", "scale": None, "zero_point": "0"}),  # half of the range
        (1 / 128, 0, [127, 128, 127.5], [127.5], {}),  # one std for all channels
        (0.02, -14, [123, 117, 104], [58, 57, 57], {"mean": None, "std": None, "scale": None, "zero_point": "-14"}),
    ],
)
def test_pictures_are_scaled_by_the_files_own_quantisation(folder, eprune, scale, zero_point, mean, std, parameters):
    data = ends.with_metadata(ends.brightest_quantized("int8", scale, zero_point), None, mean, std)
    (folder / "q.tflite").write_bytes(data)
    assert eprune("import", "q.tflite", "-o", "app", "--input", "photos").code == 0
    found = actors_of("app/application.xml")["ImageSource"]
    assert set(found) == {"path", *parameters}
    assert {name: found[name] for name, value in parameters.items() if value} == {
        name: value for name, value in parameters.items() if value
    }


def test_channels_first(folder, eprune, eprune_process):
    (folder / "planes.tflite").write_bytes(ends.brightest(planes=True))
    eprune("import", "planes.tflite", "-o", "app", "--input", "photos", "--labels", "labels.txt")
    ran = eprune_process("run", "app/application.xml", "-p", "app", "-m", "app")
    assert seen(ran) == ["green", "blue", "red"]


def test_segments_and_a_picture_that_several_actors_read(folder, eprune, eprune_process):
    (folder / "seg.tflite").write_bytes(ends.segmenter())
    eprune("import", "seg.tflite", "-o", "app", "--input", "photos", "--labels", "labels.txt")
    ran = eprune_process("run", "app/application.xml", "-p", "app", "-m", "app")
    assert [line["segments"] for line in lines(ran)] == [{"green": 1.0}, {"blue": 1.0}, {"red": 1.0}]


def test_the_operator_that_selects_boxes(folder, eprune, eprune_process):
    (folder / "boxes.tflite").write_bytes(ends.selecting_detector())
    Path("labels.txt").write_text("car\nbus\n")
    done = eprune("import", "boxes.tflite", "-o", "app", "--input", "photos", "--labels", "labels.txt")
    assert done.code == 0, done.err
    assert set(actors_of("app/application.xml")) == {"ImageSource", "DetectionLines"}
    ran = eprune_process("run", "app/application.xml", "-p", "app", "-m", "app", "--frames", "1")
    objects = lines(ran)[0]["objects"]
    assert [(each["class"], each["score"]) for each in objects] == [("car", 0.9), ("bus", 0.7)]
    assert objects[0]["box"] == pytest.approx([0.1, 0.2, 0.5, 0.6], abs=1e-3)


def test_a_picture_as_a_result_is_no_segmentation(folder, eprune):
    (folder / "seg.tflite").write_bytes(ends.segmenter())
    eprune("import", "seg.tflite", "-o", "app", "--input", "photos")
    assert set(actors_of("app/application.xml")) == {"ImageSource", "TensorSink"}


def rows(form):
    """The cells of a picture of 32 by 32: 16 + 4 + 1."""
    columns = {"objectness": 8, "classes": 7}[form]
    made = np.zeros((1, 21, columns))
    made[0, 5, :4] = [0.4, 0.3, 0.4, 0.4]
    made[0, 5, 4:] = [1, 0, 0.75, 0] if form == "objectness" else [0, 0.75, 0]
    return made if form == "objectness" else made.transpose(0, 2, 1)


@pytest.mark.parametrize("form", ["objectness", "classes"])
def test_rows_of_detectors_are_known_by_the_cells_of_the_picture(folder, eprune, eprune_process, form):
    (folder / "yolo.tflite").write_bytes(ends.detector(rows(form)))
    done = eprune("import", "yolo.tflite", "-o", "app", "--input", "photos", "--labels", "labels.txt")
    assert "taken as 0 to 1" in done.err, "as these detectors want it"
    found = actors_of("app/application.xml")["RowDetections"]
    assert found == {"labels": "labels.txt", "form": form, "size": "32,32"}
    ran = eprune_process("run", "app/application.xml", "-p", "app", "-m", "app", "--frames", "1")
    [found] = lines(ran)[0]["objects"]
    assert (found["class"], found["score"]) == ("green", 0.75)
    assert found["box"] == pytest.approx([0.1, 0.2, 0.5, 0.6], abs=1e-3)


def test_sound_in_windows(folder, eprune, eprune_process):
    (folder / "ear.tflite").write_bytes(ends.with_metadata(ends.listener(), rate=8000))
    save_sound(folder / "a.wav", np.arange(40) / 64, rate=8000)
    done = eprune("import", "ear.tflite", "-o", "app", "--input", "a.wav")
    assert "note" not in done.err
    assert actors_of("app/application.xml")["WavSource"] == {"path": "inputs/t0/a.wav", "rate": "8000"}
    ran = eprune_process("run", "app/application.xml", "-p", "app", "-m", "app")
    assert len(lines(ran)) == 3


def test_an_unknown_rate_is_said(folder, eprune):
    (folder / "ear.tflite").write_bytes(ends.listener())
    save_sound(folder / "a.wav", [0.5])
    assert "--rate says otherwise" in eprune("import", "ear.tflite", "-o", "app", "--input", "a.wav").err
    assert "--rate" not in eprune("import", "ear.tflite", "-o", "app", "--input", "a.wav", "--rate", "16000").err


def test_tensors_for_an_input_by_its_name(folder, eprune, eprune_process):
    np.save("some.npy", np.zeros((2, 8, 8, 3), np.float32))
    assert eprune("import", "plain.tflite", "-o", "app", "--input", "t0=some.npy").code == 0
    ran = eprune_process("run", "app/application.xml", "-p", "app", "-m", "app")
    assert len(lines(ran)) == 2


def test_a_folder_of_tensors_is_for_the_inputs_that_its_files_are_named_after(folder, eprune):
    m = tiny_models.ModelBuilder()
    left, right, out = m.tensor((1, 4)), m.tensor((1, 4)), m.tensor((1, 4))
    m.operator("ADD", [left, right], [out], "AddOptions")
    Path("two.tflite").write_bytes(m.build([left, right], [out]))
    Path("frames").mkdir()
    for name in ("t0", "t1", "other"):
        np.save(f"frames/{name}.npy", np.zeros((2, 4), np.float32))
    assert eprune("import", "two.tflite", "-o", "app", "--input", "frames").code == 0
    here = sorted(str(path.relative_to("app")) for path in Path("app/inputs").rglob("*.npy"))
    assert here == ["inputs/t0/t0.npy", "inputs/t1/t1.npy"]
    assert eprune("analyze", "app/application.xml", "-p", "app", "-m", "app", "--strict").code == 0


def test_a_model_that_is_written_anew_keeps_what_its_file_says(folder, eprune):
    """With other shapes, the model in the folder is a file of its own, which has no metadata."""
    data = ends.with_metadata(tiny_models.open_batch(), "".join(f"c{n}\n" for n in range(2048)), [127.5], [127.5])
    (folder / "open.tflite").write_bytes(data)
    assert eprune("import", "open.tflite", "-o", "app", "--input", "photos", "--shape", "t0=1,16,16,3").code == 0
    assert Path("app/open_1x16x16x3.tflite").is_file()
    found = actors_of("app/application.xml")
    assert found["ImageSource"] == {"path": "inputs/t0", "mean": "0.5", "std": "0.5"}
    assert found["JsonLines"] == {"labels": "labels.txt"}


def test_one_label_too_few_leaves_class_0_to_the_background(folder, eprune):
    Path("labels.txt").write_text("green\nblue\n")
    done = eprune("import", "plain.tflite", "-o", "app", "--input", "photos", "--labels", "labels.txt")
    assert "2 labels for 3 classes of output 't2': class 0 is taken as the background" in done.err
    assert Path("app/labels.txt").read_text() == "background\ngreen\nblue\n"


def test_files_that_somebody_may_have_meant_are_named(folder, eprune):
    save_sound(folder / "photos/a.wav", [0.5])
    Path("photos/phone.HEIC").write_bytes(b"")
    done = eprune("import", "told.tflite", "-o", "app", "--input", "photos")
    assert done.code == 0
    assert "note: photos: left out: a.wav, phone.HEIC: not .png, .jpg, .jpeg, .bmp\n" in done.err


def test_more_files_than_are_copied(folder, eprune, monkeypatch):
    monkeypatch.setattr(
        "eprune.formats.ends.gather.LIMIT", sum(f.stat().st_size for f in Path("photos").glob("*.png")) - 1
    )
    done = eprune("import", "told.tflite", "-o", "app", "--input", "photos")
    assert done.code == 0
    assert "the first 2 of 3 files are copied" in done.err
    assert "--set t0.path=..." in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--input", "nowhere"], "nowhere: error[FILE]: no such file or folder"),
        (["--input", "photos/notes.txt"], "photos/notes.txt: error[FILE]: nothing reads it"),
        (["--input", "empty"], "empty: error[FILE]: holds nothing that a source reads"),
        (["--input", "a.wav"], "--input a.wav: no input of the model can take sounds"),
        (["--input", "t0=a.wav"], "--input t0=a.wav: input 't0' cannot take sounds"),
        (["--input", "right=photos"], "--input right=photos: the model has no input 'right'"),
        (["--input", "stacks"], "stacks: error[FILE]: has several files, but none that is called t0.npy"),
        (["--input", "photos", "photos"], "no input of the model can take pictures"),
        (["--input", "photos", "--labels", "none.txt"], "none.txt: error[FILE]: cannot be read: No such file"),
        (["--input", "photos", "--labels", "photos/a_green.png"], "is not a list of labels: it is not text"),
        (["--input", "photos", "--labels", "one.txt"], "1 labels for 3 classes of output 't2'"),
        (["--mean", "0"], "--mean, --std and --rate are for the files of --input"),
        (["--split", "best"], "--split takes two platforms or more"),
        (["-p", "pi,server"], "2 platforms take --split after_OPERATOR or best"),
        (["-p", "pi,server", "--split", "mean_0"], "--split mean_0: expected after_OPERATOR, or best"),
        (["-p", "pi,server", "--split", "after_mean"], "has no operator 'mean' to cut after"),
        (["-p", "a,b,c", "--split", "best", "best"], "--split best is for two platforms"),
        (["-p", "pi,pi", "--split", "best"], "the platforms need different names"),
        (["-p", "pi.xml,s", "--split", "best"], "--platform takes names of platforms, whose files it makes: pi?"),
        (["-p", "a,b,c", "--split", "2"], "--split 2 is over as many platforms: --platform names 3"),
        (["--split", "1"], "--split N is a pipeline over two devices or more"),
        (["--split", "best", "-p", "a,b", "--memory", "1MiB"], "--memory is that of each device of a pipeline"),
        (["--split", "2", "--memory", "lots"], "Invalid value for --memory"),
        (["--best", "3"], "--best is for --list"),
    ],
)
def test_what_does_not_fit_is_one_clear_message_and_nothing_is_written(folder, eprune, arguments, message):
    save_sound(folder / "a.wav", [0.5])
    Path("one.txt").write_text("only\n")
    Path("empty").mkdir()
    Path("stacks").mkdir()
    for name in "ab":
        np.save(f"stacks/{name}.npy", np.zeros((2, 4), np.float32))
    done = eprune("import", "plain.tflite", "-o", "app", *arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert not Path("app").exists()


def test_the_best_cuts_are_ranked_by_a_prediction_that_is_stated(folder, eprune):
    (folder / "net.tflite").write_bytes(tiny_models.conv_pool_dense())
    done = eprune("import", "net.tflite", "--list", "--best", "2")
    assert done.code == 0
    assert "by the predicted time of a single frame; assumed: 2 G operations/s before the cut" in done.err
    header, first, _ = done.out.splitlines()
    assert header.split() == ["rank", "after", "cut", "sends", "work", "before", "predicted", "ms"]
    assert first.split()[0] == "1"
    found = json.loads(eprune("import", "net.tflite", "--list", "--best", "9", "--format", "json").out)
    times = [cut["seconds"] for cut in found["best"]]
    assert times == sorted(times)
    assert {cut["after"] for cut in found["best"]} == {"conv2d_0", "max_pool2d_1", "fully_connected_2"}


def test_a_second_import_leaves_what_was_edited(folder, eprune):
    eprune("import", "told.tflite", "-o", "app", "--input", "photos")
    application = Path("app/application.xml")
    application.write_text(application.read_text().replace("</application>", "<!-- mine --></application>"))
    edited = application.read_text()
    done = eprune("import", "told.tflite", "-o", "app", "--input", "photos", "--mean", "0")
    assert done.code == 2
    assert "app/application.xml: error[FILE]: is not as an import has written it" in done.err
    assert "--force" in done.err
    assert application.read_text() == edited
    assert eprune("import", "told.tflite", "-o", "app", "--input", "photos", "--force").code == 0
    assert "mine" not in application.read_text()


def test_a_second_import_takes_away_what_the_first_has_left(folder, eprune):
    eprune("import", "told.tflite", "-o", "app", "--input", "photos", "-p", "pi,server", "--split", "best")
    eprune("import", "plain.tflite", "-o", "app", "--input", "photos/c_red.png")
    here = sorted(str(path.relative_to("app")) for path in Path("app").rglob("*") if path.is_file())
    assert here == [
        "application.xml",
        "import.json",
        "inputs/t0/c_red.png",
        "mapping.xml",
        "plain.tflite",
        "platform.xml",
    ]


def test_files_of_the_users_own_are_not_overwritten_either(folder, eprune):
    Path("app").mkdir()
    Path("app/application.xml").write_text("mine")
    assert eprune("import", "told.tflite", "-o", "app").code == 2
    assert Path("app/application.xml").read_text() == "mine"
    assert not Path("app/told.tflite").exists()


@pytest.mark.parametrize("record", ["", "[]", '{"files": 3}', '{"files": {"../photos/a_green.png": "x"}}'])
def test_a_record_that_is_none_of_ours_harms_nothing(folder, eprune, record):
    Path("app").mkdir()
    Path("app/import.json").write_text(record)
    assert eprune("import", "told.tflite", "-o", "app", "--force").code == 0
    assert Path("photos/a_green.png").is_file()


def test_a_model_for_an_edge_tpu_is_called_one(folder, eprune):
    m = tiny_models.ModelBuilder()
    source, out = m.tensor((1, 4)), m.tensor((1, 4))
    m.operator("CUSTOM", [source], [out])
    m.model.operatorCodes[0].customCode = "edgetpu-custom-op"
    Path("net_edgetpu.tflite").write_bytes(m.build([source], [out]))
    done = eprune("import", "net_edgetpu.tflite", "-o", "app")
    assert done.code == 2
    assert "net_edgetpu.tflite: error[FILE]: is compiled for an Edge TPU" in done.err
    assert "import the file that it was compiled from" in done.err
    assert "refused by" not in done.err


def test_a_model_without_operators_is_called_one(folder, eprune):
    m = tiny_models.ModelBuilder()
    source = m.tensor((1, 4))
    Path("empty.tflite").write_bytes(m.build([source], [source]))
    done = eprune("import", "empty.tflite", "-o", "app")
    assert (done.code, done.err.splitlines()[0]) == (
        2,
        "empty.tflite: error[FILE]: has no operators: there is nothing to compute, and nothing to cut",
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Bad op.\nNode 0 failed to prepare.Bad op.\nNode 0 failed to prepare.", "Bad op. Node 0 failed to prepare"),
        ("Version 2.3.0 is old.See instructions: https://example.org/x Update.", "Version 2.3.0 is old. Update"),
        ("", ""),
    ],
)
def test_an_interpreters_text_is_said_once(text, said):
    assert apart.plain_words(text) == said


@pytest.mark.sampled(4)
@pytest.mark.parametrize("command", ["run", "verify"])
@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("photos/a_green.png", {"run": "a picture, not a .npy file: ImageSource", "verify": "is a file, not a folder"}),
        ("photos", {"run": "photos/t0.npy: no such file", "verify": "photos: error[FILE]: has no t0.npy"}),
        ("nowhere", {"run": "nowhere: no such file", "verify": "nowhere: error[FILE]: there is no such folder"}),
    ],
)
def test_what_is_given_where_npy_files_are_meant(folder, eprune, eprune_process, command, path, problem):
    eprune("import", "plain.tflite", "-o", "app")
    if command == "run":
        done = eprune_process("run", "app/application.xml", "-p", "app", "-m", "app", "--set", f"t0.path={path}")
    else:
        done = eprune("verify", "app/application.xml", "--model", "plain.tflite", "--inputs", path)
    assert done.code != 0
    assert problem[command] in done.err


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mobilenet_v2_1.0_224_quant", ["Egyptian cat", "orange", "macaw"]),
        ("mobilenet_v1_0.25_128_quant", ["Egyptian cat", "orange", "macaw"]),
    ],
)
def test_a_downloaded_classifier_knows_the_cat(tmp_path, eprune, eprune_process, name, expected):
    model = SHARED / f"{name}.tflite"
    if not model.is_file():
        pytest.skip(f"{model} is not there")
    app = str(tmp_path / "app")
    options = ("--input", str(SHARED / "images"), "--split", "best", "-p", "pi,server")
    assert eprune("import", str(model), "-o", app, *options).code == 0
    ran = eprune_process("run", f"{app}/application.xml", "-p", f"{app}/platforms", "-m", f"{app}/mappings")
    assert seen(ran) == expected


def test_a_downloaded_detector_finds_a_car(tmp_path, eprune, eprune_process):
    model = SHARED / "traffic_model.tflite"
    if not model.is_file():
        pytest.skip(f"{model} is not there")
    app = str(tmp_path / "app")
    state = ("--feedback", "raw_outputs/lstm_c:raw_inputs/init_lstm_c", "5:2")
    assert eprune("import", str(model), "-o", app, "--input", str(SHARED / "traffic"), *state).code == 0
    ran = eprune_process("run", f"{app}/application.xml", "-p", app, "-m", app)
    assert [[each["class"] for each in line["objects"]] for line in lines(ran)] == [["1"]] * 3
