from dataclasses import dataclass
from types import SimpleNamespace

import torch

from minidsk.infer import outcome
from minidsk.infer.outcome import outcomes
from minidsk.tasks.base import Problem


@dataclass(frozen=True)
class Word(Problem):
    """Solved by its prompt with a number that is even."""

    def score(self, text):
        word, number = text.split()
        return float(word == self.prompt and int(number) % 2 == 0)


class Counter:
    """Answers to a prompt with the prompt and 0, 1, 2, ...; every third answer is cut off."""

    asked, how = 0, ()

    def sample(self, prompts, group, max_new_tokens, temperature, generator):
        self.asked = max(self.asked, len(prompts) * group)
        self.how = (max_new_tokens, temperature, generator)
        texts = [f"{prompt} {i}" for prompt in prompts for i in range(group)]
        lengths = torch.tensor([len(prompt) + i for prompt in prompts for i in range(group)])
        ended = torch.tensor([i % 3 < 2 for prompt in prompts for i in range(group)])
        return SimpleNamespace(texts=texts, lengths=lengths, ended=ended)


def test_a_policy_is_asked_as_it_is_told():
    policy, generator = Counter(), torch.Generator()
    outcomes(policy, [Word("a")], 2, 9, temperature=0.5, generator=generator)
    assert policy.how == (9, 0.5, generator)


def test_replies_stay_with_their_problem_in_whatever_batches(monkeypatch):
    problems = [Word("a"), Word("bcd"), Word("ef"), Word("g"), Word("h")]
    found = {}
    for at_once in (1024, 8, 1):
        monkeypatch.setattr(outcome, "AT_ONCE", at_once)
        policy = Counter()
        found[at_once] = outcomes(policy, problems, 4, 9)
        assert policy.asked <= max(at_once, 4)
    assert found[1024] == found[8] == found[1]
    assert [[o.text for o in some] for some in found[8]][1] == ["bcd 0", "bcd 1", "bcd 2", "bcd 3"]
    for some, problem in zip(found[8], problems, strict=True):
        assert [o.right for o in some] == [True, False, True, False]
        assert [o.tokens for o in some] == [len(problem.prompt) + i for i in range(4)]
        assert [o.ended for o in some] == [True, True, False, True]
