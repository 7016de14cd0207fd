"""Distillation on the student's own answers: the student samples, the teacher grades each token.

A teacher's answers show a student where the teacher goes. The student's own answers show where the student goes wrong,
and a grade for each token says at which one (GKD, arXiv:2306.13649; Thinking Machines, On-Policy Distillation, 2025).
To the loop it is one more `Baseline`: what the teacher grades needs no verifier. For the other way, fine-tuning on a
teacher's answers, see `harvest` and `train.sft`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from minidsk.rl.completions import over_all
from minidsk.rl.policy import Policy
from minidsk.rl.ppo import gae, token_rewards
from minidsk.rl.rollout import Rollouts


class TeacherBaseline:
    """The advantage of a token is ``log teacher - log student``: how much likelier the teacher finds it.

    With `gamma` 0 it is the grade of that token alone, and an update follows the gradient of the sum over an answer's
    tokens of KL(student, teacher), each taken after the tokens that were sampled (the reverse KL of GKD). With `gamma`
    1 a token also answers for the grades of those after it, and the gradient is that of KL(student, teacher) of whole
    answers, with more noise. Rewards change nothing, and are logged.

    rows: completions that the teacher grades at a time. The teacher stays as it is. Raises `ValueError` where the two
    do not read text with the same tokens.
    """

    parts: Mapping[str, Any] = {}

    def __init__(self, teacher: Policy, student: Policy, gamma: float = 0.0, rows: int = 256) -> None:
        if vocabulary(teacher.tokenizer) != vocabulary(student.tokenizer):
            raise ValueError("teacher: its tokens are not the student's; distil from its texts, with sft")
        if not 0 <= gamma <= 1:
            raise ValueError(f"gamma: {gamma!r} does not fit; it must be from 0 to 1")
        self.teacher, self.gamma, self.rows = teacher, gamma, rows

    def __call__(self, rollouts: Rollouts, step: int) -> tuple[Tensor, dict[str, Any]]:
        """Advantages ``[N, T]``, and the distance from the teacher in nats: `reverse_kl` of a token, on average, and
        `reverse_kl_answer` of an answer; both by the tokens that were sampled."""
        completions = rollouts.completions
        teacher_logp = over_all(self.teacher.logprobs, completions, self.rows)
        # PPO's rewards of tokens, with the teacher as the reference, a price of 1 for leaving it, and no other reward.
        nothing = completions.logp.new_zeros(len(completions))
        grades = token_rewards(nothing, completions.logp, completions.mask, teacher_logp, 1.0)
        advantages, _ = gae(grades, torch.zeros_like(grades), completions.mask, self.gamma, 1.0)
        away = -float(grades.sum())  # padding has none
        figures = {"reverse_kl": away / int(completions.mask.sum()), "reverse_kl_answer": away / len(completions)}
        return advantages, {**figures, "flops": self.teacher.flops(completions)}


def vocabulary(tokenizer: Any) -> Any:
    """What tells two tokenizers apart: the fingerprint of one of ours, the tokens and their ids of another."""
    return tokenizer.fingerprint if hasattr(tokenizer, "fingerprint") else tokenizer.get_vocab()
