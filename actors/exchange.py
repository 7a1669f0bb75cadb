"""An actor that assembles a layer from the channels that each device computes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from channel_sets import channels, index_of, pairs
from checks import one_of, whole_number
from missing import Prediction, read_predictions

from eprune.runtime import Actor

#: What a table of parts says of a device's part of a layer.
THERE, COVERED, LOST = 0, 1, 2
#: So many changes of what is missing are noted, the others only counted in the tables.
_NOTED = 20


class Exchange(Actor):
    """Gathers the channels of a layer, the last axis, from the device itself and its peers.

    The input ``own`` has the channels that this device has computed, and an input named after each peer has those of
    that peer. Of several copies of a channel that of ``own`` is taken, then a peer's in the order of the inputs; but
    first of all those of devices that had all that they needed, as their tables of parts say. What nobody has sent is 0
    in the result, or the zero point of a quantised model. Every output gets the whole, but those named ``table...`` and
    ``designated...``.

    A table of parts goes from one exchange to the next: uint8, a row for each layer, a column for each device. An entry
    is 0 if the device's part was there, 1 if it was missing and others had its channels, 2 if channels were lost. The
    input ``seen`` brings this device's own, ``seen_PEER`` that of a peer. The outputs ``table...`` give the largest
    entries of its own table and of those of the peers whose parts were used, with this layer's row. The outputs
    ``designated...``, uint8[1], are 1 where this ``device`` is the first that lives, as far as it knows: no part of a
    device before it was there at last.

    How many frames lacked a peer's part are figures of the run, ``without_PEER``.

    Parameters:
        layer: what the layer is called in notes.
        devices: the devices, ``device1,device2``: the columns of the table. Peers' ports have these names.
        parts: the channels of each input, ``own=0-15 device2=16-31``.
        row: the row of this layer in the table.
        zero: what stands for a missing channel.
        device: the name of this device among them, for the outputs ``designated...``.
        notes: ``false`` where parts are missing on purpose: then nothing is noted.
        coded: the input with sums instead of channels: its entry k is the sum of the k-th channels of all other inputs.
            If one of these is missing, its channels are that sum less the others, exact but for rounding.
        recovery: an .npz file by which missing channels are predicted from the others (``eprune apply recover``).
    """

    copies = True
    PATHS: ClassVar[Mapping[str, str]] = {"recovery": "part"}

    def __init__(
        self,
        layer: str,
        devices: str,
        parts: str,
        row: str = "0",
        zero: str = "0",
        coded: str = "",
        recovery: str = "",
        device: str = "",
        notes: str = "true",
    ) -> None:
        self.layer = layer
        self.devices = devices.split(",")
        self.parts = {port: channels(port, text) for port, text in pairs(parts)}
        self.row = whole_number("row", row)
        if not re.fullmatch("-?[0-9]{1,9}", zero):
            raise ValueError(f"zero={zero!r}: expected a whole number")
        self.zero = int(zero)
        self.predictions = read_predictions(recovery) if recovery else {}
        self.device = device
        self.noted = one_of("notes", notes, ("true", "false")) == "true"
        self.coded = coded
        if coded and coded not in self.parts:
            raise ValueError(f"coded={coded!r}: parts has no such input")

    def initialize(self) -> None:
        """Raises ValueError where ports and parameters do not fit."""
        self.tables = [name for name in self.outputs if name.startswith("table")]
        self.flags = [name for name in self.outputs if name.startswith("designated")]
        self.results = [name for name in self.outputs if name not in (*self.tables, *self.flags)]
        self.seen = {name: name.partition("_")[2] or "own" for name in self.inputs if name.startswith("seen")}
        data = [name for name in self.inputs if name not in self.seen]
        if not self.results or set(data) != set(self.parts) or not set(self.seen.values()) <= set(data):
            raise ValueError(f"parts names {', '.join(self.parts)}, and there are the inputs {', '.join(self.inputs)}")
        unknown = set(self.parts) - {"own", *self.devices}
        if unknown:
            raise ValueError(f"input {min(unknown)!r} is named after none of the devices {', '.join(self.devices)}")
        whole = self.outputs[self.results[0]]
        for port in data:
            own, shape = self.inputs[port], (*whole.shape[:-1], len(self.parts[port]))
            if own.shape != shape or own.dtype != whole.dtype or max(self.parts[port]) >= whole.shape[-1]:
                raise ValueError(f"port {port!r} is {own.dtype}{list(own.shape)}, but its part is {list(shape)}")
        if self.flags and (self.device not in self.devices or any(self.outputs[f].shape != (1,) for f in self.flags)):
            raise ValueError(f"device={self.device!r} with outputs 'designated' of one number: expected a device")
        described = [*(self.inputs[name] for name in self.seen), *(self.outputs[name] for name in self.tables)]
        for table in described:
            fits = len(table.shape) == 2 and table.shape[0] > self.row and table.shape[1] == len(self.devices)
            if table.dtype != "uint8" or not fits or table != described[0]:
                raise ValueError(
                    f"a table is {table.dtype}{list(table.shape)}: expected uint8, a column for each device"
                )
        self.columns = {port: self.devices.index(port) for port in self.parts if port != "own"}
        self.before = range(self.devices.index(self.device) if self.flags else 0)
        self.count = whole.shape[-1]
        self.plans: dict[tuple[tuple[str, ...], tuple[str, ...]], _Gathering] = {}
        self.absent: tuple[str, ...] = ()
        self.notes = self.frame = 0

    def fire(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
        """Gather one frame."""
        absent = tuple(port for port in self.columns if port not in inputs)
        doubtful = tuple(
            port
            for name, port in self.seen.items()
            if port in inputs and (name not in inputs or inputs[name].max() > 1)
        )
        key = (absent, doubtful)
        if key not in self.plans:
            self.plans[key] = self._plan(inputs, doubtful)
            if tuple(sorted(absent)) in self.predictions:
                self.plans[key].predict(self.predictions[tuple(sorted(absent))])
        plan = self.plans[key]
        active = [name for name in self.results if name in outputs]
        first = outputs[active[0]]
        if plan.lost is not None:
            first[..., plan.lost] = self.zero
        for port, target, source in plan.copies:
            first[..., target] = inputs[port][..., source]
        if plan.restored:
            first[..., plan.target] = self._difference(inputs, plan.restored)
        if plan.prediction is not None:
            first[..., plan.lost] = plan.prediction(first[..., plan.kept], first.dtype)
        for name in active[1:]:
            outputs[name][...] = first
        if self.tables:
            self._tell(inputs, outputs, absent, plan)
        for name in self.flags:
            outputs[name][...] = all(self._gone(column, inputs) for column in self.before)
        if absent:
            counts = {f"without_{port}": self.figures.get(f"without_{port}", 0) + 1 for port in absent}
            self.figures = {**self.figures, **counts}
        if absent != self.absent:
            if self.noted:
                self._note(absent, plan)
            self.absent = absent
        self.frame += 1

    def _plan(self, inputs: Mapping[str, Any], doubtful: tuple[str, ...]) -> _Gathering:
        """What to do with the parts that are there."""
        workers = [port for port in ("own", *self.columns) if port in self.parts and port != self.coded]
        missing = [port for port in workers if port not in inputs]
        there = sorted((port for port in workers if port in inputs), key=lambda port: port in doubtful)
        restored = missing[0] if len(missing) == 1 and self.coded in inputs else ""
        return _Gathering(
            self.count, {port: self.parts[port] for port in there}, restored, self.parts.get(restored, [])
        )

    def _difference(self, inputs: Mapping[str, Any], port: str) -> np.ndarray:
        """The part of an input that is missing: the sum less all others."""
        size = len(self.parts[port])
        rest = inputs[self.coded][..., :size].astype(np.float64)
        for other, part in self.parts.items():
            if other not in (port, self.coded):
                width = min(size, len(part))
                rest[..., :width] -= inputs[other][..., :width]
        return rest

    def _tell(
        self, inputs: Mapping[str, Any], outputs: Mapping[str, Any], absent: tuple[str, ...], plan: _Gathering
    ) -> None:
        """Write the table of parts."""
        table = outputs[self.tables[0]]
        table[...] = 0
        used = {"own", *(port for port, _, _ in plan.copies), *([self.coded] if plan.restored else [])}
        for name, port in self.seen.items():
            if name in inputs and port in used:
                np.maximum(table, inputs[name], out=table)
            elif port in used and port in inputs:  # nobody says what is in its part
                table[self.row, self.columns[port]] = LOST
        for port in absent:
            state = COVERED if port == self.coded or plan.gone.isdisjoint(self.parts[port]) else LOST
            column = self.columns[port]
            table[self.row, column] = max(table[self.row, column], state)
        for name in self.tables[1:]:
            outputs[name][...] = table

    def _gone(self, column: int, inputs: Mapping[str, Any]) -> bool:
        """Whether nothing says that a device lives: its part is not here; or was not before, where none is needed."""
        name = self.devices[column]
        if name in self.columns:
            return name not in inputs
        return "seen" not in inputs or bool(inputs["seen"][:, column].any())

    def _note(self, absent: tuple[str, ...], plan: _Gathering) -> None:
        if self.notes < _NOTED:
            self.notes += 1
            what = "lost" if plan.prediction is None else "predicted"
            lost = f"{len(plan.gone)} of {self.count} channels {what}" if plan.gone else "others have its channels"
            without = f"without {', '.join(absent)} ({lost})" if absent else "all parts are there again"
            more = ", further changes are not noted" if self.notes == _NOTED else ""
            self.note(f"layer {self.layer}: {without}, from firing {self.frame} on{more}")


class _Gathering:
    """From which inputs to take which channels: each channel once. ``gone``: those that none of them has.

    ``restored`` is the input, if any, whose channels, ``target``, are computed from sums. ``prediction`` makes those
    that are lost from the others, ``kept``.
    """

    def __init__(
        self, count: int, parts: Mapping[str, Sequence[int]], restored: str = "", target: Sequence[int] = ()
    ) -> None:
        waiting = set(range(count)).difference(target)
        self.restored = restored
        self.target = index_of(target) if restored else None
        self.copies = []
        for port, own in parts.items():
            places = [place for place, channel in enumerate(own) if channel in waiting]
            if places:
                taken = [own[place] for place in places]
                waiting.difference_update(taken)
                self.copies.append((port, index_of(taken), index_of(places)))
        self.gone = frozenset(waiting)
        self.lost = index_of(sorted(waiting)) if waiting else None
        self.kept = np.array([channel for channel in range(count) if channel not in waiting], int)
        self.prediction: Any = None

    def predict(self, prediction: Prediction) -> None:
        """Predict what is lost, if anything is. Raises ValueError for a prediction of other channels."""
        if self.lost is None:
            return
        if prediction.weights.shape != (len(self.kept) + 1, len(self.gone)):
            raise ValueError(f"the recovery is not for {len(self.gone)} missing channels")
        self.prediction = prediction
