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
# # Distillation: thoughts of a teacher, or grades
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/minidsk/minidsk/blob/main/notebooks/16_distillation.ipynb)
#
# DeepSeek fine-tuned small models on 800,000 examples, 600,000 of them with R1's reasoning. The small models never saw a reward, and still beat models that were trained with reward: on the contest AIME 2024, Qwen-32B reached 47.0 % by reinforcement learning alone, and 72.6 % by imitating R1. A teacher could also *grade* the student's own answers instead of dictating its own. **Thoughts of a teacher, grades by a teacher, or reward: which teaches a small student most per operation?**
#
# - **You will build** the recipe that reasoning models are copied with (generate, verify, filter, train), and on-policy distillation, where the student answers and the teacher grades every token.
# - **You need** PyTorch, and [chapter 12](12_grpo.ipynb), which builds learning from reward. [Chapter 14](14_r1_zero.ipynb) makes the teacher.
# - **It takes** one to two minutes of processor time on two CPU cores, up to twice that on Colab (no GPU is needed, because the models are small), and an hour and a half to read. The large comparison was recorded on a GPU.

# %% tags=["hide-input"]
import importlib.util

if importlib.util.find_spec("minidsk") is None:  # Colab, for example
    source = "git+https://github.com/minidsk/minidsk"
    get_ipython().run_line_magic("pip", f"install -q 'minidsk[notebooks] @ {source}'")

# %% tags=["hide-input"]
import math
import tempfile
import time
from statistics import mean

import matplotlib.pyplot as plt
import torch

import minidsk
from minidsk import results
from minidsk.diagrams import band, diagram, direct_labels, show, table
from minidsk.homework import bites, check, describe, predict, receipt, zoo
from minidsk.infer.evaluate import answers as replies_of
from minidsk.presets import nano
from minidsk.report.interval import apart, interval
from minidsk.rl.distill import TeacherBaseline
from minidsk.rl.grpo import group_advantages, policy_loss
from minidsk.rl.harvest import FAR
from minidsk.rl.rollout import Rollouts as Drawn
from minidsk.scale.cost import parameters
from minidsk.tasks.countdown import Countdown
from minidsk.tasks.expression import evaluate
from minidsk.train.checkpoint import Run
from minidsk.train.optim import OptimConfig
from minidsk.train.sft import SFTConfig, fine_tune
from minidsk.widgets import Rollouts

plt.style.use("minidsk.diagrams.look")
_ = torch.set_num_threads(1)

# %% [markdown]
# ## Who teaches, and who learns?
#
# The **teacher** is nano-zero, the reasoner of [chapter 14](14_r1_zero.ipynb). The **student** is a base model with a quarter of its weights, which has only read a web of worksheets. Both solve Countdown: make a target up to 20 from three numbers up to 12, with plus and minus.

# %%
teacher = minidsk.load_policy("nano-zero")
student = minidsk.load_policy(results.folder("ch16_student") / "student")
for policy in (teacher, student):
    _ = policy.model.double()  # 16 digits, so that your processor draws what ours drew
train, test = nano().make_task("train"), nano().make_task("test")
held_out = list({p.prompt: p for p in (test[i] for i in range(2048))}.values())[:128]


def solved(policy) -> float:
    """The share of 128 held-out problems that a greedy reply solves, in %."""
    replies = replies_of(policy, held_out, 160)
    return 100 * mean(p.score(r) for p, r in zip(held_out, replies, strict=True))


untaught, taught = solved(student), solved(teacher)
size = [parameters(policy.model.config) for policy in (student, teacher)]
print(f"student: {size[0]:,} weights, {untaught:.0f} % right; "
      f"teacher: {size[1]:,} weights, {taught:.0f} % right")
for policy in (student, teacher):
    print(held_out[1].prompt + replies_of(policy, held_out[1:2], 160)[0], end="\n\n")

# %% [markdown]
# A line of the thought is one attempt, followed by the target and the model's own verdict. The teacher tries again after a *no*, and the student mostly hands in its first attempt. The student can learn in three ways:
#
# - **Thoughts.** The teacher answers, and the student imitates its right answers.
# - **Reward.** The student answers, a verifier says right or wrong, and GRPO ([chapter 12](12_grpo.ipynb)) compares answers to the same problem.
# - **Grades.** The student answers, and the teacher says for each token how likely it would have written it.
#
# The diagram shows all three on one line, *8-7+3=5*, of an answer to *make 12 from 8, 7 and 3*. Its result is wrong (8-7+3 is 4), and the expression misses the target too, so the verifier rejects it if the student hands it in. We carry this line through the page.

# %% tags=["diagram", "hide-input"]
diagram("distillation")

# %% [markdown]
# ## What does one answer cost?
#
# A fair comparison gives each way the same budget. We count floating-point **operations**: two for each weight and token (a product and a sum) in one pass forward. Learning from a token costs three such passes, because the gradient needs about two more. Padding costs nothing. The package's `flops` also counts attention, and leaves out the embedding, which is a look-up; we use it from the second cell on.

# %%
def operations(weights: int, mask, updates: int = 0) -> float:
    """Of one pass forward over the tokens in the mask [N, T], and of so many updates."""
    return 2 * weights * float(mask.sum()) * (1 + 3 * updates)

# %%
def two_answers_of_three_tokens(count) -> None:
    """1,000 weights; an answer of two tokens and one of a single token, padded."""
    mask = torch.tensor([[1, 1], [1, 0]])
    assert count(1000, mask) == 6000
    assert count(1000, mask, updates=1) == 24000


def counts_padding(weights, mask, updates=0):
    return 2 * weights * mask.numel() * (1 + 3 * updates)


def forgets_the_way_back(weights, mask, updates=0):
    return 2 * weights * float(mask.sum()) * (1 + updates)


bites(two_answers_of_three_tokens, operations, counts_padding)
bites(two_answers_of_three_tokens, operations, forgets_the_way_back)

# %%
prompts = [p.prompt for p in held_out[:32]]
drawn = teacher.sample(prompts, 1, 160, 1.0, torch.Generator().manual_seed(0))
as_read = student.encode(prompts, drawn.texts)
forward = {"teacher": teacher.flops(drawn) / 32, "student": student.flops(as_read) / 32}
learning = (student.flops(as_read, updates=1) - student.flops(as_read)) / 32
by_us = operations(size[0], as_read.attention_mask) / 32
for name, each in forward.items():
    print(f"the {name} writes or reads an answer: {each / 1e6:.1f} million operations")
print(f"the student, by our simpler count: {by_us / 1e6:.1f} million")
print(f"the student learns from it: {learning / 1e6:.1f} million")
assert abs(by_us / forward["student"] - 1) < 0.15

# %% [markdown]
# **The teacher writes an answer for about what the student pays to learn from it once.** The teacher has four times the weights, and learning takes three passes. We count everything that the training causes, but not what made the two models, because all ways begin with them.
#
# ## Thoughts: how does a student learn from the teacher's answers?
#
# The recipe is to generate, verify, filter and train. First the teacher **generates**: it answers problems that nothing else on this page poses. Then we **verify** and **filter**: an answer stays if it is right and has the form of one thought and one answer.

# %%
def generate(policy, count: int, seed: int):
    """One sampled reply to each of `count` new problems, and the operations that it took."""
    posed = [train[FAR + i] for i in range(count)]
    generator = torch.Generator().manual_seed(seed)
    drawn = policy.sample([p.prompt for p in posed], 1, 160, 1.0, generator)
    return list(zip(posed, drawn.texts, strict=True)), policy.flops(drawn)


answered, paid = generate(teacher, 256, seed=0)
print(f"{len(answered)} answers for {paid / 1e9:.1f} billion operations")

# %%
def keep(pairs, wanted) -> list[tuple[str, str]]:
    """Examples (prompt, reply): the well-formed replies that `wanted` accepts."""
    return [(p.prompt, reply) for p, reply in pairs
            if p.well_formed(reply) and wanted(p.score(reply) == 1)]  # fmt: skip


right = keep(answered, lambda correct: correct)
wrong = keep(answered, lambda correct: not correct)
unended = len(answered) - len(right) - len(wrong)
print(f"{len(right)} right, {len(wrong)} wrong, {unended} without an end or an answer")

# %%
def words_behind_the_answer(keep) -> None:
    """A right answer with words behind it: the verifier reads the answer only."""
    clean = "<think>9-6+3=3+3=6?6 yes</think><answer>9-6+3</answer>"
    pairs = [(held_out[1], clean), (held_out[1], clean + " and so on")]
    assert keep(pairs, bool) == [(held_out[1].prompt, clean)]


def keep_by_verdict(pairs, wanted):
    return [(p.prompt, reply) for p, reply in pairs if wanted(p.score(reply) == 1)]


bites(words_behind_the_answer, keep, keep_by_verdict)

# %% [markdown]
# Then the student **trains**: it raises the log-probability of each token of the teacher's answer. In place of our line the teacher writes *8-7+3=4*, says *no*, and tries another. All of its tokens are pushed up alike. The prompt is given, so its tokens do not count, and neither does the padding behind short answers. The cell before the run compares two steps of our loop with the package's `fine_tune`.
#
# The run may spend 60 billion operations, about a seventeenth of what the recorded runs may spend. The teacher's sampling is paid from it, and the rest goes into learning. How many held-out problems will the student solve, from about 30 %, with a teacher at about 85 %?

# %% tags=["prediction", "hide-input"]
guess = None
question = "Student after imitating the teacher's right answers, % right (live run)?"
imitated_guess = predict("distillation.imitated", question, guess, example=60, unit="%",
                         scale="difference", tolerance=20)  # fmt: skip
imitated_guess

# %%
def imitation_loss(logp, mask):
    """Minus the mean log-probability of the tokens in the mask, both [N, T]."""
    return -(logp * mask).sum() / mask.sum()

# %%
def padding_does_not_count(loss) -> None:
    """The second answer has one token, and behind it padding."""
    logp, mask = torch.tensor([[-1.0, -2.0], [-3.0, -9.0]]), torch.tensor([[1, 1], [1, 0]])
    assert loss(logp, mask) == 2


def mean_of_everything(logp, mask):
    return -logp.mean()


bites(padding_does_not_count, imitation_loss, mean_of_everything)

# %% tags=["naive"]
def step(optimizer, policy, rate: float) -> None:
    """Move the weights by their gradient, whose norm is at most 1."""
    _ = torch.nn.utils.clip_grad_norm_(policy.model.parameters(), 1.0)
    optimizer.param_groups[0]["lr"] = rate
    optimizer.step()
    optimizer.zero_grad()


def imitate(policy, examples, steps: int, seed: int = 0, rate: float = 1e-3) -> float:
    """Learn from examples, 64 in a step; the operations that this took."""
    weights, spent = policy.model.parameters(), 0.0
    optimizer = torch.optim.AdamW(weights, betas=(0.9, 0.95), weight_decay=0)
    for k in range(steps):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + k)
        chosen = torch.randint(len(examples), (64,), generator=generator).tolist()
        batch = policy.encode(*map(list, zip(*(examples[i] for i in chosen), strict=True)))
        imitation_loss(policy.logprobs(batch), batch.mask).backward()
        step(optimizer, policy, rate * min(1, (k + 1) / 5))
        spent += policy.flops(batch, updates=1) - policy.flops(batch)
    return spent

# %% tags=["agree"]
ours, theirs = student.copy(), student.copy()
_ = imitate(ours, right, 2)
plain = OptimConfig(lr=1e-3, warmup=5, decay=0.0)
config = SFTConfig(steps=2, batch=64, optim=plain)
with tempfile.TemporaryDirectory() as folder:
    fine_tune(theirs, right, config, Run(folder, "sft", config), progress=False)
sft_gap = max(float((a - b).detach().abs().max()) for a, b in
              zip(ours.model.parameters(), theirs.model.parameters(), strict=True))
assert sft_gap < 1e-9
print("weights after two steps, largest difference: below 1e-9")

# %%
# tolerance: 6
BUDGET = 60e9
steps = round((BUDGET - paid) / (64 * learning))
copyist = student.copy()
spent = paid + imitate(copyist, right, steps)
by_thoughts = solved(copyist)
imitated_guess.reveal(round(by_thoughts))
print(f"{steps} steps, {spent / 1e9:.0f} billion operations, "
      f"{64 * steps / len(right):.1f} readings of each answer: {by_thoughts:.0f} % right")
print(replies_of(copyist, held_out[1:2], 160)[0])
assert by_thoughts > untaught

# %% [markdown]
# **Thoughts work.** The student gains about 15 points, and it now tries again after a *no*.
#
# ## Where does the imitating student leave the teacher's path?
#
# The student has learned what to write after the *teacher's* words. In use it reads its *own*, with its own mistakes. We call a line a **slip** if its expression does not use each number once, or its result is not its value. Our line is one, because 8-7+3 is 4. How many lines of either model are slips? The teacher's kept answers have passed a filter, so we also let both models answer the same held-out problems. And which model still reaches a right answer after a slip? We cut the student's answers after their first one, and let either model go on. As a control both also solve the same problems from the start.

# %%
def slipped(problem, line: str) -> bool:
    """Whether a line of a thought, 8-7+3=1+3=4?12 no, goes wrong before its verdict."""
    attempt, _, rest = line.partition("=")
    try:
        value, literals, _ = evaluate(attempt)
    except ValueError:
        return True
    stated = rest.partition("?")[0].rpartition("=")[2]
    return sorted(literals) != sorted(map(str, problem.numbers)) or stated != str(value)

# %%
def our_line_is_a_slip(slipped) -> None:
    problem = Countdown.pose("8 7 3 = 12")
    assert slipped(problem, "8-7+3=5?12 no")
    assert slipped(problem, "8-7=1?12 no")
    assert not slipped(problem, "8-7+3=1+3=4?12 no")


def numbers_only(problem, line):
    return sorted(evaluate(line.partition("=")[0])[1]) != sorted(map(str, problem.numbers))


bites(our_line_is_a_slip, slipped, numbers_only)

# %%
# tolerance: 8
def until_slip(problem, text: str):
    """A thought up to the end of its first slip; None if there is none. And all its lines."""
    lines = text.partition("</think>")[0].removeprefix("<think>").split("\n")
    slips = [slipped(problem, line) for line in lines]
    cut = "<think>" + "\n".join(lines[: slips.index(True) + 1]) if any(slips) else None
    return cut, slips


# %%
# tolerance: 8
pairs = {"the teacher's kept answers": [(p, t) for p, t in answered
                                        if (p.prompt, t) in right]}  # fmt: skip
for name, policy in (("teacher", teacher), ("student", copyist)):
    generator = torch.Generator().manual_seed(5)
    texts = policy.sample([p.prompt for p in held_out], 1, 160, 1.0, generator).texts
    pairs[f"the {name} on held-out problems"] = list(zip(held_out, texts, strict=True))
for name, some in pairs.items():
    slips = [s for pair in some for s in until_slip(*pair)[1]]
    print(f"{name}: {100 * mean(slips):.0f} % of {len(slips)} lines are slips")

# %%
cut = [(p, until_slip(p, text)[0]) for p, text in pairs["the student on held-out problems"]]
cut = [(p, begun) for p, begun in cut if begun]


def goes_on(policy, begun: list[str]) -> float:
    """The share of the cut problems that a sampled reply solves after these words, in %."""
    asked = [p.prompt + words for (p, _), words in zip(cut, begun, strict=True)]
    rest = policy.sample(asked, 1, 160, 1.0, torch.Generator().manual_seed(6)).texts
    return 100 * mean(p.score(w + r) for (p, _), w, r in zip(cut, begun, rest, strict=True))

# %%
# tolerance: 10
way = {name: (goes_on(policy, [""] * len(cut)), goes_on(policy, [begun for _, begun in cut]))
       for name, policy in (("student", copyist), ("teacher", teacher))}  # fmt: skip
assert way["teacher"][1] > way["student"][1]
table(["who goes on", "from the start", "after the student's slip"],
      [[name, *(f"{share:.0f}" for share in both)] for name, both in way.items()],
      f"Right answers in %, sampled, to the {len(cut)} problems where the student slipped.")

# %% [markdown]
# **The student slips more often than its teacher, and both solve less when they go on after a slip.** About 60 % of its own lines are slips, and about 40 % of the teacher's. The answers that it learned from have about 21 %, perhaps because the filter prefers thoughts without slips (and those are other problems). After a slip of the student both models solve roughly 20 to 25 points fewer of the same problems than from the start. The teacher's lead is about the same before and after, so we do not find that the student is lost on its own path only. But a teacher that reads the student's answers could help at these slips.
#
# ## Grades: how does a teacher judge each token of the student's answer?
#
# In **on-policy distillation** {cite}`agarwal2023gkd` {cite}`lu2025onpolicy` the student answers, and the teacher says how likely it would have written each token. (*On-policy* means that a model learns from answers of its present self.) $p_S$ is the probability that the student gave to a token when it sampled it, and $p_T$ is the teacher's. The **grade** of a token is
#
# $$
# r_t = \log p_T(y_t \mid y_{<t}) - \log p_S(y_t \mid y_{<t}).
# $$
#
# It is 0 where both agree, positive where the teacher likes the token better, and very negative where the teacher would hardly have written it. Its unit is the nat, because the logarithm is the natural one. Here are the grades of our line:

# %%
line = ["8", "-", "7", "+", "3", "=", "5"]  # 5 is wrong
by_student = torch.tensor([[0.5, 0.5, 0.4, 0.8, 0.9, 0.9, 0.6]], dtype=torch.float64)
by_teacher = torch.tensor([[0.5, 0.8, 0.4, 0.8, 0.9, 0.9, 0.06]], dtype=torch.float64)


def grades_of(logp_student, logp_teacher, mask):
    """The grade of each sampled token [N, T]; 0 on padding."""
    return (logp_teacher - logp_student) * mask


grades = grades_of(by_student.log(), by_teacher.log(), torch.ones(1, 7))
print(*(f"{token} {g:+.2f}" for token, g in zip(line, grades[0], strict=True)), sep="   ")

# %% [markdown]
# ### Why this grade, and no other?
#
# We want the student's answers to be those of the teacher. The **reverse KL divergence** measures how far apart they are. It is the mean of $\log p_S(y) - \log p_T(y)$ over whole answers $y$ that the *student* samples, and it is 0 only if both models are equal. The log-probability of an answer is the sum over its tokens, so
#
# $$
# \mathrm{KL}(p_S \,\|\, p_T) = \mathbb{E}_{y \sim p_S} \sum_t \bigl[\log p_S(y_t \mid y_{<t}) - \log p_T(y_t \mid y_{<t})\bigr] = -\,\mathbb{E}_{y \sim p_S} \sum_t r_t .
# $$
#
# So the sum of the grades is a reward, whose expected value is largest where the student equals the teacher. [Chapter 10](10_from_games_to_words.ipynb) raises an expected reward by pushing each token's log-probability in proportion to the rewards that come from there on. (The reward depends on the student's weights too, but this extra term averages to zero over the student's samples.)
#
# The **advantage** of a token is therefore its grade plus all later ones. A factor $\gamma$ between 0 and 1 makes later grades count less. For our line and $\gamma = 0.5$:

# %% tags=["naive"]
def advantages_of(grades, gamma: float):
    """Each token's grade, plus gamma times the advantage of the next token."""
    advantages = grades.clone()
    for t in reversed(range(grades.shape[1] - 1)):
        advantages[:, t] += gamma * advantages[:, t + 1]
    return advantages


minus, five = math.log(0.8 / 0.5), math.log(0.06 / 0.6)  # the only grades that are not 0
by_hand = [minus / 2 + five / 64, minus + five / 32, five / 16, five / 8, five / 4, five / 2,
           five]  # fmt: skip
by_code = advantages_of(grades, 0.5)[0].tolist()
assert max(abs(a - b) for a, b in zip(by_hand, by_code, strict=True)) < 1e-9
print(*(f"{token} {a:+.2f}" for token, a in zip(line, by_code, strict=True)), sep="   ")

# %% [markdown]
# The wrong result takes the most blame. The token before it gets half of the blame, the one before that a quarter, and so on. Reward would give all seven tokens the same number.
#
# To test the derivation, we take a world of three letters, where each letter depends on the one before it. Answers have five letters. We can list all 243 of them, and compare the expected push with the exact gradient of the reverse KL.

# %%
letters = torch.cartesian_prod(*[torch.arange(3)] * 5)  # all answers [243, 5]


def world(seed: int) -> list:
    """Scores of the first letter [3], and of a next letter after each letter [3, 3]."""
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(*shape, generator=g).double().requires_grad_()
            for shape in ((3,), (3, 3))]  # fmt: skip


def every_letter(scores):
    """Log-probabilities of all letters at each place of each answer [243, 5, 3]."""
    first, following = (s.log_softmax(-1) for s in scores)
    return torch.cat((first.expand(243, 1, 3), following[letters[:, :-1]]), 1)


def all_answers(scores):
    """Log-probabilities of the letters of all answers [243, 5]."""
    return every_letter(scores).gather(2, letters[..., None])[..., 0]


# %%
def slope(loss, scores):
    """The gradient of a loss, as one vector."""
    return torch.cat([part.flatten() for part in torch.autograd.grad(loss, scores)])


def exact_gradient(pupil, master):
    ours, theirs = all_answers(pupil).sum(1), all_answers(master).sum(1)
    return slope((ours.exp() * (ours - theirs)).sum(), pupil)


def expected_push(pupil, master, advantages, gamma: float = 1.0):
    """The gradient of the loss of on-policy distillation, averaged over all answers."""
    ours, every = all_answers(pupil), torch.ones(243, 5)
    chance = ours.sum(1).exp().detach()
    graded = grades_of(ours.detach(), all_answers(master).detach(), every)
    return slope(-(chance[:, None] * advantages(graded, gamma) * ours).sum(), pupil)


# %%
pupil, master = world(0), world(1)


def follows_the_reverse_kl(advantages) -> None:
    gap = expected_push(pupil, master, advantages) - exact_gradient(pupil, master)
    assert gap.abs().max() < 1e-12


def adds_earlier_grades(grades, gamma):
    """A planted bug: the grades before a token instead of those after it."""
    return advantages_of(grades.flip(1), gamma).flip(1)


def wrong_sign(grades, gamma):
    return -advantages_of(grades, gamma)


bites(follows_the_reverse_kl, advantages_of, adds_earlier_grades)
bites(follows_the_reverse_kl, advantages_of, wrong_sign)
worlds = [(world(2 * k), world(2 * k + 1)) for k in range(20)]
for gamma in (1.0, 0.95, 0.0):
    alike = [float(torch.cosine_similarity(expected_push(*two, advantages_of, gamma),
                                           exact_gradient(*two), dim=0)) for two in worlds]
    print(f"gamma {gamma:g}: cosine with the exact gradient {mean(alike):.3f} "
          f"in 20 worlds, {min(alike):.2f} in the worst")

# %% [markdown]
# **With $\gamma = 1$ the mean push is the exact gradient of the reverse KL.** With $\gamma = 0$ each letter is improved as if it did not affect the next one. This is no longer that gradient. On average over these worlds the direction is still nearly the same, and in the worst it is not. What this costs a language model is a question for the run.
#
# ### Why not ask for the whole distribution?
#
# The grade judges only the token that was drawn. But the teacher computes the probabilities of *all* tokens anyway. At the last place of our line the student might have drawn another result, with the probabilities below. The KL of the whole distribution is the mean over all draws. So its gradient should be the mean push of sampled grades with $\gamma = 0$, and the last cell tests that in the world of three letters.

# %%
ours = torch.tensor([0.3, 0.6, 0.1], dtype=torch.float64)  # of the results 4, 5 and 1
theirs = torch.tensor([0.9, 0.06, 0.04], dtype=torch.float64)
if_drawn = (theirs / ours).log()
for result, chance, grade in zip("451", ours, if_drawn, strict=True):
    print(f"{result}: drawn with probability {chance:.1f}, then the grade is {grade:+.2f}")
print(f"mean grade: {float((ours * if_drawn).sum()):+.2f}")

# %%
def place_kl(scores, judged):
    """The KL at each place, from log-probabilities of all tokens [..., V]."""
    return (scores.exp() * (scores - judged)).sum(-1)


def is_minus_the_mean_grade(kl) -> None:
    assert abs(float(kl(ours.log(), theirs.log()) + (ours * if_drawn).sum())) < 1e-12


def forward_kl(scores, judged):
    return (judged.exp() * (judged - scores)).sum(-1)


bites(is_minus_the_mean_grade, place_kl, forward_kl)

# %%
def pushes_as_grades_do(kl) -> None:
    chance = all_answers(pupil).sum(1).exp().detach()
    places = kl(every_letter(pupil), every_letter(master).detach())
    whole = slope((chance[:, None] * places).sum(), pupil)
    sampled_push = expected_push(pupil, master, advantages_of, 0.0)
    assert (whole - sampled_push).abs().max() < 1e-12


def frozen_weights(scores, judged):
    """A planted bug: the right value, but the student's probabilities do not move."""
    return (scores.exp().detach() * (scores - judged)).sum(-1)


bites(pushes_as_grades_do, place_kl, forward_kl)
bites(pushes_as_grades_do, place_kl, frozen_weights)

# %% [markdown]
# With a sampled grade the student hears -2.30 for the 5, or +1.10 for the 4, as chance has it. The whole distribution pushes the same way on average, without the noise of the draw. It also tells a student who wrote 5 that the teacher wanted 4. Learning from all of the teacher's probabilities is called **soft distillation**, and imitating its tokens is called hard distillation.
#
# ## The loop in the open
#
# How do grades and reward train the language model? In one step the student samples answers, and a **judge** says what loss each token has. Only the judge differs, so we write the loop once, and three judges: sampled grades, the whole distribution, and GRPO's. GRPO compares an answer with its group, and pushes all its tokens alike. We check that a problem whose answers are all right gets advantage 0, and that an answer is compared with answers to its own problem.

# %% tags=["naive"]
def answer_and_learn(policy, optimizer, problems, size: int, judge, generator, rate) -> float:
    """One step: sample `size` answers to each problem, judge them, push; its operations."""
    posed = [p for p in problems for _ in range(size)]
    answers = policy.sample([p.prompt for p in problems], size, 160, 1.0, generator)
    losses, judging = judge(policy, posed, answers)
    ((losses * answers.mask).sum() / answers.mask.sum()).backward()
    step(optimizer, policy, rate)
    return policy.flops(answers, updates=1) + judging

# %%
def by_grades(policy, posed, answers, gamma: float = 0.0):
    """Pushes by the teacher's advantages [N, T], and the operations of its reading."""
    logp = policy.logprobs(answers)
    with torch.no_grad():
        grades = grades_of(logp, teacher.logprobs(answers), answers.mask)
    return -advantages_of(grades, gamma) * logp, teacher.flops(answers)

# %%
def all_scores(policy, answers):
    """Log-probabilities of all tokens at each place [N, T, V]."""
    return policy.model.lm_head(policy.hidden(answers)).log_softmax(-1)


def by_distribution(policy, posed, answers):
    """The exact KL at each place [N, T], for the same reading."""
    with torch.no_grad():
        judged = all_scores(teacher, answers)
    return place_kl(all_scores(policy, answers), judged), teacher.flops(answers)

# %%
def relative(rewards, size: int):
    """GRPO's advantages [P * G] of rewards that stand problem after problem."""
    groups = rewards.view(-1, size)
    spread = groups.std(1, keepdim=True) + 1e-4
    return ((groups - groups.mean(1, keepdim=True)) / spread).flatten()


def by_reward(policy, posed, answers, size: int = 16):
    """Pushes all tokens of an answer alike; the verifier is free."""
    judged = [p.score(text) for p, text in zip(posed, answers.texts, strict=True)]
    advantages = relative(torch.tensor(judged).double(), size)
    return -advantages[:, None] * policy.logprobs(answers), 0.0

# %%
def an_easy_problem_teaches_nothing(advantages) -> None:
    easy, hard = advantages(torch.tensor([1.0, 1.0, 0.0, 1.0]), 2).view(2, 2)
    assert easy.abs().max() == 0 and hard[0] < 0 < hard[1]


def against_the_batch(rewards, size):
    return (rewards - rewards.mean()) / (rewards.std() + 1e-4)


def across_problems(rewards, size):
    return relative(rewards.view(size, -1).T.flatten(), size)


bites(an_easy_problem_teaches_nothing, relative, against_the_batch)
bites(an_easy_problem_teaches_nothing, relative, across_problems)

# %% [markdown]
# The package does all this with the loop of [chapter 12](12_grpo.ipynb), and `TeacherBaseline` is its judge. We compute our grades and its advantages from the same 32 answers. (Padding must have no grade, or it would leak into the tokens before it. The cell also checks that `all_scores` gives the drawn tokens the same log-probability as `logprobs`.) The second cell compares one push of the other two judges, with the package's `policy_loss` and with PyTorch's KL.
#
# The third cell asks **which judge has less noise**. We compare the gradients of 8 batches of 16 answers. Without noise all would point in the same direction.

# %% tags=["agree"]
asked = held_out[:32]
generator = torch.Generator().manual_seed(1)
sampled = student.sample([p.prompt for p in asked], 1, 160, 1.0, generator)
with torch.no_grad():
    sampled.logp = student.logprobs(sampled) * sampled.mask
    graded = grades_of(sampled.logp, teacher.logprobs(sampled), sampled.mask)
    drawn_of_all = all_scores(student, sampled).gather(2, sampled.tokens[..., None])[..., 0]
grade_gap = float((drawn_of_all * sampled.mask - sampled.logp).abs().max())
for gamma in (0.0, 0.95):
    theirs_, _ = TeacherBaseline(teacher, student, gamma)(
        Drawn(asked, sampled, torch.zeros(32, 1), {}), 0)  # fmt: skip
    grade_gap = max(grade_gap, float((advantages_of(graded, gamma) - theirs_).abs().max()))
assert grade_gap < 1e-9
print("advantages of 32 answers, largest difference: below 1e-9")

# %%
def push_of(loss):
    """The gradient of a loss in the student's weights."""
    parts = torch.autograd.grad(loss, list(student.model.parameters()), allow_unused=True)
    return torch.cat([part.flatten() for part in parts if part is not None])


def averaged(losses, answers):
    """The mean of losses [N, T] over the tokens of the answers."""
    return (losses * answers.mask).sum() / answers.mask.sum()


posed = [p for p in held_out[:2] for _ in range(16)]
generator = torch.Generator().manual_seed(2)
two_groups = student.sample([p.prompt for p in held_out[:2]], 16, 160, 1.0, generator)
rewards = torch.tensor([p.score(t) for p, t in zip(posed, two_groups.texts, strict=True)],
                       dtype=torch.float64)  # fmt: skip
logp = student.logprobs(two_groups)
theirs_, _ = policy_loss(logp, logp.detach(), group_advantages(rewards.view(2, 16)).flatten(),
                         two_groups.mask, loss_type="bnpo")  # fmt: skip
with torch.no_grad():
    judged = all_scores(teacher, sampled)
by_torch = torch.nn.functional.kl_div(judged, all_scores(student, sampled), log_target=True,
                                      reduction="none").sum(-1)  # fmt: skip
push_gap = 0.0
for judge, problems, answers, loss in ((by_reward, posed, two_groups, theirs_),
        (by_distribution, asked, sampled, averaged(by_torch, sampled))):  # fmt: skip
    losses, _ = judge(student, problems, answers)
    gap = push_of(averaged(losses, answers)) - push_of(loss)
    push_gap = max(push_gap, float(gap.abs().max()))
assert push_gap < 1e-9 and 0 < rewards.mean() < 1
print("pushes by reward and by the whole distribution, largest difference: below 1e-9")

# %%
# tolerance: 0.05
many = student.sample([p.prompt for p in held_out], 1, 160, 1.0,
                      torch.Generator().manual_seed(7))  # fmt: skip
agreement = {}
for judge in (by_grades, by_distribution):
    some = [many[torch.arange(k, 128, 8)] for k in range(8)]
    parts = [push_of(averaged(judge(student, None, x)[0], x)) for x in some]
    parts = torch.stack([part / part.norm() for part in parts])
    agreement[judge.__name__] = float(((parts @ parts.T).sum() - 8) / (8 * 7))
    print(f"{judge.__name__}: cosine between two batches {agreement[judge.__name__]:.2f}")
assert agreement["by_distribution"] > agreement["by_grades"]

# %% [markdown]
# **The whole distribution has less noise.** Two batches agree with a cosine of about 0.33, and with sampled grades of about 0.14. The run must show whether this makes a better student.
#
# Now the student learns from each judge, with the same 60 billion operations and the same batches of 64 as before. We use $\gamma = 0$, as Thinking Machines, a laboratory, did {cite}`lu2025onpolicy`. The learning rate is 0.0003 (thoughts had 0.001). It rises over the first 5 steps, and these are more than half of the steps that grades can afford here.

# %% tags=["hide-input"]
def look(policy, problem) -> list[dict]:
    """Eight sampled answers to a problem, and the teacher's grade of each token."""
    drawn = policy.sample([problem.prompt], 8, 160, 1.0, torch.Generator().manual_seed(0))
    with torch.no_grad():
        graded = grades_of(policy.logprobs(drawn), teacher.logprobs(drawn), drawn.mask)
    shown = []
    for ids, text, grades in zip(drawn.tokens, drawn.texts, graded, strict=True):
        count = len(policy.tokenizer.encode(text))
        shown.append({"text": [policy.tokenizer.decode([i]) for i in ids[:count].tolist()],
                      "reward": problem.score(text),
                      "shade": [round(x, 2) + 0.0 for x in grades[:count].tolist()]})
    return shown

# %%
def learn(judge, prompts: int, size: int, watched=None):
    """A copy of the student that answers and learns until the budget is spent; its steps."""
    policy, k, frames, spent = student.copy(), 0, {}, 0.0
    optimizer = torch.optim.AdamW(policy.model.parameters(), betas=(0.9, 0.99), weight_decay=0)
    generator = torch.Generator().manual_seed(0)
    while spent < BUDGET:
        if watched and k % 4 == 0:
            frames[k] = look(policy, watched)
        problems = [train[prompts * k + i] for i in range(prompts)]
        rate = 3e-4 * min(1, (k + 1) / 5)
        spent += answer_and_learn(policy, optimizer, problems, size, judge, generator, rate)
        k += 1
    return policy, k, frames

# %%
def told(name: str, policy, steps: int) -> list:
    """Greedy answers to the held-out problems: solved, endless, and right attempts denied."""
    replies = replies_of(policy, held_out, 160)
    first = [reply.removeprefix("<think>").partition("\n")[0].partition("</think>")[0]
             for reply in replies]  # fmt: skip
    hits = [line for p, line in zip(held_out, first, strict=True)
            if p.score(f"<think></think><answer>{line.partition('=')[0]}</answer>") == 1]
    return [name, steps, mean(p.score(r) for p, r in zip(held_out, replies, strict=True)),
            mean("</answer>" not in reply for reply in replies), len(hits),
            mean(line.endswith((" no", "不对")) for line in hits)]  # fmt: skip


live = [told("untaught", student, 0), told("thoughts", copyist, steps)]

# %%
watched = held_out[0]
learned, count, frames = learn(by_grades, 64, 1, watched)
frames[count] = look(learned, watched)
live.append(told("grades", learned, count))

# %%
learned, count, _ = learn(by_distribution, 64, 1)
live.append(told("whole distribution", learned, count))

# %%
learned, count, _ = learn(by_reward, 4, 16)
live.append(told("reward", learned, count))

# %%
# tolerance: 15
assert live[4][5] < live[2][5]  # reward denies fewer right attempts than grades
table(["way", "steps", "right, %", "never end, %", "right first attempts", "denied, %"],
      [[name, k, f"{100 * r:.0f}", f"{100 * e:.0f}", hits, f"{100 * no:.0f}"]
       for name, k, r, e, hits, no in live],
      "Greedy answers to 128 held-out problems, one student, the same operations. Denied: "
      "of the right first attempts, those behind which the student writes no.")

# %% tags=["widget"]
lapse = Rollouts(watched.prompt.strip(), list(frames), list(frames.values()),
                 title="One problem, eight answers of the student, graded by the teacher",
                 shade_label="the teacher's grade, nats")
lapse.shading = 1  # open on the grades
lapse

# %% [markdown]
# **With equal batches thoughts and reward each gain about 15 points here. Grades lose about 6 points, which is within the noise, and the whole distribution loses about 16.** (This is one student, and an interval over 128 problems is about 9 points wide on either side.) The widget shows a problem whose right lines are denied. The teacher disagrees most where the student has just written *no* and ends its thought: it would have begun a new line. (不对 is *no* in Chinese.)
#
# The student learns to go on, but its verdict comes loose from its line. Before, about half of its right first attempts got the verdict *no*. After grades all of them do, and after reward none. So it walks past its solutions, and with the whole distribution about half of its answers never end. **Less noise did not make a better student here: in the same eight steps it went further the same way.** In the moving figure, no line that reaches 19 is accepted at the end, and some lines that miss it are. We do not know why; one suspect is $\gamma = 0$, with which a wrong *no* is not blamed for what follows.

# %% [markdown]
# ## Equal operations, five seeds
#
# In the record each seed has its own web, teacher and student, with the sizes of the live run. But these students have read four times as much as our live student, and their teachers twice as much as nano-zero. Every way may spend a trillion operations, and is measured on 512 held-out problems answered greedily. **The batches differ**, which is the comparison's weak point: thoughts learn from 64 answers in a step, grades from 128 and reward from 256. At the first point reward and grades are still warming up, and thoughts have made ten steps. So that point does not compare the ways at equal batches.

# %% tags=["hide-input"]
rows = [r for r in results.read("ch16_distillation")["rows"] if "accuracy" in r]
PARTS = sorted({r["part"] for r in rows if r["arm"] == "sft_right"})
NAMES = {"rl": "reward", "on_policy": "grades, gamma 0.95",
         "on_policy_token": "grades, gamma 0", "sft_right": "thoughts",
         "sft_on_policy": "thoughts, then grades",
         "sft_few": "fewer right ones", "sft_wrong": "wrong ones, as many",
         "sft_shuffled": "others' thoughts", "sft_lines": "lines in random order",
         "sft_short": "the shortest quarter"}  # fmt: skip


def of(arm: str, part: float = 1.0, what: str = "accuracy") -> list[float]:
    """A measure after a share of the budget, one number per seed; accuracies in %."""
    found = sorted((r["seed"], r[what]) for r in rows if (r["arm"], r["part"]) == (arm, part))
    return [value * (100 if what == "accuracy" else 1) for _, value in found]


def spread_of(values, digits: int = 0) -> str:
    """A mean with its 95 % interval over seeds."""
    return "{:.{d}f} ± {:.{d}f}".format(*interval(values), d=digits)


print(results.origin("ch16_distillation"))
start, end = of("student", 0.0), of("teacher", 0.0)
whole = mean(of("rl", what="flops"))
print(f"students: {spread_of(start, 1)} % right before; their teachers: {spread_of(end, 1)} %")
print(f"budget of each way: about {whole / 1e12:.1f} trillion operations")
FIRST = PARTS[0]
for arm in ("sft_right", "rl", "on_policy_token"):
    print(f"{NAMES[arm]}, first measurement: after {mean(of(arm, FIRST, 'steps')):.0f} steps, "
          f"{mean(of(arm, FIRST, 'flops')) / 1e9:.0f} billion; "
          f"{mean(of(arm, 1.0, 'steps')):.0f} steps at the end")

# %% tags=["figure", "hide-input"]
fig, ax = plt.subplots(figsize=(7.5, 3.6))
curves = {}
for arm in ("sft_right", "rl", "on_policy_token", "on_policy"):
    curves[arm] = [(mean(of(arm, part, "flops")) / 1e9, *interval(of(arm, part)))
                   for part in PARTS]  # fmt: skip
    band(ax, [x for x, _, _ in curves[arm]], [y for _, *y in curves[arm]], NAMES[arm])
_ = ax.axhline(mean(start), color="gray", lw=1, ls=":")
_ = ax.text(190, mean(start) + 1.5, "untaught", color="gray")
_ = ax.set(xscale="log", xlabel="billion operations (log axis)", ylabel="right, %",
           ylim=(20, 100), xlim=(40, 3000))  # fmt: skip
_ = ax.set_xticks([50, 100, 200, 500, 1000], ["50", "100", "200", "500", "1,000"])
_ = ax.minorticks_off()
direct_labels(ax)
show(fig, f"Accuracy against operations: means of {len(start)} seeds with 95 % intervals. All "
     "ways begin with the same students (dotted). Each point of thoughts is a training of its "
     "own, with its own pool of answers; the other ways are measured on the way.",
     f"Four lines over operations, from {mean(start):.0f} % untaught. " + "; ".join(
         f"{NAMES[arm]}: " + ", ".join(f"{m:.0f} % after {x:.0f} billion"
                                       for x, m, _ in points)
         for arm, points in curves.items()) + ".")

# %% tags=["hide-input"]
body = []
for arm in ("sft_right", "rl", "on_policy_token", "on_policy", "sft_on_policy"):
    cells = [spread_of(of(arm, part)) if of(arm, part) else "" for part in PARTS]
    less = "" if arm == "rl" else "{:+.0f} ± {:.0f}".format(*apart(of(arm), of("rl")))
    body.append([NAMES[arm], *cells, less.replace("-0 ", "+0 ")])
lead = apart(of("sft_right"), of("rl"))
print("thoughts minus reward: {:+.1f} ± {:.1f} points at 0.05, {:+.1f} ± {:.1f} at 1".format(
    *apart(of("sft_right", 0.05), of("rl", 0.05)), *lead))
print("thoughts minus the teacher: {:+.1f} ± {:.1f} points".format(
    *apart(of("sft_right"), end)))
table(["way", *(f"{part:g}" for part in PARTS), "minus reward, at 1"], body,
      "Right answers in % after a share of the budget; means with 95 % intervals over seeds. "
      "Thoughts, then grades: a tenth of the budget for thoughts, then grades (gamma 0.95).")

# %% [markdown]
# **Thoughts lead only while little has been spent.** After a twentieth of the budget they are 40 ± 9 points above reward, and we cannot say how much of this belongs to the batches. After a tenth thoughts, reward and grades with $\gamma = 0$ are level, and grades with $\gamma = 0.95$ are behind. At the end thoughts are 3.6 ± 5.1 points ahead, which includes zero, and the student is as good as a teacher of four times its size (the difference is 0.2 ± 3.3 points).
#
# ### Are grades cheaper than reward?
#
# Qwen3 {cite}`yang2025qwen3` reports a tenth of the GPU hours, for a student that has already imitated thoughts. We ask how many operations each way takes to 70 % right answers, a mark that all pass. The record has five measurements of each way. So it can only say between which two of them the mark lies:

# %%
def bracket(curve, wanted: float = 70) -> tuple[float, float]:
    """The two measurements between which a curve first reaches this accuracy."""
    for (low, before), (high, after) in zip(curve, curve[1:], strict=False):
        if after >= wanted > before:
            return low, high
    return math.inf, math.inf


def the_first_crossing(bracket) -> None:
    assert bracket([(0, 30), (10, 60), (20, 80), (30, 65), (40, 90)]) == (10, 20)
    assert bracket([(0, 30), (10, 60)]) == (math.inf, math.inf)


def the_last_crossing(curve, wanted=70):
    low = max(at for at, accuracy in curve if accuracy < wanted)
    return low, min((at for at, _ in curve if at > low), default=math.inf)


bites(the_first_crossing, bracket, the_last_crossing)

# %% tags=["hide-input"]
def curve_of(arm: str, seed: int) -> list[tuple[float, float]]:
    return sorted((r["flops"] / 1e9, 100 * r["accuracy"]) for r in rows
                  if r["seed"] == seed and r["arm"] in (arm, "student"))  # fmt: skip


arms = ("sft_right", "rl", "on_policy_token", "on_policy")
found = {arm: [bracket(curve_of(arm, seed)) for seed in range(len(start))] for arm in arms}
body = []
for arm in arms:
    below, above = ([f"{b:.0f}" for b in sorted(side)]
                    for side in zip(*found[arm], strict=True))  # fmt: skip
    body.append([NAMES[arm], ", ".join(below), ", ".join(above)])
for arm in ("rl", "on_policy_token"):
    at = [f"{spread_of(of(arm, part))} % right with {mean(of(arm, part, 'answers')):,.0f} "
          "answers" for part in (FIRST, 0.1)]  # fmt: skip
    print(f"{NAMES[arm]}: {at[0]}, next {at[1]}")
table(["way", "still below 70 %", "first time above"], body,
      "Billions of operations, each of the five seeds, sorted. 0: the untaught student.")

# %% [markdown]
# **Not by a factor of ten, and we cannot say more.** Thoughts are there at their first measurement, below 50 billion operations. Reward and grades with $\gamma = 0$ reach the mark somewhere between about 60 and 115 billion. So grades may take half of reward's operations, or more than reward. They need fewer answers (fewer than 900, and reward more than 1,000), but the large teacher has to read each, and our verifier is free. With $\gamma = 0.95$ four of five seeds are still below the mark after 100 to 115 billion. Thoughts, then grades, comes nearest to the published setting, but begins at about 86 %, which leaves too little room.
#
# ### What is it in the thoughts that teaches?
#
# The student could learn right answers, the reasoning that leads to them, or only the habit of writing more lines. Each control but the first changes one of these for the same operations, and the first only has fewer examples. The operations are equal, but the steps are not: where good examples are rare, most of the budget goes into asking the teacher. The table shows both.
#
# - **fewer right ones**: as many right examples as there are wrong ones.
# - **wrong ones, as many**: the teacher's wrong answers only.
# - **others' thoughts**: each right answer stands after the thought of another problem.
# - **lines in random order**: each thought keeps its lines, shuffled.
# - **the shortest quarter**: of the right answers among all 8,192, the quarter with the shortest thoughts.

# %% tags=["hide-input"]
guess = None
question = "Others' thoughts: right after the full budget, in %?"
foreign_guess = predict("distillation.foreign", question, guess, example=30, unit="%",
                        scale="difference", tolerance=20)  # fmt: skip
foreign_guess

# %% tags=["hide-input"]
foreign_guess.reveal(round(mean(of("sft_shuffled")), 1))
body = []
for arm in ("sft_right", "sft_few", "sft_wrong", "sft_shuffled", "sft_lines", "sft_short"):
    gain = "{:+.0f} ± {:.0f}".format(*apart(of(arm), start))
    less = "{:+.0f} ± {:.0f}".format(*apart(of(arm), of("sft_right")))
    body.append([NAMES[arm], *(f"{mean(of(arm, 1.0, w)):,.0f}"
                               for w in ("asked", "examples", "epochs", "steps")),
                 *(spread_of(of(arm, part)) for part in (0.2, 1.0)), gain,
                 "" if arm == "sft_right" else less,
                 f"{mean(of(arm, 1.0, 'retries')):.1f}"])
print("fewer right ones minus wrong ones: {:+.0f} ± {:.0f} points".format(
    *apart(of("sft_few"), of("sft_wrong"))))
table(["learned from", "asked for", "examples", "readings", "steps", "right at 0.2",
       "right at 1", "minus student",
       "minus thoughts", "retries"], body,
      "Right answers in %; 95 % intervals over seeds. Asked for: answers of the teacher. "
      "Readings: of each example. "
      f"Retries: attempts after the first, per greedy thought (the student has "
      f"{mean(of('student', 0.0, 'retries')):.1f}, the teacher "
      f"{mean(of('teacher', 0.0, 'retries')):.1f}).")

# %% [markdown]
# **What is taught is how to search, and it has to fit the problem.** Wrong answers alone lift the student by 42 ± 12 points, perhaps because their thoughts also try one expression after another. As many right ones are 13 ± 11 points better, but had more steps too (about 127 against 89). With the thoughts of other problems, in equal steps, the student retries more than its teacher and gains nothing (22 %, from 30 %), so the habit alone is not enough. Shuffled lines cost 24 ± 10 points in equal steps. The shortest quarter, which seldom tries twice, costs 34 ± 9; but it comes from problems that need no second try, so we cannot tell short thoughts from easy problems.
#
# [Two teachers, one student](16b_two_teachers.ipynb) asks what grades know, and merges two specialists.
#
# ## What DeepSeek did
#
# **R1's small models** {cite}`deepseekr1` (sections 2.4 and 4.1 of the first report). About 800,000 examples, 600,000 with reasoning that R1 wrote and that passed a filter, and 200,000 without, fine-tuned six open models of 1.5 to 70 billion parameters by the loss of our loop,
#
# $$
# L = -\frac{1}{\sum_i |y_i|} \sum_i \sum_t \log p_S(y_{i,t} \mid x_i, y_{i,<t}), \qquad y_i \sim p_T(\cdot \mid x_i),\ y_i \text{ accepted},
# $$
#
# where $x_i$ is a question and $y_i$ a teacher's answer. They used no reward after it. The comparison of our first lines (47.0 and 72.6 %) is theirs; the arm with reward had more than 10,000 steps. They conclude that small models gain more from a stronger model than from reward of their own. The costs of both arms are not compared.

# %% [markdown]
# ## What others report
#
# - Open R1 {cite}`openr1` repeated the first recipe in the open. R1 answered 400,000 problems twice, a verifier kept answers to 220,000, and a 7B model fine-tuned on them matches DeepSeek's own.
# - GKD {cite}`agarwal2023gkd` trains students on their own answers, with the whole distribution of the teacher at each token, and reports about twice the gains of earlier distillation on summaries, translation and arithmetic.
# - Qwen3 {cite}`yang2025qwen3` compares an 8B student: reward takes it to 67.6 % on AIME 2024 in 17,920 GPU hours, and grades to 74.4 % in 1,800. Thinking Machines {cite}`lu2025onpolicy` repeats this with $\gamma = 0$, and reports that grades need a seventh to a tenth of reward's steps. Both begin with a student that has already imitated thoughts.
# - Small models {cite}`li2025struggle` of 3 billion parameters and fewer learn less from long thoughts than from short ones. In 32B models {cite}`li2025structure`, examples with wrong answers teach nearly as well, and shuffled steps do harm.

# %% [markdown]
# ## What went wrong, or did not help
#
# **Our first choice of $\gamma$ was not the best one.** We chose 0.95 because a token should answer for what follows, and 0 was quicker.
#
# **Grades made the live student worse.** It learned to say *no* before it could tell a right line from a wrong one. In a try that is not recorded we also graded it after thoughts, and it became worse there too. The students of the record have read more, and end at 90 % with the same judge.
#
# **Equal operations are not equal steps.** Smaller batches would give grades and reward more steps at the start. The learning rate of the live grades reaches its full height only in the fifth of eight steps. We varied neither.
#
# ## Exercises
#
# ```{exercise} The whole distribution of a batch
# :label: ex-16-grades
#
# *15 minutes.* Write `soft_loss(student, teacher, mask)`: the reverse KL, averaged over the tokens in the mask `[N, T]`. `student` and `teacher` are scores `[N, T, V]` before the softmax. On padding they mean nothing, and may be no numbers at all. Test it with `one_place_counts(my_loss)`.
#
# **Hint.** What is 0 times something that is not a number?
# ```

# %%
def one_place_counts(loss) -> None:
    """Probabilities 1/2 and 1/2 against 1/4 and 3/4, and padding behind."""
    ours = torch.tensor([[[0.0, 0.0], [math.nan, 2.0]]])
    theirs = torch.tensor([[[0.0, math.log(3)], [math.nan, 0.0]]])
    found = float(loss(ours, theirs, torch.tensor([[1, 0]])))
    assert abs(found - 0.5 * math.log(4 / 3)) < 1e-6


def my_loss(student, teacher, mask):
    """Replace the line below by your own."""
    raise NotImplementedError


# one_place_counts(my_loss)

# %% [markdown]
# ```{solution-start} ex-16-grades
# :class: dropdown
# ```

# %%
def soft_solution(student, teacher, mask):
    ours, theirs = (s[mask.bool()].log_softmax(-1) for s in (student, teacher))
    return place_kl(ours, theirs).mean()


def padding_times_zero(student, teacher, mask):
    places = place_kl(student.log_softmax(-1), teacher.log_softmax(-1))
    return (places * mask).sum() / mask.sum()


bites(one_place_counts, soft_solution, padding_times_zero)

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} Generate, verify, filter
# :label: ex-16-pool
#
# *20 minutes.* Our `keep` accepts every right answer. A good pool has one example for each problem, and none that is too long. Write `generate_verify_filter(problems, teacher, tries, longest)` for the task that is printed below; `check("distillation.generate_verify_filter", my_pool)` knows its mistakes by name.
#
# **Hint.** What happens if a problem comes twice?
# ```

# %%
print(describe("distillation.generate_verify_filter"))


def my_pool(problems, teacher, tries, longest):
    """Replace the line below by your own."""
    raise NotImplementedError


# check("distillation.generate_verify_filter", my_pool)

# %% [markdown]
# ```{solution-start} ex-16-pool
# :class: dropdown
# ```

# %%
def pool_solution(problems, teacher, tries, longest):
    examples = []
    for text in dict.fromkeys(problems):
        problem = Countdown.pose(text)
        accepted = [r for r in teacher[text][:tries] if problem.score(r) == 1
                    and problem.well_formed(r) and len(r) <= longest]  # fmt: skip
        examples += [(problem.prompt, r) for r in accepted[:1]]
    return examples


check("distillation.generate_verify_filter", pool_solution)

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} How many answers can you afford?
# :label: ex-16-budget
#
# *10 minutes.* Write `equal_budget(budget, teacher, student, tokens, share, epochs)`: how many answers a student may ask for when sampling and learning come from one budget; the task is printed below. `check("distillation.equal_budget", my_budget)` knows its mistakes by name.
#
# **Hint.** Every answer is sampled, but only a share of them is learned from.
# ```

# %%
print(describe("distillation.equal_budget"))


def my_budget(budget, teacher, student, tokens, share, epochs):
    """Replace the line below by your own."""
    raise NotImplementedError


# check("distillation.equal_budget", my_budget)

# %% [markdown]
# ```{solution-start} ex-16-budget
# :class: dropdown
# ```

# %%
def budget_solution(budget, teacher, student, tokens, share, epochs):
    each = teacher * tokens + 3 * student * tokens * share * epochs
    return math.floor(budget / each)


check("distillation.equal_budget", budget_solution)

# %% [markdown]
# ```{solution-end}
# ```
#
# ## Bug zoo
#
# The package contains three wrong versions of `token_grades(student_logprobs, teacher_logprobs, mask, gamma)`, which does in one function what our `grades_of` and `advantages_of` do. The test below accepts the right version and lets one bug escape. Write a second test that catches it; ours is in the folded cell.

# %% tags=["zoo"]
def the_last_token_of_two(token_grades) -> None:
    """Without padding: the teacher likes the first token and not the second."""
    ours, theirs = torch.tensor([[-2.0, -1.0]]), torch.tensor([[-1.0, -3.0]])
    found = token_grades(ours, theirs, torch.ones(1, 2), 0.5)
    assert abs(found - torch.tensor([[0.0, -2.0]])).max() < 1e-6


zoo("distillation", [the_last_token_of_two])

# %% tags=["hide-cell"]
def nothing_leaks(token_grades) -> None:
    """The second token is padding."""
    ours, theirs = torch.tensor([[-2.0, -1.0]]), torch.tensor([[-1.0, -3.0]])
    found = token_grades(ours, theirs, torch.tensor([[1.0, 0.0]]), 0.5)
    assert abs(found - torch.tensor([[1.0, 0.0]])).max() < 1e-6


zoo("distillation", [the_last_token_of_two, nothing_leaks])

# %% [markdown]
# ## Receipt

# %% tags=["receipt"]
spread = {f"recorded, full budget, right, %, {NAMES[arm]}": of(arm)
          for arm in ("sft_right", "rl", "on_policy_token", "on_policy")}  # fmt: skip
receipt(seconds=time.process_time(), spread=spread, differences={
    "our imitation and the package's, weights": (sft_gap, 1e-9),
    "our grades and the package's, nats": (grade_gap, 1e-9),
    "pushes of our other judges": (push_gap, 1e-9),
})

# %% [markdown]
# ## Summary
#
# **Thoughts lead only while little has been spent, and unequal batches may be a reason. After a tenth of the budget thoughts, reward and grades with $\gamma = 0$ are level (86 to 88 %), and grades with $\gamma = 0.95$ are still at 56 ± 24 %.** With a twentieth of the budget thoughts bring the recorded students from 30 to 75 % on held-out Countdown (three numbers up to 12), and reward to 35 %, which had made fewer and larger steps. Live, thoughts and reward bring a student that has read less to about 46 %. At the end thoughts are 3.6 ± 5.1 points ahead of reward (five seeds).
#
# **Grades are not ten times cheaper than reward here.** Both reach 70 % somewhere between 60 and 115 billion operations, and we cannot say which is first. Grades need fewer answers, but the teacher has to read each. In the live run they went wrong, and the whole distribution, which has less noise, went further wrong.
#
# **Thoughts teach a search that fits the problem.** Wrong answers add 42 points, with fewer steps, and thoughts of other problems leave the student at 22 %.
#
# - I can now train a student on a pool of a teacher's right answers.
# - I can now derive the reverse KL as a reward for each token, and say what the whole distribution adds.
# - I can now compare ways of learning at equal operations.
# - I can now name the controls that a claim about thoughts needs: wrong ones, others' thoughts, shuffled lines.

# %% [markdown]
# ## Read on
#
# - DeepSeek-R1 {cite}`deepseekr1`, first version, sections 2.4 and 4.1; GKD {cite}`agarwal2023gkd`, section 3, on mixing students' and teachers' answers; Thinking Machines {cite}`lu2025onpolicy` on grades in practice.
# - The code of this chapter in the package: `minidsk/rl/distill.py`, `minidsk/rl/harvest.py` and `minidsk/train/sft.py`; the experiment is `tools/experiments/ch16_distillation.py`.
# - Next: [chapter 17](17_thinking_longer.ipynb) leaves the weights alone and spends more on each answer.
