"""Text in: tokenizers and corpora."""
