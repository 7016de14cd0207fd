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
# # GRPO: a group replaces the critic
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/minidsk/minidsk/blob/main/notebooks/12_grpo.ipynb)
#
# PPO trains two networks: one that writes answers, and a critic, as large as the first, that only predicts how good an answer is going to be. GRPO removes the critic. It asks the first network for sixteen answers to the same question, and compares each answer with the other fifteen. Comparing answers is cheaper than a critic, but is it accurate enough? **By how many percentage points may a critic misjudge the chance of a right answer, before fifteen other answers are the better judge?**
#
# - **You will build** GRPO twice: in a world of fifteen answers, where everything can be computed exactly, and on a small language model, with sampling, mask, verifier, advantages, loss and training step all written in this notebook.
# - **You need** PyTorch, and the idea of a policy gradient ([chapter 10](10_from_games_to_words.ipynb)). [Chapter 11](11_human_feedback.ipynb) builds the critic that is dropped here.
# - **It takes** about a minute to run on two CPU cores of a laptop, about twice that on the two cores that Colab lends (a GPU is no faster, because everything here is small), and two hours to read. The comparisons with PPO and TRL were recorded on a GPU.

# %% tags=["hide-input"]
import importlib.util

if importlib.util.find_spec("minidsk") is None:  # Colab, for example
    source = "git+https://github.com/minidsk/minidsk"
    get_ipython().run_line_magic("pip", f"install -q 'minidsk[notebooks] @ {source}'")

# %% tags=["hide-input"]
import itertools
import math
import re
import time
from statistics import mean, median

import matplotlib.pyplot as plt
import torch
from torch import tensor

import minidsk
from minidsk import ModelConfig, results
from minidsk.diagrams import diagram, dots, show, table
from minidsk.homework import bites, check, coins, describe, predict, receipt, zoo
from minidsk.infer.evaluate import answers as greedy
from minidsk.infer.evaluate import evaluate
from minidsk.infer.noise import Noise, streams
from minidsk.presets import nano
from minidsk.report.interval import apart, interval
from minidsk.rl.config import CriticConfig, RLConfig
from minidsk.rl.critic import CriticBaseline
from minidsk.rl.grpo import group_advantages, policy_loss
from minidsk.rl.loop import update
from minidsk.rl.ppo import gae
from minidsk.rl.rollout import rollout
from minidsk.scale.cost import parameters
from minidsk.train.loop import Slices
from minidsk.train.optim import OptimConfig, Optimizer
from minidsk.widgets import Group

plt.style.use("minidsk.diagrams.look")
_ = torch.set_num_threads(1)

# %% [markdown]
# ## A world of fifteen answers
#
# *Pay 2, with coins of 1 and 2.* A **policy** is whatever chooses the next token. Here it chooses among three: `1`, `2`, and `.`, which ends the answer. After three tokens the answer is cut off. So there are fifteen possible answers, and two of them are right: `2.` and `11.`. The folded class `World` lists them.
#
# Our policy is a table, with three logits for each of the seven texts that can stand before the next token. All logits start at zero, so every token has probability one third.

# %% tags=["hide-input"]
TOKENS = "12."


class World:
    """Every answer of up to `longest` tokens: each token, and what stood before it."""

    def __init__(self, longest: int):
        rows = [itertools.product("12", repeat=n) for n in range(longest + 1)]
        *begun, unended = [["".join(row) for row in of] for of in rows]
        self.contexts = sum(begun, [])
        self.answers = [c + "." for c in self.contexts] + unended
        self.mask = torch.zeros(len(self.answers), longest, dtype=torch.float64)
        self.context, self.token = self.mask.long(), self.mask.long()
        for i, answer in enumerate(self.answers):
            for t, token in enumerate(answer):
                self.context[i, t] = self.contexts.index(answer[:t])
                self.token[i, t] = TOKENS.index(token)
                self.mask[i, t] = 1

    def pays(self, price: int) -> torch.Tensor:
        """The reward of each answer: 1 where its coins make the price and it has an end."""
        paid = [a[-1] == "." and sum(map(int, a[:-1])) == price for a in self.answers]
        return tensor(paid).double()

    def logp(self, policy: torch.Tensor) -> torch.Tensor:
        """Log-probabilities of all tokens [answers, longest]; policy [contexts, 3]: logits."""
        return policy.log_softmax(-1)[self.context, self.token] * self.mask

# %%
world = World(3)
uniform = torch.zeros(len(world.contexts), 3, dtype=torch.float64)
right = world.pays(2)
chance = world.logp(uniform).sum(1).exp() @ right
print(len(world.answers), "answers:", *world.answers)
print(f"the uniform policy is right with probability 1/9 + 1/27 = {chance:.3f}")
assert torch.equal(world.logp(uniform), coins.World(3).logp(uniform))  # the package's copy

# %% [markdown]
# This world shows what a large model hides: the true **gradient** of the probability of being right, which says how much each logit would raise it. Every method in this chapter only estimates this gradient.

# %%
leaf = uniform.clone().requires_grad_()
(world.logp(leaf).sum(1).exp() @ right).backward()
truth = leaf.grad.flatten()
rows = [[context or "nothing", *(f"{g:+.3f}" for g in row)]
        for context, row in zip(world.contexts, leaf.grad.tolist(), strict=True)]  # fmt: skip
table(["after", *TOKENS], rows, "The true gradient: a row per context, a column per token.")

# %% [markdown]
# The first row says: begin with a 2 rather than a 1, and do not stop at once. In the last three rows the answer is already wrong, so nothing matters.
#
# ## What goes wrong first: rewards of 9 and 10
#
# REINFORCE, from [chapter 10](10_from_games_to_words.ipynb), samples some answers, multiplies the gradient of each one's log-probability (its **score**) by its reward, and averages. On average this gives the true gradient.
#
# Adding 9 to every reward changes neither which answers are better nor the expected gradient. But then every answer, right or wrong, is pushed up with a force of 9 or 10, and the useful signal is a small difference between large forces. Let a learner try:

# %%
def learn(weigh, steps=60, group=16, rate=2.0, seed=0) -> list[float]:
    """REINFORCE on groups; gradients are multiplied by weigh(rewards). Chances of right."""
    policy, generator = uniform.clone().requires_grad_(), torch.Generator().manual_seed(seed)
    chances = []
    for _ in range(steps + 1):
        logp = world.logp(policy)
        p = logp.detach().sum(1).exp()
        chances.append((p @ right).item())
        drawn = torch.multinomial(p, group, replacement=True, generator=generator)
        loss = -(weigh(right[drawn]) * logp[drawn].sum(1)).mean()
        step = rate * torch.autograd.grad(loss, policy)[0]
        policy = (policy - step).detach().requires_grad_()
    return chances

# %%
ways = {"0 and 1": lambda r: r, "9 and 10": lambda r: r + 9,
        "9 and 10, minus the mean": lambda r: (r + 9) - (r + 9).mean()}  # fmt: skip
climbs = {name: [learn(way, seed=seed) for seed in range(20)] for name, way in ways.items()}
for name, runs in climbs.items():
    found, stuck = sum(run[-1] > 0.9 for run in runs), sum(run[-1] < 0.1 for run in runs)
    print(f"rewards {name:24}: {found:2} of 20 runs are right, {stuck:2} are stuck")

# %% tags=["figure", "hide-input"]
fig, axes = plt.subplots(1, 2, sharey=True)
for ax, name in zip(axes, list(climbs)[1:], strict=True):
    for run in climbs[name]:
        _ = ax.plot(run, color="C0" if run[-1] > 0.9 else "C1", lw=1, alpha=0.6)
    _ = ax.set(title=f"rewards {name}", xlabel="step")
_ = axes[0].set(ylabel="chance of a right answer")
lost = [sum(run[-1] < 0.1 for run in climbs[name]) for name in list(climbs)[1:]]
show(fig, f"With rewards of 9 and 10, {lost[0]} of 20 runs get stuck on a wrong answer "
     f"(orange); with the mean subtracted, {lost[1]} of 20 do.",
     "Two panels of 20 lines, the chance of a right answer over 60 steps, at first "
     f"{chance:.2f}. Left, rewards of 9 and 10: {20 - lost[0]} lines jump to 1, {lost[0]} "
     f"fall to 0. Right, minus the mean: {20 - lost[1]} lines rise to 1 in about 20 steps.")

# %% [markdown]
# With rewards of 9 and 10, most runs get stuck on a wrong answer that they happened to sample early. The right panel shows the fix: **subtract the reward that was to be expected**, so that an average answer is not pushed at all. The expected reward is called the **baseline**, and the difference is called the **advantage**. The question is who should provide the baseline.
#
# PPO's answer {cite}`schulman2017ppo` is a **critic**: a network that reads question and answer and predicts the reward. For DeepSeek-V3, that would be a second V3. Training takes 2 bytes per weight, 2 for its gradient, and 12 for the optimizer (a float32 copy of the weight, and two moments).

# %%
weights = parameters(ModelConfig.from_dict({"model_type": "deepseek_v3"}))
print(f"a critic for V3: {weights / 1e9:.0f} billion weights")
print(f"to train it: {16 * weights / 1e12:.1f} terabytes, "
      f"{math.ceil(16 * weights / 80e9)} GPUs of 80 gigabytes")

# %% [markdown]
# GRPO's answer {cite}`deepseekmath` is the right panel above: the baseline is the mean of the group. (The group has a price: sixteen answers to one question cover one question. Methods that need only one answer per question could have covered sixteen.) The picture shows all three judges, with one reply to the same problem.

# %% tags=["diagram", "hide-input"]
diagram("who_judges")

# %% [markdown]
# How good is the mean of a group? Guess before you run on: a question is answered correctly half of the time. A critic says 0.5, plus or minus some error. How large may the error be, in percentage points, before fifteen other answers are the better judge? Replace `None` by a number; the tally stays on your machine.

# %% tags=["prediction", "hide-input"]
guess = None
question = "How many points may a critic be off, to be as good as 15 other answers?"
margin = predict("grpo.critic", question, guess, example=3)
margin

# %% [markdown]
# ## Four answers, by hand
#
# Suppose the policy gave these four answers to *pay 2*. We keep them for the whole chapter: **a** says `2.` and is right; **b** says `1.`, which is too little; **c** says `22.`, which is too much; **d** says `121` and never ends.
#
# **Rewards become advantages.** The rewards are **1, 0, 0, 0** and the lengths **2, 2, 3, 3** tokens. The mean is $\frac14$, so the deviations are $\frac34, -\frac14, -\frac14, -\frac14$, and their squares add up to $\frac34$. Dividing by $4 - 1$ gives $\frac14$, whose root, the standard deviation, is $\frac12$. GRPO divides by it and gets $+\frac32, -\frac12, -\frac12, -\frac12$. Here is the same rule for none, one, two, three and four right answers:

# %%
ladder = torch.ones(5, 4).double().tril(-1)  # no right answer, one, two, three, four
by_group = group_advantages(ladder)
for row, advantages in zip(ladder.tolist(), by_group.tolist(), strict=True):
    print([int(r) for r in row], "->", [round(a, 2) for a in advantages])

# %% [markdown]
# Remember the advantages **+1.5, -0.5, -0.5, -0.5**. At both ends of the ladder all advantages are zero: where all four fail, the group does not show what would be better, and where all four succeed, there is nothing to prefer.
#
# **Advantages become a loss.** Every token gets the advantage of its answer. Every token had probability $\frac13$, so its log-probability was **-1.10**. The policy has not changed since it was sampled, so the ratio of its probabilities now and then is 1, and the loss is minus an average of the advantages. Averaged within answers first, it is $-(1.5 - 0.5 - 0.5 - 0.5)/4 = 0$. Averaged over all ten tokens, it is $-(2 \cdot 1.5 - 2 \cdot 0.5 - 3 \cdot 0.5 - 3 \cdot 0.5)/10 = 0.1$.

# %%
group = [world.answers.index(answer) for answer in ("2.", "1.", "22.", "121")]
old, mask, advantages = world.logp(uniform)[group], world.mask[group], by_group[1]
print("log-probabilities", [[round(x, 2) for x in row if x] for row in old.tolist()])
for loss_type, what in (("grpo", "answers"), ("dapo", "tokens")):
    loss, _ = policy_loss(old, old, advantages, mask, loss_type=loss_type)
    print(f"loss averaged over {what:7}: {abs(loss.item()):.3f}")

# %% [markdown]
# **A loss becomes a step.** The gradient of a token's log-probability with respect to the logits is 1 at that token, minus the probabilities. The first tokens of the four answers are 2, 1, 2, 1, and their advantages add up to 0, so the probabilities cancel. For the three logits of the first token, $(-0.5 - 0.5,\ 1.5 - 0.5,\ 0) = (-1, +1, 0)$ remains.

# %%
leaf = uniform.clone().requires_grad_()
(advantages[:, None] * world.logp(leaf)[group]).sum().backward()
pull = leaf.grad[0].tolist()
shown = "  ".join(f"{x}: {g:+.1f}" for x, g in zip(TOKENS, pull, strict=True))
print("pull at the first token's logits:", shown)
after = world.logp(uniform + 0.1 * leaf.grad)[group].sum(1)
for name, a, then, now in zip("abcd", advantages, old.sum(1), after, strict=True):
    print(f"{name}: advantage {a:+.1f}, log-probability {then:.2f} -> {now:.2f}")

# %% [markdown]
# *Begin with a 2 rather than a 1*: four answers without a critic found this part of the first row of the true gradient. They did not find *do not stop at once*, because none of the four stopped at once.
#
# ## GRPO in twenty lines
#
# Two parts matter once a group is used for more than one step: the **ratio** compares a token's probability now with its probability when it was sampled, and the **clip** stops pushing a token that has already moved far enough.

# %% tags=["naive"]
def grpo_loss(logp, old, rewards, lengths, low=0.2, high=0.2):
    """The loss of one group, token by token; logp and old [G, T]; G rewards and lengths."""
    average = sum(rewards) / len(rewards)
    deviation = (sum((r - average) ** 2 for r in rewards) / (len(rewards) - 1)) ** 0.5
    total = 0
    for i, length in enumerate(lengths):
        advantage = (rewards[i] - average) / (deviation + 1e-4)
        answer = 0
        for t in range(int(length)):
            ratio = torch.exp(logp[i, t] - old[i, t])
            clipped = ratio.clamp(1 - low, 1 + high)
            answer = answer + torch.minimum(ratio * advantage, clipped * advantage)
        total = total + answer / length
    return -total / len(rewards)

# %%
def small_step(policy, right, generator, group=16, rate=2.0):
    """Draw a group, compare it with itself, take one step."""
    p = world.logp(policy).sum(1).exp()
    drawn = torch.multinomial(p, group, replacement=True, generator=generator)
    leaf = policy.clone().requires_grad_()
    now, then = world.logp(leaf)[drawn], world.logp(policy)[drawn]
    loss = grpo_loss(now, then, right[drawn], world.mask[drawn].sum(1))
    return policy - rate * torch.autograd.grad(loss, leaf)[0], loss.item()

# %% [markdown]
# ### The package gives the same loss
#
# The package's `group_advantages` and `policy_loss` do the same for many groups at once. We compare values and gradients on random answers, after the policy has moved. (The package's tests also compare both functions with the library TRL.)

# %% tags=["agree", "hide-input"]
g = torch.Generator().manual_seed(0)
some_old = torch.randn(8, 6, generator=g, dtype=torch.float64) - 2
some_new = some_old + 0.3 * torch.randn(8, 6, generator=g, dtype=torch.float64)
_ = some_new.requires_grad_()
some_rewards = torch.rand(8, generator=g, dtype=torch.float64)
some_lengths = torch.randint(1, 7, (8,), generator=g)
some_mask = torch.arange(6) < some_lengths[:, None]
slow = grpo_loss(some_new, some_old, some_rewards, some_lengths)
advantage = group_advantages(some_rewards[None])[0]
fast, stats = policy_loss(some_new, some_old, advantage, some_mask)
slopes = [torch.autograd.grad(loss, some_new)[0] for loss in (slow, fast)]
difference = max((slow - fast).abs().item(), (slopes[0] - slopes[1]).abs().max().item())
assert difference < 1e-12
print("largest difference: below 1e-12; {clipped_high:.0%} of tokens are clipped from above"
      .format(**stats))

# %% [markdown]
# ### A sanity check: the policy must collapse
#
# Before we trust a method, we give it a task whose outcome we know. With a reward and no penalty, the policy must become right. Here it also **collapses**: its entropy, which measures in nats how undecided it is, falls to nearly zero. Two answers are right, but the one that is sampled more often early is pushed up more often, until it is nearly the only one left. A run whose entropy stays near its first value has a bug.
#
# A test is worth something only if it can fail. So we plant a natural bug, here a step in the wrong direction, and the folded function `bites` sees that the test accepts the right version and catches the wrong one. We will do so with each part of the method.

# %%
def collapse(step, steps=200):
    """Chance of a right answer, entropy and loss after some steps of a learner."""
    policy, generator, seen = uniform, torch.Generator().manual_seed(0), []
    for _ in range(steps + 1):
        p = world.logp(policy).sum(1).exp()
        policy, loss = step(policy, right, generator)
        seen.append(((p @ right).item(), -(p * p.clamp(min=1e-30).log()).sum().item(), loss))
    return seen


seen = collapse(small_step)
table(["step", "right", "entropy, nats", "loss"],
      [[k, *(f"{abs(x):.3f}" for x in seen[k])] for k in (0, 10, 20, 40, 80, 200)])

# %%
def becomes_right_and_collapses(step) -> None:
    chance, entropy, _ = collapse(step)[-1]
    assert chance > 0.99
    assert entropy < 0.1


def climbs_the_loss(policy, right, generator):
    return small_step(policy, right, generator, rate=-2.0)


bites(becomes_right_and_collapses, small_step, climbs_the_loss)

# %% [markdown]
# ```{warning}
# While the policy went from 15 % to 99 %, **the loss was 0 at every step** (the last column). In the first step on a group every ratio is 1, so the loss is minus the mean of the advantages, and they add up to 0 by construction. (The average over tokens, which gave 0.1 above, is not always 0, but says as little.) So the loss is 0 for every policy, and only its gradient carries information. Watch the reward, the entropy and the lengths.
# ```
#
# Change the verdicts of our four answers, and see how hard each token is pushed.

# %% tags=["widget"]
Group(["2.", "1.", "22.", "121"], [1, 0, 0, 0], title="Pay 2: four answers judge each other")

# %% [markdown]
# ## GRPO on a language model, in the open
#
# Now we write the whole method for a language model. We import the model, and functions that test it. `nano-base` is a DeepSeek-V3 of 0.4 million parameters that has read worksheets about **Countdown**: reach a target from given numbers, using each exactly once. It knows `+`, `-` and three numbers up to 12.

# %% tags=["diagram", "hide-input"]
diagram("grpo_loop")

# %%
learner, untrained = minidsk.load_policy("nano-base"), minidsk.load_policy("nano-base")
model, tokenizer = learner.model.double(), learner.tokenizer
_ = untrained.model.double()  # 16 digits, so that your processor draws what ours drew
train, test = nano().make_task("train"), nano().make_task("test")
problem = train[0]
print(problem.prompt, "numbers", problem.numbers, "target", problem.target)
print(greedy(learner, [problem], 160)[0])

# %% [markdown]
# Between `<think>` and `</think>` the model thinks. Each line tries one expression, works it out, and notes the target and a verdict. The answer follows.
#
# ### The verifier
#
# The reward is computed from the text of the answer. A model under training finds every weakness of its verifier, so we parse the text and never evaluate it as code. Our parser knows numbers, `+`, `-` and parentheses. The verifier then looks for exactly one answer outside the thought, and asks whether it uses each number once and reaches the target. It never looks at the thought itself. The natural bug is to look for the target in the text: a policy that is paid for saying 18 learns to say 18.

# %%
def total(tokens: list[str], used: list[int]) -> int:
    """Terms, added and subtracted from left to right; `used` collects the numbers."""
    result = term(tokens, used)
    while tokens and tokens[0] in "+-":
        result += term(tokens, used) if tokens.pop(0) == "+" else -term(tokens, used)
    return result


def term(tokens: list[str], used: list[int]) -> int:
    """A number, or a sum in parentheses; ValueError for anything else."""
    token = tokens.pop(0) if tokens else ""
    if token == "(":
        inside = total(tokens, used)
        if not tokens or tokens.pop(0) != ")":
            raise ValueError("a parenthesis stays open")
        return inside
    used.append(int(token))
    return used[-1]

# %%
def verify(problem, reply: str) -> float:
    """1 for a reply whose one answer is right, else 0."""
    answers = re.findall(r"<answer>([^<>]{1,50})</answer>", reply.rpartition("</think>")[2])
    if len(answers) != 1 or reply.count("<answer>") != 1:
        return 0.0
    tokens, used = re.findall(r"[0-9]+|.", answers[0]), []
    try:
        reached = total(tokens, used)
    except ValueError:
        return 0.0
    exact = not tokens and sorted(used) == sorted(problem.numbers)
    return float(exact and reached == problem.target)

# %%
tries = ["8+4+6", "8-4-6", "6+6+6", "(8+4)+6", "8+4+6=18", "__import__('os')", "((((8"]
replies = [f"<think></think><answer>{text}</answer>" for text in tries]
verdicts = [int(verify(problem, reply)) for reply in replies]
assert verdicts == [problem.score(reply) for reply in replies]  # the package's verifier
table(["to make 18 from 6, 8 and 4", "reward"], list(zip(tries, verdicts, strict=True)))

# %%
def a_claim_is_no_answer(verify) -> None:
    """The answer is wrong, but its text ends in the target."""
    assert verify(problem, "<think></think><answer>8-4=18</answer>") == 0


def looks_for_the_target(problem, reply):
    return float(str(problem.target) in reply.rpartition("</think>")[2])


bites(a_claim_is_no_answer, verify, looks_for_the_target)

# %% [markdown]
# ### Sampling a group, token by token
#
# Each turn of this loop asks the model for the probabilities of the next token, draws one token for each answer, and keeps the log-probability of what was drawn. The cache of [chapter 2](02_latent_attention.ipynb) remembers what was read before, so only the new token goes through the model.

# %%
@torch.no_grad()
def sample(model, prompts, size, longest, generator, draw=torch.multinomial):
    """`size` answers to each prompt: ids [N, L + T], log-probabilities of answers [N, T]."""
    ids = new = prompts.repeat_interleave(size, 0)
    cache, drawn_logp = model.new_cache(len(ids), ids.shape[1] + longest), []
    running = torch.ones(len(ids), dtype=torch.bool)
    while running.any() and len(drawn_logp) < longest:
        logp = model(new, cache=cache).logits[:, -1].float().log_softmax(-1)
        drawn = draw(logp.exp(), 1, generator=generator)
        drawn_logp.append(logp.gather(1, drawn))
        new = torch.where(running[:, None], drawn, tokenizer.pad_id)
        ids = torch.cat((ids, new), 1)
        running &= drawn[:, 0] != tokenizer.eos_id
    return ids, torch.cat(drawn_logp, 1)

# %%
def encoded(problem) -> list[int]:
    """The tokens of a problem's prompt."""
    return [tokenizer.bos_id, *tokenizer.encode(problem.prompt)]


prompt = tensor([encoded(problem)])
width = prompt.shape[1]
ids, then = sample(model, prompt, 16, 128, torch.Generator().manual_seed(0))
print(f"prompt: {width} tokens; ids {list(ids.shape)}; log-probabilities {list(then.shape)}")

# %% [markdown]
# ### The mask: which tokens did the model write?
#
# The rows of `ids` hold three kinds of tokens. The author of the problem wrote the prompt, and the model wrote the answer, including the token that ends it. The rest is padding, because some answers are longer than others. The loss may count only the answer.

# %%
def answer_mask(ids, width):
    """1 on the tokens of each answer and on its end; `width` tokens of prompt come first."""
    place = torch.arange(ids.shape[1])
    is_end = (ids == tokenizer.eos_id) & (place >= width)
    ended_before = is_end.cumsum(1) - is_end.long() > 0
    return ((place >= width) & ~ended_before).double()


def texts_of(ids, mask):
    """Each answer as text, without its end."""
    rows = [row[kept > 0].tolist() for row, kept in zip(ids, mask, strict=True)]
    return [tokenizer.decode([i for i in row if i != tokenizer.eos_id]) for row in rows]


mask = answer_mask(ids, width)
texts = texts_of(ids, mask)
print("lengths", mask.sum(1).long().tolist())
print(texts[0])

# %% [markdown]
# ### Log-probabilities then and now
#
# One pass through the model gives the log-probabilities of all tokens at once, this time with a gradient. Mind the positions: the logits at position $t$ predict the token at position $t + 1$. So we drop the last logits and the first token, and the mask has to move along.

# %%
def logprobs(model, ids):
    """Log-probabilities of all tokens but the first, given those before: [N, L + T - 1]."""
    logp = model(ids[:, :-1]).logits.log_softmax(-1)
    return logp.gather(-1, ids[:, 1:, None]).squeeze(-1)


now, counted = logprobs(model, ids), mask[:, 1:]
old = torch.cat((torch.zeros(len(ids), width - 1), then), 1).double()  # 0 in the prompt

# %% tags=["hide-input"]
row, end, rows = 2, width - 1 + int(counted[2].sum()), []
for t in (*range(width - 4, width + 5), *range(end - 2, end + 2)):
    whose = "prompt" if t < width - 1 else "model" if counted[row, t] else "padding"
    token = repr(tokenizer.decode([ids[row, t + 1].item()]))
    pair = [f"{round(x.item(), 2) + 0.0:.2f}" for x in (old[row, t], now[row, t])]
    rows.append([token, whose, int(counted[row, t]), *pair])
table(["token", "written by", "mask", "then", "now"], rows,
      "One answer with the end of its prompt; the middle of the answer is left out.")

# %% [markdown]
# On the tokens with mask 1, the log-probabilities then and now agree, because the model has not moved yet. What stands at the other places does not matter, because the mask multiplies it by 0. Keep this agreement as a check, because it fails as soon as anything is shifted by one place:

# %%
def nothing_has_moved_yet(mask_of) -> None:
    """On all tokens that count, the log-probabilities then and now are the same."""
    assert ((now - old) * mask_of(ids, width)).abs().max() < 1e-5


def aligned(ids, width):
    return answer_mask(ids, width)[:, 1:]  # the first token has no prediction


def shifted(ids, width):
    return answer_mask(ids, width)[:, :-1]


bites(nothing_has_moved_yet, aligned, shifted)

# %% [markdown]
# ### Rewards, advantages, loss
#
# From here on everything is as in the small world. Sixteen answers to one question are one group. The natural bug is to compare with the whole batch instead.

# %%
def advantages_of(rewards, eps=1e-4):
    """Each reward minus its group's mean, divided by its deviation; rewards [P, G]."""
    less = rewards - rewards.mean(1, keepdim=True)
    return less / (rewards.std(1, keepdim=True) + eps)


def clipped_loss(now, old, advantages, mask, low=0.2, high=0.2):
    """GRPO's loss for all answers at once; advantages [N], the others [N, tokens]."""
    ratio, a = (now - old).exp(), advantages[:, None]
    objective = torch.minimum(ratio * a, ratio.clamp(1 - low, 1 + high) * a) * mask
    return -(objective.sum(1) / mask.sum(1)).mean()

# %%
rewards = tensor([[verify(problem, text) for text in texts]]).double()
advantages = advantages_of(rewards).flatten()
loss = clipped_loss(now, old, advantages, counted)
print("rewards   ", rewards[0].long().tolist())
print("advantages", sorted({round(a, 2) for a in advantages.tolist()}))
by_loops = grpo_loss(now[:, width - 1 :], old[:, width - 1 :], rewards[0], mask.sum(1))
assert abs(loss.item() - by_loops.item()) < 1e-6
print("the twenty lines of above give the same loss: largest difference below 1e-6")

# %%
def groups_do_not_mix(advantages_of) -> None:
    """An easy question and a hard one, each with one answer that differs from the rest."""
    easy, hard = advantages_of(tensor([[1.0, 1, 1, 0], [0, 0, 0, 1]]))
    assert abs(easy.sum()) < 1e-5
    assert abs(easy[0] + hard[0]) < 1e-5


def one_mean_for_all(rewards):
    return (rewards - rewards.mean()) / (rewards.std() + 1e-4)


bites(groups_do_not_mix, advantages_of, one_mean_for_all)

# %% [markdown]
# ### Train it
#
# The function below is all of GRPO. We pose 4 problems per step and sample 16 answers to each. To keep padding out of the prompts, we pose only problems whose prompts have the same number of tokens.

# %%
def grpo_step(model, optimizer, problems, size, longest, generator):
    """Sample, verify, compare, take one step: the share right, and the mean length."""
    prompts = tensor([encoded(problem) for problem in problems])
    ids, then = sample(model, prompts, size, longest, generator)
    mask = answer_mask(ids, prompts.shape[1])
    posed = [problem for problem in problems for _ in range(size)]
    verdicts = [verify(p, text) for p, text in zip(posed, texts_of(ids, mask), strict=True)]
    rewards = tensor(verdicts).double().view(len(problems), size)
    old = torch.cat((torch.zeros(len(ids), prompts.shape[1] - 1), then), 1).double()
    advantages = advantages_of(rewards).flatten()
    clipped_loss(logprobs(model, ids), old, advantages, mask[:, 1:]).backward()
    _ = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return rewards.mean().item(), mask.sum(1).mean().item()

# %%
same_width = [p for p in map(train.__getitem__, range(200)) if len(encoded(p)) == width]
optimizer = torch.optim.AdamW(model.parameters(), lr=6e-4, betas=(0.9, 0.99), weight_decay=0.0)
before, generator, curve = evaluate(learner, test, 128, 160), torch.Generator(), []
_ = generator.manual_seed(0)
for step in range(8):
    curve.append(grpo_step(model, optimizer, same_width[4 * step :][:4], 16, 128, generator))

# %%
for step in range(8, 16):
    curve.append(grpo_step(model, optimizer, same_width[4 * step :][:4], 16, 128, generator))

# %% tags=["figure", "hide-input"]
parts = curve[:4], curve[-4:]
first, last = [[mean(of) for of in zip(*part, strict=True)] for part in parts]
assert last[0] > first[0]
fig, axes = plt.subplots(1, 2, figsize=(7.5, 3))
for k, title in enumerate(("share right among 64 samples", "tokens per answer")):
    _ = axes[k].plot(range(1, 17), [numbers[k] for numbers in curve], "o-")
    _ = axes[k].set(xlabel="step", title=title, ylim=(0, None), xticks=range(2, 17, 2))
show(fig, "Sixteen steps of GRPO: more samples are right, and the answers become longer.",
     f"Two jagged lines over 16 steps: the share right, {first[0]:.2f} in the first four and "
     f"{last[0]:.2f} in the last four, and tokens per answer, {first[1]:.0f} and "
     f"{last[1]:.0f}.")

# %% tags=["hide-input"]
after = evaluate(learner, test, 128, 160)
for name, got in (("before", before), ("after 16 steps", after)):
    print(f"{name:15} {got.accuracy:.0%} of 128 problems ({got.low:.0%} to {got.high:.0%})")
some = [test[i] for i in range(16)]
replies = [greedy(policy, some, 160) for policy in (untrained, learner)]
shown = next(three for three in zip(some, *replies, strict=True)
             if verify(three[0], three[1]) < verify(three[0], three[2]) and "no\n" in three[2])
print("\n{.prompt}--- before\n{}\n--- after\n{}".format(*shown))

# %% [markdown]
# The greedy model, which always takes the likeliest token, went from a quarter of the held-out problems to well over half, by verdicts alone. Before training it gave up after the first failed attempt. Nothing in the reward mentions trying again, so why does it try again now? We draw samples from the base model with the package's `rollout` (16 answers to each of 48 problems), and look at the fork after a first *no*.

# %%
accuracy_alone, seeded = {"accuracy": 1.0}, torch.Generator().manual_seed(0)
posed = [train[i] for i in range(48)]
earlier = rollout(untrained, posed, 16, 160, accuracy_alone, generator=seeded)
thoughts = [text.partition("</think>")[0] for text in earlier.completions.texts]
once = tensor(["\n" not in thought for thought in thoughts])
for what, which in (("one attempt", once), ("more attempts", ~once)):
    share = earlier.rewards.flatten()[which].mean()
    print(f"before, {int(which.sum())} samples with {what}: {share:.0%} right")

# %%
stem = tensor([[*encoded(problem), *tokenizer.encode("<think>8-6+4=2+4=6?18 no")]])
for name, policy in (("before", untrained), ("after", learner)):
    with torch.no_grad():
        p = policy.model(stem).logits[0, -1].softmax(-1)
    again, stop = (p[tokenizer.encode(text)[0]] for text in ("\n", "</think>"))
    print(f"{name:6}: after a first no, try again {again:.2f}, give up {stop:.2f}")

# %% [markdown]
# Among the samples of the base model, answers with more than one attempt were right far more often. So their tokens had positive advantages more often, and the habit spread. The last two lines above show the fork at which the model decides.
#
# Why does the greedy accuracy rise more than the share right among samples? Greedy decoding takes the likelier token at every fork. Before training, giving up is likelier, so greedy answers rarely try twice. Once trying again is likelier, they always do. A sampled answer changes only as far as the probability has moved.
#
# This is one seed of a short run, made to be watched. [Chapter 22](22_capstone.ipynb) has three seeds, a control, and runs to the end.
#
# ### The package does the same
#
# The package's loop is longer than ours, because it pads prompts, saves, resumes, and cuts a batch into slices. Underneath, it computes the same numbers: with the same noise, `rollout` draws the same tokens. (The package gives each answer random numbers of its own, so that an answer does not depend on the others in the batch. We hand the same numbers to our loop.) For everything behind the sampling, we let the package sample whole answers, and compute rewards, advantages, loss and one optimizer step from them both ways.

# %% tags=["hide-input"]
twin = minidsk.load_policy("nano-base")
_ = twin.model.double()
posed = same_width[:4]
prompts = tensor([encoded(p) for p in posed])
seeded = torch.Generator().manual_seed(1)
numbers = Noise(streams(seeded, 64, prompts.device), tokenizer.vocab_size)
ours, ours_logp = sample(untrained.model, prompts, 16, 128, None,
                         lambda p, _, generator: (p / numbers.next()).argmin(1, keepdim=True))
theirs = rollout(twin, posed, 16, 128, accuracy_alone,
                 generator=seeded.manual_seed(1)).completions
assert torch.equal(ours, theirs.ids)
sampling_gap = ((ours_logp - theirs.logp) * theirs.mask).abs().max().item()
assert sampling_gap < 1e-6
print(f"{ours.numel():,} tokens are the same; their log-probabilities, "
      "largest difference: below 1e-6")

# %% tags=["hide-input"]
drawn = rollout(twin, posed, 16, 128, accuracy_alone, generator=seeded.manual_seed(2))
done = drawn.completions
mask = answer_mask(done.ids, width)
verdicts = [verify(p, text) for p, text in zip(drawn.posed, done.texts, strict=True)]
rewards = tensor(verdicts).double().view(4, 16)
advantages = advantages_of(rewards)
old = torch.cat((torch.zeros(64, width - 1), done.logp), 1).double()
now, now_theirs = logprobs(untrained.model, done.ids), twin.logprobs(done)
loss = clipped_loss(now, old, advantages.flatten(), mask[:, 1:])
theirs, _ = policy_loss(now_theirs, done.logp, advantages.flatten(), done.mask)
gaps = {
    "mask": mask[:, width:] - done.mask.double(),
    "rewards": rewards - drawn.rewards,
    "log-probabilities": (now[:, width - 1 :] - now_theirs) * done.mask,
    "advantages": advantages - group_advantages(drawn.rewards.double()),
    "loss": loss - theirs,
}

# %% tags=["hide-input"]
weights = list(untrained.model.parameters())
mine = torch.optim.AdamW(weights, lr=6e-4, betas=(0.9, 0.99), weight_decay=0.0)
loss.backward()
_ = torch.nn.utils.clip_grad_norm_(weights, 1.0)
mine.step()
config = RLConfig(loss_type="grpo", clip_high=0.2, rows=16)
theirs = Optimizer(twin.model, OptimConfig(lr=6e-4, betas=(0.9, 0.99)), steps=1)
_ = update(twin, theirs, Slices(config.rows), drawn, advantages.flatten(), config)
pairs = zip(weights, twin.model.parameters(), strict=True)
step_gap = max((a - b).abs().max().item() for a, b in pairs)
gaps["all weights after one step"] = tensor(step_gap)
for name, gap in gaps.items():
    assert gap.abs().max().item() < 1e-6
    print(f"{name:27} largest difference below 1e-6")

# %% [markdown]
# So `minidsk zero` on the command line runs the loop that you have just read.
#
# ## How good must a critic be?
#
# The method works. We can now answer the opening question. Suppose the true chance of a right answer is $p$, and we use some other number $b$ as the baseline. The expected gradient does not change, because the scores of all answers average to zero. Only the noise changes. A baseline that is wrong by $b - p$ adds variance in proportion to $(b - p)^2$, if it is too high as often as too low.
#
# For a critic, $(b - p)^2$ is its squared error. For a group, $b$ is the mean of the other $G - 1$ answers, and the expected $(b - p)^2$ is the variance of that mean, $p(1-p)/(G-1)$. Setting the two equal gives the error at which a critic is exactly as good as a group:
#
# $$ |b - p| = \sqrt{\frac{p\,(1-p)}{G-1}}. $$
#
# If you have not guessed yet, do so before you reveal the number.

# %%
def as_good_as(p: float, size: int) -> float:
    """The error of a critic that is as good a judge as the other answers of a group."""
    return math.sqrt(p * (1 - p) / (size - 1))

# %% tags=["hide-input"]
margin.reveal(100 * as_good_as(0.5, 16))

# %% [markdown]
# How much would a better critic help? The baseline's noise is only a part of all noise, because a single answer is either right or wrong, and no judge changes that. So we compute *all* of the noise of one answer's gradient in our world. For the group we leave the answer out of its own mean, an estimator called RLOO {cite}`kool2019buy`, so that the expected step is the gradient itself.
#
# PPO's critic can do more than judge questions. Before every token it predicts what the answer is going to be worth, so it can tell which token was the mistake: after `2` the chance of success is one third, and after `21` it is zero. A group has only one verdict for the whole answer. So we add a perfect critic of *tokens*, whose values `gae` ([chapter 11](11_human_feedback.ipynb)) turns into advantages. With $\lambda = 1$ it compares the final reward with the value before each token, and with $\lambda = 0$ the value after a token with the value before it. The computation is folded; it tests its formula for groups by sampling, and our answer to the opening question too.

# %% tags=["hide-input"]
leaf = uniform.clone().requires_grad_()
logp = world.logp(leaf).sum(1)
score = torch.stack([torch.autograd.grad(one, leaf, retain_graph=True)[0].flatten()
                     for one in logp])  # fmt: skip
probability = logp.detach().exp()
assert torch.allclose((probability * right) @ score, truth)


def noise(weight: torch.Tensor) -> float:
    """The noise of one answer's gradient, in multiples of the gradient; weight: of scores."""
    each = weight[:, None] * score
    variance = probability @ each.square().sum(1) - (probability @ each).square().sum()
    return (variance / truth.square().sum()).sqrt().item()


def off_by(error: float) -> float:
    """As `noise`, for a critic that is as often too high as too low by this error."""
    each = [noise(right - chance - e) for e in (error, -error)]
    return math.sqrt(mean(n**2 for n in each))

# %% tags=["hide-input"]
def group_noise(size: int) -> float:
    """As `noise`, for an answer in a group, whose gradient is a mean over pairs of answers."""
    pairs = (score[:, None] - score) * (right[:, None] - right)[..., None] / 2
    one = torch.einsum("y,xyk->xk", probability, pairs)
    square = truth.square().sum()
    alone = probability @ one.square().sum(1) - square
    both = probability @ pairs.square().sum(-1) @ probability - square
    return ((4 * (size - 2) * alone + 2 * both) / (size - 1) / square).sqrt().item()


seeded = torch.Generator().manual_seed(0)
drawn = torch.multinomial(probability, 80_000, True, generator=seeded).view(-1, 4)
less = (right[drawn] - right[drawn].mean(1, keepdim=True)) * 4 / 3  # the others' mean
steps = (less[..., None] * score[drawn]).mean(1)
sampled = (4 * steps.var(0).sum() / truth.square().sum()).sqrt().item()
assert abs(sampled / group_noise(4) - 1) < 0.02
equal = as_good_as(chance.item(), 16)
assert abs(off_by(equal) / group_noise(16) - 1) < 0.01
print(f"group of 16: noise {group_noise(16):.2f}; "
      f"a critic {100 * equal:.1f} points off: {off_by(equal):.2f}")

# %% tags=["hide-input"]
p = world.logp(uniform).sum(1).exp()
begun = tensor([[a.startswith(c) for a in world.answers] for c in world.contexts]).double()
values = begun @ (p * right) / (begun @ p)  # the chance of being right from each context
last = torch.nn.functional.one_hot(world.mask.sum(1).long() - 1, 3).double()
onehot = torch.nn.functional.one_hot(world.token, 3).double() - 1 / 3  # each token's score
judges = {"no baseline": noise(right)}
judges |= {f"a critic {100 * e:.0f} points off": off_by(e) for e in (0.3, 0.2)}
judges |= {f"the group of {size}": group_noise(size) for size in (2, 4, 16)}
judges["a perfect critic of the question"] = noise(right - chance)
for lam in (1.0, 0.0):  # nothing is discounted
    expected = values[world.context] * world.mask
    advantage, _ = gae(last * right[:, None], expected, world.mask, 1.0, lam)
    each = torch.zeros(len(world.answers), len(world.contexts), 3, dtype=torch.float64)
    at = world.context[..., None].expand(-1, -1, 3)
    each.scatter_add_(1, at, (advantage * world.mask)[..., None] * onehot)
    spread = probability @ each.flatten(1).square().sum(1) - truth.square().sum()
    assert torch.allclose(probability @ each.flatten(1), truth)
    relative = (spread / truth.square().sum()).sqrt().item()
    judges[f"a perfect critic of tokens, λ = {lam:.0f}"] = relative

# %% tags=["figure", "hide-input"]
needed = {name: (size / judges["the group of 16"]) ** 2 for name, size in judges.items()}
fig, ax = plt.subplots(figsize=(6.4, 3.4))
colours = ["C1" if "group" in who else "C0" if "critic" in who else "gray" for who in needed]
bars = ax.barh(list(needed), list(needed.values()), color=colours)
_ = ax.bar_label(bars, fmt="%.2f", padding=3, fontsize=9.5)
_ = ax.set(xlabel="answers needed for the same noise; the group of 16 is 1", xlim=(0, 2.2))
ax.grid(visible=False)
ax.invert_yaxis()
token, ask = (needed[f"a perfect critic of {of}"] for of in ("tokens, λ = 0", "the question"))
show(fig, "How many answers each judge needs for equal noise (orange: groups, blue: critics). "
     f"A perfect critic of questions needs {ask:.2f} times as many as a group of 16, "
     f"a perfect critic of tokens {token:.2f} times.",
     "Bars of the answers needed, beside a group of 16: "
     + ", ".join(f"{name} {value:.2f}" for name, value in needed.items()) + ".")

# %% [markdown]
# The group of 16 is our reference, at 1.00. A perfect critic that judges only the question needs 7 % fewer answers for the same noise, and a critic that is wrong by 20 points needs 24 % more. **A group of 16 is therefore close to the best that any question-level critic can do.** A perfect critic that judges every token is different: it needs only 37 % of the answers. So GRPO loses almost nothing by its baseline. What it loses is the ability to tell a good token from a bad one within the same answer. A perfect critic can do so, and a real critic must first learn it.
#
# ### With steps of equal length, the judge hardly matters
#
# Does the judge matter for what is learned? In each step, every learner samples 16 answers to each of four questions (pay 1, 2, 3 and 4). They differ in the baseline: none, groups of 2, 4 or 16, a **learned** critic of tokens, or the perfect critic. A group's mean contains the answer itself, which shortens the expected step by the factor $(G-1)/G$. So we multiply by $G/(G-1)$, and all steps have the same expected length. The orange points lack that factor.

# %% tags=["hide-input"]
wide = World(4)
prices = torch.stack([wide.pays(price) for price in (1, 2, 3, 4)])
questions, contexts = len(prices), len(wide.contexts)
begun = tensor([[a.startswith(c) for a in wide.answers] for c in wide.contexts]).double()


def judged(who, rewards, drawn, critic, equal):
    """The advantage of each token [questions, 16, time], what the critic should have said."""
    context, mask = wide.context[drawn], wide.mask[drawn]
    if who.startswith("group"):
        size = int(who.split()[-1])
        advantages = group_advantages(rewards.view(-1, size), "none").view_as(rewards)
        return advantages[..., None] * mask * (size / (size - 1) if equal else 1), None
    values = critic.gather(1, context.flatten(1)).view(context.shape) * mask
    last = torch.nn.functional.one_hot(mask.sum(-1).long() - 1, mask.shape[-1])
    paid = (last * rewards[..., None]).double()
    advantage, returns = gae(*(x.flatten(0, 1) for x in (paid, values, mask)), 1.0, 1.0)
    return advantage.view_as(mask), returns.view_as(mask)


def moved(critic, returns, drawn):
    """The critic, half the way to the mean return of each context that was visited."""
    at, mask = wide.context[drawn].flatten(1), wide.mask[drawn].flatten(1)
    seen = torch.zeros_like(critic).scatter_add_(1, at, mask)
    total = torch.zeros_like(critic).scatter_add_(1, at, returns.flatten(1) * mask)
    return torch.where(seen > 0, critic + 0.5 * (total / seen.clamp(min=1) - critic), critic)


def perfect(p):  # the critic that knows the chance of being right from every context
    return (p * prices) @ begun.T / (p @ begun.T)

# %% tags=["hide-input"]
def race(who: str, seed: int, steps: int = 20, rate: float = 2.0, equal: bool = True) -> float:
    """The share right after some steps, in %."""
    policy = torch.zeros(questions, contexts, 3, dtype=torch.float64, requires_grad=True)
    critic = torch.zeros(questions, contexts, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    for step in range(steps + 1):
        logp = policy.log_softmax(-1)[:, wide.context, wide.token] * wide.mask
        p = logp.detach().sum(-1).exp()
        if step == steps:
            return 100 * (p * prices).sum(1).mean().item()
        drawn = torch.multinomial(p, 16, replacement=True, generator=generator)
        known = perfect(p) if who == "perfect critic" else critic
        advantage, returns = judged(who, prices.gather(1, drawn), drawn, known, equal)
        taken = logp.gather(1, drawn[..., None].expand(-1, -1, wide.mask.shape[1]))
        gradient = torch.autograd.grad((advantage * taken).sum() / 16, policy)[0]
        policy = (policy + rate * gradient).detach().requires_grad_()
        critic = moved(critic, returns, drawn) if who == "learned critic" else critic

# %% tags=["figure", "hide-input"]
groups = [f"group of {size}" for size in (2, 4, 16)]
learners = ("no baseline", *groups, "learned critic", "perfect critic")
at_20 = {who: [race(who, seed) for seed in range(10)] for who in learners}
for who in groups:
    at_20[f"{who}, shorter steps"] = [race(who, seed, equal=False) for seed in range(10)]
less = {who: apart(of, at_20["group of 16"]) for who, of in at_20.items()}
del less["group of 16"]
fig, ax = plt.subplots(figsize=(6.4, 3.4))
dots(ax, less, [who for who in less if "shorter" in who])
_ = ax.axvline(0, color="black", lw=1, ls=":")
_ = ax.set(xlabel="right after 20 steps, minus the group of 16, points")
most = max(abs(middle) for who, (middle, _) in less.items() if "shorter" not in who)
show(fig, "With steps of the same length (blue), no judge is more than "
     f"{most:.1f} points from a group of 16. With the shorter steps of equal learning rates "
     "(orange), small groups seem far worse. Lines are 95 % intervals over ten seeds.",
     "Dots with intervals, right after 20 steps minus the group of 16, points: " + ", ".join(
         f"{who} {middle:+.1f} ± {half:.1f}" for who, (middle, half) in less.items()) + ".")

# %% [markdown]
# At equal step length, the baseline makes almost no difference in this world. The learned and the perfect critic cannot be told apart from a group of 16, because both intervals contain zero, and the groups of 2 and 4 differ from it by two points at most. Even *no baseline* is as good: with rewards of 0 and 1 and sixteen answers per question, it is enough to push up what was right. At equal learning rates (orange), the steps of a group of 2 are half as long, and it seems far worse.
#
# This learned critic meets the same four questions in every step, the easiest life a critic can have. A language model's critic meets a question once.
#
# ## What a critic costs a language model, and what it brings
#
# We begin with the bill. Each trained network keeps float32 weights and AdamW's two moments, 12 bytes per parameter. (The 16 bytes for V3 also counted a 2-byte copy of the weights and the gradients.) We predict the memory of both methods, take one step of each on `nano-base` with 32 answers, and count the bytes. The critic makes four updates per step, as in the package's PPO, and times are processor time.

# %% tags=["hide-input"]
def held(optimizer) -> int:
    """The bytes of a model's weights and of what its optimizer remembers."""
    states = [state for part in optimizer.parts for state in part.state.values()]
    kept = [v for state in states for v in state.values() if torch.is_tensor(v)]
    return sum(x.nbytes for x in [*optimizer.model.parameters(), *kept])


base, rl, slices = minidsk.load_policy("nano-base"), RLConfig(rows=64), Slices(64)
learner = Optimizer(base.model, OptimConfig(lr=6e-4), steps=1)
critic = CriticBaseline(base, CriticConfig(updates=4), steps=1, rows=64)
learning = {"GRPO": [learner], "PPO": [learner, critic.optimizer]}
predicted = {name: 12 * sum(p.numel() for o in all_ for p in o.model.parameters())
             for name, all_ in learning.items()}  # fmt: skip
posed, seeded = [train[i] for i in range(4)], torch.Generator().manual_seed(1)
sampled = rollout(base, posed, 8, 160, accuracy_alone, generator=seeded)
began = time.process_time()
_ = update(base, learner, slices, sampled, group_advantages(sampled.rewards).flatten(), rl)
took = {"GRPO": time.process_time() - began}
began = time.process_time()
advantages, _ = critic(sampled, step=2)  # each token's, after four updates of the critic
_ = update(base, learner, slices, sampled, advantages, rl)
took["PPO"] = time.process_time() - began

counted = {name: sum(map(held, optimizers)) for name, optimizers in learning.items()}
assert all(abs(counted[name] / predicted[name] - 1) < 0.01 for name in learning)
table(["method", "bytes predicted", "bytes counted", "one step of learning"],
      [[name, predicted[name], counted[name], f"{took[name]:.2f} s"] for name in learning])

# %% [markdown]
# PPO keeps nearly twice the memory, and its learning takes several times as long. (Sampling is the same for both and is not counted here.) That settles *cheap*, the first half of the claim.
#
# For *accurate enough*, the second half, we need training. The following experiments were recorded on a GPU, from `nano-base`, with three seeds. Both methods get the same number of answers per step: 512, for 24 steps, tested on 1,024 held-out problems. GRPO draws groups of 16, and PPO draws 512 problems with one answer each, with the usual $\lambda = 0.95$ and with $\lambda = 1$. The critic starts as a copy of the policy and trains alone for the first two steps.
#
# Guess again: by how many points of accuracy will GRPO lie above PPO with its usual $\lambda$? A negative number means below.

# %% tags=["prediction", "hide-input"]
guess = None
question = "GRPO's accuracy minus PPO's (λ = 0.95), in points?"
lead = predict("grpo.lead", question, guess, example=-5, scale="difference", tolerance=20)
lead

# %% tags=["hide-input"]
called, races = {"PPO": "PPO, λ = 0.95", "PPO, lam 1": "PPO, λ = 1"}, {}
for row in results.read("ch12_ppo_h100")["rows"]:
    if row["part"] == "accuracy":
        races.setdefault(called.get(row["method"], row["method"]), []).append(row)
accuracy = {name: [100 * row["accuracy"] for row in rows] for name, rows in races.items()}
lead.reveal(round(apart(accuracy["GRPO"], accuracy["PPO, λ = 0.95"])[0], 1))

# %% [markdown]
# Here are all three methods, on the held-out problems and on the samples of the last step:

# %% tags=["hide-input"]
print(results.origin("ch12_ppo_h100"), results.origin("ch12_ppo_speed"), sep="\n")
for row in results.read("ch12_ppo_speed")["rows"]:
    print(f"{row['method']:4} takes {median(row['step_seconds']):.3f} s per step (median)")
length = mean(row["curves"]["length"][-1] for row in races["PPO, λ = 0.95"])
print(f"λ = 0.95, {length:.0f} tokens before the end: the verdict's weight is "
      f"{0.95**length:.2f}")
lower = zip(accuracy["PPO, λ = 0.95"], accuracy["GRPO"], strict=True)
assert all(ppo < grpo for ppo, grpo in lower)
middle, half = apart(accuracy["PPO, λ = 1"], accuracy["PPO, λ = 0.95"])
assert middle > half
rows = [[name, "{:.1f} ± {:.1f}".format(*interval(each)),
         "{:+.1f} ± {:.1f}".format(*apart(each, accuracy["GRPO"])) if name != "GRPO" else "-",
         f"{100 * mean(row['curves']['reward'][-1] for row in races[name]):.0f}"]
        for name, each in accuracy.items()]  # fmt: skip
table(["method", "accuracy, %", "minus GRPO, points", "last step's samples right, %"], rows,
      "Means of three seeds, with 95 % intervals.")

# %% [markdown]
# *Cheap*: a step of GRPO takes half the time, because it has no critic to read and to update.
#
# *Accurate enough*: **GRPO and PPO with $\lambda = 1$ cannot be told apart** by three seeds: a difference of less than about eleven points would not have shown. PPO with the usual $\lambda = 0.95$ ended lower than GRPO on every seed, but the interval of the difference just includes zero. That is a strong hint and not a result. The difference between the two PPOs excludes zero.
#
# Why would $\lambda = 0.95$ be worse? The verdict comes with the last token. A token that lies $k$ tokens earlier receives it with weight $\lambda^k$ only, and the rest of its advantage comes from the critic's own predictions. At the beginning of an answer of average length (67 tokens), only 0.03 of the verdict is left, and this critic has met each problem only once.
#
# Do not make much of this, for two reasons. On the *samples* of the last step, PPO with $\lambda = 0.95$ is level with GRPO (last column). And in a smaller record (`results/ch12_ppo`: 64 answers per step, 10 steps) all three ended within a few points of each other, with GRPO last. The [lab notebook](../book/lab_notebook.md) compares the package's GRPO with TRL's `GRPOTrainer` {cite}`vonwerra2020trl`, which most people train with.

# %% [markdown]
# ## What DeepSeek did
#
# DeepSeekMath {cite}`deepseekmath` (equation 3) maximises, for a question $q$ and $G$ answers $o_i$ sampled from the old policy,
#
# $$
# \frac1G \sum_{i=1}^{G} \frac{1}{|o_i|} \sum_{t=1}^{|o_i|} \left\{ \min\left[ \rho_{i,t} \hat A_i,\
# \operatorname{clip}(\rho_{i,t}, 1 - \varepsilon, 1 + \varepsilon)\, \hat A_i \right] - \beta\, \mathbb{D}_{KL} \right\},
# $$
#
# $$
# \rho_{i,t} = \frac{\pi_\theta(o_{i,t} \mid q, o_{i,<t})}{\pi_{\theta_{old}}(o_{i,t} \mid q, o_{i,<t})},
# \qquad \hat A_i = \frac{r_i - \operatorname{mean}(r)}{\operatorname{std}(r)}.
# $$
#
# The last term is a penalty for moving away from a reference model ([chapter 13](13_grpo_variants.ipynb)). They report $G = 64$, $\beta = 0.04$, 1,024 answers of up to 1,024 tokens per batch, learning rate $10^{-6}$, and *a single update* after each round of sampling, so that the clip has nothing to do. DeepSeek-R1 {cite}`deepseekr1` used 32 questions with 16 answers per step, $\beta = 0.001$, a reference replaced every 400 steps, 16 minibatches from each round, and for R1's first stage $\varepsilon = 10$, which hardly clips from above.
#
# R1's supplement also compares GRPO with PPO (DeepSeek-Coder-V2-Lite, MATH). PPO with $\lambda = 0.95$ came out far worse than GRPO, and PPO with $\lambda = 1$ came close to it, at the price of the second model. That is their report; our model has 0.4 million parameters.

# %% [markdown]
# ## What went wrong, or did not help
#
# **The learner without a baseline did not fail where we expected.** With rewards of 0 and 1 it was as good as any. It failed on rewards of 9 and 10, in 14 of 20 runs.
#
# **We compared group sizes at equal learning rates, and drew the wrong conclusion.** An earlier version of this chapter said that groups of 2 and 4 fall behind. Their steps were shorter by the factor $(G-1)/G$, and that was all.
#
# **Counting memory went wrong twice** before a prediction exposed it, as the lab notebook tells.
#
# **We expected the group to beat a constant** on `nano-base`. It does not: we took 16 answers to each of 48 problems, from it and from `nano-zero`, the same model after a longer training. The spread within groups gives the error of a group's mean. The spread between groups, minus what sampling adds, gives the error of the simplest critic, which predicts the same number for every question.

# %% tags=["hide-input"]
zero, seeded = minidsk.load_policy("nano-zero"), torch.Generator().manual_seed(0)
_ = zero.model.double()
posed, better, rows = [train[i] for i in range(48)], {}, []
later = rollout(zero, posed, 16, 160, accuracy_alone, generator=seeded)
for name, samples in (("nano-base", earlier), ("nano-zero", later)):
    r = samples.rewards.double()
    within = r.var(1).mean()
    between = (r.mean(1).var() - within / 16).clamp(min=0)
    constant, others = between.sqrt().item(), (within / 15).sqrt().item()
    better[name] = constant < others
    rows.append([name, f"{r.mean():.2f}", f"{100 * constant:.1f}", f"{100 * others:.1f}"])
assert better == {"nano-base": True, "nano-zero": False}
table(["model", "right", "one number for all questions", "15 other answers"], rows,
      "The share of right answers, and how many points each of two baselines is off.")

# %% [markdown]
# For the *base* model all problems are about equally hard, so a running average would be a better baseline than fifteen other answers. After reinforcement learning some problems are always solved and some never, and then the group is the better judge. GRPO does not have to know which of the two holds.
#
# ## Exercises
#
# ```{exercise} The tokens of an answer
# :label: ex-12-mask
#
# *10 minutes.* Write `mask(ids, prompt, end)` for the task that is printed below; `check("grpo.answer_mask", my_mask)` knows six mistakes by name.
#
# **Hint.** A running count of end tokens tells how many there were so far. Look for tokens that have none *before* them.
# ```

# %%
print(describe("grpo.answer_mask"))


def my_mask(ids, prompt, end):
    """Replace the line below by your own; ids: [N, T]."""
    raise NotImplementedError


# check("grpo.answer_mask", my_mask)

# %% [markdown]
# ```{solution-start} ex-12-mask
# :class: dropdown
# ```

# %%
def mask_solution(ids, prompt, end):
    place = torch.arange(ids.shape[1])
    is_end = (ids == end) & (place >= prompt)
    return (place >= prompt) & (is_end.cumsum(1) - is_end.long() == 0)


check("grpo.answer_mask", mask_solution)

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} The clip
# :label: ex-12-clip
#
# *15 minutes.* Write `clipped_loss(logp, old_logp, advantages, clip_low, clip_high)`: the loss of every token, with two bounds. Advantages are one per answer. `check("grpo.clipped_loss", my_clip)` knows nine mistakes by name.
#
# **Hint.** Write down two products, side by side, for $A = 1$ and for $A = -1$.
# ```
#
# ```{solution-start} ex-12-clip
# :class: dropdown
# ```

# %%
def clip_solution(logp, old_logp, advantages, clip_low, clip_high):
    ratio, advantage = (logp - old_logp).exp(), advantages[:, None]
    clipped = ratio.clamp(1 - clip_low, 1 + clip_high)
    return -torch.minimum(ratio * advantage, clipped * advantage)


check("grpo.clipped_loss", clip_solution)

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} The answer in its own mean
# :label: ex-12-own
#
# *10 minutes.* GRPO subtracts the mean of the whole group, the answer itself included. RLOO subtracts the mean $m_i$ of the other $G - 1$ answers. Write `leave_one_out(rewards)`, `[P, G]` to `[P, G]`, and test it with `check("grpo.leave_one_out", my_leave_one_out)`. By which factor do the two differ, if GRPO leaves out the division by the deviation? What does that mean for a group of 2?
#
# **Hint.** The group's sum, minus the answer's own reward, is the sum of the others.
# ```
#
# ```{solution-start} ex-12-own
# :class: dropdown
# ```

# %%
def leave_one_out_solution(rewards):
    others = rewards.sum(1, keepdim=True) - rewards
    return rewards - others / (rewards.shape[1] - 1)


check("grpo.leave_one_out", leave_one_out_solution)

# %% [markdown]
# $r_i - \left(\frac1G r_i + \frac{G-1}{G} m_i\right) = \frac{G-1}{G} (r_i - m_i)$. So GRPO's step is RLOO's, shortened by $(G-1)/G$, and a learning rate that is larger by $G/(G-1)$ makes them equal. For a group of 2 the factor is one half.
#
# ```{solution-end}
# ```
#
# ## Bug zoo
#
# Three wrong versions of the clipped loss live in the package. The test below accepts the right version, and lets one bug escape. Write a second test that catches it; ours is behind the button.

# %% tags=["zoo"]
def a_bad_token_comes_down(clipped_loss) -> None:
    """A = -1, ratio 20: the objective is -20, so the loss is 20."""
    now, old = tensor([[math.log(20.0)]]), torch.zeros(1, 1)
    loss = clipped_loss(now, old, tensor([-1.0]), 0.2, 0.2)
    assert abs(loss.item() - 20) < 1e-3


zoo("grpo", [a_bad_token_comes_down])

# %% tags=["hide-cell"]
def two_bounds_are_two(clipped_loss) -> None:
    """Ratio 1.25 lies beyond 0.2, and within 0.28."""
    now, old = tensor([[math.log(1.25)]]), torch.zeros(1, 1)
    loss = clipped_loss(now, old, tensor([1.0]), 0.2, 0.28)
    assert abs(loss.item() + 1.25) < 1e-4


zoo("grpo", [a_bad_token_comes_down, two_bounds_are_two])

# %% [markdown]
# ## The opening question, answered
#
# By how many percentage points may a critic misjudge the chance of a right answer, before fifteen other answers are the better judge?

# %%
print(f"even odds, groups of 16: {100 * as_good_as(0.5, 16):.1f} points")
print(f"in our world of fifteen answers: {100 * as_good_as(chance.item(), 16):.1f} points")
for name in ("PPO, λ = 0.95", "PPO, λ = 1"):
    print("in a language model: GRPO minus {} {:+.1f} ± {:.1f} points".format(
        name, *apart(accuracy["GRPO"], accuracy[name])))

# %% [markdown]
# ## Receipt

# %% tags=["receipt"]
spread = {f"recorded accuracy, %, {name}": each for name, each in accuracy.items()}
for who in ("group of 16", "learned critic"):
    spread[f"right after 20 steps, %, {who}"] = at_20[who]
receipt(spread=spread, differences={
    "twenty lines and the package": (difference, 1e-12),
    "sampling, and rollout": (sampling_gap, 1e-6),
    "one step on a language model, and update": (step_gap, 1e-6),
})

# %% [markdown]
# ## Summary
#
# A critic may be off **by 13 percentage points** at even odds, and by 9 in our world, before fifteen other answers are the better judge. Little depends on it, because a perfect critic of questions would need only 7 % fewer answers than groups of 16. What a group cannot do is tell tokens apart; a perfect critic of tokens would need only 37 % of the answers. GRPO is *cheap*: what learns keeps half the memory, and its steps took half the time. It is *accurate enough* in the world of fifteen answers. In a language model, three seeds show no difference from PPO with $\lambda = 1$, with an interval too wide to close the case. PPO with $\lambda = 0.95$ ended lower than GRPO on each seed, but that interval includes zero.
#
# - I can now carry four answers by hand through rewards and advantages to a loss, and say why it is 0.
# - I can now say what a group loses against a critic.
# - I can now write the whole loop for a language model, with a verifier that parses and never evaluates.
# - I can now compare two learners without being fooled by the length of their steps.

# %% [markdown]
# ## Read on
#
# - DeepSeekMath {cite}`deepseekmath`, section 4, where GRPO comes from; Kool and others {cite}`kool2019buy` on the mean of the other answers as a baseline.
# - The code of this chapter in the package: `minidsk/rl/grpo.py`, `rollout.py`, `ppo.py`, and the loop around them in `loop.py`.
# - Next: [chapter 13](13_grpo_variants.ipynb) switches each part of GRPO on and off.
