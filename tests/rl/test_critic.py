import dataclasses
from dataclasses import dataclass

import pytest
import torch

from minidsk.rl.completions import over_all
from minidsk.rl.config import CriticConfig, RLConfig
from minidsk.rl.critic import Critic, CriticBaseline
from minidsk.rl.grpo import policy_loss
from minidsk.rl.loop import reinforce, update
from minidsk.rl.ppo import gae, token_rewards, value_loss, whiten
from minidsk.rl.rollout import rollout
from minidsk.tasks.base import Problem, Task
from minidsk.train.checkpoint import Run, RunError
from minidsk.train.loop import Slices
from minidsk.train.optim import OptimConfig, Optimizer


@dataclass(frozen=True)
class Arm(Problem):
    """A bandit: the reply "b" is worth 1, "a" is worth a half, everything else nothing."""

    def score(self, text):
        return {"b": 1.0, "a": 0.5}.get(text, 0.0)


class Bandit(Task):
    """The same choice for ever."""

    def __getitem__(self, i):
        return Arm("c")


OPTIM = OptimConfig(lr=0.02, warmup=1, decay=0.3, betas=(0.9, 0.99))
CONFIG = RLConfig(steps=25, prompts=64, group=1, max_new_tokens=1, optim=OPTIM, clip_high=0.2, save_every=4)
CRITIC = CriticConfig(optim=OPTIM)


def train(policy, folder, config=CONFIG, critic=CRITIC, reference=None, **options):
    run = Run(folder, "ppo", {"config": dataclasses.asdict(config), "critic": dataclasses.asdict(critic)})
    baseline = CriticBaseline(policy, critic, config.steps, config.rows, reference)
    reinforce(policy, Bandit(), config, run, baseline=baseline, progress=False, **options)
    return run.metrics()


def chance(policy, token):
    ids = torch.tensor([[policy.tokenizer.bos_id, *policy.tokenizer.encode("c")]])
    with torch.no_grad():
        return float(policy.model(ids).logits[0, -1].softmax(-1)[policy.tokenizer.encode(token)[0]])


def plain(model):
    """Plain gradient descent, without clipping."""
    optimizer = Optimizer(model, OptimConfig(clip=1e9), 1)
    optimizer.parts = [torch.optim.SGD(model.parameters(), lr=0.1)]
    return optimizer


@pytest.fixture
def drawn(make_policy, generator):
    found = rollout(make_policy(), [Arm("c"), Arm("ab ab"), Arm("d")], 5, 9, {"accuracy": 1.0}, generator=generator)
    found.rewards = torch.rand(3, 5, generator=generator)
    return found


def test_a_bandits_policy_finds_the_best_arm_and_its_critic_what_that_is_worth(make_policy, tmp_path):
    policy = make_policy()
    lines = train(policy, tmp_path)
    assert chance(policy, "b") > 0.95
    assert lines[-1]["reward"] > 0.9 > 0.5 > lines[0]["reward"]
    assert lines[-1]["advantage_std"] < 0.5 * lines[0]["advantage_std"]
    assert lines[0]["grad_norm"] == lines[1]["grad_norm"] == 0  # only the critic learns at first
    assert lines[2]["grad_norm"] > 0
    assert (tmp_path / "model.safetensors").exists()


def test_a_critic_says_0_at_first_and_leaves_the_policy_alone(make_policy, drawn):
    policy = make_policy()
    critic = Critic(policy)
    out = critic(drawn.completions)
    assert out.shape == drawn.completions.tokens.shape
    assert not out.any()
    with torch.no_grad():
        critic.body.embed_tokens.weight.zero_()
    assert policy.model.embed_tokens.weight.any()


@pytest.mark.parametrize("after", [False, True])
def test_values_stand_before_or_after_their_tokens(make_policy, drawn, after):
    """States that are the last token seen: the one before token t is t - 1's, the one after it its own."""
    policy, sampled = make_policy(), drawn.completions
    policy.width = 1
    policy.model.states = lambda ids, mtp: type("States", (), {"hidden": ids[..., None].float()})
    got = policy.hidden(sampled, after).squeeze(-1)
    for row in range(15):
        ids = sampled.ids[row][sampled.attention_mask[row]].tolist()
        length = int(sampled.lengths[row])
        assert got[row, :length].tolist() == (ids[-length:] if after else ids[-length - 1 : -1])


@pytest.mark.parametrize("rows", [3, 100])
def test_over_all_is_one_pass_over_everything(make_policy, drawn, rows):
    sampled = drawn.completions
    logp = over_all(make_policy().logprobs, sampled, rows)
    assert logp.shape == sampled.mask.shape
    torch.testing.assert_close(logp, sampled.logp, rtol=1e-4, atol=1e-5)
    assert not logp[~sampled.mask].any()


@pytest.mark.parametrize("kl_coef", [0.0, 0.3])
def test_one_step_is_what_the_formulas_say(make_policy, drawn, kl_coef):
    """Advantages, the policy's step and the critic's, in slices of 3, against one pass written out."""
    settings = dataclasses.replace(CRITIC, kl_coef=kl_coef, lam=0.9, value_clip=0.1)
    policy, reference, sampled = make_policy(), make_policy(1), drawn.completions
    baseline = CriticBaseline(make_policy(2), settings, 1, 3, reference)
    critic = baseline.critic
    torch.nn.init.normal_(critic.head.weight, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        values, ref = critic(sampled), reference.logprobs(sampled)
    rewards = token_rewards(drawn.rewards.flatten(), sampled.logp, sampled.mask, ref, kl_coef)
    advantages, returns = gae(rewards, values, sampled.mask, 1.0, 0.9)
    got = baseline.judge(drawn)
    torch.testing.assert_close(got[0], whiten(advantages, sampled.mask), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(got[1], returns, rtol=1e-4, atol=1e-4)
    away = ((sampled.logp - ref) * sampled.mask).sum()
    assert got[3]["kl_answer"] == pytest.approx(float(away) / 15, rel=1e-4)
    assert got[3]["kl"] == pytest.approx(float(away) / float(sampled.mask.sum()), rel=1e-4)

    loss, _ = policy_loss(policy.logprobs(sampled), sampled.logp, got[0], sampled.mask, 0.2, 0.2, loss_type="dapo")
    loss.backward()
    expected = {name: p.detach() - 0.1 * p.grad for name, p in policy.model.named_parameters() if p.grad is not None}
    policy.model.zero_grad()
    update(policy, plain(policy.model), Slices(3), drawn, got[0], CONFIG)
    for name, value in expected.items():
        torch.testing.assert_close(policy.model.get_parameter(name).detach(), value, rtol=1e-4, atol=1e-6)

    moved = values + 0.3 * torch.randn(values.shape, generator=torch.Generator().manual_seed(1))
    value_loss(critic(sampled), moved, returns, sampled.mask, 0.1).backward()
    expected = {name: p.detach() - 0.1 * p.grad for name, p in critic.named_parameters() if p.grad is not None}
    critic.zero_grad()
    baseline.optimizer = plain(critic)
    baseline.learn(sampled, moved, returns)
    for name, value in expected.items():
        torch.testing.assert_close(critic.get_parameter(name).detach(), value, rtol=1e-4, atol=1e-6)


def test_a_price_on_leaving_holds_the_policy_back(make_policy, tmp_path):
    short = dataclasses.replace(CONFIG, steps=10)
    chances = {}
    for kl_coef in (0.0, 5.0):
        policy = make_policy()
        critic = dataclasses.replace(CRITIC, kl_coef=kl_coef)
        lines = train(policy, tmp_path / str(kl_coef), short, critic, reference=make_policy())
        chances[kl_coef] = chance(policy, "b")
        assert lines[0]["kl_answer"] == pytest.approx(0, abs=1e-5)
        assert lines[-1]["kl_answer"] > 0
    assert chances[5.0] < chances[0.0] - 0.2


def test_a_reward_function_decides_and_the_verifier_is_logged(make_policy, tmp_path):
    """A reward model that likes "a" best."""
    policy = make_policy()
    lines = train(policy, tmp_path,
                  reward=lambda problems, texts: torch.tensor([float(text == "a") for text in texts]))  # fmt: skip
    assert chance(policy, "a") > 0.9
    assert lines[-1]["reward"] > 0.9
    assert lines[-1]["accuracy"] == pytest.approx(0.5, abs=0.05)


def test_resumed_equals_uninterrupted(make_policy, tmp_path, monkeypatch):
    config = dataclasses.replace(CONFIG, steps=8, prompts=8, max_new_tokens=4, save_every=3)
    critic = dataclasses.replace(CRITIC, kl_coef=0.1)
    whole = train(make_policy(), tmp_path / "whole", config, critic)
    log = Run.log

    def deadly(self, **metrics):
        log(self, **metrics)
        if metrics["step"] == 5:
            raise KeyError("stopped")

    monkeypatch.setattr(Run, "log", deadly)
    with pytest.raises(KeyError):
        train(make_policy(), tmp_path / "parts", config, critic)
    monkeypatch.undo()
    parts = train(make_policy(), tmp_path / "parts", config, critic)
    for line in (*whole, *parts):
        line.pop("seconds")
    assert whole == parts
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "parts")]
    assert weights[0] == weights[1]


def test_a_critic_gone_bad_ends_the_run(make_policy, tmp_path):
    with pytest.raises(RunError, match="step 3: gradients were not finite 3 times in a row"):
        train(make_policy(), tmp_path, critic=dataclasses.replace(CRITIC, updates=1),
              reward=lambda problems, texts: torch.full((len(texts),), 3e38))  # fmt: skip
    assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize("changes", [{"lam": 1.5}, {"gamma": -0.1}, {"value_clip": 0}, {"updates": 0}, {"alone": -1},
                                     {"kl_coef": float("nan")}])  # fmt: skip
def test_impossible_settings_are_named(changes):
    [name] = changes
    with pytest.raises(ValueError, match=f"^{name}: .* does not fit"):
        CriticConfig(**changes)
