"""`report.html` of a bench: what was measured as a table, and how each grows as curves, on one page by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from minidsk.atomic import atomic
from minidsk.bench.contest import times_a_copy
from minidsk.drawing import element
from minidsk.report.curves import COLOURS, INK, LOOK, PAGE
from minidsk.report.page import document, table_of
from minidsk.train.checkpoint import RunError

HEAD = ("bench", "size", "ours, s", "ours, tokens/s", "best rival", "its tokens/s", "times ours", "times a copy")
UNITS = {"batch": "rows", "context": "tokens of a row", "experts": "experts", "layers": "layers"}
_LINES = ((COLOURS["zero"], "-"), (COLOURS["r1"], "-"), (COLOURS["r1"], "--"), (COLOURS["base"], "--"),
          (COLOURS["base"], ":"))  # fmt: skip


def write_report(metrics: Mapping[str, Any], folder: str | Path) -> Path:
    """Write `report.html` into `folder`, whole or not at all; its path. Raises `RunError` without matplotlib."""
    path = Path(folder) / "report.html"
    text = page(metrics)
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def page(metrics: Mapping[str, Any]) -> str:
    """The page as text."""
    here, copies = metrics["machine"], metrics["ceilings"]["copy_gb_s"]
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for case in metrics["cases"]:
        groups.setdefault((case["bench"], case["axis"]), []).append(case)
    drawings = [draw(bench, axis, cases) for (bench, axis), cases in groups.items() if len(cases) > 1]
    versions = ", ".join(f"{name} {number}" for name, number in here["versions"].items())
    dates = ", ".join(dict.fromkeys(run["date"] for run in metrics["runs"]))
    body = [
        "<h1>minidsk bench</h1>",
        f'<p class="headline">{here["device"]}; {here["cores"]} cores, {here["threads"]} threads; {versions}; '
        f"copies at {copies:,.0f} GB/s; {dates}</p>",
        table_of(HEAD, (cells(case, copies) for case in metrics["cases"])),
        '<p class="note">Medians; ours and its rivals took turns in one process, on the same weights. Times a copy: '
        "the seconds of ours over those that copying as many bytes takes as must be moved.</p>",
        *(f'<p class="note">{case["bench"]}, {case["setting"]}: {note}</p>'
          for case in metrics["cases"] for note in case.get("notes", ())),
        '<div class="grid curves">', *(f"<figure>{drawing}</figure>" for drawing in drawings), "</div>",
    ]  # fmt: skip
    return document("minidsk bench", body)


def cells(case: Mapping[str, Any], copies: float) -> list[str]:
    """One point as a row of the table."""
    ours, best = case["contestants"]["ours"], case["best_rival"]
    theirs = case["contestants"][best] if best else None
    times = times_a_copy(case, copies)
    return [
        case["bench"], f"{case['axis']} {case['value']:,}: {case['setting']}", f"{ours['median']:.4f}",
        f"{ours['tokens_s']:,.0f}", best or "none ran", f"{theirs['tokens_s']:,.0f}" if theirs else "",
        f"{case['ratio']:.2f}" if best else "", f"{times:.1f}" if times else "",
    ]  # fmt: skip


def draw(bench: str, axis: str, cases: Sequence[Mapping[str, Any]]) -> str:
    """Tokens a second of every contestant along an axis, as an SVG element. Raises `RunError` without matplotlib."""
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RunError("report: matplotlib is missing; pip install matplotlib") from error
    cases = sorted(cases, key=lambda case: float(case["value"]))
    lines: dict[str, list[tuple[float, float]]] = {}
    for case in cases:
        for name, found in case["contestants"].items():
            if "tokens_s" in found:
                lines.setdefault(name, []).append((case["value"], found["tokens_s"]))
    with rc_context(LOOK):
        figure = Figure(figsize=(5, 3), layout="constrained")
        axes = figure.add_subplot()
        for (name, line), (colour, style) in zip(lines.items(), _LINES, strict=False):
            x, y = zip(*line, strict=True)
            axes.loglog(x, y, style, color=colour, label=name, linewidth=1.8, marker="o", markersize=4)
        axes.minorticks_off()
        axes.set_xticks([case["value"] for case in cases], [f"{case['value']:,}" for case in cases])
        axes.set_xlabel(f"{bench}: {UNITS[axis]}")
        axes.set_ylabel("tokens a second")
        axes.tick_params(color=INK)
        axes.legend(fontsize=9)
        said = "; ".join(f"{name}: {line[0][1]:,.0f} at {line[0][0]:,} to {line[-1][1]:,.0f} at {line[-1][0]:,}"
                         for name, line in lines.items())  # fmt: skip
        return element(figure, f"{bench}, tokens a second by {UNITS[axis]}. {said}.", PAGE)
