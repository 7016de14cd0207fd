"""The recorded runs of `minidsk reason` in one picture and one table.

    python tools/experiments/reason_summary.py

Reads results/reason_*/seed*/, draws book/_static/learning_curve.svg, and writes picture, table and a sentence between
the two marks in README.md and book/intro.md; prints them too. The same results give the same bytes. The picture is
light or dark as the reader's system is, and on the page of the book, which takes it in, as the page is.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import statistics
import sys
from pathlib import Path

import matplotlib.style
from matplotlib.figure import Figure

from minidsk.diagrams.figure import DARK_PALETTE, PALETTE
from minidsk.diagrams.plot import svg
from minidsk.report.interval import interval
from minidsk.report.stages import Stage, read_stages

ROOT = Path(__file__).resolve().parents[2]
PICTURE = Path("book/_static/learning_curve.svg")
PAGES = {
    Path("README.md"): f"![DESCRIPTION]({PICTURE})",
    Path("book/intro.md"): "```{drawing} _static/learning_curve.svg\nCAPTION\n```",
}
BEGIN, END = "<!-- written by tools/experiments/reason_summary.py -->", "<!-- until here -->"
COLOURS = {"small": "C0", "nano": "C1"}
CAPTION = (
    "Answers that were sampled while the models learned from reward alone: how many are right, and how long they are. "
    "Thin lines are seeds, thick ones their mean."
)

Seeds = list[dict[str, Stage]]


def read(results: Path) -> dict[str, Seeds]:
    """The stages of every seed, by preset, in the order of `COLOURS`; those whose run.json says how they were made."""
    runs = {}
    for preset in COLOURS:
        if not any((results / f"reason_{preset}").rglob("run.json")):
            continue
        folders = sorted((results / f"reason_{preset}").glob("seed*"))
        runs[preset] = [{stage.name: stage for stage in read_stages(folder)} for folder in folders]
    return {preset: seeds for preset, seeds in runs.items() if seeds}


def machine(results: Path, preset: str) -> str:
    """What the runs were recorded on, in a few words."""
    said = set()
    for record in (results / f"reason_{preset}").rglob("run.json"):
        facts = json.loads(record.read_text(encoding="utf-8"))["machine"]
        gpus = facts.get("gpus") or []
        said.add(f"one {gpus[0]}" if gpus else f"{facts['cores']} CPU cores")
    return " or ".join(sorted(said))


def difficulty(results: Path, preset: str) -> str:
    """How hard the problems are: how many numbers, up to what, which targets and operators."""
    evaluation = min((results / f"reason_{preset}").rglob("evaluation.json"))
    task = json.loads(evaluation.read_text(encoding="utf-8"))["asked"]["task"]
    return (
        f"{' or '.join(map(str, task['numbers']))} numbers from 1 to {task['high']}, target from 1 to "
        f"{task['target_high']}, operators `{' '.join(task['ops'])}`"
    )


def spread(values: list[float]) -> tuple[float, float, float]:
    """Mean, and the ends of its 95 % interval (Student's t), kept within 0 and 1."""
    mean, half = interval(values) if len(values) > 1 else (values[0], math.nan)
    return mean, max(mean - half, 0.0), min(mean + half, 1.0)


def accuracy(stages: list[Stage]) -> str:
    """Accuracy with its interval: over seeds, or over problems (Wilson) where there is one seed."""
    mean, low, high = spread([stage.row["accuracy"] for stage in stages])
    if len(stages) == 1:
        low, high = stages[0].row["low"], stages[0].row["high"]
    return f"{mean:.1%} ({low:.1%} to {high:.1%})"


def of(seeds: Seeds, name: str) -> list[Stage]:
    """One stage of all seeds that have it."""
    return [seed[name] for seed in seeds if name in seed]


def average(stages: list[Stage], figure: str) -> float:
    """The mean of one figure over seeds."""
    return statistics.fmean(stage.row[figure] for stage in stages)


def seconds(seeds: Seeds, names: tuple[str, ...]) -> float:
    """What these stages take together, on average."""
    return sum(average(of(seeds, name), "seconds") for name in names)


def table(runs: dict[str, Seeds], results: Path) -> str:
    """One column a preset, as Markdown, so that it fits a phone."""

    def column(preset: str, seeds: Seeds) -> list[str]:
        base, zero, r1 = (of(seeds, name) for name in ("base", "zero", "r1"))
        spent = seconds(seeds, ("base", "zero", "cold", "r1") if r1 else ("base", "zero"))
        return [
            preset, difficulty(results, preset), machine(results, preset),
            accuracy(base), accuracy(zero), accuracy(r1) if r1 else "not evaluated",
            *(f"{average(stages, 'thought'):.0f} characters" for stages in (base, zero)), f"{spent:.0f} s",
        ]  # fmt: skip

    names = ["preset", "problems", "machine", "right: base", "right: R1-Zero (reward alone)", "right: R1",
             "thought of the base", "thought of R1-Zero", "training"]  # fmt: skip
    head, *rows = zip(names, *(column(preset, seeds) for preset, seeds in runs.items()), strict=True)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows))


def sentence(runs: dict[str, Seeds], results: Path, preset: str) -> str:
    """What happened, in a sentence, and the other baseline."""
    seeds = runs[preset]
    base, zero = of(seeds, "base"), of(seeds, "zero")
    gain = [after.row["accuracy"] - before.row["accuracy"] for before, after in zip(base, zero, strict=True)]
    sampled = statistics.fmean(stage.metrics[0]["accuracy"] for stage in zero)
    return (
        f"On {machine(results, preset)}, reward alone took the base model from {accuracy(base)} to {accuracy(zero)} of "
        f"{base[0].row['problems']} held-out problems, a gain of {100 * statistics.fmean(gain):.0f} points, "
        f"{seconds(seeds, ('base', 'zero')):.0f} s after the start from random weights. "
        f"Sampled instead of greedy, the base solves {sampled:.0%}."
    )


def digest(runs: dict[str, Seeds]) -> str:
    """Which numbers a picture shows: it stands in the picture, whose bytes also depend on matplotlib's version."""
    shown = {
        preset: [[[line["accuracy"], line["length"]] for line in stage.metrics] for stage in of(seeds, "zero")]
        for preset, seeds in runs.items()
    }
    return "drawn from " + hashlib.blake2b(json.dumps(shown).encode(), digest_size=8).hexdigest()


def draw(runs: dict[str, Seeds]) -> str:
    """Right answers and length of answers over the steps of R1-Zero: thin lines are seeds, thick ones their mean."""
    with matplotlib.style.context("minidsk.diagrams.look"):
        figure = Figure(figsize=(4.4, 4.8))
        panels = figure.subplots(2, 1, sharex=True)
        titles = (("accuracy", "share of right answers"), ("length", "tokens per answer"))
        for axes, (metric, title) in zip(panels, titles, strict=True):
            for preset, seeds in runs.items():
                lines = [[line[metric] for line in stage.metrics] for stage in of(seeds, "zero")]
                for line in lines:
                    axes.plot(range(1, len(line) + 1), line, color=COLOURS[preset], linewidth=0.7, alpha=0.5)
                mean = [statistics.fmean(values) for values in zip(*lines, strict=False)]
                axes.plot(range(1, len(mean) + 1), mean, color=COLOURS[preset], linewidth=2.2)
                axes.annotate(preset, (len(mean), mean[-1]), (4, 0), textcoords="offset points", va="center",
                              color=COLOURS[preset], annotation_clip=False)  # fmt: skip
            axes.margins(x=0.02)
            axes.set(title=title, ylim=(0, 1.02 if metric == "accuracy" else None))
        panels[1].set_xlabel("step of reward alone")
        drawn = svg(figure, description(runs))
    light, dark = (";".join(f"--{name}:{colour}" for name, colour in of.items()) for of in (PALETTE, DARK_PALETTE))
    style = f"svg{{{light};fill:var(--ink);font-family:system-ui,sans-serif}}"
    style += f"@media(prefers-color-scheme:dark){{svg{{{dark}}}}}"
    size = 'width="422" height="461"'
    about = f"<!-- {digest(runs)} --><style>{style}</style>"
    drawn = re.sub("^<svg([^>]*)>", lambda head: f"<svg {size}{head[1]}>{about}", drawn, count=1)
    return re.sub(r"[ \t]+$", "", drawn, flags=re.MULTILINE)


def description(runs: dict[str, Seeds]) -> str:
    """The picture in words, for a reader who cannot see it."""
    ends = []
    for preset, seeds in runs.items():
        lines = [stage.metrics for stage in of(seeds, "zero")]
        first, last = (statistics.fmean(line[k]["accuracy"] for line in lines) for k in (0, -1))
        ends.append(f"{preset} {first:.0%} to {last:.0%}")
    return f"Right answers and length of answers over the steps of reward alone: {'; '.join(ends)} right."


def block(runs: dict[str, Seeds], results: Path, picture: str) -> str:
    """What stands between the marks on a page. picture: how the page shows the picture."""
    counts = ", ".join(f"{preset} {len(seeds)}" for preset, seeds in runs.items())
    first = ", ".join(f"{of(seeds, 'base')[0].row['problems']} ({preset})" for preset, seeds in runs.items())
    note = (
        "For the table, each model gave one greedy answer (always the likeliest next token) to each of the first "
        f"{first} held-out problems of its seed. Every problem can be solved, because it is made backwards from its "
        f"numbers. Seeds: {counts}. The 95 % intervals are over seeds (Student's t), or over problems (Wilson) where "
        "there is one seed."
    )
    said = "\n\n".join(sentence(runs, results, preset) for preset in runs)
    shown = picture.replace("DESCRIPTION", description(runs)).replace("CAPTION", CAPTION)
    parts = [shown, said, table(runs, results), note, processors(results)]
    return "\n\n".join(part for part in parts if part)


def processors(results: Path) -> str:
    """How far a processor moves a run: one seed of nano, recorded with the instructions of several processors."""
    folders = sorted((results / "reason_nano_processors").glob("*"))
    if len(folders) < 2:
        return ""
    shown = "; ".join(
        f"{stages[0].title} " + ", ".join(f"{stage.row['accuracy']:.1%}" for stage in stages)
        for stages in zip(*map(read_stages, folders), strict=True)
    )
    names = ", ".join(folder.name for folder in folders)
    commits = {json.loads((folder / "run.json").read_text(encoding="utf-8"))["commit"] for folder in folders}
    apart = f" They are of {len(commits)} commits, so the code may have a part in this." if len(commits) > 1 else ""
    return (
        "A run repeats to the bit only on one processor with one version of torch. On another, sums are rounded in "
        "another order, and thousands of steps turn the last digit into another model. Seed 0 of nano, trained with "
        f"the instructions of {len(folders)} processors ({names}): {shown}.{apart} Expect yours to differ as much."
    )


def replace(page: str, text: str) -> str:
    """The page with `text` between its marks. Raises `ValueError` where it has not exactly one pair of them."""
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise ValueError(f"the page needs one {BEGIN} and one {END}")
    head, _, rest = page.partition(BEGIN)
    return f"{head}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}"


def main() -> int:
    results = ROOT / "results"
    runs = read(results)
    if not runs:
        print("no recorded run under results/reason_*; record one with tools/record.py first", file=sys.stderr)
        return 2
    (ROOT / PICTURE).write_text(draw(runs), encoding="utf-8")
    for path, picture in PAGES.items():
        page = ROOT / path
        page.write_text(replace(page.read_text(encoding="utf-8"), block(runs, results, picture)), encoding="utf-8")
    print(block(runs, results, PAGES[Path("README.md")]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
