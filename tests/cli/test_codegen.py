"""`eprune codegen`: what it writes, where, and when it refuses."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from application import APPLICATION, LOCAL, ROOT, SPLIT

from eprune.runtime.main.files import Files
from tests.kit.tiny_models import ModelBuilder


def run(*command, cwd):
    """Run a program; its stdout, after it has succeeded."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_program_runs_and_its_segments_lie_beside_it(app, eprune):
    done = eprune("codegen", *LOCAL, "-o", "build/endpoint.py")

    assert (done.code, done.out) == (0, "")
    assert [path.name for path in (app / "build/endpoint.models").iterdir()] == ["L1+L2.tflite"]
    assert os.access(app / "build/endpoint.py", os.X_OK)
    assert len(run(sys.executable, "build/endpoint.py", cwd=app).splitlines()) == 4


def test_paths_are_relative_to_the_program(app, eprune):
    eprune("codegen", *LOCAL, "-o", "build/endpoint.py")
    text = (app / "build/endpoint.py").read_text()

    assert '"../behaviours.py:Ramp"' in text
    assert "\n  ../app.xml\n" in text
    assert str(app) not in text


def test_a_program_is_found_through_a_link_to_its_folder(app, eprune):
    (app / "deep/er").mkdir(parents=True)
    (app / "build").symlink_to("deep/er")
    eprune("codegen", *LOCAL, "-o", "build/endpoint.py")
    assert len(run(sys.executable, "build/endpoint.py", cwd=app).splitlines()) == 4


def test_a_folder_gets_a_program_for_each_mapping(app, eprune):
    assert eprune("codegen", *SPLIT, "-o", "build/").code == 0
    assert sorted(path.name for path in (app / "build").iterdir()) == [
        "endpoint.models", "endpoint.py", "server.models", "server.py",
    ]  # fmt: skip
    digests = {
        next(line for line in (app / f"build/{name}.py").read_text().splitlines() if "digest=" in line)
        for name in ("endpoint", "server")
    }
    assert len(digests) == 1


def test_json_has_what_was_written(app, eprune):
    done = eprune("codegen", *SPLIT, "-o", "build/", "--format", "json")
    assert (done.code, done.err) == (0, "")
    data = json.loads(done.out)
    assert data["application"] == "tiny"
    endpoint, server = data["programs"]
    assert endpoint["digest"] == server["digest"]
    assert {name: endpoint[name] for name in ("platform", "file", "script", "service", "actors", "segments")} == {
        "platform": "endpoint",
        "file": "build/endpoint.py",
        "script": None,
        "service": None,
        "actors": ["In"],
        "segments": {"L1": ["L1"]},
    }
    assert endpoint["fifos"] == {"local": ["f1"], "tx": {"f2": "server"}, "rx": {}}
    assert server["fifos"] == {"local": ["f3"], "tx": {}, "rx": {"f2": "endpoint"}}


def test_segments_that_are_no_longer_used_are_removed_and_other_files_stay(app, eprune):
    models = app / "build/endpoint.models"
    models.mkdir(parents=True)
    (models / "precious.tflite").write_bytes(b"mine")
    eprune("codegen", *LOCAL, "--no-fuse", "-o", "build/endpoint.py")
    assert {path.name for path in models.iterdir()} == {"precious.tflite", "L1.tflite", "L2.tflite"}
    eprune("codegen", *LOCAL, "-o", "build/endpoint.py")
    assert {path.name for path in models.iterdir()} == {"precious.tflite", "L1+L2.tflite"}


def test_a_dash_prints_the_program_and_nothing_else(app, eprune):
    done = eprune("codegen", *LOCAL, "-o", "-")

    compile(done.out, "program", "exec")
    assert "only the program was written" in done.err
    assert not list(app.rglob("*.models"))


def test_the_same_input_gives_the_same_bytes_in_any_process(app, eprune_process):
    first, second = (
        eprune_process("codegen", *SPLIT, "-o", f"{seed}/", PYTHONHASHSEED=seed)
        and {path.relative_to(app / seed): path.read_bytes() for path in (app / seed).rglob("*") if path.is_file()}
        for seed in ("1", "2")
    )
    assert first and first == second
    bundles = [
        eprune_process("codegen", *LOCAL, "--pyz", "-o", f"{seed}.pyz", PYTHONHASHSEED=seed)
        and (app / f"{seed}.pyz").read_bytes()
        for seed in ("1", "2")
    ]
    assert bundles[0] == bundles[1]


class TestPyz:
    """One file that needs nothing else of ours."""

    def test_it_holds_program_runtime_actors_and_segments(self, app, eprune):
        assert eprune("codegen", *LOCAL, "--pyz", "-o", "endpoint.pyz").code == 0
        with zipfile.ZipFile("endpoint.pyz") as archive:
            names = set(archive.namelist())
        assert {"__main__.py", "actors/behaviours.py", "actors/helper.py", "models/L1+L2.tflite"} <= names
        assert {name for name in names if name.startswith("eprune/") and not name.startswith("eprune/runtime/")} == {
            "eprune/__init__.py"
        }

    def test_it_gives_what_the_program_gives_where_eprune_is_not_installed(self, app, eprune, tmp_path_factory):
        eprune("codegen", *LOCAL, "--pyz", "-o", "endpoint.pyz")
        eprune("codegen", *LOCAL, "-o", "build/endpoint.py")
        device = tmp_path_factory.mktemp("device")
        (app / "endpoint.pyz").rename(device / "endpoint.pyz")
        alone = (
            "import runpy, sys\n"
            f"sys.path = [path for path in sys.path if path not in ('', {str(ROOT)!r})]\n"
            "sys.argv = ['endpoint.pyz']\n"
            "try:\n"
            "    runpy.run_path('endpoint.pyz', run_name='__main__')\n"
            "finally:\n"
            "    import eprune.runtime\n"
            "    assert 'endpoint.pyz' in eprune.runtime.__file__\n"
        )
        expected = run(sys.executable, "build/endpoint.py", cwd=app)
        assert run(sys.executable, "-I", "-c", alone, cwd=device) == expected

    def test_its_program_differs_in_paths_only(self, app, eprune):
        eprune("codegen", *LOCAL, "--pyz", "-o", "endpoint.pyz")
        eprune("codegen", *LOCAL, "-o", "endpoint.py")
        with zipfile.ZipFile("endpoint.pyz") as archive:
            inside = archive.read("__main__.py").decode()
        outside = (app / "endpoint.py").read_text()
        assert inside == outside.replace('"behaviours.py', '"actors/behaviours.py').replace("endpoint.models", "models")


class TestSharedConstants:
    """Two slices that use one constant of 4 KiB, in one bundle."""

    @pytest.fixture(autouse=True)
    def bundle(self, app, eprune):
        m = ModelBuilder()
        source, weights = m.tensor((1, 32)), m.weights(32, 32)
        ends = [source]
        for _ in range(4):
            ends.append(m.tensor((1, 32)))
            m.operator("FULLY_CONNECTED", [ends[-2], weights, -1], [ends[-1]], "FullyConnectedOptions")
        (app / "shared.tflite").write_bytes(m.build([source], [ends[-1]]))
        (app / "app.xml").write_text(
            re.sub(r"float32\[[^]]*]", "float32[1,32]", APPLICATION.replace("tiny.tflite", "shared.tflite"))
        )
        assert eprune("codegen", *LOCAL, "--no-fuse", "-o", "plain.py").code == 0
        assert eprune("codegen", *LOCAL, "--no-fuse", "--pyz", "-o", "shared.pyz").code == 0

    def test_it_is_stored_once_and_the_slices_are_the_same_bytes(self, app):
        with zipfile.ZipFile("shared.pyz") as archive:
            sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
        assert [size for name, size in sizes.items() if name.startswith("constants/")] == [4096]
        files = Files(str(app / "shared.pyz/__main__.py"))
        for name in ("L1.tflite", "L2.tflite"):
            whole = (app / "plain.models" / name).read_bytes()
            assert sizes[f"models/{name}"] == len(whole) - 4096
            assert files.read(f"models/{name}") == whole

    def test_the_program_computes_the_same(self, app):
        assert run(sys.executable, "shared.pyz", cwd=app) == run(sys.executable, "plain.py", cwd=app) != ""

    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            (lambda index: b"{", "is damaged: "),
            (lambda index: b"[]", "is not an index of constants"),
            (lambda index: re.sub(rb'"size": ', b'"size": 9', index), "the parts have"),
            (lambda index: re.sub(rb"[0-9a-f]{64}", b"../../secret", index), "'../../secret' that does not exist"),
            (lambda index: re.sub(rb"[0-9a-f]{64}", b"0" * 64, index), "that does not exist"),
            (lambda index: re.sub(rb"\d+]]", b"99999]]", index), "puts a constant at the impossible byte 99999"),
            (lambda index: re.sub(rb"\d+]]", b"0.5]]", index), "is damaged: "),
            (lambda index: re.sub(rb"\d+]]", b"null]]", index), "is damaged: "),
        ],
    )
    def test_a_damaged_index_is_told(self, app, damage, message):
        with zipfile.ZipFile("shared.pyz") as old, zipfile.ZipFile("damaged.pyz", "w") as new:
            for name in old.namelist():
                data = old.read(name)
                new.writestr(name, damage(data) if name == "models/L2.tflite.index" else data)
        done = subprocess.run([sys.executable, "damaged.pyz"], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 2
        assert message in done.stderr and "generate the program again" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("old", "new", "code", "message"),
    [
        ('to="L2.in"', 'to="L1.in"', 1, "app.xml:11: error[G1]"),
        ("tiny.tflite", "gone.tflite", 1, "error[FILE]: actor 'L1'"),
        ("behaviours.py:Ramp", "behaviours.py:Romp", 1, "has no class 'Romp'"),
        ('operators="2-3"', 'operators="2-9"', 1, "error[G2]: actor 'L2'"),
        ("<fifo", "<fofi", 2, "error[XML]"),
        ('<fifo name="f1"', '<fifo name="f1" delay="1" initial="gone.npy"', 1, "there is no such file"),
    ],
)
def test_what_does_not_pass_the_analyzer_is_refused(app, eprune, old, new, code, message):
    (app / "app.xml").write_text(APPLICATION.replace(old, new))
    done = eprune("codegen", *LOCAL, "-o", "build/endpoint.py")

    assert done.code == code
    assert message in done.err
    assert done.out == ""
    assert not (app / "build").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("app.xml", "-o", "x.py"), "Missing option"),
        (LOCAL, "Missing option '-o'"),
        ((*SPLIT, "-o", "x.py"), '2 mappings make 2 programs: give a folder, "-o x.py/"'),
        (("app.xml", "-p", "local", "-m", "local", "-o", "x.py"), "there is no platform file"),
        ((*LOCAL, "-o", "eprune.py"), "must not be named eprune.py, because Python would import it"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_says_what_to_do(app, eprune, arguments, message):
    done = eprune("codegen", *arguments)
    assert done.code == 2
    assert message in done.err


def test_a_place_that_cannot_be_written_is_named(app, eprune):
    done = eprune("codegen", *LOCAL, "-o", "app.xml/endpoint.py")
    assert done.code == 2
    assert "app.xml/" in done.err and "cannot be written" in done.err
    assert "Traceback" not in done.err


def test_a_device_gets_the_program_only_and_is_never_read(app, eprune):
    done = eprune("codegen", *LOCAL, "-o", "/dev/full")

    assert done.code == 2
    assert "/dev/full: error[FILE]: cannot be written: No space left on device" in done.err
    assert not Path("/dev/full.models").exists()
    assert eprune("codegen", *LOCAL, "-o", "/dev/null").code == 0
