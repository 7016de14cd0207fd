"""Exercises of the chapter on thinking longer: votes, the way down a tree, and what a longer budget gained.

Sources: self-consistency (arXiv:2203.11171), UCT (Kocsis and Szepesvari, 2006), budget forcing (arXiv:2501.19393).
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from minidsk.homework.exercise import Exercise, Mistake

Marks = Sequence[bool]  # one per problem


def vote(answers: Sequence[str | None]) -> str | None:
    """The answer that most replies to one problem give.

    answers: one per reply, None where a reply gave no answer. A reply without an answer does not vote. Of answers with
    equally many votes, the one that came first wins. Returns None if there is no vote at all.
    """
    counts = Counter(answer for answer in answers if answer is not None)
    return counts.most_common(1)[0][0] if counts else None


def weighted_vote(answers: Sequence[str | None], worths: Sequence[float]) -> str | None:
    """The answer whose replies are worth most together.

    answers: one per reply, None where a reply gave no answer; worths: what a judge says of each reply, 0 or more. A
    reply without an answer does not count. Of answers that are worth the same, the one that came first wins. Returns
    None if there is no answer at all.
    """
    sums: dict[str, float] = {}
    for answer, worth in zip(answers, worths, strict=True):
        if answer is not None:
            sums[answer] = sums.get(answer, 0.0) + worth
    return max(sums, key=lambda answer: sums[answer]) if sums else None


def choose(visits: Sequence[int], totals: Sequence[float], c: float) -> int:
    """The place of the step that UCT tries next, among the steps that follow one node.

    visits: how many tries went through each; totals: the sum of what these tries were worth. A step's score is its
    mean worth plus c * sqrt(ln(N) / n), with its own visits n and the visits N of all of them together. A step without
    a visit comes before all others. Of equal scores, the first one is taken.
    """
    return _choose(visits, totals, c)


def _choose(visits: Sequence[int], totals: Sequence[float], c: float, *, mean: bool = True,
            log: bool = True, new: float = math.inf, root: bool = True) -> int:  # fmt: skip
    together = sum(visits)
    scores = []
    for n, total in zip(visits, totals, strict=True):
        if n == 0:
            scores.append(new)
            continue
        wide = (math.log(together) if log else together) / n
        scores.append((total / n if mean else total) + c * (math.sqrt(wide) if root else wide))
    return scores.index(max(scores))


def gain(right: Marks, cut: Marks, longer: Marks, longer_cut: Marks) -> tuple[float, ...]:
    """What a longer budget gained, in three parts that add up: by whether thoughts were cut, and are still cut.

    right and cut: for each problem, whether its reply under the short budget was right, and whether the budget cut its
    thought; longer and longer_cut: the same under the long budget. Returns three differences of accuracy, over all
    problems: from thoughts that had ended under the short budget, from those that were cut and end now, and from those
    that both budgets cut. Each may be negative.
    """
    parts = [0, 0, 0]
    for before, was_cut, after, is_cut in zip(right, cut, longer, longer_cut, strict=True):
        parts[bool(was_cut) + bool(was_cut and is_cut)] += int(after) - int(before)
    return tuple(part / len(right) for part in parts)


def _within(r: Marks, cut: Marks, b: Marks, more: Marks) -> tuple[float, ...]:
    kinds = [bool(c) + bool(c and d) for c, d in zip(cut, more, strict=True)]
    return tuple(part * len(r) / max(kinds.count(kind), 1) for kind, part in enumerate(gain(r, cut, b, more)))


def _only_gains(r: Marks, cut: Marks, b: Marks, more: Marks) -> tuple[float, ...]:
    won = [bool(after) and not before for before, after in zip(r, b, strict=True)]
    return gain([False] * len(won), cut, won, more)


def guide_reads(prompt: int, steps: Sequence[int]) -> int:
    """How many tokens a guide reads that gives its opinion after each step of one reply.

    prompt: tokens of the prompt; steps: tokens of each step. Each time, it reads all from the prompt to the step's end.
    """
    return sum(prompt + sum(steps[: k + 1]) for k in range(len(steps)))


def _none_votes(answers: Sequence[str | None]) -> str | None:
    return Counter(answers).most_common(1)[0][0] if answers else None


def _last_of_equals(answers: Sequence[str | None]) -> str | None:
    return vote(list(reversed(answers)))


def _more_than_half(answers: Sequence[str | None]) -> str | None:
    best = vote(answers)
    return best if answers and answers.count(best) > len(answers) / 2 else None


def _best_mean(answers: Sequence[str | None], worths: Sequence[float]) -> str | None:
    means = {a: sum(w for b, w in zip(answers, worths, strict=True) if b == a) / answers.count(a)
             for a in answers if a is not None}  # fmt: skip
    return max(means, key=lambda a: means[a]) if means else None


def _best_one(answers: Sequence[str | None], worths: Sequence[float]) -> str | None:
    pairs = [(w, a) for a, w in zip(answers, worths, strict=True) if a is not None]
    return max(pairs, key=lambda pair: pair[0])[1] if pairs else None


def _none_weighs(answers: Sequence[str | None], worths: Sequence[float]) -> str | None:
    best = weighted_vote([a or "" for a in answers], worths)
    return best or None


def _ballots() -> list[tuple[str, tuple[Any, ...]]]:
    return [
        ("seven replies, three answers", (["8+4", "8-4", "8-4", "8+4", "4-8", "8-4", None],)),
        ("most replies give no answer", ([None, "3", None, None, "5", "5"],)),
        ("two answers with equally many votes", (["b", "a", "b", "a"],)),
        ("no majority, only a plurality", (["a", "b", "b", "c", "d"],)),
        ("no answer at all", ([None, None],)),
        ("no reply", ([],)),
        ("the first answer is not the most frequent", (["c", "b", "a", "b", "b"],)),
    ]


def _weighted() -> list[tuple[str, tuple[Any, ...]]]:
    return [
        ("two doubtful replies against a good one", (["a", "b", "a"], [0.3, 0.5, 0.3])),
        ("one good reply against many poor ones", (["a", "b", "a", "a"], [0.1, 0.9, 0.1, 0.1])),
        ("the best reply gives no answer", ([None, "a", "b"], [0.9, 0.2, 0.4])),
        ("a good and a poor reply agree", (["a", "a", "b"], [0.7, 0.1, 0.6])),
        ("equal sums", (["b", "a"], [0.5, 0.5])),
        ("no answer at all", ([None], [1.0])),
    ]


def _children() -> list[tuple[str, tuple[Any, ...]]]:
    return [
        ("equal means, unequal visits", ([8, 2], [4.0, 1.0], 1.0)),
        ("a step without a visit", ([3, 0, 2], [3.0, 0.0, 0.0], 1.0)),
        ("a high sum, a low mean", ([9, 2], [3.0, 1.6], 0.1)),
        ("exploration is off", ([1, 9], [0.2, 4.5], 0.0)),
        ("much exploration", ([1, 9], [0.0, 8.1], 2.0)),
        ("many visits", ([60, 40], [33.0, 20.0], 1.0)),
        ("few visits of one", ([20, 4], [15.0, 1.0], 0.5)),
    ]


def _budgets() -> list[tuple[str, tuple[Any, ...]]]:
    return [
        ("one thought ends now, one is cut twice", ([1, 0, 0, 0], [0, 1, 1, 0], [1, 1, 1, 0], [0, 0, 1, 0])),
        ("a gain without a cut", ([0, 0, 1], [0, 1, 0], [1, 0, 1], [0, 0, 0])),
        ("losses and gains", ([1, 0, 0, 1, 0], [0, 1, 1, 1, 1], [0, 1, 0, 0, 1], [0, 1, 1, 1, 0])),
        ("nothing was cut", ([0, 1], [0, 0], [1, 1], [0, 0])),
    ]


def _replies() -> list[tuple[str, tuple[Any, ...]]]:
    return [("three steps", (20, [14, 12, 9])), ("one step", (20, [30])), ("no step", (18, []))]


EXERCISES = (
    Exercise(
        "search.vote",
        vote,
        _ballots,
        (
            Mistake("replies without an answer vote together", "Three of six replies give no answer: who wins?",
                    _none_votes),
            Mistake("the last of equals wins", "b, a, b, a: which of the two came first?", _last_of_equals),
            Mistake("more than half is demanded", "Two of five is more than anything else has.", _more_than_half),
            Mistake("the largest answer, not the most frequent", "max of a list compares the answers themselves.",
                    lambda answers: max((a for a in answers if a is not None), default=None)),
            Mistake("the first answer", "One vote of six: is that most?",
                    lambda answers: next((a for a in answers if a is not None), None)),
        ),
        "Count each answer, leave None out, and look at what is most frequent.",
    ),
    Exercise(
        "search.weighted_vote",
        weighted_vote,
        _weighted,
        (
            Mistake("a plain vote", "Three poor replies against one good one: who should win?",
                    lambda answers, worths: vote(answers)),
            Mistake("the best single reply", "Replies that agree add up.", _best_one),
            Mistake("the mean worth of an answer", "Should an answer lose because a second reply gave it too?",
                    _best_mean),
            Mistake("a reply without an answer counts", "What would be handed in, if None won?", _none_weighs),
        ),
        "Keep a sum per answer, and add each reply's worth to the sum of its answer.",
    ),
    Exercise(
        "search.choose",
        choose,
        _children,
        (
            Mistake("the sum instead of the mean", "Nine tries worth 3, or two worth 1.6: which step is better?",
                    lambda v, t, c: _choose(v, t, c, mean=False)),
            Mistake("a step without a visit is passed over", "Can a step that was never tried be known to be bad?",
                    lambda v, t, c: _choose(v, t, c, new=-math.inf)),
            Mistake("no exploration", "Equal means, eight visits and two: which one is less certain?",
                    lambda v, t, c: _choose(v, t, 0.0)),
            Mistake("N instead of its logarithm", "With N in the place of ln N exploration never calms down.",
                    lambda v, t, c: _choose(v, t, c, log=False)),
            Mistake("the root is left out", "sqrt(ln N / n), not ln N / n.",
                    lambda v, t, c: _choose(v, t, c, root=False)),
        ),
        "Write the two parts of each score side by side for visits 8 and 2.",
    ),
    Exercise(
        "search.gain",
        gain,
        _budgets,
        (
            Mistake("divided by each part's own size", "The parts must add up to the whole gain.", _within),
            Mistake("parts in another order", "Which one comes first?", lambda *a: gain(*a)[::-1]),
            Mistake("losses left out", "A problem that was right and is wrong now lowers the gain.", _only_gains),
            Mistake("a thought that is still cut counts as one that ends", "What does the longer budget cut?",
                    lambda r, c, b, d: gain(r, c, b, [False] * len(d))),
        ),
        "Four problems in a table, with four columns. What does each row add, and to which part?",
    ),
    Exercise(
        "search.guide_reads",
        guide_reads,
        _replies,
        (
            Mistake("each token is read once", "What does the guide read for its second opinion?",
                    lambda prompt, steps: prompt + sum(steps)),
            Mistake("the prompt is read once", "Each opinion begins at the prompt.",
                    lambda prompt, steps: guide_reads(0, steps) + prompt),
            Mistake("the step itself is not read", "The opinion is about the text up to the step's end.",
                    lambda prompt, steps: guide_reads(prompt, steps) - sum(steps)),
        ),
        "Write the three texts that the guide reads for three steps below each other.",
    ),
)  # fmt: skip
"""The exercises of the chapter on thinking longer; the first is its bug zoo."""
