"""The bug zoo: wrong versions of a function that a reader's own tests must catch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from minidsk.homework import link
from minidsk.homework.card import Card
from minidsk.homework.parcel import NotPortable
from minidsk.homework.registry import find_zoo

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
    The tests run in processes of their own, one per version, as `check` runs functions.
    A bug's name is shown once a test catches it; the name of a bug that escapes stays hidden.
    Raises KeyError on an unknown name, TypeError where `tests` holds something that is no function.
    """
    exercise = find_zoo(name)
    tests = [tests] if callable(tests) else list(tests)
    for test in tests:
        if not callable(test):
            raise TypeError(f"zoo wants functions that take an implementation, not {test!r}")
    seconds = link.time_limit("zoo", limit)
    complaint = _first_complaint(exercise.name, 0, tests, seconds)
    rows = [("right version", "passes" if complaint is None else f"rejected by {complaint}")]
    caught = 0
    bugs = exercise.mistakes[:BUGS]
    for number, bug in enumerate(bugs, 1):
        found = _first_complaint(exercise.name, number, tests, seconds)
        caught += found is not None
        rows.append((f"bug {number}", "escaped" if found is None else f"caught by {found} ({bug.name})"))
    return ZooResult(exercise.name, complaint is None, caught, len(bugs), tuple(rows))


def _first_complaint(name: str, version: int, tests: Sequence[Callable[..., Any]], limit: float) -> str | None:
    """The name of the first test that rejects a version (0 is the right one), or None."""
    if not tests:
        return None
    names = [getattr(test, "__name__", "a test") for test in tests]
    job = {"name": name, "version": version, "tests": names, "limit": limit}
    try:
        return link.JUDGE.ask(job, tests, limit * len(tests))["complaint"]
    except NotPortable as error:
        raise TypeError(
            f"zoo runs a copy of your tests in another process, and {error}: make or open it inside"
        ) from error
    except link.NoAnswer as error:
        return f"the tests: {error}"
