import dataclasses
from dataclasses import dataclass

import pytest
import torch

from minidsk.rl.grpo import LOSS_TYPES, group_advantages, policy_loss
from minidsk.rl.loop import RLConfig, answer_logprobs, reinforce, update
from minidsk.rl.rollout import rollout
from minidsk.tasks.base import Problem, Task
from minidsk.train.checkpoint import Run


@dataclass(frozen=True)
class Arm(Problem):
    """A bandit: the reply "b" is worth 1, "a" is worth a half, everything else nothing."""

    def score(self, text):
        return {"b": 1.0, "a": 0.5}.get(text, 0.0)


class Bandit(Task):
    """The same choice for ever."""

    def __getitem__(self, i):
        return Arm("c")


CONFIG = RLConfig(steps=25, prompts=2, group=32, max_new_tokens=1, lr=0.02, warmup=1, save_every=4)


def chance(model, tokenizer, token):
    ids = torch.tensor([[tokenizer.bos_id, *tokenizer.encode("c")]])
    with torch.no_grad():
        return float(model(ids).logits[0, -1].softmax(-1)[tokenizer.encode(token)[0]])


@pytest.mark.parametrize("loss_type", LOSS_TYPES)
def test_a_bandits_policy_finds_the_best_arm(make_model, tokenizer, tmp_path, loss_type):
    config = dataclasses.replace(CONFIG, loss_type=loss_type)
    model = make_model()
    assert chance(model, tokenizer, "b") < 0.3
    reinforce(model, tokenizer, Bandit(), config, Run(tmp_path, "rl", config), progress=False)
    assert chance(model, tokenizer, "b") > 0.95
    rewards = [line["reward"] for line in Run(tmp_path, "rl", config).metrics()]
    assert len(rewards) == 25
    assert rewards[-1] > 0.9 > 0.5 > rewards[0]


def test_equal_rewards_teach_nothing(make_model, tokenizer, tmp_path):
    config = dataclasses.replace(CONFIG, steps=3, rewards={"well_formed": 1.0})  # one token is never well formed
    model = make_model()
    reinforce(model, tokenizer, Bandit(), config, Run(tmp_path, "rl", config), progress=False)
    torch.testing.assert_close(model.state_dict(), make_model().state_dict(), rtol=0, atol=0)
    assert {line["groups_with_signal"] for line in Run(tmp_path, "rl", config).metrics()} == {0.0}


def test_a_penalty_holds_the_policy_back(make_model, tokenizer, tmp_path):
    held = dataclasses.replace(CONFIG, steps=10, kl_coef=5.0)
    free = dataclasses.replace(held, kl_coef=0.0)
    chances = {}
    for config in (held, free):
        model = make_model()
        reinforce(model, tokenizer, Bandit(), config, Run(tmp_path / str(config.kl_coef), "rl", config), progress=False)
        chances[config.kl_coef] = chance(model, tokenizer, "b")
    assert chances[5.0] < chances[0.0] - 0.2
    assert Run(tmp_path / "5.0", "rl", held).metrics()[-1]["kl"] > 0


@pytest.mark.parametrize(("kl_coef", "resample"), [(0.0, 0), (0.1, 0), (0.0, 2)])
def test_resumed_equals_uninterrupted(make_model, tokenizer, tmp_path, monkeypatch, kl_coef, resample):
    config = dataclasses.replace(CONFIG, steps=8, max_new_tokens=4, updates=2, kl_coef=kl_coef, resample=resample,
                                 save_every=3)  # fmt: skip
    reinforce(make_model(), tokenizer, Bandit(), config, Run(tmp_path / "whole", "rl", config), progress=False)
    log = Run.log

    def deadly(self, **metrics):
        log(self, **metrics)
        if metrics["step"] == 5:
            raise KeyError("stopped")

    monkeypatch.setattr(Run, "log", deadly)
    with pytest.raises(KeyError):
        reinforce(make_model(), tokenizer, Bandit(), config, Run(tmp_path / "parts", "rl", config), progress=False)
    monkeypatch.undo()
    reinforce(make_model(), tokenizer, Bandit(), config, Run(tmp_path / "parts", "rl", config), progress=False)
    lines = [Run(tmp_path / name, "rl", config).metrics() for name in ("whole", "parts")]
    for line in (*lines[0], *lines[1]):
        line.pop("seconds")
    assert lines[0] == lines[1]
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "parts")]
    assert weights[0] == weights[1]


def test_a_reward_function_decides_and_the_verifier_is_logged(make_model, tokenizer, tmp_path):
    """A function that likes "a" best, though the verifier likes "b" better."""
    model = make_model()
    run = Run(tmp_path, "rl", CONFIG)
    reinforce(model, tokenizer, Bandit(), CONFIG, run, progress=False, reference=make_model(),
              reward=lambda problems, texts: torch.tensor([float(text == "a") for text in texts]))  # fmt: skip
    assert chance(model, tokenizer, "a") > 0.95
    lines = run.metrics()
    assert lines[-1]["reward"] > 0.9
    assert lines[-1]["accuracy"] == pytest.approx(0.5, abs=0.05)
    assert lines[-1].get("kl", 1) > lines[0]["kl"] == pytest.approx(0, abs=1e-5)  # watched, though it costs nothing


def test_ratios_move_only_after_the_first_update(make_model, tokenizer, tmp_path):
    config = dataclasses.replace(CONFIG, steps=3, lr=0.1, clip_low=0.1, clip_high=0.1)
    for updates in (1, 4):
        run = Run(tmp_path / str(updates), "rl", dataclasses.replace(config, updates=updates))
        reinforce(make_model(), tokenizer, Bandit(), dataclasses.replace(config, updates=updates), run, progress=False)
        [clipped] = [line["clipped_low"] + line["clipped_high"] for line in run.metrics()[1:2]]
        assert (clipped > 0) == (updates > 1)


@pytest.mark.parametrize("loss_type", LOSS_TYPES)
@pytest.mark.parametrize(("kl_coef", "estimator"), [(0.0, "k3"), (0.3, "k3"), (0.3, "k1")])
def test_slices_make_one_step(make_model, tokenizer, generator, loss_type, kl_coef, estimator):
    """An update in slices of 3 rows, silent answers left out, moves as the whole batch's gradient does."""
    config = dataclasses.replace(CONFIG, max_new_tokens=9, rows=3, loss_type=loss_type, kl_coef=kl_coef,
                                 kl_estimator=estimator, clip=1e9)  # fmt: skip
    model, reference = make_model(), make_model(1)
    sampled = rollout(model, tokenizer, [Arm("c"), Arm("ab ab"), Arm("d")], 5, 9, {"accuracy": 1.0},
                      generator=generator)  # fmt: skip
    rewards = torch.rand(3, 5, generator=generator)
    rewards[1] = 0.5
    advantages = group_advantages(rewards).flatten()
    rows = torch.arange(15)
    logp, _ = answer_logprobs(model, sampled, rows)
    with torch.no_grad():
        ref, _ = answer_logprobs(reference, sampled, rows)
    loss, _ = policy_loss(
        logp, sampled.old_logp, advantages, sampled.mask, 0.2, 0.28, ref, kl_coef, loss_type, 9, estimator
    )
    loss.backward()
    expected = {name: p.detach() - 0.1 * p.grad for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    stats = update(model, [torch.optim.SGD(model.parameters(), lr=0.1)], sampled, advantages, config,
                   reference if kl_coef else None)  # fmt: skip
    for name, value in expected.items():
        torch.testing.assert_close(model.get_parameter(name).detach(), value, rtol=1e-4, atol=1e-6)
    assert stats["loss"] == pytest.approx(loss.item(), rel=1e-4, abs=1e-6)
    assert stats["entropy"] > 0


def test_a_gradient_that_is_not_finite_moves_nothing(make_model, tokenizer, generator):
    model = make_model()
    sampled = rollout(model, tokenizer, [Arm("c")], 4, 3, {"accuracy": 1.0}, generator=generator)
    sampled.old_logp[:] = -1000.0  # the ratio overflows
    stats = update(model, [torch.optim.SGD(model.parameters(), lr=0.1)], sampled, -torch.ones(4), CONFIG)
    assert stats["grad_norm"] != stats["grad_norm"] or stats["grad_norm"] == float("inf")
    torch.testing.assert_close(model.state_dict(), make_model().state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("changes", [{"steps": 0}, {"lr": -1.0}, {"rows": 0}, {"group": 1}, {"updates": 0}])
def test_impossible_settings_are_named(changes):
    [name] = changes
    with pytest.raises(ValueError, match=f"^{name}: .* does not fit"):
        RLConfig(**changes)
