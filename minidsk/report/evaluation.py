"""What there is to say of many replies to each of many problems: pass@k, strata, lengths, form and language."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from minidsk.data.grammar import holds, parses
from minidsk.infer.outcome import Outcome
from minidsk.infer.pass_at_k import pass_at_k, powers_of_two
from minidsk.report.bootstrap import TIMES, Estimate, estimate
from minidsk.report.columns import aligned
from minidsk.rl.language import mixed
from minidsk.tasks.base import Problem, thought_of
from minidsk.tasks.countdown import CountdownProblem

Figure = dict[str, float] | None  # an `Estimate` by name


def measure(problems: Sequence[Problem], replies: Sequence[Sequence[Outcome]], seed: int = 0) -> dict[str, Any]:
    """All figures, ready for JSON; `replies[i]`, as many for each, are those to problem i.

    accuracy: the mean score; pass_at_k: by k; strata: the same of the problems of each kind; length: in tokens, of
    right and wrong replies and of those cut off, which are among the wrong ones unless they answered; shares of
    replies, thoughts and lines under `form`. A figure is `value`, `low` and `high`, or None where there is none.
    """
    figure = partial(_figure, seed=seed)

    def of_replies(amount: Callable[[Outcome], float], among: Callable[[Outcome], bool] = lambda o: True,
                   share: bool = True) -> Figure:  # fmt: skip
        amounts = [sum(amount(o) for o in some if among(o)) for some in replies]
        return figure(amounts, [sum(map(among, some)) for some in replies], share=share)

    def length(among: Callable[[Outcome], bool]) -> dict[str, Any]:
        count = sum(among(o) for some in replies for o in some)
        return {"replies": count, "tokens": of_replies(lambda o: o.tokens, among, share=False)}

    samples = len(replies[0])
    well_formed = [sum(p.well_formed(o.text) for o in some) for p, some in zip(problems, replies, strict=True)]
    everyone = list(range(len(problems)))
    strata: dict[tuple[str, str], list[int]] = {}
    for i, problem in enumerate(problems):
        for by, kind in problem.strata().items():
            strata.setdefault((by, kind), []).append(i)
    return {
        "interval": f"95 %, with the problem as the unit: bootstrap percentiles ({TIMES} draws, seed {seed}), or "
                    "Wilson's where every problem has all or nothing",
        "problems": len(problems),
        "samples": samples,
        **_solved(replies, everyone, figure),
        "strata": [{"by": by, "kind": kind, "problems": len(own), **_solved(replies, own, figure)}
                   for (by, kind), own in sorted(strata.items())],
        "length": {"right": length(lambda o: o.right), "wrong": length(lambda o: not o.right),
                   "cut off": length(lambda o: not o.ended)},
        "form": {
            "well-formed replies": figure(well_formed, [samples] * len(problems)),
            "replies cut off": of_replies(lambda o: not o.ended),
            "thoughts in both languages": of_replies(lambda o: mixed(thought_of(o.text))),
            **_lines(problems, replies, figure),
        },
        "right": [sum(o.right for o in some) for some in replies],
    }  # fmt: skip


def _figure(
    amounts: Sequence[float], counts: Sequence[float] | None = None, *, seed: int, share: bool = True
) -> Figure:
    found = estimate(amounts, counts, seed=seed, share=share)
    return None if found is None else asdict(found)


def _solved(
    replies: Sequence[Sequence[Outcome]], which: Sequence[int], figure: Callable[..., Figure]
) -> dict[str, Any]:
    """Accuracy and pass@k of some problems, by their numbers."""
    some = [replies[i] for i in which]
    tries, right = len(some[0]), [sum(o.right for o in own) for own in some]
    return {
        "accuracy": figure([sum(o.score for o in own) / tries for own in some]),
        "pass_at_k": {str(k): figure([pass_at_k(tries, r, k) for r in right]) for k in powers_of_two(tries)},
    }


def _lines(
    problems: Sequence[Problem], replies: Sequence[Sequence[Outcome]], figure: Callable[..., Figure]
) -> dict[str, Figure]:
    """Of the lines of Countdown's thoughts: those with words of both languages, those that the grammar of a worksheet
    parses, and those of the parsed ones that are true."""
    counts: list[list[int]] = []
    for problem, some in zip(problems, replies, strict=True):
        if not isinstance(problem, CountdownProblem):
            return {}
        lines = [line for o in some for line in thought_of(o.text).splitlines()]
        parsed = [line for line in lines if parses(line)]
        true = sum(holds(line, problem.target) for line in parsed)
        counts.append([len(lines), sum(map(mixed, lines)), len(parsed), true])
    lines_, both, legible, true_ = zip(*counts, strict=True)
    return {"lines in both languages": figure(both, lines_), "lines that the grammar parses": figure(legible, lines_),
            "of these, lines that are true": figure(true_, legible)}  # fmt: skip


def screen(measured: dict[str, Any]) -> str:
    """The figures as tables of plain text."""
    shown = list(measured["pass_at_k"])
    kinds = [("all", measured["problems"], measured)]
    kinds += [(row["kind"], row["problems"], row) for row in measured["strata"]
              if row["problems"] < measured["problems"]]  # fmt: skip
    head = ["problems", "", *(f"pass@{k}" for k in shown)]
    rows = [[kind, f"{count:,}", *(_percent(found["pass_at_k"][k]) for k in shown)] for kind, count, found in kinds]
    if len(shown) > 3:  # too wide: a line for each k
        [head, *rows] = [list(column) for column in zip(head, *rows, strict=True)]
    lengths = [[name, f"{found['replies']:,}", _number(found["tokens"])] for name, found in measured["length"].items()]
    form = [[name, _percent(found)] for name, found in measured["form"].items()]
    parts = [aligned([head, *rows]), aligned([["length", "replies", "mean, in tokens"], *lengths]),
             aligned([["share", ""], *form]), f"(in brackets: {measured['interval']})"]  # fmt: skip
    return "\n\n".join(parts)


def _percent(figure: Figure) -> str:
    return str(Estimate(**figure)) if figure else "-"


def _number(figure: Figure) -> str:
    return f"{figure['value']:.0f} ({figure['low']:.0f} to {figure['high']:.0f})" if figure else "-"
