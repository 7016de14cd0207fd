"""What the KV cache of four kinds of attention costs."""

import traitlets

from minidsk.widgets.base import Figure


class Cache(Figure):
    """Bytes that decoding keeps, for MHA, GQA, MQA and MLA, with sliders; computed in the page.

    The defaults are DeepSeek-V3's: 61 layers, 128 heads of 128, a latent of 512 and a rotated key of 64, so that MLA
    keeps 61 * (512 + 64) = 35,136 numbers per token. heads, head_dim, layers, groups, rank, rope_dim and context are
    traits and arguments of that name; bytes_each is the size of one number.
    """

    js = "cache.js"
    layers = traitlets.Int(61).tag(sync=True)
    heads = traitlets.Int(128).tag(sync=True)
    head_dim = traitlets.Int(128).tag(sync=True)
    groups = traitlets.Int(8).tag(sync=True)
    rank = traitlets.Int(512).tag(sync=True)
    rope_dim = traitlets.Int(64).tag(sync=True)
    context = traitlets.Int(4096).tag(sync=True)
    bytes_each = traitlets.Int(2).tag(sync=True)

    def __init__(self, title: str = "What one token costs in the cache", **sizes: int) -> None:
        known = ("layers", "heads", "head_dim", "groups", "rank", "rope_dim", "context", "bytes_each")
        for name, value in sizes.items():
            if name not in known:
                raise ValueError(f"Cache knows no size {name!r}; there are {', '.join(known)}")
            if not (isinstance(value, int) and value > 0):
                raise ValueError(f"{name} must be a whole number above 0, not {value!r}")
        super().__init__(title=title, **sizes)

    def elements(self) -> dict[str, int]:
        """Numbers kept per token, by kind of attention."""
        head = 2 * self.head_dim * self.layers
        latent = (self.rank + self.rope_dim) * self.layers
        return {"MHA": self.heads * head, "GQA": self.groups * head, "MQA": head, "MLA": latent}

    def still(self) -> list[list[str]]:
        """Numbers and bytes per token, by kind of attention."""
        rows = [[kind, f"{n:,}", f"{n * self.bytes_each:,}"] for kind, n in self.elements().items()]
        return [["attention", "numbers per token", "bytes per token"], *rows]

    def describe(self) -> str:
        """Numbers and bytes per token for the four kinds."""
        kept = ", ".join(f"{kind} {n:,} ({n * self.bytes_each:,} bytes)" for kind, n in self.elements().items())
        return f"Numbers kept per token: {kept}."
