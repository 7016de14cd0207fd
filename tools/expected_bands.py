"""The expected bands of the recipes, from the recorded runs: python tools/expected_bands.py"""

import json
from pathlib import Path

from minidsk.atomic import atomic
from minidsk.report.doctor.band import BANDS, made
from minidsk.report.doctor.record import read_record
from minidsk.rl.recipe import STAGES

RESULTS = Path(__file__).resolve().parents[1] / "results"
RECORDS = {"nano": "reason_nano", "small": "reason_small"}


def bands():
    return {
        recipe: {stage: made([read_record(seed / stage) for seed in sorted((RESULTS / name).glob("seed*"))])
                 for stage in STAGES}
        for recipe, name in RECORDS.items()
    }  # fmt: skip


if __name__ == "__main__":
    with atomic(BANDS) as temporary:
        temporary.write_text(json.dumps(bands(), indent=1) + "\n", encoding="utf-8")
    print(f"written: {BANDS}")
