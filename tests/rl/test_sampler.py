from dataclasses import dataclass

import pytest
import torch

from minidsk.data.tokenizer import CharTokenizer
from minidsk.model.transformer import MiniDeepSeek
from minidsk.rl.answers import answer_logprobs, over_all
from minidsk.rl.config import RLConfig
from minidsk.rl.metrics import with_signal
from minidsk.rl.recipe import nano
from minidsk.rl.rollout import join, rollout
from minidsk.rl.sampler import Sampler, actor_of
from minidsk.tasks.base import Problem, Task


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


def sampler_of(model, tokenizer, **changes):
    config = RLConfig(prompts=6, group=4, max_new_tokens=7, **changes)
    return Sampler(model, tokenizer, Sometimes(), config, config.resample)


def test_groups_without_signal_are_replaced(make_model, tokenizer):
    """Two of six have a signal in each try: the third try fills the batch."""
    drawn = sampler_of(make_model(), tokenizer, resample=5)(2)
    assert drawn.tries == 3
    assert with_signal(drawn.sampled.rewards).tolist() == [True] * 6
    first = 2 * 6 * 6  # problems of step 2, which belong to no other step
    prompts = [Sometimes()[first + i].prompt for i in range(18) if (first + i) % 3 == 0]
    width = drawn.sampled.ids.shape[1] - drawn.sampled.tokens.shape[1]
    for row in range(24):
        ids = drawn.sampled.ids[row, :width][drawn.sampled.valid[row, :width]]
        assert tokenizer.decode(ids) == "<bos>" + prompts[row // 4]
    assert drawn.tokens > int(drawn.sampled.valid.sum())


def test_the_bound_holds_and_the_rest_has_no_signal(make_model, tokenizer):
    drawn = sampler_of(make_model(), tokenizer, resample=1)(0)
    assert drawn.tries == 2
    assert with_signal(drawn.sampled.rewards).tolist() == [True] * 4 + [False] * 2
    assert drawn.sampled.rewards.shape == (6, 4)


def test_a_step_decides_what_it_draws(make_model, tokenizer):
    model = make_model()
    for resample in (0, 2):
        one, other, next_one = (sampler_of(model, tokenizer, resample=resample)(step).sampled for step in (3, 3, 4))
        assert one.texts == other.texts != next_one.texts
        assert torch.equal(one.ids, other.ids)


@pytest.mark.parametrize("resample", [0, 2])
def test_no_problem_is_posed_twice(make_model, tokenizer, resample):
    sampler = sampler_of(make_model(), tokenizer, resample=resample)
    for step in range(4):
        sampler(step)
    assert len(sampler.task.asked) == len(set(sampler.task.asked)) == 4 * 6 * (1 + resample)


def test_without_resampling_everything_is_kept(make_model, tokenizer):
    drawn = sampler_of(make_model(), tokenizer)(1)
    assert drawn.tries == 1
    assert drawn.tokens == int(drawn.sampled.valid.sum())
    assert with_signal(drawn.sampled.rewards).sum() == 2


def test_joined_rollouts_are_the_rollouts(make_model, tokenizer, generator):
    """Of different widths; each row keeps its prompt, answer and figures."""
    model, task = make_model(), Sometimes()
    parts = [rollout(model, tokenizer, [task[i] for i in numbers], 3, length, {"accuracy": 1.0}, generator=generator)
             for numbers, length in (([0, 4], 5), ([3, 6, 2], 9))]  # fmt: skip
    parts[1].faults[2] = "why"
    both = join(parts, tokenizer.pad_id)
    assert both.faults == {8: "why"}
    assert both.texts == parts[0].texts + parts[1].texts
    width = both.ids.shape[1] - both.tokens.shape[1]
    assert torch.equal(both.ids[:, width:], both.tokens)
    assert torch.equal(both.valid[:, width:], both.mask)
    assert both.parts["accuracy"].tolist() == [row for part in parts for row in part.parts["accuracy"].tolist()]
    rows = [(part, i) for part in parts for i in range(len(part.texts))]
    for row, (part, i) in enumerate(rows):
        assert both.ids[row][both.valid[row]].tolist() == part.ids[i][part.valid[i]].tolist()
        assert both.tokens[row][both.mask[row]].tolist() == part.tokens[i][part.mask[i]].tolist()
        assert both.old_logp[row][both.mask[row]].tolist() == part.old_logp[i][part.mask[i]].tolist()
        assert not both.old_logp[row][~both.mask[row]].any()
    some = both.groups(torch.tensor([2, 0]))
    assert some.texts == both.texts[6:9] + both.texts[:3]
    assert some.faults == {2: "why"}
    assert torch.equal(some.rewards, both.rewards[[2, 0]])
    assert torch.equal(some.ids[:3], both.ids[6:9])


@pytest.mark.parametrize("changes", [{"resample": -1}, {"scale": "rank"}, {"loss_type": "ppo"}, {"kl_estimator": "k"},
                                     {"clip_low": -0.1}, {"kl_coef": -1.0}, {"temperature": -1.0}])  # fmt: skip
def test_impossible_settings_are_named(changes):
    [name] = changes
    with pytest.raises(ValueError, match=f"^{name}: "):
        RLConfig(**changes)


def test_the_actor_is_the_model_in_bf16(make_model):
    """Where no kernel can run, it is computed by what kernels are checked against."""
    model, ids = make_model(), torch.arange(12).view(2, 6)
    actor = actor_of(model)
    assert {module.kernels for module in actor.modules() if hasattr(module, "kernels")} == {"torch", "triton"}
    with torch.no_grad():
        torch.testing.assert_close(actor.double()(ids).logits, model.double()(ids).logits, atol=0.1, rtol=0.1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("group", [16, 600])
def test_a_recorded_actor_knows_what_it_sampled(group):
    """Few rows take all experts, many are sorted; what was noted while sampling is what the learner computes."""
    recipe = nano()
    model = MiniDeepSeek(recipe.pretrain.model, torch.Generator().manual_seed(0)).cuda()
    tokenizer = CharTokenizer()
    config = RLConfig(prompts=4, group=group, max_new_tokens=48)
    sampler = Sampler(model, tokenizer, recipe.task("train"), config)
    assert sampler.actor is not model
    for step in range(3):
        sampled = sampler(step).sampled
        known = over_all(lambda rows, s=sampled: answer_logprobs(model, s, rows)[0], sampled, 1024)
        apart = ((known - sampled.old_logp) * sampled.mask).abs().sum() / sampled.mask.sum()
        assert apart < 0.02, "bf16 against float32 with bf16 products, in nats a token"
        with torch.no_grad():
            model.lm_head.weight.mul_(1.5)  # the next step must sample from the model as it then is
    assert sampler.recorder._step.graph is not None
