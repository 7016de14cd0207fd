"""From random weights to a reasoner: pretrain, R1-Zero, cold start, R1 (DeepSeek-R1, arXiv:2501.12948, in small).

Each stage is a run folder; a stage that is finished is not done again, one that was interrupted goes on.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from minidsk.data.corpus import TinyWebConfig
from minidsk.data.tokenizer import CharTokenizer, Tokenizer
from minidsk.infer.evaluate import evaluate, thought_of
from minidsk.infer.generate import complete
from minidsk.model.config import ModelConfig
from minidsk.model.transformer import MiniDeepSeek
from minidsk.rl.loop import RLConfig, reinforce
from minidsk.rl.rewards import language
from minidsk.settings import AT_ONCE, LAST_SEED, within
from minidsk.tasks.countdown import Countdown
from minidsk.train.checkpoint import Run, RunError, as_plain, atomic, load_checkpoint, read_evaluation, read_json
from minidsk.train.device import pick_device, suited_threads
from minidsk.train.pretrain import PretrainConfig, pretrain
from minidsk.train.sft import Example, SFTConfig, fine_tune, read_examples

STAGES = ("base", "zero", "cold", "r1")
TITLES = {"base": "base", "zero": "R1-Zero", "cold": "cold start", "r1": "R1"}
FIELDS = {"base": "pretrain", "zero": "zero", "cold": "cold", "r1": "r1"}  # where a stage's settings are in a `Recipe`


@dataclass(frozen=True)
class Recipe:
    """All stages of one run; `seed` replaces the seeds of the stages.

    The task's problems are those of the worksheets on the web (`pretrain.web`). Raises `ValueError` for a field that
    does not fit, and where no problem can be held out.
    """

    name: str  # the recipe's name, kept with its runs
    pretrain: PretrainConfig
    zero: RLConfig
    cold: SFTConfig
    r1: RLConfig
    cold_examples: int = 512  # thoughts of R1-Zero's own from which the cold start learns
    problems: int = 512  # held-out problems that are posed after each stage
    max_new_tokens: int = 160  # the longest reply to one of them, in tokens
    seed: int = 0  # of every stage: weights, data and sampling

    def __post_init__(self) -> None:
        within(self, 1, 100_000, "problems", "cold_examples")
        within(self, 1, AT_ONCE, "max_new_tokens")
        within(self, 0, LAST_SEED, "seed")
        self.task("test")

    def seeded(self, seed: int) -> Recipe:
        """The same recipe with this seed in every stage."""
        stages = {name: dataclasses.replace(getattr(self, name), seed=seed) for name in FIELDS.values()}
        return dataclasses.replace(self, seed=seed, **stages)

    def task(self, split: str) -> Countdown:
        """The problems of this recipe, of one split."""
        return Countdown(split=split, seed=self.seed, **self.problem)

    @property
    def problem(self) -> dict[str, Any]:
        """What the problems are like: the settings of `Countdown` that the web's worksheets share."""
        web = self.pretrain.web
        return {"numbers": web.numbers, "high": web.high, "ops": web.ops, "target_high": web.target_high}


def reason(
    recipe: Recipe,
    folder: str | Path,
    *,
    device: str = "auto",
    progress: bool = True,
    announce: Callable[[str], None] = lambda line: None,
) -> list[dict[str, Any]]:
    """Run every stage of `recipe` in ``folder/<stage>`` and evaluate after each; one row of figures a stage."""
    folder, where = Path(folder), pick_device(device)
    rows: list[dict[str, Any]] = []
    for number, stage in enumerate(STAGES, start=1):
        announce(f"[{number}/{len(STAGES)}] {TITLES[stage]}, {getattr(recipe, FIELDS[stage]).steps} steps")
        rows.append(finish_stage(stage, recipe, folder, where, progress))
        announce("      accuracy {accuracy:.1%}, thoughts of {thought:.0f} characters".format(**rows[-1]))
        if stage == "zero":  # the stages that are left take no longer a step than this one
            pace = rows[-1]["seconds"] / recipe.zero.steps
            announce(f"      about {pace * (recipe.r1.steps + recipe.cold.steps / 4):.0f} s to go at this pace")
    return rows


def finish_stage(
    stage: str, recipe: Recipe, folder: Path, device: torch.device, progress: bool = True
) -> dict[str, Any]:
    """Do what is left of one stage and evaluate it: its row of figures."""
    return evaluate_stage(stage, recipe, folder, *run_stage(stage, recipe, folder, device, progress))


def run_stage(
    stage: str, recipe: Recipe, folder: Path, device: torch.device, progress: bool = True
) -> tuple[MiniDeepSeek, Tokenizer]:
    """Do one stage, or what is left of it; the ones before it must be finished."""
    if stage == "base":
        pretrain(recipe.pretrain, folder / "base", device=str(device), progress=progress)
        return load_checkpoint(folder / "base", device)
    # Zero and the cold start both begin at the base, as DeepSeek's did; R1 goes on from the cold start.
    origin = folder / ("cold" if stage == "r1" else "base")
    if not (folder / stage / "config.json").exists():
        load_checkpoint(origin)  # before a folder is made: without an origin there is nothing to do
    config = getattr(recipe, stage)
    settings = {"recipe": recipe.name, "seed": recipe.seed, "task": recipe.problem}
    run = Run(folder / stage, stage, {**settings, "config": dataclasses.asdict(config)})
    if run.finished:
        return load_checkpoint(folder / stage, device)
    model, tokenizer = load_checkpoint(origin, device)
    bar: dict[str, Any] = {"description": TITLES[stage], "progress": progress}
    if stage == "cold":
        fine_tune(model, tokenizer, _cold_start(recipe, folder, device), config, run, **bar)
    else:
        reinforce(model, tokenizer, recipe.task("train"), config, run, **bar)
    return model, tokenizer


def evaluate_stage(
    stage: str, recipe: Recipe, folder: Path, model: MiniDeepSeek, tokenizer: Tokenizer
) -> dict[str, Any]:
    """Greedy answers to the held-out problems: the row of figures, and `evaluation.json` with the replies."""
    path = folder / stage / "evaluation.json"
    asked = as_plain({"task": recipe.problem, "seed": recipe.seed, "problems": recipe.problems,
                      "max_new_tokens": recipe.max_new_tokens})  # fmt: skip
    earlier = read_evaluation(path.parent) if path.exists() else {}
    if earlier.get("asked") == asked:
        return dict(earlier["row"])
    task = recipe.task("test")
    with suited_threads(model):
        result = evaluate(model, tokenizer, task, recipe.problems, recipe.max_new_tokens)
    posed = [task[i] for i in range(recipe.problems)]
    pure = sum(language(problem, reply) == 1 for problem, reply in zip(posed, result.replies, strict=True))
    summary = read_json(folder / stage / "config.json")["minidsk"]["summary"]
    row = {"stage": stage, **result.row(), "one_language": pure / recipe.problems, **summary}
    replies = [
        {"prompt": p.prompt, "reply": r, "score": p.score(r)} for p, r in zip(posed, result.replies, strict=True)
    ]
    with atomic(path) as temporary:
        content = {"asked": asked, "row": row, "replies": replies}
        temporary.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return row


def _cold_start(recipe: Recipe, folder: Path, device: torch.device) -> list[Example]:
    """R1-Zero's own answers, the right and readable ones; kept in `examples.jsonl`."""
    path = folder / "cold" / "examples.jsonl"
    if not path.exists():
        model, tokenizer = load_checkpoint(folder / "zero", device)
        task, wanted = recipe.task("train"), recipe.cold_examples
        with suited_threads(model):
            examples = harvest(model, tokenizer, task, wanted, recipe.max_new_tokens, recipe.seed)
        with atomic(path) as temporary:
            lines = [json.dumps({"prompt": p, "completion": c}, ensure_ascii=False) + "\n" for p, c in examples]
            temporary.write_text("".join(lines), encoding="utf-8")
    return read_examples(path)


def harvest(
    model: MiniDeepSeek, tokenizer: Tokenizer, task: Countdown, wanted: int, max_new_tokens: int, seed: int
) -> list[Example]:
    """Sampled answers that are right, well formed, in the language of the prompt, and try nothing twice.

    DeepSeek-R1 (section 2.3.1) gathered such thoughts from R1-Zero and had people make them readable; here a filter
    does. Stops after 20 samples for each example wanted; raises `RunError` when nothing was found.
    """
    examples: list[Example] = []
    generator = torch.Generator(model.device).manual_seed(seed)
    start = 10**9  # far from the problems that reinforcement learning saw
    for chunk in range(20):
        posed = [task[start + chunk * wanted + i] for i in range(wanted)]
        prompts = [problem.prompt for problem in posed]
        replies = complete(model, tokenizer, prompts, max_new_tokens, temperature=1.0, generator=generator)
        for problem, reply in zip(posed, replies, strict=True):
            attempts = [line.partition("=")[0] for line in thought_of(reply).splitlines()]
            readable = (
                problem.well_formed(reply) and language(problem, reply) == 1 and len(set(attempts)) == len(attempts)
            )
            if readable and problem.score(reply) == 1:
                examples.append((problem.prompt, reply))
        if len(examples) >= wanted:
            break
    if not examples:
        raise RunError("cold start: R1-Zero gave no right and readable answer; train R1-Zero for longer")
    return examples[:wanted]


def nano() -> Recipe:
    """Three numbers up to 12, + and -, for two CPU cores."""
    model = ModelConfig(
        vocab_size=CharTokenizer().vocab_size, hidden_size=96, num_hidden_layers=3, num_attention_heads=4,
        kv_lora_rank=32, qk_nope_head_dim=16, qk_rope_head_dim=16, v_head_dim=32, intermediate_size=256,
        moe_intermediate_size=64, n_routed_experts=4, num_experts_per_tok=2, initializer_range=0.05,
        # Fast rotations: documents are short, and neighbours have to be told apart.
        rope_theta=100.0,
    )  # fmt: skip
    web = TinyWebConfig(
        numbers=(3,), high=12, target_high=20, ops="+-", worksheets=0.75, target_beside=True, chinese=0.2
    )
    rl = RLConfig(prompts=16, group=16, max_new_tokens=160, lr=6e-4, rows=64)
    return Recipe(
        "nano",
        # Small batches: at a fixed number of tokens, more steps taught the base more.
        PretrainConfig(model, web, steps=3000, batch=8, context=160, lr=4e-3, warmup=60, isolate=True),
        zero=dataclasses.replace(rl, steps=64),
        cold=SFTConfig(steps=20),
        r1=dataclasses.replace(rl, steps=12, rewards={"accuracy": 1.0, "language": 0.2}),
        cold_examples=256,
    )


def small() -> Recipe:
    """Three numbers up to 20, + - * /, for one GPU."""
    model = ModelConfig(
        vocab_size=CharTokenizer().vocab_size, hidden_size=256, num_hidden_layers=6, num_attention_heads=4,
        kv_lora_rank=64, qk_nope_head_dim=48, qk_rope_head_dim=16, v_head_dim=64, intermediate_size=768,
        moe_intermediate_size=192, n_routed_experts=8, num_experts_per_tok=2, initializer_range=0.03,
        num_nextn_predict_layers=1,
    )  # fmt: skip
    web = TinyWebConfig(numbers=(3,), high=20, target_high=20, ops="+-*/", patience=24)
    rl = RLConfig(prompts=64, group=16, max_new_tokens=448, rows=1024, lr=3e-4)
    return Recipe(
        "small",
        PretrainConfig(model, web, steps=2200, batch=112, context=448, lr=2e-3, warmup=100, compile=True),
        zero=dataclasses.replace(rl, steps=30),
        cold=SFTConfig(steps=30, batch=256, lr=3e-4),
        r1=dataclasses.replace(rl, steps=20, rewards={"accuracy": 1.0, "language": 0.2}),
        cold_examples=2048,
        problems=1024,
        max_new_tokens=448,
    )


PRESETS: dict[str, Callable[[], Recipe]] = {"nano": nano, "small": small}
