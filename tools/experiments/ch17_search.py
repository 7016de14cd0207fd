"""Chapter 17: what more computing at test time buys, by method, and what a search adds.

    python tools/experiments/ch17_search.py --seeds 0 1 2 --parts search --out results/ch17_search
    python tools/experiments/ch17_search.py --seeds 0 1 2 --parts evolution --out results/ch17_evolution

Held-out problems are posed once each; the seeds share them out. For every model and seed: budgets forced on greedy
thoughts; replies drawn from the prompt, of which the vote, the thought's own yes, a learned reward or the verifier
picks one; and trees over steps with the last three as judges. The learned reward is a process preference model, trained
on trees of training problems. Then rounds of self-evolution: fine-tuning on what a tree search found, and, as its
control, on what as many tokens drawn from the prompt found. Writes metrics.json after every run. Asked for again, it
does what is missing. No run is begun after `--limit` seconds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from minidsk import load_policy
from minidsk.infer.evaluate import answers
from minidsk.infer.search.account import Found, Judge, Judged, verify
from minidsk.infer.search.forcing import budget_forcing
from minidsk.infer.search.mcts import TreeConfig, text_of, tree_search
from minidsk.infer.search.voting import liked_best, vote
from minidsk.presets import nano
from minidsk.rl.harvest import FAR
from minidsk.rl.policy import MiniPolicy
from minidsk.rl.preferences import claims_success
from minidsk.rl.process import ProcessJudge, Trees, harvest_trees, step_rankings
from minidsk.rl.reward_model import RewardModel, RewardModelConfig, train_reward_model
from minidsk.tasks.base import Problem, thought_of
from minidsk.train.checkpoint import Run
from minidsk.train.optim import OptimConfig
from minidsk.train.sft import SFTConfig, fine_tune

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from sweep import Record, arguments, sweep

MODELS = ("nano-base", "nano-zero")
NEVER_DOWN = 10**6  # a width at which a search draws from the root alone: best-of-n on the same account
OF_A_RUN = ("problems", "thoughts", "waits", "budgets", "longest", "width", "widths", "c", "trees", "tree_tokens",
            "rankings", "examples", "harvest_tokens", "sft_steps", "lr")  # fmt: skip
PARTS = ("forced", "judge", "drawn", "tree", "evolution")


def distinct(split: str, wanted: int) -> list[Problem]:
    """The first `wanted` problems with different prompts, or all that there are among the first 4,096."""
    task = nano().make_task(split)
    return list({p.prompt: p for p in (task[i] for i in range(4096))}.values())[:wanted]


def own_yes(questions: Any, replies: Any) -> Judged:
    """The thought's own last verdict as the judge: it costs nothing, and can be wrong."""
    return Judged([float(claims_success(reply)) for reply in replies], 0.0)


def says_yes(thought: str) -> bool:
    """Whether a thought ends by claiming success."""
    return thought.rstrip().endswith(("yes", "对了"))


def marks(problems: list[Problem], replies: Any) -> str:
    """A 1 for each right reply, a 0 for each other one."""
    return "".join(str(int(p.score(r) == 1)) for p, r in zip(problems, replies, strict=True))


def row(part: str, problems: list[Problem], found: Found, **about: Any) -> dict[str, Any]:
    """What a method did: which problems it solved, and what it took for each of them."""
    n, right = len(problems), marks(problems, found.replies)
    return {"part": part, **about, "accuracy": round(right.count("1") / n, 4),
            "tokens": round(sum(found.tokens) / n, 1), "samples": round(sum(found.samples) / n, 2),
            "flops": round(found.flops / n), "right": right}  # fmt: skip


def forced(policy: MiniPolicy, problems: list[Problem], about: dict[str, Any], a: argparse.Namespace) -> list[Any]:
    """Greedy thoughts, cut at budgets and kept from ending: what was cut is counted apart."""
    rows = []
    tried = [(budget, 0, "never") for budget in a.thoughts]
    tried += [(a.thoughts[-1], waits, when) for when in ("always", "in doubt") for waits in a.waits]
    for budget, waits, when in tried:
        done = says_yes if when == "in doubt" else None
        found = budget_forcing(policy, problems, budget, None, waits=waits, done=done)
        cut = "".join(str(int(c)) for c in found.cut)
        rows.append(row("forced", problems, found, **about, budget=budget, waits=waits, when=when, cut=cut,
                        waited=round(sum(found.waits) / len(problems), 3)))  # fmt: skip
    return rows


def learned_reward(policy: MiniPolicy, seed: int, a: argparse.Namespace) -> tuple[ProcessJudge, dict[str, Any]]:
    """A process preference model from trees that the verifier judged, on training problems; what it took."""
    train = nano().make_task("train")
    posed = [train[FAR + 10_000 * seed + i] for i in range(a.trees)]
    generator = torch.Generator().manual_seed(1000 + seed)
    found = tree_search(policy, posed, verify, a.tree_tokens, generator, TreeConfig(a.longest, a.width))
    pairs = [p for problem, tree in zip(posed, found.trees, strict=True)
             for p in step_rankings(problem.prompt, tree, policy.tokenizer)]  # fmt: skip
    order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(seed)).tolist()[: a.rankings]
    pairs, model = [pairs[i] for i in order], RewardModel(policy)
    losses = train_reward_model(model, pairs, RewardModelConfig(batch=16, seed=seed), progress=False)
    prompts = [p.prompt for p in pairs for _ in p.replies]
    replies = [reply for p in pairs for reply in p.replies]
    model.centre(prompts[:512], replies[:512])
    flops = found.flops + 3 * model.flops(prompts, replies)  # a step costs about three readings
    return ProcessJudge(model), {"pairs": len(pairs), "last_loss": round(sum(losses[-10:]) / 10, 4), "flops": flops}


def spend(name: str, seed: int, a: argparse.Namespace) -> list[dict[str, Any]]:
    """All methods on one model's share of the held-out problems."""
    began, policy, about = time.time(), load_policy(name), {"model": name, "seed": seed}
    everything = distinct("test", a.problems)
    each = len(everything) // len(a.seeds)
    place = a.seeds.index(seed) * each
    problems = everything[place : place + each]
    rows = forced(policy, problems, about, a)
    learned, cost = learned_reward(policy, seed, a)
    rows.append({"part": "judge", **about, **cost})
    judges: dict[str, Judge[Problem]] = {"verifier": verify, "own yes": own_yes, "learned": learned}
    for budget in a.budgets:
        seeded = torch.Generator().manual_seed(seed)
        found = tree_search(policy, problems, verify, budget, seeded, TreeConfig(a.longest, NEVER_DOWN))
        replies = [[text_of(end, policy.tokenizer) for end in tree.below() if end.ended for _ in range(end.visits)]
                   for tree in found.trees]  # fmt: skip
        for how in ("majority", *judges):
            chosen, flops = choose(how, judges, problems, replies)
            picked = Found(tuple(chosen), found.tokens, found.samples, found.flops + flops)
            rows.append(row("drawn", problems, picked, **about, budget=budget, judge=how))
    tried = [(budget, how, a.width, False) for budget in a.budgets[:-1] for how in judges]
    tried += [(a.budgets[1], "verifier", width, False) for width in a.widths]
    tried += [(a.budgets[1], "learned", a.width, True)]
    for budget, how, width, guided in tried:
        config, seeded = TreeConfig(a.longest, width, a.c), torch.Generator().manual_seed(seed)
        guide = judges[how] if guided else None
        found = tree_search(policy, problems, judges[how], budget, seeded, config, guide=guide)
        rows.append(row("tree", problems, found, **about, budget=budget, judge=how, width=width, guided=guided))
    print(f"{name}, seed {seed}: {time.time() - began:.0f} s", flush=True)
    return rows


def choose(how: str, judges: Any, problems: list[Problem], replies: list[list[str]]) -> tuple[list[str], float]:
    """One of each problem's replies, and the operations of choosing."""
    if how == "majority":
        places = [vote([p.answer(r) for r in of]) for p, of in zip(problems, replies, strict=True)]
        return ["" if at is None else of[at] for of, at in zip(replies, places, strict=True)], 0.0
    return liked_best(judges[how], problems, replies)


def evolve(arm: str, seed: int, a: argparse.Namespace) -> list[dict[str, Any]]:
    """Rounds: the policy solves training problems, the base learns from its solutions, and is the next policy."""
    base, problems, rows = load_policy("nano-base"), distinct("test", a.problems), []
    train, policy, flops = nano().seeded(seed).make_task("train"), base, 0.0
    wanted = Trees(a.examples, a.harvest_tokens, config=TreeConfig(a.longest, a.width if arm == "tree" else NEVER_DOWN))
    for number in range(a.rounds + 1):
        if number:
            found = harvest_trees(policy, train, wanted, 10 * seed + number)
            lines = sum(thought_of(reply).count("\n") + 1 for _, reply in found.examples) / len(found.examples)
            policy = base.copy()
            optim = OptimConfig(lr=a.lr, warmup=5)
            config = SFTConfig(a.sft_steps, 32, optim=optim, seed=10 * seed + number)
            with tempfile.TemporaryDirectory() as folder:
                run = Run(folder, "sft", {})
                fine_tune(policy, found.examples, config, run, progress=False)
                flops += found.flops + sum(line["flops"] for line in run.metrics())
            more = {"examples": len(found.examples), "asked": found.asked, "lines": round(lines, 2)}
        else:
            more = {}
        right = marks(problems, answers(policy, problems, 160))
        rows.append({"part": "evolution", "arm": arm, "seed": seed, "round": number, "flops": flops, **more,
                     "accuracy": round(right.count("1") / len(problems), 4), "right": right})  # fmt: skip
    return rows


def main() -> None:
    """The command line."""
    parser = arguments(__doc__, "results/ch17_search", device="cpu")
    parser.add_argument("--parts", nargs="+", default=["search", "evolution"], choices=("search", "evolution"))
    parser.add_argument("--problems", type=int, default=432, help="held-out problems, shared out among the seeds")
    parser.add_argument("--thoughts", type=int, nargs="+", default=[8, 16, 24, 32, 48, 64, 96, 160])
    parser.add_argument("--waits", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--budgets", type=int, nargs="+", default=[160, 320, 640, 1280], help="tokens for one problem")
    parser.add_argument("--longest", type=int, default=96, help="tokens of a reply that is drawn, at most")
    parser.add_argument("--width", type=int, default=4, help="draws from a step before a tree goes below it")
    parser.add_argument("--widths", type=int, nargs="*", default=[2, 8], help="others, at the second budget")
    parser.add_argument("--c", type=float, default=1.0, help="how much a tree tries what it rarely tried")
    parser.add_argument("--trees", type=int, default=192, help="training problems of the learned reward")
    parser.add_argument("--tree-tokens", type=int, default=480)
    parser.add_argument("--rankings", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--examples", type=int, default=384)
    parser.add_argument("--harvest-tokens", type=int, default=400)
    parser.add_argument("--sft-steps", type=int, default=40)
    parser.add_argument("--lr", type=float, default=1e-3)
    a = parser.parse_args()
    names = (*MODELS, "tree", "root")
    record = Record(a, lambda r: (PARTS.index(r["part"]), names.index(r.get("model") or r["arm"]), r["seed"]))
    record.resume(OF_A_RUN)
    done = {(r.get("model") or r["arm"], r["seed"]) for r in record.rows}
    tasks: list[tuple[Any, ...]] = []
    tasks += [(spend, name, seed, a) for seed in a.seeds for name in MODELS if "search" in a.parts]
    tasks += [(evolve, arm, seed, a) for seed in a.seeds for arm in ("tree", "root") if "evolution" in a.parts]
    sweep([task for task in tasks if task[1:3] not in done], record.add, a)


if __name__ == "__main__":
    main()
