"""From random weights to a reasoner: pretrain, R1-Zero, cold start, R1 (DeepSeek-R1, arXiv:2501.12948, in small).

Each stage is a run folder; a stage that is finished is not done again, one that was interrupted goes on.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from minidsk.atomic import atomic
from minidsk.hub.folder import about, sealed, sha256
from minidsk.infer.evaluate import evaluate
from minidsk.rl.config import RLConfig
from minidsk.rl.harvest import harvest
from minidsk.rl.language import language
from minidsk.rl.loop import reinforce
from minidsk.rl.policy import Policy, load_policy
from minidsk.settings import AT_ONCE, LAST_SEED, within
from minidsk.tasks import make_task
from minidsk.tasks.base import Task
from minidsk.train.checkpoint import Run, as_plain, load_checkpoint, weights_of
from minidsk.train.device import pick_device, threads_for
from minidsk.train.evaluation import read_evaluation
from minidsk.train.pretrain import PretrainConfig, pretrain
from minidsk.train.sft import Example, SFTConfig, fine_tune, read_examples


class Stage(NamedTuple):
    """A stage as data: its title, the field of `Recipe` with its settings, the stage whose weights it begins with, and
    the stage whose answers it learns from."""

    title: str
    field: str
    origin: str | None = None
    teacher: str | None = None


# Zero and the cold start both begin at the base, as DeepSeek's did; R1 goes on from the cold start.
STAGES = {
    "base": Stage("base", "pretrain"),
    "zero": Stage("R1-Zero", "zero", "base"),
    "cold": Stage("cold start", "cold", "base", teacher="zero"),
    "r1": Stage("R1", "r1", "cold"),
}


@dataclass(frozen=True)
class Recipe:
    """All stages of one run; `seed` replaces the seeds of the stages.

    The problems are of the task called `task`, and like those of the worksheets on the web (`pretrain.web`). Raises
    `ValueError` for a field that does not fit, and where no problem can be held out.
    """

    name: str  # the recipe's name, kept with its runs
    pretrain: PretrainConfig
    zero: RLConfig
    cold: SFTConfig
    r1: RLConfig
    task: str = "countdown"  # the task, by its name in TASKS
    cold_examples: int = 512  # thoughts of R1-Zero's own from which the cold start learns
    problems: int = 512  # held-out problems that are posed after each stage
    max_new_tokens: int = 160  # the longest reply to one of them, in tokens
    seed: int = 0  # of every stage: weights, data and sampling

    def __post_init__(self) -> None:
        within(self, 1, 100_000, "problems", "cold_examples")
        within(self, 1, AT_ONCE, "max_new_tokens")
        within(self, 0, LAST_SEED, "seed")
        self.make_task("test")

    def seeded(self, seed: int) -> Recipe:
        """The same recipe with this seed in every stage."""
        fields = [stage.field for stage in STAGES.values()]
        return dataclasses.replace(
            self, seed=seed, **{name: dataclasses.replace(getattr(self, name), seed=seed) for name in fields}
        )

    def make_task(self, split: str) -> Task:
        """The problems of this recipe, of one split."""
        return make_task(split=split, seed=self.seed, **self.problem)

    @property
    def problem(self) -> dict[str, Any]:
        """What the problems are like, as settings of `make_task`."""
        return {"name": self.task, **self.pretrain.web.problem}


def reason(
    recipe: Recipe,
    folder: str | Path,
    *,
    device: str = "auto",
    progress: bool = True,
    announce: Callable[[str], None] = lambda line: None,
) -> list[dict[str, Any]]:
    """Run every stage of `recipe` in ``folder/<stage>`` and evaluate after each; one row of figures per stage."""
    folder, where = Path(folder), pick_device(device)
    rows: list[dict[str, Any]] = []
    for number, (name, stage) in enumerate(STAGES.items(), start=1):
        announce(f"[{number}/{len(STAGES)}] {stage.title}, {getattr(recipe, stage.field).steps} steps")
        rows.append(finish_stage(name, recipe, folder, where, progress))
        announce("      accuracy {accuracy:.1%}, thoughts of {thought:.0f} characters".format(**rows[-1]))
        if name == "zero":  # the stages that are left take no longer a step than this one
            pace = rows[-1]["seconds"] / recipe.zero.steps
            announce(f"      about {pace * (recipe.r1.steps + recipe.cold.steps / 4):.0f} s to go at this pace")
    return rows


def finish_stage(
    name: str, recipe: Recipe, folder: Path, device: torch.device, progress: bool = True
) -> dict[str, Any]:
    """Do what is left of one stage and evaluate it: its row of figures."""
    return evaluate_stage(name, recipe, folder, run_stage(name, recipe, folder, device, progress))


def run_stage(name: str, recipe: Recipe, folder: Path, device: torch.device, progress: bool = True) -> Policy:
    """Do one stage, or what is left of it; the ones before it must be finished."""
    stage = STAGES[name]
    if stage.origin is None:
        pretrain(recipe.pretrain, folder / name, device=str(device), progress=progress)
        return load_policy(folder / name, device)
    # Before a folder is made: without what it begins with there is nothing to do.
    origins = {f"weights_of_{given}": load_and_sum(folder / given) for given in (stage.origin, stage.teacher) if given}
    config = getattr(recipe, stage.field)
    settings = {"recipe": recipe.name, "seed": recipe.seed, "task": recipe.problem}
    settings["config"] = dataclasses.asdict(config)
    if stage.teacher:
        settings["harvest"] = [recipe.cold_examples, recipe.max_new_tokens]
    run = Run(folder / name, name, settings, **origins)
    if run.finished:
        return load_policy(folder / name, device)
    policy = load_policy(folder / stage.origin, device)
    bar: dict[str, Any] = {"description": stage.title, "progress": progress}
    if isinstance(config, SFTConfig):
        fine_tune(policy, cold_start(recipe, folder, device, run), config, run, **bar)
    else:
        reinforce(policy, recipe.make_task("train"), config, run, **bar)
    return policy


def load_and_sum(folder: Path) -> str:
    """The sum of a finished stage's weights (see `weights_of`), which are loaded to see that they are whole."""
    load_checkpoint(folder)
    return weights_of(folder)


def evaluate_stage(name: str, recipe: Recipe, folder: Path, policy: Policy) -> dict[str, Any]:
    """Greedy answers to the held-out problems: the row of figures, and `evaluation.json` with the replies."""
    path = folder / name / "evaluation.json"
    asked = as_plain({"task": recipe.problem, "seed": recipe.seed, "problems": recipe.problems,
                      "max_new_tokens": recipe.max_new_tokens, "weights": weights_of(folder / name)})  # fmt: skip
    earlier = read_evaluation(path.parent) if path.exists() else {}
    if earlier.get("asked") == asked:
        return dict(earlier["row"])
    task = recipe.make_task("test")
    with threads_for(policy.device, policy.width):
        result = evaluate(policy, task, recipe.problems, recipe.max_new_tokens)
    posed = [task[i] for i in range(recipe.problems)]
    pure = sum(language(problem, reply) == 1 for problem, reply in zip(posed, result.replies, strict=True))
    summary = about(folder / name)["summary"]
    row = {"stage": name, **result.row(), "one_language": pure / recipe.problems, **summary}
    replies = [
        {"prompt": p.prompt, "reply": r, "score": p.score(r)} for p, r in zip(posed, result.replies, strict=True)
    ]
    with atomic(path) as temporary:
        content = sealed({"asked": asked, "row": row, "replies": replies})
        temporary.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return row


def cold_start(recipe: Recipe, folder: Path, device: torch.device, run: Run) -> list[Example]:
    """R1-Zero's own answers, the right and readable ones; kept in `examples.jsonl`, whose sum the run knows."""
    path = run.folder / "examples.jsonl"
    if not path.exists() or run.identity["given"].get("examples_file") != sha256(path)[:16]:
        policy = load_policy(folder / "zero", device)
        with threads_for(device, policy.width):
            task, wanted = recipe.make_task("train"), recipe.cold_examples
            examples = harvest(policy, task, wanted, recipe.max_new_tokens, recipe.seed)
        with atomic(path) as temporary:
            lines = [json.dumps({"prompt": p, "completion": c}, ensure_ascii=False) + "\n" for p, c in examples]
            temporary.write_text("".join(lines), encoding="utf-8")
        run.identify(examples_file=sha256(path)[:16])
    return read_examples(path)
