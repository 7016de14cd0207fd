"""Chapter 5: how much of a crawl's mathematics the loop finds, round by round, and what simpler ways find.

    python tools/experiments/ch05_mining.py --workers 2 --out results/ch05_mining

The crawl is the documentation that this machine holds (`minidsk.data.crawl`); the seed is 30 of its pages, which are
taken out of it. Controls: one round, with the loop's own cut and with as many tokens as the loop collected; a rule of
keywords; random pages; the reviewer's verdicts without the classifier; the loop without a reviewer. Then the loop in
crawls where each other page stands many times, on other hosts, so that mathematics is as rare as on the web.
Where the package `fasttext` is installed, it ranks the same pages after the same training.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from minidsk.data.classifier import ClassifierConfig, train_classifier, words
from minidsk.data.crawl import default_crawl
from minidsk.data.extract import Document, documents
from minidsk.data.harvest import crawl_of
from minidsk.data.mining import (
    Crawl,
    MiningConfig,
    Pages,
    at_prevalence,
    cross_fit,
    known_origin,
    mine,
    places_of,
    quality,
)  # fmt: skip

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from sweep import Record, arguments, sweep

SEED_PAGES = 30
WEB = 0.005  # share of mathematics on the web, for figures at its prevalence
KEYWORDS = frozenset(
    re.findall(
        r"\w+",
        "algebra angle derivative edge equation geometry graph integer integral lemma linear matrix number polynomial "
        "prime probability proof root series set sum theorem variable vector",
    )
)


def seed_pages(crawl: Crawl, seed: int, count: int = SEED_PAGES) -> Pages:
    """The seed's pages: mathematics, chosen by a hash of their address, so that few change with the crawl."""
    def key(i: int) -> bytes:
        return hashlib.blake2b(f"{seed} {crawl.urls[i]}".encode()).digest()

    return np.array(sorted(np.flatnonzero(crawl.origin == 1).tolist(), key=key)[:count])


def part(crawl: Crawl, pages: Pages) -> Crawl:
    """A crawl of these pages of another."""
    return Crawl([crawl.urls[i] for i in pages], crawl.bags.take(pages), crawl.tokens[pages], crawl.origin[pages])


def repeated(crawl: Crawl, times: int) -> Crawl:
    """The crawl with each page that is not mathematics `times` times, the copies on hosts of their own."""
    other = np.flatnonzero(crawl.origin == 0)
    more = part(crawl, np.concatenate([np.arange(len(crawl)), np.tile(other, times - 1)]))
    urls = [url if i < len(crawl) else url.replace("//", f"//copy{(i - len(crawl)) // len(other)}.")
            for i, url in enumerate(more.urls)]  # fmt: skip
    return dataclasses.replace(more, urls=urls)


def judged(crawl: Crawl, kept: Any, **more: Any) -> dict[str, Any]:
    """Figures of the pages that were collected."""
    precision, recall = quality(kept, crawl.origin)
    return {"pages": int(kept.sum()), "tokens": int(crawl.tokens[kept].sum()), "precision": precision,
            "recall": recall, "precision_web": at_prevalence(kept, crawl.origin, WEB), **more}  # fmt: skip


def average_precision(scores: Any, origin: Any) -> float:
    """The mean, over the pages that are wanted, of the precision down to each, pages in order of their score."""
    right = (origin == 1)[np.argsort(-scores, kind="stable")]
    return float((np.cumsum(right) / np.arange(1, len(right) + 1))[right].mean())


def majority(crawl: Crawl, seed: Any, number: int, config: MiningConfig) -> list[Any]:
    """The loop with a rule as reviewer: it approves a URL of which the first round collected more than half."""
    generator = torch.Generator().manual_seed(number)
    scores, held = cross_fit(crawl.bags, seed, np.zeros(0, np.int64), np.arange(len(crawl)), config, generator)
    kept = scores >= np.quantile(held, 1 - config.passing)

    def review(place: str, pages: Pages) -> bool:
        return bool(kept[pages].mean() > 0.5)

    return list(mine(crawl, seed, review, config, torch.Generator().manual_seed(number)))


def loop(crawl: Crawl, seed: Any, number: int, config: MiningConfig, review: bool = True) -> list[Any]:
    """The rounds of the loop, with the simulated reviewer or none."""
    verdict = known_origin(crawl) if review else (lambda place, pages: False)
    return list(mine(crawl, seed, verdict, config, torch.Generator().manual_seed(number)))


def rows_of(crawl: Crawl, rounds: Sequence[Any]) -> list[dict[str, Any]]:
    """The figures of each round."""
    names = ("number", "seed", "new", "reviewed", "added")
    return [judged(crawl, r.kept, **{name: getattr(r, name) for name in names}, marked=len(r.marked),
                   average_precision=average_precision(r.scores, crawl.origin)) for r in rounds]  # fmt: skip


def run(seed: int, found: list[Document], a: argparse.Namespace) -> list[dict[str, Any]]:
    """One seed: the loop and its controls."""
    torch.set_num_threads(1)
    config = MiningConfig(passing=a.passing)
    everything = crawl_of(found, config.classifier)
    chosen = seed_pages(everything, seed)
    rest = np.setdiff1d(np.arange(len(found)), chosen)
    crawl, start = part(everything, rest), everything.bags.take(chosen)
    generator = torch.Generator().manual_seed(1000 + seed)
    rounds = loop(crawl, start, seed, config)
    last, first = rounds[-1], rounds[0]
    rows = [{"method": "loop", "rounds": rows_of(crawl, rounds), **judged(crawl, last.kept)}]
    rows.append({"method": "one round", **judged(crawl, first.kept)})
    [same] = loop(crawl, start, seed, MiningConfig(rounds=1, budget=last.tokens))
    rows.append({"method": "one round, as many tokens", **judged(crawl, same.kept)})
    share = [np.mean([word in KEYWORDS for word in words(d.text, config.classifier.words)]) for d in found]
    scores = np.array(share)
    cut = np.quantile(scores[chosen], 1 - config.passing)
    rows.append({"method": "keywords", **judged(crawl, scores[rest] >= cut),
                 "average_precision": average_precision(scores[rest], crawl.origin)})  # fmt: skip
    order = torch.randperm(len(rest), generator=generator).numpy()
    drawn = np.zeros(len(rest), bool)
    drawn[order[np.cumsum(crawl.tokens[order]) <= last.tokens]] = True
    rows.append({"method": "random pages, as many tokens", **judged(crawl, drawn)})
    places, review = np.array(places_of(crawl.urls)), known_origin(crawl)
    shown = [p for p in np.unique(places) if p.partition("/")[0] in last.marked]
    yes = [p for p in shown if review(p, np.flatnonzero(places == p))]
    rows.append({"method": "reviewed URLs alone", **judged(crawl, np.isin(places, yes))})
    alone = loop(crawl, start, seed, config, review=False)
    rows.append({"method": "no reviewer", "rounds": rows_of(crawl, alone), **judged(crawl, alone[-1].kept)})
    for passing in a.other_cuts:
        tried = loop(crawl, start, seed, MiningConfig(passing=passing))
        rows.append({"method": f"loop, passing {passing}", "rounds": rows_of(crawl, tried),
                     **judged(crawl, tried[-1].kept)})  # fmt: skip
    all_maths = seed_pages(everything, seed, len(found))
    home = np.array([i for i in all_maths if "docs.sympy" in everything.urls[i]][:SEED_PAGES])
    away = part(everything, np.setdiff1d(np.arange(len(found)), home))
    tried = loop(away, everything.bags.take(home), seed, config)
    rows.append({"method": "seed from one site", "rounds": rows_of(away, tried), **judged(away, tried[-1].kept)})
    tried = majority(crawl, start, seed, config)
    rows.append({"method": "a rule as reviewer", "rounds": rows_of(crawl, tried), **judged(crawl, tried[-1].kept)})
    rare = repeated(crawl, a.times)
    for passing in (a.passing, *a.rare_cuts):
        tried = loop(rare, start, seed, MiningConfig(passing=passing))
        rows.append({"method": f"rare, passing {passing}", "prevalence": float((rare.origin == 1).mean()),
                     "rounds": rows_of(rare, tried), **judged(rare, tried[-1].kept)})  # fmt: skip
    return [{"seed": seed, **row} for row in [*rows, *rivals(found, everything, chosen, rest, seed)]]


def rivals(found: list[Document], crawl: Crawl, chosen: Pages, rest: Pages, seed: int) -> list[dict[str, Any]]:
    """One training on the seed and 400 random pages: our classifier, and fastText with DeepSeekMath's settings too."""
    drawn = rest[torch.randperm(len(rest), generator=torch.Generator().manual_seed(2000 + seed))[:400].numpy()]
    left = np.setdiff1d(rest, drawn)
    labels = [1] * len(chosen) + [0] * len(drawn)
    model = train_classifier(crawl.bags.take(np.concatenate([chosen, drawn])), labels, ClassifierConfig())
    rows = [{"method": "ours, one training",
             "average_precision": average_precision(model(crawl.bags.take(left)), crawl.origin[left])}]  # fmt: skip
    try:
        import fasttext
    except ImportError:
        return rows
    line = {int(i): " ".join(re.sub(r"\d+", "0", w) for w in words(found[i].text, 2000)) for i in range(len(found))}
    settings = {
        "fasttext, DeepSeekMath's settings": {"lr": 0.1, "epoch": 3, "dim": 256, "wordNgrams": 3, "minCount": 3},
        "fasttext, 25 epochs": {"lr": 0.5, "epoch": 25, "dim": 16, "wordNgrams": 2, "minCount": 1},
    }
    for name, chosen_settings in settings.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "train.txt"
            path.write_text("\n".join(f"__label__{label} {line[int(i)]}" for label, i in
                                      zip(labels, [*chosen, *drawn], strict=True)), encoding="utf-8")  # fmt: skip
            rival = fasttext.train_supervised(
                str(path), thread=1, verbose=0, bucket=2**18, seed=seed, **chosen_settings
            )
        scores = [next((p for p, label in rival.f.predict(line[int(i)], 2, 0.0, "") if label == "__label__1"), 0.0)
                  for i in left]  # fmt: skip
        rows.append({"method": name, "average_precision": average_precision(np.array(scores), crawl.origin[left])})
    return rows


def main() -> None:
    """Mine with every seed; write metrics.json."""
    parser = arguments(__doc__, "results/ch05_mining", seeds=[0, 1, 2, 3, 4])
    parser.add_argument("--passing", type=float, default=MiningConfig().passing)
    parser.add_argument("--other-cuts", type=float, nargs="*", default=[0.7, 0.8, 0.9])
    parser.add_argument("--rare-cuts", type=float, nargs="*", default=[0.5, 0.25])
    parser.add_argument("--times", type=int, default=60)
    a = parser.parse_args()
    found = list(documents(default_crawl()))
    about = {"pages": len(found), "mathematics": sum(bool(d.mathematics) for d in found)}
    record = Record(a, lambda row: row["seed"], crawl=about)
    sweep([(run, seed, found, a) for seed in a.seeds], record.add, a)


if __name__ == "__main__":
    main()
