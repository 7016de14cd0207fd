"""Faults of the machine room: experts, prediction heads, data, time, memory."""

from __future__ import annotations

from statistics import median

from minidsk.report.doctor.fault import fault
from minidsk.report.doctor.record import Record


@fault("experts idle", "pretrain", causes="no balancing, a bias that moves the wrong way, or a speed that is too high",
       remedy="set bias_speed to 0.001; look at the load of each expert")  # fmt: skip
def experts_idle(run: Record) -> str | None:
    """One expert has far more than its share, so that others have next to nothing."""
    if not run.has("max_violation"):
        return None
    experts, chosen = run.setting("n_routed_experts", 0), run.setting("num_experts_per_tok", 1)
    worst, late = experts / chosen - 1, run.late("max_violation")
    if worst > 0 and late > 0.5 * worst:
        return f"max_violation {late:.2f} late (above half of the worst possible, {worst:.2f})"
    return None


@fault("MTP learns nothing", "pretrain", causes="a module that is frozen, or fed with the wrong tokens",
       remedy="see that its weights move, and that its targets are one token further ahead")  # fmt: skip
def mtp_stale(run: Record) -> str | None:
    """The main loss falls, that of the modules for tokens further ahead does not."""
    if not run.has("loss", "mtp_loss"):
        return None
    first, last = run.series("mtp_loss")[0], run.late("mtp_loss")
    if run.late("loss") < 0.8 * run.series("loss")[0] and last > 0.95 * first:
        return f"mtp_loss {first:.3f} at first, {last:.3f} late (above 0.95 of it), while the loss fell"
    return None


@fault("waits for data", "pretrain", causes="pages that are made more slowly than they are read",
       remedy="prepare batches in advance, or with more processes", hides=("steps take longer",))  # fmt: skip
def waits(run: Record) -> str | None:
    """More than half of the time goes by waiting for the next batch."""
    waited, seconds = run.quarter("waited", 3), run.quarter("seconds", 3)
    if len(waited) < 2 or len(waited) != len(seconds) or seconds[-1] <= seconds[0]:
        return None
    share = (waited[-1] - waited[0]) / (seconds[-1] - seconds[0])
    return f"{share:.0%} of the time is waiting for data, late (above half)" if share > 0.5 else None


@fault("steps take longer", "rl", "pretrain", "sft", causes="other work on the machine, memory that leaks, or swapping",
       remedy="look at what else runs, and at the memory; a run that goes on from its state begins afresh")  # fmt: skip
def slower(run: Record) -> str | None:
    """A line takes more than twice as long as at first, for the same work."""
    if not run.has("seconds", least=12):
        return None
    first, last = run.seconds()
    work = median(run.quarter("flops", 3)) / max(median(run.quarter("flops", 0)), 1) if run.has("flops") else 1.0
    if last > 2 * first * max(work, 1) and last - first > 0.5:
        return f"{first:.2f} s between lines early, {last:.2f} s late, for {work:.2f} times the work (above twice)"
    return None


@fault("memory ran out", "rl", "pretrain", "sft", causes="more rows at a time than the memory holds",
       remedy="give the number of rows that was found, so that the next run does not have to look for it")  # fmt: skip
def halved(run: Record) -> str | None:
    """The rows that are computed at a time were halved."""
    asked, found = run.setting("rows", run.setting("batch", 0)), run.series("rows")
    if found and asked and found[-1] < asked:
        return f"{found[-1]:.0f} rows at a time in the end, {asked} asked for"
    return None
