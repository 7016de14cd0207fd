"""Which experts the tokens go to, over a training run."""

from collections.abc import Mapping, Sequence
from typing import Any

import traitlets

from minidsk.widgets.base import Figure, numbers


class Routing(Figure):
    """Heat maps of expert load over training, one for each way of balancing, with MaxVio (Wang et al., 2024).

    loads: for each method, an array [steps, experts] of tokens an expert got at each step (any unit; each step is
    shown as a multiple of its mean). steps: the training step of each row; by default 0, 1, 2, ...
    """

    js = "routing.js"
    method = traitlets.Int(0).tag(sync=True)
    step = traitlets.Int(0).tag(sync=True)

    def __init__(
        self, loads: Mapping[str, Any], steps: Sequence[int] | None = None, title: str = "Where the tokens go"
    ) -> None:
        if not loads:
            raise ValueError("loads must hold at least one method")
        shares: dict[str, list[list[float]]] = {}
        shape = None
        for name, load in loads.items():
            rows = numbers(f"loads[{name!r}]", load, digits=6)
            if not rows or not isinstance(rows[0], list) or not rows[0] or isinstance(rows[0][0], list):
                raise ValueError(f"loads[{name!r}] must be an array [steps, experts]")
            if shape not in (None, (len(rows), len(rows[0]))):
                raise ValueError(f"loads[{name!r}] is {[len(rows), len(rows[0])]}, the others {list(shape or ())}")
            shape = (len(rows), len(rows[0]))
            if any(min(row) < 0 or sum(row) <= 0 for row in rows):
                raise ValueError(f"loads[{name!r}] needs loads of at least 0, and a token at every step")
            shares[name] = [numbers(name, [len(row) * x / sum(row) for x in row], digits=3) for row in rows]
        count = (shape or (0,))[0]
        if steps is not None and len(steps) != count:
            raise ValueError(f"steps has {len(steps)} entries for {count} rows of loads")
        at = [int(i) for i in steps] if steps is not None else list(range(count))
        super().__init__(data={"names": list(shares), "loads": list(shares.values()), "steps": at}, title=title)

    def still(self) -> list[list[str]]:
        """MaxVio at the first, middle and last step, by method."""
        steps = self.data["steps"]
        places = sorted({0, len(steps) // 2, len(steps) - 1})
        rows = zip(self.data["names"], self.data["loads"], strict=True)
        head = ["MaxVio", *(f"step {steps[i]:,}" for i in places)]
        return [head, *([name, *(f"{max(load[i]) - 1:.2f}" for i in places)] for name, load in rows)]

    def describe(self) -> str:
        """MaxVio at the last step of each method."""
        last = zip(self.data["names"], self.data["loads"], strict=True)
        said = ", ".join(f"{name} {max(rows[-1]) - 1:.2f}" for name, rows in last)
        return f"Load of {len(self.data['loads'][0][0])} experts over training; MaxVio at the end: {said}."
