import dataclasses
import math
from dataclasses import dataclass

import pytest
import torch

from minidsk.rl.actor_critic import critic_of, judge, reinforce_with_critic, update_critic, update_policy
from minidsk.rl.answers import answer_logprobs, answer_outputs, over_all
from minidsk.rl.config import PPOConfig
from minidsk.rl.grpo import policy_loss
from minidsk.rl.ppo import gae, token_rewards, value_loss, whiten
from minidsk.rl.rollout import rollout
from minidsk.tasks.base import Problem, Task
from minidsk.train.checkpoint import Run, RunError


@dataclass(frozen=True)
class Arm(Problem):
    """A bandit: the reply "b" is worth 1, "a" is worth a half, everything else nothing."""

    def score(self, text):
        return {"b": 1.0, "a": 0.5}.get(text, 0.0)


class Bandit(Task):
    """The same choice for ever."""

    def __getitem__(self, i):
        return Arm("c")


CONFIG = PPOConfig(steps=25, prompts=64, max_new_tokens=1, lr=0.02, critic_lr=0.02, warmup=1, save_every=4)


def train(model, tokenizer, folder, config=CONFIG, **options):
    run = Run(folder, "ppo", config)
    reinforce_with_critic(model, tokenizer, Bandit(), config, run, progress=False, **options)
    return run.metrics()


def chance(model, tokenizer, token):
    ids = torch.tensor([[tokenizer.bos_id, *tokenizer.encode("c")]])
    with torch.no_grad():
        return float(model(ids).logits[0, -1].softmax(-1)[tokenizer.encode(token)[0]])


@pytest.fixture
def sampled(make_model, tokenizer, generator):
    found = rollout(make_model(), tokenizer, [Arm("c"), Arm("ab ab"), Arm("d")], 5, 9, {"accuracy": 1.0},
                    generator=generator)  # fmt: skip
    found.rewards = torch.rand(3, 5, generator=generator)
    return found


def test_a_bandits_policy_finds_the_best_arm_and_its_critic_what_that_is_worth(make_model, tokenizer, tmp_path):
    model = make_model()
    lines = train(model, tokenizer, tmp_path)
    assert chance(model, tokenizer, "b") > 0.95
    assert lines[-1]["reward"] > 0.9 > 0.5 > lines[0]["reward"]
    assert lines[-1]["advantage_std"] < 0.5 * lines[0]["advantage_std"]
    assert lines[0]["grad_norm"] == lines[1]["grad_norm"] == 0  # only the critic learns at first
    assert (tmp_path / "model.safetensors").exists()


def test_a_critic_has_one_output_and_says_0_at_first(make_model, sampled):
    model = make_model()
    critic = critic_of(model)
    out = answer_outputs(critic, sampled, torch.arange(15))
    assert out.shape == (15, sampled.tokens.shape[1], 1)
    assert not out.any()
    assert sum(p.numel() for p in critic.parameters()) < sum(p.numel() for p in model.parameters())
    assert model.lm_head.out_features == model.config.vocab_size


def test_values_stand_before_their_tokens(make_model, sampled):
    """A critic that reads off the last token it sees: its value at t is what stood at t - 1."""
    critic = critic_of(make_model())
    critic.forward = lambda ids, mtp: type("Out", (), {"logits": ids[..., None].float()})
    got = answer_outputs(critic, sampled, torch.arange(15)).squeeze(-1)
    for row in range(15):
        ids = sampled.ids[row][sampled.valid[row]]
        length = int(sampled.lengths[row])
        assert got[row, :length].tolist() == ids[-length - 1 : -1].tolist()


@pytest.mark.parametrize("rows", [3, 100])
def test_over_all_is_one_pass_over_everything(make_model, sampled, rows):
    model = make_model()
    logp = over_all(lambda chosen: answer_logprobs(model, sampled, chosen)[0], sampled, rows)
    assert logp.shape == sampled.mask.shape
    torch.testing.assert_close(logp, sampled.old_logp, rtol=1e-4, atol=1e-5)
    assert not logp[~sampled.mask].any()


@pytest.mark.parametrize("kl_coef", [0.0, 0.3])
def test_one_step_is_what_the_formulas_say(make_model, tokenizer, sampled, kl_coef):
    """Advantages, the policy's step and the critic's, in slices of 3, against one pass written out."""
    config = dataclasses.replace(CONFIG, rows=3, kl_coef=kl_coef, lam=0.9, clip=1e9, value_clip=0.1)
    model, reference, critic = make_model(), make_model(1), critic_of(make_model(2))
    torch.nn.init.normal_(critic.lm_head.weight, generator=torch.Generator().manual_seed(0))
    everything = torch.arange(15)
    with torch.no_grad():
        values = answer_outputs(critic, sampled, everything).squeeze(-1)
        ref, _ = answer_logprobs(reference, sampled, everything)
    rewards = token_rewards(sampled.rewards.flatten(), sampled.old_logp, sampled.mask, ref, kl_coef)
    advantages, returns = gae(rewards, values, sampled.mask, 1.0, 0.9)
    got = judge(critic, sampled, config, reference)
    torch.testing.assert_close(got[0], whiten(advantages, sampled.mask), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(got[1], returns, rtol=1e-4, atol=1e-4)
    away = ((sampled.old_logp - ref) * sampled.mask).sum()
    assert got[3]["kl_answer"] == pytest.approx(float(away) / 15, rel=1e-4)
    assert got[3]["kl"] == pytest.approx(float(away) / float(sampled.mask.sum()), rel=1e-4)

    logp, _ = answer_logprobs(model, sampled, everything)
    loss, _ = policy_loss(logp, sampled.old_logp, got[0], sampled.mask, 0.2, 0.2, loss_type="dapo")
    loss.backward()
    expected = {name: p.detach() - 0.1 * p.grad for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    update_policy(model, [torch.optim.SGD(model.parameters(), lr=0.1)], sampled, got[0], config)
    for name, value in expected.items():
        torch.testing.assert_close(model.get_parameter(name).detach(), value, rtol=1e-4, atol=1e-6)

    moved = values + 0.3 * torch.randn(values.shape, generator=torch.Generator().manual_seed(1))
    new = answer_outputs(critic, sampled, everything).squeeze(-1)
    value_loss(new, moved, returns, sampled.mask, 0.1).backward()
    expected = {name: p.detach() - 0.1 * p.grad for name, p in critic.named_parameters() if p.grad is not None}
    critic.zero_grad()
    update_critic(critic, [torch.optim.SGD(critic.parameters(), lr=0.1)], sampled, moved, returns, config)
    for name, value in expected.items():
        torch.testing.assert_close(critic.get_parameter(name).detach(), value, rtol=1e-4, atol=1e-6)


def test_a_price_on_leaving_holds_the_policy_back(make_model, tokenizer, tmp_path):
    short = dataclasses.replace(CONFIG, steps=10)
    chances = {}
    for kl_coef in (0.0, 5.0):
        model = make_model()
        config = dataclasses.replace(short, kl_coef=kl_coef)
        lines = train(model, tokenizer, tmp_path / str(kl_coef), config, reference=make_model())
        chances[kl_coef] = chance(model, tokenizer, "b")
        assert lines[0]["kl_answer"] == pytest.approx(0, abs=1e-5)
        assert lines[-1]["kl_answer"] > 0
    assert chances[5.0] < chances[0.0] - 0.2


def test_a_reward_function_decides_and_the_verifier_is_logged(make_model, tokenizer, tmp_path):
    """A reward model that likes "a" best."""
    model = make_model()
    lines = train(model, tokenizer, tmp_path,
                  reward=lambda problems, texts: torch.tensor([float(text == "a") for text in texts]))  # fmt: skip
    assert chance(model, tokenizer, "a") > 0.9
    assert lines[-1]["reward"] > 0.9
    assert lines[-1]["accuracy"] == pytest.approx(0.5, abs=0.05)


def test_resumed_equals_uninterrupted(make_model, tokenizer, tmp_path, monkeypatch):
    config = dataclasses.replace(CONFIG, steps=8, prompts=8, max_new_tokens=4, kl_coef=0.1, save_every=3)
    train(make_model(), tokenizer, tmp_path / "whole", config)
    log = Run.log

    def deadly(self, **metrics):
        log(self, **metrics)
        if metrics["step"] == 5:
            raise KeyError("stopped")

    monkeypatch.setattr(Run, "log", deadly)
    with pytest.raises(KeyError):
        train(make_model(), tokenizer, tmp_path / "parts", config)
    monkeypatch.undo()
    train(make_model(), tokenizer, tmp_path / "parts", config)
    lines = [Run(tmp_path / name, "ppo", config).metrics() for name in ("whole", "parts")]
    for line in (*lines[0], *lines[1]):
        line.pop("seconds")
    assert lines[0] == lines[1]
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "parts")]
    assert weights[0] == weights[1]


def test_a_critic_gone_bad_ends_the_run(make_model, tokenizer, tmp_path):
    with pytest.raises(RunError, match="step 3: gradients were not finite for 3 steps in a row"):
        train(make_model(), tokenizer, tmp_path, dataclasses.replace(CONFIG, critic_updates=1),
              reward=lambda problems, texts: torch.full((len(texts),), 3e38))  # fmt: skip
    assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize("changes", [{"lam": 1.5}, {"gamma": -0.1}, {"critic_lr": 0}, {"value_clip": 0},
                                     {"critic_updates": 0}, {"critic_warmup": -1}, {"group": 0}])  # fmt: skip
def test_impossible_settings_are_named(changes):
    [name] = changes
    with pytest.raises(ValueError, match=f"^{name}: .* does not fit"):
        PPOConfig(**changes)
    assert math.isinf(PPOConfig(clip_high=math.inf).clip_high)
