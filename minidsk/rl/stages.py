"""The stages of a recipe as data: which weights each begins with, what it learns from and how.

DeepSeek-R1 (arXiv:2501.12948) is a list of such stages, and so is any other way from random weights to a reasoner.
`recipe` runs them, one folder each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from minidsk.rl.config import RLConfig
from minidsk.rl.harvest import Thoughts
from minidsk.rl.process import Trees
from minidsk.settings import require, within
from minidsk.tasks import TASKS
from minidsk.train.pretrain import PretrainConfig
from minidsk.train.sft import SFTConfig


@dataclass(frozen=True)
class Stage:
    """What all stages have: the `name` of their folder, and their settings.

    `origin`: whose weights it begins with: the name of an earlier stage, or else of one of our checkpoints, or a
    folder; None for random weights. Raises `ValueError` for a field that does not fit.
    """

    name: str
    origin: str | None
    config: PretrainConfig | SFTConfig | RLConfig

    def __post_init__(self) -> None:
        named = bool(self.name) and not set(self.name) & set("/\\.")
        require(self, "name", named, "the name of a folder, without dots and slashes")
        require(self, "origin", (self.origin is None) == isinstance(self, Pretraining),
                "None where weights are random, and else whose weights a stage begins with")  # fmt: skip

    @property
    def parents(self) -> dict[str, str]:
        """Whose weights the stage needs, by role: `origin`, and `teacher` where it has one. They are part of what the
        stage is."""
        names = {"origin": self.origin, "teacher": getattr(self, "teacher", None)}
        return {role: name for role, name in names.items() if name}


@dataclass(frozen=True)
class Pretraining(Stage):
    """Next-token prediction on the tiny web."""

    config: PretrainConfig


@dataclass(frozen=True)
class FineTuning(Stage):
    """Examples: thoughts of a `teacher` (named as an origin is), sampled or found by its search, and so many `pages`
    that need no thought, mixed."""

    config: SFTConfig
    teacher: str | None = None
    thoughts: Thoughts | Trees | None = None
    pages: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        within(self, 0, 1e6, "pages")
        require(self, "thoughts", (self.thoughts is None) == (self.teacher is None), "given together with a teacher")
        require(self, "pages", self.pages > 0 or self.thoughts is not None, "1 or more where there are no thoughts")


@dataclass(frozen=True)
class Reinforcement(Stage):
    """Reward, in the mix that `config.rewards` says. `kinds`: tasks by name with their shares; none: the recipe's."""

    config: RLConfig
    kinds: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, share in self.kinds.items():
            require(self, "kinds", name in TASKS and share > 0, f"shares above 0 of {', '.join(sorted(TASKS))}")


@dataclass(frozen=True)
class Distillation(Stage):
    """The stage's model answers, a `teacher` (named as an origin is) grades each token; see `distill`."""

    config: RLConfig
    teacher: str = ""
    gamma: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "teacher", bool(self.teacher), "a stage, a checkpoint or a folder")
        within(self, 0, 1, "gamma")
