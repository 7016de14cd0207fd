"""Scored predictions: a guess before the run, points after it, and a tally that stays on the reader's machine."""

import json
import math
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minidsk.atomic import atomic
from minidsk.homework import page

FULL = 10


@dataclass(frozen=True, repr=False)
class Prediction:
    """A guess that waits for the truth; `reveal` scores it.

    name: "chapter.what". question: what is guessed. guess: the number. own: whether the reader typed it (only then
    does it count). unit: printed after numbers. scale, tolerance: see `predict`.
    """

    name: str
    question: str
    guess: float
    own: bool
    unit: str
    scale: str
    tolerance: float

    def __repr__(self) -> str:
        whose = "Your guess" if self.own else "No guess yet (type a number as guess=...); for example"
        return f"{self.question}\n{whose}: {self._number(self.guess)}"

    def _repr_html_(self) -> str:
        words = f"Your guess: {self._number(self.guess)}." if self.own else "The measured value stands further down."
        return page.html("ask", self._state(), words)

    def points(self, truth: float) -> int:
        """0 to 10: all for the truth, none from `tolerance` away on. Raises ValueError where `truth` cannot be one."""
        truth = self._measured(truth)
        if self.scale == "ratio":
            # The same operations in the same order as in predict.js.
            logs = math.log(self.guess) - math.log(truth) if self.guess > 0 else math.inf
            away = abs(logs) / math.log(self.tolerance)
        else:
            away = abs(self.guess - truth) / self.tolerance
        # To nine digits first: a half is a half then, in Python and in a browser, whatever the last bit of a logarithm.
        return round(round(FULL * max(0.0, 1.0 - away), 9))

    def reveal(self, truth: float) -> None:
        """Show the truth beside the guess, with the points; a reader's own guess enters the tally.

        A plain Python prints it. A notebook shows it as text, or, where it shows HTML, hides the truth until the reader
        has guessed or asks for it.
        """
        measured = self._measured(truth)
        points = self.points(measured)
        words = f"guess {self._number(self.guess)}, measured {self._number(measured)}: {self._apart(measured)}"
        state = {**self._state(), "truth": page.plain(measured)}
        if self.own:
            total, count = _record(self.name, self.guess, measured, points)
            earned = f"{points} of {FULL} points; your tally: {total} of {FULL * count} over {count} predictions"
            state |= {"points": points, "total": total, "count": count}
        else:
            earned = f"that guess would have earned {points} of {FULL} points"
        text = f"{self.question}\n  {words}\n  {earned}"
        page.show(text, page.html("reveal", state, f"Measured: {self._number(measured)}."))

    def _state(self) -> dict[str, Any]:
        guess = {"guess": page.plain(self.guess)} if self.own else {"example": page.plain(self.guess)}
        names = ("name", "question", "unit", "scale")
        return {name: getattr(self, name) for name in names} | {"tolerance": page.plain(self.tolerance)} | guess

    def _measured(self, truth: float) -> float:
        """The truth as it is printed, which is also what a guess is compared with."""
        truth = float(truth)
        if not math.isfinite(truth):
            raise ValueError(f"{self.name}: the truth must be a finite number, not {truth}")
        if self.scale == "ratio" and truth <= 0:
            raise ValueError(f"{self.name}: a ratio needs a truth above 0, not {truth:g}; use scale='difference'")
        return truth if truth == int(truth) else float(f"{truth:.4g}")

    def _apart(self, truth: float) -> str:
        if self.scale == "ratio" and self.guess > 0:
            ratio = self.guess / truth
            if ratio == 1:
                return "exact"
            times = float(f"{max(ratio, 1 / ratio):.3g}")
            size = f"{times:,.0f}" if 1000 <= times < 1e15 else f"{times:.3g}"
            return f"{size} times too {'high' if ratio > 1 else 'low'}"
        apart = self.guess - truth
        return f"{self._number(abs(apart))} too {'high' if apart > 0 else 'low'}" if apart else "exact"

    def _number(self, x: float) -> str:
        text = f"{int(x):,}" if x == int(x) and abs(x) < 1e15 else f"{x:.4g}"
        return f"{text} {self.unit}" if self.unit else text


def predict(
    name: str,
    question: str,
    guess: float | None = None,
    *,
    example: float,
    unit: str = "",
    scale: str = "ratio",
    tolerance: float = 10.0,
) -> Prediction:
    """Take a guess before the run; `.reveal(truth)` scores it after.

    name: "chapter.what"; a second guess under the same name replaces the first in the tally.
    guess: the reader's number. While it is None (as in the committed notebooks) `example` stands in for it: it is
        scored for show and never recorded, so that the output does not depend on the machine's tally.
    scale: "ratio" (for what is guessed by its size; `tolerance` is the factor from which on there are no points) or
        "difference" (for shares and small numbers; `tolerance` is the distance from which on there are no points).
    Raises ValueError where a value makes no sense.
    """
    if guess is not None and not (isinstance(guess, (int, float)) and math.isfinite(guess)):
        raise ValueError(f"{name}: guess must be a number, not {guess!r}")
    if scale not in ("ratio", "difference"):
        raise ValueError(f"{name}: scale must be 'ratio' or 'difference', not {scale!r}")
    if not tolerance > (1.0 if scale == "ratio" else 0.0):
        raise ValueError(f"{name}: tolerance {tolerance:g} is too small for scale {scale!r}")
    number = float(example if guess is None else guess)
    return Prediction(name, question, number, guess is not None, unit, scale, tolerance)


def tally_path() -> Path:
    """Where the tally lives: $MINIDSK_HOME/predictions.json, or the platform's folder for a user's data."""
    if home := os.environ.get("MINIDSK_HOME"):
        return Path(home) / "predictions.json"
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "minidsk" / "predictions.json"


def _record(name: str, guess: float, truth: float, points: int) -> tuple[int, int]:
    """Enter one prediction; the points of all and their number. Raises ValueError on a tally that cannot be read."""
    path = tally_path()
    entries: dict[str, dict[str, float]] = {}
    if path.exists():
        try:
            entries = json.loads(path.read_text(encoding="utf-8"))
            sum(int(entry["points"]) for entry in entries.values())
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"{path} is no tally of predictions; delete it to begin again") from error
    entries[name] = {"guess": guess, "truth": truth, "points": points}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(entries, indent=1, sort_keys=True), encoding="utf-8")
    return sum(int(entry["points"]) for entry in entries.values()), len(entries)
