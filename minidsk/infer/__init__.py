"""Using a model: texts in, texts out, and how good they are."""
