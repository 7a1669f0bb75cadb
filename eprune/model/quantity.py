"""Quantities with units, as platform files write them: ``100Mbit/s``, ``1.49ms``, ``64MiB``, ``3.5W``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Optional

_SI = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}

#: unit -> factor to the base unit named in the comment
SIZE = {f"{p}B": f for p, f in {**_SI, **_BINARY}.items()}  # bytes
BANDWIDTH = {  # bytes per second
    **{f"{p}B/s": f for p, f in {**_SI, **_BINARY}.items()},
    **{f"{p}bit/s": f / 8 for p, f in _SI.items()},
}
TIME = {"s": 1, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}  # seconds
POWER = {"W": 1, "mW": 1e-3}  # watts
FREQUENCY = {"/s": 1}  # per second

_QUANTITY = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([A-Za-z/]+)\s*")


def parse_quantity(text: str, units: Mapping[str, float]) -> float:
    """Read a non-negative number with one of ``units``; the result is in their base unit.

    Raises ValueError, with a message for the user, for anything else.
    """
    match = _QUANTITY.fullmatch(text)
    if match is None or match.group(2) not in units:
        raise ValueError(f"{text!r} is not a quantity in one of {', '.join(units)}")
    return float(match.group(1)) * units[match.group(2)]


def parse_size(text: str) -> int:
    """Bytes of ``64MiB``."""
    return round(parse_quantity(text, SIZE))


def parse_bandwidth(text: str) -> float:
    """Bytes per second of ``100Mbit/s`` or ``11.2MB/s``."""
    return parse_quantity(text, BANDWIDTH)


def parse_time(text: str) -> float:
    """Seconds of ``1.49ms``."""
    return parse_quantity(text, TIME)


def parse_timeout(text: str) -> float:
    """Seconds of ``100ms``, which must be more than 0."""
    value = parse_time(text)
    if not value:
        raise ValueError(f"{text!r} is not a time to wait")
    return value


def parse_timeouts(text: str) -> tuple[Optional[float], float]:
    """Seconds of ``100ms``: None and a time-out; of ``2ms..100ms``: the floor and the ceiling of one that adapts."""
    low, dots, high = text.partition("..")
    if not dots:
        return None, parse_timeout(text)
    floor, ceiling = parse_timeout(low), parse_timeout(high)
    if floor >= ceiling:
        raise ValueError(f"{text!r} is no range: the first time is the shorter one")
    return floor, ceiling


def exact_times(text: str) -> tuple[Fraction, Optional[tuple[Fraction, Fraction]]]:
    """Seconds of ``4ms``, and None; of ``3ms..4ms..9ms``, what is typical, and the bounds. Raises ValueError."""
    parts = [exact_seconds(part) for part in text.split("..")]
    if len(parts) == 1:
        return parts[0], None
    if len(parts) != 3 or parts != sorted(parts):
        raise ValueError(f"{text!r} is neither a time nor the least, the typical and the greatest one, 3ms..4ms..9ms")
    return parts[1], (parts[0], parts[2])


def exact_rate(text: str) -> Fraction:
    """How often a second of ``30/s``, not rounded. Raises ValueError as ``parse_frequency`` does."""
    parse_frequency(text)
    return Fraction(_QUANTITY.fullmatch(text).group(1))  # type: ignore[union-attr]


def fraction_rate(rate: Fraction) -> str:
    """Text that ``exact_rate`` reads back as this frequency, rounded to 30 decimals."""
    return f"{decimal(rate)}/s"


def decimal(value: Fraction) -> str:
    """A number that is not negative in digits, rounded to 30 decimals."""
    whole, rest = divmod(round(value * 10**30), 10**30)
    return f"{whole}.{rest:030d}".rstrip("0").rstrip(".")


def parse_share(text: str) -> Fraction:
    """The part of a whole, above 0 and at most 1, of ``0.99``. Raises ValueError for anything else."""
    if not re.fullmatch(r"[0-9]{1,18}(\.[0-9]{0,30})?|\.[0-9]{1,30}", text) or not 0 < Fraction(text) <= 1:
        raise ValueError(f"{text!r} is not a part of a whole, above 0 and at most 1")
    return Fraction(text)


def parse_frequency(text: str) -> float:
    """How often a second of ``30/s``, which must be more than 0."""
    value = parse_quantity(text, FREQUENCY)
    if not value:
        raise ValueError(f"{text!r} is never")
    return value


def exact_seconds(text: str) -> Fraction:
    """Seconds of ``1.49ms``, not rounded. Raises ValueError as ``parse_time`` does."""
    parse_time(text)
    number, unit = _QUANTITY.fullmatch(text).groups()  # type: ignore[union-attr]
    return Fraction(number) * Fraction(str(TIME[unit]))


def fraction_time(seconds: Fraction) -> str:
    """Text that ``exact_seconds`` reads back as these seconds, rounded to 30 decimals."""
    factors = {unit: Fraction(str(TIME[unit])) for unit in ("s", "ms", "us", "ns")}
    unit = next((unit for unit, factor in factors.items() if seconds >= factor), "s" if seconds == 0 else "ns")
    return decimal(seconds / factors[unit]) + unit


def _format(value: float, units: tuple[tuple[str, float], ...]) -> str:
    name, factor = next(((name, factor) for name, factor in units if value >= factor), units[-1])
    return f"{value / factor:.4g}{name}"


def format_size(nbytes: float) -> str:
    """Bytes for people: ``108KiB``."""
    return _format(nbytes, (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10), ("B", 1)))


def format_time(seconds: float) -> str:
    """Seconds for people: ``18.9ms``."""
    return _format(seconds, (("s", 1), ("ms", 1e-3), ("us", 1e-6)))


def exact_size(nbytes: int) -> str:
    """Bytes in the largest binary unit that loses nothing, for writing files: ``512MiB``, ``1000B``."""
    for prefix in ("Ti", "Gi", "Mi", "Ki"):
        if nbytes and nbytes % _BINARY[prefix] == 0:
            return f"{nbytes // _BINARY[prefix]}{prefix}B"
    return f"{nbytes}B"


def exact_quantity(value: float, units: tuple[str, ...], factors: Mapping[str, float]) -> str:
    """Text that reads back as exactly this value, in that of ``units`` in which it is 1 or more and reads simplest."""
    texts = []
    for unit in units:
        number = f"{Decimal(f'{value / factors[unit]:.15g}'):f}"
        if parse_quantity(number + unit, factors) == value:
            digits = len(number.replace(".", "").strip("0"))
            texts.append((value < factors[unit], digits, len(number + unit), number + unit))
    base = next(unit for unit in units if factors[unit] == 1)
    return min(texts, key=lambda text: text[:3])[3] if texts else f"{Decimal(repr(value)):f}{base}"


def exact_time(seconds: float) -> str:
    """A time that reads back as exactly this: ``1.49ms``."""
    return exact_quantity(seconds, ("s", "ms", "us", "ns"), TIME)


def parse_power(text: str) -> float:
    """Watts of ``3.5W`` or ``800mW``."""
    return parse_quantity(text, POWER)


def exact_power(watts: float) -> str:
    """Watts that read back as exactly this: ``3.5W``."""
    return exact_quantity(watts, ("W", "mW"), POWER)


def exact_frequency(frequency: float) -> str:
    """A frequency that reads back as exactly this: ``30/s``."""
    return exact_quantity(frequency, ("/s",), FREQUENCY)


def exact_bandwidth(rate: float) -> str:
    """Bytes per second that read back as exactly this: ``100Mbit/s``."""
    return exact_quantity(rate, ("Gbit/s", "Mbit/s", "kbit/s", "MB/s", "kB/s", "B/s"), BANDWIDTH)
