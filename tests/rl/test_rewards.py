import math
import threading
import time

import pytest
import torch

from minidsk.rl.rewards import REWARDS, accuracy, language, score, short, well_formed
from minidsk.tasks.countdown import Countdown

EN, ZH = (Countdown(numbers=2, high=9, ops="+", language=name)[0] for name in ("en", "zh"))


def reply(thought, answer="1"):
    return f"<think>{thought}</think><answer>{answer}</answer>"


@pytest.mark.parametrize(("problem", "thought", "share"), [
    (EN, "1+1=2 no\n1+2=3 yes", 1.0), (EN, "1+1=2 不对\n1+2=3 yes", 0.5), (EN, "1+1=2 不对", 0.0), (EN, "1+1=2", 1.0),
    (ZH, "1+1=2 不对\n1+2=3 对了", 1.0), (ZH, "1+1=2 no no no 不对", 0.25), (ZH, "", 1.0),
])  # fmt: skip
def test_the_share_of_the_prompts_language(problem, thought, share):
    assert language(problem, reply(thought)) == share


def test_the_answer_is_no_part_of_the_thought():
    assert language(EN, reply("no", answer="对了")) == 1.0


@pytest.mark.parametrize("text", ["", "<think>", "对" * 1000, "<answer></answer>", "\n\n", "</think><think>"])
def test_every_reward_is_a_share_for_any_text(text):
    assert all(0 <= reward(problem, text) <= 1 for reward in REWARDS.values() for problem in (EN, ZH))


def test_accuracy_and_form_are_the_verifiers():
    right, wrong = reply("", EN.solution), reply("", "1+1+1+1")
    assert (accuracy(EN, right), accuracy(EN, wrong), accuracy(EN, EN.solution)) == (1, 0, 0)
    assert (well_formed(EN, right), well_formed(EN, wrong), well_formed(EN, EN.solution)) == (1, 1, 0)


def broken(problem, reply):
    """A verifier that does whatever the reply names."""
    if reply == "loop":
        while True:
            pass
    return {"raise": lambda: 1 // 0, "nan": lambda: math.nan, "inf": lambda: math.inf, "none": lambda: None,
            "text": lambda: "right", "one": lambda: 1, "tensor": lambda: torch.tensor(0.5)}[reply]()  # fmt: skip


def judged(monkeypatch, replies, seconds=0.4, **weights):
    monkeypatch.setitem(REWARDS, "broken", broken)
    return score([EN] * len(replies), replies, weights or {"broken": 1.0}, seconds=seconds)


def test_what_a_verifier_may_do_wrong_is_a_fault_of_one_reply(monkeypatch):
    replies = ["one", "raise", "nan", "inf", "none", "text", "tensor", "unheard of"]
    found = judged(monkeypatch, replies, broken=2.0, short=1.0)
    good = [i for i, reply in enumerate(replies) if reply in ("one", "tensor")]
    assert sorted(set(range(8)) - set(found.faults)) == good
    assert found.faults[1] == "broken raised ZeroDivisionError: integer division or modulo by zero"
    assert found.faults[2] == "broken returned nan"
    assert found.parts["broken"][good].tolist() == [1.0, 0.5]
    assert found.parts["broken"].isnan().sum() == found.total.isnan().sum() == 6  # an infinite one, too
    assert found.parts["short"].isfinite().all()
    assert found.total.isfinite().nonzero().flatten().tolist() == good
    assert found.total[0] == pytest.approx(2 + 100 / 103)


@pytest.mark.parametrize("where", ["main thread", "another thread"])
def test_a_verifier_that_hangs_is_stopped(monkeypatch, where):
    replies = ["one", "loop", "one", "loop", "one"]
    found = []
    if where == "main thread":
        found.append(judged(monkeypatch, replies))
    else:
        thread = threading.Thread(target=lambda: found.append(judged(monkeypatch, replies)))
        thread.start()
        thread.join(20)
    assert found[0].faults == {1: "broken took over 0.2 s", 3: "broken took over 0.2 s"}
    assert found[0].total.nan_to_num(-1).tolist() == [1, -1, 1, -1, 1]


def test_after_some_hangs_the_rest_is_not_tried(monkeypatch):
    found = judged(monkeypatch, ["one"] + ["loop"] * 300 + ["one"], seconds=0.2)
    assert sorted(found.faults) == list(range(1, 302))
    assert found.faults[4] == "broken took over 0.1 s"
    assert found.faults[301] == "broken was not tried any more, after 4 replies for which it took too long"


def test_slow_but_finite_verifiers_are_left_to_their_work(monkeypatch):
    """The limit is for one reply: together they may take longer."""
    monkeypatch.setitem(REWARDS, "slow", lambda problem, reply: time.sleep(0.02) or 1.0)
    found = score([EN] * 40, ["x"] * 40, {"slow": 1.0}, seconds=0.6)
    assert not found.faults
    assert found.total.tolist() == [1.0] * 40


def test_a_function_judges_instead_and_the_rules_are_only_looked_at():
    problems, texts = [EN, ZH], [reply("", EN.solution), ""]
    found = score(problems, texts, {"accuracy": 1.0}, lambda p, t: torch.tensor([float(len(x)) for x in t]))
    assert found.total.tolist() == [len(texts[0]), 0]
    assert found.parts["accuracy"].tolist() == [1, 0]
    odd = score(problems, texts, {}, lambda p, t: torch.tensor([math.inf, 2.0]))
    assert odd.faults == {0: "the reward function returned inf"}
    assert math.isnan(odd.total[0])
    with pytest.raises(ValueError, match=r"reward: returned shape \(2, 1\) for 2 replies"):
        score(problems, texts, {}, lambda p, t: torch.zeros(2, 1))


def test_no_reward_is_no_reward():
    with pytest.raises(ValueError, match="rewards: none given; give some of accuracy"):
        score([EN], ["x"], {})


def test_short_prices_length():
    assert [short(EN, "x" * n) for n in (0, 100, 300)] == [1.0, 0.5, 0.25]
