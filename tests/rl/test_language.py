import pytest

from minidsk.rl.language import mixed, words


@pytest.mark.parametrize(("text", "english", "chinese"), [
    ("", 0, 0), ("3+4=7 no\n3*4=12 yes", 2, 0), ("3+4=7 不对\n3*4=12 对了", 0, 2), ("1=2 no\n1=1 对了", 1, 1),
    ("不对no不对", 1, 2), ("3+4=7", 0, 0),
])  # fmt: skip
def test_words_of_both_languages(text, english, chinese):
    assert words(text) == (english, chinese)
    assert mixed(text) == (english > 0 < chinese)
