"""What a setting may be: configurations check their fields with this, and name the one that does not fit."""

from __future__ import annotations

import dataclasses
import math
import reprlib
from collections.abc import Iterable
from typing import Any

AT_ONCE = 2**20  # the most rows, tokens or answers that are made together
LAST_SEED = 2**32 - 1


def require(settings: Any, name: str, holds: bool, must_be: str) -> None:
    """Raises `ValueError`, one line with the field, its value and what it must be, unless it `holds`."""
    if not holds:
        raise ValueError(f"{name}: {reprlib.repr(getattr(settings, name))} does not fit; it must be {must_be}")


def within(settings: Any, low: float, high: float, *names: str) -> None:
    """The fields are finite numbers from `low` to `high` (infinity: any), whole ones where their type is int."""
    for name in names:
        kind, is_one = _number(settings, name)
        bounds = f"{low:,} or more" if high == math.inf else f"from {low:,} to {high:,}"
        require(settings, name, is_one and low <= getattr(settings, name) <= high, f"{kind}, {bounds}")


def positive(settings: Any, *names: str) -> None:
    """The fields are finite numbers above 0, whole ones where their type is int."""
    for name in names:
        kind, is_one = _number(settings, name)
        require(settings, name, is_one and getattr(settings, name) > 0, f"{kind} above 0")


def limits(settings: Any, *names: str, zero: bool = False) -> None:
    """The fields are numbers above 0 (or, with `zero`, 0 too); infinity stands for no limit."""
    for name in names:
        value = getattr(settings, name)
        fits = value == math.inf or (_number(settings, name)[1] and (value > 0 or (zero and value == 0)))
        require(settings, name, fits, f"a number {'from 0 up' if zero else 'above 0'}, or inf for no limit")


def sampling(settings: Any, name: str) -> None:
    """The field is a temperature: colder than 0.001 but above 0, float32 cannot tell one token from another."""
    value, (_, is_one) = getattr(settings, name), _number(settings, name)
    require(settings, name, is_one and (value == 0 or 0.001 <= value <= 1000), "0 (greedy), or from 0.001 to 1,000")


def one_of(settings: Any, name: str, known: Iterable[str]) -> None:
    """The field is one of the names that are known."""
    if getattr(settings, name) not in known:
        raise ValueError(f"{name}: {reprlib.repr(getattr(settings, name))} is not known; give {', '.join(known)}")


def _number(settings: Any, name: str) -> tuple[str, bool]:
    """What a field of this type must be, in words, and whether its value is one."""
    value = getattr(settings, name)
    [kind] = [field.type for field in dataclasses.fields(settings) if field.name == name]
    whole = isinstance(value, int) and not isinstance(value, bool)
    if kind in ("int", "int | None", int):
        return "a whole number", whole
    return "a number", whole or (isinstance(value, float) and math.isfinite(value))
