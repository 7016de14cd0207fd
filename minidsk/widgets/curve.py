"""Curves of several runs, read with a slider."""

from collections.abc import Mapping
from typing import Any

import traitlets

from minidsk.widgets.base import Figure, numbers, same_length


class Curve(Figure):
    """Curves of several runs: pick one to bring forward, and read all of them at a slider's place.

    series: for each name a mapping with "x" and "y", of equal length, x increasing, and, where there is a spread,
    "low" and "high" around y. xlog, ylog: logarithmic axes (all values above 0). xlabel, ylabel: what is measured, with
    its unit.
    """

    js = "curve.js"
    at = traitlets.Int(0).tag(sync=True)
    chosen = traitlets.Int(0).tag(sync=True)

    def __init__(
        self,
        series: Mapping[str, Mapping[str, Any]],
        xlabel: str = "step",
        ylabel: str = "",
        xlog: bool = False,
        ylog: bool = False,
        title: str = "",
    ) -> None:
        if not series:
            raise ValueError("series must hold at least one run")
        runs: list[dict[str, Any]] = []
        for name, run in series.items():
            if missing := {"x", "y"} - set(run):
                raise ValueError(f"series[{name!r}] lacks {' and '.join(sorted(missing))}")
            if unknown := set(run) - {"x", "y", "low", "high"}:
                raise ValueError(f"series[{name!r}] has {', '.join(sorted(unknown))}; known are x, y, low and high")
            if ("low" in run) != ("high" in run):
                raise ValueError(f"series[{name!r}] needs low and high together")
            columns = {part: numbers(f"series[{name!r}][{part!r}]", values) for part, values in run.items()}
            same_length(**{f"series[{name!r}].{part}": values for part, values in columns.items()})
            if any(b < a for a, b in zip(columns["x"], columns["x"][1:], strict=False)):
                raise ValueError(f"series[{name!r}]: x must increase")
            ys = [v for part, values in columns.items() if part != "x" for v in values]
            if (xlog and min(columns["x"]) <= 0) or (ylog and min(ys) <= 0):
                raise ValueError(f"series[{name!r}]: a logarithmic axis takes values above 0 only")
            runs.append({"name": str(name), **columns})
        data = {"runs": runs, "xlabel": xlabel, "ylabel": ylabel, "xlog": xlog, "ylog": ylog}
        super().__init__(data=data, title=title)

    def still(self) -> list[list[str]]:
        """Each run at the first, middle and last place of the horizontal axis; a dash outside what it measured."""
        xs = sorted({x for run in self.data["runs"] for x in run["x"]})
        places = sorted({xs[0], xs[len(xs) // 2], xs[-1]})

        def at(run: dict[str, Any], place: float) -> str:
            if not run["x"][0] <= place <= run["x"][-1]:  # nothing was measured there
                return "-"
            nearest = min(range(len(run["x"])), key=lambda i: abs(run["x"][i] - place))
            where = "" if run["x"][nearest] == place else f" at {run['x'][nearest]:,g}"
            return f"{run['y'][nearest]:g}{where}"

        head = [self.data["ylabel"] or "y", *(f"{self.data['xlabel']} {x:,g}" for x in places)]
        return [head, *([run["name"], *(at(run, x) for x in places)] for run in self.data["runs"])]

    def describe(self) -> str:
        """Where each run begins and ends."""
        said = "; ".join(
            f"{run['name']} {run['y'][0]:g}" + (f" to {run['y'][-1]:g}" if len(run["y"]) > 1 else "")
            for run in self.data["runs"]
        )
        return f"{self.data['ylabel'] or 'y'} against {self.data['xlabel']}: {said}."
