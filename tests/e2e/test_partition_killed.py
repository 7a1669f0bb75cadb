"""Masks are what happens: a device of a partitioned model is killed, and the others answer what `robustness` counts."""

from __future__ import annotations

import contextlib
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from eprune.cli.main import cli
from eprune.deploy.build import Writer, programs_of
from eprune.deploy.options import link_options
from eprune.deploy.ports import free_base_port
from eprune.formats.system import files_in, read_system
from eprune.formats.tflite.channels import layers
from eprune.measure.masks import Case, Stages, alive
from eprune.measure.recovery import stored
from eprune.measure.robustness import plan_of
from eprune.runtime.fire.tflite import choose
from tests.kit import tiny_models

pytestmark = pytest.mark.long

DEAD, SURVIVOR = "device3", "device2"
PICTURES, PASSES = 12, 300


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A model, and pictures as tokens, in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wide.tflite").write_bytes(tiny_models.two_convolutions())
    np.save("tokens.npy", np.random.default_rng(1).random((PICTURES, 8, 8, 3), np.float32))
    return tmp_path


def eprune(*arguments):
    """Run a command that has to go well."""
    result = CliRunner().invoke(cli, list(arguments))
    assert result.exit_code == 0, result.output


def system_in(folder):
    """The application that a pass has written."""
    placed = files_in([f"{folder}/platforms"], "platform"), files_in([f"{folder}/mappings"], "mapping")
    return read_system(f"{folder}/application.xml", *placed, allow_outside=True)


def started(system, folder):
    """A process for each device."""
    writer, links = Writer(), link_options(system)
    for program in programs_of(system):
        path = str(folder / f"{program.platform}.py")
        writer.program(program, path)
        options = [*links[program.platform], "--patience=1"]
        for actor in system.graph.actors:
            if system.homes[actor.name] != program.platform:
                continue
            if not actor.inputs:
                options += [f"--set={actor.name}.path={folder / 'tokens.npy'}", f"--set={actor.name}.repeat={PASSES}"]
            if actor.name.startswith("Output"):
                options.append(f"--set={actor.name}.path={folder / actor.name}")
        yield program.platform, subprocess.Popen([sys.executable, path, *options], stderr=subprocess.DEVNULL)


@pytest.mark.parametrize("recovery", [False, True])
def test_the_survivors_answer_as_the_masks_say(folder, recovery):
    base = ("--devices", "3", "--method", "lop", "--port", str(free_base_port(3)))
    eprune("apply", "partition", "wide.tflite", *base, "-o", "app")
    if recovery:
        placed = ("-p", "app/platforms", "-m", "app/mappings")
        eprune("apply", "recover", "app/application.xml", *placed, "--calibration", "tokens.npy", "-o", "recovered")
    system = system_in("recovered" if recovery else "app")
    processes = dict(started(system, folder))
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            processes[SURVIVOR].wait(2.5)
        processes[DEAD].kill()
        assert processes[SURVIVOR].wait(120) == 0
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
    model, plan, names = plan_of(system)
    stages = Stages(
        model, [each for each in layers(model) if each.first in {part.first for part in plan.layers}], choose()
    )
    dead = frozenset({names.index(DEAD)})
    found = stored(system, names).get(dead)
    degraded = found.case(plan) if found else Case(alive(plan, dead))
    wanted = [stages(token[None], [Case(), degraded]) for token in np.load("tokens.npy")]
    states = ""
    for frame, answer in enumerate(np.load(folder / "Output-2" / "t12.npy")):
        whole, rest = (each.tobytes() for each in wanted[frame % PICTURES])
        states += "w" if answer.tobytes() == whole else "d" if answer.tobytes() == rest else "?"
    assert len(states) == PICTURES * PASSES
    assert states.count("?") < 20, "while it is noticed, a layer may have its part and the next one not"
    assert states.endswith("d" * 100), states[-200:]
