import dataclasses

import pytest
import torch

from minidsk.rl.completions import completed
from minidsk.rl.metrics import describe, distinct_attempts, distinct_replies
from minidsk.rl.rollout import Rollouts, with_signal
from minidsk.tasks.countdown import CountdownProblem

PROBLEM = CountdownProblem("a", (1, 2), 3, "1+2")


def rollouts(tokenizer, texts, rewards, longest, faults=None, **parts):
    """Rollouts that say `texts`; one that is as long as `longest` has no end."""
    rows = [tokenizer.encode(text) + [tokenizer.eos_id] * (len(text) < longest) for text in texts]
    prompts = torch.full((len(rows), 1), tokenizer.bos_id)
    completions = completed(prompts, torch.ones_like(prompts).bool(), rows, texts, tokenizer.pad_id, [tokenizer.eos_id])
    return Rollouts([PROBLEM] * len(rewards), completions, rewards, parts, faults or {})


def test_every_figure_by_hand(tokenizer):
    texts = ["a=b\na=c\nb=c", "ab", "", "aaaaaaaaaaaa"]
    accuracy = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    sampled = rollouts(tokenizer, texts, accuracy + 0.5, 12, accuracy=accuracy, short=accuracy / 2)
    found = describe(sampled)
    assert found == {
        "reward": 0.75, "accuracy": 0.25, "short": 0.125, "length": (12 + 3 + 1 + 12) / 4, "length_right": 12.0,
        "length_wrong": pytest.approx(16 / 3), "cut_off": 0.25, "groups_with_signal": 0.5,
        "distinct_attempts": pytest.approx(4 / 5), "unjudged": 0.0, "well_formed": 0.0, "distinct_replies": 1.0,
        "commonest": 0.25, "both_languages": 0.0,
    }  # fmt: skip


def test_nothing_right_and_nothing_judged(tokenizer):
    accuracy = torch.zeros(1, 2)
    sampled = rollouts(tokenizer, ["a", ""], accuracy + 0.2, 3, {1: "accuracy raised KeyError: 'x'"}, accuracy=accuracy)
    found = describe(sampled)
    assert (found["length_right"], found["length_wrong"]) == (0.0, 1.5)
    assert (found["unjudged"], found["fault"]) == (0.5, "accuracy raised KeyError: 'x'")
    half = torch.tensor([[0.5, 1.0]])
    assert describe(rollouts(tokenizer, ["a", ""], half, 3, accuracy=half))["length_right"] == 1.0  # half is not right
    alone = describe(rollouts(tokenizer, ["a", ""], torch.tensor([[3.0, 1.0]]), 3))
    assert (alone["length_right"], alone["length_wrong"]) == (2.0, 1.0)  # without accuracy: the larger rewards


def distinct(texts):
    return distinct_attempts([PROBLEM] * len(texts), texts)


def test_distinct_attempts():
    thought = "<think>1+2=3 no\n1+2=3 no\n2+1=3 yes</think><answer>2+1</answer>"
    assert distinct([thought]) == pytest.approx(2 / 3)
    assert distinct(["", "<think></think>"]) == 1.0
    assert distinct(["<think>1=1</think>", "<think>1=1</think>"]) == 1.0  # each thought by itself


def test_replies_alike_in_their_group_and_everywhere(tokenizer):
    """Two groups of three; and the form and the languages of replies."""
    alike = describe(rollouts(tokenizer, ["a", "a", "b", "a", "a", "a"], torch.zeros(2, 3), 9))
    assert (alike["distinct_replies"], alike["commonest"]) == (pytest.approx(3 / 6), pytest.approx(5 / 6))
    assert distinct_replies(["a", "a", "b", "b"], 2) == 0.5
    texts = ["<think>1+2=3 yes</think><answer>1+2</answer>", "<think>1 no\n2 对了"]
    completions = rollouts(tokenizer, ["a", "b"], torch.zeros(1, 2), 3).completions
    found = describe(Rollouts([PROBLEM], dataclasses.replace(completions, texts=texts), torch.zeros(1, 2), {}, {}))
    assert (found["well_formed"], found["both_languages"]) == (0.5, 0.5)


def test_groups_of_equals_have_no_signal():
    """Not even where the deviation of equal numbers is not exactly 0 in floating point."""
    rewards = torch.full((1, 7), 0.1)
    assert rewards.std(1) > 0
    assert with_signal(rewards).tolist() == [False]
    assert with_signal(rewards + torch.arange(7)).tolist() == [True]
