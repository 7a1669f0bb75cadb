"""The folder of a deployed program: cut at any change of the disk, it is as before or as after once it is healed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from pathlib import Path

import pytest

from eprune.deploy.remote import versions
from eprune.deploy.remote.versions import Place, Problem


class Cut(Exception):
    """The power fails."""


def place(folder):
    return Place(str(folder), "app", "platform")


def stage(store, version, text=b"program"):
    """Send a version of one file."""
    digest = hashlib.sha256(text).hexdigest()
    description = json.dumps({"files": {"program.pyz": digest}}).encode()
    files = {"program.pyz": (text, 0o755), "deployment.json": (description, 0o644), "keys/a.key": (b"key", 0o600)}
    announced = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "mode": mode} for name, (data, mode) in files.items()
    }
    missing = store.stage(version, announced)
    for name in missing:
        data, mode = files[name]
        store.open(name, mode)
        store.write(data)
        store.close(announced[name]["sha256"])
    return missing


@contextlib.contextmanager
def claimed(folder):
    """The folder, and the lock of a process that then ends."""
    store = place(folder)
    try:
        store.claim()
        yield store
    finally:
        if store._lock is not None:
            os.close(store._lock)


def deploy(folder, version, text=b"program"):
    with claimed(folder) as store:
        stage(store, version, text)
        store.begin(version, "running")
        store.switch(version)
        store.keep()


def heal(folder):
    """What an agent does first."""
    with claimed(folder) as store:
        if store.trial() is not None:
            store.back()
            store.forget()
        store.settle()


def seen(folder):
    """What is in the folder: links and files with their contents."""
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = str(path.readlink())
        elif path.is_file() and path.name != "lock" and not any(part.is_symlink() for part in path.parents):
            found[name] = (path.read_bytes(), path.stat().st_mode & 0o777)
    return found


V1, V2, V3 = (digit * 12 for digit in "123")
CHANGES = ("replace", "rename", "unlink", "symlink_to", "mkdir", "rmdir")


def cut_at(monkeypatch, number):
    """The power fails before the change of this number."""
    left = [number]

    def before(change):
        def changed(*arguments, **more):
            if left[0] == 0:
                raise Cut
            left[0] -= 1
            return change(*arguments, **more)

        return changed

    for name in CHANGES:
        monkeypatch.setattr(Path, name, before(getattr(Path, name)))
    for name in ("link", "open"):
        monkeypatch.setattr(versions.os, name, before(getattr(os, name)))


@pytest.mark.parametrize("first", [False, True], ids=["update", "first"])
def test_cut_at_any_change_it_is_as_before_or_as_after(tmp_path, monkeypatch, first):
    begun = tmp_path / "begun"
    begun.mkdir()
    if not first:
        deploy(begun, V1, b"one")
        deploy(begun, V2, b"two")
    before = seen(begun)
    done = shutil.copytree(begun, tmp_path / "done", symlinks=True)
    deploy(done, V3, b"three")
    after = seen(done)
    outcomes = set()
    for number in range(100):
        folder = shutil.copytree(begun, tmp_path / str(number), symlinks=True)
        try:
            with monkeypatch.context() as patch:
                cut_at(patch, number)
                deploy(folder, V3, b"three")
        except Cut:
            heal(folder)
            found = seen(folder)
            assert found in (before, after), number
            outcomes.add(found == after)
            deploy(folder, V3, b"three")
            assert seen(folder)[f"app/platform/versions/{V3}/program.pyz"] == (b"three", 0o755)
        else:
            assert number > 10
            break
    assert outcomes == {True, False}


def test_healing_may_be_cut_as_well(tmp_path, monkeypatch):
    begun = tmp_path / "begun"
    deploy(begun, V1, b"one")
    before = seen(begun)
    with claimed(begun) as store:
        stage(store, V2, b"two")
        store.begin(V2, "running")
        store.switch(V2)
    for number in range(100):
        folder = shutil.copytree(begun, tmp_path / str(number), symlinks=True)
        try:
            with monkeypatch.context() as patch:
                cut_at(patch, number)
                heal(folder)
        except Cut:
            heal(folder)
            assert seen(folder) == before
        else:
            assert number > 2
            break


def test_what_is_there_already_is_not_sent_again(tmp_path):
    deploy(tmp_path, V1, b"same")
    store = place(tmp_path)
    store.claim()
    assert stage(store, V2, b"same") == ["deployment.json", "keys/a.key"], "keys are not linked"
    store.forget()
    assert stage(store, V1, b"same") == []


def test_a_version_that_somebody_has_changed_is_not_trusted(tmp_path):
    for version in (V1, V2, V3):
        deploy(tmp_path, version, version.encode())
    for version in (V1, V3):
        (tmp_path / "app/platform/versions" / version / "program.pyz").write_bytes(b"changed")
    store = place(tmp_path)
    store.claim()
    assert "program.pyz" in stage(store, V1, V1.encode())
    store.forget()
    with pytest.raises(Problem, match="was changed by somebody"):
        stage(store, V3, V3.encode())


def test_three_old_versions_stay(tmp_path):
    for number in range(8):
        deploy(tmp_path, f"{number}" * 12)
        time.sleep(0.01)
    left = sorted(path.name[0] for path in (tmp_path / "app/platform/versions").iterdir())
    assert left == ["3", "4", "5", "6", "7"]


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "a//x", "", ".", "a\0b"])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path, name):
    store = place(tmp_path)
    store.claim()
    with pytest.raises(Problem):
        store.stage(V1, {name: {"sha256": "0", "mode": 0o644}})
    with pytest.raises(Problem):
        store.stage("../x", {})


def test_what_did_not_arrive_as_it_was_sent_is_refused(tmp_path):
    store = place(tmp_path)
    store.claim()
    store.stage(V1, {"program.pyz": {"sha256": "0" * 64, "mode": 0o644}})
    store.open("program.pyz", 0o644)
    store.write(b"something else")
    with pytest.raises(Problem, match="has not arrived as it was sent"):
        store.close("0" * 64)


def test_only_one_changes_something_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(versions, "PATIENCE", 0.2)
    first, second = place(tmp_path), place(tmp_path)
    assert not second.locked()
    first.claim()
    assert second.locked()
    with pytest.raises(Problem, match="somebody else is deploying"):
        second.claim()
    first.clear(purge=True)
    assert not tmp_path.exists() or not list(tmp_path.iterdir())
    second.claim()  # what the first one holds is no longer the lock
