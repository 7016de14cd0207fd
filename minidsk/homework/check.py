"""check(): a reader's function against the reference, with an answer in sentences."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from minidsk.homework.card import Card
from minidsk.homework.compare import changed, difference, fresh, show
from minidsk.homework.exercise import Exercise, Mistake
from minidsk.homework.registry import find
from minidsk.tasks.limit import OutOfTime, run_limited


@dataclass(frozen=True, repr=False)
class Result(Card):
    """What `check` found; true where the function passed.

    name: the exercise. passed: whether every case agreed. cases: how many were tried.
    tried, got, expected, problem: the first case that failed (empty where it passed).
    mistake: the name of the usual mistake that gives exactly these outputs, or "". hint: where to look.
    """

    name: str
    passed: bool
    cases: int = 0
    tried: str = ""
    got: str = ""
    expected: str = ""
    problem: str = ""
    mistake: str = ""
    hint: str = ""

    @property
    def good(self) -> bool:
        """Whether the function passed."""
        return self.passed

    @property
    def headline(self) -> str:
        """The exercise, and whether it passed."""
        return f"{self.name}: right, in all {self.cases} cases." if self.passed else f"{self.name}: not yet."

    @property
    def lines(self) -> list[tuple[str, str]]:
        """What was tried, what came out, what was expected, and where to look."""
        lines = [
            ("tried", self.tried),
            ("problem", self.problem),
            ("yours", self.got),
            ("expected", self.expected),
            ("this is", self.mistake),
            ("hint", self.hint),
        ]
        return [(label, text) for label, text in lines if text]

    def assert_ok(self) -> None:
        """Raise AssertionError with the whole message unless the function passed; for pytest."""
        if not self.passed:
            raise AssertionError(str(self))


def check(name: str, function: Callable[..., Any], *, limit: float = 5.0, raises: bool = False) -> Result:
    """Try `function` on the exercise called `name` and say what came of it.

    name: an exercise, "moe.router"; an unknown one raises KeyError with the names that come close.
    function: takes the arguments of the task (`print(describe(name))`) by position.
    limit: seconds that each case may take; a function that takes longer is stopped.
    raises: raise AssertionError with the message where the function does not pass.
    """
    result = _check(find(name), function, limit)
    if raises:
        result.assert_ok()
    return result


def _check(exercise: Exercise, function: Any, limit: float) -> Result:
    cases = exercise.cases()
    call = f"{exercise.reference.__name__}({', '.join(inspect.signature(exercise.reference).parameters)})"
    if not callable(function):
        problem = f"check wants a function, and this is {show(function, 40)}"
        return Result(exercise.name, False, problem=problem, hint="Pass the function itself, without calling it.")
    try:
        inspect.signature(function).bind(*cases[0][1])
    except TypeError as error:
        return Result(exercise.name, False, problem=f"the function cannot be called as {call}: {error}")
    except ValueError:  # some builtins show no signature
        pass

    outputs: list[Any] = []
    first: Result | None = None
    for tried, arguments in cases:
        given = fresh(arguments)
        try:
            output = run_limited(function, given, limit)
        except OutOfTime:
            problem = f"it had not returned after {limit:g} s and was stopped"
            hint = "Look for a loop whose end never comes."
            return Result(exercise.name, False, len(cases), tried, problem=problem, hint=hint)
        except Exception as error:
            problem = f"it raised {type(error).__name__}: {_one_line(error)}"
            return Result(exercise.name, False, len(cases), tried, problem=problem, hint=exercise.hint)
        outputs.append(output)
        if first is None:
            first = _judge(exercise, tried, arguments, given, output, len(cases))
    if first is None:
        return Result(exercise.name, True, len(cases))
    if mistake := _recognise(exercise, cases, outputs):
        return Result(**{**vars(first), "mistake": mistake.name, "hint": mistake.hint})
    return first


def _judge(
    exercise: Exercise, tried: str, arguments: tuple[Any, ...], given: tuple[Any, ...], output: Any, cases: int
) -> Result | None:
    """The first thing wrong with one output, as a Result, or None."""
    want = exercise.reference(*fresh(arguments))
    problem = _compare(exercise, output, want)
    if problem:
        return Result(exercise.name, False, cases, tried, show(output), show(want), problem, hint=exercise.hint)
    for name, before, after in zip(inspect.signature(exercise.reference).parameters, arguments, given, strict=False):
        if changed(before, after):
            problem = f"the result is right, but the argument {name} was changed in place"
            hint = "Somebody else may still need that argument: work on a new one."
            return Result(exercise.name, False, cases, tried, problem=problem, hint=hint)
    return None


def _compare(exercise: Exercise, got: Any, want: Any) -> str | None:
    try:
        got = exercise.canonical(got)
    except Exception:  # not of the form that the task asks for: say how, against the untouched reference
        return difference(got, want, exercise.tolerance) or f"the output has an unexpected form: {show(got)}"
    return difference(got, exercise.canonical(want), exercise.tolerance)


def _recognise(exercise: Exercise, cases: Any, outputs: list[Any]) -> Mistake | None:
    """The named mistake whose outputs are exactly these, if there is one."""
    for mistake in exercise.mistakes:
        try:
            if all(
                _compare(exercise, output, mistake.function(*fresh(arguments))) is None
                for (_, arguments), output in zip(cases, outputs, strict=False)
            ):
                return mistake
        except Exception:  # the wrong version cannot even take this case: it is not the one
            continue
    return None


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 160 else text[:156] + " ..."
