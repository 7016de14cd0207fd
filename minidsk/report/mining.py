"""`summary.html`: what `minidsk mine` collected, round by round, on one page that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from minidsk.report.page import document, table_of

COLUMNS = ("round", "seed", "collected", "tokens", "new", "marked hosts", "URLs reviewed", "precision", "recall")
_WIDTH, _HEIGHT, _LEFT, _TOP = 560, 240, 48, 16


def mining_page(name: str, rounds: Sequence[Mapping[str, Any]], skipped: Mapping[str, int], source: str) -> str:
    """The page as text. rounds: as `cells` takes them. skipped: pages that were passed over, by reason."""
    last = rounds[-1]
    known = last["precision"] is not None
    quality = f", precision {last['precision']:.1%} and recall {last['recall']:.1%}" if known else ""
    headline = f"{last['collected']:,} pages, about {last['tokens']:,} tokens, in {len(rounds)} rounds{quality}"
    hosts = "".join(f"<li>{escape(host)}</li>" for host in last["hosts"])
    return document(name, [
        f"<h1>{escape(name)}</h1>", f'<p class="headline">{escape(headline)}</p>',
        f'<p class="note">From {escape(source)}.</p>', table_of(COLUMNS, map(cells, rounds)), "<h2>Round by round</h2>",
        f"<figure>{curve(rounds)}<figcaption>Share of the collected pages that is new, and, where pages have a known "
        "origin, precision and recall.</figcaption></figure>",
        "<h2>Hosts that were marked last</h2>", f"<ul>{hosts}</ul>", "<h2>Pages that were passed over</h2>",
        table_of(("reason", "pages"), ((reason, f"{count:,}") for reason, count in sorted(skipped.items()))),
    ])  # fmt: skip


def cells(row: Mapping[str, Any]) -> list[str]:
    """A round's figures as text, one for each of `COLUMNS`."""
    shares = ["" if row[key] is None else f"{row[key]:.1%}" for key in ("precision", "recall")]
    return [str(row["round"]), f"{row['seed']:,}", f"{row['collected']:,}", f"{row['tokens']:,}", f"{row['new']:.1%}",
            str(len(row["hosts"])), f"{row['reviewed']:,}", *shares]  # fmt: skip


def curve(rounds: Sequence[Mapping[str, Any]]) -> str:
    """Shares over rounds, as an SVG in the page's colours."""
    tones = {"precision": "var(--zero)", "recall": "var(--r1)", "new": "var(--base)"}
    step = (_WIDTH - _LEFT - 80) / max(len(rounds) - 1, 1)
    marks, said = [], []
    for share in (0, 0.5, 1):
        y = _TOP + (1 - share) * (_HEIGHT - _TOP - 30)
        marks.append(f'<path d="M{_LEFT} {y}H{_WIDTH - 80}" stroke="var(--line)"/>')
        marks.append(f'<text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end" font-size="11">{share:.0%}</text>')
    for key, tone in tones.items():
        points = [(_LEFT + i * step, _TOP + (1 - row[key]) * (_HEIGHT - _TOP - 30))
                  for i, row in enumerate(rounds) if row[key] is not None]  # fmt: skip
        if points:
            line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            marks.append(f'<polyline points="{line}" fill="none" stroke="{tone}" stroke-width="2"/>')
            marks += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{tone}"/>' for x, y in points]
            marks.append(f'<text x="{points[-1][0] + 8:.1f}" y="{points[-1][1] + 4:.1f}" font-size="12">{key}</text>')
            said.append(f"{key} {rounds[0][key]:.0%} to {rounds[-1][key]:.0%}")
    for i, row in enumerate(rounds):
        marks.append(f'<text x="{_LEFT + i * step:.1f}" y="{_HEIGHT - 8}" text-anchor="middle" font-size="11">'
                     f'{row["round"]}</text>')  # fmt: skip
    words = escape(f"From round 1 to round {len(rounds)}: " + "; ".join(said))
    return f'<svg role="img" aria-label="{words}" viewBox="0 0 {_WIDTH} {_HEIGHT}">{"".join(marks)}</svg>'
