"""A step of GRPO: rollouts, rewards, one update; beside TRL's trainer on the same checkpoint and the same problems."""

from __future__ import annotations

import importlib
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import mean, median
from typing import Any

import torch

from minidsk.bench.contest import FAILURES, against_best, failed, settle, summary
from minidsk.bench.plan import Plan
from minidsk.bench.subject import transformers
from minidsk.data.tokenizer import Tokenizer
from minidsk.hub.zoo import find
from minidsk.kernels.bench.case import release
from minidsk.presets import nano
from minidsk.results import MissingRecord, read
from minidsk.rl.config import RLConfig
from minidsk.rl.grpo import group_advantages
from minidsk.rl.policy import load_policy
from minidsk.rl.rollout import Sampler
from minidsk.rl.update import update
from minidsk.train.device import threads_for
from minidsk.train.graph import GraphedGradients
from minidsk.train.loop import Slices
from minidsk.train.optim import OptimConfig, Optimizer

BASE = "nano-base"
RECORD = "ch12_trl_speed"
WARM_UP, ROUNDS = 4, 6


def step(plan: Plan, axes: tuple[str, ...], device: torch.device) -> Iterator[Step]:
    """One point: a step of the plan's problems and answers."""
    if "batch" in axes:
        config = RLConfig(steps=WARM_UP + ROUNDS, prompts=plan.problems, group=plan.group, max_new_tokens=plan.answer,
                          rows=512, kernels="triton" if device.type == "cuda" else "torch", graph=True,
                          optim=OptimConfig(lr=6e-4, decay=0.3, betas=(0.9, 0.99)))  # fmt: skip
        yield Step(config)


@dataclass(frozen=True)
class Step:
    """A step of `config` by ours and by TRL, which take turns: ours begins where TRL's has ended."""

    config: RLConfig

    @property
    def setting(self) -> str:
        """Its sizes in words."""
        c = self.config
        return f"{c.prompts} problems, {c.group} answers to each, at most {c.max_new_tokens} tokens, {BASE}"

    def measure(self, device: torch.device) -> dict[str, Any]:
        """One entry of `metrics.json`; where TRL cannot run, its reason, and what was recorded elsewhere."""
        start, ours = time.perf_counter(), Ours(self.config, device)
        theirs: list[float] = []
        found: dict[str, Any] = {"ours": {}}
        try:
            run_trl(self.config, device, theirs, ours)
            found["TRL"] = summary(theirs[WARM_UP:], mean(ours.tokens[WARM_UP:]))
        except FAILURES as error:
            found["TRL"] = failed(error)
            release(device)
        while len(ours.sampling) < self.config.steps:
            ours()
        tokens = mean(ours.tokens[WARM_UP:])
        parts = {"sampling": ours.sampling[WARM_UP:], "update": ours.updating[WARM_UP:]}
        found["ours"] = summary([sum(pair) for pair in zip(*parts.values(), strict=True)], tokens)
        record = recorded()
        return {
            "bench": "step", "axis": "batch", "value": self.config.prompts * self.config.group, "setting": self.setting,
            "tokens": tokens, "bytes": 0.0, "contestants": found, **against_best(found), "parts": parts,
            "recorded": record,
            "notes": [", ".join(f"{name} {median(taken):.4f} s" for name, taken in parts.items()), *said(record)],
            "seconds": time.perf_counter() - start,
        }  # fmt: skip


class Ours:
    """Steps of ours, as `reinforce` takes them; what each took, in seconds, and how many tokens were sampled."""

    def __init__(self, config: RLConfig, device: torch.device) -> None:
        self.config, self.device = config, device
        self.policy = load_policy(BASE, device)
        self.policy.use(config.kernels)
        self.sampler = Sampler(self.policy, nano().make_task("train"), config)
        self.optimizer, self.slices = Optimizer(self.policy.model, config.optim, config.steps), Slices(config.rows)
        self.graphed = GraphedGradients(self.policy.model) if config.graph else None
        self.sampling: list[float] = []
        self.updating: list[float] = []
        self.tokens: list[int] = []

    def __call__(self) -> None:
        """One step."""
        settle(self.device)
        start = time.perf_counter()
        with threads_for(self.device, self.policy.width):
            self.optimizer.schedule(len(self.sampling))
            rollouts = self.sampler(len(self.sampling)).rollouts
            settle(self.device)
            middle = time.perf_counter()
            advantages = group_advantages(rollouts.rewards, self.config.scale).flatten()
            update(self.policy, self.optimizer, self.slices, rollouts, advantages, self.config,
                   graphed=self.graphed)
            settle(self.device)
        self.sampling.append(middle - start)
        self.updating.append(time.perf_counter() - middle)
        self.tokens.append(int(rollouts.completions.mask.sum()))


def run_trl(config: RLConfig, device: torch.device, seconds: list[float], between: Ours) -> None:
    """`config.steps` steps of TRL's trainer, each of which adds to `seconds`; after each, `between` takes its turn.

    Raises `ImportError` where TRL, or what it needs, is not installed.
    """
    library = transformers()
    trl, datasets = importlib.import_module("trl"), importlib.import_module("datasets")
    task, ours, folder = nano().make_task("train"), between.policy.tokenizer, find(BASE)

    def accuracy(completion_ids: list[list[int]], number: list[int], **_: Any) -> list[float]:
        return [task[i].score(until_end(ids, ours)) for i, ids in zip(number, completion_ids, strict=True)]

    class Clock(library.TrainerCallback):  # type: ignore[misc, name-defined]
        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            settle(device)
            self.start = time.perf_counter()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            settle(device)
            seconds.append(time.perf_counter() - self.start)
            between()

    posed = [{"prompt": task[i].prompt, "number": i} for i in range(config.steps * config.prompts)]
    model = library.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).to(device)
    model.generation_config.eos_token_id = ours.eos_id
    with tempfile.TemporaryDirectory() as out, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        settings = trl.GRPOConfig(
            out, per_device_train_batch_size=config.prompts * config.group, num_generations=config.group,
            gradient_accumulation_steps=1, max_completion_length=config.max_new_tokens, max_steps=config.steps,
            learning_rate=config.optim.lr, loss_type=config.loss_type, epsilon=config.clip_low,
            epsilon_high=config.clip_high, beta=0.0, scale_rewards=config.scale, temperature=1.0, top_p=1.0, top_k=0,
            max_grad_norm=config.optim.clip, shuffle_dataset=False, gradient_checkpointing=False,
            bf16=device.type == "cuda", use_cpu=device.type == "cpu", save_strategy="no", report_to=[],
            logging_strategy="no", disable_tqdm=True, seed=config.seed,
        )  # fmt: skip
        trainer = trl.GRPOTrainer(
            model=model, reward_funcs=accuracy, args=settings, train_dataset=datasets.Dataset.from_list(posed),
            processing_class=as_transformers(str(folder), ours), callbacks=[Clock()],
        )  # fmt: skip
        trainer.remove_callback(library.PrinterCallback)
        trainer.train()


def until_end(ids: list[int], tokenizer: Tokenizer) -> str:
    """The text of a completion before its `<eos>`, or all of it where there is none."""
    if tokenizer.eos_id in ids:
        ids = ids[: ids.index(tokenizer.eos_id)]
    return tokenizer.decode(ids)


def as_transformers(folder: str, tokenizer: Tokenizer) -> Any:
    """The tokenizer in `folder` as transformers has it, with `<bos>` before a text and no other mark of its own."""
    processors = importlib.import_module("tokenizers.processors")
    fast = transformers().PreTrainedTokenizerFast(
        tokenizer_file=f"{folder}/tokenizer.json", bos_token="<bos>", eos_token="<eos>", pad_token="<pad>",
        unk_token="<unk>", padding_side="left",
    )  # fmt: skip
    first = [("<bos>", tokenizer.bos_id)]
    fast.backend_tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=first)
    return fast


def recorded() -> dict[str, Any] | None:
    """What the record of the same comparison on another machine says, where this installation has it."""
    try:
        found, run = read(RECORD), read(RECORD, "run.json")
    except MissingRecord:
        return None
    ours, theirs = (median(row["step_seconds"]) for row in found["timed"])
    rollouts = found["settings"]["prompts"] * found["settings"]["group"]
    return {"record": RECORD, "ours": ours, "TRL": theirs, "ratio": theirs / ours, "rollouts": rollouts,
            "device": run["machine"]["gpus"][0], "date": run["date"]}  # fmt: skip


def said(record: dict[str, Any] | None) -> list[str]:
    """The record in one line."""
    if record is None:
        return []
    return ["recorded, not measured here (results/{record}, {device}, {date}, {rollouts} rollouts): ours {ours:.3f} s, "
            "TRL {TRL:.3f} s, {ratio:.1f} times".format(**record)]  # fmt: skip
