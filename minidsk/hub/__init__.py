"""Weights in and out: folders in transformers' layout, and the small checkpoints that come with the package."""
