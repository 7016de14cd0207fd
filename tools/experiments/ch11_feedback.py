"""Chapter 11: what a policy does to a reward model that learned from a biased judge.

    python tools/experiments/ch11_feedback.py --seeds 0 1 2 --out results/ch11_feedback

For each seed: fine-tune the base on demonstrations, let a simulated annotator rank replies, fit a reward model to the
rankings; then follow proxy, judge and truth while policies move away: by PPO at several prices of KL, by PPO on the
verifier (the control), by DPO, and by picking the best of n. Writes metrics.json after every run. No run is begun after
`--limit` seconds. `--dpo-seeds` and `--no-control` leave out what another record has.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import math
import multiprocessing
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor

from minidsk.data.corpus import TinyWeb
from minidsk.data.tokenizer import Tokenizer
from minidsk.infer.generate import complete
from minidsk.model.transformer import MiniDeepSeek
from minidsk.rl.actor_critic import reinforce_with_critic
from minidsk.rl.answers import answer_logprobs, over_all
from minidsk.rl.config import PPOConfig
from minidsk.rl.dpo import DPOConfig, direct_preferences
from minidsk.rl.preferences import Annotator, Ranking, claims_success
from minidsk.rl.recipe import nano
from minidsk.rl.reward_model import (
    RewardModel,
    RewardModelConfig,
    accuracy,
    calibration,
    pair_loss,
    train_reward_model,
)
from minidsk.rl.rollout import rollout
from minidsk.tasks.base import Problem
from minidsk.train.checkpoint import Run, load_checkpoint
from minidsk.train.device import pick_device
from minidsk.train.sft import SFTConfig, fine_tune

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


def rank(
    model: MiniDeepSeek, tokenizer: Tokenizer, first: int, count: int, seed: int, a: argparse.Namespace
) -> list[tuple[Problem, Ranking]]:
    """Replies of `model` to `count` problems, ranked by the judge."""
    problems = [nano().task("train")[first + seed * 10**6 + i] for i in range(count)]
    prompts = [problem.prompt for problem in problems for _ in range(PER_RANKING)]
    draws = torch.Generator(model.device).manual_seed(seed + first % 1009)
    replies: list[str] = []
    for start in range(0, len(prompts), 2048):
        part = prompts[start : start + 2048]
        replies += complete(model, tokenizer, part, a.tokens, temperature=1.0, generator=draws)
    generator, judge, ranked = torch.Generator().manual_seed(seed), annotator(a), []
    for i, problem in enumerate(problems):
        ranking = judge.rank(problem, replies[i * PER_RANKING : (i + 1) * PER_RANKING], generator)
        if ranking is not None:
            ranked.append((problem, ranking))
    return ranked


def prepare(seed: int, folder: str, a: argparse.Namespace) -> list[dict[str, Any]]:
    """Fine-tuning and reward models of one seed, kept in `folder`; what became of them."""
    torch.set_num_threads(a.threads)
    began = time.time()
    model, tokenizer = load_checkpoint(a.base, pick_device(a.device))
    base = look(model, copy.deepcopy(model), None, tokenizer, a)
    with tempfile.TemporaryDirectory() as run:
        config = SFTConfig(steps=a.sft_steps, batch=32, lr=a.sft_lr, seed=seed)
        fine_tune(model, tokenizer, demonstrations(a.demonstrations, seed), config, Run(run, "sft", {}), progress=False)
    seconds = {"sft": time.time() - began}
    began = time.time()
    tested = rank(model, tokenizer, HELD_OUT, a.test_rankings, seed, a)
    ranked = rank(model, tokenizer, 0, max(a.rankings), seed, a)
    seconds["ranking"] = time.time() - began
    rows = []
    for count in a.rankings:
        began = time.time()
        reward_model = RewardModel(model, tokenizer).to(model.device)
        # Few labels are read more often: every reward model takes as many steps.
        epochs = max(max(a.rankings) // count, 1) if count < max(a.rankings) else 1
        config = RewardModelConfig(epochs=min(epochs, a.most_epochs), batch=4, lr=a.rm_lr, seed=seed)
        losses = train_reward_model(reward_model, [r for _, r in ranked[:count]], config, progress=False)
        prompts = [r.prompt for _, r in ranked[:512] for _ in r.replies]
        reward_model.centre(prompts, [reply for _, r in ranked[:512] for reply in r.replies])
        seconds["reward_model"] = time.time() - began
        rows.append({"part": "reward_model", "seed": seed, "rankings": count,
                     "comparisons": sum(len(r.pairs()) for _, r in ranked[:count]), "epochs": config.epochs,
                     "last_loss": mean(losses[-20:]), **judge_reward_model(reward_model, tested, a)})  # fmt: skip
    sft = look(model, copy.deepcopy(model), reward_model, tokenizer, a)
    torch.save({"sft": model.state_dict(), "rm": reward_model.state_dict(), "rankings": [r for _, r in ranked]},
               Path(folder) / f"{seed}.pt")  # fmt: skip
    return [*rows, {"part": "start", "seed": seed, "base": base, "sft": sft, "seconds": seconds},
            *best_of(model, reward_model, tokenizer, seed, a)]  # fmt: skip


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
def look(
    policy: MiniDeepSeek, reference: MiniDeepSeek, rm: RewardModel | None, tokenizer: Tokenizer, a: argparse.Namespace
) -> dict[str, float]:
    """Proxy, judge and truth on held-out problems, one reply each at temperature 1, and the nats a reply is away."""
    problems = [nano().task("test")[i] for i in range(a.problems)]
    generator = torch.Generator(policy.device).manual_seed(0)
    s = rollout(policy, tokenizer, problems, 1, a.tokens, {"accuracy": 1.0}, generator=generator)
    ref = over_all(lambda rows: answer_logprobs(reference, s, rows)[0], s, 256)
    found = {"kl": float(((s.old_logp - ref) * s.mask).sum() / len(problems)), "right": float(s.rewards.mean()),
             "tokens": float(s.lengths.float().mean()),
             "cut_off": 1 - float((s.tokens == tokenizer.eos_id).any(1).float().mean()),
             **impression(problems, s.texts, a)}  # fmt: skip
    return found | ({"proxy": float(rm.reward(problems, s.texts).mean())} if rm else {})


def impression(problems: list[Problem], replies: list[str], a: argparse.Namespace) -> dict[str, float]:
    """What the judge would think of replies, and how many of them claim success."""
    judge = annotator(a)
    worth = mean(judge.worth(problem, reply) for problem, reply in zip(problems, replies, strict=True))
    return {"worth": worth, "claims": mean(map(claims_success, replies))}


def best_of(
    model: MiniDeepSeek, rm: RewardModel, tokenizer: Tokenizer, seed: int, a: argparse.Namespace
) -> list[dict[str, Any]]:
    """The reply that the reward model likes best among n, for n from 1 to `most`: the unbiased mean over all choices.

    Its distance from the policy is log n - (n - 1) / n nats (Stiennon et al., 2020).
    """
    problems = [nano().task("test")[i] for i in range(a.problems // 4)]
    generator = torch.Generator(model.device).manual_seed(seed)
    s = rollout(model, tokenizer, problems, a.most, a.tokens, {"accuracy": 1.0}, generator=generator)
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
                     "proxy": chosen(proxy), "worth": chosen(worth), "right": chosen(s.rewards)})  # fmt: skip
    return rows


def load(seed: int, folder: str, a: argparse.Namespace) -> tuple[MiniDeepSeek, RewardModel, Tokenizer, list[Ranking]]:
    """What `prepare` made."""
    torch.set_num_threads(a.threads)
    model, tokenizer = load_checkpoint(a.base, pick_device(a.device))
    kept = torch.load(Path(folder) / f"{seed}.pt", map_location=model.device, weights_only=False)
    model.load_state_dict(kept["sft"])
    rm = RewardModel(model, tokenizer).to(model.device)
    rm.load_state_dict(kept["rm"])
    return model, rm, tokenizer, kept["rankings"]


def by_ppo(seed: int, folder: str, kl_coef: float, verifier: bool, a: argparse.Namespace) -> list[dict[str, Any]]:
    """One run of PPO against the reward model, or against the verifier; a figure of each kind for every step."""
    model, rm, tokenizer, _ = load(seed, folder, a)
    reference, seen = copy.deepcopy(model), []

    def reward(problems: list[Problem], replies: list[str]) -> Tensor:
        proxy = rm.reward(problems, replies)
        seen.append({"proxy": float(proxy.mean()), **impression(problems, replies, a)})
        right = torch.tensor([problem.score(reply) for problem, reply in zip(problems, replies, strict=True)])
        return right if verifier else proxy

    config = PPOConfig(steps=a.steps, prompts=a.prompts, max_new_tokens=a.tokens, lr=a.lr, critic_lr=a.critic_lr,
                       critic_updates=a.critic_updates, critic_warmup=1, kl_coef=kl_coef, rows=a.rows, seed=seed,
                       save_every=10**6, warmup=1, decay=0.01)  # fmt: skip

    class Shifted:
        """The training problems, from a place that no ranking used."""

        def __getitem__(self, i: int) -> Problem:
            return nano().task("train")[FOR_PPO + seed * 10**6 + i]

    began = time.time()
    with tempfile.TemporaryDirectory() as place:
        run = Run(place, "ppo", config)
        reinforce_with_critic(model, tokenizer, Shifted(), config, run, reward=reward, reference=reference,
                              progress=False)  # type: ignore[arg-type]  # fmt: skip
        lines = run.metrics()
    wanted = {"kl": "kl_answer", "right": "accuracy", "tokens": "length", "cut_off": "cut_off", "entropy": "entropy",
              "explained_variance": "explained_variance"}  # fmt: skip
    curves = {name: [float(line.get(key, 0.0)) for line in lines] for name, key in wanted.items()}
    curves |= {name: [line[name] for line in seen] for name in ("proxy", "worth", "claims")}
    end = look(model, reference, rm, tokenizer, a)
    problems = [nano().task("test")[i] for i in range(3)]
    samples = complete(model, tokenizer, [p.prompt for p in problems], a.tokens, temperature=1.0,
                       generator=torch.Generator(model.device).manual_seed(seed))  # fmt: skip
    return [{"part": "ppo", "seed": seed, "reward": "verifier" if verifier else "reward model", "kl_coef": kl_coef,
             "curves": {name: [round(v, 4) for v in values] for name, values in curves.items()}, "end": end,
             "seconds": time.time() - began, "samples": samples}]  # fmt: skip


def in_time(deadline: float, run: Any, *arguments: Any) -> list[dict[str, Any]]:
    """What `run` returns, or nothing where it would begin too late."""
    return run(*arguments) if time.time() < deadline else []


def by_dpo(seed: int, folder: str, beta: float, a: argparse.Namespace) -> list[dict[str, Any]]:
    """DPO on the pairs of the same rankings, looked at every few steps."""
    model, rm, tokenizer, rankings = load(seed, folder, a)
    reference = copy.deepcopy(model)
    pairs = [pair for ranking in rankings for pair in ranking.pairs()]
    looks, began = [{"step": 0, **look(model, reference, rm, tokenizer, a)}], time.time()
    for part in range(a.dpo_looks):
        steps = a.dpo_steps // a.dpo_looks
        # One long run in parts: a constant rate, and the optimizer begins anew at each look.
        config = DPOConfig(steps=steps, batch=16, beta=beta, lr=a.dpo_lr, decay=0.01, seed=seed * 100 + part)
        history = direct_preferences(model, tokenizer, pairs, config, reference=reference, progress=False)
        looks.append({"step": (part + 1) * steps, "accuracy": mean(h["accuracy"] for h in history),
                      **look(model, reference, rm, tokenizer, a)})  # fmt: skip
    return [{"part": "dpo", "seed": seed, "beta": beta, "looks": looks, "seconds": time.time() - began}]


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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--base", default="checkpoints/nano-base", help="the checkpoint that all start from")
    add("--device", default="cpu", choices=("cuda", "cpu"))
    add("--seeds", type=int, nargs="+", default=[0, 1, 2])
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
    add("--threads", type=int, default=1)
    add("--workers", type=int, default=4)
    add("--limit", type=float, default=200, help="seconds after which no run is begun")
    add("--out", type=Path, default=Path(os.environ.get("MINIDSK_RESULT", "results/ch11_feedback")))
    a = parser.parse_args()
    deadline, rows = time.time() + a.limit, list[dict[str, Any]]()
    settings = {name: value for name, value in vars(a).items() if name != "out"}
    a.out.mkdir(parents=True, exist_ok=True)

    def keep(more: list[dict[str, Any]]) -> None:
        rows.extend(more)
        rows.sort(key=lambda r: (r["part"], str(r.get("reward")), r.get("kl_coef", r.get("beta", 0)), r["seed"],
                                 r.get("rankings", 0), r.get("n", 0)))  # fmt: skip
        (a.out / "metrics.json").write_text(json.dumps({"settings": settings, "rows": rows}) + "\n")

    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(a.workers, mp_context=context) as pool:
        jobs = [pool.submit(prepare, seed, folder, a) for seed in a.seeds]
        for job in as_completed(jobs):
            keep(job.result())
        # The most telling first, for all seeds: what does not fit into the time is cut from the end.
        asked: list[tuple[Any, ...]] = [
            (by_ppo, seed, folder, price, False) for price in a.kl_coefs if price == 0 for seed in a.seeds
        ]
        asked += [(by_ppo, seed, folder, 0.0, True) for seed in a.seeds if a.kl_coefs and a.control]
        asked += [(by_dpo, seed, folder, beta) for beta in a.betas for seed in a.seeds
                  if a.dpo_seeds is None or seed in a.dpo_seeds]  # fmt: skip
        asked += [(by_ppo, seed, folder, price, False) for price in a.kl_coefs if price for seed in a.seeds]
        jobs = [pool.submit(in_time, deadline, *job, a) for job in asked]
        for job in as_completed(jobs):
            keep(job.result())
    print(summary(rows))


if __name__ == "__main__":
    main()
