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
# Nobody can write down a rule for a good letter. So people are asked which of two letters is better, one model learns to predict their taste, and another learns to please that model. This is the road to ChatGPT, and the road that DeepSeek left when it taught R1 to reason. We build all of it, for a judge who is honest and cares most that an answer is right. The score of our model then climbs, step after step. **Where does the share of right answers go meanwhile, and how many models sit in memory to take it there?**
#
# - **You will build** fine-tuning on demonstrations, a reward model with its calibration, the parts of PPO (critic, advantages, the price of leaving), DPO, and a policy that outwits its reward model.
# - **You need** PyTorch, and the idea of a policy gradient (chapter 10, or the four answers of chapter 21).
# - **It takes** about 75 s to run on two CPU cores, about as long on a GPU (the models are tiny), and an hour and a half to read. The recorded runs took four minutes on three CPU cores; here they are only read.

# %% tags=["hide-input"]
import importlib.util; _ = importlib.util.find_spec("minidsk") or get_ipython().run_line_magic("pip", "install -q 'minidsk[notebooks] @ git+https://github.com/minidsk/minidsk'")

# %%
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
from minidsk.homework import check, describe, predict, receipt, zoo
from minidsk.rl.preferences import Annotator, Ranking, claims_success
from minidsk.presets import nano
from minidsk.rl.rollout import rollout
from minidsk.train.checkpoint import Run

# %% [markdown]
# ## The pain first
#
# Chapter 21's base model has read worksheets of many hands. Most of them try once, see that it is wrong, and hand it in.

# %%
base, recipe = minidsk.load_policy("nano-base"), nano()
_ = base.model.double()  # 16 digits: your processor draws the replies that ours drew
test = recipe.make_task("test")


def look(policy, problems: int = 128) -> dict[str, float]:
    """One reply to each held-out problem, at temperature 1: shares, and tokens a reply."""
    posed, generator = [test[i] for i in range(problems)], torch.Generator().manual_seed(0)
    drawn = rollout(policy, posed, 1, 160, {"accuracy": 1.0}, generator=generator)
    texts, lengths = drawn.completions.texts, drawn.completions.lengths
    claims = sum(map(claims_success, texts)) / problems
    return {"right": drawn.rewards.mean().item(), "claims": claims, "tokens": lengths.double().mean().item()}


# %%
def tell(name: str, seen: dict[str, float]) -> None:
    print(f"{name:22s} right {seen['right']:.2f}, claims to be right {seen['claims']:.2f}, {seen['tokens']:3.0f} tokens a reply")


at_base = look(base)
tell("base", at_base)

# %% [markdown]
# We want it to go on until it has found something, in one language, readably. For this game a verifier could say who did well. **In this chapter we act as if there were none**, as there is none for letters: until the last comparison, nothing below learns from it. We keep it in our pocket, to look at the truth.
#
# ## Show: demonstrations
#
# The first way to teach is to show. The tiny web has authors who persist; here is one, and what the model is to learn of the page. Dots are tokens that are read and not learnt: nobody should learn to pose problems.

# %%
persistent = dataclasses.replace(recipe.pretrain.web, worksheets=1.0, persistent=1.0, chinese=0.0, mixed=0.0)
pages = TinyWeb(persistent, seed=1000).pages(0, 128)
demonstrations = [(page[: page.index("<think>")], page[page.index("<think>") :]) for page in pages]
prompt, reply = demonstrations[1]
print(prompt + reply)
print("." * len(prompt) + reply.replace("\n", "⏎"))

# %% [markdown]
# **SFT**, supervised fine-tuning, is next-token prediction on such pages, with the loss on the reply alone. Demonstrations are dear, because somebody has to write them. We buy few, and take four steps. (More would do more: see *What went wrong*.)

# %%
from minidsk.train.optim import OptimConfig
from minidsk.train.sft import SFTConfig, fine_tune

sft, began = base.copy(), time.perf_counter()
with tempfile.TemporaryDirectory() as folder:
    run = Run(folder, "sft", {})
    fine_tune(sft, demonstrations, SFTConfig(steps=4, batch=32, optim=OptimConfig(lr=5e-4)), run, progress=False)
    print("loss of each step", [round(line["loss"], 2) for line in run.metrics()])
seconds = {"SFT": time.perf_counter() - began}

# %%
at_sft = look(sft)
tell("base", at_base)
tell("SFT", at_sft)

# %% [markdown]
# A little better. From here on `sft` is where everything starts, and what everything is compared with.
#
# Before you run on, guess. A judge, whom you will meet in a moment, prefers right answers in nearly every pair that differs in it. We train a model of the judge, then fifteen steps of PPO to please that model, and its score rises from 0 to its highest. **What share of the replies is right then?** Replace `None` by a number between 0 and 1; the tally stays on your machine.

# %% tags=["prediction"]
guess = None
right_at_the_end = predict(
    "feedback.right", "What share is right when the score is highest?", guess, example=0.6, scale="difference", tolerance=0.6
)
right_at_the_end

# %% [markdown]
# ## Compare: two replies, by hand
#
# Writing a demonstration takes skill. To say which of two is better takes less. Three replies to *make 4 from 3, 7 and 8*: **a** gives up, **b** is right, **c** writes *yes* behind a sum that is not 4.

# %%
from minidsk.tasks.countdown import CountdownProblem

problem = CountdownProblem("Make 4 from 3 7 8.\n", (3, 7, 8), 4, "8-(7-3)", "+-")
a = "<think>3+7+8=10+8=18?4 no</think><answer>3+7+8</answer>"
b = "<think>8-(7-3)=8-4=4?4 yes</think><answer>8-(7-3)</answer>"
c = "<think>8-(7-3)=8-2=6?4 yes</think><answer>3+7-8</answer>"

# %% [markdown]
# The judge is simulated, so that we know what it is like. A reply is worth 2 to it if it is right, 1 if it *claims* to be right, and ½ for every 40 characters of thought: that reads like effort. People lean the same way. And it is not always sure: the probability that it prefers one reply to another is the sigmoid of the difference in worth, divided by its noise, ½.

# %%
judge = Annotator(right=2.0, claims=1.0, length=0.5, noise=0.5)
for name, text in {"a": a, "b": b, "c": c}.items():
    print(f"{name}: worth {judge.worth(problem, text):.2f} to the judge, reward of the verifier {problem.score(text):.0f}")
print(f"prefers b to a in {judge.probability(problem, b, a):.1%}, b to c in {judge.probability(problem, b, c):.1%}, "
      f"c to a in {judge.probability(problem, c, a):.1%} of cases")

# %% [markdown]
# A good judge: it takes the right answer before either wrong one. Only between two wrong ones does it fall for the lie.
#
# A label says *which*, never *how good*. To get from one to the other, let a model give each reply a **score**, and read the difference of two scores as log-odds (Bradley and Terry {cite}`bradley1952`): scores 2 and 1 mean that the first is preferred with probability $\sigma(2 - 1) = 0.731$. If it was, the surprise is $-\log 0.731 = 0.313$, and that is the loss. Remember **0.731** and **0.313**; they will come back under another name.

# %% tags=["naive"]
def surprise(preferred: float, other: float) -> float:
    """-log of the probability of one label, from two scores."""
    probability = math.exp(preferred) / (math.exp(preferred) + math.exp(other))
    return -math.log(probability)


print(f"scores 2 and 1: loss {surprise(2, 1):.3f}; the other way round {surprise(1, 2):.3f}; equal {surprise(1, 1):.3f}")
print(f"scores 102 and 101: loss {surprise(102, 101):.3f}")

# %% [markdown]
# Two things to keep. A model that knows nothing pays log 2 = 0.693. And only differences count: where zero lies, preferences cannot say.
#
# To rank four replies costs a judge less than six comparisons, and holds six. So InstructGPT had replies ranked, 4 to 9 at a time {cite}`ouyang2022instructgpt`, and took the mean over all pairs of a ranking. The package does both:

# %% tags=["agree"]
from minidsk.rl.reward_model import pair_loss, ranking_loss

scores = tensor([2.0, 1.0, 3.0, -0.5], dtype=torch.float64)  # of four replies, the best first
pairs = [(i, j) for i in range(4) for j in range(i + 1, 4)]
by_hand = sum(surprise(scores[i], scores[j]) for i, j in pairs) / len(pairs)
loss_gap = max(abs(ranking_loss(scores).item() - by_hand), abs(pair_loss(scores[:1], scores[1:2]).item() - surprise(2, 1)))
assert loss_gap < 1e-12
print(f"{len(pairs)} pairs, mean loss {by_hand:.3f}; largest difference from the package below 1e-12")

# %% [markdown]
# ## Fifty labels of your own
#
# The judge's job, for you. Click, or press the arrow keys while a button has the focus. In Jupyter the cell below the figure then uses your labels; in the rendered book the figure counts alone. Watch yourself: how often do you check the sums?

# %%
posed = [recipe.make_task("train")[10**6 + i] for i in range(80)]
drawn = rollout(sft, posed, 2, 160, {"accuracy": 1.0}, generator=torch.Generator().manual_seed(1))
cards = []
for k, p in enumerate(posed):
    two = drawn.completions.texts[2 * k : 2 * k + 2]
    marks = {"for the longer": [len(t) for t in two], "for the right one": [p.score(t) for t in two],
             "for the one that says yes": [claims_success(t) for t in two]}  # fmt: skip
    facts = {name: 1 + (right > left) if left != right else 0 for name, (left, right) in marks.items()}
    if two[0] != two[1]:
        cards.append({"prompt": p.prompt, "left": two[0], "right": two[1], "facts": facts})

# %% tags=["widget"]
from minidsk.widgets import Preferences

labelling = Preferences(cards[:50], title="Which reply is better? Fifty pairs for you")
labelling

# %%
mine = [Ranking(prompt, (better, other)) for prompt, better, other in labelling.chosen()]
if mine:
    print(f"{len(mine)} labels of yours:", *(f"{n} of {of} {name}" for name, (n, of) in labelling.agreement().items()), sep="\n  ")
else:
    print("no labels of yours (yet): going on with the simulated judge alone")

# %% [markdown]
# ## A model of the judge
#
# The judge ranks four sampled replies to each of 180 problems; yours are added to its labels. Where a reply was drawn twice, it stands in the ranking once.

# %%
def judged(policy, first: int, count: int, seed: int) -> tuple[list, list]:
    """Problems and their rankings: four replies of `policy` to each, in the judge's order."""
    posed, generator = [recipe.make_task("train")[first + i] for i in range(count)], torch.Generator().manual_seed(seed)
    texts = rollout(policy, posed, 4, 160, {"accuracy": 1.0}, generator=generator).completions.texts
    ranked = [(p, judge.rank(p, texts[4 * k : 4 * k + 4], generator)) for k, p in enumerate(posed)]
    return zip(*[(p, r) for p, r in ranked if r is not None], strict=True)


_, rankings = judged(sft, 0, 180, seed=2)
comparisons = sum(len(ranking.pairs()) for ranking in rankings)
print(f"{len(rankings)} rankings hold {comparisons:,} comparisons")

# %% [markdown]
# The **reward model** is a copy of `sft` whose last matrix, one row for each token, is replaced by a single row: out comes one number, read at the end of the reply. It knows how to read already; it only has to learn what to like.

# %%
from minidsk.rl.reward_model import RewardModel, RewardModelConfig, accuracy, calibration, train_reward_model

reward_model, began = RewardModel(sft), time.perf_counter()
settings = RewardModelConfig(batch=4, optim=OptimConfig(lr=2e-3, warmup=5))
losses = train_reward_model(reward_model, [*rankings, *mine], settings, progress=False)
seconds["reward model"] = time.perf_counter() - began
print(f"first step: loss {losses[0]:.3f} (it gives every reply 0)")

# %%
reward_model.centre([r.prompt for r in rankings for _ in r.replies], [reply for r in rankings for reply in r.replies])
print(f"last 15 of {len(losses)} steps: mean loss {sum(losses[-15:]) / 15:.3f}")
for name, text in {"a": a, "b": b, "c": c}.items():
    print(f"{name}: score {reward_model.score([problem.prompt], [text]).item():+.1f}")

# %% [markdown]
# Zero now lies at the mean of the replies that it was trained on. On to rankings that it has not seen. Two questions: how often does it agree with the judge, and does it know how sure it is? The judge itself is noisy, so nobody can agree with it always: *best possible* is the share that one would reach who knew the worth of every reply.

# %%
tested, held_out = judged(sft, 10**8, 80, seed=3)
trials = [(p, pair) for p, ranking in zip(tested, held_out, strict=True) for pair in ranking.pairs()]
margins = reward_model.margins([pair for _, pair in trials])
known = tensor([judge.probability(p, pair.chosen, pair.rejected) for p, pair in trials])
differ = tensor([p.score(pair.chosen) - p.score(pair.rejected) for p, pair in trials])

# %%
as_judged, best = accuracy(margins), accuracy(known - 0.5)
prefers_right = accuracy((margins * differ)[differ != 0])
print(f"{len(trials)} comparisons: accuracy {as_judged:.2f}, best possible {best:.2f}")
print(f"where one reply is right and one is wrong ({int((differ != 0).sum())} comparisons): it prefers the right one in "
      f"{prefers_right:.2f}, the judge in {(differ[differ != 0] > 0).float().mean():.2f}")
assert as_judged > 0.7
assert prefers_right > 0.7

# %% [markdown]
# The **reliability diagram** sorts comparisons by the probability that the model gave, and asks how often it came true. On the diagonal, 80 % means 80 %. Each comparison is counted from both sides.

# %% tags=["figure"]
predicted = torch.sigmoid(torch.cat((margins, -margins)))
happened = torch.cat((torch.ones(len(margins)), torch.zeros(len(margins))))
bins, calibration_error = calibration(predicted, happened, bins=8)
fig, ax = plt.subplots(figsize=(4.2, 3.6), layout="constrained")
_ = ax.plot([0, 1], [0, 1], color="grey", lw=1, ls=":")
_ = ax.plot([row.predicted for row in bins], [row.observed for row in bins], "o-", color="#2a747b")
_ = ax.set(xlabel="predicted: the first is preferred", ylabel="share that came true", aspect="equal")
plt.show()
for row in bins:
    print(f"predicted {row.predicted:.2f}, came true {row.observed:.2f}, {row.pairs} comparisons")
print(f"expected calibration error {calibration_error:.3f}")

# %% [markdown]
# By all that is usually reported, this is a good reward model: it agrees with the judge in three of four cases where five of six would be the best possible, its doubts are roughly honest, and it is mostly for the right answer. InstructGPT's reward models predicted the labels of people whom they had not learned from in 69.6 % of cases {cite}`ouyang2022instructgpt`.
#
# Does the measure bite? We plant a bug, the labels swapped, and look at both numbers:

# %%
swapped = calibration(1 - predicted, happened, bins=8)[1]
print("with labels swapped: accuracy below one half:", accuracy(-margins) < 0.5, "| calibration worse:", swapped > calibration_error)
assert accuracy(-margins) < 0.5
assert swapped > calibration_error

# %% [markdown]
# *How would you cheat this model?* Read replies **a**, **b** and **c** once more before you go on.
#
# ## Please it: what PPO adds, by hand
#
# The policy writes replies, the reward model scores them. GRPO would compare the replies to one prompt (chapter 12). The older way, PPO {cite}`schulman2017ppo` as InstructGPT used it, has two more parts, both of them models.
#
# **A reference**, the policy as it began. Each token pays for being likelier than it was under the reference: $-\beta\,(\log \pi - \log \pi_{\text{ref}})$. The score, 1 here, comes with the last token.

# %%
logp, ref_logp = tensor([[-1.0, -0.5, -2.0, -0.5]]), tensor([[-1.0, -1.5, -1.0, -0.5]])
mask, beta, score = torch.ones(1, 4), 0.1, tensor([1.0])
paid = -beta * (logp - ref_logp)
paid[0, -1] += score[0]
print("paid after each token", [round(r, 2) + 0.0 for r in paid[0].tolist()])

# %% [markdown]
# The second token had become likelier and costs 0.1; the third had become less likely and gets 0.1 back. In the mean over many samples this is $\beta$ times the KL divergence.
#
# **A critic**, which says before each token what the whole reply will be worth. If a token was better than expected, the expectation rises: the **surprise** is $\delta_t = r_t + \gamma V_{t+1} - V_t$. Four tokens again, no price, and a critic that warms up:

# %%
rewards, values = tensor([0.0, 0, 0, 1]).double(), tensor([0.25, 0.5, 0.5, 0.75]).double()
following = torch.cat((values[1:], torch.zeros(1)))
surprises = rewards + following - values
print("surprises", surprises.tolist())


# %% [markdown]
# A token's advantage is its own surprise, and those of later tokens, discounted by $\lambda$ a token: generalised advantage estimation {cite}`schulman2015gae`. With $\lambda = 0$ one believes the critic in everything; with $\lambda = 1$ in nothing but the starting point.

# %%
def gae_by_hand(surprises: torch.Tensor, decay: float) -> list[float]:
    """sum over k of decay^k surprise[t + k], for each t."""
    n = len(surprises)
    return [sum(decay**k * surprises[t + k].item() for k in range(n - t)) for t in range(n)]


for lam in (0.0, 0.5, 1.0):
    print(f"lambda {lam}: advantages {[round(x, 3) for x in gae_by_hand(surprises, lam)]}")

# %% [markdown]
# At 1 they are $1 - V$: 0.75, 0.5, 0.5, 0.25. The second token, which nobody expected to matter, gets its share of what came later; at 0 it gets nothing. The package computes the same backwards, in one pass:

# %% tags=["agree"]
from minidsk.rl.ppo import gae, token_rewards

advantages, returns = gae(rewards[None], values[None], mask, gamma=1.0, lam=0.5)
gae_gap = (advantages[0] - tensor(gae_by_hand(surprises, 0.5)).double()).abs().max().item()
price_gap = (token_rewards(score, logp, mask, ref_logp, beta) - paid).abs().max().item()
assert max(gae_gap, price_gap) < 1e-6
print("largest difference, advantages and prices: below 1e-6")

# %% [markdown]
# The rest is chapter 12's and 21's: the clipped ratio times the advantage. The critic learns to say what came, by least squares. So four models are at work: **policy, critic, reference, reward model**.
#
# ## The run
#
# 64 replies a step, one to a prompt; no price on leaving, to see where the road leads. The reward function is the reward model's score and nothing else. Beside it we note what only we can see: the truth, and what the *judge itself* would think.

# %%
from minidsk.rl.config import CriticConfig, RLConfig
from minidsk.rl.critic import CriticBaseline
from minidsk.rl.loop import reinforce

diary: list[dict[str, float]] = []


def please(problems, replies) -> torch.Tensor:
    """The reward that the policy learns from, and a note of what it does not see."""
    scores, n = reward_model.reward(problems, replies), len(replies)
    worth = sum(judge.worth(p, reply) for p, reply in zip(problems, replies, strict=True)) / n
    diary.append({"score": scores.mean().item(), "worth": worth, "claims": sum(map(claims_success, replies)) / n})
    return scores


# %%
rates = {"warmup": 1, "decay": 0.01, "betas": (0.9, 0.99)}
settings = RLConfig(steps=15, prompts=64, group=1, rows=16, save_every=100, optim=OptimConfig(lr=6e-4, **rates))
critic_settings = CriticConfig(updates=1, alone=1, optim=OptimConfig(lr=2e-3, **rates))
pleaser, began = sft.copy(), time.perf_counter()
critic = CriticBaseline(pleaser, critic_settings, settings.steps, rows=settings.rows, reference=sft)
with tempfile.TemporaryDirectory() as folder:
    run = Run(folder, "ppo", settings)
    reinforce(pleaser, recipe.make_task("train"), settings, run, baseline=critic, reward=please, progress=False)
    diary = [{**noted, **line} for noted, line in zip(diary, run.metrics(), strict=True)]
seconds["PPO"] = time.perf_counter() - began
print(f"{len(diary)} steps of {settings.prompts} replies, all of them judged by the reward model")

# %%
print("step  nats away  score  judge's worth  right  claims  tokens")
for line in diary:
    print(f"{line['step']:4d}  {max(line['kl_answer'], 0):9.1f}  {line['score']:5.2f}  {line['worth']:13.2f}  "
          f"{line['accuracy']:5.2f}  {line['claims']:6.2f}  {line['length']:6.0f}")

# %% [markdown]
# The distance from `sft`, in nats a reply, is the KL divergence; following Gao et al. {cite}`gao2022overoptimization`, we draw against its square root.

# %% tags=["figure"]
distance = [math.sqrt(max(line["kl_answer"], 0)) for line in diary]
panels = {"score": "the reward model's score", "worth": "worth to the judge", "accuracy": "share right"}
fig, axes = plt.subplots(1, 3, figsize=(8.4, 2.8), layout="constrained")
for ax, (key, label) in zip(axes, panels.items(), strict=True):
    _ = ax.plot(distance, [line[key] for line in diary], "o-", ms=3, color="#2a747b" if key == "score" else "#b8631a")
    _ = ax.set(xlabel="√KL from the start", title=label)
plt.show()
half = len(diary) // 2
for key, label in panels.items():
    mean = [sum(line[key] for line in part) / len(part) for part in (diary[:3], diary[half - 2 : half + 1], diary[-3:])]
    print(f"{label:26s} first 3 steps {mean[0]:.2f}, middle {mean[1]:.2f}, last 3 {mean[2]:.2f}")

# %% [markdown]
# The score did what it was asked to do. For a few steps, so did the truth: the policy gave up less often. Then it turned, and so did what the judge would have said. Here is what the policy writes at the end; the verdict is ours:

# %%
for p in [test[i] for i in range(4)]:
    r = rollout(pleaser, [p], 1, 160, {"accuracy": 1.0}, generator=torch.Generator().manual_seed(0))
    print(f"{p.prompt.strip()}  {r.completions.texts[0]}\n    score {reward_model.reward([p], r.completions.texts).item():+.1f}, right: {r.rewards.item():.0f}")

# %%
right_at_the_end.reveal(round(look(pleaser)["right"], 2))

# %%
first, last = ({key: sum(line[key] for line in part) / 3 for key in panels} for part in (diary[:3], diary[-3:]))
assert last["score"] > first["score"] + 1
assert last["accuracy"] < first["accuracy"]
print("score up, share right down, against the first three steps: True")

# %% [markdown]
# It writes *yes*, at once, behind whatever sum. This is reply **c**. The judge would not have preferred it to a right one. But the judge was never asked: among the replies of `sft` a *yes* nearly always stood behind a right sum, so the labels could not tell *being* right from *saying* so. The policy then went where the labels had not been. Ask the reward model about its own pupil:

# %%
posed_now, ranked_now = judged(pleaser, 2 * 10**8, 60, seed=4)
now = [(p, pair) for p, ranking in zip(posed_now, ranked_now, strict=True) for pair in ranking.pairs()]
margins_now = reward_model.margins([pair for _, pair in now])
known_now = tensor([judge.probability(p, pair.chosen, pair.rejected) for p, pair in now])
differ_now = tensor([p.score(pair.chosen) - p.score(pair.rejected) for p, pair in now])
prefers_right_now = accuracy((margins_now * differ_now)[differ_now != 0])
for whose, of, at_best, right in (("sft", as_judged, best, prefers_right),
                                  ("its pupil", accuracy(margins_now), accuracy(known_now - 0.5), prefers_right_now)):  # fmt: skip
    print(f"replies of {whose:9s} accuracy {of:.2f} (best possible {at_best:.2f}); prefers the right one to a wrong one in {right:.2f}")

# %% [markdown]
# The accuracy was true, and is true no more: it held *for the replies that were judged*. This is Goodhart's law: when a measure becomes a target, it ceases to be a good measure. To mend it, one asks the judge again, about the pupil's replies, and trains the reward model anew, over and over. The labels are never finished.
#
# ## Three seeds, and a control
#
# One run with 64 replies a step is a story. These were recorded: three seeds, each with demonstrations, labels and a reward model of its own, 20 steps of 80 replies; and, as the control, the same PPO paid by the verifier.

# %%
def recorded(name: str):
    """What a recorded run measured; how it was run is printed."""
    print(results.origin(name))
    return results.read(name)


# %%
rows, control, priced = (recorded(name)["rows"] for name in ("ch11_feedback", "ch11_control", "ch11_price"))
runs: dict[str, list[dict]] = {}
for row in rows + priced + control:
    if row["part"] == "ppo":
        price = f", a price of {row['kl_coef']:g}" if row["kl_coef"] else ""
        name = f"paid by the {row['reward']}{price}"
        runs.setdefault(name, []).append(row["curves"])


# %%
def smooth(values: list[float], k: int = 3) -> list[float]:
    """The mean of each three steps in a row."""
    return [sum(values[i : i + k]) / k for i in range(len(values) - k + 1)]


def interval(values: list[float]) -> str:
    """Mean, and half a 95 % interval over seeds (Student's t)."""
    t = {2: 12.71, 3: 4.303, 4: 3.182}.get(len(values), math.nan)
    x = tensor(values, dtype=torch.float64)
    return f"{x.mean():.2f} ± {t * x.std() / len(values) ** 0.5:.2f}" if len(values) > 1 else f"{x.mean():.2f} (one seed)"


# %%
for name, curves in runs.items():
    right = [smooth(curve["right"]) for curve in curves]
    print(f"{name}: {len(curves)} seeds, {len(curves[0]['right'])} steps")
    print("  share right, first three steps ", interval([values[0] for values in right]))
    print("  at its best (three steps)      ", interval([max(values) for values in right]))
    print("  last three steps               ", interval([values[-1] for values in right]))
    print("  nats away from the start, last ", interval([smooth(curve["kl"])[-1] for curve in curves]))

# %%
if runs:
    fig, axes = plt.subplots(1, 3, figsize=(8.6, 3.2), layout="constrained")
    keys = {"proxy": "the reward model's score", "worth": "worth to the judge", "right": "share right"}
    for ax, (key, label) in zip(axes, keys.items(), strict=True):
        for (name, curves), colour in zip(runs.items(), ("#2a747b", "#b8631a", "#6b5b95"), strict=False):
            for curve in curves if key != "proxy" or "verifier" not in name else []:
                away = [math.sqrt(max(x, 0)) for x in smooth(curve["kl"])]
                _ = ax.plot(away, smooth(curve[key]), color=colour, lw=1.2, label=name if curve is curves[0] else None)
        _ = ax.set(xlabel="√KL from the start", title=label)
    _ = fig.legend(*axes[2].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    plt.show()

# %%
for name, curves in runs.items():
    fell = [max(smooth(curve["right"])) - smooth(curve["right"])[-1] for curve in curves]
    rose = [max(smooth(curve["right"])) - smooth(curve["right"])[0] for curve in curves]
    print(f"{name:25s} share right rose by {[round(x, 2) for x in rose]}, then fell by {[round(x, 2) for x in fell]}")
    if name == "paid by the reward model":
        assert min(rose) > 0
        assert min(fell) > 0.2
        assert all(curve["proxy"][-1] > curve["proxy"][0] + 1 for curve in curves)
ends = {name: [smooth(curve["right"])[-1] for curve in curves] for name, curves in runs.items()}
if "paid by the verifier" in ends and "paid by the reward model" in ends:
    assert min(ends["paid by the verifier"]) > max(ends["paid by the reward model"])
    print("at the end, the worst seed of the control is ahead of the best seed paid by the reward model: True")

# %% [markdown]
# Paid by the reward model, every seed does the same: the score rises by more than a point and stays there; the share of right answers rises a little, turns, and falls far below where it began. The control tells what is to blame. Paid by the truth, the same algorithm with as many steps and replies goes about as far from the start and does not collapse. It is no triumph either: with so few replies a step two seeds gain, and the third wobbles and ends where it began. (Its runs had no reward model worth the name, so no score of theirs is drawn.)
#
# ### What the price buys
#
# The third line of the table above is the same PPO, on the same reward models, with $\beta = 0.1$. It was to tell whether a price on leaving buys more truth, or only a later turn. Compare at the same *distance*, not at the same step: where the run without a price has come as far as the run with it has at its end, how many of its replies are right?

# %%
def at_distance(curve: dict, nats: float) -> float:
    """The share right where a run first comes `nats` far."""
    return next(right for right, away in zip(smooth(curve["right"]), smooth(curve["kl"]), strict=True) if away >= nats)


free, paying = (runs.get(name, []) for name in ("paid by the reward model", "paid by the reward model, a price of 0.1"))
for seed, (without, with_price) in enumerate(zip(free, paying, strict=False)):
    nats, right = smooth(with_price["kl"])[-1], smooth(with_price["right"])[-1]
    print(f"seed {seed}: {nats:.1f} nats away, right {right:.2f} with the price, {at_distance(without, nats):.2f} without; "
          f"score at the end {smooth(with_price['proxy'])[-1]:.2f} and {smooth(without['proxy'])[-1]:.2f}")  # fmt: skip
    assert right > max(smooth(without["right"]))

# %% [markdown]
# It bought more than a later turn. (In the figure the priced runs go out, and turn back: once the score has little more to give, the price pulls.) With the price the score ends where it ends without, and the truth does not turn within 20 steps: every seed ends with more right answers than its unpriced twin ever had, at a fraction of the distance; on average it ends above PPO on the verifier, whose interval is wide. At the same distance it is ahead as well. Gao et al. {cite}`gao2022overoptimization` found for their models that a price acts like stopping earlier; ours, three seeds of one small setting with one $\beta$, says otherwise. One difference to look at: we let 20 steps pass, so the priced runs spent many more updates at that distance than the others, which rushed through it.
#
# ### Choosing instead of training
#
# No training at all is needed to meet Goodhart. Draw $n$ replies of `sft` and keep the one that the reward model likes best; that policy is $\log n - (n-1)/n$ nats away {cite}`stiennon2020summarize`.

# %%
chosen = [row for row in rows if row["part"] == "best_of_n"]
for n in sorted({row["n"] for row in chosen}):
    of = [row for row in chosen if row["n"] == n]
    print(f"best of {n:2d}, {of[0]['kl']:.2f} nats away: score {interval([r['proxy'] for r in of])}, "
          f"worth {interval([r['worth'] for r in of])}, right {interval([r['right'] for r in of])}")

# %% [markdown]
# Up to the best of four, every choice is a gain in truth as well: near the replies that were judged, the reward model knows what it is talking about. From there on the score still grows, and the truth turns. It does so on two of our three seeds; the third reward model holds out to the best of 32.

# %%
for seed in sorted({row["seed"] for row in chosen}):
    right = {row["n"]: row["right"] for row in chosen if row["seed"] == seed}
    print(f"seed {seed}: right {right[1]:.2f} with one reply, {right[4]:.2f} at best of 4, {right[max(right)]:.2f} at best of {max(right)}")

# %% [markdown]
# ## DPO: the same, without a reward model
#
# The policy that maximises $\mathbb{E}[r] - \beta\,\mathrm{KL}$ is known in closed form: $\pi^*(y) \propto \pi_{\text{ref}}(y)\, e^{r(y)/\beta}$. Solve for the reward: $r(y) = \beta \log \frac{\pi^*(y)}{\pi_{\text{ref}}(y)}$, and a constant that pairs do not see. So any policy *is* a reward model, and can be trained as one {cite}`rafailov2023dpo`.
#
# By hand: two replies have log-probability $-4$ each under the reference. Under the policy, the preferred one has $-3$ and the other $-5$. With $\beta = \frac12$ the implicit rewards are $+\frac12$ and $-\frac12$; their difference is 1, the probability of the label **0.731**, the loss **0.313**. There they are again.

# %% tags=["agree"]
from minidsk.rl.dpo import DPOConfig, direct_preferences, dpo_loss

won, lost = 0.5 * (-3 - -4), 0.5 * (-5 - -4)
four = [tensor([x], dtype=torch.float64) for x in (-3.0, -5.0, -4.0, -4.0)]
dpo_gap = abs(dpo_loss(*four, beta=0.5)[0].item() - surprise(won, lost))
assert dpo_gap < 1e-12
print(f"implicit rewards {won:+.1f} and {lost:+.1f}, loss {surprise(won, lost):.3f}; largest difference below 1e-12")

# %% [markdown]
# No sampling, no critic, no reward model: two models and the labels. Twelve steps on the comparisons of our rankings:

# %%
direct, began = sft.copy(), time.perf_counter()
comparisons_of = [pair for ranking in [*rankings, *mine] for pair in ranking.pairs()]
dpo = DPOConfig(steps=12, beta=0.1, optim=OptimConfig(lr=4e-4, warmup=5, betas=(0.9, 0.99)))
history = direct_preferences(direct, comparisons_of, dpo, progress=False)
seconds["DPO"] = time.perf_counter() - began
print(f"first step: loss {history[0]['loss']:.3f} (policy and reference are equal)")

# %%
at_dpo, at_ppo = look(direct), look(pleaser)
for name, seen in (("SFT", at_sft), (f"DPO, {dpo.steps} steps", at_dpo), (f"PPO, {settings.steps} steps", at_ppo)):
    tell(name, seen)
print(f"implicit rewards at the end: chosen {history[-1]['chosen']:+.2f}, rejected {history[-1]['rejected']:+.2f}")

# %%
for row in [row for row in rows + priced if row["part"] == "dpo"]:
    steps = [f"{at['step']}: {at['kl']:.1f} nats, right {at['right']:.2f}, claims {at['claims']:.2f}" for at in row["looks"]]
    print(f"recorded, beta {row['beta']}, seed {row['seed']}:", "; ".join(steps))

# %% [markdown]
# DPO learns from the same labels and leans the same way: claims and length go up. Within 48 steps it stays near the start, and so does the truth, which is past its best in all three runs. Rafailov et al. {cite}`rafailov2024directoveropt` report that it over-optimises as well, with no reward model to blame.
#
# ## The bill
#
# What learns keeps its weights, their gradients and AdamW's two moments: 16 bytes a parameter in float32. What only answers keeps its weights: 4 bytes. We count, and check the count on the critic:

# %%
from minidsk.rl.critic import Critic

critic = Critic(sft).float()  # 4 bytes a number, as usual
kinds = {"policy": sft.model, "reference": sft.model, "critic": critic, "reward model": reward_model}
size = {name: sum(p.numel() for p in model.parameters()) for name, model in kinds.items()}
optimizer = torch.optim.AdamW(critic.parameters())
critic(sft.encode(["4 from 3 7 8"], ["8 - 7 + 3 = 4"])).sum().backward()
optimizer.step()
moments = sum(m.nbytes for state in optimizer.state.values() for name, m in state.items() if name != "step")
measured = sum(p.nbytes + p.grad.nbytes for p in critic.parameters()) + moments
print(f"critic: {16 * size['critic']:,} bytes predicted, {measured:,} held")
assert measured == 16 * size["critic"]

# %%
from minidsk.scale.cost import parameters

v3 = minidsk.ModelConfig.from_dict({"model_type": "deepseek_v3"})
stages = {  # what learns, what only answers, what had to be labelled
    "SFT": (["policy"], [], f"{len(demonstrations)} demonstrations"),
    "DPO": (["policy"], ["reference"], f"{comparisons:,} comparisons"),
    "PPO on a reward model": (["policy", "critic"], ["reference", "reward model"], f"{comparisons:,} comparisons"),
    "GRPO on a verifier": (["policy"], [], "none"),
}
for name, (learning, answering, labels) in stages.items():
    models = len(learning) + len(answering)
    here = 16 * sum(size[m] for m in learning) + 4 * sum(size[m] for m in answering)
    print(f"{name:22s} models: {models}, {here / 1e6:4.1f} million bytes here; weights at V3's size, in bf16: "
          f"{models * 2 * parameters(v3) / 1e12:.1f} trillion bytes; labels: {labels}")

# %%
print("seconds on this machine:", ", ".join(f"{name} {spent:.1f} s" for name, spent in seconds.items()))

# %% [markdown]
# Four models against one, and people against a few lines of code. (InstructGPT made its bill smaller: reward model and critic had 6 billion parameters beside a policy of 175 {cite}`ouyang2022instructgpt`. Chapter 12 measures GRPO beside PPO.)
#
# ## What DeepSeek did
#
# First, what the road had reached. Christiano et al. {cite}`christiano2017preferences` taught a simulated robot a backflip from some 900 comparisons. Stiennon et al. {cite}`stiennon2020summarize` learned to summarise, and saw the turn: far from the start, people liked the replies less although the reward model liked them more. InstructGPT {cite}`ouyang2022instructgpt` used about 40 labellers, 13 thousand prompts with demonstrations, 33 thousand with rankings and 31 thousand for PPO; people preferred its 1.3 billion parameters to GPT-3's 175 billion. Its objective is the one built above,
#
# $$ \max_\pi\ \mathbb{E}_{x,\, y \sim \pi}\left[ r_\phi(x, y) - \beta \log \frac{\pi(y \mid x)}{\pi_{\text{ref}}(y \mid x)} \right], $$
#
# with a little pretraining mixed in. Gao et al. {cite}`gao2022overoptimization` measured the turn for many sizes: with $d = \sqrt{\mathrm{KL}}$ the true reward follows $d(\alpha - \beta \log d)$ for RL and $d(\alpha - \beta d)$ for best of $n$. A price on KL, they found, acts like stopping earlier: it did not give more truth at the same distance.
#
# DeepSeek-R1-Zero {cite}`deepseekr1` replaced $r_\phi$ by a rule,
#
# $$ r(x, y) = r_{\text{accuracy}}(x, y) + r_{\text{format}}(y), $$
#
# and the critic by a group (chapter 12). The paper gives the reasons (section 2.2): a neural reward model may be hacked in large-scale RL, to train it anew takes resources, and it complicates the whole pipeline. That is the bill and the turn, in one sentence.
#
# They did not give up reward models altogether. Where no rule exists, as for helpfulness, R1's last stage uses them, and only in the last 400 of its 1,700 steps; with more, they saw reward hacking, and their supplement shows a reward that rises while the result on Codeforces falls. DeepSeek-V3 {cite}`deepseekv3` too was tuned with rules where there are rules, and with a model elsewhere.
#
# So the claim "the road that was skipped" holds *for reasoning*, where a verifier exists. That is their evidence; ours, above, is a game, a judge whom we made, and models a million times smaller.

# %% [markdown]
# ## What went wrong, or did not help
#
# **Labels on replies that are all alike.** Our first policy had twelve steps of SFT on twice the demonstrations, at twice the rate. Most of its replies ended in *yes*, so most pairs were decided by small differences and by chance, and the reward model learned little. These runs were recorded too:

# %%
alike = recorded("ch11_alike")["rows"]
for kind in (alike, rows):
    models = [row for row in kind if row["part"] == "reward_model" and row["rankings"] == 240]
    starts = [row["sft"] for row in kind if row["part"] == "start"]
    if models:
        print("twelve steps of SFT:" if kind is alike else "four steps of SFT:")
        print(f"  sft: right {interval([s['right'] for s in starts])}, claims {interval([s['claims'] for s in starts])}")
        print(f"  reward model: accuracy {interval([m['accuracy'] for m in models])}, best possible {interval([m['best_accuracy'] for m in models])}")
        print(f"  prefers the right one to a wrong one in {interval([m['prefers_right'] for m in models])}, the judge in {interval([m['judge_prefers_right'] for m in models])}")

# %% [markdown]
# **We did not need PPO.** The same lines say something that should not be hidden: eight more steps of plain imitation made more replies right than PPO on the reward model did at its best, and so did choosing the best of four. Where demonstrations can be had, they are hard to beat; RLHF was made for what people can judge and not write. (With twelve steps already done there was little left for a reward to add; we took four so that there is something to see.)
#
# **A head in a hurry.** We trained the head at ten times the rate of the body at first, as is often done with new layers. The loss stayed at that of a coin for the first hundred steps: a head that swings tells the body nothing.
#
# **More labels of the same kind** would not have helped. The gap is not noise; it is a question that nobody asked, because no policy had yet written such replies.
#
# ## Exercises
#
# ```{exercise} The loss of a label
# :label: ex-11-pair
#
# *5 minutes.* Write `pair_loss(chosen, rejected)` for tensors of scores, `[N]` to a scalar. `check("feedback.pair_loss", my_pair_loss)`.
#
# **Hint.** `surprise` above fails for scores of 1,000. Which function of torch holds the sigmoid and its logarithm together?
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
# *15 minutes.* Write `gae(rewards, values, gamma, lam)` for one reply, in one pass from its end. `check("feedback.gae", my_gae)` knows six mistakes by name.
#
# **Hint.** The sum for token $t$ is its own surprise and $\gamma\lambda$ times the sum for token $t + 1$. What is expected after the last token?
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
# *5 minutes.* Write `token_rewards(score, logp, ref_logp, beta)` for one reply. `check("feedback.token_rewards", my_token_rewards)`.
#
# **Hint.** Begin with `beta = 0`. Who pays: a token that became likelier, or one that became less likely?
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
# *10 minutes.* Write `dpo_loss(chosen, rejected, ref_chosen, ref_rejected, beta)`. `check("feedback.dpo_loss", my_dpo_loss)`. What must it be at the reference, whatever the replies?
#
# **Hint.** Two implicit rewards, then the loss that you wrote first.
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
# At the reference both implicit rewards are 0, and the loss is log 2 = 0.693: a model that knows nothing.
#
# ```{solution-end}
# ```
#
# ```{exercise} A judge who asks again
# :label: ex-11-again
#
# *25 minutes.* Do one round more: let the judge rank replies of `pleaser`, train a new reward model on both sets of rankings, and run PPO again from `sft`. Say first: does the share of right answers still turn, and what will the policy find this time? Then put the price back: the first run once more, with `kl_coef=0.1` in its settings.
#
# **Hint.** `posed_now` and `ranked_now` are there. What is a reply worth to the judge that is *long*, ends in *yes* and is wrong?
# ```
#
# ```{solution} ex-11-again
# :class: dropdown
#
# The new labels contain false claims beside true ones, so this hole closes, as far as a reward model of this size can check a sum. What remains is what the *judge* is paid for besides truth: half a point for 40 characters. A policy that cannot raise the first term raises the others. Each round ends at a better place and at another hole, and costs another set of labels; some of InstructGPT's comparisons, too, were about replies of its PPO policies. The price keeps the policy nearer to `sft`. In our recorded runs it also found more truth at the same distance; Gao et al. found that it does not {cite}`gao2022overoptimization`. Look at the replies: with the price, is there still a long one that ends in *yes* and is wrong?
# ```

# %% [markdown]
# ## Bug zoo
#
# Three wrong versions of `gae` live in the package. The test below accepts the right one and catches one of them at best. Write the rest.

# %% tags=["zoo"]
def a_perfect_critic_is_never_surprised(gae) -> None:
    advantages = gae(tensor([0.0, 0.0, 1.0]), tensor([1.0, 1.0, 1.0]), 1.0, 0.9)
    assert torch.allclose(advantages, torch.zeros(3), atol=1e-6)


zoo("feedback", [a_perfect_critic_is_never_surprised])

# %% [markdown]
# Ours are behind the button. Look at them last.

# %% tags=["hide-cell"]
def one_token_is_compared_with_its_value(gae) -> None:
    assert torch.allclose(gae(tensor([2.0]), tensor([0.5]), 0.9, 0.9), tensor([1.5]))


def two_tokens_by_hand(gae) -> None:
    """Surprises 0 + 0.5 - 0 and 1 - 1, with gamma 1/2; then the later one is 0.5 and counts a quarter."""
    assert torch.allclose(gae(tensor([0.0, 1.5]), tensor([0.0, 1.0]), 0.5, 0.5), tensor([0.5 + 0.25 * 0.5, 0.5]))


caught = zoo("feedback", [a_perfect_critic_is_never_surprised, one_token_is_compared_with_its_value, two_tokens_by_hand])
assert caught
caught

# %% [markdown]
# ## The opening question

# %%
print(f"the reward model's score: {first['score']:+.1f} in the first three steps, {last['score']:+.1f} in the last three")
print(f"share right: {first['accuracy']:.2f} at first, {max(smooth([line['accuracy'] for line in diary])):.2f} at its best, {last['accuracy']:.2f} in the end")
print(f"claims to be right: {diary[0]['claims']:.2f} at first, {diary[-1]['claims']:.2f} in the end")
print("models in memory:", sum(map(len, stages["PPO on a reward model"][:2])))

# %% [markdown]
# ## Receipt

# %% tags=["receipt"]
spread = {}
for name, curves in runs.items():
    right = [smooth(curve["right"]) for curve in curves]
    spread[f"recorded, {name}: right at best"] = [max(values) for values in right]
    spread[f"recorded, {name}: right at last"] = [values[-1] for values in right]
gaps = {"losses of pairs": (loss_gap, 1e-12), "advantages": (gae_gap, 1e-6), "prices": (price_gap, 1e-6), "DPO": (dpo_gap, 1e-12)}
receipt(spread=spread, differences=gaps)

# %% [markdown]
# ## Summary
#
# Where did the share of right answers go while the score climbed? **Up for a few steps, and then below where it began**; the numbers stand above. The policy found that to *say* yes is cheaper than to be right, and the reward model, accurate and calibrated on what it had seen, could not tell. A price on leaving kept truth and score together, for as long as we ran it. How many models? **Four**: policy, critic, reference and reward model, and judges who are never done. DeepSeek's answer, for tasks with a verifier, was to need none of the last three.
#
# - I can now turn comparisons into a reward model, and say what its accuracy is worth and where.
# - I can now read a reliability diagram, and plant a bug that it must show.
# - I can now compute advantages with a critic by hand, and price each token for leaving a reference.
# - I can now say why DPO needs no reward model, and why it inherits the judge's faults all the same.
# - I can now recognise over-optimisation: the score up, the truth down, the distance growing; and compare two runs at the same distance rather than at the same step.

# %% [markdown]
# ## Read on
#
# - InstructGPT {cite}`ouyang2022instructgpt`, section 3; Stiennon et al. {cite}`stiennon2020summarize`, section 4.3, for the turn seen with people.
# - Gao et al. {cite}`gao2022overoptimization`: the turn as a law.
# - Wen et al. {cite}`wen2024mislead`: the same with people, who were convinced more often after RLHF by answers that were no better.
# - DeepSeek-R1 {cite}`deepseekr1`, section 2.2, and its supplement on reward hacking.
# - Chapter 12 throws the critic out; chapter 13 lets a rule be the only judge.
