"""The bench of the model: tiny sizes end to end, what is recorded, what is counted, what is refused."""

import json
import math

import pytest
import torch

from minidsk.bench.contest import Contest
from minidsk.bench.generation import bytes_moved
from minidsk.bench.plan import plan_for
from minidsk.bench.run import BENCHES, rows, run_model_benches
from minidsk.bench.subject import MOE, make, random_ids, rivals, tiny
from minidsk.cli.bench import Bench
from minidsk.scale.cost import parameters

CPU = torch.device("cpu")


def test_contestants_take_turns_after_two_calls_to_warm_up(clock):
    calls = []

    def contestant(name, first, then):
        def call():
            calls.append(name)
            clock(first if calls.count(name) == 1 else then)

        return call

    def absent():
        raise ImportError("No module named 'rival'\nand a long story")

    contest = Contest("b", "batch", 3, "s", 12, contestant("ours", 50.0, 2.0), bytes=5.0, look=lambda: {"seen": 1},
                      rivals={"slow": contestant("slow", 9.0, 6.0), "quick": contestant("quick", 9.0, 3.0),
                              "ours, too": contestant("ours, too", 1.0, 1.0), "absent": absent})  # fmt: skip
    entry = contest.measure(CPU)
    assert calls[:8] == [name for name in ("ours", "slow", "quick", "ours, too") for _ in range(2)]
    assert calls[8:] == ["ours, too", "quick", "slow", "ours", "ours", "slow", "quick", "ours, too", "ours, too",
                         "quick", "slow", "ours"]  # fmt: skip
    found = entry["contestants"]
    assert found["absent"] == {"failed": "ImportError: No module named 'rival'"}
    assert (found["ours"]["first_seconds"], found["ours"]["median"], found["ours"]["tokens_s"]) == (50, 2, 6)
    assert (entry["best_rival"], entry["ratio"], entry["seen"]) == ("quick", 1.5, 1)
    assert "ours takes 0.4 times as long as a copy" in "\n".join(rows(entry, {"copy_gb_s": 1e-9}))


def test_ours_must_not_fail():
    def broken():
        raise RuntimeError("ours")

    with pytest.raises(RuntimeError, match="ours"):
        Contest("b", "batch", 1, "s", 1, broken).measure(CPU)


def test_the_subject_is_what_the_targets_name():
    assert parameters(MOE) == 14_712_448
    assert plan_for(torch.device("cuda")).batches == (1, 64, 1024, 2048)
    assert plan_for(CPU).batches == (1, 64, 256)


def test_rivals_have_the_same_weights():
    model = make(tiny(), CPU)
    ids = random_ids(tiny(), 2, 9, CPU)
    for rival in rivals(model, torch.float32).values():
        with torch.no_grad():
            assert (rival()(input_ids=ids).logits - model(ids).logits).abs().max() < 1e-4


def test_bytes_that_must_move():
    config = tiny()
    each = 2 * (config.kv_lora_rank + config.qk_rope_head_dim)
    weights = parameters(config) - config.vocab_size * config.hidden_size
    read = each * ((7 + 1) + (7 + 2) + (7 + 3)) * 5
    assert bytes_moved(config, 4, 5, 7, 3) == 4 * (3 * weights + read + 3 * 5 * each)
    expert = 3 * config.hidden_size * config.moe_intermediate_size
    router = config.hidden_size
    less = bytes_moved(config, 4, 1, 7, 1)  # one row reads two of four experts of its one layer of experts
    assert less == 4 * (weights - 2 * (expert + router) + each * 8 + each)


@pytest.mark.parametrize("name", BENCHES)
def test_a_tiny_run_writes_every_field(name, tmp_path, capsys):
    Bench((name,), out=tmp_path, only=("batch",), small=True, device="cpu")()
    found = json.loads((tmp_path / "metrics.json").read_text())
    assert found["left_out"] == []
    assert found["ceilings"]["copy_gb_s"] > 0
    assert {"device", "processor", "cores", "threads", "versions"} <= set(found["machine"])
    assert {case["bench"] for case in found["cases"]} == {name}
    said = capsys.readouterr().out
    for case in found["cases"]:
        assert case["setting"] in said
        assert case["run"] == 0
        assert case["contestants"]["ours"]["median"] > 0
        assert case["contestants"]["ours"]["tokens_s"] > 0
        assert name == "speculation" or math.isfinite(case["ratio"])
        assert case["setting"] in (tmp_path / "report.html").read_text()


def test_what_else_the_folder_holds_stays_and_the_limit_is_kept(tmp_path):
    Bench(("generation",), out=tmp_path, only=("layers",), small=True, device="cpu")()
    Bench(("generation",), out=tmp_path, only=("experts",), small=True, device="cpu", limit=1e-9)()
    found = json.loads((tmp_path / "metrics.json").read_text())
    assert [case["value"] for case in found["cases"]] == [2, 3]
    assert found["left_out"] == ["generation, from 2 prompts of 4 tokens, 3 new on: the time was up"]
    assert len(found["runs"]) == 2
    found["machine"]["device"] = "another"
    with pytest.raises(ValueError, match="out: it holds measurements of another"):
        next(run_model_benches(CPU, plan_for(CPU, small=True), ("generation",), earlier=found))


def test_kinds_share_a_folder(tmp_path):
    Bench(("training",), out=tmp_path, only=("batch",), small=True, device="cpu")()
    before = json.loads((tmp_path / "metrics.json").read_text())["cases"]
    Bench(("generation",), out=tmp_path, only=("batch",), small=True, device="cpu", limit=1e-9)()
    Bench(("speculation",), out=tmp_path, only=("batch",), small=True, device="cpu")()
    found = json.loads((tmp_path / "metrics.json").read_text())
    assert found["cases"][:-1] == before
    assert found["left_out"] == ["generation, from 1 prompts of 4 tokens, 3 new on: the time was up"]
    assert [run["benches"] for run in found["runs"]] == [["training"], ["generation"], ["speculation"]]
    guessed = found["cases"][-1]
    assert (guessed["bench"], guessed["run"], guessed["best_rival"], guessed["ratio"]) == ("speculation", 2, None, None)
    assert set(guessed["contestants"]) == {"ours", "ours, depth 1", "ours, depth 2", "ours, depth 3"}
    for depth in "123":
        of = guessed["depths"][depth]
        assert of["same_rows"] == of["rows"] == 1  # in float32 on a CPU greedy text is the same with guesses
        assert 1 <= of["tokens_a_step"] <= 1 + int(depth)
        assert 0 <= of["accepted"] <= 1


def test_names_that_are_not_known(tmp_path):
    with pytest.raises(ValueError, match="only: 'width' is not known; give some of batch, context, experts, layers"):
        Bench(("generation",), out=tmp_path / "new", only=("width",), small=True, device="cpu")()
    assert not (tmp_path / "new").exists()
