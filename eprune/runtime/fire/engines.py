"""The engines that run slices of models, behind one door: what ``ModelEngine.load`` gives has TFLite's interface."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Callable, NamedTuple

from eprune.runtime.fire import onnxruntime, openvino, tflite

#: What a unit's ``engine`` may be.
TFLITE, OPENVINO, ONNXRUNTIME = "tflite", "openvino", "onnxruntime"


class ModelEngine(NamedTuple):
    """What runs the slices of a unit: a library, or one of TFLite's ``interpreter``s, perhaps with a delegate.

    Without a ``name``, each model is run by the library of its format. ``options`` are what the delegate is told, or
    else the library.
    """

    name: str = ""
    interpreter: str = "auto"
    threads: int = 1
    delegate: str = ""
    options: Mapping[str, str] = MappingProxyType({})

    @property
    def beside(self) -> bool:
        """Whether something computes beside the core."""
        return bool(self.delegate)

    def of(self, model: str) -> ModelEngine:
        """The engine for a model file of that name: this one, but that it has a name."""
        if self.name:
            return self
        return self._replace(name=ONNXRUNTIME if model.lower().endswith(".onnx") and not self.delegate else TFLITE)

    def load(self, model: bytes, shapes: Mapping[int, tuple[int, ...]] = MappingProxyType({})) -> Any:
        """An interpreter over the bytes of a model, its tensors allocated. Belongs to the calling thread.

        ``shapes`` are those of inputs, by their tensors' numbers, that get another one than the file states. Raises
        UsageError where the engine or its delegate cannot be used, ValueError or RuntimeError where it does not take
        the model.
        """
        name = self.name or (TFLITE if self.delegate or model[4:8] == b"TFL3" else ONNXRUNTIME)
        if name == OPENVINO:
            return openvino.load(model, self.threads, self.options, shapes)
        if name == ONNXRUNTIME:
            return onnxruntime.load(model, self.threads, self.options, shapes)
        chosen = tflite.choose(self.interpreter)
        return tflite.load(chosen, model, self.threads, True, shapes, self.delegate, self.options)

    def invoker(self, interpreter: Any) -> Callable[[], None]:
        """What computes with an interpreter that `load` gave. It raises RuntimeError, which names the delegate."""
        invoke: Callable[[], None] = interpreter.invoke
        if not self.delegate:
            return invoke

        def invoke_or_name() -> None:
            try:
                invoke()
            except RuntimeError as error:
                raise RuntimeError(f"delegate {self.delegate}: {tflite.sentences(str(error))}") from None

        return invoke_or_name

    def describe(self) -> str:
        """Name and version, and the delegate with its hash, as records and handshakes give them.

        Raises UsageError where the engine is not installed, or its delegate is missing or is none.
        """
        if self.name in (OPENVINO, ONNXRUNTIME):
            return (openvino if self.name == OPENVINO else onnxruntime).describe()
        own = tflite.describe(tflite.choose(self.interpreter))
        if not self.delegate:
            return own
        path, digest = tflite.library(self.delegate)
        return f"{own} with {path.rpartition('/')[2]} {digest[:16]}"

    def record(self) -> dict[str, Any]:
        """The same for a run record, field by field."""
        shown: dict[str, Any] = {"engine": self.name or TFLITE, "version": self._replace(delegate="").describe()}
        shown["threads"] = self.threads
        if self.delegate:
            path, digest = tflite.library(self.delegate)
            shown.update(delegate=path, sha256=digest)
        if self.options:
            shown["options"] = dict(self.options)
        return shown

    def identity(self) -> str:
        """What must be the same for a verification to hold: engine, version, delegate, options."""
        told = "".join(f" {name}={value}" for name, value in sorted(self.options.items()))
        delegate = tflite.library(self.delegate)[1] if self.delegate else ""
        text = f"{self._replace(delegate='').describe()} {delegate}{told}"
        return hashlib.sha256(text.encode()).hexdigest()
