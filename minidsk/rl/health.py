"""When to stop a run that has gone bad, before it spoils what was saved."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from minidsk.rl.rollout import Rollouts
from minidsk.train.checkpoint import Run, RunError

PATIENCE = 3  # steps in a row whose gradients were not finite, before the run is given up


class Health:
    """Watches over the steps of one `run`; each method raises `RunError` where going on makes no sense.

    Steps whose gradients are not finite move nothing, and answers that could not be judged count for nothing: a few of
    either do no harm.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.skipped = 0

    def look_at_rewards(self, step: int, sampled: Rollouts) -> None:
        """Stop where half of the answers or more could not be judged."""
        faults = sampled.faults
        if 2 * len(faults) >= len(sampled.texts):
            raise self._stop(step, f"{len(faults)} of {len(sampled.texts)} answers could not be judged "
                                   f"({next(iter(faults.values()))}); mend the reward and run again")  # fmt: skip

    def look_at_gradient(self, step: int, norm: float) -> None:
        """Stop after `PATIENCE` steps in a row without a finite gradient."""
        self.skipped = 0 if math.isfinite(norm) else self.skipped + 1
        if self.skipped == PATIENCE:
            raise self._stop(step, f"gradients were not finite for {PATIENCE} steps in a row; lower lr or temperature")

    def look_at_weights(self, step: int, **models: nn.Module) -> None:
        """Stop where a weight is not finite; to be called before anything is saved."""
        for name, model in models.items():
            if not all(bool(p.isfinite().all()) for p in model.parameters()):
                raise self._stop(step, f"the {name} has weights that are not finite; lower lr")

    def save(self, step: int, **parts: Any) -> None:
        """Keep the state after `step` steps (see `Run.save_state`), if its weights are finite."""
        self.look_at_weights(step, **{name: part for name, part in parts.items() if isinstance(part, nn.Module)})
        self.run.save_state(step, **parts)

    def _stop(self, step: int, why: str) -> RunError:
        return RunError(f"{self.run.folder}: step {step}: {why}; what was saved before is as it was")
