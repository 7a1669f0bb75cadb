"""The one place that knows the TFLite interpreters.

There are two interpreters because neither exists everywhere: ``ai-edge-litert`` is faster (much faster on quantised
models) and has wheels for x86-64 and 64-bit Arm; ``tflite-runtime`` 2.14 is for 32-bit Arm boards and needs numpy 1.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import importlib
import importlib.util
import os
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from eprune.runtime.kernel.errors import UsageError

#: distribution -> module with the class Interpreter, in order of preference
INTERPRETERS = {
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
}


def choose(wanted: str = "auto") -> str:
    """The distribution to use: ``wanted``, or for 'auto' the first that is installed. Raises UsageError if none is."""
    if wanted != "auto" and wanted not in INTERPRETERS:
        raise UsageError(f"unknown interpreter {wanted!r}; known are auto, {', '.join(INTERPRETERS)}")
    candidates = list(INTERPRETERS) if wanted == "auto" else [wanted]
    for name in candidates:
        if importlib.util.find_spec(INTERPRETERS[name].partition(".")[0]) is not None:
            return name
    raise UsageError(f"no TFLite interpreter: install {' or '.join(candidates)} (pip install {candidates[0]})")


def describe(name: str) -> str:
    """Name and version, as records and handshakes give them: ``ai-edge-litert 2.3.0``."""
    from importlib import metadata  # a tenth of the time that a program without a model takes to start

    try:
        return f"{name} {metadata.version(name)}"
    except metadata.PackageNotFoundError:
        return name


def load(
    name: str,
    model: bytes,
    threads: int = 1,
    delegates: bool = True,
    shapes: Mapping[int, tuple[int, ...]] = MappingProxyType({}),
    accelerator: str = "",
    told: Mapping[str, str] = MappingProxyType({}),
) -> Any:
    """An interpreter over the bytes of a model, its tensors allocated. Belongs to the calling thread.

    Without ``delegates``, the interpreter's own kernels compute everything. ``shapes`` are those of inputs, by their
    tensors' numbers, that get another one than the file states. ``accelerator`` is the shared library of a delegate,
    which is ``told`` these options.

    Raises UsageError where the interpreter cannot be imported (a numpy that is too new, for example) or the delegate
    cannot be used, ValueError or RuntimeError where it does not take the model.
    """
    try:
        module = importlib.import_module(INTERPRETERS[name])
    except (ImportError, AttributeError) as error:
        raise UsageError(f"interpreter {name} cannot be imported: {error}") from None
    options: dict[str, Any] = {}
    if not delegates:
        options["experimental_op_resolver_type"] = module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    with quiet_stderr():
        if accelerator:
            options["experimental_delegates"] = [_delegate(module, accelerator, told)]
        try:
            interpreter = module.Interpreter(model_content=model, num_threads=threads, **options)
            for index, shape in shapes.items():
                interpreter.resize_tensor_input(index, list(shape))
            interpreter.allocate_tensors()
        except RuntimeError as error:
            if accelerator:
                raise RuntimeError(f"delegate {accelerator}: {sentences(str(error))}") from None
            raise
    return interpreter


def _delegate(module: Any, path: str, told: Mapping[str, str]) -> Any:
    """The delegate of a shared library, which has passed ``library``. Raises UsageError where it cannot be made."""
    try:
        return module.load_delegate(path, dict(told))
    except (ValueError, OSError, AttributeError) as error:
        reason = sentences(str(error).partition("\n")[2] or str(error)) or "it gives no reason"
        given = " ".join(f"{name}={value}" for name, value in told.items())
        raise UsageError(f"delegate {path}: {reason}{f' (options: {given})' if given else ''}") from None


@functools.cache
def library(path: str) -> tuple[str, str]:
    """Where a delegate's shared library is, and the SHA-256 of the file. ``path`` is absolute, or its name alone.

    Raises UsageError where it is missing, or is no delegate.
    """
    try:
        loaded = ctypes.CDLL(path)
    except OSError as error:
        raise UsageError(f"delegate {path}: {str(error).partition(': ')[2] or error}") from None
    for symbol in ("tflite_plugin_create_delegate", "tflite_plugin_destroy_delegate"):
        if not hasattr(loaded, symbol):
            raise UsageError(f"delegate {path}: it is no delegate for TFLite: it lacks the function {symbol}")
    found = path
    if not Path(path).is_absolute():
        with contextlib.suppress(OSError), Path("/proc/self/maps").open() as maps:
            found = next(
                (line.split(maxsplit=5)[5].strip() for line in maps if line.rstrip().endswith(f"/{path}")), path
            )
    try:
        return found, hashlib.sha256(Path(found).read_bytes()).hexdigest()
    except OSError:
        return found, ""


def sentences(text: str) -> str:
    """What TFLite says, which joins several messages without a space, as one line."""
    return " ".join(re.sub(r"(?<=[a-z.])(?=(Node number|Restored|Failed) )", "; ", text).split())


_STDERR = threading.Lock()


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Keep the interpreter's banner ("Created TensorFlow Lite XNNPACK delegate") out of the user's terminal."""
    with _STDERR:
        sys.stderr.flush()
        saved = os.dup(2)
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(null, 2)
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            os.close(null)
