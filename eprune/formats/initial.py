"""Files of initial tokens, looked at before a run does: they are there, and hold what their FIFOs start with."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Optional

from eprune.model.finding import Finding
from eprune.model.graph import Fifo, Graph
from eprune.model.token import TokenType


def check_initial(graph: Graph, refused: Collection[str] = ()) -> Iterator[Finding]:
    """FILE: each ``initial`` is a .npy file of dtype and shape (delay, *token shape). Its values are not read.

    Nothing is read for the FIFOs that are ``refused``.
    """
    tokens = {str(ref): port.token for ref, port in graph.ports()}
    for fifo in graph.fifos:
        found = (
            _problem(fifo, tokens.get(str(fifo.source)))
            if fifo.initial is not None and fifo.name not in refused
            else None
        )
        if found is not None:
            yield Finding("FILE", fifo.where, f"FIFO '{fifo.name}': {found[0]}", found[1])


def _problem(fifo: Fifo, token: Optional[TokenType]) -> Optional[tuple[str, str]]:
    """What is wrong with a FIFO's file, and what to do."""
    file, path = f'initial="{fifo.initial}"', Path(fifo.initial_path or "")
    if fifo.delay < 1:
        return f"{file}, but it has no delay, so nothing is taken from there", 'write delay="...", or leave initial out'
    if token is not None and token.variable:
        return f"{file}, but tokens {token} begin empty", "leave initial out, or give the token a fixed size"
    if not path.is_file():
        what = "is not a file" if path.exists() else "there is no such file"
        return f"{file}: {what}", f"looked for {str(path)!r}"
    wanted = None if token is None else TokenType(token.dtype, (fifo.delay, *token.shape))
    make = "" if wanted is None else f"save an array of {wanted} there, with numpy.save"
    try:
        dtype, shape = _header(path)
    except (OSError, ValueError, EOFError, TypeError, SyntaxError) as error:
        return f"{file}: not a .npy file of plain numbers: {error}", make
    if wanted is not None and (dtype, shape) != (wanted.dtype, wanted.shape):
        there = f"{dtype}[{','.join(map(str, shape))}]"
        return f"{file}: {there}, but it starts with {fifo.delay} tokens {token}: {wanted}", make
    return None


def _header(path: Path) -> tuple[str, tuple[int, ...]]:
    """The dtype and the shape that a .npy file states, if it is as long as they say. Raises ValueError and others."""
    import numpy as np

    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(array, np.ndarray):
        array.close()
        raise ValueError("an archive of arrays")
    name = array.dtype.name if array.dtype.isnative else str(array.dtype)
    return name, array.shape
