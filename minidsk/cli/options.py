"""The options of a command: tyro reads them off its dataclass, here they are explained, and errors become one line.

tyro draws its help and its errors in boxes, which no line can be made of. The parts of both are taken from where it
keeps them, under names that it calls private: hence the exact version of tyro in pyproject.toml.
"""

from __future__ import annotations

import argparse
import difflib
import re
import shutil
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import tyro
from tyro import _errors as errors

from minidsk.rl.rewards import REWARDS


def read(command: Any, start: Any, name: str, words: Sequence[str]) -> Callable[[], int | None]:
    """The command with the options that the words give, and those of `start` for the rest.

    Raises `ValueError`, one line, where tyro does not understand them.
    """

    def refuse(event: errors.ParseErrorEvent) -> NoReturn:
        every = [action for _, actions in groups(command, start) for action in actions]
        known = [option for action in every for option in action.option_strings]
        raise ValueError(complaint(event, known) or f"not understood; see {name} --help")

    with errors.on_parse_error(refuse):
        return tyro.cli(command, default=start, prog=name, args=words, add_help=False)


def complaint(event: errors.ParseErrorEvent, known: Sequence[str]) -> str:
    """What is wrong with the words, and the remedy; empty for a kind of event that this version of tyro has not."""
    tokens = getattr(event, "tokens", None) or getattr(event, "unrecognized_tokens", None)
    argument: Any = getattr(event, "argument", None)
    if tokens:  # the value of a mistyped option is among them: the option itself is what to name
        wrong = next((token for token in tokens if token.startswith("-")), tokens[0]).partition("=")[0]
        what = "no such option" if wrong.startswith("-") else "not understood"
        return f"{wrong}: {what}; {suggestion(wrong, known, event.prog)}"
    if isinstance(event, errors.MissingArgs):
        missing = ", ".join(called(context.arg) for context in event.missing_arguments)
        return f"{missing}: missing; see {event.prog} --help"
    if isinstance(event, errors.InvalidChoice):
        # Those of an option that may be left out come in the order of a set.
        choices = sorted({*event.choices} - {"None"}) if "None" in event.choices else event.choices
        return f"{called(argument)}: {event.value!r} is not known; give {', '.join(choices)}"
    if isinstance(event, errors.BadValue):
        return f"{called(argument)}: its value is missing; give {kind(argument.lowered.metavar)}"
    if isinstance(event, errors.InstantiationFailure) and argument is not None:
        reason = event.message.partition(";")[0]  # what follows is advice to programmers
        return f"{called(argument)}: {reason}; give {kind(argument.lowered.metavar)}"
    return getattr(event, "message", "")


def called(argument: Any) -> str:
    """What a user calls an argument: its option, or the word that stands for it in the usage."""
    if argument.is_positional():
        return kind(argument.lowered.metavar).strip("{}")
    return str(argument.lowered.name_or_flags[-1])


def kind(metavar: str) -> str:
    """What an option takes, in a word: ``INT`` for ``{None}|INT``, ``INT ...`` for ``[INT [INT ...]]``."""
    words = re.findall(r"[A-Z_]{2,}", metavar)
    if not words:  # choices, {a,b} or, of several, [{a,b} [{a,b} ...]]
        return re.sub(r"[\[\] ]*(\{[^}]*\}).*", r"\1", metavar)
    return f"{words[0]} ..." if "..." in metavar else words[0]


def suggestion(wrong: str, known: Sequence[str], name: str) -> str:
    """The options that may be meant: those that end as the wrong one does, or the one that is spelled most like it."""
    wrong = wrong.replace("_", "-")
    near = [option for option in known if option.endswith("." + wrong.lstrip("-"))]
    near = near or difflib.get_close_matches(wrong, known, 1)
    return f"did you mean {' or '.join(near)}?" if near else f"see {name} --help"


def groups(command: Any, start: Any) -> list[tuple[argparse._ArgumentGroup, list[argparse.Action]]]:
    """The options of a command in groups, each with its explanation and the default that `start` has."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        parser = tyro.extras.get_parser(command, default=start, add_help=False)
    found = [(group, group._group_actions) for group in parser._action_groups if group._group_actions]
    for action in (action for _, actions in found for action in actions):
        reward = re.search(r"\.rewards\.([\w-]+)$", action.dest)
        if reward:  # an entry of a mapping has no comment of its own
            about = REWARDS[reward[1].replace("-", "_")].__doc__ or ""
            action.help = f"weight of the reward: {about.splitlines()[0]} {action.help}"
        if action.metavar and action.nargs != 0:
            optional = action.nargs == "?"
            action.metavar = f"[{kind(str(action.metavar))}]" if optional else kind(str(action.metavar))
            action.nargs = None
    return found


def page(command: Any, start: Any, name: str, used: Sequence[str] = ()) -> str:
    """The help of a command in plain text, as wide as the terminal: all options, or those `used`, by name."""
    found = groups(command, start)
    every = [action for _, actions in found for action in actions]
    shown = [(group.title, group.description, actions) for group, actions in found]
    if used:
        by_name = {option: action for action in every for option in action.option_strings}
        shown = [("options", None, [by_name[f"--{option}"] for option in used])]
    layout = argparse.HelpFormatter(name, max_help_position=26, width=max(shutil.get_terminal_size().columns, 42) - 2)
    words = [name, *(str(action.metavar) for action in every if not action.option_strings), "[OPTIONS]"]
    layout.add_usage(" ".join(words), [], [])
    layout.add_text((command.__doc__ or "").splitlines()[0])
    for title, description, actions in shown:
        layout.start_section(title)
        layout.add_text(re.split(r"(?<=[.:])\s", description or "")[0] or None)
        layout.add_arguments(actions)
        layout.end_section()
    if used:
        layout.add_text(f"{name} --help-all: all {len(every)} options")
    return layout.format_help().rstrip()
