"""The contract of a task: numbered problems, each with a prompt and a verifier.

A reply is a thought and an answer, marked by four tags that the tokenizers know as single tokens:

    <think>3+7=10, 10*2=20: yes.</think><answer>(3+7)*2</answer>
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

SPLITS = ("train", "valid", "test")

_NO_TAG = r"(?:(?!</?(?:think|answer)>).)*"  # any text in which none of the four tags begins
_REPLY = re.compile(
    rf"(?:\s*<think>)?{_NO_TAG}</think>\s*<answer>{_NO_TAG}</answer>\s*(?:<eos>\s*)?",  # linear time on any text
    re.DOTALL,
)


@dataclass(frozen=True)
class Problem:
    """One problem. A task subclasses it, adds what its verifier needs, and defines `score`.

    prompt: what the model reads, up to and including its last newline.
    """

    prompt: str

    def score(self, text: str) -> float:
        """The reward of a reply, in [0, 1]. Any string gets one; what is not a string raises TypeError."""
        raise NotImplementedError

    def answer(self, text: str) -> str | None:
        """The answer that is read from a reply; None where it gives none, or several."""
        return read_answer(text)

    def verdict(self, text: str) -> str:
        """What is to be said of a reply, in a few words: the answer that was read, and whether it is right."""
        answer = self.answer(text)
        if answer is None:
            return "no answer"
        return f"{'right' if self.score(text) == 1 else 'wrong'}: {answer}"

    def attempts(self, text: str) -> list[str]:
        """What the thought of a reply tries, in order: its lines, where a task does not know better."""
        return thought_of(text).splitlines()

    def strata(self) -> dict[str, str]:
        """The kind of problem that this is, by what problems of its task are divided by; empty where they are not."""
        return {}

    def well_formed(self, text: str) -> bool:
        """Whether the reply has the right form, be it right or wrong: one thought, then one answer, nothing else.

        The opening `<think>` may be missing (a template may already end with it), and one `<eos>` may follow.
        """
        return _REPLY.fullmatch(text) is not None


class Task:
    """Problems without end: `task[i]`, for any i >= 0, is a pure function of the task's settings, split, seed and i.

    A task has no length; draw as many problems as needed with `[task[i] for i in range(n)]`. It is made by name:
    ``make_task("countdown", split="test", **settings)``.
    """

    split: str
    seed: int

    @classmethod
    def pose(cls, text: str) -> Problem | None:
        """The problem that a user means who types `text`; None where it is none of this task's."""
        return None

    def __getitem__(self, i: int) -> Problem:
        """Problem number i. A negative i raises IndexError."""
        raise NotImplementedError


TASKS: dict[str, type[Task]] = {}
"""Every task by name; see `register`."""


def register(name: str) -> Callable[[type[Task]], type[Task]]:
    """Let `make_task` know a class of tasks by this name."""

    def known(task: type[Task]) -> type[Task]:
        TASKS[name] = task
        return task

    return known


def make_task(name: str, **settings: Any) -> Task:
    """The task called `name`; `settings` are its own, `split` and `seed`. Raises `ValueError` for an unknown name."""
    if name not in TASKS:
        raise ValueError(f"task: {name!r} is not known; give {', '.join(sorted(TASKS))}")
    return TASKS[name](**settings)


def stream(*key: object) -> random.Random:
    """A generator seeded by a hash of the key, the same in every process and on every machine.

    Hashing keeps streams apart that arithmetic would join: with `seed + i`, seed 43 is seed 42 shifted by one.
    """
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return random.Random(int.from_bytes(digest, "big"))


_THOUGHT = re.compile(r"(?:<think>)?(.*?)(?:</think>|<answer>|$)", re.DOTALL)


def thought_of(text: str) -> str:
    """What stands in a reply before the answer, without the tags."""
    match = _THOUGHT.match(text)
    return match[1] if match else ""


def read_answer(text: str) -> str | None:
    """The text between `<answer>` and `</answer>`, or None unless there is exactly one such block.

    Exactly one, because a verifier that picked the first or the last of several would reward guessing. The block must
    also stand outside the thought: after the last `</think>`, with no `<think>` left open. Text around it is ignored.
    """
    if not isinstance(text, str):
        raise TypeError(f"a reply to score is a str, not {type(text).__name__}: decode the tokens first")
    if text.count("<answer>") != 1 or text.count("</answer>") != 1:
        return None
    spoken = text.rpartition("</think>")[2]
    rest = spoken.partition("<answer>")[2]
    answer, closed, _ = rest.partition("</answer>")
    return answer if closed and "<think>" not in spoken else None
