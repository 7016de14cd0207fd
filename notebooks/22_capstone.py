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
# # From random weights to a reasoner
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/minidsk/minidsk/blob/main/notebooks/22_capstone.ipynb)
#
# A *base model* is a language model that has only learned to complete documents. Ours has read worksheets, most of them by people who guess once, see that the guess is wrong, and hand it in anyway. So the model does the same. We now show it no better worksheet. We only tell it after each answer whether the answer was right. Can random weights become a reasoner from *right* and *wrong* alone, on one GPU, while you wait? How much does this reward add?
#
# - **You will build** the last loop of the course, in which four answers become rewards, advantages, a loss and one step of learning. Then you watch the climb begin on your own machine, and read the whole climb from recorded runs.
# - **You need** PyTorch, and the idea of a language model. Earlier chapters show each part at length: [02](02_latent_attention.ipynb) to [04](04_multi_token_prediction.ipynb) the network, [06](06_pretraining.ipynb) the base model, [10](10_from_games_to_words.ipynb) and [12](12_grpo.ipynb) the reward. You can read this one first.
# - **It takes** about a minute to run on two CPU cores of a laptop, about twice that on Colab's two, about a minute on a GPU (the model is tiny), and an hour to read.

# %% tags=["hide-input"]
import importlib.util

if importlib.util.find_spec("minidsk") is None:  # Colab, for example
    source = "git+https://github.com/minidsk/minidsk"
    get_ipython().run_line_magic("pip", f"install -q 'minidsk[notebooks] @ {source}'")

# %% tags=["diagram", "hide-input"]
from minidsk.diagrams import diagram

diagram("course")

# %% tags=["hide-input"]
import copy
import dataclasses
import json
import random
import re
from statistics import fmean

import matplotlib.pyplot as plt
import torch

import minidsk
from minidsk import results
from minidsk.data.corpus import TinyWeb
from minidsk.diagrams import band, direct_labels, show, table
from minidsk.homework import check, describe, predict, receipt, zoo
from minidsk.hub.zoo import find
from minidsk.infer.evaluate import answers as greedy
from minidsk.infer.evaluate import evaluate, wilson
from minidsk.presets import nano
from minidsk.report.interval import interval
from minidsk.report.stages import read_stages, telling
from minidsk.rl.completions import token_logprobs
from minidsk.rl.grpo import group_advantages, policy_loss
from minidsk.rl.loop import update
from minidsk.rl.rollout import rollout
from minidsk.tasks.base import thought_of
from minidsk.tasks.countdown import CountdownProblem
from minidsk.tasks.expression import evaluate as value_of
from minidsk.train.loop import Slices
from minidsk.train.optim import Optimizer
from minidsk.widgets import Rollouts

plt.style.use("minidsk.diagrams.look")

# %% [markdown]
# ## What the model has read
#
# The task is **Countdown**: reach a target from given numbers, and use each number exactly once. Our training text, the tiny web, is full of such problems, and here are three of its pages.

# %%
recipe = nano()
web = TinyWeb(recipe.pretrain.web, seed=0)
sheets = [page for page in web.pages(0, 1000) if "<think>" in page]
found = [re.search("<think>(.*?)</think>", page, re.DOTALL)[1] for page in sheets]
thoughts = [thought.split("\n") for thought in found]
tries = [len(thought) for thought in thoughts]

# %%
for wanted in (1, 2, 6):  # pages with one, two and six attempts
    print(sheets[tries.index(wanted)], end="\n\n")

# %% [markdown]
# Each line of a thought is one attempt, worked out step by step. A question mark, the target and a verdict follow the result. The tags `<think>` and `<answer>` are single tokens, and the model reads everything else character by character. Most authors stop after one or two attempts, whatever the verdict. A few persistent ones go on until they can write *yes*. Some write the verdict in Chinese, 不对 for *no* and 对了 for *yes*, because DeepSeek's model mixed languages too, and the last stage, R1, is rewarded for keeping to one.
#
# How good would a model be if it imitated these authors perfectly?

# %%
solved = [thought[-1].endswith(("yes", "对了")) for thought in thoughts]
print(f"worksheets in 1,000 pages: {len(sheets)}; right: {sum(solved) / len(sheets):.0%}")
for name, counts in (("one attempt", [1]), ("three or more", range(3, 99))):
    some = [right for right, n in zip(solved, tries, strict=True) if n in counts]
    print(f"{name}: {len(some) / len(sheets):.0%} of them; right: {sum(some) / len(some):.0%}")

# %% [markdown]
# So the web does show how to be right, but only on a minority of its pages, and nothing marks these pages as the good ones. Keep this in mind for the rest of the chapter: **everything that reward will teach is already on the web, but it is rare.**
#
# ## The base model completes documents, and is mostly wrong
#
# `nano-base` started from random weights and read such pages for a few minutes on two CPU cores. We give it *held-out* problems, which appear on no page that it has read. It answers *greedily*, which means that it always writes the most likely next token.

# %%
base = minidsk.load_policy("nano-base")
_ = base.model.double()  # float64: rounding is too small to change a draw
tokenizer, test = base.tokenizer, recipe.make_task("test")
shown = [test[i] for i in range(3)]
for posed, reply in zip(shown, greedy(base, shown, recipe.max_new_tokens), strict=True):
    print(posed.prompt + reply, f"\n=> reward {posed.score(reply):.0f}\n")

# %%
HELD_OUT = 128
before = evaluate(base, test, HELD_OUT, recipe.max_new_tokens)
print(f"greedy, {HELD_OUT} held-out problems: {before.accuracy:.1%} right "
      f"({before.low:.1%} to {before.high:.1%})")
print(f"one thought and one answer: {before.well_formed:.0%}; "
      f"a thought has {before.thought:.0f} characters")

# %% [markdown]
# The model keeps the form perfectly and gets most sums right, but most of its answers are wrong. It does not search for an answer, because it only writes what a typical page would contain.
#
# Before you run on, make a guess. We now train the model by reward alone, with no worked example, for 22 steps. What share of the same problems will it solve? Replace `None` by a number between 0 and 1; your score stays on your machine.

# %% tags=["prediction", "hide-input"]
guess = None
question = "What share will nano-zero solve?"
after_reward = predict("capstone.zero", question, guess, example=0.5,
                       scale="difference", tolerance=0.4)  # fmt: skip
after_reward

# %% [markdown]
# ## One step of learning, by hand
#
# Here are four answers to one problem, *make 4 from 3, 7 and 8*. We keep them for the rest of the page:
#
# - **a** guesses once, sees that the guess is wrong, and hands it in;
# - **b** tries, checks, and tries again;
# - **c** claims success, because it writes *yes* after a wrong result;
# - **d** has the right idea, but puts more than an expression into its answer.

# %%
problem = CountdownProblem("Make 4 from 3 7 8.\n", (3, 7, 8), 4, "8-(7-3)", "+-")
answers = {
    "a": "<think>3+7+8=10+8=18?4 no</think><answer>3+7+8</answer>",
    "b": "<think>3+7+8=10+8=18?4 no\n3+7-8=10-8=2?4 no\n8-(7-3)=8-4=4?4 yes</think>"
         "<answer>8-(7-3)</answer>",
    "c": "<think>3+7+8=10+8=18?4 yes</think><answer>3+7+8</answer>",
    "d": "<think>8-(7-3)=8-4=4?4 yes</think><answer>8-(7-3)=4</answer>",
}  # fmt: skip
rewards = torch.tensor([[problem.score(text) for text in answers.values()]]).double()
print("rewards", rewards.tolist()[0])

# %% [markdown]
# The rewards are **0, 1, 0, 0**. They come from a *verifier*, a small program. It reads the expression in the answer with its own parser, computes its value with exact fractions, and looks at nothing else. It does not even read the thought, so **c** earns nothing for its *yes*, and **b** loses nothing for its two failed attempts.
#
# Before you read on, think for a minute: how would you cheat this reward? An exercise at the end asks you to write a verifier, and knows nine ways to cheat one.
#
# ### Rewards become advantages
#
# A reward of 1 means little until we know what the other answers earned. GRPO {cite}`deepseekmath` therefore compares each answer with the other answers to the same problem, its *group*. It subtracts the mean of the group and divides by its standard deviation. The result is the answer's *advantage*: how much better the answer was than its group.
#
# Here the mean is $1/4$, and the deviations from it are $-\frac14, \frac34, -\frac14, -\frac14$. Their squares add up to $\frac34$, which divided by $4 - 1$ gives $\frac14$, and the square root of that is $\frac12$. This gives us the advantages:
#
# | answer | reward | advantage |
# | --- | --- | --- |
# | a | 0 | $-0.25 / 0.5 = -0.5$ |
# | b | 1 | $+0.75 / 0.5 = +1.5$ |
# | c | 0 | $-0.5$ |
# | d | 0 | $-0.5$ |

# %% tags=["naive"]
def by_hand(group: list[float], eps: float = 1e-4) -> list[float]:
    """Each reward minus the mean, divided by the standard deviation (by G - 1) plus eps."""
    mean = sum(group) / len(group)
    deviation = (sum((r - mean) ** 2 for r in group) / (len(group) - 1)) ** 0.5
    return [(r - mean) / (deviation + eps) for r in group]


print([round(a, 2) for a in by_hand([0, 1, 0, 0])])

# %% [markdown]
# Before you trust a formula, try it on a ladder of simple cases: all answers wrong, one right, half right, one wrong, all right. What should the advantages be when all four answers are wrong, and what when all four are right?

# %% tags=["agree"]
ladder = torch.tensor([[0, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 1], [1, 1, 0, 1],
                       [1, 1, 1, 1]]).double()  # fmt: skip
ours = torch.tensor([by_hand(group) for group in ladder.tolist()], dtype=torch.float64)
theirs = group_advantages(ladder)
advantage_gap = (ours - theirs).abs().max().item()
assert advantage_gap < 1e-12
print("largest difference from minidsk.rl.grpo: below 1e-12")

# %%
for group, row in zip(ladder.tolist(), theirs.tolist(), strict=True):
    print([int(r) for r in group], "->", [round(a, 2) for a in row])

# %% [markdown]
# In both extreme cases all advantages are zero. When all four answers fail, the group does not show what would have been better. When all four succeed, there is nothing left to prefer. Only groups with both right and wrong answers carry a signal, and we will count them below. Between the extremes, a rare success counts more: a single right answer has the advantage 1.5, and each of three right answers has 0.5.
#
# A check is only worth something if it fails when it should, so we plant a bug that uses one mean for the whole batch instead of one mean per group.

# %%
def planted(rewards: torch.Tensor) -> torch.Tensor:
    """Wrong: compares each answer with the whole batch."""
    return (rewards - rewards.mean()) / (rewards.std() + 1e-4)


def silent_at_both_ends(advantages) -> bool:
    """Whether all advantages are 0 when all answers are wrong, and when all are right."""
    return bool((advantages(ladder)[[0, -1]] == 0).all())


assert silent_at_both_ends(group_advantages)
assert not silent_at_both_ends(planted)
print("the package passes, the planted bug does not")

# %% [markdown]
# ### Answers become log-probabilities
#
# How likely does `nano-base` find each of the four answers? We let the model read the problem and the answer, and look up the probability that it gave to each token of the answer. The log-probability of an answer is the sum over its tokens.

# %%
def logprobs(model, prompt: str, texts: list[str]) -> list[torch.Tensor]:
    """Log-probabilities of each text's tokens, the end token included, one tensor per text."""
    start, rows = [tokenizer.bos_id, *tokenizer.encode(prompt)], []
    for text in texts:
        ids = torch.tensor([start + tokenizer.encode(text) + [tokenizer.eos_id]])
        logp, _ = token_logprobs(model(ids[:, :-1]).logits, ids[:, 1:])
        rows.append(logp[0, len(start) - 1 :])
    return rows


# %%
with torch.no_grad():
    old = logprobs(base.model, problem.prompt, list(answers.values()))
table(["answer", "tokens", "log-probability", "its least likely token"],
      [[name, len(logp), f"{float(logp.sum()):.1f}", f"{logp.min().exp():.2g}"]
       for name, logp in zip(answers, old, strict=True)])  # fmt: skip

# %% [markdown]
# Answer **b** is the longest of the four, and no page that the model has read contains it. Although **b** is more than twice as long as **c**, it is likelier, because it has no token that the model finds nearly impossible. This is why reward can find such an answer: the model produces it in some of its samples.
#
# ### Log-probabilities become a loss
#
# Each token of an answer gets the advantage of its answer. GRPO weighs it by the ratio of the token's probability now to its probability when the answer was sampled. We wrote the four answers ourselves, but treat them as if the *policy*, the model that learns, had just sampled them. Then nothing has changed since, and every ratio is 1. The loss is then only the weighted mean of the advantages with the opposite sign.
#
# The weights depend on how we average. Averaged over answers, the loss is $-(-0.5 + 1.5 - 0.5 - 0.5)/4 = 0$. DAPO {cite}`yu2025dapo` averages over tokens, as our recipe does, and then long answers weigh more:

# %%
advantages = theirs[1]
lengths = torch.tensor([len(logp) for logp in old])
token_mean = -(advantages * lengths).sum() / lengths.sum()
print("tokens", lengths.tolist())
print(f"loss averaged over answers: {abs(advantages.mean()):.4f}, over tokens: "
      f"{token_mean:.4f}")

# %%
def padded(rows: list[torch.Tensor]) -> torch.Tensor:
    """Rows of different lengths, side by side; zeros fill up."""
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


mask = padded([torch.ones_like(logp) for logp in old])
loss, _ = policy_loss(padded(old), padded(old), advantages, mask, loss_type="dapo")
loss_gap = abs(loss.item() - token_mean.item())
assert loss_gap < 1e-6
print("minidsk.rl.grpo.policy_loss:", round(loss.item(), 4), "| largest difference below 1e-6")

# %% [markdown]
# ```{warning}
# This number is called a loss, but it does not say how good the model is. Averaged over answers it is 0 at *every* first step, however bad the model. Only its gradient means something, so watch the reward and not the loss.
# ```
#
# ### The loss becomes one step
#
# Now we take the gradient, make one small step on a copy of the model, and read the four answers again.

# %%
def step_on(model, rate: float = 0.05) -> list[torch.Tensor]:
    """One step of gradient descent on our four answers; their log-probabilities afterwards."""
    logp = padded(logprobs(model, problem.prompt, list(answers.values())))
    policy_loss(logp, padded(old), advantages, mask, loss_type="dapo")[0].backward()
    with torch.no_grad():
        for weight in model.parameters():
            weight -= rate * (weight.grad if weight.grad is not None else 0)
        model.zero_grad()
        return logprobs(model, problem.prompt, list(answers.values()))


# %%
new = step_on(copy.deepcopy(base.model))
for name, a, then, now in zip(answers, advantages.tolist(), old, new, strict=True):
    print(f"{name}: advantage {a:+.1f}, log-probability {then.sum():6.1f} -> {now.sum():6.1f}")
assert float((new[1] - old[1]).sum()) > 0

# %% [markdown]
# Answer **b** became likelier, and the place where the answers part shows what the model learned. **a** and **b** begin with the same words, `3+7+8=10+8=18?4 no`. Then **a** writes `</think>` and gives up, while **b** starts a new line and tries again. This fork decides most of what follows. **c** had left the other two one word earlier, when it wrote *yes*.

# %% tags=["hide-input"]
fork = len(tokenizer.encode("<think>3+7+8=10+8=18?4 no"))
places = (("a", fork, "give up, after no"), ("b", fork, "try again, after no"),
          ("c", fork - 2, "yes, after 18?4"))  # fmt: skip
for name, k, what in places:
    then, now = (rows["abc".index(name)][k].exp().item() for rows in (old, new))
    print(f"{what:20} probability {then:.2f} -> {now:.2f}")
again, give_up = (new[i][fork] - old[i][fork] for i in (1, 0))
assert again > give_up

# %% [markdown]
# The reward never said *try again*. It said that **b** was right, and the arithmetic of the group did the rest. The figure shades each token of the four answers by how far this step moved its log-probability. A few tokens moved much farther than the rest, so the largest tenth of the changes share the full colour, and the cell before the figure prints the largest change in each answer. In **b** the largest push went to the `8` with which the right attempt begins. In **d** it fell on the `4` after `(7-3)=`, which the verifier does not accept in an answer. The fork itself moved less, because the base already tried again in a third of the cases.

# %% tags=["hide-input"]
moved = [(now - then).tolist() for then, now in zip(old, new, strict=True)]
coded = [tokenizer.encode(text) for text in answers.values()]
pieces = [[tokenizer.decode([i]) for i in ids] + ["<eos>"] for ids in coded]
for name, piece, shade in zip(answers, pieces, moved, strict=True):
    k = max(range(len(shade)), key=lambda i: abs(shade[i]))
    before_it = "".join(piece[max(0, k - 6) : k])
    print(f"{name}: moved most at {piece[k]!r} after {before_it!r}, by {shade[k]:+.2f}")

# %% tags=["widget", "hide-input"]
samples = [
    {"text": piece, "reward": reward, "shade": shade}
    for piece, reward, shade in zip(pieces, rewards[0].tolist(), moved, strict=True)
]
shaded = Rollouts(problem.prompt, [1], [samples], title="Four answers after one step",
                  shade_label="change of log-probability")  # fmt: skip
shaded.shading = 1
shaded

# %% [markdown]
# ## Eight steps of the loop, on your machine
#
# You have now seen every part of R1-Zero except the sampling, because we wrote the four answers ourselves. R1-Zero is DeepSeek's name for learning from reward alone. Each step samples answers, rewards them, compares them within groups, and updates the model. Here is the loop once more, built from the package's parts; [chapter 12](12_grpo.ipynb) opens `rollout` and `update` and writes all of it in one notebook. Each step uses 8 problems with 16 answers each, while the recorded runs use more problems and many more steps. `rewarded` is the only thing that we will change later.

# %%
settings = dataclasses.replace(recipe.zero, prompts=8, steps=8)
train, verdict = recipe.make_task("train"), {"accuracy": 1.0}


def sampled(policy, step: int, generator: torch.Generator):
    """A step's problems, a group of answers to each, and their rewards."""
    posed = [train[settings.prompts * step + i] for i in range(settings.prompts)]
    limits = (settings.group, settings.max_new_tokens)
    return rollout(policy, posed, *limits, verdict, generator=generator)


# %%
def climb(policy, rewarded, steps: int = settings.steps) -> list[dict[str, float]]:
    """GRPO on `policy`, in place; rewarded(rewards, generator) are what it learns from."""
    optimizer, history = Optimizer(policy.model, settings.optim, steps), []
    for step in range(steps):
        generator = torch.Generator().manual_seed(step)
        drawn = sampled(policy, step, generator)
        advantages = group_advantages(rewarded(drawn.rewards, generator)).flatten()
        _ = update(policy, optimizer, Slices(settings.rows), drawn, advantages, settings)
        tokens = drawn.completions.lengths.double().mean().item()
        history.append({"right": drawn.rewards.mean().item(), "tokens": tokens})
    return history

# %%
learner = base.copy()
learned = climb(learner, lambda rewards, generator: rewards)
print("right ", [round(h["right"], 2) for h in learned])
print("tokens", [round(h["tokens"]) for h in learned])

# %% [markdown]
# The answers become longer, and the share of right samples rises a little. On held-out problems, answered greedily, the same eight steps make a large difference:

# %%
early = evaluate(learner, test, HELD_OUT, recipe.max_new_tokens)
print(f"greedy, {HELD_OUT} held-out problems: {before.accuracy:.1%} right before, "
      f"{early.accuracy:.1%} after eight steps")

# %% [markdown]
# The samples gained less for two reasons. Greedy decoding always takes the likelier choice at the fork above, which was to give up before the eight steps, and to try again after them. Sampling also takes the other choice: it tried again in about a third of the cases at the start, and still gives up sometimes at the end. Also, the later batches were harder than the first, as one of the following controls shows.
#
# ### Two controls show that it is the reward
#
# Perhaps any training makes the answers of a model longer, or perhaps the later batches contain easier problems. Two controls test this on the same batches. One is a **random shuffle**: the same number of ones and zeros, dealt to the answers of the batch at random. The other is the **frozen base**: every answer gets reward 0, so all advantages are zero and nothing is learned.

# %%
def shuffled(rewards: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The same rewards, dealt to the answers of the batch at random."""
    order = torch.randperm(rewards.numel(), generator=generator)
    return rewards.flatten()[order].view_as(rewards)


# %%
adrift = base.copy()
control = climb(adrift, shuffled)
frozen = climb(base.copy(), lambda rewards, generator: torch.zeros_like(rewards))
histories = {"true reward": learned, "frozen base": frozen, "shuffled reward": control}
ends = [sum(h["right"] for h in history[-3:]) / 3 for history in histories.values()]
assert ends[0] > ends[1] > ends[2]
print("in the last three steps, true reward > frozen base > shuffled reward: True")

# %% tags=["hide-input"]
table(["learns from", *(f"step {step}" for step in range(1, 9))],
      [[name, *(f"{h['right']:.2f}" for h in history)] for name, history in histories.items()],
      "Share right among 128 samples.")

# %% tags=["figure", "hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(7.5, 3))
titles = {"right": "share right", "tokens": "tokens per answer"}
for ax, (key, title) in zip(axes, titles.items(), strict=True):
    for name, history in histories.items():
        _ = ax.plot(range(1, 9), [h[key] for h in history], "o-", ms=4, label=name.split()[0])
    _ = ax.set(xlabel="step", title=title, ylim=(0, None), xticks=range(1, 9))
    direct_labels(ax)
last = {name: f"{history[-1]['right']:.2f} and {history[-1]['tokens']:.0f}"
        for name, history in histories.items()}  # fmt: skip
show(fig, "On the same batches, the true reward climbs away from the frozen base, and the "
     "shuffled reward falls below it.",
     "Two panels over 8 steps, three lines each. Share right and tokens per answer at the "
     "last step: "
     + "; ".join(f"{name} {numbers}" for name, numbers in last.items()) + ".")

# %% [markdown]
# The first step is the same for all three, because no model has learned anything yet. After that, the frozen base shows how hard each batch is. The run with the true reward climbs away from the frozen base, and the shuffled run falls below it. Eight steps with few samples are a noisy beginning and not a result, so with other seeds the curves look different.
#
# The shuffle falls because its steps follow noise. Random rewards have nothing to do with the answers, so their gradient is zero on average. But the optimizer, AdamW, rescales the gradient, so a step has about the same length whether its direction is useful or not. The folded cell measures how far the weights moved, and what this did to the simplest skill of the base: is the first line of a thought computed correctly? It samples one answer to each held-out problem.

# %% tags=["hide-input"]
def first_sum_holds(text: str) -> bool:
    """Whether the first line of a thought computes what it says, such as 3+7+8=10+8=18."""
    sums = thought_of(text).split("\n")[0].partition("?")[0].split("=")
    try:
        return len({value_of(part)[0] for part in sums}) == 1
    except ValueError:
        return False


held_out, rows = [test[i] for i in range(HELD_OUT)], []
policies = {"nano-base": base, "true reward": learner, "shuffled reward": adrift}
for name, policy in policies.items():
    pairs = zip(policy.model.parameters(), base.model.parameters(), strict=True)
    distance = sum((now - then).detach().square().sum().item() for now, then in pairs) ** 0.5
    seeded = torch.Generator().manual_seed(0)
    drawn = rollout(policy, held_out, 1, recipe.max_new_tokens, verdict, generator=seeded)
    holds = sum(map(first_sum_holds, drawn.completions.texts)) / HELD_OUT
    rows.append([name, f"{distance:.2f}", f"{drawn.rewards.mean():.0%}", f"{holds:.0%}"])
table(["model", "weights moved by", "samples right", "first line correct"], rows)

# %% [markdown]
# The weights of both runs moved about equally far. The noise damaged the arithmetic of the base, and with it the share of right answers. The true reward did some damage too, because its gradient is also noisy. But it taught the model to try again, which gains more than the damage costs. How far a shuffled run falls is chance: in two more shuffles the arithmetic became worse in both, but the share of right answers fell in only one.

# %% [markdown]
# ## The whole climb, recorded
#
# The command `minidsk reason` runs everything: pretraining from random weights, reward alone (R1-Zero), a *cold start* (fine-tuning the base on R1-Zero's own readable thoughts), and reward again (R1). The folded cell prints the recorded commands, and `results/` has every file.
#
# Two presets are recorded with three seeds. *nano* has 0.4 million parameters, runs on two CPU cores, and poses three numbers up to 12 with + and −. *small* has 10 million, runs on one GPU, and poses three numbers up to 20 with all four operators, which is harder to guess. So do not compare their accuracies; compare what each gained.

# %% tags=["hide-cell"]
runs = {}
for preset in ("small", "nano"):
    record = results.folder(f"reason_{preset}")
    folders = sorted(record.glob("seed*"))
    runs[preset] = [{stage.name: stage for stage in read_stages(folder)} for folder in folders]
    for file in sorted(str(path.relative_to(record)) for path in record.rglob("run.json")):
        print(f"{preset}: {results.origin(record.name, file)}")
        print(f"  {results.facts(record.name, file).get('note', 'ran to its end')}")

# %% [markdown]
# One seed proves little, because another seed may give another model. Here is what reward alone added in each of three seeds, then the mean over seeds and its 95 % interval (Student's $t$), which has to be wide with only three values. For *nano* it even reaches beyond 100 %, because Student's formula does not know that no share is larger. Even the same seed gives another model on another processor, as the [introduction](../book/intro.md) shows, so expect your numbers to differ from ours.

# %% tags=["hide-input"]
rows, spread_of = [], {}
for preset, seeds in runs.items():
    for name, stage in seeds[0].items():
        of = [seed[name].row for seed in seeds]
        spread_of[preset, name] = [100 * row["accuracy"] for row in of]
        thought = sum(row["thought"] for row in of) / len(of)
        told = "{:.1f} ± {:.1f}".format(*interval(spread_of[preset, name]))
        rows.append([preset, stage.title, told, f"{thought:.0f}"])
    pairs = zip(spread_of[preset, "base"], spread_of[preset, "zero"], strict=True)
    gains = [zero - first for first, zero in pairs]
    each = ", ".join(f"{gain:.1f}" for gain in gains)
    middle, half = interval(gains)
    print(f"reward alone, {preset:5}: {each} points; mean {middle:.1f} ± {half:.1f}")
table(["preset", "stage", "accuracy, %", "characters per thought"], rows,
      "Means of three seeds, with 95 % intervals.")

# %% tags=["figure", "hide-input"]
fig, ax = plt.subplots(figsize=(6.4, 3.2))
stages = list(runs["small"][0])
for k, preset in enumerate(runs):
    for lines in zip(*(spread_of[preset, name] for name in stages), strict=True):
        label = preset if lines[-1] == min(spread_of[preset, stages[-1]]) else None
        _ = ax.plot(range(len(stages)), lines, "o-", color=f"C{k}", lw=1.2, label=label)
_ = ax.set(ylabel="held-out problems solved, %", ylim=(0, 100))
_ = ax.set_xticks(range(len(stages)), [runs["small"][0][name].title for name in stages])
direct_labels(ax)
show(fig, "Three seeds each of small (blue) and nano (orange). Reward alone makes the climb; "
     "the stages after it change little in small, and lose a few points in nano.",
     "Lines of accuracy in % over the four stages: " + "; ".join(
         f"{preset} {runs[preset][0][name].title} {', '.join(f'{x:.1f}' for x in each)}"
         for (preset, name), each in spread_of.items()) + ".")

# %% [markdown]
# ### Four curves of the climb
#
# The figure shows four quantities for every step of R1-Zero, the ones to look at first when such a run goes wrong. They are the share of right answers among the samples, the length of an answer, the *entropy* of the next token (how undecided the model is), and the share of groups that carry a signal because they hold both right and wrong answers.

# %% tags=["figure", "hide-input"]
panels = {"accuracy": "share right", "length": "tokens per answer",
          "entropy": "entropy, nats", "groups_with_signal": "groups with signal"}  # fmt: skip
fig, axes = plt.subplots(2, 2, figsize=(7.5, 5.4))
for ax, (metric, title) in zip(axes.flat, panels.items(), strict=True):
    for preset, seeds in runs.items():
        lines = [[line.get(metric, 0.0) for line in seed["zero"].metrics] for seed in seeds]
        points = [interval(at) for at in zip(*lines, strict=False)]
        band(ax, range(1, 1 + len(points)), points, preset)
    top = 1.02 if metric in ("accuracy", "groups_with_signal") else None
    _ = ax.set(xlabel="step of R1-Zero", title=title, ylim=(0, top), xlim=(1, None))
    direct_labels(ax)
ends = []
for preset, seeds in runs.items():
    for metric, title in panels.items():
        first, last = (fmean(seed["zero"].metrics[k].get(metric, 0.0) for seed in seeds)
                       for k in (0, -1))  # fmt: skip
        ends.append(f"{preset}, {title}: from {first:.3g} to {last:.3g}")
show(fig, "R1-Zero, step by step: means of three seeds, with 95 % intervals. As more samples "
     "are right, the model becomes surer, and fewer groups carry a signal.",
     "Four panels with a line and a band each for small and nano. " + "; ".join(ends) + ".")

# %% [markdown]
# At step 1 nothing has been learned yet, and already 35 % of the samples of *small* are right, although the base solves only 10 % greedily. The samples are drawn at temperature 1, which means with the model's own probabilities, so they sometimes try again. This part of the gain can be *reached by sampling alone*, and reward added the rest. We report both baselines, and so should every paper that reports one.
#
# ## Thoughts before and after
#
# ### R1-Zero makes more attempts

# %% tags=["figure", "hide-input"]
fig, ax = plt.subplots(figsize=(6.4, 2.8))
said = {name: [reply["reply"].partition("</think>")[0] for reply in stage.replies]
        for name, stage in runs["small"][0].items()}  # fmt: skip
tried = {name: [thought.count("\n") + 1 for thought in of] for name, of in said.items()}
counts = torch.bincount(torch.tensor(tried["zero"]))[1:]
wrong = [reply["reply"] for reply in runs["small"][0]["zero"].replies if reply["score"] < 1]
endless = sum("</answer>" not in reply for reply in wrong)
print(f"R1-Zero, wrong: {len(wrong)} of {counts.sum():,}; {endless} of them ran out of tokens")
_ = ax.bar(range(1, len(counts) + 1), counts)
_ = ax.set(xlabel="attempts in a thought (small, greedy)", ylabel="problems")
only = tried["base"].count(1)
several = int(counts[1:].sum())
show(fig, f"R1-Zero makes as many attempts as it needs, on {several:,} problems more than "
     f"one. On the same problems, all {only:,} thoughts of the base have one.",
     "Bars, problems by the number of attempts of R1-Zero: "
     + ", ".join(f"{n} with {k}" for k, n in enumerate(counts.tolist(), 1) if k <= 6)
     + f", {int(counts[6:].sum())} with 7 to {len(counts)}.")

# %% [markdown]
# Where R1-Zero still fails, it was mostly still searching when it reached the limit on the length of a thought.
#
# ### A thought before and after
#
# Here is one held-out problem, answered by the base and by R1-Zero of the recorded *small* run.

# %% tags=["hide-input"]
seed = runs["small"][0]
number = telling(list(seed.values()))[0]
print(seed["base"].replies[number]["prompt"].strip())
for name in ("base", "zero"):
    reply = seed[name].replies[number]
    print(f"--- {seed[name].title}: reward {reply['score']:.0f}\n{reply['reply']}")

# %% [markdown]
# This thought shows no sudden insight. The model goes through the possible expressions in a fixed order, works each one out, compares it with the target, and stops when one is right. (The authors that *small* learned from do not write the target beside their result; those of *nano* do, for a reason given under *What went wrong*.) That is the habit of the persistent authors on the web. We did not ask the model for it, but it is what earns the reward.

# %% [markdown]
# ### The checkpoint `nano-zero`, live
#
# `nano-zero` is `nano-base` after 22 steps of reward, and it comes with the package. It is *not* the end of the recorded run that is plotted above: that run pretrained its base for 3,000 steps instead of 2,000, and then took 64 steps of reward on half as many problems each. Here is what you were asked to predict.

# %%
zero = minidsk.load_policy("nano-zero")
_ = zero.model.double()
after = evaluate(zero, test, HELD_OUT, recipe.max_new_tokens)
after_reward.reveal(after.accuracy)

# %% [markdown]
# Here are the same three problems that you saw the base try, and both models beside each other. A thought may hold a wrong sum and still earn the reward, because the verifier reads only the answer.

# %%
for posed, reply in zip(shown, greedy(zero, shown, recipe.max_new_tokens), strict=True):
    print(posed.prompt + reply, f"\n=> reward {posed.score(reply):.0f}\n")
for name, got in (("nano-base", before), ("nano-zero", after)):
    print(f"{name}: {got.accuracy:.1%} right ({got.low:.1%} to {got.high:.1%}), "
          f"{got.thought:.0f} characters per thought")

# %% [markdown]
# What does each model want to do at the fork, after `3+7+8=10+8=18?4 no`?

# %%
text = problem.prompt + "<think>3+7+8=10+8=18?4 no"
stem = torch.tensor([[tokenizer.bos_id, *tokenizer.encode(text)]])
again, stop = tokenizer.encode("\n")[0], tokenizer.encode("</think>")[0]
for name, policy in (("nano-base", base), ("nano-zero", zero)):
    with torch.no_grad():
        p = policy.model(stem).logits[0, -1].softmax(-1)
    print(f"{name}: try again {p[again]:.2f}, give up {p[stop]:.2f}")

# %% [markdown]
# The next figure shows one problem, on which most samples of the base are wrong (its greedy answer happened to be right), and six samples from each of three models: `nano-base`, the model after the eight steps of this page, and `nano-zero` after its 22 steps. Move the slider and watch the thoughts change.

# %% tags=["hide-input"]
facts = json.loads((find("nano-zero") / "config.json").read_text())["minidsk"]
moments = {0: base, settings.steps: learner, facts["settings"]["config"]["steps"]: zero}
frames = []
for policy in moments.values():
    seeded = torch.Generator().manual_seed(0)
    some = rollout(policy, [test[1]], 6, recipe.max_new_tokens, verdict, generator=seeded)
    pairs = zip(some.completions.texts, some.rewards[0].tolist(), strict=True)
    frames.append([{"text": text, "reward": reward} for text, reward in pairs])
Rollouts(test[1].prompt, list(moments), frames, title="One problem, while reward works")

# %% [markdown]
# ### Sixteen tries solve hardly more than blind guesses
#
# We give the base 16 tries at temperature 1 and count a problem as solved if any of them is right. This measures what sampling can reach before any reward. But three numbers allow few expressions, so we need a control: the next cell also draws blind guesses, which use each number once and are random otherwise. (The share of single samples differs from the ones above, because these are other problems, and only 32.)

# %%
posed, seeded = [test[i] for i in range(32)], torch.Generator().manual_seed(0)
tried = rollout(base, posed, 16, recipe.max_new_tokens, verdict, generator=seeded).rewards
once, ever = tried.mean().item(), (tried.max(1).values > 0).float().mean().item()
low, high = wilson(ever, len(posed))
print(f"base, one sample: {once:.0%} right")
print(f"any of 16 samples: {ever:.0%} ({low:.0%} to {high:.0%}), of {len(posed)} problems")

# %%
def blind(numbers: list[int], draw: random.Random) -> int:
    """The value of a random expression with each number once; + and - only, as in the task."""
    left = draw.sample(numbers, len(numbers))
    while len(left) > 1:
        i = draw.randrange(len(left) - 1)
        left[i : i + 2] = [left[i] + draw.choice((1, -1)) * left[i + 1]]
    return left[0]


draw = random.Random(0)
guesses = [[blind(list(test[i].numbers), draw) == test[i].target for _ in range(16)]
           for i in range(1000)]  # fmt: skip
print(f"a blind guess: {fmean(fmean(row) for row in guesses):.0%} right; "
      f"any of 16: {fmean(map(any, guesses)):.0%}, of {len(guesses):,} problems")

# %% [markdown]
# Any of 16 blind guesses solves nearly as many problems as any of the base's 16 samples. So the count of 16 tries says little about what the base knows. The evidence that the base had the habit is the fork above, where it tried again in a third of the cases.
#
# Reward taught the model neither arithmetic nor the habit of trying again, because the model had both from the web. Reward made a rare habit the usual one. Whether reward can do more than this is disputed for large models too {cite}`yue2025limit`.

# %% [markdown]
# ## A harder task: three and four numbers up to 99
#
# `minidsk reason --preset capstone --until zero` poses the problems on which much larger models are tried: three or four numbers from 1 to 99, and a target from 10 to 99. The model has 19 million parameters, the same parts, and a web whose best authors work backwards from the target. In less than ten minutes on one H200 it goes from random weights to R1-Zero. [The record](22b_record.ipynb) shows what such runs reached, why the first ones fell short and what repaired them, how the recipe compares on the problems of Stream of Search, what it costs, and how your own run compares.

# %% [markdown]
# ## What DeepSeek did
#
# DeepSeek-R1-Zero {cite}`deepseekr1` began with DeepSeek-V3-Base, which has 671 billion parameters, and used no worked examples. The reward was a rule with two parts: is the answer right, and does it keep the form? The objective is that of GRPO, for a group of $G$ answers $o_i$ to a question $q$:
#
# $$ J(\theta) = \mathbb{E}\left[ \frac1G \sum_{i=1}^{G} \left( \min\left( \rho_i A_i,\ \operatorname{clip}(\rho_i, 1 - \varepsilon, 1 + \varepsilon)\, A_i \right) - \beta\, \mathbb{D}_{KL} \right) \right], \quad \rho_i = \frac{\pi_\theta(o_i \mid q)}{\pi_{\theta_{old}}(o_i \mid q)} $$
#
# They report that pass@1 on AIME 2024, a mathematics competition, rose from 15.6 % to 71.0 % (in the first version of the report; the later one, in *Nature*, gives 77.9 %), and that the thoughts became longer during training, although no reward asked for length. The thoughts were hard to read and mixed languages, so R1 followed: a cold start on thousands of readable thoughts, then reward with a bonus for keeping to one language, then another round of both.
#
# All of that is from their report. Our own runs differ in four ways. They have no $\beta$ term, and no reward for the form, because our base keeps the form anyway. Our ratio is taken for each token, where the formula has one for each answer. And we average over tokens, as DAPO does {cite}`yu2025dapo`, where the formula averages over answers. Our largest model is 35 thousand times smaller than DeepSeek's and knows nothing but worksheets, so our curves say nothing about AIME.

# %% tags=["diagram", "hide-input"]
diagram("r1_pipeline")

# %% [markdown]
# ## What went wrong
#
# The runs above are not our first, and this is what failed before them, in order. `results/lab_nano` keeps what these early runs printed, under the names in parentheses.
#
# 1. **A base that cannot add (A, N1).** The first base was trained for 400 steps with large batches, and its kept samples contain wrong sums. Reward then destroyed the model: the share of right samples fell from 11 % to 0 % within 10 steps, because the samples that were right were so by luck, and taught the model nothing. The same number of tokens in smaller batches, and so in 1,000 steps, gave 96 % right equations. For so small a model, the number of steps mattered more than the size of a batch.
# 2. **The model fooled itself (P1).** Where the base still gets sums wrong, every rewarded answer has one thing in common, the word *yes*. So the model learned to write it, as in `8+4+8=11+8=20 yes`, and stopped early. Its accuracy stayed at that of one guess. It never fooled the verifier, but it fooled itself. Right sums removed this only in part: of two bases with more than 99 % of their equations right, the same reward took one (V1) from 21 % to 58 %, and the other (V3) only from 29 % to 34 %.

# %% [markdown]
# 3. **Right when sampled, stuck when greedy (N2).** At first the persistent authors of our web tried expressions at random. One base that learned from them repeated the same lines until it ran out of tokens, and solved no problem greedily, because its most likely next attempt was one that it had already made. Our persistent authors now go through the expressions in order.
# 4. **A base that cannot compare.** Good sums were not enough, as V3 shows. So we counted the verdicts of another such base, among lines whose sums are right (`verdicts.txt`). Of those that missed the target, 32 % said *yes*; of those that hit it, 56 % said *no*. It had learned how often people say *yes*, but it could not compare its result with a target dozens of characters back. Two changes fixed this: authors now write the target beside their result (`=18?4 no`), and attention stays within a page. The same count then gave 3 % and 2 %.

# %% [markdown]
# 5. **One seed lagged behind.** With 2,000 steps of pretraining, reward gained 62 and 58 points on two seeds of *nano*. It gained only 47 on the third, whose model still wrote sums like `5+5=6`. Ten more steps of reward did not fix this, but 1,000 more steps of pretraining did, with more and smaller steps of reward. Here are both records, seed by seed:

# %% tags=["hide-input"]
rows = []
for name, steps in (("reason_nano_2000", 2000), ("reason_nano", 3000)):
    for seed in sorted(folder.name for folder in results.folder(name).glob("seed*")):
        files = [f"{seed}/{stage}/evaluation.json" for stage in ("base", "zero")]
        first, last = (results.read(name, file)["row"] for file in files)
        shares = [f"{row['accuracy']:.1%}" for row in (first, last)]
        rows.append([steps, seed, *shares, f"{first['seconds'] + last['seconds']:.0f}"])
table(["steps of pretraining", "run", "base", "R1-Zero", "seconds"], rows)

# %% [markdown]
# We conclude that the base decides, because reward amplifies what the base sometimes does, including its mistakes, and does not find what the base never does.
#
# ## Exercises
#
# ```{exercise} Advantages
# :label: ex-22-advantages
#
# *10 minutes.* Write the advantages of a whole batch, `[P, G]` to `[P, G]`, without a loop. The next cell prints the task in full.
#
# **Hint.** Take the rewards 0, 1, 0, 0 from above. `keepdim=True` keeps the mean of each group next to its group.
# ```

# %%
print(describe("grpo.advantages"))


def my_advantages(rewards: torch.Tensor, eps: float) -> torch.Tensor:
    """Replace the line below by your own; rewards: [P, G]."""
    raise NotImplementedError


# check("grpo.advantages", my_advantages)

# %% [markdown]
# ```{solution-start} ex-22-advantages
# :class: dropdown
# ```

# %%
def solution(rewards: torch.Tensor, eps: float) -> torch.Tensor:
    """Subtract the group's mean, divide by its deviation."""
    return (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + eps)


check("grpo.advantages", solution)

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} Which groups teach?
# :label: ex-22-signal
#
# *5 minutes.* Write `with_signal(rewards, wanted)`: the row numbers of the first `wanted` groups that can teach anything. The task is printed below; `check("grpo.with_signal", my_signal)` knows four mistakes by name.
#
# **Hint.** Look at both ends of the ladder, and remember that rewards need not be 0 and 1.
# ```

# %%
print(describe("grpo.with_signal"))


def my_signal(rewards: torch.Tensor, wanted: int) -> torch.Tensor:
    """Replace the line below by your own; rewards: [P, G]."""
    raise NotImplementedError


# check("grpo.with_signal", my_signal)

# %% [markdown]
# ```{solution-start} ex-22-signal
# :class: dropdown
# ```

# %%
def signal_solution(rewards: torch.Tensor, wanted: int) -> torch.Tensor:
    """A group whose highest and lowest reward differ."""
    signal = rewards.amax(1) > rewards.amin(1)
    return signal.nonzero().flatten()[:wanted]


check("grpo.with_signal", signal_solution)

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} A reward that cannot be cheated
# :label: ex-22-reward
#
# *20 minutes.* Write the verifier: `reward(reply, numbers, target)`, for any text that a model may write. The task is printed below; `check("capstone.reward", my_reward)` tries thirteen replies and knows nine ways to cheat. You may use the package's parser, here called `value_of`.
#
# **Hint.** Which condition does each of the answers **a**, **c** and **d** break? Then think of a model that writes two answers.
# ```

# %%
print(describe("capstone.reward"))


def my_reward(reply: str, numbers: list[int], target: int) -> float:
    """Replace the line below by your own."""
    raise NotImplementedError


# check("capstone.reward", my_reward)

# %% [markdown]
# ```{solution-start} ex-22-reward
# :class: dropdown
# ```

# %%
def reward_solution(reply: str, numbers: list[int], target: int) -> float:
    """One answer outside the thought, a real expression, each number once, the target."""
    found = re.findall("<answer>(.*?)</answer>", reply.rpartition("</think>")[2])
    try:
        value, used, _ = value_of(found[0] if len(found) == 1 else "")
    except ValueError:
        return 0.0
    return float(value == target and sorted(used) == sorted(map(str, numbers)))


check("capstone.reward", reward_solution)

# %% [markdown]
# ```{solution-end}
# ```
#
# ## Bug zoo
#
# The package contains three wrong versions of the advantages. The test below is the rule in `silent_at_both_ends`. It accepts the right version and lets one bug escape. Write a second test that catches it; ours is in the folded cell.

# %% tags=["zoo"]
def ladder_ends(advantages) -> None:
    """All wrong and all right say nothing."""
    ends = torch.tensor([[0.0] * 4, [1.0] * 4])
    assert torch.equal(advantages(ends, 1e-4), torch.zeros(2, 4))


zoo("grpo.advantages", [ladder_ends])

# %% tags=["hide-cell"]
def one_right(advantages) -> None:
    """The four answers of this page."""
    wanted = torch.tensor([[-0.5, 1.5, -0.5, -0.5]])
    assert torch.allclose(advantages(torch.tensor([[0.0, 1, 0, 0]]), 1e-4), wanted, atol=1e-3)


zoo("grpo.advantages", [ladder_ends, one_right])

# %% [markdown]
# ## The answer, in numbers

# %% tags=["hide-input"]
for preset, seeds in runs.items():
    for name, stage in (("base", "base"), ("R1-Zero", "zero")):
        told = "{:.1f} ± {:.1f} %".format(*interval(spread_of[preset, stage]))
        print(f"{preset:5} {name:7} solves {told} of held-out problems (three seeds)")
    (first, before_it), (reward, work) = (
        [sum(seed[stage].row[key] for seed in seeds) / 3 for key in ("seconds", "flops")]
        for stage in ("base", "zero"))  # fmt: skip
    print(f"{preset:5} {first + reward:.0f} seconds of training, {reward:.0f} of them with "
          f"reward, which is {work / (before_it + work):.0%} of the operations")

# %% [markdown]
# ## Receipt

# %% tags=["receipt"]
spread = {f"recorded, {preset} {name}: accuracy, %": spread_of[preset, name]
          for preset in runs for name in ("base", "zero")}  # fmt: skip
gaps = {"advantages by hand": (advantage_gap, 1e-12), "loss by hand": (loss_gap, 1e-6)}
receipt(spread=spread, differences=gaps)

# %% [markdown]
# ## Summary
#
# Can random weights become a reasoner on one GPU? Yes: 174 seconds of training on an H100 took them to 92.8% of held-out problems (three numbers from 1 to 20, four operators, three seeds), because a verifier checked each answer.
#
# What did reward alone add? The base solves 10.0% greedily and 35 % when it is sampled, and gives up after its first attempt when it is greedy. Reward took 36 seconds and 5 % of the operations, and after it the model tries until it is right. Reward taught nothing new, but it made a rare habit of the web the usual one. From `nano-base` to `nano-zero`, the chance to try again after a first *no* went from 0.36 to 1.00.
#
# Reward added 80 to 86 points in the three seeds of *small*, and 63 to 64 in those of *nano*. The stages after it added nothing: R1 ended within half a point of R1-Zero in each seed of *small*, and 1 to 6 points below it in each seed of *nano*.
#
# - I can now carry four answers by hand through rewards, advantages, log-probabilities and a loss to one step of learning.
# - I can now say which groups teach nothing, and why a policy-gradient loss is not a loss.
# - I can now tell what reward added from what the base already had, by controls and by many samples.
# - I can now run the whole of it, `make reason`, and read its report.

# %% [markdown]
# ## Read on
#
# - DeepSeek-R1 {cite}`deepseekr1`: section 2.2 describes R1-Zero, and the supplement gives the rewards in full.
# - DeepSeekMath {cite}`deepseekmath`: section 4 introduces GRPO.
# - TinyZero {cite}`pan2025tinyzero` showed Countdown with a base of 3 billion parameters; {cite}`yue2025limit` asks what reward does not add.
# - `minidsk reason --pretrain.web.persistent 0 --out runs/lazy` removes the persistent authors from the web. Predict first what reward can still teach.
# - `minidsk chat nano-zero` lets you pose a problem of your own and watch the model think.
