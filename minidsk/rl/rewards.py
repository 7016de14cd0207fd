"""Rewards by rule: each a number in [0, 1] for a reply, summed by weights, each logged by name."""

from __future__ import annotations

import re
from collections.abc import Callable

from minidsk.infer.evaluate import thought_of
from minidsk.tasks.base import Problem

Reward = Callable[[Problem, str], float]

_CHINESE = re.compile(r"[一-鿿]+")
_ENGLISH = re.compile(r"[A-Za-z]+")


def accuracy(problem: Problem, reply: str) -> float:
    """1 where the verifier accepts the answer."""
    return problem.score(reply)


def well_formed(problem: Problem, reply: str) -> float:
    """1 where the reply is one thought and one answer (the format reward of DeepSeek-R1, arXiv:2501.12948)."""
    return float(problem.well_formed(reply))


def language(problem: Problem, reply: str) -> float:
    """The share of the thought's words that are in the language of the prompt; 1 where the thought has no words.

    DeepSeek-R1 (section 2.3.2) rewards the same share. A run of Chinese characters counts as one word.
    """
    thought = thought_of(reply)
    chinese, english = len(_CHINESE.findall(thought)), len(_ENGLISH.findall(thought))
    wanted = chinese if _CHINESE.search(problem.prompt) else english
    return wanted / (chinese + english) if chinese + english else 1.0


REWARDS: dict[str, Reward] = {"accuracy": accuracy, "well_formed": well_formed, "language": language}
