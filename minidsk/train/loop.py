"""The one training loop: steps, resuming, logging, states, guards. What a step does, its caller says.

One process does all of it today. Where several train together, they differ in four places, all here or in `Optimizer`:
who logs and shows the bar, who saves, which data a step reads, and sums over ranks before the weights move.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from minidsk.train.checkpoint import Run, RunError
from minidsk.train.optim import Optimizer

PATIENCE = 3  # steps in a row whose gradients were not finite, before the run is given up

Figures = Mapping[str, "Tensor | float | str"]
Loss = Callable[..., tuple[Tensor, dict[str, Tensor]]]


def fit(
    run: Run | None,
    steps: int,
    update: Callable[[int], Figures],
    parts: Mapping[str, Any],
    *,
    save_every: int = 1,
    log_every: int = 1,
    description: str = "",
    progress: bool = True,
    show: Callable[[Mapping[str, Any]], Mapping[str, str]] = lambda figures: {},
) -> list[dict[str, Any]]:
    """Call `update(step)` for every step that `run` has not done, from 0; the figures of those that were logged.

    `parts`: by name, everything with a `state_dict` that a resumed run needs; states are saved every `save_every`
    steps, and a run that was interrupted goes on from the last one. Without a `run` nothing is kept on disk. `show`
    picks figures for the progress bar. Raises `RunError` where going on makes no sense: where a figure called
    `grad_norm`, or `..._grad_norm`, was not finite three times in a row, or a weight is not.
    """
    start, skipped, history = run.load_state(**parts) if run else 0, 0, []
    with tqdm(total=steps, initial=start, desc=description, unit="step", disable=not progress) as bar:
        for step in range(start, steps):
            figures = update(step)
            done = step + 1
            if done % log_every == 0 or done == steps:
                plain = {name: float(v) if isinstance(v, Tensor) else v for name, v in figures.items()}
                history.append(plain)
                if run:
                    run.log(step=done, seconds=round(run.seconds, 2), **plain)
                bar.set_postfix(show(plain))
                norms = [float(value) for name, value in plain.items() if name.endswith("grad_norm")]
                skipped = 0 if all(map(math.isfinite, norms)) else skipped + 1
                if skipped == PATIENCE:
                    raise stopped(run, done, f"gradients were not finite {PATIENCE} times in a row; lower lr")
            if run and done % save_every == 0 and done < steps:
                check_weights(run, done, parts)
                run.save_state(done, **parts)
            bar.update()
    check_weights(run, steps, parts)
    return history


def check_weights(run: Run | None, step: int, parts: Mapping[str, Any]) -> None:
    """Raise `RunError` where a model among the parts has a weight that is not finite."""
    for name, part in parts.items():
        if isinstance(part, nn.Module) and not all(bool(p.isfinite().all()) for p in part.parameters()):
            raise stopped(run, step, f"the {name} has weights that are not finite; lower lr")


def stopped(run: Run | None, step: int, why: str) -> RunError:
    """The error of a run that ends early."""
    return RunError(f"{run.folder}: step {step}: {why}; what was saved before stays" if run else f"step {step}: {why}")


def gradients(loss: Loss, *batch: Tensor) -> dict[str, Tensor]:
    """Add the gradients of `loss` of this batch to what is there; the loss and its statistics.

    `loss` maps a batch, or the numbers of some of its rows, to their share of the whole loss, and of whatever else is
    of interest.
    """
    value, stats = loss(*batch)
    value.backward()
    return {"loss": value.detach(), **stats}


class Slices:
    """Gradients from more rows than fit at once: a slice after the other, at most `rows` in each.

    Where the memory does not suffice, the slices are halved for good, and the step begins again.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def step(
        self,
        optimizer: Optimizer,
        numbers: Tensor,
        loss: Loss,
        compute: Callable[[Loss, Tensor], dict[str, Tensor]] = gradients,
    ) -> dict[str, Tensor]:
        """One step from the rows with these numbers ``[n]``: the sums over slices, `loss` among them, and `grad_norm`.

        `loss` maps the numbers of some rows ``[n]`` to what `gradients` says, or is what `compute` makes of it.
        """
        while True:
            try:
                sums: dict[str, Tensor] = {}
                for part in numbers.split(self.rows):
                    for name, figure in compute(loss, part).items():
                        sums[name] = sums[name] + figure if name in sums else figure
                return {**sums, "grad_norm": optimizer.step()}
            except torch.OutOfMemoryError:
                if self.rows == 1:
                    raise
                optimizer.zero_grad()
                self.rows = max(min(self.rows, len(numbers)) // 2, 1)
                tqdm.write(f"out of memory: {self.rows} rows at a time from here on")
            torch.cuda.empty_cache()
