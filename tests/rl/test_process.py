"""The process preference model: pairs by hand, and a judge that learns from trees which steps lead to right answers."""

import pytest
import torch

from minidsk.infer.search.account import Blind, verify
from minidsk.infer.search.mcts import TreeConfig, tree_search
from minidsk.infer.search.tree import Node, back_up, grow
from minidsk.infer.search.voting import best_of_n
from minidsk.presets import nano
from minidsk.rl.policy import load_policy
from minidsk.rl.preferences import Ranking
from minidsk.rl.process import ProcessJudge, solutions, step_rankings
from minidsk.rl.reward_model import RewardModel, RewardModelConfig, train_reward_model
from minidsk.train.optim import OptimConfig


@pytest.fixture
def tree(tokenizer):
    """Four first steps, of which "a" was right twice, "b" once in two tries, "c" and "d" never."""
    root = Node()
    for steps, worth in (("ab", 1.0), ("ac", 1.0), ("ba", 1.0), ("bc", 0.0), ("cd", 0.0), ("da", 0.0)):
        tokens = [*tokenizer.encode(steps), tokenizer.eos_id]
        end = grow(root, [((tokens[0],), 0.5), (tuple(tokens[1:]), 0.5)])
        back_up(end, worth, 9)
    return root


def test_steps_are_compared_with_their_siblings_and_replies_with_all_others(tree, tokenizer):
    rankings = step_rankings("ab", tree, tokenizer)
    steps, replies = {("a", "c"), ("a", "d"), ("b", "c"), ("b", "d")}, {("ab", "cd"), ("ab", "da"), ("ac", "cd"),
                                                                        ("ac", "da")}  # fmt: skip
    assert {ranking.replies for ranking in rankings} == steps | replies
    assert len(rankings) == 8
    assert {ranking.prompt for ranking in rankings} == {"ab"}
    assert step_rankings("ab", tree, tokenizer, most=1)[0] == Ranking("ab", ("a", "d"))


def test_what_never_led_to_a_right_answer_is_no_example(tokenizer):
    root = Node()
    for step, worth in (("a", -1.0), ("b", -2.0)):
        back_up(grow(root, [((*tokenizer.encode(step), tokenizer.eos_id), 0.5)]), worth, 9)
    assert step_rankings("ab", root, tokenizer) == []
    assert solutions(root, tokenizer) == []


def test_the_right_replies_on_the_surest_ways_come_first(tree, tokenizer):
    assert solutions(tree, tokenizer, 3) in (["ab", "ac", "ba"], ["ac", "ab", "ba"])
    assert len(solutions(tree, tokenizer)) == 2


def test_it_learns_from_trees_and_then_judges_without_the_verifier():
    """From the trees of 64 problems: of replies to other problems it picks far more right ones than come first."""
    policy, recipe = load_policy("nano-base"), nano()
    train, test = recipe.make_task("train"), recipe.make_task("test")
    posed = [train[i] for i in range(64)]
    found = tree_search(policy, posed, verify, 400, torch.Generator().manual_seed(0), TreeConfig(longest=80))
    rankings = [ranking for problem, tree in zip(posed, found.trees, strict=True)
                for ranking in step_rankings(problem.prompt, tree, policy.tokenizer)]  # fmt: skip
    assert len(rankings) > 100
    model = RewardModel(policy)
    config = RewardModelConfig(batch=16, optim=OptimConfig(lr=2e-3, warmup=5))
    losses = train_reward_model(model, rankings, config, progress=False)
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    judge = ProcessJudge(model)
    held_out = [test[i] for i in range(64)]
    blind = [Blind(problem) for problem in held_out]
    right = {}
    for budget in (80, 400):
        chosen = best_of_n(policy, blind, judge, budget, torch.Generator().manual_seed(1), longest=80)
        right[budget] = sum(problem.score(reply) for problem, reply in zip(held_out, chosen.replies, strict=True))
    assert right[400] > 1.4 * right[80]
    values, flops = judge(blind[:2], ["<think>", "<think>1"])
    assert all(-1 <= value <= 1 for value in values)
    assert flops == model.flops([problem.prompt for problem in held_out[:2]], ["<think>", "<think>1"]) > 0
