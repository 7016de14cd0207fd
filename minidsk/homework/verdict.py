"""From what a function gave, or how it ended, to an answer in sentences."""

import inspect
import signal
from collections.abc import Sequence
from typing import Any

from minidsk.homework.compare import changed, difference, fresh, show
from minidsk.homework.exercise import Exercise, Mistake
from minidsk.homework.result import Result

Cases = Sequence[tuple[str, tuple[Any, ...]]]


def compare(exercise: Exercise, cases: Cases, answers: Sequence[tuple[Any, Any]]) -> Result:
    """The answer to a function that returned in every case.

    answers: for each case the output, and the arguments as they were after the call.
    """
    for (tried, arguments), (output, given) in zip(cases, answers, strict=True):
        found = _wrong(exercise, tried, arguments, given, output, len(cases))
        if found is not None:  # a Result that is not good is false
            break
    else:
        return Result(exercise.name, True, len(cases))
    outputs = [output for output, _ in answers]
    if problem := _unwritten(outputs):
        return Result(**{**vars(found), "problem": problem})
    if mistake := _recognise(exercise, cases, outputs):
        return Result(**{**vars(found), "mistake": mistake.name, "hint": mistake.hint})
    return found


def stopped(exercise: Exercise, tried: str, cases: int, report: tuple[Any, ...], limit: float) -> Result:
    """The answer to a function that did not return: `report` is what `Process.hear` had instead of an output."""
    kind, *parts = report
    at, hint = "", exercise.hint
    if kind == "raised":
        error, text, at, _ = parts
        problem = f"it raised {error}: {one_line(text)}"
        if error == "NotImplementedError" and "raise NotImplementedError" in at:  # torch raises these too
            problem = "it is not written yet: it raises NotImplementedError"
        if error == "SystemExit":
            hint = "A function returns its result; sys.exit() ends the whole program."
    elif kind == "late":
        problem = f"it had not returned after {limit:g} s and was stopped"
        hint = "Look for a loop whose end never comes."
    elif kind == "large":
        problem, hint = "it took too much memory and was stopped", "How large is the largest thing that it makes?"
    elif kind == "ended":
        problem, hint = f"it {how_it_ended(parts[0])}", "A function returns its result and leaves the program running."
        if parts[0] == -signal.SIGSEGV:
            hint = "Look for a recursion without an end, or an index outside memory in code that Python does not check."
        elif parts[0] == -9:
            hint = "Did it ask for more memory than the machine has?"
    elif kind == "unloadable":
        problem, hint = f"it cannot be run in a process of its own: {one_line(parts[0])}", ""
    else:
        problem = f"its output cannot be compared: {one_line(parts[0]) if parts else 'it is no data'}"
    return Result(exercise.name, False, cases, tried, problem=problem, hint=hint, at=at)


def how_it_ended(code: int | None) -> str:
    """What the code did to its process, after "it"; `code` as `multiprocessing.Process.exitcode` has it."""
    if code is None:
        return "cut itself off from the process that judges"
    if code < 0:
        return f"crashed the process that ran it ({signal.Signals(-code).name})"
    return f"ended the process that ran it, with exit code {code}"


def one_line(text: str) -> str:
    """`text` on one line, in at most 160 characters."""
    text = " ".join(text.split())
    return text if len(text) <= 160 else text[:156] + " ..."


def _wrong(
    exercise: Exercise, tried: str, arguments: tuple[Any, ...], given: Any, output: Any, cases: int
) -> Result | None:
    """The first thing wrong with one output, as a Result, or None."""
    want = exercise.reference(*fresh(arguments))
    problem = _compare(exercise, output, want)
    if problem:
        return Result(exercise.name, False, cases, tried, show(output), show(want), problem, hint=exercise.hint)
    for name, before, after in zip(inspect.signature(exercise.reference).parameters, arguments, given, strict=False):
        if changed(before, after):
            problem = f"the result is right, but the argument {name} was changed in place"
            hint = "The caller may still need that argument: work on a copy."
            return Result(exercise.name, False, cases, tried, problem=problem, hint=hint)
    return None


def _unwritten(outputs: Sequence[Any]) -> str:
    """What to say of outputs that nothing has computed, or ""."""
    if all(output is None for output in outputs):
        return "it returned None in all cases: it is not written yet, or its return is missing"
    if all(type(output).__name__ == "ellipsis" for output in outputs):
        return "it is not written yet: it returns ..."
    return ""


def _compare(exercise: Exercise, got: Any, want: Any) -> str | None:
    try:
        return difference(exercise.canonical(got), exercise.canonical(want), exercise.tolerance)
    except Exception:  # not of the form that the task asks for: say how, against the untouched reference
        try:
            problem = difference(got, want, exercise.tolerance)
        except Exception:
            problem = None
        return problem or f"the output has an unexpected form: {show(got)}"


def _recognise(exercise: Exercise, cases: Cases, outputs: Sequence[Any]) -> Mistake | None:
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
