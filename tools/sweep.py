"""What experiments repeat: runs side by side in processes, results kept after each, and no run begun too late.

    settings = arguments(__doc__, out="results/ch99_probe").parse_args()
    record = Record(settings)                                   # metrics.json, whole at any time
    left = sweep([(train, name, seed, settings) for ...], record.add, settings)
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import torch

from minidsk.atomic import atomic
from minidsk.train.device import keep_memory

BEGAN = time.time()


def arguments(doc: str, out: str, **defaults: Any) -> argparse.ArgumentParser:
    """The options that experiments share; `defaults` replace their defaults. An experiment adds its own."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", choices=("auto", "cuda", "cpu"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--workers", type=int, default=1, help="runs at the same time (their seconds then say little)")
    parser.add_argument("--threads", type=int, default=1, help="threads of each run on a CPU")
    parser.add_argument("--limit", type=float, default=1e9, help="seconds after which no run is begun")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("MINIDSK_RESULT", out)))
    parser.set_defaults(**defaults)
    return parser


class Record:
    """The `metrics.json` of an experiment: its settings, and the rows that runs gave, in the order of `key`.

    more: what else belongs there, by name. rows: the name of the list. A row is written as soon as it is there.
    """

    def __init__(
        self,
        a: argparse.Namespace,
        key: Callable[[dict[str, Any]], Any],
        rows: str = "runs",
        settings: dict[str, Any] | None = None,
        **more: Any,
    ) -> None:
        self.path, self.key, self.name, self.more = a.out / "metrics.json", key, rows, more
        chosen = {name: value for name, value in vars(a).items() if name not in ("out", "only")}
        self.settings = json.loads(json.dumps(chosen if settings is None else settings))
        self.rows: list[dict[str, Any]] = []
        a.out.mkdir(parents=True, exist_ok=True)

    def resume(self, same: Sequence[str]) -> None:
        """Keep the rows of an earlier call. Exits with a line where one of the settings named in `same` differs."""
        if not self.path.exists():
            return
        earlier = json.loads(self.path.read_text(encoding="utf-8"))
        for name in same:
            if earlier["settings"].get(name) != self.settings[name]:
                raise SystemExit(f"{self.path.parent} holds runs of another {name}; give another --out")
        self.rows = list(earlier[self.name])

    def missing(self, variants: Sequence[str], seeds: Sequence[int]) -> list[tuple[str, int]]:
        """Which runs of these variants and seeds have no row yet."""
        done = {(row["variant"], row["seed"]) for row in self.rows}
        return [(name, seed) for name in variants for seed in seeds if (name, seed) not in done]

    def add(self, *rows: dict[str, Any]) -> None:
        """Keep rows, and write the file."""
        self.rows = sorted([*self.rows, *rows], key=self.key)
        with atomic(self.path) as path:
            content = {"settings": self.settings, **self.more, self.name: self.rows}
            path.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
        for row in rows:
            about = {name: value for name, value in row.items() if isinstance(value, (str, int, float))}
            print(f"{time.time() - BEGAN:7.1f} s  {about}", flush=True)


def sweep(calls: Sequence[tuple[Any, ...]], keep: Callable[..., None], a: argparse.Namespace) -> int:
    """Make every call, (function, arguments...), in one of `a.workers` processes; how many were left out for time.

    What a function returns, a row or a list of rows, is kept as soon as it is there. Nothing is begun later than
    `a.limit` seconds after the experiment began.
    """
    left = 0
    with ProcessPoolExecutor(a.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        deadline = BEGAN + a.limit
        for done in as_completed([pool.submit(_in_time, deadline, a.threads, *call) for call in calls]):
            rows = done.result()
            if rows is None:
                left += 1
            else:
                keep(*(rows if isinstance(rows, list) else [rows]))
    print(f"{len(calls) - left} runs, {left} left out for time, {time.time() - BEGAN:.0f} s in all")
    return left


def compare(
    a: argparse.Namespace,
    variants: Sequence[str],
    train: Callable[..., dict[str, Any]],
    summary: Callable[[list[dict[str, Any]]], str],
    same: Sequence[str],
) -> None:
    """Make the runs of `a.variants` and `a.seeds` that the record lacks, each by ``train(variant, seed, a)``.

    Rows stand in the order of `variants`, then of seeds; `summary` of all of them is printed. `same`: the settings that
    all runs share.
    """
    record = Record(a, lambda run: (list(variants).index(run["variant"]), run["seed"]))
    record.resume(same)
    sweep([(train, name, seed, a) for name, seed in record.missing(a.variants, a.seeds)], record.add, a)
    print(summary(record.rows))


def why(error: Exception) -> str:
    """An error in one line, for the row of what failed."""
    return f"{type(error).__name__}: {error}".partition("\n")[0]


def keep_job(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write the rows that a job has so far to its file, whole at any time."""
    with atomic(path) as new:
        new.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def collected(a: argparse.Namespace) -> list[dict[str, Any]]:
    """All rows of the jobs in `a.out`, also written to metrics.json; a record whose jobs are gone stays as it is."""
    rows = [json.loads(line) for path in sorted((a.out / "jobs").glob("*.jsonl"))
            for line in path.read_text(encoding="utf-8").splitlines()]  # fmt: skip
    if not rows and (a.out / "metrics.json").exists():
        return rows
    settings = {name: value for name, value in vars(a).items() if name not in ("out", "began", "deadline")}
    with atomic(a.out / "metrics.json") as path:
        content = {"settings": settings, "rows": rows}
        path.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    return rows


def _in_time(deadline: float, threads: int, function: Callable[..., Any], *arguments: Any) -> Any:
    if time.time() > deadline:
        return None
    torch.set_num_threads(threads)
    keep_memory()
    return function(*arguments)
