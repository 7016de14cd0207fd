"""check(): a reader's function against the reference, with an answer in sentences."""

import inspect
from collections.abc import Callable
from typing import Any

from minidsk.homework import link
from minidsk.homework.compare import show
from minidsk.homework.parcel import NotPortable
from minidsk.homework.registry import find
from minidsk.homework.result import Result


def check(name: str, function: Callable[..., Any], *, limit: float = 5.0, raises: bool = False) -> Result:
    """Try `function` on the exercise called `name` and say what is right or wrong with it.

    The function runs in a process of its own, on a copy of what it uses: nothing that it does, a crash included,
    reaches this process or the next check. The first call starts the process that judges, which takes a second or two.

    name: an exercise, "moe.router"; an unknown one raises KeyError with the names that come close.
    function: takes the arguments of the task (`print(describe(name))`) by position.
    limit: seconds that each case may take; a function that takes longer is stopped. Raises ValueError unless it is
        above 0 and at most a day.
    raises: raise AssertionError with the message where the function does not pass.
    """
    result = _check(name, function, link.time_limit("check", limit))
    if raises:
        result.assert_ok()
    return result


def _check(name: str, function: Any, limit: float) -> Result:
    reference = find(name).reference
    parameters = inspect.signature(reference).parameters
    call = f"{reference.__name__}({', '.join(parameters)})"
    if not callable(function):
        problem = f"check wants a function, and this is {show(function, 40)}"
        return Result(name, False, problem=problem, hint="Pass the function itself, without calling it.")
    try:
        inspect.signature(function).bind(*parameters)
    except TypeError as error:
        return Result(name, False, problem=f"the function cannot be called as {call}: {error}")
    except ValueError:  # some builtins show no signature
        pass
    try:
        return Result(**link.JUDGE.ask({"name": name, "version": None, "limit": limit}, function, 40 * limit))
    except NotPortable as error:
        problem, hint = str(error), "check runs a copy of your function in another process: make or open it inside."
    except link.NoAnswer as error:
        problem, hint = str(error), "The next check starts another one."
    return Result(name, False, problem=problem, hint=hint)
