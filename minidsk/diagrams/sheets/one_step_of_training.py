"""One step of pretraining: from a batch of tokens to moved weights."""

from minidsk.data.tokenizer import CharTokenizer
from minidsk.diagrams.figure import Diagram
from minidsk.diagrams.pen import Pen
from minidsk.train.optim import OptimConfig

# The run of chapter 06 that is small enough to follow by hand.
_B, _T, _V, _STEPS = 2, 12, CharTokenizer().vocab_size, 10
_C = OptimConfig(lr=1e-2, warmup=2, weight_decay=0.1)


def _draw(pen: Pen) -> None:
    pen.box(16, 24, 148, 66, "batch of tokens", f"`[{_B}, {_T} + 1]", f"{_B * _T:,} predictions")
    pen.box(204, 24, 124, 66, "model", "forward", tone="learns")
    pen.box(368, 24, 124, 66, "logits", f"`[{_B}, {_T}, {_V}]")
    pen.box(532, 24, 132, 66, "loss", "mean cross-entropy", "one number", tone="judged")
    pen.arrow((164, 57), (204, 57))
    pen.arrow((328, 57), (368, 57))
    pen.arrow((492, 57), (532, 57))
    pen.text(184, 14, "all but the last", size=11.5, tone="soft")
    pen.line((90, 90), (90, 112))
    pen.line((90, 112), (632, 112))
    pen.arrow((632, 112), (632, 90))
    pen.text(360, 130, "targets: the same tokens, one place further", size=11.5, tone="soft")

    pen.box(532, 156, 132, 66, "backward", "a gradient for", "each weight", tone="learns")
    pen.arrow((598, 90), (598, 156), tone="judged")
    pen.box(368, 156, 124, 66, "clip", f"norm at most {_C.clip:g}", "all weights together")
    pen.box(204, 156, 124, 66, "AdamW", "two running means", f"{_C.betas[0]} and {_C.betas[1]}", tone="kept")
    pen.box(16, 156, 148, 66, "weights", "move by −rate × …", f"and decay by {_C.weight_decay}", tone="learns")
    pen.arrow((532, 189), (492, 189), tone="learns")
    pen.arrow((368, 189), (328, 189), tone="learns")
    pen.arrow((204, 189), (164, 189), tone="learns")
    pen.line((90, 156), (90, 142), (184, 142), tone="learns")
    pen.line((184, 142), (184, 76), tone="learns")
    pen.arrow((184, 76), (204, 76), tone="learns")

    pen.region(16, 244, 648, 118, "The rate: warm up, hold, decay")
    hold = 1 - _C.decay
    start, end, top, low = 60.0, 620.0, 284.0, 336.0
    warm = start + (end - start) * _C.warmup / _STEPS
    floor = low - (low - top) * 0.1
    pen.line((start, low), (end, low), tone="line")
    pen.line((start, low), (warm, top), (start + (end - start) * hold, top), (end, floor), tone="learns", width=2.4)
    pen.text(warm + 6, 303, f"peak {_C.lr:g} after {_C.warmup} steps", size=11.5, anchor="start")
    pen.text(612, 282, f"towards a tenth over the last {100 * _C.decay:.0f} %", size=11.5, anchor="end")
    pen.text(start, 354, "0", size=11.5, tone="soft")
    pen.text(end, 354, f"{_STEPS:,} steps", size=11.5, tone="soft", anchor="end")


FIGURE = Diagram(
    "One step of training",
    f"A batch of tokens of shape [{_B}, {_T} + 1] goes, without its last column, through the model forward and "
    f"becomes logits of shape [{_B}, {_T}, {_V}]. The targets are the same tokens, one place further. The loss is "
    f"the mean cross-entropy, one number, of {_B * _T:,} predictions. Backward gives a gradient for each weight; "
    f"clipping shortens all of them together to a norm of at most {_C.clip:g}; AdamW keeps two running means, with "
    f"{_C.betas[0]} and {_C.betas[1]}; the weights move by minus the rate times the smoothed gradient, decay by "
    f"{_C.weight_decay} times the rate, and the next step begins. Below, the rate over {_STEPS:,} steps: it "
    f"rises to {_C.lr:g} in {_C.warmup} steps, holds, and falls towards a tenth over the last {100 * _C.decay:.0f} %.",
    f"The run that follows does this {_STEPS} times. Everything else in pretraining (experts’ biases, tokens further "
    "ahead) joins this loop and does not change it.",
    680, 374, _draw,
)  # fmt: skip
