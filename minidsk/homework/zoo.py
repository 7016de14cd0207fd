"""The bug zoo: wrong versions of a function that a reader's own tests must catch."""

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from minidsk.homework.card import Card
from minidsk.homework.registry import find_zoo
from minidsk.tasks.limit import OutOfTime, run_limited

BUGS = 3


@dataclass(frozen=True, repr=False)
class ZooResult(Card):
    """What `zoo` found; true where the tests accept the right version and reject every wrong one.

    name: the exercise. accepted: whether the right version passes. rows: (version, what happened) pairs.
    caught, bugs: how many wrong versions the tests rejected, of how many.
    """

    name: str
    accepted: bool
    caught: int
    bugs: int
    rows: tuple[tuple[str, str], ...]

    @property
    def good(self) -> bool:
        """Whether the right version passes and every bug was caught."""
        return self.accepted and self.caught == self.bugs

    @property
    def headline(self) -> str:
        """How many bugs were caught, and whether the right version passes."""
        right = "the right version passes" if self.accepted else "but the right version fails too"
        return f"{self.name}: {self.caught} of {self.bugs} bugs caught, {right}."

    @property
    def lines(self) -> list[tuple[str, str]]:
        """Each version, and what happened to it."""
        return list(self.rows)


def zoo(name: str, tests: Sequence[Callable[[Callable[..., Any]], None]], *, limit: float = 5.0) -> ZooResult:
    """Run a reader's tests on the right version of a function and on three wrong ones.

    name: a chapter ("moe") or an exercise ("moe.router").
    tests: functions that take an implementation and raise (as `assert` does) where it is wrong.
    limit: seconds that one test may take on one version; longer counts as raised.
    A bug's name is shown once it is caught; what escapes stays a riddle.
    Raises KeyError on an unknown name, TypeError where `tests` holds something that is no function.
    """
    exercise = find_zoo(name)
    tests = [tests] if callable(tests) else list(tests)
    for test in tests:
        if not callable(test):
            raise TypeError(f"zoo wants functions that take an implementation, not {test!r}")
    complaint = _first_complaint(tests, exercise.reference, limit)
    rows = [("right version", "passes" if complaint is None else f"rejected by {complaint}")]
    caught = 0
    bugs = exercise.mistakes[:BUGS]
    for number, bug in enumerate(bugs, 1):
        found = _first_complaint(tests, called_like(exercise.reference, bug.function), limit)
        caught += found is not None
        rows.append((f"bug {number}", "escaped" if found is None else f"caught by {found} ({bug.name})"))
    return ZooResult(exercise.name, complaint is None, caught, len(bugs), tuple(rows))


def called_like(reference: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, called as `reference` is: a wrong version must not give itself away by its arguments' names."""
    signature = inspect.signature(reference)

    @functools.wraps(reference)
    def call(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs)
        given.apply_defaults()
        return function(*given.args, **given.kwargs)

    return call


def _first_complaint(tests: Sequence[Callable[..., Any]], function: Callable[..., Any], limit: float) -> str | None:
    """The name of the first test that rejects `function`, or None."""
    for test in tests:
        name = getattr(test, "__name__", "a test")
        try:
            run_limited(test, (function,), limit)
        except OutOfTime:
            return f"{name}, out of time"
        except AssertionError:
            return name
        except Exception as error:
            return f"{name}, which raised {type(error).__name__}"
    return None
