"""A deployment that is cut at any step, in any way: each device is as it was before, and runs what it ran before."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from eprune.deploy.rollout import Do, Rollout, Step, live_plan, plan
from tests.kit import fleet as kit
from tests.kit.commands import call

#: the steps of an update, in their order; at each of them something happens before it is carried out
STEPS = plan(("server", "camera"), ("server",))
NEW = {"period": "0.02"}
#: the same of an update while frames flow, and those of them after which the version before has been told to leave
LIVE = live_plan(("server", "camera"))
TOLD = LIVE[LIVE.index(Step(Do.AGREE)) + 1 :]


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """Two devices that run a version."""
    with kit.local(tmp_path_factory.mktemp("local")) as fleet:
        deployed(fleet)
        yield fleet


@pytest.fixture(scope="module")
def remote(tmp_path_factory):
    """The same behind an sshd each."""
    with kit.over_ssh(tmp_path_factory.mktemp("remote")) as fleet:
        deployed(fleet)
        yield fleet


def up(fleet, timeout="30", *more):
    return call("deploy", fleet.system, "--service", "plain", "--timeout", timeout, *more)


def deployed(fleet):
    done = up(fleet)
    assert done.code == 0, done.err
    assert fleet.counts()


def hooked(monkeypatch, before):
    """Something happens before each step."""
    carry_out = Rollout._carry_out

    def hook(self, step):
        before(self, step)
        carry_out(self, step)

    monkeypatch.setattr(Rollout, "_carry_out", hook)


def at(step, action):
    def before(rollout, each):
        if each == step:
            action(rollout)

    return before


def as_before(fleet, before):
    """Whether both devices come to be as they were, and run."""
    until = time.monotonic() + 40
    while time.monotonic() < until:
        same = {name: fleet.state(name) for name in kit.PLATFORMS} == before
        if same and all(len(fleet.programs(name)) == 1 for name in kit.PLATFORMS) and fleet.counts():
            return True
        time.sleep(0.1)
    return False


def runs_what_it_ran(fleet, before):
    """Where one had been kept already, it is led back by another change: to the program that it ran."""
    same = [fleet.current(name) == Path(before[name]["links"]["current"]).name for name in kit.PLATFORMS]
    return all(same) and fleet.counts()


def attempt(fleet, monkeypatch, step, action, timeout="30", *more):
    """Deploy another version, and let something happen at a step; the result, and what the devices were like before."""
    deployed(fleet)
    before = {name: fleet.state(name) for name in kit.PLATFORMS}
    fleet.write(**NEW)
    try:
        with monkeypatch.context() as patch:
            hooked(patch, at(step, action))
            return up(fleet, timeout, *more), before
    finally:
        fleet.write()


def rarely(*often):
    """All steps; those on the camera, or on all, that do something else than these only in the long run."""
    return [
        step if step.do in often and step.platform != "server" else pytest.param(step, marks=pytest.mark.long)
        for step in STEPS
    ]


def interrupt(rollout):
    raise KeyboardInterrupt


def break_connections(rollout):
    for session in rollout.sessions.values():
        os.kill(session.pid, signal.SIGKILL)


def break_one_connection(rollout):
    os.kill(rollout.sessions["camera"].pid, signal.SIGKILL)


def name_of(step):
    return f"{step.do.name.lower()}-{step.platform}".rstrip("-")


@pytest.mark.parametrize("step", rarely(), ids=name_of)
def test_ctrl_c_at_any_step_leaves_everything_as_it_was(local, monkeypatch, step):
    done, before = attempt(local, monkeypatch, step, interrupt)
    assert done.code == 130
    if step == Step(Do.KEEP, "camera"):
        assert runs_what_it_ran(local, before)
    else:
        assert as_before(local, before)


def live(*often):
    """The steps of an update while frames flow, those that others do not have: most of them only in the long run."""
    new = [step for step in LIVE if step not in STEPS or step in TOLD]
    return [step if step.do in often else pytest.param(step, marks=pytest.mark.long) for step in new]


def undisturbed(fleet, step, running):
    """Whether those that ran when an update was cut run on; once they have been told to leave, they come back."""
    return step in TOLD or {name: fleet.programs(name) for name in kit.PLATFORMS} == running


@pytest.mark.parametrize("step", live(Do.TAKE_OVER), ids=name_of)
def test_ctrl_c_at_any_step_of_an_update_while_frames_flow(local, monkeypatch, step):
    deployed(local)
    running = {name: local.programs(name) for name in kit.PLATFORMS}
    done, before = attempt(local, monkeypatch, step, interrupt, "30", "--live")
    assert done.code == 130
    if step == Step(Do.KEEP, "camera"):
        assert runs_what_it_ran(local, before)
    else:
        assert as_before(local, before)
        assert undisturbed(local, step, running)


@pytest.mark.long
@pytest.mark.parametrize("step", live()[:-1], ids=name_of)
def test_a_connection_that_breaks_at_any_step_of_an_update_while_frames_flow(remote, monkeypatch, step):
    deployed(remote)
    running = {name: remote.programs(name) for name in kit.PLATFORMS}
    done, before = attempt(remote, monkeypatch, step, break_one_connection, "30", "--live")
    assert done.code == 1
    assert (runs_what_it_ran if step.do is Do.KEEP else as_before)(remote, before)
    assert step.do is Do.KEEP or undisturbed(remote, step, running)


@pytest.mark.long
@pytest.mark.parametrize("step", rarely(Do.WELL)[:-1], ids=name_of)
def test_a_connection_that_breaks_leaves_everything_as_it_was(remote, monkeypatch, step):
    done, before = attempt(remote, monkeypatch, step, break_one_connection)
    assert done.code == 1
    assert "camera" in done.err and "the connection to" in done.err
    assert (runs_what_it_ran if step.do is Do.KEEP else as_before)(remote, before)


@pytest.mark.long
@pytest.mark.parametrize("step", STEPS[:-1], ids=name_of)
def test_all_connections_that_break_at_any_step_leave_everything_as_it_was(remote, monkeypatch, step):
    done, before = attempt(remote, monkeypatch, step, break_connections)
    assert done.code == 1
    assert as_before(remote, before)


def kill_agents(rollout):
    for session in rollout.sessions.values():
        os.kill(session.pid, signal.SIGKILL)  # of a device that is this machine: the agent itself
        session._process.wait()


@pytest.mark.long
@pytest.mark.parametrize("step", [Step(Do.SWITCH, "camera"), Step(Do.WELL)], ids=name_of)
def test_where_even_the_agent_is_killed_the_next_deployment_undoes_that_first(local, monkeypatch, step):
    done, before = attempt(local, monkeypatch, step, kill_agents)
    assert done.code == 1
    status = call("deploy", "status", local.system)
    assert status.code == 1
    assert "a deployment was cut here" in status.out
    done = up(local)
    assert done.code == 0, done.err
    assert "an earlier deployment was cut here, and is undone" in done.err
    assert {name: local.current(name) for name in kit.PLATFORMS} == {
        name: Path(before[name]["links"]["current"]).name for name in kit.PLATFORMS
    }
    assert local.counts()


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory):
    """Two devices, one of which has a disk of 8 MiB."""
    folder = tmp_path_factory.mktemp("small")
    disk = folder / "devices" / "camera"
    disk.mkdir(parents=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"a small disk needs root and mount: {done.stderr.strip()}")
    try:
        with kit.local(folder) as fleet:
            deployed(fleet)
            yield fleet
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def fill(fleet):
    """Leave no byte on the small disk."""
    path = fleet.device("camera") / "full"

    def action(rollout):
        with path.open("wb", buffering=0) as file:
            for size in (1 << 16, 4096, 1):
                while True:
                    try:
                        file.write(b"x" * size)
                    except OSError as error:
                        assert error.errno == errno.ENOSPC
                        break

    return action


@pytest.mark.parametrize("step", rarely(Do.STAGE), ids=name_of)
def test_a_disk_that_is_full_at_any_step_leaves_everything_as_before_or_after(small_disk, monkeypatch, step):
    fleet = small_disk
    try:
        done, before = attempt(fleet, monkeypatch, step, fill(fleet), "4")
        if done.code:
            assert done.code == 1
            assert "No space left on device" in done.err or "has not reported yet" in done.err
            assert as_before(fleet, before)
        else:  # all that needs space was there already
            assert all(fleet.current(name) != Path(before[name]["links"]["current"]).name for name in kit.PLATFORMS)
            assert fleet.counts()
    finally:
        (fleet.device("camera") / "full").unlink(missing_ok=True)


@pytest.mark.parametrize("step", rarely(Do.WELL), ids=name_of)
def test_a_first_deployment_that_is_cut_leaves_nothing(tmp_path, monkeypatch, step):
    with kit.local(tmp_path) as fleet:
        with monkeypatch.context() as patch:
            hooked(patch, at(step, interrupt))
            assert up(fleet).code == 130
        assert not list(tmp_path.glob("devices/*"))
        assert not any(fleet.supervisors(name) or fleet.programs(name) for name in kit.PLATFORMS)
