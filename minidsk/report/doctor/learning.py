"""Faults of learning itself: loss, gradients, the rate, the clip, the distance from where it began."""

from __future__ import annotations

import math
from statistics import mean, median

from minidsk.report.doctor.fault import fault
from minidsk.report.doctor.record import Record

ALL = ("rl", "pretrain", "sft")


@fault("not finite", *ALL, causes="a rate that is too high, an overflow in low precision, or a division by 0",
       remedy="lower the rate; look at the first step whose figures are not finite",
       hides=("loss diverges", "gradient explodes", "reward falls", "reward flat", "loss flat"))  # fmt: skip
def not_finite(run: Record) -> str | None:
    """A loss or a gradient is infinite, or not a number."""
    for line in run.metrics:
        for name, value in line.items():
            if name.endswith(("loss", "grad_norm", "kl")) and isinstance(value, float) and not math.isfinite(value):
                return f"{name} is {value} at step {line.get('step', '?')}"
    return None


@fault("no learning rate", *ALL, causes="a rate of 0 or next to it, or a schedule that begins at its end",
       remedy="raise optim.lr; compare the number of steps with warmup and decay",
       hides=("reward flat", "loss flat"))  # fmt: skip
def no_rate(run: Record) -> str | None:
    """Nothing can be learned at such a rate."""
    if run.has("lr", least=1) and max(run.series("lr")) < 1e-8:
        return f"lr {max(run.series('lr')):.1e} at most (below 1e-08)"
    return None


@fault("gradient is 0", *ALL, causes="advantages that are all 0, a graph that was cut (detach), or frozen weights",
       remedy="see that advantages differ, and that the loss depends on the weights",
       hides=("reward flat", "loss flat"))  # fmt: skip
def no_gradient(run: Record) -> str | None:
    """There is something to learn from, and no gradient."""
    if not run.has("grad_norm"):
        return None
    with_signal = [line for line in run.metrics if line.get("groups_with_signal", 1.0) > 0.2]
    zero = sum(line.get("grad_norm") == 0 for line in with_signal)
    if with_signal and zero > len(with_signal) / 2:
        though = ", though answers differ in reward" if run.kind == "rl" else ""
        return f"grad_norm 0 on {zero} of {len(with_signal)} lines (more than half){though}"
    return None


@fault("gradient explodes", *ALL, causes="a rate that is too high, or weights that have grown",
       remedy="lower the rate, clip lower, warm up for longer")  # fmt: skip
def explodes(run: Record) -> str | None:
    """Late gradients are many times larger than those before."""
    if not run.has("grad_norm", least=8):
        return None
    before, late = median(run.series("grad_norm")), mean(run.quarter("grad_norm", 3))
    if late > 10 * before > 0:
        return f"grad_norm {before:.3g} in the middle, {late:.3g} late (above 10 times)"
    return None


@fault("loss diverges", "pretrain", "sft", causes="a rate that is too high, or other data from some step on",
       remedy="lower the rate, warm up for longer; look at the data from that step on",
       hides=("loss flat",))  # fmt: skip
def diverges(run: Record) -> str | None:
    """The loss rises again well above its best."""
    if not run.has("loss"):
        return None
    best, late = min(run.stretches("loss")), run.late("loss")
    if late > 1.15 * best + 0.02:
        return f"loss {late:.3f} late, {best:.3f} at its best (above 1.15 times)"
    return None


@fault("loss flat", "pretrain", "sft", causes="data without structure, targets that are shifted, or frozen weights",
       remedy="train on one batch alone: its loss must fall to almost 0")  # fmt: skip
def loss_flat(run: Record) -> str | None:
    """The loss stays where it was."""
    if run.has("loss", least=6) and run.late("loss") > 0.97 * run.series("loss")[0]:
        return f"loss {run.series('loss')[0]:.3f} at first, {run.late('loss'):.3f} late (above 0.97 of it)"
    return None


@fault("sampler and trainer apart", "rl",
       causes="a sampling copy that is not kept in step, another precision or template, a temperature that one forgets",
       remedy="use one code path for both; compare the log-probabilities of one reply")  # fmt: skip
def apart(run: Record) -> str | None:
    """Trainer and sampler do not compute the same probabilities before the first update."""
    # Not the largest gap, where the share of clipped tokens tells: in healthy runs with a sampler in bf16, single
    # tokens were 20 nats apart, while 0.3 % of all were clipped.
    if run.setting("updates", 1) == 1:
        clipped = _clipped(run)
        return f"share of clipped tokens {clipped:.3f} at the first update (above 0.01)" if clipped > 0.01 else None
    gap = median(run.quarter("logp_gap", 3)) if run.has("logp_gap") else 0.0
    if gap > 2:
        return f"logp_gap {gap:.2f} nats late (above 2)"
    return None


@fault("clip fraction too high", "rl",
       causes="a rate that is too high, many updates on the same answers, a narrow clip",
       remedy="lower the rate, make fewer updates; look at clip_low and clip_high")  # fmt: skip
def clipped_much(run: Record) -> str | None:
    """Much of a batch teaches nothing because the policy has moved away from it; GSPO clips whole answers by design."""
    if run.setting("updates", 1) > 1 and run.setting("loss_type") not in ("gspo", "cispo"):
        share = _clipped(run)
        if share > 0.2:
            return f"clipped_low + clipped_high {share:.2f} late (above 0.2), with {run.setting('updates')} updates"
    return None


@fault("KL grows in spite of its price", "rl",
       causes="an estimate whose gradient does not pull back (k1), or a low price",
       remedy="use k2, or k3 times the ratio; raise kl_coef; lower the rate")  # fmt: skip
def drifts(run: Record) -> str | None:
    """The policy leaves the reference although it pays for it."""
    if not run.setting("kl_coef", 0) or not run.has("kl", least=8):
        return None
    first, last = run.series("kl")[0], run.late("kl")
    if abs(last) > 0.5 + abs(first):
        return (f"kl {first:.2f} at first, {last:.2f} nats a token late (0.5 above), at a price of "
                f"{run.setting('kl_coef')}")  # fmt: skip
    return None


def _clipped(run: Record) -> float:
    return sum(run.late(name) for name in ("clipped_low", "clipped_high") if run.has(name))
