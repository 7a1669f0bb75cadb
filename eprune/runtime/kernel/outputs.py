"""What ``fire`` gets as outputs: room in FIFOs, to be written into. Anything else that is put there would be lost."""

from __future__ import annotations

from typing import Any, NoReturn, Optional


class Outputs(dict[str, Any]):
    """Port -> room for its token. ``outputs["out"] = value`` is refused; ``outputs["out"] += value`` writes in place.

    The runtime itself puts room there by ``dict.__setitem__``. It is no slower to read than a plain dictionary.
    """

    def __setitem__(self, port: str, value: Any) -> None:
        """Raises TypeError, unless it is what is there already."""
        if self.get(port) is not value:
            _refuse(f'outputs["{port}"]')

    def update(self, *others: Any, **more: Any) -> None:
        """Raises TypeError, unless it changes nothing."""
        for port, value in dict(*others, **more).items():
            self[port] = value

    def setdefault(self, port: str, default: Any = None) -> Any:
        """The room that is there; raises TypeError if there is none."""
        self[port] = self.get(port, default)
        return self[port]

    def __delitem__(self, port: str) -> None:
        """Raises TypeError: the room is the runtime's."""
        _refuse(f'outputs["{port}"]')

    def pop(self, port: str, *_: Any) -> Any:
        """Raises TypeError: the room is the runtime's."""
        del self[port]

    def clear(self) -> None:
        """Raises TypeError: the rooms are the runtime's."""
        _refuse("outputs")

    def __ior__(self, other: Any) -> Outputs:  # type: ignore[override, misc]
        self.update(other)
        return self


class Rooms(list[Any]):
    """Room for several tokens of one port; see Outputs."""

    def __setitem__(self, index: Any, value: Any) -> None:
        """Raises TypeError, unless it is what is there already."""
        if isinstance(index, slice) or self[index] is not value:
            _refuse("an output's list[...]" if isinstance(index, slice) else "an output's list[i]", index)

    def _keep(self, *_: Any, **__: Any) -> NoReturn:
        """Raises TypeError: there are as many rooms as tokens."""
        _refuse("an output's list", 0)

    append = extend = insert = remove = pop = clear = sort = reverse = __delitem__ = __iadd__ = __imul__ = _keep


def _refuse(target: str, index: Optional[object] = None) -> NoReturn:
    way = "list[i][...] = value" if index is not None else f"{target}[...] = value"
    raise TypeError(f"{target} = value would replace the room for the token, and send nothing: write {way}")
