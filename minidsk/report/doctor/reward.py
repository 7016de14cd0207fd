"""Faults of the reward: there is none, it teaches nothing, or it teaches something else."""

from __future__ import annotations

from statistics import mean

from minidsk.report.doctor.fault import fault
from minidsk.report.doctor.record import Record

FLAT = "reward flat"


@fault("no right answer", "rl", hides=(FLAT, "no variance in groups"),
       causes="the problems are too hard for this base, or the verifier accepts nothing",
       remedy="judge a known right answer by hand; pose easier problems, or take a stronger base")  # fmt: skip
def no_right_answer(run: Record) -> str | None:
    """Nearly all answers are wrong, from the beginning."""
    judge = run.judge
    if run.has(judge) and max(run.early(judge), run.late(judge)) <= 0.01:
        return f"{judge} {run.early(judge):.3f} early, {run.late(judge):.3f} late (at most 0.01)"
    return None


@fault(FLAT, "rl", causes="rewards that have nothing to do with the answers, a rate that is too low, or too few steps",
       remedy="judge a few answers by hand; raise the rate; look at groups_with_signal")  # fmt: skip
def reward_flat(run: Record) -> str | None:
    """There was room to rise, and time; fewer steps, or noisier ones, cannot tell."""
    if not run.has("reward", least=20) or run.early(run.judge) >= 0.75:
        return None
    rise, error = run.rise("reward")
    if abs(rise) <= max(0.02, 2 * error) and rise + 2 * error < 0.1:
        return (f"reward {run.early('reward'):.3f} early, {run.late('reward'):.3f} late: a rise of {rise:+.3f}, "
                f"within twice its error of {error:.3f} (or 0.02), and surely below 0.1")  # fmt: skip
    return None


@fault("reward falls", "rl", causes="steps too large, or too far off policy (many updates, a loose clip)",
       remedy="lower the rate, make fewer updates on a batch, check the clip",
       hides=("no variance in groups",))  # fmt: skip
def reward_falls(run: Record) -> str | None:
    """The share of right answers fell well below what it once was."""
    if not run.has(run.judge, least=8):
        return None
    peak, late = max(run.stretches(run.judge)), run.late(run.judge)
    if peak >= 0.1 and late < 0.6 * peak:
        return f"{run.judge} {late:.3f} late, after {peak:.3f} at its best (less than 0.6 of it)"
    return None


@fault("no variance in groups", "rl", hides=(FLAT,),
       causes="every problem is always or never solved, or the reward looks at the problem and not at the answer",
       remedy="pose problems of middling difficulty, draw until a batch is full (resample)")  # fmt: skip
def no_variance(run: Record) -> str | None:
    """Right and wrong answers exist, but not within one group."""
    if run.has("groups_with_signal") and not run.solved and run.late("groups_with_signal") <= 0.1:
        return (f"groups_with_signal {run.late('groups_with_signal'):.2f} late (at most 0.1), while {run.judge} is "
                f"{run.late(run.judge):.2f}")  # fmt: skip
    return None


@fault("hacked reward", "rl", causes="the reward pays for what is no right answer: a verifier that can be fooled",
       remedy="read answers with a high reward; correct the reward, not the optimizer",
       hides=("reward falls", FLAT))  # fmt: skip
def hacked(run: Record) -> str | None:
    """The reward rises and the accuracy does not."""
    if not run.has("reward", "accuracy", least=8):
        return None
    rise, error = run.rise("reward")
    better, _ = run.rise("accuracy")
    gained = rise > max(3 * error, 0.1 * max(map(abs, run.series("reward"))))
    first, last = run.early("accuracy"), run.late("accuracy")
    lost = better < -0.05 and last < 0.7 * first
    if gained and (lost or last <= 0.02):
        return (f"reward {run.early('reward'):.2f} early, {run.late('reward'):.2f} late; accuracy {first:.2f} early, "
                f"{last:.2f} late (less than 0.7 of it, or at most 0.02)")  # fmt: skip
    return None


@fault("verifier fails", "rl", causes="a reward that raises, hangs, or returns what is not a number",
       remedy="read `fault` in metrics.jsonl and correct the reward")  # fmt: skip
def verifier_fails(run: Record) -> str | None:
    """Answers could not be judged."""
    if run.has("unjudged", least=1) and (share := mean(run.series("unjudged"))) > 0.02:
        reason = next((str(line["fault"]) for line in run.metrics if "fault" in line), "no reason logged")
        return f"unjudged {share:.2f} on average (above 0.02): {reason}"
    return None


@fault("memorised problems", "rl", causes="few problems, posed again and again; or held-out problems of another kind",
       remedy="draw new problems for every step; compare the settings of both tasks")  # fmt: skip
def memorised(run: Record) -> str | None:
    """Held-out problems are solved far less often than those of training."""
    held_out = run.evaluation.get("accuracy")
    if held_out is None or not run.has("accuracy"):
        return None
    late = run.late("accuracy")
    if run.evaluation["high"] < late - 0.1:
        return (f"accuracy {late:.2f} in training, {held_out:.2f} (up to {run.evaluation['high']:.2f}) on held-out "
                "problems (0.1 less)")  # fmt: skip
    return None
