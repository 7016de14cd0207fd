"""Exercises of the chapter on distillation: a pool of a teacher's right answers, and what a budget pays for.

The exercise on a teacher's grades is in `grades.py`. Sources: a pool of right and readable answers (DeepSeek-R1,
arXiv:2501.12948, section 2.3.3); three forward passes for a step of training, as in `minidsk.scale.cost`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from minidsk.homework import grades
from minidsk.homework.exercise import Exercise, Mistake
from minidsk.tasks.base import Problem
from minidsk.tasks.countdown import Countdown


def generate_verify_filter(
    problems: Sequence[str], teacher: Mapping[str, Sequence[str]], tries: int, longest: int
) -> list[tuple[str, str]]:
    """Examples to learn from: of each problem one answer of the teacher's, which a verifier has accepted.

    problems: texts such as "3 7 8 = 4", one of which may come twice. teacher: the replies that it gives to each
    problem, in the order in which they are sampled. Of each problem the first `tries` replies are asked for, and the
    first of them that passes is kept: it is right, it is well formed, and it has at most `longest` characters. Returns
    pairs (prompt, reply) in the order of the problems, one for each problem of which a reply passed.
    `minidsk.tasks.countdown.Countdown.pose(text)` is the problem, with its `prompt`, its `score(reply)`, which is 1
    for a right answer, and its `well_formed(reply)`.
    """
    return _pool(problems, teacher, tries, longest)


def _pool(problems: Sequence[str], teacher: Mapping[str, Sequence[str]], tries: int, longest: int, *,
          right: bool = True, formed: bool = True, twice: bool = False, most: int = 1,
          best: Any = None) -> list[tuple[str, str]]:  # fmt: skip
    """See `generate_verify_filter`; what is named is what a wrong version does otherwise."""
    examples = []
    for text in problems if twice else dict.fromkeys(problems):
        problem = Countdown.pose(text)
        assert problem is not None
        replies = [reply for reply in teacher[text][:tries]
                   if _passes(problem, reply, longest, right, formed)]  # fmt: skip
        examples += [(problem.prompt, reply) for reply in sorted(replies, key=best or (lambda _: 0))[:most]]
    return examples


def _passes(problem: Problem, reply: str, longest: int, right: bool, formed: bool) -> bool:
    accepted = problem.score(reply) == 1 or not right
    return accepted and (problem.well_formed(reply) or not formed) and len(reply) <= longest


def _cut(problems: Sequence[str], teacher: Mapping[str, Sequence[str]], tries: int, longest: int) -> Any:
    return [(prompt, reply[:longest]) for prompt, reply in _pool(problems, teacher, tries, 10**9)]


def equal_budget(budget: float, teacher: float, student: float, tokens: float, share: float, epochs: float) -> int:
    """How many answers a student may ask its teacher for, when sampling and learning are paid from one budget.

    budget: operations. teacher and student: operations of one forward pass of each, per token; to learn from a token
    takes three times as many as a forward pass. tokens: of an answer with its prompt, on average. Every answer is
    sampled, and only the share of them that passes the filter is learned from, each `epochs` times. Returns the
    largest number of answers whose sampling and learning together stay within the budget.
    """
    return math.floor(budget / (teacher * tokens + 3 * student * tokens * share * epochs))


def _wrote(answer: str, thought: str = "3+7-8=10-8=2?4 no") -> str:
    return f"<think>{thought}</think><answer>{answer}</answer>"


def _teachers() -> list[tuple[str, tuple[Any, ...]]]:
    right, long = _wrote("8-(7-3)"), _wrote("8+3-7", "3+7-8=10-8=2?4 no\n" * 3 + "8+3-7=11-7=4?4 yes")
    wrong, other = _wrote("3+7-8"), _wrote("5+2", "5+2=7?7 yes")
    babble, asked, sum_of_two = f"{right} and so on", "3 7 8 = 4", "5 2 = 7"
    return [
        ("the first reply is wrong, the second right", ([asked], {asked: [wrong, right]}, 4, 200)),
        ("two replies are right", ([asked], {asked: [right, long, wrong]}, 4, 200)),
        ("the longer of two right replies comes first", ([asked], {asked: [long, right]}, 4, 200)),
        ("a right reply of exactly the length that is allowed", ([asked], {asked: [right]}, 4, len(right))),
        ("one character too long", ([asked], {asked: [right]}, 4, len(right) - 1)),
        ("a right answer with words behind it", ([asked], {asked: [babble]}, 4, 200)),
        ("the right reply comes after as many as are asked for", ([asked], {asked: [wrong, wrong, right]}, 2, 200)),
        ("no reply is right", ([asked, sum_of_two], {asked: [wrong, wrong], sum_of_two: [other]}, 2, 200)),
        ("a problem that comes twice", ([asked, sum_of_two, asked], {asked: [right], sum_of_two: [other]}, 2, 200)),
        ("the same, and the first right reply is too long",
         ([sum_of_two, asked, asked], {asked: [wrong, long, right], sum_of_two: [wrong]}, 3, len(right))),
    ]  # fmt: skip


def _budgets() -> list[tuple[str, tuple[Any, ...]]]:
    return [
        ("one answer, and just enough", (500.0, 200.0, 100.0, 1.0, 1.0, 1.0)),
        ("a teacher and a student as large as the chapter's", (3e11, 7e5, 2.1e5, 90.0, 0.86, 4.0)),
        ("a teacher that is seldom right", (3e10, 7e5, 2.1e5, 90.0, 0.1, 4.0)),
        ("a teacher of the student's own size, half an epoch", (1e6, 50.0, 50.0, 20.0, 0.5, 0.5)),
        ("a budget for less than one answer", (1e3, 200.0, 100.0, 10.0, 0.5, 2.0)),
        ("many epochs", (1e9, 1e3, 1e2, 60.0, 0.7, 32.0)),
    ]


EXERCISES = (
    *grades.EXERCISES,
    Exercise(
        "distillation.generate_verify_filter",
        generate_verify_filter,
        _teachers,
        (
            Mistake("wrong answers kept", "Who asks the verifier?", lambda *a: _pool(*a, right=False)),
            Mistake("the form is not asked", "score reads the answer and overlooks the words behind it.",
                    lambda *a: _pool(*a, formed=False)),
            Mistake("all right replies of a problem", "One problem, one example: else easy problems fill the pool.",
                    lambda *a: _pool(*a, most=10**9)),
            Mistake("all right replies, each time that a problem comes", "One problem, one example, whatever happens.",
                    lambda *a: _pool(*a, most=10**9, twice=True)),
            Mistake("only the first reply is looked at", "The first one is wrong. What about the second?",
                    lambda p, t, tries, n: _pool(p, t, 1, n)),
            Mistake("more replies than were asked for", "Who pays for the third reply?",
                    lambda p, t, tries, n: _pool(p, t, 10**9, n)),
            Mistake("exactly the longest is too long", "At most n characters: may there be n?",
                    lambda p, t, tries, n: _pool(p, t, tries, n - 1)),
            Mistake("the length is not asked", "One character too long is too long.",
                    lambda p, t, tries, n: _pool(p, t, tries, 10**9)),
            Mistake("too long replies are cut", "A thought without its answer: what would a student learn?", _cut),
            Mistake("the shortest, not the first", "Two replies pass: which one was sampled first?",
                    lambda *a: _pool(*a, best=len)),
            Mistake("the last, not the first", "Two replies pass: which one was sampled first?",
                    lambda p, t, tries, n: _pool(p, {k: r[:tries][::-1] for k, r in t.items()}, tries, n)),
            Mistake("a problem that comes twice is in the pool twice", "Which problems have been seen already?",
                    lambda *a: _pool(*a, twice=True)),
        ),
        "A loop over problems, a loop over replies, three conditions, and a way out of the inner loop.",
    ),
    Exercise(
        "distillation.equal_budget",
        equal_budget,
        _budgets,
        (
            Mistake("the teacher works for nothing", "Who wrote the answers, and what did that take?",
                    lambda c, t, s, n, share, e: math.floor(c / (3 * s * n * share * e))),
            Mistake("wrong answers are learned from too", "Which answers does the student read?",
                    lambda c, t, s, n, share, e: equal_budget(c, t, s, n, 1.0, e)),
            Mistake("rejected answers are not paid for", "The teacher also wrote those that were dropped.",
                    lambda c, t, s, n, share, e: math.floor(c / (share * (t + 3 * s * e) * n))),
            Mistake("read once", "Each example is learned from in every epoch.",
                    lambda c, t, s, n, share, e: equal_budget(c, t, s, n, share, 1.0)),
            Mistake("sampled in every epoch", "An answer is sampled once, and then kept.",
                    lambda c, t, s, n, share, e: math.floor(c / ((t + 3 * s * share) * n * e))),
            Mistake("learning as cheap as a forward pass", "What does a step compute besides the forward pass?",
                    lambda c, t, s, n, share, e: equal_budget(c, t, s / 3, n, share, e)),
            Mistake("teacher and student swapped", "Who writes, and who learns?",
                    lambda c, t, s, n, share, e: equal_budget(c, s, t, n, share, e)),
            Mistake("per token, not per answer", "How many tokens has an answer?",
                    lambda c, t, s, n, share, e: equal_budget(c, t, s, 1.0, share, e)),
            Mistake("the examples, not the answers", "What is asked for is paid, and that is more than what is kept.",
                    lambda c, t, s, n, share, e: math.floor(equal_budget(c, t, s, n, share, e) * share)),
            Mistake("rounded up", "Is the last answer within the budget?",
                    lambda c, t, s, n, share, e: math.ceil(c / (t * n + 3 * s * n * share * e))),
            Mistake("rounded to the nearest", "Is the last answer within the budget?",
                    lambda c, t, s, n, share, e: round(c / (t * n + 3 * s * n * share * e))),
        ),
        "Two prices: what one answer takes to sample, and what it takes to learn from, on average.",
    ),
)  # fmt: skip
"""The exercises of the chapter on distillation; the first is its bug zoo."""
