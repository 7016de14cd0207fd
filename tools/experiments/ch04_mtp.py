"""Does predicting further ahead make a better model? None, D = 1 and D = 2, at equal tokens and at equal compute.

    python tools/experiments/ch04_mtp.py --seeds 0 1 2 --out results/ch04_mtp

Every arm of a seed starts from the same main weights and reads the same pages in the same order. Writes `metrics.json`
after every run (one entry a run; `speed`: milliseconds a step, the depths taking turns, measured before the runs). The
runs themselves share the device, `--workers` at a time, so their own seconds say nothing about the arms.
"""

from __future__ import annotations

import argparse
import copy
import os
import random
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from minidsk.data.corpus import TinyWeb, TinyWebConfig
from minidsk.data.tokenizer import CharTokenizer
from minidsk.infer.evaluate import evaluate
from minidsk.infer.generate import complete
from minidsk.model.config import ModelConfig
from minidsk.model.transformer import MiniDeepSeek, Output
from minidsk.rl.policy import MiniPolicy
from minidsk.scale.cost import parameters, training_flops
from minidsk.tasks.countdown import Countdown
from minidsk.train.device import pick_device, precision
from minidsk.train.optim import OptimConfig, Optimizer
from minidsk.train.pretrain import PretrainConfig, train_step

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from sweep import Record, arguments, sweep

TOKENIZER = CharTokenizer()
WEB = TinyWebConfig(numbers=(3,), high=99, target_high=99, ops="+-", worksheets=0.6, patience=6)
TASK = Countdown(3, high=99, target_high=99, ops="+-", split="valid")
MODEL = ModelConfig(
    vocab_size=TOKENIZER.vocab_size, hidden_size=256, num_hidden_layers=4, num_attention_heads=8, kv_lora_rank=64,
    qk_nope_head_dim=32, qk_rope_head_dim=16, v_head_dim=32, intermediate_size=768, moe_intermediate_size=192,
    n_routed_experts=8, num_experts_per_tok=2,
)  # fmt: skip
TOY = MODEL.replace(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
                    moe_intermediate_size=32, kv_lora_rank=16)  # fmt: skip
ARMS = (("none", 0, "tokens"), ("D=1", 1, "tokens"), ("D=2", 2, "tokens"), ("D=1", 1, "compute"), ("D=2", 2, "compute"))
VALID_SEED = 1_000_000  # pages of a web that no arm reads
LR, WEIGHT = 2e-3, 0.3
KIND = re.compile(
    r"(?P<tags></?[a-z]+>)|(?<==)(?P<results>\d+)(?=[ \n<]|$)|(?P<verdicts> no| yes| 不对| 对了)(?=\n|</think>)"
    r"|(?P<digits>\d)|(?P<signs>[-+*/=()])|(?P<words>.)", re.DOTALL,
)  # fmt: skip


# ---- text in


def page_ids(seed: int, start: int, stop: int) -> list[int]:
    """Pages start to stop - 1 of a web, each between `<bos>` and `<eos>`, end to end."""
    web, ids = TinyWeb(WEB, seed), []
    for i in range(start, stop):
        ids += [TOKENIZER.bos_id, *TOKENIZER.encode(web[i]), TOKENIZER.eos_id]
    return ids


def rows_of(pool: ProcessPoolExecutor, seed: int, rows: int, width: int) -> Tensor:
    """The first `rows` rows of `width` tokens of the web's endless stream, uint8."""
    chunk, stream = 500, []
    pages = rows * width // 50 // chunk + 1  # a page has about 60 tokens
    starts = [k * chunk for k in range(pages)]
    for part in pool.map(page_ids, [seed] * pages, starts, [start + chunk for start in starts]):
        stream.append(torch.tensor(part, dtype=torch.uint8))
    return torch.cat(stream)[: rows * width].view(rows, width)


def kinds(ids: list[int]) -> list[str]:
    """What kind of thing each token belongs to: a name of a group of KIND."""
    pieces = [TOKENIZER.decode([i]) for i in ids]
    by_character = [m.lastgroup or "" for m in KIND.finditer("".join(pieces)) for _ in m[0]]
    starts = [0]
    for piece in pieces[:-1]:
        starts.append(starts[-1] + len(piece))
    return [by_character[start] for start in starts]


# ---- training


def config_of(depth: int, args: argparse.Namespace, steps: int, seed: int) -> PretrainConfig:
    model = (TOY if args.toy else MODEL).replace(num_nextn_predict_layers=depth)
    return PretrainConfig(model=model, web=WEB, steps=steps, batch=args.batch, context=args.context,
                          optim=OptimConfig(lr=LR, warmup=40, weight_decay=0.1), mtp_weight=WEIGHT,
                          seed=seed)  # fmt: skip


def flops_per_token(depth: int, args: argparse.Namespace) -> float:
    return training_flops(config_of(depth, args, 1, 0).model, args.context / 2)


def steps_of(depth: int, equal: str, args: argparse.Namespace) -> int:
    """At equal compute, the arms that look ahead make fewer steps: as many as the FLOPs of `none` pay for."""
    share = flops_per_token(0, args) / flops_per_token(depth, args) if equal == "compute" else 1.0
    return round(args.steps * share)


class Timed:
    """A model of some depth that trains on one batch over and over, to see what a step costs."""

    def __init__(self, depth: int, args: argparse.Namespace, batch: Tensor) -> None:
        self.depth, self.batch, self.seconds = depth, batch, 0.0
        self.config = config_of(depth, args, 1, 0)
        before = torch.cuda.memory_allocated() if batch.is_cuda else 0
        self.model = MiniDeepSeek(self.config.model, torch.Generator().manual_seed(0)).to(batch.device)
        self.optimizer = Optimizer(self.model, self.config.optim, 1)
        if batch.is_cuda:
            torch.cuda.reset_peak_memory_stats()
        self.steps(10)
        self.peak = torch.cuda.max_memory_allocated() - before if batch.is_cuda else 0

    def steps(self, count: int) -> float:
        """Make some, and say how many seconds they took."""
        start = time.perf_counter()
        for _ in range(count):
            train_step(self.model, self.optimizer, self.batch, self.config)
        if self.batch.is_cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - start


def speeds_of(args: argparse.Namespace, rows: Tensor, rounds: int = 6) -> list[dict[str, float]]:
    """Milliseconds a training step, and the peak of the memory, for each depth.

    The depths take turns, so that whatever else the device does slows them alike: read these as ratios.
    """
    batch = rows[: args.batch].to(pick_device(args.device)).long()
    timed = [Timed(depth, args, batch) for depth in range(3)]
    for _ in range(rounds):
        for each in timed:
            each.seconds += each.steps(8)
    return [{"depth": t.depth, "ms_per_step": round(1000 * t.seconds / (8 * rounds), 2),
             "flops_per_token": flops_per_token(t.depth, args), "peak_mib": round(t.peak / 2**20),
             "parameters": sum(p.numel() for p in t.model.parameters()),
             "main_parameters": parameters(t.config.model)} for t in timed]  # fmt: skip


def run(
    name: str, depth: int, equal: str, seed: int, args: argparse.Namespace, folder: str
) -> dict[str, Any]:
    """Train one arm and measure it."""
    device = pick_device(args.device)
    train, valid = (torch.load(Path(folder) / f"{which}.pt", weights_only=True).to(device) for which in (seed, "valid"))
    steps = steps_of(depth, equal, args)
    config = config_of(depth, args, steps, seed)
    model = MiniDeepSeek(config.model, torch.Generator().manual_seed(seed)).to(device)
    optimizer = Optimizer(model, config.optim, steps)
    start, curve = time.perf_counter(), []
    for step in range(steps):
        optimizer.schedule(step)
        train_step(model, optimizer, train[step * args.batch : (step + 1) * args.batch].long(), config)
        if (step + 1) % max(args.steps // 10, 1) == 0:
            curve.append([step + 1, round(validation(model, valid[:64])["loss"][0], 4)])
    tokens = steps * args.batch * args.context
    report = {"name": name, "depth": depth, "equal": equal, "seed": seed, "steps": steps, "tokens": tokens,
              "flops": tokens * flops_per_token(depth, args), "curve": curve, **validation(model, valid)}  # fmt: skip
    # Decoding has its kernels and its CUDA graph for weights in bf16.
    small = copy.deepcopy(model).to(torch.bfloat16) if device.type == "cuda" else model
    solved = evaluate(MiniPolicy(model, TOKENIZER), TASK, args.problems, 192)
    report["countdown"] = {key: round(value, 4) for key, value in solved.row().items()}
    report["sums"] = right_sums(small, args.problems)
    report["chains"] = right_chains(solved.replies)
    if depth:
        report["pages"] = acceptance(model, valid.long(), [1] * len(valid))
        report["replies"] = acceptance(small, *written(solved.replies, device))
    report["seconds"] = round(time.perf_counter() - start, 1)
    return report


# ---- measuring


@torch.no_grad()
def forward(model: MiniDeepSeek, rows: Tensor) -> Iterator[tuple[Tensor, Output]]:
    """The model's output on `rows` ``[n, time]``, 64 at a time."""
    for part in rows.split(64):
        with precision(model.device):
            yield part, model(part)


def validation(model: MiniDeepSeek, rows: Tensor) -> dict[str, Any]:
    """Nats a token and the share of right next tokens; in each a list, the main head first, then each depth."""
    heads = 1 + len(model.mtp)
    losses, hits, count = [0.0] * heads, [0] * heads, [0] * heads
    for ids, out in forward(model, rows.long()):
        for k, logits in enumerate([out.logits[:, :-1], *(logits[:, :-1] for logits in out.mtp_logits)]):
            targets = ids[:, 1 + k :]
            losses[k] += F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), reduction="sum").item()
            hits[k] += int((logits.argmax(-1) == targets).sum())
            count[k] += targets.numel()
    return {"loss": [round(losses[k] / count[k], 4) for k in range(heads)],
            "next": [round(hits[k] / count[k], 4) for k in range(heads)]}  # fmt: skip


def right_sums(model: MiniDeepSeek, problems: int) -> float:
    """The share of right results when the page so far is `a+b=` or `a-b=`, drawn as the web's sums are; greedy."""
    rng = random.Random(4)
    prompts: list[str] = []
    answers: list[str] = []
    while len(prompts) < problems:
        a, b, op = rng.randint(1, 2 * WEB.high), rng.randint(1, WEB.high), rng.choice("+-")
        if op == "+" or a > b:
            prompts.append(f"{a}{op}{b}=")
            answers.append(str(a + b if op == "+" else a - b))
    replies = [reply.split("\n")[0] for reply in complete(model, TOKENIZER, prompts, 6)]
    return round(sum(map(str.__eq__, replies, answers)) / problems, 4)


def right_chains(replies: tuple[str, ...]) -> dict[str, float]:
    """Of the worksheet lines that a model wrote (`3+7-2=10-2=8 no`): how many, and the share whose sums are right."""
    lines = [m[1] for reply in replies for m in re.finditer(r"([\d+-]+(?:=[\d+-]+)+) (?:no|yes|不对|对了)", reply)]
    right = 0
    for line in lines:
        values = {sum(int(term) for term in re.findall(r"[+-]?\d+", side)) for side in line.split("=")}
        right += len(values) == 1
    return {"lines": len(lines), "right": round(right / max(len(lines), 1), 4)}


def written(replies: tuple[str, ...], device: torch.device) -> tuple[Tensor, list[int]]:
    """Prompts with the model's own replies, padded on the right, and where each reply begins."""
    prompts = [TOKENIZER.encode(TASK[i].prompt) for i in range(len(replies))]
    rows = [
        [TOKENIZER.bos_id, *p, *TOKENIZER.encode(r), TOKENIZER.eos_id] for p, r in zip(prompts, replies, strict=True)
    ]
    longest = max(map(len, rows))
    padded = [row + [TOKENIZER.pad_id] * (longest - len(row)) for row in rows]
    return torch.tensor(padded, device=device), [len(prompt) + 1 for prompt in prompts]


def acceptance(model: MiniDeepSeek, rows: Tensor, starts: list[int]) -> dict[str, Any]:
    """How often depth k says what the main head says when it gets there, by the kind of token.

    A guess of depth 2 counts where depth 1 was right, as in decoding, where it is made from depth 1's guess.
    `per_pass`: tokens for each pass of the main model, had the guesses been used (depth 1 alone, then all depths).
    """
    depths = len(model.mtp)
    tally: list[dict[str, list[int]]] = [{} for _ in range(depths)]
    passes, tokens, first = [0] * depths, 0, 0
    for ids, out in forward(model, rows):
        main, good = out.logits.argmax(-1), torch.ones_like(ids, dtype=torch.bool)
        kept = []
        for k, logits in enumerate(out.mtp_logits, start=1):
            before = good[:, : ids.shape[1] - k]
            good = before & (logits.argmax(-1) == main[:, k:])
            kept.append((before.tolist(), good.tolist()))
        for r, row in enumerate(ids.tolist()):
            end = row.index(TOKENIZER.pad_id) if TOKENIZER.pad_id in row else len(row)
            kind, start = kinds(row[:end]), starts[first + r]
            for k, (asked, right) in enumerate(kept, start=1):
                for i in range(max(start - 1, 0), end - k - 1):  # made at i, for token i + 1 + k
                    if asked[r][i]:
                        entry = tally[k - 1].setdefault(kind[i + 1 + k], [0, 0])
                        entry[0] += right[r][i]
                        entry[1] += 1
            tokens += end - start
            for use in range(1, depths + 1):
                passes[use - 1] += walk([right[r] for _, right in kept[:use]], start - 1, end - 1)
        first += len(ids)
    return {"by_kind": tally, "tokens": tokens, "per_pass": [round(tokens / p, 4) for p in passes]}


def walk(right: list[list[bool]], at: int, last: int) -> int:
    """Passes of the main model from token `at` to token `last`, when each also keeps its right guesses."""
    passes = 0
    while at < last:
        passes += 1
        at += 1 + sum(column[at] for column in right if at < len(column))  # a right guess follows right ones only
    return passes


# ---- the whole experiment


def main() -> None:
    parser = arguments(__doc__, "results/ch04_mtp", workers=5)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--problems", type=int, default=512)
    parser.add_argument("--toy", action="store_true", help="a model of 32 dimensions, to try the script")
    args = parser.parse_args()
    settings = {"steps": args.steps, "batch": args.batch, "context": args.context, "problems": args.problems,
                "valid_tokens": 4 * args.batch * args.context, "lr": LR, "mtp_weight": WEIGHT, "web": vars(WEB),
                "model": (TOY if args.toy else MODEL).to_dict()}  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        with ProcessPoolExecutor(min(10, os.cpu_count() or 1)) as pool:
            for seed in args.seeds:
                rows = rows_of(pool, seed, args.steps * args.batch, args.context + 1)
                torch.save(rows, Path(folder) / f"{seed}.pt")
            torch.save(rows_of(pool, VALID_SEED, 4 * args.batch, args.context + 1), Path(folder) / "valid.pt")
        speeds = speeds_of(args, rows)
        record = Record(args, lambda r: (r["equal"] != "tokens", r["depth"], r["seed"]), settings=settings,
                        speed=speeds)  # fmt: skip
        sweep([(run, *arm, seed, args, folder) for arm in ARMS for seed in args.seeds], record.add, args)
    print("arm   equal    seed   tokens    loss   next  sums  chains countdown  per pass")
    for r in record.rows:
        pace = r["replies"]["per_pass"] if r["depth"] else ""
        print(f"{r['name']:5} {r['equal']:8} {r['seed']:4} {r['tokens']:9,} {r['loss'][0]:.4f} {r['next'][0]:.4f} "
              f"{r['sums']:.3f} {r['chains']['right']:.3f} {r['countdown']['accuracy']:.3f}  {pace}")  # fmt: skip


if __name__ == "__main__":
    main()
