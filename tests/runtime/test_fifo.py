"""A FIFO loses nothing, doubles nothing, keeps the order, and never holds more than its capacity."""

import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eprune.model.token import SLOT_ALIGNMENT, TokenType
from eprune.runtime.kernel.fifo import Fifo, Input, Output
from eprune.runtime.kernel.memory import ALIGNMENT


@given(
    capacity=st.integers(1, 6),
    delay=st.integers(0, 3),
    script=st.lists(st.sampled_from(["produce", "consume"]), max_size=60),
)
def test_it_behaves_like_a_bounded_list(capacity, delay, script):
    delay = min(delay, capacity)
    fifo = Fifo("f", "int32", (2,), capacity, delay)
    model = [0] * delay
    produced = 0
    for step in script:
        if step == "produce" and len(model) < capacity:
            produced += 1
            Output("out", fifo, 1).acquire()[...] = produced
            fifo.commit(1, produced)
            model.append(produced)
        elif step == "consume" and model:
            assert list(Input("in", fifo, 1).acquire()) == [model.pop(0)] * 2
            fifo.release()
    assert fifo.summary().tokens == produced
    assert fifo.summary().tokens + delay - fifo.summary().consumed == len(model)
    assert fifo.peak <= capacity


def test_tokens_cross_threads_in_order():
    fifo = Fifo("f", "int64", (), 3)
    received = []

    def consume():
        port = Input("in", fifo, 1)
        while (view := port.acquire()) is not None:
            received.append(int(view))
            port.release()

    consumer = threading.Thread(target=consume)
    consumer.start()
    for value in range(5000):
        Output("out", fifo, 1).acquire()[...] = value
        fifo.commit(1, value)
    fifo.end()
    consumer.join()
    assert received == list(range(5000))


def test_initial_tokens_are_zeros_or_the_given_values():
    zeros = Fifo("f", "float32", (3,), 4, delay=2)
    assert np.array(Input("in", zeros, 2).acquire()).tolist() == [[0, 0, 0]] * 2
    given_values = Fifo("f", "float32", (3,), 4, delay=2, initial=np.arange(6, dtype=np.float32).reshape(2, 3))
    assert np.array(Input("in", given_values, 2).acquire()).tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int16", "float16", "float32", "int64", "complex64"])
@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 3, 5)])
def test_every_dtype_and_rank_has_aligned_slots(dtype, shape):
    fifo = Fifo("f", dtype, shape, 3)
    for slot in range(3):
        view = fifo.writable[slot]
        assert view.shape == shape and view.dtype == dtype
        assert view.nbytes == fifo.token_bytes == fifo.raw[slot].nbytes
        assert view.__array_interface__["data"][0] % ALIGNMENT == 0


def page_faults():
    import resource

    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts the page faults of a thread")
def test_the_first_firings_find_all_memory_there():
    """To have half a megabyte mapped while it is written takes three times as long as to write it."""
    size, slots = 2**20, 40  # more than malloc keeps free
    before = page_faults()
    untouched = np.zeros(slots * size, np.uint8)
    untouched[:] = 1
    if page_faults() - before < slots:
        pytest.skip("this system does not count page faults")
    fifo = Fifo("f", "uint8", (size,), slots)
    before = page_faults()
    for token in fifo.writable:
        token[:] = 1
    assert page_faults() - before < slots


def test_the_analyzer_counts_slots_as_they_are():
    fifo = Fifo("f", "bool", (), capacity=1000)
    apart = fifo.writable[1].ctypes.data - fifo.writable[0].ctypes.data
    assert apart == TokenType("bool").slot_bytes == ALIGNMENT == SLOT_ALIGNMENT
    assert TokenType("uint8", (65,)).slot_bytes == 128 and TokenType("float32", (16,)).slot_bytes == 64


def test_the_consumer_cannot_write_and_sees_the_producers_memory():
    fifo = Fifo("f", "int32", (2,), 1)
    with pytest.raises(ValueError, match="read-only"):
        fifo.readable[0][...] = 1
    assert np.shares_memory(fifo.readable[0], fifo.writable[0])


def test_a_port_of_rate_two_takes_two_tokens_or_none():
    fifo = Fifo("f", "int32", (), 4)
    out, into = Output("out", fifo, 2), Input("in", fifo, 2)
    for firing in range(4):
        for offset, view in enumerate(out.acquire()):
            view[...] = 2 * firing + offset
        out.commit(firing)
        assert [int(view) for view in into.acquire()] == [2 * firing, 2 * firing + 1]
        into.release()
    fifo.commit(1, 4)
    fifo.end()
    assert into.acquire() is None


def test_both_ends_learn_that_the_other_has_gone():
    fifo = Fifo("f", "int32", (), 1)
    out, into = Output("out", fifo, 1), Input("in", fifo, 1)
    out.acquire()
    out.commit(0)
    fifo.end()
    assert into.acquire() is not None  # what was written before counts
    into.release()
    assert into.acquire() is None
    assert into.acquire() is None
    fifo.leave()
    assert out.acquire() is not None  # a slot that was free before stays usable
    out.commit(1)
    assert out.acquire() is None


def test_whoever_waits_learns_of_the_end():
    """For tokens, and for room."""
    fifo, full = Fifo("f", "int32", (), 1), Fifo("g", "int32", (), 1, delay=1)
    ends = []
    for wait in (lambda: ends.append(fifo.await_tokens(1)), lambda: ends.append(full.await_room(1))):
        threading.Thread(target=wait).start()
    fifo.end()
    full.leave()
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join(5)
    assert ends == [False, False]


def test_waiting_for_a_moment_ends_then():
    fifo = Fifo("f", "int32", (), 1)
    assert not fifo.await_tokens(1, until=time.monotonic() + 0.01)
    fifo.commit(1, 0)
    assert fifo.await_tokens(1, until=time.monotonic())


@pytest.mark.parametrize(("capacity", "delay", "slots"), [(1, 0, 1), (2, 0, 1), (64, 0, 1), (4, 1, 2), (3, 1, 3)])
def test_where_ends_take_turns_a_fifo_has_the_memory_of_the_tokens_that_are_in_it_at_once(capacity, delay, slots):
    fifo = Fifo("f", "int32", (5,), capacity, delay, np.full((delay, 5), -1, np.int32), held=delay + 1)
    assert len(fifo.memory) == slots
    source, sink = Output("out", fifo, 1), Input("in", fifo, 1)
    seen = []
    for number in range(10):
        source.acquire()[...] = number
        source.commit(number)
        seen.append(int(sink.acquire()[0]))
        sink.release()
    assert seen == [*[-1] * delay, *range(10 - delay)]


def test_initial_tokens_can_be_those_of_a_fifo_before():
    fifo = Fifo("f", "int32", (2,), 3, delay=2)
    assert fifo.fits(np.array([1, 2], np.int32))
    assert not fifo.fits(np.array([1, 2, 3], np.int32))
    assert not fifo.fits(np.array([0.5, 2]))
    fifo.begin_with(1, np.array([1, 2], np.int32))
    assert [fifo.token(number).tolist() for number in (0, 1)] == [[0, 0], [1, 2]]

    variable = Fifo("v", "uint8", "<=4", 2, delay=1)
    assert variable.fits(np.array([1, 2], np.uint8))
    assert not variable.fits(np.zeros(5, np.uint8))
    variable.begin_with(0, np.array([1, 2], np.uint8))
    assert variable.token(0).tolist() == [1, 2]
