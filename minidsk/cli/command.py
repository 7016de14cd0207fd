"""From the words of a command line to a command that ran: which commands there are, and what an error says."""

from __future__ import annotations

import argparse
import dataclasses
import errno
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import tyro

from minidsk.cli.bench import Bench
from minidsk.cli.doctor import Doctor
from minidsk.cli.evaluate import Eval
from minidsk.cli.learn import R1, SFT, Pretrain, Reason, Zero, default_recipe
from minidsk.cli.mine import Mine
from minidsk.cli.options import page, read
from minidsk.cli.use import Chat, Report, Sample
from minidsk.rl.recipe import STAGES
from minidsk.train.device import keep_memory

COMMANDS: dict[str, Any] = {
    "reason": Reason, "pretrain": Pretrain, "sft": SFT, "zero": Zero, "r1": R1, "eval": Eval, "sample": Sample,
    "chat": Chat, "report": Report, "doctor": Doctor, "mine": Mine, "bench": Bench,
}  # fmt: skip
# The options that people use, for the first page of help; a command that is not here has few, and shows them all.
USED = {
    "reason": "preset out device seed problems pretrain.steps pretrain.batch pretrain.optim.lr pretrain.web.numbers "
              "pretrain.web.high zero.steps zero.prompts zero.optim.lr zero.rows r1.steps",
    "pretrain": "preset out harvest device pretrain.seed pretrain.steps pretrain.batch pretrain.context "
                "pretrain.optim.lr pretrain.compile pretrain.model.hidden-size pretrain.model.num-hidden-layers "
                "pretrain.web.numbers pretrain.web.high",
    "sft": "base data out device sft.steps sft.batch sft.optim.lr sft.save-every sft.seed",
    "zero": "run preset device problems zero.steps zero.prompts zero.group zero.max-new-tokens zero.temperature "
            "zero.optim.lr zero.rows zero.save-every",
    "r1": "run preset device problems cold-examples cold.steps cold.optim.lr r1.steps r1.prompts r1.group r1.optim.lr "
          "r1.rows",
    "mine": "input seed-pages output approved problems rounds passing budget marked new negatives workers seed",
}  # fmt: skip
LONGEST = 500  # characters of a complaint, whatever it quotes


def run(args: Sequence[str]) -> int:
    """Run one command; the exit code."""
    keep_memory()
    code = attempt(args)
    try:
        sys.stdout.flush()
    except OSError as error:  # the reader of our output has gone, or its disk is full
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1 if isinstance(error, BrokenPipeError) else fail(f"output: {error.strerror}")
    return code


def attempt(args: Sequence[str]) -> int:
    """Run one command, and say in one line what went wrong; the exit code."""
    command = None
    try:
        command = parse(args)
        return command() or 0
    except KeyboardInterrupt:
        lost = steps_between_states(command)
        remedy = f"; the same command goes on, and does at most {lost} steps again" if lost else ""
        remedy = "; the same command goes on where it stopped" if isinstance(command, Mine) else remedy
        return fail("stopped" + remedy, 130)
    except BrokenPipeError:
        return 1
    except torch.OutOfMemoryError:
        return fail("the GPU's memory is full; give a smaller --pretrain.batch, --zero.rows and --r1.rows")
    except OSError as error:
        remedy = "; free some space, and the same command goes on" if error.errno == errno.ENOSPC else ""
        named = f"{error.filename}: " if error.filename else ""
        return fail(named + (error.strerror or str(error)) + remedy)
    except ValueError as error:
        return fail(str(error))
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "allocate memory" not in str(error):
            raise
        return fail("the memory is full; give smaller sizes, batches or numbers of tokens")


def steps_between_states(command: object) -> int:
    """How many steps a training command may lose when it is stopped; 0 for the others."""
    recipe = getattr(command, "recipe", command)
    stages = [getattr(recipe, name, None) for name in (*STAGES.values(), "sft")]
    return max((stage.save_every for stage in stages if stage is not None), default=0)


def fail(words: str, code: int = 2) -> int:
    """Say what is wrong in one line, without whatever would steer a terminal."""
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(words.split()))
    if len(line) > LONGEST:
        line = f"{line[: LONGEST - 100]} ... {line[-90:]}"
    print("\nminidsk:" if code == 130 else "minidsk:", line, file=sys.stderr)
    return code


def parse(args: Sequence[str]) -> Callable[[], int | None]:
    """The command that the words ask for, ready to be called; or, ready to be printed, the help that they ask for.

    Raises `ValueError`, one line, where they are not understood.
    """
    name = args[0] if args else "--help"
    if name in ("-h", "--help"):
        return partial(print, overview())
    if name not in COMMANDS:
        raise ValueError(f"{name}: no such command; known are {', '.join(COMMANDS)}")
    words = list(args[1:])
    asked = {"-h", "--help", "--help-all"} & set(words)
    command = COMMANDS[name]
    start = command(**required(command) | defaults(name, words))
    if asked:
        used = "" if "--help-all" in asked else USED.get(name, "")
        return partial(print, page(command, start, f"minidsk {name}", used.split()))
    return read(command, start, f"minidsk {name}", words)


def required(command: Any) -> dict[str, Any]:
    """Those fields of a command that have no default, each as missing so far."""
    fields = [f.name for f in dataclasses.fields(command) if f.default is f.default_factory is dataclasses.MISSING]
    return dict.fromkeys(fields, tyro.MISSING)


def defaults(name: str, words: Sequence[str]) -> dict[str, Any]:
    """The settings that a training command starts from, which follow from the preset, the device and the run."""
    if name not in ("reason", "pretrain", "zero", "r1"):
        return {}
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for option in ("--preset", "--device", "--run"):
        early.add_argument(option, nargs="?")
    given = {key: value for key, value in vars(early.parse_known_args(words)[0]).items() if value is not None}
    if name in ("reason", "pretrain"):
        given.pop("run", None)
    recipe = default_recipe(**given)
    return {"pretrain": recipe.pretrain} if name == "pretrain" else {"recipe": recipe}


def overview() -> str:
    """What `minidsk --help` says, as wide as the terminal."""
    about = [f"{name:9} {(command.__doc__ or '').splitlines()[0]}" for name, command in COMMANDS.items()]
    layout = textwrap.TextWrapper(max(shutil.get_terminal_size().columns, 42) - 2, "  ", " " * 12)
    return "\n".join(["usage: minidsk COMMAND [OPTIONS]", "", *map(layout.fill, about), "",
                      "minidsk COMMAND --help: its options"])  # fmt: skip
