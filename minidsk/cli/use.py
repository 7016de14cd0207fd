"""The commands that use what was trained: sample, talk, report; and which checkpoint is meant."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from minidsk.hub.folder import CONFIG, about
from minidsk.hub.zoo import find
from minidsk.infer.chat import converse, posed, stream
from minidsk.infer.sampling import Sampling
from minidsk.report.page import write_report
from minidsk.report.stages import read_stages, showcase, table
from minidsk.settings import AT_ONCE, LAST_SEED, sampling, within
from minidsk.train.checkpoint import RunError, finished, load_checkpoint
from minidsk.train.device import pick_device

Where = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER_OR_NAME")]


@dataclass(frozen=True)
class Sample:
    """Continue a text."""

    where: Where = ""  # a folder, a run or a name; the newest reasoner in runs/ where none is given
    prompt: str = ""  # nothing begins a new page; `3 7 2 = 12` poses a problem
    count: int = 1  # how many continuations
    temperature: float = 1.0  # 0 is greedy
    top_k: int = 0  # draw from this many of the likeliest tokens; 0: from all
    top_p: float = 1.0  # draw from the fewest tokens that hold this share of the probability; 1: from all
    max_new_tokens: int = 384  # the longest reply, in tokens; a longer one is cut off
    seed: int = 0  # of the sampling
    device: str = "auto"  # auto, cpu or cuda

    def __post_init__(self) -> None:
        within(self, 1, AT_ONCE, "count", "max_new_tokens")
        within(self, 0, LAST_SEED, "seed")
        sampling(self, "temperature")
        Sampling(self.temperature, self.top_k, self.top_p)  # which checks them

    def __call__(self) -> None:
        """Write as the tokens come."""
        where = pick_device(self.device)
        model, tokenizer = load_checkpoint(trained(self.where), where)
        problem = posed(self.prompt)
        prompt = problem.prompt if problem else self.prompt
        generator = torch.Generator(where).manual_seed(self.seed)
        how = Sampling(self.temperature, self.top_k, self.top_p)
        for _ in range(self.count):
            emit(prompt)
            stream(model, tokenizer, prompt, self.max_new_tokens, emit, sampling=how, generator=generator)
            emit("\n")


@dataclass(frozen=True)
class Chat:
    """Pose problems and watch a model think; `3 7 2 = 12` asks for 12 from 3, 7 and 2."""

    where: Where = ""  # a folder, a run or a name; the newest reasoner in runs/ where none is given
    temperature: float = 0.0  # 0 is greedy
    top_k: int = 0  # draw from this many of the likeliest tokens; 0: from all
    top_p: float = 1.0  # draw from the fewest tokens that hold this share of the probability; 1: from all
    max_new_tokens: int = 384  # the longest reply, in tokens; a longer one is cut off
    seed: int = 0  # of the sampling
    device: str = "auto"  # auto, cpu or cuda

    def __post_init__(self) -> None:
        within(self, 1, AT_ONCE, "max_new_tokens")
        within(self, 0, LAST_SEED, "seed")
        sampling(self, "temperature")
        Sampling(self.temperature, self.top_k, self.top_p)  # which checks them

    def __call__(self) -> None:
        """Talk until the end of input, or `quit`."""
        folder, where = trained(self.where), pick_device(self.device)
        model, tokenizer = load_checkpoint(folder, where)
        generator = torch.Generator(where).manual_seed(self.seed)
        how = Sampling(self.temperature, self.top_k, self.top_p)
        print(f"{folder}: pose a problem like 3 7 2 = 12; quit or Ctrl-D ends")
        converse(model, tokenizer, typed(), emit, self.max_new_tokens, sampling=how, generator=generator)


@dataclass(frozen=True)
class Report:
    """Write report.html into a run's folder: the table, the curves and the thoughts."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]  # the run's folder, such as runs/nano-0

    def __call__(self) -> None:
        """Write it and say where."""
        found = read_stages(self.run)
        print(table([stage.row for stage in found]), "", showcase(found), sep="\n")
        print(f"report: {write_report(self.run)}")


def trained(where: str) -> Path:
    """The folder with the weights that are meant: a checkpoint by name or folder, or the last stage of a run.

    Nothing means the newest run in `runs/` that has learnt to reason. Raises `RunError` or `CheckpointError`.
    """
    if where:
        stages = [Path(where) / stage for stage in ("r1", "zero", "base")]
        return next((folder for folder in stages if finished(folder)), None) or find(where)
    found = [folder for stage in ("r1", "zero") for folder in Path("runs").glob(f"*/{stage}") if finished(folder)]
    if not found:
        raise RunError("runs: no trained reasoner there; train one by minidsk reason, or name a checkpoint")
    return max(found, key=lambda folder: ((folder / "model.safetensors").stat().st_mtime, str(folder)))


def task_of(folder: Path) -> dict[str, Any]:
    """The problems that a checkpoint was trained on, as settings of `make_task`; empty where it does not say."""
    settings = (about(folder) if (folder / CONFIG).exists() else {}).get("settings", {})
    task = settings.get("task") or settings.get("web") or {}
    known = ("name", "numbers", "high", "target_high", "ops", "draw", "targets")
    return {name: task[name] for name in known if name in task}


def emit(text: str) -> None:
    """Print a piece of text at once."""
    print(text, end="", flush=True)


def typed() -> Iterator[str]:
    """Lines from the terminal, behind a prompt, or from a pipe."""
    while True:
        try:
            yield input("> " if sys.stdin.isatty() else "")
        except EOFError:
            return
