"""Chapter 15: the arms of its experiment, as stages of a recipe, and what is measured after each.

`ch15_stages.py` runs the arms; `a` is its command line.
"""

from __future__ import annotations

import dataclasses
import re
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from ch14_cells import habits, held_out_loss, pretrained, recipe_of

from minidsk.data.corpus import TinyWebConfig
from minidsk.data.grammar import holds, parses
from minidsk.data.pages import letter_page
from minidsk.data.tokenizer import CharTokenizer
from minidsk.data.worksheet import worksheet
from minidsk.hub.folder import about
from minidsk.infer.evaluate import evaluate
from minidsk.rl.harvest import FILTERS, Harvest, Thoughts, readable
from minidsk.rl.language import language
from minidsk.rl.policy import MiniPolicy
from minidsk.rl.recipe import Recipe, run_stage
from minidsk.rl.stages import FineTuning, Pretraining, Reinforcement, Stage
from minidsk.scale.cost import forward_flops, training_flops
from minidsk.tasks import make_task
from minidsk.tasks.base import Problem, Task, stream, thought_of
from minidsk.tasks.countdown import Countdown, CountdownProblem
from minidsk.train.checkpoint import Run, read_metrics
from minidsk.train.sft import SFTConfig, read_examples

CURVES = ("accuracy", "language", "well_formed", "length", "both_languages", "groups_with_signal")
Row = dict[str, Any]
PAGE, LETTER = 64, 80  # tokens of the longest answer to a page, and of the longest letter
LETTERS = re.compile(
    r"(?:thank you for the (\d+) \w+\. I gave (\d+) away\.\nYours, \w+"
    r"|我看了 (\d+) 个题目，算对了 (\d+) 个。你再来看看。\n\w+)\s*"
)

# The rewards, by name. A weight of 0 has the language logged where it is not rewarded.
RIGHT = {"accuracy": 1.0, "language": 0.0}
FORM = {**RIGHT, "well_formed": 0.2}


@dataclass(frozen=True)
class Authors:
    """Curated thoughts, in the place of a harvest: by authors who try everything in turn and keep to English.

    They stand for the people who wrote or corrected the cold start of DeepSeek-R1 (section 2.3.1). What people write
    takes none of our operations.
    """

    count: int
    max_new_tokens: int  # the longest thought and answer, in tokens
    web: TinyWebConfig

    def gather(self, policy: Any, task: Any, seed: int) -> Harvest:
        """As `Thoughts.gather`; neither the policy nor the task is asked."""
        rng, tokenizer, examples, asked = stream("curated", seed), CharTokenizer(), [], 0
        web = dataclasses.replace(self.web, persistent=1.0, mixed=0.0, chinese=0.0)
        while len(examples) < self.count:
            first, newline, reply = worksheet(rng, web).partition("\n")
            problem, asked = Countdown.pose(first), asked + 1
            assert problem is not None
            if FILTERS["readable"](problem, reply) and len(tokenizer.encode(reply)) < self.max_new_tokens:
                examples.append((first + newline, reply))
        return Harvest(examples, asked, 0.0)


def settings_of(share: float, seed: int, a: Namespace) -> Recipe:
    """Nano with this share of searching authors, and the sizes that were asked for."""
    recipe = recipe_of(share, seed, a)
    web = dataclasses.replace(recipe.pretrain.web, mixed=a.mixed)
    return dataclasses.replace(recipe, pretrain=dataclasses.replace(recipe.pretrain, web=web))


def stages_of(recipe: Recipe, a: Namespace, budget: float = 0.0) -> dict[str, Stage]:
    """All arms by name, the most important first: each is the last stage of a way from the base.

    budget: operations that `sft_*` and `half_*` may spend, those of R1-Zero. A `half` spends one half of it on
    examples and the rest on reward; as many steps of reward as answers of the authors' length would allow.
    """
    authors = {name: Authors(count, a.tokens, recipe.pretrain.web) for name, count in
               (("few", a.curated), ("many", a.many))}  # fmt: skip
    own, kinds = Thoughts(a.curated, a.tokens), {recipe.task: 0.75, "pages": 0.25}
    kept = Thoughts(3 * a.curated, a.tokens)
    cold = dataclasses.replace(recipe.cold, steps=a.cold_steps, save_every=10**6)
    both = dataclasses.replace(cold, steps=a.rejection_steps)
    sft_steps, rl_steps = affordable(recipe, authors["few"], budget, a)

    def rl(name: str, origin: str, rewards: Mapping[str, float], steps: int = a.rl_steps, **more: Any) -> Stage:
        return Reinforcement(name, origin, dataclasses.replace(recipe.zero, rewards=rewards, steps=steps), **more)

    def sft(name: str, part: float, who: str) -> Stage:
        config = dataclasses.replace(cold, steps=max(round(part * sft_steps), 1))
        return FineTuning(name, "base", config, "base", authors[who])  # type: ignore[arg-type]

    everything = {**FORM, "language": 0.2}
    ways = [
        Pretraining("base", None, recipe.pretrain),
        rl("zero", "base", RIGHT),
        FineTuning("cold", "base", cold, "base", authors["few"]),  # type: ignore[arg-type]
        rl("cold_language", "cold", everything),
        FineTuning("rejection", "base", both, "cold_language", kept, pages=a.curated),
        rl("full", "rejection", everything, a.last_steps, kinds=kinds),
        rl("cold_right", "cold", RIGHT),
        rl("no_rejection", "cold_language", everything, a.last_steps, kinds=kinds),
        rl("zero_longer", "base", RIGHT, a.rl_steps + a.last_steps),
        rl("zero_language", "base", {**RIGHT, "language": 0.2}),
        FineTuning("cold_own", "base", cold, "zero", own),
        rl("own_language", "cold_own", everything),
        sft("sft_few", 1.0, "few"),
        sft("half_few_sft", 0.5, "few"),
        rl("half_few", "half_few_sft", RIGHT, max(round(rl_steps / 2), 1)),
        rl("cold_form", "cold", FORM),
        rl("cold_language_1", "cold", {**FORM, "language": 1.0}),
        FineTuning("bare", "base", both, "cold_language", kept),
        rl("bare_full", "bare", everything, a.last_steps, kinds=kinds),
        rl("zero_language_1", "base", {**RIGHT, "language": 1.0}),
        sft("sft_many", 1.0, "many"),
        sft("half_many_sft", 0.5, "many"),
        rl("half_many", "half_many_sft", RIGHT, max(round(rl_steps / 2), 1)),
        rl("own_right", "cold_own", RIGHT),
        FineTuning("own_rejection", "base", both, "own_language", kept, pages=a.curated),
        rl("own_full", "own_rejection", everything, a.last_steps, kinds=kinds),
    ]
    return {stage.name: stage for stage in ways}


BUDGETED = ("sft_few", "half_few_sft", "half_few", "sft_many", "half_many_sft", "half_many")


def needed(stage: Stage) -> set[str]:
    """The arms that must be finished before this one is begun."""
    return {*stage.parents.values(), *(("zero",) if stage.name in BUDGETED else ())}


def affordable(recipe: Recipe, authors: Authors, budget: float, a: Namespace) -> tuple[float, float]:
    """Steps of fine-tuning, and of reward, that `budget` operations pay for with texts of the authors' length."""
    tokenizer, model = CharTokenizer(), recipe.pretrain.model
    texts = [tokenizer.encode(prompt + reply) for prompt, reply in authors.gather(None, None, recipe.seed).examples]
    tokens, widest = mean(map(len, texts)) + 2, max(map(len, texts)) + 2  # with <bos> and <eos>
    learned = tokens * training_flops(model, widest / 2, mtp=False)
    sampled = tokens * forward_flops(model, widest / 2)
    return budget / (recipe.cold.batch * learned), budget / (a.prompts * a.group * (sampled + learned))


def spent(name: str, folder: Path) -> float:
    """The operations of a finished stage; none where it is the base, which all arms share."""
    return 0.0 if name == "base" else float(about(folder / name)["summary"]["flops"])


def ancestors(name: str, stages: Mapping[str, Stage]) -> set[str]:
    """The stages that were needed to make this one, itself among them."""
    return {name}.union(*(ancestors(parent, stages) for parent in stages[name].parents.values()))


def made(name: str, recipe: Recipe, a: Namespace, folder: Path, device: torch.device) -> tuple[MiniPolicy, Row]:
    """The policy of one arm, whose parents are finished in `folder`, and what was seen while it was made."""
    stages = stages_of(recipe, a, spent("zero", folder) if name in BUDGETED else 0.0)
    stage, steps = stages[name], {"steps": stages[name].config.steps}
    if isinstance(stage, Pretraining):
        run = Run(folder / name, name, stage.config)
        policy = MiniPolicy(pretrained(stage.config, device, [stage.config.steps])[stage.config.steps], CharTokenizer())
        run.finish(policy.save, flops=0.0)
        return policy, {**steps, "flops": 0.0, "total_flops": 0.0}
    policy = run_stage(stage, recipe, folder, device, progress=False)
    assert isinstance(policy, MiniPolicy)
    seen = {**steps, **stage.parents, "flops": spent(name, folder),
            "total_flops": sum(spent(each, folder) for each in ancestors(name, stages))}  # fmt: skip
    if isinstance(stage, FineTuning):
        assert isinstance(stage.config, SFTConfig)
        count = len(read_examples(folder / name / "examples.jsonl"))
        epochs = stage.config.steps * stage.config.batch / count
        return policy, {**seen, "examples": count, "pages_read": stage.pages, "epochs": round(epochs, 3)}
    lines = read_metrics(folder / name)
    curves = {each: [round(float(line.get(each, 0.0)), 3) for line in lines] for each in CURVES}
    return policy, {**seen, "curves": curves}


def manners(problems: Sequence[Problem], texts: Sequence[str]) -> dict[str, float]:
    """How readable thoughts are: shares of them in the language of the prompt alone, and well formed without a
    repetition too; of all their lines, shares that have a form which a reader can follow, and that are also true."""
    posed = list(zip(problems, texts, strict=True))
    lines = [(line, problem) for problem, text in posed for line in thought_of(text).splitlines()]
    read = [(line, problem) for line, problem in lines if parses(line)]
    true = [line for line, problem in read if isinstance(problem, CountdownProblem) and holds(line, problem.target)]
    found = {"one_language": mean(language(problem, text) == 1 for problem, text in posed),
             "language": mean(language(problem, text) for problem, text in posed),
             "readable": mean(readable(problem, text) for problem, text in posed),
             "lines_parse": len(read) / max(len(lines), 1), "lines_true": len(true) / max(len(lines), 1)}  # fmt: skip
    return {name: round(float(value), 4) for name, value in found.items()}


def answered(policy: MiniPolicy, task: Task, count: int, limit: int, **how: Any) -> tuple[Row, Sequence[str]]:
    """What a policy answers to the first `count` problems, in numbers and in words; greedily, unless told else."""
    result = evaluate(policy, task, count, limit, **how)
    posed = [task[i] for i in range(count)]
    length = mean(len(policy.tokenizer.encode(reply)) for reply in result.replies)
    row = {name: round(value, 4) for name, value in {**result.row(), "length": length}.items()}
    return {**row, **habits(posed, result.replies), **manners(posed, result.replies)}, result.replies


def letters(policy: MiniPolicy, recipe: Recipe, count: int) -> tuple[dict[str, float], list[tuple[str, str]]]:
    """Shares of sampled letters that have a letter's form, and that also give away no more than there was."""
    rng = stream("letters", recipe.seed)
    prompts = [letter_page(rng, recipe.pretrain.web).partition("\n")[0] + "\n" for _ in range(count)]
    generator = torch.Generator(policy.device).manual_seed(recipe.seed)
    texts = policy.sample(prompts, 1, LETTER, 1.0, generator).texts
    found = [[int(n) for n in match.groups() if n] for match in map(LETTERS.fullmatch, texts) if match]
    shares = {"letters": len(found) / count, "letters_true": sum(had >= gave for had, gave in found) / count}
    return {name: round(value, 4) for name, value in shares.items()}, list(zip(prompts, texts, strict=True))


def measured(policy: MiniPolicy, recipe: Recipe, a: Namespace) -> dict[str, Any]:
    """A row's figures: problems greedily and in samples, pages of three kinds, and losses on pages nobody read."""
    task, generator = recipe.make_task("test"), torch.Generator(policy.device).manual_seed(recipe.seed)
    row, replies = answered(policy, task, a.problems, a.tokens)
    row["sampled"], _ = answered(policy, task, a.sampled, a.tokens, temperature=1.0, generator=generator)
    other = make_task(**{**recipe.problem, "name": "pages"}, split="test", seed=recipe.seed)
    pages = evaluate(policy, other, a.pages, PAGE)
    right = [other[i].score(reply) for i, reply in enumerate(pages.replies)]
    row |= {"pages": round(pages.accuracy, 4), "lists": round(mean(right[::2]), 4), "rows": round(mean(right[1::2]), 4),
            "pages_formed": round(pages.well_formed, 4)}  # fmt: skip
    shares, written = letters(policy, recipe, a.letters)
    without = dataclasses.replace(recipe.pretrain.web, worksheets=0.0)
    losses = {"loss": recipe.pretrain, "loss_pages": dataclasses.replace(recipe.pretrain, web=without)}
    row |= shares | {name: round(held_out_loss(policy.model, config), 4) for name, config in losses.items()}
    if recipe.seed == min(a.seeds):  # some of what it wrote, for readers
        row["shown"] = [*shown(task, replies), *shown(other, pages.replies), *written[:3]]
    return row


def shown(task: Task, replies: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The first problems and what was said to them."""
    return ((task[i].prompt, replies[i]) for i in range(min(4, len(replies))))
