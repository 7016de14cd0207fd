"""Which languages a thought is written in. A run of Chinese characters counts as one word, as a run of letters does."""

from __future__ import annotations

import re

from minidsk.tasks.base import Problem, thought_of

_CHINESE = re.compile(r"[一-鿿]+")
_ENGLISH = re.compile(r"[A-Za-z]+")


def words(text: str) -> tuple[int, int]:
    """The English and the Chinese words of a text."""
    return len(_ENGLISH.findall(text)), len(_CHINESE.findall(text))


def mixed(text: str) -> bool:
    """Whether a text has words of both languages."""
    return all(words(text))


def language(problem: Problem, reply: str) -> float:
    """The share of the thought's words that are in the language of the prompt; 1 where the thought has no words.

    DeepSeek-R1 (section 2.3.2) rewards the same share.
    """
    english, chinese = words(thought_of(reply))
    wanted = chinese if _CHINESE.search(problem.prompt) else english
    return wanted / (english + chinese) if english + chinese else 1.0
