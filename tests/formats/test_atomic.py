"""A file is written whole or not at all, and nothing is left behind."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable

import pytest

from eprune.formats import templates
from eprune.formats.atomic import write_file
from eprune.model.finding import EpruneError
from eprune.runtime.tell import outlets


def refusal(path: Path | str, data: str = "x") -> str:
    with pytest.raises(EpruneError) as caught:
        write_file(str(path), data)
    (finding,) = caught.value.findings
    assert finding.rule == "FILE"
    return str(finding)


def test_text_and_bytes_are_written_and_folders_made(tmp_path: Path) -> None:
    path = tmp_path / "build" / "out" / "a.txt"
    write_file(str(path), "grün\n")
    assert path.read_bytes() == "grün\n".encode()
    write_file(str(path), b"\0\xff")
    assert path.read_bytes() == b"\0\xff"
    assert [entry.name for entry in path.parent.iterdir()] == ["a.txt"]


def test_a_dash_is_stdout(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    print("before")
    write_file("-", "grün\n")
    print("after", flush=True)
    assert stream.buffer.getvalue() == "before\ngrün\nafter\n".encode()  # type: ignore[attr-defined]


def test_permissions_follow_the_umask_and_those_of_an_old_file_stay(tmp_path: Path) -> None:
    path = tmp_path / "a.sh"
    old = os.umask(0o027)
    try:
        write_file(str(path), "x")
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.chmod(0o755)
        write_file(str(path), "y")
        assert stat.S_IMODE(path.stat().st_mode) == 0o755
    finally:
        os.umask(old)


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    target = tmp_path / "target"
    link = tmp_path / "link"
    link.symlink_to(target)
    write_file(str(link), "through")
    assert link.is_symlink()
    assert target.read_text() == "through"


def test_a_device_is_written_to_and_not_replaced() -> None:
    write_file("/dev/null", "x")
    assert Path("/dev/null").is_char_device()


def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    opened = os.fdopen

    def full(descriptor: int, *arguments: Any) -> Any:
        stream = opened(descriptor, *arguments)

        class Full:
            def __enter__(self) -> Full:
                return self

            def __exit__(self, *reason: object) -> None:
                stream.close()

            def write(self, data: bytes) -> None:
                stream.write(data[:1])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        return Full()

    monkeypatch.setattr(os, "fdopen", full)
    assert refusal(path, "new") == f"{path}: error[FILE]: cannot be written: No space left on device"
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="there is no /dev/full here")
def test_a_really_full_device() -> None:
    assert refusal("/dev/full") == "/dev/full: error[FILE]: cannot be written: No space left on device"
    program = """
from eprune.formats.atomic import write_file
from eprune.model.finding import EpruneError
try:
    write_file("-", "x")
except EpruneError as error:
    raise SystemExit(str(error))
"""
    with Path("/dev/full").open("wb") as full:
        run = subprocess.run(
            [sys.executable, "-c", program], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (run.returncode, run.stderr) == (1, "<stdout>: error[FILE]: cannot be written: No space left on device\n")


def test_what_cannot_be_a_file_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"{tmp_path}: error[FILE]: cannot be written: there is a folder of this name"
    file = tmp_path / "file"
    file.touch()
    part = "a part of its path is a file, not a folder"
    assert refusal(file / "below") == f"{file}/below: error[FILE]: cannot be written: {part}"
    assert part in refusal(file / "below" / "that")
    assert refusal(tmp_path / ("x" * 300)).endswith("cannot be written: File name too long")
    assert "cannot be written: " in refusal("a\0b")


def test_no_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_permission(*arguments: object, **options: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", no_permission)  # root, in a container, could write it
    assert refusal(tmp_path / "a" / "b").endswith("a/b: error[FILE]: cannot be written: Permission denied")


WRITERS = {
    "a file": lambda path: write_file(str(path), "secret"),
    "a private file": lambda path: write_file(str(path), "secret", private=True),
    "a folder": lambda path: templates.write_folder(str(path), {"a": "secret"}),
    "a report": lambda path: outlets.write_whole(str(path), "secret"),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_nobody_can_foresee_a_temporary_name_or_have_a_file_there_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], None]
) -> None:
    replaced = Path.replace
    names = []

    def noted(self: Path, target: Path) -> Path:
        names.append(self.name)
        return replaced(self, target)

    monkeypatch.setattr(Path, "replace", noted)
    for name in ("one", "two"):
        write(tmp_path / name)
    first, second = (name.replace("one", "").replace("two", "") for name in names)
    assert first != second
    assert str(os.getpid()) not in (first.split(".")[2], second.split(".")[2])
    # Even if somebody knew it: a link that lies there is not followed.
    stranger = tmp_path / "stranger"
    stranger.touch()
    monkeypatch.setattr("secrets.token_hex", lambda _: "foreseen")
    (tmp_path / ".three.foreseen.tmp").symlink_to(stranger)
    with contextlib.suppress(EpruneError, OSError):
        write(tmp_path / "three")
    assert stranger.read_text() == ""


def test_a_private_file_is_private_from_the_first_byte_and_never_goes_into_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.touch(0o666)
    write_file(str(path), "secret", private=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(EpruneError, match="which others may read"):
        write_file(str(tmp_path / "pipe"), "secret", private=True)


def test_an_interrupt_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_file(str(tmp_path / "a"), "x")
    assert list(tmp_path.iterdir()) == []
