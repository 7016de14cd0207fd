"""The grammar of a line in the thought of a worksheet: what a reader can follow, and whether it is true.

    8+7-4=15-4=11?19 no          an attempt: equal expressions, the target beside it or not, and a verdict
    57 3:+60-54*171/19           a pair, and what it makes
    10:+74-54!57-3+10=64 yes     what is set aside, what the pair must make then, and an attempt
    >200                         from here on, what takes numbers above 200; <200: again

The first is of `worksheet`, the others are of `backwards`.
"""

from __future__ import annotations

import re

from minidsk.data.backwards import SMALL
from minidsk.data.worksheet import VERDICTS
from minidsk.tasks.expression import evaluate

_WORD = "|".join(word for pair in VERDICTS.values() for word in pair)
_RIGHT = {pair[1] for pair in VERDICTS.values()}
_ATTEMPT = rf"(?P<chain>[0-9+\-*/()]+(?:=[0-9+\-*/()]+)+)(?:\?(?P<beside>[0-9]+))?(?P<verdict>{_WORD})"
_NAMELESS = re.sub(r"\?P<\w+>", "", _ATTEMPT)
_HEAD = r"[0-9]+(?: [0-9]+|[-+*/~|][0-9]+|[-+*/][0-9]+=[0-9]+)?:"
_ONE = re.compile(_ATTEMPT)
_LINE = re.compile(rf"{_NAMELESS}|{_HEAD}(?:[-+*/~|][0-9]+|!{_NAMELESS})*|!{_NAMELESS}|[<>]{SMALL}")


def parses(line: str) -> bool:
    """Whether a line is of these kinds, and every attempt in it is made of expressions."""
    return _LINE.fullmatch(line) is not None and all(_value(side) is not None for side in _sides(line))


def holds(line: str, target: int) -> bool:
    """Whether a line that `parses` is true: its equalities, and its verdicts on whether `target` was reached.

    What a pair is said to make, and to have to make, is not looked at.
    """
    for attempt in _ONE.finditer(line):
        values = {_value(side) for side in attempt["chain"].split("=")}
        said = attempt["verdict"] in _RIGHT
        if len(values) > 1 or (values == {target}) != said or attempt["beside"] not in (None, str(target)):
            return False
    return True


def _sides(line: str) -> list[str]:
    return [side for attempt in _ONE.finditer(line) for side in attempt["chain"].split("=")]


def _value(expression: str) -> object:
    try:
        return evaluate(expression)[0]
    except ValueError:
        return None
