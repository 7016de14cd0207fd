"""The exercise on a verifier that can be cheated: what a model finds while it is trained, and how to close the holes.

The task and its verifier are those of TinyZero (Pan et al., 2025); see `minidsk.tasks.countdown`.
"""

import re
from collections.abc import Sequence
from typing import Any

from minidsk.homework.capstone import judged
from minidsk.homework.exercise import Exercise, Mistake
from minidsk.tasks.base import read_answer


def sloppy(text: str, numbers: list[int], target: int) -> float:
    """A verifier that is easily cheated: 1.0 where what it takes for the answer is worth the target, else 0.0.

    It believes the last `<answer>` wherever that stands, reads only what follows the last "=", and does not ask which
    numbers and operators were used. So the target itself is an answer.
    """
    found = re.findall("<answer>(.*?)</answer>", text, re.DOTALL)
    return judged(found[-1].rpartition("=")[2] if found else None, numbers, target, use="any", ops="+-*/")


def strict(text: str, numbers: list[int], target: int, ops: str) -> float:
    """The sloppy verifier with its holes closed: 1.0 where a reply is right, else 0.0.

    text: a reply such as "<think>...</think><answer>...</answer>", or any other text. A right reply has exactly one
    answer, behind the thought, and in it an expression and nothing else. The expression uses each of the numbers
    exactly once and no other, only operators from ops ("+-"), and its value is exactly the target. None raises.
    `minidsk.tasks.base.read_answer` returns the one answer or None. `minidsk.tasks.expression.evaluate` returns the
    value of an expression, its numbers as they are written and the set of its operators, or raises ValueError.
    """
    return judged(read_answer(text), numbers, target, ops=ops)


def _last_answer(text: str, numbers: Sequence[int], target: int, ops: str) -> float:
    found = re.findall("<answer>(.*?)</answer>", text.partition("</think>")[2])
    return judged(found[-1] if found else None, numbers, target, ops=ops)


def _in_the_thought(text: str, numbers: Sequence[int], target: int, ops: str) -> float:
    found = re.findall("<answer>(.*?)</answer>", text)
    return judged(found[0] if len(found) == 1 else None, numbers, target, ops=ops)


def _in_an_open_thought(text: str, numbers: Sequence[int], target: int, ops: str) -> float:
    found = re.findall("<answer>(.*?)</answer>", text.rpartition("</think>")[2])
    return judged(found[0] if len(found) == 1 else None, numbers, target, ops=ops)


def _after_equals(text: str, numbers: Sequence[int], target: int, ops: str) -> float:
    parts = (read_answer(text) or "").split("=")
    return max(judged(part, numbers, target, ops=ops) for part in parts)


def _replies() -> list[tuple[str, tuple[Any, ...]]]:
    def case(what: str, answer: str, thought: str = "3+7-8=10-8=2 no", **others: Any) -> tuple[str, tuple[Any, ...]]:
        text = f"<think>{thought}</think><answer>{answer}</answer>"
        return what, (text, others.get("numbers", [3, 7, 8]), others.get("target", 4), "+-")

    return [
        case("a right answer", "8-(7-3)", "8-(7-3)=8-4=4 yes"),
        case("a right answer that is written otherwise", "3 + 8 - 7"),
        case("the target itself", "4"),
        case("a sum that ends with the target", "3+7-8=4"),
        case("a right sum and its value", "8-(7-3)=4"),
        case("a number is left out", "7-3"),
        case("a number is used twice", "3+8-7+3-3"),
        case("numbers that were not given", "1+2+1"),
        case("a wrong value", "3+7-8", "3+7-8=10-8=4 yes"),
        case("an operator that the task does not have", "8*3-20", numbers=[8, 3, 20]),
        case("one more than the target", "3+8-6", numbers=[3, 8, 6]),
        case("two answers, the last one right", "3+7+8</answer><answer>8-(7-3)"),
        case("two answers, the first one right", "8-(7-3)</answer><answer>3+7+8"),
        case("no expression", "8-(7-3"),
        case("an empty answer", ""),
        ("an answer in the thought only", ("<think><answer>8-(7-3)</answer></think>", [3, 7, 8], 4, "+-")),
        ("an answer in a thought that does not end", ("<think><answer>8-(7-3)</answer>", [3, 7, 8], 4, "+-")),
        ("no answer at all", ("<think>8-(7-3)=8-4=4 yes", [3, 7, 8], 4, "+-")),
    ]


EXERCISES = (
    Exercise(
        "zero.strict",
        strict,
        _replies,
        (
            Mistake("the sloppy verifier as it was", "The answer is the target itself: should this be right?",
                    lambda text, numbers, target, ops: sloppy(text, numbers, target)),
            Mistake("the numbers are not compared", "Must the given numbers be used at all?",
                    lambda text, n, target, ops: judged(read_answer(text), n, target, use="any", ops=ops)),
            Mistake("a number may be left out", "8 does not occur in 7-3.",
                    lambda text, n, target, ops: judged(read_answer(text), n, target, use="left out", ops=ops)),
            Mistake("a number may be used twice", "Compare how often each number occurs.",
                    lambda text, n, target, ops: judged(read_answer(text), n, target, use="at all", ops=ops)),
            Mistake("every operator is allowed", "This problem has + and - only.",
                    lambda text, n, target, ops: judged(read_answer(text), n, target, ops="+-*/")),
            Mistake("one side of = is enough", "An answer is an expression and nothing else.", _after_equals),
            Mistake("the last of several answers counts", "Who may answer twice may guess.", _last_answer),
            Mistake("an answer in the thought counts", "The answer stands behind the thought.", _in_the_thought),
            Mistake("an answer in a thought that has not ended counts", "Nothing says that this thought is over.",
                    _in_an_open_thought),
            Mistake("near enough counts", "5 is not 4.",
                    lambda text, n, target, ops: judged(read_answer(text), n, target, ops=ops, near=1)),
        ),
        "Read the one answer, evaluate it, and compare numbers, operators and value, each by a line of its own.",
    ),
)  # fmt: skip
"""Part of `zero.EXERCISES`."""
