"""The first screen's time-lapse: what one run of the nano preset answers while reward alone teaches it.

    python tools/record.py time_lapse --seeds 0 -- python tools/experiments/time_lapse.py --seed 0

Pretrains the base and trains R1-Zero as `make reason` does, and every few steps lets the model answer the recipe's
held-out problems greedily. Writes `replies.json` to $MINIDSK_RESULT: for each moment the step, the share of right
answers, and the replies to the first problems that the split draws.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minidsk.atomic import atomic
from minidsk.infer.evaluate import evaluate
from minidsk.presets import nano
from minidsk.rl.loop import GroupBaseline, reinforce
from minidsk.rl.policy import MiniPolicy, load_policy
from minidsk.rl.recipe import Recipe, run_stage
from minidsk.rl.rollout import Rollouts
from minidsk.train.checkpoint import Run


class Watching(GroupBaseline):
    """GRPO's baseline; every `every` steps, before the model learns, it lets it answer the held-out problems."""

    def __init__(self, policy: MiniPolicy, recipe: Recipe, every: int, keep: int) -> None:
        super().__init__(recipe.zero.scale)
        self.policy, self.recipe, self.every, self.keep = policy, recipe, every, keep
        self.task, self.moments = recipe.make_task("test"), []  # type: ignore[var-annotated]

    def __call__(self, rollouts: Rollouts, step: int) -> tuple[Tensor, dict[str, Any]]:
        """As `GroupBaseline`, and a look."""
        if step % self.every == 0:
            self.look(step)
        return super().__call__(rollouts, step)

    def look(self, step: int) -> None:
        """Note what the model answers after `step` steps."""
        result = evaluate(self.policy, self.task, self.recipe.problems, self.recipe.max_new_tokens)
        texts = result.replies[: self.keep]
        replies = [{"reply": text, "score": self.task[number].score(text)} for number, text in enumerate(texts)]
        self.moments.append({"step": step, **result.row(), "replies": replies})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, default=4, help="steps between two looks")
    parser.add_argument("--keep", type=int, default=12, help="problems whose replies are kept")
    a = parser.parse_args()
    recipe, device = nano().seeded(a.seed), torch.device("cpu")
    with tempfile.TemporaryDirectory() as folder:
        run_stage("base", recipe, Path(folder), device)
        policy = load_policy(Path(folder) / "base", device)
        watching = Watching(policy, recipe, a.every, a.keep)
        run = Run(Path(folder) / "zero", "zero", {"seed": a.seed})
        reinforce(policy, recipe.make_task("train"), recipe.zero, run, baseline=watching)
        watching.look(recipe.zero.steps)
    prompts = [watching.task[number].prompt for number in range(a.keep)]
    said = {"preset": recipe.name, "task": recipe.problem, "problems": recipe.problems, "prompts": prompts,
            "moments": watching.moments}  # fmt: skip
    with atomic(Path(os.environ["MINIDSK_RESULT"]) / "replies.json") as path:
        path.write_text(json.dumps(said, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
