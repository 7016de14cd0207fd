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
# There is no rule that says what a good letter is. So companies ask people which of two letters is better, train one model to predict their taste, and train another model to please the first. This is how ChatGPT was made, and it is the method that DeepSeek left when it taught R1 to reason. We build all of it, for a simulated judge who is honest and cares most that an answer is right. The score of our model then climbs quickly and stays high. **What happens meanwhile to the share of right answers, and how many models must sit in memory?**
#
# - **You will build** fine-tuning on demonstrations, a reward model with its calibration, the parts of PPO (a critic, advantages, and a price for leaving the start), DPO, and a policy that outwits its reward model.
# - **You need** PyTorch, and the idea of a policy gradient ([chapter 10](10_from_games_to_words.ipynb), or the four answers of [chapter 22](22_capstone.ipynb)).
# - **It takes** about 75 s to run on two CPU cores, about as long on a GPU (the models are tiny), and an hour and a half to read. The recorded runs took four minutes on three CPU cores; here we only read them.

# %% tags=["hide-input"]
import importlib.util

if importlib.util.find_spec("minidsk") is None:  # Colab, for example
    source = "git+https://github.com/minidsk/minidsk"
    get_ipython().run_line_magic("pip", f"install -q 'minidsk[notebooks] @ {source}'")

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
# ## The base model gives up too early
#
# Our base model is [chapter 22](22_capstone.ipynb)'s `nano-base`. It has learned from worksheets by many authors, most of whom try once, see that the result is wrong, and hand it in. So the model does this too.

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
# We want the model to go on until it has found an answer, in one language and readably. In this game a program, the verifier, could say which replies are right. **We act as if there were no verifier**, because there is none for letters. Until the last comparison no model learns from it, and we only use it to measure the truth.
#
# ## Showing: fine-tuning on demonstrations
#
# The simplest way to teach is to show. Some authors of the tiny web, our training text, try again until they succeed. The cell prints one such worksheet, and below it what the model is to learn from it. A dot stands for a character that the model reads but does not learn to write, because it should not learn to pose problems.

# %%
persistent = dataclasses.replace(recipe.pretrain.web, worksheets=1.0, persistent=1.0, chinese=0.0, mixed=0.0)
pages = TinyWeb(persistent, seed=1000).pages(0, 128)
demonstrations = [(page[: page.index("<think>")], page[page.index("<think>") :]) for page in pages]
prompt, reply = demonstrations[1]
print(prompt + reply)
print("." * len(prompt) + reply.replace("\n", "⏎"))

# %% [markdown]
# **SFT**, supervised fine-tuning, is next-token prediction on such pages, with the loss on the reply alone. Demonstrations are expensive, because people have to write them. So we use only a few and take four steps. More would help more, as *What went wrong* shows.

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
# The share of right replies is a little higher now. Everything below starts from `sft`, and we compare everything with it.
#
# Before you run on, make a guess. You will soon meet a judge that prefers the right reply in nearly every pair of a right and a wrong one. We train a model of this judge. Then fifteen steps of PPO train our policy to please that model, and its score climbs from about 0 and stays close to its highest value. **What share of the replies is right then?** Replace `None` by a number between 0 and 1; your score stays on your machine.

# %% tags=["prediction"]
guess = None
right_at_the_end = predict(
    "feedback.right", "What share is right when the score is highest?", guess, example=0.6, scale="difference", tolerance=0.6
)
right_at_the_end

# %% [markdown]
# ## Comparing two replies, by hand
#
# It takes skill to write a demonstration, and less skill to say which of two replies is better. Here are three replies to *make 4 from 3, 7 and 8*. Reply **a** gives up, **b** is right, and **c** writes *yes* after a sum that is not 4.

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
    print(f"{name}: worth {judge.worth(problem, text):.2f} to the judge, reward of the verifier {problem.score(text):.0f}")
print(f"prefers b to a in {judge.probability(problem, b, a):.1%}, b to c in {judge.probability(problem, b, c):.1%}, "
      f"c to a in {judge.probability(problem, c, a):.1%} of cases")

# %% [markdown]
# This is a good judge, because it prefers the right reply to either of the wrong ones. Only between two wrong replies does the false claim win.
#
# A label says *which* reply is better, but not *by how much*. To get from one to the other, a model gives each reply a **score**. We read the difference of two scores as log-odds, following Bradley and Terry {cite}`bradley1952`. Scores of 2 and 1 then mean that the first reply is preferred with probability $\sigma(2 - 1) = 0.731$. If the judge did prefer it, the loss is the surprise at this, $-\log 0.731 = 0.313$. Remember **0.731** and **0.313**, because both will return in the section on DPO.

# %% tags=["naive"]
def surprise(preferred: float, other: float) -> float:
    """-log of the probability of one label, from two scores."""
    probability = math.exp(preferred) / (math.exp(preferred) + math.exp(other))
    return -math.log(probability)


print(f"scores 2 and 1: loss {surprise(2, 1):.3f}; the other way round {surprise(1, 2):.3f}; equal {surprise(1, 1):.3f}")
print(f"scores 102 and 101: loss {surprise(102, 101):.3f}")

# %% [markdown]
# A model that knows nothing gives equal scores, and its loss is log 2 = 0.693. Only differences of scores count, so preferences cannot say where zero lies.
#
# A ranking of four replies contains six comparisons, but costs the judge less work than six separate ones. InstructGPT therefore had 4 to 9 replies ranked at a time {cite}`ouyang2022instructgpt`, and averaged the loss over all pairs of a ranking, as the package does:

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
# To do the judge's job yourself, click on the better reply, or press the arrow keys while a button has the focus. In Jupyter the cell below the figure then uses your labels; in the rendered book the figure only counts them. Notice how often you check the sums.

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
# ## A reward model learns from the judge
#
# The judge ranks four sampled replies to each of 180 problems, and your own labels are added to these. A reply that was drawn twice stands in its ranking once.

# %% tags=["diagram", "hide-input"]
from minidsk.diagrams import diagram

diagram("reward_model_and_dpo")

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
# The **reward model** is a copy of `sft` whose last matrix, with one row per token, is replaced by a single row. So it gives one number, which we read at the end of the reply. It can already read worksheets and only has to learn what the judge likes.

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
# The scores are now shifted so that zero is their mean over the replies that the reward model was trained on. Next we test it on rankings that it has not seen. How often does it agree with the judge, and does it know how sure it can be? The judge is noisy, so even a model that knew the worth of every reply would not predict every label. The share that it would predict is printed as *best possible*.

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
# The **reliability diagram** groups the comparisons by the probability that the model predicted, and shows how often the prediction came true. On the diagonal, 80 % means 80 %. Each comparison is counted from both sides.

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
# By the usual measures this is a good reward model. It agrees with the judge in about three of four cases, where about five of six would be the best possible, and it usually prefers the right reply. Where it is nearly sure, it is nearly always right, and most comparisons are of this kind or near one half. It misses by more only in between, where there are few comparisons. InstructGPT's reward models predicted the labels of people whom they had not learned from in 69.6 % of cases {cite}`ouyang2022instructgpt`.
#
# To check that the measure can fail, we plant a bug, swapped labels, and look at both numbers:

# %%
swapped = calibration(1 - predicted, happened, bins=8)[1]
print("with labels swapped: accuracy below one half:", accuracy(-margins) < 0.5, "| calibration worse:", swapped > calibration_error)
assert accuracy(-margins) < 0.5
assert swapped > calibration_error

# %% [markdown]
# *How would you cheat this reward model?* Read replies **a**, **b** and **c** once more before you go on.
#
# ## What PPO adds, by hand
#
# A *policy* is a model that acts, here by writing replies. The reward model scores the replies, and the policy learns from the scores. GRPO would compare several replies to the same problem ([chapter 12](12_grpo.ipynb)). The older method, PPO {cite}`schulman2017ppo` as InstructGPT used it, needs two more models.
#
# The first is a **reference**, which is the policy as it was at the start. Each token pays for being likelier under the policy than under the reference: its reward is $-\beta\,(\log \pi - \log \pi_{\text{ref}})$. The score of the whole reply, 1 in this example, is added to the last token.

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
# The rest of PPO is in chapters [12](12_grpo.ipynb) and [22](22_capstone.ipynb): the clipped ratio times the advantage. The critic learns by least squares to predict what came. So four models are at work: **policy, critic, reference and reward model**.
#
# ## Fifteen steps of PPO against the reward model
#
# Each step uses 64 replies, one per problem. There is no price on leaving the reference, because we want to see where the score alone leads. The policy is rewarded by the score of the reward model and by nothing else. Beside it we note what only we can see: the share of right replies, and what the replies are worth to the *judge itself*.

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
# We measure the distance from `sft` as the KL divergence, in nats per reply. Like Gao et al. {cite}`gao2022overoptimization`, we plot against its square root.

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
# The score rose, as it was asked to. For a few steps the share of right replies rose too, because the policy gave up less often. Then it turned, and so did the worth to the judge. Here is what the policy writes at the end, with the true verdict, which the policy never saw:

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
# The policy writes *yes* at once, whatever the sum, like reply **c**. The judge would not have preferred this to a right reply, but the judge was never asked. In the replies of `sft`, a *yes* nearly always followed a right sum, so the labels could not separate *being* right from *saying* so. The policy then moved to replies of a kind that had not been judged. Let us test the reward model on the replies of the policy that it trained:

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
# The measured accuracy was correct, but only *for replies like those that had been judged*. On the replies of the new policy, the reward model can hardly tell right from wrong. This is Goodhart's law: when a measure becomes a target, it stops being a good measure. The usual fix is to ask the judge about the new policy's replies and to train the reward model again, round after round, so the labelling is never finished.
#
# ## Three recorded seeds, and a control
#
# One run with 64 replies per step proves little. So we recorded three seeds, each with its own demonstrations, labels and reward model, for 20 steps of 80 replies. As a control we recorded the same PPO paid by the verifier, whose verdict is then the reward.

# %%
def recorded(name: str):
    """What a recorded run measured; how it was run is printed."""
    print(results.origin(name))
    return results.read(name)


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
# All three seeds that were paid by the reward model do the same. The score rises by more than a point and stays there. The share of right replies rises a little, turns, and falls far below where it began.
#
# The control shows that the reward model is to blame, and not the algorithm. Paid by the verifier, the same PPO takes as many steps on as many replies and moves a comparable distance, but does not collapse. Its gain is modest, because each step has so few replies: two seeds gain, and the third rises and then ends about where it began. The figure shows no score for these runs, because their reward models were trained on too few rankings to mean anything.
#
# ### A price on leaving keeps the truth
#
# The runs in the middle of the list use the same PPO and reward models, with a price of $\beta = 0.1$. Does the price buy more right replies, or only a later turn? We compare at the same *distance*, not at the same step. When the run without a price first comes as far as the priced run is at its end, how many of its replies are right?

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
# The price bought more than a later turn. With it, the score ends about where it ends without it, and the share of right replies hardly falls within 20 steps. Every priced run ends with more right replies than its twin without a price ever had, after moving a fraction of the distance. At the same distance the priced run is ahead too. On average the priced runs even end above PPO on the verifier, whose interval is wide. In the figure they first move away and then turn back, because the price pulls once the score has little more to give.
#
# Gao et al. {cite}`gao2022overoptimization` found for their models that a price acts like stopping earlier. Our three seeds, of one small setting with one $\beta$, say otherwise. One possible reason is that the priced runs spent many of their 20 steps at that distance, while the others passed through it quickly.
#
# ### Choosing the best of n meets Goodhart's law too
#
# The same law appears without any training. Draw $n$ replies from `sft` and keep the one with the highest score. This choice is itself a policy, and it is $\log n - (n-1)/n$ nats away from `sft` {cite}`stiennon2020summarize`.

# %%
chosen = [row for row in rows if row["part"] == "best_of_n"]
for n in sorted({row["n"] for row in chosen}):
    of = [row for row in chosen if row["n"] == n]
    print(f"best of {n:2d}, {of[0]['kl']:.2f} nats away: score {interval([r['proxy'] for r in of])}, "
          f"worth {interval([r['worth'] for r in of])}, right {interval([r['right'] for r in of])}")

# %% [markdown]
# Up to the best of four, choosing also makes more replies right, because the reward model is reliable near the replies that were judged. Beyond that the score keeps growing, but the share of right replies turns. It turns for two of our three seeds, while the third is still rising at the best of 32.

# %%
for seed in sorted({row["seed"] for row in chosen}):
    right = {row["n"]: row["right"] for row in chosen if row["seed"] == seed}
    print(f"seed {seed}: right {right[1]:.2f} with one reply, {right[4]:.2f} at best of 4, {right[max(right)]:.2f} at best of {max(right)}")

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
print(f"implicit rewards {won:+.1f} and {lost:+.1f}, loss {surprise(won, lost):.3f}; largest difference below 1e-12")

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
for name, seen in (("SFT", at_sft), (f"DPO, {dpo.steps} steps", at_dpo), (f"PPO, {settings.steps} steps", at_ppo)):
    tell(name, seen)
print(f"implicit rewards at the end: chosen {history[-1]['chosen']:+.2f}, rejected {history[-1]['rejected']:+.2f}")

# %%
for row in [row for row in rows + priced if row["part"] == "dpo"]:
    steps = [f"{at['step']}: {at['kl']:.1f} nats, right {at['right']:.2f}, claims {at['claims']:.2f}" for at in row["looks"]]
    print(f"recorded, beta {row['beta']}, seed {row['seed']}:", "; ".join(steps))

# %% [markdown]
# DPO learns from the same labels and leans the same way, because more of its replies claim to be right. In the recorded runs the share of right replies is past its best in all three seeds after 48 steps, at 5 to 9 nats from the start, and it has come back close to where it began. Rafailov et al. {cite}`rafailov2024directoveropt` report that DPO over-optimises as well, although it has no reward model to blame.
#
# ## What each method costs
#
# A model that learns needs memory for its weights, their gradients and AdamW's two moments, which is 16 bytes per parameter in float32. A model that only answers needs its weights, 4 bytes per parameter. We check this count on the critic:

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
# **Hint.** `posed_now` and `ranked_now` already exist. How much is a *long*, wrong reply that ends in *yes* worth to the judge?
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
    """Surprises 0 + 0.5 - 0 and 1 - 1, with gamma 1/2; then the later one is 0.5 and counts a quarter."""
    assert torch.allclose(gae(tensor([0.0, 1.5]), tensor([0.0, 1.0]), 0.5, 0.5), tensor([0.5 + 0.25 * 0.5, 0.5]))


caught = zoo("feedback", [a_perfect_critic_is_never_surprised, one_token_is_compared_with_its_value, two_tokens_by_hand])
assert caught
caught

# %% [markdown]
# ## The opening question, answered

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
# What happened to the share of right replies while the score climbed? **It rose for a few steps and then fell below where it began**, as the numbers above show. The policy found that *saying* yes is easier than being right. The reward model could not tell the two apart, although it was accurate and fairly well calibrated on the replies that it had seen. A price on leaving the start kept truth and score together for as long as we ran it.
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
