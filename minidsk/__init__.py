"""minidsk: DeepSeek's ideas rebuilt small, from an empty file to a tiny reasoner."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from minidsk import requirements as requirements  # first: an older torch fails here, with a sentence

if TYPE_CHECKING:
    from minidsk.hub.zoo import load
    from minidsk.model.config import ModelConfig
    from minidsk.model.transformer import MiniDeepSeek
    from minidsk.rl.policy import load_policy

_HOME = {"MiniDeepSeek": "model.transformer", "ModelConfig": "model.config", "load": "hub.zoo",
         "load_policy": "rl.policy"}  # fmt: skip

__version__ = "0.1.0"
__all__ = ["MiniDeepSeek", "ModelConfig", "load", "load_policy"]


def __getattr__(name: str) -> Any:
    # Looked up when it is asked for: torch takes seconds to import, and the command line answers before that.
    if name not in _HOME:
        raise AttributeError(f"minidsk has no {name!r}; there are {', '.join(__all__)}")
    return getattr(import_module(f"minidsk.{_HOME[name]}"), name)
