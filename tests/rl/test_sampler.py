from dataclasses import dataclass

import pytest
import torch

from minidsk.data.tokenizer import CharTokenizer
from minidsk.model.operations import Kernels
from minidsk.model.transformer import MiniDeepSeek
from minidsk.presets import nano
from minidsk.rl.completions import over_all
from minidsk.rl.config import RLConfig
from minidsk.rl.loop import reinforce
from minidsk.rl.policy import MiniPolicy
from minidsk.rl.rollout import Sampler, join, rollout, with_signal
from minidsk.tasks.base import Problem, Task
from minidsk.train.checkpoint import Run
from minidsk.train.optim import OptimConfig


@dataclass(frozen=True)
class Numbered(Problem):
    """Every third problem tells answers apart; the others have 1 for everything."""

    number: int = 0

    def score(self, text):
        return text.count("a") / max(len(text), 1) if self.number % 3 == 0 else 1.0


class Sometimes(Task):
    """Problem i has a prompt of its own length; notes who was asked for."""

    def __init__(self):
        self.asked = []

    def __getitem__(self, i):
        self.asked.append(i)
        return Numbered("abcd"[: 1 + i % 4], i)


def sampler_of(policy, **changes):
    return Sampler(policy, Sometimes(), RLConfig(prompts=6, group=4, max_new_tokens=7, **changes))


def test_groups_without_signal_are_replaced(make_policy, tokenizer):
    """Two of six have a signal in each try: the third try fills the batch."""
    drawn = sampler_of(make_policy(), resample=5)(2)
    assert drawn.tries == 3
    assert with_signal(drawn.rollouts.rewards).tolist() == [True] * 6
    first = 2 * 6 * 6  # problems of step 2, which belong to no other step
    prompts = [Sometimes()[first + i].prompt for i in range(18) if (first + i) % 3 == 0]
    sampled = drawn.rollouts.completions
    width = sampled.prompt_width
    for row in range(24):
        ids = sampled.ids[row, :width][sampled.attention_mask[row, :width]]
        assert tokenizer.decode(ids) == "<bos>" + prompts[row // 4]
    assert [problem.prompt for problem in drawn.rollouts.problems] == prompts
    assert drawn.flops > 2 * make_policy().flops(sampled)


def test_the_bound_holds_and_the_rest_has_no_signal(make_policy, tokenizer):
    drawn = sampler_of(make_policy(), resample=1)(0)
    assert drawn.tries == 2
    assert with_signal(drawn.rollouts.rewards).tolist() == [True] * 4 + [False] * 2
    assert drawn.rollouts.rewards.shape == (6, 4)


def test_a_step_decides_what_it_draws(make_policy, tokenizer):
    policy = make_policy()
    for resample in (0, 2):
        one, other, next_one = (sampler_of(policy, resample=resample)(step).rollouts for step in (3, 3, 4))
        texts = [drawn.completions.texts for drawn in (one, other, next_one)]
        assert texts[0] == texts[1] != texts[2]
        assert torch.equal(one.completions.ids, other.completions.ids)


@pytest.mark.parametrize("resample", [0, 2])
def test_no_problem_is_posed_twice(make_policy, resample):
    sampler = sampler_of(make_policy(), resample=resample)
    for step in range(4):
        sampler(step)
    assert len(sampler.task.asked) == len(set(sampler.task.asked)) == 4 * 6 * (1 + resample)


def test_without_resampling_everything_is_kept(make_policy, tokenizer):
    drawn = sampler_of(make_policy())(1)
    assert drawn.tries == 1
    assert drawn.flops == make_policy().flops(drawn.rollouts.completions)
    assert with_signal(drawn.rollouts.rewards).sum() == 2


def test_joined_rollouts_are_the_rollouts(make_policy, generator):
    """Of different widths; each row keeps its prompt, answer and figures."""
    policy, task = make_policy(), Sometimes()
    parts = [rollout(policy, [task[i] for i in numbers], 3, length, {"accuracy": 1.0}, generator=generator)
             for numbers, length in (([0, 4], 5), ([3, 6, 2], 9))]  # fmt: skip
    parts[1].faults[2] = "why"
    rollouts = join(parts)
    both, each = rollouts.completions, [part.completions for part in parts]
    assert rollouts.faults == {8: "why"}
    assert rollouts.problems == parts[0].problems + parts[1].problems
    assert both.texts == each[0].texts + each[1].texts
    assert torch.equal(both.ids[:, both.prompt_width :], both.tokens)
    assert torch.equal(both.attention_mask[:, both.prompt_width :], both.mask)
    assert both.ended.tolist() == each[0].ended.tolist() + each[1].ended.tolist()
    assert rollouts.parts["accuracy"].tolist() == [row for part in parts for row in part.parts["accuracy"].tolist()]
    rows = [(part, i) for part in each for i in range(len(part))]
    for row, (part, i) in enumerate(rows):
        assert both.ids[row][both.attention_mask[row]].tolist() == part.ids[i][part.attention_mask[i]].tolist()
        assert both.tokens[row][both.mask[row]].tolist() == part.tokens[i][part.mask[i]].tolist()
        assert both.logp[row][both.mask[row]].tolist() == part.logp[i][part.mask[i]].tolist()
        assert not both.logp[row][~both.mask[row]].any()
    some = rollouts.groups(torch.tensor([2, 0]))
    assert some.completions.texts == both.texts[6:9] + both.texts[:3]
    assert some.faults == {2: "why"}
    assert torch.equal(some.rewards, rollouts.rewards[[2, 0]])
    assert some.problems == [rollouts.problems[2], rollouts.problems[0]]


@pytest.mark.parametrize("changes", [{"resample": -1}, {"scale": "rank"}, {"loss_type": "ppo"}, {"kl_estimator": "k"},
                                     {"clip_low": -0.1}, {"kl_coef": -1.0}, {"temperature": -1.0}])  # fmt: skip
def test_impossible_settings_are_named(changes):
    [name] = changes
    with pytest.raises(ValueError, match=f"^{name}: "):
        RLConfig(**changes)


def test_the_sampling_copy_is_the_model_in_bf16(make_policy, make_model, tokenizer):
    """Where no kernel can run, it is computed by what kernels are checked against."""
    model, ids = make_model(), torch.arange(12).view(2, 6)
    policy = MiniPolicy(model, tokenizer, sampling_dtype=torch.bfloat16)
    actor = policy.actor
    assert actor is not model
    used = {module.kernels for module in actor.modules() if hasattr(module, "kernels")}
    assert used == {Kernels(experts="triton", norm="triton", rotation="triton", step="triton")}
    with torch.no_grad():
        torch.testing.assert_close(actor.double()(ids).logits, model.double()(ids).logits, atol=0.1, rtol=0.1)


def test_the_sampling_copy_follows_the_weights(make_model, tokenizer):
    """On a CPU too: what is sampled after a change of the weights is what the changed model says."""
    model = make_model()
    policy = MiniPolicy(model, tokenizer, sampling_dtype=torch.float32)

    def greedy(sampler):
        return sampler.sample(["a b", "d"], 1, 6, 0.0).texts

    before = greedy(policy)
    assert before == greedy(MiniPolicy(model, tokenizer))
    with torch.no_grad():
        model.lm_head.weight.copy_(model.lm_head.weight.roll(1, 0))
        for router in model.routers():
            router.e_score_correction_bias.add_(torch.randn(4, generator=torch.Generator().manual_seed(3)))
    assert greedy(policy) == greedy(MiniPolicy(model, tokenizer)) != before


def test_learning_samples_from_the_weights_of_now(make_model, tokenizer, tmp_path):
    """The loop itself: were the copy left behind, the log-probabilities at sampling time would drift away."""
    policy = MiniPolicy(make_model(), tokenizer, sampling_dtype=torch.float32)
    config = RLConfig(steps=2, prompts=3, group=4, max_new_tokens=4, optim=OptimConfig(lr=0.05, warmup=0))
    reinforce(policy, Sometimes(), config, Run(tmp_path, "rl", config), progress=False)
    lines = Run(tmp_path, "rl", config).metrics()
    assert [line["ratio"] for line in lines] == [pytest.approx(1.0, abs=1e-3)] * 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("group", [16, 600])
def test_a_recorded_copy_knows_what_it_sampled(group):
    """Few rows take all experts, many are sorted; what was noted while sampling is what the learner computes."""
    recipe = nano()
    model = MiniDeepSeek(recipe.pretrain.model, torch.Generator().manual_seed(0)).cuda()
    policy = MiniPolicy(model, CharTokenizer())
    config = RLConfig(prompts=4, group=group, max_new_tokens=48)
    sampler = Sampler(policy, recipe.make_task("train"), config)
    assert policy.actor is not model
    for step in range(3):
        sampled = sampler(step).rollouts.completions
        known = over_all(policy.logprobs, sampled, 1024)
        apart = ((known - sampled.logp) * sampled.mask).abs().sum() / sampled.mask.sum()
        assert apart < 0.02, "bf16 against float32 with bf16 products, in nats a token"
        with torch.no_grad():
            model.lm_head.weight.mul_(1.5)  # the next step must sample from the model as it then is
    assert all(kept.graph is not None for kept in policy._recorder._kept.values())
