"""The exercise on a teacher's grades: what each token of a student's own answer is worth to the teacher.

Sources: the student's own answers, graded (GKD, arXiv:2306.13649); grades of later tokens added (MiniLLM,
arXiv:2306.08543). The package's version is `minidsk.rl.distill`.
"""

from typing import Any

import torch
from torch import Tensor

from minidsk.homework.exercise import Exercise, Mistake


def token_grades(student_logprobs: Tensor, teacher_logprobs: Tensor, mask: Tensor, gamma: float) -> Tensor:
    """The advantage of each token that the student sampled, where a teacher grades it.

    student_logprobs and teacher_logprobs [N, T], float: log-probabilities of the sampled tokens. mask [N, T]: 1 on an
    answer's tokens, 0 on the padding behind them, where the log-probabilities mean nothing. The grade of a token is
    the teacher's log-probability minus the student's. Returns [N, T]: a token's own grade, plus gamma times the next
    one's, plus gamma squared times the one after that, up to the answer's last token; 0 on padding.
    """
    grades = _grades(student_logprobs, teacher_logprobs, mask)
    return _followed(grades, gamma).to(student_logprobs.dtype)


def _grades(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    return (teacher.double() - student.double()).masked_fill(mask == 0, 0.0)


def _followed(grades: Tensor, gamma: float) -> Tensor:
    """Each grade and the discounted ones after it, computed from the last token to the first."""
    total, ahead = torch.zeros_like(grades), torch.zeros_like(grades[:, 0])
    for t in reversed(range(grades.shape[1])):
        ahead = grades[:, t] + gamma * ahead
        total[:, t] = ahead
    return total


def _leaks(student: Tensor, teacher: Tensor, mask: Tensor, gamma: float) -> Tensor:
    return _followed((teacher - student).double(), gamma) * mask


def _forward(student: Tensor, teacher: Tensor, mask: Tensor, gamma: float) -> Tensor:
    return _followed(_grades(student, teacher, mask).flip(1), gamma).flip(1) * mask


def _of_the_whole(student: Tensor, teacher: Tensor, mask: Tensor, gamma: float) -> Tensor:
    return _grades(student, teacher, mask).sum(1, keepdim=True) * mask


def _ratios(student: Tensor, teacher: Tensor, mask: Tensor, gamma: float) -> Tensor:
    return _followed((teacher - student).double().exp() * mask, gamma)


def _weighted(student: Tensor, teacher: Tensor, mask: Tensor, gamma: float) -> Tensor:
    return _followed(student.double().exp() * _grades(student, teacher, mask), gamma)


def _less_the_mean(student: Tensor, teacher: Tensor, mask: Tensor, gamma: float) -> Tensor:
    advantages = token_grades(student, teacher, mask, gamma)
    return (advantages - advantages.sum() / mask.sum()) * mask


def _late(student: Tensor, teacher: Tensor, mask: Tensor, gamma: float) -> Tensor:
    return token_grades(student, teacher, mask, gamma) - _grades(student, teacher, mask)


def _answers_of_a_student() -> list[tuple[str, tuple[Any, ...]]]:
    g = torch.Generator().manual_seed(0)
    student = torch.tensor([[0.5, 0.25, 0.8], [0.9, 0.5, 0.1]]).log()
    teacher = torch.tensor([[0.5, 0.05, 0.4], [0.3, 0.75, 0.7]]).log()
    here = torch.tensor([[1.0, 1, 1], [1, 1, 0]])
    wide = -3 * torch.rand(3, 6, generator=g), -3 * torch.rand(3, 6, generator=g)
    lengths = (torch.arange(6) < torch.tensor([[6], [3], [1]])).float()
    return [
        ("two answers of three tokens, gamma 0", (student, teacher, torch.ones(2, 3), 0.0)),
        ("the same, gamma 0.5", (student, teacher, torch.ones(2, 3), 0.5)),
        ("the second answer has two tokens, gamma 0.5", (student, teacher, here, 0.5)),
        ("the same, gamma 1", (student, teacher, here, 1.0)),
        ("answers of 6, 3 and 1 tokens, gamma 0.95", (*wide, lengths, 0.95)),
        ("the teacher agrees", (student, student, here, 0.9)),
    ]


EXERCISES = (
    Exercise(
        "distillation.token_grades",
        token_grades,
        _answers_of_a_student,
        (
            Mistake("the sign turned round", "The teacher finds a token likelier than the student does: up or down?",
                    lambda s, t, m, gamma: token_grades(t, s, m, gamma)),
            Mistake("the padding's grades reach the answer", "The second answer has two tokens: what follows them?",
                    _leaks),
            Mistake("discounted the wrong way", "For which tokens can a token be blamed: those before or after it?",
                    _forward),
            Mistake("padding is not set to 0", "The student did not sample what stands behind its answer.",
                    lambda s, t, m, gamma: _followed((t - s).double(), gamma)),
            Mistake("gamma left out", "With gamma 0 a token answers for itself alone.",
                    lambda s, t, m, gamma: token_grades(s, t, m, 1.0)),
            Mistake("each token's own grade only", "With gamma 1 the first token answers for all that follow.",
                    lambda s, t, m, gamma: token_grades(s, t, m, 0.0)),
            Mistake("the answer's sum for every token", "Is the last token to blame for the first one's grade?",
                    _of_the_whole),
            Mistake("a ratio, without its logarithm", "What should the grade be where the teacher agrees: 0 or 1?",
                    _ratios),
            Mistake("weighted by the student's probability", "The tokens were sampled: how often is a token drawn "
                    "that has probability 0.1?", _weighted),
            Mistake("the batch's mean subtracted", "The teacher likes no token of an answer: may any grade be good?",
                    _less_the_mean),
            Mistake("a token's own grade left out", "The sum begins with the token itself.", _late),
        ),
        "Compute two tokens by hand, and begin with the last one.",
    ),
)  # fmt: skip
"""Part of `distillation.EXERCISES`; its first three mistakes are the chapter's bug zoo."""
