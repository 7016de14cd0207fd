"""`report.html`: what a run achieved, on one page that needs nothing beside it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

from minidsk.atomic import atomic
from minidsk.report.curves import CURVES, draw
from minidsk.report.stages import COLUMNS, Stage, cells, headline, read_stages, telling, thoughts

_STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1c1f24; --faint: #5b6470; --line: #d5dae0; --shade: #f4f6f8;
  --base: #6b7280; --zero: #1f6fd6; --r1: #b4520a; --right: #15703a; --wrong: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171b; --ink: #e6e9ed; --faint: #a0a9b4; --line: #353c45;
  --shade: #1e2329; --base: #9aa4b1; --zero: #6cabff; --r1: #f2a45c; --right: #6fd394; --wrong: #ff8f86; } }
body { margin: 0 auto; max-width: 66rem; padding: 1rem 1.2rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { margin-bottom: .2em; } h2 { margin-top: 2em; } h3 { font-weight: 600; margin: 1.6em 0 .5em; }
.headline { font-size: 1.2rem; } .note, figcaption { color: var(--faint); }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .35em .8em; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
.grid { display: grid; gap: 1rem 1.5rem; grid-template-columns: repeat(auto-fit, minmax(min(17rem, 100%), 1fr)); }
.curves { grid-template-columns: repeat(auto-fit, minmax(min(24rem, 100%), 1fr)); }
figure { margin: 0; } svg { width: 100%; height: auto; } svg text { fill: currentColor; }
pre { margin: 0; padding: .7em .9em; background: var(--shade); border-radius: 6px; font-size: .85rem;
  white-space: pre-wrap; overflow-wrap: anywhere; }
.right { color: var(--right); } .wrong { color: var(--wrong); } details { margin: .6em 0; } summary { cursor: pointer; }
"""


def write_report(folder: str | Path) -> Path:
    """Write `report.html` into a run's folder, whole or not at all; its path.

    Raises `RunError` where there is nothing to report, and where matplotlib, which draws the curves, is missing.
    """
    text = page(Path(folder).resolve().name, read_stages(folder))
    path = Path(folder) / "report.html"
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def page(name: str, stages: list[Stage]) -> str:
    """The page as text. It is the same text whenever it is made of the same run."""
    curves = [(curve.title, drawing) for curve in CURVES if (drawing := draw(curve, stages))]
    seconds, flops = (sum(stage.row[key] for stage in stages) for key in ("seconds", "flops"))
    shown = telling(stages, 3) + telling(stages, 2, right=False)
    body = [
        f"<h1>{escape(name)}</h1>",
        f'<p class="headline">{escape(headline(stages))}</p>',
        table_of(COLUMNS, (cells(stage.row) for stage in stages)),
        '<p class="note">Greedy answers to problems that no page and no reward had shown, with intervals by '
        f"Wilson's formula. Training took {seconds:.0f} s and {flops:.1e} FLOPs in all.</p>",
        "<h2>Learning curves</h2>",
        '<div class="grid curves">',
        *(f"<figure>{drawing}<figcaption>{escape(title)}</figcaption></figure>" for title, drawing in curves),
        "</div>",
        "<h2>Thoughts before and after</h2>",
        '<p class="note">Chosen by rule: problems that the base got wrong, those with the longest thoughts first.</p>',
        *(_thoughts(stages, number) for number in dict.fromkeys(shown)),
        "<h2>Settings</h2>",
        *(_settings(stage) for stage in stages),
    ]
    return document(f"{name}: a minidsk run", body)


def document(title: str, body: Iterable[str]) -> str:
    """A page in the look of all reports."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def table_of(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table that scrolls where it is too wide."""
    lines = ["".join(f"<th>{escape(cell)}</th>" for cell in head)]
    lines += ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    return '<div class="wide"><table>' + "".join(f"<tr>{line}</tr>" for line in lines) + "</table></div>"


def _thoughts(stages: list[Stage], number: int) -> str:
    columns = [
        f'<div>{escape(title)}, <span class="{mark}">{mark}</span><pre>{escape(reply)}</pre></div>'
        for title, right, reply in thoughts(stages, number)
        for mark in ["right" if right else "wrong"]
    ]
    prompt = stages[0].replies[number]["prompt"].strip()
    return f'<h3>{escape(prompt)}</h3><div class="grid">{"".join(columns)}</div>'


def _settings(stage: Stage) -> str:
    content: dict[str, Any] = {"stage": stage.name, **stage.settings}
    text = escape(json.dumps(content, indent=2, ensure_ascii=False))
    return f"<details><summary>{escape(stage.title)}</summary><pre>{text}</pre></details>"
