"""The same weights on another library's Countdown: problems that reasoning-gym makes, and its own scorer.

    pip install reasoning-gym==0.1.25
    python tools/record.py countdown_gym -- .venv/bin/python tools/experiments/countdown_gym.py nano-zero

Our draw and our verifier could both be kind to our models. So each checkpoint answers held-out problems of our draw and
problems of reasoning-gym's generator, of the same sizes, and both scorers judge all replies. A problem of theirs counts
where its numbers, in any order, were held out from the training text too. Their prompt is put into the words that the
model knows: numbers and target are all that is taken over.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from minidsk.atomic import atomic
from minidsk.cli.use import task_of, trained
from minidsk.infer.evaluate import answers, wilson
from minidsk.rl.policy import load_policy
from minidsk.tasks import make_task
from minidsk.tasks.base import Problem
from minidsk.tasks.countdown import Countdown
from minidsk.tasks.draw import TARGET_LOW, split_of
from minidsk.train.device import pick_device

LARGE = 1_000_000  # reasoning-gym needs a size; problems are made when they are asked for
Scorer = Callable[[str, dict[str, Any]], float]


def sizes(task: Countdown) -> dict[str, Any]:
    """reasoning-gym's names for the settings of a task of ours."""
    lowest = TARGET_LOW if task.draw == "uniform" else 1
    return {"min_numbers": min(task.numbers), "max_numbers": max(task.numbers), "min_value": 1, "max_value": task.high,
            "min_target": lowest, "max_target": task.target_high, "operators": tuple(task.ops)}  # fmt: skip


def entries(made: Any) -> Iterator[dict[str, Any]]:
    """The problems of a reasoning-gym dataset, without those that it fails to make."""
    for i in range(LARGE):
        try:
            yield made[i]
        except ValueError:  # it gives up after a hundred tries
            continue


def held_out(made: Any, count: int, split: str = "test") -> list[tuple[Problem, dict[str, Any]]]:
    """The first `count` of their problems that belong to a split of ours: in our words, and as they are."""
    found: list[tuple[Problem, dict[str, Any]]] = []
    for entry in entries(made):
        numbers, target = entry["metadata"]["numbers"], entry["metadata"]["target"]
        if split_of(tuple(numbers), target) == split:
            posed = Countdown.pose(f"{' '.join(map(str, numbers))} = {target}")
            assert posed is not None  # positive numbers and a target, as asked for
            found.append((posed, entry))
            if len(found) == count:
                break
    return found


def as_theirs(problem: Any) -> dict[str, Any]:
    """A problem of ours as their scorer reads it."""
    return {"metadata": {"numbers": list(problem.numbers), "target": problem.target}}


def judged(problems: Sequence[tuple[Any, dict[str, Any]]], replies: Sequence[str], theirs: Scorer) -> dict[str, Any]:
    """How many replies each scorer calls right; a full score of theirs is 1, their rewards for trying are less."""
    count = {"problems": len(replies), "ours": 0, "theirs": 0, "both": 0}
    for (problem, entry), reply in zip(problems, replies, strict=True):
        mine, other = problem.score(reply) == 1, theirs(problem.answer(reply) or "", entry) == 1
        count["ours"] += mine
        count["theirs"] += other
        count["both"] += mine and other
    low, high = wilson(count["theirs"] / len(replies), len(replies))
    return {**count, "low": round(low, 4), "high": round(high, 4)}


def compare(name: str, count: int, tokens: int, seed: int, device: str, dataset: Callable[..., Any]) -> dict[str, Any]:
    """One checkpoint on both draws; `dataset(**sizes, seed=...)` makes theirs."""
    folder, where = trained(name), pick_device(device)
    policy = load_policy(folder, where)
    settings = {"name": "countdown"} | task_of(folder)
    settings["numbers"] = sorted(set(settings["numbers"]))  # each count as often, as theirs
    task = make_task(split="test", seed=seed, **settings)
    assert isinstance(task, Countdown)
    made = dataset(**sizes(task), seed=seed, size=LARGE)
    posed = {"our draw": [(task[i], as_theirs(task[i])) for i in range(count)], "their draw": held_out(made, count)}
    row: dict[str, Any] = {"checkpoint": name, "sizes": sizes(task), "seed": seed, "max_new_tokens": tokens}
    for draw, problems in posed.items():
        replies = answers(policy, [problem for problem, _ in problems], tokens)
        row[draw] = judged(problems, replies, made.score_answer)
        print(f"{name}, {draw}: {row[draw]}", flush=True)
    return row


def main(asked: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+", help="names or folders, as `minidsk eval` takes them")
    parser.add_argument("--problems", type=int, default=1024)
    parser.add_argument("--tokens", type=int, default=384, help="the longest reply")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("MINIDSK_RESULT", "results/countdown_gym")))
    a = parser.parse_args(asked)
    try:
        from reasoning_gym import create_dataset
    except ModuleNotFoundError:
        raise SystemExit("reasoning-gym is not installed: pip install reasoning-gym==0.1.25") from None

    def dataset(**settings: Any) -> Any:
        return create_dataset("countdown", **settings)

    torch.set_num_threads(1)
    rows = [compare(name, a.problems, a.tokens, a.seed, a.device, dataset) for name in a.checkpoints]
    a.out.mkdir(parents=True, exist_ok=True)
    with atomic(a.out / "metrics.json") as path:
        path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
