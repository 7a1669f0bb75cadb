"""A .pyz: the same bytes every time, and Python runs it with what is inside."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile

from eprune.codegen.bundle import bundle, inside

TEXT = "import helper\nprint(helper.NAME)\n"


def test_equal_contents_give_equal_bytes_in_any_order():
    files = {"actors/a.py": b"A = 1\n", "models/m.tflite": b"\0" * 100}
    assert bundle(TEXT, files) == bundle(TEXT, dict(reversed(files.items())))


def test_it_is_a_script_and_an_archive_without_dates_or_compression():
    data = bundle(TEXT, {"models/m.tflite": b"\0" * 100})

    assert data.startswith(b"#!/usr/bin/env python3\n")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["__main__.py", "models/m.tflite"]
        for entry in archive.infolist():
            assert (entry.date_time, entry.compress_type) == ((1980, 1, 1, 0, 0, 0), zipfile.ZIP_STORED)


def test_python_runs_it(tmp_path):
    (tmp_path / "app.pyz").write_bytes(bundle(TEXT, {"helper.py": b"NAME = 'inside'\n"}))
    done = subprocess.run([sys.executable, "-I", tmp_path / "app.pyz"], capture_output=True, text=True, check=True)
    assert done.stdout == "inside\n"


def test_files_of_one_folder_stay_together_and_equal_names_do_not_clash():
    assert inside("actors", ["x/a.py", "y/a.py", "x/b.py"]) == {
        "x/a.py": "actors/a.py",
        "y/a.py": "actors_2/a.py",
        "x/b.py": "actors/b.py",
    }
