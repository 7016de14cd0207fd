"""What the record of R1's stages (`ch15_stages`) says: curated examples before reward, and Tulu's order.

A world of that record is a web, named by its share of searching authors, with a seed. An arm that failed there has a
row without an accuracy, and an arm for which time was short has none; seeds count that all arms of a comparison have.
"""

from __future__ import annotations

from records import Records
from verdicts import IN_PART, NOT_HERE, Finding, above, points, share

from minidsk.report.interval import apart

RECORD = "ch15_stages"


def webs(records: Records) -> list[float]:
    """The shares of searching authors."""
    return sorted({row["share"] for row in records.read(RECORD)["rows"]})


def accuracies(records: Records, web: float, *arms: str) -> list[list[float]]:
    """The accuracy of each of these arms on one web, over the seeds that all of them have."""
    found = {(row["arm"], row["seed"]): row["accuracy"] for row in records.read(RECORD)["rows"]
             if row["share"] == web and "failed" not in row}  # fmt: skip
    seeds = sorted({seed for _, seed in found})
    whole = [seed for seed in seeds if all((arm, seed) in found for arm in arms)]
    return [[found[arm, seed] for seed in whole] for arm in arms]


def curated_examples(records: Records) -> tuple[list[bool], str]:
    """The same reward with curated thoughts before it and without: whether they help, web by web, and the figure."""
    count = records.read(RECORD)["settings"]["curated"]
    better, said = [], []
    for web in webs(records):
        cold, zero = accuracies(records, web, "cold_right", "zero")
        better.append(above(apart(cold, zero)))
        said.append(f"{points(apart(cold, zero))} where {web:.0%} of the web's authors search ({len(cold)} seeds)")
    return better, f"{count} curated thoughts before the same reward: " + ", ".join(said)


def tulus_order(records: Records) -> Finding:
    """Half of R1-Zero's operations spent on curated thoughts and half on reward: less the base, and less R1-Zero."""
    leaps, said = [], []
    for web in webs(records):
        both, base, reward = accuracies(records, web, "half_few", "base", "zero")
        leaps.append(above(apart(both, base)))
        said.append(f"where {web:.0%} of the web's authors search it gained {points(apart(both, base))} and came to "
                    f"{share(both)}; reward alone less that is {points(apart(reward, both))}, {len(both)} seeds")
    return Finding(IN_PART if all(leaps) else NOT_HERE, (
        "Fine-tuning on curated thoughts, then reward, for as many operations as R1-Zero: " + ". And ".join(said) + "."
    ))  # fmt: skip
