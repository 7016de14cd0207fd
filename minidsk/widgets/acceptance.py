"""What the main head and the heads of multi-token prediction guess, token by token."""

from collections.abc import Sequence
from typing import Any

import traitlets

from minidsk.widgets.base import Figure, same_length, visible


class Acceptance(Figure):
    """A text and, at each position, what each depth guessed for the token that it looks ahead to.

    tokens: the text's T tokens (str or bytes). guesses: for each depth (0 is the main head, which predicts the token
    at t + 1; depth k the one at t + 1 + k) a list of T guesses made at position t; None where there is none.
    """

    js = "acceptance.js"
    depth = traitlets.Int(0).tag(sync=True)
    position = traitlets.Int(0).tag(sync=True)

    def __init__(
        self,
        tokens: Sequence[str | bytes],
        guesses: Sequence[Sequence[str | bytes | None]],
        title: str = "Looking ahead",
    ) -> None:
        if not guesses:
            raise ValueError("guesses must hold at least the main head's")
        same_length(tokens=tokens, **{f"guesses[{k}]": column for k, column in enumerate(guesses)})
        if len(tokens) < 2:
            raise ValueError("tokens must be at least 2, for there to be something to guess")
        data: dict[str, Any] = {
            "tokens": [visible(token) for token in tokens],
            "guesses": [[None if g is None else visible(g) for g in column] for column in guesses],
        }
        super().__init__(data=data, title=title)

    def rates(self) -> list[float]:
        """For each depth, the share of its guesses that are the text's token."""
        tokens, rates = self.data["tokens"], []
        for depth, column in enumerate(self.data["guesses"]):
            pairs = [(g, t) for g, t in zip(column, tokens[depth + 1 :], strict=False) if g is not None]
            rates.append(sum(g == t for g, t in pairs) / len(pairs) if pairs else 0.0)
        return rates

    def still(self) -> list[list[str]]:
        """For each depth the text as it guessed it, a wrong guess in brackets, a dot where it could not guess."""
        tokens = self.data["tokens"]
        rows = [["the text", "".join(tokens), ""]]
        for depth, (column, rate) in enumerate(zip(self.data["guesses"], self.rates(), strict=True)):
            guesses = [None] * (depth + 1) + column[: len(tokens) - depth - 1]
            said = ("·" if g is None else g if g == t else f"[{g}]" for g, t in zip(guesses, tokens, strict=True))
            rows.append([f"depth {depth}" if depth else "main head", "".join(said), f"{rate:.0%}"])
        return [["", "guesses; wrong ones in brackets", "right"], *rows]

    def describe(self) -> str:
        """The share of right guesses at each depth."""
        said = ", ".join(f"{rate:.0%} at depth {depth}" for depth, rate in enumerate(self.rates()))
        return f"A text of {len(self.data['tokens'])} tokens. Right guesses: {said}."
