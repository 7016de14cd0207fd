"""The ledger adds up, and the table to beat says what the recorded runs say."""

import subprocess
import sys
from pathlib import Path

import pytest

from minidsk import results
from minidsk.report.interval import interval
from minidsk.report.ledger import BANDWIDTH, LEDGER, RENT, STANDING, elsewhere, ledger, standing
from minidsk.report.stages import Stage, read_stages

ROOT = Path(__file__).resolve().parents[2]
RUN = results.folder("reason_small") / "seed0"


def test_the_stages_and_the_rest_are_the_whole():
    facts = results.facts("reason_small", "seed0/run.json")
    stages = read_stages(RUN)
    *parts, whole = ledger(stages, facts)
    assert [row[0] for row in parts] == [*(stage.title for stage in stages), "start, evaluation"]
    assert {len(row) for row in (*parts, whole)} == {len(LEDGER)}
    assert sum(float(row[1]) for row in parts) == pytest.approx(float(whole[1]), abs=len(parts) / 2)
    assert sum(float(row[2]) for row in parts[:-1]) == pytest.approx(float(whole[2]), rel=0.02)
    assert sum(float(row[5]) for row in parts) == pytest.approx(float(whole[5]), abs=0.1 * len(parts) / 2)
    assert float(whole[4]) == round(facts["seconds"] * RENT / 3600, 2)
    assert float(whole[5]) == round(facts["seconds"] * 700 / 3600, 1)  # an H100's 700 W
    base = stages[0].row
    assert float(parts[0][3]) == pytest.approx(base["flops"] / base["seconds"] / 1e12, rel=0.01)


def test_no_gpu_no_bill_and_an_unknown_one_no_watts():
    machine = {"seconds": 100.0, "machine": {"gpus": []}}
    assert {(row[4], row[5]) for row in ledger(read_stages(RUN), {**machine, "seconds": 1000.0})} == {("", "")}
    priced = {name: standing(name, [results.folder(f"reason_{name}") / "seed0"]) for name in ("nano", "small")}
    place = STANDING.index("dollars")
    assert (priced["nano"][place] == "", float(priced["small"][place]) > 0) == (True, True)  # nano ran on a CPU
    unknown = ledger(read_stages(RUN), {"seconds": 1000.0, "machine": {"gpus": ["Abacus 1"]}})[-1]
    assert (unknown[4], unknown[5]) == ("0.56", "")


def test_on_a_slower_board_memory_or_arithmetic_is_the_bound():
    stages, gpu = read_stages(RUN), {"gpus": ["NVIDIA H200"]}
    rest = 10.0
    spent = sum(stage.row["seconds"] for stage in stages)
    *parts, left, whole = elsewhere(stages, {"seconds": spent + rest, "machine": gpu})
    for stage, (title, seconds) in zip(stages, parts, strict=True):
        assert title == stage.title
        assert seconds == pytest.approx(max(15 * stage.row["seconds"], stage.row["flops"] / 4.05e12))
    assert left == ("start, evaluation", pytest.approx(15 * rest))
    assert whole == ("in all", pytest.approx(sum(seconds for _, seconds in parts) + left[1]))
    much = [Stage("base", {"seconds": 1.0, "flops": 4.05e15}, [], {}, [])]
    assert elsewhere(much, {"seconds": 1.0, "machine": gpu})[0][1] == pytest.approx(1000)
    assert sorted(BANDWIDTH.values())[0] == BANDWIDTH["T4"]
    with pytest.raises(ValueError, match=r"machine: a run on one of H200, H100, T4 is needed, not on \[\]"):
        elsewhere(stages, {"seconds": 1.0, "machine": {"gpus": []}})


def test_three_seeds_have_the_interval_over_seeds_and_one_that_over_problems():
    folders = sorted((results.folder("reason_small")).glob("seed*"))
    row = dict(zip(STANDING, standing("small", folders), strict=True))
    reached = [results.read("reason_small", f"{folder.name}/zero/evaluation.json")["row"] for folder in folders]
    middle, half = interval([100 * each["accuracy"] for each in reached])
    assert row["R1-Zero"] == f"{middle:.1f} ± {half:.1f}"
    assert (row["run"], row["numbers"], row["seeds"]) == ("small", "3 up to 20", "3")
    alone = dict(zip(STANDING, standing("one", folders[:1]), strict=True))
    assert alone["R1-Zero"] == "{:.1f} ({:.1f} to {:.1f})".format(
        *(100 * reached[0][key] for key in ("accuracy", "low", "high"))
    )


def test_the_table_names_a_folder_without_a_run(tmp_path):
    command = [sys.executable, ROOT / "tools" / "record_table.py"]
    done = subprocess.run([*command, RUN], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.splitlines()[0].split() == list(STANDING)
    assert done.stdout.splitlines()[6].startswith(str(RUN))
    wrong = subprocess.run([*command, tmp_path], capture_output=True, text=True, check=False)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert len(wrong.stderr.splitlines()) == 1
    assert str(tmp_path) in wrong.stderr
