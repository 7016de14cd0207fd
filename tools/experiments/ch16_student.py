"""Chapter 16: the small student that the chapter teaches live, before it is taught.

    python tools/record.py ch16_student --seeds 0 -- .venv/bin/python tools/experiments/ch16_student.py --device cpu

It is made as the students of `ch16_distillation.py` are, and saved in half precision in the record's folder `student`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from ch16_students import settings_of, student_of
from sweep import arguments

from minidsk.presets import nano
from minidsk.scale.cost import parameters
from minidsk.train.device import pick_device


def main() -> None:
    """The command line."""
    parser = arguments(__doc__, "results/ch16_student", seeds=[0])
    parser.add_argument("--share", type=float, default=0.3, help="of authors who search, on the web")
    parser.add_argument("--student-steps", type=int, default=1500, help="of the student's pretraining")
    parser.add_argument("--batch", type=int, default=8, help="rows of text in a step of pretraining")
    parser.add_argument("--hidden", type=int, default=56, help="the student's width")
    parser.add_argument("--layers", type=int, default=2, help="the student's layers")
    zero = nano().zero  # what the large experiment also asks for, and a student does not use
    parser.set_defaults(pretrain_steps=1, rl_lr=zero.optim.lr, rl_steps=1, prompts=8, group=16, rows=64, tokens=160)
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    student = student_of(settings_of(a.seeds[0], a), a, pick_device(a.device))
    student.model.half()
    student.save(a.out / "student")
    found = {"parameters": parameters(student.model.config), "steps": a.student_steps, "seed": a.seeds[0]}
    (a.out / "metrics.json").write_text(json.dumps(found) + "\n", encoding="utf-8")
    print(found)


if __name__ == "__main__":
    main()
