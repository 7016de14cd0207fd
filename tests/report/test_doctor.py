"""The doctor on real runs, each a few steps long: every fault is built into one and named, and none in healthy ones.

Where a fault makes a policy drift, other faults follow from it, which differ between processors: the one is asked for.
"""

import copy
import dataclasses
import itertools
import json
import math
import random
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from minidsk.cli.command import run as command_line
from minidsk.data.corpus import TinyWebConfig
from minidsk.data.tokenizer import CharTokenizer
from minidsk.hub.folder import sealed
from minidsk.infer.evaluate import evaluate
from minidsk.model.config import ModelConfig
from minidsk.model.moe import update_bias
from minidsk.model.transformer import MiniDeepSeek
from minidsk.report.doctor import band, diagnose
from minidsk.report.doctor.diagnosis import examine
from minidsk.report.doctor.fault import FAULTS
from minidsk.report.doctor.record import Record, read_record
from minidsk.rl.config import RLConfig
from minidsk.rl.language import mixed
from minidsk.rl.loop import GroupBaseline, reinforce
from minidsk.rl.policy import MiniPolicy
from minidsk.tasks.base import Problem, Task, stream, thought_of
from minidsk.train import pretrain as pretraining
from minidsk.train.checkpoint import Run, RunError
from minidsk.train.loss import prediction_losses
from minidsk.train.optim import OptimConfig
from minidsk.train.pretrain import PretrainConfig, pretrain
from minidsk.train.sft import SFTConfig, fine_tune

RESULTS = Path(__file__).resolve().parents[2] / "results"
TOKENIZER = CharTokenizer("abcdx对\n")
MODEL = ModelConfig(vocab_size=TOKENIZER.vocab_size, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
                    kv_lora_rank=8, qk_nope_head_dim=4, qk_rope_head_dim=4, v_head_dim=4, intermediate_size=24,
                    moe_intermediate_size=8, n_routed_experts=4, num_experts_per_tok=1, num_nextn_predict_layers=1,
                    initializer_range=0.3)  # fmt: skip
OPTIM = OptimConfig(lr=0.004, warmup=1, decay=0.3, betas=(0.9, 0.99))
CONFIG = RLConfig(steps=24, prompts=8, group=16, max_new_tokens=24, optim=OPTIM, save_every=50)
TINY = PretrainConfig(MODEL, TinyWebConfig(), steps=120, batch=4, context=16, save_every=500,
                      optim=OptimConfig(lr=0.01, warmup=3))  # fmt: skip


@dataclass(frozen=True)
class Echo(Problem):
    """Solved by the letter of the prompt."""

    def score(self, text):
        return float(self.answer(text) == self.prompt)


class Letters(Task):
    """One of four letters; `kind` is what the problems are."""

    def __init__(self, kind=Echo, letters="abcd"):
        self.kind, self.letters = kind, letters

    def __getitem__(self, i):
        return self.kind(stream("letters", i).choice(self.letters))


def examples(template=True):
    """A base's pages: a thought of a few words, and a letter, more often than not a wrong one."""
    rng = random.Random(0)
    for _ in range(400):
        thought = "".join(rng.choices("x对\n", (0.85, 0.03, 0.12), k=rng.randint(3, 8)))
        asked = rng.choice("abcd")
        letter = asked if rng.random() < 0.3 else rng.choice("abcd")
        yield asked, f"<think>{thought}</think><answer>{letter}</answer>" if template else letter


def learned(folder, config, **options):
    policy = MiniPolicy(MiniDeepSeek(MODEL, torch.Generator().manual_seed(0)), TOKENIZER)
    fine_tune(policy, list(examples(**options)), config, Run(folder, "sft", {"config": dataclasses.asdict(config)}),
              progress=False)  # fmt: skip
    return policy


SFT = SFTConfig(steps=150, batch=32, optim=OptimConfig(lr=0.02, warmup=5), save_every=500)


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """A base that writes in the template, one that answers without; their runs."""
    folder = tmp_path_factory.mktemp("bases")
    return {name: (learned(folder / name, SFT, template=name == "cold"), folder / name) for name in ("cold", "plain")}


@pytest.fixture
def reinforced(bases, tmp_path):
    """Learning from reward on a copy of a base, in a folder called zero; the names of what the doctor finds."""

    def do(task=None, base="cold", policy=None, dies=False, folder="zero", **options):
        fields = {field.name for field in dataclasses.fields(RLConfig)} & options.keys()
        config = dataclasses.replace(CONFIG, **{name: options.pop(name) for name in fields})
        policy = policy or bases[base][0].copy()
        run = Run(tmp_path / folder, "zero", {"config": dataclasses.asdict(config)})
        try:
            reinforce(policy, task or Letters(), config, run, progress=False, **options)
            assert not dies
        except RunError:
            assert dies
        return policy

    return do


@pytest.fixture
def found(tmp_path):
    """The names of what is wrong with the run of this test, by the folder's name."""

    def names(folder="zero"):
        return {finding.name for finding in diagnose(tmp_path / folder)}

    return names


def with_seeds(reinforced, found, **options):
    """The names of what is wrong with any of four runs: rounding decides which way so small a policy goes."""
    for seed in range(4):
        reinforced(folder=f"zero{seed}", seed=seed, **options)
    return set().union(*(found(f"zero{seed}") for seed in range(4)))


def rated(optim=OPTIM, **changes):
    return dataclasses.replace(optim, **changes)


def paid(rule):
    """A reward function from a rule for one problem and one reply."""
    return lambda problems, texts: torch.tensor([float(rule(p, t)) for p, t in zip(problems, texts, strict=True)])


# --- healthy runs: nothing is found


def test_healthy_learning_from_reward(reinforced, found, tmp_path):
    reinforced()
    lines = read_record(tmp_path / "zero").metrics
    assert lines[-1]["accuracy"] > 0.6 > 0.5 > lines[0]["accuracy"]
    assert found() == set()


def test_healthy_with_more_updates_and_a_price_on_distance(reinforced, found):
    reinforced(updates=2, kl_coef=0.05, kl_estimator="k2", rewards={"accuracy": 1.0, "language": 0.1})
    assert found() == set()


def test_healthy_learning_from_examples(bases):
    assert diagnose(bases["cold"][1]) == diagnose(bases["plain"][1]) == []


def test_healthy_pretraining(tmp_path, found):
    pretrain_tiny(tmp_path)
    assert found("base") == set()


# What is true of them: one took longer with other work on its machine, one mixes languages twice as often at its end,
# and one reads faster than 14 processes write beside another run.
FOUND = {"reason_capstone_dense/seed0/base": ["waits for data"],
         "reason_nano_processors/sse41/zero": ["steps take longer"],
         "reason_nano_processors/avx2/zero": ["languages mix"]}  # fmt: skip


@pytest.mark.parametrize("folder", sorted(path.parent.relative_to(RESULTS).as_posix()
                                          for path in RESULTS.glob("reason*/**/metrics.jsonl")))  # fmt: skip
def test_recorded_runs_are_healthy(folder):
    assert [finding.name for finding in diagnose(RESULTS / folder)] == FOUND.get(folder, [])


# --- faults of the reward


class Deaf(Echo):
    def score(self, text):
        return 0.0


class Blind(Echo):
    """Looks at the problem alone."""

    def score(self, text):
        return float(self.prompt in "ab")


class Fragile(Echo):
    def score(self, text):
        if self.answer(text) == "a":
            raise ZeroDivisionError("division by zero")
        return super().score(text)


class Flipped(GroupBaseline):
    """The sign is wrong."""

    def __call__(self, rollouts, step):
        advantages, figures = super().__call__(rollouts, step)
        return -advantages, figures


class Nothing(GroupBaseline):
    def __call__(self, rollouts, step):
        advantages, figures = super().__call__(rollouts, step)
        return 0 * advantages, figures


def dice():
    generator = torch.Generator().manual_seed(0)
    return lambda problems, texts: torch.rand(len(texts), generator=generator)


def next_letters(problem, text):
    """Compares with the answer to another problem."""
    return problem.answer(text) == "bcda"["abcd".index(problem.prompt)]


def test_a_verifier_that_accepts_nothing(reinforced, found):
    reinforced(Letters(Deaf))
    assert "no right answer" in found()


def test_a_reward_at_random(reinforced, found):
    reinforced(reward=dice(), optim=rated(lr=0.001))
    assert "reward flat" in found()


def test_a_gradient_with_the_wrong_sign(reinforced, found):
    reinforced(baseline=Flipped(), optim=rated(lr=0.01))
    assert "reward falls" in found()


def test_a_reward_of_the_problem_alone(reinforced, found):
    reinforced(Letters(Blind))
    assert "no variance in groups" in found()


@pytest.mark.slow
def test_a_verifier_that_judges_by_another_problem(reinforced, found):
    names = with_seeds(reinforced, found, reward=paid(next_letters), steps=40, optim=rated(lr=0.01))
    assert "hacked reward" in names


def test_a_verifier_that_raises(reinforced, found):
    reinforced(Letters(Fragile))
    assert "verifier fails" in found()


def test_the_same_problems_again_and_again(reinforced, found, tmp_path):
    policy = reinforced(Letters(letters="a"), prompts=4, steps=25)
    result = evaluate(policy, Letters(letters="bcd"), 64, 24)
    row = {**result.row(), "stage": "zero", "one_language": 1.0, "seconds": 1.0, "flops": 1.0}
    replies = [{"prompt": "b", "reply": result.replies[0], "score": 0.0}]
    (tmp_path / "zero" / "evaluation.json").write_text(json.dumps(sealed({"row": row, "replies": replies})))
    assert "memorised problems" in found()


# --- faults that show in the answers


def test_a_limit_that_is_too_low(reinforced, found):
    reinforced(max_new_tokens=5)
    assert "cut off" in found()


def test_a_base_without_the_template(reinforced, found):
    reinforced(base="plain")
    assert "no template" in found()


def test_a_reward_for_one_text(reinforced, found):
    reinforced(reward=paid(lambda p, t: p.answer(t) == "a" and 1 / (1 + len(t))), steps=60, optim=rated(lr=0.01))
    assert "one answer to everything" in found()


def test_sampling_that_is_nearly_greedy(reinforced, found):
    reinforced(temperature=0.001)
    assert "groups say one thing" in found()


@pytest.mark.slow
def test_entropy_that_is_used_up(reinforced, found):
    reward = paid(lambda p, t: next_letters(p, t) + (thought_of(t) == "xxx"))
    assert "entropy gone" in with_seeds(reinforced, found, reward=reward, steps=60, optim=rated(lr=0.01))


def test_a_reward_for_length(reinforced, found):
    reinforced(reward=paid(lambda p, t: len(t)), max_new_tokens=48)
    assert "answers grow in vain" in found()


def test_a_reward_for_shortness(reinforced, found):
    reinforced(rewards={"short": 1.0, "accuracy": 0.01}, steps=40, optim=rated(lr=0.03))
    assert "answers shrink" in found()


def test_a_reward_for_both_languages(reinforced, found):
    reinforced(reward=paid(lambda p, t: mixed(thought_of(t))))
    assert "languages mix" in found()


def repeated(problem, text):
    lines = thought_of(text).splitlines()
    return 1 - len(set(lines)) / len(lines) if lines else 0


def test_a_reward_for_saying_it_again(reinforced, found):
    reinforced(reward=paid(repeated))
    assert "repeats itself" in found()


# --- faults of learning


def spoiled(model, from_step):
    """A reward that lets gradients become NaN from a step on, as an overflow would."""
    calls = itertools.count()

    def judge(problems, texts):
        if next(calls) >= from_step:
            for p in model.parameters():
                p.register_hook(lambda g: g * math.nan)
        return paid(lambda p, t: p.score(t))(problems, texts)

    return judge


def test_gradients_that_are_not_finite(bases, reinforced, found):
    policy = bases["cold"][0].copy()
    reinforced(policy=policy, reward=spoiled(policy.model, 6), dies=True)
    assert "not finite" in found()


def test_a_rate_of_nothing(reinforced, found):
    reinforced(optim=rated(lr=1e-12))
    assert "no learning rate" in found()


def test_advantages_of_nothing(reinforced, found):
    reinforced(baseline=Nothing())
    assert "gradient is 0" in found()


def test_a_rate_that_is_too_high(tmp_path, found):
    learned(tmp_path / "cold", dataclasses.replace(SFT, steps=60, optim=OptimConfig(lr=3.0, warmup=50)))
    assert "loss diverges" in found("cold")


def test_a_reward_without_bounds_that_nothing_scales(reinforced, found):
    calls = itertools.count()

    def judge(problems, texts):
        return 1.5 ** next(calls) * paid(lambda p, t: p.score(t))(problems, texts)

    reinforced(reward=judge, scale="none", optim=rated(lr=0.001))
    assert "gradient explodes" in found()


class Noise:
    """Tokens without structure."""

    fingerprint = "noise"

    def __getitem__(self, i):
        generator = torch.Generator().manual_seed(i)
        return torch.randint(TOKENIZER.vocab_size, (TINY.batch, TINY.context + 1), generator=generator)


def pages(i):
    """Rows that count through the vocabulary from anywhere."""
    start = torch.randint(TOKENIZER.vocab_size, (TINY.batch, 1), generator=torch.Generator().manual_seed(i))
    return (start + torch.arange(TINY.context + 1)) % TOKENIZER.vocab_size


class Counting(Noise):
    fingerprint = "counting"

    def __getitem__(self, i):
        return pages(i)


def pretrain_tiny(folder, data=None, **changes):
    pretrain(dataclasses.replace(TINY, **changes), folder / "base", tokenizer=TOKENIZER, data=data or Counting(),
             device="cpu", progress=False)  # fmt: skip


def test_data_without_structure(tmp_path, found):
    # A model that begins as ignorant as it can: one that is wildly wrong learns at first to be less sure.
    pretrain_tiny(tmp_path, Noise(), model=MODEL.replace(initializer_range=0.02))
    assert "loss flat" in found("base")


class Stale(MiniPolicy):
    """A sampling copy that is never brought up to date."""

    def __init__(self, policy):
        super().__init__(policy.model, policy.tokenizer)
        self.early = copy.deepcopy(policy.model)

    @property
    def actor(self):
        return self.early


def test_a_sampler_that_stays_behind(bases, reinforced, found):
    reinforced(policy=Stale(bases["cold"][0].copy()))
    assert "sampler and trainer apart" in found()


def test_a_narrow_clip(reinforced, found):
    reinforced(reward=dice(), updates=6, clip_low=0.0, clip_high=0.0, steps=12)
    assert "clip fraction too high" in found()


@pytest.mark.slow
def test_a_price_without_a_gradient(reinforced, found):
    names = with_seeds(reinforced, found, kl_coef=1.0, kl_estimator="k1", optim=rated(lr=0.02))
    assert "KL grows in spite of its price" in names


def test_a_price_with_a_gradient_holds(reinforced, found):
    reinforced(kl_coef=1.0, kl_estimator="k2", optim=rated(lr=0.02))
    assert "KL grows in spite of its price" not in found()


# --- faults of the machine room


def test_a_bias_that_moves_the_wrong_way(tmp_path, found, monkeypatch):
    monkeypatch.setattr(pretraining, "update_bias", lambda bias, load, speed: update_bias(bias, load, -speed))
    pretrain_tiny(tmp_path, bias_speed=0.05)
    assert "experts idle" in found("base")


def test_a_module_without_a_gradient(tmp_path, found, monkeypatch):
    def cut(*arguments):
        losses, routing = prediction_losses(*arguments)
        return losses | {"mtp_loss": losses["mtp_loss"].detach()}, routing

    monkeypatch.setattr(pretraining, "prediction_losses", cut)
    pretrain_tiny(tmp_path)
    assert "MTP learns nothing" in found("base")


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on by a hundredth of a second at each look, and as far as it is told."""
    now = [0.0]

    def look():
        now[0] += 0.01
        return now[0]

    monkeypatch.setattr(time, "perf_counter", look)
    return now


def test_data_that_come_slowly(tmp_path, found, clock):
    class Slow(Counting):
        def __getitem__(self, i):
            clock[0] += 1.0
            return pages(i)

    pretrain_tiny(tmp_path, Slow())
    assert "waits for data" in found("base")


def test_a_leak_of_time(reinforced, found, clock):
    calls = itertools.count()

    def judge(problems, texts):
        clock[0] += 1.0 + 0.3 * next(calls)
        return paid(lambda p, t: p.score(t))(problems, texts)

    reinforced(reward=judge)
    assert "steps take longer" in found()


class Narrow(MiniPolicy):
    """Has the memory for 50 rows."""

    def predictions(self, completions):
        if len(completions) > 50:
            raise torch.OutOfMemoryError("a test's")
        return super().predictions(completions)


def test_memory_for_fewer_rows(bases, reinforced, found):
    base = bases["cold"][0]
    reinforced(policy=Narrow(copy.deepcopy(base.model), TOKENIZER))
    assert "memory ran out" in found()


# --- recorded runs that went wrong


@pytest.mark.parametrize(("record", "variant", "name"), [
    ("ch13_ratios", "4 updates, cispo", "reward falls"), ("ch12_ablations", "4 updates", "reward falls"),
])  # fmt: skip
def test_recorded_runs_that_went_wrong(record, variant, name):
    runs = [r for r in json.loads((RESULTS / record / "metrics.json").read_text())["runs"] if r["variant"] == variant]
    assert len(runs) == 3
    for run in runs:
        assert name in {finding.name for finding in examine(of_curves(run["curves"], run["changes"]))}


HEALTHY = ("plain", "dr_grpo", "KL k3", "KL k2", "unscaled", "dynamic sampling")


@pytest.mark.parametrize(("record", "rows", "count"), [("ch12_ablations", "runs", 18), ("ch12_ppo", "rows", 9),
                                                       ("ch12_ppo_h100", "rows", 9)])  # fmt: skip
def test_recorded_runs_of_chapter_12_are_healthy(record, rows, count):
    runs = [run for run in json.loads((RESULTS / record / "metrics.json").read_text())[rows] if "curves" in run]
    runs = [run for run in runs if run.get("variant", "plain") in HEALTHY]
    assert len(runs) == count
    for run in runs:
        assert examine(of_curves(run["curves"], {})) == []


def of_curves(curves, changes):
    lines = [dict(zip(curves, values, strict=True)) for values in zip(*curves.values(), strict=True)]
    return Record(Path("zero"), {"config": {"group": 8, "updates": int(changes.get("updates", 1))}}, lines, {})


def test_every_fault_is_built_into_a_run():
    source = Path(__file__).read_text()
    assert len(FAULTS) >= 20
    assert [name for name in FAULTS if f'"{name}"' not in source] == []
    assert {hidden for fault in FAULTS.values() for hidden in fault.hides} <= set(FAULTS)


# --- the expected band


NANO = RESULTS / "reason_nano"


def test_the_bands_are_made_of_the_records():
    known = json.loads(band.BANDS.read_text())
    for recipe, name in (("nano", "reason_nano"), ("small", "reason_small")):
        for stage, found in known[recipe].items():
            records = [read_record(seed / stage) for seed in sorted((RESULTS / name).glob("seed*"))]
            assert json.loads(json.dumps(band.made(records))) == found


def test_a_band_is_an_interval_of_prediction():
    generator, inside = torch.Generator().manual_seed(0), 0
    for _ in range(2000):
        *seeds, further = (10 + torch.randn(4, generator=generator)).tolist()
        low, high = band.band(seeds)
        inside += low <= further <= high
    assert 0.94 < inside / 2000 < 0.98
    assert band.band([2.0, 2.0, 2.0]) == pytest.approx((1.9, 2.1))


@pytest.mark.parametrize("processor", ["avx2", "native", "sse41"])
@pytest.mark.parametrize("stage", ["base", "cold", "zero", "r1"])
def test_runs_that_were_not_asked_stay_within_the_band(processor, stage):
    record = read_record(RESULTS / "reason_nano_processors" / processor / stage)
    assert band.expected(record)[0] == "nano"
    assert band.outside(record) == []


def altered(change):
    record = read_record(NANO / "seed1" / "zero")
    return dataclasses.replace(record, metrics=[line | change(line) for line in record.metrics])


def test_a_run_that_leaves_its_band():
    [finding] = examine(altered(lambda line: {"length": 1.4 * line["length"]}))
    assert finding.name == "length leaves its band"
    assert "3 recorded runs of the nano recipe" in finding.evidence
    assert examine(altered(lambda line: {})) == []


def test_other_settings_have_no_band():
    assert band.expected(read_record(RESULTS / "reason_nano_2000" / "seed0" / "zero")) is None


# --- the command


def test_the_command_says_what_is_wrong_and_how_it_knows(reinforced, tmp_path, capsys):
    reinforced(Letters(Deaf))
    assert command_line(["doctor", str(tmp_path / "zero")]) == 1
    said = capsys.readouterr().out
    assert f"{tmp_path / 'zero'}: finished at step 24" in said
    assert "zero: no right answer\n  seen:   accuracy 0.000 early, 0.000 late (at most 0.01)\n" in said
    assert "symptoms" in said


def test_the_command_on_a_healthy_run(capsys):
    assert command_line(["doctor", str(NANO / "seed0")]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == "nothing found"
    assert [line.endswith("compared with the band of the nano recipe") for line in said[:4]] == [True] * 4


@pytest.mark.parametrize(("content", "complaint"), [
    (None, "no metrics.jsonl there; give the folder of a run"), ("", "nothing was logged yet"),
    ("[1]\n", "nothing was logged yet"), ("{broken\n", "nothing was logged yet"),
])  # fmt: skip
def test_what_is_no_run_is_one_line(content, complaint, tmp_path, capsys):
    if content is not None:
        (tmp_path / "metrics.jsonl").write_text(content)
    assert command_line(["doctor", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert complaint in said.err
    assert said.err.count("\n") == 1


def test_metrics_of_odd_kinds_do_no_harm(tmp_path):
    """Strings, nulls and infinities where numbers belong."""
    values = itertools.cycle([None, "x", math.inf, -1, 0, [], {}, True, 1e300])
    names = ["reward", "accuracy", "cut_off", "loss", "lr", "seconds", "kl", "rows", "entropy", "commonest", "waited"]
    lines = [json.dumps({name: next(values) for name in names}) for _ in range(30)]
    for kind in ({"reward": 0}, {"max_violation": 0}, {}):
        (tmp_path / "metrics.jsonl").write_text("\n".join([*lines, json.dumps(kind)]) + "\n")
        diagnose(tmp_path)
