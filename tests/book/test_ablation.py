"""The two claims that read the record of R1's stages: by hand, on a record that is made here."""

import json
import sys
from pathlib import Path

import pytest
from sphinx.errors import ExtensionError

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "book" / "_ext"))
import ablation  # noqa: E402
from records import Records  # noqa: E402

BASE, ZERO, COLD, TAUGHT = [0.1, 0.12, 0.11], [0.3, 0.2, 0.25], [0.51, 0.4, 0.46], [0.4, 0.4, 0.43]


@pytest.fixture
def records(tmp_path):
    """Makes a record of the arms that are given for each web: accuracies by seed, None for an arm that failed."""

    def make(**webs):
        rows = [{"share": float(web), "seed": seed, "arm": arm, **({"failed": "why"} if x is None else {"accuracy": x})}
                for web, arms in webs.items() for arm, values in arms.items()
                for seed, x in enumerate(values)]  # fmt: skip
        folder = tmp_path / "results" / "ch15_stages"
        folder.mkdir(parents=True)
        content = {"settings": {"curated": 256}, "rows": rows[::-1]}  # in no order that means something
        (folder / "metrics.json").write_text(json.dumps(content), encoding="utf-8")
        return Records(tmp_path)

    return make


def test_curated_examples_are_compared_seed_by_seed(records):
    better, figure = ablation.curated_examples(records(**{
        "0.01": {"zero": ZERO, "cold_right": COLD}, "0.2": {"zero": ZERO, "cold_right": ZERO[::-1]},
    }))  # fmt: skip
    assert better == [True, False]
    assert figure == (  # differences 0.21, 0.2, 0.21, and -0.05, 0, 0.05
        "256 curated thoughts before the same reward: +20.7 ± 1.4 points where 1% of the web's authors search "
        "(3 seeds), +0.0 ± 12.4 points where 20% of the web's authors search (3 seeds)"
    )


def test_a_seed_without_one_of_the_arms_does_not_count(records):
    made = records(**{"0.2": {"zero": [*ZERO, 0.9], "cold_right": [*COLD[:2], None]}})
    assert ablation.accuracies(made, 0.2, "zero", "cold_right") == [ZERO[:2], COLD[:2]]


def test_tulus_order_has_to_be_a_leap_on_every_web(records):
    arms = {"base": BASE, "zero": ZERO, "half_few_sft": TAUGHT, "half_few": COLD}
    found = ablation.tulus_order(records(**{"0.2": arms}))
    assert found.verdict == ablation.IN_PART
    assert "it gained +34.7 ± 16.2 points and came to 45.7% (32.0% to 59.3%)" in found.figure
    assert "from 41.0% (36.7% to 45.3%) before the reward" in found.figure
    assert "reward alone less that is -20.7 ± 1.4 points, 3 seeds." in found.figure


def test_no_leap_is_not_called_one(records):
    arms = {"base": BASE, "zero": ZERO, "half_few_sft": TAUGHT, "half_few": COLD}
    both = records(**{"0.2": arms, "0.01": {**arms, "half_few": BASE[::-1]}})
    assert ablation.tulus_order(both).verdict == ablation.NOT_HERE


def test_a_missing_record_is_named(tmp_path):
    with pytest.raises(ExtensionError, match="results/ch15_stages"):
        ablation.curated_examples(Records(tmp_path))
