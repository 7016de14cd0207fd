"""What check() answers."""

from dataclasses import dataclass

from minidsk.homework.card import Card


@dataclass(frozen=True, repr=False)
class Result(Card):
    """What `check` found; true where the function passed.

    name: the exercise. passed: whether every case agreed. cases: how many were tried.
    tried, got, expected, problem: the first case that failed (empty where it passed). at: the line that raised.
    mistake: the name of the usual mistake that gives exactly these outputs, or "". hint: where to look.
    """

    name: str
    passed: bool
    cases: int = 0
    tried: str = ""
    got: str = ""
    expected: str = ""
    problem: str = ""
    mistake: str = ""
    hint: str = ""
    at: str = ""

    @property
    def good(self) -> bool:
        """Whether the function passed."""
        return self.passed

    @property
    def headline(self) -> str:
        """The exercise, and whether it passed."""
        return f"{self.name}: right, in all {self.cases} cases." if self.passed else f"{self.name}: not yet."

    @property
    def lines(self) -> list[tuple[str, str]]:
        """What was tried, what came out, what was expected, and where to look."""
        lines = [
            ("tried", self.tried),
            ("problem", self.problem),
            ("at", self.at),
            ("yours", self.got),
            ("expected", self.expected),
            ("this is", self.mistake),
            ("hint", self.hint),
        ]
        return [(label, text) for label, text in lines if text]

    def assert_ok(self) -> None:
        """Raise AssertionError with the whole message unless the function passed; for pytest."""
        if not self.passed:
            raise AssertionError(str(self))
