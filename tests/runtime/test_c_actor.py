"""Actors in C run in place: rates, ends, errors, modes; built once, kept by hash, and refused clearly."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from eprune.runtime import EndOfStream
from eprune.runtime.fire import c_build
from eprune.runtime.fire.checking import Checked
from eprune.runtime.kernel.errors import UsageError
from tests.kit.accelerator import NEEDS_CC
from tests.kit.c_actors import actor

pytestmark = NEEDS_CC
SUM = """
#include "eprune_actor.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

typedef struct { const eprune_context *context; char *error; size_t size; int left; } sum;

void *sum_new(const eprune_context *context, char *error, size_t size) {
    sum *self = malloc(sizeof *self);
    *self = (sum){context, error, size, atoi(eprune_value(context, "count", "9"))};
    if (self->left < 0) {
        snprintf(error, size, "count=%d: is below 0", self->left);
        free(self);
        return NULL;
    }
    return self;
}

/* The sum of all tokens that are there, each times the mode, to all outputs that are. */
int sum_fire(void *made, const void *const *in, void *const *out) {
    sum *self = made;
    const eprune_context *context = self->context;
    float total = 0;
    if (self->left-- == 0) return EPRUNE_END;
    for (int k = 0; k < context->inputs; k++)
        for (int i = 0; i < context->input[k].upper; i++) {
            const float *token = in[context->input[k].first + i];
            if (token != NULL) total += token[0];
        }
    if (total < 0) {
        snprintf(self->error, self->size, "a total of %g", total);
        return EPRUNE_ERROR;
    }
    if (total == 100) {
        const struct timespec pause = {0, 300000000};
        nanosleep(&pause, NULL);
    }
    for (int k = 0; k < context->outputs; k++)
        for (int i = 0; i < context->output[k].upper; i++) {
            float *token = out[context->output[k].first + i];
            if (token != NULL) token[0] = total * (float)(*context->mode + 1);
        }
    return EPRUNE_OK;
}

void sum_free(void *self) { free(self); }
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "sum.c"
    path.write_text(SUM)
    return path


def token(value: float) -> np.ndarray:
    return np.full((1,), value, np.float32)


def make(source, inputs=1, outputs=1, rates=None, **parameters):
    ports = [{f"{side}{k}": "float32[1]" for k in range(count)} for side, count in (("i", inputs), ("o", outputs))]
    return actor(source, "sum", *ports, rates=rates, flags=("-D_POSIX_C_SOURCE=200809L",), **parameters)


def test_one_token_in_and_one_out_from_changing_slots(source):
    made = make(source, count="99")
    for value in range(8):
        given, room = token(value), token(-1)
        made.fire({"i0": given}, {"o0": room})
        assert room == value
        made.fire({"i0": token(value + 1)}, {"o0": room})
        assert room == value + 1


def test_it_keeps_no_token(source):
    """Neither under --check, which says so of whoever does, nor for an array that has the address of another one."""
    made = make(source, count="999")
    checked = Checked("actor", made.fire, made.control)
    for value in range(50):
        room = token(-1)
        checked.fire({"i0": token(value)}, {"o0": room})
        assert room == value
    assert len(made._calls) <= 2


def test_idle_ports_are_null_and_several_tokens_have_a_pointer_each(source):
    made = make(source, inputs=2, outputs=2, rates={"i1": (0, 3), "o1": (0, 1)})
    room, other = token(-1), token(-1)
    made.fire({"i0": token(1), "i1": [token(2), token(3)]}, {"o0": room, "o1": other})
    assert (room, other) == (6, 6)
    other[...] = -1
    made.fire({"i0": token(4)}, {"o0": room})
    assert (room, other) == (4, -1)


def test_the_mode_is_seen(source):
    made, room = make(source), token(-1)
    made.mode = 2
    made.fire({"i0": token(5)}, {"o0": room})
    assert room == 15


def test_it_ends_and_fails_as_it_says(source):
    made, room = make(source, count="1"), token(-1)
    with pytest.raises(RuntimeError, match=r"^a total of -5$"):
        made.fire({"i0": token(-5)}, {"o0": room})
    with pytest.raises(EndOfStream):
        made.fire({"i0": token(1)}, {"o0": room})
    made.finalize()
    made.finalize()


def test_a_parameter_that_it_refuses_has_its_reason(source):
    with pytest.raises(UsageError, match=r"^actor 'actor': count=-1: is below 0$"):
        make(source, count="-1")


def test_python_runs_while_c_does(source):
    made, room = make(source), token(-1)
    thread = threading.Thread(target=made.fire, args=({"i0": token(100)}, {"o0": room}))
    begin = time.perf_counter()
    thread.start()
    turns = 0
    while thread.is_alive():
        turns += 1
        time.sleep(0.01)
    assert time.perf_counter() - begin > 0.25
    assert turns > 5


def test_what_was_built_is_kept_and_another_source_is_built_anew(source, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    files = {"sum.c": SUM.encode()}
    first = c_build.build("sum.c", files)
    stamp = Path(first).stat().st_mtime_ns
    assert (c_build.build("sum.c", files), Path(first).stat().st_mtime_ns) == (first, stamp)
    assert c_build.build("sum.c", {"sum.c": SUM.encode() + b"\n"}) != first
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(c_build.NoCompiler, match=r"there is no C compiler 'no-such-compiler' on this machine"):
        c_build.build("sum.c", files)


def test_what_the_compiler_says_is_one_message_with_its_line(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(c_build.CompileError, match=r"^bad\.c:2: .*nothing.*") as caught:
        c_build.build("bad.c", {"bad.c": b'#include "eprune_actor.h"\nint bad = nothing;\n'})
    assert caught.value.line == 2
    assert not list(tmp_path.rglob("*.so")) and not list(tmp_path.rglob("*.tmp"))


def test_a_library_without_the_functions_is_refused(source):
    with pytest.raises(UsageError, match=r"it has no function other_new$"):
        actor(source, "other", {}, {}, flags=("-D_POSIX_C_SOURCE=200809L",))
