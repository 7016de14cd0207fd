"""The rollouts of each step: which problems, which answers, and which groups to keep."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch

from minidsk.data.tokenizer import Tokenizer
from minidsk.model.attention import MultiHeadLatentAttention
from minidsk.model.norm import RMSNorm
from minidsk.model.recording import Recorder
from minidsk.model.transformer import MiniDeepSeek
from minidsk.rl.config import PolicyConfig
from minidsk.rl.metrics import with_signal
from minidsk.rl.rewards import RewardFunction
from minidsk.rl.rollout import Rollouts, join, rollout
from minidsk.tasks.base import Task


@dataclass(frozen=True)
class Drawn:
    """The rollouts of a step, and what they took: `tries` batches of prompts, `tokens` of prompts and answers."""

    sampled: Rollouts
    tries: int
    tokens: int


def actor_of(model: MiniDeepSeek) -> MiniDeepSeek:
    """A copy of `model` to sample from on a GPU: in bf16, and with few kernels a token, for starting them takes long.

    Norms and rotations are one kernel each. Experts stay torch's: few rows go through all of them at once.
    """
    actor = copy.deepcopy(model).to(torch.bfloat16)
    for module in actor.modules():
        if isinstance(module, (RMSNorm, MultiHeadLatentAttention)):
            module.kernels = "triton"
    return actor


class Sampler:
    """Draws the rollouts of step after step from `model` as it then is.

    resample: how many more batches may be drawn to replace groups whose answers all have the same reward (the dynamic
    sampling of DAPO, arXiv:2503.14476, section 3.2, with a bound). Where they do not suffice, groups without signal
    fill the rest. reward: counts instead of the rewards that `config` names.
    """

    def __init__(
        self,
        model: MiniDeepSeek,
        tokenizer: Tokenizer,
        task: Task,
        config: PolicyConfig,
        resample: int = 0,
        reward: RewardFunction | None = None,
    ) -> None:
        self.model, self.tokenizer, self.task, self.config = model, tokenizer, task, config
        self.resample, self.reward, self.recorder = resample, reward, Recorder()
        self.actor = actor_of(model) if model.device.type == "cuda" else model

    def __call__(self, step: int) -> Drawn:
        """The rollouts of step number `step`; a run that was interrupted draws the same ones."""
        if self.actor is not self.model:
            self.actor.load_state_dict(self.model.state_dict())
        c = self.config
        generator = torch.Generator(self.model.device).manual_seed(c.seed * 1_000_003 + step)
        kept: list[Rollouts] = []
        tokens = full = tries = 0
        while full < c.prompts and tries <= self.resample:
            first = (step * (1 + self.resample) + tries) * c.prompts
            problems = [self.task[first + i] for i in range(c.prompts)]
            drawn = rollout(self.actor, self.tokenizer, problems, c.group, c.max_new_tokens, c.rewards,
                            temperature=c.temperature, generator=generator, reward=self.reward,
                            recorder=self.recorder)  # fmt: skip
            tries, tokens = tries + 1, tokens + int(drawn.valid.sum())
            if not self.resample:
                return Drawn(drawn, tries, tokens)
            signal = with_signal(drawn.rewards)
            kept.append(drawn.groups(signal.nonzero().squeeze(1)))
            full += int(signal.sum())
        # What the last batch has without signal fills up where the bound was reached.
        kept.append(drawn.groups((~signal).nonzero().squeeze(1)))
        first_ones = torch.arange(c.prompts, device=self.model.device)
        return Drawn(join(kept, self.tokenizer.pad_id).groups(first_ones), tries, tokens)
