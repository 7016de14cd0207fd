"""Chapter 11: what a policy does to a reward model that learned from a biased judge.

    python tools/experiments/ch11_feedback.py --seeds 0 1 2 --out results/ch11_feedback

For each seed: fine-tune the base on demonstrations, let a simulated annotator rank replies, fit a reward model to the
rankings; then follow proxy, judge and truth while policies move away: by PPO at several prices of KL, by PPO on the
verifier (the control), by DPO, and by picking the best of n. Writes metrics.json after every run. No run is begun after
`--limit` seconds. `--dpo-seeds` and `--no-control` leave out what another record has.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor

from minidsk import load_policy
from minidsk.data.corpus import TinyWeb
from minidsk.presets import nano
from minidsk.rl.completions import over_all
from minidsk.rl.config import CriticConfig, RLConfig
from minidsk.rl.critic import CriticBaseline
from minidsk.rl.dpo import DPOConfig, direct_preferences
from minidsk.rl.loop import reinforce
from minidsk.rl.policy import MiniPolicy
from minidsk.rl.preferences import Annotator, Ranking, claims_success
from minidsk.rl.reward_model import (
    RewardModel,
    RewardModelConfig,
    accuracy,
    calibration,
    pair_loss,
    train_reward_model,
)
from minidsk.rl.rollout import rollout
from minidsk.tasks.base import Problem, Task
from minidsk.train.checkpoint import Run
from minidsk.train.device import pick_device
from minidsk.train.optim import OptimConfig
from minidsk.train.sft import SFTConfig, fine_tune

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from sweep import Record, arguments, sweep

PER_RANKING = 4
HELD_OUT = 10**8  # problems whose rankings test the reward model, far from those it learned from
FOR_PPO = 10**7  # and those that the policies practise on


def demonstrations(count: int, seed: int) -> list[tuple[str, str]]:
    """Worksheets of the persistent authors who keep to English, as pairs of prompt and reply."""
    web = dataclasses.replace(nano().pretrain.web, worksheets=1.0, persistent=1.0, chinese=0.0, mixed=0.0)
    pages = TinyWeb(web, seed=1000 + seed).pages(0, count)
    return [(page[: page.index("<think>")], page[page.index("<think>") :]) for page in pages]


def annotator(a: argparse.Namespace) -> Annotator:
    """The judge of this experiment."""
    return Annotator(a.right, a.claims, a.length, a.noise)


def rank(policy: MiniPolicy, first: int, count: int, seed: int, a: argparse.Namespace) -> list[tuple[Problem, Ranking]]:
    """Replies of a policy to `count` problems, ranked by the judge."""
    problems = [nano().make_task("train")[first + seed * 10**6 + i] for i in range(count)]
    prompts = [problem.prompt for problem in problems for _ in range(PER_RANKING)]
    draws = torch.Generator(policy.device).manual_seed(seed + first % 1009)
    replies: list[str] = []
    for start in range(0, len(prompts), 2048):
        part = prompts[start : start + 2048]
        replies += policy.sample(part, 1, a.tokens, 1.0, draws).texts
    generator, judge, ranked = torch.Generator().manual_seed(seed), annotator(a), []
    for i, problem in enumerate(problems):
        ranking = judge.rank(problem, replies[i * PER_RANKING : (i + 1) * PER_RANKING], generator)
        if ranking is not None:
            ranked.append((problem, ranking))
    return ranked


def prepare(seed: int, folder: str, a: argparse.Namespace) -> list[dict[str, Any]]:
    """Fine-tuning and reward models of one seed, kept in `folder`; what became of them."""
    began = time.time()
    policy = load_policy(a.base, pick_device(a.device))
    base = look(policy, policy.copy(), None, a)
    with tempfile.TemporaryDirectory() as run:
        config = SFTConfig(steps=a.sft_steps, batch=32, optim=OptimConfig(lr=a.sft_lr, warmup=5), seed=seed)
        fine_tune(policy, demonstrations(a.demonstrations, seed), config, Run(run, "sft", {}), progress=False)
    seconds = {"sft": time.time() - began}
    began = time.time()
    tested = rank(policy, HELD_OUT, a.test_rankings, seed, a)
    ranked = rank(policy, 0, max(a.rankings), seed, a)
    seconds["ranking"] = time.time() - began
    rows = []
    for count in a.rankings:
        began = time.time()
        reward_model = RewardModel(policy)
        # Few labels are read more often: every reward model takes as many steps.
        epochs = max(max(a.rankings) // count, 1) if count < max(a.rankings) else 1
        config = RewardModelConfig(epochs=min(epochs, a.most_epochs), batch=4,
                                   optim=OptimConfig(lr=a.rm_lr, warmup=5), seed=seed)  # fmt: skip
        losses = train_reward_model(reward_model, [r for _, r in ranked[:count]], config, progress=False)
        prompts = [r.prompt for _, r in ranked[:512] for _ in r.replies]
        reward_model.centre(prompts, [reply for _, r in ranked[:512] for reply in r.replies])
        seconds["reward_model"] = time.time() - began
        rows.append({"part": "reward_model", "seed": seed, "rankings": count,
                     "comparisons": sum(len(r.pairs()) for _, r in ranked[:count]), "epochs": config.epochs,
                     "last_loss": mean(losses[-20:]), **judge_reward_model(reward_model, tested, a)})  # fmt: skip
    sft = look(policy, policy.copy(), reward_model, a)
    plain = [(r.prompt, r.replies) for _, r in ranked]
    torch.save({"sft": policy.model.state_dict(), "rm": reward_model.state_dict(), "rankings": plain},
               Path(folder) / f"{seed}.pt")  # fmt: skip
    return [*rows, {"part": "start", "seed": seed, "base": base, "sft": sft, "seconds": seconds},
            *best_of(policy, reward_model, seed, a)]  # fmt: skip


def judge_reward_model(
    model: RewardModel, tested: list[tuple[Problem, Ranking]], a: argparse.Namespace
) -> dict[str, Any]:
    """Accuracy, loss and calibration on held-out comparisons, beside the best that anybody could reach."""
    judge = annotator(a)
    pairs = [(problem, pair) for problem, ranking in tested for pair in ranking.pairs()]
    true = torch.tensor([judge.probability(problem, p.chosen, p.rejected) for problem, p in pairs]).double()
    margins = model.margins([pair for _, pair in pairs]).cpu()
    right = torch.tensor([problem.score(p.chosen) - problem.score(p.rejected) for problem, p in pairs])
    longer = torch.tensor([len(p.chosen) - len(p.rejected) for _, p in pairs])
    # Each pair from both sides, so that predictions fill the whole of [0, 1].
    predicted, known = torch.sigmoid(torch.cat((margins, -margins))), torch.cat((true, 1 - true))
    happened = torch.cat((torch.ones(len(pairs)), torch.zeros(len(pairs))))
    table, error = calibration(predicted, happened, bins=10)
    return {
        "accuracy": accuracy(margins), "loss": float(pair_loss(margins, torch.zeros_like(margins))),
        "best_accuracy": float(((true > 0.5) + 0.5 * (true == 0.5)).double().mean()),
        "best_loss": float(-true.log().mean()),
        "calibration_error": error, "calibration": [dataclasses.astuple(row) for row in table],
        "error_against_known": float((predicted - known).abs().mean()),
        "prefers_right": accuracy((margins * right.sign())[right != 0]),
        "judge_prefers_right": float((right[right != 0] > 0).double().mean()),
        "prefers_longer": accuracy((margins * longer.sign())[longer != 0]),
        "judge_prefers_longer": float((longer[longer != 0] > 0).double().mean()),
    }  # fmt: skip


@torch.no_grad()
def look(policy: MiniPolicy, reference: MiniPolicy, rm: RewardModel | None, a: argparse.Namespace) -> dict[str, float]:
    """Proxy, judge and truth on held-out problems, one reply each at temperature 1, and the nats a reply is away."""
    problems = [nano().make_task("test")[i] for i in range(a.problems)]
    generator = torch.Generator(policy.device).manual_seed(0)
    rollouts = rollout(policy, problems, 1, a.tokens, {"accuracy": 1.0}, generator=generator)
    s = rollouts.completions
    ref = over_all(reference.logprobs, s, 256)
    found = {"kl": float(((s.logp - ref) * s.mask).sum() / len(problems)), "right": float(rollouts.rewards.mean()),
             "tokens": float(s.lengths.float().mean()), "cut_off": 1 - float(s.ended.float().mean()),
             **impression(problems, s.texts, a)}  # fmt: skip
    return found | ({"proxy": float(rm.reward(problems, s.texts).mean())} if rm else {})


def impression(problems: list[Problem], replies: list[str], a: argparse.Namespace) -> dict[str, float]:
    """What the judge would think of replies, and how many of them claim success."""
    judge = annotator(a)
    worth = mean(judge.worth(problem, reply) for problem, reply in zip(problems, replies, strict=True))
    return {"worth": worth, "claims": mean(map(claims_success, replies))}


def best_of(policy: MiniPolicy, rm: RewardModel, seed: int, a: argparse.Namespace) -> list[dict[str, Any]]:
    """The reply that the reward model likes best among n, for n from 1 to `most`: the unbiased mean over all choices.

    Its distance from the policy is log n - (n - 1) / n nats (Stiennon et al., 2020).
    """
    problems = [nano().make_task("test")[i] for i in range(a.problems // 4)]
    generator = torch.Generator(policy.device).manual_seed(seed)
    rollouts = rollout(policy, problems, a.most, a.tokens, {"accuracy": 1.0}, generator=generator)
    s = rollouts.completions
    posed, judge = [p for p in problems for _ in range(a.most)], annotator(a)
    proxy = rm.reward(posed, s.texts).cpu().view(-1, a.most)
    worth = torch.tensor([judge.worth(p, t) for p, t in zip(posed, s.texts, strict=True)]).view(-1, a.most)
    order, rows = proxy.argsort(1), []
    for n in [2**k for k in range(a.most.bit_length()) if 2**k <= a.most]:
        # The i-th lowest of `most` replies is the best of n drawn ones in C(i, n - 1) of C(most, n) cases.
        w = torch.tensor([math.comb(i, n - 1) / math.comb(a.most, n) for i in range(a.most)])

        def chosen(values: Tensor, w: Tensor = w) -> float:
            return float((values.cpu().float().gather(1, order) * w).sum(1).mean())

        rows.append({"part": "best_of_n", "seed": seed, "n": n, "kl": math.log(n) - (n - 1) / n,
                     "proxy": chosen(proxy), "worth": chosen(worth), "right": chosen(rollouts.rewards)})  # fmt: skip
    return rows


def load(seed: int, folder: str, a: argparse.Namespace) -> tuple[MiniPolicy, RewardModel, list[Ranking]]:
    """What `prepare` made."""
    policy = load_policy(a.base, pick_device(a.device))
    kept = torch.load(Path(folder) / f"{seed}.pt", map_location=policy.device, weights_only=True)
    policy.model.load_state_dict(kept["sft"])
    rm = RewardModel(policy)
    rm.load_state_dict(kept["rm"])
    return policy, rm, [Ranking(*each) for each in kept["rankings"]]


def by_ppo(seed: int, folder: str, kl_coef: float, verifier: bool, a: argparse.Namespace) -> dict[str, Any]:
    """One run of PPO against the reward model, or against the verifier; a figure of each kind for every step."""
    policy, rm, _ = load(seed, folder, a)
    reference, seen = policy.copy(), []

    def reward(problems: list[Problem], replies: list[str]) -> Tensor:
        proxy = rm.reward(problems, replies)
        seen.append({"proxy": float(proxy.mean()), **impression(problems, replies, a)})
        right = torch.tensor([problem.score(reply) for problem, reply in zip(problems, replies, strict=True)])
        return right if verifier else proxy

    optim = OptimConfig(lr=a.lr, warmup=1, decay=0.01, betas=(0.9, 0.99))
    config = RLConfig(steps=a.steps, prompts=a.prompts, group=1, max_new_tokens=a.tokens, optim=optim, clip_high=0.2,
                      rows=a.rows, seed=seed, save_every=10**6)  # fmt: skip
    critic = CriticConfig(optim=dataclasses.replace(optim, lr=a.critic_lr), updates=a.critic_updates, alone=1,
                          kl_coef=kl_coef)  # fmt: skip

    class Shifted(Task):
        """The training problems, from a place that no ranking used."""

        def __getitem__(self, i: int) -> Problem:
            return nano().make_task("train")[FOR_PPO + seed * 10**6 + i]

    began = time.time()
    with tempfile.TemporaryDirectory() as place:
        run = Run(place, "ppo", config)
        baseline = CriticBaseline(policy, critic, a.steps, a.rows, reference)
        reinforce(policy, Shifted(), config, run, baseline=baseline, reward=reward, progress=False)
        lines = run.metrics()
    wanted = {"kl": "kl_answer", "right": "accuracy", "tokens": "length", "cut_off": "cut_off", "entropy": "entropy",
              "explained_variance": "explained_variance"}  # fmt: skip
    curves = {name: [float(line.get(key, 0.0)) for line in lines] for name, key in wanted.items()}
    curves |= {name: [line[name] for line in seen] for name in ("proxy", "worth", "claims")}
    end = look(policy, reference, rm, a)
    problems = [nano().make_task("test")[i] for i in range(3)]
    generator = torch.Generator(policy.device).manual_seed(seed)
    samples = policy.sample([p.prompt for p in problems], 1, a.tokens, 1.0, generator).texts
    return {"part": "ppo", "seed": seed, "reward": "verifier" if verifier else "reward model", "kl_coef": kl_coef,
            "curves": {name: [round(v, 4) for v in values] for name, values in curves.items()}, "end": end,
            "seconds": time.time() - began, "samples": samples}  # fmt: skip


def by_dpo(seed: int, folder: str, beta: float, a: argparse.Namespace) -> dict[str, Any]:
    """DPO on the pairs of the same rankings, looked at every few steps."""
    policy, rm, rankings = load(seed, folder, a)
    reference = policy.copy()
    pairs = [pair for ranking in rankings for pair in ranking.pairs()]
    looks, began = [{"step": 0, **look(policy, reference, rm, a)}], time.time()
    optim = OptimConfig(lr=a.dpo_lr, warmup=5, decay=0.01, betas=(0.9, 0.99))
    for part in range(a.dpo_looks):
        steps = a.dpo_steps // a.dpo_looks
        # One long run in parts: a constant rate, and the optimizer begins anew at each look.
        config = DPOConfig(steps=steps, batch=16, beta=beta, optim=optim, seed=seed * 100 + part)
        history = direct_preferences(policy, pairs, config, reference=reference, progress=False)
        looks.append({"step": (part + 1) * steps, "accuracy": mean(h["accuracy"] for h in history),
                      **look(policy, reference, rm, a)})  # fmt: skip
    return {"part": "dpo", "seed": seed, "beta": beta, "looks": looks, "seconds": time.time() - began}


def summary(rows: list[dict[str, Any]]) -> str:
    """A short table of everything."""

    def of(part: str) -> list[dict[str, Any]]:
        return [row for row in rows if row["part"] == part]

    lines = [f"seed {r['seed']}: right {r['base']['right']:.3f}, after SFT {r['sft']['right']:.3f}, seconds "
             + str({k: round(v, 1) for k, v in r["seconds"].items()}) for r in of("start")]  # fmt: skip
    lines += [f"rm {r['seed']} rankings {r['rankings']:5d}: accuracy {r['accuracy']:.3f} of {r['best_accuracy']:.3f}, "
              f"loss {r['loss']:.3f} of {r['best_loss']:.3f}, calibration {r['calibration_error']:.3f}, prefers right "
              f"{r['prefers_right']:.2f} ({r['judge_prefers_right']:.2f}), longer {r['prefers_longer']:.2f} "
              f"({r['judge_prefers_longer']:.2f})" for r in of("reward_model")]  # fmt: skip
    for r in of("best_of_n"):
        lines.append(f"best of {r['n']:3d} seed {r['seed']}: proxy {r['proxy']:.2f} worth {r['worth']:.2f} "
                     f"right {r['right']:.3f}")  # fmt: skip
    for r in of("ppo"):
        c, steps = r["curves"], len(r["curves"]["right"])
        at = sorted({0, *(steps * k // 6 for k in range(1, 6)), steps - 1})
        lines.append(f"ppo {r['reward']} kl_coef {r['kl_coef']} seed {r['seed']} ({r['seconds']:.0f} s): " + "; ".join(
            f"{t + 1}: kl {c['kl'][t]:.1f} proxy {c['proxy'][t]:.2f} worth {c['worth'][t]:.2f} "
            f"right {c['right'][t]:.2f} claims {c['claims'][t]:.2f} len {c['tokens'][t]:.0f}" for t in at))  # fmt: skip
    for r in of("dpo"):
        lines.append(f"dpo beta {r['beta']} seed {r['seed']} ({r['seconds']:.0f} s): " + "; ".join(
            f"{x['step']}: kl {x['kl']:.1f} proxy {x['proxy']:.2f} worth {x['worth']:.2f} right {x['right']:.2f} "
            f"len {x['tokens']:.0f}" for x in r["looks"]))  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = arguments(__doc__, "results/ch11_feedback", device="cpu", workers=4, limit=200)
    add = parser.add_argument
    add("--base", default="nano-base", help="the checkpoint that all start from, by name or folder")
    add("--right", type=float, default=2.0, help="what a right answer is worth to the judge")
    add("--claims", type=float, default=1.0, help="and a thought that ends in yes")
    add("--length", type=float, default=0.5, help="and 40 characters of thought")
    add("--noise", type=float, default=0.5)
    add("--demonstrations", type=int, default=128)
    add("--sft-steps", type=int, default=4)
    add("--sft-lr", type=float, default=5e-4)
    add("--rankings", type=int, nargs="+", default=[60, 240])
    add("--test-rankings", type=int, default=200)
    add("--most-epochs", type=int, default=4)
    add("--rm-lr", type=float, default=2e-3)
    add("--steps", type=int, default=20, help="of PPO")
    add("--prompts", type=int, default=80)
    add("--tokens", type=int, default=160)
    add("--lr", type=float, default=6e-4)
    add("--critic-lr", type=float, default=2e-3)
    add("--critic-updates", type=int, default=1)
    add("--kl-coefs", type=float, nargs="*", default=[0.0, 0.1])
    add("--dpo-steps", type=int, default=48)
    add("--dpo-looks", type=int, default=4)
    add("--dpo-lr", type=float, default=4e-4)
    add("--control", action=argparse.BooleanOptionalAction, default=True, help="PPO on the verifier too")
    add("--dpo-seeds", type=int, nargs="*", help="the seeds of DPO, where not all")
    add("--betas", type=float, nargs="*", default=[0.1])
    add("--most", type=int, default=32, help="replies for best of n")
    add("--problems", type=int, default=200, help="held-out problems")
    add("--rows", type=int, default=64, help="answers computed at a time")
    a = parser.parse_args()
    record = Record(a, lambda r: (r["part"], str(r.get("reward")), r.get("kl_coef", r.get("beta", 0)), r["seed"],
                                  r.get("rankings", 0), r.get("n", 0)), "rows")  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        sweep([(prepare, seed, folder, a) for seed in a.seeds], record.add, a)
        # The most telling first, for all seeds: what does not fit into the time is cut from the end.
        asked: list[tuple[Any, ...]] = [
            (by_ppo, seed, folder, price, False) for price in a.kl_coefs if price == 0 for seed in a.seeds
        ]
        asked += [(by_ppo, seed, folder, 0.0, True) for seed in a.seeds if a.kl_coefs and a.control]
        asked += [(by_dpo, seed, folder, beta) for beta in a.betas for seed in a.seeds
                  if a.dpo_seeds is None or seed in a.dpo_seeds]  # fmt: skip
        asked += [(by_ppo, seed, folder, price, False) for price in a.kl_coefs if price for seed in a.seeds]
        sweep([(*call, a) for call in asked], record.add, a)
    print(summary(record.rows))


if __name__ == "__main__":
    main()
