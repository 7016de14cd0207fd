"""The first screen of the book: the directive `first-screen`, a page's headline figure made from recorded replies.

Everything that it states is read from `results/` while the book is built: the replies and the curve from the record
`time_lapse`, the shares of right answers from the recorded runs of `make reason`. A missing record fails the build with
its name. The page needs neither a kernel nor a request: the replies stand in it, and `first_screen.js` goes through
them; without scripts the page shows the first and the last reply and the whole curve.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from docutils import nodes
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "tools" / "experiments"))
import reason_summary as summary  # noqa: E402

RECORD = Path("time_lapse") / "replies.json"
SHOWN = 6  # problems that the figure offers, the first ones of the held-out split
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 420, 176, 52, 408, 14, 148  # of the curve, in its own units
FILES = ("first_screen.css", "first_screen.js")


class Reply(NamedTuple):
    """A reply taken apart: the lines of its thought, its answer if it gave one, and what came of it."""

    lines: list[str]
    answer: str | None
    right: bool
    outcome: str


def take_apart(text: str, score: float) -> Reply:
    """The parts of a recorded reply, and its outcome in words."""
    thought, _, rest = text.partition("</think>")
    lines = thought.removeprefix("<think>").splitlines()
    found = re.fullmatch(r"<answer>(.*)</answer>", rest, re.DOTALL)
    tries = f"{len(lines)} {'try' if len(lines) == 1 else 'tries'}"
    if score == 1:
        end = "a right answer"
    elif not found:
        end = "no answer"
    elif lines and lines[-1].endswith(" no"):
        end = "it gives up with a wrong answer"
    else:
        end = "a wrong answer that it takes for right"
    return Reply(lines, found[1] if found else None, score == 1, f"{tries}, then {end}")


def read(results: Path) -> dict[str, Any]:
    """What the figure shows. Raises `ExtensionError` with the name of a record that is missing or damaged."""
    try:
        record = json.loads((results / RECORD).read_text(encoding="utf-8"))
        facts = json.loads((results / RECORD.parent / "run.json").read_text(encoding="utf-8"))
        moments = [
            {
                "step": moment["step"], "right": round(100 * moment["accuracy"]),
                "low": 100 * moment["low"], "high": 100 * moment["high"],
                "replies": [take_apart(r["reply"], r["score"])._asdict() for r in moment["replies"][:SHOWN]],
            }
            for moment in record["moments"]
        ]  # fmt: skip
    except FileNotFoundError as error:
        raise ExtensionError(f"results/{Path(error.filename).relative_to(results)} is missing; record it with "
                             "tools/record.py and tools/experiments/time_lapse.py") from error  # fmt: skip
    except (ValueError, KeyError, TypeError) as error:
        raise ExtensionError(f"results/{RECORD} is damaged ({error}); take it from git again") from error
    prompts = [prompt.strip() for prompt in record["prompts"][:SHOWN]]
    return {"prompts": prompts, "start": telling(moments), "moments": moments, "problems": record["problems"],
            "preset": record["preset"], "seed": facts["seeds"][0], "cores": facts["machine"]["cores"]}  # fmt: skip


def telling(moments: list[dict[str, Any]]) -> int:
    """The problem on which the figure opens: wrong at first, right at last, and with the most tries on the way."""
    first, last = moments[0]["replies"], moments[-1]["replies"]
    learned = [k for k in range(len(first)) if not first[k]["right"] and last[k]["right"]]
    return max(learned, key=lambda k: sum(len(m["replies"][k]["lines"]) for m in moments), default=0)


def curve(moments: list[dict[str, Any]]) -> dict[str, Any]:
    """The rising curve in the units of its drawing: points, and the band of its 95 % intervals."""
    last = moments[-1]["step"]

    def place(step: float, percent: float) -> tuple[float, float]:
        return round(LEFT + (RIGHT - LEFT) * step / last, 1), round(BOTTOM - (BOTTOM - TOP) * percent / 100, 1)

    band = [place(m["step"], m["low"]) for m in moments] + [place(m["step"], m["high"]) for m in reversed(moments)]
    return {
        "points": [place(m["step"], m["right"]) for m in moments],
        "band": " ".join(f"{x},{y}" for x, y in band),
        "grid": [(percent, place(0, percent)[1]) for percent in (0, 50, 100)],
        "width": WIDTH, "height": HEIGHT, "left": LEFT, "right": RIGHT, "top": TOP, "bottom": BOTTOM, "last": last,
    }  # fmt: skip


def evidence(results: Path) -> list[dict[str, Any]]:
    """The recorded runs of `make reason`, one entry a preset: where, before and after, seeds, problems."""
    runs = summary.read(results)
    missing = [preset for preset in summary.COLOURS if preset not in runs]
    if missing:
        raise ExtensionError(f"results/reason_{missing[0]} is missing; record it with tools/record.py")
    found = []
    for preset in reversed(summary.COLOURS):
        seeds = runs[preset]
        base, zero = summary.of(seeds, "base"), summary.of(seeds, "zero")
        mean, low, high = summary.spread([stage.row["accuracy"] for stage in zero])
        found.append({
            "where": summary.machine(results, preset), "before": f"{100 * summary.average(base, 'accuracy'):.0f} %",
            "after": f"{100 * mean:.0f} %", "interval": f"{100 * low:.0f} to {100 * high:.0f} %", "seeds": len(seeds),
            "problems": base[0].row["problems"], "minutes": round(summary.seconds(seeds, ("base", "zero")) / 60),
        })  # fmt: skip
    return found


def parity(root: Path) -> str:
    """How far apart from transformers' our outputs and gradients may be: the bound that the test holds them to."""
    test = root / "tests" / "hub" / "test_parity.py"
    found = re.search(r"^BOUND = (\S+)$", test.read_text(encoding="utf-8"), re.MULTILINE)
    if not found:
        raise ExtensionError("tests/hub/test_parity.py has no BOUND; the first screen of the book quotes it")
    return f"{float(found[1]):.5f}"


def chapters(root: Path) -> list[str]:
    """The notebooks of the table of contents, in order."""
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    files = [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    return [file for file in files if file.startswith("notebooks/")]


class FirstScreen(SphinxDirective):
    """``{first-screen}``: the words, the buttons, the figure and the strip of proof."""

    def run(self) -> list[nodes.Node]:
        """The HTML, with its data inside."""
        root, builder = Path(self.env.app.srcdir), self.env.app.builder
        read_files = [*(root / "results").glob("reason_*/**/*.json*"), *(root / "results" / RECORD.parent).glob("*")]
        for path in [*read_files, root / "_toc.yml", HERE / "first_screen.html", Path(__file__)]:
            self.env.note_dependency(str(path))
        lapse, first = read(root / "results"), chapters(root)[0]
        template = Environment(
            loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        ).get_template("first_screen.html")
        source = self.config.html_theme_options["repository_url"]
        html = template.render(
            lapse=lapse, curve=curve(lapse["moments"]), evidence=evidence(root / "results"), source=source,
            failures=builder.get_relative_uri(self.env.docname, "book/lab_notebook"),
            parity=parity(root), chapters=len(chapters(root)), first=builder.get_relative_uri(self.env.docname, first),
            colab=f"https://colab.research.google.com/github/{source.removeprefix('https://github.com/')}/blob/main/"
                  f"{first}.ipynb",
            data=json.dumps(lapse, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"),
        )  # fmt: skip
        self.env.metadata[self.env.docname]["first-screen"] = "yes"
        return [nodes.raw("", html, format="html")]


def add_files(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Style and script, on the page that has the directive."""
    if "first-screen" in app.env.metadata.get(pagename, {}):
        app.add_css_file(FILES[0])
        app.add_js_file(FILES[1], loading_method="defer")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("first-screen", FirstScreen)
    app.connect("html-page-context", add_files)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
