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
# # Human feedback
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/minidsk/minidsk/blob/main/notebooks/11_human_feedback.ipynb)
#
# There is no rule that says what a good letter is. So companies ask people which of two letters is better, train one model to predict their taste, and train another model to please it. This is how ChatGPT was made, and it is the method that DeepSeek left when it taught R1 to reason. We build all of it, for a simulated judge who is honest and cares most that an answer is right. While a model learns to please the copy of a judge, its score climbs quickly and stays high. **What happens meanwhile to the share of right answers, and how many models must sit in memory?**
#
# - **You will build** fine-tuning on demonstrations, a reward model with its calibration, the parts of PPO (a critic, advantages, and a price for leaving the start), DPO, and a policy that outwits its reward model.
# - **You need** PyTorch, and the idea of a policy gradient ([chapter 10](10_from_games_to_words.ipynb), or the four answers of [chapter 22](22_capstone.ipynb)).
# - **It takes** about 75 s to run on two CPU cores, about as long on a GPU (the models are tiny), and an hour and a half to read. The recorded runs took four minutes on three CPU cores; here we only read them.

# %% tags=["hide-input"]
import importlib.util

if importlib.util.find_spec("minidsk") is None:  # Colab, for example
    source = "git+https://github.com/minidsk/minidsk"
    get_ipython().run_line_magic("pip", f"install -q 'minidsk[notebooks] @ {source}'")

# %% tags=["hide-input"]
import dataclasses
import math
import tempfile
import time

import matplotlib.pyplot as plt
import torch
from torch import tensor

import minidsk
from minidsk import results
from minidsk.data.corpus import TinyWeb
from minidsk.diagrams import diagram, direct_labels, show, table
from minidsk.homework import check, describe, predict, receipt, zoo
from minidsk.presets import nano
from minidsk.report.interval import interval
from minidsk.rl.preferences import Annotator, Ranking, claims_success
from minidsk.rl.rollout import rollout
from minidsk.train.checkpoint import Run
from minidsk.widgets import Preferences

plt.style.use("minidsk.diagrams.look")

# %% [markdown]
# ## The base model gives up too early
#
# Our base model is [chapter 22](22_capstone.ipynb)'s `nano-base`. It has learned from worksheets by many authors, most of whom try once, see that the result is wrong, and hand it in. So the model does this too.

# %%
base, recipe = minidsk.load_policy("nano-base"), nano()
_ = base.model.double()  # 16 digits: your processor draws the replies that ours drew
test, verdict = recipe.make_task("test"), {"accuracy": 1.0}


def look(policy, problems: int = 128) -> dict[str, float]:
    """One reply to each held-out problem, at temperature 1: shares, and tokens per reply."""
    posed, generator = [test[i] for i in range(problems)], torch.Generator().manual_seed(0)
    drawn = rollout(policy, posed, 1, 160, verdict, generator=generator)
    claims = sum(map(claims_success, drawn.completions.texts)) / problems
    tokens = drawn.completions.lengths.double().mean().item()
    return {"right": drawn.rewards.mean().item(), "claims": claims, "tokens": tokens}

# %%
def tell(name: str, seen: dict[str, float]) -> None:
    print("{:14} right {right:.2f}, claims to be right {claims:.2f}, {tokens:3.0f} tokens per "
          "reply"
          .format(name, **seen))


at_base = look(base)
tell("base", at_base)

# %% [markdown]
# We want the model to go on until it has found an answer, in one language and readably. In this game a program, the verifier, could say which replies are right. **We act as if there were no verifier**, because there is none for letters. Until the last comparison no model learns from it, and we only use it to measure the truth.
#
# ## Showing: fine-tuning on demonstrations
#
# The simplest way to teach is to show. Some authors of the tiny web, our training text, try again until they succeed. The cell prints one such worksheet, and below it what the model is to learn from it. A dot stands for a character that the model reads but does not learn to write, because it should not learn to pose problems.

# %%
web = dataclasses.replace(
    recipe.pretrain.web, worksheets=1.0, persistent=1.0, chinese=0.0, mixed=0.0
)
starts = [page.partition("<think>") for page in TinyWeb(web, seed=1000).pages(0, 128)]
demonstrations = [(prompt, tag + rest) for prompt, tag, rest in starts]
prompt, reply = demonstrations[1]
print(prompt + reply, end="\n\n")
print("." * len(prompt) + reply)

# %% [markdown]
# **SFT**, supervised fine-tuning, is next-token prediction on such pages, with the loss on the reply alone. Demonstrations are expensive, because people have to write them. So we use only a few and take four steps. More would help more, as *What went wrong* shows.

# %%
from minidsk.train.optim import OptimConfig
from minidsk.train.sft import SFTConfig, fine_tune

sft, began = base.copy(), time.perf_counter()
with tempfile.TemporaryDirectory() as folder:
    run = Run(folder, "sft", {})
    lesson = SFTConfig(steps=4, batch=32, optim=OptimConfig(lr=5e-4))
    fine_tune(sft, demonstrations, lesson, run, progress=False)
    print("loss of each step", [round(line["loss"], 2) for line in run.metrics()])
seconds = {"SFT": time.perf_counter() - began}

# %%
at_sft = look(sft)
tell("base", at_base)
tell("SFT", at_sft)

# %% [markdown]
# The share of right replies is a little higher now. Everything below starts from `sft`, and we compare everything with it.
#
# Before you run on, make a guess. You will soon meet a judge that prefers the right reply in nearly every pair of a right and a wrong one. We train a model of this judge. Then fifteen steps of PPO train our policy to please that model. Its score climbs from about 0 and stays close to its highest value. **What share of the replies is right after the fifteenth step?** Replace `None` by a number between 0 and 1; your score stays on your machine.

# %% tags=["prediction", "hide-input"]
guess = None
question = "What share is right after fifteen steps of PPO?"
right_at_the_end = predict("feedback.right", question, guess, example=0.6,
                           scale="difference", tolerance=0.6)  # fmt: skip
right_at_the_end

# %% [markdown]
# ## Comparing two replies, by hand
#
# It takes skill to write a demonstration, and less skill to say which of two replies is better. Here are three replies to *make 4 from 3, 7 and 8*. Reply **a** gives up, **b** is right, and **c** writes *yes* after a result that is not 4. It also gets the sum wrong (8 - 4 is not 2) and then answers with another expression, as weak models do.

# %%
from minidsk.tasks.countdown import CountdownProblem

problem = CountdownProblem("Make 4 from 3 7 8.\n", (3, 7, 8), 4, "8-(7-3)", "+-")
a = "<think>3+7+8=10+8=18?4 no</think><answer>3+7+8</answer>"
b = "<think>8-(7-3)=8-4=4?4 yes</think><answer>8-(7-3)</answer>"
c = "<think>8-(7-3)=8-2=6?4 yes</think><answer>3+7-8</answer>"

# %% [markdown]
# We simulate the judge, so that we know exactly what it wants. A right reply is worth 2 to it, and a reply that *claims* to be right is worth 1 more. Every 40 characters of thought add ½, because length looks like effort, to people as well. The judge is not always sure: the probability that it prefers one reply to another is the sigmoid of the difference in worth, divided by its noise of ½.

# %%
judge = Annotator(right=2.0, claims=1.0, length=0.5, noise=0.5)
for name, text in {"a": a, "b": b, "c": c}.items():
    worth = judge.worth(problem, text)
    print(f"{name}: worth {worth:.2f} to the judge, reward of the verifier "
          f"{problem.score(text):.0f}")
for which, better, worse in (("b to a", b, a), ("b to c", b, c), ("c to a", c, a)):
    print(f"prefers {which} in {judge.probability(problem, better, worse):.1%} of cases")

# %% [markdown]
# This is a good judge, because it prefers the right reply to either of the wrong ones. Only between two wrong replies does the false claim win.
#
# A label says *which* reply is better, but not *by how much*. To get from one to the other, a model gives each reply a **score**. We read the difference of two scores as log-odds, following Bradley and Terry {cite}`bradley1952`. Scores of 2 and 1 then mean that the first reply is preferred with probability $\sigma(2 - 1) = 0.731$. If the judge did prefer it, the loss is the surprise at this, $-\log 0.731 = 0.313$. Remember **0.731** and **0.313**, because both will return in the section on DPO.

# %% tags=["naive"]
def surprise(preferred: float, other: float) -> float:
    """-log of the probability of one label, from two scores."""
    probability = math.exp(preferred) / (math.exp(preferred) + math.exp(other))
    return -math.log(probability)


for scores in ((2, 1), (1, 2), (1, 1), (102, 101)):
    print("scores {} and {}: loss {:.3f}".format(*scores, surprise(*scores)))

# %% [markdown]
# A model that knows nothing gives equal scores, and its loss is log 2 = 0.693. Only differences of scores count, so preferences cannot say where zero lies.
#
# A ranking of four replies contains six comparisons, but costs the judge less work than six separate ones. InstructGPT therefore had 4 to 9 replies ranked at a time {cite}`ouyang2022instructgpt`, and averaged the loss over all pairs of a ranking, as the package does:

# %% tags=["agree"]
from minidsk.rl.reward_model import pair_loss, ranking_loss

scores = tensor([2.0, 1.0, 3.0, -0.5], dtype=torch.float64)  # of four replies, the best first
pairs = [(i, j) for i in range(4) for j in range(i + 1, 4)]
by_hand = sum(surprise(scores[i], scores[j]) for i, j in pairs) / len(pairs)
gaps = ranking_loss(scores) - by_hand, pair_loss(scores[:1], scores[1:2]) - surprise(2, 1)
loss_gap = max(abs(gap.item()) for gap in gaps)
assert loss_gap < 1e-12
print(f"{len(pairs)} pairs, mean loss {by_hand:.3f}; largest difference below 1e-12")

# %% [markdown]
# ## Fifty labels of your own
#
# To do the judge's job yourself, click on the better reply, or press the arrow keys while a button has the focus. In Jupyter the cell below the figure then uses your labels; in the rendered book the figure only counts them. Notice how often you check the sums.

# %%
posed = [recipe.make_task("train")[10**6 + i] for i in range(80)]
seeded = torch.Generator().manual_seed(1)
texts, cards = rollout(sft, posed, 2, 160, verdict, generator=seeded).completions.texts, []
for k, p in enumerate(posed):
    left, right = texts[2 * k : 2 * k + 2]
    marks = {"for the longer": len, "for the right one": p.score,
             "for the one that says yes": claims_success}  # fmt: skip
    facts = {name: 1 + (mark(right) > mark(left)) if mark(left) != mark(right) else 0
             for name, mark in marks.items()}  # fmt: skip
    if left != right:
        cards.append({"prompt": p.prompt, "left": left, "right": right, "facts": facts})

# %% tags=["widget"]
labelling = Preferences(cards[:50], title="Which reply is better? Fifty pairs for you")
labelling

# %%
mine = [Ranking(prompt, (better, other)) for prompt, better, other in labelling.chosen()]
print(f"{len(mine)} labels of yours" if mine else "no labels of yours (yet)")
for name, (n, of) in labelling.agreement().items() if mine else ():
    print(f"  {n} of {of} {name}")

# %% [markdown]
# ## A reward model learns from the judge
#
# The judge ranks four sampled replies to each of 180 problems, and your own labels are added to these. A reply that was drawn twice stands in its ranking once.

# %% tags=["diagram", "hide-input"]
diagram("reward_model_and_dpo")

# %%
def judged(policy, first: int, count: int, seed: int) -> tuple[list, list]:
    """Problems and their rankings: four replies of `policy` to each, in the judge's order."""
    train, seeded = recipe.make_task("train"), torch.Generator().manual_seed(seed)
    posed = [train[first + i] for i in range(count)]
    texts = rollout(policy, posed, 4, 160, verdict, generator=seeded).completions.texts
    fours = [texts[4 * k : 4 * k + 4] for k in range(count)]
    ranked = [(p, judge.rank(p, four, seeded)) for p, four in zip(posed, fours, strict=True)]
    return zip(*[(p, r) for p, r in ranked if r is not None], strict=True)


_, rankings = judged(sft, 0, 180, seed=2)
comparisons = sum(len(ranking.pairs()) for ranking in rankings)
print(f"{len(rankings)} rankings hold {comparisons:,} comparisons")

# %% [markdown]
# The **reward model** is a copy of `sft` whose last matrix, with one row per token, is replaced by a single row. So it gives one number, which we read at the end of the reply. It can already read worksheets and only has to learn what the judge likes.

# %%
from minidsk.rl.reward_model import RewardModel, RewardModelConfig, train_reward_model

reward_model, began = RewardModel(sft), time.perf_counter()
settings = RewardModelConfig(batch=4, optim=OptimConfig(lr=2e-3, warmup=5))
losses = train_reward_model(reward_model, [*rankings, *mine], settings, progress=False)
seconds["reward model"] = time.perf_counter() - began
print(f"first step: loss {losses[0]:.3f} (it gives every reply 0)")

# %%
seen = [(ranking.prompt, reply) for ranking in rankings for reply in ranking.replies]
reward_model.centre(*map(list, zip(*seen, strict=True)))
print(f"last 15 of {len(losses)} steps: mean loss {sum(losses[-15:]) / 15:.3f}")
for name, text in {"a": a, "b": b, "c": c}.items():
    print(f"{name}: score {reward_model.score([problem.prompt], [text]).item():+.1f}")

# %% [markdown]
# The scores are now shifted so that zero is their mean over the replies that the reward model was trained on. Next we test it on rankings that it has not seen. How often does it agree with the judge, and does it know how sure it can be? The judge is noisy, so even a model that knew the worth of every reply would not predict every label. The share that it would predict is printed as *best possible*.

# %%
from minidsk.rl.reward_model import accuracy, calibration


def examine(policy, first: int, count: int, seed: int):
    """Of fresh pairs: the model's margins, the judge's chances, which of the two is right."""
    ranked = zip(*judged(policy, first, count, seed), strict=True)
    trials = [(p, pair) for p, ranking in ranked for pair in ranking.pairs()]
    margins = reward_model.margins([pair for _, pair in trials])
    known = [judge.probability(p, pair.chosen, pair.rejected) for p, pair in trials]
    differ = [p.score(pair.chosen) - p.score(pair.rejected) for p, pair in trials]
    return margins, tensor(known), tensor(differ)

# %%
margins, known, differ = examine(sft, 10**8, 80, seed=3)
as_judged, best = accuracy(margins), accuracy(known - 0.5)
mixed = differ != 0  # one reply is right, and one is wrong
prefers_right, judge_does = accuracy((margins * differ)[mixed]), accuracy(differ[mixed])
print(f"{len(margins)} comparisons: accuracy {as_judged:.2f}, best possible {best:.2f}")
print(f"{int(mixed.sum())} of a right and a wrong reply: the model prefers the right one in "
      f"{prefers_right:.2f}, the judge in {judge_does:.2f}")
assert min(as_judged, prefers_right) > 0.7

# %% [markdown]
# The **reliability diagram** groups the comparisons by the probability that the model predicted, and shows how often the prediction came true. On the diagonal, 80 % means 80 %. Each comparison is counted from both sides, and a larger dot stands for more comparisons.

# %% tags=["figure", "hide-input"]
predicted = torch.sigmoid(torch.cat((margins, -margins)))
happened = torch.cat((torch.ones(len(margins)), torch.zeros(len(margins))))
bins, calibration_error = calibration(predicted, happened, bins=8)
fig, ax = plt.subplots(figsize=(4.6, 4.2))
_ = ax.plot([0, 1], [0, 1], color="gray", lw=1, ls=":")
for row in bins:
    _ = ax.plot(row.predicted, row.observed, "o", color="C0", ms=3 + row.pairs**0.5)
_ = ax.set(xlabel="predicted: the first is preferred", ylabel="share that came true",
           aspect="equal")  # fmt: skip
few = [row for row in bins if row.pairs < 50]
show(fig, "Where most comparisons are (large dots), predictions come true. The small dots in "
     "between are off, but they are few. Expected calibration error: "
     f"{calibration_error:.3f}.",
     "Dots, predicted chance and share that came true: " + "; ".join(
         f"{row.predicted:.2f} and {row.observed:.2f} ({row.pairs} "
         "comparisons)" for row in bins)
     + ". A dotted diagonal marks perfect calibration.")

# %% [markdown]
# By the usual measures this is a good reward model. It agrees with the judge in about three of four cases, where about five of six would be the best possible, and it usually prefers the right reply. Where it is nearly sure, it is nearly always right, and most comparisons are of this kind or near one half. It misses by more only in between, where there are few comparisons. InstructGPT's reward models predicted the labels of people whom they had not learned from in 69.6 % of cases {cite}`ouyang2022instructgpt`.
#
# To check that the measure can fail, we plant a bug, swapped labels, and look at both numbers:

# %%
swapped = calibration(1 - predicted, happened, bins=8)[1]
assert accuracy(-margins) < 0.5
assert swapped > calibration_error
print("with labels swapped: accuracy below one half, calibration worse: True")

# %% [markdown]
# *How would you cheat this reward model?* Read replies **a**, **b** and **c** once more before you go on.
#
# ## What PPO adds, by hand
#
# A *policy* is a model that acts, here by writing replies. The reward model scores the replies, and the policy learns from the scores. GRPO would compare several replies to the same problem ([chapter 12](12_grpo.ipynb)). The older method, PPO {cite}`schulman2017ppo` as InstructGPT used it, needs two more models.
#
# The first is a **reference**, which is the policy as it was at the start. Each token pays for being likelier under the policy than under the reference: its reward is $-\beta\,(\log \pi - \log \pi_{\text{ref}})$. This price is known as the **KL penalty**, and $\beta$ as its coefficient (`kl_coef` in the code). The score of the whole reply, 1 in this example, is added to the last token.

# %%
logp, ref_logp = tensor([[-1.0, -0.5, -2.0, -0.5]]), tensor([[-1.0, -1.5, -1.0, -0.5]])
mask, beta, score = torch.ones(1, 4), 0.1, tensor([1.0])
paid = -beta * (logp - ref_logp)
paid[0, -1] += score[0]
print("paid after each token", [round(r, 2) + 0.0 for r in paid[0].tolist()])

# %% [markdown]
# The second token had become likelier, so it costs 0.1. The third had become less likely, so it gets 0.1 back. Averaged over many samples, the price is $\beta$ times the KL divergence, a measure of how far the policy has moved from the reference.
#
# The second model is a **critic**. Before each token it predicts what the whole reply will be worth. If a token was better than expected, the prediction rises. This rise, plus what the token was paid, is the **surprise** $\delta_t = r_t + \gamma V_{t+1} - V_t$. Here are four tokens again, with no price, and a critic that becomes more hopeful:

# %%
rewards, values = tensor([0.0, 0, 0, 1]).double(), tensor([0.25, 0.5, 0.5, 0.75]).double()
following = torch.cat((values[1:], torch.zeros(1)))
surprises = rewards + following - values
print("surprises", surprises.tolist())

# %% [markdown]
# The advantage of a token is its own surprise plus the surprises of later tokens, which count less by a factor $\lambda$ for each token between. This is called generalised advantage estimation {cite}`schulman2015gae`. With $\lambda = 0$ we trust the critic's next prediction completely. With $\lambda = 1$ we only use its prediction before the token, and take the true outcome for the rest.

# %%
def gae_by_hand(surprises: torch.Tensor, decay: float) -> list[float]:
    """sum over k of decay^k surprise[t + k], for each t."""
    n = len(surprises)
    return [sum(decay**k * surprises[t + k].item() for k in range(n - t)) for t in range(n)]


for lam in (0.0, 0.5, 1.0):
    print(f"lambda {lam}: advantages {[round(x, 3) for x in gae_by_hand(surprises, lam)]}")

# %% [markdown]
# With $\lambda = 1$ the advantages are $1 - V$: 0.75, 0.5, 0.5 and 0.25. The critic's prediction did not change at the second token, so with $\lambda = 0$ this token gets nothing. With a larger $\lambda$ it gets a share of what came later. The package computes the same in one backward pass:

# %% tags=["agree"]
from minidsk.rl.ppo import gae, token_rewards

advantages, returns = gae(rewards[None], values[None], mask, gamma=1.0, lam=0.5)
gae_gap = (advantages[0] - tensor(gae_by_hand(surprises, 0.5)).double()).abs().max().item()
price_gap = (token_rewards(score, logp, mask, ref_logp, beta) - paid).abs().max().item()
assert max(gae_gap, price_gap) < 1e-6
print("largest difference, advantages and prices: below 1e-6")

# %% [markdown]
# Two parts are left. Each token's loss is $-\min(\rho A,\ \operatorname{clip}(\rho, 1-\varepsilon, 1+\varepsilon)\,A)$, where $\rho$ is its probability now divided by its probability when it was sampled: a token that has already moved far enough gains nothing by moving further. [Chapter 12](12_grpo.ipynb) uses the same loss and takes it apart. And the critic learns by least squares to predict what came. So four models are at work: **policy, critic, reference and reward model**.
#
# ## Fifteen steps of PPO against the reward model
#
# Each step uses 64 replies, one per problem. There is no price on leaving the reference, because we want to see where the score alone leads. The policy is rewarded by the score of the reward model and by nothing else. Beside it we note what only we can see: the share of right replies, what the replies are worth to the *judge itself*, and how far the policy has moved from `sft` (the KL divergence, in *nats* per reply).

# %%
from minidsk.rl.config import CriticConfig, RLConfig
from minidsk.rl.critic import CriticBaseline
from minidsk.rl.loop import reinforce

diary: list[dict[str, float]] = []


def please(problems, replies) -> torch.Tensor:
    """The reward that the policy learns from, and a note of what it does not see."""
    scores, n = reward_model.reward(problems, replies), len(replies)
    worth = sum(judge.worth(p, reply) for p, reply in zip(problems, replies, strict=True)) / n
    claims = sum(map(claims_success, replies)) / n
    diary.append({"score": scores.mean().item(), "worth": worth, "claims": claims})
    return scores

# %%
rates = {"warmup": 1, "decay": 0.01, "betas": (0.9, 0.99)}
fast, faster = (OptimConfig(lr=lr, **rates) for lr in (6e-4, 2e-3))
settings = RLConfig(steps=15, prompts=64, group=1, rows=16, save_every=100, optim=fast)
pleaser, began = sft.copy(), time.perf_counter()
critic = CriticBaseline(pleaser, CriticConfig(updates=1, alone=1, optim=faster), 15, rows=16,
                        reference=sft)  # fmt: skip
with tempfile.TemporaryDirectory() as folder:
    run = Run(folder, "ppo", settings)
    reinforce(pleaser, recipe.make_task("train"), settings, run,
              baseline=critic, reward=please, progress=False)  # fmt: skip
    diary = [{**noted, **line} for noted, line in zip(diary, run.metrics(), strict=True)]
seconds["PPO"] = time.perf_counter() - began
print(f"{len(diary)} steps of {settings.prompts} replies, judged by the reward model alone")

# %% tags=["hide-input"]
shown = ("score", "worth", "accuracy", "claims")
table(["step", "nats away", "score", "worth", "right", "claims", "tokens"],
      [[line["step"], f"{max(line['kl_answer'], 0):.1f}",
        *(f"{line[key]:.2f}" for key in shown), f"{line['length']:.0f}"] for line in diary],
      "Means of 64 replies. Only the score is known to the policy; worth is the judge's.")

# %% [markdown]
# Like Gao et al. {cite}`gao2022overoptimization`, we plot against the square root of the KL divergence. The curve runs back where the policy came nearer again.

# %% tags=["figure", "hide-input"]
distance = [math.sqrt(max(line["kl_answer"], 0)) for line in diary]
panels = ({"score": "score", "worth": "worth"}, {"claims": "claims", "accuracy": "right"})
fig, axes = plt.subplots(1, 2, figsize=(7.5, 3.2))
for ax, lines in zip(axes, panels, strict=True):
    for key, name in lines.items():
        _ = ax.plot(distance, [line[key] for line in diary], "o-", ms=3, label=name)
    _ = ax.set(xlabel="√KL from the start, √nats")
    direct_labels(ax)
_ = axes[0].set_title("score, and worth to the judge")
_ = axes[1].set_title("shares of replies")
parts = (diary[:3], diary[5:8], diary[-3:])
means = {name: ", ".join(f"{sum(line[key] for line in part) / 3:.2f}" for part in parts)
         for lines in panels for key, name in lines.items()}  # fmt: skip
show(fig, "Left: the score (blue) rises and stays, while the worth to the judge (orange) "
     "turns. Right: soon all replies claim to be right (blue), and ever fewer are (orange).",
     "Two panels over the root of the KL divergence, two lines each; means of steps 1 to 3, 6 "
     "to 8 and 13 to 15: " + "; ".join(f"{name} {each}" for name, each in means.items()) + ".")

# %% [markdown]
# The score rose, as it was asked to. For a few steps the share of right replies rose too, because the policy gave up less often. Then it turned, and so did the worth to the judge. Here is what the policy writes at the end, with the true verdict, which the policy never saw:

# %%
for p in [test[i] for i in range(4)]:
    drawn = rollout(pleaser, [p], 1, 160, verdict, generator=torch.Generator().manual_seed(0))
    [text], right = drawn.completions.texts, drawn.rewards.item()
    print(f"{p.prompt.strip()}  {text}")
    print(f"    score {reward_model.reward([p], [text]).item():+.1f}, right: {right:.0f}")

# %%
right_at_the_end.reveal(round(look(pleaser)["right"], 2))
first, last = ({key: sum(line[key] for line in part) / 3 for key in ("score", "accuracy")}
               for part in (diary[:3], diary[-3:]))  # fmt: skip
assert last["score"] > first["score"] + 1
assert last["accuracy"] < first["accuracy"]
print("score up, share right down, against the first three steps: True")

# %% [markdown]
# The policy writes *yes* at once, whatever the sum, like reply **c**. The judge would not have preferred this to a right reply, but the judge was never asked. In the replies of `sft`, a *yes* nearly always followed a right sum, so the labels could not separate *being* right from *saying* so. The policy then moved to replies of a kind that had not been judged. Let us test the reward model on the replies of the policy that it trained:

# %%
margins_now, known_now, differ_now = examine(pleaser, 2 * 10**8, 60, seed=4)
prefers_now = accuracy((margins_now * differ_now)[differ_now != 0])
now = (accuracy(margins_now), accuracy(known_now - 0.5), prefers_now)
table(["replies of", "accuracy", "best possible", "prefers the right one"],
      [[whose, *(f"{share:.2f}" for share in shares)] for whose, shares in (
          ("sft", (as_judged, best, prefers_right)), ("the policy that it trained", now))],
      "The same reward model. Last column: of pairs with a right and a wrong reply.")

# %% [markdown]
# The measured accuracy was correct, but only *for replies like those that had been judged*. On the replies of the new policy, the reward model can hardly tell right from wrong. This is Goodhart's law: when a measure becomes a target, it stops being a good measure. The usual fix is to ask the judge about the new policy's replies and to train the reward model again, round after round, so the labelling is never finished.
#
# ## Three recorded seeds, and a control
#
# One run with 64 replies per step proves little. So we recorded three seeds, each with its own demonstrations, labels and reward model, for 20 steps of 80 replies. As a control we recorded the same PPO paid by the verifier, whose verdict is then the reward.

# %% tags=["hide-input"]
def recorded(name: str):
    """What a recorded run measured; how it was run is printed."""
    print(results.origin(name))
    return results.read(name)["rows"]


rows, control, priced = map(recorded, ("ch11_feedback", "ch11_control", "ch11_price"))
runs: dict[str, list[dict]] = {}
for row in rows + priced + control:
    if row["part"] == "ppo":
        price = f", a price of {row['kl_coef']:g}" if row["kl_coef"] else ""
        runs.setdefault(f"paid by the {row['reward']}{price}", []).append(row["curves"])

# %% tags=["hide-input"]
def smooth(values: list[float], k: int = 3) -> list[float]:
    """The mean of each three steps in a row."""
    return [sum(values[i : i + k]) / k for i in range(len(values) - k + 1)]


def stated(values) -> str:
    """Mean and half a 95 % interval over seeds, in words."""
    return "{:.2f} ± {:.2f}".format(*interval(list(values)))


right = {name: [smooth(curve["right"]) for curve in curves] for name, curves in runs.items()}
away = {name: [smooth(curve["kl"])[-1] for curve in curves] for name, curves in runs.items()}
table(["paid by the", "right at first", "best", "at the end", "nats away"],
      [[name.removeprefix("paid by the "),
        stated(values[0] for values in of), stated(map(max, of)),
        stated(values[-1] for values in of), stated(away[name])]
       for name, of in right.items()],
      "Share of right replies, three steps at a time: means of three seeds with 95 % "
      "intervals.")

# %% tags=["figure", "hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(7.5, 3.4), width_ratios=(1, 1.4))
called = ("reward model", "with a price", "verifier")
for k, (name, curves) in enumerate(runs.items()):
    longest = max(curves, key=lambda curve: max(smooth(curve["kl"])))
    for curve in curves:
        x = [math.sqrt(max(nats, 0)) for nats in smooth(curve["kl"])]
        if "verifier" not in name:
            _ = axes[0].plot(x, smooth(curve["proxy"]), color=f"C{k}", lw=1.2)
        _ = axes[1].plot(x, smooth(curve["right"]), color=f"C{k}", lw=1.2,
                         label=called[k] if curve is longest else None)  # fmt: skip
for ax, title in zip(axes, ("the reward model's score", "share right"), strict=True):
    _ = ax.set(xlabel="√KL from the start, √nats", title=title)
direct_labels(axes[1])
ends = {name: sum(values[-1] for values in of) / len(of) for name, of in right.items()}
paid = [smooth(curve["proxy"]) for curve in runs["paid by the reward model"]]
start, end = (sum(values[k] for values in paid) / len(paid) for k in (0, -1))
show(fig, "Three seeds each. The score rises in all runs that are paid by it; the share of "
     "right replies collapses only where the score is all that counts.",
     f"Lines over the root of the KL divergence. The score rises from {start:.1f} to "
     f"{end:.1f}. Right at the end: "
     + "; ".join(f"{name} {share:.2f}" for name, share in ends.items()) + ".")

# %% tags=["hide-input"]
free, checked = right["paid by the reward model"], right["paid by the verifier"]
assert all(max(values) > values[0] and max(values) - values[-1] > 0.2 for values in free)
assert min(values[-1] for values in checked) > max(values[-1] for values in free)
proxies = [curve["proxy"] for curve in runs["paid by the reward model"]]
assert all(proxy[-1] > proxy[0] + 1 for proxy in proxies)
for name, of in right.items():
    rose, fell = ([f"{max(values) - values[at]:.2f}" for values in of] for at in (0, -1))
    print(f"{name}: rose by {', '.join(rose)}, then fell by {', '.join(fell)}")

# %% [markdown]
# All three seeds that were paid by the reward model do the same. The score rises by more than a point and stays there. The share of right replies rises a little, turns, and falls far below where it began.
#
# The control shows that the reward model is to blame, and not the algorithm. Paid by the verifier, the same PPO takes as many steps on as many replies and moves a comparable distance, but does not collapse. Its gain is modest, because each step has so few replies: two seeds gain, and the third rises and then ends about where it began. The left panel shows no score for these runs, because their reward models were trained on too few rankings to mean anything.
#
# ### A KL penalty keeps the replies right
#
# The runs in the second row of the table use the same PPO and reward models, with a price of $\beta = 0.1$. Does the price buy more right replies, or only a later turn? We compare at the same *distance*, not at the same step. When the run without a price first comes as far as the priced run is at its end, how many of its replies are right?

# %% tags=["hide-input"]
def at_distance(curve: dict, nats: float) -> float:
    """The share right where a run first comes `nats` far."""
    pairs = zip(smooth(curve["right"]), smooth(curve["kl"]), strict=True)
    return next(right for right, away in pairs if away >= nats)


free, shown = runs["paid by the reward model"], []
paying = runs["paid by the reward model, a price of 0.1"]
for seed, (without, priced_run) in enumerate(zip(free, paying, strict=True)):
    nats, at_end = (smooth(priced_run[key])[-1] for key in ("kl", "right"))
    scores = [smooth(curve["proxy"])[-1] for curve in (priced_run, without)]
    shares = [at_end, at_distance(without, nats), *scores]
    shown.append([f"{seed}", f"{nats:.1f}", *(f"{x:.2f}" for x in shares)])
    assert at_end > max(smooth(without["right"]))
table(["seed", "nats away", "right, priced", "free", "score, priced", "free"], shown,
      "With the price, and without. Right: at the distance where the priced run ends; score: "
      "at the end of each run.")

# %% [markdown]
# The price bought more than a later turn. With it, the score ends about where it ends without it, and the share of right replies hardly falls within 20 steps. Every priced run ends with more right replies than its twin without a price ever had, after moving a fraction of the distance. At the same distance the priced run is ahead too. On average the priced runs even end above PPO on the verifier, whose interval is wide. In the figure they first move away and then turn back, because the price pulls once the score has little more to give.
#
# Gao et al. {cite}`gao2022overoptimization` found for their models that a price acts like stopping earlier. Our three seeds, of one small setting with one $\beta$, say otherwise. One possible reason is that the priced runs spent many of their 20 steps at that distance, while the others passed through it quickly.
#
# ### Choosing the best of n meets Goodhart's law too
#
# The same law appears without any training. Draw $n$ replies from `sft` and keep the one with the highest score. This choice is itself a policy, and it is $\log n - (n-1)/n$ nats away from `sft` {cite}`stiennon2020summarize`.

# %% tags=["hide-input"]
chosen, keys = {}, ("proxy", "worth", "right")
for row in rows:
    if row["part"] == "best_of_n":
        chosen.setdefault(row["n"], []).append(row)
table(["best of", "nats away", "score", "worth", "right"],
      [[n, f"{of[0]['kl']:.2f}", *(stated(row[key] for row in of) for key in keys)]
       for n, of in chosen.items()],
      "Means of three seeds with 95 % intervals.")

# %% [markdown]
# Up to the best of four, choosing also makes more replies right, because the reward model is reliable near the replies that were judged. Beyond that the score keeps growing, but the share of right replies turns. It turns for two of our three seeds; the third is higher at the best of 32 than at the best of 4.

# %% tags=["figure", "hide-input"]
fig, ax = plt.subplots(figsize=(6.4, 2.8))
for seed in range(3):
    shares = [of[seed]["right"] for of in chosen.values()]
    _ = ax.plot(list(chosen), shares, "o-", label=f"seed {seed}")
_ = ax.set(xscale="log", xlabel="replies from which the best is chosen", ylabel="share right")
_ = ax.set_xticks(list(chosen), list(map(str, chosen)))
_ = ax.set_xticks([], minor=True)
direct_labels(ax)
each = [f"seed {seed} " + ", ".join(f"{chosen[n][seed]['right']:.2f}" for n in (1, 4, 32))
        for seed in range(3)]  # fmt: skip
show(fig, "Choosing among more than four replies makes fewer of them right in two seeds of "
     "three.",
     "Three lines over the number of replies, the share right with one reply, at best of 4 "
     "and at best of 32: " + "; ".join(each) + ".")

# %% [markdown]
# ## DPO needs no reward model
#
# The policy that maximises $\mathbb{E}[r] - \beta\,\mathrm{KL}$ has a known form, $\pi^*(y) \propto \pi_{\text{ref}}(y)\, e^{r(y)/\beta}$. We can solve this for the reward, $r(y) = \beta \log \frac{\pi^*(y)}{\pi_{\text{ref}}(y)}$ plus a constant that cancels in every pair. So any policy *is* a reward model, and we can train it as one, directly on the labels. This is DPO, direct preference optimisation {cite}`rafailov2023dpo`.
#
# By hand: under the reference, two replies have log-probability $-4$ each. Under the policy, the preferred reply has $-3$ and the other $-5$. With $\beta = \frac12$ the implicit rewards are $+\frac12$ and $-\frac12$. Their difference is 1, so the label has probability **0.731** and the loss is **0.313**, the two numbers from the beginning.

# %% tags=["agree"]
from minidsk.rl.dpo import DPOConfig, direct_preferences, dpo_loss

won, lost = 0.5 * (-3 - -4), 0.5 * (-5 - -4)
four = [tensor([x], dtype=torch.float64) for x in (-3.0, -5.0, -4.0, -4.0)]
dpo_gap = abs(dpo_loss(*four, beta=0.5)[0].item() - surprise(won, lost))
assert dpo_gap < 1e-12
print(f"implicit rewards {won:+.1f} and {lost:+.1f}, loss {surprise(won, lost):.3f}")
print("largest difference from the package: below 1e-12")

# %% [markdown]
# DPO needs no sampling, no critic and no reward model, only two models and the labels. We take twelve steps on the comparisons of our rankings:

# %%
direct, began = sft.copy(), time.perf_counter()
comparisons_of = [pair for ranking in [*rankings, *mine] for pair in ranking.pairs()]
dpo = DPOConfig(steps=12, beta=0.1, optim=OptimConfig(lr=4e-4, warmup=5, betas=(0.9, 0.99)))
history = direct_preferences(direct, comparisons_of, dpo, progress=False)
seconds["DPO"] = time.perf_counter() - began
print(f"first step: loss {history[0]['loss']:.3f} (policy and reference are equal)")

# %%
at_dpo, at_ppo = look(direct), look(pleaser)
for name, seen in (("SFT", at_sft), ("DPO, 12 steps", at_dpo), ("PPO, 15 steps", at_ppo)):
    tell(name, seen)

# %% tags=["hide-input"]
looks = {row["seed"]: row["looks"] for row in rows + priced if row["part"] == "dpo"}
table(["seed", *(f"step {at['step']}" for at in looks[0])],
      [[f"{seed}", *(f"{at['right']:.2f}, {at['claims']:.2f}, {at['kl']:.1f}" for at in each)]
       for seed, each in looks.items()],
      "Recorded runs of DPO: share right, share that claims to be right, nats from the start.")

# %% [markdown]
# DPO learns from the same labels and leans the same way, because more of its replies claim to be right. In the recorded runs the share of right replies is past its best in all three seeds after 48 steps, at 5 to 9 nats from the start, and it has come back close to where it began. Rafailov et al. {cite}`rafailov2024directoveropt` report that DPO over-optimises as well, although it has no reward model to blame.
#
# ## What each method costs
#
# A model that learns needs memory for its weights, their gradients and AdamW's two moments, which is 16 bytes per parameter in float32. A model that only answers needs its weights, 4 bytes per parameter. We check this count on the critic:

# %%
from minidsk.rl.critic import Critic

critic = Critic(sft).float()  # 4 bytes a number, as usual
models = (sft.model, sft.model, critic, reward_model)
kinds = dict(zip(("policy", "reference", "critic", "reward model"), models, strict=True))
size = {name: sum(p.numel() for p in model.parameters()) for name, model in kinds.items()}
optimizer = torch.optim.AdamW(critic.parameters())
critic(sft.encode(["4 from 3 7 8"], ["8 - 7 + 3 = 4"])).sum().backward()
optimizer.step()
held = sum(p.nbytes + p.grad.nbytes for p in critic.parameters())
for state in optimizer.state.values():
    held += state["exp_avg"].nbytes + state["exp_avg_sq"].nbytes
print(f"critic: {16 * size['critic']:,} bytes predicted, {held:,} held")
assert held == 16 * size["critic"]

# %%
from minidsk.scale.cost import parameters

v3 = parameters(minidsk.ModelConfig.from_dict({"model_type": "deepseek_v3"}))
labels, shown = f"{comparisons:,} comparisons", []
stages = {  # what learns, what only answers, what had to be labelled
    "SFT": (["policy"], [], f"{len(demonstrations)} demonstrations"),
    "DPO": (["policy"], ["reference"], labels),
    "PPO on a reward model": (["policy", "critic"], ["reference", "reward model"], labels),
    "GRPO on a verifier": (["policy"], [], "none"),
}
for name, (learning, answering, what) in stages.items():
    n = len(learning) + len(answering)
    here = 16 * sum(size[m] for m in learning) + 4 * sum(size[m] for m in answering)
    shown.append([name, n, f"{here / 1e6:.1f}", f"{n * 2 * v3 / 1e12:.1f}", what])
table(["method", "models", "million bytes here", "trillion bytes, V3", "labels"], shown,
      "Memory: in training here, and of the weights alone in bf16 at the size of DeepSeek-V3.")

# %%
print("here:", ", ".join(f"{name} {spent:.1f} s" for name, spent in seconds.items()))

# %% [markdown]
# PPO on a reward model needs four models where GRPO on a verifier needs one, and it needs people where GRPO needs a few lines of code. InstructGPT made the bill smaller: its reward model and critic had 6 billion parameters, beside a policy of 175 billion {cite}`ouyang2022instructgpt`. [Chapter 12](12_grpo.ipynb) compares GRPO with PPO by measurement.

# %% [markdown]
# ## What DeepSeek did
#
# First, what others had reached with human feedback. Christiano et al. {cite}`christiano2017preferences` taught a simulated robot a backflip from some 900 comparisons. Stiennon et al. {cite}`stiennon2020summarize` trained models to summarise, and saw the turn: far from the start, people liked the summaries less although the reward model liked them more. InstructGPT {cite}`ouyang2022instructgpt` used about 40 labellers, 13 thousand prompts with demonstrations, 33 thousand with rankings and 31 thousand for PPO. People preferred its model of 1.3 billion parameters to GPT-3 with 175 billion. Its objective is the one that we built above,
#
# $$ \max_\pi\ \mathbb{E}_{x,\, y \sim \pi}\left[ r_\phi(x, y) - \beta \log \frac{\pi(y \mid x)}{\pi_{\text{ref}}(y \mid x)} \right], $$
#
# with a little pretraining mixed in. Gao et al. {cite}`gao2022overoptimization` measured the turn for many sizes. With $d = \sqrt{\mathrm{KL}}$ the true reward follows $d(a - b \log d)$ for RL and $d(a - b\, d)$ for best of $n$, with $a$ and $b$ fitted to the runs. They found that a price on KL acts like stopping earlier, because it gave no higher true reward at the same distance.

# %% [markdown]
# DeepSeek-R1-Zero {cite}`deepseekr1` replaced $r_\phi$ by a rule,
#
# $$ r(x, y) = r_{\text{accuracy}}(x, y) + r_{\text{format}}(y), $$
#
# and the critic by a group ([chapter 12](12_grpo.ipynb)). The paper gives its reasons in section 2.2. A neural reward model may be hacked in large-scale RL, training it again takes resources, and it makes the whole pipeline more complicated. Those are the turn and the cost that we measured above.
#
# DeepSeek did not give up reward models altogether. Where no rule exists, as for helpfulness, R1's last stage uses them, but only in the last 400 of its 1,700 steps. With more steps they saw reward hacking, and their supplement shows a reward that rises while the result on Codeforces falls. DeepSeek-V3 {cite}`deepseekv3` was also tuned with rules where there are rules, and with a model elsewhere.
#
# So the claim that DeepSeek skipped human feedback holds *for reasoning*, where a verifier exists. That is their evidence, while ours comes from a game, a judge that we made, and models a million times smaller.

# %% [markdown]
# ## What went wrong, or did not help
#
# **Labels on replies that are all alike.** Our first policy had twelve steps of SFT on twice the demonstrations, at twice the learning rate. Most of its replies ended in *yes*, so small differences and chance decided most pairs, and the reward model learned little. These are the recorded runs:

# %% tags=["hide-input"]
alike, shown = recorded("ch11_alike"), []
for steps, kind in (("twelve", alike), ("four", rows)):
    models = [row for row in kind if row["part"] == "reward_model" and row["rankings"] == 240]
    starts = [row["sft"] for row in kind if row["part"] == "start"]
    told = [stated(start[key] for start in starts) for key in ("right", "claims")]
    asked = ("accuracy", "best_accuracy", "prefers_right", "judge_prefers_right")
    shown.append([steps, *told, *(stated(model[key] for model in models) for key in asked)])
table(["steps", "right", "claims", "accuracy", "best possible", "prefers right", "judge does"],
      shown, "The policy after SFT; the reward model on its replies. Means of three seeds.")

# %% [markdown]
# **We did not need PPO.** Two simpler methods did better than PPO without a price, whose share of right replies was 0.51 ± 0.05 at its best. Twelve steps of imitation, on twice the demonstrations, reached 0.63 ± 0.04, and choosing the best of four reached 0.66 ± 0.04. PPO with a price came to the same region, 0.64 ± 0.04. Where people can write demonstrations, imitation is hard to beat, and RLHF was made for tasks that people can judge but not write. We took only four steps of SFT because after twelve there was little left for a reward to add.
#
# **A head that learned too fast.** At first we trained the new last layer, the head, at ten times the rate of the rest, as is often done with new layers. The loss stayed at that of a coin toss for the first hundred steps, because a head that swings back and forth tells the rest of the model nothing.
#
# **More labels of the same kind** would not have helped. The gap in the reward model is not noise. The judge was never asked about false claims, because no policy had written such replies yet.
#
# ## Exercises
#
# ```{exercise} The loss of a label
# :label: ex-11-pair
#
# *5 minutes.* Write `pair_loss(chosen, rejected)` for tensors of scores, `[N]` to a scalar. Then run `check("feedback.pair_loss", my_pair_loss)`.
#
# **Hint.** `surprise` above fails for scores of 1,000. Which function of torch computes the logarithm of the sigmoid in one go?
# ```

# %%
print(describe("feedback.pair_loss"))


def my_pair_loss(chosen, rejected):
    """Replace the line below by your own."""
    raise NotImplementedError


# check("feedback.pair_loss", my_pair_loss)

# %% [markdown]
# ```{solution-start} ex-11-pair
# :class: dropdown
# ```

# %%
def pair_solution(chosen, rejected):
    return -torch.nn.functional.logsigmoid(chosen - rejected).mean()


check("feedback.pair_loss", pair_solution)

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} Advantages, backwards
# :label: ex-11-gae
#
# *15 minutes.* Write `gae(rewards, values, gamma, lam)` for one reply, in one pass from its end. Then run `check("feedback.gae", my_gae)`, which knows six mistakes by name.
#
# **Hint.** The sum for token $t$ is its own surprise plus $\gamma\lambda$ times the sum for token $t + 1$. What does the critic expect after the last token?
# ```

# %%
def my_gae(rewards, values, gamma, lam):
    """Replace the line below by your own."""
    raise NotImplementedError


# check("feedback.gae", my_gae)

# %% [markdown]
# ```{solution-start} ex-11-gae
# :class: dropdown
# ```

# %%
def gae_solution(rewards, values, gamma, lam):
    advantages, ahead, next_value = torch.zeros_like(values), 0.0, 0.0
    for t in reversed(range(len(values))):
        ahead = rewards[t] + gamma * next_value - values[t] + gamma * lam * ahead
        advantages[t], next_value = ahead, values[t]
    return advantages


check("feedback.gae", gae_solution)

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} The price of leaving
# :label: ex-11-price
#
# *5 minutes.* Write `token_rewards(score, logp, ref_logp, beta)` for one reply, and test it with `check("feedback.token_rewards", my_token_rewards)`.
#
# **Hint.** Begin with `beta = 0`, and then ask which token pays: one that became likelier, or one that became less likely?
# ```

# %% [markdown]
# ```{solution-start} ex-11-price
# :class: dropdown
# ```

# %%
def price_solution(score, logp, ref_logp, beta):
    rewards = beta * (ref_logp - logp)
    rewards[-1] += score
    return rewards


check("feedback.token_rewards", price_solution)

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} DPO
# :label: ex-11-dpo
#
# *10 minutes.* Write `dpo_loss(chosen, rejected, ref_chosen, ref_rejected, beta)`. Then run `check("feedback.dpo_loss", my_dpo_loss)`. What must the loss be when the policy equals the reference, whatever the replies?
#
# **Hint.** Compute two implicit rewards, and use the loss that you wrote in the first exercise.
# ```

# %% [markdown]
# ```{solution-start} ex-11-dpo
# :class: dropdown
# ```

# %%
def dpo_solution(chosen, rejected, ref_chosen, ref_rejected, beta):
    return pair_solution(beta * (chosen - ref_chosen), beta * (rejected - ref_rejected))


check("feedback.dpo_loss", dpo_solution)

# %% [markdown]
# When the policy equals the reference, both implicit rewards are 0. The loss is then log 2 = 0.693, that of a model that knows nothing.
#
# ```{solution-end}
# ```
#
# ```{exercise} A second round with the judge
# :label: ex-11-again
#
# *25 minutes.* In one more round, let the judge rank replies of `pleaser`, train a new reward model on both sets of rankings, and run PPO again from `sft`. Predict first: does the share of right replies still turn, and what will the policy find this time? Then repeat the first run with a price, `kl_coef=0.1` in its settings.
#
# **Hint.** `judged(pleaser, 0, 180, seed=5)` returns problems and their rankings. How much is a *long*, wrong reply that ends in *yes* worth to the judge?
# ```
#
# ```{solution} ex-11-again
# :class: dropdown
#
# The new labels contain false claims beside true ones, so this hole closes, as far as a reward model of this size can check a sum. What remains are the other things that the *judge* values, such as length, and a policy that cannot be right more often raises those. Each round ends at a better policy with another hole, and costs another set of labels. Some of InstructGPT's comparisons were also about replies of its PPO policies.
#
# The price keeps the policy nearer to `sft`. In our recorded runs it also led to more right replies at the same distance, which Gao et al. did not find {cite}`gao2022overoptimization`. Look at the replies with the price: is there still a long one that ends in *yes* and is wrong?
# ```

# %% [markdown]
# ## Bug zoo
#
# The package contains three wrong versions of `gae`. The test below accepts the right version, but lets at least one wrong version escape. Can you write tests that catch all three?

# %% tags=["zoo"]
def a_perfect_critic_is_never_surprised(gae) -> None:
    advantages = gae(tensor([0.0, 0.0, 1.0]), tensor([1.0, 1.0, 1.0]), 1.0, 0.9)
    assert torch.allclose(advantages, torch.zeros(3), atol=1e-6)


zoo("feedback", [a_perfect_critic_is_never_surprised])

# %% [markdown]
# Our own tests are hidden behind the button, for when yours catch all three.

# %% tags=["hide-cell"]
def one_token_is_compared_with_its_value(gae) -> None:
    assert torch.allclose(gae(tensor([2.0]), tensor([0.5]), 0.9, 0.9), tensor([1.5]))


def two_tokens_by_hand(gae) -> None:
    """Surprises 0 + 0.5 - 0 and 1.5 - 1, with gamma and lambda 1/2: the later counts 1/4."""
    advantages = gae(tensor([0.0, 1.5]), tensor([0.0, 1.0]), 0.5, 0.5)
    assert torch.allclose(advantages, tensor([0.5 + 0.25 * 0.5, 0.5]))


ours = [one_token_is_compared_with_its_value, two_tokens_by_hand]
caught = zoo("feedback", [a_perfect_critic_is_never_surprised, *ours])
assert caught
caught

# %% [markdown]
# ## The opening question, answered

# %%
best_right = max(smooth([line["accuracy"] for line in diary]))
print(f"the reward model's score: {first['score']:+.1f} at first, {last['score']:+.1f} in the "
      "end")
print(f"share right: {first['accuracy']:.2f} at first, {best_right:.2f} at its best, "
      f"{last['accuracy']:.2f} in the end")
claims = [line["claims"] for line in diary]
print(f"claims to be right: {claims[0]:.2f} at first, {claims[-1]:.2f} in the end")
print("models in memory:", sum(map(len, stages["PPO on a reward model"][:2])))

# %% [markdown]
# ## Receipt
#
# Here ± is the standard deviation over seeds, not the 95 % interval of the tables above.

# %% tags=["receipt"]
spread = {}
for name, of in right.items():
    spread[f"recorded, {name}: right at best"] = list(map(max, of))
    spread[f"recorded, {name}: right at last"] = [values[-1] for values in of]
gaps = {"losses of pairs": (loss_gap, 1e-12), "advantages": (gae_gap, 1e-6)}
gaps |= {"prices": (price_gap, 1e-6), "DPO": (dpo_gap, 1e-12)}
receipt(spread=spread, differences=gaps)

# %% [markdown]
# ## Summary
#
# What happened to the share of right replies while the score climbed? **It rose for a few steps and then fell below where it began**, as the numbers above show. The policy found that *saying* yes is easier than being right. The reward model could not tell the two apart, although it was accurate and fairly well calibrated on the replies that it had seen. A price on leaving the start kept the replies right while the score rose, for as long as we ran it.
#
# And how many models were in memory? **Four**: policy, critic, reference and reward model, beside a judge whose work is never finished. For tasks with a verifier, DeepSeek's answer was to need no critic, no reward model and no human judge for them.
#
# - I can now turn comparisons into a reward model, and say what its accuracy is worth and where.
# - I can now read a reliability diagram, and plant a bug that it must show.
# - I can now compute advantages with a critic by hand, and price each token for leaving a reference.
# - I can now say why DPO needs no reward model, and why it inherits the judge's faults all the same.
# - I can now recognise over-optimisation, in which the score rises, the truth falls and the distance grows, and I compare two runs at the same distance rather than at the same step.

# %% [markdown]
# ## Read on
#
# - InstructGPT {cite}`ouyang2022instructgpt`, section 3, and Stiennon et al. {cite}`stiennon2020summarize`, section 4.3, which shows the turn with people.
# - Gao et al. {cite}`gao2022overoptimization` describe the turn as a law.
# - Wen et al. {cite}`wen2024mislead` report the same with people, who after RLHF were convinced more often by answers that were no better.
# - DeepSeek-R1 {cite}`deepseekr1`, section 2.2, and its supplement on reward hacking.
# - [Chapter 12](12_grpo.ipynb) removes the critic, and in a later chapter a rule is the only judge.
