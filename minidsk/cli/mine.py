"""The command that mines a crawl for pages like those of a seed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from tqdm.auto import tqdm

from minidsk.atomic import atomic
from minidsk.data.classifier import Bags, bag
from minidsk.data.harvest import read_pages
from minidsk.data.mining import Crawl, MiningConfig, Pages, Review, Round, groups, known_origin, mine, places_of
from minidsk.data.store import Store
from minidsk.report.mining import mining_page
from minidsk.settings import LAST_SEED, within
from minidsk.train.device import threads_for


@dataclass(frozen=True)
class Mine:
    """Collect the pages of a crawl that are like those of a seed, by DeepSeekMath's loop."""

    input: str  # the crawl: a WARC file, compressed or not, or its http(s) address
    seed_pages: Path  # lines of JSON with url and text, better 30 of them or more
    output: Path  # the folder for harvest.jsonl, summary.html and what is needed to go on
    approved: Path | None = None  # addresses that a reviewer approved, one a line, each with all that begins with it
    problems: Path | None = None  # problems of an evaluation, one a line; pages that hold one are left out
    mining: Annotated[MiningConfig, tyro.conf.arg(name="")] = field(default_factory=MiningConfig)
    workers: int = min(os.cpu_count() or 1, 8)  # processes that turn pages into text
    seed: int = 0  # of the pages that are drawn

    def __post_init__(self) -> None:
        within(self, 1, 256, "workers")
        within(self, 0, LAST_SEED, "seed")

    def __call__(self) -> None:
        """Read what was not read yet, then do the rounds."""
        if not self.seed_pages.is_file():
            raise ValueError(f"{self.seed_pages}: no such file; give --seed-pages lines of JSON with url and text")
        seed = read_pages(self.seed_pages)
        approved = read_addresses(self.approved) if self.approved else None
        problems = read_lines(self.problems, "--problems", "problem") if self.problems else []
        config, addresses = self.mining, {page["url"] for page in seed}
        identity = {"crawl": self.input, "classifier": repr(config.classifier),
                    "seed": sum_of(sorted(addresses)), "set of problems": sum_of(problems)}  # fmt: skip
        store = Store(self.output / "documents", identity, config.classifier)
        with tqdm(desc="read", unit="page", initial=store.state["pages"]) as bar:

            def show(pages: int, documents: int) -> None:
                bar.set_postfix(documents=f"{documents:,}", refresh=False)
                bar.update(pages - bar.n)

            skipped = store.gather(self.input, self.workers, addresses, show, problems)
        crawl = store.crawl()
        if not len(crawl):
            raise ValueError(f"{self.input}: holds no page with text; give a crawl of HTML pages")
        bags = Bags.join(bag(page["text"], config.classifier) for page in seed)
        review = reviewer(approved) if approved is not None else known_origin(crawl)
        rounds = []
        one_thread = threads_for(torch.device("cpu"), 1)  # the classifier has one number for each bucket
        with one_thread, tqdm(desc="mine", unit="round", total=config.rounds) as bar:
            for found in mine(crawl, bags, review, config, torch.Generator().manual_seed(self.seed)):
                rounds.append(found)
                bar.set_postfix(collected=f"{found.pages:,}", new=f"{found.new:.1%}", refresh=False)
                bar.update()
            bar.total = bar.n  # it may end before the last round that is allowed
        self.write(store, crawl, rounds, skipped)

    def write(self, store: Store, crawl: Crawl, rounds: Sequence[Round], skipped: dict[str, int]) -> None:
        """The harvest, the URLs to review, the figures and the summary; each file is whole or not there."""
        kept = rounds[-1].kept
        with atomic(self.output / "harvest.jsonl") as path, path.open("w", encoding="utf-8", errors="replace") as file:
            for number, page in enumerate(store.lines()):
                if kept[number]:
                    first = next(r.number for r in rounds if r.kept[number])
                    about = {"url": page["url"], "score": round(float(rounds[-1].scores[number]), 4), "round": first}
                    file.write(json.dumps({**about, **page}, ensure_ascii=False) + "\n")
        marked = {host for found in rounds for host in found.marked}
        places = [place for place in groups(places_of(crawl.urls)) if place.partition("/")[0] in marked]
        figures = [as_row(found) for found in rounds]
        pages = {
            "review.txt": "".join(f"{place if '/' in place else f'{place}/'}\n" for place in sorted(places)),
            "rounds.json": json.dumps({"rounds": figures, "skipped": skipped}, indent=1) + "\n",
            "summary.html": mining_page(self.output.resolve().name, figures, skipped, self.input),
        }
        for name, text in pages.items():
            with atomic(self.output / name) as path:
                path.write_text(text, encoding="utf-8", errors="replace")
        last = rounds[-1]
        said = "" if last.precision is None else f", precision {last.precision:.1%}, recall {last.recall or 0:.1%}"
        print(f"{self.output / 'harvest.jsonl'}: {last.pages:,} of {len(crawl):,} pages, "
              f"about {last.tokens:,} tokens{said}")  # fmt: skip
        if skipped:
            print("passed over: " + ", ".join(f"{count:,} {reason}" for reason, count in sorted(skipped.items())))
        if self.approved is None and (crawl.origin < 0).any() and places:
            print(f"no reviewer: look at {self.output / 'review.txt'}, keep the lines with mathematics, and give them "
                  "as --approved FILE; the same command then goes on from there")  # fmt: skip
        print(f"summary: {self.output / 'summary.html'}")


def as_row(found: Round) -> dict[str, Any]:
    """A round's figures for JSON and for the summary."""
    return {"round": found.number, "seed": found.seed, "collected": found.pages, "tokens": found.tokens,
            "new": round(found.new, 4), "hosts": list(found.marked), "reviewed": found.reviewed, "added": found.added,
            "precision": found.precision, "recall": found.recall}  # fmt: skip


def sum_of(lines: Sequence[str]) -> str:
    """Hexadecimal digits that two lists share only if they are the same."""
    return hashlib.blake2b(repr(list(lines)).encode("utf-8", "replace"), digest_size=8).hexdigest()


def read_addresses(path: Path) -> list[str]:
    """The addresses that a reviewer approved, without what stands before their host. Raises `ValueError`."""
    return [line.partition("://")[2] or line for line in read_lines(path, "--approved", "address")]


def read_lines(path: Path, option: str, what: str) -> list[str]:
    """The lines of a file that are not empty. Raises `ValueError` where there is no such file."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give {option} a file with one {what} a line")
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    return [line.strip() for line in lines if line.strip()]


def reviewer(approved: Sequence[str]) -> Review:
    """A reviewer who says yes to what stands in a list, and to all folders within it.

    A host with a slash behind it, as in review.txt, means its pages that are in no folder; a host alone means all.
    """
    known = {address for address in approved if "/" not in address[:-1]}
    known |= {address.rstrip("/") for address in approved if "/" in address[:-1]}

    def review(place: str, pages: Pages) -> bool:
        if "/" not in place:
            return bool(known & {place, f"{place}/"})
        return any(place == address or place.startswith(f"{address}/") for address in known if address[-1:] != "/")

    return review
