"""The exercise on a reward for one language, as DeepSeek-R1 (arXiv:2501.12948, section 2.3.2) has it."""

import re
from typing import Any

from minidsk.homework.exercise import Exercise, Mistake
from minidsk.tasks.base import thought_of


def language_reward(prompt: str, reply: str) -> float:
    """The share of a thought's words that are in the language of the question.

    prompt: English, or Chinese where it has a Chinese character ([一-鿿] in a regular expression). reply: such as
    "<think>3+7=10 no</think><answer>7-3</answer>". Only its thought counts, and
    `minidsk.tasks.base.thought_of(reply)` returns that without the tags. A word is an unbroken run of the letters A to
    Z and a to z, or an unbroken run of Chinese characters; numbers and signs are no words. Returns a number from 0 to
    1: it is 1 where the thought has no words, because nothing in it is in the wrong language.
    """
    return _share(prompt, thought_of(reply))


def _share(prompt: str, text: str, english: str = "[A-Za-z]+", chinese: str = "[一-鿿]+", *, silent: float = 1.0,
           words: str = "") -> float:  # fmt: skip
    """See `language_reward`; `words`: what is divided by, where it is not the words of both languages."""
    found = len(re.findall(english, text)), len(re.findall(chinese, text))
    together = len(re.findall(words, text)) if words else sum(found)
    return found[bool(re.search("[一-鿿]", prompt))] / together if together else silent


ENGLISH, CHINESE = "Make 4 from 3 7 8.\n", "用 3 7 8 得到 4。\n"
FIRST, LAST = "3+7-8=10-8=2", "8-(7-3)=8-4=4"


def written(*lines: str, answer: str = "8-(7-3)") -> str:
    """A reply whose thought has these lines."""
    return "<think>" + "\n".join(lines) + f"</think><answer>{answer}</answer>"


def _thoughts() -> list[tuple[str, tuple[Any, ...]]]:
    return [
        ("an English thought", (ENGLISH, written(f"{FIRST} no", f"{LAST} yes"))),
        ("a Chinese thought about an English question", (ENGLISH, written(f"{FIRST} 不对", f"{LAST} 对了"))),
        ("a Chinese thought about a Chinese question", (CHINESE, written(f"{FIRST} 不对", f"{LAST} 对了"))),
        ("an English thought about a Chinese question", (CHINESE, written(f"{FIRST} no", f"{LAST} yes"))),
        ("one word of three is Chinese", (ENGLISH, written(f"{FIRST} no", f"{FIRST} 不对", f"{LAST} yes"))),
        ("two words of three are Chinese", (CHINESE, written(f"{FIRST} 不对", f"{FIRST} 不对", f"{LAST} yes"))),
        ("a sentence in Chinese", (CHINESE, written("我先试 3+7 再减去八, no", f"{LAST} yes"))),
        ("numbers and signs alone", (ENGLISH, written(LAST))),
        ("an empty thought", (CHINESE, written())),
        ("an answer in words", (CHINESE, written(f"{LAST} 对了", answer="eight minus four"))),
        ("a thought that does not end", (ENGLISH, f"<think>{FIRST} 不对\n{FIRST} no\n{FIRST} no\n{FIRST}")),
    ]


EXERCISES = (
    Exercise(
        "r1.language_reward",
        language_reward,
        _thoughts,
        (
            Mistake("the whole reply counts", "In which language are the words think and answer?",
                    lambda prompt, reply: _share(prompt, reply)),
            Mistake("a thought without words gets 0", "8-(7-3)=8-4=4: what in it is in the wrong language?",
                    lambda prompt, reply: _share(prompt, thought_of(reply), silent=0.0)),
            Mistake("all or nothing", "One stray word in three should cost less than three.",
                    lambda prompt, reply: float(_share(prompt, thought_of(reply)) == 1)),
            Mistake("each letter and each character counts", "yes is one word, and so is 不对.",
                    lambda prompt, reply: _share(prompt, thought_of(reply), "[A-Za-z]", "[一-鿿]")),
            Mistake("each Chinese character counts as a word", "A run of characters is one word, as a run of letters.",
                    lambda prompt, reply: _share(prompt, thought_of(reply), chinese="[一-鿿]")),
            Mistake("numbers count as words", "A sum is the same in both languages.",
                    lambda prompt, reply: _share(prompt, thought_of(reply), words=r"\S+")),
            Mistake("English is always right", "What if the question is in Chinese?",
                    lambda prompt, reply: _share(ENGLISH, thought_of(reply))),
            Mistake("Chinese is always right", "What if the question is in English?",
                    lambda prompt, reply: _share(CHINESE, thought_of(reply))),
            Mistake("the language of most of the words", "A thought may be all in one language, and in the wrong one.",
                    lambda prompt, reply: max(_share(asked, thought_of(reply)) for asked in (ENGLISH, CHINESE))),
            Mistake("the share of the other language", "1 is the best reward.",
                    lambda prompt, reply: 1 - _share(prompt, thought_of(reply), silent=0.0)),
        ),
        "List the words of the thought by hand, the English ones and the Chinese ones, and divide.",
    ),
)  # fmt: skip
"""Part of `r1.EXERCISES`."""
