"""Every diagram: well-formed, described, in the palette, readable; and its letters stay where they belong."""

import re
from functools import cache
from itertools import combinations, pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath

from minidsk.data.bpe import words as words_of
from minidsk.data.tokenizer import BPETokenizer, CharTokenizer
from minidsk.data.worksheet import all_ways
from minidsk.diagrams import DIAGRAMS, diagram
from minidsk.diagrams.figure import STYLE, Diagram
from minidsk.diagrams.pen import Pen
from minidsk.diagrams.sheets import (
    balancing_by_bias,
    bpe_merges,
    distillation,
    fp8_blocks,
    kv_cache_to_mla,
    online_softmax,
    policy_gradient_on_a_board,
    r1,
    r1_zero,
    routing,
    who_judges,
)  # fmt: skip
from minidsk.kernels.fp8 import quantize
from minidsk.model.config import ModelConfig
from minidsk.model.moe import Router, update_bias
from minidsk.presets import nano
from minidsk.rl.grpo import group_advantages
from minidsk.rl.harvest import FILTERS
from minidsk.rl.ppo import gae, token_rewards
from minidsk.rl.rewards import score
from minidsk.tasks.board import Board
from minidsk.tasks.countdown import Countdown
from minidsk.tasks.expression import evaluate, write_chain
from minidsk.train.pretrain import PretrainConfig

ROOT = Path(__file__).resolve().parents[2]
SVG = "{http://www.w3.org/2000/svg}"
LEAST = 10.5  # the smallest letters


@cache
def drawn(name):
    return ElementTree.fromstring(diagram(name).svg)


def wide(character):
    """Whether a character is Chinese or the like: as wide as high, and not in matplotlib's own font."""
    return ord(character) > 0x2E80


def extent(text):
    """Left, top, right and bottom of a `<text>`, in DejaVu, which is wider than the fonts of browsers."""
    size, code = float(text.get("font-size")), bool(text.get("font-family"))
    font = FontProperties(family="DejaVu Sans Mono" if code else "DejaVu Sans", size=size,
                          weight="bold" if text.get("font-weight") else "normal")  # fmt: skip
    words = text.text
    plain = "".join(c for c in words if not wide(c))
    width = TextToPath().get_text_width_height_descent(plain or " ", font, ismath=False)[0]
    width += size * sum(map(wide, words))
    x, y = float(text.get("x")), float(text.get("y"))
    left = x - {"start": 0, "middle": width / 2, "end": width}[text.get("text-anchor", "start")]
    return left, y - 0.74 * size, left + width, y + 0.2 * size


def frame(rect):
    x, y, w, h = (float(rect.get(name)) for name in ("x", "y", "width", "height"))
    return x, y, x + w, y + h


def inside(inner, outer, slack=0.0):
    return (inner[0] >= outer[0] - slack and inner[1] >= outer[1] - slack
            and inner[2] <= outer[2] + slack and inner[3] <= outer[3] + slack)  # fmt: skip


def overlap(a, b, slack=0.5):
    return min(a[2], b[2]) - max(a[0], b[0]) > slack and min(a[3], b[3]) - max(a[1], b[1]) > slack


def strokes(root):
    """Every piece of a line: where it begins and ends."""
    for path in root.iter(f"{SVG}path"):
        if path.get("fill") == "none" and not path.get("d").endswith("Z"):
            points = [tuple(map(float, point.split())) for point in path.get("d")[1:].split("L")]
            yield from pairwise(points)


def crossed(stroke, box):
    """Whether any of a hundred points along a stroke lies within a box."""
    (x0, y0), (x1, y1) = stroke
    return any(box[0] + 1 < x0 + (x1 - x0) * k / 100 < box[2] - 1 and box[1] + 1 < y0 + (y1 - y0) * k / 100 < box[3] - 1
               for k in range(101))  # fmt: skip


def misplaced(root):
    """Words that leave the sheet or their box, lie on other words, or on a line: one line each."""
    _, _, width, height = map(float, root.get("viewBox").split())
    texts = [(text.text, extent(text)) for text in root.iter(f"{SVG}text")]
    boxes = [frame(rect) for rect in root.iter(f"{SVG}rect")]
    found = []
    for words, box in texts:
        if not inside(box, (0, 0, width, height)):
            found.append(f"{words!r} leaves the sheet")
        middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) * 2
        around = [b for b in boxes if inside(middle, b)]
        home = min(around, key=lambda b: (b[2] - b[0]) * (b[3] - b[1]), default=None)
        if home and not inside((box[0] - 2, box[1], box[2] + 2, box[3]), home, slack=0.5):
            found.append(f"{words!r} leaves its box")
        found += [f"a line crosses {words!r}" for stroke in strokes(root) if crossed(stroke, box)]
    found += [f"{a!r} and {b!r} overlap" for (a, x), (b, y) in combinations(texts, 2) if overlap(x, y)]
    marks = [*boxes, *((*point, *point) for stroke in strokes(root) for point in stroke)]
    found += [f"a mark leaves the sheet: {b}" for b in marks if not inside(b, (0, 0, width, height))]
    return found


def colours(root):
    for mark in root.iter():
        for name in ("fill", "stroke"):
            if mark.get(name):
                yield mark.get(name)


def test_there_are_the_diagrams_of_the_course():
    wanted = """course transformer_block kv_cache_to_mla routing balancing_by_bias mtp memory_hierarchy_and_roofline
        grouped_product_tiles online_softmax fp8_blocks who_judges grpo_loop r1_pipeline bpe_merges tiny_web
        policy_gradient_on_a_board reward_model_and_dpo one_step_of_training r1_zero r1
        distillation"""
    assert set(wanted.split()) <= set(DIAGRAMS)


@pytest.mark.parametrize("name", DIAGRAMS)
def test_it_says_what_it_shows(name):
    root, figure = drawn(name), diagram(name)
    assert root.tag == f"{SVG}svg"
    assert root.get("role") == "img"
    assert root[0].tag == f"{SVG}title"
    assert root[1].tag == f"{SVG}desc"
    assert root.get("aria-label") == root[0].text == figure.title
    assert root[1].text == figure.description
    assert len(figure.description.split()) >= 40
    assert 8 <= len(figure.caption.split()) <= 80
    assert re.search(r"\d", "".join(text.text for text in root.iter(f"{SVG}text"))) or name == "course"


@pytest.mark.parametrize("name", DIAGRAMS)
def test_it_needs_nothing_from_outside_and_shares_no_name_with_another(name):
    html = diagram(name)._repr_html_().replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?:|//|url\(|href|src=|@import|<script|\son\w+=", html)
    assert not re.search(r"\sid=", html)


@pytest.mark.parametrize("name", DIAGRAMS)
def test_its_colours_follow_the_theme(name):
    known = re.compile(r"none|currentColor|var\(--(\w+), (?:#\w{6}|transparent)\)")
    for colour in colours(drawn(name)):
        match = known.fullmatch(colour)
        assert match, f"{colour} is fixed"
        assert match[1] is None or f"--{match[1]}:" in STYLE


@pytest.mark.parametrize("name", DIAGRAMS)
def test_its_words_can_be_read(name):
    root = drawn(name)
    assert misplaced(root) == []
    assert min(float(text.get("font-size")) for text in root.iter(f"{SVG}text")) >= LEAST


@pytest.mark.parametrize("name", DIAGRAMS)
def test_it_is_one_figure_in_a_notebook_and_words_in_a_terminal(name):
    bundle = diagram(name)._repr_mimebundle_()
    figure = ElementTree.fromstring(bundle["text/html"].replace("&nbsp;", " "))
    assert figure.tag == "figure"
    assert [child.tag for child in figure] == ["style", "div", "figcaption"]
    assert figure[1].get("tabindex") == "0"
    assert figure[2].text == diagram(name).caption
    assert diagram(name).description in bundle["text/plain"]
    assert "<" not in bundle["text/plain"]


def test_an_unknown_name_is_told_the_known_ones():
    with pytest.raises(ValueError, match="'mpt' is not known; give one of .*mtp") as error:
        diagram("mpt")
    assert "\n" not in str(error.value)


def test_the_palette_is_that_of_the_widgets():
    look = (ROOT / "minidsk" / "widgets" / "look.js").read_text(encoding="utf-8")
    light, dark = look.split("DARK {")[:2]
    ours_light, ours_dark = STYLE.split("@media")[0].split(":root[data-theme=dark]")
    for theirs, ours in ((light, ours_light), (dark.split("}")[0], ours_dark)):
        values = dict(re.findall(r"--(\w+): (#\w+)", ours))
        assert len(values) == 14
        assert values.items() <= dict(re.findall(r"--(\w+): (#\w+)", theirs)).items()


@pytest.mark.parametrize("sheet", ["minidsk.css", "first_screen.css"])
def test_the_site_has_the_palette_of_the_widgets(sheet):
    """Accents are taken from the palette; greys, and the inline code that is darker on its grey, are the site's own."""
    look = (ROOT / "minidsk" / "widgets" / "look.js").read_text(encoding="utf-8")
    rules = (ROOT / "book" / "_static" / sheet).read_text(encoding="utf-8")
    names = "accent|warm|primary|secondary|link|right|wrong|fill"
    accents = re.findall(rf"--(?:minidsk|front|pst-color)-(?:{names})[\w-]*: (#\w+)", rules)
    assert len(accents) > 5
    assert set(accents) <= set(re.findall(r"#\w{6}", look))


def contrast(a, b):
    def light(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((light(a), light(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(("theme", "page"), [(0, "#ffffff"), (1, "#1b2027")])
def test_the_letters_stand_out_from_the_page(theme, page):
    block = STYLE.split("@media")[0].split(":root[data-theme=dark]")[theme]
    values = dict(re.findall(r"--(\w+): (#\w+)", block))
    for name in ("ink", "soft", "accent", "warm", "good", "bad", *(f"c{k}" for k in range(6))):
        assert contrast(values[name], page) >= 4.5, name


def test_the_tests_bite():
    def bad(pen):
        pen.box(10, 10, 60, 40, "far too long for its box")
        pen.text(95, 80, "leaves the sheet")
        pen.text(20, 80, "one", anchor="start")
        pen.text(25, 82, "two", anchor="start")
        pen.line((30, 60), (30, 100))

    figure = Diagram("bad", "bad", "bad", 100, 100, bad)
    found = "\n".join(misplaced(ElementTree.fromstring(figure.svg)))
    for complaint in ("leaves its box", "leaves the sheet", "'one' and 'two' overlap", "a line crosses"):
        assert complaint in found
    pen = Pen(10, 10)
    with pytest.raises(KeyError):
        pen.text(1, 1, "x", tone="black")


def test_the_numbers_of_the_routing_are_the_routers():
    """The drawn choice and weights, by `minidsk.model.moe.Router` with the drawn scores."""
    groups, per_group = len(routing.SCORES), len(routing.SCORES[0])
    config = ModelConfig(n_routed_experts=groups * per_group, num_experts_per_tok=routing.CHOSEN, n_group=groups,
                         topk_group=routing.GROUPS)  # fmt: skip
    weights, indices = Router(config).choose(torch.tensor(routing.SCORES).view(1, -1))
    found = {divmod(i, per_group): w for i, w in zip(indices[0].tolist(), weights[0].tolist(), strict=True)}
    assert found == pytest.approx(routing.WEIGHTS)


def test_the_numbers_of_the_balancing_are_update_biass():
    load = torch.tensor(balancing_by_bias.LOAD, dtype=torch.float32)
    assert update_bias(torch.zeros(4), load, 1.0).tolist() == balancing_by_bias.SIGNS
    assert PretrainConfig().bias_speed == 0.001


def test_the_codes_of_the_block_are_quantizes():
    codes, scales = quantize(torch.tensor([fp8_blocks.VALUES]), (1, 4))
    assert codes.float().tolist() == [fp8_blocks.CODES]
    assert scales.item() == fp8_blocks.SCALE


def test_the_sums_block_by_block_are_those_of_the_row():
    seen = torch.tensor([], dtype=torch.float64)
    for block, total in zip(online_softmax.BLOCKS, online_softmax.SUMS, strict=True):
        seen = torch.cat((seen, torch.tensor(block, dtype=torch.float64)))
        assert round((seen - seen.max()).exp().sum().item(), 3) == total
        assert f"{total}" in online_softmax.FIGURE.description


def test_the_advantages_by_hand_are_group_advantagess():
    found = group_advantages(torch.tensor([[1.0, 0, 0, 0]]), eps=0)[0].tolist()
    assert found == pytest.approx(list(who_judges.GROUP))
    values = torch.tensor([who_judges.VALUES])
    advantages, _ = gae(torch.tensor([[0.0, 0, 1]]), values, torch.ones(1, 3), gamma=1, lam=1)
    assert advantages[0].tolist() == pytest.approx([1 - v for v in who_judges.VALUES])


def test_the_five_rewards_pay_what_is_drawn():
    """Verifier, form, tokens and advantages of R1-Zero's four answers, by the package."""
    problem, tokens = nano().make_task("test")[0], CharTokenizer()
    *ended, cut_off = r1_zero.REPLIES
    # An answer that ended has one token more, for its end.
    assert [len(tokens.encode(text)) + 1 for text in ended] == list(r1_zero.TOKENS[:3])
    assert len(tokens.encode(cut_off)) == r1_zero.TOKENS[3]
    right = [int(problem.score(text)) for text in r1_zero.REPLIES]
    form = [int(problem.well_formed(text)) for text in r1_zero.REPLIES]
    paid = {**r1_zero.PAID, "right": tuple(right), "format": tuple(form),
            "wrong": tuple(f - r for f, r in zip(form, right, strict=True)),
            "capped": tuple(r * (n <= r1_zero.CAP) for r, n in zip(right, r1_zero.TOKENS, strict=True))}  # fmt: skip
    assert paid == r1_zero.PAID
    for name, rewards in paid.items():
        found = group_advantages(torch.tensor([rewards], dtype=torch.float32))[0].tolist()
        assert tuple(f"{a:+.1f}".replace("-", "−") for a in found) == r1_zero.ADVANTAGES[name]


def test_r1s_answers_are_paid_and_kept_as_drawn():
    """Each reward, their sum, the advantages and the filter, by the package."""
    problem = Countdown.pose("3 7 8 = 4")
    scores = score([problem] * 4, r1.REPLIES, r1.WEIGHTS)
    assert {name: tuple(part.tolist()) for name, part in scores.parts.items()} == r1.PAID
    assert scores.total.tolist() == pytest.approx(r1.SUMS)
    found = group_advantages(scores.total[None])[0].tolist()
    assert tuple(f"{a:+.1f}".replace("-", "−") for a in found) == r1.ADVANTAGES
    assert tuple(FILTERS["readable"](problem, reply) for reply in r1.REPLIES) == r1.KEPT
    assert all(f"{paid:g} ({advantage.replace('−', '-')})" in r1.FIGURE.description.replace("(advantage ", "(")
               for paid, advantage in zip(r1.SUMS, r1.ADVANTAGES, strict=True))  # fmt: skip
def test_the_grades_are_those_of_the_loop():
    """What `minidsk.rl.distill.TeacherBaseline` makes of the drawn probabilities, and GRPO of the drawn rewards."""
    student, teacher = (torch.tensor([p]).log() for p in (distillation.STUDENT, distillation.TEACHER))
    mask = torch.ones_like(student)
    grades = token_rewards(torch.zeros(1), student, mask, teacher, 1.0)
    followed, _ = gae(grades, torch.zeros_like(grades), mask, distillation.GAMMA, 1.0)
    for drawn_values, found in ((distillation.GRADES, grades), (distillation.FOLLOWED, followed)):
        said = tuple(f"{a + 0.0:+.2f}".replace("-", "−") if abs(a) > 1e-6 else "0" for a in found[0].tolist())
        assert said == drawn_values
    blame = group_advantages(torch.tensor([distillation.REWARDS], dtype=torch.float32))[0, -1].item()
    assert f"{blame:.1f}".replace("-", "−") == distillation.BLAME
    line = "".join(distillation.TOKENS[:-2]).replace("−", "-")
    assert evaluate(line)[0] == 4 != int(distillation.TOKENS[-1])


def test_the_merges_are_the_tokenizers():
    """The first two merges; the third, which the drawing forbids, is not the package's."""
    learned = [a + b for a, b in BPETokenizer.train(bpe_merges.TEXT, 300).merges]
    drawn_merges = [new.replace(" ", "Ġ") for _, new, _ in bpe_merges.ROUNDS[1:]]
    assert learned[:2] == drawn_merges[:2]
    assert drawn_merges[2] not in learned
    assert ["".join(words) for words in words_of(bpe_merges.TEXT)] == ["no", ",", " no", ",", " not", " now"]


def test_the_pushes_average_to_the_exact_gradient():
    logits = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    worth = torch.tensor([1, 0, 0.5], dtype=torch.float64)
    (logits.softmax(0) * worth).sum().backward()
    assert [float(a) for a in policy_gradient_on_a_board.AVERAGE] == pytest.approx(logits.grad.tolist())
    sheet, board, marks = policy_gradient_on_a_board, Board(), {"X": 1, "O": -1}
    position = torch.tensor([[marks.get(mark, 0) for mark in sheet.BOARD]], dtype=torch.int8)
    found = [1 - expected(board, board.play(position, torch.tensor([int(cell)]))) for cell in sheet.CELLS]
    assert found == worth.tolist()


def expected(board, position):
    """What the side to move can expect where both sides move at random."""
    if board.lost(position):
        return 0.0
    if board.full(position):
        return 0.5
    moves = board.legal(position)[0].nonzero()
    return sum(1 - expected(board, board.play(position, move)) for move in moves) / len(moves)


def test_the_sizes_of_deepseek_v3_are_its_configurations():
    v3 = ModelConfig.from_dict({"model_type": "deepseek_v3"})
    mla = kv_cache_to_mla
    assert (v3.num_attention_heads, v3.v_head_dim) == (mla.HEADS, mla.HEAD)
    assert (v3.kv_lora_rank, v3.qk_rope_head_dim) == (mla.LATENT, mla.ROTATED)
    said = diagram("transformer_block").description + diagram("routing").svg
    for number in (v3.vocab_size, v3.hidden_size, v3.intermediate_size):
        assert f"{number:,}" in said
    assert f"{v3.n_routed_experts} experts in {v3.n_group} groups of 32; {v3.topk_group} groups stay" in said
    assert f"{v3.num_hidden_layers - v3.first_k_dense_replace} blocks with" in said


def test_what_is_said_of_the_tiny_web_can_be_on_a_page_of_it():
    written = {"=".join(write_chain((3, 7, 8), way)) for way in all_ways((3, 7, 8), "+-")}
    lines = re.findall(r">([-+()=\d]+) (?:no|yes)<", diagram("tiny_web").svg)
    assert len(lines) == 4
    assert set(lines) <= written


def test_the_tiny_web_is_the_one_that_its_chapter_reads():
    """Chapter 01 trains its base model on the web of a `PretrainConfig` that names none."""
    chapter = (ROOT / "notebooks" / "01_text_and_tokens.py").read_text(encoding="utf-8")
    [(settings, context)] = re.findall(r"^settings = PretrainConfig\((.*context=(\d+).*)\)$", chapter, re.MULTILINE)
    assert "web" not in settings
    said = diagram("tiny_web").svg
    assert f"context: {context} tokens" in said
    web = PretrainConfig().web
    for share in (web.worksheets, web.persistent, web.chinese, web.mixed):
        assert f"{100 * share:.0f} %" in said
    assert f"at most {web.patience} times" in said
    assert not web.target_beside, "then its lines end in ?4, and it has teachers' marks"
