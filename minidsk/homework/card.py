"""An answer with a headline and labelled lines, in plain text and in a notebook."""

import html


class Card:
    """Base of the answers: subclasses have `headline`, `good` (is all well?) and `lines`, pairs of label and text."""

    @property
    def headline(self) -> str:
        """The answer in one line."""
        raise NotImplementedError

    @property
    def good(self) -> bool:
        """Whether all is well."""
        raise NotImplementedError

    @property
    def lines(self) -> list[tuple[str, str]]:
        """Label and text of each line under the headline."""
        raise NotImplementedError

    def __bool__(self) -> bool:
        return self.good

    def __str__(self) -> str:
        width = max((len(label) for label, _ in self.lines), default=0) + 2
        return "\n".join([self.headline, *(f"  {label + ':':<{width}}{text}" for label, text in self.lines)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        colour = "#2e8b57" if self.good else "#c8641e"
        lines = "".join(
            '<div style="display:flex;gap:.8em">'
            f'<span style="flex:0 0 7em;opacity:.7">{html.escape(label)}</span><span>{html.escape(text)}</span></div>'
            for label, text in self.lines
        )
        return (
            f'<div style="border-left:4px solid {colour};padding:.2em .9em;margin:.3em 0;line-height:1.5">'
            f"<strong>{html.escape(self.headline)}</strong>{lines}</div>"
        )
