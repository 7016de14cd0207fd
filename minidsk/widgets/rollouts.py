"""A time-lapse of one prompt's answers while a policy learns."""

from collections.abc import Mapping, Sequence
from typing import Any

import traitlets

from minidsk.widgets.base import Figure, numbers, visible


class Rollouts(Figure):
    """One prompt, a group of samples at several training steps, coloured by reward; a slider goes through the steps.

    prompt: the prompt. steps: the training step of each frame. samples: for each frame a list of samples, each a
    mapping with "text" (str, or a list of tokens), "reward" in [0, 1] and, where tokens are shaded, "shade": a number a
    token (say, how one update moved its log-probability). The largest tenth of these numbers has the full colour.
    """

    js = "rollouts.js"
    frame = traitlets.Int(0).tag(sync=True)
    shading = traitlets.Int(0).tag(sync=True)

    def __init__(
        self,
        prompt: str,
        steps: Sequence[int],
        samples: Sequence[Sequence[Mapping[str, Any]]],
        title: str = "One prompt, many answers",
        shade_label: str = "shade",
    ) -> None:
        if not steps or len(steps) != len(samples):
            raise ValueError(f"samples must have one list for each of the {len(steps)} steps (at least 1)")
        frames = []
        for step, group in zip(steps, samples, strict=True):
            if not group:
                raise ValueError(f"samples at step {step} are empty")
            frames.append([_sample(step, sample) for sample in group])
        data = {"prompt": prompt, "steps": [int(step) for step in steps], "frames": frames, "shade_label": shade_label}
        super().__init__(data=data, title=title)

    def still(self) -> list[list[str]]:
        """The samples of the first and of the last frame."""
        frames = dict(zip(self.data["steps"], self.data["frames"], strict=True))
        ends = dict.fromkeys((self.data["steps"][0], self.data["steps"][-1]))
        rows = [[f"{step:,}", "".join(s["tokens"]), f"{s['reward']:g}"] for step in ends for s in frames[step]]
        return [["step", "answer", "reward"], *rows]

    def describe(self) -> str:
        """Mean reward at the first and the last frame."""
        first, last = ([s["reward"] for s in group] for group in (self.data["frames"][0], self.data["frames"][-1]))
        steps = self.data["steps"]
        return (
            f"{len(first)} answers to {self.data['prompt']!r}. Mean reward {sum(first) / len(first):.2f} at step "
            f"{steps[0]}, {sum(last) / len(last):.2f} at step {steps[-1]}."
        )


def _sample(step: int, sample: Mapping[str, Any]) -> dict[str, Any]:
    if not {"text", "reward"} <= set(sample):
        raise ValueError(f"a sample at step {step} lacks text or reward")
    text = sample["text"]
    tokens = [text] if isinstance(text, (str, bytes)) else list(text)
    reward = numbers(f"a reward at step {step}", [sample["reward"]])[0]
    if not 0 <= reward <= 1:
        raise ValueError(f"a reward at step {step} is {reward}; rewards lie in [0, 1]")
    shade = sample.get("shade")
    if shade is not None and len(shade) != len(tokens):
        raise ValueError(f"a sample at step {step} has {len(tokens)} tokens and {len(shade)} shades")
    out = {"tokens": [visible(token) for token in tokens], "reward": reward}
    return out if shade is None else {**out, "shade": numbers("shade", shade, digits=3)}
