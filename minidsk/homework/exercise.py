"""What an exercise is: a reference, inputs that probe it, and the mistakes that people make."""

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Mistake:
    """A plausible wrong version of an exercise's function.

    name: what went wrong, in a few words ("softmax where sigmoid belongs").
    hint: where to look, without the answer.
    function: the wrong version; takes the same arguments as the reference.
    """

    name: str
    hint: str
    function: Callable[..., Any]


def _same(output: Any) -> Any:
    return output


@dataclass(frozen=True)
class Exercise:
    """One exercise.

    name: "chapter.function", as in `check("moe.router", ...)`.
    reference: the right answer in plain torch or Python, written for reading; its docstring states the task.
    cases: returns the probing inputs as (what is tried, arguments) pairs, the same ones at each call.
    mistakes: wrong versions, each different from the reference on at least one case.
    hint: said when the answer is wrong and no named mistake fits.
    canonical: brings an output into one order where the task leaves it open (the top-k of a router).
    tolerance: largest difference allowed, relative to max(1, |expected|).
    """

    name: str
    reference: Callable[..., Any]
    cases: Callable[[], Sequence[tuple[str, tuple[Any, ...]]]]
    mistakes: tuple[Mistake, ...]
    hint: str
    canonical: Callable[[Any], Any] = _same
    tolerance: float = 1e-4


def called_like(reference: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, called as `reference` is: a wrong version must not give itself away by its arguments' names."""
    signature = inspect.signature(reference)

    @functools.wraps(reference)
    def call(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs)
        given.apply_defaults()
        return function(*given.args, **given.kwargs)

    return call
