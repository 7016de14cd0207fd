"""What a setting may be: configurations check their fields with this, and name the one that does not fit."""

from __future__ import annotations

import dataclasses
import math
import reprlib
from collections.abc import Iterable
from typing import Any

AT_ONCE = 2**20  # the most rows, tokens or answers that are made together
LAST_SEED = 2**32 - 1
BACKENDS = ("torch", "triton")  # by whom the operations of a model are computed


def require(settings: Any, name: str, holds: bool, must_be: str) -> None:
    """Raises `ValueError`, one line with the field, its value and what it must be, unless it `holds`."""
    if not holds:
        raise ValueError(f"{name}: {reprlib.repr(getattr(settings, name))} does not fit; it must be {must_be}")


def within(settings: Any, low: float, high: float, *names: str) -> None:
    """The fields are finite numbers from `low` to `high` (infinity: any), whole ones where their type is int."""
    bounds = f"of {low:,} or more" if high == math.inf else f"from {low:,} to {high:,}"
    for name in names:
        _check(settings, name, low, high, bounds)


def positive(settings: Any, *names: str) -> None:
    """The fields are finite numbers above 0, whole ones where their type is int."""
    for name in names:
        _check(settings, name, math.ulp(0), math.inf, "above 0")


def limits(settings: Any, *names: str, zero: bool = False) -> None:
    """The fields are numbers above 0 (or, with `zero`, 0 too); infinity stands for no limit."""
    bounds = f"{'of 0 or more' if zero else 'above 0'}, or inf for no limit"
    for name in names:
        if getattr(settings, name) != math.inf:
            _check(settings, name, 0 if zero else math.ulp(0), math.inf, bounds)


def sampling(settings: Any, name: str) -> None:
    """The field is a temperature: colder than 0.001 but above 0, float32 cannot tell one token from another."""
    if getattr(settings, name) != 0:
        _check(settings, name, 0.001, 1000, "from 0.001 to 1,000, or 0 (greedy)")


def one_of(settings: Any, name: str, known: Iterable[str]) -> None:
    """The field is one of the names that are known."""
    if getattr(settings, name) not in known:
        raise ValueError(f"{name}: {reprlib.repr(getattr(settings, name))} is not known; give {', '.join(known)}")


def _check(settings: Any, name: str, low: float, high: float, bounds: str) -> None:
    """`bounds` says in words what `low` and `high` say in numbers."""
    value = getattr(settings, name)
    [type_] = [field.type for field in dataclasses.fields(settings) if field.name == name]
    whole = isinstance(value, int) and not isinstance(value, bool)
    if type_ in ("int", "int | None", int):
        fits, kind, end = whole, "a whole number", 2e9  # a range of steps has to be counted
    else:
        fits, kind, end = whole or isinstance(value, float), "a number", 1e38  # float32's
    require(settings, name, fits and low <= value <= high, f"{kind} {bounds}")
    require(settings, name, high < math.inf or abs(value) < end, f"{kind} below {end:,g}")
