"""Every option acts, or is refused: a table of all commands and options, with two calls each whose results differ."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import shutil
import socket
import sys
import tempfile
from dataclasses import dataclass
from typing import Callable

import click
import pytest
from application import ROOT
from outcomes import Outcome, Work, code, days, everything, json_of, lines_of, names, on_terminal, out, silent
from prepared import inside

from tests.kit.commands import commands

EXIT = str(ROOT / "graphs/vehicle_exit.xml")
VEHICLE = str(ROOT / "graphs/vehicle.xml")
CHAIN = str(ROOT / "graphs/vehicle_chain.xml")
THIRD = str(ROOT / "graphs/vehicle_third.xml")
THIRD_SPLIT = f"-p {ROOT}/graphs/endpoint.xml {ROOT}/graphs/server.xml -m {ROOT}/mappings/vehicle_third_split"
PLATFORMS = "-p platforms/endpoint.xml platforms/server.xml"
LOCAL = "app.xml -p platforms/endpoint.xml -m local"
SPLIT = "app.xml -p platforms -m split"
SINKS = "sinks.xml -p platforms -m sinks"
#: LOCAL and SPLIT without slices of a model, so that programs start quickly.
PLAIN = "plain.xml -p platforms/endpoint.xml -m local"
BOTH = "plain.xml -p platforms -m split"
ONE = "probe.xml -p platforms/endpoint.xml -m one"
TWO = "probe.xml -p platforms -m two"
IMPORTED = "imported/application.xml --model tiny.tflite"
KN = f"replicate {CHAIN} --cut-after L3 --endpoints 2 --servers 1 -o k"
KN2 = KN.replace("--servers 1", "--servers 2")
BACK = f"replicate {VEHICLE} --cut-after L3 --endpoints 1 --servers 2 -o k"
OFFLOAD = "apply offload app.xml -p platforms -m split --device endpoint --server server -o k"
EXITS = "apply exits wide.tflite --data pictures.npz --wish accuracy=0.1 -o k"
PARTS = "apply partition tiny.tflite --devices 2 -o k"
RESIZE = "apply resize app.xml -o k --times In=1ms L1=1ms L2=1ms Out=1ms"
SWEEP = f"sweep {ONE} --vary Out.gain=1"
GAIN = f"{SWEEP} --format json"
GAINS = f"sweep {ONE} --vary Out.gain=1,2 --format json --axes gain,cores"
CODED = "tests/cli/test_coded_cuts.py"
CUT = "tests/cli/test_cut.py"
PLACEMENT = "tests/cli/test_placement.py"
REQUIRE = "tests/cli/test_require.py"
POINT = "profile fresh --point 4"
EVALUATE = "evaluate app.xml --data pictures.npz --format json"
COMPRESS = "apply compress app.xml -p platforms -m split --fifo f2 --data pictures.npz -o k"
RECOVER = "apply recover parted/application.xml -p parted/platforms -m parted/mappings --calibration pictures.npz -o k"
WIDTH = "apply width wide.tflite --data pictures.npz --wish agreement=0.1 -o k"
DEPTH = "apply depth residual.tflite --data pictures.npz --wish agreement=0.1 -o k"
CACHE = "apply cache wide.tflite --data pictures.npz --false-hits 1 --at conv2d_0 -o k"
CASCADE = "apply cascade small.tflite wide.tflite --data pictures.npz --wish agreement=0.1 -o k"
DEFEND = (
    "apply defend app.xml -p platforms -m split --fifo f2 --data pictures.npz --wish agreement=0 --method noise "
    "--strength 1 --average 1 --frames 8 -o k"
)
PRIVACY = "privacy app.xml -p platforms -m split --data pictures.npz --format json"
ROBUSTNESS = "robustness wide.tflite --devices 2 --method lop --data pictures.npz --format json"
ROBUST = ROBUSTNESS.replace("--method lop", "--method robust")
ON_UNIT = "verify imported/application.xml -p platforms/endpoint.xml --unit cpu0"
EXPLORE = f"explore app.xml {PLATFORMS} -o new"


@dataclass(frozen=True)
class Acts:
    """Two calls that differ in the option, and where their results differ."""

    without: str
    with_it: str
    look: Callable[[Outcome], object] = everything
    long: bool = False


@dataclass(frozen=True)
class Elsewhere:
    """What the option does is shown by this test: ``file::function``."""

    test: str


def plus(base, option, look=everything):
    """The call with and without something behind it."""
    return Acts(base, f"{base} {option}", look)


OUTSIDE = {
    "--allow-outside": Elsewhere("tests/cli/test_outside.py::test_files_elsewhere_are_refused_unless_one_allows_them")
}


def written(base, placed=True):
    """The options that all passes have."""
    deployed = Elsewhere("tests/cli/test_every_option.py::test_a_pass_writes_the_platforms_and_mappings_that_it_got")
    return {
        **(dict.fromkeys(("--platform", "--mapping"), deployed) if placed else {}),
        "--output": Acts(base, base.replace("-o k", "-o n"), names),
        "--format": plus(base, "--format json", out),
        **OUTSIDE,
    }


DEPLOY = "tests/cli/test_deploy_options.py"
LIVE = "tests/cli/test_deploy_live.py::test_what_cannot_be_handed_over_is_told_before_anything_is_changed"
REPLAN = "tests/cli/test_replan.py::test_each_option_acts"
#: Subcommand of deploy -> option -> the test that shows it.
DEPLOYING = {
    "up": {
        "--bootstrap": "test_a_package_that_nobody_knows_is_asked_for",
        "--wheels": "test_what_is_of_bootstrap_is_refused_without_it",
        "--require": "test_a_package_that_nobody_knows_is_asked_for",
        "--keys": "test_certificates_that_nothing_needs_are_refused",
        "--renew-before": "test_certificates_are_renewed_when_they_are_to_be",
        "--set": "test_a_parameter_is_set",
        "--with-inputs": "test_what_actors_read_is_sent",
        "--insecure": "test_an_unprotected_link_is_allowed",
        "--zenoh": "test_links_over_zenoh_are_told_where_it_is",
        "--metrics": "test_a_program_answers_with_metrics",
        "--service": "test_a_service_manager_is_chosen",
        "--timeout": "test_programs_have_so_long",
        "--dry-run": "test_a_plan_is_only_shown",
        "--quiet": "test_quiet",
        "--format": "test_a_plan_is_only_shown",
        "--live": LIVE,
        "--reset": LIVE,
    },
    "replan": dict.fromkeys(("--cuts", "--output", "--gone", "--make", "--keep-on", "--best", "--no-require"), REPLAN)
    | dict.fromkeys(("--format", "--timeout", "--quiet"), REPLAN),
    "doctor": {"--format": "test_json"},
    "status": {"--format": "test_json"},
    "logs": {
        "--follow": "test_logs_follow",
        "--lines": "test_json",
        "--on": "test_json",
        "--format": "test_json",
    },
    "start": {"--timeout": "test_programs_have_so_long", "--quiet": "test_quiet"},
    "stop": {"--quiet": "test_quiet"},
    "rollback": {"--timeout": "test_programs_have_so_long", "--quiet": "test_quiet"},
    "undeploy": {"--purge": "test_results_are_purged", "--quiet": "test_results_are_purged"},
}
WATCH = "tests/cli/test_watching.py"
#: Option -> the test that shows it, of `top` and `watch`.
WATCHING = {
    "--platform": "test_an_application_with_its_files",
    "--mapping": "test_an_application_with_its_files",
    "--every": "test_states_are_lines_of_json_for_as_long_as_one_wishes",
    "--on": "test_alarms_run_commands_and_are_findings",
    "--late-after": "test_alarms_run_commands_and_are_findings",
    "--against": "test_what_was_predicted_is_set_beside_what_is_measured",
}
PLAY = f"play {BOTH} --tokens f3=f3.npy"
APPLY_PLAY = "apply play app.xml --tokens f3=f3.npy -o k"
EXIT_TIMES = "--times times.json"
TIMED = "--times In=1ms L1=1ms L2=1ms Out=1ms"
ON_TWO = "import tiny.tflite -o new -p pi,server"
SPLIT_PASS = "apply split app.xml --over pi server"

#: Command -> option -> what shows that it acts.
TABLE = {
    "import": {
        **OUTSIDE,
        "--output": plus("import tiny.tflite", "-o new", names),
        "--per": plus("import tiny.tflite -o new", "--per operator"),
        "--cut": plus("import tiny.tflite -o new", "--cut 0"),
        "--feedback": Elsewhere("tests/cli/test_verify.py::test_state_that_is_fed_back_is_followed"),
        "--into": Elsewhere("tests/cli/test_import_into.py::test_the_application_is_not_overwritten"),
        "--signature": Elsewhere("tests/cli/test_import_signatures.py::test_a_signature_is_chosen_by_its_name"),
        "--shape": Elsewhere("tests/cli/test_import_signatures.py::test_open_dimensions_are_said_and_given"),
        "--input": Elsewhere("tests/cli/test_import_ends.py::test_what_the_model_says_is_used"),
        "--labels": Elsewhere("tests/cli/test_import_ends.py::test_channels_first"),
        "--mean": Elsewhere("tests/cli/test_import_ends.py::test_what_is_assumed_is_said_once_with_the_option_for_it"),
        "--std": Elsewhere("tests/cli/test_import_ends.py::test_what_is_assumed_is_said_once_with_the_option_for_it"),
        "--rate": Elsewhere("tests/cli/test_import_ends.py::test_an_unknown_rate_is_said"),
        "--platform": plus("import tiny.tflite -o new", "--platform pi"),
        "--split": Acts(f"{ON_TWO} --split after_0", f"{ON_TWO} --split after_1"),
        "--memory": Elsewhere(
            "tests/cli/test_import_pipeline.py::test_each_device_has_the_name_the_address_and_the_memory_that_are_said"
        ),
        "--force": Elsewhere("tests/cli/test_import_ends.py::test_a_second_import_leaves_what_was_edited"),
        "--best": plus("import tiny.tflite --list", "--best 2", out),
        "--list": Acts("import tiny.tflite -o new", "import tiny.tflite --list"),
        "--expand": plus("import sdf3.xml -o new", "--expand", names),
        "--model": plus("import sdf3.xml -o new", "--model sdf", names),
        "--unit": plus("import sdf3.xml -o new --expand", "--unit 1ms"),
        "--format": plus("import tiny.tflite -o new", "--format json", out),
    },
    "replicate": {
        **OUTSIDE,
        "--endpoints": Acts(KN, KN.replace("--endpoints 2", "--endpoints 3"), names),
        "--servers": Acts(KN, KN.replace("--servers 1", "--servers 2"), names),
        "--cut-after": Acts(KN, KN.replace("L3", "L2")),
        "--output": Acts(KN, KN.replace("-o k", "-o n"), names),
        "--policy": plus(KN, "--policy wait"),
        "--route": Acts(KN2, f"{KN2} --route one"),
        "--timeout": plus(KN, "--timeout 1s"),
        "--back-to": Acts(BACK, f"{BACK} --back-to Sink"),
        "--port": plus(KN, "--port 6000"),
        "--format": plus(KN, "--format json", out),
    },
    "deploy": {},
    **{
        f"deploy {name}": {
            **dict.fromkeys(("--platform", "--mapping"), Elsewhere(f"{DEPLOY}::test_an_application_with_its_files")),
            **{option: Elsewhere(test if "::" in test else f"{DEPLOY}::{test}") for option, test in tests.items()},
            **OUTSIDE,
        }
        for name, tests in DEPLOYING.items()
    },
    "top": {
        **{option: Elsewhere(f"{WATCH}::{test}") for option, test in WATCHING.items()},
        "--once": Elsewhere(f"{WATCH}::test_top_shows_once_what_there_is_and_says_by_its_exit_code_whether_it_is_well"),
        "--format": Elsewhere(f"{WATCH}::test_states_are_lines_of_json_for_as_long_as_one_wishes"),
        **OUTSIDE,
    },
    "watch": {
        **{option: Elsewhere(f"{WATCH}::{test}") for option, test in WATCHING.items()},
        "--port": Elsewhere(f"{WATCH}::test_a_port_that_is_taken_and_a_token_that_can_be_guessed_are_refused"),
        "--bind": Elsewhere(f"{WATCH}::test_the_page_is_at_an_address_of_ones_own_and_opens_by_itself"),
        "--token": Elsewhere(f"{WATCH}::test_a_browser_shows_what_happens"),
        "--open": Elsewhere(f"{WATCH}::test_the_page_is_at_an_address_of_ones_own_and_opens_by_itself"),
        **OUTSIDE,
    },
    "record": {
        **dict.fromkeys(("--platform", "--mapping"), Elsewhere(f"{DEPLOY}::test_an_application_with_its_files")),
        **dict.fromkeys(
            ("--fifo", "--output", "--tokens", "--quiet"),
            Elsewhere("tests/cli/test_record.py::test_tokens_of_a_deployed_system_come_here_and_are_played"),
        ),
        "--bytes": Elsewhere("tests/cli/test_record.py::test_a_file_has_no_more_bytes_than_one_wishes"),
        "--seconds": Elsewhere("tests/cli/test_record.py::test_after_so_many_seconds_there_is_what_there_is"),
        **OUTSIDE,
    },
    "play": {
        **OUTSIDE,
        "--platform": Acts(PLAY, PLAY.replace("platforms", "platforms/server.xml"), code),
        "--mapping": Acts(f"{PLAY} --record new", f"{PLAY} --record new".replace("-m split", "-m local"), names),
        "--tokens": Acts(PLAY, PLAY.replace("f3=f3.npy", "f1=f1.npy"), lambda outcome: outcome.err),
        "--pace": plus(PLAY, "--pace recorded --summary new.json", names),
        "--frames": plus(PLAY, "--frames 1", out),
        "--set": plus(PLAY, "--set Play-f3.pace=no", code),
        "--record": plus(PLAY, "--record new", names),
        "--summary": plus(PLAY, "--summary new.json", names),
        "--quiet": plus(PLAY, "-q", silent),
    },
    "apply play": {
        "--tokens": Acts(APPLY_PLAY, APPLY_PLAY.replace("f3=f3.npy", "f1=f1.npy")),
        "--pace": plus(APPLY_PLAY, "--pace recorded"),
        **written(APPLY_PLAY),
    },
    "apply": {"--format": plus("apply", "--format json")},
    "apply replicate": {
        "--endpoints": Acts(f"apply {KN}", f"apply {KN.replace('--endpoints 2', '--endpoints 3')}", names),
        "--servers": Acts(f"apply {KN}", f"apply {KN.replace('--servers 1', '--servers 2')}", names),
        "--cut-after": Acts(f"apply {KN}", f"apply {KN.replace('L3', 'L2')}"),
        "--policy": plus(f"apply {KN}", "--policy wait"),
        "--route": Acts(f"apply {KN2}", f"apply {KN2} --route one"),
        "--timeout": plus(f"apply {KN}", "--timeout 1s"),
        "--back-to": Acts(f"apply {BACK}", f"apply {BACK} --back-to Sink"),
        "--port": plus(f"apply {KN}", "--port 6000"),
        **written(f"apply {KN}", placed=False),
    },
    "apply partition": {
        "--devices": Acts(PARTS, PARTS.replace("--devices 2", "--devices 3"), names),
        "--method": plus(PARTS, "--method full"),
        "--memory": Acts(PARTS, f"{PARTS} --memory 0.1", code),
        "--failures": Acts(f"{PARTS} --failures 1", f"{PARTS} --failures 2", code),
        "--recover": plus(f"{PARTS} --memory 1", "--recover 1"),
        "--calibration": plus(PARTS, "--calibration x.npy", code),
        "--scores": plus(PARTS, "--scores s1", code),
        "--rotate": plus(PARTS, "--rotate", code),
        "--plan": plus(PARTS, "--plan app.xml", code),
        "--timeout": plus(PARTS, "--timeout 1s"),
        "--result": plus(PARTS, "--result designated"),
        "--clock": plus(PARTS, "--clock 30/s"),
        "--port": plus(PARTS, "--port 6000"),
        **written(PARTS, placed=False),
    },
    "apply compress": {
        "--fifo": Acts(COMPRESS, COMPRESS.replace("--fifo f2", "--fifo f1"), code),
        "--wish": plus(COMPRESS, "--wish agreement=1.5", code),
        "--bytes": plus(COMPRESS, "--bytes 1B", code),
        "--data": Acts(COMPRESS, COMPRESS.replace("pictures.npz", "none.npz"), code),
        "--method": plus(COMPRESS, "--method lossless"),
        "--entropy": Acts(f"{COMPRESS} --method int8", f"{COMPRESS} --method int8 --entropy zlib"),
        "--level": Acts(f"{COMPRESS} --method int8", f"{COMPRESS} --method int8 --level 2"),
        "--rank": Acts(f"{COMPRESS} --method rank", f"{COMPRESS} --method rank --rank 2"),
        "--frames": Acts(
            f"{COMPRESS} --method int8 --format json",
            f"{COMPRESS} --method int8 --format json --frames 2",
            lambda outcome: json.loads(outcome.out)["pictures"],
        ),
        "--bandwidth": plus(f"{COMPRESS} --method int8", "--bandwidth 1kB/s"),
        **written(COMPRESS),
    },
    "apply defend": {
        "--fifo": Acts(DEFEND, DEFEND.replace("--fifo f2", "--fifo f1"), code),
        "--data": Acts(DEFEND, DEFEND.replace("pictures.npz", "none.npz"), code),
        "--wish": Acts(DEFEND, DEFEND.replace("agreement=0", "agreement=1.5"), code),
        "--method": Acts(DEFEND, DEFEND.replace("--method noise", "--method dropout").replace("h 1", "h 0.5")),
        "--strength": Acts(DEFEND, DEFEND.replace("--strength 1", "--strength 2")),
        "--rank": plus(DEFEND, "--rank 2", code),
        "--draw": plus(DEFEND, "--draw scene"),
        "--attack": plus(DEFEND, "--attack magic", code),
        "--average": Acts(DEFEND, DEFEND.replace("--average 1", "--average 2")),
        "--seed": plus(DEFEND, "--seed 3"),
        "--frames": Acts(DEFEND, DEFEND.replace("--frames 8", "--frames 3"), code),
        "--chart": plus(DEFEND, "--chart new.svg", names),
        **written(DEFEND),
    },
    "apply recover": {
        "--calibration": plus(RECOVER, "--calibration none.npz", code),
        "--failures": plus(RECOVER, "--failures 2", code),
        **written(RECOVER),
    },
    "apply resize": {
        "--aim": plus(RESIZE, "--aim live"),
        "--times": plus(RESIZE.partition(" --times")[0], "--times In=1ms L1=1ms L2=1ms Out=1ms", code),
        "--capacities": plus(RESIZE, "--capacities f1=9"),
        **written(RESIZE),
    },
    "apply feedback": {
        "--frames": plus("apply feedback app.xml -o k", "--frames 3"),
        "--fixed": plus("apply feedback app.xml -p platforms -m split -o k", "--fixed Out"),
        **written("apply feedback app.xml -o k"),
    },
    "apply split": {
        "--over": Acts(f"{SPLIT_PASS} --after L1 -o k", "apply split app.xml --over pi edge --after L1 -o k"),
        "--after": Acts(f"{SPLIT_PASS} --after L1 -o k", f"{SPLIT_PASS} --after In -o k"),
        **written(f"{SPLIT_PASS} --after L1 -o k", placed=False),
    },
    "apply fork": written("apply fork app.xml -o k"),
    "apply offload": {
        "--device": Acts(OFFLOAD, OFFLOAD.replace("--device endpoint", "--device edge"), code),
        "--server": Acts(OFFLOAD, OFFLOAD.replace("--server server", "--server edge"), code),
        "--cut": plus(OFFLOAD, "--cut L2"),
        "--behind": plus(OFFLOAD, "--behind L1"),
        "--here": plus(OFFLOAD, "--here 0.1,0.2"),
        "--there": plus(OFFLOAD, "--there 0.1,0.2"),
        "--profile": plus(OFFLOAD, "--profile nowhere", code),
        "--objective": plus(OFFLOAD, "--objective bytes"),
        "--latency": plus(OFFLOAD, "--latency 50ms"),
        "--probe": plus(OFFLOAD, "--probe 7"),
        "--frames": plus(OFFLOAD, "--frames 2"),
        "--retry": plus(OFFLOAD, "--retry 1s"),
        "--again": Elsewhere(
            "tests/passes/test_offload_nests.py::test_without_an_answer_a_frame_takes_that_of_the_last_exit_it_has_passed"
        ),
        "--compress": plus(OFFLOAD, "--compress agreement=0.9"),
        "--beside": plus(f"{OFFLOAD} --retry 1s", "--beside nowhere", code),
        "--data": plus(OFFLOAD, "--data none.npz", code),
        "--wish": plus(OFFLOAD, "--wish bytes=1KiB", code),
        "--at": plus(OFFLOAD, "--at L1", code),
        "--exits": plus(OFFLOAD, "--exits 2", code),
        **written(OFFLOAD),
    },
    "apply exits": {
        "--data": plus(EXITS, "--data none.npz", code),
        "--wish": plus(EXITS, "--wish accuracy=1", code),
        "--at": plus(EXITS, "--at conv2d_0"),
        "--exits": plus(EXITS, "--exits 0", code),
        "--audit": plus(EXITS, "--audit 0.5"),
        "--frames": plus(EXITS, "--frames 8"),
        **written(EXITS),
    },
    "apply width": {
        "--data": plus(WIDTH, "--data none.npz", code),
        "--wish": plus(WIDTH, "--wish speed=1", code),
        "--widths": plus(WIDTH, "--widths 2"),
        "--frames": plus(WIDTH, "--frames 0", code),
        **written(WIDTH, placed=False),
    },
    "apply depth": {
        "--data": plus(DEPTH, "--data none.npz", code),
        "--wish": plus(DEPTH, "--wish accuracy=1", code),
        "--at": plus(DEPTH, "--at softmax_11", code),
        "--blocks": plus(DEPTH, "--blocks 9", code),
        "--frames": plus(DEPTH, "--frames 0", code),
        **written(DEPTH),
    },
    "apply cache": {
        "--data": plus(CACHE, "--data none.npz", code),
        "--at": plus(CACHE, "--at nothing", code),
        "--on": plus(CACHE, "--on server"),
        "--false-hits": plus(CACHE, "--false-hits 0.0001", code),
        "--audit": plus(CACHE, "--audit 0.5"),
        "--entries": plus(CACHE, "--entries 7"),
        "--lifetime": plus(CACHE, "--lifetime 9"),
        "--nearest": plus(CACHE, "--nearest 1"),
        "--share": plus(CACHE, "--share 1"),
        "--values": plus(CACHE, "--values 8"),
        "--keys": plus(CACHE, "--keys int8"),
        "--frames-under-way": plus(CACHE, "--frames-under-way 1"),
        "--shared": plus(CACHE, "--shared road"),
        "--frames": plus(CACHE, "--frames 0", code),
        **written(CACHE),
    },
    "apply cascade": {
        "--data": plus(CASCADE, "--data none.npz", code),
        "--wish": plus(CASCADE, "--wish accuracy=1", code),
        "--quality": plus(CASCADE, "--quality 50"),
        "--audit": plus(CASCADE, "--audit 0.5"),
        "--mean": plus(CASCADE, "--mean 0.25"),
        "--std": plus(CASCADE, "--std 0.25"),
        "--labels": plus(CASCADE, "--labels a,b,c,d,e"),
        "--input": plus(CASCADE, "--input photos"),
        "--frames": plus(CASCADE, "--frames 0", code),
        "--port": plus(CASCADE, "--port 6000"),
        **written(CASCADE, placed=False),
    },
    "apply tap": {
        "--folder": Acts("apply tap app.xml --folder one -o k", "apply tap app.xml --folder two -o k"),
        **written("apply tap app.xml --folder one -o k"),
    },
    "apply relocate": written("apply relocate app.xml -o k"),
    "apply expand": written("apply expand app.xml -o k", placed=False),
    "analyze": {
        **OUTSIDE,
        "--platform": Acts("analyze app.xml -m split", f"analyze {SPLIT}"),
        "--mapping": Acts("analyze app.xml -p platforms", f"analyze {SPLIT}"),
        "--format": plus("analyze app.xml", "--format junit"),
        "--output": plus("analyze app.xml", "-o new.txt", names),
        "--model": plus(f"analyze {THIRD}", "--model vr-prune", code),
        "--strict": plus("analyze warned.xml", "--strict", code),
        "--faults": plus(f"analyze {SPLIT}", "--faults 1", code),
        "--essential": plus(f"analyze {SINKS} --faults 1", "--essential Out"),
        "--service": plus(f"analyze {SINKS} --faults 1", "--service 2"),
        "--buffers": plus("analyze app.xml", "--buffers"),
        "--times": plus("analyze app.xml --buffers", TIMED),
        "--latency": plus("analyze required.xml", "--latency"),
        "--apply": plus("analyze app.xml --buffers", "--apply new.xml", names),
        "--rate": plus(f"analyze app.xml --buffers {TIMED}", "--rate 100/s"),
        "--front": plus(f"analyze app.xml --buffers {TIMED}", "--front"),
        "--chart": plus(f"analyze app.xml --buffers --front {TIMED}", "--chart new.svg", names),
    },
    "simulate": {
        "--model": plus(f"simulate {THIRD}", "--model vr-prune", code),
        **OUTSIDE,
        "--control": Acts(f"simulate {EXIT} --control Deep=0", f"simulate {EXIT} --control Deep=1"),
        "--iterations": plus("simulate app.xml", "--iterations 3"),
        "--seed": plus("simulate app.xml", "--seed 7"),
        "--format": plus("simulate app.xml", "--format json"),
        "--output": plus("simulate app.xml", "-o new.txt", names),
        "--chart": plus("simulate app.xml", "--chart new.svg", names),
        "--platform": plus(f"simulate app.xml -m split --time {TIMED}", "-p platforms"),
        "--mapping": plus(f"simulate app.xml -p platforms --time {TIMED}", "-m split"),
        "--time": plus("simulate required.xml", "--time"),
        "--times": plus("simulate required.xml --time", "--times L1=2ms"),
        "--chances": Acts(*(f"simulate {EXIT} --time {EXIT_TIMES} --chances Deep={odds}" for odds in ("0:1", "1:1"))),
        "--gantt": plus("simulate required.xml --time", "--gantt new.svg", names),
        "--trace": plus("simulate required.xml --time", "--trace new.json", names),
        "--beside": plus(
            "simulate required.xml --time --gantt new.svg", "--beside predicted.json", lambda run: run.files["new.svg"]
        ),
    },
    "codegen": {
        **OUTSIDE,
        "--model": plus(f"codegen {LOCAL} -o new/", "--model sdf"),
        "--platform": Acts(f"codegen {SPLIT} -o new/", f"codegen {SPLIT.replace('platforms', 'other')} -o new/"),
        "--mapping": Acts(f"codegen {LOCAL} -o new/", f"codegen {SPLIT} -o new/", names),
        "--output": Acts(f"codegen {LOCAL} -o new/", f"codegen {LOCAL} -o newer/", names),
        "--pyz": plus(f"codegen {LOCAL} -o new/", "--pyz", names),
        "--systemd": plus(f"codegen {LOCAL} -o new/ --pyz", "--systemd", names),
        "--target": plus(f"codegen {LOCAL} -o new/", "--target compose", names),
        "--registry": plus(f"codegen {LOCAL} -o new/ --target compose", "--registry registry.example"),
        "--keys": plus(f"codegen {BOTH.replace('platforms', 'tls')} -o new/ --target compose", "--keys nowhere", code),
        "--insecure": plus(f"codegen {SPLIT} -o new/ --target compose", "--insecure", code),
        "--zenoh": Elsewhere("tests/cli/test_over_zenoh.py::test_a_link_over_zenoh_needs_no_service"),
        "--with-inputs": Elsewhere("tests/cli/test_containers.py::test_what_actors_read_is_packed"),
        "--require": plus(f"codegen {LOCAL} -o new/ --target compose", "--require requests"),
        "--fuse": plus(f"codegen {LOCAL} -o new/", "--no-fuse"),
        "--format": plus(f"codegen {LOCAL} -o new/", "--format json", out),
    },
    "certify": {
        "--days": Acts("certify new one --days 9 --format json", "certify new one --days 99 --format json", days),
        "--renew": Acts("certify keys", "certify keys --renew", code),
        "--show": Acts("certify keys", "certify keys --show", code),
        "--format": plus("certify keys --show", "--format json"),
    },
    "run": {
        **OUTSIDE,
        "--model": plus(f"run {THIRD} {THIRD_SPLIT} --frames 1", "--model vr-prune", code),
        "--platform": Acts(f"run {BOTH}", f"run {BOTH.replace('platforms', 'platforms/server.xml')}", code),
        "--mapping": Acts(f"run {PLAIN} --record new", f"run {BOTH} --record new", names),
        "--frames": plus(f"run {PLAIN}", "--frames 1", out),
        "--set": plus(f"run {PLAIN}", "--set In.count=1", out),
        "--fuse": Acts(
            f"run {LOCAL} -q --summary new.json",
            f"run {LOCAL} -q --summary new.json --no-fuse",
            lambda outcome: list(json.loads(outcome.files["new.json"])["platforms"]["endpoint"]["actors"]),
        ),
        "--interpreter": Acts(
            f"run {LOCAL} --interpreter ai-edge-litert",
            f"run {LOCAL} --interpreter tflite-runtime --summary new.json",
            lambda outcome: "tflite-runtime" in str(outcome.files) or outcome.code,
        ),
        "--record": plus(f"run {PLAIN}", "--record new", names),
        "--trace": plus(f"run {PLAIN}", "--trace new", names),
        "--summary": plus(f"run {PLAIN}", "--summary new.json", names),
        "--build": plus(f"run {PLAIN}", "--build new", names),
        "--ports": Elsewhere("tests/cli/test_every_option.py::test_the_ports_of_the_files_are_used"),
        "--timeout": Acts(f"run {TWO} --set In.late=3", f"run {TWO} --set In.late=3 --timeout 0.2", code, long=True),
        "--stall-after": plus(
            f"run {ONE} --set In.slow=0.4", "--stall-after 0.1", lambda outcome: outcome.err.count("stalled")
        ),
        "--threads": Elsewhere("tests/cli/test_threads.py::test_actors_of_a_cluster_share_a_thread_unless_told_not_to"),
        "--check": plus(f"run {ONE} --set In.hole=2", "--check", code),
        "--pin": plus(f"run {ONE}", "--no-pin", out),
        "--emulate": plus(f"run {TWO}", "--emulate", lambda outcome: "emulated" in outcome.err),
        "--keys": plus(f"run {BOTH.replace('platforms', 'tls')}", "--keys nowhere", code),
        "--tap": plus(f"run {PLAIN}", "--tap f1=new.npy", names),
        "--quiet": plus(f"run {PLAIN}", "-q", silent),
    },
    "sweep": {
        **OUTSIDE,
        "--platform": Acts(GAIN, GAIN.replace(ONE, "probe.xml -m one"), code),
        "--mapping": Acts(GAIN, GAIN.replace(ONE, TWO), json_of("points.0.links")),
        "--vary": Acts(GAIN, GAIN.replace("Out.gain=1", "In.count=1"), json_of("points.0.frames")),
        "--frames": plus(GAIN, "--frames 1", json_of("points.0.frames")),
        "--data": Elsewhere("tests/cli/test_sweep.py::test_accuracy_on_ones_own_pictures_is_a_figure_like_any_other"),
        "--set": plus(GAIN, "--set In.count=5", json_of("points.0.frames")),
        "--wish": plus(SWEEP, "--wish gain=1", lambda outcome: "Least" in outcome.out),
        "--axes": Acts(f"{GAIN} --axes gain,ms", f"{GAIN} --axes gain,cores", json_of("axes")),
        "--smaller": plus(GAINS, "--smaller gain", json_of("points.0.front")),
        "--format": plus(SWEEP, "--format csv", lambda outcome: outcome.out.count(",") > 2),
        "--output": plus(GAINS, "-o new.svg", names),
        "--results": plus(SWEEP, "--results new.json", names),
        "--fuse": Elsewhere("tests/cli/test_every_option.py::test_a_sweep_runs_slices_as_one_or_not"),
        "--interpreter": Elsewhere(
            "tests/cli/test_every_option.py::test_a_sweep_uses_the_interpreter_that_is_asked_for"
        ),
        "--limit": Acts(f"sweep {ONE} --vary In.slow=1 --limit 0.1", f"sweep {ONE} --vary In.slow=1 --limit 0.2", out),
        "--pin": plus(GAIN, "--no-pin", json_of("points.0.metrics.cores")),
        "--emulate": plus(GAIN, "--emulate", json_of("points.0.emulated")),
        "--quiet": Elsewhere("tests/cli/test_every_option.py::test_quiet_commands_show_no_progress_on_a_terminal"),
    },
    "replay": {
        **OUTSIDE,
        **dict.fromkeys(
            ("--platform", "--mapping", "--way", "--seconds", "--latency", "--format"),
            Elsewhere("tests/measure/test_replay.py::test_a_network_is_replayed_and_compared"),
        ),
        **dict.fromkeys(
            ("--device", "--server", "--cut", "--interpreter", "--set"),
            Elsewhere("tests/measure/test_replay.py::test_what_is_asked_for_reaches_the_runs"),
        ),
        **dict.fromkeys(
            ("--data", "--wish", "--at", "--exits"),
            Elsewhere("tests/measure/test_replay.py::test_exits_are_fitted_as_asked_for_and_tried_beside_random_ones"),
        ),
        "--quiet": Elsewhere("tests/measure/test_replay.py::test_progress_is_shown_unless_it_is_not_wanted"),
    },
    "verify": {
        **OUTSIDE,
        "--model": Acts(
            f"verify {IMPORTED}",
            "verify imported/application.xml --model none.tflite",
            code,
        ),
        "--platform": Acts(ON_UNIT, ON_UNIT.replace("endpoint", "server"), out),
        "--unit": Acts(ON_UNIT, ON_UNIT.replace("cpu0", "none"), code),
        "--tolerance": plus(ON_UNIT, "--tolerance 0", out),
        "--inputs": plus(f"verify {IMPORTED}", "--inputs split", code),
        "--frames": plus(f"verify {IMPORTED}", "--frames 1"),
        "--seed": plus("verify changed/application.xml --model tiny.tflite", "--seed 7", out),
        "--interpreter": Acts(
            f"verify {IMPORTED} --interpreter ai-edge-litert",
            f"verify {IMPORTED} --interpreter tflite-runtime",
        ),
        "--format": plus(f"verify {IMPORTED}", "--format json"),
    },
    "evaluate": {
        **OUTSIDE,
        "--platform": Acts(f"{EVALUATE} -p platforms -m local", f"{EVALUATE} -p platforms -m split"),
        "--mapping": Acts(f"{EVALUATE} -p platforms -m local", f"{EVALUATE} -p platforms -m split"),
        "--data": Acts(EVALUATE, EVALUATE.replace("pictures.npz", "unlabelled.npz")),
        "--part": plus(EVALUATE, "--part all", json_of("of")),
        "--split": plus(EVALUATE, "--split 0.2", json_of("of")),
        "--frames": plus(EVALUATE, "--frames 3", json_of("of")),
        "--seed": Acts(f"{EVALUATE} --seed 1", f"{EVALUATE} --seed 4", json_of("right")),
        "--labels": plus(EVALUATE, "--labels 4,3,2,1,0", json_of("right")),
        "--model": plus(EVALUATE, "--model changed/tiny.tflite", json_of("measure")),
        "--against": plus(EVALUATE, "--against changed", lambda outcome: len(json.loads(outcome.out))),
        "--run": Elsewhere("tests/cli/test_evaluate.py::test_the_latency_can_be_measured_or_emulated"),
        "--emulate": Elsewhere("tests/cli/test_evaluate.py::test_the_latency_can_be_measured_or_emulated"),
        "--answer": Elsewhere("tests/cli/test_evaluate.py::test_the_answer_is_named_where_it_is_not_clear"),
        "--interpreter": Acts(
            f"{EVALUATE} --interpreter ai-edge-litert",
            f"{EVALUATE} --interpreter tflite-runtime",
            json_of("interpreter"),
        ),
        "--format": Acts(EVALUATE.replace(" --format json", ""), EVALUATE),
    },
    "privacy": {
        **OUTSIDE,
        "--platform": plus(PRIVACY, "-p platforms/endpoint.xml -m local", code),
        "--mapping": Acts(PRIVACY, PRIVACY.replace("-m split", "-m local"), code),
        "--data": plus(PRIVACY, "--data none.npz", code),
        "--labels": plus(PRIVACY, "--labels a,b", code),
        "--attribute": plus(PRIVACY, "--attribute y", json_of("attribute")),
        "--every": plus(PRIVACY, "--every", json_of("cuts")),
        "--attack": plus(PRIVACY, "--attack network", json_of("attacks")),
        "--average": plus(PRIVACY, "--average 2", json_of("average")),
        "--frames": plus(PRIVACY, "--frames 8", json_of("attackers")),
        "--split": plus(PRIVACY, "--split 0.2", json_of("attackers")),
        "--seed": plus(PRIVACY, "--seed 4", json_of("cuts")),
        "--interpreter": Acts(
            f"{PRIVACY} --interpreter ai-edge-litert",
            f"{PRIVACY} --interpreter tflite-runtime",
            json_of("interpreter"),
        ),
        "--format": Acts(PRIVACY, PRIVACY.replace(" --format json", ""), out),
        "--output": Elsewhere("tests/cli/test_privacy.py::test_the_text_and_the_picture_show_it"),
        "--quiet": Elsewhere("tests/cli/test_every_option.py::test_quiet_commands_show_no_progress_on_a_terminal"),
    },
    "robustness": {
        **OUTSIDE,
        "--platform": Elsewhere("tests/cli/test_robustness.py::test_a_partitioned_application_is_tried_as_it_is"),
        "--mapping": Elsewhere("tests/cli/test_robustness.py::test_a_partitioned_application_is_tried_as_it_is"),
        "--failures": plus(ROBUSTNESS, "--failures 0"),
        "--data": Acts(ROBUSTNESS, ROBUSTNESS.replace("pictures.npz", "unlabelled.npz"), json_of("measure")),
        "--part": plus(ROBUSTNESS, "--part all", json_of("part")),
        "--split": plus(ROBUSTNESS, "--split 0.2", json_of("plans.0.sets.0.of")),
        "--frames": plus(ROBUSTNESS, "--frames 3", json_of("plans.0.sets.0.of")),
        "--seed": Acts(f"{ROBUSTNESS} --seed 1", f"{ROBUSTNESS} --seed 4", json_of("plans")),
        "--labels": Acts(f"{ROBUSTNESS} --frames 7", f"{ROBUSTNESS} --frames 7 --labels 1,2,3,4,0", json_of("plans")),
        "--calibrate": Acts(f"{ROBUST} --calibrate 1", f"{ROBUST} --calibrate 9", json_of("calibration")),
        "--recovery": plus(ROBUSTNESS, "--recovery", json_of("plans")),
        "--devices": plus(ROBUSTNESS, "--devices 3", json_of("plans.0.devices")),
        "--method": Acts(ROBUSTNESS, ROBUSTNESS.replace("--method lop", "--method full"), json_of("plans.0.method")),
        "--memory": Acts(f"{ROBUST} --memory 0.7", f"{ROBUST} --memory 1", json_of("plans.0.memory")),
        "--scores": Elsewhere("tests/cli/test_robustness.py::test_what_makes_a_plan_robust_can_be_chosen"),
        "--rotate": Elsewhere("tests/cli/test_robustness.py::test_what_makes_a_plan_robust_can_be_chosen"),
        "--linkage": Elsewhere("tests/cli/test_robustness.py::test_what_makes_a_plan_robust_can_be_chosen"),
        "--one-threshold": Elsewhere("tests/cli/test_robustness.py::test_what_makes_a_plan_robust_can_be_chosen"),
        "--interpreter": Acts(
            f"{ROBUSTNESS} --interpreter ai-edge-litert",
            f"{ROBUSTNESS} --interpreter tflite-runtime",
            json_of("interpreter"),
        ),
        "--format": Acts(ROBUSTNESS.replace(" --format json", ""), ROBUSTNESS),
        "--output": plus(ROBUSTNESS, "-o new.svg", names),
        "--quiet": Elsewhere("tests/cli/test_every_option.py::test_quiet_commands_show_no_progress_on_a_terminal"),
    },
    "draw": {
        "--model": plus(f"draw {THIRD}", "--model vr-prune"),
        "--platform": plus("draw app.xml -m split", "-p other"),
        "--mapping": plus("draw app.xml", "-m split"),
        "--output": plus("draw app.xml", "-o new.dot", names),
        "--format": plus("draw app.xml -o new", "--format dot", names),
    },
    "explore": {
        **OUTSIDE,
        "--platform": Acts(EXPLORE, EXPLORE.replace("platforms/server.xml", "platforms/server.xml edge/edge.xml")),
        "--output": Acts(EXPLORE, EXPLORE.replace("-o new", "-o newer"), names),
        "--fastest-units": Elsewhere("tests/cli/test_explore_units.py::test_actors_go_to_the_fastest_units"),
        "--edge": Elsewhere("tests/cli/test_explore.py::test_endpoints_are_around_a_server_unless_one_is_an_edge"),
        "--seconds": Elsewhere(f"{PLACEMENT}::test_a_search_that_is_stopped_says_how_good_its_answer_is_at_least"),
        "--frames": plus(EXPLORE, "--frames 7", json_of("frames", "new/explore.json")),
        "--keep-on": plus(EXPLORE, "--keep-on endpoint L1", out),
        "--not-on": plus(EXPLORE, "--not-on endpoint L2", out),
        "--must-use": plus(EXPLORE, "--must-use server", out),
        "--must-not-use": plus(EXPLORE, "--must-not-use server", out),
        "--max-bytes": plus(EXPLORE, "--max-bytes 300B", out),
        "--private-until": plus(EXPLORE, "--private-until L2", out),
        "--require": plus(EXPLORE, "--require rate=30/s", out),
        "--no-require": Elsewhere(f"{REQUIRE}::test_the_strictest_of_all_counts"),
        "--privacy": plus(f"{EXPLORE} --private-until ssim=0.5", "--privacy revealed.json", code),
        "--force": Acts(
            EXPLORE.replace("-o new", "-o platforms"), EXPLORE.replace("-o new", "-o platforms --force"), code
        ),
        "--format": plus(EXPLORE, "--format json", out),
    },
    "profile": {
        **OUTSIDE,
        "--point": plus(POINT, "--point 3", lines_of("fresh/results.jsonl")),
        "--latency": plus(POINT, "--latency", names),
        "--actors": plus("profile cuts", "--actors", names),
        "--compress": Elsewhere(f"{CODED}::test_each_cut_counts_as_it_could_be_coded"),
        "--data": Elsewhere(f"{CODED}::test_the_picture_itself_stands_beside_them"),
        "--wish": Elsewhere(f"{CODED}::test_a_wish_decides_how_tokens_are_coded"),
        "--frames": Elsewhere(f"{CODED}::test_a_wish_decides_how_tokens_are_coded"),
        "--rest": Elsewhere("tests/cli/test_profile.py::test_units_rest_between_firings"),
        "--validate": plus("profile timed", "--validate 1", lambda outcome: "predicted" in outcome.out),
        "--objective": Acts(
            "profile timed --validate 1",
            "profile timed --validate 1 --objective bytes",
            lambda outcome: outcome.out.splitlines()[1].split()[0],
        ),
        "--retry": plus("profile failed", "--retry", lines_of("failed/results.jsonl")),
        "--again": plus("profile cuts", "--again", lines_of("cuts/results.jsonl")),
        "--interpreter": Acts(
            "profile modelled --point 4 --interpreter ai-edge-litert",
            "profile modelled --point 4 --interpreter tflite-runtime",
            lambda outcome: (outcome.code, b"tflite-runtime" in outcome.files["modelled/results.jsonl"]),
        ),
        "--limit": plus(POINT, "--limit 0.1", code),
        "--pin": Elsewhere("tests/cli/test_every_option.py::test_profile_pins_programs_or_not"),
        "--endpoint": Elsewhere(
            "tests/cli/test_remote.py::test_every_point_is_measured_on_the_device_and_named_after_it"
        ),
        "--at-once": Elsewhere("tests/cli/test_boards.py::test_what_does_not_fit_is_refused"),
        "--device-python": Elsewhere("tests/cli/test_remote.py::test_each_of_two_endpoints_may_be_a_device"),
        "--emulate": plus(POINT, "--emulate", lambda o: b'"emulated": true' in o.files["fresh/results.jsonl"]),
        "--quiet": plus("profile cuts", "-q", silent),
        "--format": plus("profile cuts", "--format json", out),
    },
    "cut": {
        **OUTSIDE,
        "--best": Elsewhere(f"{CUT}::test_the_best_of_all_cuts_becomes_a_system_that_is_sound"),
        "--point": Elsewhere(f"{CUT}::test_a_point_and_what_an_actor_needs"),
        "--after": Elsewhere(f"{CUT}::test_a_point_and_what_an_actor_needs"),
        "--link": Elsewhere(f"{CUT}::test_other_links_and_speeds_lead_to_other_cuts"),
        "--speed": Elsewhere(f"{CUT}::test_other_links_and_speeds_lead_to_other_cuts"),
        "--seconds": Elsewhere(f"{PLACEMENT}::test_a_search_that_is_stopped_says_how_good_its_answer_is_at_least"),
        "--as-it-is": Elsewhere(f"{CODED}::test_the_cut_that_is_made_is_coded_unless_it_is_not_to_be"),
        "--output": Elsewhere(f"{CUT}::test_what_cannot_be_is_refused_and_nothing_is_written"),
        "--validate": Elsewhere(f"{CUT}::test_it_is_measured_beside_its_prediction"),
        "--emulate": Elsewhere(f"{CUT}::test_it_is_measured_beside_its_prediction"),
        "--frames": Elsewhere(f"{CUT}::test_it_is_measured_beside_its_prediction"),
        "--format": Elsewhere(f"{CUT}::test_it_is_measured_beside_its_prediction"),
        **{
            name: Elsewhere(f"{CUT}::test_constraints_of_the_exploration_and_of_the_command_hold")
            for name in ("--keep-on", "--not-on", "--must-use", "--must-not-use", "--max-bytes", "--private-until")
        },
        "--require": plus("cut timed -o k", "--require latency=1ns", code),
        "--no-require": Elsewhere(f"{REQUIRE}::test_a_cut_that_is_no_partition_point_is_found_where_no_point_does"),
        "--privacy": plus("cut timed -o k --private-until ssim=0.5", "--privacy revealed.json", code),
    },
    "report": {
        "--allow-outside": Elsewhere("tests/cli/test_report_beside.py::test_what_cannot_be_set_beside_is_refused"),
        "--beside": Elsewhere("tests/cli/test_report_beside.py::test_the_text_has_a_row_for_it"),
        "--data": Elsewhere(f"{CODED}::test_what_passes_made_stands_beside_the_cuts_on_the_same_pictures"),
        "--frames": Elsewhere(f"{CODED}::test_what_passes_made_stands_beside_the_cuts_on_the_same_pictures"),
        "--seconds": Elsewhere(f"{PLACEMENT}::test_a_search_that_is_stopped_says_how_good_its_answer_is_at_least"),
        "--as-it-is": Elsewhere(f"{CODED}::test_each_cut_counts_as_it_could_be_coded"),
        "--objective": plus("report timed", "--objective bytes"),
        "--format": plus("report timed", "--format csv"),
        "--output": plus("report timed", "-o new.txt", names),
        "--chart": plus("report timed", "--chart new.svg", names),
        "--link": plus("report timed", "--link wifi=1kB/s,1ms"),
        "--speed": plus("report timed", "--speed server=4"),
        "--against": plus("report timed", "--against cuts"),
        "--tolerance": plus("report planned --speed endpoint=0.1 --against planned", "--tolerance 5000", code),
        "--keep-on": plus("report timed", "--keep-on endpoint L1"),
        "--not-on": plus("report timed", "--not-on endpoint L2"),
        "--must-use": plus("report timed", "--must-use server"),
        "--must-not-use": plus("report timed", "--must-not-use server"),
        "--max-bytes": plus("report timed", "--max-bytes 300B"),
        "--private-until": plus("report timed", "--private-until L2"),
        "--require": plus("report timed", "--require rate=1/s"),
        "--no-require": Elsewhere(f"{REQUIRE}::test_what_the_application_requires_holds_without_a_word"),
        "--privacy": plus("report timed", "--privacy revealed.json"),
    },
    "demo": {
        "--images": Elsewhere("tests/cli/test_examples.py::test_the_demo_passes_on_what_fails"),
        "--frames": Elsewhere("tests/cli/test_examples.py::test_the_demo_shows_that_splitting_changes_no_result"),
        "--build": Elsewhere("tests/cli/test_examples.py::test_the_demo_shows_that_splitting_changes_no_result"),
        "--format": Elsewhere("tests/cli/test_schemas.py::test_what_is_printed_follows_the_schema"),
    },
    "upgrade": {"--check": plus("upgrade old.py", "--check", names)},
    "new": {
        "--output": plus("new app new", "-o newer", names),
        "--format": plus("new app new", "--format json", out),
    },
    "schema": {"--format": plus("schema", "--format json")},
    "rules": {"--format": plus("rules C2", "--format json")},
    "inspect": {"--format": plus("inspect JsonLines", "--format json")},
    "doctor": {"--format": Elsewhere("tests/cli/test_doctor.py::checked")},
    "completion": {},
}

#: Calls with an option that could do nothing, and the message that refuses it.
REFUSED = {
    "report timed --tolerance 20": "--tolerance says how much worse than --against a point may be",
    "report timed --against cuts --chart new.svg": "--chart is of one exploration",
    "report timed --must-use nope": "there is no platform 'nope'",
    "report cuts --speed server=2": "that needs predictions",
    "report cuts --link wifi=1MB/s": "that needs predictions",
    "explore app.xml -p platforms -o new --must-use servr": "did you mean 'server'?",
    "explore app.xml -p platforms -o new --must-use ''": "there is no platform ''",
    "certify keys --show --days 9": "--days: --show changes nothing",
    "certify keys --show --renew": "--show takes neither platforms nor --renew",
    "profile cuts --objective bytes": "--objective says which points --validate K takes",
    "profile cuts --device-python python3": "--device-python is the Python of the device that --endpoint names",
    "profile cuts --actors --point 1": "--point: --actors measures no points",
    "profile cuts --actors --limit 3": "--limit: --actors measures no points",
    "profile cuts --actors --endpoint ssh://pi": "--endpoint: --actors measures no points",
    "profile timed --validate 1 --again": "--again: --validate chooses itself",
    "profile timed --validate 1 --latency": "it goes with neither --actors nor --validate",
    "profile cuts --point 1 --retry": "--retry: --point measures its points anew",
    "profile cuts --again --retry": "--retry: --again measures everything",
    "profile cuts --emulate --endpoint ssh://pi": "--emulate plays devices and links on this machine",
    f"run {SPLIT} --keys keys": '--keys is for links with security="tls"',
    "draw app.xml -o z.svg --format png": "png does not fit 'z.svg'",
    "draw app.xml -p platforms": "say with -m where the actors are",
    f"verify {IMPORTED} --inputs split --seed 3": "--seed is for random inputs",
    "evaluate tiny.tflite -p platforms -m local --data pictures.npz": "a model has no mapping",
    "evaluate app.xml -p platforms --data pictures.npz": "platform files (-p) and mapping files (-m) go together",
    "evaluate app.xml --data pictures.npz --emulate": "--emulate is for --run",
    "evaluate app.xml --data pictures.npz --run": "--run needs platforms and mappings",
    "robustness app.xml --devices 3 --data pictures.npz": "--devices: the application has a plan already",
    "robustness wide.tflite --data pictures.npz -o new.pdf": "ends in neither .svg nor .png",
    "import tiny.tflite --list -o new": "--output: --list writes nothing",
    "import tiny.tflite --list --per layer": "--per: --list writes nothing",
    "import tiny.tflite --list --force": "--force: --list writes nothing",
    "import tiny.tflite -o new --best 3": "--best is for --list",
    "import tiny.tflite -o new --split best": "--split takes two platforms or more",
    "import tiny.tflite -o new --into app.xml --input split": "--input: --into has ends of its own",
    "import tiny.tflite -o new --expand": "--expand, --model and --unit are for SDF3's XML",
    "import tiny.tflite -o new --model sdf": "--expand, --model and --unit are for SDF3's XML",
    "import sdf3.xml -o new --model sdf --expand": "--expand makes a graph for which --model sdf is not needed",
    "analyze app.xml --model sdf --faults 1": "with --model sdf nothing is, for FIFOs stop or wait",
    "import sdf3.xml -o new --per layer": "--per: for models, not for SDF3's XML",
    "import tiny.tflite -o new --per layer --cut 0": "--per and --cut are two ways to say the same",
    "analyze app.xml --times In=1ms": "--times is for --buffers, --latency, and applications with requirements",
    "analyze app.xml --rate 5/s": "--rate, --front and --apply go with --buffers",
    "simulate app.xml --times In=1ms": "it goes with --time",
    "simulate required.xml --time --beside predicted.json": "--beside draws measured traces into --gantt",
    "simulate required.xml --time --chart new.svg": "--gantt draws time",
    "analyze app.xml --essential Out": "say what --faults K asks",
    "analyze app.xml --buffers --format junit": "--buffers has no place in junit",
    "codegen app.xml -p platforms -m split -o new/ --systemd": "--systemd goes with --pyz",
    f"codegen {LOCAL} -o - --format json": "--format json: stdout is for the program",
    "apply --format json relocate app.xml -o k": "--format: give it after the pass",
    "schema analyze --format json": "--format is for the list of schemas",
}


def options_of(name):
    """The options of a command, by their longest names."""
    return [max(param.opts, key=len) for param in commands()[name].params if isinstance(param, click.Option)]


def test_the_table_has_every_option_of_every_command():
    missing = {name: sorted(set(options_of(name)) - set(TABLE.get(name, {}))) for name in commands()}
    assert {name: options for name, options in missing.items() if options} == {}, (
        "say in TABLE what shows that they act"
    )


def test_the_table_has_no_leftovers():
    known = {(name, option) for name in commands() for option in options_of(name)}
    assert {(name, option) for name, options in TABLE.items() for option in options} - known == set()


@pytest.fixture(scope="module")
def work(prepared, tmp_path_factory):
    return Work(prepared, tmp_path_factory.mktemp("options") / "work")


@pytest.fixture(scope="module")
def outcomes():
    """What is known already: call -> its outcome."""
    return {}


@pytest.fixture
def call(work, outcomes, eprune):
    """Run a command in a copy of the prepared folder, once. What its children print on stdout counts, too."""

    def made(line):
        with inside(work.folder), tempfile.TemporaryFile() as printed:
            sys.stdout.flush()
            saved = os.dup(1)
            os.dup2(printed.fileno(), 1)
            try:
                done = eprune(*shlex.split(line))
            finally:
                os.dup2(saved, 1)
                os.close(saved)
                files = work.mend()
            printed.seek(0)
            out = printed.read().decode() + done.out
        assert done.code in (0, 1, 2), done.err
        return Outcome(done.code, out, done.err, files)

    def run(line):
        if line not in outcomes:
            outcomes[line] = made(line)
        return outcomes[line]

    return run


@pytest.fixture
def copy(prepared, tmp_path, monkeypatch):
    """A copy of the prepared folder, which is the current folder."""
    folder = shutil.copytree(prepared, tmp_path / "work")
    monkeypatch.chdir(folder)
    return folder


#: What fits something to pictures at each call: their options are tried in the long tests.
FITTING = ("apply cascade", "apply cache", "apply depth", "apply exits", "apply width", "robustness")
ACTING = [
    pytest.param(entry, id=f"{name} {option}", marks=[pytest.mark.long] * (entry.long or name in FITTING))
    for name, options in TABLE.items()
    for option, entry in options.items()
    if isinstance(entry, Acts)
]


@pytest.mark.parametrize("entry", ACTING)
def test_the_option_makes_a_difference(call, entry):
    without, with_it = call(entry.without), call(entry.with_it)
    assert (without.code, with_it.code) != (2, 2), without.err + with_it.err
    if " --no-pin" in entry.with_it and os.cpu_count() == 1:
        pytest.skip("there is one core only")
    assert entry.look(without) != entry.look(with_it), without.err + with_it.err


@pytest.mark.parametrize(
    ("name", "option", "test"),
    [
        pytest.param(name, option, entry.test, id=f"{name} {option}")
        for name, options in TABLE.items()
        for option, entry in options.items()
        if isinstance(entry, Elsewhere)
    ],
)
def test_the_test_that_shows_it_exists(name, option, test):
    file, _, function = test.partition("::")
    source = (ROOT / file).read_text(encoding="utf-8")
    functions = {node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)}
    assert function in functions
    param = next(param for param in commands()[name].params if option in param.opts)
    assert any(re.search(rf"{opt}\b", source) for opt in (*param.opts, *param.secondary_opts))


@pytest.mark.parametrize("line", REFUSED)
def test_an_option_that_would_do_nothing_is_refused(call, line):
    done = call(line)
    assert (done.code, done.out, done.files) == (2, "", {})
    assert REFUSED[line] in done.err


def test_the_ports_of_the_files_are_used(copy, eprune):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for platform in (copy / "platforms").iterdir():
            platform.write_text(platform.read_text().replace("5100", str(taken.getsockname()[1])))
        free = eprune("run", *shlex.split(TWO), "--ports", "auto", "-q")
        fixed = eprune("run", *shlex.split(TWO), "--ports", "file", "-q", "--timeout", "0.5")
    assert (free.code, fixed.code) == (0, 1)
    assert "in use" in fixed.err


@pytest.mark.parametrize("line", [SWEEP, f"run {ONE}", POINT, ROBUSTNESS, PRIVACY])
def test_quiet_commands_show_no_progress_on_a_terminal(copy, monkeypatch, line):
    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b[" in on_terminal(line)
    assert on_terminal(f"{line} --quiet") == ""


@pytest.mark.skipif(os.cpu_count() == 1, reason="there is one core only")
def test_profile_pins_programs_or_not(copy, tmp_path, eprune, monkeypatch):
    assert eprune("explore", "probe.xml", *shlex.split(PLATFORMS), "-o", "probed", "--frames", "2").code == 0
    cores = []
    for option in ("--pin", "--no-pin"):
        noted = tmp_path / option
        monkeypatch.setenv("PROBE_FILE", str(noted))
        done = eprune("profile", "probed", "--point", "2", option)
        assert done.code == 0, done.err
        cores.append(noted.read_text())
    assert cores[0] == "1" != cores[1]


def test_a_sweep_uses_the_interpreter_that_is_asked_for(copy, tmp_path, eprune, monkeypatch):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/tflite_runtime.py").write_text("raise ImportError('not here')")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{tmp_path / 'broken'}")
    sweep = ("sweep", *shlex.split(LOCAL), "--vary", "In.count=1", "--interpreter")
    assert eprune(*sweep, "ai-edge-litert").code == 0
    done = eprune(*sweep, "tflite-runtime")
    assert done.code == 1
    assert "tflite-runtime cannot be imported" in done.out + done.err


def test_a_sweep_runs_slices_as_one_or_not(copy, eprune, monkeypatch):
    from eprune.measure import sweep

    segments = []
    made = sweep.programs_of

    def programs_of(*arguments):
        segments.extend(len(program.segments) for program in made(*arguments))
        return made(*arguments)

    monkeypatch.setattr(sweep, "programs_of", programs_of)
    for option in ("--fuse", "--no-fuse"):
        assert eprune("sweep", *shlex.split(LOCAL), "--vary", "In.count=1", option, "-q").code == 0
    assert segments == [1, 2]


def test_a_pass_writes_the_platforms_and_mappings_that_it_got(call):
    for name in ("feedback", "fork", "tap --folder taps", "resize --aim live", "relocate"):
        own, *rest = name.split()
        without = call(f"apply {own} app.xml -o k {' '.join(rest)}")
        deployed = call(f"apply {own} app.xml --platform platforms --mapping split -o k {' '.join(rest)}")
        assert set(names(deployed)) - set(names(without)) == {
            f"k/{kind}/{platform}.xml" for kind in ("platforms", "mappings") for platform in ("endpoint", "server")
        }
