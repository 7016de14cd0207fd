"""The exercises of the capstone: the reward of one answer, which a model under training tries to get by any means, and
the first slip in a sum that it has worked out.

The task and its verifier are those of TinyZero (Pan et al., 2025); see `minidsk.tasks.countdown`.
"""

import math
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


def first_slip(chain: str) -> str | None:
    """The first part of a sum worked out step by step that does not follow, as text; None where all of it is true.

    chain: parts between "=", such as "3*4+2=11+2=13", each of which should have the value of the part before it. A part
    that cannot be calculated does not follow either, wherever it stands. The result here is "11+2".
    `minidsk.tasks.expression.evaluate` returns a part's exact value first, and raises ValueError where it has none.
    """
    return next(iter(_slips(chain)), None)


def _value(part: str) -> Any:
    try:
        return evaluate(part)[0]
    except ValueError:
        return math.nan  # which equals nothing, not even itself


def _slips(chain: str) -> list[str]:
    """All parts that do not follow."""
    parts = chain.split("=")
    return [part for i, part in enumerate(parts) if _value(part) != _value(parts[max(i - 1, 0)])]


def _at_the_end(chain: str) -> str | None:
    parts = chain.split("=")
    return parts[-1] if _value(parts[0]) != _value(parts[-1]) else None


def _before(chain: str) -> str | None:
    slip, parts = first_slip(chain), chain.split("=")
    return None if slip is None else parts[max(parts.index(slip) - 1, 0)]


def _known(chain: str) -> str | None:
    """Parts that cannot be calculated left out."""
    return first_slip("=".join(part for part in chain.split("=") if not math.isnan(_value(part))))


def _whole(chain: str) -> str | None:
    """Values cut to whole numbers."""
    parts = chain.split("=")
    values = [value if math.isnan(value) else int(value) for value in map(_value, parts)]
    return next((part for i, part in enumerate(parts) if values[i] != values[max(i - 1, 0)]), None)


def _chains() -> list[tuple[str, tuple[Any, ...]]]:
    return [
        ("a true chain", ("(13-90/15)*8=(13-6)*8=7*8=56",)),
        ("a slip in the middle, which the end carries on", ("64-70/(59+3)=64-70/72=64-1=63",)),
        ("a slip in the last part", ("3*4+2=12+2=15",)),
        ("two slips that cancel", ("9+5+6=13+6=20",)),
        ("a part that cannot be calculated", ("8/(5-5)+1=8/0+1=1",)),
        ("a part that is no expression, and the others agree", ("3+4+5=7+=12",)),
        ("half a unit", ("7/2+1=3+1=4",)),
        ("a part alone", ("12",)),
    ]


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
    Exercise(
        "capstone.first_slip",
        first_slip,
        _chains,
        (
            Mistake("only the ends are compared", "A slip may be undone by a later one.", _at_the_end),
            Mistake("the last slip instead of the first", "Which of them would you correct first?",
                    lambda chain: next(reversed(_slips(chain)), None)),
            Mistake("the part before the slip", "Which of two parts is false: the one that was given, or what follows?",
                    _before),
            Mistake("what cannot be calculated is passed over", "What is 8/0+1?", _known),
            Mistake("values cut to whole numbers", "Is 7/2 equal to 3?", _whole),
        ),
        "Split the chain at each =, and compare the value of each part with that of the one before it.",
    ),
)  # fmt: skip
"""The chapter's own exercises."""
