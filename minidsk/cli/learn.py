"""The commands that train: the whole recipe, and its stages one by one."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from minidsk.cli.use import task_of, trained
from minidsk.data.harvest import Harvest
from minidsk.data.packing import PackedPages
from minidsk.data.tokenizer import CharTokenizer
from minidsk.hub.folder import sha256
from minidsk.presets import PRESETS
from minidsk.report.page import write_report
from minidsk.report.stages import read_stages, showcase, table
from minidsk.rl.policy import load_policy
from minidsk.rl.recipe import STAGES, Recipe, evaluate_stage, finish_stage, reason
from minidsk.train.checkpoint import Run, RunError, weights_of
from minidsk.train.device import pick_device
from minidsk.train.pretrain import PretrainConfig, pretrain, read_config
from minidsk.train.sft import SFTConfig, fine_tune, read_examples

Preset = Literal["auto", "nano", "small", "capstone"]
Flat = tyro.conf.arg(name="")
Settings = tyro.conf.AvoidSubcommands


@dataclass(frozen=True)
class Reason:
    """From random weights to a reasoner: pretraining, R1-Zero, cold start, R1; a table, thoughts and a report."""

    recipe: Annotated[Recipe, Flat, Settings]
    preset: Preset = "auto"  # auto is small with a GPU and nano without
    out: Path | None = None  # the run's folder; runs/PRESET-SEED where none is given
    until: Literal["base", "zero", "cold", "r1"] = "r1"  # the last stage to do
    device: str = "auto"  # auto, cpu or cuda

    def __call__(self) -> None:
        """Do every stage that is not done yet."""
        recipe, where = one_seed(self.recipe), pick_device(self.device)
        stages = recipe.stages[: 1 + list(STAGES).index(self.until)]
        folder = self.out or Path("runs") / f"{recipe.name}-{recipe.seed}"
        print(f"{folder}: the {recipe.name} recipe with seed {recipe.seed}, on {where}")
        rows = reason(recipe, folder, stages=stages, device=str(where), announce=print)
        print("", table(rows), "", showcase(read_stages(folder)), sep="\n")
        try:
            print(f"report: {write_report(folder)}")
        except RunError as error:  # the training is done, whatever keeps the page from being written
            print(f"no report yet: {error}")
        print(f"talk to it: minidsk chat {folder}")


@dataclass(frozen=True)
class Pretrain:
    """The base model: next-token prediction on the tiny web or on a harvest, from random weights."""

    pretrain: Annotated[PretrainConfig, Settings]
    out: Path  # the folder of this stage, such as runs/mine/base
    harvest: Path | None = None  # what to read in place of the tiny web: a folder of minidsk mine, or lines of JSON
    preset: Preset = "auto"  # auto is small with a GPU and nano without
    device: str = "auto"  # auto, cpu or cuda

    def __call__(self) -> None:
        """Train, or go on."""
        config, data = self.pretrain, None
        if self.harvest is not None:
            corpus = Harvest.read(self.harvest, piece=config.context, seed=config.seed)
            data = PackedPages(corpus, CharTokenizer(), config.batch, config.context, allow_special=False)
        pretrain(config, self.out, data=data, device=self.device)
        following = f"zero --run {self.out.parent}" if data is None else f"sample {self.out} --prompt 'Let p be'"
        print(f"{self.out}: done; next: minidsk {following}")


@dataclass(frozen=True)
class SFT:
    """Fine-tune a checkpoint on examples: lines of JSON with "prompt" and "completion"."""

    base: str  # a folder, a run or the name of a checkpoint
    data: Path  # the file of examples
    out: Path  # the folder of this stage
    sft: SFTConfig = dataclasses.field(default_factory=SFTConfig)
    device: str = "auto"  # auto, cpu or cuda

    def __call__(self) -> None:
        """Train, or go on."""
        origin, where = trained(self.base), pick_device(self.device)
        policy = load_policy(origin, where)
        examples = read_examples(self.data, policy.tokenizer, policy.model.config.max_position_embeddings)
        settings = {"task": task_of(origin), "config": dataclasses.asdict(self.sft)}
        run = Run(self.out, "sft", settings, base=weights_of(origin), data=sha256(self.data)[:16])
        if not run.finished:
            fine_tune(policy, examples, self.sft, run)
        print(f"{self.out}: done")


@dataclass(frozen=True)
class Zero:
    """R1-Zero: reward alone, from the base model in the run's folder."""

    recipe: Annotated[Recipe, Flat, Settings]
    run: Path  # the run's folder, with a finished base in it
    preset: Preset = "auto"  # auto is the one whose model the base has
    device: str = "auto"  # auto, cpu or cuda

    def __call__(self) -> None:
        """Train, or go on."""
        do_stages(one_seed(self.recipe), self.run, ("zero",), self.device)


@dataclass(frozen=True)
class R1:
    """R1: a cold start from R1-Zero's readable thoughts, then reward for right answers in one language."""

    recipe: Annotated[Recipe, Flat, Settings]
    run: Path  # the run's folder, with a finished base and a finished zero in it
    preset: Preset = "auto"  # auto is the one whose model the base has
    device: str = "auto"  # auto, cpu or cuda

    def __call__(self) -> None:
        """Train, or go on."""
        do_stages(one_seed(self.recipe), self.run, ("cold", "r1"), self.device)


def default_recipe(preset: str = "auto", device: str = "auto", run: str | None = None) -> Recipe:
    """The settings that a command starts from: those of a preset, or what fits the base model in `run`.

    Raises `ValueError` where the preset is not known, or no preset fits the base.
    """
    if preset != "auto" and preset not in PRESETS:
        raise ValueError(f"preset: {preset!r} is not known; give auto, {', '.join(PRESETS)}")
    if run is None:
        name = "small" if pick_device(device).type == "cuda" else "nano"
        return PRESETS[name if preset == "auto" else preset]()
    base = read_config(Path(run) / "base")
    fitting = [name for name, make in PRESETS.items() if preset == name or make().pretrain.model == base.model]
    if not fitting:
        raise ValueError(f"{run}: its base is of no preset's size; give --preset with one of {', '.join(PRESETS)}")
    recipe = PRESETS[preset if preset != "auto" else fitting[0]]()
    return dataclasses.replace(recipe, pretrain=base).seeded(base.seed)


def one_seed(recipe: Recipe) -> Recipe:
    """The recipe with its seed in every stage; `ValueError` where a stage was given another one."""
    seeds = {getattr(recipe, field).seed for field in STAGES.values()}
    if len(seeds) > 1:
        raise ValueError("seed: one seed serves all stages; give --seed, not that of one stage")
    return recipe.seeded(recipe.seed)


def do_stages(recipe: Recipe, folder: Path, own: tuple[str, ...], device: str) -> None:
    """Do the stages `own` of a run whose earlier stages are there, evaluate, and print the table."""
    where = pick_device(device)
    rows = []
    for stage in list(STAGES)[: list(STAGES).index(own[-1]) + 1]:
        if stage in own:
            rows.append(finish_stage(stage, recipe, folder, where))
        elif stage == "base" or (folder / stage).exists():
            rows.append(evaluate_stage(stage, recipe, folder, load_policy(folder / stage, where)))
    print("", table(rows), "", f"the whole report: minidsk report {folder}", sep="\n")
