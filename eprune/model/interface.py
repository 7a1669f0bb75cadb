"""What a behaviour says of itself: the token types of its ports and the parameters it takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

from eprune.model.token import TokenType


@dataclass(frozen=True)
class Interface:
    """Facts about one actor's behaviour, gathered by ``formats`` and compared with the graph by ``analysis``.

    ``inputs`` and ``outputs`` map port names to token types, for those ports whose type is fixed by the model or the
    class. ``parameters`` maps parameter names to whether they are required; None: any name is taken.
    ``tensors`` maps a model slice's port names to tensor indices in the model's graph, those of other actors to what
    the graph says: ports of one actor with one tensor carry the same tokens. ``weight_bytes`` is the size of a slice's
    constants. ``called`` has the input and the output tensors of the slice that a class calls; None: it calls none.
    ``stdin`` is the parameter that is ``-`` where a class reads standard input, and its default ("": it always does);
    None: it never does.
    ``lacks`` has the methods that the runtime will call and the class does not have: method -> a name of the class that
    may be meant for it, or "".
    ``paths`` maps the parameters that name files to what is done to them: ``read``, ``write``, ``list``, which is read
    unless it is a list with commas, or ``part``, a file that is as much a part of the actor as its model is.
    ``waits``: it waits for the world (a camera, a socket, a clock), and so has a thread of its own. ``copies``: output
    ports that name one tensor all get the same, however many there are: it does not know them by name. ``channels``:
    port of a slice of a model -> the channels that its tokens have of the tensor's, where that is not all of them;
    ``axes``: the axis that they are on, from the end, where it is not the last one (-1).
    """

    inputs: dict[str, TokenType] = field(default_factory=dict)
    outputs: dict[str, TokenType] = field(default_factory=dict)
    parameters: Optional[dict[str, bool]] = None
    tensors: dict[str, int] = field(default_factory=dict)
    weight_bytes: int = 0
    called: Optional[tuple[tuple[int, ...], tuple[int, ...]]] = None
    stdin: Optional[tuple[str, str]] = None
    lacks: dict[str, str] = field(default_factory=dict)
    waits: bool = False
    paths: dict[str, str] = field(default_factory=dict)
    copies: bool = False
    channels: dict[str, tuple[int, ...]] = field(default_factory=dict)
    axes: dict[str, int] = field(default_factory=dict)
