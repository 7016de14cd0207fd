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
# R1-Zero learned to reason from reward alone. But its thoughts mix two languages, and DeepSeek found it hard to read and weak at everything but reasoning. So they built DeepSeek-R1 in four more stages: a cold start, reward with a bonus for one language, rejection sampling, and reward for all kinds of prompts. **Which of these stages does something, what does it do, and what does it cost?** DeepSeek could run each stage once. Our world is small enough to leave each stage out, over several seeds.
#
# - **You will build** each of the four stages as a short loop: imitation of curated thoughts, a reward for one language, a filter for a model's own answers, and reward over a mixture of tasks.
# - **You need** PyTorch, [chapter 12](12_grpo.ipynb), which builds GRPO, and [chapter 14](14_r1_zero.ipynb), where R1-Zero comes from.
# - **It takes** one to two minutes to run on two CPU cores of a laptop, up to twice that on Colab's two (a GPU is no faster, because the models are small), and an hour and a half to read. The comparison of all stages was recorded on a GPU.

# %% tags=["hide-input"]
import importlib.util

if importlib.util.find_spec("minidsk") is None:  # Colab, for example
    source = "git+https://github.com/minidsk/minidsk"
    get_ipython().run_line_magic("pip", f"install -q 'minidsk[notebooks] @ {source}'")

# %% tags=["hide-input"]
import random
import re
import tempfile
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
from minidsk.report.interval import apart, interval
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
# Two checkpoints come with the package. **nano-base** has read a tiny web of worksheets, lists and letters, and nothing else. **nano-zero** is this base after R1-Zero, which is reward for right answers alone. Both solve Countdown: make a target from three numbers up to 12, with plus and minus, each number used exactly once.

# %%
base, zero = minidsk.load_policy("nano-base"), minidsk.load_policy("nano-zero")
for policy in (base, zero):
    _ = policy.model.double()  # 16 digits, so that your processor draws what ours drew
train, test = nano().make_task("train"), nano().make_task("test")
held_out = list({p.prompt: p for p in (test[i] for i in range(2048))}.values())[:128]
asked = [p for p in held_out[:64] for _ in range(4)]


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
# - **right, greedy**: the share of 128 held-out problems that a greedy reply solves;
# - **right, sampled**: the same for 256 replies at temperature 1;
# - **mixed**: the share of sampled thoughts with words of both languages;
# - **readable**: the share of sampled replies with the right form (one thought, then one answer), all in the language of the question, and with no attempt made twice;
# - **pages right**: the web also has pages that need no thought, such as five numbers and the same numbers in order. The base can continue them. We ask for 256 of these.

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
compare("One seed; held-out problems with three numbers up to 12, plus and minus.", *looks)

# %% [markdown]
# **R1-Zero is far better at the problems and worse at the rest.** It mixes languages about three times as often as its base, and fewer of its replies are readable. It has also lost some skill with pages, which no reward ever mentioned: it has **forgotten** part of what it could do. The new stages are meant to repair these three faults, and to keep the accuracy.

# %% [markdown]
# ## The four stages

# %% tags=["diagram", "hide-input"]
diagram("r1_pipeline")

# %% [markdown]
# | stage | begins with | learns from | meant to |
# | --- | --- | --- | --- |
# | 1 cold start | the base | a few readable thoughts, by imitation | begin with thoughts that people can read |
# | 2 reasoning | stage 1 | reward: right answer, right form, one language | reason better, in one language |
# | 3 rejection sampling | **the base again** | the best of stage 2's own answers and pages without thought, by imitation | keep the reasoning, and the rest too |
# | 4 all kinds | stage 3 | reward over problems and pages | be good at everything |
#
# Stages 1 and 3 are fine-tuning, and stages 2 and 4 are reinforcement learning. We build them one after the other, and look after each.
#
# First, a guess. In a moment nano-base, which solves about a quarter of the problems greedily, imitates 256 carefully written thoughts for 20 steps. How many of the problems will it solve then?

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


def six_tokens_by_hand(loss) -> None:
    """Two tokens at -1 and four at -2 have the mean 5/3."""
    logp = torch.tensor([[-1.0, -1, -9, -9], [-2, -2, -2, -2]])
    mask = torch.tensor([[1.0, 1, 0, 0], [1, 1, 1, 1]])
    assert abs(loss(logp, mask) - 5 / 3) < 1e-6


bites(six_tokens_by_hand, imitation_loss, padding_counts)

# %% [markdown]
# The loop draws 32 examples per step and moves the weights with AdamW. The learning rate rises over five steps, holds, and falls in the second half.

# %% tags=["naive"]
def imitate(policy, examples, steps: int, size: int = 32, seed: int = 0):
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
# Now the cold start. A claim about *curated* thoughts needs a control, because any 20 steps of fine-tuning change a model. So a second copy imitates 256 **ordinary worksheets** from the same web, by all its authors, for as many steps.

# %%
def as_example(page: str) -> tuple[str, str]:
    """A page's first line, and what follows it."""
    first, newline, rest = page.partition("\n")
    return first + newline, rest


worksheets = TinyWeb(replace(nano().pretrain.web, worksheets=1.0), seed=1)
ordinary = [as_example(worksheets[FAR + i]) for i in range(256)]
cold, usual = imitate(base, curated, 20), imitate(base, ordinary, 20)

# %%
# tolerance: 3% + 0.02
looks |= {"cold start": look(cold), "ordinary worksheets": look(usual)}
cold_guess.reveal(round(100 * looks["cold start"]["right, greedy"]))
compare("256 examples, 20 steps each. One seed.", "base", "ordinary worksheets", "cold start",
        "R1-Zero")  # fmt: skip

# %% [markdown]
# **256 curated thoughts give most of what R1-Zero's reward gave**, at a small part of the operations. The same number of ordinary worksheets gives nothing, so it is the curation that counts. The authors of these worksheets mostly give up after one attempt, and a model that imitates them does too. The cold start also removes nearly all mixing. It does not make the thoughts free of repetition, and both fine-tuned models lose skill with pages: training on worksheets alone is enough to forget.
#
# One warning: the base has met careful authors before (three in ten on its web). The recorded comparison below has a base that has hardly met any.

# %% [markdown]
# ## Stage 2: reward, with a bonus for one language
#
# The second stage is R1-Zero's loop again, from the cold start, with a **language reward**: the share of a thought's words that are in the language of the question. The words of our thoughts are their verdicts, so we can count these. The thought below has three, and two of them are English. The question is in English, so its language reward is 2/3.

# %%
VERDICT = re.compile("no$|yes$|不对$|对了$", re.MULTILINE)


def language_share(prompt: str, text: str) -> float:
    """The share of a thought's verdicts in the language of its prompt; 1 without verdicts."""
    wanted = ("不对", "对了") if CHINESE.search(prompt) else ("no", "yes")
    found = VERDICT.findall(thought_of(text))
    return mean(word in wanted for word in found) if found else 1.0


three = ("<think>3+7-8=10-8=2?4 no\n3-(8-7)=3-1=2?4 不对\n8-7+3=1+3=4?4 yes</think>"
         "<answer>8-7+3</answer>")  # fmt: skip
for prompt in ("Make 4 from 3 7 8.\n", "用 3 7 8 得到 4。\n"):
    print(prompt.strip(), round(language_share(prompt, three), 3))


# %%
def english_only(prompt: str, text: str) -> float:
    """A planted bug: it never looks at the question."""
    return language_share("", text)


def a_chinese_question(share) -> None:
    """One of three verdicts is in the language of a Chinese question."""
    assert abs(share("用 3 7 8 得到 4。\n", three) - 1 / 3) < 1e-9


bites(a_chinese_question, language_share, english_only)

# %% [markdown]
# The package counts every run of letters or of Chinese characters, and so it also works where a thought has other words (you will write that version in an exercise). On our samples both must agree:

# %%
share_gap = max(abs(language_share(p.prompt, t) - package_language.language(p, t))
                for p, t in zip(asked, drawn, strict=True) if p.well_formed(t))  # fmt: skip
print(f"{len(drawn)} samples of nano-zero, well-formed ones; largest difference: {share_gap:.2g}")
assert share_gap == 0

# %% [markdown]
# How would you cheat this reward? A thought without any words scores 1, because nothing in it is in the wrong language. So **saying nothing is paid in full**, and the reward alone does not ask for a right answer either. It makes sense only as a bonus beside the reward for right answers. The two are simply added:
#
# $$
# r = r_{\text{right}} + w_{\text{form}}\, r_{\text{form}} + w_{\text{language}}\, r_{\text{language}}.
# $$
#
# Three answers of one group, by hand, with $w_{\text{language}} = 0.2$ and without the form: right and in one language 1.2; right, with one verdict of three in the other language $1 + 0.2 \cdot 2/3 = 1.13$; wrong and in one language 0.2. Their mean is 0.84, so the second answer still gains probability, and only a little less than the first. With a weight of 1 the rewards are 2, 1.67 and 1, their mean is 1.56, and the second answer gains much less than the first.

# %%
def advantages(rewards):
    """How much better than its group each answer was, in standard deviations; [P, G]."""
    less = rewards - rewards.mean(1, keepdim=True)
    return less / (rewards.std(1, keepdim=True) + 1e-4)


for weight in (0.2, 1.0):
    group = torch.tensor([[1 + weight, 1 + weight * 2 / 3, weight]])
    print(f"weight {weight}: rewards", *(f"{r:.2f}" for r in group[0].tolist()),
          "-> advantages", *(f"{a:+.2f}" for a in advantages(group)[0].tolist()))


# %%
def over_the_batch(rewards):
    """A planted bug: compares with the answers to other problems too."""
    return (rewards - rewards.mean()) / (rewards.std() + 1e-4)


def alike_is_no_signal(compared) -> None:
    """All answers to a problem are paid alike, so there is nothing to learn from them."""
    assert compared(torch.tensor([[1.2, 1.2], [0.2, 0.2]])).abs().max() < 1e-6


bites(alike_is_no_signal, advantages, over_the_batch)

# %% [markdown]
# One step of the loop, with any judge (the function that pays an answer): 16 answers to each of four problems, advantages within each group, and a push on every token in proportion to its answer's advantage.

# %%
def reward_step(policy, optimizer, problems, judge, generator):
    """Sample, pay, compare, push; the problems, their replies, and the rewards [P, 16]."""
    drawn = policy.sample([p.prompt for p in problems], 16, 128, 1.0, generator)
    posed = [p for p in problems for _ in range(16)]
    paid = [judge(p, text) for p, text in zip(posed, drawn.texts, strict=True)]
    rewards = torch.tensor(paid).double().view(-1, 16)
    pushed = advantages(rewards).flatten()
    for rows in drawn.lengths.argsort().split(16):  # similar lengths, little padding
        some = drawn[rows]
        loss = -(pushed[rows, None] * policy.logprobs(some) * some.mask).sum()
        (loss / drawn.mask.sum()).backward()
    _ = torch.nn.utils.clip_grad_norm_(policy.model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return posed, drawn.texts, rewards


# %%
def rewarded(policy, task, judge, steps: int, lr: float = 6e-4):
    """A copy of the policy after some steps, and what each step's replies showed."""
    policy, curve = policy.copy(), []
    optimizer = torch.optim.AdamW(policy.model.parameters(), lr, (0.9, 0.99), weight_decay=0)
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        problems = [task[4 * step + i] for i in range(4)]
        with torch.enable_grad():
            posed, texts, _ = reward_step(policy, optimizer, problems, judge, generator)
        of = list(zip(posed, texts, strict=True))
        curve.append({"right": mean(p.score(t) for p, t in of),
                      "mixed": float(mean(mixed(p, t) for p, t in of))})  # fmt: skip
    return policy, curve


# %% [markdown]
# Our cold start hardly mixes any more, so a language reward would have nothing to do there. We try it where it has: on nano-zero, for ten steps with each of three judges. The control is the judge of right answers alone, because some change in mixing could come from ten more steps of any kind.

# %%
def right_alone(problem, text: str) -> float:
    return problem.score(text)


def right_and_language(problem, text: str) -> float:
    return problem.score(text) + language_share(problem.prompt, text)


def language_alone(problem, text: str) -> float:
    return language_share(problem.prompt, text)


JUDGES = {"right alone": right_alone, "right + language": right_and_language,
          "language alone": language_alone}  # fmt: skip
curves = {name: rewarded(zero, train, judge, 10)[1] for name, judge in JUDGES.items()}

# %% tags=["figure", "hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(7.5, 3))
for ax, key in zip(axes, ("mixed", "right"), strict=True):
    for name, curve in curves.items():
        smooth = [mean(c[key] for c in curve[max(i - 2, 0) : i + 1]) for i in range(10)]
        _ = ax.plot(range(1, 11), smooth, label=name)
    _ = ax.set(title=f"{key}, share of samples", xlabel="step", ylim=(0, None))
    direct_labels(ax)
ends = {name: {key: mean(c[key] for c in curve[-4:]) for key in ("mixed", "right")}
        for name, curve in curves.items()}  # fmt: skip
show(fig, "The language reward ends the mixing; without a reward for right answers, these "
     "are lost. One seed, 64 samples per step, means of three steps.",
     "Two panels over ten steps. Last four steps: " + "; ".join(
         f"{name} mixed {e['mixed']:.2f}, right {e['right']:.2f}" for name, e in ends.items())
     + ".")  # fmt: skip

# %% tags=["hide-input"]
assert ends["right + language"]["mixed"] < ends["right alone"]["mixed"] / 2
assert ends["language alone"]["right"] < ends["right alone"]["right"]
rows = [[name, f"{mean(c['mixed'] for c in curve[:4]):.1%}", f"{ends[name]['mixed']:.1%}",
         f"{mean(c['right'] for c in curve[:4]):.0%}", f"{ends[name]['right']:.0%}"]
        for name, curve in curves.items()]  # fmt: skip
table(["judge", "mixed: first four steps", "last four", "right: first four", "last four"],
      rows, "Means over 256 samples each. Later steps pose other problems than earlier ones, "
      "so compare down a column.")

# %% [markdown]
# **The bonus does what it says**: mixing nearly ends, while it stays where it was without the bonus. The judge that only reads the language loses many right answers. What the bonus costs beside the reward for right answers is too small to see in a run of this size. DeepSeek reports a slight loss of accuracy, and the recorded experiment below measures ours.

# %% [markdown]
# ## Stage 3: rejection sampling, mixed with pages
#
# From here on we continue with **nano-r1**, a checkpoint that has been through stages 1 and 2 at full length: a cold start from 256 of R1-Zero's own readable thoughts, then 12 steps of 256 answers with a language reward of weight 0.2.
#
# Stage 3 does not train this model. It only uses the model to write examples: draw many answers, throw away those that are not worth learning from (this is the *rejection*), and fine-tune **the base** on the rest. Each answer must pass four filters:

# %%
r1 = minidsk.load_policy("nano-r1")
_ = r1.model.double()
posed = [train[FAR + 1000 + i] for i in range(512)]
written = list(zip(posed, sampled(r1, [p.prompt for p in posed]), strict=True))

DEMANDS = {"the right form": lambda p, t: p.well_formed(t),
           "a right answer": lambda p, t: p.score(t) == 1,
           "the language of the question": in_language,
           "no attempt made twice": lambda p, t: len(set(p.attempts(t))) == len(p.attempts(t))}


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
      "512 training problems, one answer of nano-r1 to each, temperature 1.")

# %% [markdown]
# The package's filter is called *readable*. Both must keep the same answers. As a planted bug, a filter that keeps all right answers:

# %%
filter_gap = sum(worth_learning(p, t) != FILTERS["readable"](p, t) for p, t in written)
print(f"kept by one and not by the other, largest difference: {filter_gap} of {len(written)}")
assert filter_gap == 0


def right_is_enough(problem, text: str) -> bool:
    return problem.score(text) == 1


def a_repeated_line_is_rejected(keep) -> None:
    """A right answer whose thought makes one attempt twice."""
    problem, text = left[0]
    first = thought_of(text).split("\n")[0]
    assert keep(problem, text)
    assert not keep(problem, text.replace(first, f"{first}\n{first}", 1))


bites(a_repeated_line_is_rejected, worth_learning, right_is_enough)

# %% [markdown]
# What should the base learn beside thoughts? nano-r1 has forgotten more than accuracy. Here are pages where it does what no page of the web does:

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
bare, both = imitate(base, thoughts, 20), imitate(base, thoughts + others, 20)
print(f"{len(thoughts)} thoughts, {len(others)} pages; the first page:")
print("".join(others[0]))

# %%
# tolerance: 3% + 0.02
looks |= {"R1, stage 2": look(r1), "stage 3, no pages": look(bare), "stage 3": look(both)}
compare("The base, fine-tuned on what nano-r1 wrote; 20 steps. One seed.", "base", "R1-Zero",
        "R1, stage 2", "stage 3, no pages", "stage 3")  # fmt: skip

# %% [markdown]
# PENDING

# %% [markdown]
# ## Stage 4: reward for all kinds of problems
#
# The last stage is reinforcement learning again, on a **mixture**: three problems in four are Countdown, and one is a page. Each kind has its own verifier. A page has no thought, so its form is a single line, and the reward for language does not bind it.

# %%
def all_kinds(problem, text: str) -> float:
    return (problem.score(text) + 0.2 * problem.well_formed(text)
            + 0.2 * in_language(problem, text))  # fmt: skip


class Both:
    """Three Countdown problems, then a page, and so on."""

    lists = make_task("pages", high=12, split="train")

    def __getitem__(self, i: int):
        return self.lists[i] if i % 4 == 3 else train[FAR + 2000 + i]


final, _ = rewarded(both, Both(), all_kinds, 8, lr=3e-4)

# %%
# tolerance: 5% + 0.05
looks["stage 4"] = look(final)
compare("Eight steps of three problems and one page, 16 answers each. One seed.",
        "stage 3", "stage 4")  # fmt: skip

# %% [markdown]
# PENDING

# %% tags=["widget"]
# tolerance: 1.0
shown = held_out[4]
frames = [[{"text": text, "reward": shown.score(text)}
           for text in sampled(policy, [shown.prompt], seed=1, size=6)]
          for policy in (base, cold, r1, both, final)]  # fmt: skip
Rollouts(shown.prompt.strip(), range(5), frames,
         title="One problem, six samples after each stage; step 0 is the base")
