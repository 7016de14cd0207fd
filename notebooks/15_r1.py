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
# R1-Zero learned to reason from reward alone. But its thoughts mix two languages, and DeepSeek found it hard to read and weak at everything but reasoning. So they built DeepSeek-R1 in four more stages: a cold start, reward with a bonus for one language, rejection sampling, and reward for all kinds of prompts. **Which of these stages does something, what does it do, and what does it cost?** DeepSeek ran each stage once, on a very large model. Our world is small enough to compare recipes with and without a stage, with five seeds each.
#
# - **You will build** each of the four stages as a short loop: imitation of curated thoughts, a reward for one language, a filter for a model's own answers, and reward over a mixture of tasks.
# - **You need** PyTorch, [chapter 12](12_grpo.ipynb), which builds GRPO, and [chapter 14](14_r1_zero.ipynb), where R1-Zero comes from.
# - **It takes** one to two minutes to run on two CPU cores of a laptop, up to twice that on Colab's two (no GPU is needed, because the models are small), and an hour and a half to read. The comparison of all stages was recorded on a GPU.

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
from statistics import mean

import matplotlib.pyplot as plt
import torch

import minidsk
from minidsk import results
from minidsk.data.corpus import TinyWeb
from minidsk.data.worksheet import all_ways
from minidsk.diagrams import diagram, direct_labels, dots, show, table
from minidsk.homework import bites, check, describe, predict, receipt, zoo
from minidsk.infer.evaluate import answers as replies_of
from minidsk.presets import nano
from minidsk.report.interval import apart
from minidsk.rl import language as package_language
from minidsk.rl.harvest import FAR, FILTERS
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
# Two checkpoints (saved weights) come with the package. **nano-base** has read a tiny web of worksheets, lists and letters, and nothing else. **nano-zero** is this base after R1-Zero, which is reward for right answers alone. Both solve Countdown: make a target from three numbers up to 12, with plus and minus, each number used exactly once.

# %%
base, zero = minidsk.load_policy("nano-base"), minidsk.load_policy("nano-zero")
for policy in (base, zero):
    _ = policy.model.double()  # 16 digits, so that your processor draws what ours drew
train, test = nano().make_task("train"), nano().make_task("test")
held_out = list({p.prompt: p for p in (test[i] for i in range(2048))}.values())[:64]
asked = [p for p in held_out[:32] for _ in range(4)]


def sampled(policy, prompts, seed: int = 0, size: int = 1) -> list[str]:
    """Replies at temperature 1, `size` to each prompt."""
    generator = torch.Generator().manual_seed(seed)
    return policy.sample(prompts, size, 128, 1.0, generator).texts


# %%
drawn = sampled(zero, [p.prompt for p in asked])
in_both = [(p, t) for p, t in zip(asked, drawn, strict=True)
           if "no" in thought_of(t) and "不对" in thought_of(t)]  # fmt: skip
problem, text = min(in_both, key=lambda pair: len(pair[1]))
print(problem.prompt + text, "->", problem.verdict(text))

# %% [markdown]
# This is one sampled thought of nano-zero. Each line is one attempt, followed by the target and a verdict, *no* or *yes*. The question is in English, but some verdicts are in Chinese (不对 means no, 对了 means yes). The reward only reads the answer, so it does not care.
#
# We will look at every model of this chapter in the same way:
#
# - **right, greedy**: the share of 64 problems that no training has seen, solved by a reply that takes the likeliest token each time;
# - **right, sampled**: the same for 128 replies at temperature 1;
# - **mixed**: the share of sampled thoughts with words of both languages;
# - **readable**: the share of sampled replies with the right form (one thought, then one answer), all in the language of the question, and with no attempt made twice;
# - **pages right**: the web also has pages that need no thought, such as five numbers and the same numbers in order. The base can continue such pages, and we ask for 256 of them;
# - **pages in form**: the share of these replies that are a single line, as on the web, right or wrong.

# %%
pages = make_task("pages", high=12, split="test")
page_problems = [pages[i] for i in range(256)]
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


# %%
LOOKS = {"right, greedy": ".0%", "right, sampled": ".0%", "mixed": ".1%", "readable": ".0%",
         "tokens": ".0f", "pages right": ".0%", "pages in form": ".0%"}  # fmt: skip


def look(policy) -> dict[str, float]:
    """How a model answers held-out problems and pages."""
    texts = sampled(policy, [p.prompt for p in asked])
    of = list(zip(asked, texts, strict=True))
    greedy = zip(held_out, replies_of(policy, held_out, 160), strict=True)
    wrote = list(zip(page_problems, replies_of(policy, page_problems, 40), strict=True))
    found = [mean(p.score(t) for p, t in greedy), mean(p.score(t) for p, t in of),
             mean(mixed(p, t) for p, t in of), mean(readable(p, t) for p, t in of),
             mean(len(policy.tokenizer.encode(t)) for t in texts),
             mean(p.score(t) for p, t in wrote), mean(p.well_formed(t) for p, t in wrote)]
    return dict(zip(LOOKS, map(float, found), strict=True))


def compare(caption: str, *names: str):
    """The looks of some models as a table."""
    rows = [[name, *(f"{looks[name][key]:{how}}" for key, how in LOOKS.items())]
            for name in names]  # fmt: skip
    return table(["model", *LOOKS], rows, caption)


# %%
# tolerance: 0.5%
looks = {"base": look(base), "R1-Zero": look(zero)}
assert looks["R1-Zero"]["mixed"] > looks["base"]["mixed"]
compare("One seed; held-out problems with three numbers up to 12, plus and minus.", *looks)

# %% [markdown]
# **R1-Zero is far better at the problems and worse at the rest.** It mixes languages about twice as often as its base, and fewer of its replies are readable. About one in twelve of its pages no longer looks like a page, although no reward ever mentioned pages. The model has **forgotten** part of what its base could do. The new stages are meant to repair these three faults, and to keep the accuracy.
#
# ## The four stages

# %% tags=["diagram", "hide-input"]
diagram("r1")

# %% [markdown]
# The row *here* is the package's recipe. This chapter takes some other numbers, and says so.
#
# | stage | begins with | learns from | meant to |
# | --- | --- | --- | --- |
# | 1 cold start | the base | a few readable thoughts, by imitation | begin with thoughts that people can read |
# | 2 reasoning | stage 1 | reward: right answer, right form, one language | reason better, in one language |
# | 3 rejection sampling | **the base again** | the best of stage 2's own answers and pages without thought, by imitation | keep the reasoning, and the rest too |
# | 4 all kinds | stage 3 | reward over problems and pages | be good at everything |
#
# Stages 1 and 3 are fine-tuning, and stages 2 and 4 are reinforcement learning. We build them one after the other, and look after each.
#
# Guess first: nano-base, which solves almost a third of these problems greedily, imitates 256 carefully written thoughts for 16 steps. How many of the problems will it solve then?

# %% tags=["prediction", "hide-input"]
guess = None
question = "nano-base after 256 curated thoughts: right, greedy, in %?"
cold_guess = predict("r1.cold", question, guess, example=40, unit="%",
                     scale="difference", tolerance=30)  # fmt: skip
cold_guess

# %% [markdown]
# ## Stage 1: a cold start from curated thoughts
#
# DeepSeek collected thousands of long thoughts, partly from R1-Zero, and had people make them readable. In our world, a **careful author** plays these people. The author goes through all ways to combine the numbers, begins at a random one, writes only English, never repeats a line, and stops at *yes*:

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


print(train[FAR].prompt + careful(train[FAR], random.Random(0)))

# %% [markdown]
# Imitation is the loss of pretraining on fewer tokens: raise the log-probability of each token **of the reply**, given all tokens before it. The prompt's tokens do not count, because the model will not have to write prompts. Here is the loss with its mask, and a case by hand. One reply has two tokens with log-probability -1 and two places of padding, and the other has four tokens with -2. The mean over the six real tokens is $(2 \cdot 1 + 4 \cdot 2) / 6 = 5/3$.

# %%
def imitation_loss(logp, mask):
    """Minus the mean log-probability of the replies' tokens; logp and mask: [N, T]."""
    return -(logp * mask).sum() / mask.sum()


def padding_counts(logp, mask):
    """A planted bug: the mean over all places."""
    return -(logp * mask).mean()


# %%
def six_tokens_by_hand(loss) -> None:
    """Two tokens at -1 and four at -2 have the mean 5/3."""
    logp = torch.tensor([[-1.0, -1, -9, -9], [-2, -2, -2, -2]])
    mask = torch.tensor([[1.0, 1, 0, 0], [1, 1, 1, 1]])
    assert abs(loss(logp, mask) - 5 / 3) < 1e-6


bites(six_tokens_by_hand, imitation_loss, padding_counts)

# %% [markdown]
# The loop draws 16 examples per step and moves the weights with AdamW. The learning rate rises over five steps, holds, and falls in the second half.

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


# %% [markdown]
# The package's `fine_tune` does the same, and keeps a folder from which an interrupted run goes on. After three steps on the same 16 examples, both have the same weights:

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
cold, usual = imitate(base, curated, 16), imitate(base, ordinary, 16)
# tolerance: 3% + 0.02
looks |= {"cold start": look(cold), "ordinary worksheets": look(usual)}
assert looks["cold start"]["right, greedy"] > 2 * looks["ordinary worksheets"]["right, greedy"]
cold_guess.reveal(round(100 * looks["cold start"]["right, greedy"]))
compare("256 examples, 16 steps each. One seed.", "base", "ordinary worksheets", "cold start",
        "R1-Zero")  # fmt: skip

# %% [markdown]
# **256 curated thoughts give most of what R1-Zero's reward gave.** The same number of ordinary worksheets gives nothing. The careful thoughts differ from them in search, language, form and length at once. A program wrote them, which adds knowledge. Most authors of ordinary worksheets give up after one attempt. The cold start also removes nearly all mixing. Readable replies stay as rare. Its pages suffered as much as R1-Zero's.
#
# One more look, because all 256 thoughts are in English: what does the model do with a **Chinese** question?

# %% [markdown]
# **The cold start now answers about half of the Chinese questions in English**, at least in part, and solves most of them all the same. The base never did this. Examples in one language teach that language, whatever the question's is. A reward can ask for the language of the question instead.
#
# The base has met authors who search before, because they wrote three in ten of the worksheets on its web. So the cold start may only have told the model *which* of its authors to be. The recorded comparison below also has bases that have hardly met any.

# %% [markdown]
# ## Stage 2: reward, with a bonus for one language
#
# The second stage is R1-Zero's loop again, from the cold start, with a **language reward**: the share of a thought's words that are in the language of the question. The words of our thoughts are their verdicts, so we can count these. We use the four answers of the diagram. Answer b has two verdicts, one in each language, so its language reward is 1/2.

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


# %%
def english_only(prompt: str, text: str) -> float:
    """A planted bug: it never looks at the question."""
    return language_share("", text)


def a_chinese_question(share) -> None:
    """No verdict of answer a is in the language of a Chinese question."""
    assert share("用 3 7 8 得到 4。\n", FOUR["a"]) == 0


bites(a_chinese_question, language_share, english_only)

# %% [markdown]
# The package's version counts every run of letters, and every run of Chinese characters, as a word. Where do both versions disagree on our samples of nano-zero?

# %%
def both_shares(problem, text: str) -> tuple[float, float]:
    """Our language share, and the package's."""
    return language_share(problem.prompt, text), package_language.language(problem, text)


strays = [(p, t) for p, t in zip(asked, drawn, strict=True)
          if VERDICT.sub("", thought_of(t)) != re.sub("[A-Za-z一-鿿]+", "", thought_of(t))]
ours, theirs = zip(*(both_shares(p, t) for p, t in zip(asked, drawn, strict=True)
                     if (p, t) not in strays), strict=True)  # fmt: skip
share_gap = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
assert share_gap == 0
print(f"{len(ours)} of {len(drawn)} thoughts, largest difference: {share_gap:.2g}")
for problem, text in strays[:1]:
    print(thought_of(text), "-> {:.2f}, {:.2f}".format(*both_shares(problem, text)))

# %% [markdown]
# Both agree on all thoughts whose only words are verdicts. In the one above, the model slipped a Chinese character into a sum, and only the package counts it as a word. You will write that version in an exercise.
#
# How would you cheat this reward, if it were the only one? A thought without any words scores 1, because nothing in it is in the wrong language. So **saying nothing is paid in full**, and so is a wrong answer such as d. The language reward makes sense only as a bonus beside the reward for right answers, and R1 simply adds them:
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

# %%
def over_the_batch(rewards):
    """A planted bug: compares with the answers to other problems too."""
    return (rewards - rewards.mean()) / (rewards.std() + 1e-4)


def alike_is_no_signal(compared) -> None:
    """All answers to a problem are paid alike, so there is nothing to learn from them."""
    assert compared(torch.tensor([[1.2, 1.2], [0.2, 0.2]])).abs().max() < 1e-6


bites(alike_is_no_signal, advantages, over_the_batch)

# %% [markdown]
# One step of the loop, with any judge (the function that pays an answer): 8 answers to each of eight problems, advantages within each group, and a push on every token in proportion to its answer's advantage.

# %%
def reward_step(policy, optimizer, problems, judge, generator):
    """Sample, pay, compare, push; the problems, their replies, and the rewards [P, 8]."""
    drawn = policy.sample([p.prompt for p in problems], 8, 128, 1.0, generator)
    posed = [p for p in problems for _ in range(8)]
    paid = [judge(p, text) for p, text in zip(posed, drawn.texts, strict=True)]
    rewards = torch.tensor(paid).double().view(-1, 8)
    pushed = advantages(rewards).flatten()
    for rows in drawn.lengths.argsort().split(32):  # similar lengths, little padding
        some = drawn[rows]
        loss = -(pushed[rows, None] * policy.logprobs(some) * some.mask).sum()
        (loss / drawn.mask.sum()).backward()
    _ = torch.nn.utils.clip_grad_norm_(policy.model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return posed, drawn.texts, rewards


# %%
def rewarded(policy, task, judge, steps: int, lr: float = 8e-4):
    """A copy of the policy after some steps, and what each step's replies showed."""
    policy, curve = policy.copy(), []
    optimizer = torch.optim.AdamW(policy.model.parameters(), lr, (0.9, 0.99), weight_decay=0)
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        problems = [task[8 * step + i] for i in range(8)]
        with torch.enable_grad():
            posed, texts, _ = reward_step(policy, optimizer, problems, judge, generator)
        of = list(zip(posed, texts, strict=True))
        curve.append({"right": mean(p.score(t) for p, t in of),
                      "mixed": float(mean(mixed(p, t) for p, t in of))})  # fmt: skip
    return policy, curve


# %% [markdown]
# Our cold start hardly mixes any more, so a language reward would have nothing to do there. We try it where it has: on nano-zero, for five steps, with weight 1. The control is the same five steps with the judge of right answers alone, because mixing could also change for other reasons.

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
        smooth = [mean(c[key] for c in curve[max(i - 2, 0) : i + 1]) for i in range(5)]
        _ = ax.plot(range(1, 6), smooth, label=name)
    _ = ax.set(title=f"{key}, share of samples", xlabel="step", ylim=(0, None))
    direct_labels(ax)
ends = {name: {key: mean(c[key] for c in curve[-2:]) for key in ("mixed", "right")}
        for name, curve in curves.items()}  # fmt: skip
show(fig, "The language reward makes mixing rare, and more steps without it do not. One seed, "
     "64 samples per step, means of three steps.",
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
# **With the bonus, mixing becomes rare. Without it, it does not.** Its cost in right answers cannot be seen in so small a run. The recorded experiment below measures it.

# %% [markdown]
# ## Stage 3: rejection sampling, mixed with pages
#
# From here on we continue with **nano-r1**, a checkpoint that has been through stages 1 and 2 at full length: a cold start from 256 of R1-Zero's own readable thoughts, then 12 steps of 256 answers with a language reward of weight 0.2.
#
# Stage 3 does not train this model. It only uses the model to write examples. We draw many answers, throw away those that are not worth learning from (this is the *rejection*), and fine-tune **the base** on the rest. Each answer must meet four demands:

# %%
r1 = minidsk.load_policy("nano-r1")
_ = r1.model.double()
posed = [train[FAR + 1000 + i] for i in range(384)]
written = list(zip(posed, sampled(r1, [p.prompt for p in posed]), strict=True))

DEMANDS = {"the right form": lambda p, t: p.well_formed(t),
           "a right answer": lambda p, t: p.score(t) == 1,
           "the language of the question": in_language,
           "no attempt made twice": lambda p, t: len(set(p.attempts(t))) == len(p.attempts(t))}


# %%
def worth_learning(problem, text: str) -> bool:
    """Whether an answer meets all demands."""
    return all(demand(problem, text) for demand in DEMANDS.values())


# %%
# tolerance: 2%
left, funnel = written, [["drawn", len(written), ""]]
for name, demand in DEMANDS.items():
    before, left = len(left), [(p, t) for p, t in left if demand(p, t)]
    funnel.append([name, len(left), f"{1 - len(left) / before:.1%}"])
table(["demand", "answers left", "thrown away here"], funnel,
      "384 training problems, one answer of nano-r1 to each, temperature 1.")

# %% [markdown]
# Of the four answers of the diagram, only answer a should pass. The package's filter is called *readable*, and both must keep the same answers. As a planted bug, a filter that keeps all right answers:

# %%
print("kept of the four:", *(name for name, t in FOUR.items() if worth_learning(make_4, t)))
filter_gap = sum(worth_learning(p, t) != FILTERS["readable"](p, t) for p, t in written)
print(f"kept by one and not by the other, largest difference: {filter_gap} of {len(written)}")
assert filter_gap == 0


# %%
def right_is_enough(problem, text: str) -> bool:
    return problem.score(text) == 1


def a_repeated_line_is_rejected(keep) -> None:
    """Answer c is right, and its thought makes one attempt twice."""
    assert keep(make_4, FOUR["a"])
    assert not keep(make_4, FOUR["c"])


bites(a_repeated_line_is_rejected, worth_learning, right_is_enough)

# %% [markdown]
# The language filter has nothing left to do, because nano-r1 hardly mixes any more. The last filter removes a fault that no reward has looked at.
#
# What should the base learn beside thoughts? nano-r1 has forgotten more about pages than R1-Zero. Here are two rows of numbers that it should continue, and it no longer can spell *What comes next?*:

# %% tags=["hide-input"]
replies = replies_of(r1, page_problems, 40)
odd = [(p, t) for p, t in zip(page_problems, replies, strict=True) if not p.well_formed(t)]
print(f"{len(odd)} of {len(page_problems)} replies are no line of a page; two of them:")
for p, t in odd[:2]:
    print(p.prompt + t, "\n")

# %% [markdown]
# So we mix the kept answers with fresh pages of the web that are no worksheets. DeepSeek's mix has one such text to three thoughts, and ours too. The control is the same fine-tuning **without pages**.

# %%
thoughts = [(p.prompt, t) for p, t in left][:256]
elsewhere = TinyWeb(replace(nano().pretrain.web, worksheets=0.0), seed=0)
others = [as_example(elsewhere[FAR + i]) for i in range(len(thoughts) // 3)]
bare, both = imitate(base, thoughts, 16), imitate(base, thoughts + others, 16)
print(f"{len(thoughts)} thoughts and {len(others)} pages")
# tolerance: 3% + 0.02
looks |= {"R1, stage 2": look(r1), "stage 3, no pages": look(bare), "stage 3": look(both)}
formed = [looks[name]["pages in form"] for name in ("stage 3, no pages", "stage 3")]
assert formed[1] > formed[0] + 0.03
compare("The base, fine-tuned on what nano-r1 wrote; 16 steps. One seed.", "base", "R1-Zero",
        "R1, stage 2", "stage 3, no pages", "stage 3")  # fmt: skip

# %% [markdown]
# **In 16 steps of imitation the base takes over much of what stage 2 had learned**: most of the greedy accuracy, and one language. Its sampled replies are right less often than those of stage 2. The pages repair the form: without them, about one reply in twelve no longer looks like a page, and with them almost all do. They do not make more pages right: fewer are right here, which can be chance. In the record, with more examples and steps, they come back. In 16 steps of 16 examples, the model has read few of them.
#
# ## Stage 4: reward for all kinds of problems
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


# %%
def equal_numbers_stay(verifier) -> None:
    """Three fives are three numbers."""
    assert verifier("11 5 5 5 6\n", "In order: 5 5 5 6 11")


bites(equal_numbers_stay, list_right, each_number_once)
assert all(list_right(p.prompt, t) == p.score(t)
           for p, t in list(zip(page_problems, replies, strict=True))[::2])  # the package's

# %% [markdown]
# A page has no thought, so its form is a single line. The rewards are added as before:

# %%
def all_kinds(problem, text: str) -> float:
    return (problem.score(text) + 0.2 * problem.well_formed(text)
            + 0.2 * in_language(problem, text))  # fmt: skip


class Both:
    """Three Countdown problems, then a page, and so on."""

    lists = make_task("pages", high=12, split="train")

    def __getitem__(self, i: int):
        return self.lists[i] if i % 4 == 3 else train[FAR + 2000 + i]


# %%
final, _ = rewarded(both, Both(), all_kinds, 2, lr=3e-4)
# tolerance: 5% + 0.05
looks["stage 4"] = look(final)
compare("Two steps of six problems and two pages, 8 answers each. One seed.",
        "stage 3", "stage 4")  # fmt: skip

# %% [markdown]
# **This live run gains nothing.** Two steps of 64 answers are too few. The recorded stage 4 has 24 steps of 256 answers.
#
# What have the stages done to one thought? The figure shows the same held-out problem after each of them.

# %% tags=["widget"]
shown = held_out[4]
frames = [[{"text": text, "reward": shown.score(text)}
           for text in sampled(policy, [shown.prompt], seed=1, size=6)]
          for policy in (base, cold, r1, both, final)]  # fmt: skip
Rollouts(shown.prompt.strip(), range(5), frames,
         title="One problem, six samples after each stage; step 0 is the base")

# %% [markdown]
# ## Which stage does something?
#
# One seed and a few steps show how a stage works, not what it is worth. So we recorded a larger experiment on nano's task, with five seeds. Its bases have read twice as much as nano-base, and know pages better. Each seed has a base from each of two webs. In the **poor** web 1 % of the authors search until they find a solution, and [chapter 14](14_r1_zero.ipynb) saw that reward has little to bring out there. In the **rich** web 20 % of the authors search. Every base then goes through R1-Zero (48 steps of 256 answers) and through all four stages: 256 careful thoughts, 48 steps with form and language (weight 0.2 each), 768 kept thoughts with 256 pages, and 24 steps over all kinds. Then we leave out stage 3, its pages, or stage 4. For stages 1 and 2 we compare shorter recipes.
#
# Guess first: what will the whole of R1 have more than R1-Zero on the poor web, in points of greedy accuracy on held-out problems? To be fair, this R1-Zero gets as many steps of reward as both rounds of R1 together, which is 72.

# %% tags=["hide-input"]
guess = None
question = "Poor web: full R1 minus R1-Zero of 72 steps, in points of accuracy?"
full_guess = predict("r1.full", question, guess, example=10, unit="points",
                     scale="difference", tolerance=30)  # fmt: skip
full_guess

# %% tags=["hide-input"]
record = [row for row in results.read("ch15_stages")["rows"] if "failed" not in row]
POOR, RICH = 0.01, 0.2
MEASURES = {
    "right": lambda r: 100 * r["accuracy"],
    "readable": lambda r: 100 * r["sampled"]["readable"],
    "mixed": lambda r: 100 * r["sampled"]["both_languages"],
    "pages": lambda r: 100 * r["pages"],
    "in form": lambda r: 100 * r["well_formed"],
    "cost": lambda r: r["total_flops"] / 1e12,
    "letters": lambda r: 100 * r["letters"],
    "letters that add up": lambda r: 100 * r["letters_true"],
}


def seeds_of(share: float, arm: str, what: str) -> dict[int, float]:
    """One measure of one arm, by seed."""
    return {r["seed"]: MEASURES[what](r) for r in record
            if (r["share"], r["arm"]) == (share, arm)}  # fmt: skip


def average(share: float, arm: str, what: str) -> float:
    return mean(seeds_of(share, arm, what).values())


def effect(share: float, arm: str, other: str, what: str = "right") -> tuple[float, float]:
    """Arm minus other, seed by seed: the mean, and half of its 95 % interval."""
    ours, others = seeds_of(share, arm, what), seeds_of(share, other, what)
    both = sorted(set(ours) & set(others))
    return apart([ours[s] for s in both], [others[s] for s in both])


print(results.origin("ch15_stages"))
full_guess.reveal(round(effect(POOR, "full", "zero_longer")[0], 1))

# %% tags=["hide-input"]
WAY = {"base": "base", "zero": "R1-Zero, 48 steps", "zero_longer": "R1-Zero, 72 steps",
       "cold": "1 cold start", "cold_language": "2 reasoning",
       "rejection": "3 rejection sampling", "full": "4 all kinds: R1"}  # fmt: skip
rows = []
for share, web in ((POOR, "poor"), (RICH, "rich")):
    for arm, name in WAY.items():
        at = [average(share, arm, what) for what in list(MEASURES)[:6]]
        rows.append([web, name, *(f"{x:.0f}" for x in at[:5]), f"{at[5]:.2f}"])
table(["web", "model", "right, %", "readable, %", "mixed, %", "pages right, %", "in form, %",
       "tera-FLOPs"], rows, "Means of five seeds. Right, in form: 1,024 held-out problems, "
      "greedy. Readable, mixed: 512 of them, sampled. Pages: 512, greedy. FLOPs: of all that "
      "was needed after the base.")

# %% [markdown]
# Read the poor web first. **The cold start does the most**: it adds about 25 points, on average more than all 48 steps of R1-Zero, for a fourteenth of the operations. On the rich web it reaches what R1-Zero reaches. Its thoughts do not mix languages as R1-Zero's do. On the poor web it makes fewer replies readable than the base's single attempts, and on average more than R1-Zero's. But it ruins the pages: only about half of them are right afterwards. **Stage 3 brings the pages back.** Stages 2 and 4 cost nearly all the operations and change the accuracy little, or for the worse.
#
# Are these differences larger than those between seeds? The next table takes each stage minus the model before it, seed by seed. For stage 3 that is the model of stage 2, although the weights begin at the base again.

# %% tags=["hide-input"]
STAGES = {"1 cold start": ("cold", "base"), "2 reasoning": ("cold_language", "cold"),
          "3 rejection": ("rejection", "cold_language"), "4 all kinds": ("full", "rejection")}
SHOWN = ("right", "readable", "mixed", "pages", "letters that add up")


def table_of(pairs: dict[str, tuple[str, str]], head: str, caption: str):
    """Differences of two arms on both webs, in points."""
    def points(*which):  # a difference that rounds to 0 has no sign
        return "{:+.0f} ± {:.0f}".format(*effect(*which)).replace("-0 ", "+0 ")

    rows = [[name, web, *(points(share, *arms, what) for what in SHOWN)]
            for name, arms in pairs.items()
            for share, web in ((POOR, "poor"), (RICH, "rich"))]  # fmt: skip
    return table([head, "web", *SHOWN], rows, caption)


table_of(STAGES, "after minus before", "Points, 95 % intervals over five pairs of seeds. "
         "Letters: see the section on people below.")  # fmt: skip

# %% tags=["figure", "hide-input"]
fig, axes = plt.subplots(1, 3, figsize=(9, 3.2), sharey=True)
lines = {}
for ax, what in zip(axes, ("right", "readable", "pages"), strict=True):
    found = {f"{name}, {web}": effect(share, *arms, what) for name, arms in STAGES.items()
             for share, web in ((POOR, "poor"), (RICH, "rich"))}  # fmt: skip
    dots(ax, found, [name for name, (middle, half) in found.items() if abs(middle) > half])
    _ = ax.axvline(0, color="gray", lw=1)
    _ = ax.set(title=f"{what}, points")
    lines[what] = ", ".join(f"{name} {m:+.0f}" for name, (m, _) in found.items())
show(fig, "What each stage changes, with the numbers of the table. In the second colour: "
     "intervals without zero. Stage 1 gains accuracy and loses pages, and stage 3 brings them "
     "back.", "Dots with intervals in three panels. " + "; ".join(
         f"{what}: {line}" for what, line in lines.items()) + ".")

# %% [markdown]
# - **Stage 2 changes nothing that we can see here.** After this cold start, 48 steps of reward leave the accuracy where it was. More of its greedy replies end in the right form on the poor web, as the table of all models shows.
# - **Stage 3 keeps the accuracy and repairs the forgetting**, in pages and in letters.
# - **Stage 4 costs about 11 points of accuracy on the poor web**, and it even loses a few pages, which it rewards. On the rich web the interval of its loss in accuracy includes zero.
#
# ### Leaving stages out
#
# What came after a stage is not yet what would be missing without it, because a later stage may repair the same fault. So here are variants of the whole recipe:

# %% tags=["hide-input"]
WITHOUT = {"1, against R1-Zero, 48 steps": ("cold", "zero"),
           "2, without 1": ("cold_language", "zero_language"),
           "3, without its pages": ("rejection", "bare"),
           "4, without 3": ("full", "no_rejection"),
           "4, without 3's pages": ("full", "bare_full"),
           "1 to 3, against R1-Zero, 72 steps": ("rejection", "zero_longer"),
           "1 to 4, against R1-Zero, 72 steps": ("full", "zero_longer")}  # fmt: skip
table_of(WITHOUT, "with minus without", "Points, 95 % intervals over five pairs of seeds. "
         "Without 1: reward for accuracy and language from the base. Without 3: stage 4 goes "
         "on from stage 2.")  # fmt: skip

# %% [markdown]
# - The **pages** of stage 3 are what repairs the forgetting. The same 32 steps on thoughts alone repair nothing: the difference is 63 points on the poor web, and on the rich web 31 points with an interval that includes zero.
# - Stages 3 and 4 **repair the same fault** where it can be computed: after stage 4, lists and rows show no clear difference without stage 3. Letters are worse, clearly so on the poor web, because stage 4 has no reward for letters.
# - **R1 as a whole is not more accurate than R1-Zero** with as many steps of reward. It is more readable and mixes less, and on the rich web it keeps more pages. Without stage 4 the poor web's models are more accurate, for fewer operations: in this world we would stop after stage 3.
#
# ### What does the language reward cost?

# %% [markdown]
# ## What DeepSeek did
#
# DeepSeek-R1 {cite}`deepseekr1`, section 2.3, has these four stages:
#
# 1. **Cold start.** DeepSeek-V3-Base imitates thousands of long thoughts in a readable format. Some came from prompts with an example, some from R1-Zero, and people corrected them.
# 2. **Reasoning.** GRPO on mathematics, code, science and logic. The accuracy reward and the language reward are added. The language reward of a thought $y$ to a question in the language $\ell$ is
#
# $$
# r_{\text{language}}(y) = \frac{\text{words of } y \text{ in } \ell}{\text{words of } y}.
# $$
#
# They report that it costs a little accuracy, and keep it because people prefer such thoughts.
#
# 3. **Rejection sampling.** Samples of stage 2 that are right, without mixed languages, long paragraphs or blocks of code: about 600,000. With about 200,000 texts on writing, facts and translation, V3-Base is fine-tuned on them for two epochs (passes over all examples).
# 4. **All kinds of prompts.** GRPO with rules where there is a rule, and elsewhere with reward models that were trained on people's preferences. Helpfulness is judged on the final summary alone, harmlessness on the whole answer.

# %% [markdown]
# The version in *Nature* measures the model after every stage:
#
# | | R1-Zero | 1 cold start | 2 reasoning | 3 rejection | 4 R1 |
# | --- | --- | --- | --- | --- | --- |
# | AIME 2024, pass@1, % | 77.9 | 59.0 | 74.0 | 78.1 | 79.8 |
# | LiveCodeBench, pass@1, % | 50.0 | 57.5 | 63.5 | 64.6 | 65.9 |
# | IF-Eval, follows instructions, % | 46.6 | 71.7 | 72.0 | 78.1 | 83.3 |
# | AlpacaEval 2.0, answers preferred by a judge model, % | 24.7 | 50.1 | 55.8 | 62.1 | 87.6 |
#
# So their cold start *cost* 19 points on AIME, and the later stages won them back. Over all stages, mathematics gained 2 points on R1-Zero, and the preferred answers 63. Each stage was run once, and none was left out, so the table says what came after a stage, not what would be missing without it.
#
# The same 800,000 examples also taught smaller models to reason, which is called distillation ([chapter 16](16_distillation.ipynb)).

# %% [markdown]
# ## What went wrong, or did not help
#
# **We expected stage 2 to raise the accuracy, as it did for DeepSeek** (59 to 74 % on AIME). It did not. Their cold start ended far below R1-Zero, which left room. Ours comes from an author who searches completely, and on the poor web it is on average already above R1-Zero.
#
# **We expected stage 4 to keep the accuracy.** On the poor web it lost 11 points. The samples of training problems show that something similar happens in all models that imitated before:

# %% tags=["hide-input"]
rows = []
for arm, name in (("zero", "R1-Zero"), ("cold_right", "stage 1, then accuracy alone"),
                  ("cold_language", "stage 2"), ("full", "stage 4")):
    for share, web in ((POOR, "poor"), (RICH, "rich")):
        curves_of = [r["curves"]["accuracy"] for r in record
                     if (r["share"], r["arm"]) == (share, arm)]  # fmt: skip
        parts = [mean(mean(c[a : a + 6]) for c in curves_of) for a in (0, 6, 12, 18)]
        rows.append([name, web, *(f"{100 * x:.0f}" for x in parts),
                     f"{100 * mean(mean(c[-6:]) for c in curves_of):.0f}"])
table(["reward in", "web", "steps 1-6", "7-12", "13-18", "19-24", "the last six"], rows,
      "Right samples of training problems in %, means of five seeds. In stage 4 a quarter of "
      "the samples are pages, and its last six steps are 19 to 24.")

# %% [markdown]
# R1-Zero climbs from the start. Models that have imitated first lose some points, and stage 2 needs about 40 steps to win them back. We used R1-Zero's learning rate for all of them. It may be too high for a model that is already good, but we did not try a lower one.
#
# **The record is not complete.** Time ran out before reward on top of 2,048 thoughts had more than one seed. All its questions are English, so it does not show what the cold start does to Chinese ones.
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
# *20 minutes.* We drew one answer per problem. DeepSeek drew several. Then easy problems would fill the examples, if every good answer were kept. Write `rejection(prompts, groups, right, longest)`, which keeps the first good answer to each problem, and none that is too long; `print(describe("r1.rejection"))` has the details, and `check("r1.rejection", my_rejection)` knows fourteen mistakes by name.
#
# **Hint.** Write the five demands as five conditions. Then try each reply of the group in order, and stop at the first that meets all.
# ```
#
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
# *12 minutes.* Runs break off, so an arm (one variant of the experiment) may lack a seed that another arm has. Write `effect(rows, arm, other)`: the mean difference over the seeds that both have, and half of its 95 % interval; `check("r1.effect", my_effect)` knows five mistakes by name. Then apply it to the last stage on the poor web.
#
# **Hint.** Make one dictionary per arm, from seed to accuracy, and keep the seeds that both have. `minidsk.report.interval.T_95` holds Student's t.
# ```
#
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


poor = [row for row in record if row["share"] == POOR]
gain, half = effect_solution(poor, "full", "rejection")
print(f"poor web, stage 4 minus stage 3: {100 * gain:+.1f} ± {100 * half:.1f} points")
check("r1.effect", effect_solution)

# %% [markdown]
# ```{solution-end}
# ```
#
# ## Bug zoo
#
# The package contains three wrong versions of `language_reward`. The test below accepts the right version and lets one bug escape. Write a second test that catches it; ours is in the folded cell.

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
# ## The opening question, answered
#
# Which of the stages does something, what does it do, and what does it cost?

# %%
for name, (arm, other) in {**STAGES, "R1, R1-Zero": ("full", "zero_longer")}.items():
    for what in ("right", "readable", "mixed", "pages"):
        found = [(web, *effect(share, arm, other, what))
                 for share, web in ((POOR, "poor"), (RICH, "rich"))]  # fmt: skip
        if sure := [f"{web} {m:+.0f} ± {h:.0f}" for web, m, h in found if abs(m) > h]:
            print(f"{name}: {what} {', '.join(sure)} points")
print("Intervals that include zero are left out.")

# %% [markdown]
# ## Receipt
#
# The time is that of the processor, because the machine was shared.

# %% tags=["receipt"]
spread = {f"recorded, R1, right, %, {web} web": [*seeds_of(share, "full", "right").values()]
          for share, web in ((POOR, "poor"), (RICH, "rich"))}  # fmt: skip
receipt(seconds=time.process_time(), spread=spread, differences={
    "weights, and the package's fine_tune": (weight_gap, 1e-8),
    "language share, and the package's": (share_gap, 0),
    "filter, and the package's": (filter_gap, 0),
})  # fmt: skip

# %% [markdown]
# ## Summary
#
# **In our world, two of the four stages do nearly all of it.** The *cold start* gives the accuracy: 25 points on the poor web and 60 on the rich one, from 256 thoughts, for a fourteenth of R1-Zero's operations. It also avoids mixing, and costs about half of the skill with pages. *Rejection sampling* keeps the accuracy and gives pages and letters back, because it mixes pages in. *Reasoning* with a language reward changes nothing that we can see after a cold start in one language; from the base, the language reward ends the mixing at no price that we could measure. *Reward for all kinds* costs 11 points on the poor web, perhaps because of its learning rate. R1 as a whole is more readable than R1-Zero with as many steps of reward, but not more accurate.
#
# In DeepSeek's table, stages 2 and 4 gained much. Their cold start left more to gain, and people's preferences judged their last stage, which our world does not have.
#
# - I can now build R1's four stages, and say what each begins with, learns from and is meant to repair.
# - I can now write a language reward, say how it can be cheated, and choose its weight from the advantages of a group.
# - I can now filter a model's own answers into examples, and mix them with texts that keep old skills.
# - I can now compare recipes with and without a stage, seed by seed, at known cost.

# %% [markdown]
# ## Read on
#
# - DeepSeek-R1 {cite}`deepseekr1`, section 2.3, and the table of stages in the *Nature* version; Tulu 3 {cite}`lambert2024tulu3` for the same order, with preferences in between.
# - The code of this chapter in the package: `minidsk/rl/recipe.py` has all stages as data (`Recipe.r1_in_full`), `stages.py`, `harvest.py` and `language.py` are their parts, and `minidsk/tasks/mixture.py` mixes tasks. The experiment is `tools/experiments/ch15_stages.py`.
# - Next: [chapter 16](16_distillation.ipynb) teaches a small model with what a larger one writes, and asks when that is worth more than reward.
