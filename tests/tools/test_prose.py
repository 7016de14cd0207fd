"""The counts of prose: what is a sentence, and what is none."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import prose

TWIN = """# %% [markdown]
# # A heading of many words that is no sentence
#
# One two three. Four five six seven eight nine ten, says `some.code(here)`! Is 3.5 one word?
#
# | a table | of words |
#
# ```python
# print("no prose")
# ```

# %%
print("no prose either")  # a line that is wider than the page, because its comment goes on and on past column 95

# %% [markdown]
# - The first item of a list
# - and the second [with a link](https://example.org/of/many/words).
#
# $$ x = y $$
#
# ```{exercise} A title
# :label: ex
#
# *10 minutes.* What does $x$ stand for? **Hint.** It stands for `y`.
# ```
"""


@pytest.fixture
def counts(tmp_path):
    (tmp_path / "99_probe.py").write_text(TWIN)
    return prose.count(tmp_path / "99_probe.py")


def test_sentences_are_found():
    [first, _, second] = prose.jupytext.reads(TWIN, fmt="py:percent").cells
    assert [prose.words(sentence) for sentence in prose.sentences(first.source)] == [3, 9, 4]
    assert [prose.words(sentence) for sentence in prose.sentences(second.source)] == [6, 6, 4, 4]


def test_the_counts_of_a_chapter(counts):
    assert counts == prose.Counts(cells=3, words=36, median=4, short=6 / 7, longest=20, wide=1)


def test_a_figure_beyond_its_limit_has_a_star(counts):
    assert prose.row("99_probe", counts).split()[1:] == ["3", "36", "4", "*", "86%", "*", "20", "1", "*"]
