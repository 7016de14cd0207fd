"""Faults that show in the answers: their form, their length, their variety, their language."""

from __future__ import annotations

from minidsk.report.doctor.fault import fault
from minidsk.report.doctor.record import Record


@fault("cut off", "rl", causes="the limit of tokens is too low, or the end of an answer is never produced",
       remedy="raise max_new_tokens; see that answers end with <eos> in the base's data",
       hides=("no template", "no right answer", "reward flat", "no variance in groups"))  # fmt: skip
def cut_off(run: Record) -> str | None:
    """Many answers reach the limit of tokens."""
    if run.has("cut_off") and (late := run.late("cut_off")) > 0.3:
        limit = run.setting("max_new_tokens", "unknown")
        return f"cut_off {late:.2f} late (above 0.3) at a limit of {limit} tokens; length {run.late('length'):.0f}"
    return None


@fault("no template", "rl", causes="a base that never saw <think> and <answer>, or a prompt that does not ask for them",
       remedy="teach the form first (SFT on a few examples), or reward it (well_formed)",
       hides=("no right answer", "reward flat", "no variance in groups"))  # fmt: skip
def no_template(run: Record) -> str | None:
    """Answers are hardly ever one thought and one answer, and are not rewarded as they are either."""
    if run.has("well_formed") and not run.solved and max(run.early("well_formed"), run.late("well_formed")) < 0.05:
        return f"well_formed {run.early('well_formed'):.3f} early, {run.late('well_formed'):.3f} late (below 0.05)"
    return None


@fault("one answer to everything", "rl", causes="a reward that one answer satisfies, or steps too large",
       remedy="look at the reward; lower the rate, make fewer updates, try KL",
       hides=("reward flat", "no variance in groups", "entropy gone"))  # fmt: skip
def one_answer(run: Record) -> str | None:
    """Problems differ, the answers do not."""
    if run.has("commonest") and run.setting("prompts", 2) > 1 and run.late("commonest") > 0.5 and not _all_right(run):
        return f"commonest {run.late('commonest'):.2f} late (above 0.5): most replies of a step are the same text"
    return None


@fault("groups say one thing", "rl",
       causes="sampling that is nearly greedy: a temperature near 0, or a seed used again",
       remedy="sample at temperature 1, with a generator that goes on",
       hides=("one answer to everything", "no variance in groups", "reward flat", "entropy gone"))  # fmt: skip
def groups_alike(run: Record) -> str | None:
    """All answers to a problem are the same, from the beginning."""
    group = run.setting("group", 0)
    if not run.has("distinct_replies") or group < 3 or _all_right(run):
        return None
    first, last = run.early("distinct_replies"), run.late("distinct_replies")
    if max(first, last) <= 1.5 / group:
        return f"distinct_replies {first:.3f} early, {last:.3f} late (at most 1.5 / group, {1.5 / group:.3f})"
    return None


@fault("entropy gone", "rl", causes="a policy that is sure of what it says explores no more: rate or updates too high",
       remedy="lower the rate, make fewer updates; then try a higher clip_high, or KL",
       hides=("no variance in groups", "reward flat"))  # fmt: skip
def entropy_gone(run: Record) -> str | None:
    """Next to no entropy is left, and the problems are not solved."""
    if not run.has("entropy", least=8) or run.solved:
        return None
    first, last = max(run.quarter("entropy", 0)), run.late("entropy")
    if last < min(0.1 * first, 0.05):
        return (f"entropy {first:.3f} early, {last:.4f} nats late (below a tenth, and 0.05), with "
                f"{run.late(run.judge):.2f} right")  # fmt: skip
    return None


@fault("answers grow in vain", "rl", causes="a loss or a reward that spares long answers",
       remedy="use dapo or dr_grpo instead of the sequence mean; look at length_wrong and the reward")  # fmt: skip
def grow_in_vain(run: Record) -> str | None:
    """Length rises by a half, right answers do not become more."""
    if not run.has("length", run.judge, least=8) or run.solved:
        return None
    first, last, (better, error) = run.early("length"), run.late("length"), run.rise(run.judge)
    if last > 1.5 * first and better < 0.02 and better + 2 * error < 0.1:
        return (f"length {first:.0f} early, {last:.0f} tokens late (above 1.5 times), {run.judge} {better:+.3f} "
                "(below 0.02)")  # fmt: skip
    return None


@fault("answers shrink", "rl", causes="a reward that pays for shortness, or wrong steps that spare short answers",
       remedy="lower the weight of `short`; look at length_right and the reward")  # fmt: skip
def shrink(run: Record) -> str | None:
    """Length falls to less than a half, and the problems are not solved."""
    if not run.has("length", least=8) or (run.solved and run.judge == "accuracy"):
        return None
    first, last = run.series("length")[0], run.late("length")
    if first > 2 * max(last, 1):
        return f"length {first:.0f} at first, {last:.0f} tokens late (below a half)"
    return None


@fault("languages mix", "rl", causes="mixed thoughts in the base's data, and no reward against them",
       remedy="add the reward `language`, or a cold start from thoughts in one language")  # fmt: skip
def languages_mix(run: Record) -> str | None:
    """More and more thoughts have words of both languages."""
    if not run.has("both_languages"):
        return None
    first, last = run.early("both_languages"), run.late("both_languages")
    if last > max(first + 0.1, 0.15):
        return f"both_languages {first:.2f} early, {last:.2f} late (more than 0.1 above)"
    return None


@fault("repeats itself", "rl", causes="a reward that pays for going on, or an entropy that is used up",
       remedy="look at entropy and at the texts; lower the rate")  # fmt: skip
def repeats(run: Record) -> str | None:
    """Thoughts try again what they have tried."""
    if run.has("distinct_attempts") and (late := run.late("distinct_attempts")) < 0.7:
        return f"distinct_attempts {late:.2f} late (below 0.7)"
    return None


def _all_right(run: Record) -> bool:
    """Whether the answers are right by the verifier: then it is no fault that they are alike."""
    return run.solved and (run.judge == "accuracy" or "accuracy" in run.setting("rewards", {}))
