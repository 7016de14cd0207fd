"""Any model of transformers in the place of ours: tiny random ones, made here, with tokenizers of their own."""

import dataclasses
from dataclasses import dataclass

import pytest
import torch

from minidsk.hub.folder import read_json
from minidsk.rl.completions import over_all
from minidsk.rl.config import CriticConfig, RLConfig
from minidsk.rl.critic import CriticBaseline
from minidsk.rl.loop import reinforce
from minidsk.rl.policy import HFPolicy
from minidsk.tasks.base import Problem, Task
from minidsk.train.checkpoint import Run
from minidsk.train.optim import OptimConfig
from minidsk.train.sft import SFTConfig, fine_tune

transformers = pytest.importorskip("transformers")
WORDS = ["<pad>", "<bos>", "<eos>", *"abcdefgh"]


@pytest.fixture
def hf_tokenizer():
    """A token for each of eight letters; spaces are left out."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<pad>"))
    inner.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>"
    )


def model_of(kind, seed=0):
    """A tiny random model; GPT-2 with dropout, Qwen2 with settings of generation that would bend what is sampled."""
    torch.manual_seed(seed)
    ends = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    if kind == "gpt2":
        sizes = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64}
        model = transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=len(WORDS), **sizes, **ends))
    else:
        sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
                 "num_key_value_heads": 2, "max_position_embeddings": 64}  # fmt: skip
        model = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(vocab_size=len(WORDS), **sizes, **ends))
        model.generation_config.update(do_sample=True, top_k=2, top_p=0.5, repetition_penalty=1.9, temperature=0.3)
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim > 1:
                p.mul_(8.0)  # so that distributions are not flat
    return model


@pytest.fixture(params=["gpt2", "qwen2"])
def kind(request):
    return request.param


@pytest.fixture
def policy(kind, hf_tokenizer):
    return HFPolicy(model_of(kind), hf_tokenizer)


PROMPTS = ["abc", "d", "efghab"]


def alone(policy, completions, row):
    """Log-probabilities of one completion by one forward pass over its own tokens, without padding."""
    ids = completions.ids[row][completions.attention_mask[row]][None]
    length = int(completions.lengths[row])
    with torch.no_grad():
        logp = policy.model(input_ids=ids).logits.log_softmax(-1)
    return logp[0, -length - 1 : -1].gather(1, ids[0, -length:, None]).squeeze(1)


def test_what_is_kept_from_sampling_is_a_single_unpadded_forward(policy, generator):
    sampled = policy.sample(PROMPTS, 6, 10, 1.0, generator)
    assert len(sampled) == 18
    assert len({int(n) for n in sampled.padding}) == 3
    for row in range(18):
        length = int(sampled.lengths[row])
        torch.testing.assert_close(sampled.logp[row, :length], alone(policy, sampled, row), atol=1e-5, rtol=0)
        ended = sampled.tokens[row, length - 1].item() == 2
        assert bool(sampled.ended[row]) == ended
        assert ended or length == 10
        assert sampled.texts[row].replace(" ", "") == "".join(WORDS[t] for t in sampled.tokens[row, :length] if t > 2)
        assert not sampled.logp[row, length:].any()
    known = over_all(policy.logprobs, sampled, 4)
    torch.testing.assert_close(known, sampled.logp, atol=1e-5, rtol=0)


def test_it_samples_from_the_models_own_distribution(policy):
    """Whatever top-k, penalties and temperature the model's own settings ask for."""
    n = 3000
    sampled = policy.sample(["abc"], n, 1, 1.0, torch.Generator().manual_seed(0))
    ids = sampled.ids[:1, : sampled.prompt_width]
    with torch.no_grad():
        p = policy.model(input_ids=ids).logits[0, -1].softmax(-1)
    counts = sampled.tokens[:, 0].bincount(minlength=len(WORDS))
    common = n * p >= 5
    chi_square = ((counts - n * p).square() / (n * p))[common].sum()
    assert common.sum() > 3
    assert chi_square < 40, "at most ten degrees of freedom"


def test_greedy_takes_the_likeliest_and_a_generator_decides_the_rest(policy):
    greedy = policy.sample(PROMPTS, 1, 6, 0.0)
    for row in range(3):
        length = int(greedy.lengths[row])
        ids = greedy.ids[row][greedy.attention_mask[row]][None]
        with torch.no_grad():
            best = policy.model(input_ids=ids).logits[0, -length - 1 : -1].argmax(-1)
        assert torch.equal(best, greedy.tokens[row, :length])

    def drawn(seed):
        return policy.sample(PROMPTS, 2, 8, 1.0, torch.Generator().manual_seed(seed)).texts

    before = torch.get_rng_state()
    assert drawn(0) == drawn(0) != drawn(1)
    assert torch.equal(torch.get_rng_state(), before)


def test_states_and_examples_stand_where_they_belong(policy):
    given = policy.encode(["abc", "d"], ["ef", "ghab"])
    assert given.texts == ["ef", "ghab"]
    assert given.lengths.tolist() == [3, 5]
    states = [policy.hidden(given, after) for after in (False, True)]
    torch.testing.assert_close(states[1][:, :-1], states[0][:, 1:])
    head = policy.model.get_output_embeddings()
    logp = head(states[0]).log_softmax(-1).gather(2, given.tokens[..., None]).squeeze(2)
    torch.testing.assert_close(logp * given.mask, policy.logprobs(given) * given.mask, atol=1e-5, rtol=0)
    for row in range(2):
        length = int(given.lengths[row])
        torch.testing.assert_close(policy.logprobs(given)[row, :length], alone(policy, given, row), atol=1e-5, rtol=0)


@dataclass(frozen=True)
class Letter(Problem):
    """The reply that begins with "c" is right."""

    def score(self, text):
        return float(text.strip().startswith("c"))


class Letters(Task):
    """Prompts of one to four letters."""

    def __getitem__(self, i):
        return Letter("abdefgh"[i % 7 :][: 1 + i % 4])


CONFIG = RLConfig(steps=30, prompts=4, group=16, max_new_tokens=2, save_every=4,
                  optim=OptimConfig(lr=0.003, warmup=1, decay=0.3, betas=(0.9, 0.99)))  # fmt: skip


def learn(policy, folder, config=CONFIG, **options):
    run = Run(folder, "rl", config)
    reinforce(policy, Letters(), config, run, progress=False, **options)
    return run.metrics()


def test_it_learns_by_grpo_and_transformers_opens_what_was_saved(kind, policy, hf_tokenizer, tmp_path):
    lines = learn(policy, tmp_path)
    assert lines[0]["reward"] < 0.5
    assert sum(line["reward"] for line in lines[-3:]) / 3 > 0.95
    assert all(line["flops"] > 0 for line in lines)
    opened = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(opened) is type(policy.model)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.encode("abc") == hf_tokenizer.encode("abc")
    again = HFPolicy(opened, tokenizer)
    assert torch.equal(again.sample(PROMPTS, 1, 2, 0.0).tokens, policy.sample(PROMPTS, 1, 2, 0.0).tokens)
    assert read_json(tmp_path / "config.json")["minidsk"]["summary"]["flops"] > 0


def test_interrupted_and_resumed_it_gives_the_same(kind, hf_tokenizer, tmp_path, monkeypatch):
    config = dataclasses.replace(CONFIG, steps=8, save_every=3, updates=2)
    whole = learn(HFPolicy(model_of(kind), hf_tokenizer), tmp_path / "whole", config)
    log = Run.log

    def deadly(self, **metrics):
        log(self, **metrics)
        if metrics["step"] == 5:
            raise KeyError("stopped")

    monkeypatch.setattr(Run, "log", deadly)
    with pytest.raises(KeyError):
        learn(HFPolicy(model_of(kind), hf_tokenizer), tmp_path / "parts", config)
    monkeypatch.undo()
    parts = learn(HFPolicy(model_of(kind, seed=5), hf_tokenizer), tmp_path / "parts", config)
    for line in (*whole, *parts):
        line.pop("seconds")
    assert parts == whole
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "parts")]
    assert weights[0] == weights[1]


def test_it_learns_by_ppo_and_from_examples(kind, policy, tmp_path):
    config = dataclasses.replace(CONFIG, group=1, prompts=48, steps=25)
    baseline = CriticBaseline(policy, CriticConfig(optim=config.optim), config.steps)
    lines = learn(policy, tmp_path / "ppo", config, baseline=baseline)
    assert sum(line["reward"] for line in lines[-3:]) / 3 > lines[0]["reward"] + 0.3
    sft = SFTConfig(steps=40, batch=8, optim=OptimConfig(lr=0.003))
    fine_tune(policy, [("ab", "gh"), ("d", "ef")], sft, Run(tmp_path / "sft", "sft", sft), progress=False)
    assert [text.replace(" ", "") for text in policy.sample(["ab", "d"], 1, 4, 0.0).texts] == ["gh", "ef"]


def test_a_chat_template_makes_a_users_turn_of_the_prompt(kind, hf_tokenizer):
    hf_tokenizer.chat_template = "{% for m in messages %}a{{ m['content'] }}b{% endfor %}h"
    policy = HFPolicy(model_of(kind), hf_tokenizer)
    sampled = policy.sample(["cd"], 1, 1, 0.0)
    assert [WORDS[t] for t in sampled.ids[0, :-1]] == list("acdbh")
    plain = HFPolicy(model_of(kind), hf_tokenizer, chat=False).sample(["cd"], 1, 1, 0.0)
    assert [WORDS[t] for t in plain.ids[0, :-1]] == list("cd")
