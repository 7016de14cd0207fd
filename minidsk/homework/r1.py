"""Exercises of the chapter on R1: a reward for one language, rejection sampling, and what one stage of training did.

The first two are in `language.py` and `rejection.py`; a stage's effect is taken seed by seed, as in `zero.paired`.
"""

from collections.abc import Sequence
from statistics import mean
from typing import Any

from minidsk.homework import language, rejection
from minidsk.homework.exercise import Exercise, Mistake
from minidsk.homework.zero import paired

Rows = list[dict[str, Any]]


def effect(rows: list[dict[str, Any]], arm: str, other: str) -> tuple[float, float]:
    """What separates two arms of an experiment: their mean difference, and half the width of its 95 % interval.

    rows: one dict per run, in any order, with "arm", "seed" and "accuracy"; where a run broke off, its row is missing.
    Only seeds that both arms have count, and there are two at least. The difference is arm minus other, seed by seed.
    The half-width is Student's t times the standard deviation of these differences (which divides by n - 1), over the
    root of their number n. `minidsk.report.interval.T_95[n]` is Student's t for n differences.
    """
    ours, others = _by_seed(rows, arm), _by_seed(rows, other)
    both = sorted(set(ours) & set(others))
    return paired([others[seed] for seed in both], [ours[seed] for seed in both])


def _by_seed(rows: Rows, arm: str) -> dict[int, float]:
    return {row["seed"]: row["accuracy"] for row in rows if row["arm"] == arm}


def _as_they_stand(rows: Rows, arm: str, other: str) -> tuple[float, float]:
    """Row by row, without a look at the seeds."""
    ours, others = list(_by_seed(rows, arm).values()), list(_by_seed(rows, other).values())
    n = min(len(ours), len(others))
    return paired(others[:n], ours[:n])


def _missing_is_zero(rows: Rows, arm: str, other: str) -> tuple[float, float]:
    ours, others = _by_seed(rows, arm), _by_seed(rows, other)
    either = sorted(set(ours) | set(others))
    return paired([others.get(seed, 0.0) for seed in either], [ours.get(seed, 0.0) for seed in either])


def _means_of_all(rows: Rows, arm: str, other: str) -> tuple[float, float]:
    """The interval of the pairs around a difference of means to which the other seeds add."""
    return mean(_by_seed(rows, arm).values()) - mean(_by_seed(rows, other).values()), effect(rows, arm, other)[1]


def _rows(**arms: Sequence[float | None]) -> list[dict[str, Any]]:
    return [{"arm": arm, "seed": seed, "accuracy": accuracy} for arm, values in arms.items()
            for seed, accuracy in enumerate(values) if accuracy is not None]  # fmt: skip


def _experiments() -> list[tuple[str, tuple[Any, ...]]]:
    three = _rows(full=[0.62, 0.49, 0.71], cold=[0.5, 0.4, 0.58], zero=[0.6, 0.5, 0.7])
    five = _rows(full=[0.6, 0.71, 0.58, 0.66, 0.62], zero=[0.63, 0.7, 0.61, 0.69, 0.6])
    return [
        ("three seeds in order", (three, "full", "cold")),
        ("five seeds, a small loss", (five, "full", "zero")),
        ("rows in another order", ([*three[:3], *reversed(three[3:])], "full", "zero")),
        ("a seed that one arm does not have", (_rows(full=[0.9, 0.5, 0.52], zero=[None, 0.41, 0.44]), "full", "zero")),
        ("each arm lacks a seed", (_rows(cold=[0.2, 0.3, 0.4, None], base=[0.1, None, 0.35, 0.9]), "cold", "base")),
        ("the other way round", (three, "zero", "full")),
    ]


EXERCISES = (
    *language.EXERCISES,
    *rejection.EXERCISES,
    Exercise(
        "r1.effect",
        effect,
        _experiments,
        (
            Mistake("paired as the rows stand", "Print the seeds beside the differences.", _as_they_stand),
            Mistake("a missing run counts as 0", "A run that broke off has no accuracy.", _missing_is_zero),
            Mistake("means over all runs of each arm", "A seed that one arm lacks still moves the other arm's mean.",
                    _means_of_all),
            Mistake("other minus arm", "A stage that helps has a positive effect.",
                    lambda rows, arm, other: effect(rows, other, arm)),
            Mistake("the whole width", "Half of it, as in 0.2 ± 0.1.",
                    lambda rows, arm, other: (effect(rows, arm, other)[0], 2 * effect(rows, arm, other)[1])),
        ),
        "Make one dict per arm, from seed to accuracy, and keep the seeds that both have.",
    ),
)  # fmt: skip
"""The exercises of the chapter on R1; the first is its bug zoo."""
