"""What a model and a run cost."""
