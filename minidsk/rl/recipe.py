"""From random weights to a reasoner: pretrain, R1-Zero, cold start, R1 (DeepSeek-R1, arXiv:2501.12948, in small).

Each stage is a run folder; a stage that is finished is not done again, one that was interrupted goes on. Stages are
data (see `stages`): a recipe has those of `reason` and those of R1 in full, and `reason` runs any other list too.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from minidsk.atomic import atomic
from minidsk.data.corpus import TinyWeb
from minidsk.hub.folder import about, sealed, sha256
from minidsk.hub.zoo import find, names
from minidsk.infer.evaluate import evaluate
from minidsk.rl.config import RLConfig
from minidsk.rl.distill import TeacherBaseline
from minidsk.rl.harvest import Thoughts, pages
from minidsk.rl.language import language
from minidsk.rl.loop import reinforce
from minidsk.rl.policy import Policy, load_policy
from minidsk.rl.stages import Distillation, FineTuning, Pretraining, Reinforcement, Stage
from minidsk.settings import AT_ONCE, LAST_SEED, within
from minidsk.tasks import make_task
from minidsk.tasks.base import Task
from minidsk.tasks.mixture import Mixture
from minidsk.train.checkpoint import Run, as_plain, load_checkpoint, weights_of
from minidsk.train.device import pick_device, threads_for
from minidsk.train.evaluation import read_evaluation
from minidsk.train.pretrain import PretrainConfig, pretrain
from minidsk.train.sft import Example, SFTConfig, fine_tune, read_examples

# The stages of `reason`, in order, and the field of `Recipe` with the settings of each.
STAGES = {"base": "pretrain", "zero": "zero", "cold": "cold", "r1": "r1"}
# What people call a stage, in the order in which a report shows them.
TITLES = {
    "base": "base", "zero": "R1-Zero", "cold": "cold start", "r1": "R1", "r1_reasoning": "R1, reasoning",
    "rejection": "rejection sampling", "r1_all": "R1, all kinds",
}  # fmt: skip


def title_of(name: str) -> str:
    """What people call a stage: its own name, where it is none of those that we know."""
    return TITLES.get(name, name)


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
    numbers: tuple[int, ...] = ()  # how many numbers one of them has; as on the web where this is empty
    max_new_tokens: int = 160  # the longest reply to one of them, in tokens
    seed: int = 0  # of every stage: weights, data and sampling

    def __post_init__(self) -> None:
        within(self, 1, 100_000, "problems", "cold_examples")
        within(self, 1, AT_ONCE, "max_new_tokens")
        within(self, 0, LAST_SEED, "seed")
        self.make_task("test")

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Zero and the cold start both begin at the base, as DeepSeek's did; R1 goes on from the cold start."""
        thoughts = Thoughts(self.cold_examples, self.max_new_tokens)
        return (
            Pretraining("base", None, self.pretrain),
            Reinforcement("zero", "base", self.zero),
            FineTuning("cold", "base", self.cold, "zero", thoughts),
            Reinforcement("r1", "cold", self.r1),
        )

    @property
    def r1_in_full(self) -> tuple[Stage, ...]:
        """R1 with all that DeepSeek-R1 (section 2.3) has: a reward for the form too, rejection sampling mixed with
        pages that need no thought, from the base again, and a second round of reward over all kinds of problems."""
        base, zero, cold, _ = self.stages
        reward = dataclasses.replace(self.r1, rewards={"accuracy": 1.0, "well_formed": 0.2, "language": 0.2})
        thoughts = Thoughts(3 * self.cold_examples, self.max_new_tokens)  # three of them to each page, as in R1
        return (
            base, zero, cold,
            Reinforcement("r1_reasoning", "cold", reward),
            FineTuning("rejection", "base", self.cold, "r1_reasoning", thoughts, pages=self.cold_examples),
            Reinforcement("r1_all", "rejection", reward, {self.task: 0.75, "pages": 0.25}),
        )  # fmt: skip

    def seeded(self, seed: int) -> Recipe:
        """The same recipe with this seed in every stage."""
        fields = {name: dataclasses.replace(getattr(self, name), seed=seed) for name in STAGES.values()}
        return dataclasses.replace(self, seed=seed, **fields)

    def make_task(self, split: str, kinds: Mapping[str, float] | None = None) -> Task:
        """The problems of this recipe, of one split; or a mixture of these kinds, each a task with its share."""
        if not kinds:
            return make_task(split=split, seed=self.seed, **(self.held_out if split == "test" else self.problem))
        tasks = [make_task(**{**self.problem, "name": kind}, split=split, seed=self.seed) for kind in kinds]
        return Mixture(tasks, list(kinds.values()))

    @property
    def problem(self) -> dict[str, Any]:
        """What the problems are like, as settings of `make_task`."""
        return {"name": self.task, **self.pretrain.web.problem}

    @property
    def held_out(self) -> dict[str, Any]:
        """What the problems are like that are posed after each stage."""
        return {**self.problem, "numbers": self.numbers} if self.numbers else self.problem


def reason(
    recipe: Recipe,
    folder: str | Path,
    *,
    stages: Sequence[Stage] | None = None,
    device: str = "auto",
    progress: bool = True,
    announce: Callable[[str], None] = lambda line: None,
) -> list[dict[str, Any]]:
    """Run the recipe's stages, or others, in ``folder/<stage>`` and evaluate after each; a row of figures per stage."""
    folder, where = Path(folder), pick_device(device)
    stages = recipe.stages if stages is None else stages
    rows: list[dict[str, Any]] = []
    for number, stage in enumerate(stages, start=1):
        announce(f"[{number}/{len(stages)}] {title_of(stage.name)}, {stage.config.steps} steps")
        rows.append(finish_stage(stage, recipe, folder, where, progress))
        announce("      accuracy {accuracy:.1%}, thoughts of {thought:.0f} characters".format(**rows[-1]))
        left = [later.config for later in stages[number:]]
        if stage.name == "zero" and left:  # the stages that are left take no longer a step than this one
            pace = rows[-1]["seconds"] / stage.config.steps
            steps = sum(config.steps / (4 if isinstance(config, SFTConfig) else 1) for config in left)
            announce(f"      about {pace * steps:.0f} s to go at this pace")
    return rows


def finish_stage(
    stage: Stage | str, recipe: Recipe, folder: Path, device: torch.device, progress: bool = True
) -> dict[str, Any]:
    """Do what is left of one stage and evaluate it: its row of figures."""
    name = stage if isinstance(stage, str) else stage.name
    return evaluate_stage(name, recipe, folder, run_stage(stage, recipe, folder, device, progress))


def run_stage(
    stage: Stage | str, recipe: Recipe, folder: Path, device: torch.device, progress: bool = True
) -> Policy:
    """Do one stage, one of the recipe's by its name, or what is left of it; its parents must be finished."""
    if isinstance(stage, str):
        [stage] = [each for each in recipe.stages if each.name == stage]
    if isinstance(stage, Pretraining):
        pretrain(stage.config, folder / stage.name, device=str(device), progress=progress)
        return load_policy(folder / stage.name, device)
    parents = {role: whereabouts(name, folder) for role, name in stage.parents.items()}
    # Before a folder is made: without what it begins with there is nothing to do.
    given = {f"weights_of_{role}": load_and_sum(parent) for role, parent in parents.items()}
    own = {name: value for name, value in dataclasses.asdict(stage).items() if name not in ("name", *parents)}
    settings = {"recipe": recipe.name, "seed": recipe.seed, "task": recipe.problem, **own}
    run = Run(folder / stage.name, stage.name, settings, **given)
    if run.finished:
        return load_policy(folder / stage.name, device)
    policy = load_policy(parents["origin"], device)
    bar: dict[str, Any] = {"description": title_of(stage.name), "progress": progress}
    if isinstance(stage, FineTuning):
        examples, spent = examples_of(stage, recipe, parents, device, run)
        fine_tune(policy, examples, stage.config, run, spent=spent, **bar)
    elif isinstance(stage, Distillation):
        teacher = load_policy(parents["teacher"], device)
        baseline = TeacherBaseline(teacher, policy, stage.gamma, stage.config.rows)
        reinforce(policy, recipe.make_task("train"), stage.config, run, baseline=baseline, **bar)
    elif isinstance(stage, Reinforcement):
        reinforce(policy, recipe.make_task("train", stage.kinds), stage.config, run, **bar)
    return policy


def whereabouts(name: str, folder: Path) -> Path:
    """The folder of a parent: a stage of the run in `folder`, or else one of our checkpoints, or a path."""
    elsewhere = not (folder / name).exists() and ("/" in name or name in names())
    return find(name) if elsewhere else folder / name


def load_and_sum(folder: Path) -> str:
    """The sum of a finished stage's weights (see `weights_of`), which are loaded to see that they are whole."""
    load_checkpoint(folder)
    return weights_of(folder)


def evaluate_stage(name: str, recipe: Recipe, folder: Path, policy: Policy) -> dict[str, Any]:
    """Greedy answers to the held-out problems: the row of figures, and `evaluation.json` with the replies."""
    path = folder / name / "evaluation.json"
    asked = as_plain({"task": recipe.held_out, "seed": recipe.seed, "problems": recipe.problems,
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


def examples_of(
    stage: FineTuning, recipe: Recipe, parents: Mapping[str, Path], device: torch.device, run: Run
) -> tuple[list[Example], float]:
    """The teacher's thoughts and the pages, kept in `examples.jsonl`, whose sum the run knows; and the operations that
    they took."""
    path, found = run.folder / "examples.jsonl", run.identity["given"]
    if not path.exists() or found.get("examples_file") != sha256(path)[:16]:
        examples, flops = [], 0.0
        if stage.thoughts:
            policy = load_policy(parents["teacher"], device)
            with threads_for(device, policy.width):
                harvested = stage.thoughts.gather(policy, recipe.make_task("train"), recipe.seed)
            examples, flops = harvested.examples, harvested.flops
        elsewhere = TinyWeb(dataclasses.replace(recipe.pretrain.web, worksheets=0.0), recipe.seed)
        examples = examples + pages(elsewhere, stage.pages)
        with atomic(path) as temporary:
            lines = [json.dumps({"prompt": p, "completion": c}, ensure_ascii=False) + "\n" for p, c in examples]
            temporary.write_text("".join(lines), encoding="utf-8")
        run.identify(examples_file=sha256(path)[:16], harvest_flops=repr(flops))
    return read_examples(path), float(found["harvest_flops"])
