import dataclasses
import math
from dataclasses import dataclass

import pytest
import torch

from minidsk.rl.completions import Policy
from minidsk.rl.config import RLConfig
from minidsk.rl.grpo import LOSS_TYPES, group_advantages, policy_loss
from minidsk.rl.loop import reinforce, update
from minidsk.rl.policy import load_policy
from minidsk.rl.rollout import rollout
from minidsk.tasks.base import Problem, Task, make_task
from minidsk.train.checkpoint import Run
from minidsk.train.graph import GraphedGradients
from minidsk.train.loop import Slices, gradients
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
CONFIG = RLConfig(steps=25, prompts=2, group=32, max_new_tokens=1, optim=OPTIM, save_every=4)


CONFIG_160 = dataclasses.replace(CONFIG, max_new_tokens=160)


def chance(policy, token):
    tokenizer = policy.tokenizer
    ids = torch.tensor([[tokenizer.bos_id, *tokenizer.encode("c")]])
    with torch.no_grad():
        return float(policy.model(ids).logits[0, -1].softmax(-1)[tokenizer.encode(token)[0]])


@pytest.mark.parametrize("loss_type", LOSS_TYPES)
def test_a_bandits_policy_finds_the_best_arm(make_policy, tmp_path, loss_type):
    config = dataclasses.replace(CONFIG, loss_type=loss_type)
    policy = make_policy()
    assert chance(policy, "b") < 0.3
    reinforce(policy, Bandit(), config, Run(tmp_path, "rl", config), progress=False)
    assert chance(policy, "b") > 0.95
    rewards = [line["reward"] for line in Run(tmp_path, "rl", config).metrics()]
    assert len(rewards) == 25
    assert rewards[-1] > 0.9 > 0.5 > rewards[0]


def test_equal_rewards_teach_nothing(make_policy, tmp_path):
    config = dataclasses.replace(CONFIG, steps=3, rewards={"well_formed": 1.0})  # one token is never well formed
    policy = make_policy()
    reinforce(policy, Bandit(), config, Run(tmp_path, "rl", config), progress=False)
    torch.testing.assert_close(policy.model.state_dict(), make_policy().model.state_dict(), rtol=0, atol=0)
    assert {line["groups_with_signal"] for line in Run(tmp_path, "rl", config).metrics()} == {0.0}


def test_a_penalty_holds_the_policy_back(make_policy, tmp_path):
    held = dataclasses.replace(CONFIG, steps=10, kl_coef=5.0)
    free = dataclasses.replace(held, kl_coef=0.0)
    chances = {}
    for config in (held, free):
        policy = make_policy()
        reinforce(policy, Bandit(), config, Run(tmp_path / str(config.kl_coef), "rl", config), progress=False)
        chances[config.kl_coef] = chance(policy, "b")
    assert chances[5.0] < chances[0.0] - 0.2
    assert Run(tmp_path / "5.0", "rl", held).metrics()[-1]["kl"] > 0


@pytest.mark.parametrize(("kl_coef", "resample"), [(0.0, 0), (0.1, 0), (0.0, 2)])
def test_resumed_equals_uninterrupted(make_policy, tmp_path, monkeypatch, kl_coef, resample):
    config = dataclasses.replace(CONFIG, steps=8, max_new_tokens=4, updates=2, kl_coef=kl_coef, resample=resample,
                                 save_every=3)  # fmt: skip
    reinforce(make_policy(), Bandit(), config, Run(tmp_path / "whole", "rl", config), progress=False)
    log = Run.log

    def deadly(self, **metrics):
        log(self, **metrics)
        if metrics["step"] == 5:
            raise KeyError("stopped")

    monkeypatch.setattr(Run, "log", deadly)
    with pytest.raises(KeyError):
        reinforce(make_policy(), Bandit(), config, Run(tmp_path / "parts", "rl", config), progress=False)
    monkeypatch.undo()
    reinforce(make_policy(), Bandit(), config, Run(tmp_path / "parts", "rl", config), progress=False)
    lines = [Run(tmp_path / name, "rl", config).metrics() for name in ("whole", "parts")]
    for line in (*lines[0], *lines[1]):
        line.pop("seconds")
    assert lines[0] == lines[1]
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "parts")]
    assert weights[0] == weights[1]


def test_a_reward_function_decides_and_the_verifier_is_logged(make_policy, tmp_path):
    """A function that likes "a" best, though the verifier likes "b" better."""
    policy = make_policy()
    run = Run(tmp_path, "rl", CONFIG)
    reinforce(policy, Bandit(), CONFIG, run, progress=False, reference=make_policy(),
              reward=lambda problems, texts: torch.tensor([float(text == "a") for text in texts]))  # fmt: skip
    assert chance(policy, "a") > 0.95
    lines = run.metrics()
    assert lines[-1]["reward"] > 0.9
    assert lines[-1]["accuracy"] == pytest.approx(0.5, abs=0.05)
    assert lines[-1].get("kl", 1) > lines[0]["kl"] == pytest.approx(0, abs=1e-5)  # watched, though it costs nothing


def test_ratios_move_only_after_the_first_update(make_policy, tmp_path):
    config = dataclasses.replace(CONFIG, steps=3, optim=dataclasses.replace(OPTIM, lr=0.1), clip_low=0.1, clip_high=0.1)
    for updates in (1, 4):
        run = Run(tmp_path / str(updates), "rl", dataclasses.replace(config, updates=updates))
        reinforce(make_policy(), Bandit(), dataclasses.replace(config, updates=updates), run, progress=False)
        [clipped] = [line["clipped_low"] + line["clipped_high"] for line in run.metrics()[1:2]]
        assert (clipped > 0) == (updates > 1)


class Shapes(GraphedGradients):
    """Sees the tables of ids for which graphs are recorded, and records none."""

    def __init__(self, model):
        super().__init__(model)
        self.able, self.seen = True, []

    def __call__(self, loss, *batch):
        self.seen.append(batch[3].shape)
        return gradients(loss, *batch)


@pytest.mark.parametrize("loss_type", LOSS_TYPES)
@pytest.mark.parametrize(("kl_coef", "estimator"), [(0.0, "k3"), (0.3, "k3"), (0.3, "k1")])
@pytest.mark.parametrize("filled", [False, True])
def test_slices_make_one_step(make_policy, generator, loss_type, kl_coef, estimator, filled):
    """An update in slices of 3 rows, silent answers left out, moves as the whole batch's gradient does; and so it does
    where the slices are filled up as graphs need it."""
    config = dataclasses.replace(CONFIG, max_new_tokens=9, loss_type=loss_type, kl_coef=kl_coef, kl_estimator=estimator)
    policy, reference = make_policy(), make_policy(1)
    rollouts = rollout(policy, [Arm("c"), Arm("ab ab"), Arm("d")], 5, 9, {"accuracy": 1.0}, generator=generator)
    rewards = torch.rand(3, 5, generator=generator)
    rewards[1] = 0.5
    advantages = group_advantages(rewards).flatten()
    sampled = rollouts.completions
    with torch.no_grad():
        ref = reference.logprobs(sampled)
    loss, _ = policy_loss(policy.logprobs(sampled), sampled.logp, advantages, sampled.mask, 0.2, 0.28, ref, kl_coef,
                          loss_type, 9, estimator)  # fmt: skip
    loss.backward()
    expected = {name: p.detach() - 0.1 * p.grad for name, p in policy.model.named_parameters() if p.grad is not None}
    policy.model.zero_grad()
    optimizer = plain(policy)
    graphed = Shapes(policy.model) if filled else None
    slices = Slices(4 if filled else 3)  # of 10, or of 15 answers
    stats = update(policy, optimizer, slices, rollouts, advantages, config, reference if kl_coef else None, graphed)
    if graphed is not None:
        assert len(graphed.seen) == len(sampled) // 4 + (kl_coef > 0)
        assert {ids[0] for ids in graphed.seen} == {4}
    for name, value in expected.items():
        torch.testing.assert_close(policy.model.get_parameter(name).detach(), value, rtol=1e-4, atol=1e-6)
    assert stats["loss"] == pytest.approx(loss.item(), rel=1e-4, abs=1e-6)
    assert stats["entropy"] > 0


def test_a_run_learns_by_graphs_and_kernels_where_it_is_told_to(make_policy, tmp_path, monkeypatch):
    made, used = [], []
    monkeypatch.setattr("minidsk.rl.loop.GraphedGradients", lambda model: made.append(Shapes(model)) or made[-1])
    for name, changes in (("plain", {}), ("told", {"graph": True, "kernels": "triton"})):
        config, policy = dataclasses.replace(CONFIG, steps=2, **changes), make_policy()
        monkeypatch.setattr(policy, "use", used.append)
        reinforce(policy, Bandit(), config, Run(tmp_path / name, "rl", config), progress=False)
    assert used == ["triton"]
    assert [len(shapes.seen) for shapes in made] == [2]  # a slice in each step
    with pytest.raises(ValueError, match="^kernels: 'cuda' is not known; give torch, triton$"):
        dataclasses.replace(CONFIG, kernels="cuda")


def test_a_policy_is_computed_by_what_it_has(make_policy):
    policy = make_policy()
    policy.use("triton")
    assert policy.model.kernels.experts == "triton"
    with pytest.raises(ValueError, match=r"^kernels: 'triton' does not fit; only a model of ours can be computed by"):
        Policy.use(policy, "triton")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kernels", ["torch", "triton"])
@pytest.mark.parametrize("per_token", [False, True])
def test_an_update_from_graphs_is_the_same(kernels, per_token):
    """Three updates of 5 slices, of which some share a graph. Products in bf16 round, and what random advantages add up
    to is small: other slices move it as much."""
    task, moved = make_task("countdown", numbers=(3,), high=12, target_high=20, ops="+-"), []
    for rows, graph in ((32, False), (144, False), (32, True)):
        policy = load_policy("nano-base", "cuda")
        policy.use(kernels)
        graphed = GraphedGradients(policy.model) if graph else None
        before, optimizer = [p.detach().clone() for p in policy.parameters()], plain(policy)
        seeded = torch.Generator("cuda").manual_seed(0)
        rollouts = rollout(policy, [task[i] for i in range(9)], 16, 160, {"accuracy": 1.0}, generator=seeded)
        advantages = torch.randn(144, generator=seeded, device="cuda")
        if per_token:
            advantages = advantages[:, None] * rollouts.completions.mask
        for _ in range(3):
            stats = update(policy, optimizer, Slices(rows), rollouts, advantages, CONFIG_160, graphed=graphed)
        assert graphed is None or 0 < len(graphed.kept) < 5
        moved.append(torch.cat([(p.detach() - b).flatten() for p, b in zip(policy.parameters(), before, strict=True)]))
        moved.append(torch.stack([torch.as_tensor(float(stats[name])) for name in ("loss", "entropy", "ratio")]))
    slices, _, whole, _, ours, _ = moved
    assert (ours - slices).norm() < 2 * (whole - slices).norm() < slices.norm()
    torch.testing.assert_close(moved[1], moved[5], rtol=0.02, atol=0.01)


@pytest.mark.parametrize("rows", [2, 16])
def test_what_trainer_and_sampler_compute_differently_is_logged(make_policy, generator, rows):
    """The largest difference of all tokens that are learned from; a sampler that is off by 0.25 nats once is seen."""
    policy = make_policy()
    rollouts = rollout(policy, [Arm("c"), Arm("ab ab")], 5, 9, {"accuracy": 1.0}, generator=generator)
    advantages = torch.linspace(-1, 1, 10)
    assert 0 < update(policy, plain(policy), Slices(rows), rollouts, advantages, CONFIG)["logp_gap"] < 1e-4
    policy = make_policy()
    rollouts.completions.logp[7, 0] -= 0.25
    gap = update(policy, plain(policy), Slices(rows), rollouts, advantages, CONFIG)["logp_gap"]
    assert gap == pytest.approx(0.25, abs=1e-4)
    rollouts.completions.logp[~rollouts.completions.mask] = 5.0  # after an end nothing counts
    policy = make_policy()
    assert update(policy, plain(policy), Slices(rows), rollouts, advantages, CONFIG)["logp_gap"] == pytest.approx(gap)
    assert update(policy, plain(policy), Slices(rows), rollouts, torch.zeros(10), CONFIG)["logp_gap"] == 0


def test_the_difference_is_that_before_the_first_update(make_policy, tmp_path):
    """Later updates of the same batch compare with a policy that has moved, by more than rounding."""
    gaps = []
    for updates in (1, 3):
        config = dataclasses.replace(CONFIG, updates=updates, steps=1)
        run = Run(tmp_path / str(updates), "zero", config)
        reinforce(make_policy(), Bandit(), config, run, progress=False)
        [line] = run.metrics()
        gaps.append(line["logp_gap"])
    assert gaps[0] == gaps[1] < 1e-4


def plain(policy):
    """Plain gradient descent, without clipping."""
    optimizer = Optimizer(policy.model, OptimConfig(clip=1e9), 1)
    fused = policy.device.type == "cuda"  # which a GPU's guard needs
    optimizer.parts = [torch.optim.SGD(policy.model.parameters(), lr=0.1, fused=fused)]
    return optimizer


def test_out_of_memory_halves_the_rows_and_goes_on(make_policy, generator, monkeypatch, capsys):
    """A memory that holds two rows at a time: the same step, in the end, and slices of two from then on."""
    moved = []
    for room in (None, 2):
        policy, slices = make_policy(), Slices(9)
        seeded = torch.Generator().manual_seed(1)
        rollouts = rollout(policy, [Arm("c"), Arm("ab ab")], 5, 9, {"accuracy": 1.0}, generator=seeded)
        predictions, tried = policy.predictions, []

        def tight(some, predictions=predictions, room=room, tried=tried):
            tried.append(len(some))
            if room and len(some) > room:
                raise torch.OutOfMemoryError("full")
            return predictions(some)

        policy.predictions = tight
        advantages = torch.linspace(-1, 1, 10)
        update(policy, plain(policy), slices, rollouts, advantages, CONFIG)
        moved.append(policy.model.state_dict())
    assert tried == [9, 4, 2, 2, 2, 2, 2]
    assert slices.rows == 2
    assert "out of memory: 2 rows at a time from here on" in "".join(capsys.readouterr())
    for name, value in moved[0].items():
        torch.testing.assert_close(moved[1][name], value, rtol=1e-4, atol=1e-6)


def test_one_row_that_does_not_fit_is_an_error(make_policy, generator, monkeypatch):
    policy = make_policy()
    rollouts = rollout(policy, [Arm("c")], 2, 3, {"accuracy": 1.0}, generator=generator)

    def full(some):
        raise torch.OutOfMemoryError("full")

    policy.predictions = full
    with pytest.raises(torch.OutOfMemoryError):
        update(policy, plain(policy), Slices(2), rollouts, torch.ones(2), CONFIG)


def test_advantages_of_tokens_are_those_of_answers_where_they_are_equal(make_policy, generator):
    moved = []
    for by_token in (False, True):
        policy = make_policy()
        rollouts = rollout(policy, [Arm("c"), Arm("ab ab")], 4, 6, {"accuracy": 1.0},
                           generator=torch.Generator().manual_seed(0))  # fmt: skip
        advantages = torch.linspace(-1, 1, 8)
        if by_token:
            advantages = advantages[:, None].expand(-1, rollouts.completions.tokens.shape[1])
        update(policy, plain(policy), Slices(3), rollouts, advantages, CONFIG)
        moved.append(policy.model.state_dict())
    torch.testing.assert_close(moved[0], moved[1], rtol=0, atol=0)


def test_a_gradient_that_is_not_finite_moves_nothing(make_policy, generator):
    policy = make_policy()
    rollouts = rollout(policy, [Arm("c")], 4, 3, {"accuracy": 1.0}, generator=generator)
    rollouts.completions.logp[:] = -1000.0  # the ratio overflows
    stats = update(policy, plain(policy), Slices(4), rollouts, -torch.ones(4), CONFIG)
    assert not math.isfinite(stats["grad_norm"])
    torch.testing.assert_close(policy.model.state_dict(), make_policy().model.state_dict(), rtol=0, atol=0)


def test_a_group_of_one_has_nothing_to_compare(make_policy, tmp_path):
    config = dataclasses.replace(CONFIG, group=1)
    with pytest.raises(ValueError, match=r"^group: 1 does not fit; a group needs 2"):
        reinforce(make_policy(), Bandit(), config, Run(tmp_path, "rl", config), progress=False)


@pytest.mark.parametrize("changes", [{"steps": 0}, {"rows": 0}, {"group": 0}, {"updates": 0}])
def test_impossible_settings_are_named(changes):
    [name] = changes
    with pytest.raises(ValueError, match=f"^{name}: .* does not fit"):
        RLConfig(**changes)
