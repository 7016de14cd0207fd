"""What the records say about each claim of the playbook: a figure in words, and how the claim came out.

Every function here reads records and nothing else, and computes its verdict from the interval that it prints. Means are
over seeds, with 95 % intervals by Student's t (`minidsk.report.interval`); differences are taken seed by seed.
"""

from __future__ import annotations

from statistics import mean, median
from typing import Any

from ablation import curated_examples, tulus_order
from records import Records
from verdicts import HELD, IN_PART, NOT_HERE, UNTESTED, Finding, above, graded, points, share

from minidsk.infer.evaluate import wilson
from minidsk.report.interval import apart, interval

GRID = ("ch14_grid", "ch14_grid_corners", "ch14_grid_half")  # the records of chapter 14's rewards and webs


def gain_of_reward(records: Records) -> Finding:
    """R1-Zero less its base, and the seconds that both took."""
    base, zero = (records.rows("reason_small", stage, "accuracy") for stage in ("base", "zero"))
    spent = [records.rows("reason_small", stage, "seconds") for stage in ("base", "zero")]
    took = [sum(stages) for stages in zip(*spent, strict=True)]
    gain, (middle, half) = apart(zero, base), interval(took)
    asked = records.rows("reason_small", "base", "problems")[0]
    [gpu] = records.read("reason_small", "seed0/run.json")["machine"]["gpus"]
    return Finding(HELD if above(gain) else NOT_HERE, (
        f"{share(base)} right before the reward, {share(zero)} after it, a gain of {points(gain)}, in "
        f"{middle:.0f} ± {half:.0f} s of training on one {gpu}. {len(base)} seeds, {asked:,} problems, greedy answers."
    ))  # fmt: skip


def completion(records: Records) -> Finding:
    """Bare numbers as replies to questions and to beginnings of pages; worksheets that end after one try."""
    found, bounds = [], []
    for form in (r"What is \{\}\+\{\}\?", r"\{\}\+\{\}="):
        match = records.printed("01_text_and_tokens", rf"{form}\s+a bare number:\s+(\d+) of (\d+)")
        count, of = int(match[1]), int(match[2])
        bounds.append(wilson(count / of, of))
        found.append(f"{count} of {of} ({bounds[-1][0]:.0%} to {bounds[-1][1]:.0%})")
    once = [
        mean("\n" not in reply["reply"].partition("</think>")[0] for reply in seed["replies"])
        for seed in records.evaluations("reason_small", "base")
    ]
    return Finding(HELD if bounds[0][1] < bounds[1][0] else NOT_HERE, (
        f"A bare number came back for {found[0]} of the questions, and for {found[1]} of the beginnings. That is one "
        f"run, with intervals by Wilson. Given a Countdown problem, the capstone's base completes a worksheet as most "
        f"authors of its web do: {share(once)} of its worksheets end after the first try, {len(once)} seeds."
    ))  # fmt: skip


FIRST, LAST = slice(3), slice(-3, None)  # steps that are averaged, as in the chapter


def right_with_ppo(records: Records, name: str, steps: slice = LAST) -> list[float]:
    """The share of right replies over some steps of PPO, seed by seed."""
    rows = sorted((r for r in records.read(name)["rows"] if r["part"] == "ppo"), key=lambda row: row["seed"])
    return [mean(row["curves"]["right"][steps]) for row in rows]


def verifier_against_judge(records: Records) -> Finding:
    """PPO paid by a verifier, by a reward model, and by a reward model with a price on leaving."""
    verifier, model, priced = (right_with_ppo(records, f"ch11_{name}") for name in ("control", "feedback", "price"))
    return Finding(HELD if above(apart(verifier, model)) else NOT_HERE, (
        f"{share(verifier)} right when paid by the verifier, {share(model)} when paid by the reward model, a "
        f"difference of {points(apart(verifier, model))}. With a price on leaving the start, the reward model comes to "
        f"{share(priced)}; the verifier less that is {points(apart(verifier, priced))}. {len(verifier)} seeds."
    ))  # fmt: skip


def price_of_feedback(records: Records) -> Finding:
    """Comparisons that were labelled, what they are worth, and the fall of the share right."""
    most = max(records.read("ch11_feedback")["settings"]["rankings"])
    models = [r for r in records.read("ch11_feedback")["rows"] if r["part"] == "reward_model" and r["rankings"] == most]
    change = apart(*(right_with_ppo(records, "ch11_feedback", steps) for steps in (LAST, FIRST)))
    middle, half = interval([model["comparisons"] for model in models])
    return Finding(IN_PART if above((-change[0], change[1])) else NOT_HERE, (
        f"{middle:,.0f} ± {half:,.0f} comparisons for a reward model that agrees with the judge in "
        f"{share([model['accuracy'] for model in models])} of the cases; the best possible is "
        f"{share([model['best_accuracy'] for model in models])}. While PPO follows it, the share of right replies "
        f"changes by {points(change)}. {len(models)} seeds."
    ))  # fmt: skip


def games_and_words(records: Records) -> Finding:
    """Games until the player never loses, and answers of the language model to problems that it never saw."""
    games = [run for run in records.read("ch10_selfplay")["runs"] if run["method"] == "the recipe"]
    words = [run for run in records.read("ch10_words")["runs"] if run["method"] == "the recipe"]
    harder = [run["held_out"] for run in records.read("ch10_words")["runs"] if run["method"] == "addition"]
    clean = [next((n for i, (n, *_) in enumerate(run["curve"]) if not any(p[1] for p in run["curve"][i:])), None)
             for run in games]  # fmt: skip
    known = [run["held_out"] for run in words]
    never = all(count is not None for count in clean)
    middle, half = interval([float(count) for count in clean]) if never else (0.0, 0.0)
    spent = f"after {middle:,.0f} ± {half:,.0f} games" if never else "in some seeds only"
    return Finding(graded(never, min(known) > 0.9), (
        f"The player no longer loses in any position {spent}, {len(games)} seeds. The language model is right on "
        f"{share(known)} of the problems that it never saw, {len(words)} seeds; on the harder rule, addition, on "
        f"{', '.join(f'{x:.0%}' for x in harder)}, seed by seed."
    ))  # fmt: skip


def languages(records: Records) -> Finding:
    """Thoughts that keep to one language, after reward alone and before; samples that do not, on five webs."""
    said, mixed = [], []
    for name in ("small", "nano"):
        base, zero = (records.rows(f"reason_{name}", stage, "one_language") for stage in ("base", "zero"))
        mixed.append(above(apart(base, zero)))
        said.append(f"*{name}*: {share(base)} of the base's thoughts and {share(zero)} of R1-Zero's keep to one "
                    f"language, {len(base)} seeds")  # fmt: skip
    more = {web: apart(*([row["in_samples"]["both_languages"] for row in cell_of(records, web, cell)]
                         for cell in ("right", "base"))) for web in (0.0, 0.01, 0.05, 0.2, 0.5)}  # fmt: skip
    mixed += map(above, more.values())
    rose = ", ".join(f"{points(change)} ({web:.0%})" for web, change in more.items())
    return Finding(graded(*mixed), (
        "; ".join(said) + ". In samples the share of thoughts in both languages changed by " + rose
        + f", by the share of searching authors in the base's web, {len(cell_of(records, 0.0, 'base'))} seeds each."
    ))  # fmt: skip


def cold_start(records: Records) -> Finding:
    """R1 less R1-Zero, and reward after curated thoughts less reward alone."""
    said, better = [], []
    for name in ("small", "nano"):
        zero, r1 = (records.rows(f"reason_{name}", stage, "accuracy") for stage in ("zero", "r1"))
        better.append(above(apart(r1, zero)))
        said.append(f"*{name}*: {share(r1)} right against {share(zero)}, a difference of {points(apart(r1, zero))}, "
                    f"{len(r1)} seeds")  # fmt: skip
    helped, figure = curated_examples(records)
    return Finding(graded(*better, *helped), "; ".join([*said, figure]) + ".")


def group_against_critic(records: Records) -> Finding:
    """GRPO less PPO in accuracy; PPO's operations and seconds over GRPO's."""
    races: dict[str, list[dict[str, Any]]] = {}
    for row in records.read("ch12_ppo_h100")["rows"]:
        races.setdefault(row["method"], []).append(row)
    ours, usual, whole = ([row["accuracy"] for row in races[name]] for name in ("GRPO", "PPO", "PPO, lam 1"))
    times = [row["flops"] / ours["flops"] for ours, row in zip(races["GRPO"], races["PPO"], strict=True)]
    pace = {row["method"]: median(row["step_seconds"]) for row in records.read("ch12_ppo_speed")["rows"]}
    cheap = interval(times)[0] - interval(times)[1] > 1 and pace["GRPO"] < pace["PPO"]
    ahead = above(apart(ours, usual)) and above(apart(ours, whole))
    middle, half = interval(times)
    return Finding(graded(cheap, ahead), (
        f"{share(ours)} right with GRPO; GRPO less PPO is {points(apart(ours, usual))} with λ = 0.95 and "
        f"{points(apart(ours, whole))} with λ = 1. PPO takes {middle:.1f} ± {half:.1f} times the operations. "
        f"{len(ours)} seeds. A step takes {pace['GRPO']:.3f} s with GRPO and {pace['PPO']:.3f} s with PPO (medians "
        "of one run)."
    ))  # fmt: skip


def further_heads(records: Records) -> Finding:
    """Sums right with one further head, less those without; what a token costs."""
    record = records.read("ch04_mtp")

    def sums(depth: int, equal: str) -> list[float]:
        runs = [run for run in record["runs"] if (run["depth"], run["equal"]) == (depth, equal)]
        return [run["sums"] for run in sorted(runs, key=lambda run: run["seed"])]

    plain, tokens, compute = sums(0, "tokens"), sums(1, "tokens"), sums(1, "compute")
    price = [speed["flops_per_token"] for speed in record["speed"]]
    return Finding(graded(above(apart(tokens, plain)), above(apart(compute, plain))), (
        f"{share(plain)} of the sums are right without a further head. With one: {points(apart(tokens, plain))} at "
        f"equal tokens, {points(apart(compute, plain))} at equal compute, {len(plain)} seeds. A token costs "
        f"{price[1] / price[0]:.2f} times the operations."
    ))  # fmt: skip


def mined_mathematics(records: Records) -> Finding:
    """What the loop finds, and what a model gains from it over random pages."""
    runs = records.read("ch05_mining")["runs"]
    found = {name: [run[name] for run in runs if run["method"] == "loop"] for name in ("precision", "recall")}
    first = [run["recall"] for run in runs if run["method"] == "one round"]

    def bits(diet: str, kind: str) -> list[float]:
        models = records.read("ch05_pretraining")["runs"]
        return [run[f"bits_{kind}"] for run in sorted(models, key=lambda run: run["seed"]) if run["diet"] == diet]

    saved = apart(bits("random pages", "mathematics"), bits("harvest", "mathematics"))
    lost = apart(bits("harvest", "other"), bits("random pages", "other"))
    return Finding(graded(above(apart(found["recall"], first)), above(saved)), (
        f"From 30 pages, the loop finds {share(found['recall'])} of a crawl's mathematics at a precision of "
        f"{share(found['precision'])}, and {points(apart(found['recall'], first))} more than one round, {len(first)} "
        f"seeds. A model that read the harvest needs {saved[0]:.2f} ± {saved[1]:.2f} bits per byte less on held-out "
        f"mathematics than one that read as many tokens of random pages, and {lost[0]:.2f} ± {lost[1]:.2f} more on "
        f"other pages, {len(bits('harvest', 'other'))} seeds."
    ))  # fmt: skip


def below_the_compiler(records: Records) -> Finding:
    """Times with and without a lower language; a difference counts where the quartiles do not meet."""
    cases = {case["case"]: case["contestants"] for case in records.read("bench_kernels")["cases"]}
    pairs = {
        "the FP8 product in Gluon and in Triton": (
            "FP8 product, blocks of 1 x 128 and 128 x 128", "ours, in Triton alone"),
        "a line for the sigmoid, applied 32 times": ("silu, 32 times over", "without PTX"),
        "the same line, applied once": ("silu, once", "without PTX"),
        "a line for two exponentials": ("exp2, 32 times over", "without PTX"),
        "a line for two casts": ("float32 to bf16", "without PTX"),
        "a line with a hint to the cache": ("copy, read once", "without PTX"),
    }  # fmt: skip
    said, pays = [], []
    for words, (case, without) in pairs.items():
        with_it, plain = cases[case]["ours"], cases[case][without]
        pays.append(with_it["quartiles"][1] < plain["quartiles"][0] and plain["median"] / with_it["median"] > 1.05)
        said.append(f"{words}, {1e6 * with_it['median']:,.0f} µs against {1e6 * plain['median']:,.0f} µs")
    [gpu] = records.read("bench_kernels", "run.json")["machine"]["gpus"]
    return Finding(graded(*pays), (
        f"{sum(pays)} of {len(pays)} save more than 5 % of the time, with quartiles that do not meet: "
        f"{'; '.join(said)}. Medians on one {gpu}; a kernel has no seed."
    ))  # fmt: skip


def whole_bill(records: Records) -> Finding:
    """Seconds of all records that were made on a GPU, over those of one last run of *small*."""
    seconds = [run["seconds"] for run in records.runs() if run["machine"]["gpus"]]
    seeds = records.seeds("reason_small")
    last, half = interval([records.read("reason_small", f"{seed}/run.json")["seconds"] for seed in seeds])
    return Finding(UNTESTED, (
        f"The {len(seconds)} records that were made on GPUs took {sum(seconds) / 60:.0f} minutes together. One last "
        f"run of *small* takes {last / 60:.1f} ± {half / 60:.1f} minutes, {len(seeds)} seeds: "
        f"{last / sum(seconds):.1%} of that time."
    ))  # fmt: skip


def share_of_pretraining(records: Records) -> Finding:
    """Pretraining's part of the operations from random weights to R1-Zero."""
    said, most, claimed = [], [], []
    for name in ("small", "nano"):
        base, zero = (records.rows(f"reason_{name}", stage, "flops") for stage in ("base", "zero"))
        parts = [b / (b + z) for b, z in zip(base, zero, strict=True)]
        low = interval(parts)[0] - interval(parts)[1]
        most.append(low > 0.5)
        claimed.append(low > 0.985)
        said.append(f"*{name}*: {share(parts)} of the operations, {len(parts)} seeds")
    verdict = HELD if all(claimed) else IN_PART if all(most) else NOT_HERE
    return Finding(verdict, "; ".join(said) + ".")


def other_recipes(records: Records) -> Finding:
    """Rounds of search on a base, Tulu's order, and a reasoner's answers for a small model; each has to be a leap."""
    parts = rounds_of_search(records), tulus_order(records), taught_by_answers(records)
    leaps = all(part.verdict == IN_PART for part in parts)
    return Finding(IN_PART if leaps else NOT_HERE, " ".join(part.figure for part in parts))


def taught_by_answers(records: Records) -> Finding:
    """What a small model gained from a teacher's right answers, and what from reward for as many operations."""
    rows = sorted(records.read("ch16_distillation")["rows"], key=lambda row: int(row["seed"]))
    last = max(row["part"] for row in rows if row["arm"] == "rl")
    start, taught, rewarded = (
        [row["accuracy"] for row in rows if (row["arm"], row["part"]) == cell]
        for cell in (("student", 0.0), ("sft_right", last), ("rl", last))
    )
    problems = next(row["problems"] for row in rows if row["arm"] == "student")
    return Finding(IN_PART if above(apart(taught, start)) else NOT_HERE, (
        f"A small model that learned from a reasoner's right answers gained {points(apart(taught, start))} and came to "
        f"{share(taught)}. Compared with reward at as many operations: {points(apart(taught, rewarded))}. "
        f"{len(taught)} seeds, {problems:,} problems, greedy answers."
    ))  # fmt: skip


def rounds_of_search(records: Records) -> Finding:
    """What rounds of self-evolution gained on the base, and on their control without a tree."""
    runs = sorted(records.read("ch17_evolution")["runs"], key=lambda r: (r["round"], r["seed"]))
    last = max(r["round"] for r in runs)
    right = {(r["arm"], r["round"]): [q["accuracy"] for q in runs if (q["arm"], q["round"]) == (r["arm"], r["round"])]
             for r in runs}  # fmt: skip
    gain, more = (apart(right["tree", last], right[other]) for other in (("tree", 0), ("root", last)))
    return Finding(IN_PART if above(gain) and not above(more) else UNTESTED, (
        f"After {last} rounds of tree search and fine-tuning the base gained {points(gain)} and came to "
        f"{share(right['tree', last])}. Compared with as many tokens drawn without a tree: {points(more)}. "
        f"{len(right['tree', last])} seeds, {len(runs[0]['right'])} problems, greedy answers."
    ))  # fmt: skip


def bases(records: Records) -> Finding:
    """What reward gained on an early and on a late base, on webs without and with searching authors, and on words."""
    moments = [row for row in records.read("ch14_grid")["rows"] if row["job"] == "moments"]
    first, last = min(row["step"] for row in moments), max(row["step"] for row in moments)
    early, late = ([row["accuracy"] - row["before"]["accuracy"] for row in moments if row["step"] == step]
                   for step in (first, last))  # fmt: skip
    few, many, most = (of_grid(records, web, "base") for web in (0.0, 0.2, 0.5))
    blind, seeing, full = (apart(of_grid(records, web, "right"), before)
                           for web, before in ((0.0, few), (0.2, many), (0.5, most)))  # fmt: skip
    more = [a - b for a, b in zip(of_grid(records, 0.2, "right"), many, strict=True)]
    less = [a - b for a, b in zip(of_grid(records, 0.0, "right"), few, strict=True)]
    words = [r["held_out"] for r in records.read("ch10_words")["runs"] if r["method"] == "the recipe"]
    return Finding(graded(above(apart(late, early)), above(apart(more, less))), (
        f"After {first:,} steps of pretraining, reward changed the accuracy by {points(interval(early))}, after "
        f"{last:,} by {points(interval(late))}, {len(late)} seeds. On bases without searching authors, {share(few)} "
        f"right before, it gained {points(blind)}; where every fifth author searches, {share(many)} right "
        f"before, {points(seeing)}; where every second author does, {share(most)} right before, {points(full)}, "
        f"{len(many)} seeds each; {moments[0]['problems']:,} problems, greedy answers. "
        f"Without any base, answers of two tokens were learned from reward alone: {share(words)} right on new problems."
    ))  # fmt: skip


def of_grid(records: Records, web: float, cell: str) -> list[float]:
    """The greedy accuracy of a cell of the grid of rewards, seed by seed; web: its share of searching authors."""
    return [row["accuracy"] for row in cell_of(records, web, cell)]


def cell_of(records: Records, web: float, cell: str) -> list[dict[str, Any]]:
    """The seeds of one cell, in order."""
    rows = [row for name in GRID for row in records.read(name)["rows"]
            if row["job"] == "grid" and (row["share"], row["cell"]) == (web, cell)]  # fmt: skip
    return sorted(rows, key=lambda row: int(row["seed"]))
