"""The ends of a FIFO between platforms by themselves, without a connection."""

import numpy as np

from eprune.runtime.net.ends import RxFifo
from tests.kit.stubs import Silent


def receiver(capacity=4):
    fifo = RxFifo("f", "int32", (), capacity, "drop")
    fifo.carrier = Silent()
    return fifo


def test_tokens_that_come_when_the_consumer_has_ended_are_not_consumed():
    fifo = receiver()
    for index in range(3):
        fifo.arrived(index, 0)
    fifo.release()
    fifo.leave()
    fifo.arrived(3, 0)
    fifo.arrived_together(np.zeros((2, fifo.token_bytes), np.uint8), [4, 5], [0, 0])
    counts = fifo.summary()
    assert (counts.tokens, counts.consumed, counts.discarded) == (6, 1, 0)
    assert fifo.released == fifo.written  # the peer learns that there is room
