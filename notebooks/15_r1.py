# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # R1: what each stage adds
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/minidsk/minidsk/blob/main/notebooks/15_r1.ipynb)
#
# Our R1-Zero solves more than eight problems in ten, and its base about three. But it writes *no* in one line of a thought and its Chinese 不对 in the next, and about one in twelve of the lists and number rows that it writes is broken, where its base broke none. DeepSeek too found R1-Zero hard to read and weak at everything but reasoning, and built DeepSeek-R1 in four stages that begin at the base again. **Which stage gives the accuracy, which brings back what was forgotten, and which does nothing that we can measure?** Our world is small enough to run recipes with and without a stage, with five seeds each.
#
# - **You will build** each of the four stages as a short loop: imitation of curated thoughts, a reward for one language, a filter for a model's own answers, and reward over a mixture of tasks.
# - **You need** PyTorch, [chapter 12](12_grpo.ipynb), which builds GRPO, and [chapter 14](14_r1_zero.ipynb), where R1-Zero comes from.
# - **It takes** about two minutes on a laptop with two CPU cores, up to four on Colab (no GPU is needed), and an hour and a half to read. The comparison of all stages was recorded on a GPU.

# %% tags=["hide-input"]
import importlib.util

if importlib.util.find_spec("minidsk") is None:  # Colab, for example
    source = "git+https://github.com/minidsk/minidsk"
    get_ipython().run_line_magic("pip", f"install -q 'minidsk[notebooks] @ {source}'")

# %% tags=["hide-input"]
import random
import re
import tempfile
import time
from dataclasses import replace
from itertools import pairwise
from statistics import mean, stdev

import matplotlib.pyplot as plt
import torch

from minidsk import load_policy, results
from minidsk.data.corpus import TinyWeb
from minidsk.data.worksheet import all_ways
from minidsk.diagrams import diagram, direct_labels, show, table
from minidsk.homework import bites, check, describe, predict, receipt, zoo
from minidsk.infer.evaluate import answers as replies_of
from minidsk.presets import nano
from minidsk.report.interval import apart
from minidsk.rl.config import RLConfig
from minidsk.rl.harvest import FAR, FILTERS
from minidsk.rl.loop import reinforce
from minidsk.tasks import make_task
from minidsk.tasks.base import thought_of
from minidsk.tasks.expression import write_chain
from minidsk.train.checkpoint import Run
from minidsk.train.optim import OptimConfig, learning_rate
from minidsk.train.sft import SFTConfig, fine_tune
from minidsk.widgets import Rollouts

plt.style.use("minidsk.diagrams.look")
_ = torch.set_num_threads(1)

# %% [markdown]
# ## What is wrong with R1-Zero?
#
# Two checkpoints (saved weights) come with the package. **nano-base** has read a tiny web of worksheets, lists and letters. **nano-zero** is this base after R1-Zero, which is reward for right answers alone. Both solve Countdown: make a target from three numbers up to 12, with plus and minus, each number used exactly once.

# %%
base, zero = load_policy("nano-base"), load_policy("nano-zero")
for policy in (base, zero):
    _ = policy.model.double()  # 16 digits, so that your processor draws what ours drew
train, test = nano().make_task("train"), nano().make_task("test")
held_out = list({p.prompt: p for p in (test[i] for i in range(2048))}.values())[:128]


def sampled(policy, prompts, seed: int = 0, size: int = 1) -> list[str]:
    """Replies at temperature 1, `size` to each prompt."""
    generator = torch.Generator().manual_seed(seed)
    return policy.sample(prompts, size, 160, 1.0, generator).texts

# %%
drawn = sampled(zero, [p.prompt for p in held_out])
in_both = [(p, t) for p, t in zip(held_out, drawn, strict=True)
           if p.score(t) and "no" in thought_of(t) and "不对" in thought_of(t)]  # fmt: skip
problem, text = min(in_both, key=lambda pair: len(pair[1]))
print(problem.prompt + text, "->", problem.verdict(text))

# %% [markdown]
# This is a sampled thought of nano-zero. Each line is one attempt, the target and a verdict. The question is in English, but one verdict is in Chinese (不对 means no, 对了 means yes). The reward only reads the answer. In the record below, R1-Zero mixes languages in about 12 % of its thoughts on one web, and its base in 1 %.
#
# The web also has **pages that need no thought**, such as five numbers and the same numbers in order, or a row to continue. No reward ever mentioned them:

# %%
pages = make_task("pages", high=12, split="test")
page_problems = [pages[i] for i in range(256)]
replies = replies_of(zero, page_problems, 40)
odd = [(p.prompt, t) for p, t in zip(page_problems, replies, strict=True)
       if not p.well_formed(t)]  # fmt: skip
print(f"{len(odd)} of {len(page_problems)} replies of nano-zero are not a valid page; one:")
print("prompt:", odd[0][0].strip(), "\nreply: ", repr(odd[0][1]))

# %% [markdown]
# We will look at every model of this chapter at 128 Countdown problems that no training has seen and at these 256 pages:
#
# - **right, greedy**: the share of problems solved when the model takes the likeliest token each time;
# - **right, sampled**: the same for one reply to each at temperature 1;
# - **mixed**: the share of sampled thoughts with words of both languages;
# - **readable**: the share of sampled replies with the right form (one thought, then one answer), in the language of the question, and with no attempt made twice;
# - **pages right**, and **pages in form**, which means a single line as on the web, right or wrong.

# %%
ENGLISH, CHINESE = re.compile("[A-Za-z]+"), re.compile("[一-鿿]+")


def mixed(problem, text: str) -> bool:
    """Whether a thought has words of both languages."""
    thought = thought_of(text)
    return bool(ENGLISH.search(thought) and CHINESE.search(thought))


def in_language(problem, text: str) -> bool:
    """Whether a thought has no word of the language that its question is not in."""
    other = ENGLISH if CHINESE.search(problem.prompt) else CHINESE
    return not other.search(thought_of(text))


def readable(problem, text: str) -> bool:
    """The right form, the question's language, and no attempt made twice."""
    tried = problem.attempts(text)
    return (problem.well_formed(text) and in_language(problem, text)
            and len(set(tried)) == len(tried))  # fmt: skip

# %% tags=["hide-input"]
LOOKS = {"right, greedy": ".0%", "right, sampled": ".0%", "mixed": ".1%", "readable": ".0%",
         "pages right": ".0%", "pages in form": ".0%"}  # fmt: skip


def look(policy) -> dict:
    """The verdict on each reply to held-out problems and pages; and the samples."""
    of = list(zip(held_out, sampled(policy, [p.prompt for p in held_out]), strict=True))
    greedy = zip(held_out, replies_of(policy, held_out, 160), strict=True)
    wrote = list(zip(page_problems, replies_of(policy, page_problems, 40), strict=True))
    found = [[p.score(t) for p, t in greedy], [p.score(t) for p, t in of],
             [mixed(p, t) for p, t in of], [readable(p, t) for p, t in of],
             [p.score(t) for p, t in wrote], [p.well_formed(t) for p, t in wrote]]
    return {**{key: [*map(float, of)] for key, of in zip(LOOKS, found, strict=True)},
            "samples": of}  # fmt: skip


def compare(caption: str, *names: str, minus: str):
    """The looks of some models, and the last of them minus another one."""
    rows = [[name, *(f"{mean(looks[name][key]):{how}}" for key, how in LOOKS.items())]
            for name in names]  # fmt: skip
    last = names[-1]
    rows.append([f"{last} minus {minus}", *(less(last, minus, key) for key in LOOKS)])
    return table(["model", *LOOKS], rows, caption)

# %%
def less(name: str, other: str, key: str) -> str:
    """One model minus another in points, problem by problem, with its 95 % interval."""
    gaps = [100 * (a - b) for a, b in zip(looks[name][key], looks[other][key], strict=True)]
    half = 1.96 * stdev(gaps) / len(gaps) ** 0.5
    return f"{mean(gaps):+.0f} ± {half:.0f}".replace("-0 ", "+0 ")


# tolerance: 0.5%
looks = {"base": look(base), "R1-Zero": look(zero)}
assert mean(looks["R1-Zero"]["mixed"]) > mean(looks["base"]["mixed"])
compare("One seed; held-out problems with three numbers up to 12, plus and minus. Last row: "
        "points, 95 % intervals over problems.", *looks, minus="base")  # fmt: skip

# %% [markdown]
# **R1-Zero is far better at the problems and worse at the rest**: it mixes languages more often, fewer of its replies are readable, and about one in twelve of its pages no longer looks like a page. The model has **forgotten** part of what its base could do. Of these losses, only that of form is far outside its interval, and the record settles the others. The new stages are meant to repair all three and to keep the accuracy.
#
# The intervals say what other problems might change, and not what other seeds might. A comment such as `# tolerance: 0.5%` says how far the numbers of a cell may lie from ours on another processor.
#
# ## The four stages

# %% tags=["diagram", "hide-input"]
diagram("r1")

# %% [markdown]
# We will use the four answers at the bottom, a to d. The row *here* gives the sizes of the recorded experiment. The models trained on this page use less data and fewer steps:
#
# | stage | begins with | learns from | live on this page | recorded |
# | --- | --- | --- | --- | --- |
# | R1-Zero | the base | reward: right answer | nano-zero: 64 steps of 256 answers | 48 or 72 steps of 256 answers |
# | 1 cold start | the base | imitation of careful thoughts | 256 draws from 256 thoughts | 256 thoughts, 5 times on average |
# | 2 reasoning | stage 1 | reward: right answer, form, language | 3 steps of 64 answers | 48 steps of 256 answers |
# | 3 rejection sampling | **the base again** | imitation of stage 2's best answers, and of pages | 256 thoughts and 85 pages, 22 steps of 16 | 768 thoughts and 256 pages, twice on average |
# | 4 all kinds | stage 3 | reward over problems and pages, 3 to 1 | 1 step of 64 answers | 24 steps of 256 answers |
#
# Guess first: nano-base, which solves about a quarter of these problems greedily, takes 16 steps of imitation on 256 carefully written thoughts. How many of the problems will it solve then?

# %% tags=["prediction", "hide-input"]
guess = None
question = "nano-base after 256 curated thoughts: right, greedy, in %?"
cold_guess = predict("r1.cold", question, guess, example=40, unit="%",
                     scale="difference", tolerance=30)  # fmt: skip
cold_guess

# %% [markdown]
# ## Stage 1: what do curated thoughts change?
#
# DeepSeek collected thousands of long thoughts, partly from R1-Zero, and had people make them readable. Here a **careful author** plays these people. The author tries all ways to combine the numbers from a random one on, in English, without repeats, and stops at *yes*:

# %%
def careful(problem, rng: random.Random) -> str:
    """A thought and an answer as a tidy author writes them."""
    ways = list(all_ways(problem.numbers, problem.ops))
    begin, lines = rng.randrange(len(ways)), []
    for way in ways[begin:] + ways[:begin]:
        chain = write_chain(problem.numbers, way)
        right = chain[-1] == str(problem.target)
        lines.append(f"{'='.join(chain)}?{problem.target} {'yes' if right else 'no'}")
        if right:
            break
    return "<think>" + "\n".join(lines) + f"</think><answer>{chain[0]}</answer>"


# problems from FAR = 10⁹ on are none that R1-Zero was rewarded for
print(train[FAR].prompt + careful(train[FAR], random.Random(0)))

# %% [markdown]
# Imitation, which the diagram calls SFT (supervised fine-tuning), has the loss of pretraining on fewer tokens: raise the log-probability of each token **of the reply**, given all tokens before it. The prompt's tokens do not count, because the model will not have to write prompts. Here is the loss with its mask, and a case by hand. One reply has two tokens with log-probability -1 and two places of padding, and the other has four tokens with -2. The mean over the six real tokens is $(2 \cdot 1 + 4 \cdot 2) / 6 = 5/3$.

# %%
def imitation_loss(logp, mask):
    """Minus the mean log-probability of the replies' tokens; logp and mask: [N, T]."""
    return -(logp * mask).sum() / mask.sum()


def padding_counts(logp, mask):
    """A planted bug: the mean over all places."""
    return -(logp * mask).mean()


def six_tokens_by_hand(loss) -> None:
    """Two tokens at -1 and four at -2 have the mean 5/3."""
    logp = torch.tensor([[-1.0, -1, -9, -9], [-2, -2, -2, -2]])
    mask = torch.tensor([[1.0, 1, 0, 0], [1, 1, 1, 1]])
    assert abs(loss(logp, mask) - 5 / 3) < 1e-6


bites(six_tokens_by_hand, imitation_loss, padding_counts)

# %% [markdown]
# The loop draws 16 examples per step and moves the weights with AdamW. The learning rate rises over five steps, holds, and falls in the second half. After three steps, the package's `fine_tune` must have the same weights.

# %% tags=["naive"]
def imitate(policy, examples, steps: int, size: int = 16, seed: int = 0):
    """A copy of the policy, fine-tuned on pairs of prompt and reply."""
    policy = policy.copy()
    weights = list(policy.model.parameters())
    optimizer = torch.optim.AdamW(weights, betas=(0.9, 0.95), weight_decay=0)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = learning_rate(step, steps, peak=1e-3, warmup=5)
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        drawn = torch.randint(len(examples), (size,), generator=generator).tolist()
        batch = policy.encode(*zip(*(examples[i] for i in drawn), strict=True))
        imitation_loss(policy.logprobs(batch), batch.mask).backward()
        _ = torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return policy

# %% tags=["agree"]
rng = random.Random(1)
curated = [(p.prompt, careful(p, rng)) for p in (train[FAR + i] for i in range(256))]
ours, theirs = imitate(base, curated[:16], 3, size=4), base.copy()
settings = SFTConfig(steps=3, batch=4, optim=OptimConfig(lr=1e-3, warmup=5))
with tempfile.TemporaryDirectory() as folder:
    fine_tune(theirs, curated[:16], settings, Run(folder, "cold", settings), progress=False)
pairs = zip(ours.model.parameters(), theirs.model.parameters(), strict=True)
weight_gap = max((a - b).abs().max().item() for a, b in pairs)
assert weight_gap < 1e-8
print("weights after three steps, largest difference: below 1e-8")

# %% [markdown]
# Now we run the cold start. A claim about *curated* thoughts needs a control, because any 16 steps of fine-tuning change a model. So a second copy imitates 256 **ordinary worksheets** from the same web, by all its authors, for as many steps.

# %%
def as_example(page: str) -> tuple[str, str]:
    """A page's first line, and what follows it."""
    first, newline, rest = page.partition("\n")
    return first + newline, rest


worksheets = TinyWeb(replace(nano().pretrain.web, worksheets=1.0), seed=1)
ordinary = [as_example(worksheets[FAR + i]) for i in range(256)]

# %%
cold, usual = imitate(base, curated, 16), imitate(base, ordinary, 16)
# tolerance: 3% + 2
looks |= {"cold start": look(cold), "ordinary worksheets": look(usual)}
found = mean(looks["cold start"]["right, greedy"])
assert found > 2 * mean(looks["ordinary worksheets"]["right, greedy"])
cold_guess.reveal(round(100 * found))
compare("256 draws from 256 examples. One seed.", "base", "R1-Zero", "ordinary worksheets",
        "cold start", minus="ordinary worksheets")  # fmt: skip

# %% [markdown]
# **256 curated thoughts give most of the accuracy that R1-Zero's reward gave.** As many ordinary worksheets give nothing that we can see. *Pages right* falls after both, but pages lose their form only after the curated thoughts.
#
# The stage is meant to give readable thoughts, but *readable* did not rise. Which of its three demands fail? And why does sampling solve so much less than greedy decoding?

# %%
def fails(name: str) -> list[int]:
    """How many samples fail by form, lack an end, fail by language, repeat an attempt."""
    of = looks[name]["samples"]
    return [sum(not p.well_formed(t) for p, t in of), sum("</answer>" not in t for _, t in of),
            sum(not in_language(p, t) for p, t in of),
            sum(len(set(p.attempts(t))) < len(p.attempts(t)) for p, t in of)]  # fmt: skip


# %%
# tolerance: 5% + 3
wrong = [(p.verdict(t), t) for p, t in looks["cold start"]["samples"] if not p.score(t)]
print(f"cold start, {len(wrong)} wrong samples:",
      f"{sum('</answer>' not in t for _, t in wrong)} have no end,",
      f"{sum('number once' in verdict for verdict, _ in wrong)} do not use each number once")
table(["model", "broken form", "of these, no end", "other language", "repeats"],
      [[name, *fails(name)] for name in ("base", "cold start", "R1-Zero")],
      "Faults of 128 replies, of which one can have several. No end: after 160 tokens.")

# %% [markdown]
# **The cold start keeps thoughts to the question's language, but they are longer.** More have not ended after 160 tokens, so their form is broken, and more repeat an attempt. The limit, which greedy replies have too, does not explain why sampling solves less, because most wrong samples end. Many use a number twice or one that the problem does not have. At temperature 1 an unlikely token is drawn now and then, and one can spoil a thought.
#
# ## Stage 2: what does reward for one language do?
#
# The second stage is R1-Zero's loop again, from the cold start, with a **language reward**: the share of a thought's words that are in the language of the question. The words of our thoughts are their verdicts. Answer b of the diagram has two, one in each language, so its language reward is 1/2.

# %%
FIRST, LAST = "3+7-8=10-8=2?4 no", "8-(7-3)=8-4=4?4 yes"


def reply(*lines: str) -> str:
    """A thought with these lines, whose answer is the last expression that it tried."""
    return ("<think>" + "\n".join(lines)
            + f"</think><answer>{lines[-1].partition('=')[0]}</answer>")  # fmt: skip


FOUR = {"a": reply(FIRST, LAST), "b": reply(FIRST.replace("no", "不对"), LAST),
        "c": reply(FIRST, FIRST, LAST), "d": reply(FIRST)}  # fmt: skip
make_4 = type(train).pose("Make 4 from 3 7 8.")

# %%
VERDICT = re.compile("no$|yes$|不对$|对了$", re.MULTILINE)


def language_share(prompt: str, text: str) -> float:
    """The share of a thought's verdicts in the language of its prompt; 1 without verdicts."""
    wanted = ("不对", "对了") if CHINESE.search(prompt) else ("no", "yes")
    found = VERDICT.findall(thought_of(text))
    return mean(word in wanted for word in found) if found else 1.0


print({name: language_share(make_4.prompt, text) for name, text in FOUR.items()})


def english_only(prompt: str, text: str) -> float:
    """A planted bug: it never looks at the question."""
    return language_share("", text)


def a_chinese_question(share) -> None:
    """No verdict of answer a is in the language of a Chinese question."""
    assert share("用 3 7 8 得到 4。\n", FOUR["a"]) == 0


bites(a_chinese_question, language_share, english_only)

# %% [markdown]
# How would you cheat this reward alone? A thought without any words scores 1, because nothing in it is in the wrong language. So **saying nothing is paid in full**, and so is a wrong answer such as d. The language reward makes sense only as a bonus beside the reward for right answers, and R1 simply adds them:
#
# $$
# r = r_{\text{right}} + w_{\text{form}}\, r_{\text{form}} + w_{\text{language}}\, r_{\text{language}}.
# $$
#
# The letters $w$ are weights. How much does a mixed thought cost? GRPO compares each sum with the mean of its group:

# %%
def advantages(rewards):
    """How much better than its group each answer was, in standard deviations; [P, G]."""
    less = rewards - rewards.mean(1, keepdim=True)
    return less / (rewards.std(1, keepdim=True) + 1e-4)


parts = [(make_4.score(t), float(make_4.well_formed(t)), language_share(make_4.prompt, t))
         for t in FOUR.values()]  # fmt: skip
rows = [[name, *(f"{x:g}" for x in of)] for name, of in zip(FOUR, parts, strict=True)]
for weight in (0.2, 1.0):
    sums = [right + 0.2 * form + weight * share for right, form, share in parts]
    pushed = advantages(torch.tensor([sums]))[0].tolist()
    rows = [[*row, f"{total:.1f}", f"{push:+.1f}"]
            for row, total, push in zip(rows, sums, pushed, strict=True)]  # fmt: skip
table(["answer", "right", "form", "language", "sum, w = 0.2", "advantage", "sum, w = 1",
       "advantage"], rows, "Four answers as one group; the form has weight 0.2.")

# %% [markdown]
# With a weight of 0.2, answer b is right and mixed, and it still becomes likelier, though less than a. With a weight of 1 it is **pushed down although it is right**. Answer c repeats a line, and no reward here notices.
#
# Here is one step of the loop, with any judge (the function that pays an answer): 8 answers to each of eight problems, advantages within each group, and a push on every token in proportion to its answer's advantage. From the base and with the same draws, it must lead to the same weights as a step of the package's `reinforce`.

# %%
def reward_step(policy, optimizer, problems, judge, generator, compared=advantages):
    """Sample, pay, compare, push; the problems, their replies, and the rewards [P, 8]."""
    drawn = policy.sample([p.prompt for p in problems], 8, 128, 1.0, generator)
    posed = [p for p in problems for _ in range(8)]
    paid = [judge(p, text) for p, text in zip(posed, drawn.texts, strict=True)]
    rewards = torch.tensor(paid).double().view(-1, 8)
    pushed = compared(rewards).flatten()
    for rows in drawn.lengths.argsort().split(32):  # similar lengths, little padding
        some = drawn[rows]
        loss = -(pushed[rows, None] * policy.logprobs(some) * some.mask).sum()
        (loss / drawn.mask.sum()).backward()
    _ = torch.nn.utils.clip_grad_norm_(policy.model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return posed, drawn.texts, rewards

# %% tags=["hide-input"]
def adam(policy, lr: float):
    return torch.optim.AdamW(policy.model.parameters(), lr, (0.9, 0.99), weight_decay=0)


theirs = base.copy()
settings = RLConfig(steps=1, prompts=4, group=8, max_new_tokens=128, rows=32,
                    optim=OptimConfig(lr=8e-4, warmup=0, betas=(0.9, 0.99)))
with tempfile.TemporaryDirectory() as folder:
    _ = reinforce(theirs, train, settings, Run(folder, "step", settings), progress=False)


def step_gap(step) -> float:
    """The largest difference from the package's weights after one step."""
    policy = base.copy()
    with torch.enable_grad():
        _ = step(policy, adam(policy, 8e-4), [train[i] for i in range(4)],
                 lambda p, t: p.score(t), torch.Generator().manual_seed(0))
    pairs = zip(policy.model.parameters(), theirs.model.parameters(), strict=True)
    return max((a - b).abs().max().item() for a, b in pairs)

# %%
def over_the_batch(rewards):
    """A planted bug: compares with the answers to other problems too."""
    return (rewards - rewards.mean()) / (rewards.std() + 1e-4)


def batch_step(*given):
    """The step with this bug."""
    return reward_step(*given, compared=over_the_batch)


gaps = {}


def as_the_package(step) -> None:
    """One step, which moves weights by up to 8e-4, leads to the package's weights."""
    gaps[step.__name__] = step_gap(step)
    assert gaps[step.__name__] < 1e-5


bites(as_the_package, reward_step, batch_step)
print("weights after one step of reward, largest difference: below 1e-5")

# %%
def rewarded(policy, task, judge, steps: int, lr: float = 8e-4):
    """A copy of the policy after some steps, and what each step's replies showed."""
    policy, curve = policy.copy(), []
    optimizer, generator = adam(policy, lr), torch.Generator().manual_seed(0)
    for step in range(steps):
        problems = [task[8 * step + i] for i in range(8)]
        with torch.enable_grad():
            posed, texts, _ = reward_step(policy, optimizer, problems, judge, generator)
        of = list(zip(posed, texts, strict=True))
        curve.append({"right": mean(p.score(t) for p, t in of),
                      "mixed": float(mean(mixed(p, t) for p, t in of))})  # fmt: skip
    return policy, curve

# %% [markdown]
# Our cold start hardly mixes, so we first try the bonus on nano-zero, for five steps, with weight 1. The control is paid for right answers alone.

# %%
def right_alone(problem, text: str) -> float:
    return problem.score(text)


def right_and_language(problem, text: str) -> float:
    return problem.score(text) + language_share(problem.prompt, text)


JUDGES = {"right alone": right_alone, "right + language": right_and_language}
curves = {name: rewarded(zero, train, judge, 5)[1] for name, judge in JUDGES.items()}

# %% tags=["figure", "hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(7.5, 3))
for ax, key in zip(axes, ("mixed", "right"), strict=True):
    for name, curve in curves.items():
        _ = ax.plot(range(1, 6), [c[key] for c in curve], label=name)
    _ = ax.set(title=f"{key}, share of samples", xlabel="step", ylim=(0, None),
               xticks=range(1, 6))  # fmt: skip
    direct_labels(ax)
ends = {name: {key: mean(c[key] for c in curve[-2:]) for key in ("mixed", "right")}
        for name, curve in curves.items()}  # fmt: skip
show(fig, "Only the language reward makes mixing rare. Across: steps, from nano-zero. "
     "Up: the share of 64 samples that mix languages (left) or are right (right). Blue: "
     "reward for right answers alone. Brown: the language reward beside it. One seed.",
     "Two panels over five steps. Last two steps: " + "; ".join(
         f"{name} mixed {e['mixed']:.2f}, right {e['right']:.2f}" for name, e in ends.items())
     + ".")  # fmt: skip

# %% tags=["hide-input"]
# tolerance: 30% + 0.02
assert ends["right + language"]["mixed"] < 0.7 * ends["right alone"]["mixed"]
rows = [[name, f"{mean(c['mixed'] for c in curve[:2]):.1%}", f"{ends[name]['mixed']:.1%}",
         f"{mean(c['right'] for c in curve[:2]):.0%}", f"{ends[name]['right']:.0%}"]
        for name, curve in curves.items()]  # fmt: skip
table(["judge", "mixed: first two steps", "last two", "right: first two", "last two"],
      rows, "Means over 128 samples each. Later steps pose other problems than earlier ones, "
      "so compare down a column.")

# %% [markdown]
# **In the last two steps, the bonus has made mixing rare, in this one seed.** *Right* falls alike under both judges, so the language reward is not the cause. [The record](15b_order.ipynb) finds no clear price of the language reward in accuracy.
#
# Now stage 2: three steps from our cold start, with weight 0.2 for form and language. By hand, answer a earns $1 + 0.2 + 0.2 = 1.4$, and the mixed answer b $1 + 0.2 + 0.1 = 1.3$. A wrong Chinese thought without an end earns 0. The judge of the figure above pays 2, 1.5 and 0, and must be caught:

# %%
def all_rewards(problem, text: str) -> float:
    """The sum of the formula, with R1's parts."""
    return (problem.score(text) + 0.2 * problem.well_formed(text)
            + 0.2 * language_share(problem.prompt, text))  # fmt: skip


def three_sums_by_hand(judge) -> None:
    texts = FOUR["a"], FOUR["b"], "<think>" + FIRST.replace("no", "不对")
    assert [round(judge(make_4, text), 6) for text in texts] == [1.4, 1.3, 0]


bites(three_sums_by_hand, all_rewards, right_and_language)

# %%
reasoned, _ = rewarded(cold, train, all_rewards, 3, lr=3e-4)
# tolerance: 5% + 2
looks["stage 2"] = look(reasoned)
compare("Three steps of 64 answers. One seed.", "base", "cold start", "stage 2",
        minus="cold start")  # fmt: skip

# %% [markdown]
# **After this cold start, three steps of reward change neither accuracy nor language beyond their intervals.** *Pages right* falls a little, which one of six differences may do by chance.
#
# ## Stage 3: what do a model's own best answers teach?
#
# Stage 3 does not train the model of stage 2. It only uses it to write examples. We draw many answers, throw away those that are not worth learning from (this is the *rejection*), and fine-tune **the base** on the rest. Each answer must meet four demands. Of the diagram's answers, only a should pass, because b mixes languages, c repeats a line, and d is wrong. The planted bug keeps all right answers.

# %%
DEMANDS = {"the right form": lambda p, t: p.well_formed(t),
           "a right answer": lambda p, t: p.score(t) == 1,
           "the language of the question": in_language,
           "no attempt made twice": lambda p, t: len(set(p.attempts(t))) == len(p.attempts(t))}


def worth_learning(problem, text: str) -> bool:
    """Whether an answer meets all demands."""
    return all(demand(problem, text) for demand in DEMANDS.values())


print("kept of the four:", *(name for name, t in FOUR.items() if worth_learning(make_4, t)))

# %%
def right_is_enough(problem, text: str) -> bool:
    return problem.score(text) == 1


def a_repeated_line_is_rejected(keep) -> None:
    """Answer c is right, and its thought makes one attempt twice."""
    assert keep(make_4, FOUR["a"])
    assert not keep(make_4, FOUR["c"])


bites(a_repeated_line_is_rejected, worth_learning, right_is_enough)

# %%
# tolerance: 5% + 10
posed = [train[FAR + 1000 + i] for i in range(512)]
written = list(zip(posed, sampled(reasoned, [p.prompt for p in posed]), strict=True))
left, funnel = written, [["drawn", len(written), ""]]
for name, demand in DEMANDS.items():
    before, left = len(left), [(p, t) for p, t in left if demand(p, t)]
    funnel.append([name, len(left), before - len(left)])
filter_gap = sum(worth_learning(p, t) != FILTERS["readable"](p, t) for p, t in written)
print(f"the package's filter keeps the same answers, largest difference: {filter_gap}")
table(["demand", "answers left", "thrown away here"], funnel,
      "512 training problems, one answer of stage 2 to each, temperature 1.")

# %% [markdown]
# What should the base learn beside thoughts? Because the stages before forgot pages, we mix the kept answers with fresh pages of the web that are no worksheets. As in DeepSeek's mix, there is one to three thoughts.

# %%
thoughts = [(p.prompt, t) for p, t in left][:256]
elsewhere = TinyWeb(replace(nano().pretrain.web, worksheets=0.0), seed=0)
others = [as_example(elsewhere[FAR + i]) for i in range(len(thoughts) // 3)]
print(f"{len(thoughts)} thoughts and {len(others)} pages")
both = imitate(base, thoughts + others, 22)
# tolerance: 5% + 2
looks["stage 3"] = look(both)
in_form = {name: mean(of["pages in form"]) for name, of in looks.items()}
assert in_form["stage 3"] > in_form["stage 2"] + 0.02
print("problems right, stage 3 minus cold start:",
      less("stage 3", "cold start", "right, greedy"), "points")
compare("The base, fine-tuned for about 256 draws of thoughts. One seed.", "cold start",
        "stage 2", "base", "stage 3", minus="base")  # fmt: skip

# %% [markdown]
# **With pages in the mix, almost all replies look like pages again.** But this run **loses** twice. It solves fewer problems than the cold start (the printed line), and gets fewer pages right than the base (the last row). In the record, with about six times as many draws and bases that have read twice as much, most right pages come back and accuracy stays. We suspect that 22 steps are too few, but have not tested it. The record also has the control, stage 3 **without pages**.
#
# ## Stage 4: what does reward for all kinds do?
#
# The last stage is reinforcement learning again, on a **mixture**: three problems in four are Countdown, and one is a page. Each kind needs its own verifier. A list is right if it holds the same numbers in order, and a row if it goes on by the same step. Here is the one for lists, with a mistake that is easy to make:

# %%
def list_right(prompt: str, text: str) -> bool:
    """Whether a list has all numbers of the prompt in order, under either title."""
    wanted = " ".join(map(str, sorted(map(int, prompt.split()))))
    return text.strip() in (f"In order: {wanted}", f"从小到大: {wanted}")


def each_number_once(prompt: str, text: str) -> bool:
    """A planted bug: sorts the set of the numbers."""
    return list_right(" ".join(set(prompt.split())), text)


def equal_numbers_stay(verifier) -> None:
    """Three fives are three numbers."""
    assert verifier("11 5 5 5 6\n", "In order: 5 5 5 6 11")


bites(equal_numbers_stay, list_right, each_number_once)
assert all(list_right(p.prompt, t) == p.score(t)
           for p, t in list(zip(page_problems, replies, strict=True))[::2])  # the package's

# %% [markdown]
# Pages are paid by the same sum, and a page without a thought gets the language reward in full. This class mixes both kinds:

# %%
class Both:
    """Three Countdown problems, then a page, and so on."""

    lists = make_task("pages", high=12, split="train")

    def __getitem__(self, i: int):
        return self.lists[i] if i % 4 == 3 else train[FAR + 2000 + i]


class Upside(Both):
    """A planted bug: three pages, then a problem."""

    def __getitem__(self, i: int):
        return self.lists[i] if i % 4 else train[FAR + 2000 + i]


def two_pages_in_eight(mix) -> None:
    """A step of eight has six problems and two pages."""
    assert sum(mix()[i].prompt.startswith(("Make", "用")) for i in range(8)) == 6


bites(two_pages_in_eight, Both, Upside)

# %%
final, _ = rewarded(both, Both(), all_rewards, 1, lr=3e-4)
# tolerance: 5% + 2
looks["stage 4"] = look(final)
compare("One step of six problems and two pages, 8 answers each. One seed.",
        "stage 3", "stage 4", minus="stage 3")  # fmt: skip

# %% [markdown]
# One step of 64 answers shows the loop at work, and no difference here is clearly outside its interval.
#
# What have the stages done to one thought? The figure follows this page's models on one held-out problem. Look for mixed verdicts and for numbers that the problem does not have.

# %% tags=["widget"]
shown = held_out[4]
frames = [[{"text": text, "reward": shown.score(text)}
           for text in sampled(policy, [shown.prompt], seed=1, size=6)]
          for policy in (base, cold, reasoned, both, final)]  # fmt: skip
Rollouts(shown.prompt.strip(), range(5), frames,
         title="Six samples: step 0 is the base, steps 1 to 4 are the stages of this page")

# %% [markdown]
# Only the base mixes verdicts here. The first answer of step 1 takes a 4, which the problem does not have.
#
# ## What does each stage change?
#
# One seed shows how a stage works, not what it is worth. So we recorded a larger experiment on nano's task, with five seeds and the last column of the table of stages. Its bases have read twice as much as nano-base, and know pages better. Each seed has a base from each of two webs. In the **poor** web 1 % of the authors search until they find a solution, and [chapter 14](14_r1_zero.ipynb) saw that reward has little to bring out there. In the **rich** web 20 % of the authors search.
#
# Guess first: by how many points will full R1 beat R1-Zero on the poor web, in greedy accuracy? This R1-Zero gets as many steps of reward as both rounds of R1 together, which is 72.

# %% tags=["hide-input"]
guess = None
question = "Poor web: full R1 minus R1-Zero of 72 steps, in points of accuracy?"
full_guess = predict("r1.full", question, guess, example=10, unit="points",
                     scale="difference", tolerance=30)  # fmt: skip
full_guess

# %% tags=["hide-input"]
record = [row for row in results.read("ch15_stages")["rows"] if "failed" not in row]
WEBS = {"poor": 0.01, "rich": 0.2}
MEASURES = {
    "right": lambda r: 100 * r["accuracy"],
    "readable": lambda r: 100 * r["sampled"]["readable"],
    "broken form": lambda r: 100 - 100 * r["sampled"]["well_formed"],
    "other language": lambda r: 100 - 100 * r["sampled"]["one_language"],
    "pages": lambda r: 100 * r["pages"],
    "pages in form": lambda r: 100 * r["pages_formed"],
    "mixed": lambda r: 100 * r["sampled"]["both_languages"],
    "cost": lambda r: r["total_flops"] / 1e12,
}


def seeds_of(web: str, arm: str, what: str) -> dict[int, float]:
    """One measure of one arm (a variant of the experiment), by seed."""
    return {r["seed"]: MEASURES[what](r) for r in record
            if (r["share"], r["arm"]) == (WEBS[web], arm)}  # fmt: skip


def average(web: str, arm: str, what: str) -> float:
    return mean(seeds_of(web, arm, what).values())


def effect(web: str, arm: str, other: str, what: str = "right") -> tuple[float, float]:
    """Arm minus other, seed by seed: the mean, and half of its 95 % interval."""
    ours, others = seeds_of(web, arm, what), seeds_of(web, other, what)
    both = sorted(set(ours) & set(others))
    return apart([ours[s] for s in both], [others[s] for s in both])


print(results.origin("ch15_stages"))
gain, half = effect("poor", "full", "zero_longer")
full_guess.reveal(round(gain, 1))
print(f"Its 95 % interval reaches {half:.1f} points to either side:",
      "a clear difference" if abs(gain) > half else "no clear difference")

# %% tags=["figure", "hide-input"]
WAY = {"base": "base", "cold": "1 cold start", "cold_language": "2 reasoning",
       "rejection": "3 rejection", "full": "4 all kinds"}  # fmt: skip
SPOTS = {"base": (0, -14), "cold": (8, 8), "cold_language": (-14, -16), "rejection": (0, 9),
         "full": (36, -6), "zero_longer": (0, -18)}  # fmt: skip
fig, axes = plt.subplots(1, 2, figsize=(9, 3.8), sharey=True)
said = []
for ax, web in zip(axes, WEBS, strict=True):
    at = {arm: (average(web, arm, "pages"), average(web, arm, "right"))
          for arm in (*WAY, "zero_longer")}  # fmt: skip
    for a, b in pairwise(WAY):
        _ = ax.annotate("", at[b], at[a], arrowprops={
            "arrowstyle": "->", "color": "C0", "lw": 1.6, "shrinkA": 4, "shrinkB": 4,
            "ls": "--" if b == "rejection" else "-"})  # fmt: skip
    for arm, name in {**WAY, "zero_longer": "R1-Zero"}.items():
        tone = "gray" if arm == "zero_longer" else "C0"
        dots = [[*seeds_of(web, arm, what).values()] for what in ("pages", "right")]
        _ = ax.plot(*dots, ".", color=tone, alpha=0.35)
        _ = ax.plot(*at[arm], "o", color=tone)
        spot = (-6, 24) if (arm, web) == ("zero_longer", "poor") else SPOTS[arm]
        _ = ax.annotate(name, at[arm], spot, textcoords="offset points", ha="center",
                        color="dimgray" if tone == "gray" else None)  # fmt: skip
    _ = ax.set(title=f"{web} web", xlabel="pages right, %", xlim=(0, 105), ylim=(20, 102))
    said.append(f"{web} web: " + ", ".join(
        f"{name} {at[arm][0]:.0f} and {at[arm][1]:.0f}"
        for arm, name in {**WAY, "zero_longer": "R1-Zero, 72 steps"}.items()))
_ = axes[0].set(ylabel="problems right, %")
show(fig, "Up: more problems solved. Left: pages forgotten. Stage 1 goes up and left, and "
     "stage 3 comes back to the right. Its arrow is dashed, because the weights begin at the "
     "base again. Blue: R1. Grey: R1-Zero, 72 steps. Large: means; small: the five seeds.",
     "Two panels, pages right and problems right in %. " + "; ".join(said) + ".")  # fmt: skip

# %% tags=["hide-input"]
for web in WEBS:
    for arm, stage in (("cold", 1), ("rejection", 3)):
        kept = sorted(seeds_of(web, arm, "pages").values())
        print(f"{web} web, pages right after stage {stage}, by seed:",
              *(f"{x:.0f} %" for x in kept))  # fmt: skip
FULL = {"base": "base", "zero": "R1-Zero, 48 steps", "zero_language": "R1-Zero + language, 48",
        "zero_longer": "R1-Zero, 72 steps", **WAY}  # fmt: skip
rows = [[web, name, *(f"{average(web, arm, what):.0f}"
                      for what in ("right", "pages", "pages in form")),
         f"{average(web, arm, 'cost'):.2f}"]
        for web in WEBS for arm, name in FULL.items()]  # fmt: skip
table(["web", "model", "right, %", "pages right", "pages in form", "10¹² operations"], rows,
      "Means of five seeds, in %. Right: 1,024 held-out problems, greedy. Pages: 512, greedy. "
      "+ language: the language reward with weight 0.2. Operations: of all after the base.")

# %% [markdown]
# **The cold start does the most.** On the poor web it adds about 25 points, on average more than all 48 steps of R1-Zero, for a fourteenth of the operations. Writing the thoughts is not counted, and their author knows every solution. On the rich web it reaches what R1-Zero reaches. But it forgets pages, in some seeds nearly all. **Stage 3 brings them back** to about 90 % in every seed. Stages 2 and 4 take about nine tenths of R1's operations.
#
# **What makes replies unreadable?** The record keeps three shares: replies in the right form, in the question's language, and readable. A reply that passes the first two and is not readable repeats an attempt. The record does not count these replies. We can only say between which two numbers their share lies, because one reply can fail both form and language. If of ten replies nine have the form, eight the language, and six are readable, then seven or eight have both form and language, so one or two only repeat.

# %%
def only_repeats(form, language, readable):
    """The least and the most share of replies whose one fault is a repeat."""
    return max(form + language - 1, readable) - readable, min(form, language) - readable


def no_reply_fails_twice(form, language, readable):
    """A planted bug: counts each fault as another reply."""
    return (form + language - 1 - readable,) * 2


def one_or_two_of_ten(bounds) -> None:
    """The case of the text."""
    assert [round(10 * x) for x in bounds(0.9, 0.8, 0.6)] == [1, 2]


bites(one_or_two_of_ten, only_repeats, no_reply_fails_twice)

# %% tags=["hide-input"]
def repeated(web: str, arm: str) -> str:
    """The bounds in %, means over seeds."""
    of = [r["sampled"] for r in record if (r["share"], r["arm"]) == (WEBS[web], arm)]
    bounds = [only_repeats(s["well_formed"], s["one_language"], s["readable"]) for s in of]
    ends = [f"{100 * mean(side):.0f}" for side in zip(*bounds, strict=True)]
    return " to ".join(dict.fromkeys(ends))


rows = [[web, name, *(f"{average(web, arm, what):.0f}"
                      for what in ("broken form", "other language")), repeated(web, arm),
         *(f"{average(web, arm, what):.0f}" for what in ("readable", "mixed"))]
        for web in WEBS for arm, name in FULL.items()]  # fmt: skip
table(["web", "model", "broken form, %", "other language", "only repeats", "readable",
       "mixed"], rows, "512 samples for held-out problems, means of five seeds. Broken form "
      "includes a missing end, which the record does not keep apart. Mixed: words of both "
      "languages.")

# %% [markdown]
# **On the poor web, most of R1's unreadable replies only repeat an attempt**, which no reward notices. R1-Zero mixes languages in 12 and 14 % of its thoughts, and with a language reward in 3 and 1 %. No stage of R1 mixes them in more than 2 %.
#
# Are these differences larger than those between seeds? The next table takes each stage minus the model before it, seed by seed.

# %% tags=["hide-input"]
STAGES = {"1 cold start": ("cold", "base"), "2 reasoning": ("cold_language", "cold"),
          "3 rejection": ("rejection", "cold_language"), "4 all kinds": ("full", "rejection")}


def table_of(pairs: dict[str, tuple[str, str]], head: str, caption: str):
    """Differences of two arms on both webs, in points."""
    def points(*which):  # a difference that rounds to 0 has no sign
        return "{:+.0f} ± {:.0f}".format(*effect(*which)).replace("-0 ", "+0 ")

    shown = list(MEASURES)[:5]
    rows = [[name, web, *(points(web, *arms, what) for what in shown)]
            for name, arms in pairs.items() for web in WEBS]  # fmt: skip
    return table([head, "web", *shown], rows, caption)


table_of(STAGES, "after minus before", "Points, 95 % intervals over five pairs of seeds.")

# %% [markdown]
# - **Stage 1 gains accuracy and loses pages.** On the poor web it also loses 23 points of readable replies, by broken form and by repeats.
# - **Stage 2 changes neither accuracy nor language.** On the poor web it repairs 8 points of form. The replies are no more readable, because more of them repeat an attempt.
# - **Stage 3 keeps the accuracy and repairs the forgetting.** On the poor web it loses the form that stage 2 gave.
# - **Stage 4 costs about 11 points of accuracy on the poor web**. It also loses a few pages, and repairs the form again (-7 ± 5). On the rich web we cannot tell.
#
# ### What would be missing without a stage?
#
# A later stage may repair the same fault as an earlier one. So here are variants of the recipe. First, how does the cold start compare with R1-Zero, what is left of it after R1-Zero's reward, and what does a language reward change in R1-Zero?

# %% tags=["hide-input"]
INTERVALS = "Points, 95 % intervals over five pairs of seeds. "
for web in WEBS:
    left_of_it = "{:+.1f} ± {:.1f}".format(*effect(web, "cold_right", "zero"))
    print(f"{web} web, what is left of the cold start, right: {left_of_it} points")
table_of({"cold start minus R1-Zero": ("cold", "zero"),
          "cold start, then R1-Zero's reward, minus R1-Zero": ("cold_right", "zero"),
          "R1-Zero + language minus R1-Zero": ("zero_language", "zero")},
         "difference", INTERVALS + "R1-Zero: 48 steps of reward for right answers alone.")

# %% [markdown]
# **After R1-Zero's reward the cold start is still worth 7.5 points on the poor web**, though the interval almost reaches zero. On the rich web we see no gain. It keeps thoughts to one language, and on the poor web it costs pages.
#
# **The language reward shows no clear price in accuracy**, though the intervals reach ± 9 points. Broken form rises from 12 to 17 % on the poor web, which can be chance too.
#
# Second, what repairs the pages?

# %% tags=["hide-input"]
table_of({"stage 3 with pages minus without": ("rejection", "bare"),
          "stages 1-2-4 minus 1-2": ("no_rejection", "cold_language"),
          "stages 1-2-3-4 minus 1-2-4": ("full", "no_rejection")},
         "difference", INTERVALS + "In 1-2-4, stage 4 goes on from stage 2.")

# %% [markdown]
# - The **pages in the mix** repair what was forgotten. On the rich web the interval includes zero, because some seeds had forgotten little.
# - On the poor web, **stage 4 alone also repairs pages**, from 37 to 82 %. On the rich web we cannot tell. If stage 4 follows, leaving out stage 3 makes no difference that we can measure.
#
# Third, is R1 better than R1-Zero with as many steps of reward?

# %% tags=["hide-input"]
table_of({"stages 1 to 3 minus R1-Zero": ("rejection", "zero_longer"),
          "stages 1 to 4 minus R1-Zero": ("full", "zero_longer"),
          "stages 1 to 4 minus R1-Zero + language": ("full", "zero_language")},
         "difference", INTERVALS + "R1-Zero has 72 steps, and 48 with the language reward.")

# %% [markdown]
# **R1 as a whole is not more accurate than R1-Zero** with as many steps of reward. It is more readable and keeps more to one language, and on the rich web it keeps more pages. But on the rich web, R1-Zero **with a language reward** is as readable, as far as we can tell. In this world we would stop after stage 3.
#
# **Two recipes were not run**: stage 3 right after stage 1, which would show whether stage 2 is needed, and stage 1 with pages mixed in, which might make stage 3 superfluous.

# %% [markdown]
# ## What DeepSeek did
#
# DeepSeek-R1 {cite}`deepseekr1`, section 2.3, has these four stages:
#
# 1. **Cold start.** DeepSeek-V3-Base imitates thousands of long thoughts in a readable format.
# 2. **Reasoning.** GRPO on mathematics, code, science and logic. The accuracy reward and the language reward are added. The language reward of a thought $y$ to a question in the language $\ell$ is
#
# $$
# r_{\text{language}}(y) = \frac{\text{words of } y \text{ in } \ell}{\text{words of } y}.
# $$
#
# They report that it costs a little accuracy, and keep it because people prefer such thoughts.
#
# 3. **Rejection sampling.** Samples of stage 2 that are right, without mixed languages, long paragraphs or blocks of code: about 600,000. With about 200,000 texts on writing, facts and translation, V3-Base is fine-tuned on them for two epochs (passes over all examples).
# 4. **All kinds of prompts.** GRPO with rules where there is a rule, and elsewhere with reward models that were trained on people's preferences.

# %% [markdown]
# The version in *Nature* measures the model after every stage:
#
# | | R1-Zero | 1 cold start | 2 reasoning | 3 rejection | 4 R1 |
# | --- | --- | --- | --- | --- | --- |
# | AIME 2024 (mathematics), right in one sample, % | 77.9 | 59.0 | 74.0 | 78.1 | 79.8 |
# | LiveCodeBench (programs), right in one sample, % | 50.0 | 57.5 | 63.5 | 64.6 | 65.9 |
# | IF-Eval, follows instructions, % | 46.6 | 71.7 | 72.0 | 78.1 | 83.3 |
# | AlpacaEval 2.0, answers preferred by a judge model, % | 24.7 | 50.1 | 55.8 | 62.1 | 87.6 |
#
# Their cold start ends 19 points below R1-Zero on AIME. Ours ends 11 ± 12 points above R1-Zero of 48 steps on the poor web, and 1 ± 5 above on the rich one. A row for the base, from which both begin, is missing, so we cannot say what their cold start gained. R1 ends 2 points above R1-Zero in mathematics, and 63 in the preferred answers. DeepSeek did not publish a run with one stage left out.
#
# ## What went wrong, or did not help
#
# **We expected stage 2 to raise the accuracy, as it did for DeepSeek** (59 to 74 % on AIME). It did not, and we do not know why. On the rich web 91 % leaves little room, but on the poor web 57 % leaves much. All rewards had R1-Zero's learning rate, which may be too high for a model that is already good. Stage 2 on the poor web with a third of this rate would test this, and was not run.
#
# **We expected stage 4 to keep the accuracy.** On the poor web it lost 11 points. The rate is a suspect here too.
#
# ## Exercises
#
# ```{exercise} Any words
# :label: ex-15-language
#
# *12 minutes.* Our `language_share` knows only four verdicts. Write `language_reward(prompt, reply)` for thoughts with any words, as the task below says; `check("r1.language_reward", my_reward)` knows ten mistakes by name.
#
# **Hint.** List the words of answer b by hand, the English ones and the Chinese ones, and divide.
# ```

# %%
print(describe("r1.language_reward"))


def my_reward(prompt, reply):
    """Replace the line below by your own."""
    raise NotImplementedError


# check("r1.language_reward", my_reward)

# %% [markdown]
# ```{solution-start} ex-15-language
# :class: dropdown
# ```

# %%
def reward_solution(prompt, reply):
    thought = thought_of(reply)
    english, chinese = (len(words.findall(thought)) for words in (ENGLISH, CHINESE))
    wanted = chinese if CHINESE.search(prompt) else english
    return wanted / (english + chinese) if english + chinese else 1.0


check("r1.language_reward", reward_solution)

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} One answer per problem
# :label: ex-15-rejection
#
# *20 minutes.* We drew one answer per problem. DeepSeek drew several. If every good answer were kept, easy problems would fill the examples. Write `rejection(prompts, groups, right, longest)`, which keeps the first good answer to each problem, and none that is too long. `check("r1.rejection", my_rejection)` knows fourteen mistakes by name.
#
# **Hint.** Write five conditions: the four demands of stage 3, and the length. Then try each reply of the group in order, and stop at the first that meets all.
# ```

# %%
print(describe("r1.rejection"))

# %% [markdown]
# ```{solution-start} ex-15-rejection
# :class: dropdown
# ```

# %%
from minidsk.tasks.base import Problem


def rejection_solution(prompts, groups, right, longest):
    def good(prompt, reply, correct):
        lines = thought_of(reply).splitlines()
        return (correct and Problem(prompt).well_formed(reply) and len(reply) <= longest
                and reward_solution(prompt, reply) == 1 and len(set(lines)) == len(lines))

    kept = []
    for prompt, group, verdicts in zip(prompts, groups, right, strict=True):
        passed = (r for r, v in zip(group, verdicts, strict=True) if good(prompt, r, v))
        kept += [(prompt, reply) for reply in list(passed)[:1]]
    return kept


check("r1.rejection", rejection_solution)

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} What a stage did
# :label: ex-15-effect
#
# *12 minutes.* Runs break off, so an arm (one variant of the experiment) may lack a seed that another arm has. Write `effect(rows, arm, other)`: the mean difference over the seeds that both have, and half of its 95 % interval. `check("r1.effect", my_effect)` knows five mistakes by name. Then take stage 4 on the rich web, whose interval is wide: **which seed drives it?**
#
# **Hint.** Make one dictionary per arm, from seed to accuracy, and keep the seeds that both have. `minidsk.report.interval.T_95` holds Student's t.
# ```

# %%
print(describe("r1.effect"))

# %% [markdown]
# ```{solution-start} ex-15-effect
# :class: dropdown
# ```

# %%
import math
from statistics import stdev

from minidsk.report.interval import T_95


def effect_solution(rows, arm, other):
    by_seed = {name: {r["seed"]: r["accuracy"] for r in rows if r["arm"] == name}
               for name in (arm, other)}  # fmt: skip
    both = sorted(set(by_seed[arm]) & set(by_seed[other]))
    gains = [by_seed[arm][seed] - by_seed[other][seed] for seed in both]
    return mean(gains), T_95[len(gains)] * stdev(gains) / math.sqrt(len(gains))


rich = [row for row in record if row["share"] == WEBS["rich"]]
for left_out in (None, *range(5)):
    kept = [row for row in rich if row["seed"] != left_out]
    gain, half = effect_solution(kept, "full", "rejection")
    print(f"without seed {left_out}: {100 * gain:+.1f} ± {100 * half:.1f} points")
check("r1.effect", effect_solution)

# %% [markdown]
# **Seed 0 drives it**: without this seed the interval shrinks from ± 11 to ± 7 points, and without any other it grows.
#
# ```{solution-end}
# ```
#
# ## Bug zoo
#
# The package contains three wrong versions of `language_reward`. The test below accepts the right version and lets one bug escape. Write a second test that catches it. Ours is folded.

# %% tags=["zoo"]
def half_of_b(language_reward) -> None:
    """Answer b has one verdict in each language."""
    assert language_reward(make_4.prompt, FOUR["b"]) == 0.5


zoo("r1", [half_of_b])

# %% tags=["hide-cell"]
def silence_is_no_mixing(language_reward) -> None:
    """A thought without words has none in the wrong language; tags are no words."""
    silent = "<think>8-(7-3)=8-4=4</think><answer>8-(7-3)</answer>"
    assert language_reward(make_4.prompt, silent) == 1


zoo("r1", [half_of_b, silence_is_no_mixing])

# %% [markdown]
# ## Receipt
#
# The time is that of the processor, because the machine was shared.

# %% tags=["receipt"]
spread = {f"recorded, R1, right, %, {web} web": [*seeds_of(web, "full", "right").values()]
          for web in WEBS}  # fmt: skip
receipt(seconds=time.process_time(), spread=spread, differences={
    "weights, and the package's fine_tune": (weight_gap, 1e-8),
    "weights, and the package's step of GRPO": (gaps["reward_step"], 1e-5),
    "filter, and the package's": (filter_gap, 0),
})  # fmt: skip

# %% [markdown]
# ## Summary
#
# **In our world, two of the four stages do nearly all of it.**
#
# - **The accuracy** comes from the *cold start*: 25 points on the poor web and 60 on the rich one, for a fourteenth of R1-Zero's operations. After R1-Zero's reward, 7.5 points are left on the poor web, and none that we can see on the rich one. It also keeps thoughts to the question's language, but forgets pages, in some seeds nearly all.
# - **What was forgotten** comes back in *rejection sampling*, because it mixes pages in: about 90 % of pages are right again in the record (live, only their form).
# - **Nothing that we can measure** in accuracy or language comes from *reasoning* after such a cold start. On the poor web it repairs form, and repeats take its place. *Reward for all kinds* repairs form there too, and costs 11 points. These two take nine tenths of R1's operations.
#
# R1 as a whole is more readable than R1-Zero, but not more accurate. In DeepSeek's table, stage 2 gained 15 points on AIME, and stage 4 gained 2 there and 25.5 on AlpacaEval.
#
# - I can now build R1's four stages, and say what each is meant to repair.
# - I can now write a language reward, say how to cheat it, and choose its weight.
# - I can now filter a model's own answers into examples, and mix them with texts that keep old skills.
# - I can now compare recipes with and without a stage, seed by seed.

# %% [markdown]
# ## Read on
#
# - [Whose thoughts, and imitation or reward?](15b_order.ipynb) asks who should write the thoughts, and where to spend a budget.
# - DeepSeek-R1 {cite}`deepseekr1`, section 2.3; Tulu 3 {cite}`lambert2024tulu3` for the same order, with preferences in between.
# - The code of this chapter in the package: `minidsk/rl/recipe.py` has all stages as data, and `reason(nano(), "runs/r1", stages=nano().r1_in_full)` runs them. The experiment is `tools/experiments/ch15_stages.py`.
# - Next: [chapter 16](16_distillation.ipynb) teaches a small model with what a larger one writes.
