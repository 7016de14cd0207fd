"""Several tasks as one: learning from reward over all kinds of problems at once (DeepSeek-R1, section 2.3.4)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from minidsk.tasks.base import Problem, Task, stream


class Mixture(Task):
    """Each problem is of one of `tasks`, drawn in proportion to `shares`; problem i is that task's own number i.

    Raises `ValueError` for shares that are not one positive number for each task.
    """

    def __init__(self, tasks: Sequence[Task], shares: Sequence[float]) -> None:
        if not tasks or len(tasks) != len(shares) or not all(0 < share < math.inf for share in shares):
            raise ValueError(f"shares: {list(shares)} do not fit; give a number above 0 for each of {len(tasks)} tasks")
        self.tasks, self.shares = list(tasks), [share / sum(shares) for share in shares]
        self.split, self.seed = tasks[0].split, tasks[0].seed

    def __getitem__(self, i: int) -> Problem:
        """Problem number i >= 0; a negative i raises IndexError."""
        [task] = stream("mixture", self.split, self.seed, i, *self.shares).choices(self.tasks, self.shares)
        return task[i]
