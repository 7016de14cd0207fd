"""How many pages a second this machine mines: scored, and on the whole path from a WARC file to documents and bags.

    python tools/bench_mining.py [--workers 2] [--repeats 3]

The crawl is the documentation on this machine. Wanted on two cores: 1,000 pages per second scored, their bags made
included, and 100 on the whole path. Medians over the repeats.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from minidsk.data.classifier import Bags, ClassifierConfig, bag, train_classifier
from minidsk.data.crawl import default_crawl
from minidsk.data.extract import documents
from minidsk.data.store import Store

CONFIG = ClassifierConfig()


def score(texts: list[str]) -> int:
    """Bags and scores of some pages; how many."""
    torch.set_num_threads(1)
    found = Bags.join(bag(text, CONFIG) for text in texts)
    half = found.take(np.arange(8))
    model = train_classifier(half, [1] * 4 + [0] * 4, ClassifierConfig(steps=1))
    return len(model(found))


def rate(run: Callable[[], int], repeats: int) -> float:
    """Pages a second, the median over the repeats."""
    rates = []
    for _ in range(repeats):
        start = time.perf_counter()
        pages = run()
        rates.append(pages / (time.perf_counter() - start))
    return statistics.median(rates)


def whole_path(path: Path, workers: int) -> int:
    """From a WARC file to a folder of documents and bags; how many pages were read."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder, {}, CONFIG)
        store.gather(path, workers, set(), lambda pages, documents: None)
        return int(store.state["pages"])


def main() -> None:
    """Measure both, and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    a = parser.parse_args()
    path = default_crawl()
    texts = [document.text for document in documents(path)]
    parts: list[Any] = [texts[i :: a.workers] for i in range(a.workers)]
    with ProcessPoolExecutor(a.workers) as pool:
        list(pool.map(score, parts))  # to warm up
        scored = rate(lambda: sum(pool.map(score, parts)), a.repeats)
    print(f"scored: {scored:,.0f} pages/s, {a.workers} processes, wanted 1,000")
    print(f"whole path: {rate(lambda: whole_path(path, a.workers), a.repeats):,.0f} pages/s, wanted 100")


if __name__ == "__main__":
    main()
