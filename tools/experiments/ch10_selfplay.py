"""Chapter 10: a policy that teaches itself a board game, and what each part of the recipe is for.

    python tools/experiments/ch10_selfplay.py --seeds 0 1 2 --out results/ch10_selfplay
    python tools/experiments/ch10_selfplay.py --game connect --seeds 0 1 2 --out results/ch10_connect

For tic-tac-toe: the recipe, and, in half its steps, the recipe again and with one part changed at a time. For Connect
Four on 4 by 4: the recipe alone. Every policy is held against minimax in every position that is not yet lost, while it
learns, and at the end it is played out against every reply. Writes metrics.json into the folder after each run. No run
is begun after `--limit` seconds; what was left out is named at the end.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import torch

from minidsk.atomic import atomic
from minidsk.rl.selfplay import Policy, SelfPlayConfig, judge, losses, train
from minidsk.tasks.board import Board, Solution

GAMES = {"tictactoe": Board(), "connect": Board(4, 4, 4, gravity=True)}


def methods(game: str, steps: int) -> dict[str, SelfPlayConfig]:
    """Each row of the table; the recipe comes first."""
    recipe = SelfPlayConfig(steps=steps)
    if game == "connect":
        return {"the recipe": recipe}
    half = dataclasses.replace(recipe, steps=max(steps // 2, 1))
    return {
        "the recipe": recipe,
        "half the steps": half,
        "baseline mean": dataclasses.replace(half, baseline="mean"),
        "baseline none": dataclasses.replace(half, baseline="none"),
        "no entropy bonus": dataclasses.replace(half, entropy=0.0),
        "from the empty board": dataclasses.replace(half, openings=False),
        "rate 0.1": dataclasses.replace(half, lr=0.1),
        "rate 0.3": dataclasses.replace(half, lr=0.3),
    }


def one_run(board: Board, solution: Solution, config: SelfPlayConfig, every: int) -> dict[str, Any]:
    """One policy: its curve of [games, losing, worse], the endings that it loses, and the seconds of training alone."""
    curve, judging = [], 0.0
    untrained = judge(Policy(board, config.width, torch.Generator().manual_seed(config.seed)), solution)
    curve.append([0, untrained.losing, untrained.worse])

    def watch(step: int, policy: Policy, stats: dict[str, float]) -> None:
        nonlocal judging
        if step % every == 0 or step == config.steps:
            began = time.process_time()
            verdict = judge(policy, solution)
            curve.append([step * config.games, verdict.losing, verdict.worse])
            judging += time.process_time() - began

    began = time.process_time()
    policy = train(board, config, watch)
    seconds = time.process_time() - began - judging
    safe = solution.going & (solution.value >= 0)
    first = board.empty(1)
    replies = torch.cat([board.play(first, torch.tensor([move])) for move in range(board.moves)])
    return {
        "seed": config.seed, "config": dataclasses.asdict(config), "checked": untrained.checked, "curve": curve,
        "losing": curve[-1][1], "worse": curve[-1][2], "seconds": round(seconds, 2),
        "lost_endings": {
            "from every position": losses(policy, board, solution.position[safe]),
            "moving first": losses(policy, board, first),
            "moving second": losses(policy, board, replies),
        },
    }  # fmt: skip


def write(path: Path, value: Any) -> None:
    """JSON, whole or not at all."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(value, separators=(",", ":")) + "\n", encoding="utf-8")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Self-play, and what each part of the recipe is for.")
    parser.add_argument("--game", choices=list(GAMES), default="tictactoe")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--every", type=int, default=25, help="steps between two judgements")
    parser.add_argument("--only", nargs="*", help="some methods alone, by name")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds after which no run is begun")
    parser.add_argument("--out", type=Path, required=True)
    a = parser.parse_args()
    torch.set_num_threads(1)
    began = time.time()
    a.out.mkdir(parents=True, exist_ok=True)
    board = GAMES[a.game]
    solution = board.solve()
    todo = [(name, seed) for name in methods(a.game, a.steps) for seed in a.seeds if not a.only or name in a.only]
    runs: list[dict[str, Any]] = []
    print(f"{'method':22} seed losing  worse  lost endings  seconds")
    for name, seed in todo:
        if time.time() - began > a.limit:
            break
        config = dataclasses.replace(methods(a.game, a.steps)[name], seed=seed)
        run = {"method": name, **one_run(board, solution, config, a.every)}
        runs.append(run)
        write(a.out / "metrics.json", {"board": dataclasses.asdict(board), "runs": runs})
        endings = "/".join(str(count) for count in run["lost_endings"].values())
        print(f"{name:22} {seed:4} {run['losing']:6} {run['worse']:6} {endings:>13} {run['seconds']:8.1f}", flush=True)
    print(f"{len(runs)} runs, {len(todo) - len(runs)} left out for time, {time.time() - began:.0f} s in all")


if __name__ == "__main__":
    main()
