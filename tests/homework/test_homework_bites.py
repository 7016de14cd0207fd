import pytest

from minidsk.homework import bites


def right(x):
    return x


def bug(x):
    return x + 1


def unchanged(version):
    assert version(1) == 1


def blind(version):
    assert version(1) > 0


def wrong(version):
    assert version(1) == 2


def test_a_test_that_bites_is_named_with_what_it_catches(capsys):
    bites(unchanged, right, bug)
    assert capsys.readouterr().out == "unchanged: accepts right, catches bug\n"


def test_a_test_that_catches_nothing_or_what_is_right_fails(capsys):
    with pytest.raises(AssertionError, match="^blind accepts bug, which is wrong$"):
        bites(blind, right, bug)
    with pytest.raises(AssertionError):
        bites(wrong, right, bug)
    assert capsys.readouterr().out == ""


def test_a_bug_that_raises_something_else_is_no_failing_test():
    with pytest.raises(ZeroDivisionError):
        bites(unchanged, right, lambda x: 1 // 0)
