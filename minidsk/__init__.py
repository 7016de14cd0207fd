"""minidsk: DeepSeek's ideas rebuilt small, from an empty file to a tiny reasoner."""

from minidsk import requirements as requirements  # first: an older torch fails here, with a sentence

# isort: split
from minidsk.hub.zoo import load
from minidsk.model.config import ModelConfig
from minidsk.model.transformer import MiniDeepSeek
from minidsk.rl.policy import load_policy

__version__ = "0.1.0"
__all__ = ["MiniDeepSeek", "ModelConfig", "load", "load_policy"]
