import pytest
import torch

from minidsk.data.tokenizer import SPECIALS, BPETokenizer, CharTokenizer
from minidsk.infer.chat import converse, posed, stream
from minidsk.infer.generate import complete
from minidsk.infer.sampling import Sampling
from minidsk.model.config import ModelConfig
from minidsk.model.transformer import MiniDeepSeek
from minidsk.tasks.countdown import PROMPTS


@pytest.mark.parametrize(("text", "language"), [
    ("3 7 2 = 12", "en"), ("  3, 7,2=12 ", "en"), ("Make 12 from 3 7 2.", "en"), ("make 12 from 3 7 2\n", "en"),
    ("用 3 7 2 得到 12。", "zh"), ("用3 7 2得到12", "zh"),
])  # fmt: skip
def test_problems_are_read_as_people_write_them(text, language):
    problem = posed(text)
    assert (problem.numbers, problem.target) == ((3, 7, 2), 12)
    assert problem.prompt == PROMPTS[language].format(numbers="3 7 2", target=12)


@pytest.mark.parametrize("text", ["", "hello", "3 = 3", "3 7 2", "= 4", "3 7 2 = x", "3 7 2 = 12 = 12", "-3 7 = 4"])
def test_other_text_is_no_problem(text):
    assert posed(text) is None


@pytest.mark.parametrize(("answer", "says"), [
    ("3+7+2", "right: 3+7+2 = 12"), ("3*7-2", "wrong: 3*7-2 = 19, not 12"), ("3*4", "wrong: 3*4 does not use each"),
    ("3+", "wrong: 3+ is no expression"), ("7/(3-2)", "wrong: 7/(3-2) = 7, not 12"),
])  # fmt: skip
def test_the_verdict_says_why(answer, says):
    assert posed("3 7 2 = 12").verdict(f"<think></think><answer>{answer}</answer>").startswith(says)


def test_numbers_beyond_any_task_are_text():
    assert posed("1234567 2 = 3").numbers == (1234567, 2)
    for text in (f"{'1' * 5000} 2 = 3", f"1 2 = {'9' * 5000}", "12345678 2 = 3", "٣ ٤ = ٧"):
        assert posed(text) is None


def test_no_answer_is_said():
    assert posed("3 7 2 = 12").verdict("<think>3+7") == "no answer"


def model_for(tokenizer):
    config = ModelConfig(vocab_size=tokenizer.vocab_size, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
                         kv_lora_rank=8, qk_nope_head_dim=4, qk_rope_head_dim=4, v_head_dim=4, intermediate_size=24,
                         moe_intermediate_size=8, n_routed_experts=4, initializer_range=0.5)  # fmt: skip
    return MiniDeepSeek(config, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("tokenizer", [CharTokenizer(), BPETokenizer((), SPECIALS)], ids=["characters", "bytes"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_what_is_streamed_is_the_reply(tokenizer, temperature):
    model, pieces = model_for(tokenizer), []

    def generator():
        return torch.Generator().manual_seed(4)

    reply = stream(model, tokenizer, "ab", 30, pieces.append, sampling=Sampling(temperature), generator=generator())
    [whole] = complete(model, tokenizer, ["ab"], 30, temperature=temperature, generator=generator())
    assert "".join(pieces) == reply == whole.rstrip("\ufffd")
    assert len(pieces) > 1


def test_the_end_token_is_not_spoken():
    tokenizer = CharTokenizer("ab")
    model, said = model_for(tokenizer), []
    with torch.no_grad():
        model.lm_head.weight.zero_()
    for seed in range(5):  # every token is as likely as any other, so ends come soon
        g = torch.Generator().manual_seed(seed)
        said.append(stream(model, tokenizer, "a", 200, lambda text: None, sampling=Sampling(), generator=g))
    assert all("<eos>" not in text for text in said)
    assert min(map(len, said)) < 150


def test_a_conversation():
    tokenizer, said = CharTokenizer(), []
    lines = ["3 7 2 = 12\n", "\n", "hello\n", "quit\n", "1 2 = 3\n"]
    converse(model_for(tokenizer), tokenizer, lines, said.append, max_new_tokens=5)
    text = "".join(said)
    assert text.count("[no answer]") == 1
    assert text.count("[pose a problem like 3 7 2 = 12 for a verdict]") == 1


@pytest.mark.parametrize("line", [
    "1" * 5000 + " 2 = 3", "1 " * 5000 + "= 3", "a" * 10**6, "\0 \ufffd \udcff \x1b[31m", "题",
], ids=["digits", "numbers", "letters", "no letters", "Chinese"])  # fmt: skip
def test_no_line_ends_a_conversation(line):
    for tokenizer in (CharTokenizer(), BPETokenizer((), SPECIALS)):
        said = []
        converse(model_for(tokenizer), tokenizer, [line, "1 2 = 3"], said.append, max_new_tokens=3)
        text = "".join(said)
        assert text.endswith("[no answer]\n")
        assert text.count("[") == 2
        assert ("tokens are too many; this model was made for 512" in text) == (len(line) > 512)
