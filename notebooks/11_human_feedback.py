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
# There is no rule that says what a good letter is. So companies ask people which of two letters is better, train one model to predict their taste, and train another model to please it. This is how ChatGPT was made, and it is the method that DeepSeek left when it taught R1 to reason. We walk the whole road with a tiny model and a simulated judge who cares most that an answer is right, and count what it needs and what becomes of the right answers. **What does it take to learn from people's preferences, and why did DeepSeek skip it?**
#
# - **You will build** every station of the road: fine-tuning on demonstrations, a reward model from rankings, and PPO with a critic, whose loop stands in this notebook. At its end waits a policy that outwits its reward model.
# - **You need** PyTorch, and the idea of a policy gradient ([chapter 10](10_from_games_to_words.ipynb), or the four answers of [chapter 22](22_capstone.ipynb)).
# - **It takes** about 70 s to run on two CPU cores, about as long on a GPU (the models are tiny), and an hour and a half to read. The recorded runs were made on several machines, named with their commands; here we only read them.

# %% tags=["hide-input"]
import importlib.util

if importlib.util.find_spec("minidsk") is None:  # Colab, for example
    source = "git+https://github.com/minidsk/minidsk"
    get_ipython().run_line_magic("pip", f"install -q 'minidsk[notebooks] @ {source}'")

# %% tags=["hide-input"]
import dataclasses
import math
import time
from statistics import mean

import matplotlib.pyplot as plt
import torch
from torch import tensor

import minidsk
from minidsk import results
from minidsk.data.corpus import TinyWeb
from minidsk.diagrams import diagram, direct_labels, show, table
from minidsk.homework import bites, check, describe, predict, receipt, zoo
from minidsk.presets import nano
from minidsk.report.interval import interval
from minidsk.rl.completions import over_all
from minidsk.rl.config import CriticConfig, RLConfig
from minidsk.rl.critic import CriticBaseline
from minidsk.rl.loop import update
from minidsk.rl.preferences import Annotator, Ranking, claims_success
from minidsk.rl.reward_model import RewardModel, accuracy, ranking_loss
from minidsk.rl.rollout import rollout
from minidsk.scale.cost import parameters
from minidsk.tasks.countdown import CountdownProblem
from minidsk.train.loop import Slices
from minidsk.train.optim import OptimConfig, Optimizer
from minidsk.widgets import Preferences

plt.style.use("minidsk.diagrams.look")

# %% [markdown]
# ## The base model gives up too early
#
# Our base model is [chapter 22](22_capstone.ipynb)'s `nano-base`. It has learned from worksheets by many authors, most of whom try once, see that the result is wrong, and hand it in. So the model does this too.

# %%
base, recipe = minidsk.load_policy("nano-base"), nano()
_ = base.model.double()  # 16 digits: your processor draws the replies that ours drew
train, test = recipe.make_task("train"), recipe.make_task("test")


def look(policy, problems: int = 128) -> str:
    """What one reply to each held-out problem, at temperature 1, is like."""
    posed, seeded = [test[i] for i in range(problems)], torch.Generator().manual_seed(0)
    drawn = rollout(policy, posed, 1, 160, {"accuracy": 1.0}, generator=seeded)
    claims = sum(map(claims_success, drawn.completions.texts)) / problems
    return f"right {drawn.rewards.mean():.2f}, claims to be right {claims:.2f}"


print("base:", look(base))

# %% [markdown]
# We want the model to go on until it has found an answer. In this game a program, the verifier, could say which replies are right. **We act as if there were no verifier**, because there is none for letters. Until the last comparison no model learns from it, and we only use it to measure the truth.
#
# ## First station: demonstrations
#
# The simplest way to teach is to show. Some authors of the tiny web, our training text, try again until they succeed. Here is one such worksheet.

# %%
web = dataclasses.replace(
    recipe.pretrain.web, worksheets=1.0, persistent=1.0, chinese=0.0, mixed=0.0
)
pages = [page.partition("<think>") for page in TinyWeb(web, seed=1000).pages(0, 128)]
demonstrations = [(prompt, tag + rest) for prompt, tag, rest in pages]
print(*demonstrations[1], sep="")

# %% [markdown]
# **SFT**, supervised fine-tuning, is next-token prediction on such pages. The loss counts the reply alone, because the model should not learn to pose problems. Replies of a batch are padded to equal length, so the loss needs a **mask**, which is 1 on the tokens of a reply and 0 on the padding behind it.

# %%
def sft_loss(policy, demonstrations) -> torch.Tensor:
    """The mean surprise at a token of the replies; nothing else counts."""
    replies = policy.encode(*zip(*demonstrations, strict=True))
    return -(policy.logprobs(replies) * replies.mask).sum() / replies.mask.sum()

# %% [markdown]
# Each mechanism of this chapter gets a test, and a test is worth something only if it can fail. So we plant a natural bug each time, and let the function `bites` see that the test accepts the right version and catches the wrong one. Here the bug forgets the mask.

# %%
def padding_does_not_count(loss) -> None:
    """Two pages cost as much together as one by one, weighted by their tokens."""
    two = sorted(demonstrations[:16], key=lambda page: len(page[1]))[::15]
    tokens = base.encode(*zip(*two, strict=True)).lengths
    apart = tensor([loss(base, [page]).item() for page in two]) @ tokens.float() / tokens.sum()
    assert abs(loss(base, two).item() - apart) < 1e-4


def no_mask(policy, demonstrations):
    return -policy.logprobs(policy.encode(*zip(*demonstrations, strict=True))).mean()


bites(padding_does_not_count, sft_loss, no_mask)

# %% [markdown]
# Demonstrations are expensive, because people have to write them. So we use only 128 and take four steps. More would help more, as *What went wrong* shows.

# %%
def optimizer_of(model, lr: float) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.99), weight_decay=0.0)


def step(optimizer, model) -> None:
    """Shorten the gradient if it is longer than 1, move the weights, forget the gradient."""
    _ = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()

# %%
sft, began = base.copy(), time.perf_counter()
optimizer = optimizer_of(sft.model, lr=3e-4)
for k in range(4):
    sft_loss(sft, demonstrations[32 * k :][:32]).backward()
    step(optimizer, sft.model)
seconds = {"SFT": time.perf_counter() - began}
print("SFT: ", look(sft))

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
# ## Second station: labels
#
# It takes skill to write a demonstration, and less skill to say which of two replies is better. Here are three replies to *make 4 from 3, 7 and 8*. Reply **a** gives up, **b** is right, and **c** writes *yes* after a result that is not 4. It also gets the sum wrong (8 - 4 is not 2) and then answers with another expression, as weak models do.
#
# We simulate the judge, so that we know exactly what it wants. A right reply is worth 2 to it, and a reply that *claims* to be right is worth 1 more. Every 40 characters of thought add ½, because length looks like effort, to people as well. The judge is not always sure: the probability that it prefers one reply to another is the sigmoid of the difference in worth, divided by its noise of ½.

# %%
problem = CountdownProblem("Make 4 from 3 7 8.\n", (3, 7, 8), 4, "8-(7-3)", "+-")
a = "<think>3+7+8=10+8=18?4 no</think><answer>3+7+8</answer>"
b = "<think>8-(7-3)=8-4=4?4 yes</think><answer>8-(7-3)</answer>"
c = "<think>8-(7-3)=8-2=6?4 yes</think><answer>3+7-8</answer>"
judge = Annotator(right=2.0, claims=1.0, length=0.5, noise=0.5)
for name, text in {"a": a, "b": b, "c": c}.items():
    print(f"{name} is worth {judge.worth(problem, text):.2f} to the judge")
for which, better, worse in (("b to a", b, a), ("b to c", b, c), ("c to a", c, a)):
    print(f"it prefers {which} in {judge.probability(problem, better, worse):.1%} of cases")

# %% [markdown]
# This is a good judge, because it prefers the right reply to either of the wrong ones. Only between two wrong replies does the false claim win.
#
# A label says *which* reply is better, but not *by how much*. To get from one to the other, a model gives each reply a **score**. We read the difference of two scores as log-odds, following Bradley and Terry {cite}`bradley1952`. Scores of 2 and 1 then mean that the first reply is preferred with probability $\sigma(2 - 1) = 0.731$. If the judge did prefer it, the loss is the surprise at this, $-\log 0.731 = 0.313$.

# %% tags=["naive"]
def surprise(preferred: float, other: float) -> float:
    """-log of the probability of one label, from two scores."""
    probability = math.exp(preferred) / (math.exp(preferred) + math.exp(other))
    return -math.log(probability)


for scores in ((2, 1), (1, 2), (1, 1), (102, 101)):
    print("scores {} and {}: loss {:.3f}".format(*scores, surprise(*scores)))

# %% [markdown]
# A model that knows nothing gives equal scores, and its loss is log 2 = 0.693. Only differences of scores count, so preferences cannot say where zero lies. The natural bug is to swap the two replies:

# %%
def the_right_order_costs_less(loss) -> None:
    assert loss(2, 1) < loss(1, 1) < loss(1, 2)


def swapped(preferred, other):
    return surprise(other, preferred)


bites(the_right_order_costs_less, surprise, swapped)

# %% [markdown]
# A ranking of four replies contains six comparisons, but costs the judge less work than six separate ones. InstructGPT therefore had 4 to 9 replies ranked at a time {cite}`ouyang2022instructgpt`, and averaged the loss over all pairs of a ranking. The package's `ranking_loss` does the same:

# %% tags=["agree"]
scores = tensor([2.0, 1.0, 3.0, -0.5], dtype=torch.float64)  # of four replies, the best first
pairs = [(i, j) for i in range(4) for j in range(i + 1, 4)]
by_hand = mean(surprise(scores[i], scores[j]) for i, j in pairs)
loss_gap = abs(ranking_loss(scores).item() - by_hand)
assert loss_gap < 1e-12
print(f"{len(pairs)} pairs, mean loss {by_hand:.3f}; largest difference below 1e-12")

# %% [markdown]
# To do the judge's job yourself, click on the better reply, or press the arrow keys while a button has the focus. In Jupyter your labels are used below, while the figure in the book only counts them. Notice how often you check the sums.

# %% tags=["hide-input"]
posed, seeded = [train[10**6 + i] for i in range(60)], torch.Generator().manual_seed(1)
texts, cards = sft.sample([p.prompt for p in posed], 2, 160, generator=seeded).texts, []
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

# %% tags=["hide-input"]
mine = [Ranking(prompt, (better, other)) for prompt, better, other in labelling.chosen()]
print(f"{len(mine)} labels of yours" if mine else "no labels of yours (yet)")
for name, (n, of) in labelling.agreement().items() if mine else ():
    print(f"  {n} of {of} {name}")

# %% [markdown]
# ## Third station: a reward model learns from the judge
#
# The judge ranks four sampled replies to each of 180 problems, and your own labels are added to these. A reply that was drawn twice stands in its ranking once.

# %%
def judged(policy, first: int, count: int, seed: int) -> list:
    """Problems and their rankings: four replies of `policy` to each, in the judge's order."""
    posed = [train[first + i] for i in range(count)]
    seeded = torch.Generator().manual_seed(seed)
    texts = policy.sample([p.prompt for p in posed], 4, 160, generator=seeded).texts
    ranked = [(p, judge.rank(p, texts[4 * k :][:4], seeded)) for k, p in enumerate(posed)]
    return [(p, ranking) for p, ranking in ranked if ranking is not None]


rankings = [ranking for _, ranking in judged(sft, 0, 180, seed=2)] + mine
comparisons = sum(len(ranking.pairs()) for ranking in rankings)
print(f"{len(rankings)} rankings hold {comparisons:,} comparisons")

# %% [markdown]
# A model that scores is a language model whose last matrix, with one row per token, is replaced by a single row. Then each place of a text has one number instead of a prediction. We will need such a model twice: as **reward model**, which is read once, after the last token, and later as critic.

# %%
class OneNumber(torch.nn.Module):
    """A copy of a policy with one number at each token, at first 0."""

    def __init__(self, policy):
        super().__init__()
        self.reader = policy.body()  # the copy, without its last matrix
        self.body = self.reader.model  # where torch looks for weights
        self.head = torch.nn.Linear(policy.width, 1, bias=False, dtype=torch.float64)
        _ = torch.nn.init.zeros_(self.head.weight)

    def forward(self, replies, after=False):
        """The number before each token of the replies, or after it: [N, T]."""
        return self.head(self.reader.hidden(replies, after)).squeeze(-1)

# %% [markdown]
# The package's `RewardModel` is the same network, and also reads many replies at a time. We give both the same random head and compare their scores.

# %%
ours, reward_model = OneNumber(sft), RewardModel(sft)
_ = torch.nn.init.normal_(ours.head.weight, generator=torch.Generator().manual_seed(0))
_ = reward_model.critic.load_state_dict(ours.state_dict())
replies = sft.encode([problem.prompt] * 3, [a, b, c])
scores = ours(replies, after=True)[range(3), replies.lengths - 1]
score_gap = (scores - reward_model.score([problem.prompt] * 3, [a, b, c])).abs().max().item()
assert score_gap < 1e-9
print("scores of a, b and c, ours and the package's: largest difference below 1e-9")

# %% [markdown]
# We train it on four rankings per step, by the loss above. It can already read worksheets and only has to learn what the judge likes.

# %%
def read(rankings) -> torch.Tensor:
    """The loss of some rankings, each with its replies from best to worst."""
    prompts = [ranking.prompt for ranking in rankings for _ in ranking.replies]
    scores = reward_model(prompts, [text for ranking in rankings for text in ranking.replies])
    parts = scores.split([len(ranking.replies) for ranking in rankings])
    return sum(map(ranking_loss, parts)) / len(parts)

# %%
reward_model, began, losses = RewardModel(sft), time.perf_counter(), []
optimizer = optimizer_of(reward_model, lr=1e-3)
for k in range(0, len(rankings), 4):
    loss = read(rankings[k : k + 4])
    loss.backward()
    step(optimizer, reward_model)
    losses.append(loss.item())
seconds["reward model"] = time.perf_counter() - began
print(f"loss {losses[0]:.3f} at first, {mean(losses[-15:]):.3f} in the last 15 steps")

# %% [markdown]
# The first loss is log 2, because the untrained model gives every reply 0. Now we shift the scores, so that zero is their mean over the replies that were ranked, and look at our three replies.

# %%
seen = [(ranking.prompt, text) for ranking in rankings for text in ranking.replies]
reward_model.centre(*map(list, zip(*seen, strict=True)))
for name, text in {"a": a, "b": b, "c": c}.items():
    print(f"{name}: score {reward_model.score([problem.prompt], [text]).item():+.1f}")

# %% [markdown]
# Is it a good model of the judge? We test it on rankings that it has not seen. The judge is noisy, so even a model that knew the worth of every reply would not predict every label. The share that it would predict is printed as *best possible*.

# %% tags=["hide-input"]
def pairs_of(policy, first: int, count: int, seed: int) -> list:
    """Fresh problems, with pairs of replies of which the judge preferred the first."""
    ranked = judged(policy, first, count, seed)
    return [(p, pair) for p, ranking in ranked for pair in ranking.pairs()]


def examine(trials, score) -> list[float]:
    """Accuracy, best possible accuracy, and how often the right reply of a pair wins."""
    prompts = [pair.prompt for _, pair in trials]
    margins = score(prompts, [pair.chosen for _, pair in trials])
    margins = margins - score(prompts, [pair.rejected for _, pair in trials])
    known = tensor([judge.probability(p, pair.chosen, pair.rejected) for p, pair in trials])
    differ = tensor([p.score(pair.chosen) - p.score(pair.rejected) for p, pair in trials])
    mixed = differ != 0  # one reply is right, and one is wrong
    return [accuracy(margins), accuracy(known - 0.5), accuracy((margins * differ)[mixed])]

# %%
trials = pairs_of(sft, 10**8, 80, seed=3)
at_first = examine(trials, reward_model.score)
print("{} comparisons: accuracy {:.2f}, best possible {:.2f}".format(len(trials), *at_first))
print(f"of a right and a wrong reply, it prefers the right one in {at_first[2]:.2f}")

# %% [markdown]
# By the usual measure this is a good reward model. It agrees with the judge in about four of five cases, where about six of seven would be the best possible, and it usually prefers the right reply. InstructGPT's reward models predicted the labels of people whom they had not learned from in 69.6 % of cases {cite}`ouyang2022instructgpt`.
#
# Can this measure fail? We plant the bug of reading the score after the *first* token of a reply, where nothing has been said yet.

# %%
def agrees_with_the_judge(score) -> None:
    assert examine(trials[:120], score)[0] > 0.65


@torch.no_grad()
def after_the_first_token(prompts, texts):
    return reward_model.critic(sft.encode(prompts, texts), after=True)[:, 0]


bites(agrees_with_the_judge, reward_model.score, after_the_first_token)

# %% [markdown]
# *How would you cheat this reward model?* Read replies **a**, **b** and **c** once more before you go on.
#
# ## Fourth station: PPO, with a critic
#
# A *policy* is a model that acts, here by writing replies. The reward model scores the replies, and the policy learns from the scores. GRPO would compare several replies to the same problem ([chapter 12](12_grpo.ipynb)). The older method, PPO {cite}`schulman2017ppo` as InstructGPT used it, needs two more models: a **critic**, and a **reference**, to which we come later. The upper half of the figure is our road; the lower half is a shortcut, which the last exercise takes.

# %% tags=["diagram", "hide-input"]
diagram("reward_model_and_dpo")

# %% [markdown]
# ### What a critic says, token by token
#
# Before each token the critic predicts what the whole reply will be worth. If a token was better than expected, the prediction rises. This rise, plus what was paid for the token, is the **TD error** (TD: temporal difference) $\delta_t = r_t + V_{t+1} - V_t$. It is positive when the token turned out better than the critic expected. The score, 1 in this example, is paid for the last token, and nothing is expected behind it. Here are four tokens, and a critic that becomes more hopeful:

# %%
rewards, values = tensor([0.0, 0, 0, 1]).double(), tensor([0.25, 0.5, 0.5, 0.75]).double()
following = torch.cat((values[1:], torch.zeros(1)))
td_errors = rewards + following - values
print("TD errors", td_errors.tolist())

# %% [markdown]
# The **advantage** $A_t$ of a token is its own TD error plus the TD errors of later tokens, which count less by a factor $\lambda$ for each token between. This is called generalised advantage estimation {cite}`schulman2015gae`. With $\lambda = 0$ we trust the critic's next prediction completely. With $\lambda = 1$ we only use its prediction before the token, and take the true outcome for the rest.

# %%
def gae_by_hand(td_errors: torch.Tensor, lam: float) -> list[float]:
    """sum over k of lam^k td_error[t + k], for each t."""
    n = len(td_errors)
    return [sum(lam**k * td_errors[t + k].item() for k in range(n - t)) for t in range(n)]


for lam in (0.0, 0.5, 1.0):
    print(f"lambda {lam}: advantages {[round(x, 3) for x in gae_by_hand(td_errors, lam)]}")

# %% [markdown]
# With $\lambda = 1$ the advantages are $1 - V$: 0.75, 0.5, 0.5 and 0.25. The critic's prediction did not change at the second token, so with $\lambda = 0$ this token gets nothing. With a larger $\lambda$ it gets a share of what came later.
#
# For many replies at once, the same sum is a product with a triangle of powers of $\lambda$. The natural bug is to expect something after the end, where the padding stands.

# %%
def gae(rewards, values, mask, lam):
    """Advantages of all tokens; all of them [replies, tokens], lam a number."""
    values = values * mask  # nothing is expected after the end
    following = torch.nn.functional.pad(values[:, 1:], (0, 1))
    td_errors = (rewards + following - values) * mask
    place = torch.arange(mask.shape[1])
    later = place[:, None] - place  # [later token, token]
    triangle = torch.where(later >= 0, lam ** later.clamp(min=0).double(), 0.0)
    return td_errors @ triangle * mask


at_once = gae(rewards[None], values[None], torch.ones(1, 4).double(), 0.5)[0]
assert torch.allclose(at_once, tensor(gae_by_hand(td_errors, 0.5)).double())
print("lambda 0.5, at once:", [round(x, 3) for x in at_once.tolist()])

# %%
def nothing_is_expected_after_the_end(gae) -> None:
    """One token, paid 1, expected 0.25; the critic's number on the padding is 9."""
    mask = tensor([[1.0, 0.0]]).double()
    advantages = gae(tensor([[1.0, 0.0]]).double(), tensor([[0.25, 9.0]]).double(), mask, 0.5)
    assert advantages.tolist() == [[0.75, 0.0]]


def expects_padding(rewards, values, mask, lam):
    return gae(rewards, values, torch.ones_like(mask), lam) * mask


bites(nothing_is_expected_after_the_end, gae, expects_padding)

# %% [markdown]
# ### The critic is a second model
#
# The critic is the network `OneNumber` again, read *before* each token. A critic that had already seen the token could not say whether it was a surprise. It learns by least squares to predict the **return**, which is $V_t + A_t$: what it said, corrected by what came.

# %%
critic = OneNumber(sft)
_ = torch.nn.init.normal_(critic.head.weight, generator=torch.Generator().manual_seed(0))


def a_token_does_not_change_its_own_value(read) -> None:
    """Replies b and c begin alike; their first tokens that differ are not seen yet."""
    two = sft.encode([problem.prompt] * 2, [b, c])
    split = int((two.tokens[0] != two.tokens[1]).nonzero()[0])
    value = read(two)[:, split]
    assert (value[0] - value[1]).abs() < 1e-9


def reads_before(replies):
    return critic(replies)


def reads_after(replies):
    return critic(replies, after=True)


bites(a_token_does_not_change_its_own_value, reads_before, reads_after)

# %% [markdown]
# ### The clip
#
# A policy gradient raises the log-probability of a token in proportion to its advantage. PPO writes this with the **ratio** $\rho$, the token's probability now divided by its probability when it was sampled, and clips it:
#
# $$ -\min\left(\rho A,\ \operatorname{clip}(\rho, 1-\varepsilon, 1+\varepsilon)\,A\right). $$
#
# A good token that has become 20 % likelier gains nothing by becoming likelier still. A bad token that has become likelier is still pushed down, however far it went. That is what the minimum is for, and a maximum is the natural bug. In our runs the clip stays idle, because we take one step on each batch: the policy that learns is still the policy that sampled, and every ratio is 1. The clip matters when a batch is used for several steps, as is usual with PPO.

# %%
def clipped_loss(now, then, advantages, low=0.2, high=0.2):
    """PPO's loss of each token; now and then: log-probabilities."""
    ratio = (now - then).exp()
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - low, 1 + high) * advantages)


def critic_loss(values, returns):
    """Half the squared error at each token."""
    return 0.5 * (values - returns) ** 2

# %%
def a_bad_token_that_grew_comes_down(loss) -> None:
    """Twenty times as likely as before, with advantage -1: the loss is 20."""
    assert abs(loss(tensor(20.0).log(), tensor(0.0), tensor(-1.0)) - 20) < 1e-3


def maximum(now, then, advantages, low=0.2, high=0.2):
    ratio = (now - then).exp()
    return -torch.maximum(ratio * advantages, ratio.clamp(1 - low, 1 + high) * advantages)


bites(a_bad_token_that_grew_comes_down, clipped_loss, maximum)

# %% [markdown]
# ### One step
#
# Here is the whole step: sample, score, compare with the critic, teach the critic, teach the policy. The reward model pays for the last token of each reply. `learn` takes the replies in parts of 16 of similar length, which saves padding.

# %%
def learn(optimizer, model, replies, loss, *tables) -> None:
    """One step on the mean over all tokens of `loss`, given some replies and their tables."""
    for rows in replies.lengths.argsort().split(16):
        some = replies[rows]
        losses = loss(some, *(numbers[rows, : some.tokens.shape[1]] for numbers in tables))
        ((losses * some.mask).sum() / replies.mask.sum()).backward()
    step(optimizer, model)

# %%
def ppo_step(policy, critic, optimizers, problems, generator, lam=0.95):
    """One step on one reply to each problem: the replies, their scores, the advantages."""
    replies = policy.sample([p.prompt for p in problems], 1, 160, generator=generator)
    scores, mask = reward_model.reward(problems, replies.texts), replies.mask.double()
    is_last = torch.arange(mask.shape[1]) == replies.lengths[:, None] - 1
    values = over_all(critic, replies, 16)  # without gradient, 16 replies at a time
    advantages = gae(is_last * scores[:, None], values, mask, lam)

    def of_critic(some, returns):
        return critic_loss(critic(some), returns)

    def of_policy(some, advantages):
        return clipped_loss(policy.logprobs(some), some.logp, advantages)

    learn(optimizers[0], critic, replies, of_critic, values + advantages)
    learn(optimizers[1], policy.model, replies, of_policy, advantages)
    return replies, scores, advantages

# %% [markdown]
# The package's PPO computes the same. It gets the same replies and scores, and takes one step of its own.

# %% tags=["hide-input"]
policy, critic, twin = sft.copy(), OneNumber(sft), sft.copy()
optimizers = optimizer_of(critic, 2e-3), optimizer_of(policy.model, 6e-4)
posed, seeded = [train[i] for i in range(16)], torch.Generator().manual_seed(0)
_, _, advantages = ppo_step(policy, critic, optimizers, posed, seeded)

plain = {"warmup": 0, "decay": 0.0, "betas": (0.9, 0.99)}
settings = CriticConfig(updates=1, alone=0, whiten=False, optim=OptimConfig(lr=2e-3, **plain))
package = CriticBaseline(twin, settings, steps=15, rows=16)
drawn = rollout(twin, posed, 1, 160, {}, generator=torch.Generator().manual_seed(0),
                reward=reward_model.reward)  # fmt: skip
theirs, _ = package(drawn, step=0)
_ = update(twin, Optimizer(twin.model, OptimConfig(lr=6e-4, **plain), 15), Slices(16), drawn,
           theirs, RLConfig(clip_high=0.2))  # fmt: skip

# %% tags=["agree"]
def furthest(ours, theirs) -> float:
    """The largest difference between two lists of tensors."""
    return max((x - y).abs().max().item() for x, y in zip(ours, theirs, strict=True))


gaps = {"advantages": furthest([advantages], [theirs]),
        "critic after the step": furthest(critic.parameters(), package.critic.parameters()),
        "policy after the step": furthest(policy.parameters(), twin.parameters())}  # fmt: skip
for name, gap in gaps.items():
    assert gap < 1e-6
    print(f"{name}: largest difference from the package below 1e-6")

# %% [markdown]
# ## Fifteen steps please the reward model
#
# Each step uses 64 replies, one per problem. The policy is rewarded by the score of the reward model and by nothing else. Beside it we note what only we can see: the share of right replies, the share that claims to be right, and what the replies are worth to the *judge itself*.

# %%
def noted(problems, texts, scores) -> dict[str, float]:
    """What the policy learns from, and three things that it does not see."""
    both = list(zip(problems, texts, strict=True))
    return {"score": scores.mean().item(), "worth": mean(judge.worth(*x) for x in both),
            "right": mean(p.score(text) for p, text in both),
            "claims": mean(map(claims_success, texts))}  # fmt: skip


def please(steps) -> None:
    for k in steps:
        posed = [train[64 * k + i] for i in range(64)]
        seeded = torch.Generator().manual_seed(k)
        replies, scores, _ = ppo_step(pleaser, critic, optimizers, posed, seeded)
        diary.append(noted(posed, replies.texts, scores))

# %%
pleaser, critic, diary, began = sft.copy(), OneNumber(sft), [], time.perf_counter()
optimizers = optimizer_of(critic, 2e-3), optimizer_of(pleaser.model, 6e-4)
please(range(7))

# %%
please(range(7, 15))
seconds["PPO"] = time.perf_counter() - began
print(f"{len(diary)} steps; the score went from {diary[0]['score']:+.1f} to "
      f"{diary[-1]['score']:+.1f}")

# %% tags=["hide-input"]
posed, seeded = [test[i] for i in range(128)], torch.Generator().manual_seed(0)
drawn = rollout(pleaser, posed, 1, 160, {"accuracy": 1.0}, generator=seeded)
right_at_the_end.reveal(round(drawn.rewards.mean().item(), 2))

# %% [markdown]
# The score rose, as it was asked to. Here is what the policy writes at the end, with the true verdict, which the policy never saw:

# %%
for p, text in list(zip(posed, drawn.completions.texts, strict=True))[:4]:
    score = reward_model.reward([p], [text]).item()
    print(p.prompt.strip(), text, f"\n    score {score:+.1f}, right: {p.score(text):.0f}")

# %% [markdown]
# The policy nearly always writes *yes* at once, whatever the sum, like reply **c**. The figure shows how it came to this. For a few steps the share of right replies rose too, because the policy gave up less often. Then it turned, and so did the worth to the judge.

# %% tags=["figure", "hide-input"]
panels = ({"score": "score", "worth": "worth"}, {"claims": "claims", "right": "right"})
fig, axes = plt.subplots(1, 2, figsize=(7.5, 3.2))
for ax, lines in zip(axes, panels, strict=True):
    for key, name in lines.items():
        _ = ax.plot(range(1, 16), [line[key] for line in diary], "o-", ms=3, label=name)
    _ = ax.set(xlabel="step", xticks=range(1, 16, 2))
    direct_labels(ax)
_ = axes[0].set_title("score, and worth to the judge")
_ = axes[1].set_title("shares of replies")
parts = (diary[:3], diary[5:8], diary[-3:])
means = {name: ", ".join(f"{mean(line[key] for line in part):.2f}" for part in parts)
         for lines in panels for key, name in lines.items()}  # fmt: skip
show(fig, "Left: the score (blue) rises and stays, while the worth to the judge (orange) "
     "turns. Right: soon all replies claim to be right (blue), and ever fewer are (orange).",
     "Two panels over 15 steps, two lines each; means of steps 1 to 3, 6 to 8 and 13 to 15: "
     + "; ".join(f"{name} {each}" for name, each in means.items()) + ".")
first, last = ({key: mean(line[key] for line in part) for key in diary[0]}
               for part in (diary[:3], diary[-3:]))  # fmt: skip
assert last["score"] > first["score"] + 0.5
assert last["right"] < first["right"] - 0.1

# %% [markdown]
# The judge would not have preferred a false *yes* to a right reply, but the judge was never asked. In the replies of `sft`, most replies that said *yes* were right, so the labels hardly separated *being* right from *saying* so. The policy then moved to replies of a kind that had not been judged. Let us test the reward model on the replies of the policy that it trained:

# %%
now = examine(pairs_of(pleaser, 2 * 10**8, 60, seed=4), reward_model.score)
table(["replies of", "accuracy", "best possible", "prefers the right one"],
      [[whose, *(f"{share:.2f}" for share in shares)] for whose, shares in (
          ("sft", at_first), ("the policy that it trained", now))],
      "The same reward model. Last column: of pairs with a right and a wrong reply.")

# %% [markdown]
# The measured accuracy was correct, but only *for replies like those that had been judged*. Among the replies of the new policy, the right one wins in about six pairs of ten, against eight before, and a coin would win five. This is **Goodhart's law**: when a measure becomes a target, it stops being a good measure. Researchers also call it over-optimisation or reward hacking. The usual fix is to ask the judge about the new policy's replies and to train the reward model again, round after round, so the labelling is never finished.
#
# ## Three seeds, a control, and the KL penalty
#
# One run with 64 replies per step proves little. So we recorded three seeds of the package's PPO, each with its own demonstrations, labels and reward model, for 20 steps of 80 replies. Two more sets of runs start from the same place. In one, the *verifier* pays instead of the reward model. In the other, the policy pays for leaving its start.
#
# This payment needs a fourth model, the **reference**, which is a frozen copy of `sft`. Each token pays $\beta\,(\log \pi - \log \pi_{\text{ref}})$ for being likelier under the policy than under the reference. Averaged over many samples, this is $\beta$ times the KL divergence, a measure of how far the policy has moved. So the payment is known as the **KL penalty**. A sign error would reward the policy for leaving:

# %%
def kl_price(logp, ref_logp, beta):
    """What each token is paid, beside the score."""
    return -beta * (logp - ref_logp)


def leaving_costs(price) -> None:
    """A token that has become likelier than under the reference."""
    assert price(tensor([-0.5]), tensor([-1.5]), 0.1) < 0


def paid_for_leaving(logp, ref_logp, beta):
    return beta * (logp - ref_logp)


bites(leaving_costs, kl_price, paid_for_leaving)

# %% tags=["hide-input"]
def smooth(values: list[float], k: int = 3) -> list[float]:
    """The mean of each three steps in a row."""
    return [mean(values[i : i + k]) for i in range(len(values) - k + 1)]


def stated(values) -> str:
    """Mean and half a 95 % interval over seeds, in words."""
    return "{:.2f} ± {:.2f}".format(*interval(list(values)))


records, runs = ("ch11_feedback", "ch11_price", "ch11_control"), {}
print(*map(results.origin, records), sep="\n")
for row in [row for name in records for row in results.read(name)["rows"]]:
    if row["part"] == "ppo":
        price = " and a KL penalty" if row["kl_coef"] else ""
        runs.setdefault(row["reward"] + price, []).append(row["curves"])
right = {name: [smooth(curve["right"]) for curve in curves] for name, curves in runs.items()}
away = {name: [smooth(curve["kl"])[-1] for curve in curves] for name, curves in runs.items()}
table(["paid by the", "right at first", "best", "at the end", "nats away"],
      [[name, stated(values[0] for values in of), stated(map(max, of)),
        stated(values[-1] for values in of), stated(away[name])]
       for name, of in right.items()],
      "Share of right replies, three steps at a time, and the KL divergence of a reply: means "
      "of three seeds with 95 % intervals.")

# %% tags=["figure", "hide-input"]
fig, ax = plt.subplots(figsize=(7.5, 3.4))
called = ("reward model", "with a KL penalty", "verifier")
for k, (short, of) in enumerate(zip(called, right.values(), strict=True)):
    for values in of:
        _ = ax.plot(range(2, 20), values, color=f"C{k}", lw=0.8, alpha=0.5)
    _ = ax.plot(range(2, 20), list(map(mean, zip(*of, strict=True))), color=f"C{k}", lw=2.4,
                label=short)  # fmt: skip
_ = ax.set(xlabel="step", ylabel="share right", xticks=range(2, 20, 3))
direct_labels(ax)
ends = {name: mean(values[-1] for values in of) for name, of in right.items()}
show(fig, "Paid by the reward model alone, the share of right replies collapses. With a KL "
     "penalty, or paid by the verifier, it does not. Thin lines: three seeds each; thick: "
     "their means.",
     "Three times three lines over 18 means of three steps; at the end, right on average: "
     + "; ".join(f"{name} {share:.2f}" for name, share in ends.items()) + ".")
free, paying, checked = right.values()
assert all(max(values) > values[0] and max(values) - values[-1] > 0.2 for values in free)
assert min(values[-1] for values in checked) > max(values[-1] for values in free)
proxies = [curve["proxy"] for curve in runs["reward model"]]
assert all(proxy[-1] > proxy[0] + 1 for proxy in proxies)
assert all(ours[-1] > max(others) for ours, others in zip(paying, free, strict=True))

# %% [markdown]
# All three seeds that were paid by the reward model alone do the same. The score rises by more than a point and stays there, while the share of right replies rises a little, turns, and falls far below where it began.
#
# The control shows that the reward model is to blame, and not the algorithm. Paid by the verifier, the same PPO takes as many steps on as many replies and does not collapse. (Its gain is modest, because each step has so few replies.)
#
# With a penalty of $\beta = 0.1$, the replies stay right for as long as we ran it. This is more than stopping early would give: every penalised run ends with more right replies than its twin without a penalty ever had. (Gao et al. {cite}`gao2022overoptimization` found for their models that a penalty acts like stopping earlier. Ours are three seeds of one small setting.)
#
# ## What it costs
#
# A model that learns needs memory for its weights, their gradients and AdamW's two moments, which is 16 bytes per parameter in float32. A model that only answers needs its weights, 4 bytes per parameter. We check this count on a critic:

# %%
critic = OneNumber(sft).float()  # 4 bytes a number, as usual
optimizer = optimizer_of(critic, 1e-3)
critic(sft.encode([problem.prompt], [b])).sum().backward()
optimizer.step()
held = sum(p.nbytes + p.grad.nbytes for p in critic.parameters())
for state in optimizer.state.values():
    held += state["exp_avg"].nbytes + state["exp_avg_sq"].nbytes
predicted = 16 * sum(p.numel() for p in critic.parameters())
assert held == predicted
print(f"critic: {predicted:,} bytes predicted, {held:,} held")

# %% tags=["hide-input"]
models = (sft.model, sft.model, critic, reward_model)
kinds = dict(zip(("policy", "reference", "critic", "reward model"), models, strict=True))
size = {name: sum(p.numel() for p in model.parameters()) for name, model in kinds.items()}
v3 = parameters(minidsk.ModelConfig.from_dict({"model_type": "deepseek_v3"}))
stages, shown = {  # what learns, what only answers, what had to be labelled, how long it took
    "SFT": (["policy"], [], f"{len(demonstrations)} demonstrations", ("SFT",)),
    "PPO on a reward model": (["policy", "critic"], ["reference", "reward model"],
                              f"{comparisons:,} comparisons", ("reward model", "PPO")),
    "GRPO on a verifier": (["policy"], [], "none", ()),
}, []  # fmt: skip
for name, (learning, answering, what, parts) in stages.items():
    n, took = len(learning) + len(answering), sum(seconds[part] for part in parts)
    here = 16 * sum(size[m] for m in learning) + 4 * sum(size[m] for m in answering)
    shown.append([name, n, f"{here / 1e6:.1f}", f"{n * 2 * v3 / 1e12:.1f}", what,
                  f"{took:.1f} s" if parts else "chapter 12"])  # fmt: skip
table(["method", "models", "million bytes here", "trillion bytes, V3", "labels", "time here"],
      shown, "Memory: in training here, and of the weights alone in bf16 at the size of "
      "DeepSeek-V3.")

# %% [markdown]
# PPO on a reward model with a KL penalty needs four models, where GRPO on a verifier and without a penalty needs one. (The time in the table is that of our fifteen steps, which had no reference.) PPO also needs people, where GRPO needs a few lines of code. InstructGPT made the bill smaller: its reward model and critic had 6 billion parameters, beside a policy of 175 billion {cite}`ouyang2022instructgpt`. [Chapter 12](12_grpo.ipynb) compares GRPO with PPO by measurement.
#
# ## What DeepSeek did
#
# First, what others had reached with human feedback. Stiennon et al. {cite}`stiennon2020summarize` trained models to summarise, and saw the turn: far from the start, people liked the summaries less although the reward model liked them more. InstructGPT {cite}`ouyang2022instructgpt` used about 40 labellers, 13 thousand prompts with demonstrations, 33 thousand with rankings and 31 thousand for PPO. People preferred its model of 1.3 billion parameters to GPT-3 with 175 billion. Its objective joins the two parts that we built above, the score and the KL penalty,
#
# $$ \max_\pi\ \mathbb{E}_{x,\, y \sim \pi}\left[ r_\phi(x, y) - \beta \log \frac{\pi(y \mid x)}{\pi_{\text{ref}}(y \mid x)} \right], $$
#
# with a little pretraining mixed in.

# %% [markdown]
# DeepSeek-R1-Zero {cite}`deepseekr1` replaced $r_\phi$ by a rule,
#
# $$ r(x, y) = r_{\text{accuracy}}(x, y) + r_{\text{format}}(y), $$
#
# and the critic by a group ([chapter 12](12_grpo.ipynb)). The paper gives its reasons in section 2.2. A neural reward model may be hacked in large-scale RL, training it again takes resources, and it makes the whole pipeline more complicated. Those are the turn and the cost that we measured above.
#
# DeepSeek did not give up reward models altogether. Where no rule exists, as for helpfulness, R1's last stage uses them, but only in the last 400 of its 1,700 steps. With more steps they saw reward hacking, and their supplement shows a reward that rises while the result on Codeforces falls.
#
# So the claim that DeepSeek skipped human feedback holds *for reasoning*, where a verifier exists. That is their evidence, while ours comes from a game, a judge that we made, and models a million times smaller.

# %% [markdown]
# ## What went wrong, or did not help
#
# **Labels on replies that are all alike.** Our first policy had twelve steps of SFT on twice the demonstrations. Most of its replies ended in *yes*, so small differences and chance decided most pairs, and the reward model learned little. We took only four steps after that.
#
# **We did not need PPO.** Two simpler methods did better than PPO without a penalty. One is to keep the twelve steps of imitation. The other is to draw four replies and keep the one with the highest score. (Among 32 the score is higher still, but in two seeds of three fewer of the chosen replies are right: Goodhart's law needs no training.)

# %% tags=["hide-input"]
alike, rows = (results.read(f"ch11_{name}")["rows"] for name in ("alike", "feedback"))
told = {
    "PPO without a penalty, at its best": list(map(max, free)),
    "twelve steps of imitation": [r["sft"]["right"] for r in alike if r["part"] == "start"],
    "the best of four by score": [r["right"] for r in rows
                                  if r["part"] == "best_of_n" and r["n"] == 4],
}  # fmt: skip
for name, values in told.items():
    print(f"{name}: right {stated(values)}")

# %% [markdown]
# PPO with a penalty came to the same region. Where people can write demonstrations, imitation is hard to beat, and RLHF was made for tasks that people can judge but not write.
#
# **A head that learned too fast.** At first we trained the new last layer, the head, at ten times the rate of the rest, as is often done with new layers. The loss stayed at that of a coin toss for the first hundred steps, because a head that swings back and forth tells the rest of the model nothing.
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
# *15 minutes.* Write `gae(rewards, values, gamma, lam)` for one reply, in one pass from its end, without a triangle. (`gamma` discounts what comes a token later; we used 1.) Then run `check("feedback.gae", my_gae)`, which knows six mistakes by name.
#
# **Hint.** The sum for token $t$ is its own TD error plus $\gamma\lambda$ times the sum for token $t + 1$. What does the critic expect after the last token?
# ```
#
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
# *5 minutes.* Write `token_rewards(score, logp, ref_logp, beta)` for one reply: what each token is paid, with the score and the KL penalty. Test it with `check("feedback.token_rewards", my_token_rewards)`.
#
# **Hint.** Begin with `beta = 0`, and then ask which token pays: one that became likelier, or one that became less likely?
# ```
#
# ```{solution-start} ex-11-price
# :class: dropdown
# ```

# %%
def price_solution(score, logp, ref_logp, beta):
    rewards = kl_price(logp, ref_logp, beta)
    rewards[-1] += score
    return rewards


check("feedback.token_rewards", price_solution)

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} DPO, the shortcut
# :label: ex-11-dpo
#
# *10 minutes.* The policy that maximises $\mathbb{E}[r] - \beta\,\mathrm{KL}$ is $\pi^*(y) \propto \pi_{\text{ref}}(y)\, e^{r(y)/\beta}$. Solved for the reward, $r(y) = \beta \log \frac{\pi^*(y)}{\pi_{\text{ref}}(y)}$ plus a constant that cancels in every pair. So a policy can be trained on the labels directly, as its own reward model: direct preference optimisation, DPO {cite}`rafailov2023dpo`. It needs no sampling, no critic and no reward model, but it inherits the judge's faults, and it over-optimises as well {cite}`rafailov2024directoveropt`.
#
# Write `dpo_loss(chosen, rejected, ref_chosen, ref_rejected, beta)`. Then run `check("feedback.dpo_loss", my_dpo_loss)`. What must the loss be when the policy equals the reference, whatever the replies?
#
# **Hint.** Compute two implicit rewards, and use the loss that you wrote in the first exercise.
# ```
#
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
# ## Bug zoo
#
# The package contains three wrong versions of `gae` as you wrote it in the second exercise. The test below accepts the right version, but lets at least one wrong version escape. Can you write tests that catch all three? Ours are behind the button.

# %% tags=["zoo"]
def a_perfect_critic_is_never_surprised(gae) -> None:
    advantages = gae(tensor([0.0, 0.0, 1.0]), tensor([1.0, 1.0, 1.0]), 1.0, 0.9)
    assert torch.allclose(advantages, torch.zeros(3), atol=1e-6)


zoo("feedback", [a_perfect_critic_is_never_surprised])

# %% tags=["hide-cell"]
def one_token_is_compared_with_its_value(gae) -> None:
    assert torch.allclose(gae(tensor([2.0]), tensor([0.5]), 0.9, 0.9), tensor([1.5]))


def two_tokens_by_hand(gae) -> None:
    """TD errors 0 + 0.5 - 0 and 1.5 - 1, with gamma and lambda 1/2: the later counts 1/4."""
    advantages = gae(tensor([0.0, 1.5]), tensor([0.0, 1.0]), 0.5, 0.5)
    assert torch.allclose(advantages, tensor([0.5 + 0.25 * 0.5, 0.5]))


ours = [one_token_is_compared_with_its_value, two_tokens_by_hand]
caught = zoo("feedback", [a_perfect_critic_is_never_surprised, *ours])
assert caught
caught

# %% [markdown]
# ## The opening question, answered

# %%
print("models in memory:", sum(map(len, stages["PPO on a reward model"][:2])))
print(f"labelled: {len(demonstrations)} demonstrations, {comparisons:,} comparisons")
print(f"score: {first['score']:+.1f} at first, {last['score']:+.1f} in the end")
best_right = max(smooth([line["right"] for line in diary]))
print(f"share right: {first['right']:.2f} at first, {best_right:.2f} at its best, "
      f"{last['right']:.2f} in the end")

# %% [markdown]
# ## Receipt

# %% tags=["receipt"]
spread = {}
for name, of in right.items():
    spread[f"recorded, {name}: right at last"] = [values[-1] for values in of]
limits = {"losses of pairs": (loss_gap, 1e-12), "scores": (score_gap, 1e-9)}
receipt(spread=spread, differences=limits | {name: (gap, 1e-6) for name, gap in gaps.items()})

# %% [markdown]
# ## Summary
#
# What does it take to learn from preferences? **Four models**: policy, critic, reference and reward model. It also takes demonstrations, about a thousand comparisons even at our size, and a judge whose work is never finished.
#
# Why did DeepSeek skip it? Because the score is only a copy of a taste. Ours was accurate on the replies that had been judged, and fifteen steps later **about half of the right replies were lost** while the score stayed high: *saying* yes was easier than being right. A KL penalty held the policy where the copy was good. For tasks with a verifier, DeepSeek needs no critic, no reward model and no human judge.
#
# - I can now turn comparisons into a reward model, and say for which replies its accuracy holds.
# - I can now write a step of PPO with a critic: advantages, two losses, two updates.
# - I can now recognise over-optimisation, in which the score rises and the truth falls.
# - I can now plant a bug in each part and see a test catch it.

# %% [markdown]
# ## Read on
#
# - InstructGPT {cite}`ouyang2022instructgpt`, section 3, and Stiennon et al. {cite}`stiennon2020summarize`, section 4.3, which shows the turn with people.
# - Gao et al. {cite}`gao2022overoptimization` describe the turn as a law.
# - Wen et al. {cite}`wen2024mislead` report the same with people, who after RLHF were convinced more often by answers that were no better.
# - DeepSeek-R1 {cite}`deepseekr1`, section 2.2, and its supplement on reward hacking.
# - [Chapter 12](12_grpo.ipynb) removes the critic, and in a later chapter a rule is the only judge.
