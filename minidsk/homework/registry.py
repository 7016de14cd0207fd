"""Every exercise by name."""

import difflib
import inspect
import re
import textwrap

from minidsk.homework import (
    attention,
    capstone,
    distillation,
    experts,
    feedback,
    games,
    grpo,
    inference,
    kernels,
    lowprec,
    mining,
    moe,
    mtp,
    pretraining,
    search,
    text,
    zero,
)
from minidsk.homework.exercise import Exercise

CHAPTERS = {
    "text": text.EXERCISES,
    "attention": attention.EXERCISES,
    "moe": moe.EXERCISES,
    "mtp": mtp.EXERCISES,
    "mining": mining.EXERCISES,
    "pretraining": pretraining.EXERCISES,
    "kernels": kernels.EXERCISES,
    "experts": experts.EXERCISES,
    "lowprec": lowprec.EXERCISES,
    "games": games.EXERCISES,
    "feedback": feedback.EXERCISES,
    "grpo": grpo.EXERCISES,
    "zero": zero.EXERCISES,
    "distillation": distillation.EXERCISES,
    "search": search.EXERCISES,
    "inference": inference.EXERCISES,
    "capstone": capstone.EXERCISES,
}
"""The exercises of each chapter; the first one is the chapter's bug zoo."""

EXERCISES = {exercise.name: exercise for exercises in CHAPTERS.values() for exercise in exercises}
"""Every exercise, by its name "chapter.function"."""


def find(name: str) -> Exercise:
    """The exercise called `name`. Raises KeyError with the names that come close."""
    if name in EXERCISES:
        return EXERCISES[name]
    raise KeyError(f"no exercise is called {name!r}; {_nearest(str(name))}")


def find_zoo(name: str) -> Exercise:
    """The exercise called `name`, or, for a chapter's name, the one whose bugs live in that chapter's zoo."""
    return CHAPTERS[name][0] if name in CHAPTERS else find(name)


def describe(name: str) -> str:
    """The task: how the function is called, and what it should return, in lines of at most 90 columns.

    Raises KeyError on an unknown name.
    """
    function = find(name).reference
    call = re.sub(r"(\w:|->) ", "\\1\0", f"{function.__name__}{inspect.signature(function, eval_str=True)}")
    # An empty line, a colon at a line's end and "Returns" at its beginning set parts of a text apart.
    parts = re.split(r"(\n\n|(?<=:)\n|\n(?=Returns ))", str(inspect.getdoc(function)))
    return _wrapped(call, "    ") + "\n\n" + "".join(_wrapped(part) if part.strip() else part for part in parts)


def _wrapped(text: str, indent: str = "") -> str:
    """The text in lines of at most 90 columns, the later ones indented; a shape such as [N, T] stays in one piece."""
    glued = re.sub(r"\[[^][]{1,40}\]", lambda shape: shape[0].replace(" ", "\0"), text.replace("\n", " "))
    lines = textwrap.wrap(glued, 90, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines).replace("\0", " ")


def _nearest(name: str) -> str:
    short = {n.split(".")[1]: n for n in EXERCISES}
    near = difflib.get_close_matches(name, EXERCISES, n=3, cutoff=0.5)
    near += [short[s] for s in difflib.get_close_matches(name.split(".")[-1], short, n=3, cutoff=0.6)]
    chapter = [n for n in EXERCISES if n.startswith(name.split(".")[0] + ".")]
    return "there are " + ", ".join(dict.fromkeys(near or chapter or EXERCISES))
