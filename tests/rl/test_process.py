"""The process preference model: pairs by hand, and a judge that learns from trees which steps lead to right answers."""

import json
from collections import Counter
from dataclasses import dataclass

import pytest
import torch

from minidsk.infer.search.account import Blind, verify
from minidsk.infer.search.mcts import Searched, TreeConfig, tree_search
from minidsk.infer.search.tree import Node, back_up, grow
from minidsk.infer.search.voting import best_of_n
from minidsk.presets import nano
from minidsk.rl import process
from minidsk.rl.harvest import FAR
from minidsk.rl.policy import load_policy
from minidsk.rl.preferences import Ranking
from minidsk.rl.process import ProcessJudge, Trees, harvest_trees, solutions, step_rankings
from minidsk.rl.recipe import run_stage
from minidsk.rl.reward_model import RewardModel, RewardModelConfig, train_reward_model
from minidsk.rl.stages import FineTuning
from minidsk.tasks.base import Problem
from minidsk.train.checkpoint import RunError
from minidsk.train.optim import OptimConfig
from minidsk.train.sft import SFTConfig, read_examples


@dataclass(frozen=True)
class Hopeless(Problem):
    """A problem that no reply solves."""

    def score(self, text):
        return 0.0


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


@pytest.mark.slow
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


def test_a_round_of_self_evolution_is_a_stage(tmp_path):
    """The base searches, and is fine-tuned on what it found: right replies, two at most to a problem."""
    recipe = nano()
    trees = Trees(48, 320, config=TreeConfig(longest=80))
    stage = FineTuning("evolved", "nano-base", SFTConfig(steps=2, batch=8), "nano-base", trees)
    run_stage(stage, recipe, tmp_path, torch.device("cpu"), progress=False)
    examples = read_examples(tmp_path / "evolved" / "examples.jsonl")
    assert len(examples) == 48
    posed = {problem.prompt: problem for problem in (recipe.make_task("train")[FAR + i] for i in range(96))}
    assert all(posed[prompt].score(reply) == 1 for prompt, reply in examples)
    assert max(Counter(prompt for prompt, _ in examples).values()) == 2
    about = json.loads((tmp_path / "evolved" / "config.json").read_text())["minidsk"]
    assert about["settings"]["thoughts"]["config"]["longest"] == 80
    assert about["summary"]["flops"] > float(about["given"]["harvest_flops"]) > 0


def test_a_harvest_searches_as_it_is_told(tree, tokenizer, make_policy, monkeypatch):
    """The fake search finds the tree above for every problem, or nothing."""
    asked, task = [], type("Task", (), {"__getitem__": lambda self, i: Hopeless(f"{i - FAR}")})()

    def search(policy, posed, judge, budget, generator, config):
        asked.extend((problem.prompt, budget, config) for problem in posed)
        return Searched((), (), (), 1.0, tuple(grown for _ in posed))

    monkeypatch.setattr(process, "tree_search", search)
    config, grown = TreeConfig(longest=5), tree
    found = harvest_trees(make_policy(), task, Trees(5, 7, most=1, config=config), 0)
    assert (found.asked, found.flops) == (5, 1.0)
    assert asked == [(str(i), 7, config) for i in range(5)]
    assert [prompt for prompt, _ in found.examples] == list("01234")
    grown, asked = Node(), []
    with pytest.raises(RunError):
        harvest_trees(make_policy(), task, Trees(300, 7), 0)
    assert len(asked) == 20 * 300


def test_a_search_that_solves_nothing_says_so(make_policy, tokenizer):
    task = type("Task", (), {"__getitem__": lambda self, i: Hopeless("ab")})()
    with pytest.raises(RunError, match="^harvest: the search solved no problem"):
        harvest_trees(make_policy(), task, Trees(1, 4, config=TreeConfig(longest=4)), 0)
    with pytest.raises(ValueError, match="^most: "):
        Trees(most=0)
