"""The folder of a deployed program on its device: versions side by side, and a link to the one that runs.

    versions/VERSION/    files that never change: the program, deployment.json, keys/, the unit of systemd
    current              a link to the version that runs; it is switched by a rename
    previous             a link to the version that ran before, to which ``rollback`` returns
    trial.json, back     while a version is tried out: what was before, and a link that is ready to be renamed
    data/                the program's working folder; it outlives all versions
    log/, run/           of the plain supervisor
    lock                 held by whoever changes something here

Each change is one rename or one removal, in an order in which ``recover`` can tell after a cut at any place what to do:
with trial.json the version before comes back, without it what was kept is finished. The way back needs no space on
the disk.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

#: How many versions stay, besides those that the links lead to.
KEPT = 3
#: Seconds to wait for another agent to let go, which may still have to notice that its connection is broken.
PATIENCE = 45.0
DESCRIPTION = "deployment.json"
_VERSION = re.compile(r"[0-9a-f]{12,64}")


class Problem(Exception):
    """What the person who deploys has to know."""


class Place:
    """The folder of one platform of one application on this device."""

    def __init__(self, folder: str, application: str, platform: str) -> None:
        """``folder`` may be relative to the user's home; "" is the usual one. Nobody else can read the home of root."""
        self.base = Path(Path.home(), folder or ("/opt/eprune" if os.geteuid() == 0 else "eprune"))
        self.root = self.base / application / platform
        self.name = f"eprune-{application}-{platform}"
        self._staging: Optional[Path] = None
        self._lock: Optional[int] = None
        self._file: Any
        self._path: Path
        self._mode: int

    # What is there.

    def current(self) -> Optional[str]:
        """The version that runs, or would if it was started."""
        return self._linked("current")

    def previous(self) -> Optional[str]:
        """The version before."""
        return self._linked("previous")

    def trial(self) -> Optional[dict[str, Any]]:
        """What was before, where a version is being tried out, or where that was cut."""
        return read_json(self.root / "trial.json")

    def description(self, version: Optional[str]) -> dict[str, Any]:
        """What a version's description says; {} where there is none."""
        return (version and read_json(self.root / "versions" / version / DESCRIPTION)) or {}

    def neighbours(self) -> dict[str, Any]:
        """``APPLICATION/PLATFORM`` of what else is deployed here -> what its description says."""
        found = {}
        for path in sorted(self.base.glob(f"*/*/current/{DESCRIPTION}")):
            root = path.parent.parent
            if root != self.root:
                found[f"{root.parent.name}/{root.name}"] = read_json(path) or {}
        return found

    def command(self, version: str) -> list[str]:
        """How a version is started beside the one that runs: from its own folder, not by the link."""
        link, folder = f"{self.root}/current/", f"{self.root}/versions/{version}/"
        return [word.replace(link, folder) for word in self.description(version)["command"]]

    def _linked(self, link: str) -> Optional[str]:
        try:
            return (self.root / link).readlink().name
        except OSError:
            return None

    # The lock.

    def claim(self) -> None:
        """Let nobody else change anything here until this process ends. Raises Problem where somebody does not let go.

        What was left by somebody who was cut while sending is removed.
        """
        until = time.monotonic() + PATIENCE
        while not self._take_lock():
            if time.monotonic() > until:
                raise Problem(f"somebody else is deploying to {self.root}")
            time.sleep(0.1)
        for leftover in self.root.glob(".new-*"):
            remove(leftover)

    def locked(self) -> bool:
        """Whether somebody is changing something here, this process included."""
        with contextlib.suppress(OSError):
            lock = os.open(self.root / "lock", os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            finally:
                os.close(lock)
        return False

    def _take_lock(self) -> bool:
        """Take it if it is free, and is still the file of this name: whoever removes everything removes it, too."""
        self.root.mkdir(parents=True, exist_ok=True)
        path = self.root / "lock"
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(lock).st_ino == path.stat().st_ino:
                self._lock = lock
                return True
        os.close(lock)
        return False

    # A new version.

    def stage(self, version: str, files: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Begin a version of these files (name -> ``sha256``, ``mode``); the names of those that have to be sent.

        What another version has is linked from there. Raises Problem, OSError.
        """
        if not _VERSION.fullmatch(version) or not all(map(_stays_inside, files)):
            raise Problem("there is something wrong with the names of the files")
        target = self.root / "versions" / version
        if target.exists():
            if all(_is(target / name, about["sha256"]) for name, about in files.items()):
                return []
            if version in (self.current(), self.previous()):
                raise Problem(f"{target} was changed by somebody: eprune deploy undeploy removes it")
            remove(target)
        self._staging = self.root / f".new-{os.getpid()}"
        (self._staging / "keys").mkdir(parents=True)
        (self._staging / "keys").chmod(0o700)
        for name in files:
            (self._staging / name).parent.mkdir(parents=True, exist_ok=True)
        known = self._known()
        missing = []
        for name, about in files.items():
            source = known.get(about["sha256"])
            if source is None or not _is(source, about["sha256"]) or not _link(source, self._staging / name):
                missing.append(name)
        return missing

    def _known(self) -> dict[str, Path]:
        """Digest -> a file of a version that is here, apart from keys."""
        known = {}
        for folder in (self.root / "versions").glob("*"):
            for name, digest in self.description(folder.name).get("files", {}).items():
                known[digest] = folder / name
        return known

    def open(self, name: str, mode: int) -> None:
        """Begin a file of the version. Raises OSError."""
        assert self._staging is not None and _stays_inside(name)
        path = self._staging / name
        self._file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", buffering=0)
        self._path, self._mode = path, mode

    def write(self, data: bytes) -> None:
        """The next part of the file. Raises OSError."""
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) or 0 :]

    def close(self, digest: str) -> None:
        """The file is complete, and has to be what was announced. Raises Problem, OSError."""
        with self._file:
            os.fsync(self._file.fileno())
            os.fchmod(self._file.fileno(), self._mode)
        if not _is(self._path, digest):
            raise Problem(f"{self._path.name} has not arrived as it was sent")

    # A trial, and how it ends.

    def begin(self, version: str, phase: str) -> None:
        """Note what is there before a version is tried out, and put the new version's folder where it belongs.

        ``phase`` is that of the service (``Service.phase``).
        """
        before = self.current()
        about = {"before": before, "after": version, "phase": phase, "fresh": self._staging is not None}
        self._write_json("trial.json", about)
        if self._staging is not None:
            if not any((self._staging / "keys").iterdir()):
                (self._staging / "keys").rmdir()
            target = self.root / "versions" / version
            target.parent.mkdir(exist_ok=True)
            self._staging.rename(target)
            self._staging = None
            _sync(target.parent)
        if before is not None:
            self._link("back", before)

    def switch(self, version: str) -> None:
        """The version becomes the current one."""
        self._link("current", version)

    def commit(self) -> None:
        """From now on the version before has been told to leave, whatever else is still as it was."""
        self._write_json("trial.json", {**(self.trial() or {}), "committed": True})

    def back(self) -> None:
        """The version before is the current one again; ``forget`` must follow."""
        trial = self.trial()
        if trial is None:
            return
        if (self.root / "back").is_symlink():
            (self.root / "back").replace(self.root / "current")
        elif trial["before"] is None:
            (self.root / "current").unlink(missing_ok=True)
        _sync(self.root)

    def forget(self) -> None:
        """The trial is over, and nothing of it is left. Without one, nothing is left of what was received.

        Where nothing was before, only what programs have written stays.
        """
        trial = self.trial()
        if trial is not None:
            if trial["fresh"]:
                remove(self.root / "versions" / trial["after"])
            (self.root / "trial.json").unlink()
            _sync(self.root)
        if self._staging is not None:
            remove(self._staging)
            self._staging = None
        if self.current() is None:
            self.clear(purge=False)

    def keep(self) -> None:
        """The trial has gone well."""
        (self.root / "trial.json").unlink(missing_ok=True)
        _sync(self.root)
        self.settle()
        self._prune()

    def settle(self) -> None:
        """Finish what ``keep`` has begun."""
        if self.trial() is None and (self.root / "back").is_symlink():
            (self.root / "back").replace(self.root / "previous")

    def _prune(self) -> None:
        folders = sorted((self.root / "versions").iterdir(), key=lambda folder: folder.stat().st_mtime)
        linked = {self.current(), self.previous()}
        for folder in [folder for folder in folders if folder.name not in linked][:-KEPT]:
            remove(folder)

    # The end.

    def clear(self, purge: bool) -> bool:
        """Remove all but ``data/``, and with ``purge`` that too; whether it stays because there is something in it.

        Environments go with the last application that is here.
        """
        for name in ("current", "previous", "back", "trial.json", "versions", "log", "run"):
            remove(self.root / name)
        data = self.root / "data"
        if purge:
            remove(data)
        with contextlib.suppress(OSError):
            data.rmdir()
        stays = data.exists()
        if not stays:
            remove(self.root / "lock")
            for folder in (self.root, self.root.parent):
                with contextlib.suppress(OSError):
                    folder.rmdir()
        environments = self.base / "environments"
        if self.base.is_dir() and not [each for each in self.base.iterdir() if each != environments]:
            remove(environments)
            with contextlib.suppress(OSError):
                self.base.rmdir()
        return stays

    def _link(self, name: str, version: str) -> None:
        temporary = self.root / f".new-{name}"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(Path("versions", version))
        temporary.replace(self.root / name)
        _sync(self.root)

    def _write_json(self, name: str, data: Any) -> None:
        temporary = self.root / f".new-{name}"
        try:
            with temporary.open("w", encoding="utf-8") as file:
                json.dump(data, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.root / name)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync(self.root)


def read_json(path: Path) -> Any:
    """What a file says; None where it is not there, or says nothing."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with all that is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _stays_inside(name: str) -> bool:
    """Whether a file of this name is in the folder that it belongs to."""
    return bool(name) and not any(part in ("", ".", "..") or "\0" in part for part in name.split("/"))


def _is(path: Path, digest: str) -> bool:
    """Whether a file has this content."""
    found = hashlib.sha256()
    try:
        with path.open("rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                found.update(block)
    except OSError:
        return False
    return found.hexdigest() == digest


def _link(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except OSError:  # no hard links here, or too many
        return False
    return True


def _sync(folder: Path) -> None:
    """What was renamed in a folder outlasts a power failure, where the file system can do that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
