"""How DeepSeek-R1-Zero and DeepSeek-R1 were trained, and what the nano preset does of it."""

from minidsk.diagrams.figure import Diagram
from minidsk.diagrams.pen import Pen
from minidsk.presets import nano

_NANO = nano()


def _draw(pen: Pen) -> None:
    pen.box(12, 100, 120, 64, "V3-Base", "671 billion", "weights", tone="frozen")
    pen.region(148, 10, 516, 84, "R1-Zero: reward alone", tone="judged")
    pen.box(164, 38, 224, 46, "GRPO", "rules: right answer, right form", tone="learns")
    pen.box(420, 38, 228, 46, "R1-Zero", "AIME 2024: 15.6 % → 71.0 %", tone="judged")
    pen.arrow((72, 100), (72, 60), (164, 60))
    pen.arrow((388, 61), (420, 61))

    pen.region(148, 104, 516, 206, "R1: four stages", tone="learns")
    pen.box(164, 136, 148, 66, "1  Cold start", "SFT on thousands of", "readable thoughts", tone="learns")
    pen.box(332, 136, 148, 66, "2  GRPO", "right answer, and", "one language", tone="learns")
    pen.box(500, 136, 148, 66, "3a  Sample", "keep the right and", "readable: 600,000", tone="judged")
    pen.box(500, 232, 148, 66, "3b  SFT", "800,000 samples,", "base again, 2 epochs", tone="learns")
    pen.box(332, 232, 148, 66, "4  GRPO", "rules, and reward", "models for the rest", tone="learns")
    pen.box(164, 232, 148, 66, "R1", "AIME 2024: 79.8 %", tone="judged")
    pen.arrow((132, 150), (164, 150))
    pen.arrow((312, 169), (332, 169))
    pen.arrow((480, 169), (500, 169))
    pen.arrow((600, 202), (600, 232))
    pen.text(592, 221, "+ 200,000 other texts", size=11.5, tone="soft", anchor="end")
    pen.arrow((500, 265), (480, 265))
    pen.arrow((332, 265), (312, 265))
    pen.box(12, 232, 124, 66, "Distilled", "Qwen and Llama,", "1.5 B to 70 B", tone="learns")
    pen.line((500, 291), (490, 291), (490, 318), tone="soft", dashed=True)
    pen.arrow((490, 318), (72, 318), (72, 298), dashed=True)
    pen.text(310, 334, "the same 800,000 samples, SFT alone", size=11.5, tone="soft")

    pen.region(16, 348, 648, 98, "Ours: the nano preset")
    zero, cold, r1 = _NANO.zero, _NANO.cold, _NANO.r1
    pen.box(28, 378, 136, 56, "base", f"{_NANO.pretrain.steps:,} steps", tone="learns")
    pen.box(190, 378, 136, 56, "R1-Zero", f"{zero.steps} steps of GRPO", tone="learns")
    pen.box(
        352,
        378,
        136,
        56,
        "cold start",
        f"{_NANO.cold_examples} of Zero’s texts",
        f"{cold.steps} steps of SFT",
        tone="learns",
    )
    pen.box(
        514, 378, 136, 56, "R1", f"{r1.steps} steps of GRPO", f"+ {r1.rewards['language']} × language", tone="learns"
    )
    pen.arrow((164, 406), (190, 406))
    pen.arrow((326, 406), (352, 406), tone="judged", dashed=True)
    pen.arrow((488, 406), (514, 406))


FIGURE = Diagram(
    "The pipelines of R1-Zero and R1",
    "DeepSeek-V3-Base, 671 billion weights, goes two ways. R1-Zero: GRPO with rewards by rule, for a right answer "
    "and the right form; pass@1 on AIME 2024 rose from 15.6 to 71.0 %. R1: first a cold start, supervised "
    "fine-tuning (SFT) on thousands of readable thoughts; second GRPO for right answers in one language; third, "
    "samples of that model, of which 600,000 right and readable ones are kept, with 200,000 other texts, and SFT of "
    "the base on all 800,000 for two epochs; fourth GRPO again, with rules where answers can be checked and reward "
    "models elsewhere. R1 reaches 79.8 % on AIME 2024. The same 800,000 samples also taught Qwen and Llama models "
    f"of 1.5 to 70 billion weights, by SFT alone. Ours, the nano preset: a base of {_NANO.pretrain.steps:,} steps; "
    f"R1-Zero, {_NANO.zero.steps} steps of GRPO; a cold start of the base on {_NANO.cold_examples} of R1-Zero's own "
    f"right texts, {_NANO.cold.steps} steps; R1, {_NANO.r1.steps} steps of GRPO with a reward for one language of "
    f"weight {_NANO.r1.rewards['language']}.",
    "Above, what DeepSeek reports (arXiv:2501.12948); below, what this course runs. Our cold start begins at the base "
    "again and learns from R1-Zero’s right and readable replies (dashed); no person writes thoughts for it.",
    680, 458, _draw,
)  # fmt: skip
