"""The command line, `minidsk`: one line and exit code 2 for what the user can mend, exit code 130 for Ctrl-C."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import errno
import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
import tyro

from minidsk.cli.bench import Bench
from minidsk.cli.learn import R1, SFT, Pretrain, Reason, Zero, default_recipe
from minidsk.cli.use import Chat, Eval, Report, Sample
from minidsk.rl.recipe import STAGES
from minidsk.train.device import keep_memory

COMMANDS: dict[str, Any] = {
    "reason": Reason, "pretrain": Pretrain, "sft": SFT, "zero": Zero, "r1": R1, "eval": Eval, "sample": Sample,
    "chat": Chat, "report": Report, "bench": Bench,
}  # fmt: skip


def main() -> None:
    """Run what the command line asks for, and exit."""
    keep_memory()
    sys.exit(run(sys.argv[1:]))


def run(args: Sequence[str]) -> int:
    """Run one command; the exit code."""
    command = None
    try:
        command = parse(args)
        command()
    except KeyboardInterrupt:
        lost = steps_between_states(command)
        remedy = f"; the same command goes on, and does at most {lost} steps again" if lost else ""
        return fail("stopped" + remedy, 130)
    except BrokenPipeError:  # whoever read our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except torch.OutOfMemoryError:
        return fail("the GPU's memory is full; give a smaller --pretrain.batch, --zero.rows and --r1.rows")
    except OSError as error:
        remedy = "; free some space, and the same command goes on" if error.errno == errno.ENOSPC else ""
        known = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
        return fail(known + remedy)
    except ValueError as error:
        return fail(str(error))
    return 0


def steps_between_states(command: object) -> int:
    """How many steps a training command may lose when it is stopped; 0 for the others."""
    recipe = getattr(command, "recipe", command)
    stages = [getattr(recipe, name, None) for name in (*(stage.field for stage in STAGES.values()), "sft")]
    return max((stage.save_every for stage in stages if stage is not None), default=0)


def fail(words: str, code: int = 2) -> int:
    """Say what is wrong in one line."""
    print("\nminidsk:" if code == 130 else "minidsk:", " ".join(words.split()), file=sys.stderr)
    return code


def parse(args: Sequence[str]) -> Callable[[], None]:
    """The command that the words ask for, ready to be called. Raises `ValueError` in one line, or exits after help."""
    name = args[0] if args else ""
    defaults: dict[str, Any] = {}
    if name in ("reason", "pretrain", "zero", "r1"):
        # The defaults of the other options follow from these, so these are read first.
        early = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
        for option in ("--preset", "--device", "--run"):
            early.add_argument(option, nargs="?")
        given = {key: value for key, value in vars(early.parse_known_args(args)[0]).items() if value is not None}
        if name in ("reason", "pretrain"):
            given.pop("run", None)
        recipe = default_recipe(**given)
        defaults = {"pretrain": recipe.pretrain} if name == "pretrain" else {"recipe": recipe}
    elif name not in COMMANDS:
        if name in ("", "-h", "--help"):
            print(overview())
            sys.exit()
        raise ValueError(f"{name}: no such command; known are {', '.join(COMMANDS)}")
    command = COMMANDS[name]
    required = [f.name for f in dataclasses.fields(command) if f.default is f.default_factory is dataclasses.MISSING]
    start = command(**(dict.fromkeys(required, tyro.MISSING) | defaults))
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(command, default=start, prog=f"minidsk {name}", args=list(args[1:]))
    except SystemExit as stop:
        if stop.code:
            raise ValueError(one_line(complaint.getvalue(), name)) from None
        raise


def overview() -> str:
    """What `minidsk --help` says."""
    lines = [f"  {name:9} {(command.__doc__ or '').splitlines()[0]}" for name, command in COMMANDS.items()]
    return "\n".join(["usage: minidsk COMMAND [OPTIONS]", "", *lines, "", "minidsk COMMAND --help: its options"])


def one_line(box: str, name: str) -> str:
    """The complaint in tyro's box, and the nearest option, as one line."""
    text = re.sub(r"[│╭╮╰╯]", " ", box)
    _, said, *hints = [" ".join(part.split()) for part in re.split("─{2,}", text) if part.strip(" ─\n")]
    said = re.sub(r"^Error parsing [\w.]+: ", "", said)
    near = re.search(r"Perhaps you meant: (--[\w.-]+)", " ".join(hints))
    return f"{said.rstrip('.')}; " + (f"did you mean {near[1]}?" if near else f"see minidsk {name} --help")
