"""A learning-rate schedule to turn by hand."""

import math

import traitlets

from minidsk.widgets.base import Figure, rounded

SHAPES = ("cosine", "linear", "constant, then a fall (WSD)", "constant")


class Schedule(Figure):
    """The learning rate over a run: warm-up, peak, floor and the shape of the fall, with sliders; drawn in the page.

    steps: of the run. warmup, decay: the percentage of steps for the warm-up, and for WSD's fall at the end. peak: the
    highest rate. floor: the rate at the end, as a percentage of the peak. shape: a number of `SHAPES`.
    """

    js = "schedule.js"
    warmup = traitlets.Int(5).tag(sync=True)
    decay = traitlets.Int(20).tag(sync=True)
    floor = traitlets.Int(10).tag(sync=True)
    peak = traitlets.Float(3e-3).tag(sync=True)
    shape = traitlets.Int(0).tag(sync=True)
    step = traitlets.Int(0).tag(sync=True)

    def __init__(
        self,
        steps: int = 1000,
        peak: float = 3e-3,
        warmup: int = 5,
        decay: int = 20,
        floor: int = 10,
        shape: int = 0,
        title: str = "The learning rate",
    ) -> None:
        if steps < 2:
            raise ValueError(f"steps must be at least 2, not {steps}")
        if not peak > 0:
            raise ValueError(f"peak must be above 0, not {peak}")
        for name, value in (("warmup", warmup), ("decay", decay), ("floor", floor)):
            if not 0 <= value <= 100:
                raise ValueError(f"{name} is a percentage from 0 to 100, not {value}")
        if shape not in range(len(SHAPES)):
            raise ValueError(f"shape must be 0 to {len(SHAPES) - 1}: {', '.join(SHAPES)}")
        super().__init__(
            data={"steps": int(steps), "shapes": list(SHAPES), "highest": float(peak)},
            title=title, peak=float(peak), warmup=warmup, decay=decay, floor=floor, shape=shape,
        )  # fmt: skip

    def rate(self, step: int) -> float:
        """The learning rate of a step, from 0; as `schedule.js` draws it."""
        steps, low = self.data["steps"], self.peak * self.floor / 100
        rise, fall = int(steps * self.warmup / 100 + 0.5), int(steps * (1 - self.decay / 100) + 0.5)
        if step < rise:
            return self.peak * (step + 1) / rise
        done = min(1.0, (step - rise) / max(1, steps - rise))
        if self.shape == 0:
            return low + (self.peak - low) * (1 + math.cos(math.pi * done)) / 2
        if self.shape == 1:
            return self.peak - (self.peak - low) * done
        if self.shape == 2 and step > fall:
            return self.peak - (self.peak - low) * (step - fall) / max(1, steps - fall)
        return self.peak

    def still(self) -> list[list[str]]:
        """The rate at the first step, at every fifth of the run, and at the last step."""
        last = self.data["steps"] - 1
        places = sorted({last * fifth // 5 for fifth in range(6)})
        return [["step", "learning rate"], *([f"{step:,}", f"{rounded(self.rate(step), 3):g}"] for step in places)]

    def describe(self) -> str:
        """The schedule's parts."""
        return (
            f"Learning rate over {self.data['steps']:,} steps: {self.warmup} % warm-up to {self.peak:g}, then "
            f"{SHAPES[self.shape]}, down to {self.floor} % of the peak."
        )
