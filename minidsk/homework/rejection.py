"""The exercise on rejection sampling: which of a model's own answers it should learn from.

DeepSeek-R1 (arXiv:2501.12948, section 2.3.3) keeps right answers, without mixed languages and long paragraphs.
"""

from collections.abc import Callable, Sequence
from typing import Any

from minidsk.homework.exercise import Exercise, Mistake
from minidsk.homework.language import CHINESE, ENGLISH, FIRST, LAST, language_reward, written
from minidsk.tasks.base import Problem, thought_of

Groups = Sequence[Sequence[str]]
Verdicts = Sequence[Sequence[bool]]


def rejection(
    prompts: list[str], groups: list[list[str]], right: list[list[bool]], longest: int
) -> list[tuple[str, str]]:
    """What rejection sampling keeps of several replies to each prompt: the first that is worth learning from.

    prompts: one per problem. groups: the replies sampled for each, in order. right: for each of these replies, whether
    the verifier accepts its answer. longest: how many characters a reply may have, at most. A reply is kept if it is
    right, well formed, in the language of its prompt, not too long, and has no line of its thought twice. Returns pairs
    (prompt, reply) in the order of the problems: one pair per problem, and none for a problem whose replies all fail.

    `minidsk.tasks.base.Problem(prompt).well_formed(reply)` says whether a reply is one thought and one answer. A reply
    is in the language of its prompt if `language_reward(prompt, reply)` is 1. The lines of a thought are
    `thought_of(reply)` split at its line breaks.
    """
    return _kept(prompts, groups, right, longest)


def _first(replies: list[str]) -> list[str]:
    return replies[:1]


def _kept(prompts: Sequence[str], groups: Groups, right: Verdicts, longest: float, *, but: str = "", pure: float = 1.0,
          choose: Callable[[list[str]], list[str]] = _first) -> list[tuple[str, str]]:  # fmt: skip
    """See `rejection`; `but`: the demand that is not made."""
    return [(prompt, reply)
            for prompt, group, verdicts in zip(prompts, groups, right, strict=True)
            for reply in choose([reply for reply, verdict in zip(group, verdicts, strict=True)
                                 if _passes(prompt, reply, verdict, longest, but, pure)])]  # fmt: skip


def _passes(prompt: str, reply: str, verdict: bool, longest: float, but: str, pure: float) -> bool:
    lines = thought_of(reply).splitlines()
    met = {"right": verdict, "form": Problem(prompt).well_formed(reply), "length": len(reply) <= longest,
           "language": language_reward(prompt, reply) >= pure, "lines": len(set(lines)) == len(lines)}  # fmt: skip
    return all(fine for demand, fine in met.items() if demand != but)


def _one_for_each(prompts: Sequence[str], groups: Groups, right: Verdicts, longest: int) -> list[tuple[str, str]]:
    """A problem without a reply to keep gets its first one all the same."""
    kept = dict(_kept(prompts, groups, right, longest))
    return [(prompt, kept.get(prompt, group[0])) for prompt, group in zip(prompts, groups, strict=True) if group]


def _judged_first(prompts: Sequence[str], groups: Groups, right: Verdicts, longest: int) -> list[tuple[str, str]]:
    """The first right reply is looked at, and no other."""
    picked = [[r for r, verdict in zip(group, verdicts, strict=True) if verdict][:1]
              for group, verdicts in zip(groups, right, strict=True)]  # fmt: skip
    return _kept(prompts, picked, [[True] * len(each) for each in picked], longest)


def _right(prompts: Sequence[str], groups: Groups, right: Verdicts) -> list[tuple[str, str]]:
    return [(prompt, next(reply for reply, verdict in zip(group, verdicts, strict=True) if verdict))
            for prompt, group, verdicts in zip(prompts, groups, right, strict=True) if any(verdicts)]  # fmt: skip


def _cut(prompts: Sequence[str], groups: Groups, right: Verdicts, longest: int) -> list[tuple[str, str]]:
    return [(prompt, reply[:longest]) for prompt, reply in _kept(prompts, groups, right, longest, but="length")]


def _samples() -> list[tuple[str, tuple[Any, ...]]]:
    good, second = written(f"{LAST} yes"), written(f"{FIRST} no", f"{LAST} yes")
    wrong, mixed = written(f"{FIRST} yes", answer="3+7-8"), written(f"{FIRST} no", f"{FIRST[::-1]} no", f"{LAST} 对了")
    chinese, twice = written(f"{LAST} 对了"), written(f"{FIRST} no", f"{FIRST} no", f"{LAST} yes")
    loose, long = good + " so 4", written(f"{FIRST} no", "3-7+8=4", *(f"{n}+7" for n in range(9)), f"{LAST} yes")

    def case(what: str, *groups: str, longest: int = 100, prompt: str = ENGLISH) -> tuple[str, tuple[Any, ...]]:
        named = {"g": good, "s": second, "w": wrong, "m": mixed, "c": chinese, "t": twice, "b": loose, "l": long}
        replies = [[named[letter] for letter in letters] for letters in groups]
        prompts = [prompt, *(f"Make {n} from 3 7 8.\n" for n in range(5, 4 + len(groups)))]
        return what, (prompts, replies, [[reply != wrong for reply in group] for group in replies], longest)

    return [
        case("a wrong reply, then a right one", "wg"),
        case("two readable replies, the longer one first", "sg"),
        case("two readable replies, the shorter one first", "gs"),
        case("two languages, then one", "ms"),
        case("the other language throughout", "cg"),
        case("a Chinese question", "gc", prompt=CHINESE),
        case("a line twice", "tg"),
        case("words behind the answer", "bg"),
        case("too long, then short enough", "lg"),
        case("exactly as long as is allowed", "sg", longest=len(second)),
        case("one character more than is allowed", "s", longest=len(second) - 1),
        case("four problems, one without a reply to keep, one without any reply", "wwg", "wmt", "", "sgg"),
        case("no problem with a reply to keep", "w", "m"),
    ]


EXERCISES = (
    Exercise(
        "r1.rejection",
        rejection,
        _samples,
        (
            Mistake("right is enough", "Would you want to read each of these thoughts?",
                    lambda prompts, groups, right, longest: _right(prompts, groups, right)),
            Mistake("wrong answers are kept", "What does a readable thought teach that ends with a wrong answer?",
                    lambda *given: _kept(*given, but="right")),
            Mistake("two languages are let through", "Which reply says 对了 after two times no?",
                    lambda *given: _kept(*given, but="language")),
            Mistake("most of the words in one language are enough", "One word of three is still a mixture.",
                    lambda *given: _kept(*given, pure=0.5)),
            Mistake("a thought may say a line twice", "Is every line of the thought a new one?",
                    lambda *given: _kept(*given, but="lines")),
            Mistake("the form is not looked at", "What stands behind </answer>?",
                    lambda *given: _kept(*given, but="form")),
            Mistake("no limit on the length", "What is longest for?",
                    lambda *given: _kept(*given, but="length")),
            Mistake("a reply of exactly the longest length fails", "At most is <=.",
                    lambda prompts, groups, right, longest: _kept(prompts, groups, right, longest - 1)),
            Mistake("long replies are cut", "What is left of a thought that was cut, and where is its answer?", _cut),
            Mistake("every reply that passes", "An easy problem has many right replies: how much of the lesson is it?",
                    lambda *given: _kept(*given, choose=list)),
            Mistake("the shortest that passes", "The first one: what would always taking the shortest teach besides?",
                    lambda *given: _kept(*given, choose=lambda found: sorted(found, key=len)[:1])),
            Mistake("the last that passes", "Which one was sampled first?",
                    lambda *given: _kept(*given, choose=lambda found: found[-1:])),
            Mistake("a problem without a reply to keep gets its first one",
                    "Which problems are missing from what is kept?",
                    _one_for_each),
            Mistake("only the first right reply is looked at", "A later one may pass where the first one does not.",
                    _judged_first),
        ),
        "Write the five demands as five conditions, then try each reply of the group in order and stop at the first.",
    ),
)  # fmt: skip
"""Part of `r1.EXERCISES`."""
