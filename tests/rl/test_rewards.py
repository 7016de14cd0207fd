import pytest

from minidsk.rl.rewards import REWARDS, accuracy, language, well_formed
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
