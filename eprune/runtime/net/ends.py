"""The two ends of a FIFO whose connection may break or is shared: rings of slots, and what happens to their tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Callable, Optional, Union

from eprune.runtime.kernel.fifo import LOST, Fifo, FifoCounts
from eprune.runtime.kernel.policy import lossy
from eprune.runtime.net import wire
from eprune.runtime.net.faults import ReceiverState, SenderState, window
from eprune.runtime.tell.record import Activity


class TxFifo(Fifo):
    """The sending end of a FIFO: the producer's ring of slots, and what happens to its tokens."""

    #: set by the connection: what it does with a token, and when something else has changed
    send: Callable[[TxFifo, int], None]
    push: Callable[[], None]

    def __init__(self, name: str, dtype: str, shape: tuple[int, ...], capacity: int, policy: str, fired: bool) -> None:
        super().__init__(name, dtype, shape, 1)
        super().__init__(name, dtype, shape, window(capacity, self.token_bytes))
        self.number = 0
        self.policy = policy
        self.lossy = lossy(policy)
        self.sending = SenderState(policy, fired)
        self.activity = Activity()
        self.ended = False  # the producer has ended
        self.over = False  # the peer knows, or will never learn it
        self.end_sent = False
        self.starved = self.idle_sent = False
        self._headers = [memoryview(bytearray(wire.HEADER_BYTES)) for _ in range(self.capacity)]
        self._frames = [[header, raw.data] for header, raw in zip(self._headers, self.raw)]
        self._firing, self._part = -1, 0

    def commit(self, slot: int, firing: int) -> None:
        """Take a token from the producer."""
        self.firings[slot] = firing
        self.tokens += 1
        self.send(self, slot)

    def end(self) -> None:
        """The producer has ended."""
        self.ended = True
        self.push()

    @property
    def connected(self) -> bool:  # type: ignore[override]
        """Whether the peer is connected."""
        return self.sending.alive

    def starve(self, starved: bool) -> None:
        """The producer makes no tokens for now, or makes some again."""
        self.starved = starved
        self.idle_sent = False
        self.push()

    def frame(self, slot: int) -> list[memoryview]:
        """Header and payload of the token in a slot."""
        firing = self.firings[slot]
        self._part = self._part + 1 if firing == self._firing else 0
        self._firing = firing
        wire.pack_header(self._headers[slot], wire.DATA, self.number, self._part, firing, self.token_bytes)
        return self._frames[slot]

    def summary(self) -> FifoCounts:
        """What happened to the ``tokens`` that were made: ``confirmed`` arrived, ``dropped`` may not have arrived."""
        sending = self.sending
        return replace(
            super().summary(),
            policy=self.policy,
            tokens=sending.made,
            confirmed=sending.confirmed,
            dropped=sending.dropped,
            resent=sending.resent,
        )

    def finished(self, connected: bool) -> bool:
        """Whether nothing remains to be done: the peer wants no more, has everything, or will never learn more."""
        if self.over:
            return True
        return self.ended and not connected and (lossy(self.policy) or self.sending.fired)

    def free_slots(self, slots: Sequence[int]) -> None:
        """Slots may be written again."""
        for slot in slots:
            self.release(slot)


class RxFifo(Fifo):
    """The receiving end of a FIFO: the consumer's ring of slots."""

    #: set by the connection: what it does when something has changed
    push: Callable[[], None]

    def __init__(
        self,
        name: str,
        dtype: str,
        shape: tuple[int, ...],
        capacity: int,
        policy: str,
        fired: bool,
        delay: int = 0,
        initial: Optional[object] = None,
    ) -> None:
        super().__init__(name, dtype, shape, 1)
        super().__init__(name, dtype, shape, window(capacity, self.token_bytes), delay, initial)  # type: ignore[arg-type]
        self.number = 0
        self.policy = policy
        self.receiving = ReceiverState(policy, self.capacity, delay, fired)
        self.activity = Activity()
        self._lost = False  # the consumer has been notified since the last token
        self.left = False  # the consumer has ended
        self.over = False  # the peer knows, or will never learn it
        self.end_received = False

    def commit(self, slot: int, firing: int) -> None:
        """A token has arrived."""
        self._lost = False
        super().commit(slot, firing)

    def release(self, slot: int) -> None:
        """The consumer gives a slot back."""
        super().release(slot)
        receiving = self.receiving
        receiving.fired += 1
        if receiving.due:
            self.push()

    def will_fire(self, firing: int) -> None:
        """The consumer's next firing: a source that joins begins there."""
        self.receiving.firing = firing

    def leave(self) -> None:
        """The consumer has ended."""
        self.left = True
        super().leave()
        self.push()

    def summary(self) -> FifoCounts:
        """How many tokens arrived, and how often the peer was restarted."""
        receiving = self.receiving
        return replace(super().summary(), policy=self.policy, tokens=receiving.received, restarts=receiving.restarts)

    def finished(self, connected: bool) -> bool:
        """Whether nothing remains to be done: the consumer has ended, and the peer, if connected, knows."""
        return self.left and (self.over or not connected)

    def lose(self) -> None:
        """Notify the consumer of a lossy FIFO, in order with the tokens, that its producer is lost."""
        if lossy(self.policy) and not self._lost:
            self._lost = True
            self.full.put(LOST)


FifoEnd = Union[TxFifo, RxFifo]
