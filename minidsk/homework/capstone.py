"""The exercise of the capstone: the reward of one answer, which a model under training tries to get by any means.

The task and its verifier are those of TinyZero (Pan et al., 2025); see `minidsk.tasks.countdown`.
"""

import re
from collections.abc import Sequence
from typing import Any

from minidsk.homework.exercise import Exercise, Mistake
from minidsk.tasks.base import read_answer
from minidsk.tasks.expression import evaluate


def reward(reply: str, numbers: list[int], target: int) -> float:
    """The reward of a reply to "make target from numbers": 1.0 where it is right, else 0.0.

    reply: "<think>...</think><answer>...</answer>", or anything else that a model may write. A right reply has one
    answer, outside the thought, with an expression and nothing else in it. The expression uses each of the numbers
    exactly once, and no other, and its value is exactly the target. The thought does not matter. Any text gets a
    reward, and none raises. `minidsk.tasks.expression.evaluate` returns the value of an expression and the numbers as
    they are written in it, and raises ValueError for what is no expression.
    """
    return judged(read_answer(reply), numbers, target)


def judged(answer: str | None, numbers: Sequence[int], target: int, *, use: str = "once", ops: str = "+-*/",
           near: float = 0.0) -> float:  # fmt: skip
    """Whether an answer is right; `use` says what is asked of its numbers, and "once" is the rule."""
    try:
        value, literals, used = evaluate(answer or "")
    except ValueError:
        return 0.0
    given = [str(n) for n in numbers]
    kept = {"once": sorted(literals) == sorted(given), "at all": set(literals) == set(given),
            "given": set(literals) <= set(given), "any": True,
            "left out": all(literals.count(n) <= given.count(n) for n in literals)}[use]  # fmt: skip
    return float(kept and used <= set(ops) and abs(value - target) <= near)


def _answers(reply: str, whole: bool = False) -> list[str]:
    """All answers in a reply, without or with those in the thought."""
    return re.findall("<answer>(.*?)</answer>", reply if whole else reply.rpartition("</think>")[2])


def _one_of(at: int, reply: str, numbers: Sequence[int], target: int) -> float:
    found = _answers(reply)
    return judged(found[at] if found else None, numbers, target)


def _in_the_thought(reply: str, numbers: Sequence[int], target: int) -> float:
    found = _answers(reply, whole=True)
    return judged(found[0] if len(found) == 1 else None, numbers, target)


def _says_yes(reply: str, numbers: Sequence[int], target: int) -> float:
    return float(reply.partition("</think>")[0].rstrip().endswith("yes"))


def _replies() -> list[tuple[str, tuple[Any, ...]]]:
    def case(what: str, answer: str, thought: str = "3+7-8=2 no", **others: Any) -> tuple[str, tuple[Any, ...]]:
        text = f"<think>{thought}</think><answer>{answer}</answer>"
        return what, (text, others.get("numbers", [3, 7, 8]), others.get("target", 4))

    return [
        case("a right answer", "8-(7-3)", "8-(7-3)=8-4=4 yes"),
        case("a right answer whose thought is of no use", "3+8-7"),
        case("a wrong answer whose thought says yes", "3+7+8", "3+7+8=10+8=18 yes"),
        case("a number is left out", "7-3"),
        case("a number is used twice", "3+8-7+3-3"),
        case("a number that was not given", "4"),
        case("more than an expression", "8-(7-3)=4"),
        case("no expression", "8-(7-3"),
        case("half a unit beside the target", "7/2", numbers=[7, 2]),
        case("two answers, the first one right", "8-(7-3)</answer><answer>3+7+8"),
        case("two answers, the last one right", "3+7+8</answer><answer>8-(7-3)"),
        ("an answer in the thought only", ("<think><answer>8-(7-3)</answer></think>", [3, 7, 8], 4)),
        ("no answer at all", ("<think>8-(7-3)=8-4=4 yes", [3, 7, 8], 4)),
    ]


EXERCISES = (
    Exercise(
        "capstone.reward",
        reward,
        _replies,
        (
            Mistake("the thought is believed", "Who writes the word yes: the verifier, or the model?", _says_yes),
            Mistake("the numbers are not checked", "Make 4 from 3, 7 and 8: is 4 an answer?",
                    lambda r, n, t: judged(read_answer(r), n, t, use="any")),
            Mistake("a number may be left out or used twice", "Make 4 from 3, 7 and 8: is 7-3 an answer?",
                    lambda r, n, t: judged(read_answer(r), n, t, use="given")),
            Mistake("a number may be used twice", "A set forgets how often a number was used.",
                    lambda r, n, t: judged(read_answer(r), n, t, use="at all")),
            Mistake("the first of several answers counts", "A model that may guess twice will guess twice.",
                    lambda *a: _one_of(0, *a)),
            Mistake("the last of several answers counts", "A model that may guess twice will guess twice.",
                    lambda *a: _one_of(-1, *a)),
            Mistake("an answer in the thought counts", "Where does the thought end, and where does the answer begin?",
                    _in_the_thought),
            Mistake("what stands before = is enough", "The answer has an expression and nothing else in it.",
                    lambda r, n, t: judged((read_answer(r) or "").partition("=")[0], n, t)),
            Mistake("near enough counts", "Is 7/2 equal to 4?",
                    lambda r, n, t: judged(read_answer(r), n, t, near=0.5)),
        ),
        "Go through the four answers a to d: which condition does each of the wrong ones break?",
    ),
)  # fmt: skip
"""The chapter's own exercise."""
