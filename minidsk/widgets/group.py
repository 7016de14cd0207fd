"""A group of answers that the reader judges, and what GRPO and its relatives make of the verdicts."""

from collections.abc import Sequence

import traitlets

from minidsk.widgets.base import Figure, visible

SCALES = ("deviation", "none")
AVERAGES = ("grpo", "dapo", "dr_grpo")


class Group(Figure):
    """A group of answers to one prompt; each can be made right or wrong, and its tokens show how hard they are pulled.

    answers: for each answer its tokens (str or bytes). right: for each answer whether it is right, at the start.
    longest: what Dr. GRPO divides by, tokens; by default the length of the longest answer.
    The traits: right (0 or 1 for each answer), scale (number in SCALES), average (number in AVERAGES).
    """

    js = "group.js"
    right = traitlets.List(traitlets.Int()).tag(sync=True)
    scale = traitlets.Int(0).tag(sync=True)
    average = traitlets.Int(0).tag(sync=True)

    def __init__(
        self,
        answers: Sequence[Sequence[str | bytes]],
        right: Sequence[bool | int],
        longest: int | None = None,
        title: str = "A group judges itself",
    ) -> None:
        if len(answers) < 2:
            raise ValueError("answers must be at least 2, for there to be something to compare")
        if not all(len(answer) for answer in answers):
            raise ValueError("answers must have at least one token each")
        if len(right) != len(answers):
            raise ValueError(f"right has {len(right)} verdicts for {len(answers)} answers")
        most = max(map(len, answers))
        if longest is not None and longest < most:
            raise ValueError(f"longest is {longest}, and one answer has {most} tokens")
        data = {"answers": [[visible(token) for token in answer] for answer in answers], "longest": longest or most}
        super().__init__(data=data, title=title, right=[int(bool(r)) for r in right])

    def advantages(self) -> list[float]:
        """Each answer's advantage, with the present verdicts and scale."""
        g, total = len(self.right), sum(self.right)
        less = [r - total / g for r in self.right]
        deviation = (sum(d * d for d in less) / (g - 1)) ** 0.5
        return [d / (deviation + 1e-4) if SCALES[self.scale] == "deviation" else d for d in less]

    def pulls(self) -> list[float]:
        """What one token of each answer is pulled with: its advantage, divided as the way of averaging says."""
        lengths = [len(answer) for answer in self.data["answers"]]
        fixed = {"dapo": sum(lengths), "dr_grpo": len(lengths) * self.data["longest"]}
        below = [fixed.get(AVERAGES[self.average], len(lengths) * n) for n in lengths]
        return [a / n for a, n in zip(self.advantages(), below, strict=True)]

    def still(self) -> list[list[str]]:
        """Each answer with its verdict, its advantage, and the pull on each of its tokens."""
        rows = zip(self.data["answers"], self.right, self.advantages(), self.pulls(), strict=True)
        head = ["answer", "verdict", "advantage", "pull on each token"]
        return [head, *(["".join(t), "right" if ok else "wrong", f"{a:+.2f}", f"{p:+.2g}"] for t, ok, a, p in rows)]

    def describe(self) -> str:
        """The advantages as the figure opens."""
        said = ", ".join(f"{a:+.2f}" for a in self.advantages())
        return f"{sum(self.right)} of {len(self.right)} answers are right; their advantages: {said}."
